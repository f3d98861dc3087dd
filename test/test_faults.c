/* SPDX-License-Identifier: MIT */
/* test_faults.c: every call by which an operation asks the kernel, the C library or libuv for something fails
 * once, with each error that is natural to it (shim.h); then nothing may be left, the error and its text must
 * be right, and the operation, repeated, must work. An interruption (EINTR) must not be noticed at all. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ndnshm.h>

#include "faces.h"
#include "fifo.h"
#include "shim.h"

#define MAX_CALLS 200
#define SMALL_RING 2
#define HUGE_PACKET 300000 /* more than a loop's arena holds, so that one that comes needs memory of its own */

/* --- A face of our own, and what there is of it ---------------------------------------------- */

typedef struct scene_s {
  uv_loop_t loop;
  char name[80];
  uvface_t engine, app;
  uvface_send_t req;
  ndnshm_t* core_engine;
  ndnshm_t* core_app;
  int engine_got, app_got; /* packets, or the error that ended receiving */
  int sends_done, send_status;
} scene_t;

typedef struct inventory_s {
  int fds, maps, names, handles;
} inventory_t;

static void count_handle(uv_handle_t* handle, void* n) {
  (void) handle;
  ++*(int*) n;
}

static int count_maps(const char* name) {
  char line[512];
  FILE* maps = fopen("/proc/self/maps", "re");
  int n = 0;

  ck_assert_ptr_nonnull(maps);
  while (fgets(line, sizeof(line), maps) != NULL)
    n += strstr(line, name) != NULL || strstr(line, "/dev/shm/#") != NULL || strstr(line, "/memfd:ndn-shm") != NULL;
  fclose(maps);
  return n;
}

static int count_names(const char* name) {
  const char* const paths[] = {harness_shm_path(name), harness_a2e_path(name), harness_e2a_path(name)};
  struct stat st;
  int n = 0;

  for (int p = 0; p < 3; p++) n += lstat(paths[p], &st) == 0;
  return n;
}

static inventory_t look(scene_t* s) {
  inventory_t there = {.maps = count_maps(s->name), .names = count_names(s->name), .fds = harness_count_fds()};

  uv_walk(&s->loop, count_handle, &there.handles);
  return there;
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  int* got = face->data;

  (void) pkts;
  *got = npkts < 0 ? (int) npkts : *got + (int) npkts;
}

static void on_sent(uvface_send_t* req, int status) {
  scene_t* s = req->data;

  s->sends_done++;
  s->send_status = status;
}

static int send_byte(uvface_t* face) {
  static char byte = 'b';
  uv_buf_t buf = uv_buf_init(&byte, 1);

  return uvface_try_send(face, &buf, 1);
}

/* Runs the loop until *counter has reached n, or is an error. */
static void run_until_count(scene_t* s, const int* counter, int n) {
  uint64_t end_ns = harness_now_ns() + UINT64_C(10000000000) * harness_slow();

  while (*counter >= 0 && *counter < n) {
    ck_assert_msg(harness_now_ns() < end_ns, "%d of %d", *counter, n);
    uv_run(&s->loop, UV_RUN_NOWAIT);
  }
}

/* A packet each way: whatever failed before, the face works. */
static void assert_works(scene_t* s) {
  s->engine_got = s->app_got = 0;
  ASSERT_OK(uvface_recv_start(&s->engine, on_packets));
  ASSERT_OK(uvface_recv_start(&s->app, on_packets));
  ck_assert_int_eq(send_byte(&s->engine), 1);
  ck_assert_int_eq(send_byte(&s->app), 1);
  run_until_count(s, &s->engine_got, 1);
  run_until_count(s, &s->app_got, 1);
  ck_assert_int_eq(s->engine_got, 1);
  ck_assert_int_eq(s->app_got, 1);
}

static void init_face(scene_t* s, uvface_t* face, int* got) {
  ASSERT_OK(uvface_init(&s->loop, face));
  face->data = got;
}

static int create(scene_t* s, uint32_t slot_size) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;

  options.capacity = SMALL_RING;
  options.slot_size = slot_size;
  options.uid = geteuid(); /* so that fchown is called */
  options.gid = getegid();
  return face_create(&s->engine, s->name, &options);
}

static void open_pair(scene_t* s, uint32_t slot_size) {
  init_face(s, &s->engine, &s->engine_got);
  init_face(s, &s->app, &s->app_got);
  ck_assert_msg(create(s, slot_size) == 0, "%s", uvface_errmsg(&s->engine));
  ck_assert_msg(face_connect(&s->app, s->name, NULL) == 0, "%s", uvface_errmsg(&s->app));
}

static void close_pair(scene_t* s) {
  uvface_close(&s->app, NULL);
  uvface_close(&s->engine, NULL);
  ck_assert_int_eq(uv_run(&s->loop, UV_RUN_DEFAULT), 0);
}

