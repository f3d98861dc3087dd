/* SPDX-License-Identifier: MIT */
/* test_region.c: the region's file: how it is made, found broken, and told to be a live or a dead engine's. Squatted
 * names, owners and limits are test_places.c's, where the whole face meets them. */
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define NOBODY ((uid_t) -1)

/* --- Injected faults: the library is linked statically, so these come before libc's ------------- */

static void (*before_flock)(int fd);
static int flock_errno;
static int fallocate_interruptions;
static off_t fallocate_longest; /* bytes that are allocated before the next signal comes; 0 = any */
static int fallocate_undone;

int flock(int fd, int operation) {
  if (before_flock != NULL) before_flock(fd);
  if (flock_errno == 0) return (int) syscall(SYS_flock, fd, operation);
  errno = flock_errno;
  return -1;
}

int posix_fallocate(int fd, off_t offset, off_t len) {
  if (fallocate_interruptions > 0) {
    fallocate_interruptions--;
    return EINTR;
  }
  if (fallocate_longest != 0 && len > fallocate_longest) {
    if (++fallocate_undone > 1000) ck_abort_msg("allocating anew for ever");
    return EINTR;
  }
  return fallocate(fd, 0, offset, len) == 0 ? 0 : errno;
}

/* --- What every test starts from ---------------------------------------------------------------- */

typedef struct face_s {
  ndnshm__names_t names;
  char path[320]; /* of the region's file */
  ndnshm__geometry_t geometry;
  ndnshm__access_t access;
  ndnshm__region_t region;
  ndnshm__error_t error;
} face_t;

static face_t face_plan(const char* tag) {
  face_t f = {.access = {0600, NOBODY, (gid_t) -1}, .region = {.fd = -1}};
  const char* name = harness_name(tag);

  ck_assert_int_eq(ndnshm__names_init(name, &f.names, &f.error), 0);
  snprintf(f.path, sizeof(f.path), "%s", harness_shm_path(name));
  ck_assert_int_eq(ndnshm__geometry_from_options(4, 1000, 0, &f.geometry), 0);
  return f;
}

static int face_create(face_t* f) {
  int err = ndnshm__region_create(&f->region, f->names.shm, &f->geometry, &f->error);

  if (err < 0) return err;
  err = ndnshm__access_apply(f->region.fd, &f->access, f->names.shm, &f->error);
  if (err == 0) err = ndnshm__region_publish(&f->region, f->names.shm, &f->error);
  if (err == 0) return 0;
  ndnshm__region_close(&f->region);
  ndnshm__region_unmap(&f->region);
  return err;
}

/* A region that apps can attach to. */
static face_t face_make(const char* tag) {
  face_t f = face_plan(tag);

  ck_assert_msg(face_create(&f) == 0, "%s", f.error.text);
  f.region.header->magic = NDNSHM__MAGIC;
  return f;
}

static void face_drop(face_t* f) {
  shm_unlink(f->names.shm);
  ndnshm__region_close(&f->region);
  ndnshm__region_unmap(&f->region);
}

static void app_drop(ndnshm__region_t* app) {
  ndnshm__region_close(app);
  ndnshm__region_unmap(app);
}

static void write_file(const char* path, const void* bytes, size_t n) {
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(write(fd, bytes, n), (ssize_t) n);
  close(fd);
}

static void assert_text(const ndnshm__error_t* error, const char* piece) {
  ck_assert_msg(strstr(error->text, piece) != NULL, "'%s' does not contain '%s'", error->text, piece);
}

/* Attaching fails with `code`, says call, object and reason, leaves no descriptor and the result alone. */
static void assert_attach_fails(face_t* f, int code, const char* call, const char* reason) {
  ndnshm__region_t region, untouched;
  int fds = harness_count_fds();

  memset(&region, 0xa5, sizeof(region));
  memset(&untouched, 0xa5, sizeof(untouched));
  ck_assert_int_eq(ndnshm__region_attach(&region, f->names.shm, NOBODY, &f->error), code);
  ck_assert_mem_eq(&region, &untouched, sizeof(region));
  ck_assert_int_eq(harness_count_fds(), fds);
  assert_text(&f->error, call);
  assert_text(&f->error, f->names.shm);
  assert_text(&f->error, reason);
}

