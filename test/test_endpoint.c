/* SPDX-License-Identifier: MIT */
/* test_endpoint.c: every public function of ndnshm.h in both roles: life, errors and their texts, receiving,
 * sending, sleeping over bare poll(2), the death of either end, inspection. Two endpoints in one process
 * where that is enough, children where somebody dies, waits, lacks descriptors or is another user. How the
 * parts work inside is tested beside them (test_region.c, test_ring.c, test_wake.c).
 * Tests of other users need root and say so when they are skipped. */
#include "ndnshm.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"
#include "wake.h"

#define OTHER_UID 61234
#define NOBODY ((uid_t) -1)
#define DEADLINE_MS ((int) (10000 * harness_slow()))
#define BURST 256

/* In a child, which must not end as a test does: says what failed and makes the child return 1. */
#define REQUIRE(condition)                                                   \
  do {                                                                       \
    if (!(condition)) {                                                      \
      fprintf(stderr, "# %s:%d: %s\n", __FILE__, __LINE__, #condition);      \
      return 1;                                                              \
    }                                                                        \
  } while (0)

/* An assertion for loops: Check's own notes each passage in a file, a microsecond each. */
#define HOLDS(condition) \
  do { \
    if (!(condition)) ck_abort_msg("%s", #condition); \
  } while (0)

/* --- Faces and ends ------------------------------------------------------------------------------- */

typedef struct face_s {
  char name[64];
  char shm[80], shm_path[320], a2e_path[320], e2a_path[320];
  ndnshm_t* engine;
  ndnshm_t* app;
  ndnshm__region_t view; /* a third mapping: what a hostile peer could write */
  ndnshm__header_t* header;
} face_t;

static face_t face_plan(const char* tag) {
  face_t f = {.engine = NULL};

  snprintf(f.name, sizeof(f.name), "%s", harness_name(tag));
  snprintf(f.shm, sizeof(f.shm), "/ndn-shm-%s", f.name);
  snprintf(f.shm_path, sizeof(f.shm_path), "%s", harness_shm_path(f.name));
  snprintf(f.a2e_path, sizeof(f.a2e_path), "%s", harness_a2e_path(f.name));
  snprintf(f.e2a_path, sizeof(f.e2a_path), "%s", harness_e2a_path(f.name));
  ck_assert_int_eq(ndnshm_new(&f.engine), 0);
  ck_assert_int_eq(ndnshm_new(&f.app), 0);
  return f;
}

static void face_create(face_t* f, uint32_t capacity, uint32_t slot_size) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  ndnshm__error_t error;

  options.capacity = capacity;
  options.slot_size = slot_size;
  ck_assert_msg(ndnshm_create(f->engine, f->name, &options) == 0, "%s", ndnshm_errmsg(f->engine));
  ck_assert_int_eq(ndnshm__region_attach(&f->view, f->shm, NOBODY, &error), 0);
  ndnshm__region_close(&f->view);
  f->header = f->view.header;
}

static face_t face_make(const char* tag, uint32_t capacity, uint32_t slot_size) {
  face_t f = face_plan(tag);

  face_create(&f, capacity, slot_size);
  ck_assert_msg(ndnshm_connect(f.app, f.name, NULL) == 0, "%s", ndnshm_errmsg(f.app));
  return f;
}

static void face_drop(face_t* f) {
  ndnshm_free(f->app);
  ndnshm_free(f->engine);
  ndnshm__region_unmap(&f->view);
}

/* Removes what a killed engine left. */
static void remove_names(const face_t* f) {
  unlink(f->shm_path);
  unlink(f->a2e_path);
  unlink(f->e2a_path);
}

static bool exists(const char* path) {
  struct stat st;

  return lstat(path, &st) == 0;
}

static int names_there(const face_t* f) {
  return exists(f->shm_path) + exists(f->a2e_path) + exists(f->e2a_path);
}

static bool readable(int fd, int timeout_ms) {
  struct pollfd p = {.fd = fd, .events = POLLIN};

  return poll(&p, 1, timeout_ms) == 1;
}

static void assert_errmsg(const ndnshm_t* ep, const char* call, const char* object, const char* reason) {
  const char* text = ndnshm_errmsg(ep);

  ck_assert_msg(strncmp(text, call, strlen(call)) == 0, "'%s' does not begin with '%s'", text, call);
  ck_assert_msg(strstr(text, object) != NULL, "'%s' does not name '%s'", text, object);
  ck_assert_msg(strstr(text, reason) != NULL, "'%s' does not say '%s'", text, reason);
}

static int send_text(ndnshm_t* ep, const char* text) {
  struct iovec whole = {(void*) (uintptr_t) text, strlen(text)};

  return ndnshm_send(ep, &whole, 1);
}

static void assert_receives(ndnshm_t* ep, const char* text) {
  char arena[10000];
  struct iovec packet;

  ck_assert_int_eq(ndnshm_recv(ep, arena, sizeof(arena), &packet, 1), 1);
  ck_assert_uint_eq(packet.iov_len, strlen(text));
  ck_assert_mem_eq(packet.iov_base, text, strlen(text));
}

static void assert_receives_nothing(ndnshm_t* ep) {
  char arena[10000];
  struct iovec packet;

  ck_assert_int_eq(ndnshm_recv(ep, arena, sizeof(arena), &packet, 1), 0);
}

static bool is_root(void) {
  if (geteuid() == 0) return true;
  fprintf(stderr, "# skipped: needs root\n");
  return false;
}

static int become_other(void) {
  REQUIRE(setgroups(0, NULL) == 0);
  REQUIRE(setgid(OTHER_UID) == 0);
  REQUIRE(setuid(OTHER_UID) == 0);
  return 0;
}

static void assert_child_passes(int (*body)(void* arg), void* arg) {
  ck_assert_int_eq(harness_wait(harness_fork(body, arg), DEADLINE_MS), 0);
}

/* --- Peers in a child, until they are killed ------------------------------------------------------- */

typedef struct peer_s {
  const face_t* face;
  int ready[2], go[2]; /* a byte to the parent, and one from it */
  int packets;         /* sent before ready */
  bool park;
  pid_t pid;
} peer_t;

static int peer_serve(peer_t* peer, ndnshm_t* ep) {
  for (int i = 0; i < peer->packets; i++) REQUIRE(send_text(ep, "last words") == 10);
  if (peer->park) REQUIRE(ndnshm_park(ep, NDNSHM_PACKETS) == 0);
  REQUIRE(write(peer->ready[1], "r", 1) == 1);
  for (;;) pause();
}

static int engine_body(void* arg) {
  peer_t* peer = arg;
  ndnshm_t* ep;

  REQUIRE(ndnshm_new(&ep) == 0);
  REQUIRE(ndnshm_create(ep, peer->face->name, NULL) == 0);
  return peer_serve(peer, ep);
}

/* Forked before the engine exists, so that it inherits none of the engine's descriptors. */
static int app_body(void* arg) {
  peer_t* peer = arg;
  ndnshm_t* ep;
  char byte;

  REQUIRE(read(peer->go[0], &byte, 1) == 1);
  REQUIRE(ndnshm_new(&ep) == 0);
  REQUIRE(ndnshm_connect(ep, peer->face->name, NULL) == 0);
  return peer_serve(peer, ep);
}

static void peer_fork(peer_t* peer, int (*body)(void* arg)) {
  ck_assert_int_eq(pipe2(peer->ready, O_CLOEXEC), 0);
  ck_assert_int_eq(pipe2(peer->go, O_CLOEXEC), 0);
  peer->pid = harness_fork(body, peer);
}

static void peer_wait_ready(peer_t* peer) {
  char byte;

  ck_assert_msg(readable(peer->ready[0], DEADLINE_MS), "the peer is not ready");
  ck_assert_int_eq(read(peer->ready[0], &byte, 1), 1);
}

static void peer_go(peer_t* peer) {
  ck_assert_int_eq(write(peer->go[1], "g", 1), 1);
  peer_wait_ready(peer);
}

static void peer_kill(peer_t* peer) {
  harness_kill(peer->pid);
  for (int i = 0; i < 2; i++) {
    close(peer->ready[i]);
    close(peer->go[i]);
  }
}

/* A name that a killed engine left behind. */
static face_t face_of_the_dead(const char* tag) {
  face_t f = face_plan(tag);
  peer_t engine = {.face = &f};

  peer_fork(&engine, engine_body);
  peer_wait_ready(&engine);
  peer_kill(&engine);
  ck_assert_int_eq(names_there(&f), 3);
  return f;
}

/* --- Life ------------------------------------------------------------------------------------------ */

START_TEST(an_endpoint_needs_a_place) {
  ck_assert_int_eq(ndnshm_new(NULL), -EINVAL);
}
END_TEST

static void assert_every_call_fails(ndnshm_t* ep, int code) {
  struct iovec v = {&v, 1};
  char arena[10000];

  ck_assert_int_eq(ndnshm_recv(ep, arena, sizeof(arena), &v, 1), code);
  ck_assert_int_eq(ndnshm_peek(ep, SIZE_MAX, &v, 1), code);
  ck_assert_int_eq(ndnshm_send(ep, &v, 1), code);
  ck_assert_int_eq(ndnshm_send_batch(ep, &v, 1), code);
  ck_assert_int_eq(ndnshm_reserve(ep, 1, &v), code);
  ck_assert_int_eq(ndnshm_commit(ep, 1), code);
  ck_assert_int_eq(ndnshm_wake(ep), code);
  ndnshm_release(ep);
  ck_assert_uint_eq(ndnshm_announce(ep, NDNSHM_PACKETS | NDNSHM_SPACE), 0);
  ck_assert_uint_eq(ndnshm_confirm(ep, NDNSHM_PACKETS | NDNSHM_SPACE), 0);
  ck_assert_uint_eq(ndnshm_park(ep, NDNSHM_PACKETS | NDNSHM_SPACE), 0);
  ck_assert_uint_eq(ndnshm_ready(ep, NDNSHM_PACKETS | NDNSHM_SPACE), 0);
  ndnshm_unpark(ep);
  ck_assert_int_eq(ndnshm_fd(ep), -1);
  ck_assert_uint_eq(ndnshm_get_mtu(ep), 0);
  ck_assert_uint_eq(ndnshm_get_capacity(ep), 0);
  ck_assert_uint_eq(ndnshm_peer_caps(ep), 0);
}

START_TEST(no_endpoint_is_einval_everywhere_and_harmless) {
  ndnshm_stats_t stats;

  assert_every_call_fails(NULL, -EINVAL);
  ck_assert_int_eq(ndnshm_create(NULL, "x", NULL), -EINVAL);
  ck_assert_int_eq(ndnshm_connect(NULL, "x", NULL), -EINVAL);
  ck_assert_int_eq(ndnshm_get_stats(NULL, &stats), -EINVAL);
  ck_assert_str_eq(ndnshm_errmsg(NULL), "");
  ndnshm_shutdown(NULL);
  ndnshm_free(NULL);
}
END_TEST

START_TEST(an_endpoint_that_is_not_open_is_enotconn_everywhere) {
  face_t f = face_plan("closed");
  ndnshm_stats_t stats = {.rx_packets = 9}, zero = {0};

  ck_assert_str_eq(ndnshm_errmsg(f.app), "");
  ck_assert_int_eq(ndnshm_get_stats(f.app, &stats), 0);
  ck_assert_mem_eq(&stats, &zero, sizeof(stats));
  ck_assert_int_eq(ndnshm_get_stats(f.app, NULL), -EINVAL);
  assert_every_call_fails(f.app, -ENOTCONN);
  face_create(&f, 0, 0);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  ndnshm_shutdown(f.app);
  ndnshm_shutdown(f.engine);
  assert_every_call_fails(f.app, -ENOTCONN);
  assert_every_call_fails(f.engine, -ENOTCONN);
  face_drop(&f);
}
END_TEST

START_TEST(an_engine_makes_three_names_and_takes_them_away) {
  face_t f = face_plan("names");

  ck_assert_int_eq(names_there(&f), 0);
  ck_assert_int_eq(ndnshm_create(f.engine, f.name, NULL), 0);
  ck_assert_int_eq(names_there(&f), 3);
  ck_assert_uint_eq(ndnshm_get_mtu(f.engine), 9020);
  ck_assert_uint_eq(ndnshm_get_capacity(f.engine), 256);
  ck_assert_int_ge(ndnshm_fd(f.engine), 0);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  ck_assert_uint_eq(ndnshm_get_mtu(f.app), 9020);
  ck_assert_uint_eq(ndnshm_get_capacity(f.app), 256);
  ck_assert_int_ge(ndnshm_fd(f.app), 0);
  ck_assert_int_ne(ndnshm_fd(f.app), ndnshm_fd(f.engine));
  ndnshm_shutdown(f.app);
  ck_assert_int_eq(names_there(&f), 3);
  ndnshm_shutdown(f.engine);
  ck_assert_int_eq(names_there(&f), 0);
  ndnshm_shutdown(f.engine);
  face_drop(&f);
}
END_TEST

START_TEST(options_choose_geometry_and_rights) {
  face_t f = face_plan("options");
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  const char* const paths[] = {f.shm_path, f.a2e_path, f.e2a_path};
  mode_t before = umask(077);
  struct stat st;

  options.capacity = 131;
  options.slot_size = 1234;
  options.mode = 0666;
  ck_assert_int_eq(ndnshm_create(f.engine, f.name, &options), 0);
  umask(before);
  ck_assert_uint_eq(ndnshm_get_mtu(f.engine), 1234);
  ck_assert_uint_eq(ndnshm_get_capacity(f.engine), 256);
  for (int i = 0; i < 3; i++) {
    ck_assert_int_eq(lstat(paths[i], &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0666);
  }
  ndnshm_free(f.engine);
  ck_assert_int_eq(ndnshm_new(&f.engine), 0);
  options = (ndnshm_options_t) NDNSHM_OPTIONS_INIT;
  options.mtu = 8800;
  ck_assert_int_eq(ndnshm_create(f.engine, f.name, &options), 0);
  ck_assert_uint_eq(ndnshm_get_mtu(f.engine), 25276);
  ck_assert_uint_eq(ndnshm_get_capacity(f.engine), 64);
  for (int i = 0; i < 3; i++) {
    ck_assert_int_eq(lstat(paths[i], &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
  }
  face_drop(&f);
}
END_TEST

START_TEST(a_face_can_be_given_to_another_user) {
  face_t f = face_plan("give");
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  const char* const paths[] = {f.shm_path, f.a2e_path, f.e2a_path};
  struct stat st;

  if (is_root()) {
    options.uid = OTHER_UID;
    options.gid = OTHER_UID + 1;
    ck_assert_int_eq(ndnshm_create(f.engine, f.name, &options), 0);
    for (int i = 0; i < 3; i++) {
      ck_assert_int_eq(lstat(paths[i], &st), 0);
      ck_assert(st.st_uid == OTHER_UID && st.st_gid == OTHER_UID + 1);
    }
    ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), -EPERM);
    ck_assert_int_eq(ndnshm_connect(f.app, f.name, &options), 0);
  }
  face_drop(&f);
}
END_TEST

static void assert_create_fails(face_t* f, const ndnshm_options_t* options, int code, const char* call,
                                const char* object, const char* reason) {
  int fds = harness_count_fds();

  ck_assert_int_eq(ndnshm_create(f->engine, f->name, options), code);
  assert_errmsg(f->engine, call, object, reason);
  ck_assert_int_eq(ndnshm_fd(f->engine), -1);
  ck_assert_int_eq(harness_count_fds(), fds);
}

START_TEST(impossible_options_are_einval) {
  face_t f = face_plan("einval");
  ndnshm_options_t o = NDNSHM_OPTIONS_INIT;

  for (size_t size = 0; size <= sizeof(o) + 8; size += 4) {
    o.size = size;
    if (size == sizeof(o)) continue;
    assert_create_fails(&f, &o, -EINVAL, "options", "size", "NDNSHM_OPTIONS_INIT");
    ck_assert_int_eq(ndnshm_connect(f.app, f.name, &o), -EINVAL);
  }
  o = (ndnshm_options_t) NDNSHM_OPTIONS_INIT;
  o.mode = 01600;
  assert_create_fails(&f, &o, -EINVAL, "options", "mode", "permission bits");
  o = (ndnshm_options_t) NDNSHM_OPTIONS_INIT;
  o.mtu = 8800;
  o.capacity = 1;
  assert_create_fails(&f, &o, -EINVAL, "options", "capacity 1", "mtu 8800");
  o.capacity = UINT32_MAX;
  o.mtu = 0;
  assert_create_fails(&f, &o, -EINVAL, "options", "capacity 4294967295", "geometry");
  ck_assert_int_eq(names_there(&f), 0);
  face_drop(&f);
}
END_TEST

START_TEST(impossible_names_are_refused_with_the_reason) {
  char longest[202];
  ndnshm_t* ep;

  ck_assert_int_eq(ndnshm_new(&ep), 0);
  memset(longest, 'x', 201);
  longest[201] = '\0';
  ck_assert_int_eq(ndnshm_create(ep, NULL, NULL), -EINVAL);
  assert_errmsg(ep, "name", "name", "NULL");
  ck_assert_int_eq(ndnshm_create(ep, "a/b", NULL), -EINVAL);
  assert_errmsg(ep, "name", "a/b", "must be");
  ck_assert_int_eq(ndnshm_connect(ep, ".a", NULL), -EINVAL);
  assert_errmsg(ep, "name", ".a", "must be");
  ck_assert_int_eq(ndnshm_create(ep, longest, NULL), -ENAMETOOLONG);
  assert_errmsg(ep, "name", "xxx", "longer");
  ck_assert_int_eq(ndnshm_connect(ep, longest, NULL), -ENAMETOOLONG);
  ndnshm_free(ep);
}
END_TEST

START_TEST(an_app_reads_nothing_of_the_options_but_uid) {
  face_t f = face_plan("appopt");
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;

  face_create(&f, 4, 100);
  options.capacity = UINT32_MAX;
  options.mtu = 1;
  options.mode = 07777;
  ck_assert_msg(ndnshm_connect(f.app, f.name, &options) == 0, "%s", ndnshm_errmsg(f.app));
  ck_assert_uint_eq(ndnshm_get_mtu(f.app), 100);
  face_drop(&f);
}
END_TEST

START_TEST(an_endpoint_in_use_is_ealready) {
  face_t f = face_make("already", 4, 100);

  ck_assert_int_eq(ndnshm_create(f.engine, f.name, NULL), -EALREADY);
  assert_errmsg(f.engine, f.shm, f.shm, "in use");
  ck_assert_int_eq(ndnshm_connect(f.engine, f.name, NULL), -EALREADY);
  ck_assert_int_eq(ndnshm_create(f.app, "other", NULL), -EALREADY);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), -EALREADY);
  assert_errmsg(f.app, f.shm, f.shm, "in use");
  ck_assert_int_eq(send_text(f.app, "still there"), 11);
  assert_receives(f.engine, "still there");
  face_drop(&f);
}
END_TEST

