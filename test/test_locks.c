/* SPDX-License-Identifier: MIT */
/* test_locks.c: apps that misuse what they share with their engine: that hold locks of the kernel while it wants to
 * wake them, to be woken, to seal the region or to remove it, hang thousands of sleepers on the wake-up, pour bytes and
 * urgent bytes into it, or shut half of it down. The longest stay in the loop is what counts: time that the scheduler
 * gave to others does not; time that a call waited does, and a fifth of the time that the loop computed. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <ndnshm.h>

#include "faces.h"
#include "puppet.h"

#define HOLD_MS 100
/* Of a socket, which it does nothing to; else until the face fails, or so many. */
#define HOLDS_TRIED 20
#define HOLDS_MAX 200
#define STAY_MAX_NS (UINT64_C(20000000) * harness_slow())
#define PAGE 4096

/* --- How long a thread was kept --------------------------------------------------------------------- */

/* Nanoseconds that this thread has run; and that it was ready to and did not. */
static void count_time(uint64_t* ret_ran_ns, uint64_t* ret_waited_ns) {
  unsigned long long ran = 0, waited = 0;
  struct timespec cpu;
  FILE* f = fopen("/proc/thread-self/schedstat", "re");

  ck_assert_ptr_nonnull(f);
  ck_assert_int_eq(fscanf(f, "%llu %llu", &ran, &waited), 2);
  fclose(f);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu); /* ran is as old as the last tick */
  *ret_ran_ns = (uint64_t) cpu.tv_sec * 1000000000u + (uint64_t) cpu.tv_nsec;
  *ret_waited_ns = waited;
}

typedef struct stay_s {
  uint64_t began_ns, ran_ns, waited_ns;
} stay_t;

static stay_t stay_begin(void) {
  stay_t stay;

  count_time(&stay.ran_ns, &stay.waited_ns);
  stay.began_ns = harness_now_ns();
  return stay;
}

/* Other processes make a thread wait, and a host that takes the CPU from its guest makes it seem to run: neither is the
 * time that it was kept. But who spins on a lock runs, too: of that a fifth counts. */
static uint64_t stay_end(const stay_t* stay) {
  uint64_t took = harness_now_ns() - stay->began_ns, ran, waited;

  count_time(&ran, &waited);
  ran -= stay->ran_ns;
  waited -= stay->waited_ns;
  took = took > ran + waited ? took - ran - waited : 0;
  return took > ran / 5 ? took : ran / 5;
}

/* A turn of the loop that does not wait by itself; how long it was kept. */
static uint64_t turn_ns(uv_loop_t* loop) {
  stay_t stay = stay_begin();

  uv_run(loop, UV_RUN_NOWAIT);
  return stay_end(&stay);
}

/* --- Pages that come late ---------------------------------------------------------------------------- */

/* Answers a fault when HOLD_MS have passed: as long a copy of the kernel's waits for the page, with the locks it
 * has. */
static void* serve_faults(void* arg) {
  int fd = *(int*) arg;
  struct uffd_msg msg;

  while (read(fd, &msg, sizeof(msg)) == sizeof(msg)) {
    struct uffdio_zeropage zero = {.range = {.start = msg.arg.pagefault.address & ~(uint64_t) (PAGE - 1), .len = PAGE}};

    usleep(HOLD_MS * 1000); /* the time itself is the attack */
    ioctl(fd, UFFDIO_ZEROPAGE, &zero);
  }
  return NULL;
}

static int open_userfaultfd(void) {
  struct uffdio_api api = {.api = UFFD_API};
  int fd = (int) syscall(SYS_userfaultfd, O_CLOEXEC);

  if (fd < 0) return -1;
  if (ioctl(fd, UFFDIO_API, &api) == 0) return fd;
  close(fd);
  return -1;
}