static void assert_locked_out(face_t* f, const char* reason) {
  int fds = harness_count_fds();
  ndnshm__stale_t stale = {.fd = -77};

  ck_assert_int_eq(ndnshm__region_lock_stale(f->names.shm, &f->access, &stale, &f->error), -EADDRINUSE);
  ck_assert_int_eq(stale.fd, -77);
  ck_assert_int_eq(harness_count_fds(), fds);
  assert_text(&f->error, f->names.shm);
  assert_text(&f->error, reason);
}

/* --- Names and owners ---------------------------------------------------------------------------- */

TEST(names_are_those_of_the_protocol) {
  ndnshm__names_t names;
  ndnshm__error_t error;

  ck_assert_int_eq(ndnshm__names_init("a.B-c_9", &names, &error), 0);
  ck_assert_str_eq(names.shm, "/ndn-shm-a.B-c_9");
  ck_assert_str_eq(names.a2e, "/tmp/.ndn-a.B-c_9.a2e.pipe");
  ck_assert_str_eq(names.e2a, "/tmp/.ndn-a.B-c_9.e2a.pipe");
}

TEST(root_ourselves_and_the_trusted_user_are_trusted_and_nobody_else) {
  ck_assert(ndnshm__owner_is_trusted(0, NOBODY));
  ck_assert(ndnshm__owner_is_trusted(geteuid(), NOBODY));
  ck_assert(!ndnshm__owner_is_trusted(OTHER_UID, NOBODY));
  ck_assert(ndnshm__owner_is_trusted(OTHER_UID, OTHER_UID));
  ck_assert(!ndnshm__owner_is_trusted(OTHER_UID, OTHER_UID + 1));
  ck_assert(!ndnshm__owner_is_trusted(NOBODY, NOBODY));
}

/* --- Creating ------------------------------------------------------------------------------------ */

TEST(created_region_has_its_size_is_backed_and_empty) {
  face_t f = face_plan("size");
  const unsigned char* bytes;
  struct stat st;

  ck_assert_int_eq(face_create(&f), 0);
  ck_assert_int_eq(stat(f.path, &st), 0);
  ck_assert_uint_eq((uint64_t) st.st_size, 448 + 2 * 4 * 1004);
  ck_assert_uint_ge((uint64_t) st.st_blocks * 512, (uint64_t) st.st_size);
  ck_assert_uint_eq(f.region.header->capacity, 4);
  ck_assert_uint_eq(f.region.header->slot_size, 1000);
  bytes = (const unsigned char*) f.region.header;
  for (size_t i = 0; i < f.geometry.region_bytes; i++)
    if (i < 8 || i >= 16) ck_assert_uint_eq(bytes[i], 0); /* the magic is the caller's to write */
  face_drop(&f);
}

TEST(create_is_exclusive_and_never_truncates) {
  static const char content[] = "somebody's";
  char found[sizeof(content)] = "";
  face_t f = face_plan("excl");
  int fd;

  write_file(f.path, content, sizeof(content));
  ck_assert_int_eq(face_create(&f), -EEXIST);
  assert_text(&f.error, "linkat");
  assert_text(&f.error, f.names.shm);
  fd = open(f.path, O_RDONLY | O_CLOEXEC);
  ck_assert_int_eq(read(fd, found, sizeof(found)), (ssize_t) sizeof(content));
  ck_assert_str_eq(found, content);
  close(fd);
  unlink(f.path);
}

/* A tmpfs may give an interrupted allocation up and undo it: then one that takes longer than the interval of a
 * timer would never end. */
