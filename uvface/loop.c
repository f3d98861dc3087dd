/* SPDX-License-Identifier: MIT */
/* loop.c: the context of a loop: its handles, and the lists of the faces that want something of it.
 *
 * Guarantees one context for each loop that has faces, which goes with the last of them. Never runs, stops or walks
 * the user's loop, never touches loop->data. All functions belong to the loop's thread; only the list of contexts is
 * shared, behind its lock. */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

/* Of the arena, for copies that fill cache lines. */
#define ALIGN_BYTES 64

static pthread_mutex_t contexts_lock = PTHREAD_MUTEX_INITIALIZER;
static uvface__loop_t* contexts;
static pthread_once_t fork_handlers = PTHREAD_ONCE_INIT;

/* --- The list of contexts --------------------------------------------------------------------- */

/* A child that is forked while another thread holds the lock would find it locked for ever. */
static void lock_for_fork(void) {
  pthread_mutex_lock(&contexts_lock);
}

static void unlock_after_fork(void) {
  pthread_mutex_unlock(&contexts_lock);
}

static void add_fork_handlers(void) {
  pthread_atfork(lock_for_fork, unlock_after_fork, unlock_after_fork);
}

static void init_handles(uvface__loop_t* ctx, uv_prepare_cb on_prepare, uv_check_cb on_check) {
  uv_prepare_init(ctx->loop, &ctx->prepare);
  uv_check_init(ctx->loop, &ctx->check);
  uv_idle_init(ctx->loop, &ctx->idle);
  uv_timer_init(ctx->loop, &ctx->timer);
  uv_timer_init(ctx->loop, &ctx->probe);
  ctx->prepare.data = ctx->check.data = ctx->idle.data = ctx->timer.data = ctx->probe.data = NULL;
  uv_prepare_start(&ctx->prepare, on_prepare);
  uv_check_start(&ctx->check, on_check);
  uv_unref((uv_handle_t*) &ctx->prepare);
  uv_unref((uv_handle_t*) &ctx->check);
  uv_unref((uv_handle_t*) &ctx->idle);
  uv_unref((uv_handle_t*) &ctx->timer);
  uv_unref((uv_handle_t*) &ctx->probe);
}

static uvface__loop_t* context_new(uv_loop_t* loop, uv_prepare_cb on_prepare, uv_check_cb on_check,
                                   uv_timer_cb on_timer) {
  uvface__loop_t* ctx = aligned_alloc(ALIGN_BYTES, (sizeof(*ctx) + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES);

  if (ctx == NULL) return NULL;
  memset(ctx, 0, offsetof(uvface__loop_t, arena)); /* the arena costs memory where it is used only */
  ctx->loop = loop;
  ctx->on_timer = on_timer;
  ctx->preemptions = -1;
  /* Not uv_available_parallelism(): a peer may run on a CPU that we are not allowed to use. */
  ctx->many_cpus = sysconf(_SC_NPROCESSORS_ONLN) > 1;
  uvface__list_init(&ctx->hot_list);
  uvface__list_init(&ctx->timed_list);
  uvface__list_init(&ctx->open_list);
  uvface__list_init(&ctx->owing_list);
  init_handles(ctx, on_prepare, on_check);
  return ctx;
}

bool uvface__loop_is_dead(const uvface__loop_t* ctx) {
  return ctx->closed || uv_is_closing((const uv_handle_t*) &ctx->prepare) ||
         uv_is_closing((const uv_handle_t*) &ctx->check) || uv_is_closing((const uv_handle_t*) &ctx->idle) ||
         uv_is_closing((const uv_handle_t*) &ctx->timer) || uv_is_closing((const uv_handle_t*) &ctx->probe);
}

int uvface__loop_acquire(uv_loop_t* loop, uv_prepare_cb on_prepare, uv_check_cb on_check, uv_timer_cb on_timer,
                         uvface__loop_t** ret_ctx) {
  uvface__loop_t* ctx;

  pthread_once(&fork_handlers, add_fork_handlers);
  pthread_mutex_lock(&contexts_lock);
  for (ctx = contexts; ctx != NULL; ctx = ctx->next)
    if (ctx->loop == loop && !uvface__loop_is_dead(ctx)) break;
  if (ctx == NULL && (ctx = context_new(loop, on_prepare, on_check, on_timer)) != NULL) {
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
  close_unless_closing((uv_handle_t*) &ctx->check);
  close_unless_closing((uv_handle_t*) &ctx->idle);
  close_unless_closing((uv_handle_t*) &ctx->timer);
  close_unless_closing((uv_handle_t*) &ctx->probe);
  ctx->closed = true;
  return true;
}

void uvface__loop_free(uvface__loop_t* ctx) {
  assert(ctx->faces == 0 && ctx->alive == 0);
  assert(uvface__list_empty(&ctx->hot_list) && uvface__list_empty(&ctx->timed_list));
  assert(uvface__list_empty(&ctx->open_list) && uvface__list_empty(&ctx->owing_list));
  free(ctx);
}

/* --- What faces want of it -------------------------------------------------------------------- */

void uvface__begin_turn(uvface__loop_t* ctx) {
  if (!ctx->in_turn || uvface__loop_is_dead(ctx)) ctx->turn++; /* nothing ends the turns of a dead loop */
  ctx->in_turn = true;
}

/* Its being started keeps the poll from blocking. And it usually runs before others' idle handles: it was started
 * last. */
static void on_idle(uv_idle_t* handle) {
  uvface__loop_t* ctx = UVFACE__CONTAINER(handle, uvface__loop_t, idle);

  uvface__begin_turn(ctx);
  if (uvface__loop_is_dead(ctx)) uvface__keep_turning(ctx); /* no longer */
}

void uvface__keep_turning(uvface__loop_t* ctx) {
  bool is_dead = uvface__loop_is_dead(ctx); /* then what is owed is settled by closing */
  bool owes = !is_dead && !uvface__list_empty(&ctx->owing_list);

  if (owes || (!is_dead && !uvface__list_empty(&ctx->hot_list)))
    uv_idle_start(&ctx->idle, on_idle);
  else
    uv_idle_stop(&ctx->idle);
  if (owes) /* whoever is still alive */
    uv_ref((uv_handle_t*) &ctx->idle);
  else
    uv_unref((uv_handle_t*) &ctx->idle);
}

void uvface__make_hot(uvface__priv_t* f) {
  uvface__loop_t* ctx = f->ctx;

  if (!uvface__list_empty(&f->hot_link) || uvface__loop_is_dead(ctx)) return;
  uvface__list_append(&ctx->hot_list, &f->hot_link);
  uvface__keep_turning(ctx);
}

void uvface__at(uvface__priv_t* f, uint64_t due_ms) {
  uvface__loop_t* ctx = f->ctx;
  uint64_t now_ms = uv_hrtime() / 1000000;

  if (uvface__loop_is_dead(ctx)) return;
  if (uvface__list_empty(&f->timed_link)) uvface__list_append(&ctx->timed_list, &f->timed_link);
  if (ctx->timer_due_ms != 0 && ctx->timer_due_ms <= due_ms) return;
  ctx->timer_due_ms = due_ms;
  /* From now, not from uv_now(), which may be a long turn old: the poll would sleep that much longer. And never
   * 0: time stands still for the loop while it runs its timers. */
  uv_timer_start(&ctx->timer, ctx->on_timer, due_ms > now_ms ? due_ms - now_ms : 1, 0);
}