static int create_same_name(void* arg) {
  face_t* f = arg;
  ndnshm_t* ep;

  REQUIRE(ndnshm_new(&ep) == 0);
  REQUIRE(ndnshm_create(ep, f->name, NULL) == -EADDRINUSE);
  ndnshm_free(ep);
  return 0;
}

START_TEST(a_live_engines_name_is_in_use_and_its_face_goes_on) {
  face_t f = face_make("live", 4, 100);
  ndnshm_t* second;

  ck_assert_int_eq(ndnshm_new(&second), 0);
  ck_assert_int_eq(ndnshm_create(second, f.name, NULL), -EADDRINUSE);
  assert_errmsg(second, "flock", f.shm, "a live engine");
  assert_child_passes(create_same_name, &f);
  ck_assert_int_eq(names_there(&f), 3);
  ck_assert_int_eq(send_text(f.app, "unharmed"), 8);
  assert_receives(f.engine, "unharmed");
  ndnshm_free(second);
  ck_assert_int_eq(names_there(&f), 3);
  face_drop(&f);
}
END_TEST

START_TEST(a_failed_endpoint_may_be_used_again) {
  face_t f = face_make("first", 4, 100);
  face_t again = face_plan("again");

  ck_assert_int_eq(ndnshm_create(again.engine, f.name, NULL), -EADDRINUSE);
  ck_assert_int_eq(ndnshm_connect(again.engine, again.name, NULL), -ENOENT);
  ck_assert_int_eq(ndnshm_create(again.engine, again.name, NULL), 0);
  ck_assert_int_eq(ndnshm_connect(again.app, "no-such-face", NULL), -ENOENT);
  ck_assert_int_eq(ndnshm_connect(again.app, again.name, NULL), 0);
  face_drop(&again);
  face_drop(&f);
}
END_TEST

START_TEST(a_killed_engines_name_is_taken) {
  face_t f = face_of_the_dead("dead");

  ck_assert_msg(ndnshm_create(f.engine, f.name, NULL) == 0, "%s", ndnshm_errmsg(f.engine));
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  ck_assert_int_eq(send_text(f.app, "new life"), 8);
  assert_receives(f.engine, "new life");
  face_drop(&f);
}
END_TEST

