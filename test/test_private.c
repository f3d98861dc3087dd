/* SPDX-License-Identifier: MIT */
/* test_private.c: faces without names: what is made, what is handed over, and what an app refuses. See ends.h. Tests
 * of other users need root and say so when they are skipped. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ends.h"

#define N_PRIVATE (N_KINDS - BY_SOCKET)
#define KIND ((kind_t) (BY_SOCKET + _i))

static bool memfd_is_refused, noexec_is_unknown;

/* The library is linked statically, so this comes before libc's. */
int memfd_create(const char* name, unsigned int flags) {
  if (memfd_is_refused || (noexec_is_unknown && (flags & 0x0008u) != 0)) {
    errno = memfd_is_refused ? EPERM : EINVAL;
    return -1;
  }
  return (int) syscall(SYS_memfd_create, name, flags);
}

static int shrinks_fd = -1; /* after the next look at its size */

/* Likewise. */
int fstat(int fd, struct stat* st) {
  int result = fstatat(fd, "", st, AT_EMPTY_PATH);

  if (result == 0 && fd == shrinks_fd) {
    shrinks_fd = -1;
    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
  }
  return result;
}

/* --- What is made ---------------------------------------------------------------------------------- */

static bool is_socket(int fd) {
  struct stat st;

  ck_assert_int_eq(fstat(fd, &st), 0);
  return S_ISSOCK(st.st_mode);
}

TEST_LOOP(packets_and_wakeups_go_both_ways, N_PRIVATE) {
  face_t f = face_make_of(KIND, "ways", 4, 100);
  ndnshm_stats_t stats;

  ck_assert_int_eq(names_there(&f), 0);
  ck_assert_uint_eq(ndnshm_park(f.engine, NDNSHM_PACKETS), 0);
  ck_assert_int_eq(send_text(f.app, "up"), 2);
  ck_assert(readable(ndnshm_fd(f.engine), DEADLINE_MS));
  ck_assert_int_eq(ndnshm_wake(f.engine), 1);
  assert_receives(f.engine, "up");
  ck_assert_int_eq(ndnshm_wake(f.engine), 0);
  ck_assert_uint_eq(ndnshm_park(f.app, NDNSHM_PACKETS), 0);
  ck_assert_int_eq(send_text(f.engine, "down"), 4);
  ck_assert(readable(ndnshm_fd(f.app), DEADLINE_MS));
  ck_assert_int_eq(ndnshm_wake(f.app), 1);
  assert_receives(f.app, "down");
  ck_assert_uint_eq(ndnshm_peer_caps(f.engine), NDNSHM_CAP_FENCED | NDNSHM_CAP_SPACE);
  ck_assert_int_eq(ndnshm_get_stats(f.engine, &stats), 0);
  ck_assert_uint_eq(stats.sealed, 1);
  ck_assert_int_eq(ndnshm_get_stats(f.app, &stats), 0);
  ck_assert_uint_eq(stats.sealed, 1);
  ck_assert_int_eq(ndnshm_probe(f.engine), 0);
  ck_assert_int_eq(ndnshm_probe(f.app), 0);
  face_drop(&f);
}

TEST_LOOP(app_gets_three_descriptors_that_it_can_use_at_once, N_PRIVATE) {
  face_t f = face_plan_of(KIND, "three");
  int fds[3];

  face_create(&f, 4, 100);
  ck_assert_int_eq(ndnshm_app_fds(f.engine, fds), 0);
  for (int i = 0; i < 3; i++) ck_assert_int_eq(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
  for (int i = 1; i < 3; i++) ck_assert_int_ne(fcntl(fds[i], F_GETFL) & O_NONBLOCK, 0);
  ck_assert_int_ne(fcntl(ndnshm_fd(f.engine), F_GETFL) & O_NONBLOCK, 0);
  ck_assert_int_eq(fcntl(ndnshm_fd(f.engine), F_GETFD), FD_CLOEXEC);
  ck_assert_int_eq(is_socket(fds[1]), KIND == BY_SOCKET);
  ck_assert_int_eq(fds[1] == fds[2], KIND == BY_SOCKET);
  face_drop(&f);
}

TEST_LOOP(region_has_its_engines_pid_in_its_name, N_PRIVATE) {
  face_t f = face_plan_of(KIND, "pid");
  char link[64], wanted[64], name[64] = "";
  int fds[3];

  face_create(&f, 4, 100);
  ck_assert_int_eq(ndnshm_app_fds(f.engine, fds), 0);
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fds[0]);
  snprintf(wanted, sizeof(wanted), "/memfd:ndn-shm:%ld (deleted)", (long) getpid());
  ck_assert_int_gt(readlink(link, name, sizeof(name) - 1), 0);
  ck_assert_str_eq(name, wanted);
  face_drop(&f);
}