/* --- Operations ------------------------------------------------------------------------------- */

typedef struct operation_s {
  const char* name;
  void (*prepare)(scene_t* s);
  int (*act)(scene_t* s); /* 0 or the error; with the shim armed, so without assertions */
  const char* (*errmsg)(const scene_t* s);
  void (*finish)(scene_t* s);
  int (*translate)(const char* call, int err); /* the error that a failed call becomes; 0 = none */
  int or_else; /* what failing to see may become instead: not seen to be alive, or to be ours */
  bool is_of_names;
} operation_t;

static int nothing_is_translated(const char* call, int err) {
  (void) call;
  return err;
}

/* What a lock that somebody else holds means; and file systems without locks are lived with, as kernels are that know
 * no such memory, or refuse it. */
static int translate_create(const char* call, int err) {
  if (strcmp(call, "memfd_create") == 0 && (err == -EPERM || err == -EINVAL)) return 0;
  if (strcmp(call, "setsockopt") == 0) return 0; /* not every kernel can refuse descriptors */
  if (strcmp(call, "flock") == 0) return err == -EWOULDBLOCK ? -EADDRINUSE : 0;
  return err;
}

/* A named region that may be opened and not mapped has been sealed meanwhile, for another app. */
static int translate_mapping(const char* call, int err) {
  return faces_kind == NAMED && strcmp(call, "mmap") == 0 && err == -EACCES ? -EBUSY : err;
}

static int translate_connect(const char* call, int err) {
  if (strcmp(call, "setsockopt") == 0) return 0;
  return strcmp(call, "getpeername") == 0 ? -EPROTO : translate_mapping(call, err);
}

/* That the other engine is dead, its FIFO can show as well as its header. */
static int translate_create_over(const char* call, int err) {
  if (strcmp(call, "pread") == 0) return 0;
  return translate_create(call, err);
}

static int no_error(const char* call, int err) {
  (void) call;
  (void) err;
  return 0;
}

static const char* engine_errmsg(const scene_t* s) {
  return uvface_errmsg(&s->engine);
}

static const char* app_errmsg(const scene_t* s) {
  return uvface_errmsg(&s->app);
}

static const char* no_errmsg(const scene_t* s) {
  (void) s;
  return NULL;
}

static void prepare_init(scene_t* s) {
  (void) s;
}

static int act_init(scene_t* s) {
  return uvface_init(&s->loop, &s->engine);
}

static void finish_init(scene_t* s) {
  s->engine.data = &s->engine_got;
  init_face(s, &s->app, &s->app_got);
  ASSERT_OK(create(s, 100));
  ASSERT_OK(face_connect(&s->app, s->name, NULL));
  assert_works(s);
  close_pair(s);
}

static void prepare_create(scene_t* s) {
  init_face(s, &s->engine, &s->engine_got);
}

static int act_create(scene_t* s) {
  return create(s, HUGE_PACKET);
}

static void finish_create(scene_t* s) {
  init_face(s, &s->app, &s->app_got);
  ck_assert_msg(face_connect(&s->app, s->name, NULL) == 0, "%s", uvface_errmsg(&s->app));
  assert_works(s);
  close_pair(s);
}

static int die_as_engine(void* name) {
  ndnshm_t* ep;
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;

  options.capacity = SMALL_RING;
  options.mode = 0666;
  if (ndnshm_new(&ep) == 0 && ndnshm_create(ep, name, &options) == 0) kill(getpid(), SIGKILL);
  return 1;
}

static void prepare_create_over(scene_t* s) {
  int status = harness_wait(harness_fork(die_as_engine, s->name), 10000 * (int) harness_slow());

  ck_assert(status > 0 && WIFSIGNALED(status));
  init_face(s, &s->engine, &s->engine_got);
  ck_assert_int_eq(count_names(s->name), 3);
}

static void prepare_connect(scene_t* s) {
  init_face(s, &s->engine, &s->engine_got);
  init_face(s, &s->app, &s->app_got);
  ASSERT_OK(create(s, HUGE_PACKET));
}

static int act_connect(scene_t* s) {
  return face_connect(&s->app, s->name, NULL);
}

static void finish_connect(scene_t* s) {
  int fds[3];

  if (shim_failed_call() == NULL || strcmp(shim_failed_call(), "uv_poll_start") != 0) assert_works(s);
  if (faces_kind != NAMED && face_take(s->name, fds)) close_fds(fds); /* what it did not become the app of */
  close_pair(s);
}

static void prepare_send(scene_t* s) {
  open_pair(s, 100);
  ck_assert_int_eq(fill_ring(&s->app), SMALL_RING);
}

static int act_send(scene_t* s) {
  static char text[] = "six of one";
  uv_buf_t bufs[6];

  for (int b = 0; b < 6; b++) bufs[b] = uv_buf_init(text, 1);
  s->req.data = s;
  return uvface_send(&s->req, &s->app, bufs, 6, on_sent);
}