static unsigned char* late_pages(int fd, size_t n) {
  unsigned char* pages = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct uffdio_register registered = {.range = {.len = n * PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};

  if (pages == MAP_FAILED) return NULL;
  registered.range.start = (uintptr_t) pages;
  return ioctl(fd, UFFDIO_REGISTER, &registered) == 0 ? pages : NULL;
}

/* --- The attacker ------------------------------------------------------------------------------------- */

static struct attack_s {
  char name[80];
  puppet_t puppet;
  unsigned char* pages;
  int ready[2];
} attack;

/* Takes what the engine writes into a page that comes late: holds the lock of who reads. */
static void* read_slowly(void* arg) {
  (void) arg;
  for (size_t n = 0; n < HOLDS_MAX; n++)
    while (read(attack.puppet.rx_fd, attack.pages + (HOLDS_MAX + n) * PAGE, 8) < 0 && errno == EAGAIN) usleep(100);
  return NULL;
}

/* Writes from one: holds the lock of who writes. Before, the engine has a reason to look, and to wake us. */
static int attacker_body(void* arg) {
  pthread_t faults, reader;
  char byte;
  size_t holds = faces_kind == BY_SOCKET ? HOLDS_TRIED : HOLDS_MAX;
  int fd = open_userfaultfd();

  (void) arg;
  attack.pages = late_pages(fd, (size_t) 2 * HOLDS_MAX);
  REQUIRE(attack.pages != NULL);
  REQUIRE(pthread_create(&faults, NULL, serve_faults, &fd) == 0);
  REQUIRE(read(attack.ready[1], &byte, 1) == 1); /* the engine is there */
  puppet_attach(&attack.puppet, attack.name);
  REQUIRE(pthread_create(&reader, NULL, read_slowly, NULL) == 0);
  for (size_t n = 0; n < holds && recv(attack.ready[1], &byte, 1, MSG_DONTWAIT) != 1; n++) {
    puppet_store(puppet_word(&attack.puppet, AT_E2A_PARKED), 1);
    puppet_send(&attack.puppet, "echo", 4); /* unless the ring is full by now */
    while (write(attack.puppet.tx_fd, attack.pages + n * PAGE, 8) < 0 && errno == EAGAIN) usleep(100);
  }
  return 0; /* the reader may have nothing more to read */
}

static void echo(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  if (npkts > 0) uvface_try_send_batch(face, pkts, (unsigned int) npkts);
  if (npkts < 0) *(int*) face->data = (int) npkts;
}

static void echo_to_attacker(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  echo(face, npkts, pkts);
  if (npkts < 0) ck_assert_int_eq(send(attack.ready[0], "e", 1, MSG_NOSIGNAL), 1);
}

static void open_engine(uv_loop_t* loop, uvface_t* engine, int* ended, const char* name) {
  *ended = 0;
  ASSERT_OK(uv_loop_init(loop));
  ASSERT_OK(uvface_init(loop, engine));
  engine->data = ended;
  ASSERT_OK(face_create(engine, name, NULL));
}

/* Turns the loop as long as the child lives; the longest turn. */
static uint64_t longest_turn_ns(uv_loop_t* loop, pid_t pid) {
  uint64_t longest_ns = 0;
  int status = -1;

  while (waitpid(pid, &status, WNOHANG) == 0) {
    uint64_t ns = turn_ns(loop);

    if (ns > longest_ns) longest_ns = ns;
  }
  ck_assert_int_eq(status, 0);
  return longest_ns;
}

/* A socket has no lock that both ends share. Pipes have one, and so have FIFOs: who makes use of it is not served for
 * long, and until then the loop waits. */
TEST_LOOP(app_that_holds_locks_holds_the_loop_four_times_at_most, N_KINDS) {
  uint64_t longest_ns;
  uv_loop_t loop;
  uvface_t engine;
  int ended, fd = open_userfaultfd();
  pid_t pid;

  if (fd < 0) SKIP("no userfaultfd here");
  close(fd);
  faces_kind = (kind_t) _i;
  snprintf(attack.name, sizeof(attack.name), "%s", harness_name("locks"));
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, attack.ready), 0);
  pid = harness_fork(attacker_body, NULL); /* before it could inherit the engine's end */
  open_engine(&loop, &engine, &ended, attack.name);
  ASSERT_OK(uvface_recv_start(&engine, echo_to_attacker));
  ck_assert_int_eq(write(attack.ready[0], "g", 1), 1);
  longest_ns = longest_turn_ns(&loop, pid);
  RUN_UNTIL(&loop, ended != 0);
  if (faces_kind == BY_SOCKET) {
    ck_assert_int_eq(ended, UV_EOF);
    ck_assert_uint_ge(stats_of(&engine).rx_packets, HOLDS_TRIED);
    ck_assert_msg(longest_ns < STAY_MAX_NS, "%llu us in a turn", (unsigned long long) longest_ns / 1000);
  } else {
    ck_assert_int_eq(ended, UV_EIO);
    ck_assert_ptr_nonnull(strstr(uvface_errmsg(&engine), ": 3 slow calls took "));
    ck_assert_msg(longest_ns > HOLD_MS / 2 * 1000000, "%llu us: the attack is none",
                  (unsigned long long) longest_ns / 1000);
  }
  uvface_close(&engine, NULL);
  finish_loop(&loop);
  close(attack.ready[0]);
  close(attack.ready[1]);
}

