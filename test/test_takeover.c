/* SPDX-License-Identifier: MIT */
/* test_takeover.c: what an end finds that another one left while it died, and what those who may not have a name yet
 * do to the one who has it. The core alone, both ends in one process; a mapping of the region plays the dead. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"
#include "layout.h"
#include "ndnshm.h"

static void (*in_fchmod)(int fd);

/* In front of libc's, so that something can happen as soon as a file lets others in. */
int fchmod(int fd, mode_t mode) {
  int rc = (int) syscall(SYS_fchmod, fd, mode);

  if (in_fchmod != NULL) in_fchmod(fd);
  return rc;
}

static bool has_no_locks;

/* In front of libc's, as in a file system without locks. */
int flock(int fd, int operation) {
  if (!has_no_locks) return (int) syscall(SYS_flock, fd, operation);
  errno = ENOLCK;
  return -1;
}

static bool readable(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLIN};

  return poll(&p, 1, 0) == 1;
}

static ndnshm_t* engine_of(const char* name, unsigned int flags) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  ndnshm_t* ep;

  options.capacity = 4;
  options.slot_size = 60;
  options.flags = flags;
  ck_assert_int_eq(ndnshm_new(&ep), 0);
  ck_assert_msg(ndnshm_create(ep, name, &options) == 0, "%s", ndnshm_errmsg(ep));
  return ep;
}

static ndnshm_t* app_of(const char* name) {
  ndnshm_t* ep;

  ck_assert_int_eq(ndnshm_new(&ep), 0);
  ck_assert_msg(ndnshm_connect(ep, name, NULL) == 0, "%s", ndnshm_errmsg(ep));
  return ep;
}

static ndnshm__region_header_t* view_of(const char* name) {
  int fd = open(harness_shm_path(name), O_RDWR | O_CLOEXEC);
  void* view = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

  ck_assert_ptr_ne(view, MAP_FAILED);
  close(fd);
  return view;
}

/* --- An app that died between claiming an announcement and writing the byte -------------------- */

TEST(next_app_wakes_an_engine_that_sleeps_unannounced) {
  const char* name = harness_name("heal");
  ndnshm_t* engine = engine_of(name, 0);
  ndnshm__region_header_t* view = view_of(name);
  ndnshm_t* app;

  ck_assert_uint_eq(ndnshm_park(engine, NDNSHM_PACKETS), 0);
  view->app_caps = NDNSHM__CAPS_TAG; /* an app was there, */
  view->a2e_parked.value = 0;        /* has claimed ... */
  app = app_of(name);                /* ... and is dead; here is the next */
  ck_assert(readable(ndnshm_fd(engine)));
  ck_assert_int_ge(ndnshm_wake(engine), 1);
  ndnshm_free(app);
  ndnshm_free(engine);
  munmap(view, 4096);
}

TEST(next_app_wakes_an_engine_that_waits_for_room_unannounced) {
  const char* name = harness_name("room");
  ndnshm_t* engine = engine_of(name, 0);
  ndnshm__region_header_t* view = view_of(name);
  char byte = 'x';
  struct iovec packet = {&byte, 1};
  ndnshm_t* app;

  while (ndnshm_send(engine, &packet, 1) > 0) continue;
  view->app_caps = NDNSHM__CAPS_TAG | NDNSHM_CAP_SPACE | NDNSHM_CAP_FENCED;
  ck_assert_uint_eq(ndnshm_park(engine, NDNSHM_PACKETS | NDNSHM_SPACE), 0);
  ck_assert_uint_eq(view->e2a_waiting, 1);
  view->e2a_waiting = 0;
  app = app_of(name);
  ck_assert(readable(ndnshm_fd(engine)));
  ndnshm_free(app);
  ndnshm_free(engine);
  munmap(view, 4096);
}

