/* SPDX-License-Identifier: MIT */
/* stat_look.c: a region from outside. It is read by pread() or process_vm_readv(), which tell of a file that has become
 * too short by an error, where a mapping would raise a signal; and a process that is read does not stop. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "stat.h"

/* The bytes of a region: docs/protocol.rst, section 1. */
#define HEADER_BYTES 448
#define LENGTH_BYTES 4
#define SAMPLES 64

static int open_if_regular(const char* path, int flags, struct stat* ret_st) {
  char self[sizeof("/proc/self/fd/") + 10];
  int looked_fd = open(path, O_PATH | O_CLOEXEC | flags), fd = -1, err = 0;

  if (looked_fd < 0) return -errno;
  if (fstat(looked_fd, ret_st) != 0) err = -errno;
  if (err == 0 && !S_ISREG(ret_st->st_mode)) err = -EPERM;
  if (err == 0) {
    snprintf(self, sizeof(self), "/proc/self/fd/%d", looked_fd);
    fd = open(self, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) err = -errno;
  }
  close(looked_fd);
  return err < 0 ? err : fd;
}

int source_open(const char* path, bool is_in_proc, source_t* ret_source, uid_t* ret_owner, uint64_t* ret_bytes) {
  struct stat st = {.st_size = 0};
  int fd = open_if_regular(path, is_in_proc ? 0 : O_NOFOLLOW, &st);

  if (fd < 0) return fd;
  *ret_source = (source_t){.fd = fd};
  *ret_owner = st.st_uid;
  *ret_bytes = (uint64_t) st.st_size;
  return 0;
}

void source_close(source_t* source) {
  if (source->fd >= 0) close(source->fd);
  *source = (source_t){.fd = -1};
}

int source_read(const source_t* source, void* bytes, size_t n, uint64_t offset) {
  struct iovec here = {bytes, n}, there = {(void*) (uintptr_t) (source->address + offset), n};
  ssize_t got = source->fd >= 0 ? pread(source->fd, bytes, n, (off_t) offset)
                                : process_vm_readv(source->pid, &here, 1, &there, 1, 0);

  if (got < 0) return -errno;
  return (size_t) got == n ? 0 : -ENODATA;
}

static uint32_t word_at(const unsigned char* bytes, size_t offset) {
  uint32_t word;

  memcpy(&word, bytes + offset, sizeof(word));
  return word;
}

int source_read_header(const source_t* source, header_t* ret_header) {
  unsigned char b[HEADER_BYTES];
  int err = source_read(source, b, sizeof(b), 0);

  if (err < 0) return err;
  *ret_header = (header_t){
      .capacity = word_at(b, 8),
      .slot_size = word_at(b, 12),
      .engine_caps = word_at(b, 16),
      .app_caps = word_at(b, 20),
      .a2e = {word_at(b, 64), word_at(b, 128), word_at(b, 320) != 0, word_at(b, 24) != 0},
      .e2a = {word_at(b, 192), word_at(b, 256), word_at(b, 384) != 0, word_at(b, 28) != 0},
  };
  memcpy(&ret_header->magic, b, sizeof(ret_header->magic));
  return 0;
}

int source_is_sealed(const source_t* source) {
  int seals, flags[2] = {0, 0};

  if (source->fd < 0) return -1;
  seals = fcntl(source->fd, F_GET_SEALS);
  if (seals >= 0 && (seals & F_SEAL_SHRINK) != 0) return 1;
  if (ioctl(source->fd, FS_IOC_GETFLAGS, flags) == 0) return (flags[0] & FS_APPEND_FL) != 0;
  return seals >= 0 ? 0 : -1;
}

double source_mean_bytes(const source_t* source, const header_t* header, bool is_a2e, uint32_t n) {
  uint64_t stride = (uint64_t) header->slot_size + LENGTH_BYTES;
  uint64_t first = HEADER_BYTES + (is_a2e ? 0 : stride * header->capacity);
  uint32_t tail = is_a2e ? header->a2e.tail : header->e2a.tail;
  uint32_t found = 0, length;
  double sum = 0;

  if (header->magic != MAGIC || header->capacity == 0) return 0;
  if (n > header->capacity) n = header->capacity;
  if (n > SAMPLES) n = SAMPLES;
  for (uint32_t i = 1; i <= n; i++) {
    uint32_t slot = (tail - i) % header->capacity;

    if (source_read(source, &length, sizeof(length), first + stride * slot) < 0 || length > header->slot_size) continue;
    sum += length;
    found++;
  }
  return found > 0 ? sum / found : 0;
}