TEST_LOOP(nobody_can_change_the_size_of_the_region, N_PRIVATE) {
  const int wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  face_t f = face_plan_of(KIND, "seals");
  struct stat st;
  int fds[3];

  face_create(&f, 4, 100);
  ck_assert_int_eq(ndnshm_app_fds(f.engine, fds), 0);
  ck_assert_int_eq(fcntl(fds[0], F_GET_SEALS) & wanted, wanted);
  ck_assert_int_eq(fstat(fds[0], &st), 0);
  ck_assert_int_eq(ftruncate(fds[0], 0), -1);
  ck_assert_int_eq(errno, EPERM);
  ck_assert_int_eq(ftruncate(fds[0], st.st_size + 4096), -1);
  ck_assert_int_eq(errno, EPERM);
  ck_assert_int_eq(fcntl(fds[0], F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
  ck_assert_int_eq(errno, EPERM);
  ck_assert_int_ge(st.st_blocks * 512, st.st_size); /* backed by memory, all of it */
  face_drop(&f);
}

TEST(kernel_that_knows_no_noexec_seals_all_the_same) {
  face_t f = face_plan_of(BY_SOCKET, "noexec");
  ndnshm_stats_t stats;

  noexec_is_unknown = true;
  face_create(&f, 4, 100);
  noexec_is_unknown = false;
  face_join(&f, NULL);
  ck_assert_int_eq(ndnshm_get_stats(f.app, &stats), 0);
  ck_assert_uint_eq(stats.sealed, 1);
  face_drop(&f);
}

static bool wakes_by_socket(uid_t uid, unsigned int flags) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  face_t f = face_plan_of(BY_SOCKET, "user");
  bool by_socket;

  options.uid = uid;
  options.flags = flags;
  ck_assert_int_eq(ndnshm_create_private(f.engine, &options), 0);
  by_socket = is_socket(ndnshm_fd(f.engine));
  face_drop(&f);
  return by_socket;
}

TEST(pipes_are_for_an_app_of_the_engines_own_user) {
  ck_assert(wakes_by_socket((uid_t) -1, 0));
  ck_assert(wakes_by_socket(OTHER_UID, 0));
  ck_assert(!wakes_by_socket(geteuid(), 0));
  ck_assert(wakes_by_socket(geteuid(), NDNSHM_WAKE_SOCKET));
  ck_assert(!wakes_by_socket(OTHER_UID, NDNSHM_WAKE_PIPE));
}

static void assert_private_fails(face_t* f, const ndnshm_options_t* options, int code, const char* reason) {
  int fds = harness_count_fds();

  ck_assert_int_eq(ndnshm_create_private(f->engine, options), code);
  assert_errmsg(f->engine, "options", "", reason);
  ck_assert_int_eq(harness_count_fds(), fds);
}

TEST(impossible_options_are_einval) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  face_t f = face_plan_of(BY_SOCKET, "options");

  options.flags = NDNSHM_WAKE_SOCKET | NDNSHM_WAKE_PIPE;
  assert_private_fails(&f, &options, -EINVAL, "ask for a socket and for pipes");
  options.flags = 1u << 30;
  assert_private_fails(&f, &options, -EINVAL, "unknown flags");
  options.flags = 0;
  options.mode = 07777;
  assert_private_fails(&f, &options, -EINVAL, "permission bits");
  options.mode = 0;
  options.mtu = options.capacity = 64;
  assert_private_fails(&f, &options, -EINVAL, "geometry");
  ck_assert_int_eq(ndnshm_create_private(NULL, NULL), -EINVAL);
  ck_assert_int_eq(ndnshm_create_private(f.engine, NULL), 0);
  ck_assert_int_eq(ndnshm_create_private(f.engine, NULL), -EALREADY);
  face_drop(&f);
}

