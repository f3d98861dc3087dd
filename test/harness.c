/* SPDX-License-Identifier: MIT */
/* harness.c: see harness.h. Linux: reads /proc and /dev/shm. */
#include "harness.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef HARNESS_UV
#include <uv.h>
#endif

#define BUFFERS 8
#define MAX_TESTS 1000

/* What the processes of the tests tell the one that prints. */
typedef struct board_s {
  unsigned int begun;          /* tests, so far */
  char skipped[MAX_TESTS][80]; /* why; "" = it was not */
} board_t;

static board_t* board;

static int fds_before, threads_before;

extern void __gcov_dump(void) __attribute__((weak)); /* there in a coverage build only */

/* The sanitizers ask for this: some tests are about who handles SIGBUS. */
const char* __asan_default_options(void);
const char* __tsan_default_options(void);

const char* __asan_default_options(void) {
  return "handle_sigbus=0";
}

const char* __tsan_default_options(void) {
  return "handle_sigbus=0";
}

unsigned int harness_slow(void) {
  const char* slow = getenv("UVFACE_SLOW");

  return slow != NULL ? (unsigned int) strtoul(slow, NULL, 10) : 1;
}

extern void __asan_init(void) __attribute__((weak)); /* there under the sanitizers only */
extern void __tsan_init(void) __attribute__((weak));

bool harness_under_sanitizer(void) {
  return __asan_init != NULL || __tsan_init != NULL;
}

bool harness_under_valgrind(void) {
  return getenv("UVFACE_VALGRIND") != NULL;
}

bool harness_under_emulation(void) {
  return getenv("UVFACE_EMULATED") != NULL;
}

void harness_needs_fault_address(void) {
  if (!harness_under_emulation() || (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && sizeof(void*) == 8)) return;
  puts("1..0 # SKIP qemu tells this architecture a wrong address of a bus error");
  exit(0);
}

#ifndef HARNESS_OWN_CLOCKS

static int (*clock_of_libc)(clockid_t clock, struct timespec* t);

__attribute__((constructor)) static void find_clock(void) {
  *(void**) &clock_of_libc = dlsym(RTLD_NEXT, "clock_gettime");
}

int clock_gettime(clockid_t clock, struct timespec* t) {
  if (clock != CLOCK_THREAD_CPUTIME_ID)
    return clock_of_libc != NULL ? clock_of_libc(clock, t) : (int) syscall(SYS_clock_gettime, clock, t);
  *t = (struct timespec){.tv_nsec = 1};
  return 0;
}

int getrusage(__rusage_who_t who, struct rusage* usage) {
  int err = (int) syscall(SYS_getrusage, who, usage);

  if (who == RUSAGE_THREAD) usage->ru_nvcsw = 0;
  return err;
}

#endif

static void read_capabilities(struct __user_cap_data_struct capabilities[2]) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

  ck_assert_int_eq(syscall(SYS_capget, &header, capabilities), 0);
}

bool harness_may_seal(void) {
  struct __user_cap_data_struct capabilities[2];

  read_capabilities(capabilities);
  return (capabilities[0].effective & (1u << CAP_LINUX_IMMUTABLE)) != 0;
}

void harness_forbid_sealing(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct capabilities[2];

  read_capabilities(capabilities);
  capabilities[0].effective &= ~(1u << CAP_LINUX_IMMUTABLE);
  ck_assert_int_eq(syscall(SYS_capset, &header, capabilities), 0);
}

static const char* buffer_printf(const char* format, const char* a) {
  static char buffers[BUFFERS][320];
  static unsigned int next;
  char* buffer = buffers[next++ % BUFFERS];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  snprintf(buffer, sizeof(buffers[0]), format, a);
#pragma GCC diagnostic pop
  return buffer;
}

kind_t harness_kind(void) {
  const char* kind = getenv("UVFACE_FACE");

  if (kind == NULL || strcmp(kind, "named") == 0) return NAMED;
  if (strcmp(kind, "socket") == 0) return BY_SOCKET;
  if (strcmp(kind, "pipes") == 0) return BY_PIPES;
  if (strcmp(kind, "stream") == 0) return STREAM;
  fprintf(stderr, "UVFACE_FACE is '%s'\n", kind); /* no assertion: it is asked outside of tests, too */
  exit(2);
}

static struct sockaddr_un address_of(const char* name, socklen_t* ret_bytes) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int n = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "ndn-%s", name);

  *ret_bytes = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + 1 + (size_t) n);
  return address;
}

