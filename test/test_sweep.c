/* SPDX-License-Identifier: MIT */
/* test_sweep.c: what dead engines left is found and removed, and nothing else is: not what lives, not what is somebody
 * else's, not what nobody can judge. The engines are processes, and are killed. All faces of the machine are swept in a
 * mount namespace of its own alone, so that what other programs left there stays theirs. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "layout.h"
#include "ndnshm.h"

/* A face's name for the whole of a test, which may have two. */
static const char* name_of(const char* tag) {
  static char names[2][64];
  static int n;
  char* name = names[n++ % 2];

  snprintf(name, sizeof(names[0]), "%s", harness_name(tag));
  return name;
}

/* --- Engines ------------------------------------------------------------------------------------ */

static int be_engine(void* name) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  ndnshm_t* ep;

  options.capacity = 4;
  options.slot_size = 60;
  REQUIRE(ndnshm_new(&ep) == 0);
  REQUIRE(ndnshm_create(ep, name, &options) == 0);
  raise(SIGSTOP);
  return 1;
}

/* An engine that has created its face and does nothing, until it is killed. */
static pid_t engine_start(const char* name) {
  pid_t pid = harness_fork(be_engine, (void*) (uintptr_t) name);

  ck_assert(harness_wait_state(pid, 'T', DEADLINE_MS));
  return pid;
}

static void dead_engine(const char* name) {
  harness_kill(engine_start(name));
}

/* What an engine of ndn-rs leaves: no lock, and nothing announced. */
static void forget_caps(const char* name) {
  const uint32_t none = 0;
  int fd = open(harness_shm_path(name), O_RDWR | O_CLOEXEC);

  ck_assert_int_eq(pwrite(fd, &none, sizeof(none), 16), sizeof(none));
  close(fd);
  harness_remove_stage(name);
}

/* As the seal leaves it: without the region's name, and with a mark on the FIFO that is locked. */
static void seal_by_hand(const char* name) {
  ck_assert_int_eq(unlink(harness_shm_path(name)), 0);
  ck_assert_int_eq(chmod(harness_a2e_path(name), S_ISVTX | 0600), 0);
}

/* Whether the directory of the FIFOs tells that the engine of a2e is dead: then it is told of with the names. */
static bool has_proof(const char* name) {
  char path[80];
  struct stat link, st;

  snprintf(path, sizeof(path), "%s/a2e", harness_stage_path(name));
  return lstat(path, &link) == 0 && lstat(harness_a2e_path(name), &st) == 0 && link.st_ino == st.st_ino;
}

static int names_there(const char* name) {
  return exists(harness_shm_path(name)) + exists(harness_a2e_path(name)) + exists(harness_e2a_path(name));
}

/* --- Looking and removing ----------------------------------------------------------------------- */

typedef struct seen_s {
  const char* name;
  int files;
  int failures;
} seen_t;

static void on_file(void* arg, const char* path, int status) {
  seen_t* seen = arg;

  if (strstr(path, seen->name) == NULL && strcmp(path, harness_stage_path(seen->name)) != 0) return;
  seen->files++;
  seen->failures += status != 0;
}

static void assert_stays(const char* name, int names) {
  seen_t seen = {.name = name};

  ck_assert_int_eq(names_there(name), names);
  ck_assert_int_eq(ndnshm_sweep(name, 0, on_file, &seen), -EADDRINUSE);
  ck_assert_int_eq(ndnshm_sweep(name, NDNSHM_SWEEP_REMOVE, on_file, &seen), -EADDRINUSE);
  ck_assert_int_ge(ndnshm_sweep(NULL, 0, on_file, &seen), 0);
  ck_assert_int_eq(seen.files, 0);
  ck_assert_int_eq(names_there(name), names);
}

/* Found by its name, found among all, and not touched by being looked at; then removed, and gone. */
static void assert_swept(const char* name, int names) {
  seen_t seen = {.name = name}, among_all = {.name = name}, removed = {.name = name};
  int files = names + has_proof(name);

  ck_assert_int_eq(names_there(name), names);
  ck_assert_int_eq(ndnshm_sweep(name, 0, on_file, &seen), files);
  ck_assert_int_eq(seen.files, files);
  ck_assert_int_ge(ndnshm_sweep(NULL, 0, on_file, &among_all), files);
  ck_assert(among_all.files == files || (!has_proof(name) && among_all.files == files + 1));
  ck_assert_int_eq(names_there(name), names);
  ck_assert_int_eq(ndnshm_sweep(name, NDNSHM_SWEEP_REMOVE, on_file, &removed), files);
  ck_assert_int_eq(removed.files, files);
  ck_assert_int_eq(removed.failures, 0);
  ck_assert_int_eq(names_there(name), 0);
  ck_assert_int_eq(ndnshm_sweep(name, NDNSHM_SWEEP_REMOVE, NULL, NULL), -ENOENT);
}

