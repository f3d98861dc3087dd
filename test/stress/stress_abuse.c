/* SPDX-License-Identifier: MIT */
/* stress_abuse.c: villains who keep to the protocol, more or less, and misuse what the kernel shares between them and
 * the engine: the locks, the wait queue and the signals of what they wake each other by, and the memory of the region.
 * All of it is on their own private face. Each counts its blows, and what ought to have been refused and was not. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "raw_face.h"
#include "stress.h"

#define PAGE ((size_t) 4096)
#define SLOW_BYTES ((size_t) 256 << 20) /* that a punch takes some time for */

enum {
  SLEEPERS = 15000,
  SIGNALLED = 100,
  FEW = STRESS_SLEEPERS_FD + 10, /* descriptors for other things */
  ROUND_US = 2000,
  ANSWERS_MS = 50,
  BATCH = 64
};

static struct villain_s {
  stress_board_t* board;
  raw_face_t face;
  int faults;          /* descriptor of the kernel's questions for pages; -1: none, pages are punched instead */
  unsigned char* late; /* pages that come late */
  int slow_fd;         /* the file that is punched */
  stress_word_t punching;
} me;

static bool lives(void) {
  return !stress_stopped_by_stage(me.board) && !raw_ended(&me.face, 0);
}

static void strike(void) {
  stress_add(&me.board->struck, 1);
  atomic_store(&me.board->ready, 1);
}

static void must_be_refused(bool refused, const char* what) {
  if (refused) return;
  stress_add(&me.board->breaches[0], 1);
  stress_say(me.board, "villain of place %u: %s was allowed", me.board->place, what);
}

/* Has the engine read, answer and wake us. */
static void ask(uint32_t packets) {
  raw_store(&me.face, RAW_E2A_PARKED, 1);
  for (uint32_t i = 0; i < packets && raw_has_room(&me.face); i++) raw_push(&me.face, 64);
  raw_ring(&me.face);
}

static bool start_thread(void* (*body)(void*) ) {
  pthread_t thread;
  return pthread_create(&thread, NULL, body, NULL) == 0 && pthread_detach(thread) == 0;
}

/* --- Holding locks ----------------------------------------------------------------------------- */

/* Answers a question for a page when STRESS_HOLD_MS have passed: as long a copy of the kernel's waits for it, with the
 * locks that it has. */
static void* serve_faults(void* arg) {
  struct uffd_msg msg;
  while (read(me.faults, &msg, sizeof(msg)) == sizeof(msg)) {
    struct uffdio_zeropage zero = {.range = {msg.arg.pagefault.address & ~(uint64_t) (PAGE - 1), PAGE}};
    stress_nap(STRESS_HOLD_MS * 1000);
    ioctl(me.faults, UFFDIO_ZEROPAGE, &zero);
  }
  return arg;
}

/* Where a user may not answer for pages: who needs one of a file while it is punched waits until that is done. */
static void* punch_for_ever(void* arg) {
  for (;;) {
    atomic_store(&me.punching, 0);
    if (fallocate(me.slow_fd, 0, 0, (off_t) SLOW_BYTES) != 0) stress_nap(ROUND_US);
    atomic_store(&me.punching, 1);
    fallocate(me.slow_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t) SLOW_BYTES);
  }
  return arg;
}

