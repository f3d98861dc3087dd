/* SPDX-License-Identifier: MIT */
/* common.c: see common.h. Prints to stdout what is news and to stderr what is trouble; does not care whether anybody
 * reads it. */
#include "common.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool parse_number(const char* text, uint64_t min, uint64_t max, uint64_t* ret_value) {
  char* end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (!isdigit((unsigned char) text[0]) || *end != '\0' || errno != 0 || value < min || value > max) return false;
  *ret_value = value;
  return true;
}

bool parse_mode(const char* text, unsigned int* ret_mode) {
  char* end;
  unsigned long mode = strtoul(text, &end, 8);
  if (!isdigit((unsigned char) text[0]) || *end != '\0' || mode == 0 || mode > 0777) return false;
  *ret_mode = (unsigned int) mode;
  return true;
}

bool parse_id(const char* text, unsigned int* ret_id) {
  uint64_t id;
  if (!parse_number(text, 0, UINT32_MAX - 1, &id)) return false; /* the last one means nobody */
  *ret_id = (unsigned int) id;
  return true;
}

bool wants_help(int argc, char** argv) {
  for (int i = 1; i < argc; i++)
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
  return false;
}

int print_usage(bool is_asked, const char* text) {
  fputs(text, is_asked ? stdout : stderr);
  return is_asked ? 0 : 2;
}

static double seconds(uv_timeval_t time) {
  return (double) time.tv_sec + (double) time.tv_usec / 1e6;
}

double cpu_seconds(void) {
  uv_rusage_t usage;
  if (uv_getrusage(&usage) < 0) return 0;
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

const char* to_hex(const uint8_t* bytes, size_t len, char* out) {
  for (size_t i = 0; i < len; i++) sprintf(out + 2 * i, "%02x", bytes[i]);
  out[2 * len] = '\0';
  return out;
}

void keep_streams(void) {
  for (int fd = 0; fd <= 2; fd++) { /* open() takes the lowest number that is free; using it fails as before */
    int wrong = fd == 0 ? O_WRONLY : O_RDONLY;
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", wrong) < 0) abort();
  }
  signal(SIGPIPE, SIG_IGN);
}

int watch_signals(uv_loop_t* loop, uv_signal_t signals[2], void* data, uv_signal_cb cb) {
  static const int numbers[] = {SIGINT, SIGTERM};
  int err = 0;
  for (int i = 0; i < 2 && err == 0; i++) {
    err = uv_signal_init(loop, &signals[i]);
    signals[i].data = data;
    err = err < 0 ? err : uv_signal_start(&signals[i], cb, numbers[i]);
  }
  return err;
}

void unwatch_signals(uv_signal_t signals[2]) {
  for (int i = 0; i < 2; i++)
    if (!uv_is_closing((uv_handle_t*) &signals[i])) uv_close((uv_handle_t*) &signals[i], NULL);
}

void print_transport(const char* program, const uvface_client_t* client) {
  const char* why = uvface_client_errmsg(client);
  if (uvface_get_transport(client->face) == UVFACE_SHM)
    fprintf(stderr, "%s: connected over shared memory\n", program);
  else
    fprintf(stderr, "%s: connected over the socket%s%s\n", program, why[0] != '\0' ? ": " : "", why);
}

const char* forwarder_name(const char* uri) {
  return uri != NULL ? uri : "the forwarder of this host";
}
