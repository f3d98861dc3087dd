/* SPDX-License-Identifier: MIT */
/* open.c: see open.h. */
#include "open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

int ndnshm__keep_off_stdio(int fd) {
  int copy, saved_errno;

  if (fd < 0 || fd > STDERR_FILENO) return fd;
  copy = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  saved_errno = errno;
  close(fd);
  errno = saved_errno;
  return copy;
}

#define SELF_BYTES (sizeof("/proc/self/fd/") + 10)

static void self_path(int fd, char ret_path[SELF_BYTES]) {
  snprintf(ret_path, SELF_BYTES, "/proc/self/fd/%d", fd);
}

static int open_retrying(const char* path, int flags) {
  int fd;

  do {
    fd = open(path, flags | O_CLOEXEC);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

int ndnshm__look(const char* path, int* ret_fd, struct stat* ret_st, ndnshm__error_t* error) {
  int fd = open_retrying(path, O_PATH | O_NOFOLLOW);
  int err;

  if (fd < 0) return ndnshm__fail_errno(error, "open", path);
  if (fstat(fd, ret_st) != 0) {
    err = ndnshm__fail_errno(error, "fstat", path);
    close(fd);
    return err;
  }
  *ret_fd = fd;
  return 0;
}

bool ndnshm__is_named(int fd, const char* path) {
  struct stat mine, named;

  return fstat(fd, &mine) == 0 && lstat(path, &named) == 0 && named.st_dev == mine.st_dev &&
         named.st_ino == mine.st_ino;
}

#define LOOKER_TRIES 100
#define LOOKER_NS 1000000

bool ndnshm__lock(int fd) {
  for (int i = 0; i < LOOKER_TRIES; i++) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno != EWOULDBLOCK) return false;
    if (flock(fd, LOCK_SH | LOCK_NB) != 0) return false; /* an engine's lock is not shared */
    flock(fd, LOCK_UN);                                  /* so that two engines do not take each other for lookers */
    nanosleep(&(struct timespec){.tv_nsec = LOOKER_NS}, NULL);
  }
  errno = EBUSY;
  return false;
}

/* Linking a descriptor needs CAP_DAC_READ_SEARCH or Linux 6.10; otherwise its name in /proc does. */
int ndnshm__link(int fd, const char* path) {
  char self[SELF_BYTES];

  if (linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0) return 0;
  if (errno != ENOENT && errno != EPERM) return -1;
  self_path(fd, self);
  return linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

/* Where there is no /proc, by its name again, which may have become another file's: in a sticky directory only if its
 * owner has removed it meanwhile. */
static int open_by_name(int looked_fd, const char* path, int flags) {
  int fd = open_retrying(path, flags | O_NONBLOCK | O_NOFOLLOW);

  if (fd < 0 || (ndnshm__is_named(fd, path) && ndnshm__is_named(looked_fd, path))) return fd;
  close(fd);
  errno = ENOENT;
  return -1;
}

int ndnshm__open_looked_at(int looked_fd, const char* path, int flags) {
  char self[SELF_BYTES];
  int fd;

  self_path(looked_fd, self);
  fd = open_retrying(self, flags | O_NONBLOCK);
  if (fd < 0 && errno == ENOENT) fd = open_by_name(looked_fd, path, flags);
  return ndnshm__keep_off_stdio(fd);
}
