/* SPDX-License-Identifier: MIT */
/* shim.c: see shim.h. Linux and glibc: the names are those that programs with 64-bit file offsets link to. */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "harness.h"
#include "words.h"

typedef enum call_id {
  MALLOC,
  CALLOC,
  ALIGNED_ALLOC,
  SHM_UNLINK,
  FLOCK,
  FTRUNCATE,
  POSIX_FALLOCATE,
  MMAP,
  MUNMAP,
  MKDIR,
  MKFIFOAT,
  CHMOD,
  FCHMODAT,
  FCHMOD,
  FCHOWN,
  OPEN,
  OPENAT,
  FSTAT,
  LSTAT,
  PREAD,
  UNLINK,
  UNLINKAT,
  RMDIR,
  LINKAT,
  CLOSE,
  READ,
  WRITE,
  PWRITEV2,
  MEMFD_CREATE,
  SOCKETPAIR,
  PIPE2,
  DUPFD,
  SEAL,
  GETPEERNAME,
  SETSOCKOPT,
  SEND,
  RECV,
  UV_POLL_INIT,
  UV_POLL_START,
  N_CALLS
} call_id_t;

/* Errors that the callers treat alike are represented by one. */
static const struct {
  const char* name;
  int errors[SHIM_ERRORS]; /* 0 = no more */
} calls[N_CALLS] = {
    [MALLOC] = {"malloc", {ENOMEM}},
    [CALLOC] = {"calloc", {ENOMEM}},
    [ALIGNED_ALLOC] = {"aligned_alloc", {ENOMEM}},
    [SHM_UNLINK] = {"shm_unlink", {EACCES}},
    [FLOCK] = {"flock", {EWOULDBLOCK, ENOLCK}},
    [FTRUNCATE] = {"ftruncate", {EFBIG, EIO, EINTR}},
    [POSIX_FALLOCATE] = {"posix_fallocate", {ENOSPC, EFBIG, EINTR}},
    [MMAP] = {"mmap", {ENOMEM, EACCES}},
    [MUNMAP] = {"munmap", {0}}, /* what it cannot unmap stays */
    [MKDIR] = {"mkdir", {ENOSPC, EACCES}},
    [MKFIFOAT] = {"mkfifoat", {ENOSPC, EACCES}},
    [CHMOD] = {"chmod", {EPERM, EIO}},
    [FCHMODAT] = {"fchmodat", {EPERM, EIO}},
    [FCHMOD] = {"fchmod", {EPERM, EIO}},
    [FCHOWN] = {"fchown", {EPERM}},
    [OPEN] = {"open", {EMFILE, ENOMEM, EACCES, EINTR}},
    [OPENAT] = {"openat", {EMFILE, ENOMEM, EACCES, EINTR}},
    [FSTAT] = {"fstat", {EIO, ENOMEM}},
    [LSTAT] = {"lstat", {EIO, ENOMEM}},
    [PREAD] = {"pread", {EIO, EINTR}},
    [UNLINK] = {"unlink", {EACCES}},
    [UNLINKAT] = {"unlinkat", {0}}, /* what cannot be removed stays */
    [RMDIR] = {"rmdir", {0}},
    [LINKAT] = {"linkat", {ENOSPC, EACCES}},
    [CLOSE] = {"close", {EIO, EINTR}},
    [READ] = {"read", {EIO, EINTR}},
    [WRITE] = {"write", {EAGAIN, EIO, EINTR}},
    [PWRITEV2] = {"pwritev2", {EAGAIN, EOPNOTSUPP, EINTR}},
    [MEMFD_CREATE] = {"memfd_create", {EMFILE, ENOMEM, EPERM, EINVAL}},
    [SOCKETPAIR] = {"socketpair", {EMFILE, ENOMEM}},
    [PIPE2] = {"pipe2", {EMFILE, ENFILE}},
    [DUPFD] = {"fcntl", {EMFILE}},
    [SEAL] = {"fcntl", {EPERM}},
    [GETPEERNAME] = {"getpeername", {ENOTCONN}},
    [SETSOCKOPT] = {"setsockopt", {ENOPROTOOPT}},
    [SEND] = {"send", {EAGAIN, ENOBUFS, EPIPE, EINTR}},
    [RECV] = {"recv", {EIO, EINTR, ECONNRESET, EAGAIN}},
    [UV_POLL_INIT] = {"uv_poll_init", {ENOMEM, EPERM}},
    [UV_POLL_START] = {"uv_poll_start", {EEXIST}},
};

