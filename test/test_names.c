/* SPDX-License-Identifier: MIT */
/* test_names.c: whose name it is: of a live engine, of a dead one, of several at once, of nobody; and create and
 * connect where descriptors or file sizes are scarce. See ends.h. */
#include "ends.h"
#include "fifo.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- Names ---------------------------------------------------------------------------------------- */

/* An app of ours has e2a open for reading, one of ndn-rs both FIFOs both ways. */
TEST_LOOP(killed_engines_name_is_taken_though_its_app_lives_on, 2) {
  face_t f = face_plan("orphan");
  pid_t engine = start_engine(&f);
  int a2e = -1, e2a = -1;
  int err;

  if (_i == 0) {
    ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  } else {
    a2e = open(f.a2e_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    e2a = open(f.e2a_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  }
  harness_kill(engine);
  err = ndnshm_create(f.engine, f.name, NULL);
  if (err < 0) remove_names(&f);
  if (_i == 1) {
    close(a2e);
    close(e2a);
  }
  ck_assert_msg(err == 0, "%s", ndnshm_errmsg(f.engine));
  face_drop(&f);
}

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

TEST(of_engines_that_race_for_a_dead_name_one_gets_it_whole) {
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

TEST(names_that_are_no_longer_ours_stay) {
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

/* --- Where FIFOs are made --------------------------------------------------------------------------- */

typedef enum staged { A_FILE, A_SYMLINK, STRANGERS_DIRECTORY, LOCKED_DIRECTORY, STAGED } staged_t;

/* A descriptor that belongs to it, or -1. */
static int take_stage(staged_t kind, const char* path) {
  int fd = -1;

  switch (kind) {
    case A_FILE: fd = open(path, O_CREAT | O_EXCL | O_CLOEXEC, 0600); break;
    case A_SYMLINK: HOLDS(symlink("/tmp", path) == 0); break;
    case STRANGERS_DIRECTORY: HOLDS(mkdir(path, 0777) == 0 && chown(path, 61235, 61235) == 0); break;
    case LOCKED_DIRECTORY:
      HOLDS(mkdir(path, 0700) == 0);
      fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      HOLDS(flock(fd, LOCK_EX) == 0);
      break;
    case STAGED: break;
  }
  return fd;
}

TEST_LOOP(directory_of_fifos_that_is_taken_is_left_alone, STAGED) {
  face_t f = face_plan("stage");
  struct stat before, after;
  ndnshm__error_t error;
  ndnshm__names_t names;
  const char* whose[] = {": there is something that is not a directory, of uid ",
                         ": there is something that is not a directory, of uid ", ": it belongs to uid 61235",
                         ": another engine has the name"};
  int fd, err;

  if (_i == STRANGERS_DIRECTORY && geteuid() != 0) SKIP("needs root");
  ck_assert_int_eq(ndnshm__names_init(f.name, &names, &error), 0);
  fd = take_stage((staged_t) _i, names.stage);
  ck_assert_int_eq(lstat(names.stage, &before), 0);
  err = ndnshm_create(f.engine, f.name, NULL);
  ck_assert_int_eq(lstat(names.stage, &after), 0);
  if (fd >= 0) close(fd);
  if (unlink(names.stage) != 0) rmdir(names.stage);
  ck_assert_int_eq(err, -EADDRINUSE);
  assert_errmsg(f.engine, "", f.a2e_path, whose[_i]);
  ck_assert(after.st_ino == before.st_ino && after.st_mode == before.st_mode && names_there(&f) == 0);
  ck_assert_int_eq(ndnshm_create(f.engine, f.name, NULL), 0);
  face_drop(&f);
}

/* Under a umask that takes everything, too. */
TEST(directory_of_fifos_that_a_killed_engine_left_is_used_and_removed) {
  face_t f = face_plan("leftover");
  ndnshm__error_t error;
  ndnshm__names_t names;
  char path[80];
  mode_t mask;

  ck_assert_int_eq(ndnshm__names_init(f.name, &names, &error), 0);
  ck_assert_int_eq(mkdir(names.stage, 0700), 0);
  snprintf(path, sizeof(path), "%s/a2e", names.stage);
  ck_assert_int_eq(mkfifo(path, 0600), 0);
  ck_assert_int_eq(chmod(names.stage, 0), 0);
  mask = umask(0777);
  ck_assert_msg(ndnshm_create(f.engine, f.name, NULL) == 0, "%s", ndnshm_errmsg(f.engine));
  umask(mask);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  face_drop(&f);
  ck_assert(access(names.stage, F_OK) != 0 && errno == ENOENT);
}

/* A child has every descriptor of its parent's until it executes a program. */
TEST(directory_of_fifos_is_not_kept_by_a_forked_child) {
  ndnshm__error_t error;
  ndnshm__names_t names;
  int fd = -1, copy, err;

  ck_assert_int_eq(ndnshm__names_init(harness_name("forked"), &names, &error), 0);
  ck_assert_int_eq(ndnshm__stage_open(&names, &fd, &error), 0);
  copy = dup(fd); /* the same open file, as a child's */
  ndnshm__stage_close(fd, &names);
  err = ndnshm__stage_open(&names, &fd, &error);
  close(copy);
  ck_assert_int_eq(err, 0);
  ndnshm__stage_close(fd, &names);
}

/* --- Scarcity -------------------------------------------------------------------------------------- */

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

TEST(create_with_too_few_descriptors_leaves_nothing) {
  if (harness_under_valgrind()) SKIP("valgrind has descriptors and threads of its own");
  face_t f = face_plan("emfile");

  assert_child_passes(create_with_few_descriptors, &f);
  face_drop(&f);
}

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

TEST(connect_with_too_few_descriptors_leaves_nothing_open) {
  if (harness_under_valgrind()) SKIP("valgrind has descriptors and threads of its own");
  face_t f = face_plan("emfile-app");

  face_create(&f, 4, 100);
  assert_child_passes(connect_with_few_descriptors, &f);
  face_drop(&f);
}

/* As real-time programs are, with Debian's limit. The kernel says EAGAIN, which of a face means that its ring is
 * full. */
static int create_beyond_the_lock_limit(void* arg) {
  const struct rlimit limit = {8 << 20, 8 << 20};
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  face_t* f = arg;

  options.capacity = 1024;
  if (geteuid() == 0) REQUIRE(become_other() == 0);
  REQUIRE(setrlimit(RLIMIT_MEMLOCK, &limit) == 0 && mlockall(MCL_FUTURE) == 0);
  REQUIRE(ndnshm_create(f->engine, f->name, &options) == -ENOMEM);
  REQUIRE(strstr(ndnshm_errmsg(f->engine), "mmap") != NULL);
  REQUIRE(strstr(ndnshm_errmsg(f->engine), strerror(ENOMEM)) != NULL);
  REQUIRE(names_there(f) == 0);
  return 0;
}

TEST(region_that_may_not_be_locked_is_enomem) {
  if (harness_under_sanitizer()) SKIP("a sanitizer's memory cannot be locked");
  face_t f = face_plan("memlock");

  assert_child_passes(create_beyond_the_lock_limit, &f);
  face_drop(&f);
}

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

TEST(foreign_engines_name_is_never_taken_not_even_for_want_of_descriptors) {
  if (harness_under_valgrind()) SKIP("valgrind has descriptors and threads of its own");
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