static int create_without_descriptors(void* arg) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  face_t* f = arg;
  int before = harness_count_fds();

  options.flags = f->kind == BY_SOCKET ? NDNSHM_WAKE_SOCKET : NDNSHM_WAKE_PIPE;
  for (int spare = 0; spare < (f->kind == BY_SOCKET ? 3 : 5); spare++) {
    if (limit_descriptors(spare) != 0) return 1;
    REQUIRE(ndnshm_create_private(f->engine, &options) == -EMFILE);
  }
  if (limit_descriptors(-1) != 0) return 1;
  REQUIRE(harness_count_fds() == before);
  REQUIRE(ndnshm_create_private(f->engine, &options) == 0);
  return 0;
}

TEST_LOOP(engine_that_lacks_descriptors_leaves_nothing, N_PRIVATE) {
  face_t f;

  if (harness_under_valgrind()) SKIP("valgrind has descriptors of its own");
  f = face_plan_of(KIND, "emfile");
  assert_child_passes(create_without_descriptors, &f);
  face_drop(&f);
}

TEST(only_the_engine_of_a_private_face_has_something_to_hand_over) {
  face_t named = face_make("named", 4, 100), f = face_plan_of(BY_SOCKET, "hand");
  int fds[3] = {7, 8, 9};

  ck_assert_int_eq(ndnshm_app_fds(NULL, fds), -EINVAL);
  ck_assert_int_eq(ndnshm_app_fds(f.engine, NULL), -EINVAL);
  ck_assert_int_eq(ndnshm_app_fds(f.engine, fds), -ENOTCONN);
  ck_assert_int_eq(ndnshm_app_fds(named.engine, fds), -EBADF);
  ck_assert_int_eq(ndnshm_app_fds(named.app, fds), -EBADF);
  face_create(&f, 4, 100);
  face_join(&f, NULL);
  ck_assert_int_eq(ndnshm_app_fds(f.engine, fds), -EBADF);
  ck_assert_int_eq(ndnshm_app_fds(f.app, fds), -EBADF);
  ck_assert(fds[0] == 7 && fds[1] == 8 && fds[2] == 9);
  ndnshm_app_fds_close(NULL);
  ndnshm_app_fds_close(f.engine);
  ndnshm_app_fds_close(f.app);
  ndnshm_app_fds_close(named.engine);
  ck_assert_int_eq(send_text(named.app, "still there"), 11);
  assert_receives(named.engine, "still there");
  ndnshm_shutdown(f.engine);
  ndnshm_app_fds_close(f.engine);
  face_drop(&f);
  face_drop(&named);
}

/* --- Life and death -------------------------------------------------------------------------------- */

TEST_LOOP(death_of_either_is_end_of_file_after_its_packets, N_PRIVATE) {
  face_t f = face_make_of(KIND, "eof1", 4, 100), g = face_make_of(KIND, "eof2", 4, 100);

  ck_assert_int_eq(ndnshm_wake(f.engine), 0);
  ck_assert_int_eq(send_text(f.app, "last words"), 10);
  ndnshm_shutdown(f.app);
  ck_assert_int_eq(ndnshm_wake(f.engine), NDNSHM_EOF);
  assert_receives(f.engine, "last words");
  ck_assert_int_eq(send_text(f.engine, "to nobody"), 9); /* and no SIGPIPE */
  ck_assert_int_eq(ndnshm_wake(g.app), 0);
  ck_assert_int_eq(send_text(g.engine, "last words"), 10);
  ndnshm_shutdown(g.engine);
  ck_assert_int_eq(ndnshm_wake(g.app), NDNSHM_EOF);
  assert_receives(g.app, "last words");
  ck_assert_uint_eq(ndnshm_park(g.app, NDNSHM_PACKETS), 0);
  g.header->a2e_parked.value = 1;
  ck_assert_int_eq(send_text(g.app, "to nobody"), 9);
  face_drop(&f);
  face_drop(&g);
}

