/* SPDX-License-Identifier: MIT */
/* turn.c: one turn of the loop: hot faces are served, looked at for a while, and put to sleep.
 *
 * Guarantees that the poll blocks only while no face owes a look at its peer, and every face that waits for something
 * is parked (its peer will write to a FIFO that is polled) or has a timer; that spinning stays within its budget; that
 * an idle face costs a turn nothing. Serving is the only way to the user's receive and send callbacks (closing has its
 * own). Loop thread. */
#include <stdio.h>

#include "transport.h"

/* Serving and spinning of all faces together, per turn, as far as it is not the first service of each: what other
 * handles of the loop may have to wait, whatever peers send. */
#define SPIN_PER_TURN_NS 10000
/* How long a face is looked at after its window, as long as others keep the loop turning: a look costs a load,
 * to park and be woken costs its peer a system call and us two. */
#define LINGER_NS 2000000
/* Looks between two readings of the clock, which costs as much as they do. */
#define LOOKS_PER_CLOCK 16
/* Wake-ups in a row with nothing behind them that make a flood. */
#define EMPTY_WAKES_MAX 64
/* Reads, of 4096 bytes at most, in which a dead peer's last bytes are expected to be over. */
#define LAST_DRAINS 16

static inline void cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* --- Serving ---------------------------------------------------------------------------------- */

/* The longer way, of a face with a filter or an event_cb. */
static void serve_watched(uvface__priv_t* f, uint64_t now_ns) {
  uvface__tell_events(f);
  uvface__send_flush(f, now_ns);
  if (!uvface__awaits_app(f)) uvface__recv_deliver(f, now_ns);
  uvface__send_complete(f);
  uvface__recv_tell_end(f);
}

/* Everything that is to be done for a face now; may call the user. */
static void serve(uvface__priv_t* f, uint64_t now_ns) {
  if (f->is_watched) {
    serve_watched(f, now_ns);
    return;
  }
  uvface__send_flush(f, now_ns);
  uvface__recv_deliver(f, now_ns);
  uvface__send_complete(f); /* last, so that what recv_cb sent is finished in the same turn */
}

/* The next face of a list that was taken off hot_list; it goes back there. */
static uvface__priv_t* next_of(uvface__loop_t* ctx, uvface__link_t* batch) {
  uvface__link_t* link = batch->next;

  uvface__list_remove(link);
  uvface__list_append(&ctx->hot_list, link);
  return UVFACE__CONTAINER(link, uvface__priv_t, hot_link);
}

/* Returns when the last face was served. */
static uint64_t serve_hot(uvface__loop_t* ctx, uint64_t now_ns) {
  uvface__link_t batch;

  uvface__list_take(&ctx->hot_list, &batch);
  while (!uvface__list_empty(&batch)) {
    serve(next_of(ctx, &batch), now_ns);
    if (!uvface__list_empty(&batch)) now_ns = uv_hrtime(); /* the callbacks of one are the wait of the next */
  }
  uvface__list_take(&ctx->hot_list, &batch); /* requests that one face's callback made on another */
  while (!uvface__list_empty(&batch)) uvface__send_complete(next_of(ctx, &batch));
  return now_ns;
}

/* True if the face has something to tell the user that no look at a ring will bring about. */
static bool owes_callback(const uvface__priv_t* f) {
  return f->done.first != NULL || (uvface__is_over(f) && (f->receiving || f->queued.first != NULL)) ||
         (f->is_watched && (uvface__owes_filter(f) || uvface__owes_events(f)));
}

/* --- A byte in the FIFO ------------------------------------------------------------------------ */

/* For as long as there is something, and a little longer (due.c). */
static void look_by_clock(uvface__priv_t* f, uint64_t now_ns) {
  f->quiet_looks = 0;
  f->look_due_ms = now_ns / 1000000 + UVFACE__LOOK_MS;
  uvface__at(f, f->look_due_ms);
}

/* A byte with nothing behind it may happen: an announcement was taken back too late. Many in a row are a flood,
 * and each would cost a turn of the loop; so it is looked at by the clock until it is quiet again. */
