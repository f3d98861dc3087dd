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
#define A2E_INDICES_AT 64
#define E2A_INDICES_AT 192
#define INDEX_STRIDE 64
#define FIRST_BYTES 256 /* of a slot: all that an Interest needs, and few cache lines that the producer wants back */
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

int source_open(const char* path, bool is_in_proc, source_t* ret_source, uid_t* ret_owner) {
  struct stat st = {.st_size = 0};
  int fd = open_if_regular(path, is_in_proc ? 0 : O_NOFOLLOW, &st);

  if (fd < 0) return fd;
  *ret_source = (source_t){.fd = fd, .bytes = (uint64_t) st.st_size};
  *ret_owner = st.st_uid;
  return 0;
}

void source_close(source_t* source) {
  if (source->fd >= 0) close(source->fd);
  *source = (source_t){.fd = -1};
}

int source_read(const source_t* source, void* bytes, size_t n, uint64_t offset) {
  struct iovec here = {bytes, n}, there = {(void*) (uintptr_t) (source->address + offset), n};
  ssize_t got;

  if (offset > source->bytes || n > source->bytes - offset) return -ENODATA;
  got = source->fd >= 0 ? pread(source->fd, bytes, n, (off_t) offset)
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

int source_read_indices(const source_t* source, bool is_a2e, uint32_t* ret_tail, uint32_t* ret_head) {
  unsigned char b[INDEX_STRIDE + sizeof(uint32_t)];
  int err = source_read(source, b, sizeof(b), is_a2e ? A2E_INDICES_AT : E2A_INDICES_AT);

  if (err < 0) return err;
  *ret_tail = word_at(b, 0);
  *ret_head = word_at(b, INDEX_STRIDE);
  return 0;
}

uint64_t region_bytes(const header_t* header) {
  return HEADER_BYTES + 2 * ((uint64_t) header->slot_size + LENGTH_BYTES) * header->capacity;
}

/* Where the slot of an index begins. */
static uint64_t slot_at(const header_t* header, bool is_a2e, uint32_t index) {
  uint64_t stride = (uint64_t) header->slot_size + LENGTH_BYTES;

  return HEADER_BYTES + stride * ((is_a2e ? 0 : header->capacity) + (uint64_t) (index % header->capacity));
}

int source_read_slot(const source_t* source, const header_t* header, bool is_a2e, uint32_t index, void* packet,
                     uint32_t* ret_length) {
  unsigned char first[FIRST_BYTES];
  uint64_t at = slot_at(header, is_a2e, index);
  size_t n = sizeof(first) - LENGTH_BYTES, length;
  int err;

  if (n > header->slot_size) n = header->slot_size;
  err = source_read(source, first, LENGTH_BYTES + n, at);
  if (err < 0) return err;
  length = word_at(first, 0);
  memcpy(packet, first + LENGTH_BYTES, n);
  if (length > n && length <= header->slot_size)
    err = source_read(source, (unsigned char*) packet + n, length - n, at + LENGTH_BYTES + n);
  if (err == 0) *ret_length = (uint32_t) length;
  return err;
}

double source_mean_bytes(const source_t* source, const header_t* header, bool is_a2e, uint32_t n) {
  uint32_t tail = is_a2e ? header->a2e.tail : header->e2a.tail;
  uint32_t found = 0, length;
  double sum = 0;

  if (header->magic != MAGIC || header->capacity == 0) return 0;
  if (n > header->capacity) n = header->capacity;
  if (n > SAMPLES) n = SAMPLES;
  for (uint32_t i = 1; i <= n; i++) {
    if (source_read(source, &length, sizeof(length), slot_at(header, is_a2e, tail - i)) < 0) continue;
    if (length > header->slot_size) continue;
    sum += length;
    found++;
  }
  return found > 0 ? sum / found : 0;
}