/* An app of ours has e2a open for reading, one of ndn-rs both FIFOs both ways. */
START_TEST(a_killed_engines_name_is_taken_though_its_app_lives_on) {
  face_t f = face_plan("orphan");
  peer_t engine = {.face = &f};
  int a2e = -1, e2a = -1;
  int err;

  peer_fork(&engine, engine_body);
  peer_wait_ready(&engine);
  if (_i == 0) {
    ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  } else {
    a2e = open(f.a2e_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    e2a = open(f.e2a_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  }
  peer_kill(&engine);
  err = ndnshm_create(f.engine, f.name, NULL);
  if (err < 0) remove_names(&f);
  if (_i == 1) {
    close(a2e);
    close(e2a);
  }
  ck_assert_msg(err == 0, "%s", ndnshm_errmsg(f.engine));
  face_drop(&f);
}
END_TEST

typedef struct race_s {
  const face_t* face;
  int start[2], result[2];
} race_t;

static int race_for_name(void* arg) {
  race_t* race = arg;
  ndnshm_t* ep;
  char byte;

  close(race->start[1]);
  REQUIRE(ndnshm_new(&ep) == 0);
  REQUIRE(read(race->start[0], &byte, 1) == 0); /* all start when the parent closes its end */
  byte = ndnshm_create(ep, race->face->name, NULL) == 0 ? 'y' : 'n';
  REQUIRE(write(race->result[1], &byte, 1) == 1);
  for (;;) pause();
}

/* One race; how many won, and whether the winner's face can be connected to. */
static int race_once(face_t* f, int* ret_connected) {
  race_t race = {.face = f};
  pid_t rivals[3];
  int winners = 0;

  ck_assert_int_eq(pipe2(race.start, O_CLOEXEC), 0);
  ck_assert_int_eq(pipe2(race.result, O_CLOEXEC), 0);
  for (int i = 0; i < 3; i++) rivals[i] = harness_fork(race_for_name, &race);
  close(race.start[0]);
  close(race.start[1]);
  for (int i = 0; i < 3; i++) {
    char byte = '?';

    if (readable(race.result[0], DEADLINE_MS)) HOLDS(read(race.result[0], &byte, 1) == 1 && byte != '?');
    winners += byte == 'y';
  }
  *ret_connected = ndnshm_connect(f->app, f->name, NULL);
  for (int i = 0; i < 3; i++) harness_kill(rivals[i]);
  close(race.result[0]);
  close(race.result[1]);
  return winners;
}

START_TEST(of_engines_that_race_for_a_dead_name_one_gets_it_whole) {
  for (unsigned int i = 0; i < 100 / harness_slow(); i++) {
    face_t f = face_of_the_dead("race");
    int connected;
    int winners = race_once(&f, &connected);

    face_drop(&f);
    remove_names(&f);
    ck_assert_int_le(winners, 1);
    if (winners == 1) ck_assert_int_eq(connected, 0);
  }
}
END_TEST

START_TEST(squatted_fifos_fail_a_create_that_leaves_nothing) {
  face_t f = face_plan("squat");
  const char* const paths[] = {f.a2e_path, f.e2a_path};

  for (int i = 0; i < 2; i++) {
    close(open(paths[i], O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    assert_create_fails(&f, NULL, -EADDRINUSE, "mkfifo", paths[i], "somebody else");
    ck_assert_int_eq(names_there(&f), 1);
    unlink(paths[i]);
  }
  ck_assert_int_eq(ndnshm_create(f.engine, f.name, NULL), 0);
  face_drop(&f);
}
END_TEST

START_TEST(names_that_are_no_longer_ours_stay) {
  face_t f = face_plan("theirs");
  const char* const paths[] = {f.shm_path, f.a2e_path, f.e2a_path};

  ck_assert_int_eq(ndnshm_create(f.engine, f.name, NULL), 0);
  for (int i = 0; i < 3; i++) {
    unlink(paths[i]);
    close(open(paths[i], O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  }
  ndnshm_shutdown(f.engine);
  ck_assert_int_eq(names_there(&f), 3);
  remove_names(&f);
  face_drop(&f);
}
END_TEST

START_TEST(every_descriptor_is_nonblocking_and_closed_on_exec) {
  bool before[256];
  face_t f;
  int made = 0;

  for (int fd = 0; fd < 256; fd++) before[fd] = fcntl(fd, F_GETFD) >= 0;
  f = face_make("cloexec", 4, 100);
  for (int fd = 0; fd < 256; fd++) {
    struct stat st;

    if (before[fd] || fstat(fd, &st) != 0) continue;
    made++;
    ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    if (S_ISFIFO(st.st_mode)) ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  }
  ck_assert_int_eq(made, 5); /* the engine's region and FIFOs, the app's FIFOs */
  face_drop(&f);
}
END_TEST

/* --- Scarcity -------------------------------------------------------------------------------------- */

/* Leaves `spare` descriptors, or gives the limit back (-1). */
static void limit_descriptors(int spare) {
  static struct rlimit before;
  struct rlimit limit;
  int first_free;

  if (spare < 0) {
    setrlimit(RLIMIT_NOFILE, &before);
    return;
  }
  getrlimit(RLIMIT_NOFILE, &before);
  limit = before;
  first_free = dup(0);
  close(first_free);
  limit.rlim_cur = (rlim_t) (first_free + spare);
  setrlimit(RLIMIT_NOFILE, &limit);
}

static int create_with_few_descriptors(void* arg) {
  face_t* f = arg;
  int fds = harness_count_fds();
  int failures = 0, err = -1;

  for (int spare = 0; err != 0; spare++) {
    limit_descriptors(spare);
    err = ndnshm_create(f->engine, f->name, NULL);
    limit_descriptors(-1);
    REQUIRE(err == 0 || err == -EMFILE);
    REQUIRE(names_there(f) == (err == 0 ? 3 : 0));
    failures += err != 0;
    REQUIRE(err == 0 || harness_count_fds() == fds);
  }
  REQUIRE(failures >= 3);
  ndnshm_shutdown(f->engine);
  REQUIRE(harness_count_fds() == fds);
  return 0;
}

START_TEST(a_create_with_too_few_descriptors_leaves_nothing) {
  if (harness_under_valgrind()) return;
  face_t f = face_plan("emfile");

  assert_child_passes(create_with_few_descriptors, &f);
  face_drop(&f);
}
END_TEST

static int connect_with_few_descriptors(void* arg) {
  face_t* f = arg;
  int fds = harness_count_fds();
  int failures = 0, err = -1;

  for (int spare = 0; err != 0; spare++) {
    limit_descriptors(spare);
    err = ndnshm_connect(f->app, f->name, NULL);
    limit_descriptors(-1);
    REQUIRE(err == 0 || err == -EMFILE);
    failures += err != 0;
    REQUIRE(err == 0 || harness_count_fds() == fds);
  }
  REQUIRE(failures >= 2);
  return 0;
}

START_TEST(a_connect_with_too_few_descriptors_leaves_nothing_open) {
  if (harness_under_valgrind()) return;
  face_t f = face_plan("emfile-app");

  face_create(&f, 4, 100);
  assert_child_passes(connect_with_few_descriptors, &f);
  face_drop(&f);
}
END_TEST

/* An engine that, as ndn-rs, holds no lock: its reading of a2e is all that tells of its life. */
static int create_beside_foreign_engine(void* arg) {
  face_t* f = arg;

  for (int spare = 8; spare >= 0; spare--) {
    int err;

    limit_descriptors(spare);
    err = ndnshm_create(f->engine, f->name, NULL);
    limit_descriptors(-1);
    REQUIRE(err == -EADDRINUSE || err == -EMFILE);
    REQUIRE(names_there(f) == 3);
  }
  return 0;
}

START_TEST(a_foreign_engines_name_is_never_taken_not_even_for_want_of_descriptors) {
  if (harness_under_valgrind()) return;
  face_t f = face_plan("foreign");
  int a2e, e2a, err, status;

  close(open(f.shm_path, O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  ck_assert(mkfifo(f.a2e_path, 0600) == 0 && mkfifo(f.e2a_path, 0600) == 0);
  a2e = open(f.a2e_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  e2a = open(f.e2a_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  err = ndnshm_create(f.engine, f.name, NULL);
  status = harness_wait(harness_fork(create_beside_foreign_engine, &f), DEADLINE_MS);
  close(a2e);
  close(e2a);
  remove_names(&f);
  ck_assert_int_eq(err, -EADDRINUSE);
  assert_errmsg(f.engine, "open", f.a2e_path, "a live engine");
  ck_assert_int_eq(status, 0);
  face_drop(&f);
}
END_TEST

static int create_beyond_file_size_limit(void* arg) {
  face_t* f = arg;
  struct rlimit limit = {100000, 100000};

  signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  REQUIRE(ndnshm_create(f->engine, f->name, NULL) == -EFBIG);
  REQUIRE(strstr(ndnshm_errmsg(f->engine), strerror(EFBIG)) != NULL);
  REQUIRE(strstr(ndnshm_errmsg(f->engine), f->name) != NULL);
  REQUIRE(names_there(f) == 0);
  return 0;
}

START_TEST(a_file_size_limit_is_efbig_and_leaves_nothing) {
  face_t f = face_plan("efbig");

  assert_child_passes(create_beyond_file_size_limit, &f);
  face_drop(&f);
}
END_TEST

/* --- Connecting ------------------------------------------------------------------------------------ */

static void assert_connect_fails(face_t* f, int code, const char* call, const char* object,
                                 const char* reason) {
  int fds = harness_count_fds();

  ck_assert_int_eq(ndnshm_connect(f->app, f->name, NULL), code);
  assert_errmsg(f->app, call, object, reason);
  ck_assert_int_eq(ndnshm_fd(f->app), -1);
  ck_assert_int_eq(harness_count_fds(), fds);
}

START_TEST(no_face_is_enoent) {
  face_t f = face_plan("enoent");

  assert_connect_fails(&f, -ENOENT, "shm_open", f.shm, strerror(ENOENT));
  face_create(&f, 4, 100);
  unlink(f.e2a_path);
  assert_connect_fails(&f, -ENOENT, "open", f.e2a_path, strerror(ENOENT));
  face_drop(&f);
}
END_TEST

START_TEST(a_killed_engine_refuses) {
  face_t f = face_of_the_dead("refused");

  assert_connect_fails(&f, -ECONNREFUSED, "read", f.e2a_path, "no engine");
  ck_assert_int_eq(names_there(&f), 3);
  remove_names(&f);
  face_drop(&f);
}
END_TEST

START_TEST(an_engine_with_one_hand_in_the_grave_refuses) {
  face_t f = face_of_the_dead("halfdead");
  int a2e = open(f.a2e_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  int e2a;

  assert_connect_fails(&f, -ECONNREFUSED, "read", f.e2a_path, "no engine");
  close(a2e);
  e2a = open(f.e2a_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  assert_connect_fails(&f, -ECONNREFUSED, "open", f.a2e_path, "no engine");
  close(e2a);
  remove_names(&f);
  face_drop(&f);
}
END_TEST

/* A FIFO of which nobody ever was seen to write never tells poll() that nobody does: an app that attached here
 * would wait for ever. */
START_TEST(wake_bytes_of_a_killed_engine_do_not_pass_for_a_live_one) {
  static const char bytes[4097];
  face_t f = face_of_the_dead("bytes");
  int a2e = open(f.a2e_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  int lingering = open(f.e2a_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  int engine = open(f.e2a_path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);

  ck_assert_int_eq(write(engine, bytes, sizeof(bytes)), sizeof(bytes));
  close(engine);
  assert_connect_fails(&f, -ECONNREFUSED, "read", f.e2a_path, "no engine");
  close(lingering);
  close(a2e);
  remove_names(&f);
  face_drop(&f);
}
END_TEST

static const char* unlinked_after_pread;

/* The library is linked statically, so this comes before libc's: once a header was read, its name goes. */
ssize_t pread(int fd, void* buffer, size_t n, off_t offset) {
  ssize_t got = syscall(SYS_pread64, fd, buffer, n, offset);

  if (unlinked_after_pread != NULL) unlink(unlinked_after_pread);
  return got;
}

START_TEST(a_region_replaced_while_an_app_connects_refuses) {
  face_t f = face_plan("replaced");

  face_create(&f, 4, 100);
  unlinked_after_pread = f.shm_path;
  assert_connect_fails(&f, -ECONNREFUSED, "fstat", f.shm, "dead");
  unlinked_after_pread = NULL;
  face_drop(&f);
}
END_TEST

START_TEST(a_broken_header_is_eproto) {
  face_t f = face_plan("eproto");
  ndnshm__header_t* h;

  face_create(&f, 4, 100);
  h = f.header;
  h->magic++;
  assert_connect_fails(&f, -EPROTO, "header", f.shm, "magic");
  h->magic--;
  h->capacity = 0;
  assert_connect_fails(&f, -EPROTO, "header", f.shm, "geometry");
  h->capacity = 5;
  assert_connect_fails(&f, -EPROTO, "header", f.shm, "file has");
  h->capacity = 4;
  h->a2e_tail.value = 5;
  assert_connect_fails(&f, -EPROTO, "header", f.shm, "indices");
  h->a2e_tail.value = 0;
  h->e2a_head.value = 1;
  assert_connect_fails(&f, -EPROTO, "header", f.shm, "indices");
  h->e2a_head.value = 0;
  ck_assert_uint_eq(h->app_caps, 0);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  face_drop(&f);
}
END_TEST

START_TEST(what_belongs_to_another_user_is_eperm_unless_trusted) {
  face_t f = face_plan("eperm");
  const char* const paths[] = {f.shm_path, f.a2e_path, f.e2a_path};
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;

  options.uid = OTHER_UID;
  if (is_root()) {
    face_create(&f, 4, 100);
    for (int i = 0; i < 3; i++) {
      ck_assert_int_eq(chown(paths[i], OTHER_UID, (gid_t) -1), 0);
      assert_connect_fails(&f, -EPERM, "fstat", i == 0 ? f.shm : paths[i], "owned by uid 61234");
      ck_assert_int_eq(chown(paths[i], 0, (gid_t) -1), 0);
    }
    for (int i = 0; i < 3; i++) ck_assert_int_eq(chown(paths[i], OTHER_UID, (gid_t) -1), 0);
    ck_assert_int_eq(ndnshm_connect(f.app, f.name, &options), 0);
  }
  face_drop(&f);
}
END_TEST

static int connect_as_other(void* arg) {
  face_t* f = arg;

  if (become_other() != 0) return 1;
  REQUIRE(ndnshm_connect(f->app, f->name, NULL) == -EACCES);
  REQUIRE(strstr(ndnshm_errmsg(f->app), f->shm) != NULL);
  REQUIRE(strstr(ndnshm_errmsg(f->app), strerror(EACCES)) != NULL);
  return 0;
}

static int create_under_harsh_umask(void* arg) {
  face_t* f = arg;

  if (is_root() && become_other() != 0) return 1;
  umask(0777);
  REQUIRE(ndnshm_create(f->engine, f->name, NULL) == 0);
  ndnshm_free(f->engine);
  return 0;
}

START_TEST(umask_takes_nothing_from_the_engine_itself) {
  face_t f = face_plan("umask");

  assert_child_passes(create_under_harsh_umask, &f);
  face_drop(&f);
}
END_TEST

START_TEST(a_user_without_permission_is_eacces) {
  face_t f = face_plan("eacces");

  if (is_root()) {
    face_create(&f, 4, 100);
    assert_child_passes(connect_as_other, &f);
  }
  face_drop(&f);
}
END_TEST

START_TEST(a_fifo_that_is_none_is_eperm) {
  face_t f = face_plan("nofifo");

  face_create(&f, 4, 100);
  unlink(f.e2a_path);
  close(open(f.e2a_path, O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  assert_connect_fails(&f, -EPERM, "fstat", f.e2a_path, "not a FIFO");
  unlink(f.e2a_path);
  ck_assert_int_eq(symlink(f.a2e_path, f.e2a_path), 0);
  assert_connect_fails(&f, -EPERM, "open", f.e2a_path, "symbolic link");
  unlink(f.e2a_path);
  face_drop(&f);
}
END_TEST

START_TEST(an_app_clears_what_the_one_before_left) {
  face_t f = face_plan("heir");
  int fd;

  face_create(&f, 4, 100);
  f.header->e2a_parked.value = f.header->a2e_waiting = 1;
  ck_assert_int_eq(send_text(f.engine, "wakes the one before"), 20);
  f.header->e2a_parked.value = 1;
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  fd = ndnshm_fd(f.app);
  ck_assert(f.header->e2a_parked.value == 0 && f.header->a2e_waiting == 0);
  ck_assert_msg(!readable(fd, 0), "an old wake-up is left in the FIFO");
  assert_receives(f.app, "wakes the one before");
  face_drop(&f);
}
END_TEST

/* An engine of another make: 131 slots, indices about to wrap. */
START_TEST(an_app_works_with_a_capacity_that_is_no_power_of_two) {
  face_t f = face_plan("131");
  ndnshm__access_t access = {0600, NOBODY, (gid_t) -1};
  ndnshm__geometry_t g;
  ndnshm__region_t region;
  ndnshm__error_t error;
  ndnshm__rx_t rx;
  struct iovec packet;
  int a2e, e2a;

  ck_assert_int_eq(ndnshm__geometry_from_header(131, 100, &g), 0);
  ck_assert_int_eq(ndnshm__region_create(&region, f.shm, &g, &access, &error), 0);
  ck_assert_int_eq(ndnshm__fifo_create(f.a2e_path, O_RDONLY, true, &access, &a2e, &error), 0);
  ck_assert_int_eq(ndnshm__fifo_create(f.e2a_path, O_RDWR, false, &access, &e2a, &error), 0);
  region.header->a2e_tail.value = region.header->a2e_head.value = 0u - 300;
  region.header->magic = NDNSHM__MAGIC;
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  ck_assert_uint_eq(ndnshm_get_capacity(f.app), 131);
  ck_assert_uint_eq(ndnshm_get_mtu(f.app), 100);
  ck_assert_uint_eq(ndnshm_peer_caps(f.app), 0);
  ck_assert_int_eq(ndnshm__rx_init(&rx, (unsigned char*) region.header + g.a2e_offset,
                                   &region.header->a2e_tail.value, &region.header->a2e_head.value, &g), 0);
  for (uint32_t sent = 0, taken = 0; taken < 1000;) {
    for (packet = (struct iovec){&sent, sizeof(sent)}; ndnshm_send(f.app, &packet, 1) > 0; sent++) continue;
    HOLDS(sent > taken && ndnshm__rx_available(&rx, 1) == 1 && ndnshm__rx_slot(&rx, 0, &packet) == 0);
    HOLDS(packet.iov_len == sizeof(taken) && memcmp(packet.iov_base, &taken, sizeof(taken)) == 0);
    ndnshm__rx_release(&rx, 1);
    taken++;
  }
  close(a2e);
  close(e2a);
  ndnshm__region_close(&region);
  ndnshm__region_unmap(&region);
  remove_names(&f);
  face_drop(&f);
}
END_TEST

/* --- Sending and receiving ------------------------------------------------------------------------- */

START_TEST(packets_pass_both_ways_in_order) {
  face_t f = face_make("both", 4, 100);

  ck_assert_int_eq(send_text(f.app, "to the engine"), 13);
  ck_assert_int_eq(send_text(f.app, "and more"), 8);
  ck_assert_int_eq(send_text(f.engine, "to the app"), 10);
  assert_receives(f.engine, "to the engine");
  assert_receives(f.engine, "and more");
  assert_receives_nothing(f.engine);
  assert_receives(f.app, "to the app");
  assert_receives_nothing(f.app);
  face_drop(&f);
}
END_TEST

START_TEST(pieces_are_gathered_into_one_packet) {
  face_t f = face_make("gather", 4, 10);
  struct iovec pieces[] = {
      {(void*) (uintptr_t) "ab", 2},
      {NULL, 0},
      {(void*) (uintptr_t) "cdefg", 5},
      {(void*) (uintptr_t) "hij", 3},
  };

  ck_assert_int_eq(ndnshm_send(f.app, pieces, 4), 10);
  assert_receives(f.engine, "abcdefghij");
  face_drop(&f);
}
END_TEST

START_TEST(packets_of_no_byte_or_more_than_the_mtu_are_refused) {
  face_t f = face_make("sizes", 4, 10);
  struct iovec v[] = {{&f, 4}, {&f, 11}, {&f, 0}, {&f, 7}, {&f, SIZE_MAX - 3}};
  struct iovec slot;

  ck_assert_int_eq(ndnshm_send(f.app, v, 0), -EINVAL);
  ck_assert_int_eq(ndnshm_send(f.app, NULL, 1), -EINVAL);
  ck_assert_int_eq(ndnshm_send(f.app, &v[2], 1), -EINVAL);
  ck_assert_int_eq(ndnshm_send(f.app, &v[1], 1), -EMSGSIZE);
  ck_assert_int_eq(ndnshm_send(f.app, &v[4], 1), -EMSGSIZE);
  ck_assert_int_eq(ndnshm_send(f.app, &v[3], 2), -EMSGSIZE); /* the sum overflows to 3 */
  ck_assert_int_eq(ndnshm_send_batch(f.app, v, 0), -EINVAL);
  ck_assert_int_eq(ndnshm_send_batch(f.app, NULL, 1), -EINVAL);
  ck_assert_int_eq(ndnshm_send_batch(f.app, v, 2), -EMSGSIZE);
  v[1].iov_len = 10;
  ck_assert_int_eq(ndnshm_send_batch(f.app, v, 3), -EINVAL);
  ck_assert_int_eq(ndnshm_reserve(f.app, 0, &slot), -EINVAL);
  ck_assert_int_eq(ndnshm_reserve(f.app, 1, NULL), -EINVAL);
  ck_assert_int_eq(ndnshm_reserve(f.app, 11, &slot), -EMSGSIZE);
  assert_receives_nothing(f.engine);
  ck_assert_int_eq(ndnshm_send(f.app, &v[1], 1), 10);
  face_drop(&f);
}
END_TEST

START_TEST(a_full_ring_refuses_and_counts) {
  face_t f = face_make("full", 4, 100);
  struct iovec slot;
  ndnshm_stats_t stats;

  for (int i = 0; i < 4; i++) ck_assert_int_eq(send_text(f.app, "x"), 1);
  ck_assert_int_eq(send_text(f.app, "x"), -EAGAIN);
  ck_assert_int_eq(ndnshm_send_batch(f.app, &(struct iovec){&f, 1}, 1), -EAGAIN);
  ck_assert_int_eq(ndnshm_reserve(f.app, 1, &slot), -EAGAIN);
  ck_assert_int_eq(ndnshm_get_stats(f.app, &stats), 0);
  ck_assert_uint_eq(stats.tx_full, 3);
  ck_assert_uint_eq(stats.tx_packets, 4);
  assert_receives(f.engine, "x");
  ck_assert_int_eq(send_text(f.app, "x"), 1);
  face_drop(&f);
}
END_TEST

START_TEST(a_batch_takes_as_many_as_find_room_in_one_publication) {
  face_t f = face_make("batch", 8, 100);
  struct iovec v[10];
  ndnshm_stats_t stats;

  for (int i = 0; i < 10; i++) v[i] = (struct iovec){(void*) (uintptr_t) &"0123456789"[i], 1};
  ck_assert_uint_eq(ndnshm_park(f.engine, NDNSHM_PACKETS), 0);
  ck_assert_int_eq(ndnshm_send_batch(f.app, v, 5), 5);
  ck_assert_int_eq(ndnshm_send_batch(f.app, &v[5], 5), 3);
  ck_assert_int_eq(ndnshm_send_batch(f.app, &v[8], 2), -EAGAIN);
  ck_assert_int_eq(ndnshm_get_stats(f.app, &stats), 0);
  ck_assert_uint_eq(stats.wakeups_sent, 1);
  for (int i = 0; i < 8; i++) assert_receives(f.engine, (char[2]){(char) ('0' + i), '\0'});
  assert_receives_nothing(f.engine);
  face_drop(&f);
}
END_TEST

START_TEST(a_reserved_slot_is_sent_when_committed) {
  face_t f = face_make("reserve", 4, 100);
  struct iovec slot, second;

  ck_assert_int_eq(ndnshm_commit(f.app, 1), -EINVAL);
  ck_assert_int_eq(ndnshm_reserve(f.app, 10, &slot), 0);
  ck_assert_uint_eq(slot.iov_len, 10);
  memcpy(slot.iov_base, "in place!!", 10);
  assert_receives_nothing(f.engine);
  ck_assert_int_eq(ndnshm_reserve(f.app, 1, &second), -EALREADY);
  ck_assert_int_eq(send_text(f.app, "must not overtake"), -EAGAIN);
  ck_assert_int_eq(ndnshm_send_batch(f.app, &(struct iovec){&f, 1}, 1), -EAGAIN);
  ck_assert_uint_eq(ndnshm_ready(f.app, NDNSHM_SPACE), 0);
  ck_assert_int_eq(ndnshm_commit(f.app, 11), -EMSGSIZE);
  ck_assert_int_eq(ndnshm_commit(f.app, 8), 0);
  ck_assert_int_eq(ndnshm_commit(f.app, 8), -EINVAL);
  assert_receives(f.engine, "in place");
  face_drop(&f);
}
END_TEST

START_TEST(a_reservation_can_be_given_back_unsent) {
  face_t f = face_make("giveback", 1, 100);
  struct iovec slot;

  for (int i = 0; i < 3; i++) {
    ck_assert_int_eq(ndnshm_reserve(f.app, 100, &slot), 0);
    memset(slot.iov_base, 'x', 100);
    ck_assert_int_eq(ndnshm_commit(f.app, 0), 0);
  }
  assert_receives_nothing(f.engine);
  ck_assert_int_eq(send_text(f.app, "y"), 1);
  assert_receives(f.engine, "y");
  face_drop(&f);
}
END_TEST

START_TEST(a_receive_fills_the_arena_with_whole_aligned_packets) {
  face_t f = face_make("arena", 8, 100);
  char packet[60];
  _Alignas(8) char arena[132];
  struct iovec v[8];

  for (int i = 0; i < 5; i++) {
    memset(packet, 'a' + i, sizeof(packet));
    ck_assert_int_eq(ndnshm_send(f.app, &(struct iovec){packet, sizeof(packet)}, 1), 60);
  }
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, 99, v, 8), -ENOBUFS);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, 130, v, 8), 2);
  for (int i = 0; i < 2; i++) {
    ck_assert_ptr_eq(v[i].iov_base, arena + 64 * i);
    ck_assert_uint_eq(v[i].iov_len, 60);
    memset(packet, 'a' + i, sizeof(packet));
    ck_assert_mem_eq(v[i].iov_base, packet, 60);
  }
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, 124, v, 8), 2); /* to the last byte */
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, 100, v, 8), 1);
  ck_assert_int_eq(((char*) v[0].iov_base)[59], 'e');
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, 100, v, 8), 0);
  face_drop(&f);
}
END_TEST

START_TEST(a_receive_takes_no_more_than_asked_nor_than_64) {
  face_t f = face_make("max", 128, 16);
  char arena[128 * 16];
  struct iovec v[128];

  for (int i = 0; i < 100; i++) ck_assert_int_eq(send_text(f.app, "x"), 1);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), v, 0), 0);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), v, 2), 2);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 3), 3);
  ndnshm_release(f.engine);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), v, 128), 64);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 128), 31);
  ndnshm_release(f.engine);
  ck_assert_uint_eq(f.header->a2e_head.value, 100);
  ck_assert_int_eq(ndnshm_recv(f.engine, NULL, 9999, v, 1), -EINVAL);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), NULL, 1), -EINVAL);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, NULL, 1), -EINVAL);
  face_drop(&f);
}
END_TEST