static void finish_send(scene_t* s) {
  ASSERT_OK(uvface_recv_start(&s->engine, on_packets));
  run_until_count(s, &s->engine_got, SMALL_RING + 1);
  run_until_count(s, &s->sends_done, 1);
  run_for(&s->loop, 1);
  ck_assert_int_eq(s->engine_got, SMALL_RING + 1);
  ck_assert_int_eq(s->sends_done, 1);
  ck_assert_int_eq(s->send_status, 0);
  close_pair(s);
}

static void prepare_waking_send(scene_t* s) {
  uvface_stats_t engine = {.parks = 0}, app = {.parks = 0};

  open_pair(s, 100);
  ASSERT_OK(uvface_recv_start(&s->engine, on_packets));
  ASSERT_OK(uvface_recv_start(&s->app, on_packets));
  while (engine.parks == 0 || app.parks == 0) {
    uv_run(&s->loop, UV_RUN_NOWAIT);
    ASSERT_OK(uvface_get_stats(&s->engine, &engine));
    ASSERT_OK(uvface_get_stats(&s->app, &app));
  }
}

/* Either end wakes the other, each in its way. */
static int act_waking_send(scene_t* s) {
  int to_engine = send_byte(&s->app), to_app = send_byte(&s->engine);

  return to_engine == 1 && to_app == 1 ? 0 : to_engine < 0 ? to_engine : to_app;
}

static void finish_waking_send(scene_t* s) {
  /* A byte that could not be written at all wakes nobody; looking does. */
  if (shim_failed_call() != NULL && shim_failed_errno() != EINTR) {
    ASSERT_OK(uvface_recv_stop(&s->engine));
    ASSERT_OK(uvface_recv_start(&s->engine, on_packets));
    ASSERT_OK(uvface_recv_stop(&s->app));
    ASSERT_OK(uvface_recv_start(&s->app, on_packets));
  }
  run_until_count(s, &s->engine_got, 1);
  run_until_count(s, &s->app_got, 1);
  ck_assert_int_eq(s->engine_got, 1);
  ck_assert_int_eq(s->app_got, 1);
  close_pair(s);
}

static void prepare_close(scene_t* s) {
  open_pair(s, HUGE_PACKET);
}

static int act_close(scene_t* s) {
  uvface_close(&s->app, NULL);
  uvface_close(&s->engine, NULL);
  return uv_run(&s->loop, UV_RUN_DEFAULT);
}

static bool may_leave_names(const char* call) {
  return call != NULL && (strstr(call, "unlink") != NULL || strstr(call, "stat") != NULL);
}

static void finish_close(scene_t* s) {
  inventory_t left = look(s);

  ck_assert_int_eq(left.maps, 0);
  ck_assert_int_eq(left.handles, 0);
  if (!may_leave_names(shim_failed_call())) ck_assert_int_eq(left.names, 0);
  open_pair(s, 100); /* and what is left is taken by the next */
  close_pair(s);
}

static void prepare_core_create(scene_t* s) {
  (void) s;
}

/* Under a umask that takes from the owner what it must give back. */
static int act_core_create(scene_t* s) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  mode_t before;
  int err;

  options.capacity = SMALL_RING;
  options.uid = geteuid();
  if (s->core_engine == NULL && (err = ndnshm_new(&s->core_engine)) < 0) return err;
  before = umask(0777);
  err = ndnshm_create(s->core_engine, s->name, &options);
  umask(before);
  return err;
}

static const char* core_engine_errmsg(const scene_t* s) {
  return s->core_engine != NULL ? ndnshm_errmsg(s->core_engine) : NULL;
}

static void assert_core_works(scene_t* s) {
  static char byte = 'c';
  unsigned char arena[10000];
  struct iovec packet = {&byte, 1};

  ck_assert_int_eq(ndnshm_send(s->core_engine, &packet, 1), 1);
  ck_assert_int_eq(ndnshm_recv(s->core_app, arena, sizeof(arena), &packet, 1), 1);
  packet = (struct iovec){&byte, 1};
  ck_assert_int_eq(ndnshm_send(s->core_app, &packet, 1), 1);
  ck_assert_int_eq(ndnshm_recv(s->core_engine, arena, sizeof(arena), &packet, 1), 1);
  ndnshm_free(s->core_app);
  ndnshm_free(s->core_engine);
}

static void finish_core_create(scene_t* s) {
  ck_assert_int_eq(ndnshm_new(&s->core_app), 0);
  ck_assert_int_eq(ndnshm_connect(s->core_app, s->name, NULL), 0);
  assert_core_works(s);
}

static void prepare_core_connect(scene_t* s) {
  ck_assert_int_eq(act_core_create(s), 0);
}