static void note_empty_wake(uvface__priv_t* f, uint64_t now_ns) {
  if (++f->empty_wakes >= EMPTY_WAKES_MAX && uvface__stop_polling(f) == 0) look_by_clock(f, now_ns);
}

/* The peer has made a call slow, and is neither written to nor read from for a while (ndnshm_rest()). */
static bool let_rest(uvface__priv_t* f, uint64_t now_ns) {
  if (ndnshm_rest(f->ep) == 0 || uvface__stop_polling(f) < 0) return false;
  ndnshm_unpark(f->ep);
  look_by_clock(f, now_ns);
  return true;
}

static void fail_polling(uvface__priv_t* f, int error) {
  char why[sizeof(f->why)];

  snprintf(why, sizeof(why), "poll %s: %s", f->name, uv_strerror(error));
  uvface__fail(f, error, "uvface_recv_cb", why);
}

/* An error on a socket says that the peer died with bytes of ours unread. That is found behind what it had sent: a
 * byte, or as much as it liked, which then is looked at by the clock. On anything else it is the descriptor's. */
static void fail_or_lose(uvface__priv_t* f, int error, uint64_t now_ns) {
  int n = 1;

  for (int drains = 0; n > 0 && drains < LAST_DRAINS && ndnshm_rest(f->ep) == 0; drains++) n = uvface__drain(f);
  if (n > 0) look_by_clock(f, now_ns);
  if (n == 0) fail_polling(f, error);
}

static void on_readable(uv_poll_t* handle, int status, int events) {
  uvface__priv_t* f = UVFACE__CONTAINER(handle, uvface__priv_t, poll);
  uvface__loop_t* ctx = f->ctx; /* lives longer than the face, if that is closed */
  uint64_t now_ns = uv_hrtime();

  (void) events; /* read() == 0 tells of a death; UV_DISCONNECT differs between libuv's versions */
  if (status < 0)
    fail_or_lose(f, status, now_ns);
  else if (!let_rest(f, now_ns) && uvface__drain(f) >= 0 && ndnshm_ready(f->ep, uvface__wants(f)) == 0)
    note_empty_wake(f, now_ns);
  else
    f->empty_wakes = 0;
  uvface__make_hot(f);
  serve(f, now_ns);
  if (uvface__loop_is_dead(ctx)) uvface__settle_all(ctx); /* no check handle will come */
}

/* --- A socket is readable, writable, or has lost its peer ----------------------------------------- */

/* The face needs another turn before the poll may block. */
static bool has_more(uvface__priv_t* f) {
  unsigned int what = uvface__wants(f);

  return owes_callback(f) || (what != 0 && uvface__confirm(f, what) != 0);
}

/* The loop is not to turn once more for a face that only waits for its socket. */
static void set_hot(uvface__priv_t* f, bool hot) {
  if (hot == !uvface__list_empty(&f->hot_link)) return;
  if (hot) {
    uvface__make_hot(f);
  } else {
    uvface__list_remove(&f->hot_link);
    uvface__keep_turning(f->ctx);
  }
}

/* libuv tells of an error as UV_EBADF, and no longer polls: reading will say what it was. */
static void on_stream(uv_poll_t* handle, int status, int events) {
  uvface__priv_t* f = UVFACE__CONTAINER(handle, uvface__priv_t, poll);
  uvface__loop_t* ctx = f->ctx; /* lives longer than the face, if that is closed */
  uint64_t now_ns = uv_hrtime();

  int unwanted = events & ~uvface__stream_events(f);

  if (status < 0) f->polled = 0;
  if ((events & UV_READABLE) != 0) uvface__stream_note_readable(f->stream);
  if ((events & UV_WRITABLE) != 0) {
    uvface__stream_note_writable(f->stream);
    uvface__settle(f);
  }
  if (status < 0 || ((events & UV_DISCONNECT) != 0 && (uvface__stream_events(f) & UV_READABLE) == 0))
    uvface__end_stream(f, uvface__stream_hung_up(f->stream), "uvface_recv_cb");
  serve(f, now_ns);
  if (f->state != UVFACE__CLOSING) {
    uvface__poll_stream(f, unwanted != 0);
    set_hot(f, has_more(f));
  }
  if (uvface__loop_is_dead(ctx)) uvface__settle_all(ctx); /* no check handle will come */
}