/* --- Thousands of sleepers ------------------------------------------------------------------------------ */

/* So many epoll instances watch each of so many duplicates: each byte costs whoever writes it milliseconds. */
#define EPOLLS 250
#define DUPLICATES 250
/* A slow call takes more than 1 ms, and 10 ms together are enough; one may only make suspicious. */
#define SLOW_CALLS_MAX (1 + 10)

typedef struct bomb_s {
  int epolls[EPOLLS];
  int duplicates[DUPLICATES];
} bomb_t;

static void bomb_hang_on(bomb_t* bomb, int fd, uint32_t events) {
  for (int i = 0; i < DUPLICATES; i++) {
    bomb->duplicates[i] = dup(fd);
    ck_assert_int_ge(bomb->duplicates[i], 0);
  }
  for (int e = 0; e < EPOLLS; e++) {
    struct epoll_event event = {.events = events};

    bomb->epolls[e] = epoll_create1(EPOLL_CLOEXEC);
    ck_assert_int_ge(bomb->epolls[e], 0);
    for (int i = 0; i < DUPLICATES; i++)
      ck_assert_int_eq(epoll_ctl(bomb->epolls[e], EPOLL_CTL_ADD, bomb->duplicates[i], &event), 0);
  }
}

static void bomb_drop(bomb_t* bomb) {
  for (int e = 0; e < EPOLLS; e++) close(bomb->epolls[e]);
  for (int i = 0; i < DUPLICATES; i++) close(bomb->duplicates[i]);
}

/* A packet that is to be answered by one that wakes. Or the engine is woken, and its reading makes room. */
static void provoke(puppet_t* app, bool by_reading) {
  static char bytes[4096];
  char text[16];

  while (puppet_take(app, text, sizeof(text)) >= 0) continue;
  puppet_store(puppet_word(app, AT_E2A_PARKED), 1);
  puppet_send(app, "echo", 4);
  while (by_reading && puppet_write(app, bytes, sizeof(bytes)) > 0) continue;
  while (by_reading && puppet_write(app, bytes, 1) > 0) continue;
}

TEST_LOOP(app_whose_bytes_wake_thousands_fails_alone, (int) N_KINDS * 2) {
  bool by_reading = _i % 2 == 1;
  int ended = 0;
  uvface_t engine;
  bomb_t* bomb;
  char byte = 'x';
  uv_buf_t packet = uv_buf_init(&byte, 1);
  puppet_t app;
  pair_t others;
  uint64_t end_ns;

  if (harness_under_valgrind()) SKIP("needs hundreds of descriptors");
  bomb = malloc(sizeof(*bomb));
  faces_kind = (kind_t) (_i / 2);
  pair_open(&others, NULL);
  ASSERT_OK(uvface_recv_start(&others.engine, echo));
  ASSERT_OK(uvface_init(&others.loop, &engine));
  engine.data = &ended;
  ASSERT_OK(face_create(&engine, harness_name("bomb"), NULL));
  puppet_attach(&app, harness_name("bomb"));
  ASSERT_OK(uvface_recv_start(&engine, echo));
  bomb_hang_on(bomb, by_reading ? app.tx_fd : app.rx_fd, by_reading ? EPOLLOUT : EPOLLIN);
  end_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000;
  while (ended == 0 && harness_now_ns() < end_ns) {
    provoke(&app, by_reading);
    uv_run(&others.loop, UV_RUN_NOWAIT);
  }
  ck_assert_int_eq(ended, UV_EIO);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&engine), "slow calls took"));
  if (faces_kind != BY_SOCKET) /* whose waiters are the same for both directions */
    ck_assert_ptr_nonnull(strstr(uvface_errmsg(&engine), by_reading ? "recv_cb: read " : "recv_cb: write "));
  if (!by_reading) ck_assert_uint_le(stats_of(&engine).wakeups_sent, SLOW_CALLS_MAX);
  ck_assert_int_eq(uvface_try_send(&others.app, &packet, 1), 1);
  RUN_UNTIL(&others.loop, stats_of(&others.engine).rx_packets == 1);
  bomb_drop(bomb);
  free(bomb);
  puppet_drop(&app);
  uvface_close(&engine, NULL);
  pair_close(&others);
}

