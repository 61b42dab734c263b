/* SPDX-License-Identifier: Apache-2.0 */
/* Owners that clean up after themselves; TAKE_* marks a hand-over. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <jansson.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

static inline void cleanup_freep(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_closep(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void cleanup_filep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

static inline void cleanup_jsonp(json_t **json)
{
	json_decref(*json);
}

#define CLEANUP_FREE  CLEANUP(cleanup_freep)
#define CLEANUP_CLOSE CLEANUP(cleanup_closep)
#define CLEANUP_FILE  CLEANUP(cleanup_filep)
#define CLEANUP_JSON  CLEANUP(cleanup_jsonp)

#define TAKE_PTR(p)                                  \
	({                                           \
		__typeof__(p) *taken_from_ = &(p);   \
		__typeof__(p) taken_ = *taken_from_; \
		*taken_from_ = NULL;                 \
		taken_;                              \
	})

#define TAKE_FD(fd)                        \
	({                                 \
		int *taken_from_ = &(fd);  \
		int taken_ = *taken_from_; \
		*taken_from_ = -1;         \
		taken_;                    \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
