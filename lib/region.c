/* SPDX-License-Identifier: MIT */
/* region.c: creating, attaching and removing the shared-memory region.
 *
 * An engine holds flock(LOCK_EX) on its region for life. The kernel drops the lock when the engine
 * dies, however it dies. So the lock tells whether the engine lives, and nobody has to open its FIFOs to find out: to
 * the engine that would look like an app that came and died. */
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "open.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u /* since Linux 6.3, which many headers do not know */
#endif

/* Memory is allocated in pieces of at least this size, however many signals interrupt it. */
#define MIN_PIECE_BYTES 65536

/* Where glibc and musl keep what shm_open() opens. */
#define SHM_DIRECTORY "/dev/shm"
#define PATH_BYTES (sizeof(SHM_DIRECTORY) + NDNSHM__NAME_MAX + 16)

static void path_of(const char* shm_name, char ret_path[PATH_BYTES]) {
  snprintf(ret_path, PATH_BYTES, SHM_DIRECTORY "%s", shm_name);
}

/* A tmpfs undoes an allocation that a signal interrupts. So it is done in pieces, which get smaller with each signal:
 * it comes to an end however often a timer of the program fires. A process whose memory cgroup has no room for the
 * region is killed here: while the region has no name. */
static int back_with_memory(int fd, off_t bytes) {
  off_t piece = bytes, done = 0;

  while (done < bytes) {
    off_t n = piece < bytes - done ? piece : bytes - done;
    int err = posix_fallocate(fd, done, n);

    if (err == 0)
      done += n;
    else if (err != EINTR)
      return err;
    else if (piece > MIN_PIECE_BYTES)
      piece /= 2;
  }
  return 0;
}

/* ndn-rs maps no region that is larger (its limit since 2026). */
#define NDNRS_MAX_BYTES ((size_t) 256 << 20)

static int fail_size(const char* call, size_t bytes, const char* shm_name, ndnshm__error_t* error) {
  int code = errno;

  return ndnshm__fail(error, -code, "%s %s: %zu bytes%s: %s", call, shm_name, bytes,
                      bytes > NDNRS_MAX_BYTES ? " (ndn-rs apps refuse more than 256 MiB, too)" : "", strerror(code));
}

static int allocate(int fd, size_t bytes, const char* shm_name, ndnshm__error_t* error) {
  int err;

  do {
    err = ftruncate(fd, (off_t) bytes);
  } while (err != 0 && errno == EINTR);
  if (err != 0) return fail_size("ftruncate", bytes, shm_name, error);
  err = back_with_memory(fd, (off_t) bytes);
  if (err == 0) return 0;
  errno = err;
  return fail_size("posix_fallocate", bytes, shm_name, error);
}

static int map(int fd, size_t bytes, const char* shm_name, ndnshm__region_header_t** ret_header,
               ndnshm__error_t* error) {
  void* base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

  if (base == MAP_FAILED && errno == EAGAIN) errno = ENOMEM; /* RLIMIT_MEMLOCK; EAGAIN is a full ring's in this API */
  if (base == MAP_FAILED) return ndnshm__fail_errno(error, "mmap", shm_name);
  *ret_header = base;
  return 0;
}

static int fill(ndnshm__region_t* region, const char* shm_name, ndnshm__error_t* error) {
  const ndnshm__geometry_t* g = &region->geometry;
  int err = allocate(region->fd, g->region_bytes, shm_name, error);

  if (err == 0) err = map(region->fd, g->region_bytes, shm_name, &region->header, error);
  if (err < 0) return err;
  /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): what failed has returned a negative number */
  region->header->capacity = g->capacity;
  region->header->slot_size = g->slot_size;
  return 0;
}

/* flags: O_EXCL, if it is never to get a name. */
static int open_unnamed(int flags) {
  int fd;

  do {
    fd = open(SHM_DIRECTORY, O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);
  } while (fd < 0 && errno == EINTR);
  return ndnshm__keep_off_stdio(fd);
}

int ndnshm__region_create(ndnshm__region_t* ret_region, const char* shm_name, const ndnshm__geometry_t* geometry,
                          ndnshm__error_t* error) {
  ndnshm__region_t region = {.fd = open_unnamed(0), .geometry = *geometry};
  char path[PATH_BYTES];
  int err;

  if (region.fd < 0) {
    path_of(shm_name, path);
    return ndnshm__fail_errno(error, "open", path);
  }
  ndnshm__lock(region.fd); /* where it is refused, the reader of the FIFO tells that we live */
  err = fill(&region, shm_name, error);
  if (err < 0) {
    ndnshm__region_close(&region);
    return err;
  }
  *ret_region = region;
  return 0;
}

