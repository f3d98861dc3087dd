/* SPDX-License-Identifier: MIT */
/* clock.c: what of a client is due when, and its words. Its time is that of uv_hrtime(): the loop's own may be a long
 * turn old, and a deadline that is counted from there comes too soon. */
#include <stdarg.h>
#include <stdio.h>

#include "client.h"

int uvface__client_complain(uvface__client_t* c, int code, const char* format, ...) {
  va_list args;

  va_start(args, format);
  vsnprintf(c->errmsg, sizeof(c->errmsg), format, args);
  va_end(args);
  return code;
}

const char* uvface__client_words(uvface__client_t* c, int code) {
  return uv_strerror_r(code, c->words,
                       sizeof(c->words)); /* uv_strerror() would leak for a code that it does not know */
}

void uvface__client_step(uvface__client_t* c, uint64_t ms, bool has_grace) {
  c->step_due_ms = ms == UVFACE__NEVER ? 0 : uvface__now_ms() + ms;
  c->step_has_grace = has_grace;
}

static void sooner(uint64_t* due_ms, uint64_t other_ms) {
  if (other_ms != 0 && (*due_ms == 0 || other_ms < *due_ms)) *due_ms = other_ms;
}

static void on_timer(uv_timer_t* timer) {
  uvface__client_t* c = (uvface__client_t*) ((char*) timer - offsetof(uvface__client_t, timer));

  c->on_due(c);
}

void uvface__client_arm(uvface__client_t* c) {
  uint64_t now_ms = uvface__now_ms(), due_ms = c->step_due_ms;

  if (uv_is_closing((uv_handle_t*) &c->timer)) return;
  sooner(&due_ms, c->retry_due_ms);
  if (c->sent.first != NULL) sooner(&due_ms, c->sent.first->due_ms);
  if (c->waiting.first != NULL) sooner(&due_ms, c->waiting.first->due_ms);
  if (c->done.first != NULL) due_ms = now_ms; /* callbacks are owed that no call may make itself */
  if (due_ms == 0)
    uv_timer_stop(&c->timer);
  else
    uv_timer_start(&c->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
}