static int act_core_connect(scene_t* s) {
  int err;

  if (s->core_app == NULL && (err = ndnshm_new(&s->core_app)) < 0) return err;
  return ndnshm_connect(s->core_app, s->name, NULL);
}

static const char* core_app_errmsg(const scene_t* s) {
  return s->core_app != NULL ? ndnshm_errmsg(s->core_app) : NULL;
}

static const operation_t operations[] = {
    {"init", prepare_init, act_init, no_errmsg, finish_init, nothing_is_translated, 0, false},
    {"create", prepare_create, act_create, engine_errmsg, finish_create, translate_create, -EADDRINUSE, false},
    {"create over a dead engine", prepare_create_over, act_create, engine_errmsg, finish_create, translate_create_over,
     -EADDRINUSE, true},
    {"connect", prepare_connect, act_connect, app_errmsg, finish_connect, translate_connect, -ECONNREFUSED, false},
    {"send", prepare_send, act_send, app_errmsg, finish_send, nothing_is_translated, 0, false},
    {"send that wakes", prepare_waking_send, act_waking_send, app_errmsg, finish_waking_send, no_error, 0, false},
    {"close", prepare_close, act_close, no_errmsg, finish_close, no_error, 0, false},
    {"core create", prepare_core_create, act_core_create, core_engine_errmsg, finish_core_create, translate_create,
     -EADDRINUSE, true},
    {"core connect", prepare_core_connect, act_core_connect, core_app_errmsg, assert_core_works, translate_mapping,
     -ECONNREFUSED, true},
};
#define N_OPERATIONS ((int) (sizeof(operations) / sizeof(operations[0])))

/* --- The n-th call fails ---------------------------------------------------------------------- */

static void assert_errmsg(const operation_t* op, const scene_t* s, const char* call, const char* where) {
  const char* text = op->errmsg(s);
  bool is_memory = strstr(call, "alloc") != NULL && call[0] != 'p';

  if (text == NULL) return;
  if (is_memory) {
    ck_assert_msg(strstr(text, "out of memory") != NULL, "%s: '%s'", where, text);
    return;
  }
  ck_assert_msg(strstr(text, call) != NULL, "%s: '%s' names another call", where, text);
  ck_assert_msg(strstr(text, faces_kind == NAMED ? s->name : "private face") != NULL,
                "%s: '%s' does not name the object", where, text);
}

static void assert_failed_cleanly(const operation_t* op, scene_t* s, int err, inventory_t before) {
  const char* call = shim_failed_call();
  inventory_t after = look(s);
  char where[160];
  int expected = op->translate(call, -shim_failed_errno());
  bool is_sight;

  if (strcmp(call, "close") == 0 || shim_failed_errno() == EINTR) expected = 0;
  snprintf(where, sizeof(where), "%s: %s failed with %s", op->name, call, strerror(shim_failed_errno()));
  is_sight = strstr(call, "stat") != NULL || (strcmp(call, "open") == 0 && shim_failed_errno() == EACCES);
  if (strcmp(call, "flock") == 0 && err == 0) expected = 0; /* of the FIFO: being read has to do */
  if (!is_sight || err != op->or_else) ck_assert_msg(err == expected, "%s: %d, not %d", where, err, expected);
  if (err == 0) return;
  assert_errmsg(op, s, call, where);
  if (strcmp(call, "uv_poll_start") == 0) { /* its handle is closing still */
    ck_assert_int_eq(op->act(s), UV_EALREADY);
    if (strcmp(op->name, "connect") == 0) return; /* in a turn the engine would take it for an app that went */
    uv_run(&s->loop, UV_RUN_NOWAIT);
    after = look(s);
  }
  ck_assert_msg(after.fds == before.fds, "%s: %d descriptors, %d before", where, after.fds, before.fds);
  ck_assert_msg(after.maps == before.maps, "%s: %d mappings, %d before", where, after.maps, before.maps);
  if (strcmp(call, "flock") != 0) /* the name is whose lock it is */
    ck_assert_msg(after.names <= before.names, "%s: %d names, %d before", where, after.names, before.names);
  ck_assert_msg(after.handles == before.handles, "%s: %d handles, %d before", where, after.handles, before.handles);
  ck_assert_int_eq(s->sends_done, 0); /* what is refused is not called back */
  ck_assert_msg(op->act(s) == 0, "%s: and again without a failure: %s", where, op->errmsg(s));
}

