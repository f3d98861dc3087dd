/* SPDX-License-Identifier: MIT */
/* perf.c: the processes of a measuring program: one side alone, or the client here and the server in a
 * child that executes the same program again. Guarantees that the child ends with us (asked, then told,
 * then killed), that SIGINT and SIGTERM leave no names behind, and that one exit code stands for both.
 * SIGKILL cannot be helped: what an engine leaves then, the next engine of that name cleans away. */
#include "perf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t got_signal;

static void note_signal(int signum) {
  got_signal = signum;
}

int perf_signal(void) {
  return got_signal;
}

uint64_t perf_now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t) t.tv_sec * UINT64_C(1000000000) + (uint64_t) t.tv_nsec;
}

void perf_error(const perf_options_t* o, const char* format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  fprintf(stderr, "%s %s: %s\n", o->program, perf_side_name(o->side), text);
}

bool perf_server_gone(const perf_options_t* o) {
  siginfo_t info = {.si_pid = 0};
  return o->server_pid != 0 && waitid(P_PID, (id_t) o->server_pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid != 0;
}

unsigned int perf_tick_ms(const perf_options_t* o) {
  unsigned int tick_ms = o->timeout_ms >= 1000 ? 250 : o->timeout_ms / 4 + 1;
  double twentieth_ms = o->interval_secs * 50;
  if (twentieth_ms == 0 || twentieth_ms >= tick_ms) return tick_ms;
  return twentieth_ms > 1 ? (unsigned int) twentieth_ms : 1;
}

/* A server started by hand waits for its client as long as it takes. */
bool perf_keep_waiting(const perf_options_t* o, uint64_t since_ns) {
  bool patient = o->side >= SIDE_FIRST_SERVER && o->role == ROLE_ENGINE;
  bool late = perf_now_ns() - since_ns > o->timeout_ms * UINT64_C(1000000);
  if (got_signal != 0 || perf_server_gone(o) || (late && !patient)) return false;
  nanosleep(&(struct timespec){0, 1000000}, NULL);
  return true;
}

/* The child repeats our command line; what comes last wins, and stdout is its report. */
static void exec_server(const perf_options_t* o, int argc, char** argv, int report_fd, pid_t parent) {
  const char* role = perf_role_name(o->role == ROLE_ENGINE ? ROLE_APP : ROLE_ENGINE);
  const char* extra[] = {
      "--side", perf_side_name(perf_server_of(o->mode)), "--role", role, "--name", o->name, "--json", "--interval", "0",
      NULL};
  char** all = calloc((size_t) argc + sizeof(extra) / sizeof(*extra), sizeof(*all));
  if (all == NULL || dup2(report_fd, STDOUT_FILENO) < 0) _exit(PERF_FAILED);
  memcpy(all, argv, (size_t) argc * sizeof(*all));
  memcpy(all + argc, extra, sizeof(extra));
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(PERF_FAILED); /* it ended before we asked to be told */
  execv("/proc/self/exe", all);
  perf_error(o, "execv /proc/self/exe: %s", strerror(errno));
  _exit(PERF_FAILED);
}

/* Sets o->server_pid. Returns the descriptor of the child's report, or -1 after a message. */
static int spawn_server(perf_options_t* o, int argc, char** argv) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) {
    perf_error(o, "pipe2: %s", strerror(errno));
    return -1;
  }
  pid_t parent = getpid(), pid = fork();
  if (pid == 0) exec_server(o, argc, argv, fds[1], parent);
  close(fds[1]);
  if (pid < 0) {
    perf_error(o, "fork: %s", strerror(errno));
    close(fds[0]);
    return -1;
  }
  o->server_pid = pid;
  return fds[0];
}

/* Reads all that comes within the time. Returns its length; false in ret_ended if there was no end. */
static size_t read_report(int fd, char* text, size_t size, unsigned int timeout_ms, bool* ret_ended) {
  uint64_t start_ns = perf_now_ns();
  size_t len = 0;
  *ret_ended = false;
  while (len < size) {
    uint64_t passed_ms = (perf_now_ns() - start_ns) / 1000000;
    struct pollfd p = {fd, POLLIN, 0};
    if (passed_ms >= timeout_ms || poll(&p, 1, (int) (timeout_ms - passed_ms)) == 0) break;
    ssize_t n = read(fd, text + len, size - len);
    *ret_ended = n == 0;
    if (n > 0)
      len += (size_t) n;
    else if (n == 0 || errno != EINTR)
      break;
  }
  return len;
}

/* The server ends when its client's face is closed; one that does not is told, and then killed. */
static json_t* collect(const perf_options_t* o, int fd, bool client_failed, int* ret_exit_code) {
  char text[8192];
  bool ended;
  int status = 0;
  if (client_failed) kill(o->server_pid, SIGTERM);
  size_t len = read_report(fd, text, sizeof(text), o->timeout_ms, &ended);
  if (!ended) {
    perf_error(o, "face %s: the server process does not end", o->name);
    kill(o->server_pid, SIGTERM);
    len += read_report(fd, text + len, sizeof(text) - len, 1000, &ended);
  }
  if (!ended) kill(o->server_pid, SIGKILL);
  waitpid(o->server_pid, &status, 0);
  *ret_exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : PERF_FAILED;
  return json_loadb(text, len, 0, NULL);
}

/* Not before the server is forked: a signal to it that this handler took would be lost by exec. */
static void catch_signals(void) {
  struct sigaction note = {.sa_handler = note_signal};
  sigaction(SIGINT, &note, NULL);
  sigaction(SIGTERM, &note, NULL);
  signal(SIGPIPE, SIG_IGN);
}

static int run_alone(const perf_options_t* o, json_t** ret_report) {
  perf_result_t result;
  json_t* stats;
  catch_signals();
  int exit_code = side_run(o, &result, &stats);
  *ret_report = report_side(o, &result, stats);
  place_describe(*ret_report, result.place.pinned);
  free(result.samples_ns);
  return exit_code;
}

static int run_both(perf_options_t* o, int argc, char** argv, json_t** ret_report) {
  json_t* client;
  int server_exit = PERF_FAILED;
  o->side = perf_client_of(o->mode);
  int fd = spawn_server(o, argc, argv);
  if (fd < 0) return PERF_FAILED;
  int exit_code = run_alone(o, &client);
  json_t* server = collect(o, fd, exit_code != PERF_OK, &server_exit);
  close(fd);
  if (exit_code == PERF_OK) exit_code = server_exit;
  *ret_report = report_run(o, client, server, exit_code);
  return exit_code;
}

int perf_main(int argc, char** argv, const char* program, unsigned int links) {
  perf_options_t o;
  json_t* report = NULL;
  int exit_code = perf_options_parse(&o, argc, argv, program, links);
  if (exit_code != PERF_OK) return exit_code;
  if (o.side == SIDE_BOTH)
    exit_code = run_both(&o, argc, argv, &report);
  else
    exit_code = run_alone(&o, &report);
  if (report != NULL && (o.json || exit_code != PERF_FAILED)) report_print(&o, report);
  json_decref(report);
  return fflush(stdout) == 0 ? exit_code : PERF_FAILED;
}