TEST_LOOP(app_wakes_no_engine_without_reason, 2) {
  const char* name = harness_name("asleep");
  ndnshm_t* engine = engine_of(name, 0);
  ndnshm__region_header_t* view = view_of(name);
  ndnshm_t* app;

  if (_i == 1) { /* there was an app, and the engine announces its sleep */
    view->app_caps = NDNSHM__CAPS_TAG;
    ck_assert_uint_eq(ndnshm_park(engine, NDNSHM_PACKETS), 0);
  }
  app = app_of(name);
  ck_assert(!readable(ndnshm_fd(engine)));
  munmap(view, 4096);
  ndnshm_free(app);
  ndnshm_free(engine);
}

/* --- Others who want the name ------------------------------------------------------------------ */

/* Somebody removed the region's name; or it is in a container with the same /tmp and another /dev/shm. */
TEST(who_asks_for_a_name_is_not_taken_for_an_app) {
  const char* name = harness_name("asks");
  ndnshm_t* engine = engine_of(name, 0);
  ndnshm_t* other;

  ck_assert_int_eq(unlink(harness_shm_path(name)), 0);
  ck_assert_int_eq(ndnshm_new(&other), 0);
  ck_assert_int_eq(ndnshm_create(other, name, NULL), -EADDRINUSE);
  ck_assert(!readable(ndnshm_fd(engine)));
  ndnshm_free(other);
  ndnshm_free(engine);
}

/* Then only the reader of its FIFO tells that an engine lives. */
TEST(without_locks_a_live_engine_keeps_its_name) {
  const char* name = harness_name("nolocks");
  struct stat before, after;
  ndnshm_t *engine, *other, *app;

  has_no_locks = true;
  engine = engine_of(name, 0);
  ck_assert_int_eq(unlink(harness_shm_path(name)), 0); /* as the seal leaves it */
  ck_assert_int_eq(lstat(harness_a2e_path(name), &before), 0);
  ck_assert_int_eq(ndnshm_new(&other), 0);
  ck_assert_int_eq(ndnshm_create(other, name, NULL), -EADDRINUSE);
  ck_assert_int_eq(lstat(harness_a2e_path(name), &after), 0);
  ck_assert_uint_eq(before.st_ino, after.st_ino);
  ndnshm_free(other);
  ndnshm_free(engine);
  engine = engine_of(name, 0);
  app = app_of(name);
  ndnshm_free(app);
  ndnshm_free(engine);
  has_no_locks = false;
}

/* A lease keeps who opens the file for fs.lease-break-time, 45 s: then the name would be taken. */
TEST(leased_name_is_in_use_at_once) {
  const char* name = harness_name("rented");
  int fd = open(harness_shm_path(name), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  ndnshm_t* engine;

  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(fcntl(fd, F_SETSIG, SIGURG), 0); /* which is ignored */
  ck_assert_int_eq(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
  ck_assert_int_eq(ndnshm_new(&engine), 0);
  ck_assert_int_eq(ndnshm_create(engine, name, NULL), -EADDRINUSE);
  ck_assert_ptr_nonnull(strstr(ndnshm_errmsg(engine), "its owner has a lease of it"));
  close(fd);
  ck_assert_msg(ndnshm_create(engine, name, NULL) == 0, "%s", ndnshm_errmsg(engine));
  ndnshm_free(engine);
}

/* --- Others who are let in before all is ready ------------------------------------------------- */

static mode_t mode_seen;
static gid_t group_seen;

static void look_at_region(int fd) {
  struct stat st;

  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return;
  mode_seen = st.st_mode & 0777;
  group_seen = st.st_gid;
}

TEST(mode_lets_in_the_group_that_was_asked_for_and_no_other) {
  const char* name = harness_name("group");
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  ndnshm_t* engine;

  if (!is_root()) SKIP("needs root: others have one group only");
  options.mode = 0660;
  options.gid = 12345;
  ck_assert_int_eq(ndnshm_new(&engine), 0);
  in_fchmod = look_at_region;
  ck_assert_int_eq(ndnshm_create(engine, name, &options), 0);
  in_fchmod = NULL;
  ck_assert_uint_eq(mode_seen, 0660);
  ck_assert_uint_eq(group_seen, 12345);
  ndnshm_free(engine);
}