/* A Unix socket then tells of a reset, once. */
TEST_LOOP(peer_that_died_with_bytes_unread_is_end_of_file, N_PRIVATE) {
  face_t f = face_make_of(KIND, "reset", 4, 100);

  ck_assert_uint_eq(ndnshm_park(f.app, NDNSHM_PACKETS), 0);
  ck_assert_int_eq(send_text(f.engine, "wakes you"), 9);
  ndnshm_shutdown(f.app);
  f.header->e2a_parked.value = 1;
  ck_assert_int_eq(send_text(f.engine, "too late"), 8);
  ck_assert_int_eq(ndnshm_wake(f.engine), NDNSHM_EOF);
  ck_assert_int_eq(ndnshm_wake(f.engine), NDNSHM_EOF);
  face_drop(&f);
}

TEST_LOOP(death_of_an_app_is_seen_once_the_engine_keeps_nothing_of_it, N_PRIVATE) {
  face_t f = face_plan_of(KIND, "keeps");
  int fds[3], before = harness_count_fds();

  face_create(&f, 4, 100);
  face_hand_over(&f, fds);
  ck_assert_int_eq(ndnshm_attach(f.app, fds, NULL), 0);
  ndnshm_shutdown(f.app);
  ck_assert_int_ge(ndnshm_wake(f.engine), 0);
  ck_assert_int_eq(ndnshm_wake(f.engine), 0);
  ndnshm_app_fds_close(f.engine);
  ck_assert_int_eq(ndnshm_wake(f.engine), NDNSHM_EOF);
  face_drop(&f);
  ck_assert_int_eq(harness_count_fds(), before);
}

TEST_LOOP(app_that_comes_after_its_engine_died_gets_what_it_had_sent, N_PRIVATE) {
  face_t f = face_plan_of(KIND, "late");
  int fds[3];

  face_create(&f, 4, 100);
  face_hand_over(&f, fds);
  ck_assert_int_eq(send_text(f.engine, "testament"), 9);
  ndnshm_shutdown(f.engine);
  ck_assert_msg(ndnshm_attach(f.app, fds, NULL) == 0, "%s", ndnshm_errmsg(f.app));
  ck_assert_int_eq(ndnshm_wake(f.app), NDNSHM_EOF);
  assert_receives(f.app, "testament");
  face_drop(&f);
}

/* --- Between processes ----------------------------------------------------------------------------- */

static int send_three(int socket_fd, const int fds[3]) {
  char byte = 'h', control[CMSG_SPACE(3 * sizeof(int))] = {0};
  struct iovec v = {&byte, 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);

  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(3 * sizeof(int));
  memcpy(CMSG_DATA(c), fds, 3 * sizeof(int));
  return (int) sendmsg(socket_fd, &m, 0);
}

static int receive_three(int socket_fd, int fds[3]) {
  char byte, control[CMSG_SPACE(3 * sizeof(int))];
  struct iovec v = {&byte, 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  int n = (int) recvmsg(socket_fd, &m, 0);

  if (n == 1) memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&m)), 3 * sizeof(int));
  return n;
}

static int app_in_another_process(void* arg) {
  const int* sockets = arg;
  int fds[3], before;
  ndnshm_t* ep;

  if (is_root() && become_other() != 0) return 1;
  close(sockets[0]);
  before = harness_count_fds();
  REQUIRE(receive_three(sockets[1], fds) == 1);
  REQUIRE(ndnshm_new(&ep) == 0);
  REQUIRE(ndnshm_attach(ep, fds, NULL) == 0);
  for (int i = 1; i < 3; i++) REQUIRE(fcntl(fds[i], F_GETFD) == FD_CLOEXEC);
  REQUIRE(harness_count_fds() == before + 2);
  REQUIRE(send_text(ep, "hello") == 5);
  REQUIRE(ndnshm_park(ep, NDNSHM_PACKETS) != 0 || readable(ndnshm_fd(ep), DEADLINE_MS));
  raise(SIGKILL);
  return 1;
}

