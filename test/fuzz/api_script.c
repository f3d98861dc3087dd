/* SPDX-License-Identifier: MIT */
/* api_script.c: what the bytes of an input mean: each two or more of them are one thing that the program does, between
 * turns or in a callback; and the program's own handles, its loops, and its child. See api_ends.h. What the numbers
 * mean is fixed by the corpus: add at the end. */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api_ends.h"

#define OPS_PER_CALLBACK 4

/* --- Bytes ------------------------------------------------------------------------------------ */

static uint8_t next_byte(void) {
  return run.in_callback > 0 ? fuzz_back(&run.in) : fuzz_front(&run.in);
}

static end_t* pick(uint8_t arg) {
  return run.ends[arg % ENDS_MAX];
}

/* --- Handles and loops ------------------------------------------------------------------------ */

static void on_timer(uv_timer_t* handle) {
  (void) handle;
  api_begin_callback();
  script_do_some();
  api_end_callback();
}

static void on_async(uv_async_t* handle) {
  (void) handle;
  api_begin_callback();
  script_do_some();
  api_end_callback();
}

static void on_prepare(uv_prepare_t* handle) {
  (void) handle;
  api_begin_callback();
  script_do_some();
  api_end_callback();
}

static void on_check(uv_check_t* handle) {
  (void) handle;
  api_begin_callback();
  script_do_some();
  api_end_callback();
}

static void on_idle(uv_idle_t* handle) {
  (void) handle;
  api_begin_callback();
  script_do_some();
  api_end_callback();
}

void loop_open(loop_t* l) {
  FUZZ_REQUIRE(uv_loop_init(&l->loop) == 0);
  uv_timer_init(&l->loop, &l->timer);
  uv_async_init(&l->loop, &l->async, on_async);
  uv_prepare_init(&l->loop, &l->prepare);
  uv_check_init(&l->loop, &l->check);
  uv_idle_init(&l->loop, &l->idle);
}

static void use_handles(uint8_t which, uint8_t code) {
  loop_t* l = &run.loops[which % run.nloops];

  if (l->lonely || l->dead) return;
  switch (code % 10) {
    case 0: uv_timer_start(&l->timer, on_timer, code / 10 % 4, code / 40); break;
    case 1: uv_timer_stop(&l->timer); break;
    case 2: uv_async_send(&l->async); break;
    case 3: uv_prepare_start(&l->prepare, on_prepare); break;
    case 4: uv_prepare_stop(&l->prepare); break;
    case 5: uv_check_start(&l->check, on_check); break;
    case 6: uv_check_stop(&l->check); break;
    case 7: uv_idle_start(&l->idle, on_idle); break;
    case 8: uv_idle_stop(&l->idle); break;
    default: uv_update_time(&l->loop); break;
  }
}

void loop_turn(unsigned int which) {
  run.points = 0;
  uv_run(&run.loops[which % run.nloops].loop, UV_RUN_NOWAIT);
}

void loop_close_handle(uv_handle_t* handle, void* arg) {
  (void) arg;
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

/* Rule 8. */
static void walk(unsigned int which) {
  loop_t* l = &run.loops[which % run.nloops];

  uv_walk(&l->loop, loop_close_handle, NULL);
  l->dead = true;
  for (end_t* end = run.all; end != NULL; end = end->next)
    if (end->loop == which % run.nloops) end->orphan = true;
}

/* --- A child ---------------------------------------------------------------------------------- */

/* Closes its copies, and opens a face of its own. The parent's go on. */
static void fork_once(void) {
  pid_t pid, reaped;
  int status;

  if (run.forked) return;
  run.forked = true;
  pid = fork();
  FUZZ_REQUIRE(pid >= 0);
  if (pid == 0) {
    run.quiet = true;
    run.poke_at = 0;
    for (unsigned int i = 0; i < run.nloops; i++)
      if (uv_loop_fork(&run.loops[i].loop) != 0) _exit(1);
    for (int i = 0; i < ENDS_MAX; i++)
      if (run.ends[i] != NULL) uvface_close(&run.ends[i]->face, NULL);
    _exit(0);
  }
  while ((reaped = waitpid(pid, &status, 0)) < 0 && errno == EINTR) continue; /* the fuzzer has a timer */
  FUZZ_REQUIRE(reaped == pid);
  FUZZ_REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* --- The script ------------------------------------------------------------------------------- */

void script_do_one(void) {
  uint8_t op = next_byte(), arg = next_byte();
  end_t* end = pick(arg);

  if (++run.ops > OPS_MAX) return;
  switch (op % 41) {
    case 0:
    case 1:
      if (run.in_callback == 0) loop_turn(arg);
      break;
    case 2: end_new(arg, arg / ENDS_MAX); break;
    case 3: end_create(end, BY_NAME, arg / ENDS_MAX, next_byte()); break;
    case 4: end_connect(end, arg / ENDS_MAX, next_byte()); break;
    case 5: end_create(end, BY_DESCRIPTORS, 0, next_byte()); break;
    case 6: end_attach(end, pick(arg / ENDS_MAX), next_byte()); break;
    case 7: end_open_pair(end, next_byte()); break;
    case 8: end_open_raw(end, link_get(arg / ENDS_MAX), next_byte()); break;
    case 9: end_close_app_fds(end); break;
    case 10:
    case 11: end_start(end, false); break;
    case 12: end_start(end, true); break;
    case 13: end_stop(end); break;
    case 14: end_try_send(end, next_byte(), false); break;
    case 15: end_try_send(end, next_byte(), true); break;
    case 16: end_send(end, next_byte(), false, false); break;
    case 17: end_send(end, next_byte(), true, false); break;
    case 18: end_send(end, next_byte(), arg >= 128, true); break;
    case 19: end_reserve(end, next_byte()); break;
    case 20: end_commit(end, (uint8_t) (2 + arg / 128)); break;
    case 21: end_commit(end, next_byte()); break;
    case 22:
    case 23:
      if (end != NULL) end_close(end, false);
      break;
    case 24:
      if (end != NULL) end_close(end, true);
      break;
    case 25: end_set_ref(end, arg >= 128); break;
    case 26: end_ask(end); break;
    case 27: end_ask_wrongly(end, next_byte()); break;
    case 28: end_set_filter(end, next_byte()); break;
    case 29: use_handles(arg, next_byte()); break;
    case 30: sandbox_advance_ms(arg < 200 ? 1 + arg % 8 : 1100); break;
    case 31:
    case 32: {
      uint8_t where = next_byte();

      link_poke(link_get(arg / 8), arg, where, next_byte());
      break;
    }
    case 33:
      run.poke_at = 1u + arg % 64;
      run.poke_link = arg / 64;
      for (int i = 0; i < 3; i++) run.poke[i] = next_byte();
      break;
    case 34:
      if (end != NULL && end->state == END_OPEN) link_hold_descriptors(end->link, &end->face);
      break;
    case 35:
      if (arg % 8 == 0) walk(arg / 8);
      break;
    case 36:
    case 37: end_open_both(arg, next_byte()); break;
    case 38: /* fill it */
      for (int i = 0; i < 24; i++) end_try_send(end, arg, false);
      break;
    case 39: end_set_event_cb(end, arg < 192); break;
    default:
      if ((run.flags & FLAG_FORKS) == FLAG_FORKS) fork_once();
      break;
  }
}

/* What a callback does. */
void script_do_some(void) {
  unsigned int n;

  if (run.quiet || fuzz_left(&run.in) == 0) return;
  n = fuzz_back(&run.in) % OPS_PER_CALLBACK;
  while (n-- > 0) script_do_one();
}
