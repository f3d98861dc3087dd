/* SPDX-License-Identifier: MIT */
/* due.c: what is done by the clock: looks that make up for a peer's silence, deadlines, and the slow probe.
 *
 * Guarantees that nothing here calls the user: it changes state and makes the face hot. One timer serves the
 * nearest of all that is due on a loop; another, slow one, goes round all open faces. Loop thread. */
#include "internal.h"

/* How often the FIFO of a peer that floods it is looked at. */
#define LOOK_MS 1
/* Wake-ups in a row with nothing behind them that make a flood, and looks in a row without a byte that end it. */
#define EMPTY_WAKES_MAX 64
#define QUIET_LOOKS 16
/* How often an open face is probed for what no wake-up tells. */
#define PROBE_MS 1000

static void on_timer(uv_timer_t* handle);

void uvface__at(uvface__priv_t* f, uint64_t due_ms) {
  uvface__loop_t* ctx = f->ctx;
  uint64_t now_ms = uv_hrtime() / 1000000;

  if (uvface__loop_is_dead(ctx)) return;
  if (uvface__list_empty(&f->timed)) uvface__list_append(&ctx->timed, &f->timed);
  if (ctx->timer_due_ms != 0 && ctx->timer_due_ms <= due_ms) return;
  ctx->timer_due_ms = due_ms;
  /* From now, not from uv_now(), which may be a long turn old: the poll would sleep that much longer. And never
   * 0: time stands still for the loop while it runs its timers. */
  uv_timer_start(&ctx->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 1, 0);
}

/* A parked consumer looks once more, because its peer may have missed the announcement. */
static void recheck(uvface__priv_t* f) {
  f->recheck_due_ms = 0;
  if (!uvface__list_empty(&f->hot) || !f->receiving || ndnshm_ready(f->ep, NDNSHM_PACKETS) == 0) return;
  f->recheck_hits++;
  ndnshm_unpark(f->ep);
  uvface__make_hot(f);
}

static void retry(uvface__priv_t* f, uint64_t now_ms) {
  f->retry_due_ms = 0;
  if (f->queued.first == NULL || !uvface__list_empty(&f->hot)) return;
  if (ndnshm_ready(f->ep, NDNSHM_SPACE) == 0)
    f->retry_due_ms = now_ms + UVFACE__RETRY_MS;
  else
    uvface__make_hot(f);
}

/* --- A peer that floods its FIFO --------------------------------------------------------------- */

/* A byte with nothing behind it may happen: an announcement was taken back too late. Many in a row are a flood,
 * and each would cost a turn of the loop; so the FIFO is looked at by the clock until it is quiet again. */
void uvface__note_empty_wake(uvface__priv_t* f) {
  if (++f->empty_wakes < EMPTY_WAKES_MAX || uvface__poll(f, false) < 0) return;
  f->quiet_looks = 0;
  f->look_due_ms = uv_hrtime() / 1000000 + LOOK_MS;
  uvface__at(f, f->look_due_ms);
}

static void look(uvface__priv_t* f, uint64_t now_ms) {
  int n;

  f->look_due_ms = 0;
  if (f->error != 0 || f->peer_gone || (n = uvface__drain(f)) < 0) return;
  f->quiet_looks = n == 0 ? f->quiet_looks + 1 : 0;
  if (f->quiet_looks < QUIET_LOOKS || uvface__poll(f, true) < 0) f->look_due_ms = now_ms + LOOK_MS;
  f->empty_wakes = 0;
  uvface__make_hot(f); /* draining withdrew the announcement */
}

/* --- The timer -------------------------------------------------------------------------------- */

static void rearm(uvface__priv_t* f, uint64_t deadline_ms) {
  if (f->recheck_due_ms != 0) uvface__at(f, f->recheck_due_ms);
  if (f->retry_due_ms != 0) uvface__at(f, f->retry_due_ms);
  if (f->look_due_ms != 0) uvface__at(f, f->look_due_ms);
  if (deadline_ms != 0) uvface__at(f, deadline_ms);
}

static void on_timer(uv_timer_t* handle) {
  uvface__loop_t* ctx = UVFACE__CONTAINER(handle, uvface__loop_t, timer);
  uint64_t now_ms = uv_hrtime() / 1000000;
  uvface__link_t due;

  ctx->timer_due_ms = 0;
  ctx->now_ns = uv_hrtime();
  uvface__list_take(&ctx->timed, &due);
  while (!uvface__list_empty(&due)) {
    uvface__priv_t* f = UVFACE__CONTAINER(due.next, uvface__priv_t, timed);

    uvface__list_remove(&f->timed);
    if (f->recheck_due_ms != 0 && f->recheck_due_ms <= now_ms) recheck(f);
    if (f->retry_due_ms != 0 && f->retry_due_ms <= now_ms) retry(f, now_ms);
    if (f->look_due_ms != 0 && f->look_due_ms <= now_ms) look(f, now_ms);
    uvface__send_flush(f); /* what finds room after all has not timed out */
    rearm(f, uvface__send_expire(f, now_ms));
  }
}

/* --- The probe -------------------------------------------------------------------------------- */

static void probe(uvface__priv_t* f) {
  int n;

  if (f->error != 0 || f->peer_gone) return;
  n = ndnshm_probe(f->ep);
  if (n < 0) {
    uvface__fail(f, n);
  } else if (n > 0) { /* it was woken, and the probe took the byte */
    uvface__make_hot(f);
  } else if (uvface__list_empty(&f->hot) && ndnshm_ready(f->ep, uvface__wants(f)) != 0) {
    f->recheck_hits++; /* whoever should have written the byte is no more */
    ndnshm_unpark(f->ep);
    uvface__make_hot(f);
  }
}

static void on_probe(uv_timer_t* handle) {
  uvface__loop_t* ctx = UVFACE__CONTAINER(handle, uvface__loop_t, probe);

  ctx->now_ns = uv_hrtime();
  for (uvface__link_t* link = ctx->open.next; link != &ctx->open; link = link->next)
    probe(UVFACE__CONTAINER(link, uvface__priv_t, open));
  if (uvface__list_empty(&ctx->open)) uv_timer_stop(handle);
}

void uvface__watch(uvface__priv_t* f) {
  uvface__list_append(&f->ctx->open, &f->open);
  if (!uv_is_active((uv_handle_t*) &f->ctx->probe)) uv_timer_start(&f->ctx->probe, on_probe, PROBE_MS, PROBE_MS);
}