TEST(allocation_that_takes_longer_than_a_timer_ends) {
  face_t f = face_plan("timer");
  struct stat st;

  ck_assert_int_eq(ndnshm__geometry_from_options(256, 4000, 0, &f.geometry), 0);
  fallocate_longest = 100000;
  ck_assert_int_eq(face_create(&f), 0);
  ck_assert_int_gt(fallocate_undone, 0);
  ck_assert_int_eq(stat(f.path, &st), 0);
  ck_assert_uint_ge((uint64_t) st.st_blocks * 512, f.geometry.region_bytes);
  face_drop(&f);
}

/* --- Attaching ----------------------------------------------------------------------------------- */

TEST(attached_region_is_the_engines) {
  face_t f = face_make("attach");
  ndnshm__region_t app;

  ck_assert_int_eq(ndnshm__region_attach(&app, f.names.shm, NOBODY, &f.error), 0);
  ck_assert_int_eq(fcntl(app.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  ck_assert_mem_eq(&app.geometry, &f.geometry, sizeof(app.geometry));
  ck_assert_ptr_ne(app.header, f.region.header);
  ndnshm__region_close(&app);
  ck_assert_int_eq(app.fd, -1);
  f.region.header->a2e_tail.value = 7;
  ck_assert_uint_eq(app.header->a2e_tail.value, 7);
  ((unsigned char*) app.header)[app.geometry.region_bytes - 1] = 0x5a;
  ck_assert_uint_eq(((unsigned char*) f.region.header)[f.geometry.region_bytes - 1], 0x5a);
  app_drop(&app);
  ck_assert_ptr_null(app.header);
  app_drop(&app);
  face_drop(&f);
}

TEST(file_shorter_than_a_header_is_a_protocol_error) {
  face_t f = face_make("short");

  ck_assert_int_eq(truncate(f.path, 448), 0);
  assert_attach_fails(&f, -EPROTO, "header", "file has 448 bytes");
  ck_assert_int_eq(truncate(f.path, 447), 0);
  assert_attach_fails(&f, -EPROTO, "pread", "447 bytes");
  ck_assert_int_eq(truncate(f.path, 0), 0);
  assert_attach_fails(&f, -EPROTO, "pread", "0 bytes");
  face_drop(&f);
}

/* --- Taking a name over -------------------------------------------------------------------------- */

TEST(live_engines_name_is_in_use) {
  face_t f = face_make("live");

  assert_locked_out(&f, "a live engine");
  ck_assert(exists(f.path));
  face_drop(&f);
}

static int create_and_die(void* arg) {
  face_t* f = arg;

  REQUIRE(face_create(f) == 0);
  kill(getpid(), SIGKILL);
  return 1;
}

TEST(killed_engines_name_can_be_locked_by_one) {
  face_t f = face_plan("dead");
  int status = harness_wait(harness_fork(create_and_die, &f), DEADLINE_MS);
  ndnshm__stale_t stale = {.fd = -77};

  ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  ck_assert(exists(f.path));
  ck_assert_int_eq(ndnshm__region_lock_stale(f.names.shm, &f.access, &stale, &f.error), 0);
  ck_assert_int_ge(stale.fd, 0);
  ck_assert_int_eq(fcntl(stale.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  assert_locked_out(&f, "a live engine");
  close(stale.fd);
  unlink(f.path);
}

/* ndn-rs takes no lock, so that its lock is free says nothing. */
TEST(only_an_engine_that_took_the_lock_is_known_to_be_dead) {
  static const uint32_t caps[] = {0, 3, UINT32_C(0x55470003), UINT32_C(0x55460000), UINT32_C(0x55460003)};
  face_t f = face_make("caps");
  ndnshm__stale_t stale;
  int file = open(f.path, O_RDWR | O_CLOEXEC);

  ndnshm__region_close(&f.region);
  ndnshm__region_unmap(&f.region); /* a mapping, too, holds the lock */
  for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
    ck_assert_int_eq(pwrite(file, &caps[i], sizeof(caps[i]), 16), 4);
    ck_assert_int_eq(ndnshm__region_lock_stale(f.names.shm, &f.access, &stale, &f.error), 0);
    ck_assert_int_ge(stale.fd, 0);
    ck_assert(stale.is_dead == (i >= 3));
    close(stale.fd);
  }
  flock_errno = ENOLCK;
  ck_assert_int_eq(ndnshm__region_lock_stale(f.names.shm, &f.access, &stale, &f.error), 0);
  flock_errno = 0;
  ck_assert(!stale.is_dead);
  close(stale.fd);
  ck_assert_int_eq(ftruncate(file, 20), 0); /* the capabilities, but no whole header */
  ck_assert_int_eq(ndnshm__region_lock_stale(f.names.shm, &f.access, &stale, &f.error), 0);
  ck_assert(!stale.is_dead);
  close(stale.fd);
  close(file);
  face_drop(&f);
}

TEST(hard_link_to_a_live_region_is_in_use_too) {
  face_t f = face_make("hard");
  face_t alias = face_plan("hard-alias");

  ck_assert_int_eq(link(f.path, alias.path), 0);
  assert_locked_out(&alias, "a live engine");
  ndnshm__region_unlink(f.region.fd, f.names.shm);
  ck_assert(!exists(f.path));
  ck_assert(exists(alias.path));
  unlink(alias.path);
  face_drop(&f);
}

/* Who looks whether an engine is dead shares its lock for a moment (sweep.c). */
static int looker_fd, looks_left, looks;

static void looker_goes_in_time(int fd) {
  (void) fd;
  looks++;
  if (looks_left > 0 && --looks_left == 0) syscall(SYS_flock, looker_fd, LOCK_UN);
}

static face_t face_that_is_looked_at(const char* tag) {
  face_t f = face_plan(tag);
  int status = harness_wait(harness_fork(create_and_die, &f), DEADLINE_MS);

  ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  looker_fd = open(f.path, O_RDONLY | O_CLOEXEC);
  ck_assert_int_eq(syscall(SYS_flock, looker_fd, LOCK_SH | LOCK_NB), 0);
  before_flock = looker_goes_in_time;
  return f;
}

TEST(who_only_looks_is_waited_for) {
  face_t f = face_that_is_looked_at("looked");
  ndnshm__stale_t stale = {.fd = -1};

  looks_left = 10;
  ck_assert_int_eq(ndnshm__region_lock_stale(f.names.shm, &f.access, &stale, &f.error), 0);
  ck_assert_int_ge(stale.fd, 0);
  assert_locked_out(&f, "a live engine"); /* the lock is ours, and not shared */
  close(stale.fd);
  close(looker_fd);
  unlink(f.path);
}

TEST(who_looks_for_ever_is_not_waited_for_that_long) {
  face_t f = face_that_is_looked_at("stared");

  assert_locked_out(&f, "somebody keeps sharing its lock");
  ck_assert_int_gt(looks, 100);
  ck_assert_int_lt(looks, 1000);
  close(looker_fd);
  unlink(f.path);
}

static face_t* raced;

/* Between our look and our lock, a rival finds the same dead engine, removes its name and creates anew. */
static void rival_takes_name(int fd) {
  (void) fd;
  before_flock = NULL;
  unlink(raced->path);
  write_file(raced->path, "rival", 5);
}

/* Even if the dead region has another name, which its app can give it. */
TEST_LOOP(name_retaken_between_look_and_lock_is_not_ours_to_remove, 2) {
  face_t f = face_plan("retaken");
  face_t alias = face_plan("retaken-alias");
  ndnshm__stale_t stale = {.fd = -1};
  int err;

  raced = &f;
  write_file(f.path, "stale", 5);
  if (_i == 1) ck_assert_int_eq(link(f.path, alias.path), 0);
  before_flock = rival_takes_name;
  err = ndnshm__region_lock_stale(f.names.shm, &f.access, &stale, &f.error);
  if (stale.fd >= 0) close(stale.fd);
  unlink(f.path);
  unlink(alias.path);
  ck_assert_msg(err == -EADDRINUSE || stale.fd == -1, "the lock is on a file that has lost the name");
}

/* --- Removing ------------------------------------------------------------------------------------ */