/* As another user, if this one is root: neither has to trust the other's. */
TEST_LOOP(descriptors_go_to_another_process_and_its_death_comes_back, N_PRIVATE) {
  face_t f = face_plan_of(KIND, "message");
  int sockets[2], fds[3], before;
  pid_t app;

  face_create(&f, 4, 100);
  ck_assert_int_eq(ndnshm_app_fds(f.engine, fds), 0);
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
  app = harness_fork(app_in_another_process, sockets);
  close(sockets[1]);
  before = harness_count_fds();
  ck_assert_uint_eq(ndnshm_park(f.engine, NDNSHM_PACKETS), 0);
  ck_assert_int_eq(send_three(sockets[0], fds), 1);
  ndnshm_app_fds_close(f.engine);
  ck_assert_int_eq(harness_count_fds(), before - (KIND == BY_SOCKET ? 2 : 3));
  ck_assert(readable(ndnshm_fd(f.engine), DEADLINE_MS));
  ck_assert_int_eq(ndnshm_wake(f.engine), 1);
  assert_receives(f.engine, "hello");
  ck_assert_int_eq(send_text(f.engine, "now die"), 7);
  ck_assert_int_eq(harness_wait(app, DEADLINE_MS) & 0x7f, SIGKILL);
  ck_assert(readable(ndnshm_fd(f.engine), DEADLINE_MS));
  ck_assert_int_eq(ndnshm_wake(f.engine), NDNSHM_EOF);
  close(sockets[0]);
  face_drop(&f);
}

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

/* As a kernel that does not know how to refuse them brings them. */
TEST(descriptors_that_a_peer_sends_with_a_wake_up_are_dropped) {
  face_t f = face_plan_of(BY_SOCKET, "rights");
  const int on = 1;
  int fds[3], before;

  face_create(&f, 4, 100);
  face_hand_over(&f, fds);
  ndnshm_app_fds_close(f.engine);
  setsockopt(ndnshm_fd(f.engine), SOL_SOCKET, SO_PASSRIGHTS, &on, sizeof(on));
  before = harness_count_fds();
  for (int i = 0; i < 10; i++) ck_assert_int_eq(send_three(fds[1], fds), 1);
  ck_assert_int_eq(ndnshm_wake(f.engine), 10);
  ck_assert_int_eq(ndnshm_wake(f.engine), 0);
  ck_assert_int_eq(harness_count_fds(), before);
  close_fds(fds);
  ck_assert_int_eq(ndnshm_wake(f.engine), NDNSHM_EOF);
  face_drop(&f);
}

/* --- What an app refuses ---------------------------------------------------------------------------- */

typedef struct offer_s {
  face_t f;
  int fds[3];
} offer_t;

static offer_t offer(kind_t kind) {
  offer_t o = {.f = face_plan_of(kind, "offer")};

  face_create(&o.f, 4, 100);
  face_hand_over(&o.f, o.fds);
  return o;
}

static void offer_drop(offer_t* o) {
  close_fds(o->fds);
  face_drop(&o->f);
}

static void assert_attach_refuses(offer_t* o, const int fds[3], const ndnshm_options_t* options, int code,
                                  const char* call, const char* which, const char* reason) {
  int before = harness_count_fds(), flags[3];

  for (int i = 0; i < 3; i++) flags[i] = fcntl(fds[i], F_GETFD);
  ck_assert_msg(ndnshm_attach(o->f.app, fds, options) == code, "%s", ndnshm_errmsg(o->f.app));
  assert_errmsg(o->f.app, call, which, reason);
  ck_assert_int_eq(ndnshm_fd(o->f.app), -1);
  ck_assert_int_eq(harness_count_fds(), before);
  for (int i = 0; i < 3; i++) ck_assert_int_eq(fcntl(fds[i], F_GETFD), flags[i]);
}