/* Two pages, one for each direction. To be asked for as root, where it was root that started this. */
static bool make_late_pages_by_faults(void) {
  struct uffdio_api api = {.api = UFFD_API};
  me.faults = (int) syscall(SYS_userfaultfd, O_CLOEXEC);
  if (me.faults < 0 || ioctl(me.faults, UFFDIO_API, &api) != 0) return false;
  void* at = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct uffdio_register range = {.range = {(uintptr_t) at, 2 * PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
  if (at == MAP_FAILED || ioctl(me.faults, UFFDIO_REGISTER, &range) != 0) return false;
  me.late = at;
  return start_thread(serve_faults);
}

static bool make_late_pages_by_punching(void) {
  me.faults = -1;
  me.slow_fd = memfd_create("slow", MFD_CLOEXEC);
  if (me.slow_fd < 0 || ftruncate(me.slow_fd, (off_t) SLOW_BYTES) != 0) return false;
  void* at = mmap(NULL, SLOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, me.slow_fd, 0);
  if (at == MAP_FAILED) return false;
  me.late = (unsigned char*) at + SLOW_BYTES - 2 * PAGE;
  return start_thread(punch_for_ever);
}

static bool make_late_pages(void) {
  return make_late_pages_by_faults() || make_late_pages_by_punching();
}

/* A page that is not there now. */
static void* late_page(size_t which) {
  unsigned char* at = me.late + which * PAGE;
  if (me.faults >= 0) madvise(at, PAGE, MADV_DONTNEED);
  while (me.faults < 0 && atomic_load(&me.punching) == 0) stress_nap(100);
  return at;
}

static void* read_slowly(void* arg) {
  while (lives())
    if (read(me.face.e2a, late_page(1), 8) < 0) stress_nap(ROUND_US);
  return arg;
}

/* Writes from a page that comes late and, in another thread, reads into one. */
int stress_hold(stress_board_t* board, const char* name) {
  me.board = board;
  bool good = make_late_pages();
  if (!stress_take_face(board, &me.face, name)) return 1;
  if (!good || !start_thread(read_slowly)) {
    stress_say(board, "villain of place %u: no pages that come late: %s", board->place, strerror(errno));
    return 1;
  }
  while (lives()) {
    ask(1);
    strike();
    if (write(me.face.a2e, late_page(0), 8) < 0) stress_nap(ROUND_US);
    stress_swallow(&me.face);
  }
  return 0; /* with threads that hang in the face: the process ends, and it with it */
}

/* --- Wake-up bombs ----------------------------------------------------------------------------- */

bool stress_gather_sleepers(const raw_face_t* f) {
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return false;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  rlim_t n = files.rlim_cur < SLEEPERS + FEW ? files.rlim_cur - FEW : SLEEPERS;
  int low = epoll_create1(EPOLL_CLOEXEC), epoll = fcntl(low, F_DUPFD_CLOEXEC, STRESS_SLEEPERS_FD);
  close(low);
  for (rlim_t i = 0; i < n; i++) {
    struct epoll_event event = {.events = EPOLLIN};
    int fd = fcntl(f->e2a, F_DUPFD_CLOEXEC, STRESS_SLEEPERS_FD);
    if (fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) return i > 0;
  }
  return true;
}

/* A group of processes, each of which is sent a signal by each byte. It is ours alone; the signal is blocked. */
static bool gather_signalled(void) {
  sigset_t all;
  pid_t parent = getpid();
  sigfillset(&all);
  if (setpgid(0, 0) != 0 || sigprocmask(SIG_BLOCK, &all, NULL) != 0) return false;
  for (int i = 0; i < SIGNALLED; i++) {
    pid_t pid = fork();
    if (pid < 0) break; /* by a limit: those that there are must do */
    if (pid > 0) continue;
    raw_close(&me.face);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (getppid() == parent) pause();
    _exit(0);
  }
  return fcntl(me.face.e2a, F_SETOWN, -getpgrp()) == 0 && fcntl(me.face.e2a, F_SETFL, O_NONBLOCK | O_ASYNC) == 0;
}

/* Says without end that it sleeps. */
static void* sleep_for_ever(void* arg) {
  while (lives()) raw_store(&me.face, RAW_E2A_PARKED, 1);
  return arg;
}

int stress_bomb(stress_board_t* board, const char* name) {
  char bytes[4096];
  me.board = board;
  if (!stress_take_face(board, &me.face, name)) return 1;
  if (!gather_signalled() || !stress_gather_sleepers(&me.face) || !start_thread(sleep_for_ever)) {
    stress_say(board, "villain of place %u: nobody to wake: %s", board->place, strerror(errno));
    return 1;
  }
  while (lives()) {
    uint32_t tail = raw_load(&me.face, RAW_E2A_TAIL);
    ask(BATCH);
    strike();
    for (int ms = 0; ms < ANSWERS_MS && raw_load(&me.face, RAW_E2A_TAIL) - tail < BATCH; ms++) stress_nap(1000);
    stress_swallow(&me.face);
    while (read(me.face.e2a, bytes, sizeof(bytes)) > 0) continue;
    stress_nap(ROUND_US);
  }
  return 0;
}

/* --- The region's memory ----------------------------------------------------------------------- */

static void try_sizes(void) {
  static const int seals[] = {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_SEAL};
  const off_t bytes = (off_t) me.face.bytes, sizes[] = {0, 1, RAW_HEADER_BYTES, bytes - 1, bytes + 1, bytes * 1024};
  char path[64];
  for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
    must_be_refused(ftruncate(me.face.fd, sizes[i]) != 0, "changing the size of the region");
  must_be_refused(fallocate(me.face.fd, 0, bytes, bytes * 1024) != 0, "growing the region");
  must_be_refused(pwrite(me.face.fd, "x", 1, bytes) != 1, "writing behind the region");
  for (size_t i = 0; i < sizeof(seals) / sizeof(*seals); i++)
    must_be_refused(fcntl(me.face.fd, F_ADD_SEALS, seals[i]) != 0, "sealing the region once more");
  snprintf(path, sizeof(path), "/proc/self/fd/%d", me.face.fd);
  must_be_refused(truncate(path, 0) != 0, "truncating the region by its name in /proc");
}

/* All pages go, and what stood in the header is back at once: an access of the engine's waits for it, or finds
 * zeros. */
static void punch(void) {
  unsigned char header[RAW_HEADER_BYTES];
  memcpy(header, me.face.base, sizeof(header));
  fallocate(me.face.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t) me.face.bytes);
  memcpy(me.face.base, header, sizeof(header));
}

static void punch_behind_the_header(void) {
  for (size_t at = PAGE; at < me.face.bytes; at += PAGE) madvise(me.face.base + at, PAGE, MADV_REMOVE);
}

int stress_punch(stress_board_t* board, const char* name) {
  me.board = board;
  if (!stress_take_face(board, &me.face, name)) return 1;
  for (unsigned int round = 1; lives(); round++) {
    try_sizes();
    for (int i = 0; i < 20 && lives(); i++) {
      ask(1);
      strike();
      punch_behind_the_header();
      if (i % 10 == 9) punch();
      stress_swallow(&me.face);
      stress_nap(1000); /* to ask for more is an app's good right, and no harm by what it punches */
    }
  }
  raw_close(&me.face);
  return stress_get(&board->breaches[0]) > 0;
}

/* --- What is not a byte ------------------------------------------------------------------------ */

static void send_descriptor(int fd) {
  char byte = 'x';
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control = {.bytes = {0}};
  struct iovec v = {&byte, 1};
  struct msghdr m = {
      .msg_iov = &v, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(fd));
  memcpy(CMSG_DATA(c), &fd, sizeof(fd));
  sendmsg(me.face.a2e, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Urgent bytes, which recv() does not even count, descriptors, and its own end among them, which is a cycle. In the end
 * it reads no more, and is there still. */
int stress_pour(stress_board_t* board, const char* name) {
  me.board = board;
  if (!stress_take_face(board, &me.face, name)) return 1;
  while (lives()) {
    ask(1);
    strike();
    for (int i = 0; i < BATCH; i++) send(me.face.a2e, "x", 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL);
    for (int i = 0; i < BATCH; i++) send_descriptor(i % 2 == 0 ? me.face.a2e : me.face.fd);
    stress_swallow(&me.face);
    if (stress_get(&board->struck) == BATCH) shutdown(me.face.e2a, SHUT_RD);
  }
  raw_close(&me.face);
  return 0;
}