/* --- Who writes to the region for long ------------------------------------------------------------------ */

/* A process that writes to a file from a page that comes when it is told to, or when it has given up on us: as long it
 * holds the lock of the file, and unlink() waits for that while it holds the directory's. */
typedef struct holder_s {
  char path[128];
  int orders[2];
  pid_t pid;
  int uffd;
} holder_t;

#define HOLD_MAX_MS DEADLINE_MS
#define HOLD_MAX_NS ((uint64_t) HOLD_MAX_MS * 1000000)

static void* serve_one_fault(void* arg) {
  const holder_t* h = arg;
  struct pollfd order = {.fd = h->orders[1], .events = POLLIN};
  struct uffdio_zeropage zero = {.range = {.len = PAGE}};
  struct uffd_msg msg;

  if (read(h->uffd, &msg, sizeof(msg)) != sizeof(msg)) return NULL;
  zero.range.start = msg.arg.pagefault.address & ~(uint64_t) (PAGE - 1);
  if (write(h->orders[1], "h", 1) == 1) poll(&order, 1, HOLD_MAX_MS);
  ioctl(h->uffd, UFFDIO_ZEROPAGE, &zero);
  return NULL;
}

static int holder_body(void* arg) {
  holder_t* h = arg;
  unsigned char* page;
  pthread_t faults;
  char byte;
  off_t end;
  int fd;

  h->uffd = open_userfaultfd();
  page = late_pages(h->uffd, 1);
  REQUIRE(read(h->orders[1], &byte, 1) == 1); /* the file is there */
  fd = open(h->path, O_RDWR | O_CLOEXEC);
  end = lseek(fd, 0, SEEK_END);
  REQUIRE(fd >= 0 && page != NULL);
  REQUIRE(pthread_create(&faults, NULL, serve_one_fault, h) == 0);
  if (end < 0) /* a FIFO */
    REQUIRE(write(fd, page, 8) == 8);
  else
    REQUIRE(pwrite(fd, page, 8, end - 8) == 8); /* where the last slot is, which nobody uses */
  return pthread_join(faults, NULL);
}

/* Before there is anything that a child could inherit. */
static void holder_start(holder_t* h, const char* path) {
  snprintf(h->path, sizeof(h->path), "%s", path);
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, h->orders), 0);
  h->pid = harness_fork(holder_body, h);
}

/* From now on the lock is held. */
static void hold(const holder_t* h) {
  char byte;

  ck_assert_int_eq(write(h->orders[0], "g", 1), 1);
  ck_assert_int_eq(read(h->orders[0], &byte, 1), 1);
}

static void let_go(holder_t* h) {
  ck_assert_int_eq(write(h->orders[0], "g", 1), 1);
  ck_assert_int_eq(harness_wait(h->pid, DEADLINE_MS), 0);
  close(h->orders[0]);
  close(h->orders[1]);
}

/* A face with an app that is moved by hand, and on the same loop a pair that goes on meanwhile. */
typedef struct beside_s {
  pair_t pair;
  uvface_t engine;
  puppet_t app;
  holder_t holder;
  char name[80];
  int echoes, ended, closed;
  uint64_t longest_ns;
} beside_t;

