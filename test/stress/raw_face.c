/* SPDX-License-Identifier: MIT */
/* raw_face.c: see raw_face.h. Region memory is accessed through volatile words: the compiler may neither
 * merge nor leave out a store that looks useless. */
#include "raw_face.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void raw_paths(raw_face_t* f, const char* name) {
  *f = (raw_face_t){.fd = -1, .a2e = -1, .e2a = -1};
  snprintf(f->shm, sizeof(f->shm), "/ndn-shm-%s", name);
  snprintf(f->a2e_path, sizeof(f->a2e_path), "/tmp/.ndn-%s.a2e.pipe", name);
  snprintf(f->e2a_path, sizeof(f->e2a_path), "/tmp/.ndn-%s.e2a.pipe", name);
}

static int map(raw_face_t* f) {
  struct stat st;
  uint32_t header[4];
  if (f->fd < 0 || fstat(f->fd, &st) != 0) return -errno;
  if (st.st_size < RAW_HEADER_BYTES || pread(f->fd, header, sizeof(header), 0) != sizeof(header) || header[2] == 0 ||
      header[0] == 0)
    return -ENOENT; /* not ready */
  f->bytes = (size_t) st.st_size;
  f->capacity = header[2];
  f->slot_size = header[3];
  void* base = mmap(NULL, f->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
  if (base == MAP_FAILED) return -errno;
  f->base = base;
  return 0;
}

int raw_open(raw_face_t* f, const char* name) {
  raw_paths(f, name);
  f->fd = shm_open(f->shm, O_RDWR | O_CLOEXEC | O_NONBLOCK, 0); /* a leased file is not waited for */
  int err = map(f);
  if (err == 0 && (f->e2a = open(f->e2a_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)) < 0) err = -errno;
  if (err == 0 && (f->a2e = open(f->a2e_path, O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0) err = -errno;
  if (err < 0) raw_close(f);
  return err;
}

int raw_attach(raw_face_t* f, const int fds[3]) {
  *f = (raw_face_t){.fd = fds[0], .a2e = fds[1], .e2a = fds[2]};
  int err = map(f);
  if (err < 0) raw_close(f);
  return err;
}

int raw_open_waiting(raw_face_t* f, const char* name, unsigned int timeout_ms) {
  int err;
  while ((err = raw_open(f, name)) == -ENOENT && timeout_ms-- > 0) nanosleep(&(struct timespec){0, 1000000}, NULL);
  return err;
}

static void close_fd(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

void raw_close(raw_face_t* f) {
  close_fd(&f->a2e);
  close_fd(&f->e2a);
  close_fd(&f->fd);
  if (f->base != NULL) munmap(f->base, f->bytes);
  f->base = NULL;
}

uint32_t raw_load(const raw_face_t* f, size_t offset) {
  return *(const volatile uint32_t*) (const void*) (f->base + offset);
}

void raw_store(raw_face_t* f, size_t offset, uint32_t value) {
  *(volatile uint32_t*) (void*) (f->base + offset) = value;
}

unsigned char* raw_slot(raw_face_t* f, uint32_t index) {
  return f->base + RAW_HEADER_BYTES + (size_t) (index % f->capacity) * (4 + (size_t) f->slot_size);
}

void raw_push(raw_face_t* f, uint32_t length) {
  uint32_t tail = raw_load(f, RAW_A2E_TAIL);
  memcpy(raw_slot(f, tail), &length, sizeof(length));
  /* The one order that is kept, so that a packet meant to be good is: length before tail. No fence follows, as
   * raw_ring() wakes without asking. */
  __atomic_store_n((uint32_t*) (void*) (f->base + RAW_A2E_TAIL), tail + 1, __ATOMIC_RELEASE);
}

bool raw_has_room(const raw_face_t* f) {
  return raw_load(f, RAW_A2E_TAIL) - raw_load(f, RAW_A2E_HEAD) < f->capacity;
}

/* Nothing of it needs to arrive: a full FIFO, or one without a reader, is as good. */
static size_t write_bytes(int fd, size_t n) {
  static const char bytes[65536];
  ssize_t written = write(fd, bytes, n);
  return written > 0 ? (size_t) written : 0;
}

void raw_ring(raw_face_t* f) {
  write_bytes(f->a2e, 1);
}

size_t raw_flood(raw_face_t* f) {
  size_t all = 0, n;
  for (size_t piece = 65536; piece >= 1; piece /= 16) /* a piece above 4096 may be taken in part */
    while (all < 65536 && (n = write_bytes(f->a2e, piece)) > 0) all += n;
  return all;
}

bool raw_ended(raw_face_t* f, int timeout_ms) {
  struct pollfd p = {f->e2a, 0, 0};
  return poll(&p, 1, timeout_ms) > 0 && (p.revents & POLLHUP) != 0;
}