/* With one of the three replaced, which is closed then. */
static void assert_refuses_instead(offer_t* o, int which, int fd, int code, const char* call, const char* reason) {
  static const char* const names[] = {"private face", "a2e write end", "e2a read end"};
  int fds[3] = {o->fds[0], o->fds[1], o->fds[2]};

  ck_assert_int_ge(fd, 0);
  fds[which] = fd;
  assert_attach_refuses(o, fds, NULL, code, call, names[which], reason);
  close(fd);
}

/* Nothing of what was refused has changed the offer: in the end it is taken. */
static void assert_still_good(offer_t* o) {
  int before = harness_count_fds();

  ck_assert_msg(ndnshm_attach(o->f.app, o->fds, NULL) == 0, "%s", ndnshm_errmsg(o->f.app));
  ck_assert_int_eq(harness_count_fds(), before - 1); /* the region's */
  ck_assert_int_eq(ndnshm_attach(o->f.app, o->fds, NULL), -EALREADY);
  ck_assert_int_eq(send_text(o->f.app, "in"), 2);
  assert_receives(o->f.engine, "in");
  face_drop(&o->f);
}

static int socket_of(int domain, int type) {
  int fds[2];

  ck_assert_int_eq(socketpair(domain, type | SOCK_NONBLOCK, 0, fds), 0);
  close(fds[1]);
  return fds[0];
}

static int pipe_end(int end, int flags) {
  int fds[2];

  ck_assert_int_eq(pipe2(fds, flags), 0);
  close(fds[1 - end]);
  return fds[end];
}

TEST_LOOP(descriptor_of_the_wrong_kind_is_refused_and_left_alone, N_PRIVATE) {
  offer_t o = offer(KIND);
  int closed[3] = {o.fds[0], o.fds[1], o.fds[2]}, none[3] = {-1, -1, -1};

  ck_assert_int_eq(ndnshm_attach(NULL, o.fds, NULL), -EINVAL);
  ck_assert_int_eq(ndnshm_attach(o.f.app, NULL, NULL), -EINVAL);
  assert_attach_refuses(&o, none, NULL, -EBADF, "fstat", "private face", "not an open descriptor");
  for (int i = 0; i < 3; i++) {
    closed[i] = 1000;
    assert_attach_refuses(&o, closed, NULL, -EBADF, "fstat", "private face", i == 0 ? "Bad file" : "not an open");
    closed[i] = o.fds[i];
  }
  assert_refuses_instead(&o, 0, open("/dev/null", O_RDWR), -EPERM, "fstat", "not a regular file");
  assert_refuses_instead(&o, 0, open("/tmp", O_RDONLY | O_DIRECTORY), -EPERM, "fstat", "not a regular file");
  assert_refuses_instead(&o, 0, dup(o.fds[1]), -EPERM, "fstat", "not a regular file");
  assert_refuses_instead(&o, 0, open("/proc/self/exe", O_RDONLY), -EBADF, "fcntl", "reading and writing");
  for (int i = 1; i < 3; i++) {
    assert_refuses_instead(&o, i, open("/dev/null", O_RDWR), -EPERM, "fstat", "neither a pipe nor a socket");
    assert_refuses_instead(&o, i, dup(o.fds[0]), -EPERM, "fstat", "neither a pipe nor a socket");
    assert_refuses_instead(&o, i, socket_of(AF_UNIX, SOCK_DGRAM), -EPROTO, "getsockopt", "stream");
    assert_refuses_instead(&o, i, socket_of(AF_UNIX, SOCK_SEQPACKET), -EPROTO, "getsockopt", "stream");
    assert_refuses_instead(&o, i, socket(AF_INET, SOCK_STREAM, 0), -EPROTO, "getsockopt", "stream");
    assert_refuses_instead(&o, i, socket(AF_UNIX, SOCK_STREAM, 0), -EPROTO, "getpeername", "not connected");
    assert_refuses_instead(&o, i, pipe_end(i == 1 ? 0 : 1, O_NONBLOCK), -EBADF, "fcntl", "alone");
    assert_refuses_instead(&o, i, pipe_end(i == 1 ? 1 : 0, 0), -EPROTO, "fcntl", "O_NONBLOCK");
  }
  assert_still_good(&o);
}