static void count_echo(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  beside_t* b = face->data;

  (void) pkts;
  if (npkts > 0) b->echoes += (int) npkts;
}

static void note_closed(uvface_t* face) {
  beside_t* b = face->data;

  b->closed = 1;
}

static void reply(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  if (npkts > 0) uvface_try_send_batch(face, pkts, (unsigned int) npkts);
}

static void open_beside(beside_t* b) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;

  faces_kind = NAMED;
  options.capacity = 16;
  *b = (beside_t){.ended = 0};
  snprintf(b->name, sizeof(b->name), "%s", harness_name("held"));
  holder_start(&b->holder, harness_shm_path(b->name));
  pair_open(&b->pair, &options);
  b->pair.app.data = b;
  ASSERT_OK(uvface_recv_start(&b->pair.engine, reply));
  ASSERT_OK(uvface_recv_start(&b->pair.app, count_echo));
  ASSERT_OK(uvface_init(&b->pair.loop, &b->engine));
  ASSERT_OK(uvface_create(&b->engine, b->name, &options));
  ASSERT_OK(uvface_recv_start(&b->engine, reply));
  b->engine.data = b;
  hold(&b->holder);
  puppet_attach(&b->app, b->name);
}

static void note_stay(beside_t* b, uint64_t ns) {
  if (ns > b->longest_ns) b->longest_ns = ns;
}

/* One turn. */
static void turn(beside_t* b) {
  note_stay(b, turn_ns(&b->pair.loop));
}

/* The pair goes on: so many round trips, while the lock is held all the time. */
static void assert_goes_on(beside_t* b) {
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  uint64_t end_ns = harness_now_ns() + HOLD_MAX_NS;

  for (int n = 0; n < 100; n++) {
    b->echoes = 0;
    ck_assert_int_eq(uvface_try_send(&b->pair.app, &buf, 1), 1);
    while (b->echoes == 0 && harness_now_ns() < end_ns) turn(b);
    ck_assert_int_eq(b->echoes, 1);
  }
}

static void assert_was_not_held(const beside_t* b) {
  ck_assert_msg(b->longest_ns < STAY_MAX_NS, "%llu us in a turn", (unsigned long long) b->longest_ns / 1000);
}

static bool took_echo(puppet_t* app) {
  char text[8];

  return puppet_take(app, text, sizeof(text)) == 4 && memcmp(text, "echo", 4) == 0;
}

/* And the own face, too. */
static void assert_serves_meanwhile(beside_t* b) {
  bool echoed = false;

  ck_assert(puppet_send(&b->app, "echo", 4));
  for (uint64_t end_ns = harness_now_ns() + HOLD_MAX_NS; !echoed && harness_now_ns() < end_ns;) {
    turn(b);
    echoed = took_echo(&b->app);
  }
  ck_assert(echoed);
}

static uint64_t close_ns(beside_t* b) {
  stay_t stay = stay_begin();

  uvface_close(&b->engine, note_closed);
  return stay_end(&stay);
}

static void close_beside(beside_t* b) {
  puppet_drop(&b->app);
  pair_close(&b->pair);
  ck_assert(!exists(harness_shm_path(b->name)) && !exists(harness_a2e_path(b->name)) &&
            !exists(harness_e2a_path(b->name)));
}

static bool has_ended(const puppet_t* app) {
  char bytes[64];
  ssize_t n;

  while ((n = read(app->rx_fd, bytes, sizeof(bytes))) > 0) continue;
  return n == 0;
}

TEST(app_that_writes_to_the_region_for_long_does_not_hold_the_loop_that_seals_it) {
  beside_t b;
  int fd = open_userfaultfd();

  if (fd < 0) SKIP("no userfaultfd here");
  close(fd);
  if (!harness_may_seal()) SKIP("needs CAP_LINUX_IMMUTABLE");
  open_beside(&b);
  assert_serves_meanwhile(&b);
  assert_goes_on(&b);
  assert_serves_meanwhile(&b);
  ck_assert_uint_eq(stats_of(&b.engine).sealed, 0);
  ck_assert(exists(harness_shm_path(b.name)));
  let_go(&b.holder);
  RUN_UNTIL(&b.pair.loop, stats_of(&b.engine).sealed == 1);
  ck_assert(!exists(harness_shm_path(b.name)));
  assert_was_not_held(&b);
  uvface_close(&b.engine, note_closed);
  RUN_UNTIL(&b.pair.loop, b.closed);
  close_beside(&b);
}

