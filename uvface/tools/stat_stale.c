/* SPDX-License-Identifier: MIT */
/* stat_stale.c: what dead engines left. ndnshm_sweep() judges, and looks at files of its own user alone; root does it
 * for each user in a process that has that user's rights and no others. So root removes nothing that the user could
 * not, and if a user's file makes who opens it wait, only that process waits, for a while. */
#include <errno.h>
#include <dirent.h>
#include <grp.h>
#include <ndnshm.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stat.h"

#define PATIENCE_MS 3000
#define NOBODY ((gid_t) 65534)

typedef struct users_s {
  LIST(uid_t) uids;
} users_t;

static void on_file(void* arg, const char* path, int status) {
  stales_t* stales = arg;
  stale_t* stale = LIST_ADD(&stales->items);

  snprintf(stale->path, sizeof(stale->path), "%s", path);
  stale->status = status;
}

static int sweep(stales_t* stales, const char* name, bool remove) {
  int rc = ndnshm_sweep(name, remove ? NDNSHM_SWEEP_REMOVE : 0, on_file, stales);

  return rc < 0 ? rc : 0;
}

/* --- With another user's rights ----------------------------------------------------------------- */

static int become(uid_t uid) {
  if (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(uid, uid, uid) != 0) return -errno;
  return 0;
}

/* The child: writes what it finds as whole elements, and at last one without a path for the whole. */
static void sweep_as(uid_t uid, const char* name, bool remove, int fd) {
  stales_t stales = {.is_incomplete = false};
  int err;

  prctl(PR_SET_PDEATHSIG, SIGKILL);
  err = become(uid);
  if (err == 0) err = sweep(&stales, name, remove);
  LIST_ADD(&stales.items)->status = err;
  for (size_t i = 0; i < stales.items.n; i++)
    if (write(fd, &stales.items.items[i], sizeof(stale_t)) != (ssize_t) sizeof(stale_t)) _exit(1);
  _exit(0);
}

static bool read_one(int fd, stale_t* ret_stale) {
  size_t have = 0;

  while (have < sizeof(*ret_stale)) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    ssize_t n;

    if (poll(&wait, 1, PATIENCE_MS) <= 0) return false;
    n = read(fd, (char*) ret_stale + have, sizeof(*ret_stale) - have);
    if (n <= 0) return false;
    have += (size_t) n;
  }
  return true;
}

/* Those that were killed before, and have died since. Neither program has other children. */
static void reap_earlier(void) {
  while (waitpid(-1, NULL, WNOHANG) > 0) continue;
}

/* -ETIMEDOUT: it waits for something, or has died. It is killed, and reaped by the next, for it may not die at once. */
static int sweep_for(stales_t* stales, uid_t uid, const char* name, bool remove) {
  stale_t stale = {.status = 0};
  bool ended = false;
  pid_t pid;
  int fds[2];

  reap_earlier();
  if (pipe(fds) != 0) return -errno;
  fflush(NULL);
  pid = fork();
  if (pid < 0) {
    close(fds[0]);
    close(fds[1]);
    return -EAGAIN;
  }
  if (pid == 0) sweep_as(uid, name, remove, fds[1]);
  close(fds[1]);
  while (!ended && read_one(fds[0], &stale)) {
    ended = stale.path[0] == '\0';
    if (!ended) on_file(stales, stale.path, stale.status);
  }
  close(fds[0]);
  kill(pid, SIGKILL);
  if (ended) waitpid(pid, NULL, 0);
  return ended ? stale.status : -ETIMEDOUT;
}

static int sweep_of(stales_t* stales, uid_t uid, const char* name, bool remove) {
  return uid == geteuid() ? sweep(stales, name, remove) : sweep_for(stales, uid, name, remove);
}

/* --- Whose files there are ---------------------------------------------------------------------- */

static void note_user(users_t* users, uid_t uid) {
  for (size_t i = 0; i < users->uids.n; i++)
    if (users->uids.items[i] == uid) return;
  *LIST_ADD(&users->uids) = uid;
}

static void note_users(users_t* users, const char* directory, const char* prefix) {
  DIR* dir = opendir(directory);
  struct dirent* entry;
  char path[NAME_BYTES + 32];
  struct stat st;

  if (dir == NULL) return;
  while ((entry = readdir(dir)) != NULL) {
    snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
    if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 && lstat(path, &st) == 0) note_user(users, st.st_uid);
  }
  closedir(dir);
}

void stales_scan(stales_t* stales, bool remove, bool is_quiet) {
  users_t users = {.uids = {NULL, 0, 0}};

  note_user(&users, geteuid());
  if (geteuid() == 0) {
    note_users(&users, SHM_DIRECTORY, REGION_PREFIX);
    note_users(&users, FIFO_DIRECTORY, FIFO_PREFIX);
  }
  for (size_t i = 0; i < users.uids.n; i++) {
    int err = sweep_of(stales, users.uids.items[i], NULL, remove);

    if (err == 0) continue;
    stales->is_incomplete = true;
    if (!is_quiet)
      fprintf(stderr, "uvface-stat: what uid %lu left: %s\n", (unsigned long) users.uids.items[i], strerror(-err));
  }
  free(users.uids.items);
}

/* Of the names of one face that are there, the first tells whose it is. */
static uid_t owner_of(const char* name) {
  static const char* const prefixes[] = {SHM_DIRECTORY "/" REGION_PREFIX, FIFO_DIRECTORY "/" FIFO_PREFIX,
                                         FIFO_DIRECTORY "/" FIFO_PREFIX};
  static const char* const suffixes[] = {"", ".a2e.pipe", ".e2a.pipe"};
  char path[2 * NAME_BYTES];
  struct stat st;

  for (size_t i = 0; i < 3; i++) {
    snprintf(path, sizeof(path), "%s%.255s%s", prefixes[i], name, suffixes[i]);
    if (lstat(path, &st) == 0) return st.st_uid;
  }
  return geteuid();
}

int stales_scan_name(stales_t* stales, const char* name, bool remove) {
  return sweep_of(stales, geteuid() == 0 ? owner_of(name) : geteuid(), name, remove);
}

void stales_free(stales_t* stales) {
  free(stales->items.items);
}
