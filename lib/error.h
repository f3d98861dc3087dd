/* SPDX-License-Identifier: MIT */
/* error.h: the text of the last failure of an endpoint.
 *
 * Every internal function that fails writes "call object: reason" here once, where it knows most, and
 * returns the negative errno value. Belongs to one endpoint, so to one thread. */
#ifndef NDNSHM_ERROR_H
#define NDNSHM_ERROR_H

#define NDNSHM__ERROR_BYTES 512

typedef struct ndnshm__error_s {
  char text[NDNSHM__ERROR_BYTES];
} ndnshm__error_t;

/* Writes the text and returns code, so that a failure is one statement. */
int ndnshm__fail(ndnshm__error_t* error, int code, const char* format, ...) __attribute__((format(printf, 3, 4)));

/* The same for a failed system call: "call object: strerror(errno)"; returns -errno. */
int ndnshm__fail_errno(ndnshm__error_t* error, const char* call, const char* object);

#endif