/* One run, in which the n-th call fails with its k-th error. Returns the calls made if none failed, else 0. */
static unsigned int run_with_fault(const operation_t* op, unsigned int n, unsigned int k) {
  scene_t s = {.sends_done = 0};
  inventory_t before;
  int fds = harness_count_fds();
  unsigned int made;
  int err;

  snprintf(s.name, sizeof(s.name), "%s", harness_name("fault"));
  ASSERT_OK(uv_loop_init(&s.loop));
  op->prepare(&s);
  before = look(&s);
  shim_fail_at(n, k);
  err = op->act(&s);
  made = shim_disarm();
  if (shim_failed_call() != NULL)
    assert_failed_cleanly(op, &s, err, before);
  else
    ck_assert_msg(err == 0, "%s without a failure: %d", op->name, err);
  op->finish(&s);
  ck_assert_int_eq(uv_loop_close(&s.loop), 0);
  ck_assert_int_eq(harness_count_fds(), fds);
  ck_assert_int_eq(count_maps(s.name), 0);
  ck_assert_int_eq(count_names(s.name), 0);
  return shim_failed_call() == NULL ? made : 0;
}

TEST_KINDS_LOOP(call_that_fails_is_told_undone_and_can_be_repeated, N_OPERATIONS) {
  const operation_t* op = &operations[_i];
  unsigned int failures = 0;
  unsigned int made = MAX_CALLS;

  if (op->is_of_names && faces_kind != NAMED) return;
  for (unsigned int n = 1; n <= made; n++) {
    unsigned int k = 0;

    while ((made = run_with_fault(op, n, k)) == 0) k++;
    failures += k;
    ck_assert_uint_lt(made, MAX_CALLS);
  }
  ck_assert_uint_ge(failures, 1); /* or the shim stands in nobody's way */
}

/* --- Sealing ---------------------------------------------------------------------------------- */

/* What came of the seal, two probes after the n-th call of the look that should have brought it failed. */
static bool is_sealed_after_fault(unsigned int n) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  ndnshm_t *engine, *app;
  ndnshm_stats_t stats;
  char name[64];

  snprintf(name, sizeof(name), "%s", harness_name("seal"));
  options.capacity = SMALL_RING;
  ASSERT_OK(ndnshm_new(&engine));
  ASSERT_OK(ndnshm_new(&app));
  ASSERT_OK(ndnshm_create(engine, name, &options));
  ASSERT_OK(ndnshm_connect(app, name, NULL));
  shim_fail_at(n, 0);
  ndnshm_wake(engine);
  shim_disarm();
  for (int i = 0; i < 2; i++) ck_assert_int_ge(ndnshm_probe(engine), 0);
  ASSERT_OK(ndnshm_get_stats(engine, &stats));
  ck_assert_int_eq(count_names(name), stats.sealed ? 2 : 3);
  ndnshm_free(app);
  ndnshm_free(engine);
  ck_assert_int_eq(count_names(name), 0);
  return stats.sealed;
}

/* A region that could have been sealed when it was made is not left unsealed because something was missing for a
 * moment. Who lacks the right to remove the name does not try again, and the name goes when he leaves. */
TEST(seal_that_fails_for_a_passing_cause_is_tried_again) {
  unsigned int n = 1, kept = 0;

  if (!harness_may_seal()) SKIP("needs CAP_LINUX_IMMUTABLE");
  for (;; n++) {
    bool sealed = is_sealed_after_fault(n);

    if (shim_failed_call() == NULL) break;
    ck_assert_int_eq(sealed, strcmp(shim_failed_call(), "unlink") != 0);
    kept += !sealed;
  }
  ck_assert_uint_eq(kept, 1);
  ck_assert_uint_gt(n, 5); /* reads, looks, marks, removes */
}

/* --- Waking up -------------------------------------------------------------------------------- */

/* The n-th call of the turn fails. False if that is not the one that reads. */
static bool fail_to_read(unsigned int n, bool interrupted) {
  const char* const call = faces_kind == BY_SOCKET ? "recv" : "read";
  scene_t s = {.sends_done = 0};
  bool is_met;

  snprintf(s.name, sizeof(s.name), "%s", harness_name("wake"));
  ASSERT_OK(uv_loop_init(&s.loop));
  prepare_waking_send(&s);
  stop_probe(&s.loop); /* which would read, too */
  ck_assert_int_eq(send_byte(&s.app), 1);
  shim_fail_at(n, interrupted ? 1 : 0);
  uv_run(&s.loop, UV_RUN_ONCE);
  shim_disarm();
  ck_assert_msg(shim_failed_call() != NULL, "no %s among %u calls", call, n);
  is_met = strcmp(shim_failed_call(), call) == 0;
  if (is_met) {
    ck_assert_int_eq(shim_failed_errno(), interrupted ? EINTR : EIO);
    run_until_count(&s, &s.engine_got, 1);
    ck_assert_int_eq(s.engine_got, interrupted ? 1 : UV_EIO);
  }
  if (is_met && !interrupted) {
    ck_assert_ptr_nonnull(strstr(uvface_errmsg(&s.engine), call));
    ck_assert_ptr_nonnull(strstr(uvface_errmsg(&s.engine), faces_kind == NAMED ? " /tmp/" : " private face: "));
    ck_assert_int_eq(send_byte(&s.engine), UV_EIO);
    s.engine_got = 0;
    run_for(&s.loop, 2);
    ck_assert_int_eq(s.engine_got, 0); /* once */
  }
  close_pair(&s);
  ck_assert_int_eq(uv_loop_close(&s.loop), 0);
  return is_met;
}