static unsigned int counts[N_CALLS];
static unsigned int counted, fail_at, fail_with, die_at;
static void (*before_each)(void);
static const char* failed_call;
static int failed_errno;
static shim_trace_t* trace;

void shim_fail_at(unsigned int n, unsigned int k) {
  shim_disarm();
  fail_at = n;
  fail_with = k;
  failed_call = NULL;
  failed_errno = 0;
}

void shim_die_at(unsigned int n, shim_trace_t* into) {
  shim_disarm();
  *into = (shim_trace_t){.died_ns = 0};
  trace = into;
  die_at = n;
}

unsigned int shim_disarm(void) {
  unsigned int n = counted;

  counted = fail_at = die_at = 0;
  return n;
}

const char* shim_failed_call(void) {
  return failed_call;
}

int shim_failed_errno(void) {
  return failed_errno;
}

unsigned int shim_count(const char* call) {
  for (int c = 0; c < N_CALLS; c++)
    if (strcmp(calls[c].name, call) == 0) return counts[c];
  return 0;
}

void shim_before_each(void (*hook)(void)) {
  before_each = hook;
}

static void step(const char* name) {
  void (*hook)(void) = before_each;

  if (hook != NULL) {
    before_each = NULL;
    hook();
    before_each = hook;
  }
  if (die_at == 0) return;
  trace->names[counted % SHIM_TRACE_STEPS] = name;
  trace->steps = ++counted;
  if (counted != die_at) return;
  trace->died_ns = harness_now_ns();
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

void ndnshm__point(const char* access) {
  step(access);
}

bool shim_fails(const char* name, const int errors[SHIM_ERRORS]) {
  step(name);
  if (fail_at == 0 || ++counted != fail_at) return false;
  if (fail_with >= SHIM_ERRORS || errors[fail_with] == 0) return false;
  failed_call = name;
  failed_errno = errno = errors[fail_with];
  return true;
}

/* A thread that an endpoint's work is done on makes calls of its own, which nobody counts. */
static bool fails(call_id_t call) {
  if (gettid() != getpid()) return false;
  counts[call]++;
  return shim_fails(calls[call].name, calls[call].errors);
}

/* --- The calls -------------------------------------------------------------------------------- */

/* A wrapper: TYPE NAME(PARAMETERS), or FAILURE with errno set. NAME is the linker's. */
#define WRAP(id, type, name, parameters, arguments, failure) \
  type __real_##name parameters;                             \
  type __wrap_##name parameters;                             \
  type __wrap_##name parameters {                            \
    return fails(id) ? (failure) : __real_##name arguments;  \
  }

WRAP(MALLOC, void*, malloc, (size_t bytes), (bytes), NULL)
WRAP(ALIGNED_ALLOC, void*, aligned_alloc, (size_t align, size_t bytes), (align, bytes), NULL)
WRAP(CALLOC, void*, calloc, (size_t n, size_t bytes), (n, bytes), NULL)
WRAP(SHM_UNLINK, int, shm_unlink, (const char* path), (path), -1)
WRAP(FLOCK, int, flock, (int fd, int operation), (fd, operation), -1)
WRAP(FTRUNCATE, int, ftruncate64, (int fd, off_t bytes), (fd, bytes), -1)
WRAP(POSIX_FALLOCATE, int, posix_fallocate64, (int fd, off_t from, off_t bytes), (fd, from, bytes), errno)
WRAP(MMAP, void*, mmap64, (void* at, size_t bytes, int rights, int flags, int fd, off_t from),
     (at, bytes, rights, flags, fd, from), MAP_FAILED)
WRAP(MUNMAP, int, munmap, (void* at, size_t bytes), (at, bytes), -1)
WRAP(MKDIR, int, mkdir, (const char* path, mode_t mode), (path, mode), -1)
WRAP(MKFIFOAT, int, mkfifoat, (int at, const char* path, mode_t mode), (at, path, mode), -1)
WRAP(CHMOD, int, chmod, (const char* path, mode_t mode), (path, mode), -1)
WRAP(FCHMODAT, int, fchmodat, (int at, const char* path, mode_t mode, int flags), (at, path, mode, flags), -1)
WRAP(FCHMOD, int, fchmod, (int fd, mode_t mode), (fd, mode), -1)
WRAP(FCHOWN, int, fchown, (int fd, uid_t uid, gid_t gid), (fd, uid, gid), -1)
WRAP(FSTAT, int, fstat64, (int fd, struct stat* st), (fd, st), -1)
WRAP(LSTAT, int, lstat64, (const char* path, struct stat* st), (path, st), -1)
WRAP(PREAD, ssize_t, pread64, (int fd, void* to, size_t bytes, off_t from), (fd, to, bytes, from), -1)
WRAP(UNLINK, int, unlink, (const char* path), (path), -1)
WRAP(UNLINKAT, int, unlinkat, (int at, const char* path, int flags), (at, path, flags), -1)
WRAP(RMDIR, int, rmdir, (const char* path), (path), -1)
WRAP(LINKAT, int, linkat, (int from_fd, const char* from, int to_fd, const char* to, int flags),
     (from_fd, from, to_fd, to, flags), -1)