int harness_offer(const char* name) {
  socklen_t bytes;
  struct sockaddr_un address = address_of(name, &bytes);
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  ck_assert_int_ge(listener, 0);
  ck_assert_int_eq(bind(listener, (const struct sockaddr*) &address, bytes), 0);
  ck_assert_int_eq(listen(listener, 8), 0);
  return listener;
}

/* Room for three descriptors beside a byte. */
typedef union control_u {
  struct cmsghdr header;
  char room[CMSG_SPACE(3 * sizeof(int))];
} control_t;

void harness_serve_fds(int listener, const int fds[3]) {
  struct pollfd p = {.fd = listener, .events = POLLIN};
  char byte = 1;
  struct iovec bytes = {&byte, 1};
  control_t control;
  struct msghdr message = {
      .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.room)};
  int connection;

  ck_assert_int_eq(poll(&p, 1, DEADLINE_MS), 1);
  connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  ck_assert_int_ge(connection, 0);
  memset(&control, 0, sizeof(control));
  control.header.cmsg_level = SOL_SOCKET;
  control.header.cmsg_type = SCM_RIGHTS;
  control.header.cmsg_len = CMSG_LEN(3 * sizeof(int));
  memcpy(CMSG_DATA(&control.header), fds, 3 * sizeof(int));
  ck_assert_int_eq(sendmsg(connection, &message, MSG_NOSIGNAL), 1);
  close(connection);
}

int harness_fetch_fds(const char* name, int ret_fds[3]) {
  socklen_t address_bytes;
  struct sockaddr_un address = address_of(name, &address_bytes);
  uint64_t deadline_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000u;
  char byte;
  struct iovec bytes = {&byte, 1};
  control_t control;
  struct msghdr message = {
      .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.room)};
  int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ssize_t n;

  while (connect(connection, (const struct sockaddr*) &address, address_bytes) != 0) {
    if (harness_now_ns() >= deadline_ns) return close(connection), -1;
    sched_yield();
  }
  n = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
  close(connection);
  if (n != 1 || message.msg_controllen < CMSG_LEN(3 * sizeof(int))) return -1;
  memcpy(ret_fds, CMSG_DATA(&control.header), 3 * sizeof(int));
  return 0;
}

/* The names of this test, of whose engines each has a directory besides. */
#define MAX_NAMES 256 /* more are not looked after */

static char given[MAX_NAMES][80];
static unsigned int ngiven;
static bool has_killed; /* a child: then an engine's directory may be left */

const char* harness_name(const char* tag) {
  char prefixed[64];
  const char* name;

  snprintf(prefixed, sizeof(prefixed), "t-%ld-%s", (long) getpid(), "%s");
  name = buffer_printf(prefixed, tag);
  for (unsigned int i = 0; i < ngiven; i++)
    if (strcmp(given[i], name) == 0) return name;
  if (ngiven < MAX_NAMES) snprintf(given[ngiven++], sizeof(given[0]), "%s", name);
  return name;
}

/* As docs/protocol.rst has it: FNV-1a of the name, its bits mixed once more. */
const char* harness_stage_path(const char* name) {
  uint64_t h = UINT64_C(0xcbf29ce484222325);
  char hex[20];

  for (; *name != '\0'; name++) h = (h ^ (unsigned char) *name) * UINT64_C(0x100000001b3);
  h = (h ^ (h >> 32)) * UINT64_C(0xd6e8feb86659fd93);
  snprintf(hex, sizeof(hex), "%016llx", (unsigned long long) (h ^ (h >> 32)));
  return buffer_printf("/tmp/.ndn-%s", hex);
}

void harness_remove_stage(const char* name) {
  char path[340];

  snprintf(path, sizeof(path), "%s/a2e", harness_stage_path(name));
  unlink(path);
  snprintf(path, sizeof(path), "%s/e2a", harness_stage_path(name));
  unlink(path);
  rmdir(harness_stage_path(name));
}

static int count_stages(void) {
  int n = 0;

  for (unsigned int i = 0; i < ngiven; i++) {
    const char* path = harness_stage_path(given[i]);

    if (has_killed) harness_remove_stage(given[i]);
    if (!exists(path)) continue;
    fprintf(stderr, "# left: %s, of %s\n", path, given[i]);
    n++;
  }
  return n;
}

const char* harness_shm_path(const char* name) {
  return buffer_printf("/dev/shm/ndn-shm-%s", name);
}