int ndnshm__region_publish(const ndnshm__region_t* region, const char* shm_name, ndnshm__error_t* error) {
  char path[PATH_BYTES];

  path_of(shm_name, path);
  return ndnshm__link(region->fd, path) == 0 ? 0 : ndnshm__fail_errno(error, "linkat", path);
}

#define LEASED "open %s: its owner has a lease of it"

/* A trusted owner who leases his region to himself makes who opens it wait; EAGAIN is a full ring's in this API. */
static int open_trusted(int looked_fd, const struct stat* st, const char* path, int flags, uid_t trusted, int* ret_fd,
                        ndnshm__error_t* error) {
  if (!S_ISREG(st->st_mode)) return ndnshm__fail(error, -EPERM, "fstat %s: not a regular file", path);
  if (!ndnshm__owner_is_trusted(st->st_uid, trusted)) {
    if (faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) != 0 && errno == EACCES) /* the more common mistake */
      return ndnshm__fail(error, -EACCES, "faccessat %s: owned by uid %lu, mode %#lo: %s", path,
                          (unsigned long) st->st_uid, (unsigned long) (st->st_mode & 07777), strerror(EACCES));
    return ndnshm__fail(error, -EPERM, "fstat %s: owned by uid %lu, who is neither root nor trusted", path,
                        (unsigned long) st->st_uid);
  }
  *ret_fd = ndnshm__open_looked_at(looked_fd, path, flags);
  if (*ret_fd >= 0) return 0;
  if (errno == EAGAIN) return ndnshm__fail(error, -EACCES, LEASED, path);
  if (errno == EPERM) /* append-only, and still has its name */
    return ndnshm__fail(error, -EBUSY, "open %s: taken by another app, for which the region is being sealed", path);
  if (errno == EACCES)
    return ndnshm__fail(error, -EACCES, "open %s: owned by uid %lu, mode %#lo: %s", path, (unsigned long) st->st_uid,
                        (unsigned long) (st->st_mode & 07777), strerror(EACCES));
  return ndnshm__fail_errno(error, "open", path);
}

static int open_existing(const char* shm_name, int flags, uid_t trusted, int* ret_fd, uint64_t* ret_file_bytes,
                         ndnshm__error_t* error) {
  char path[PATH_BYTES];
  struct stat st;
  int looked_fd = -1, err;

  path_of(shm_name, path);
  if ((err = ndnshm__look(path, &looked_fd, &st, error)) < 0) return err;
  err = open_trusted(looked_fd, &st, path, flags, trusted, ret_fd, error);
  close(looked_fd);
  if (err < 0) return err;
  if (fstat(*ret_fd, &st) != 0) {
    err = ndnshm__fail_errno(error, "fstat", path);
    close(*ret_fd);
    return err;
  }
  *ret_file_bytes = (uint64_t) st.st_size;
  return 0;
}

