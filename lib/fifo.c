/* SPDX-License-Identifier: MIT */
/* fifo.c: see fifo.h. */
#include "fifo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "open.h"

#define FIFO_FLAGS (O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW)

static int open_retrying(const char* path, int flags) {
  int fd;

  do {
    fd = open(path, flags | FIFO_FLAGS);
  } while (fd < 0 && errno == EINTR);
  return ndnshm__keep_off_stdio(fd);
}

/* The last resort: to an engine, somebody who opens its FIFO for writing and closes it is an app that died. */
static int check_no_reader(const char* path, ndnshm__error_t* error) {
  int fd = open_retrying(path, O_WRONLY);

  if (fd < 0 && (errno == ENXIO || errno == ENOENT)) return 0;
  if (fd < 0) return ndnshm__fail_errno(error, "open", path);
  close(fd);
  return ndnshm__fail(error, -EADDRINUSE, "open %s: a live engine reads it", path);
}

void ndnshm__fifo_unlink(int fd, const char* path) {
  if (fd >= 0 && ndnshm__is_named(fd, path)) unlink(path);
}

/* Beside the mark of fifo.h, and set with it when the region loses its name: of no other meaning on a FIFO. */
#define SEALED_MARK ((mode_t) S_ISUID)

static bool is_vouched(int fd) {
  struct stat st;

  return fstat(fd, &st) == 0 && (st.st_mode & S_ISVTX) != 0;
}

void ndnshm__fifo_vouch(int fd) {
  struct stat st;

  if (fstat(fd, &st) == 0) fchmod(fd, (st.st_mode & 07777) | S_ISVTX | SEALED_MARK);
}

int ndnshm__fifo_unvouch(int fd, const char* path, const ndnshm__access_t* access, ndnshm__error_t* error) {
  return fchmod(fd, access->mode) == 0 ? 0 : ndnshm__fail_errno(error, "fchmod", path);
}

/* Removes a FIFO that has the mark (fifo.h) and whose lock is free. Holds the lock meanwhile, because the FIFO's engine
 * may be just about to take it. 1 = removed; 0 = the FIFO has no mark. */
static int clear_vouched(const char* path, ndnshm__error_t* error) {
  int fd = open_retrying(path, O_RDONLY);
  int cleared = 0;
  bool locked;

  if (fd < 0) return errno == ENOENT ? 1 : ndnshm__fail_errno(error, "open", path);
  locked = ndnshm__lock(fd);
  if (!locked && (errno == EWOULDBLOCK || errno == EBUSY)) {
    cleared = ndnshm__fail(error, -EADDRINUSE, "flock %s: %s", path,
                           errno == EBUSY ? "somebody keeps sharing its lock" : "a live engine has it");
  } else if (locked && is_vouched(fd)) {
    ndnshm__fifo_unlink(fd, path);
    cleared = 1;
  }
  close(fd);
  return cleared;
}

int ndnshm__fifo_clear(const char* path, bool is_dead, const ndnshm__access_t* access, ndnshm__error_t* error) {
  struct stat st;
  int err;

  if (lstat(path, &st) != 0) return errno == ENOENT ? 0 : ndnshm__fail_errno(error, "lstat", path);
  if (!S_ISFIFO(st.st_mode))
    return ndnshm__fail(error, -EADDRINUSE, "mkfifo %s: there is something that is not a FIFO, of uid %lu", path,
                        (unsigned long) st.st_uid);
  if (!ndnshm__owner_is_ours(st.st_uid, access))
    return ndnshm__fail(error, -EADDRINUSE, "mkfifo %s: it belongs to uid %lu", path, (unsigned long) st.st_uid);
  if (!is_dead) {
    if (st.st_uid != geteuid())
      return ndnshm__fail(error, -EADDRINUSE,
                          "mkfifo %s: nothing tells that its engine is dead, and it belongs to uid %lu, who could make "
                          "wait who opens it",
                          path, (unsigned long) st.st_uid);
    err = clear_vouched(path, error);
    if (err != 0) return err < 0 ? err : 0;
    if ((err = check_no_reader(path, error)) < 0) return err;
  }
  if (unlink(path) != 0 && errno != ENOENT) return ndnshm__fail_errno(error, "unlink", path);
  return 0;
}