/* Waits until what is too young to be judged is older. */
static bool is_found_in_time(const char* name) {
  uint64_t end = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000;
  seen_t seen = {.name = name};

  while (seen.files == 0 && harness_now_ns() < end) {
    ck_assert_int_ge(ndnshm_sweep(NULL, 0, on_file, &seen), 0);
    usleep(10000);
  }
  return seen.files > 0;
}

TEST(what_a_killed_engine_left_is_found_and_removed) {
  const char* name = name_of("dead");

  dead_engine(name);
  assert_swept(name, 3);
}

TEST(live_engine_keeps_its_names) {
  const char* name = name_of("live");
  pid_t engine = engine_start(name);

  assert_stays(name, 3);
  harness_kill(engine);
  assert_swept(name, 3);
}

TEST(what_is_half_swept_is_swept) {
  const char* name = name_of("half");

  dead_engine(name);
  ck_assert_int_eq(unlink(harness_e2a_path(name)), 0);
  assert_swept(name, 2);
  dead_engine(name);
  ck_assert_int_eq(unlink(harness_e2a_path(name)), 0);
  ck_assert_int_eq(unlink(harness_a2e_path(name)), 0);
  assert_swept(name, 1);
  dead_engine(name);
  ck_assert_int_eq(unlink(harness_shm_path(name)), 0);
  ck_assert_int_eq(unlink(harness_a2e_path(name)), 0);
  assert_swept(name, 1);
}

TEST(sealed_engine_keeps_its_names_as_long_as_it_lives) {
  const char* name = name_of("sealed");
  pid_t engine = engine_start(name);

  seal_by_hand(name);
  assert_stays(name, 2);
  harness_kill(engine);
  ck_assert(is_found_in_time(name));
  assert_swept(name, 2);
}

TEST(engine_whose_region_lost_its_name_keeps_its_fifos) {
  const char* name = name_of("nameless");
  pid_t engine = engine_start(name);

  ck_assert_int_eq(unlink(harness_shm_path(name)), 0);
  assert_stays(name, 2);
  harness_kill(engine);
  ck_assert(is_found_in_time(name));
  assert_swept(name, 2);
}

/* As an engine leaves it that is privileged, and gives what it makes to its app. */
TEST(what_a_dead_engine_gave_to_its_app_is_swept) {
  const char* name = name_of("given");

  if (!is_root()) SKIP("needs root, to give files away");
  dead_engine(name);
  seal_by_hand(name);
  ck_assert_int_eq(lchown(harness_a2e_path(name), OTHER_UID, (gid_t) -1), 0);
  ck_assert_int_eq(lchown(harness_e2a_path(name), OTHER_UID, (gid_t) -1), 0);
  assert_swept(name, 2);
}

/* An app that may write a region may link it, too: here under the name of a face that lives and is sealed. */
TEST(dead_region_under_the_name_of_a_live_face_harms_it_not) {
  const char* name = name_of("victim");
  const char* other = name_of("bait");
  pid_t engine = engine_start(name);

  seal_by_hand(name);
  dead_engine(other);
  ck_assert_int_eq(link(harness_shm_path(other), harness_shm_path(name)), 0);
  assert_stays(name, 3);
  harness_kill(engine);
  assert_swept(name, 3);
  assert_swept(other, 3);
}

/* Leaves a process that has its descriptors; tells its number through the pipe. */
static int be_parent(void* arg) {
  const char* name = ((const char**) arg)[0];
  int fd = *((int**) arg)[1];
  ndnshm_t* ep;
  pid_t heir;

  REQUIRE(ndnshm_new(&ep) == 0);
  REQUIRE(ndnshm_create(ep, name, NULL) == 0);
  heir = fork();
  if (heir == 0)
    for (;;) pause();
  REQUIRE(write(fd, &heir, sizeof(heir)) == sizeof(heir));
  raise(SIGKILL);
  return 1;
}