TEST(one_pipe_and_one_socket_are_refused) {
  offer_t by_socket = offer(BY_SOCKET), by_pipes = offer(BY_PIPES);
  int mixed[3] = {by_pipes.fds[0], by_pipes.fds[1], by_socket.fds[2]};

  assert_attach_refuses(&by_pipes, mixed, NULL, -EPROTO, "fstat", "private face", "one end is a pipe");
  assert_still_good(&by_pipes);
  assert_still_good(&by_socket);
}

/* A memfd like the engine's, but for what a test does to it. */
static int forged_region(const offer_t* o, size_t bytes, int seals) {
  int fd = (int) syscall(SYS_memfd_create, "forged", MFD_CLOEXEC | MFD_ALLOW_SEALING);

  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(ftruncate(fd, (off_t) bytes), 0);
  ck_assert_int_eq(pwrite(fd, o->f.header, 448, 0), 448);
  ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
  return fd;
}

TEST_LOOP(region_that_is_not_what_its_header_says_is_refused, N_PRIVATE) {
  offer_t o = offer(KIND);
  size_t bytes = o.f.view.geometry.region_bytes;
  ndnshm__region_header_t* h = o.f.header;
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;

  assert_refuses_instead(&o, 0, forged_region(&o, bytes - 1, F_SEAL_SHRINK), -EPROTO, "header", "file has");
  h->magic++;
  assert_attach_refuses(&o, o.fds, NULL, -EPROTO, "header", "private face", "magic");
  h->magic--;
  h->capacity = 0;
  assert_attach_refuses(&o, o.fds, NULL, -EPROTO, "header", "private face", "geometry");
  h->capacity = 4;
  h->a2e_tail.value = 5;
  assert_attach_refuses(&o, o.fds, NULL, -EPROTO, "header", "private face", "indices");
  h->a2e_tail.value = 0;
  options.slot_size = 101;
  assert_attach_refuses(&o, o.fds, &options, -EPROTO, "header", "private face", "fewer than the 101");
  options.slot_size = 100;
  options.flags = 1u << 30;
  assert_attach_refuses(&o, o.fds, &options, -EINVAL, "options", "", "unknown flags");
  assert_refuses_instead(&o, 0, forged_region(&o, bytes, F_SEAL_SHRINK | F_SEAL_WRITE), -EPERM, "mmap", "");
  assert_still_good(&o);
}

TEST(region_that_can_be_truncated_must_be_of_a_trusted_owner_or_guarded) {
  offer_t o = offer(BY_SOCKET), p = offer(BY_SOCKET), q = offer(BY_SOCKET);
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  offer_t* const offers[] = {&o, &p, &q};
  ndnshm_stats_t stats;
  int fd;

  for (int i = 0; i < 3; i++) {
    fd = forged_region(&o, o.f.view.geometry.region_bytes, F_SEAL_GROW);
    ck_assert_int_eq(dup3(fd, offers[i]->fds[0], O_CLOEXEC), offers[i]->fds[0]);
    close(fd);
  }
  if (is_root()) {
    for (int i = 0; i < 3; i++) ck_assert_int_eq(fchown(offers[i]->fds[0], OTHER_UID, (gid_t) -1), 0);
    assert_attach_refuses(&o, o.fds, NULL, -EPERM, "fcntl", "private face", "owned by uid 61234");
    options.uid = OTHER_UID;
  }
  ck_assert_int_eq(ndnshm_attach(o.f.app, o.fds, &options), 0); /* trusted */
  ck_assert_int_eq(ndnshm_get_stats(o.f.app, &stats), 0);
  ck_assert_uint_eq(stats.sealed, 0);
  options.uid = (uid_t) -1;
  options.flags = NDNSHM_SIGBUS_GUARD;
  ck_assert_int_eq(ndnshm_attach(p.f.app, p.fds, &options), 0);
  face_drop(&o.f);
  face_drop(&p.f);
  offer_drop(&q);
}