/* A FIFO that cannot be read any more ends the face, and says so once. Before its first app an engine looks at its
 * region first, unless a probe has done so already. */
TEST_KINDS_LOOP(wake_up_that_cannot_be_read_ends_the_face, 2) {
  unsigned int n = 1;

  while (!fail_to_read(n, _i == 1)) n++;
}

TEST_KINDS(no_memory_for_a_large_packet_ends_the_face_and_says_so) {
  static char packet[HUGE_PACKET];
  uv_buf_t buf = uv_buf_init(packet, sizeof(packet));
  scene_t s = {.sends_done = 0};

  snprintf(s.name, sizeof(s.name), "%s", harness_name("large"));
  ASSERT_OK(uv_loop_init(&s.loop));
  open_pair(&s, HUGE_PACKET);
  stop_probe(&s.loop); /* which would look first */
  ck_assert_int_eq(uvface_try_send(&s.app, &buf, 1), HUGE_PACKET);
  ASSERT_OK(uvface_recv_start(&s.engine, on_packets));
  shim_fail_at(1, 0);
  uv_run(&s.loop, UV_RUN_NOWAIT);
  shim_disarm();
  ck_assert_ptr_nonnull(shim_failed_call());
  ck_assert_str_eq(shim_failed_call(), "malloc");
  ck_assert_int_eq(s.engine_got, UV_ENOMEM);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&s.engine), "300000 bytes: out of memory"));
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&s.engine), faces_kind == NAMED ? s.name : "private face"));
  ck_assert_int_eq(send_byte(&s.engine), UV_ENOMEM);
  close_pair(&s);
  ck_assert_int_eq(uv_loop_close(&s.loop), 0);
}

/* --- A face appears whole or not at all ------------------------------------------------------- */

static struct birth_s {
  const char* name;
  unsigned int looks, not_yet, in;
  int other; /* what an app must not see */
  char errmsg[640];
} birth;

/* An app of another user, where we may be one. */
static void look_like_an_app(void) {
  bool as_other = geteuid() == 0 && seteuid(OTHER_UID) == 0;
  ndnshm_t* app;
  int err;

  HOLDS(ndnshm_new(&app) == 0);
  err = ndnshm_connect(app, birth.name, NULL);
  birth.looks++;
  birth.not_yet += err == -ENOENT || err == -ECONNREFUSED;
  birth.in += err == 0;
  if (err != 0 && err != -ENOENT && err != -ECONNREFUSED) {
    birth.other = err;
    snprintf(birth.errmsg, sizeof(birth.errmsg), "%s", ndnshm_errmsg(app));
  }
  ndnshm_free(app);
  if (as_other) HOLDS(seteuid(0) == 0);
}

/* _i: 0 = the name is free; 1 = a dead engine's remains are in the way. */
TEST_LOOP(app_that_looks_at_any_moment_sees_no_half_face, 2) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  ndnshm_t* engine;

  birth = (struct birth_s){.name = harness_name("birth")};
  if (_i == 1)
    ck_assert_int_gt(
        harness_wait(harness_fork(die_as_engine, (void*) (uintptr_t) birth.name), 10000 * (int) harness_slow()), 0);
  options.mode = 0666;
  ck_assert_int_eq(ndnshm_new(&engine), 0);
  shim_before_each(look_like_an_app);
  ck_assert_int_eq(ndnshm_create(engine, birth.name, &options), 0);
  look_like_an_app();
  ck_assert_int_eq(ndnshm_send(engine, &(struct iovec){"x", 1}, 1), 1);
  ndnshm_free(engine);
  shim_before_each(NULL);
  look_like_an_app();
  ck_assert_msg(birth.other == 0, "%s", birth.errmsg);
  ck_assert_uint_ge(birth.in, 1);
  ck_assert_uint_ge(birth.not_yet, 20);
}

/* Who sees one name of a face knows the others, and may take them. */
static struct seen_s {
  char name[80];
  unsigned int unseen, halves;
} seen;

static void look_for_names(void) {
  int n = count_names(seen.name);

  seen.unseen += n == 0;
  seen.halves += n == 1 || n == 2;
}

/* One step, or two where the kernel links no descriptor without its name in /proc. */
TEST(names_are_taken_in_one_go_when_all_else_is_done) {
  ndnshm_t* engine;

  snprintf(seen.name, sizeof(seen.name), "%s", harness_name("seen"));
  ck_assert_int_eq(ndnshm_new(&engine), 0);
  shim_before_each(look_for_names);
  ck_assert_int_eq(ndnshm_create(engine, seen.name, NULL), 0);
  shim_before_each(NULL);
  ndnshm_free(engine);
  ck_assert_uint_le(seen.halves, 4);
  ck_assert_uint_ge(seen.halves, 2);
  ck_assert_uint_ge(seen.unseen, 15);
}