/* _i: while its region is being sealed, or while it has a name. The app sees the end at once; the close callback comes
 * when the names are gone. */
TEST_LOOP(app_that_writes_to_the_region_for_long_does_not_hold_the_loop_that_closes_the_face, 2) {
  beside_t b;
  int fd = open_userfaultfd();

  if (fd < 0) SKIP("no userfaultfd here");
  close(fd);
  if (_i == 0 && !harness_may_seal()) SKIP("needs CAP_LINUX_IMMUTABLE");
  if (_i == 1) harness_forbid_sealing();
  open_beside(&b);
  assert_serves_meanwhile(&b);
  assert_goes_on(&b); /* the face has slept: who seals it is waiting */
  note_stay(&b, close_ns(&b));
  assert_goes_on(&b);
  RUN_UNTIL(&b.pair.loop, has_ended(&b.app) && !exists(harness_a2e_path(b.name)));
  ck_assert(exists(harness_shm_path(b.name)));
  ck_assert_int_eq(b.closed, 0);
  let_go(&b.holder);
  RUN_UNTIL(&b.pair.loop, b.closed);
  ck_assert(!exists(harness_shm_path(b.name)));
  assert_was_not_held(&b);
  close_beside(&b);
}

/* Nor does it keep the loop from ending: the callback comes after all, and the name goes when it can. */
TEST_LOOP(app_that_never_stops_writing_does_not_keep_the_face_from_closing, 2) {
  beside_t b;
  int fds = harness_count_fds(), fd = open_userfaultfd();

  if (fd < 0) SKIP("no userfaultfd here");
  close(fd);
  if (_i == 0 && !harness_may_seal()) SKIP("needs CAP_LINUX_IMMUTABLE");
  if (_i == 1) harness_forbid_sealing();
  open_beside(&b);
  assert_serves_meanwhile(&b);
  assert_goes_on(&b); /* the face has slept: who seals it is waiting */
  note_stay(&b, close_ns(&b));
  while (!b.closed) turn(&b);
  assert_goes_on(&b);
  assert_was_not_held(&b);
  ck_assert(exists(harness_shm_path(b.name)));
  uvface_close(&b.pair.app, NULL);
  uvface_close(&b.pair.engine, NULL);
  finish_loop(&b.pair.loop); /* all are closed */
  let_go(&b.holder);
  puppet_drop(&b.app);
  for (uint64_t end_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000;
       harness_count_fds() > fds && harness_now_ns() < end_ns;)
    usleep(1000);
  ck_assert(!exists(harness_shm_path(b.name)));
}

/* --- Those who come after a dead engine ------------------------------------------------------------------ */

static int be_engine(void* name) {
  ndnshm_t* ep;

  REQUIRE(ndnshm_new(&ep) == 0 && ndnshm_create(ep, name, NULL) == 0);
  raise(SIGSTOP);
  return 1;
}

/* An engine whose region is sealed: that has no name to tell by. */
static pid_t engine_start(const char* name) {
  pid_t pid = harness_fork(be_engine, (void*) (uintptr_t) name);

  ck_assert(harness_wait_state(pid, 'T', DEADLINE_MS));
  ck_assert_int_eq(unlink(harness_shm_path(name)), 0);
  ck_assert_int_eq(chmod(harness_a2e_path(name), S_ISVTX | 0600), 0);
  return pid;
}

static void assert_short_stay(const stay_t* stay, const char* call) {
  uint64_t took = stay_end(stay);

  ck_assert_msg(took < STAY_MAX_NS, "%s: %llu us", call, (unsigned long long) took / 1000);
}

