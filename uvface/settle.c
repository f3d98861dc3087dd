/* SPDX-License-Identifier: MIT */
/* settle.c: peers are woken without a fence for each packet, and by one byte a turn.
 *
 * Guarantees that no peer is left asleep beside what was published or released for it. Calls that come while a turn of
 * the loop runs, between its idle and its check handles, look at the peer without a fence; who put the fence off is in
 * owing_list. As long as anybody is, the loop does not block, and the list is settled after each serving, and in any
 * case when the turn ends. Calls from elsewhere, where no end of a turn is sure to follow, are settled at once. A face
 * whose byte of the turn is spent stays in the list until the next turn has settled it; one for whose peer there can be
 * no byte now, for want of memory or because the last was slow, is settled by the clock. Loop thread. */
#include "internal.h"

static bool is_in_turn(const uvface__loop_t* ctx) {
  return ctx->in_turn && !uvface__loop_is_dead(ctx);
}

/* One byte a turn; outside of turns as many as it takes, for nobody may be there to write another. */
static void defer(uvface__priv_t* f) {
  f->deferred_in_turn = f->ctx->turn;
  ndnshm_defer(f->ep, !is_in_turn(f->ctx) || f->woke_in_turn != f->ctx->turn);
}

static void owe(uvface__priv_t* f) {
  uvface__list_append(&f->ctx->owing_list, &f->owing_link);
  uvface__keep_turning(f->ctx);
}

void uvface__put_off(uvface__priv_t* f) {
  if (f->ep != NULL) {
    if (!is_in_turn(f->ctx)) return;
    defer(f);
  }
  owe(f);
}

/* Writes what the face has put into the buffer of its stream; what the socket does not take goes when it is
 * writable. */
static void write_out(uvface__priv_t* f) {
  int err;

  if (f->state != UVFACE__OPEN) return; /* closing has its own */
  err = uvface__stream_flush(f->stream);
  if (err < 0 && err != UV_EAGAIN) uvface__end_stream(f, err, "uvface_send_cb");
  uvface__poll_stream(f, false);
}

/* The loop may sleep meanwhile, but not end. */
static void settle_later(uvface__priv_t* f) {
  uint64_t rest_ms = ndnshm_rest(f->ep);

  f->settle_due_ms = uv_hrtime() / 1000000 + (rest_ms > 0 ? rest_ms : UVFACE__SETTLE_MS);
  uvface__at(f, f->settle_due_ms);
  uv_ref((uv_handle_t*) &f->ctx->timer);
}

void uvface__settle(uvface__priv_t* f) {
  int woken;

  uvface__list_remove(&f->owing_link);
  if (f->stream != NULL) {
    write_out(f);
    return;
  }
  if (f->deferred_in_turn != f->ctx->turn || !is_in_turn(f->ctx)) defer(f); /* a new byte */
  woken = ndnshm_settle(f->ep);
  if (woken != 0) f->woke_in_turn = f->ctx->turn;
  if (woken == UV_EAGAIN) owe(f);
  if (woken == UV_ENOBUFS) settle_later(f);
  if (woken == UV_EIO && f->state != UVFACE__FAILED) uvface__fail(f, woken, "uvface_recv_cb", ndnshm_errmsg(f->ep));
}

void uvface__settle_all(uvface__loop_t* ctx) {
  uvface__link_t owing;

  uvface__list_take(&ctx->owing_list, &owing);
  while (!uvface__list_empty(&owing)) uvface__settle(UVFACE__CONTAINER(owing.next, uvface__priv_t, owing_link));
}

void uvface__on_check(uv_check_t* handle) {
  uvface__loop_t* ctx = UVFACE__CONTAINER(handle, uvface__loop_t, check);

  if (!uvface__list_empty(&ctx->owing_list)) {
    uvface__settle_all(ctx);
    uvface__keep_turning(ctx);
  }
  ctx->in_turn = false;
}