START_TEST(received_copies_do_not_change_with_the_ring) {
  face_t f = face_make("copies", 1, 16);
  char arena[16];
  struct iovec packet;

  ck_assert_int_eq(send_text(f.app, "mine"), 4);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), &packet, 1), 1);
  ck_assert_int_eq(send_text(f.app, "next"), 4);
  ck_assert_mem_eq(packet.iov_base, "mine", 4);
  face_drop(&f);
}
END_TEST

START_TEST(peeked_packets_are_the_slots_until_released) {
  face_t f = face_make("peek", 2, 16);
  struct iovec v[2], other;

  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 2), 0);
  send_text(f.app, "one");
  send_text(f.app, "two");
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 2), 2);
  ck_assert_mem_eq(v[0].iov_base, "one", 3);
  ck_assert_mem_eq(v[1].iov_base, "two", 3);
  ck_assert_int_eq((const char*) v[1].iov_base - (const char*) v[0].iov_base, 20);
  memcpy((char*) (f.header + 1) + 4, "ONE", 3); /* the peer may still write: these are no copies */
  ck_assert_mem_eq(v[0].iov_base, "ONE", 3);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, &other, 1), -EALREADY);
  ck_assert_int_eq(send_text(f.app, "no room yet"), -EAGAIN);
  ndnshm_release(f.engine);
  ndnshm_release(f.engine);
  ck_assert_uint_eq(f.header->a2e_head.value, 2);
  ck_assert_int_eq(send_text(f.app, "room"), 4);
  assert_receives(f.engine, "room");
  face_drop(&f);
}
END_TEST

