/* SPDX-License-Identifier: MIT */
/* error.c: formatting of failure texts. Never allocates; keeps errno. */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "probes.h"

int ndnshm__fail(ndnshm__error_t* error, int code, const char* format, ...) {
  int saved_errno = errno;
  va_list args;

  va_start(args, format);
  vsnprintf(error->text, sizeof(error->text), format, args);
  va_end(args);
  NDNSHM__PROBE2(fail, code, error->text);
  errno = saved_errno;
  return code;
}

int ndnshm__fail_errno(ndnshm__error_t* error, const char* call, const char* object) {
  int code = errno;

  return ndnshm__fail(error, -code, "%s %s: %s", call, object, strerror(code));
}