/* The directory of the FIFOs tells that it is dead, and that it lives. While the lock is held it would not even die. */
TEST(app_that_holds_the_lock_of_a_fifo_does_not_hold_who_comes_after_its_engine) {
  char name[80];
  holder_t before, after;
  ndnshm_t* heir;
  pid_t pid;
  stay_t stay;
  int fd = open_userfaultfd();

  if (fd < 0) SKIP("no userfaultfd here");
  close(fd);
  snprintf(name, sizeof(name), "%s", harness_name("heir"));
  holder_start(&before, harness_a2e_path(name));
  holder_start(&after, harness_a2e_path(name));
  pid = engine_start(name);
  ck_assert_int_eq(ndnshm_new(&heir), 0);
  hold(&before);
  stay = stay_begin();
  ck_assert_int_eq(ndnshm_create(heir, name, NULL), -EADDRINUSE);
  ck_assert_int_eq(ndnshm_sweep(name, NDNSHM_SWEEP_REMOVE, NULL, NULL), -EADDRINUSE);
  assert_short_stay(&stay, "while it lives");
  let_go(&before);
  harness_kill(pid);
  hold(&after);
  stay = stay_begin();
  ck_assert_int_eq(ndnshm_sweep(name, 0, NULL, NULL), 3);
  assert_short_stay(&stay, "sweep");
  stay = stay_begin();
  ck_assert_msg(ndnshm_create(heir, name, NULL) == 0, "%s", ndnshm_errmsg(heir));
  assert_short_stay(&stay, "create");
  ndnshm_free(heir);
  let_go(&after);
}

/* A FIFO that the app itself made, in the engine's place. */
TEST(fifo_of_the_app_that_the_engine_is_to_serve_is_not_opened) {
  stay_t stay;
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  char name[80];
  holder_t holder;
  ndnshm_t* engine;
  int fd = open_userfaultfd();

  if (fd < 0) SKIP("no userfaultfd here");
  close(fd);
  if (!is_root()) SKIP("needs root, to have a FIFO of another user");
  snprintf(name, sizeof(name), "%s", harness_name("own"));
  holder_start(&holder, harness_a2e_path(name));
  ck_assert_int_eq(mkfifo(harness_a2e_path(name), 0600), 0);
  ck_assert_int_eq(lchown(harness_a2e_path(name), OTHER_UID, (gid_t) -1), 0);
  hold(&holder);
  options.uid = OTHER_UID;
  ck_assert_int_eq(ndnshm_new(&engine), 0);
  stay = stay_begin();
  ck_assert_int_eq(ndnshm_create(engine, name, &options), -EADDRINUSE);
  assert_short_stay(&stay, "create");
  ck_assert_ptr_nonnull(strstr(ndnshm_errmsg(engine), harness_a2e_path(name)));
  ck_assert_ptr_nonnull(strstr(ndnshm_errmsg(engine), "could make wait"));
  ck_assert_int_eq(unlink(harness_a2e_path(name)), 0);
  ndnshm_free(engine);
  let_go(&holder);
}

/* A child that is forked meanwhile has no copy of the thread, and does not wait for it. */
TEST(child_that_is_forked_meanwhile_closes_its_copy_and_leaves_the_face_alone) {
  beside_t b;
  int fd = open_userfaultfd(), status;
  pid_t pid;

  if (fd < 0) SKIP("no userfaultfd here");
  close(fd);
  if (!harness_may_seal()) SKIP("needs CAP_LINUX_IMMUTABLE");
  open_beside(&b);
  assert_serves_meanwhile(&b);
  pid = fork();
  if (pid == 0) {
    int bad = uv_loop_fork(&b.pair.loop);

    uvface_close(&b.engine, note_closed);
    uvface_close(&b.pair.app, NULL);
    uvface_close(&b.pair.engine, NULL);
    bad |= uv_run(&b.pair.loop, UV_RUN_DEFAULT) | uv_loop_close(&b.pair.loop);
    _exit(bad != 0 || !b.closed || !exists(harness_a2e_path(b.name)));
  }
  status = harness_wait(pid, DEADLINE_MS);
  ck_assert_int_eq(status, 0);
  assert_serves_meanwhile(&b);
  let_go(&b.holder);
  RUN_UNTIL(&b.pair.loop, stats_of(&b.engine).sealed == 1);
  uvface_close(&b.engine, note_closed);
  RUN_UNTIL(&b.pair.loop, b.closed);
  close_beside(&b);
}