/* The size of a region counts only if it was looked at under the seal. */
TEST(region_that_shrinks_right_before_it_is_sealed_is_not_taken_for_sealed) {
  offer_t o = offer(BY_SOCKET);
  ndnshm_stats_t stats;
  int fd = forged_region(&o, o.f.view.geometry.region_bytes, 0);

  ck_assert_int_eq(dup3(fd, o.fds[0], O_CLOEXEC), o.fds[0]);
  close(fd);
  shrinks_fd = o.fds[0];
  if (is_root()) {
    ck_assert_int_eq(fchown(o.fds[0], OTHER_UID, (gid_t) -1), 0);
    ck_assert_int_eq(ndnshm_attach(o.f.app, o.fds, NULL), -EPERM);
    ck_assert_int_eq(shrinks_fd, -1);
    offer_drop(&o);
    return;
  }
  ck_assert_int_eq(ndnshm_attach(o.f.app, o.fds, NULL), 0); /* of our own user, who is trusted */
  ck_assert_int_eq(ndnshm_get_stats(o.f.app, &stats), 0);
  ck_assert_uint_eq(stats.sealed, 0);
  face_drop(&o.f);
}

/* Memory of huge pages can be sealed like any other, but a fault in it may find no page. */
TEST(huge_pages_do_not_count_as_sealed) {
  offer_t o = offer(BY_SOCKET);
  int fd = (int) syscall(SYS_memfd_create, "huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);

  if (fd < 0) {
    offer_drop(&o);
    SKIP("no huge pages here");
  }
  ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
  if (is_root()) {
    ck_assert_int_eq(fchown(fd, OTHER_UID, (gid_t) -1), 0);
    assert_refuses_instead(&o, 0, fd, -EPERM, "fcntl", "not sealed");
  } else {
    close(fd);
  }
  offer_drop(&o);
}

/* --- Where memfd_create is refused ------------------------------------------------------------------ */

TEST_LOOP(without_memfd_the_region_is_a_file_without_a_name, N_PRIVATE) {
  face_t f = face_plan_of(KIND, "nomemfd");
  ndnshm_stats_t stats;
  struct stat st;
  int fds[3];

  memfd_is_refused = true;
  face_create(&f, 4, 100);
  memfd_is_refused = false;
  ck_assert_int_eq(ndnshm_get_stats(f.engine, &stats), 0);
  ck_assert_uint_eq(stats.sealed, 0);
  ck_assert_int_eq(ndnshm_app_fds(f.engine, fds), 0);
  ck_assert_int_eq(fstat(fds[0], &st), 0);
  ck_assert_uint_eq(st.st_nlink, 0);
  ck_assert_int_eq(linkat(fds[0], "", AT_FDCWD, f.shm_path, AT_EMPTY_PATH), -1); /* nor will it ever have one */
  face_join(&f, NULL);
  ck_assert_int_eq(send_text(f.app, "hello"), 5);
  assert_receives(f.engine, "hello");
  face_drop(&f);
}

TEST(engine_sees_an_unsealed_region_truncated) {
  face_t f = face_plan_of(BY_SOCKET, "cut");
  ndnshm_options_t guarded = NDNSHM_OPTIONS_INIT;
  int fds[3];

  memfd_is_refused = true;
  guarded.flags = NDNSHM_SIGBUS_GUARD;
  ck_assert_int_eq(ndnshm_create_private(f.engine, &guarded), 0);
  memfd_is_refused = false;
  face_hand_over(&f, fds);
  ndnshm_app_fds_close(f.engine);
  ck_assert_int_eq(ndnshm_probe(f.engine), 0);
  ck_assert_int_eq(ftruncate(fds[0], 0), 0);
  ck_assert_int_eq(ndnshm_probe(f.engine), -EIO);
  close_fds(fds);
  face_drop(&f);
}
