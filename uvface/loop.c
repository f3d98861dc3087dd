/* SPDX-License-Identifier: MIT */
/* loop.c: the context of a loop: which faces are looked at, and when the loop may sleep.
 *
 * Guarantees that the poll blocks only while every face that waits for something is parked (its peer
 * will write to a FIFO that is polled) or has a timer; that spinning stays within its budget; that an
 * idle face costs a turn nothing. Never runs, stops or walks the user's loop, never touches loop->data.
 * All functions belong to the loop's thread; only the list of contexts is shared, behind its lock. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "internal.h"

/* Serving and spinning of all faces together, per turn, as far as it is not the first service of each: what other
 * handles of the loop may have to wait, whatever peers send. */
#define SPIN_PER_TURN_NS 10000
/* How long a face is looked at after its window, as long as others keep the loop turning: a look costs a load,
 * to park and be woken costs its peer a system call and us two. */
#define LINGER_NS 2000000
/* Looks between two readings of the clock, which costs as much as they do. */
#define LOOKS_PER_CLOCK 16
/* Of the arena, for copies that fill cache lines. */
#define ALIGN_BYTES 64
/* A window below this is not worth a turn. */
#define WINDOW_MIN_NS 1000
/* Of so many packets that came too late for the window one is followed by a full window all the same,
 * so that two ends that both sleep between packets find out when they need not. */
#define MISSES_PER_TRIAL 32
/* A packet that comes so soon was not waited for in vain, whoever ran meanwhile. */
#define QUICK_NS 3000
/* Packets for which the window stays shut after a preemption spoiled it; doubles up to this. */
#define PENALTY_MAX 4096

static pthread_mutex_t contexts_lock = PTHREAD_MUTEX_INITIALIZER;
static uvface__loop_t* contexts;

static void on_prepare(uv_prepare_t* handle);

static void on_idle(uv_idle_t* handle) {
  (void) handle; /* its being started is what keeps the poll from blocking */
}

static inline void cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* True if the kernel took the CPU from this thread since the last time this was asked. */
static bool was_preempted(uvface__loop_t* ctx) {
#ifdef RUSAGE_THREAD
  struct rusage usage;
  long before = ctx->preemptions;

  getrusage(RUSAGE_THREAD, &usage);
  ctx->preemptions = usage.ru_nivcsw;
  return usage.ru_nivcsw != before;
#else
  (void) ctx;
  return false;
#endif
}

/* --- The list of contexts --------------------------------------------------------------------- */