const char* harness_a2e_path(const char* name) {
  return buffer_printf("/tmp/.ndn-%s.a2e.pipe", name);
}

const char* harness_e2a_path(const char* name) {
  return buffer_printf("/tmp/.ndn-%s.e2a.pipe", name);
}

uint64_t harness_now_ns(void) {
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

bool exists(const char* path) {
  struct stat st;

  return lstat(path, &st) == 0;
}

bool is_root(void) {
  return geteuid() == 0;
}

int become_other(void) {
  REQUIRE(setgroups(0, NULL) == 0);
  REQUIRE(setgid(OTHER_UID) == 0);
  REQUIRE(setuid(OTHER_UID) == 0);
  return 0;
}

int limit_descriptors(int spare) {
  struct rlimit limit;
  int first_free;

  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max; /* it may have been called before */
  REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  if (spare < 0) return 0;
  first_free = dup(0);
  close(first_free);
  limit.rlim_cur = (rlim_t) (first_free + spare);
  REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  return 0;
}

void assert_child_passes(int (*body)(void* arg), void* arg) {
  ck_assert_int_eq(harness_wait(harness_fork(body, arg), DEADLINE_MS), 0);
}

int harness_count_fds(void) {
  DIR* dir = opendir("/proc/self/fd");
  int n = -1; /* the directory's own */

  if (dir == NULL) return -1;
  for (struct dirent* e = readdir(dir); e != NULL; e = readdir(dir)) n += e->d_name[0] != '.';
  closedir(dir);
  return n;
}

static bool read_proc(pid_t pid, const char* file, char* text, size_t text_bytes) {
  char path[64];
  ssize_t n;
  int fd;

  snprintf(path, sizeof(path), "/proc/%ld/%s", (long) pid, file);
  fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  n = read(fd, text, text_bytes - 1);
  close(fd);
  if (n <= 0) return false;
  text[n] = '\0';
  return true;
}

pid_t harness_fork(int (*body)(void* arg), void* arg) {
  int status;
  pid_t pid;

  fflush(stdout);
  pid = fork();
  ck_assert_msg(pid >= 0, "fork: %s", strerror(errno));
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    status = body(arg);
    if (__gcov_dump != NULL) __gcov_dump(); /* a coverage build counts what the child ran, too */
    _exit(status);
  }
  return pid;
}

/* Becomes the program: by the emulator, if this process runs under one and the kernel knows no such program. */
static void run_program(const char* const argv[]) {
  const char* emulator = getenv("UVFACE_EMULATED");
  char command[512];
  char* all[32];
  size_t n = 0;

  execv(argv[0], (char* const*) (uintptr_t) argv);
  if (errno != ENOEXEC || emulator == NULL) return;
  snprintf(command, sizeof(command), "%s", emulator);
  for (char* word = strtok(command, " "); word != NULL && n < 8; word = strtok(NULL, " ")) all[n++] = word;
  for (size_t i = 0; argv[i] != NULL && n < 31; i++) all[n++] = (char*) (uintptr_t) argv[i];
  all[n] = NULL;
  execvp(all[0], all);
}

pid_t harness_spawn(const char* const argv[], int* ret_stdout_fd) {
  int ends[2];
  pid_t pid;

  ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
  fflush(stdout);
  pid = fork();
  ck_assert_msg(pid >= 0, "fork: %s", strerror(errno));
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(ends[1], STDOUT_FILENO);
    run_program(argv);
    _exit(127);
  }
  close(ends[1]);
  *ret_stdout_fd = ends[0];
  return pid;
}

bool harness_read_line(int fd, char* line, size_t line_bytes, int timeout_ms) {
  uint64_t end_ns = harness_now_ns() + (uint64_t) timeout_ms * 1000000u;
  size_t n = 0;

  while (n + 1 < line_bytes && harness_now_ns() < end_ns) {
    struct pollfd p = {.fd = fd, .events = POLLIN};

    if (poll(&p, 1, 10) <= 0) continue;
    if (read(fd, line + n, 1) != 1) return false;
    if (line[n] == '\n') {
      line[n] = '\0';
      return true;
    }
    n++;
  }
  return false;
}