START_TEST(a_peek_stops_at_its_bytes_but_hands_out_one_packet_always) {
  static const size_t limits[] = {0, 1, 9, 10, 19, 20, 29, 30, SIZE_MAX};
  static const int expected[] = {1, 1, 1, 1, 1, 2, 2, 3, 4};
  face_t f = face_make("bytes", 32, 16);
  struct iovec v[4];
  ndnshm_stats_t stats;
  uint64_t packets = 0;

  for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
    while (send_text(f.app, "ten bytes.") > 0) continue;
    ck_assert_int_eq(ndnshm_peek(f.engine, limits[i], v, 4), expected[i]);
    packets += (uint64_t) expected[i];
    ndnshm_release(f.engine);
    ck_assert_uint_eq(f.header->a2e_head.value, packets);
  }
  ck_assert_int_eq(ndnshm_get_stats(f.engine, &stats), 0);
  ck_assert(stats.rx_packets == packets && stats.rx_bytes == 10 * packets);
  face_drop(&f);
}
END_TEST

START_TEST(a_receive_during_a_peek_hands_out_nothing_twice) {
  face_t f = face_make("peekrecv", 4, 16);
  char arena[64];
  struct iovec v[4];
  uint32_t head;
  int err;

  send_text(f.app, "one");
  send_text(f.app, "two");
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 1), 1);
  err = ndnshm_recv(f.engine, arena, sizeof(arena), v, 4);
  ndnshm_release(f.engine);
  head = f.header->a2e_head.value;
  face_drop(&f);
  ck_assert_int_eq(err, -EALREADY);
  ck_assert_uint_eq(head, 1);
}
END_TEST

START_TEST(peeked_packets_stay_readable_after_shutdown) {
  face_t f = face_make("views", 4, 16);
  struct iovec packet;

  send_text(f.app, "still here");
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, &packet, 1), 1);
  ndnshm_shutdown(f.app);
  ndnshm_shutdown(f.engine);
  ck_assert_int_eq(names_there(&f), 0);
  ck_assert_mem_eq(packet.iov_base, "still here", 10);
  ndnshm_release(f.engine);
  face_drop(&f);
}
END_TEST

/* Lengths vary and a packet's bytes are its number's, so a packet out of place shows. */
static struct iovec numbered_packet(unsigned char* bytes, uint64_t number, size_t mtu) {
  struct iovec packet = {bytes, 1 + (size_t) (number % mtu)};

  memset(bytes, (int) (number % 251), packet.iov_len);
  return packet;
}

static bool is_numbered(const struct iovec* packet, uint64_t number, size_t mtu) {
  const unsigned char* bytes = packet->iov_base;

  for (size_t i = 0; i < packet->iov_len; i++)
    if (bytes[i] != number % 251) return false;
  return packet->iov_len == 1 + (size_t) (number % mtu);
}

typedef struct traffic_s {
  ndnshm_t *from, *to;
  uint64_t sent, taken;
  unsigned int random;
} traffic_t;

static unsigned int traffic_random(traffic_t* t, unsigned int below) {
  t->random = t->random * 1664525u + 1013904223u;
  return (t->random >> 8) % below;
}

static void traffic_send(traffic_t* t) {
  unsigned char bytes[BURST][200];
  size_t mtu = ndnshm_get_mtu(t->from);
  struct iovec v[BURST];
  unsigned int n = 1 + traffic_random(t, 12);
  uint64_t used = t->sent - t->taken;
  uint32_t capacity = ndnshm_get_capacity(t->from);
  int got;

  for (unsigned int i = 0; i < n; i++) v[i] = numbered_packet(bytes[i], t->sent + i, mtu);
  got = n == 1 ? ndnshm_send(t->from, v, 1) : ndnshm_send_batch(t->from, v, n);
  if (n == 1 && got > 0) got = got == (int) v[0].iov_len ? 1 : -1;
  HOLDS(used == capacity ? got == -EAGAIN : got == (int) (capacity - used < n ? capacity - used : n));
  if (got > 0) t->sent += (unsigned int) got;
}

static void traffic_reserve(traffic_t* t) {
  unsigned char bytes[200];
  struct iovec packet = numbered_packet(bytes, t->sent, ndnshm_get_mtu(t->from));
  struct iovec slot;

  if (ndnshm_reserve(t->from, packet.iov_len, &slot) < 0) {
    HOLDS(t->sent - t->taken == ndnshm_get_capacity(t->from));
    return;
  }
  memcpy(slot.iov_base, bytes, packet.iov_len);
  if (traffic_random(t, 3) == 0) {
    HOLDS(ndnshm_commit(t->from, 0) == 0);
    return;
  }
  HOLDS(ndnshm_commit(t->from, packet.iov_len) == 0);
  t->sent++;
}

static void traffic_take(traffic_t* t) {
  unsigned char arena[2000];
  struct iovec v[BURST];
  bool peek = traffic_random(t, 2) == 0;
  unsigned int max = 1 + traffic_random(t, 20);
  size_t arena_bytes = 200 + traffic_random(t, sizeof(arena) - 200);
  int n = peek ? ndnshm_peek(t->to, SIZE_MAX, v, max) : ndnshm_recv(t->to, arena, arena_bytes, v, max);

  HOLDS(n >= 0 && n <= (int) max && (n > 0 || t->sent == t->taken));
  if (peek) traffic_send(t); /* must not touch what is peeked */
  for (int i = 0; i < n; i++) HOLDS(is_numbered(&v[i], t->taken + (unsigned int) i, ndnshm_get_mtu(t->to)));
  if (peek) ndnshm_release(t->to);
  t->taken += (unsigned int) n;
}

START_TEST(random_operations_match_a_queue) {
  static void (*const operations[])(traffic_t* t) = {
      traffic_send, traffic_reserve, traffic_take, traffic_take,
  };
  const unsigned int rounds = 100000 / harness_slow();
  face_t f = face_make("random", 8, 200);
  traffic_t ways[2] = {{.from = f.app, .to = f.engine, .random = (unsigned int) harness_now_ns()},
                       {.from = f.engine, .to = f.app, .random = 7}};
  ndnshm_stats_t stats;

  fprintf(stderr, "# seed %u\n", ways[0].random);
  for (unsigned int i = 0; i < rounds; i++) operations[traffic_random(&ways[i % 2], 4)](&ways[i % 2]);
  ck_assert_uint_gt(ways[0].taken, rounds / 10);
  ck_assert_int_eq(ndnshm_get_stats(f.app, &stats), 0);
  ck_assert_uint_eq(stats.tx_packets, ways[0].sent);
  ck_assert_uint_eq(stats.rx_packets, ways[1].taken);
  ck_assert_uint_eq(f.header->a2e_tail.value, (uint32_t) ways[0].sent);
  ck_assert_uint_eq(f.header->a2e_head.value, (uint32_t) ways[0].taken);
  face_drop(&f);
}
END_TEST

/* --- Peers that lie -------------------------------------------------------------------------------- */

START_TEST(impossible_indices_are_eproto_for_either_end) {
  face_t f = face_make("indices", 4, 100);
  char arena[400];
  struct iovec v;

  f.header->a2e_tail.value = 5;
  ck_assert_uint_eq(ndnshm_ready(f.engine, NDNSHM_PACKETS), NDNSHM_PACKETS);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), &v, 1), -EPROTO);
  assert_errmsg(f.engine, "ring", f.shm, "tail index");
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, &v, 1), -EPROTO);
  ck_assert_uint_eq(f.header->a2e_head.value, 0);
  f.header->e2a_tail.value = UINT32_MAX;
  ck_assert_int_eq(ndnshm_recv(f.app, arena, sizeof(arena), &v, 1), -EPROTO);
  assert_errmsg(f.app, "ring", f.shm, "tail index");
  f.header->a2e_head.value = 1;
  for (int i = 0; i < 4; i++) send_text(f.app, "x");
  f.header->a2e_head.value = UINT32_C(1) << 31;
  ck_assert_int_eq(send_text(f.app, "x"), -EPROTO);
  assert_errmsg(f.app, "ring", f.shm, "head index");
  ck_assert_int_eq(ndnshm_reserve(f.app, 1, &v), -EPROTO);
  ck_assert_int_eq(ndnshm_send_batch(f.app, &(struct iovec){&f, 1}, 1), -EPROTO);
  ck_assert_uint_eq(ndnshm_ready(f.app, NDNSHM_SPACE), NDNSHM_SPACE);
  face_drop(&f);
}
END_TEST