static uvface__loop_t* context_new(uv_loop_t* loop) {
  uvface__loop_t* ctx = aligned_alloc(ALIGN_BYTES, (sizeof(*ctx) + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES);

  if (ctx == NULL) return NULL;
  memset(ctx, 0, offsetof(uvface__loop_t, arena)); /* the arena costs memory where it is used only */
  ctx->loop = loop;
  /* Not uv_available_parallelism(): a peer may run on a CPU that we are not allowed to use. */
  ctx->many_cpus = sysconf(_SC_NPROCESSORS_ONLN) > 1;
  uvface__list_init(&ctx->hot);
  uvface__list_init(&ctx->timed);
  uvface__list_init(&ctx->open);
  uv_prepare_init(loop, &ctx->prepare);
  uv_idle_init(loop, &ctx->idle);
  uv_timer_init(loop, &ctx->timer);
  uv_timer_init(loop, &ctx->probe);
  was_preempted(ctx); /* from now on */
  ctx->prepare.data = ctx->idle.data = ctx->timer.data = ctx->probe.data = NULL;
  uv_prepare_start(&ctx->prepare, on_prepare);
  uv_unref((uv_handle_t*) &ctx->prepare);
  uv_unref((uv_handle_t*) &ctx->idle);
  uv_unref((uv_handle_t*) &ctx->timer);
  uv_unref((uv_handle_t*) &ctx->probe);
  return ctx;
}

bool uvface__loop_is_dead(const uvface__loop_t* ctx) {
  return ctx->closed || uv_is_closing((const uv_handle_t*) &ctx->prepare) ||
         uv_is_closing((const uv_handle_t*) &ctx->idle) || uv_is_closing((const uv_handle_t*) &ctx->timer) ||
         uv_is_closing((const uv_handle_t*) &ctx->probe);
}

int uvface__loop_acquire(uv_loop_t* loop, uvface__loop_t** ret_ctx) {
  uvface__loop_t* ctx;

  pthread_mutex_lock(&contexts_lock);
  for (ctx = contexts; ctx != NULL; ctx = ctx->next)
    if (ctx->loop == loop && !uvface__loop_is_dead(ctx)) break;
  if (ctx == NULL && (ctx = context_new(loop)) != NULL) {
    ctx->next = contexts;
    contexts = ctx;
  }
  pthread_mutex_unlock(&contexts_lock);
  if (ctx == NULL) return UV_ENOMEM;
  ctx->faces++;
  *ret_ctx = ctx;
  return 0;
}

static void close_unless_closing(uv_handle_t* handle) {
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

bool uvface__loop_release(uvface__loop_t* ctx) {
  uvface__loop_t** at;

  if (--ctx->faces > 0) return false;
  pthread_mutex_lock(&contexts_lock);
  for (at = &contexts; *at != ctx; at = &(*at)->next) continue;
  *at = ctx->next;
  pthread_mutex_unlock(&contexts_lock);
  close_unless_closing((uv_handle_t*) &ctx->prepare);
  close_unless_closing((uv_handle_t*) &ctx->idle);
  close_unless_closing((uv_handle_t*) &ctx->timer);
  close_unless_closing((uv_handle_t*) &ctx->probe);
  ctx->closed = true;
  return true;
}

void uvface__loop_free(uvface__loop_t* ctx) {
  free(ctx);
}

/* --- Hot faces -------------------------------------------------------------------------------- */

void uvface__make_hot(uvface__priv_t* f) {
  uvface__loop_t* ctx = f->ctx;

  if (!uvface__list_empty(&f->hot) || uvface__loop_is_dead(ctx)) return;
  uvface__list_append(&ctx->hot, &f->hot);
  uv_idle_start(&ctx->idle, on_idle);
}

/* The window is worth it where what is waited for comes within it while we look. It is not where it comes
 * later, nor where the peer can only run when the kernel takes the CPU away from our looking. */
void uvface__window_hit(uvface__priv_t* f, uvface__window_t* w, uint64_t now_ns) {
  uint64_t max_ns = f->window_max_ns, open_ns;
  uint64_t gap_ns = now_ns > w->since_ns ? now_ns - w->since_ns : 0; /* one that was opened after now_ns was read */
  bool slept = w->slept, more = w->more;

  w->since_ns = now_ns;
  w->slept = false;
  w->more = uvface__recv_exhausted(f) || uvface__send_exhausted(f);
  open_ns = 0;
  if (more || (gap_ns <= QUICK_NS && !slept)) {
    w->ns = f->window_max_ns;
    w->penalty = w->skips = 0;
  } else if (w->skips > 0) {
    w->skips--;
  } else if (gap_ns > max_ns) {
    w->ns = w->ns / 2 >= WINDOW_MIN_NS ? w->ns / 2 : 0;
    if (++w->misses % MISSES_PER_TRIAL == 0) open_ns = max_ns;
  } else if (was_preempted(f->ctx) && !slept) { /* asked in any case: those while it slept do not count */
    w->ns = 0;
    w->penalty = w->penalty == 0 ? 1 : w->penalty < PENALTY_MAX ? w->penalty * 2 : PENALTY_MAX;
    w->skips = w->penalty;
  } else {
    w->ns = f->window_max_ns;
  }
  if (open_ns < w->ns) open_ns = w->ns;
  if (f->hot_until_ns < now_ns + open_ns) f->hot_until_ns = now_ns + open_ns;
}

void uvface__window_open(uvface__priv_t* f, uvface__window_t* w) {
  w->since_ns = uv_hrtime();
  w->more = w->slept = false;
  if (f->hot_until_ns < w->since_ns + w->ns) f->hot_until_ns = w->since_ns + w->ns;
}

unsigned int uvface__wants(const uvface__priv_t* f) {
  unsigned int what = 0;

  if (f->receiving) what |= NDNSHM_PACKETS;
  if (f->queued.first != NULL) what |= NDNSHM_SPACE;
  return what;
}

/* True if the face has something to tell the user that no look at a ring will bring about. */
static bool owes_callback(const uvface__priv_t* f) {
  return f->done.first != NULL || (f->receiving && (f->error != 0 || f->peer_gone));
}

static void serve_hot(uvface__loop_t* ctx) {
  uvface__link_t batch;

  uvface__list_take(&ctx->hot, &batch);
  while (!uvface__list_empty(&batch)) {
    uvface__link_t* link = batch.next;

    uvface__list_remove(link);
    uvface__list_append(&ctx->hot, link);
    uvface__serve(UVFACE__CONTAINER(link, uvface__priv_t, hot));
    if (!uvface__list_empty(&batch)) ctx->now_ns = uv_hrtime(); /* the callbacks of one are the wait of the next */
  }
  uvface__list_take(&ctx->hot, &batch); /* requests that one face's callback made on another */
  while (!uvface__list_empty(&batch)) {
    uvface__link_t* link = batch.next;

    uvface__list_remove(link);
    uvface__list_append(&ctx->hot, link);
    uvface__send_complete(UVFACE__CONTAINER(link, uvface__priv_t, hot));
  }
}

/* How long it pays to spin for the hot faces, in ns: 0 if any of them needs a turn of the loop first. */
static uint64_t spin_budget(const uvface__loop_t* ctx) {
  uint64_t budget_ns = 0;

  for (uvface__link_t* link = ctx->hot.next; link != &ctx->hot; link = link->next) {
    const uvface__priv_t* f = UVFACE__CONTAINER(link, uvface__priv_t, hot);

    if (owes_callback(f) || uvface__recv_exhausted(f)) return 0;
    if (f->queued.first != NULL && uvface__send_exhausted(f)) return 0;
    if (ctx->now_ns < f->hot_until_ns && f->spin_ns > budget_ns) budget_ns = f->spin_ns;
  }
  return budget_ns;
}

/* Ring loads and nothing else, until one of the hot faces has what it waits for, or until_ns: then false.
 * Leaves the time in now_ns. */
static bool spin(uvface__loop_t* ctx, uint64_t until_ns) {
  unsigned int looks = 0;

  for (;;) {
    for (uvface__link_t* link = ctx->hot.next; link != &ctx->hot; link = link->next) {
      uvface__priv_t* f = UVFACE__CONTAINER(link, uvface__priv_t, hot);

      if (ndnshm_ready(f->ep, uvface__wants(f)) != 0) {
        f->spin_hits++;
        ctx->now_ns = uv_hrtime();
        return true;
      }
      if (++looks % LOOKS_PER_CLOCK == 0 && (ctx->now_ns = uv_hrtime()) >= until_ns) return false;
    }
    cpu_relax();
  }
}

/* The face sleeps now; what its peer does not announce, or may fail to, is looked at by the clock. */
static void fell_asleep(uvface__priv_t* f, unsigned int what) {
  bool may_lose_wakeup =
      (what & NDNSHM_PACKETS) != 0 && f->recheck_ms != 0 && (ndnshm_peer_caps(f->ep) & NDNSHM_CAP_FENCED) == 0;
  bool is_not_woken = (what & ~f->announced & NDNSHM_SPACE) != 0;
  uint64_t now_ms;

  f->packets.slept = f->space.slept = true;
  f->packets.more = f->space.more = false;
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
static bool is_hot(const uvface__priv_t* f) {
  return owes_callback(f) || (uvface__wants(f) != 0 && f->ctx->now_ns < f->hot_until_ns);
}

static bool any_is_hot(const uvface__loop_t* ctx) {
  for (uvface__link_t* link = ctx->hot.next; link != &ctx->hot; link = link->next)
    if (is_hot(UVFACE__CONTAINER(link, uvface__priv_t, hot))) return true;
  return false;
}

/* Puts the faces whose window is over to sleep: all announcements, one fence, a last look at each. */
static void park_expired(uvface__loop_t* ctx) {
  uint64_t linger_ns = any_is_hot(ctx) ? LINGER_NS : 0;
  uvface__link_t all, parking;

  uvface__list_take(&ctx->hot, &all);
  uvface__list_init(&parking);
  while (!uvface__list_empty(&all)) {
    uvface__priv_t* f = UVFACE__CONTAINER(all.next, uvface__priv_t, hot);

    uvface__list_remove(&f->hot);
    if (is_hot(f) || (uvface__wants(f) != 0 && ctx->now_ns < f->hot_until_ns + linger_ns)) {
      uvface__list_append(&ctx->hot, &f->hot);
    } else if (uvface__wants(f) != 0) {
      f->announced = ndnshm_announce(f->ep, uvface__wants(f));
      uvface__list_append(&parking, &f->hot);
    }
  }
  if (uvface__list_empty(&parking)) return;
  ndnshm_fence();
  while (!uvface__list_empty(&parking)) {
    uvface__priv_t* f = UVFACE__CONTAINER(parking.next, uvface__priv_t, hot);

    uvface__list_remove(&f->hot);
    if (ndnshm_confirm(f->ep, uvface__wants(f)) != 0)
      uvface__list_append(&ctx->hot, &f->hot);
    else
      fell_asleep(f, uvface__wants(f));
  }
}

static void on_prepare(uv_prepare_t* handle) {
  uvface__loop_t* ctx = UVFACE__CONTAINER(handle, uvface__loop_t, prepare);
  uint64_t end_ns;

  ctx->turn++;
  if (uvface__list_empty(&ctx->hot)) {
    uv_idle_stop(&ctx->idle); /* the last hot face was closed */
    return;
  }
  ctx->now_ns = uv_hrtime();
  end_ns = ctx->now_ns + SPIN_PER_TURN_NS;
  for (;;) {
    uint64_t budget_ns, until_ns;

    serve_hot(ctx);
    if (uvface__loop_is_dead(ctx)) return;
    uv_idle_stop(&ctx->idle);
    if (uvface__list_empty(&ctx->hot) || uv_backend_timeout(ctx->loop) == 0) break;
    if ((budget_ns = spin_budget(ctx)) == 0) break;
    ctx->now_ns = uv_hrtime(); /* callbacks have run since */
    until_ns = ctx->now_ns + budget_ns < end_ns ? ctx->now_ns + budget_ns : end_ns;
    if (until_ns <= ctx->now_ns || !spin(ctx, until_ns)) break; /* so end_ns ends it, if nothing else does */
  }
  park_expired(ctx);
  if (!uvface__list_empty(&ctx->hot)) uv_idle_start(&ctx->idle, on_idle);
}