int harness_wait(pid_t pid, int timeout_ms) {
  uint64_t end_ns = harness_now_ns() + (uint64_t) timeout_ms * 1000000u;
  static const struct timespec tick = {0, 200000};
  int status;

  while (harness_now_ns() < end_ns) {
    pid_t got = waitpid(pid, &status, WNOHANG);

    if (got == pid) {
      has_killed |= WIFSIGNALED(status);
      return status;
    }
    if (got < 0 && errno != EINTR) return -1;
    nanosleep(&tick, NULL); /* a poll interval, not a guess */
  }
  harness_kill(pid);
  return -1;
}

void harness_kill(pid_t pid) {
  int status;

  has_killed = true;
  kill(pid, SIGKILL);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
}

bool harness_wait_state(pid_t pid, char state, int timeout_ms) {
  uint64_t end_ns = harness_now_ns() + (uint64_t) timeout_ms * 1000000u;
  static const struct timespec tick = {0, 200000};
  char text[512];

  while (harness_now_ns() < end_ns) {
    const char* after;

    if (read_proc(pid, "stat", text, sizeof(text)) && (after = strrchr(text, ')')) != NULL && after[2] == state)
      return true;
    nanosleep(&tick, NULL);
  }
  return false;
}

/* --- The proof that nothing is left ----------------------------------------------------------- */

static int count_names(const char* directory, const char* prefix) {
  DIR* dir = opendir(directory);
  int n = 0;

  if (dir == NULL) return 0;
  for (struct dirent* e = readdir(dir); e != NULL; e = readdir(dir))
    if (strncmp(e->d_name, prefix, strlen(prefix)) == 0) {
      fprintf(stderr, "# left: %s/%s\n", directory, e->d_name);
      n++;
    }
  closedir(dir);
  return n;
}

/* Names that a killed process left which had our number before. */
static void sweep(const char* directory, const char* prefix) {
  DIR* dir = opendir(directory);

  if (dir == NULL) return;
  for (struct dirent* e = readdir(dir); e != NULL; e = readdir(dir))
    if (strncmp(e->d_name, prefix, strlen(prefix)) == 0 && unlinkat(dirfd(dir), e->d_name, 0) != 0)
      unlinkat(dirfd(dir), e->d_name, AT_REMOVEDIR);
  closedir(dir);
}

static int count_threads(void) {
  DIR* dir = opendir("/proc/self/task");
  int n = 0;

  if (dir == NULL) return 0;
  for (struct dirent* e = readdir(dir); e != NULL; e = readdir(dir)) n += e->d_name[0] != '.';
  closedir(dir);
  return n;
}

static void before_test(void) {
  char prefix[64];

  board->begun++;
#ifdef HARNESS_UV
  uv_loop_t loop; /* libuv's own descriptors, made once a process */

  uv_loop_init(&loop);
  uv_loop_close(&loop);
#endif
  snprintf(prefix, sizeof(prefix), "ndn-shm-t-%ld-", (long) getpid());
  sweep("/dev/shm", prefix);
  snprintf(prefix, sizeof(prefix), ".ndn-t-%ld-", (long) getpid());
  sweep("/tmp", prefix);
  ngiven = 0;
  has_killed = false;
  fds_before = harness_count_fds();
  threads_before = count_threads();
}

/* A thread of the library's may still be closing what a slow app hung on a private face (docs/security.rst): what is
 * open without one stays. */
static int count_fds_that_stay(void) {
  uint64_t end_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000;

  while (harness_count_fds() > fds_before && count_threads() > threads_before && harness_now_ns() < end_ns)
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  return harness_count_fds(); /* it may have ended between the two looks */
}

static void after_test(void) {
  char prefix[64];

  ck_assert_msg(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "a child process is left");
  ck_assert_int_eq(count_fds_that_stay(), fds_before);
  snprintf(prefix, sizeof(prefix), "ndn-shm-t-%ld-", (long) getpid());
  ck_assert_int_eq(count_names("/dev/shm", prefix), 0);
  snprintf(prefix, sizeof(prefix), ".ndn-t-%ld-", (long) getpid());
  ck_assert_int_eq(count_names("/tmp", prefix), 0);
  ck_assert_int_eq(count_stages(), 0);
}

void harness_skip(const char* reason) {
  snprintf(board->skipped[(board->begun - 1) % MAX_TESTS], sizeof(board->skipped[0]), "%s", reason);
}

/* --- Which tests run ---------------------------------------------------------------------------- */

static struct {
  const TTest* test;
  int n;
} added[MAX_TESTS];

static unsigned int nadded;

void harness_add(const TTest* test, int n) {
  if (nadded == MAX_TESTS) abort();
  added[nadded].test = test;
  added[nadded++].n = n;
}