/* A producer in the app's place that writes what it likes. */
static void lie_about_lengths(face_t* f, const uint32_t lengths[], unsigned int n) {
  const ndnshm__geometry_t* g = &f->view.geometry;
  ndnshm__header_t* h = f->header;
  ndnshm__tx_t tx;

  ck_assert_int_eq(ndnshm__tx_init(&tx, (unsigned char*) h + g->a2e_offset, &h->a2e_tail.value,
                                   &h->a2e_head.value, g), 0);
  for (unsigned int i = 0; i < n; i++) ndnshm__tx_set_length(&tx, i, lengths[i]);
  ndnshm__tx_publish(&tx, n);
}

START_TEST(packets_before_an_impossible_length_arrive_then_eproto) {
  static const uint32_t lengths[] = {3, 100, 101, 3};
  static const uint32_t huge = UINT32_MAX;
  face_t f = face_plan("lengths");
  char arena[400];
  struct iovec v[4];

  face_create(&f, 8, 100);
  lie_about_lengths(&f, lengths, 4);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), v, 4), 2);
  ck_assert(v[0].iov_len == 3 && v[1].iov_len == 100);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), v, 4), -EPROTO);
  assert_errmsg(f.engine, "ring", f.shm, "packet length");
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 4), -EPROTO);
  ck_assert_uint_eq(f.header->a2e_head.value, 2);
  ndnshm_free(f.engine);
  ndnshm__region_unmap(&f.view);
  ck_assert_int_eq(ndnshm_new(&f.engine), 0);
  face_create(&f, 8, 100);
  lie_about_lengths(&f, lengths, 2);
  lie_about_lengths(&f, &huge, 1);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 4), 2);
  ndnshm_release(f.engine);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 4), -EPROTO);
  face_drop(&f);
}
END_TEST

START_TEST(slots_of_length_0_are_skipped_and_freed) {
  static const uint32_t lengths[] = {0, 3, 0, 0, 2};
  face_t f = face_plan("zero");
  char arena[400];
  struct iovec v[8];
  ndnshm_stats_t stats;

  face_create(&f, 8, 100);
  lie_about_lengths(&f, lengths, 5);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), v, 8), 2);
  ck_assert(v[0].iov_len == 3 && v[1].iov_len == 2);
  ck_assert_uint_eq(f.header->a2e_head.value, 5);
  lie_about_lengths(&f, lengths, 5);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 8), 2);
  ck_assert(v[0].iov_len == 3 && v[1].iov_len == 2);
  ndnshm_release(f.engine);
  ck_assert_uint_eq(f.header->a2e_head.value, 10);
  lie_about_lengths(&f, lengths, 1);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), v, 8), 0);
  lie_about_lengths(&f, lengths, 1);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 8), 0);
  ck_assert_uint_eq(f.header->a2e_head.value, 12);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 8), 0);
  ck_assert_int_eq(ndnshm_get_stats(f.engine, &stats), 0);
  ck_assert(stats.rx_packets == 4 && stats.rx_bytes == 10);
  face_drop(&f);
}
END_TEST

START_TEST(a_header_rewritten_in_mid_traffic_changes_nothing) {
  face_t f = face_make("rewritten", 4, 100);
  char packet[100];

  memset(packet, 'p', sizeof(packet));
  for (uint32_t i = 0; i < 100; i++) {
    f.header->magic = i;
    f.header->capacity = i % 3 == 0 ? 0 : UINT32_MAX - i;
    f.header->slot_size = i % 5 == 0 ? 0 : UINT32_MAX - i;
    memset(f.header->reserved, (int) i, sizeof(f.header->reserved));
    ck_assert_int_eq(ndnshm_send(f.app, &(struct iovec){packet, sizeof(packet)}, 1), 100);
    ck_assert_int_eq(send_text(f.engine, "reply"), 5);
    assert_receives(f.app, "reply");
    ck_assert_uint_eq(ndnshm_get_mtu(f.engine), 100);
    ck_assert_uint_eq(ndnshm_get_capacity(f.app), 4);
    if (i % 4 != 3) continue;
    for (int n = 0; n < 4; n++) {
      char arena[100];
      struct iovec v;

      ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), &v, 1), 1);
      ck_assert_uint_eq(v.iov_len, 100);
      ck_assert_mem_eq(v.iov_base, packet, 100);
    }
  }
  face_drop(&f);
}
END_TEST

/* --- Sleeping and waking ---------------------------------------------------------------------------- */

/* The same test for either end asleep: the app with even numbers, the engine with odd. */
typedef struct ends_s {
  ndnshm_t *sleeper, *other;
  uint32_t *parked, *waiting; /* the sleeper's flags */
} ends_t;

static ends_t ends_of(const face_t* f, int i) {
  ndnshm__header_t* h = f->header;

  return i % 2 == 0 ? (ends_t){f->app, f->engine, &h->e2a_parked.value, &h->a2e_waiting}
                    : (ends_t){f->engine, f->app, &h->a2e_parked.value, &h->e2a_waiting};
}

START_TEST(a_parked_end_is_woken_by_a_packet) {
  face_t f = face_make("park", 4, 100);
  ends_t e = ends_of(&f, _i);
  ndnshm_stats_t stats;

  ck_assert_uint_eq(ndnshm_park(e.sleeper, NDNSHM_PACKETS), 0);
  ck_assert(*e.parked == 1 && *e.waiting == 0);
  ck_assert(!readable(ndnshm_fd(e.sleeper), 0));
  send_text(e.other, "one");
  send_text(e.other, "two");
  ck_assert(readable(ndnshm_fd(e.sleeper), 0));
  ck_assert_int_eq(ndnshm_wake(e.sleeper), 1);
  ck_assert(!readable(ndnshm_fd(e.sleeper), 0));
  assert_receives(e.sleeper, "one");
  assert_receives(e.sleeper, "two");
  ck_assert_int_eq(ndnshm_get_stats(e.sleeper, &stats), 0);
  ck_assert(stats.parks == 1 && stats.wakeups_received == 1 && stats.wakeups_sent == 0);
  ck_assert_int_eq(ndnshm_get_stats(e.other, &stats), 0);
  ck_assert(stats.parks == 0 && stats.wakeups_received == 0 && stats.wakeups_sent == 1);
  face_drop(&f);
}
END_TEST

START_TEST(an_end_with_a_packet_does_not_park) {
  face_t f = face_make("nopark", 4, 100);
  ends_t e = ends_of(&f, _i);
  ndnshm_stats_t stats;

  send_text(e.other, "here");
  ck_assert_uint_eq(ndnshm_park(e.sleeper, NDNSHM_PACKETS), NDNSHM_PACKETS);
  ck_assert(*e.parked == 0 && *e.waiting == 0);
  ck_assert_uint_eq(ndnshm_park(e.sleeper, NDNSHM_PACKETS | NDNSHM_SPACE), NDNSHM_PACKETS | NDNSHM_SPACE);
  ck_assert(*e.parked == 0 && *e.waiting == 0);
  ck_assert_int_eq(ndnshm_get_stats(e.sleeper, &stats), 0);
  ck_assert_uint_eq(stats.parks, 0);
  send_text(e.other, "more");
  ck_assert_msg(!readable(ndnshm_fd(e.sleeper), 0), "nobody sleeps, nobody must be woken");
  face_drop(&f);
}
END_TEST

START_TEST(the_three_steps_make_a_park) {
  face_t f = face_make("steps", 4, 100);
  ends_t e = ends_of(&f, _i);

  ck_assert_uint_eq(ndnshm_announce(e.sleeper, NDNSHM_PACKETS), NDNSHM_PACKETS);
  ck_assert(*e.parked == 1 && *e.waiting == 0);
  ndnshm_fence();
  ck_assert_uint_eq(ndnshm_confirm(e.sleeper, NDNSHM_PACKETS), 0);
  ck_assert_uint_eq(*e.parked, 1);
  ndnshm_unpark(e.sleeper);
  ck_assert_uint_eq(*e.parked, 0);
  ck_assert_uint_eq(ndnshm_announce(e.sleeper, NDNSHM_SPACE), NDNSHM_SPACE);
  ck_assert(*e.parked == 0 && *e.waiting == 1);
  ck_assert_uint_eq(ndnshm_confirm(e.sleeper, NDNSHM_SPACE), NDNSHM_SPACE);
  ck_assert_uint_eq(*e.waiting, 0);
  ck_assert_uint_eq(ndnshm_announce(e.sleeper, 0), 0);
  ck_assert(*e.parked == 0 && *e.waiting == 0);
  ndnshm_announce(e.sleeper, NDNSHM_PACKETS);
  send_text(e.other, "came in between");
  ck_assert_uint_eq(ndnshm_confirm(e.sleeper, NDNSHM_PACKETS), NDNSHM_PACKETS);
  ck_assert_uint_eq(*e.parked, 0);
  face_drop(&f);
}
END_TEST

START_TEST(readiness_is_told_by_the_rings_alone) {
  face_t f = face_make("ready", 2, 100);
  ends_t e = ends_of(&f, _i);

  ck_assert_uint_eq(ndnshm_ready(e.sleeper, NDNSHM_PACKETS | NDNSHM_SPACE), NDNSHM_SPACE);
  ck_assert_uint_eq(ndnshm_ready(e.sleeper, NDNSHM_PACKETS), 0);
  ck_assert_uint_eq(ndnshm_ready(e.sleeper, 0), 0);
  send_text(e.other, "x");
  ck_assert_uint_eq(ndnshm_ready(e.sleeper, NDNSHM_PACKETS), NDNSHM_PACKETS);
  ck_assert_uint_eq(ndnshm_ready(e.sleeper, NDNSHM_SPACE), NDNSHM_SPACE);
  send_text(e.sleeper, "x");
  send_text(e.sleeper, "x");
  ck_assert_uint_eq(ndnshm_ready(e.sleeper, NDNSHM_PACKETS | NDNSHM_SPACE), NDNSHM_PACKETS);
  ck_assert(*e.parked == 0 && *e.waiting == 0);
  face_drop(&f);
}
END_TEST

START_TEST(a_full_end_is_woken_by_space) {
  face_t f = face_make("space", 4, 100);
  ends_t e = ends_of(&f, _i);
  struct iovec v[4];

  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 4; i++) ck_assert_int_eq(send_text(e.sleeper, "x"), 1);
    ck_assert_uint_eq(ndnshm_park(e.sleeper, NDNSHM_SPACE), 0);
    ck_assert(*e.parked == 0 && *e.waiting == 1);
    ck_assert(!readable(ndnshm_fd(e.sleeper), 0));
    if (round == 0) assert_receives(e.other, "x");
    ck_assert_int_eq(ndnshm_peek(e.other, SIZE_MAX, v, 4), 4 - (round == 0));
    ndnshm_release(e.other);
    ck_assert(readable(ndnshm_fd(e.sleeper), 0));
    ck_assert_int_eq(ndnshm_wake(e.sleeper), 1);
    ck_assert_uint_eq(*e.waiting, 0);
    ck_assert_uint_eq(ndnshm_ready(e.sleeper, NDNSHM_SPACE), NDNSHM_SPACE);
  }
  face_drop(&f);
}
END_TEST

START_TEST(waking_withdraws_both_announcements) {
  face_t f = face_make("withdraw", 1, 100);
  ends_t e = ends_of(&f, _i);

  send_text(e.sleeper, "x");
  ck_assert_uint_eq(ndnshm_park(e.sleeper, NDNSHM_PACKETS | NDNSHM_SPACE), 0);
  ck_assert(*e.parked == 1 && *e.waiting == 1);
  send_text(e.other, "y");
  ck_assert_int_eq(ndnshm_wake(e.sleeper), 1);
  ck_assert(*e.parked == 0 && *e.waiting == 0);
  ck_assert_int_eq(ndnshm_wake(e.sleeper), 0);
  face_drop(&f);
}
END_TEST

