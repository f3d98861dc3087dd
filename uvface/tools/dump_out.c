/* SPDX-License-Identifier: MIT */
/* dump_out.c: where packets are written to: a stream that waits for slow readers in such a way that a signal ends it.
 * What was not written then is lost, and the stream has an error. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dump.h"

typedef struct out_s {
  int fd;
  size_t piece_bytes; /* what is written at once: a pipe that has room takes as much without waiting */
} out_t;

static ssize_t put(void* cookie, const char* bytes, size_t n) {
  const out_t* out = cookie;
  size_t done = 0;

  while (done < n) {
    size_t piece = n - done < out->piece_bytes ? n - done : out->piece_bytes;
    ssize_t wrote = write_or_end(out->fd, bytes + done, piece);

    if (wrote < 0) break;
    done += (size_t) wrote;
  }
  return (ssize_t) done;
}

static int end(void* cookie) {
  out_t* out = cookie;
  int err = close(out->fd);

  free(out);
  return err;
}

static FILE* give_up(out_t* out) {
  int err = errno;

  if (out != NULL && out->fd >= 0) close(out->fd);
  free(out);
  errno = err;
  return NULL;
}

FILE* out_open(const char* path) {
  bool is_file = path != NULL && strcmp(path, "-") != 0;
  cookie_io_functions_t functions = {.write = put, .close = end};
  out_t* out = calloc(1, sizeof(*out));
  struct stat st;
  FILE* stream;

  if (out == NULL) return NULL;
  out->fd = is_file ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : dup(STDOUT_FILENO);
  if (out->fd < 0 || fstat(out->fd, &st) != 0) return give_up(out);
  out->piece_bytes = S_ISREG(st.st_mode) ? SSIZE_MAX : PIPE_BUF;
  stream = fopencookie(out, "w", functions);
  return stream != NULL ? stream : give_up(out);
}