static int judge(const struct stat* st, const char* path, uid_t trusted, ndnshm__error_t* error) {
  if (!S_ISFIFO(st->st_mode)) return ndnshm__fail(error, -EPERM, "fstat %s: not a FIFO", path);
  if (!ndnshm__owner_is_trusted(st->st_uid, trusted))
    return ndnshm__fail(error, -EPERM, "fstat %s: owned by uid %lu, who is neither root nor trusted", path,
                        (unsigned long) st->st_uid);
  return 0;
}

/* Why a lock could not be taken: somebody has it, or shares it. */
static bool is_held(void) {
  return errno == EWOULDBLOCK || errno == EBUSY;
}

/* Takes the lock for as long as the engine lives. In a file system without locks, others see that it lives from the
 * FIFO having a reader. */
static bool is_refused(int fd) {
  return !ndnshm__lock(fd) && is_held();
}

/* --- Making ----------------------------------------------------------------------------------- */

/* What the FIFOs are called on the stage. */
static const char* const staged[] = {"a2e", "e2a"};

static int fail_taken(const char* call, const char* path, ndnshm__error_t* error) {
  return ndnshm__fail(error, -EADDRINUSE, "%s %s: another engine has the name, or is taking it", call, path);
}

void ndnshm__stage_empty(int stage_fd) {
  for (size_t i = 0; i < sizeof(staged) / sizeof(staged[0]); i++) unlinkat(stage_fd, staged[i], 0);
}