static int read_header(int fd, const char* shm_name, ndnshm__region_header_t* ret_header, ndnshm__error_t* error) {
  ssize_t n;

  do {
    n = pread(fd, ret_header, sizeof(*ret_header), 0);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return ndnshm__fail_errno(error, "pread", shm_name);
  if ((size_t) n < sizeof(*ret_header))
    return ndnshm__fail(error, -EPROTO, "pread %s: %zd bytes are no header of %zu", shm_name, n, sizeof(*ret_header));
  return 0;
}

static int check_header(const ndnshm__region_header_t* header, uint64_t file_bytes, const char* shm_name,
                        ndnshm__geometry_t* ret_geometry, ndnshm__error_t* error) {
  ndnshm__geometry_t g;

  if (header->magic != NDNSHM__MAGIC)
    return ndnshm__fail(error, -EPROTO, "header %s: magic is %#llx, not %#llx", shm_name,
                        (unsigned long long) header->magic, (unsigned long long) NDNSHM__MAGIC);
  if (ndnshm__geometry_from_header(header->capacity, header->slot_size, &g) < 0)
    return ndnshm__fail(error, -EPROTO, "header %s: impossible geometry, %lu slots of %lu bytes", shm_name,
                        (unsigned long) header->capacity, (unsigned long) header->slot_size);
  if (file_bytes != g.region_bytes)
    return ndnshm__fail(error, -EPROTO, "header %s: file has %llu bytes, %lu slots of %lu bytes need %zu", shm_name,
                        (unsigned long long) file_bytes, (unsigned long) header->capacity,
                        (unsigned long) header->slot_size, g.region_bytes);
  *ret_geometry = g;
  return 0;
}

int ndnshm__region_inspect(const char* shm_name, uid_t trusted, ndnshm__region_header_t* ret_header,
                           uint64_t* ret_file_bytes, ndnshm__error_t* error) {
  int fd = -1; /* compilers do not know that failures are negative */
  int err = open_existing(shm_name, O_RDONLY, trusted, &fd, ret_file_bytes, error);

  if (err < 0) return err;
  err = read_header(fd, shm_name, ret_header, error);
  close(fd);
  return err;
}

int ndnshm__region_attach(ndnshm__region_t* ret_region, const char* shm_name, uid_t trusted, ndnshm__error_t* error) {
  ndnshm__region_t region = {.fd = -1};
  ndnshm__region_header_t header;
  uint64_t file_bytes = 0;
  int err = open_existing(shm_name, O_RDWR, trusted, &region.fd, &file_bytes, error);

  if (err < 0) return err;
  err = read_header(region.fd, shm_name, &header, error);
  if (err == 0) err = check_header(&header, file_bytes, shm_name, &region.geometry, error);
  if (err == 0) err = map(region.fd, region.geometry.region_bytes, shm_name, &region.header, error);
  if (err == -EACCES) /* it could be opened, and became append-only since */
    err = ndnshm__fail(error, -EBUSY, "mmap %s: taken by another app, for which the region is being sealed", shm_name);
  if (err < 0) {
    ndnshm__region_close(&region);
    return err;
  }
  *ret_region = region;
  return 0;
}

/* --- Private regions -------------------------------------------------------------------------- */

/* Its name tells who looks into /proc which of the two ends is the engine. An older kernel knows no memory that can
 * never be executed. */
static int open_memory(void) {
  char name[sizeof("ndn-shm:") + 3 * sizeof(long)];
  int fd;

  snprintf(name, sizeof(name), "ndn-shm:%ld", (long) getpid());
  fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  if (fd < 0 && errno == EINVAL) fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  return ndnshm__keep_off_stdio(fd);
}

/* Where it is refused (a filter of system calls, a setting), a file does; not where something is used up. */
static int open_private(bool* ret_is_memory) {
  int fd = open_memory();

  *ret_is_memory = fd >= 0;
  return fd >= 0 || errno == EMFILE || errno == ENFILE || errno == ENOMEM ? fd : open_unnamed(O_EXCL);
}

static int seal_size(int fd, const char* label, ndnshm__error_t* error) {
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) return 0;
  return ndnshm__fail_errno(error, "fcntl", label);
}

int ndnshm__region_create_private(ndnshm__region_t* ret_region, const char* label, const ndnshm__geometry_t* geometry,
                                  bool* ret_is_sealed, ndnshm__error_t* error) {
  ndnshm__region_t region = {.fd = -1, .geometry = *geometry};
  bool is_memory = false;
  int err;

  region.fd = open_private(&is_memory);
  if (region.fd < 0) return ndnshm__fail_errno(error, "memfd_create", label);
  err = fill(&region, label, error);
  if (err == 0 && is_memory) err = seal_size(region.fd, label, error);
  if (err < 0) {
    ndnshm__region_unmap(&region);
    ndnshm__region_close(&region);
    return err;
  }
  *ret_region = region;
  *ret_is_sealed = is_memory;
  return 0;
}