static bool matches(const char* name, const char* argument, bool whole) {
  return whole ? strcmp(name, argument) == 0 : strstr(name, argument) != NULL;
}

/* Marks what the argument chooses; false if that is nothing. */
static bool choose(const char* argument, bool chosen[MAX_TESTS]) {
  unsigned int n = 0;

  for (int whole = 1; whole >= 0 && n == 0; whole--)
    for (unsigned int i = 0; i < nadded; i++)
      if (matches(added[i].test->name, argument, whole)) {
        chosen[i] = true;
        n++;
      }
  return n > 0;
}

/* 0, or the exit status with which to end at once. ret_list: whether names are asked for. */
static int read_arguments(int argc, char** argv, bool chosen[MAX_TESTS], bool* ret_list) {
  bool all = true;

  *ret_list = false;
  for (int a = 1; a < argc; a++) {
    if (strcmp(argv[a], "--list") == 0) {
      *ret_list = true;
      continue;
    }
    all = false;
    if (choose(argv[a], chosen)) continue;
    fprintf(stderr, "%s: no test is called, or has in its name, '%s' (--list prints the names)\n", argv[0], argv[a]);
    return 2;
  }
  for (unsigned int i = 0; all && i < nadded; i++) chosen[i] = true;
  return 0;
}

static int run(Suite* suite) {
  SRunner* runner = srunner_create(suite);
  int failed;

  srunner_set_tap(runner, "-");
  srunner_run_all(runner, CK_SILENT);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}

/* Passes TAP on, and tells of the tests that were skipped; Check knows no skipping. */
static void print_tap(FILE* in) {
  char line[2000];
  unsigned int number;

  while (fgets(line, sizeof(line), in) != NULL) {
    bool passed = sscanf(line, "ok %u", &number) == 1 && number >= 1 && number <= MAX_TESTS;

    if (passed && board->skipped[number - 1][0] != '\0')
      printf("%.*s # SKIP %s\n", (int) strcspn(line, "\n"), line, board->skipped[number - 1]);
    else
      fputs(line, stdout);
    fflush(stdout);
  }
}

/* The chosen tests, each with the proof around it that it leaves nothing. */
static Suite* make_suite(const bool chosen[MAX_TESTS]) {
  Suite* suite = suite_create(program_invocation_short_name);
  TCase* tcase = tcase_create("tests");

  tcase_set_timeout(tcase, HARNESS_TIMEOUT_S * harness_slow());
  tcase_add_checked_fixture(tcase, before_test, after_test);
  suite_add_tcase(suite, tcase);
  for (unsigned int i = 0; i < nadded; i++)
    if (chosen[i]) _tcase_add_test(tcase, added[i].test, 0, 0, 0, added[i].n);
  return suite;
}

/* The tests run in a child, so that this process can read what they print. */
static int run_and_print(const bool chosen[MAX_TESTS]) {
  int ends[2], status = 1;
  FILE* in;
  pid_t pid;

  if (pipe2(ends, O_CLOEXEC) != 0 || (pid = fork()) < 0) return 1;
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    exit(run(make_suite(chosen)));
  }
  close(ends[1]);
  in = fdopen(ends[0], "r");
  if (in != NULL) print_tap(in);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  if (in != NULL) fclose(in);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char** argv) {
  static bool chosen[MAX_TESTS];
  bool list;
  int status = read_arguments(argc, argv, chosen, &list);

  if (status != 0) return status;
  for (unsigned int i = 0; list && i < nadded; i++)
    if (chosen[i]) puts(added[i].test->name);
  if (list) return 0;
  board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (board == MAP_FAILED) return 1;
  signal(SIGPIPE, SIG_DFL); /* whatever started us: writing to a dead peer must not kill */
  if (harness_setup != NULL) harness_setup();
  return run_and_print(chosen);
}

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

int harness_send_descriptor(int sock) {
  char byte = 'x', control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec v = {&byte, 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);

  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(c), &sock, sizeof(int));
  return sendmsg(sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 ? 0 : errno;
}

bool harness_kernel_refuses_descriptors(int sock) {
  int value;
  socklen_t bytes = sizeof(value);

  /* Set as it is: qemu reads options that it will not set. */
  return getsockopt(sock, SOL_SOCKET, SO_PASSRIGHTS, &value, &bytes) == 0 &&
         setsockopt(sock, SOL_SOCKET, SO_PASSRIGHTS, &value, bytes) == 0;
}