/* A rival takes the name while we do: it clears what it takes for a dead engine's before one step of ours, and comes to
 * life before the next, or at once. */
static struct rival_s {
  ndnshm_t* engine;
  char name[80];
  unsigned int step, clears_at, lives_at;
  int result; /* 1 = not yet alive */
} rival;

static const ndnshm_options_t rival_options = {
    .size = sizeof(rival_options), .mode = 0660, .uid = (uid_t) -1, .gid = (gid_t) -1};

static void step_in_as_rival(void) {
  const ndnshm__access_t access = {.mode = 0660, .uid = (uid_t) -1, .gid = (gid_t) -1};
  ndnshm__error_t ignored;

  rival.step++;
  if (rival.step == rival.clears_at) ndnshm__fifo_clear(harness_a2e_path(rival.name), false, &access, &ignored);
  if (rival.step == rival.lives_at) rival.result = ndnshm_create(rival.engine, rival.name, &rival_options);
}

static void assert_one_has_it_whole(int ours) {
  struct stat st;
  ndnshm_t* app;

  ck_assert_msg((ours == 0) != (rival.result == 0), "step %u: %d and %d", rival.lives_at, ours, rival.result);
  ck_assert_msg(count_names(rival.name) == 3, "step %u: %d names", rival.lives_at, count_names(rival.name));
  ck_assert_int_eq(stat(harness_a2e_path(rival.name), &st), 0);
  ck_assert_msg((st.st_mode & 07777) == 0660, "step %u: mode %o", rival.lives_at, (unsigned int) st.st_mode);
  HOLDS(ndnshm_new(&app) == 0);
  ck_assert_int_eq(ndnshm_connect(app, rival.name, NULL), 0);
  ndnshm_free(app);
}

/* _i: how many steps lie between what a rival clears and its life. */
TEST_LOOP(engine_that_comes_in_between_gets_the_name_whole_or_not_at_all, 2) {
  unsigned int lives_at = 0;
  bool came;

  do {
    ndnshm_t* engine;
    int ours;

    lives_at++;
    rival = (struct rival_s){.lives_at = lives_at, .clears_at = lives_at - (unsigned int) _i, .result = 1};
    snprintf(rival.name, sizeof(rival.name), "%s", harness_name("rival"));
    ck_assert(ndnshm_new(&engine) == 0 && ndnshm_new(&rival.engine) == 0);
    shim_before_each(step_in_as_rival);
    ours = ndnshm_create(engine, rival.name, &rival_options);
    shim_before_each(NULL);
    came = rival.result != 1;
    if (came) assert_one_has_it_whole(ours);
    ndnshm_free(engine);
    ndnshm_free(rival.engine);
  } while (came);
  ck_assert_uint_ge(lives_at, 20);
}

/* A name changes hands before one step of an app that comes: the engine that had it is killed, and another one has
 * it. */
static struct change_s {
  char name[80];
  pid_t old;
  ndnshm_t* engine;
  unsigned int step, at;
} change;

static void on_nothing(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face, (void) npkts, (void) pkts;
}

static int live_as_engine(void* name) {
  uv_loop_t loop;
  uvface_t face;

  REQUIRE(uv_loop_init(&loop) == 0 && uvface_init(&loop, &face) == 0);
  REQUIRE(uvface_create(&face, name, NULL) == 0);
  REQUIRE(uvface_recv_start(&face, on_nothing) == 0);
  return uv_run(&loop, UV_RUN_DEFAULT);
}

static void change_hands(void) {
  if (++change.step != change.at) return;
  harness_kill(change.old);
  ck_assert_msg(ndnshm_create(change.engine, change.name, NULL) == 0, "%s", ndnshm_errmsg(change.engine));
}

static void await_names(int n) {
  uint64_t end_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000;

  while (count_names(change.name) != n && harness_now_ns() < end_ns)
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  ck_assert_int_eq(count_names(change.name), n);
}

static void assert_nobody_came(void) {
  struct pollfd p = {.fd = ndnshm_fd(change.engine), .events = POLLIN};
  struct iovec packet;
  ndnshm_t* app;

  ck_assert_msg(poll(&p, 1, 0) == 0, "step %u: the new engine took who only asked for an app", change.at);
  HOLDS(ndnshm_new(&app) == 0);
  ck_assert_msg(ndnshm_connect(app, change.name, NULL) == 0, "step %u: %s", change.at, ndnshm_errmsg(app));
  ck_assert_int_eq(ndnshm_send(app, &(struct iovec){"x", 1}, 1), 1);
  ck_assert_int_eq(ndnshm_peek(change.engine, 1, &packet, 1), 1);
  ndnshm_free(app);
}

