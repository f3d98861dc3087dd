/* SPDX-License-Identifier: MIT */
/* stage_process.c: the processes of stage.h. A part is played by this same program, executed again through a
 * descriptor, so that one that has given up its rights need not find the file; the board of stress.h is its
 * descriptor 3, and the only one it gets beside the standard ones but for those of a private face. It dies with the
 * stage. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stage.h"

enum { BOARD_FD = 3, MORE = 3 };

static const char part_option[] = "--as";
static volatile sig_atomic_t got_signal;

static void note_signal(int signum) {
  got_signal = signum;
}

void stage_catch_signals(void) {
  struct sigaction note = {.sa_handler = note_signal};
  sigaction(SIGINT, &note, NULL);
  sigaction(SIGTERM, &note, NULL);
  signal(SIGPIPE, SIG_IGN);
}

int stage_signal(void) {
  return got_signal;
}

static stress_board_t* map_board(int fd) {
  void* at = mmap(NULL, sizeof(stress_board_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return at == MAP_FAILED ? NULL : at;
}

stress_board_t* stage_board_new(int* ret_fd) {
  int fd = memfd_create("board", MFD_CLOEXEC);
  stress_board_t* board = NULL;
  if (fd >= 0 && ftruncate(fd, sizeof(stress_board_t)) == 0) board = map_board(fd);
  if (board == NULL && fd >= 0) close(fd);
  *ret_fd = fd;
  return board;
}

static bool become(uid_t uid, gid_t gid) {
  if (gid != (gid_t) -1 && (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0)) return false;
  return uid == (uid_t) -1 || setresuid(uid, uid, uid) == 0;
}

/* They are moved out of each other's way first. */
static bool pass_on(const int more[], size_t nmore) {
  int at[MORE];
  for (size_t i = 0; i < nmore; i++)
    if ((at[i] = fcntl(more[i], F_DUPFD_CLOEXEC, STRESS_FACE_FD + MORE)) < 0) return false;
  for (size_t i = 0; i < nmore; i++)
    if (dup2(at[i], STRESS_FACE_FD + (int) i) < 0) return false;
  return true;
}

/* Signals keep their actions over exec only where ignored; the mask is ours to pass on empty. */
static void exec_part(const char* program, const char* part, const char* face, int board_fd, const int more[],
                      size_t nmore, uid_t uid, gid_t gid, pid_t parent) {
  char* const argv[] = {(char*) (uintptr_t) program, (char*) (uintptr_t) part_option, (char*) (uintptr_t) part,
                        (char*) (uintptr_t) face, NULL};
  int board = fcntl(board_fd, F_DUPFD_CLOEXEC, STRESS_FACE_FD + MORE); /* whose place may be taken in a moment */
  int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  int exe = fcntl(self, F_DUPFD_CLOEXEC, STRESS_FACE_FD + MORE);
  if (board < 0 || exe < 0 || !pass_on(more, nmore) || dup2(board, BOARD_FD) < 0 || !become(uid, gid)) _exit(127);
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* after become(), which would clear it */
  if (getppid() != parent) _exit(127);
  fexecve(exe, argv, environ);
  fprintf(stderr, "%s: fexecve as %s: %s\n", program, part, strerror(errno));
  _exit(127);
}

pid_t stage_start(const char* program, const char* part, const char* face, int board_fd, const int more[], size_t nmore,
                  uid_t uid, gid_t gid) {
  pid_t parent = getpid(), pid = fork();
  if (pid == 0) exec_part(program, part, face, board_fd, more, nmore, uid, gid, parent);
  return pid;
}

int stage_wait(pid_t pid, unsigned int timeout_ms) {
  int status = 0;
  pid_t done;
  while ((done = waitpid(pid, &status, WNOHANG)) == 0 && timeout_ms-- > 0) stress_nap(1000);
  if (done == 0) {
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
  }
  return status;
}

static int play(stress_board_t* board, const char* part, const char* face, int (*attacker)(stress_board_t*)) {
  static const struct {
    const char* name;
    int (*play)(stress_board_t*, const char*);
  } on_a_face[] = {{"app", stress_app},     {"mortal", stress_app},  {"hostile", stress_hostile},
                   {"flood", stress_flood}, {"wakes", stress_wakes}, {"stopped", stress_stopped},
                   {"burn", stress_burn},   {"hold", stress_hold},   {"bomb", stress_bomb},
                   {"punch", stress_punch}, {"pour", stress_pour}};
  if (strcmp(part, "engine") == 0) return stress_engine(board);
  if (strcmp(part, "attacker") == 0 && attacker != NULL) return attacker(board);
  for (size_t i = 0; i < sizeof(on_a_face) / sizeof(*on_a_face); i++)
    if (strcmp(part, on_a_face[i].name) == 0) return on_a_face[i].play(board, face);
  return 127;
}

int stress_play(int argc, char** argv, int (*attacker)(stress_board_t*)) {
  if (argc != 4 || strcmp(argv[1], part_option) != 0) return -1;
  stress_board_t* board = map_board(BOARD_FD);
  if (board == NULL) return 127;
  close(BOARD_FD);
  signal(SIGINT, SIG_IGN); /* from a terminal it goes to all of us; the stage ends the others in order */
  return play(board, argv[2], argv[3], attacker);
}