TEST(engine_lives_on_in_its_children) {
  const char* name = name_of("child");
  int fds[2];
  void* args[2] = {(void*) (uintptr_t) name, &fds[1]};
  pid_t engine, heir;

  if (harness_under_emulation()) SKIP("qemu refuses to make a subreaper");
  ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
  ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
  engine = harness_fork(be_parent, args);
  ck_assert_int_eq(read(fds[0], &heir, sizeof(heir)), sizeof(heir));
  ck_assert_int_ge(harness_wait(engine, DEADLINE_MS), 0);
  assert_stays(name, 3);
  harness_kill(heir);
  assert_swept(name, 3);
  close(fds[0]);
  close(fds[1]);
}

/* What is still young after the call was so during the call. */
static bool is_young(const char* path) {
  struct timespec now;
  struct stat st;

  ck_assert_int_eq(lstat(path, &st), 0);
  ck_assert_int_eq(clock_gettime(CLOCK_REALTIME, &now), 0);
  return (now.tv_sec - st.st_ctim.tv_sec) * 1000000000 + now.tv_nsec - st.st_ctim.tv_nsec < 1000000000;
}

TEST(fifo_that_an_engine_may_be_about_to_lock_stays) {
  const char* name = name_of("young");
  seen_t seen = {.name = name};
  int rc = 0;

  do { /* once, unless this process is kept from running for a second */
    unlink(harness_a2e_path(name));
    ck_assert_int_eq(mkfifo(harness_a2e_path(name), S_ISVTX | 0600), 0);
    rc = ndnshm_sweep(name, 0, on_file, &seen);
  } while (!is_young(harness_a2e_path(name)));
  ck_assert_int_eq(rc, -EADDRINUSE);
  ck_assert(is_found_in_time(name));
  assert_swept(name, 1);
}

/* --- What nobody can judge ----------------------------------------------------------------------- */

TEST(engine_of_ndnrs_is_dead_when_nobody_reads_its_fifo) {
  const char* name = name_of("ndnrs");
  int reader;

  dead_engine(name);
  forget_caps(name);
  reader = open(harness_a2e_path(name), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  assert_stays(name, 3);
  close(reader);
  assert_swept(name, 3);
}

/* What is done before the sweep takes the first lock for removing: by then it has its proof. */
static void (*before_removal)(void);
static const char* name_to_take;

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);
int __wrap_flock(int fd, int operation) {
  void (*act)(void) = before_removal;

  if ((operation & LOCK_EX) != 0 && act != NULL) {
    before_removal = NULL;
    act();
  }
  return __real_flock(fd, operation);
}