/* Memory of huge pages has seals, too, but a fault in it may find none left. */
static bool has_fixed_size(int fd) {
  struct statfs fs;
  int seals = fcntl(fd, F_GET_SEALS);

  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0 && fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

/* What was handed over: a regular file that can be mapped, and whose pages nobody, or nobody but the trusted, can take
 * away. The seal is looked at before the size: one that was set in between would keep a file short. */
static int check_handed(int fd, const char* label, uid_t trusted, bool will_be_guarded, uint64_t* ret_file_bytes,
                        bool* ret_is_sealed, ndnshm__error_t* error) {
  struct stat st;
  int flags = fcntl(fd, F_GETFL);
  bool is_sealed = has_fixed_size(fd);

  if (flags < 0 || fstat(fd, &st) != 0) return ndnshm__fail_errno(error, "fstat", label);
  if (!S_ISREG(st.st_mode)) return ndnshm__fail(error, -EPERM, "fstat %s: not a regular file", label);
  if ((flags & (O_ACCMODE | O_PATH)) != O_RDWR)
    return ndnshm__fail(error, -EBADF, "fcntl %s: not open for reading and writing", label);
  if (!is_sealed && !will_be_guarded && !ndnshm__owner_is_trusted(st.st_uid, trusted))
    return ndnshm__fail(
        error, -EPERM,
        "fcntl %s: not sealed against truncation, and owned by uid %lu, who is neither root nor trusted "
        "(the SIGBUS guard would do)",
        label, (unsigned long) st.st_uid);
  *ret_file_bytes = (uint64_t) st.st_size;
  *ret_is_sealed = is_sealed;
  return 0;
}

int ndnshm__region_attach_private(ndnshm__region_t* ret_region, const char* label, int fd, uid_t trusted,
                                  bool will_be_guarded, bool* ret_is_sealed, ndnshm__error_t* error) {
  ndnshm__region_t region = {.fd = -1};
  ndnshm__region_header_t header;
  uint64_t file_bytes = 0;
  bool is_sealed = false;
  int err = check_handed(fd, label, trusted, will_be_guarded, &file_bytes, &is_sealed, error);

  if (err == 0) err = read_header(fd, label, &header, error);
  if (err == 0) err = check_header(&header, file_bytes, label, &region.geometry, error);
  if (err == 0) err = map(fd, region.geometry.region_bytes, label, &region.header, error);
  if (err < 0) return err;
  *ret_region = region;
  *ret_is_sealed = is_sealed;
  return 0;
}

/* --- Names that are taken ---------------------------------------------------------------------- */

bool ndnshm__region_has_name(const ndnshm__region_t* region) {
  struct stat st;

  return fstat(region->fd, &st) == 0 && st.st_nlink > 0;
}

/* True if the header says that an engine of this implementation made the region: one that held the lock. */
static bool made_by_lock_holder(int fd) {
  ndnshm__region_header_t header;
  ndnshm__error_t ignored;

  if (read_header(fd, "", &header, &ignored) < 0) return false;
  return (header.engine_caps & NDNSHM__CAPS_TAG_MASK) == NDNSHM__CAPS_TAG;
}

/* Why it cannot be opened is that we lack something, or that it is not ours. */
static int in_use_unless_scarce(int err) {
  return err == -EMFILE || err == -ENFILE || err == -ENOMEM ? err : -EADDRINUSE;
}

/* Opens it, if there is one and it is ours. */
static int open_ours(const char* path, const ndnshm__access_t* access, int* ret_fd, struct stat* ret_st,
                     ndnshm__error_t* error) {
  int looked_fd = -1;
  int err = ndnshm__look(path, &looked_fd, ret_st, error);

  if (err < 0) return err == -ENOENT ? 0 : in_use_unless_scarce(err);
  if (!S_ISREG(ret_st->st_mode))
    err = ndnshm__fail(error, -EADDRINUSE, "fstat %s: there is something that is not a regular file, of uid %lu", path,
                       (unsigned long) ret_st->st_uid);
  else if (!ndnshm__owner_is_ours(ret_st->st_uid, access))
    err = ndnshm__fail(error, -EADDRINUSE, "fstat %s: it belongs to uid %lu", path, (unsigned long) ret_st->st_uid);
  else if ((*ret_fd = ndnshm__open_looked_at(looked_fd, path, O_RDWR)) < 0 && errno != ENOENT)
    err = errno == EAGAIN ? ndnshm__fail(error, -EADDRINUSE, LEASED, path)
                          : in_use_unless_scarce(ndnshm__fail_errno(error, "open", path));
  close(looked_fd);
  return err;
}

/* Locks it. 1 = it is ours to remove; 0 = another engine was quicker, and the name is its. Not that it has lost its
 * names tells, for somebody may have given it another. */
static int lock_and_recheck(int fd, const struct stat* mine, const char* path, bool* ret_is_dead,
                            ndnshm__error_t* error) {
  struct stat named;
  bool locked = ndnshm__lock(fd);

  if (!locked && (errno == EWOULDBLOCK || errno == EBUSY))
    return ndnshm__fail(error, -EADDRINUSE, "flock %s: %s", path,
                        errno == EBUSY ? "somebody keeps sharing its lock" : "a live engine has the name");
  *ret_is_dead = locked && made_by_lock_holder(fd);
  if (lstat(path, &named) != 0) return errno == ENOENT ? 0 : ndnshm__fail_errno(error, "lstat", path);
  return named.st_dev == mine->st_dev && named.st_ino == mine->st_ino;
}

int ndnshm__region_lock_stale(const char* shm_name, const ndnshm__access_t* access, ndnshm__stale_t* ret_stale,
                              ndnshm__error_t* error) {
  ndnshm__stale_t stale = {.fd = -1};
  char path[PATH_BYTES];
  struct stat st;
  int err;

  path_of(shm_name, path);
  err = open_ours(path, access, &stale.fd, &st, error);
  if (err < 0) return err;
  if (stale.fd >= 0) err = lock_and_recheck(stale.fd, &st, path, &stale.is_dead, error);
  if (stale.fd >= 0 && err != 1) {
    close(stale.fd);
    stale.fd = -1;
  }
  if (err < 0) return err;
  *ret_stale = stale;
  return 0;
}

bool ndnshm__region_unlink(int fd, const char* shm_name) {
  char path[PATH_BYTES];

  path_of(shm_name, path);
  if (!ndnshm__is_named(fd, path)) return true;
  /* unlink() waits for the lock of the file while it has that of the directory, and everybody there waits with it. Who
   * looks for data waits for the file alone: then whoever holds it for a while holds up nobody else. */
  lseek(fd, 0, SEEK_DATA);
  return unlink(path) == 0 || errno == ENOENT;
}

int ndnshm__region_guard(ndnshm__region_t* region, ndnshm__error_t* error) {
  int err = ndnshm__guard_add(region->header, region->geometry.region_bytes, &region->guard);

  if (err < 0) return ndnshm__fail(error, err, "guarding against SIGBUS: %s", strerror(-err));
  return 0;
}

bool ndnshm__region_check(ndnshm__region_t* region) {
  struct stat st;

  if (ndnshm__region_is_lost(region)) return true;
  if (region->fd < 0 || fstat(region->fd, &st) != 0) return false;
  if ((uint64_t) st.st_size >= region->geometry.region_bytes) return false;
  region->is_lost = ndnshm__replace_by_zeros(region->header, region->geometry.region_bytes);
  return region->is_lost;
}

bool ndnshm__region_has_grown(const ndnshm__region_t* region) {
  struct stat st;

  return region->fd >= 0 && fstat(region->fd, &st) == 0 && (uint64_t) st.st_size > region->geometry.region_bytes;
}

static bool set_append_only(int fd, bool is_on) {
  int flags[2] = {0, 0}; /* the kernel takes an int, but the request's number says long, which valgrind believes */

  if (ioctl(fd, FS_IOC_GETFLAGS, flags) != 0) return false;
  flags[0] = is_on ? flags[0] | FS_APPEND_FL : flags[0] & ~FS_APPEND_FL;
  return ioctl(fd, FS_IOC_SETFLAGS, flags) == 0;
}

bool ndnshm__region_can_be_sealed(int fd) {
  return set_append_only(fd, true) && set_append_only(fd, false);
}

/* Of a failed call: what lacks rights, or support, will lack them the next time as well. */
static ndnshm__seal_t judge_failure(void) {
  bool is_final = errno == EPERM || errno == EACCES || errno == EROFS || errno == ENOTTY || errno == EOPNOTSUPP;

  return is_final ? NDNSHM__SEAL_REFUSED : NDNSHM__SEAL_FAILED;
}

ndnshm__seal_t ndnshm__region_seal(int fd, const char* shm_name) {
  char path[PATH_BYTES];
  struct stat st;

  path_of(shm_name, path);
  if (!ndnshm__region_unlink(fd, shm_name) || fstat(fd, &st) != 0) return judge_failure();
  if (st.st_nlink > 0) /* with none left, it cannot get another */
    return ndnshm__is_named(fd, path) ? NDNSHM__SEAL_FAILED : NDNSHM__HAS_OTHER_NAME;
  return set_append_only(fd, true) ? NDNSHM__SEALED : judge_failure();
}

void ndnshm__region_close(ndnshm__region_t* region) {
  if (region->fd >= 0) close(region->fd);
  region->fd = -1;
}

void ndnshm__region_unmap(ndnshm__region_t* region) {
  ndnshm__guard_remove(region->guard);
  region->guard = NULL;
  if (region->header != NULL) munmap(region->header, region->geometry.region_bytes);
  region->header = NULL;
}