int uvface__start_polling(uvface__priv_t* f) {
  if (uv_is_closing((uv_handle_t*) &f->poll)) return UV_ECANCELED;
  if (f->stream == NULL) return uv_poll_start(&f->poll, UV_READABLE, on_readable);
  f->on_stream = on_stream;
  f->polled = uvface__stream_events(f);
  return uv_poll_start(&f->poll, f->polled, on_stream);
}

/* --- Looking before sleeping -------------------------------------------------------------------- */

/* How long it pays to spin for the hot faces, in ns: 0 if any of them needs a turn of the loop first. */
static uint64_t spin_budget(const uvface__loop_t* ctx, uint64_t now_ns) {
  uint64_t budget_ns = 0;

  for (uvface__link_t* link = ctx->hot_list.next; link != &ctx->hot_list; link = link->next) {
    const uvface__priv_t* f = UVFACE__CONTAINER(link, uvface__priv_t, hot_link);

    if (owes_callback(f) || uvface__rx_spent(f)) return 0;
    if (f->queued.first != NULL && uvface__tx_spent(f)) return 0;
    if (now_ns < f->hot_until_ns && f->spin_ns > budget_ns) budget_ns = f->spin_ns;
  }
  return budget_ns;
}

/* Ring loads and nothing else, until one of the hot faces has what it waits for, or until_ns: then false.
 * now_ns: when the spin began; then when the clock was read last, up to 16 looks before the end: the news itself does
 * not wait for the clock, and the window's bounds are longer than that (window.c). */
static bool spin(uvface__loop_t* ctx, uint64_t until_ns, uint64_t* now_ns) {
  unsigned int looks = 0;

  for (;;) {
    for (uvface__link_t* link = ctx->hot_list.next; link != &ctx->hot_list; link = link->next) {
      uvface__priv_t* f = UVFACE__CONTAINER(link, uvface__priv_t, hot_link);

      if (ndnshm_ready(f->ep, uvface__wants(f)) != 0) {
        f->spin_hits++;
        return true;
      }
      if (++looks % LOOKS_PER_CLOCK == 0 && (*now_ns = uv_hrtime()) >= until_ns) return false;
    }
    cpu_relax();
  }
}

/* --- Going to sleep ------------------------------------------------------------------------------ */

/* The face sleeps now; what its peer does not announce, or may fail to, is looked at by the clock. */
static void fell_asleep(uvface__priv_t* f, unsigned int what) {
  bool may_lose_wakeup =
      (what & NDNSHM_PACKETS) != 0 && f->recheck_ms != 0 && (ndnshm_peer_caps(f->ep) & NDNSHM_CAP_FENCED) == 0;
  bool is_not_woken = (what & ~f->announced & NDNSHM_SPACE) != 0;
  uint64_t now_ms;

  if (f->minds_chores) { /* what was found without a wake-up came from an app as well */
    uvface__do_chores(f);
    uvface__look_for_events(f);
  }
  uvface__window_sleep(&f->rx_window);
  uvface__window_sleep(&f->tx_window);
  if (!may_lose_wakeup && !is_not_woken) return;
  /* Not uv_now(), which may be a long turn old, and rounded up: a recheck that comes too soon is none. */
  now_ms = uv_hrtime() / 1000000 + 1;
  if (may_lose_wakeup) {
    f->recheck_due_ms = now_ms + f->recheck_ms;
    uvface__at(f, f->recheck_due_ms);
  }
  if (is_not_woken) {
    f->retry_due_ms = now_ms + UVFACE__RETRY_MS;
    uvface__at(f, f->retry_due_ms);
  }
}