/* As it does: the region is taken over where it is there, the FIFOs are made anew. */
static void take_name_as_ndnrs(void) {
  int fd = open(harness_shm_path(name_to_take), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

  HOLDS(fd >= 0 && ftruncate(fd, 4096) == 0);
  close(fd);
  unlink(harness_a2e_path(name_to_take));
  unlink(harness_e2a_path(name_to_take));
  HOLDS(mkfifo(harness_a2e_path(name_to_take), 0600) == 0);
  HOLDS(mkfifo(harness_e2a_path(name_to_take), 0600) == 0);
}

static void begin_as_ndnrs(void) {
  int fd = open(harness_shm_path(name_to_take), O_RDWR | O_TRUNC | O_CLOEXEC);

  HOLDS(fd >= 0 && ftruncate(fd, 4096) == 0);
  close(fd);
  unlink(harness_a2e_path(name_to_take));
}

static void take_e2a_as_ndnrs(void) {
  unlink(harness_e2a_path(name_to_take));
  HOLDS(mkfifo(harness_e2a_path(name_to_take), 0600) == 0);
}

/* It locks nothing. Between the proof that the one before is dead and the removal it has come as a whole, is about to
 * make its FIFOs, or has made the second. */
TEST_LOOP(engine_of_ndnrs_that_comes_while_another_is_swept_keeps_its_names, 4) {
  void (*const comes[])(void) = {take_name_as_ndnrs, begin_as_ndnrs, take_e2a_as_ndnrs, take_name_as_ndnrs};
  const char* name = name_of("newcomer");
  seen_t seen = {.name = name};

  dead_engine(name);
  if (_i < 3) forget_caps(name); /* the last comes after one of ours */
  name_to_take = name;
  before_removal = comes[_i];
  ck_assert_int_eq(ndnshm_sweep(name, NDNSHM_SWEEP_REMOVE, on_file, &seen), -EADDRINUSE);
  ck_assert(before_removal == NULL);
  ck_assert_int_eq(seen.files, 0);
  ck_assert_int_eq(names_there(name), _i == 1 ? 2 : 3);
  unlink(harness_shm_path(name));
  unlink(harness_a2e_path(name));
  unlink(harness_e2a_path(name));
  harness_remove_stage(name);
}

TEST(engine_of_ndnrs_whose_fifos_were_swept_by_others_keeps_its_region) {
  const char* name = name_of("swept");

  dead_engine(name);
  forget_caps(name);
  unlink(harness_a2e_path(name));
  unlink(harness_e2a_path(name));
  assert_stays(name, 1);
  unlink(harness_shm_path(name));
}

TEST_LOOP(what_only_has_the_name_of_a_region_stays, 5) {
  const char* name = name_of("squat");
  char path[96];
  int fd = -1;

  snprintf(path, sizeof(path), "%s", harness_shm_path(name));
  if (_i < 3) fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (_i == 1) ck_assert_int_eq(write(fd, "garbage", 7), 7);
  if (_i == 2) ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
  if (_i == 3) ck_assert_int_eq(symlink("/etc/passwd", path), 0);
  if (_i == 4) ck_assert_int_eq(mkfifo(path, 0600), 0);
  if (fd >= 0) close(fd);
  assert_stays(name, 1);
  unlink(path);
}

TEST(leased_region_makes_nobody_wait) {
  const char* name = name_of("lease");
  int fd;

  dead_engine(name);
  fd = open(harness_shm_path(name), O_RDWR | O_CLOEXEC);
  signal(SIGIO, SIG_IGN);
  ck_assert_int_eq(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
  assert_stays(name, 3);
  close(fd);
  assert_swept(name, 3);
}

TEST_LOOP(what_belongs_to_another_user_stays, 2) {
  const char* name = name_of("foreign");

  if (!is_root()) SKIP("needs root, to have files of another user");
  dead_engine(name);
  harness_remove_stage(name);
  ck_assert_int_eq(lchown(_i == 0 ? harness_shm_path(name) : harness_a2e_path(name), OTHER_UID, (gid_t) -1), 0);
  assert_stays(name, 3);
  ck_assert_int_eq(lchown(harness_shm_path(name), 0, (gid_t) -1), 0);
  ck_assert_int_eq(lchown(harness_a2e_path(name), 0, (gid_t) -1), 0);
  assert_swept(name, 3);
}

/* --- Sockets of servers ------------------------------------------------------------------------- */

static int listener(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
  ck_assert_int_eq(bind(fd, (const struct sockaddr*) &address, sizeof(address)), 0);
  ck_assert_int_eq(listen(fd, 1), 0);
  return fd;
}

/* Until its queue is full, and refuses, too, but otherwise than the dead. */
static int fill_queue(const char* path, int ret_fds[8]) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int n = 0;

  snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
  for (; n < 8; n++) {
    ret_fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connect(ret_fds[n], (const struct sockaddr*) &address, sizeof(address)) != 0) break;
  }
  ck_assert_int_eq(errno, EAGAIN);
  return n + 1;
}

static bool is_listed(const char* path) {
  seen_t seen = {.name = path};

  ck_assert_int_ge(ndnshm_sweep(NULL, 0, on_file, &seen), 0);
  return seen.files == 1;
}

TEST(socket_is_stale_when_nobody_listens) {
  char dead[64], live[64], foreign[64];
  int fds[3], queued[8];
  int n;

  snprintf(dead, sizeof(dead), "/tmp/.ndn-shm-ctl-%08x%08x.sock", (unsigned int) getpid(), 1u);
  snprintf(live, sizeof(live), "/tmp/.ndn-shm-ctl-%08x%08x.sock", (unsigned int) getpid(), 2u);
  snprintf(foreign, sizeof(foreign), "/tmp/.ndn-shm-ctl-%08x.sock", (unsigned int) getpid());
  fds[1] = listener(live);
  fds[2] = listener(foreign);
  fds[0] = listener(dead); /* the last: when it is old enough to be judged, the others are */
  close(fds[0]);
  close(fds[2]);
  ck_assert(!is_listed(dead) || !is_young(dead));
  ck_assert(is_found_in_time(dead));
  n = fill_queue(live, queued);
  ck_assert(!is_listed(live));
  ck_assert(!is_listed(foreign));
  while (n > 0) close(queued[--n]);
  close(fds[1]);
  ck_assert(is_found_in_time(live));
  unlink(dead);
  unlink(live);
  unlink(foreign);
}

