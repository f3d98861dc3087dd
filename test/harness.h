/* SPDX-License-Identifier: MIT */
/* harness.h: what every test binary shares: TAP, deadlines, child processes, and the proof that a test
 * left nothing behind.
 *
 * Check runs each test in a process of its own. A checked fixture around it records the open
 * descriptors before, and asserts after it: the same descriptors, no child, no region in /dev/shm and no
 * FIFO in /tmp that carries a name from harness_name(). Waiting has deadlines and never sleeps blindly.
 *
 * An end has little patience with a peer that makes its calls slow, and tells that by the CPU time and the sleeps of
 * its thread. Both stand still here: no peer does it, but the first calls under valgrind or qemu compute for more than
 * a millisecond, and a machine that is itself a guest counts what its host took. A program that is about patience is
 * compiled with HARNESS_OWN_CLOCKS, and has the clocks of libc, or its own.
 *
 * The program's arguments choose tests by name: those of exactly that name or, if there is none, those whose name
 * contains it. --list prints the names. */
#ifndef HARNESS_H
#define HARNESS_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define HARNESS_TIMEOUT_S 60

/* How long to wait for what must come, in ms: longer than any machine takes, so that only what never comes fails. */
#define DEADLINE_MS ((int) (30000 * harness_slow()))

/* A user and a group that nobody has. */
#define OTHER_UID 61234

/* A test: TEST(name_that_states_the_promise) { ... }. TEST_LOOP runs it n times, with _i from 0 to n - 1. A test is in
 * the program because it is written down; the harness has main(). */
#define TEST(name) TEST_LOOP(name, 1)
#define TEST_LOOP(name, n)                                                  \
  static void name##_body(int _i);                                          \
  static void name##_run(int i) {                                           \
    tcase_fn_start(#name, __FILE__, __LINE__);                              \
    name##_body(i);                                                         \
  }                                                                         \
  static const TTest name##_test = {#name, name##_run, __FILE__, __LINE__}; \
  __attribute__((constructor)) static void name##_add(void) {               \
    harness_add(&name##_test, (int) (n));                                   \
  }                                                                         \
  static void name##_body(int _i __attribute__((unused)))
void harness_add(const TTest* test, int n);

/* What a program does before its first test, if it defines this. */
void harness_setup(void) __attribute__((weak));

/* Ends a test that cannot run here: TAP says so, with the reason. */
#define SKIP(reason)      \
  do {                    \
    harness_skip(reason); \
    return;               \
  } while (0)
void harness_skip(const char* reason);

