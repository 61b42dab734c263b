/* SPDX-License-Identifier: Apache-2.0 */
/* The error object: fixed buffers on the caller's stack, no heap, no exit. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

__attribute__((format(printf, 4, 0))) static int err_vset(struct err *err, int errnum, int code,
							  const char *fmt, va_list ap)
{
	err->errnum = errnum ? errnum : EINVAL;
	err->code = code;
	err->details[0] = '\0';
	(void)vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	utf8_mend(err->msg);
	return -err->errnum;
}

int err_set(struct err *err, int errnum, int code, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = err_vset(err, errnum, code, fmt, ap);
	va_end(ap);
	return r;
}

int err_sys(struct err *err, int errnum, int code, const char *fmt, ...)
{
	size_t len;
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = err_vset(err, errnum, code, fmt, ap);
	va_end(ap);
	len = strlen(err->msg);
	(void)snprintf(err->msg + len, sizeof(err->msg) - len, ": %s", strerror(err->errnum));
	return r;
}

int err_nomem(struct err *err)
{
	return err_set(err, ENOMEM, ERR_INTERNAL, "out of memory");
}

void err_details(struct err *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err->details, sizeof(err->details), fmt, ap);
	va_end(ap);
	utf8_mend(err->details);
}

void err_prefix(struct err *err, const char *fmt, ...)
{
	char old[ERR_MSG_MAX];
	va_list ap;
	size_t len;

	memcpy(old, err->msg, sizeof(old));
	va_start(ap, fmt);
	(void)vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	len = strlen(err->msg);
	(void)snprintf(err->msg + len, sizeof(err->msg) - len, ": %s", old);
	utf8_mend(err->msg);
}