/* --- All faces of a machine --------------------------------------------------------------------- */

/* A /dev/shm of 64 KiB and a /tmp that nobody else sees. */
static int hide_in_own_places(void) {
  REQUIRE(unshare(CLONE_NEWNS) == 0);
  REQUIRE(mount("none", "/", "none", MS_REC | MS_PRIVATE, "") == 0);
  REQUIRE(mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=64k,mode=1777") == 0);
  REQUIRE(mount("tmpfs", "/tmp", "tmpfs", 0, "mode=1777") == 0);
  return 0;
}

/* 16 KiB of region each: the fourth or fifth finds no room. */
static int create_big(const char* name) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  ndnshm_t* ep;
  int err;

  options.capacity = 8;
  options.slot_size = 956;
  if (ndnshm_new(&ep) < 0) return 1;
  err = ndnshm_create(ep, name, &options);
  if (err == 0) raise(SIGKILL);
  ndnshm_free(ep);
  return err == -ENOSPC ? 28 : 1;
}

static int run_big(void* name) {
  return create_big(name);
}

static bool crashes(const char* name) {
  int status = harness_wait(harness_fork(run_big, (void*) (uintptr_t) name), DEADLINE_MS);

  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static int fill_and_sweep(void* arg) {
  char name[32];
  int n = 0;
  ndnshm_t* live;

  (void) arg;
  REQUIRE(hide_in_own_places() == 0);
  do {
    snprintf(name, sizeof(name), "fresh-%d", n++);
  } while (n < 100 && crashes(name));
  REQUIRE(n > 2 && n < 10);
  REQUIRE(ndnshm_sweep(NULL, 0, NULL, NULL) == 4 * (n - 1)); /* the directory of the FIFOs, too */
  REQUIRE(!crashes("one-more"));
  REQUIRE(ndnshm_sweep(NULL, NDNSHM_SWEEP_REMOVE, NULL, NULL) == 4 * (n - 1));
  REQUIRE(ndnshm_sweep(NULL, 0, NULL, NULL) == 0);
  REQUIRE(crashes("one-more"));
  REQUIRE(ndnshm_new(&live) == 0);
  REQUIRE(ndnshm_create(live, "live", NULL) == -ENOSPC);
  ndnshm_free(live);
  return 0;
}

TEST(engines_that_crash_under_fresh_names_do_not_fill_the_machine_for_good) {
  if (!is_root()) SKIP("needs root, for a mount namespace of its own");
  assert_child_passes(fill_and_sweep, NULL);
}

/* --- Too few descriptors ------------------------------------------------------------------------ */

static int sweep_with_few(void* arg) {
  const char* name = arg;
  int status = 0;

  for (int spare = 0; status <= 0 && spare < 8; spare++) {
    pid_t pid = fork();
    int rc;

    if (pid == 0) {
      if (limit_descriptors(spare) != 0) _exit(100);
      rc = ndnshm_sweep(name, NDNSHM_SWEEP_REMOVE, NULL, NULL);
      _exit(rc == -EMFILE ? 0 : rc == 4 && spare > 0 ? 4 : 101);
    }
    status = harness_wait(pid, DEADLINE_MS);
    REQUIRE(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 4));
    status = WEXITSTATUS(status);
    REQUIRE(names_there(name) == (status == 0 ? 3 : 0));
  }
  REQUIRE(status == 4);
  return 0;
}

static int sweep_all_with_none(void* arg) {
  (void) arg;
  REQUIRE(limit_descriptors(0) == 0);
  REQUIRE(ndnshm_sweep(NULL, 0, NULL, NULL) == -EMFILE);
  return 0;
}

TEST(without_descriptors_nothing_is_removed) {
  const char* name = name_of("few");

  dead_engine(name);
  assert_child_passes(sweep_all_with_none, NULL);
  assert_child_passes(sweep_with_few, (void*) (uintptr_t) name);
}

