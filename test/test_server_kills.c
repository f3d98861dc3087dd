/* SPDX-License-Identifier: MIT */
/* test_server_kills.c: a process is killed at every step of its life at the door (shim.h). An app, from connect through
 * command and handoff to its last packet: whatever the step, the server has nothing left of it, and serves the next
 * one. The server, beside an app: the app is told, and the next server takes the door over.
 * Under sanitizers and valgrind (UVFACE_SLOW=n) only every n-th step is tried. */
#include <errno.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ndnshm.h>

#include "served.h"
#include "shim.h"

/* What a victim leaves to its survivor. */
typedef struct will_s {
  shim_trace_t trace;
  bool finished;
} will_t;

typedef struct case_s {
  served_t* served;
  will_t* will;
  unsigned int die_at;
  const char* name; /* of the face; NULL: a private one */
  int go[2];
} case_t;

static will_t* will_new(void) {
  void* will = mmap(NULL, sizeof(will_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

  ck_assert_ptr_ne(will, MAP_FAILED);
  return will;
}

static const char* died_before(const case_t* c) {
  static char text[160];
  const shim_trace_t* trace = &c->will->trace;

  snprintf(text, sizeof(text), "dead before step %u (%s)", trace->steps,
           trace->steps > 0 ? trace->names[(trace->steps - 1) % SHIM_TRACE_STEPS] : "none");
  return text;
}

#define SURVIVES(c, condition) ck_assert_msg(condition, "%s: %s", died_before(c), #condition)

static unsigned int step_width(void) {
  return harness_slow() > 4 ? harness_slow() : 1;
}

static void cold_options(uvface_options_t* options) {
  options->capacity = 8;
  options->slot_size = 1000;
  options->hot_ns = options->spin_ns = 0; /* as few steps as possible */
}

/* Files in the directory, beside the server's own socket. */
static int count_files(const served_t* served) {
  DIR* directory = opendir(served->directory);
  int n = 0;

  for (struct dirent* e = readdir(directory); e != NULL; e = readdir(directory))
    n += e->d_name[0] != '.' || e->d_name[1] == 'n';
  closedir(directory);
  return n - exists(served->path);
}

/* --- An app dies -------------------------------------------------------------------------------- */

static int finish(case_t* c) {
  shim_disarm();
  c->will->finished = true;
  kill(getpid(), SIGKILL);
  return 1;
}

static int app_body(void* arg) {
  case_t* c = arg;

  shim_die_at(c->die_at, &c->will->trace);
  if (c->name != NULL ? plain_named(c->served, c->name) : plain_app(c->served, handoff_key(1))) return 1;
  return finish(c);
}

/* Runs the loop until the child is dead. */
static void bury(case_t* c, pid_t pid) {
  int status = 0;
  bool reaped = false;

  RUN_UNTIL(&c->served->loop, reaped || (reaped = waitpid(pid, &status, WNOHANG) == pid));
  SURVIVES(c, status == SIGKILL);
}

static void assert_nothing_left(const case_t* c) {
  SURVIVES(c, count_files(c->served) == 0);
  SURVIVES(c, served_stats(c->served).apps == 0);
  SURVIVES(c, served_stats(c->served).app_faces == 0);
  if (c->name != NULL)
    SURVIVES(c, !exists(harness_shm_path(c->name)) && !exists(harness_a2e_path(c->name)) &&
                    !exists(harness_e2a_path(c->name)));
}

static void kill_app_at_each_step(case_t* c) {
  unsigned int opened = 0, faces = 0;
  int fds;

  c->will = will_new();
  cold_options(&c->served->options.face);
  served_listen(c->served);
  fds = harness_count_fds();
  for (c->die_at = 1; !c->will->finished; c->die_at += step_width()) {
    c->will->trace = (shim_trace_t){.steps = 0};
    c->served->opened = c->served->closed = 0;
    bury(c, harness_fork(app_body, c));
    /* what it was dead before is certain; whether it was seen may be a matter of one more turn */
    run_for(&c->served->loop, 1);
    RUN_UNTIL(&c->served->loop, c->served->closed == c->served->opened);
    opened += c->served->opened > 0;
    faces += c->served->opened > 1;
    assert_nothing_left(c);
    SURVIVES(c, harness_count_fds() == fds);
    ck_assert_uint_lt(c->die_at, SHIM_TRACE_STEPS);
  }
  ck_assert_uint_gt(c->die_at, 15);
  ck_assert_uint_gt(opened * step_width(), 10);
  ck_assert_uint_gt(faces * step_width(), 5);
  munmap(c->will, sizeof(*c->will));
  served_close(c->served);
}

TEST(app_that_dies_at_any_step_leaves_nothing) {
  served_t served;
  case_t c = {.served = &served};

  served_init(&served);
  kill_app_at_each_step(&c);
}

TEST(app_of_a_named_face_that_dies_at_any_step_leaves_nothing) {
  served_t served;
  case_t c = {.served = &served};
  char name[80];

  snprintf(name, sizeof(name), "%s", harness_name("dies"));
  c.name = name;
  served_init(&served);
  kill_app_at_each_step(&c);
}

/* --- The server dies ---------------------------------------------------------------------------- */

/* Serves one app, and closes. */
static int server_body(void* arg) {
  case_t* c = arg;
  served_t* served = c->served;

  close(c->go[0]);
  ASSERT_OK(uv_loop_init(&served->loop));
  ASSERT_OK(uvface_server_init(&served->loop, &served->server));
  served->server.data = served;
  shim_die_at(c->die_at, &c->will->trace);
  if (uvface_server_listen(&served->server, served->path, &served->options, &served->callbacks) < 0) return 1;
  if (write(c->go[1], "g", 1) != 1) return 1;
  while (served->closed < 2) uv_run(&served->loop, UV_RUN_ONCE);
  uvface_server_close(&served->server, NULL);
  uv_run(&served->loop, UV_RUN_DEFAULT);
  return finish(c);
}

static int waiting_app_body(void* arg) {
  case_t* c = arg;
  char byte;

  close(c->go[1]);
  if (read(c->go[0], &byte, 1) == 1) plain_app(c->served, handoff_key(1)); /* it may fail: its server dies */
  return 0;
}

static void take_the_door_over(case_t* c) {
  served_t next;
  pid_t pid;
  bool reaped = false;
  int status = -1;

  served_init(&next);
  rmdir(next.directory);
  memcpy(next.directory, c->served->directory, sizeof(next.directory));
  memcpy(next.path, c->served->path, sizeof(next.path));
  cold_options(&next.options.face);
  served_listen(&next);
  c->served = &next;
  ck_assert_int_eq(pipe(c->go), 0);
  ck_assert_int_eq(write(c->go[1], "g", 1), 1);
  pid = harness_fork(waiting_app_body, c); /* with the same key: a socket of the dead server's may be there */
  RUN_UNTIL(&next.loop, reaped || (reaped = waitpid(pid, &status, WNOHANG) == pid));
  SURVIVES(c, status == 0);
  RUN_UNTIL(&next.loop, next.closed == 2);
  SURVIVES(c, next.packets == 1);
  close(c->go[0]);
  close(c->go[1]);
  uvface_server_close(&next.server, NULL);
  finish_loop(&next.loop);
}

TEST(door_of_a_server_that_dies_at_any_step_is_taken_over) {
  served_t served;
  case_t c = {.die_at = 1, .will = will_new()};
  int fds;

  served_init(&served);
  uvface_server_close(&served.server, NULL);
  finish_loop(&served.loop);
  cold_options(&served.options.face);
  fds = harness_count_fds();
  for (; !c.will->finished; c.die_at += step_width()) {
    pid_t victim, app;

    c.served = &served;
    c.will->trace = (shim_trace_t){.steps = 0};
    ck_assert_int_eq(pipe(c.go), 0);
    victim = harness_fork(server_body, &c);
    app = harness_fork(waiting_app_body, &c);
    close(c.go[0]);
    close(c.go[1]);
    SURVIVES(&c, harness_wait(victim, DEADLINE_MS) == SIGKILL);
    SURVIVES(&c, harness_wait(app, DEADLINE_MS) == 0);
    take_the_door_over(&c);
    SURVIVES(&c, count_files(&served) == 0);
    SURVIVES(&c, harness_count_fds() == fds);
    ck_assert_uint_lt(c.die_at, SHIM_TRACE_STEPS);
  }
  ck_assert_uint_gt(c.die_at, 50);
  munmap(c.will, sizeof(*c.will));
  ck_assert_int_eq(rmdir(served.directory), 0);
}
