/* SPDX-License-Identifier: MIT */
/* due.c: what is done by the clock: looks that make up for a peer's silence, deadlines, and the slow probe.
 *
 * Guarantees that nothing here calls the user: it changes state and makes the face hot. One timer serves the
 * nearest of all that is due on a loop; another, slow one, goes round all open faces. Loop thread. */
#include "internal.h"

/* Looks in a row without a byte that end a flood. */
#define QUIET_LOOKS 16
/* How often an open face is probed for what no wake-up tells. */
#define PROBE_MS 1000

/* --- Looks ------------------------------------------------------------------------------------ */

/* Something was found that the peer should have woken the face for, and did not. */
static void make_up_for_wakeup(uvface__priv_t* f) {
  f->recheck_hits++;
  ndnshm_unpark(f->ep);
  uvface__make_hot(f);
}

/* A parked consumer looks once more, because its peer may have missed the announcement. */
static void recheck(uvface__priv_t* f) {
  f->recheck_due_ms = 0;
  if (!uvface__list_empty(&f->hot_link) || !f->receiving || ndnshm_ready(f->ep, NDNSHM_PACKETS) == 0) return;
  make_up_for_wakeup(f);
}

/* A sender looks for room that its peer does not tell of. */
static void retry(uvface__priv_t* f, uint64_t now_ms) {
  f->retry_due_ms = 0;
  if ((uvface__wants(f) & NDNSHM_SPACE) == 0 || !uvface__list_empty(&f->hot_link)) return;
  if (ndnshm_ready(f->ep, NDNSHM_SPACE) == 0)
    f->retry_due_ms = now_ms + UVFACE__RETRY_MS;
  else
    uvface__make_hot(f);
}

/* There may be memory for a byte by now, or the peer's last slow one long enough ago. */
static void settle(uvface__priv_t* f) {
  f->settle_due_ms = 0;
  uvface__settle(f);
}

/* The ring of a face whose descriptor is to be left alone. */
static void look_at_ring(uvface__priv_t* f, uint64_t now_ms, uint64_t rest_ms) {
  f->look_due_ms = now_ms + (rest_ms < UVFACE__REST_LOOK_MS ? rest_ms : UVFACE__REST_LOOK_MS);
  if (uvface__list_empty(&f->hot_link) && ndnshm_ready(f->ep, uvface__wants(f)) != 0) make_up_for_wakeup(f);
}

/* The FIFO of a throttled face, until the flood is over. */
static void look(uvface__priv_t* f, uint64_t now_ms) {
  uint64_t rest_ms;
  int n;

  f->look_due_ms = 0;
  if (f->state != UVFACE__OPEN) return;
  if ((rest_ms = ndnshm_rest(f->ep)) != 0) {
    look_at_ring(f, now_ms, rest_ms);
    return;
  }
  if ((n = uvface__drain(f)) < 0) return;
  f->quiet_looks = n == 0 ? f->quiet_looks + 1 : 0;
  if (f->quiet_looks < QUIET_LOOKS || uvface__start_polling(f) < 0) f->look_due_ms = now_ms + UVFACE__LOOK_MS;
  f->empty_wakes = 0;
  uvface__make_hot(f); /* draining withdrew the announcement */
}

/* --- The timer -------------------------------------------------------------------------------- */

/* A tap may have closed the face meanwhile. */
static void rearm(uvface__priv_t* f, uint64_t deadline_ms) {
  if (f->state == UVFACE__CLOSING) return;
  if (f->recheck_due_ms != 0) uvface__at(f, f->recheck_due_ms);
  if (f->retry_due_ms != 0) uvface__at(f, f->retry_due_ms);
  if (f->look_due_ms != 0) uvface__at(f, f->look_due_ms);
  if (deadline_ms != 0) uvface__at(f, deadline_ms);
  if (f->settle_due_ms == 0) return;
  uvface__at(f, f->settle_due_ms);
  uv_ref((uv_handle_t*) &f->ctx->timer);
}

void uvface__on_timer(uv_timer_t* handle) {
  uvface__loop_t* ctx = UVFACE__CONTAINER(handle, uvface__loop_t, timer);
  uint64_t now_ns = uv_hrtime(), now_ms = now_ns / 1000000;
  uvface__link_t due;

  ctx->timer_due_ms = 0;
  uv_unref((uv_handle_t*) handle); /* until a byte is owed by the clock again */
  ctx->in_turn = true;             /* one that ends here */
  uvface__list_take(&ctx->timed_list, &due);
  while (!uvface__list_empty(&due)) {
    uvface__priv_t* f = UVFACE__CONTAINER(due.next, uvface__priv_t, timed_link);

    uvface__list_remove(&f->timed_link);
    if (f->recheck_due_ms != 0 && f->recheck_due_ms <= now_ms) recheck(f);
    if (f->retry_due_ms != 0 && f->retry_due_ms <= now_ms) retry(f, now_ms);
    if (f->look_due_ms != 0 && f->look_due_ms <= now_ms) look(f, now_ms);
    if (f->settle_due_ms != 0 && f->settle_due_ms <= now_ms) settle(f);
    rearm(f, uvface__send_expire(f, now_ns));
  }
  uvface__settle_all(ctx);
  ctx->in_turn = false;
}

/* --- The probe -------------------------------------------------------------------------------- */

static void probe(uvface__priv_t* f) {
  int n;

  if (f->state != UVFACE__OPEN) return;
  n = ndnshm_probe(f->ep);
  uvface__do_chores(f);
  if (n < 0)
    uvface__fail(f, n, "uvface_recv_cb", ndnshm_errmsg(f->ep));
  else if (n > 0) /* it was woken, and the probe took the byte */
    uvface__make_hot(f);
  else if (uvface__list_empty(&f->hot_link) && ndnshm_ready(f->ep, uvface__wants(f)) != 0)
    make_up_for_wakeup(f); /* whoever should have written the byte is no more */
  uvface__look_for_events(f);
}

static void on_probe(uv_timer_t* handle) {
  uvface__loop_t* ctx = UVFACE__CONTAINER(handle, uvface__loop_t, probe);

  for (uvface__link_t* link = ctx->open_list.next; link != &ctx->open_list; link = link->next)
    probe(UVFACE__CONTAINER(link, uvface__priv_t, open_link));
  if (uvface__list_empty(&ctx->open_list)) uv_timer_stop(handle);
}

void uvface__watch(uvface__priv_t* f) {
  uvface__list_append(&f->ctx->open_list, &f->open_link);
  if (!uv_is_active((uv_handle_t*) &f->ctx->probe)) uv_timer_start(&f->ctx->probe, on_probe, PROBE_MS, PROBE_MS);
}
