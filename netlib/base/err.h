/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One error: what was being done, to what, and why it failed.
 *
 * Both texts are UTF-8, whatever they quote and wherever they were cut: they can be told in JSON.
 *
 * Every fallible function returns 0 or -errno and takes `struct err *` last; the struct lives on
 * the caller's stack and is set exactly when the return is negative. Only the top prints it.
 */
#pragma once

#include <stdbool.h>

/*
 * Stable codes, shown to whoever called us. 1-51 are those of the CNI specification
 * (SPEC.md, section "Error"), from 100 our own; docs/errors.md says what to do about each.
 */
enum err_code {
	ERR_VERSION = 1,      /* CNI version not supported */
	ERR_KEY = 2,          /* unknown key in a configuration */
	ERR_ENV = 4,          /* bad environment variable */
	ERR_IO = 5,           /* cannot read or write */
	ERR_JSON = 6,         /* not JSON, or not an object */
	ERR_VALUE = 7,        /* a key has a bad value */
	ERR_AGAIN = 11,       /* busy, full or absent: try again later */
	ERR_UNAVAILABLE = 50, /* STATUS: no ADD can be served */
	ERR_INTERNAL = 100,   /* a bug, or out of memory */
	ERR_KERNEL = 101,     /* the kernel refused an operation */
	ERR_DEVICE = 102,     /* the device is missing or may not be taken */
	ERR_NAME = 103,       /* an interface name is taken */
	ERR_DRIFT = 104,      /* CHECK: the kernel differs from the record */
	ERR_STORE = 105,      /* the ledger's store failed */
};

enum { ERR_MSG_MAX = 512, ERR_DETAILS_MAX = 384 };

struct err {
	int code;   /* enum err_code */
	int errnum; /* positive errno, never 0 once set */
	char msg[ERR_MSG_MAX];
	char details[ERR_DETAILS_MAX]; /* what to do about it; may be empty */
};

/* Sets @err to "operation object: reason" and returns -errnum. Text is cut, never overrun. */
int err_set(struct err *err, int errnum, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* As err_set(), with ": strerror(errnum)" at the end. */
int err_sys(struct err *err, int errnum, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Out of memory, in words. Returns -ENOMEM. */
int err_nomem(struct err *err);

/* Says what the reader of the error can do. */
void err_details(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "prefix: " before the message: what the caller was trying to do. */
void err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