/* In a child, which must not end as a test does: says what failed and makes the child return 1. */
#define REQUIRE(condition)                                              \
  do {                                                                  \
    if (!(condition)) {                                                 \
      fprintf(stderr, "# %s:%d: %s\n", __FILE__, __LINE__, #condition); \
      return 1;                                                         \
    }                                                                   \
  } while (0)

/* An assertion for loops: Check's own notes each passage in a file, a microsecond each. */
#define HOLDS(condition)                              \
  do {                                                \
    if (!(condition)) ck_abort_msg("%s", #condition); \
  } while (0)

/* Seconds for slow places: multiplies deadlines under sanitizers and valgrind (env UVFACE_SLOW=n). */
unsigned int harness_slow(void);

/* True under valgrind (env UVFACE_VALGRIND), which needs descriptors of its own and runs one thread at a time:
 * tests that limit the one or race the other have nothing to say there. */
bool harness_under_valgrind(void);

/* True under qemu-user (env UVFACE_EMULATED: its command, which starts other programs, too). It has memory of its own
 * in this process, and answers some calls without asking the kernel. */
bool harness_under_emulation(void);

/* For harness_setup() of a program that is about bus errors: ends it, skipped, where qemu tells the handler a wrong
 * address. It swaps the halves of si_addr for 64-bit big-endian programs (seen in 7.2 and 10.0), and is a page off for
 * 32-bit ones (seen in 7.2, not in 10.0). */
void harness_needs_fault_address(void);

/* True with AddressSanitizer or ThreadSanitizer, whose shadow memory is larger than any limit. */
bool harness_under_sanitizer(void);

/* Whether this process may make files append-only, and taking that from it: an engine then cannot seal its regions,
 * like one that is not privileged or lives in a container. */
bool harness_may_seal(void);
void harness_forbid_sealing(void);

/* How the ends of a face meet: by its name; or by descriptors that are handed over, of sockets or of pipes. For loops
 * over all of them; and a program as a whole opens another kind than named ones if it is told to (env UVFACE_FACE:
 * socket, pipes, stream), so that what holds for one kind is tested of all. */
typedef enum kind_e { NAMED, BY_SOCKET, BY_PIPES, N_KINDS, STREAM } kind_t; /* STREAM: no shared memory, only told to */
kind_t harness_kind(void);

/* The descriptors of a private face from process to process, over a socket that has no file (abstract) and is called as
 * the face would be: offering (a listening socket), serving the one who comes, and fetching, which waits for the offer.
 * All within DEADLINE_MS; asserted, but for harness_fetch_fds(), which returns 0 or -1 for children. */
int harness_offer(const char* name);
void harness_serve_fds(int listener, const int fds[3]);
int harness_fetch_fds(const char* name, int ret_fds[3]);

/* The rest of the test is about names, which only one kind has. */
#define NEEDS_NAMES() \
  if (harness_kind() != NAMED) SKIP("is about the names of a face")

/* The rest of the test is about a ring, which a face over a stream socket has not. */
#define NEEDS_RING() \
  if (harness_kind() == STREAM) SKIP("is about shared memory")

/* A face name of this test process: "t-PID-tag"; valid until the fourth next call. */
const char* harness_name(const char* tag);

/* "/dev/shm/ndn-shm-NAME", "/tmp/.ndn-NAME.a2e.pipe", "/tmp/.ndn-NAME.e2a.pipe"; as above. */
const char* harness_shm_path(const char* name);
const char* harness_a2e_path(const char* name);
const char* harness_e2a_path(const char* name);

/* The directory that the engine of the face keeps, "/tmp/.ndn-" and 16 digits: as above. Removed with what is in it: a
 * killed engine leaves it, and so is it after a test that killed a child; else what is left fails the test. */
const char* harness_stage_path(const char* name);
void harness_remove_stage(const char* name);

/* Monotonic nanoseconds. */
uint64_t harness_now_ns(void);

/* True if something has the name, whatever it is. */
bool exists(const char* path);

/* True for root. */
bool is_root(void);

/* In a child of root: gives up all rights, and becomes a user that nobody is. 0, or 1 after saying why. */
int become_other(void);

/* In a child: leaves it `spare` free descriptors; -1 = as many as it may have. 0, or 1 after saying why. */
int limit_descriptors(int spare);

/* Runs body(arg) in a child, and asserts that it returns 0 within DEADLINE_MS. */
void assert_child_passes(int (*body)(void* arg), void* arg);

/* Open descriptors of this process. */
int harness_count_fds(void);

/* Forks: the child runs body(arg) and exits with what it returns; it dies with its parent. */
pid_t harness_fork(int (*body)(void* arg), void* arg);

/* Starts a program with its standard output on a pipe; argv ends with NULL. */
pid_t harness_spawn(const char* const argv[], int* ret_stdout_fd);

/* Reads a line (without its newline) from fd; false at end of file or after timeout_ms. */
bool harness_read_line(int fd, char* line, size_t line_bytes, int timeout_ms);

/* Waits for a child to end by itself; its wait status, or -1 after timeout_ms (the child is killed). */
int harness_wait(pid_t pid, int timeout_ms);

/* kill -9, and reaps. */
void harness_kill(pid_t pid);

/* Waits until the process is stopped, or asleep, as /proc tells: 'T', 'S'. False after timeout_ms. */
bool harness_wait_state(pid_t pid, char state, int timeout_ms);

/* Sends a byte over the socket, and with it that socket's descriptor: 0, or why not. */
int harness_send_descriptor(int sock);

/* True if the kernel can be told to let no descriptors through (SO_PASSRIGHTS). */
bool harness_kernel_refuses_descriptors(int sock);

#endif