/* _i: 1 = the region is sealed for an app that was there before, and has no name. */
TEST_LOOP(app_that_comes_while_the_name_changes_hands_ends_no_engine, 2) {
  bool came;

  NEEDS_NAMES();
  if (_i == 1 && !harness_may_seal()) SKIP("this process may not seal a region");
  change.at = 0;
  do {
    ndnshm_t *first, *app;
    bool attached;
    int err;

    change.at++;
    change.step = 0;
    snprintf(change.name, sizeof(change.name), "%s", harness_name("hands"));
    ck_assert(ndnshm_new(&change.engine) == 0 && ndnshm_new(&first) == 0 && ndnshm_new(&app) == 0);
    change.old = harness_fork(live_as_engine, change.name);
    await_names(3);
    if (_i == 1) {
      ck_assert_msg(ndnshm_connect(first, change.name, NULL) == 0, "%s", ndnshm_errmsg(first));
      await_names(2);
    }
    shim_before_each(change_hands);
    err = ndnshm_connect(app, change.name, NULL);
    shim_before_each(NULL);
    came = change.step >= change.at;
    ndnshm_free(first);
    attached = err == 0 && ndnshm_wake(app) >= 0; /* else to the one that was killed, or to none */
    ndnshm_free(app);
    if (came && !attached) assert_nobody_came();
    if (!came) { /* the old one still lives: this takes its names away, too */
      change.step = change.at - 1;
      change_hands();
    }
    ndnshm_free(change.engine);
  } while (came);
  ck_assert_uint_ge(change.at, 5);
}

/* --- A failure that the core knows nothing of --------------------------------------------------- */

static void fail_poll(uv_handle_t* handle, void* arg) {
  uv_poll_t* poll = (uv_poll_t*) handle;

  (void) arg;
  if (handle->type == UV_POLL) poll->poll_cb(poll, UV_EBADF, 0); /* as libuv does on POLLERR */
}

/* A face whose first calls were slow, as under valgrind, rests, and looks at its descriptor again before it believes
 * it. */
static void fail_polls(uv_loop_t* loop, const uvface_t* face) {
  uint64_t end_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000;

  do {
    uv_walk(loop, fail_poll, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
  } while (uvface_errmsg(face)[0] == '\0' && harness_now_ns() < end_ns);
}

TEST_KINDS(poll_that_fails_ends_the_face_and_says_so) {
  static const char reason[] = ": bad file descriptor";
  scene_t s = {.sends_done = 0};
  const char* const name = faces_kind == NAMED ? s.name : "private face";
  char expected[200];

  snprintf(s.name, sizeof(s.name), "%s", harness_name("poll"));
  ASSERT_OK(uv_loop_init(&s.loop));
  open_pair(&s, 100);
  ck_assert_int_eq(uvface_recv_start(&s.app, on_packets), 0);
  fail_polls(&s.loop, &s.app);
  snprintf(expected, sizeof(expected), "uvface_recv_cb: poll %s%s", name, reason);
  ck_assert_str_eq(uvface_errmsg(&s.app), expected);
  ck_assert_int_eq(uvface_recv_start(&s.engine, on_packets), UV_EBADF);
  snprintf(expected, sizeof(expected), "uvface_recv_start: poll %s%s", name, reason);
  ck_assert_str_eq(uvface_errmsg(&s.engine), expected);
  close_pair(&s);
  ck_assert_int_eq(uv_loop_close(&s.loop), 0);
}

/* --- The shim itself -------------------------------------------------------------------------- */

/* Whoever builds this differently must not end up with calls that pass the shim by. */
TEST(every_call_passes_the_shim) {
  static const char* const calls[] = {
      "malloc", "calloc",     "aligned_alloc", "shm_unlink",   "flock",        "ftruncate", "posix_fallocate", "mmap",
      "munmap", "mkdir",      "mkfifoat",      "chmod",        "fchmodat",     "fchmod",    "fchown",          "open",
      "openat", "fstat",      "lstat",         "pread",        "unlink",       "unlinkat",  "rmdir",           "linkat",
      "close",  "read",       "write",         "memfd_create", "socketpair",   "pipe2",     "fcntl",           "send",
      "recv",   "setsockopt", "getpeername",   "uv_poll_init", "uv_poll_start"};
  unsigned int before[sizeof(calls) / sizeof(calls[0])];

  for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++) before[c] = shim_count(calls[c]);
  for (int k = 0; k < (int) N_KINDS; k++) {
    faces_kind = (kind_t) k;
    for (int o = 0; o < N_OPERATIONS; o++) {
      if (operations[o].is_of_names && faces_kind != NAMED) continue;
      ck_assert_uint_gt(run_with_fault(&operations[o], MAX_CALLS, 0), 0);
    }
  }
  for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++)
    ck_assert_msg(shim_count(calls[c]) > before[c], "%s", calls[c]);
}