START_TEST(without_the_space_capability_nobody_waits_for_space) {
  face_t f = face_make("nospace", 1, 100);

  f.header->engine_caps = UINT32_C(0x55460000) | NDNSHM_CAP_FENCED;
  send_text(f.app, "x");
  ck_assert_uint_eq(ndnshm_park(f.app, NDNSHM_SPACE), 0);
  ck_assert_uint_eq(f.header->a2e_waiting, 0);
  ck_assert_uint_eq(ndnshm_announce(f.app, NDNSHM_PACKETS | NDNSHM_SPACE), NDNSHM_PACKETS);
  ck_assert(f.header->e2a_parked.value == 1 && f.header->a2e_waiting == 0);
  face_drop(&f);
}
END_TEST

/* It may have attached, and begun to wait, after the engine looked at its capabilities. */
START_TEST(who_waits_for_space_is_woken_whatever_he_announced) {
  face_t f = face_make("nocaps", 1, 100);

  send_text(f.app, "x");
  f.header->app_caps = 0;
  f.header->a2e_waiting = 1;
  assert_receives(f.engine, "x");
  ck_assert_uint_eq(f.header->a2e_waiting, 0);
  ck_assert(readable(ndnshm_fd(f.app), 0));
  face_drop(&f);
}
END_TEST

START_TEST(capabilities_are_announced_and_taken_back) {
  const uint32_t both = UINT32_C(0x55460000) | NDNSHM_CAP_FENCED | NDNSHM_CAP_SPACE;
  face_t f = face_plan("caps");

  face_create(&f, 4, 100);
  ck_assert_uint_eq(f.header->engine_caps, both);
  ck_assert_uint_eq(f.header->app_caps, 0);
  ck_assert_uint_eq(ndnshm_peer_caps(f.engine), 0);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  ck_assert_uint_eq(f.header->app_caps, both);
  ck_assert_uint_eq(ndnshm_peer_caps(f.engine), NDNSHM_CAP_FENCED | NDNSHM_CAP_SPACE);
  ck_assert_uint_eq(ndnshm_peer_caps(f.app), NDNSHM_CAP_FENCED | NDNSHM_CAP_SPACE);
  f.header->engine_caps = UINT32_C(0x55470003);
  ck_assert_uint_eq(ndnshm_peer_caps(f.app), 0);
  f.header->engine_caps = UINT32_C(0x5546fff1);
  ck_assert_uint_eq(ndnshm_peer_caps(f.app), 0xfff1);
  ndnshm_shutdown(f.app);
  ck_assert_uint_eq(f.header->app_caps, 0);
  ck_assert_uint_eq(ndnshm_peer_caps(f.engine), 0);
  face_drop(&f);
}
END_TEST

START_TEST(shutdown_withdraws_announcements) {
  face_t f = face_make("bye", 1, 100);

  for (int i = 0; i < 2; i++) {
    ends_t e = ends_of(&f, i);

    send_text(e.sleeper, "x");
    *e.parked = *e.waiting = 1;
    ndnshm_shutdown(e.sleeper);
    ck_assert(*e.parked == 0 && *e.waiting == 0);
  }
  face_drop(&f);
}
END_TEST

START_TEST(statistics_count_packets_and_bytes) {
  face_t f = face_make("stats", 4, 100);
  struct iovec v[3] = {{&f, 10}, {&f, 20}, {&f, 30}};
  char arena[400];
  ndnshm_stats_t app, engine;

  ck_assert_int_eq(ndnshm_send(f.app, v, 3), 60);
  ck_assert_int_eq(ndnshm_send_batch(f.app, v, 2), 2);
  ck_assert_int_eq(ndnshm_reserve(f.app, 50, v), 0);
  ck_assert_int_eq(ndnshm_commit(f.app, 5), 0);
  ck_assert_int_eq(ndnshm_recv(f.engine, arena, sizeof(arena), v, 1), 1);
  ck_assert_int_eq(ndnshm_peek(f.engine, SIZE_MAX, v, 2), 2);
  ndnshm_release(f.engine);
  ck_assert_int_eq(ndnshm_get_stats(f.app, &app), 0);
  ck_assert_int_eq(ndnshm_get_stats(f.engine, &engine), 0);
  ck_assert(app.tx_packets == 4 && app.tx_bytes == 95 && app.rx_packets == 0 && app.rx_bytes == 0);
  ck_assert(engine.rx_packets == 3 && engine.rx_bytes == 90);
  ck_assert(engine.tx_packets == 0 && engine.tx_bytes == 0);
  ck_assert(app.tx_full == 0 && app.wakeups_sent == 0 && engine.parks == 0);
  face_drop(&f);
}
END_TEST

/* --- Death of the peer ------------------------------------------------------------------------------ */

/* The end of file is there, is told once and again, and says whose. */
static void assert_sees_death(ndnshm_t* ep, const char* path) {
  ck_assert_msg(readable(ndnshm_fd(ep), DEADLINE_MS), "the peer's death was not seen");
  while (ndnshm_wake(ep) >= 0) continue;
  ck_assert_int_eq(ndnshm_wake(ep), NDNSHM_EOF);
  assert_errmsg(ep, "read", path, "the peer is gone");
}

START_TEST(a_parked_app_sees_its_engine_killed) {
  face_t f = face_plan("killed");
  peer_t engine = {.face = &f};

  peer_fork(&engine, engine_body);
  peer_wait_ready(&engine);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  ck_assert_uint_eq(ndnshm_park(f.app, NDNSHM_PACKETS), 0);
  ck_assert(!readable(ndnshm_fd(f.app), 0));
  peer_kill(&engine);
  assert_sees_death(f.app, f.e2a_path);
  assert_receives_nothing(f.app);
  remove_names(&f);
  face_drop(&f);
}
END_TEST

START_TEST(the_last_packets_of_a_killed_engine_are_received) {
  face_t f = face_plan("lastwords");
  peer_t engine = {.face = &f, .packets = 3};

  peer_fork(&engine, engine_body);
  peer_wait_ready(&engine);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  peer_kill(&engine);
  assert_sees_death(f.app, f.e2a_path);
  for (int i = 0; i < 3; i++) assert_receives(f.app, "last words");
  assert_receives_nothing(f.app);
  remove_names(&f);
  face_drop(&f);
}
END_TEST

START_TEST(sending_to_a_killed_engine_raises_no_signal) {
  face_t f = face_plan("nosignal");
  peer_t engine = {.face = &f, .park = true};

  peer_fork(&engine, engine_body);
  peer_wait_ready(&engine);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  peer_kill(&engine);
  signal(SIGPIPE, SIG_DFL);
  ck_assert_int_eq(send_text(f.app, "to nobody"), 9);
  remove_names(&f);
  face_drop(&f);
}
END_TEST

START_TEST(an_engine_without_an_app_yet_sees_no_end) {
  face_t f = face_plan("noapp");

  face_create(&f, 4, 100);
  ck_assert_uint_eq(ndnshm_park(f.engine, NDNSHM_PACKETS), 0);
  ck_assert(!readable(ndnshm_fd(f.engine), 0));
  ck_assert_int_eq(send_text(f.engine, "in advance"), 10);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  ck_assert(!readable(ndnshm_fd(f.engine), 0));
  assert_receives(f.app, "in advance");
  face_drop(&f);
}
END_TEST

START_TEST(an_engine_sees_its_app_killed_and_serves_the_next) {
  face_t f = face_plan("nextapp");
  peer_t app = {.face = &f, .packets = 2, .park = true};

  peer_fork(&app, app_body);
  face_create(&f, 4, 100);
  peer_go(&app);
  ck_assert_int_eq(send_text(f.engine, "unread"), 6);
  peer_kill(&app);
  assert_sees_death(f.engine, f.a2e_path);
  for (int i = 0; i < 2; i++) assert_receives(f.engine, "last words");
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  ck_assert_int_eq(ndnshm_wake(f.engine), 1); /* it cannot know whether the one before told of all that it sent */
  ck_assert_uint_eq(ndnshm_park(f.engine, NDNSHM_PACKETS), 0);
  ck_assert_int_eq(send_text(f.app, "next"), 4);
  ck_assert_int_eq(ndnshm_wake(f.engine), 1);
  assert_receives(f.engine, "next");
  assert_receives(f.app, "unread");
  face_drop(&f);
}
END_TEST

START_TEST(either_end_sees_the_others_shutdown) {
  face_t f = face_make("shutdown", 4, 100);

  send_text(f.app, "before");
  ndnshm_shutdown(f.app);
  assert_sees_death(f.engine, f.a2e_path);
  assert_receives(f.engine, "before");
  ndnshm_free(f.app);
  ck_assert_int_eq(ndnshm_new(&f.app), 0);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  send_text(f.engine, "after");
  ndnshm_shutdown(f.engine);
  assert_sees_death(f.app, f.e2a_path);
  assert_receives(f.app, "after");
  face_drop(&f);
}
END_TEST

/* --- Two processes over poll(2) --------------------------------------------------------------------- */

/* One number over bare poll(2), always asleep before it: 0, -ETIMEDOUT if no wake-up came. */
static int receive_number(ndnshm_t* ep, uint64_t* ret_number) {
  char arena[64];
  struct iovec packet;
  int n;

  while ((n = ndnshm_recv(ep, arena, sizeof(arena), &packet, 1)) == 0) {
    if (ndnshm_park(ep, NDNSHM_PACKETS) != 0) continue;
    if (!readable(ndnshm_fd(ep), DEADLINE_MS)) return -ETIMEDOUT;
    n = ndnshm_wake(ep);
    if (n < 0) return n;
  }
  if (n < 0) return n;
  if (packet.iov_len != sizeof(*ret_number)) return -EPROTO;
  memcpy(ret_number, packet.iov_base, sizeof(*ret_number));
  return 0;
}

static int send_number(ndnshm_t* ep, uint64_t number) {
  return ndnshm_send(ep, &(struct iovec){&number, sizeof(number)}, 1);
}

static int echo_body(void* arg) {
  peer_t* peer = arg;
  ndnshm_t* ep;
  uint64_t number;
  char byte;
  int err;

  close(peer->go[1]);
  REQUIRE(read(peer->go[0], &byte, 1) == 1);
  REQUIRE(ndnshm_new(&ep) == 0);
  REQUIRE(ndnshm_connect(ep, peer->face->name, NULL) == 0);
  while ((err = receive_number(ep, &number)) == 0) REQUIRE(send_number(ep, number) == sizeof(number));
  REQUIRE(err == NDNSHM_EOF);
  ndnshm_free(ep);
  return 0;
}

START_TEST(a_hundred_thousand_round_trips_lose_no_wakeup) {
  const uint64_t rounds = 100000 / harness_slow();
  face_t f = face_plan("echo");
  peer_t app = {.face = &f};
  ndnshm_stats_t stats;

  peer_fork(&app, echo_body);
  face_create(&f, 1, 64);
  ck_assert_int_eq(write(app.go[1], "g", 1), 1);
  for (uint64_t n = 0; n < rounds; n++) {
    uint64_t number = 0;
    int err;

    HOLDS(send_number(f.engine, n) == sizeof(n));
    err = receive_number(f.engine, &number);
    if (err < 0) ck_abort_msg("round trip %llu: %d", (unsigned long long) n, err);
    HOLDS(number == n);
  }
  ck_assert_int_eq(ndnshm_get_stats(f.engine, &stats), 0);
  ck_assert_uint_gt(stats.wakeups_received, rounds / 20); /* or the test has tested nothing */
  ndnshm_shutdown(f.engine);
  ck_assert_int_eq(harness_wait(app.pid, DEADLINE_MS), 0);
  for (int i = 0; i < 2; i++) {
    close(app.ready[i]);
    close(app.go[i]);
  }
  face_drop(&f);
}
END_TEST