/* --- Floods and halves ---------------------------------------------------------------------------------- */

typedef struct scene_s {
  uv_loop_t loop;
  uvface_t engine;
  puppet_t app;
  bool has_echoed;
  int ended;
} scene_t;

static void open_scene(scene_t* s) {
  faces_kind = BY_SOCKET;
  open_engine(&s->loop, &s->engine, &s->ended, harness_name("scene"));
  puppet_attach(&s->app, harness_name("scene"));
  ASSERT_OK(uvface_recv_start(&s->engine, echo));
}

static void close_scene(scene_t* s) {
  puppet_drop(&s->app);
  RUN_UNTIL(&s->loop, s->ended != 0);
  ck_assert_int_eq(s->ended, UV_EOF);
  uvface_close(&s->engine, NULL);
  finish_loop(&s->loop);
}

/* May be asked again. */
static bool has_echoed(scene_t* s) {
  char text[8];

  if (puppet_take(&s->app, text, sizeof(text)) == 4 && memcmp(text, "echo", 4) == 0) s->has_echoed = true;
  return s->has_echoed;
}

static void assert_serves(scene_t* s) {
  s->has_echoed = false;
  ck_assert(puppet_send(&s->app, "echo", 4));
  RUN_UNTIL(&s->loop, has_echoed(s));
}

/* _i: bytes, urgent bytes (which recv() does not even count), and descriptors. */
static ssize_t pour(const scene_t* s, int what) {
  static char bytes[65536];
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec v = {bytes, 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);

  if (what == 0) return send(s->app.tx_fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (what == 1) return send(s->app.tx_fd, bytes, 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &s->app.tx_fd, sizeof(int));
  return sendmsg(s->app.tx_fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

TEST_LOOP(what_an_app_pours_into_its_socket_is_bounded_and_goes_nowhere, 3) {
  uint64_t longest_ns = 0;
  bool throttled = false;
  scene_t s;
  int fds;

  open_scene(&s);
  assert_serves(&s);
  fds = harness_count_fds();
  for (int turn = 0; turn < 3000; turn++) {
    uint64_t ns;

    pour(&s, _i);
    ns = turn_ns(&s.loop);
    if (ns > longest_ns) longest_ns = ns;
    throttled = throttled || stats_of(&s.engine).throttled != 0;
  }
  ck_assert_int_eq(harness_count_fds(), fds);
  ck_assert_msg(longest_ns < STAY_MAX_NS, "%llu us in a turn", (unsigned long long) longest_ns / 1000);
  ck_assert_msg(throttled || (_i == 2 && pour(&s, _i) < 0), "each costs a turn"); /* or the kernel refuses them */
  assert_serves(&s);
  close_scene(&s);
}

/* _i: who reads no more is not woken, and that is all; who writes no more is gone for us. */
TEST_LOOP(socket_that_is_shut_down_by_half_is_no_trouble, 2) {
  scene_t s;

  open_scene(&s);
  assert_serves(&s);
  ck_assert_int_eq(shutdown(s.app.tx_fd, _i == 0 ? SHUT_RD : SHUT_WR), 0);
  if (_i == 0) {
    puppet_store(puppet_word(&s.app, AT_E2A_PARKED), 1);
    assert_serves(&s);
    ck_assert_int_eq(s.ended, 0);
  } else {
    RUN_UNTIL(&s.loop, s.ended != 0);
  }
  run_asleep(&s.loop, 300);
  close_scene(&s);
}

/* Whose bytes then come with credentials. */
TEST(app_that_wants_credentials_gets_its_bytes) {
  const int on = 1;
  char bytes[64];
  scene_t s;

  open_scene(&s);
  ck_assert_int_eq(setsockopt(s.app.rx_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
  puppet_store(puppet_word(&s.app, AT_E2A_PARKED), 1);
  assert_serves(&s);
  run_for(&s.loop, 1); /* a wake-up that was put off */
  ck_assert_int_eq(recv(s.app.rx_fd, bytes, sizeof(bytes), MSG_DONTWAIT), 1);
  close_scene(&s);
}