bool ndnshm__stage_is_linked(int stage_fd) {
  struct stat st;

  return fstatat(stage_fd, staged[0], &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_nlink > 1;
}

void ndnshm__stage_drop_e2a(int stage_fd) {
  unlinkat(stage_fd, staged[1], 0);
}

static bool is_same(const struct stat* a, const struct stat* b) {
  return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool ndnshm__stage_made(int stage_fd, const char* path) {
  struct stat made, named;

  return fstatat(stage_fd, staged[0], &made, AT_SYMLINK_NOFOLLOW) == 0 && lstat(path, &named) == 0 &&
         is_same(&made, &named);
}

bool ndnshm__stage_has_a2e(int stage_fd) {
  struct stat st;

  if (stage_fd < 0) return false;
  return fstatat(stage_fd, staged[0], &st, AT_SYMLINK_NOFOLLOW) == 0 ||
         errno == EACCES; /* rights were given up since */
}

static int fail_stage(int code, const char* call, const ndnshm__names_t* names, ndnshm__error_t* error) {
  return ndnshm__fail(error, code, "%s %s, where %s is made: %s", call, names->stage, names->a2e, strerror(-code));
}

/* A directory of ours stays ours: /tmp is sticky. umask may have taken from its owner the right to use it. */
static int open_own_directory(const ndnshm__names_t* names, int* ret_fd, ndnshm__error_t* error) {
  ndnshm__error_t why;
  struct stat st;
  int looked_fd = -1;
  int err = ndnshm__look(names->stage, &looked_fd, &st, &why);

  if (err == -ENOENT) return fail_taken("open", names->a2e, error);
  if (err < 0) return ndnshm__fail(error, err, "%s (where %s is made)", why.text, names->a2e);
  if (st.st_uid != geteuid())
    err = ndnshm__fail(error, -EADDRINUSE, "mkdir %s, where %s is made: it belongs to uid %lu", names->stage,
                       names->a2e, (unsigned long) st.st_uid);
  else if (!S_ISDIR(st.st_mode))
    err = ndnshm__fail(error, -EADDRINUSE,
                       "mkdir %s, where %s is made: there is something that is not a directory, of uid %lu",
                       names->stage, names->a2e, (unsigned long) st.st_uid);
  else if ((st.st_mode & 0777) != 0700 && chmod(names->stage, 0700) != 0)
    err = fail_stage(-errno, "chmod", names, error);
  else if ((*ret_fd = ndnshm__open_looked_at(looked_fd, names->stage, O_RDONLY | O_DIRECTORY)) < 0)
    err = fail_stage(-errno, "open", names, error);
  close(looked_fd);
  return err;
}

/* -EAGAIN: it went away before it was locked. */
static int check_stage_is_there(int fd, const ndnshm__names_t* names, ndnshm__error_t* error) {
  struct stat st;

  if (fstat(fd, &st) != 0) return fail_stage(-errno, "fstat", names, error);
  return st.st_nlink == 0 ? -EAGAIN : 0;
}

/* The directory, and its lock, where there are locks. -EAGAIN: see above. */
static int open_and_lock(const ndnshm__names_t* names, int* ret_fd, bool* ret_locked, ndnshm__error_t* error) {
  int fd = -1, err;

  if (mkdir(names->stage, 0700) != 0 && errno != EEXIST) return fail_stage(-errno, "mkdir", names, error);
  err = open_own_directory(names, &fd, error);
  if (err < 0) {
    if (err != -EADDRINUSE) rmdir(names->stage);
    return err;
  }
  *ret_locked = ndnshm__lock(fd);
  err = !*ret_locked && is_held() ? fail_taken("flock", names->a2e, error) : check_stage_is_there(fd, names, error);
  if (err < 0)
    close(fd);
  else
    *ret_fd = fd;
  return err;
}

/* The directory tells, and stays as it is if that cannot be removed. */
static int remove_dead_a2e(int stage_fd, const char* path, ndnshm__error_t* error) {
  struct stat made, named;

  if (fstatat(stage_fd, staged[0], &made, AT_SYMLINK_NOFOLLOW) != 0) return 0;
  if (lstat(path, &named) != 0) return errno == ENOENT ? 0 : ndnshm__fail_errno(error, "lstat", path);
  if (!is_same(&made, &named) || unlink(path) == 0 || errno == ENOENT) return 0;
  if (errno != EPERM && errno != EACCES) return ndnshm__fail_errno(error, "unlink", path);
  return ndnshm__fail(error, -EADDRINUSE, "unlink %s: of a dead engine, and belongs to uid %lu", path,
                      (unsigned long) named.st_uid);
}

#define STAGE_TRIES 3

int ndnshm__stage_open(const ndnshm__names_t* names, int* ret_fd, ndnshm__error_t* error) {
  bool locked = false;
  int fd = -1, err = -EAGAIN;

  for (int i = 0; i < STAGE_TRIES && err == -EAGAIN; i++) err = open_and_lock(names, &fd, &locked, error);
  if (err == -EAGAIN) return fail_taken("open", names->a2e, error);
  if (err < 0) return err;
  if (locked && (err = remove_dead_a2e(fd, names->a2e, error)) < 0) {
    flock(fd, LOCK_UN);
    close(fd);
    return err;
  }
  ndnshm__stage_empty(fd);
  *ret_fd = fd;
  return 0;
}

/* The lock is given back in so many words, because a child that was forked meanwhile has the descriptor, too. */
void ndnshm__stage_close(int stage_fd, const ndnshm__names_t* names) {
  ndnshm__stage_empty(stage_fd);
  rmdir(names->stage);
  flock(stage_fd, LOCK_UN);
  close(stage_fd);
}

static int open_staged(int stage_fd, const char* name, int flags) {
  int fd;

  do {
    fd = openat(stage_fd, name, flags | FIFO_FLAGS);
  } while (fd < 0 && errno == EINTR);
  return ndnshm__keep_off_stdio(fd);
}

int ndnshm__fifo_make(int stage_fd, const char* path, int flags, bool holds_name, const ndnshm__access_t* access,
                      int* ret_fd, ndnshm__error_t* error) {
  const char* name = staged[holds_name ? 0 : 1];
  ndnshm__access_t marked = *access;
  int fd, err;

  if (mkfifoat(stage_fd, name, 0600) != 0)
    return errno == ENOENT || errno == EEXIST ? fail_taken("mkfifoat", path, error)
                                              : ndnshm__fail_errno(error, "mkfifoat", path);
  if (fchmodat(stage_fd, name, 0600, 0) != 0) return ndnshm__fail_errno(error, "fchmodat", path); /* despite umask */
  fd = open_staged(stage_fd, name, flags);
  if (fd < 0) return ndnshm__fail_errno(error, "openat", path);
  if (holds_name) marked.mode |= S_ISVTX;
  if (holds_name && is_refused(fd))
    err = fail_taken("flock", path, error);
  else
    err = ndnshm__access_apply(fd, &marked, path, error);
  if (err < 0)
    close(fd);
  else
    *ret_fd = fd;
  return err;
}

int ndnshm__fifo_publish(int fd, const char* path, bool holds_name, const ndnshm__access_t* access,
                         ndnshm__error_t* error) {
  int err;

  if (ndnshm__link(fd, path) == 0) return 0;
  if (errno != EEXIST) return ndnshm__fail_errno(error, "linkat", path);
  if ((err = ndnshm__fifo_clear(path, !holds_name, access, error)) < 0) return err;
  if (ndnshm__link(fd, path) == 0) return 0;
  return errno == EEXIST ? fail_taken("linkat", path, error) : ndnshm__fail_errno(error, "linkat", path);
}

int ndnshm__fifo_look(const char* path, uid_t trusted, int* ret_fd, struct stat* ret_st, ndnshm__error_t* error) {
  int looked_fd = -1;
  int err = ndnshm__look(path, &looked_fd, ret_st, error);

  if (err == 0) err = judge(ret_st, path, trusted, error);
  if (err == 0)
    *ret_fd = looked_fd;
  else if (looked_fd >= 0)
    close(looked_fd);
  return err;
}

int ndnshm__fifo_open(int looked_fd, const char* path, int flags, int* ret_fd, ndnshm__error_t* error) {
  *ret_fd = ndnshm__open_looked_at(looked_fd, path, flags);
  if (*ret_fd >= 0) return 0;
  if (errno == ENXIO) return ndnshm__fail(error, -ECONNREFUSED, "open %s: no engine reads it (dead?)", path);
  return ndnshm__fail_errno(error, "open", path);
}

/* Adds to the text of who found no region that there is a FIFO, and whose. */
static void tell_of_fifo(const struct stat* st, const char* path, ndnshm__error_t* error) {
  ndnshm__error_t why = *error;
  char owner[40] = "";

  if (st->st_uid != geteuid()) snprintf(owner, sizeof(owner), " and belongs to uid %lu", (unsigned long) st->st_uid);
  ndnshm__fail(error, -ENOENT,
               "%s, but %s is there%s: the region was taken by another app, was removed, or is just being made",
               why.text, path, owner);
}

/* The mark is looked for on the very FIFO that is opened. */
int ndnshm__fifo_check_taken(const char* path, uid_t trusted, ndnshm__error_t* error) {
  ndnshm__error_t why;
  struct stat st;
  int looked_fd = -1, fd = -1, err = 0;

  if (ndnshm__look(path, &looked_fd, &st, &why) < 0) return 0;
  if (judge(&st, path, trusted, &why) == 0 && (st.st_mode & SEALED_MARK) != 0)
    err = ndnshm__fifo_open(looked_fd, path, O_WRONLY, &fd, &why);
  close(looked_fd);
  if (err == -ECONNREFUSED) {
    *error = why;
    return err;
  }
  if (fd < 0) {
    if (S_ISFIFO(st.st_mode)) tell_of_fifo(&st, path, error);
    return 0;
  }
  close(fd);
  return ndnshm__fail(error, -EBUSY, "open %s: taken by another app, for which the region was sealed", path);
}