/* --- Beside an engine that comes ---------------------------------------------------------------- */

static int look_for_ever(void* arg) {
  const char* name = arg;

  for (;;) ndnshm_sweep(name, 0, NULL, NULL);
  return 1;
}

/* Whether somebody looks at it for longer than an engine waits is up to the scheduler; for what he is taken is not. */
static int create_beside_lookers_and_die(void* arg) {
  const char* name = arg;
  uint64_t end = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000;
  ndnshm_t* ep;
  int err;

  REQUIRE(ndnshm_new(&ep) == 0);
  do {
    err = ndnshm_create(ep, name, NULL);
  } while (err == -EADDRINUSE && strstr(ndnshm_errmsg(ep), "keeps sharing its lock") != NULL && harness_now_ns() < end);
  if (err < 0) fprintf(stderr, "# %s\n", ndnshm_errmsg(ep));
  REQUIRE(err == 0);
  kill(getpid(), SIGKILL);
  return 1;
}

/* Its predecessor is dead, and somebody is just looking whether it is. */
TEST(who_looks_is_not_taken_for_an_engine) {
  const char* name = name_of("looked");
  pid_t looker = harness_fork(look_for_ever, (void*) (uintptr_t) name);
  int status;

  for (int i = 0; i < 10; i++) {
    status = harness_wait(harness_fork(create_beside_lookers_and_die, (void*) (uintptr_t) name), DEADLINE_MS);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  }
  harness_kill(looker);
  assert_swept(name, 3);
}

/* Where an engine made FIFOs when it was killed; and where one is making them. */
static int leave_directories(void* arg) {
  uint64_t end = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000;
  int used;

  (void) arg;
  REQUIRE(hide_in_own_places() == 0);
  REQUIRE(mkdir("/tmp/.ndn-0123456789abcdeg", 0700) == 0 && mkdir("/tmp/.ndn-0123456789abcdef0", 0700) == 0);
  REQUIRE(mkdir("/tmp/.ndn-fedcba9876543210", 0700) == 0);
  used = open("/tmp/.ndn-fedcba9876543210", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  REQUIRE(flock(used, LOCK_EX) == 0);
  /* The last: when it is old enough to be judged, the others are. */
  REQUIRE(mkdir("/tmp/.ndn-0123456789abcdef", 0700) == 0 && mkfifo("/tmp/.ndn-0123456789abcdef/a2e", 0600) == 0);
  while (ndnshm_sweep(NULL, 0, NULL, NULL) == 0 && harness_now_ns() < end) usleep(10000);
  REQUIRE(ndnshm_sweep(NULL, 0, NULL, NULL) == 1);
  REQUIRE(ndnshm_sweep(NULL, NDNSHM_SWEEP_REMOVE, NULL, NULL) == 1);
  REQUIRE(!exists("/tmp/.ndn-0123456789abcdef"));
  close(used);
  REQUIRE(ndnshm_sweep(NULL, NDNSHM_SWEEP_REMOVE, NULL, NULL) == 1);
  REQUIRE(!exists("/tmp/.ndn-fedcba9876543210"));
  REQUIRE(exists("/tmp/.ndn-0123456789abcdeg") && exists("/tmp/.ndn-0123456789abcdef0"));
  return 0;
}

TEST(directory_that_a_killed_engine_made_fifos_in_is_swept) {
  if (!is_root()) SKIP("needs root, for a mount namespace of its own");
  assert_child_passes(leave_directories, NULL);
}

/* --- Arguments ---------------------------------------------------------------------------------- */

TEST(sweeping_needs_a_name_of_a_face_or_none) {
  char longer[202] = "";

  memset(longer, 'x', 201);
  ck_assert_int_eq(ndnshm_sweep("a/b", 0, NULL, NULL), -EINVAL);
  ck_assert_int_eq(ndnshm_sweep("..", 0, NULL, NULL), -EINVAL);
  ck_assert_int_eq(ndnshm_sweep(longer, 0, NULL, NULL), -ENAMETOOLONG);
  ck_assert_int_eq(ndnshm_sweep(NULL, 2, NULL, NULL), -EINVAL);
  ck_assert_int_eq(ndnshm_sweep(name_of("none"), 0, NULL, NULL), -ENOENT);
}