/* The face has a reason for another turn without blocking before. */
static bool is_hot(const uvface__priv_t* f, uint64_t now_ns) {
  return owes_callback(f) || (uvface__wants(f) != 0 && now_ns < f->hot_until_ns);
}

static bool any_is_hot(const uvface__loop_t* ctx, uint64_t now_ns) {
  for (uvface__link_t* link = ctx->hot_list.next; link != &ctx->hot_list; link = link->next)
    if (is_hot(UVFACE__CONTAINER(link, uvface__priv_t, hot_link), now_ns)) return true;
  return false;
}

/* Announced, and after the fence: sleeps, or has found something and stays hot. */
static void confirm_all(uvface__loop_t* ctx, uvface__link_t* parking) {
  while (!uvface__list_empty(parking)) {
    uvface__priv_t* f = UVFACE__CONTAINER(parking->next, uvface__priv_t, hot_link);
    unsigned int what = uvface__wants(f);

    uvface__list_remove(&f->hot_link);
    if (uvface__confirm(f, what) != 0)
      uvface__list_append(&ctx->hot_list, &f->hot_link);
    else
      fell_asleep(f, what);
  }
}

/* Puts the faces whose window is over to sleep: all announcements, one fence, a last look at each. */
static void park_expired(uvface__loop_t* ctx, uint64_t now_ns) {
  uint64_t linger_ns = any_is_hot(ctx, now_ns) ? LINGER_NS : 0;
  uvface__link_t all, parking;

  uvface__list_take(&ctx->hot_list, &all);
  uvface__list_init(&parking);
  while (!uvface__list_empty(&all)) {
    uvface__priv_t* f = UVFACE__CONTAINER(all.next, uvface__priv_t, hot_link);
    unsigned int what = uvface__wants(f);

    uvface__list_remove(&f->hot_link);
    if (is_hot(f, now_ns) || !uvface__list_empty(&f->owing_link) ||
        (what != 0 && now_ns < f->hot_until_ns + linger_ns)) {
      uvface__list_append(&ctx->hot_list, &f->hot_link);
    } else if (what != 0) {
      f->announced = f->ep != NULL ? ndnshm_announce(f->ep, what) : what;
      uvface__list_append(&parking, &f->hot_link);
    }
  }
  if (uvface__list_empty(&parking)) return;
  ndnshm_fence();
  confirm_all(ctx, &parking);
}

/* --- The turn ------------------------------------------------------------------------------------ */

void uvface__on_prepare(uv_prepare_t* handle) {
  uvface__loop_t* ctx = UVFACE__CONTAINER(handle, uvface__loop_t, prepare);
  uint64_t now_ns, end_ns;

  uvface__begin_turn(ctx);
  if (uvface__list_empty(&ctx->hot_list) && uvface__list_empty(&ctx->owing_list)) {
    uvface__keep_turning(ctx); /* no longer: the last hot face was closed */
    return;
  }
  now_ns = uv_hrtime();
  end_ns = now_ns + SPIN_PER_TURN_NS;
  uvface__settle_all(ctx); /* what the last turn still owed: callbacks may run long */
  for (;;) {
    uint64_t budget_ns, until_ns;

    now_ns = serve_hot(ctx, now_ns);
    uvface__settle_all(ctx);
    if (uvface__loop_is_dead(ctx)) break;
    uv_idle_stop(&ctx->idle); /* so that the loop tells whether it is about to block */
    if (uvface__list_empty(&ctx->hot_list) || uv_backend_timeout(ctx->loop) == 0) break;
    if (!uvface__list_empty(&ctx->owing_list)) break;
    if ((budget_ns = spin_budget(ctx, now_ns)) == 0) break;
    now_ns = uv_hrtime(); /* callbacks have run since */
    until_ns = now_ns + budget_ns < end_ns ? now_ns + budget_ns : end_ns;
    if (until_ns <= now_ns || !spin(ctx, until_ns, &now_ns)) break; /* so end_ns ends it, if nothing else does */
  }
  if (!uvface__loop_is_dead(ctx)) park_expired(ctx, now_ns);
  uvface__keep_turning(ctx);
}
