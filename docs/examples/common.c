/* SPDX-License-Identifier: MIT */
/* common.c: see common.h. Guarantees that a connector calls back exactly once, never from within
 * connector_start(), unless it is stopped before. Does not guarantee anything about the engine after that. */
#include "common.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { RETRY_MS = 20 };

bool parse_number(const char* text, uint64_t min, uint64_t max, uint64_t* ret_value) {
  char* end;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (!isdigit((unsigned char) text[0]) || *end != '\0' || errno != 0 || value < min || value > max) return false;
  *ret_value = value;
  return true;
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

void connector_stop(connector_t* connector) {
  if (!uv_is_closing((uv_handle_t*) &connector->timer)) uv_close((uv_handle_t*) &connector->timer, NULL);
}

/* An engine that is not there yet, is going down or is just being set up may be there in a moment. */
static bool may_change(int status) {
  return status == UV_ENOENT || status == UV_ECONNREFUSED || status == UV_EPROTO;
}

static void on_retry(uv_timer_t* timer) {
  connector_t* connector = timer->data;
  int status = uvface_connect(connector->face, connector->name, NULL);
  if (may_change(status) && uv_now(timer->loop) < connector->deadline_ms) return;
  connector_stop(connector);
  connector->cb(connector, status);
}

int connector_start(connector_t* connector, uint64_t timeout_ms, connector_cb cb) {
  uv_loop_t* loop = connector->face->loop;
  int err = uv_timer_init(loop, &connector->timer);
  if (err < 0) return err;
  connector->timer.data = connector;
  connector->deadline_ms = uv_now(loop) + timeout_ms;
  connector->cb = cb;
  return uv_timer_start(&connector->timer, on_retry, 0, RETRY_MS);
}