/* A ring of two slots that is mostly full: the producer sleeps for space, the consumer for packets. */
static int flood_body(void* arg) {
  peer_t* peer = arg;
  const uint64_t packets = 100000 / harness_slow();
  ndnshm_t* ep;
  char byte;

  close(peer->go[1]);
  REQUIRE(read(peer->go[0], &byte, 1) == 1);
  REQUIRE(ndnshm_new(&ep) == 0);
  REQUIRE(ndnshm_connect(ep, peer->face->name, NULL) == 0);
  for (uint64_t n = 0; n < packets;) {
    int err = send_number(ep, n);

    REQUIRE(err > 0 || err == -EAGAIN);
    if (err > 0) n++;
    if (err > 0 || ndnshm_park(ep, NDNSHM_SPACE) != 0) continue;
    REQUIRE(readable(ndnshm_fd(ep), DEADLINE_MS));
    REQUIRE(ndnshm_wake(ep) >= 0);
  }
  ndnshm_free(ep);
  return 0;
}

START_TEST(a_flood_through_a_small_ring_loses_no_wakeup) {
  const uint64_t packets = 100000 / harness_slow();
  face_t f = face_plan("flood");
  peer_t app = {.face = &f};

  peer_fork(&app, flood_body);
  face_create(&f, 2, 64);
  ck_assert_int_eq(write(app.go[1], "g", 1), 1);
  for (uint64_t n = 0; n < packets; n++) {
    uint64_t number = UINT64_MAX;
    int err = receive_number(f.engine, &number);

    if (err < 0) ck_abort_msg("packet %llu: %d", (unsigned long long) n, err);
    HOLDS(number == n);
  }
  ck_assert_int_eq(harness_wait(app.pid, DEADLINE_MS), 0);
  for (int i = 0; i < 2; i++) {
    close(app.ready[i]);
    close(app.go[i]);
  }
  face_drop(&f);
}
END_TEST

/* --- Looking from outside ---------------------------------------------------------------------------- */

START_TEST(inspecting_shows_the_header_as_it_is) {
  face_t f = face_make("inspect", 4, 100);
  ndnshm_header_t h;

  send_text(f.app, "x");
  send_text(f.app, "x");
  send_text(f.engine, "x");
  assert_receives(f.engine, "x");
  f.header->a2e_parked.value = 11;
  f.header->e2a_parked.value = 12;
  f.header->a2e_waiting = 13;
  f.header->e2a_waiting = 14;
  f.header->e2a_head.value = 15;
  f.header->app_caps = 16;
  ck_assert_int_eq(ndnshm_inspect(f.name, &h), 0);
  ck_assert(h.magic == UINT64_C(0x4E444E5F53484D00) && h.capacity == 4 && h.slot_size == 100);
  ck_assert(h.engine_caps == 0x55460003 && h.app_caps == 16);
  ck_assert(h.a2e_tail == 2 && h.a2e_head == 1 && h.e2a_tail == 1 && h.e2a_head == 15);
  ck_assert(h.a2e_parked == 11 && h.e2a_parked == 12 && h.a2e_waiting == 13 && h.e2a_waiting == 14);
  ck_assert_uint_eq(h.file_size, 448 + 2 * 4 * 104);
  f.header->magic = 99;
  ck_assert_int_eq(ndnshm_inspect(f.name, &h), 0);
  ck_assert_uint_eq(h.magic, 99);
  face_drop(&f);
}
END_TEST

START_TEST(inspecting_what_cannot_be_says_why_and_leaves_the_result_alone) {
  face_t f = face_plan("noinspect");
  ndnshm_header_t h = {.magic = 77};

  ck_assert_int_eq(ndnshm_inspect(f.name, NULL), -EINVAL);
  ck_assert_int_eq(ndnshm_inspect(NULL, &h), -EINVAL);
  ck_assert_int_eq(ndnshm_inspect("a/b", &h), -EINVAL);
  ck_assert_int_eq(ndnshm_inspect(f.name, &h), -ENOENT);
  close(open(f.shm_path, O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  ck_assert_int_eq(truncate(f.shm_path, 447), 0);
  ck_assert_int_eq(ndnshm_inspect(f.name, &h), -EPROTO);
  if (is_root()) {
    ck_assert_int_eq(chown(f.shm_path, OTHER_UID, (gid_t) -1), 0);
    ck_assert_int_eq(ndnshm_inspect(f.name, &h), -EPERM);
  }
  ck_assert_uint_eq(h.magic, 77);
  unlink(f.shm_path);
  face_drop(&f);
}
END_TEST

START_TEST(the_version_is_the_same_as_number_and_as_text) {
  unsigned int v = ndnshm_version();
  char text[40];

  snprintf(text, sizeof(text), "%u.%u.%u", v >> 16, v >> 8 & 0xff, v & 0xff);
  ck_assert_str_eq(ndnshm_version_string(), text);
}
END_TEST

static void add_life(TCase* tcase) {
  tcase_add_test(tcase, an_endpoint_needs_a_place);
  tcase_add_test(tcase, no_endpoint_is_einval_everywhere_and_harmless);
  tcase_add_test(tcase, an_endpoint_that_is_not_open_is_enotconn_everywhere);
  tcase_add_test(tcase, umask_takes_nothing_from_the_engine_itself);
  tcase_add_test(tcase, an_engine_makes_three_names_and_takes_them_away);
  tcase_add_test(tcase, options_choose_geometry_and_rights);
  tcase_add_test(tcase, a_face_can_be_given_to_another_user);
  tcase_add_test(tcase, impossible_options_are_einval);
  tcase_add_test(tcase, impossible_names_are_refused_with_the_reason);
  tcase_add_test(tcase, an_app_reads_nothing_of_the_options_but_uid);
  tcase_add_test(tcase, an_endpoint_in_use_is_ealready);
  tcase_add_test(tcase, a_live_engines_name_is_in_use_and_its_face_goes_on);
  tcase_add_test(tcase, a_failed_endpoint_may_be_used_again);
  tcase_add_test(tcase, a_killed_engines_name_is_taken);
  tcase_add_loop_test(tcase, a_killed_engines_name_is_taken_though_its_app_lives_on, 0, 2);
  tcase_add_test(tcase, of_engines_that_race_for_a_dead_name_one_gets_it_whole);
  tcase_add_test(tcase, squatted_fifos_fail_a_create_that_leaves_nothing);
  tcase_add_test(tcase, names_that_are_no_longer_ours_stay);
  tcase_add_test(tcase, every_descriptor_is_nonblocking_and_closed_on_exec);
  tcase_add_test(tcase, a_create_with_too_few_descriptors_leaves_nothing);
  tcase_add_test(tcase, a_connect_with_too_few_descriptors_leaves_nothing_open);
  tcase_add_test(tcase, a_foreign_engines_name_is_never_taken_not_even_for_want_of_descriptors);
  tcase_add_test(tcase, a_file_size_limit_is_efbig_and_leaves_nothing);
}

static void add_connecting(TCase* tcase) {
  tcase_add_test(tcase, no_face_is_enoent);
  tcase_add_test(tcase, a_killed_engine_refuses);
  tcase_add_test(tcase, an_engine_with_one_hand_in_the_grave_refuses);
  tcase_add_test(tcase, wake_bytes_of_a_killed_engine_do_not_pass_for_a_live_one);
  tcase_add_test(tcase, a_region_replaced_while_an_app_connects_refuses);
  tcase_add_test(tcase, a_broken_header_is_eproto);
  tcase_add_test(tcase, what_belongs_to_another_user_is_eperm_unless_trusted);
  tcase_add_test(tcase, a_user_without_permission_is_eacces);
  tcase_add_test(tcase, a_fifo_that_is_none_is_eperm);
  tcase_add_test(tcase, an_app_clears_what_the_one_before_left);
  tcase_add_test(tcase, an_app_works_with_a_capacity_that_is_no_power_of_two);
}

static void add_packets(TCase* tcase) {
  tcase_add_test(tcase, packets_pass_both_ways_in_order);
  tcase_add_test(tcase, pieces_are_gathered_into_one_packet);
  tcase_add_test(tcase, packets_of_no_byte_or_more_than_the_mtu_are_refused);
  tcase_add_test(tcase, a_full_ring_refuses_and_counts);
  tcase_add_test(tcase, a_batch_takes_as_many_as_find_room_in_one_publication);
  tcase_add_test(tcase, a_reserved_slot_is_sent_when_committed);
  tcase_add_test(tcase, a_reservation_can_be_given_back_unsent);
  tcase_add_test(tcase, a_receive_fills_the_arena_with_whole_aligned_packets);
  tcase_add_test(tcase, a_receive_takes_no_more_than_asked_nor_than_64);
  tcase_add_test(tcase, received_copies_do_not_change_with_the_ring);
  tcase_add_test(tcase, peeked_packets_are_the_slots_until_released);
  tcase_add_test(tcase, a_peek_stops_at_its_bytes_but_hands_out_one_packet_always);
  tcase_add_test(tcase, a_receive_during_a_peek_hands_out_nothing_twice);
  tcase_add_test(tcase, peeked_packets_stay_readable_after_shutdown);
  tcase_add_test(tcase, random_operations_match_a_queue);
  tcase_add_test(tcase, impossible_indices_are_eproto_for_either_end);
  tcase_add_test(tcase, packets_before_an_impossible_length_arrive_then_eproto);
  tcase_add_test(tcase, slots_of_length_0_are_skipped_and_freed);
  tcase_add_test(tcase, a_header_rewritten_in_mid_traffic_changes_nothing);
}

static void add_sleeping(TCase* tcase) {
  tcase_add_loop_test(tcase, a_parked_end_is_woken_by_a_packet, 0, 2);
  tcase_add_loop_test(tcase, an_end_with_a_packet_does_not_park, 0, 2);
  tcase_add_loop_test(tcase, the_three_steps_make_a_park, 0, 2);
  tcase_add_loop_test(tcase, readiness_is_told_by_the_rings_alone, 0, 2);
  tcase_add_loop_test(tcase, a_full_end_is_woken_by_space, 0, 2);
  tcase_add_loop_test(tcase, waking_withdraws_both_announcements, 0, 2);
  tcase_add_test(tcase, without_the_space_capability_nobody_waits_for_space);
  tcase_add_test(tcase, who_waits_for_space_is_woken_whatever_he_announced);
  tcase_add_test(tcase, capabilities_are_announced_and_taken_back);
  tcase_add_test(tcase, shutdown_withdraws_announcements);
  tcase_add_test(tcase, statistics_count_packets_and_bytes);
}

static void add_death(TCase* tcase) {
  tcase_add_test(tcase, a_parked_app_sees_its_engine_killed);
  tcase_add_test(tcase, the_last_packets_of_a_killed_engine_are_received);
  tcase_add_test(tcase, sending_to_a_killed_engine_raises_no_signal);
  tcase_add_test(tcase, an_engine_without_an_app_yet_sees_no_end);
  tcase_add_test(tcase, an_engine_sees_its_app_killed_and_serves_the_next);
  tcase_add_test(tcase, either_end_sees_the_others_shutdown);
}

int main(void) {
  Suite* suite = suite_create("endpoint");
  TCase* tcase;

  add_life(harness_tcase(suite, "life"));
  add_connecting(harness_tcase(suite, "connect"));
  add_packets(harness_tcase(suite, "packets"));
  add_sleeping(harness_tcase(suite, "sleep"));
  add_death(harness_tcase(suite, "death"));
  tcase = harness_tcase(suite, "processes");
  tcase_add_test(tcase, a_hundred_thousand_round_trips_lose_no_wakeup);
  tcase_add_test(tcase, a_flood_through_a_small_ring_loses_no_wakeup);
  tcase = harness_tcase(suite, "outside");
  tcase_add_test(tcase, inspecting_shows_the_header_as_it_is);
  tcase_add_test(tcase, inspecting_what_cannot_be_says_why_and_leaves_the_result_alone);
  tcase_add_test(tcase, the_version_is_the_same_as_number_and_as_text);
  return harness_main(suite);
}