WRAP(READ, ssize_t, read, (int fd, void* to, size_t bytes), (fd, to, bytes), -1)
WRAP(WRITE, ssize_t, write, (int fd, const void* from, size_t bytes), (fd, from, bytes), -1)
WRAP(PWRITEV2, ssize_t, pwritev64v2, (int fd, const struct iovec* from, int n, off_t at, int flags),
     (fd, from, n, at, flags), -1)
WRAP(MEMFD_CREATE, int, memfd_create, (const char* name, unsigned int flags), (name, flags), -1)
WRAP(SOCKETPAIR, int, socketpair, (int domain, int type, int protocol, int fds[2]), (domain, type, protocol, fds), -1)
WRAP(PIPE2, int, pipe2, (int fds[2], int flags), (fds, flags), -1)
WRAP(GETPEERNAME, int, getpeername, (int fd, struct sockaddr* name, socklen_t* bytes), (fd, name, bytes), -1)
WRAP(SETSOCKOPT, int, setsockopt, (int fd, int level, int name, const void* value, socklen_t bytes),
     (fd, level, name, value, bytes), -1)
WRAP(SEND, ssize_t, send, (int fd, const void* from, size_t bytes, int flags), (fd, from, bytes, flags), -1)
WRAP(RECV, ssize_t, recv, (int fd, void* to, size_t bytes, int flags), (fd, to, bytes, flags), -1)
WRAP(UV_POLL_INIT, int, uv_poll_init, (uv_loop_t * loop, uv_poll_t* handle, int fd), (loop, handle, fd), -errno)
WRAP(UV_POLL_START, int, uv_poll_start, (uv_poll_t * handle, int events, uv_poll_cb cb), (handle, events, cb), -errno)

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd) {
  bool failing = fails(CLOSE);
  int err = errno;
  int result = __real_close(fd);

  if (result != 0 && errno == EBADF) ck_abort_msg("close %d: it was closed before, and may be somebody else's now", fd);
  errno = failing ? err : errno;
  return failing ? -1 : result;
}

int __real_open64(const char* path, int flags, ...);
int __wrap_open64(const char* path, int flags, ...);
int __wrap_open64(const char* path, int flags, ...) {
  va_list args;
  mode_t mode = 0;

  va_start(args, flags);
  if ((flags & O_CREAT) != 0) mode = va_arg(args, mode_t);
  va_end(args);
  return fails(OPEN) ? -1 : __real_open64(path, flags, mode);
}

int __real_openat64(int at, const char* path, int flags, ...);
int __wrap_openat64(int at, const char* path, int flags, ...);
int __wrap_openat64(int at, const char* path, int flags, ...) {
  return fails(OPENAT) ? -1 : __real_openat64(at, path, flags);
}

/* One thread's steps come in an order that a second would spoil: none is to be had while one of them is to be met. */
int __real_pthread_create(pthread_t* thread, const pthread_attr_t* attr, void* (*body)(void*), void* arg);
int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attr, void* (*body)(void*), void* arg);
int __wrap_pthread_create(pthread_t* thread, const pthread_attr_t* attr, void* (*body)(void*), void* arg) {
  if (fail_at != 0 || die_at != 0 || before_each != NULL) return EAGAIN;
  return __real_pthread_create(thread, attr, body, arg);
}

/* Of its commands those that may fail for another reason than that there is no such descriptor. */
int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...) {
  va_list args;
  int value;

  va_start(args, command);
  value = va_arg(args, int); /* where there is none, it is not used */
  va_end(args);
  if (command == F_DUPFD_CLOEXEC && fails(DUPFD)) return -1;
  if (command == F_ADD_SEALS && fails(SEAL)) return -1;
  return __real_fcntl64(fd, command, value);
}
