/* SPDX-License-Identifier: MIT */
/* test_connect.c: attaching, and what it refuses. See ends.h. Tests of other users need root and say so when they
 * are skipped. */
#include "ends.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fifo.h"
#include "region.h"
#include "ring.h"

/* --- Connecting ------------------------------------------------------------------------------------ */

static void assert_connect_fails(face_t* f, int code, const char* call, const char* object, const char* reason) {
  int fds = harness_count_fds();

  ck_assert_int_eq(ndnshm_connect(f->app, f->name, NULL), code);
  assert_errmsg(f->app, call, object, reason);
  ck_assert_int_eq(ndnshm_fd(f->app), -1);
  ck_assert_int_eq(harness_count_fds(), fds);
}

TEST(no_face_is_enoent) {
  face_t f = face_plan("enoent");

  assert_connect_fails(&f, -ENOENT, "open", f.shm, strerror(ENOENT));
  face_create(&f, 4, 100);
  unlink(f.e2a_path);
  assert_connect_fails(&f, -ENOENT, "open", f.e2a_path, strerror(ENOENT));
  face_drop(&f);
}

TEST(region_that_is_gone_while_its_fifos_are_there_is_told) {
  face_t f = face_plan("swept");
  struct pollfd pollfd = {.events = POLLIN};

  face_create(&f, 4, 100);
  ck_assert_int_eq(shm_unlink(f.shm), 0);
  assert_connect_fails(&f, -ENOENT, "open", f.shm, ".a2e.pipe is there: the region was taken by another app, ");
  ck_assert_ptr_null(strstr(ndnshm_errmsg(f.app), "belongs to")); /* it is our own */
  pollfd.fd = ndnshm_fd(f.engine);
  ck_assert_int_eq(poll(&pollfd, 1, 0), 0); /* and the engine takes nobody for an app that died */
  unlink(f.a2e_path);
  close(open(f.a2e_path, O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  assert_connect_fails(&f, -ENOENT, "open", f.shm, strerror(ENOENT));
  ck_assert_ptr_null(strstr(ndnshm_errmsg(f.app), "a2e"));
  remove_names(&f);
  face_drop(&f);
}

TEST(killed_engine_refuses) {
  face_t f = face_of_the_dead("refused");

  assert_connect_fails(&f, -ECONNREFUSED, "read", f.e2a_path, "no engine");
  ck_assert_int_eq(names_there(&f), 3);
  remove_names(&f);
  face_drop(&f);
}

/* Sealed for its app, a region has no name for another. */
TEST(second_app_of_a_sealed_face_is_told_that_it_is_taken) {
  face_t f = face_plan("taken");
  ndnshm_t* second;

  if (!harness_may_seal()) SKIP("may not make files append-only");
  face_create(&f, 4, 100);
  ck_assert_int_eq(ndnshm_new(&second), 0);
  ck_assert_int_eq(ndnshm_connect(second, f.name, NULL), 0);
  ck_assert_int_eq(ndnshm_probe(f.engine), 0);
  assert_connect_fails(&f, -EBUSY, "open", f.a2e_path, "taken by another app");
  ck_assert_int_eq(ndnshm_wake(f.engine), 0); /* not for an app that died */
  ck_assert_int_eq(send_text(second, "still here"), 10);
  assert_receives(f.engine, "still here");
  ndnshm_free(second);
  ck_assert_int_eq(ndnshm_wake(f.engine), NDNSHM_EOF);
  assert_connect_fails(&f, -EBUSY, "open", f.a2e_path, "taken by another app"); /* for good */
  ndnshm_shutdown(f.engine);
  assert_connect_fails(&f, -ENOENT, "open", f.shm, strerror(ENOENT));
  face_drop(&f);
}

/* For a moment the region is append-only and has its name. */
TEST(app_that_comes_while_the_region_is_sealed_is_told_that_it_is_taken) {
  face_t f = face_plan("sealing");
  int fd, flags[2] = {0, 0}; /* the kernel takes an int, but the request's number says long, which valgrind believes */

  if (!harness_may_seal()) SKIP("may not make files append-only");
  face_create(&f, 4, 100);
  fd = shm_open(f.shm, O_RDONLY, 0);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(ioctl(fd, FS_IOC_GETFLAGS, flags), 0);
  flags[0] |= FS_APPEND_FL;
  ck_assert_int_eq(ioctl(fd, FS_IOC_SETFLAGS, flags), 0);
  assert_connect_fails(&f, -EBUSY, "open", f.shm, "taken by another app");
  flags[0] &= ~FS_APPEND_FL;
  ck_assert_int_eq(ioctl(fd, FS_IOC_SETFLAGS, flags), 0);
  close(fd);
  face_drop(&f);
}

static int seal_and_wait(void* arg) {
  const face_t* f = arg;
  ndnshm_stats_t stats;

  REQUIRE(ndnshm_create(f->engine, f->name, NULL) == 0);
  REQUIRE(ndnshm_connect(f->app, f->name, NULL) == 0);
  REQUIRE(ndnshm_probe(f->engine) == 0);
  REQUIRE(ndnshm_get_stats(f->engine, &stats) == 0 && stats.sealed == 1);
  raise(SIGKILL);
  return 1;
}

TEST(sealed_face_of_a_killed_engine_refuses) {
  face_t f = face_plan("sealed-dead");

  if (!harness_may_seal()) SKIP("may not make files append-only");
  harness_wait(harness_fork(seal_and_wait, &f), DEADLINE_MS);
  ck_assert_int_eq(names_there(&f), 2);
  assert_connect_fails(&f, -ECONNREFUSED, "open", f.a2e_path, "no engine");
  ck_assert_int_eq(ndnshm_create(f.engine, f.name, NULL), 0); /* and the name is free */
  face_drop(&f);
}

TEST(engine_with_one_hand_in_the_grave_refuses) {
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

/* A FIFO of which nobody ever was seen to write never tells poll() that nobody does: an app that attached here
 * would wait for ever. */
TEST(wake_bytes_of_a_killed_engine_do_not_pass_for_a_live_one) {
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

static const char* unlinked_after_pread;

/* The library is linked statically, so this comes before libc's: once a header was read, its name goes. */
ssize_t pread(int fd, void* buffer, size_t n, off_t offset) {
  ssize_t got = preadv(fd, &(struct iovec){buffer, n}, 1, offset); /* a bare call of the kernel's differs on armhf */

  if (unlinked_after_pread != NULL) unlink(unlinked_after_pread);
  return got;
}

TEST(region_replaced_while_an_app_connects_refuses) {
  face_t f = face_plan("replaced");

  face_create(&f, 4, 100);
  unlinked_after_pread = f.shm_path;
  assert_connect_fails(&f, -ECONNREFUSED, "fstat", f.shm, "dead");
  unlinked_after_pread = NULL;
  face_drop(&f);
}

TEST(broken_header_is_eproto) {
  face_t f = face_plan("eproto");
  ndnshm__region_header_t* h;

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

TEST(app_clears_what_the_one_before_left) {
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

TEST(fifo_of_another_user_is_eperm_unless_trusted) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  face_t f = face_plan("stranger");

  if (!is_root()) SKIP("needs root");
  face_create(&f, 4, 100);
  ck_assert_int_eq(chown(f.e2a_path, OTHER_UID, (gid_t) -1), 0);
  assert_connect_fails(&f, -EPERM, "fstat", f.e2a_path, "owned by uid 61234");
  options.uid = OTHER_UID;
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, &options), 0);
  face_drop(&f);
}
