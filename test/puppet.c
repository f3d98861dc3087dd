/* SPDX-License-Identifier: MIT */
/* puppet.c: see puppet.h. */
#include "puppet.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faces.h"

#define MAGIC UINT64_C(0x4E444E5F53484D00)

static size_t stride(const puppet_t* p) {
  return (size_t) p->slot_size + 4;
}

static unsigned char* ring(const puppet_t* p, bool a2e) {
  return p->region + AT_SLOTS + (a2e ? 0 : p->capacity * stride(p));
}

static unsigned char* slot_of(const puppet_t* p, bool a2e, uint32_t index) {
  return ring(p, a2e) + index % p->capacity * stride(p);
}

static void map_region(puppet_t* p, int fd) {
  p->region = mmap(NULL, p->region_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ck_assert_ptr_ne(p->region, MAP_FAILED);
  close(fd);
}

static int open_fifo(const char* path, int flags) {
  int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);

  ck_assert_msg(fd >= 0, "puppet: open %s", path);
  return fd;
}

void puppet_attach(puppet_t* p, const char* name) {
  struct stat st;
  int fd, fds[3];

  memset(p, 0, sizeof(*p));
  if (faces_kind != NAMED) ck_assert(face_take(name, fds));
  fd = faces_kind != NAMED ? fds[0] : open(harness_shm_path(name), O_RDWR | O_CLOEXEC);
  snprintf(p->name, sizeof(p->name), "%s", name);
  ck_assert(fd >= 0 && fstat(fd, &st) == 0);
  p->region_bytes = (size_t) st.st_size;
  map_region(p, fd);
  p->capacity = *puppet_word(p, AT_CAPACITY);
  p->slot_size = *puppet_word(p, AT_SLOT_SIZE);
  p->tail = *puppet_own_tail(p);
  p->head = *puppet_own_head(p);
  p->rx_fd = faces_kind != NAMED ? fds[2] : open_fifo(harness_e2a_path(name), O_RDONLY);
  p->tx_fd = faces_kind != NAMED ? fds[1] : open_fifo(harness_a2e_path(name), O_WRONLY);
}

static void make_fifos(puppet_t* p) {
  ck_assert_int_eq(mkfifo(harness_a2e_path(p->name), 0600), 0);
  ck_assert_int_eq(mkfifo(harness_e2a_path(p->name), 0600), 0);
  p->rx_fd = open_fifo(harness_a2e_path(p->name), O_RDONLY);
  p->tx_fd = open_fifo(harness_e2a_path(p->name), O_RDWR);
}

/* Sockets, or pipes; the app's ends, and its region, go into the box. */
static void make_and_offer(puppet_t* p, int region_fd) {
  int a2e[2], e2a[2], fds[3] = {region_fd, -1, -1};

  if (faces_kind == BY_SOCKET) {
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, a2e), 0);
    p->rx_fd = p->tx_fd = a2e[0];
    fds[1] = fds[2] = a2e[1];
  } else {
    ck_assert_int_eq(pipe2(a2e, O_NONBLOCK | O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(e2a, O_NONBLOCK | O_CLOEXEC), 0);
    p->rx_fd = a2e[0];
    p->tx_fd = e2a[1];
    fds[1] = a2e[1];
    fds[2] = e2a[0];
  }
  face_offer(p->name, fds);
  close(fds[1]);
  if (fds[2] != fds[1]) close(fds[2]);
}

void puppet_make(puppet_t* p, const char* name, uint32_t capacity, uint32_t slot_size, uint32_t index) {
  uint64_t magic = MAGIC;
  int fd = faces_kind != NAMED ? memfd_create("puppet", MFD_CLOEXEC)
                               : open(harness_shm_path(name), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

  memset(p, 0, sizeof(*p));
  snprintf(p->name, sizeof(p->name), "%s", name);
  p->engine = true;
  p->capacity = capacity;
  p->slot_size = slot_size;
  p->tail = p->head = index;
  p->region_bytes = AT_SLOTS + 2 * capacity * stride(p);
  ck_assert(fd >= 0 && ftruncate(fd, (off_t) p->region_bytes) == 0);
  if (faces_kind != NAMED) make_and_offer(p, fd);
  map_region(p, fd);
  *puppet_word(p, AT_CAPACITY) = capacity;
  *puppet_word(p, AT_SLOT_SIZE) = slot_size;
  *puppet_own_tail(p) = *puppet_own_head(p) = *puppet_peer_tail(p) = *puppet_peer_head(p) = index;
  if (faces_kind == NAMED) make_fifos(p);
  memcpy(p->region, &magic, sizeof(magic));
}

void puppet_die(puppet_t* p) {
  if (p->rx_fd >= 0) close(p->rx_fd);
  if (p->tx_fd >= 0 && p->tx_fd != p->rx_fd) close(p->tx_fd);
  p->rx_fd = p->tx_fd = -1;
}

void puppet_drop(puppet_t* p) {
  puppet_die(p);
  munmap(p->region, p->region_bytes);
  if (!p->engine || faces_kind != NAMED) return;
  unlink(harness_shm_path(p->name));
  unlink(harness_a2e_path(p->name));
  unlink(harness_e2a_path(p->name));
}

uint32_t* puppet_word(const puppet_t* p, size_t offset) {
  return (uint32_t*) (void*) (p->region + offset);
}

uint32_t* puppet_own_tail(const puppet_t* p) {
  return puppet_word(p, p->engine ? AT_E2A_TAIL : AT_A2E_TAIL);
}

uint32_t* puppet_own_head(const puppet_t* p) {
  return puppet_word(p, p->engine ? AT_A2E_HEAD : AT_E2A_HEAD);
}

uint32_t* puppet_peer_tail(const puppet_t* p) {
  return puppet_word(p, p->engine ? AT_A2E_TAIL : AT_E2A_TAIL);
}

uint32_t* puppet_peer_head(const puppet_t* p) {
  return puppet_word(p, p->engine ? AT_E2A_HEAD : AT_A2E_HEAD);
}

void puppet_store(uint32_t* word, uint32_t value) {
  __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

uint32_t puppet_load(const uint32_t* word) {
  return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

unsigned char* puppet_slot(const puppet_t* p, uint32_t index) {
  return slot_of(p, !p->engine, index);
}

void puppet_fill(puppet_t* p, uint32_t length, const void* payload, size_t bytes) {
  unsigned char* slot = puppet_slot(p, p->tail++);

  memcpy(slot, &length, sizeof(length));
  memcpy(slot + 4, payload, bytes);
}

ssize_t puppet_write(const puppet_t* p, const void* bytes, size_t n) {
  ssize_t sent = send(p->tx_fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);

  return sent < 0 && errno == ENOTSOCK ? write(p->tx_fd, bytes, n) : sent;
}

void puppet_publish(puppet_t* p) {
  puppet_store(puppet_own_tail(p), p->tail);
  puppet_write(p, "", 1); /* a full FIFO wakes as well */
}

bool puppet_send(puppet_t* p, const void* payload, size_t bytes) {
  uint32_t head = puppet_load(puppet_peer_head(p));
  bool jumps = (p->capacity & (p->capacity - 1)) != 0; /* slots do, where the index wraps */

  if (p->tail - head >= p->capacity) return false;
  if (jumps && p->tail == 0 && head != 0) return false;
  puppet_fill(p, (uint32_t) bytes, payload, bytes);
  puppet_publish(p);
  return true;
}

int puppet_take(puppet_t* p, void* payload, size_t max) {
  unsigned char* slot = slot_of(p, p->engine, p->head);
  uint32_t length;

  if (puppet_load(puppet_peer_tail(p)) == p->head) return -1;
  memcpy(&length, slot, sizeof(length));
  memcpy(payload, slot + 4, length < max ? length : max);
  puppet_store(puppet_own_head(p), ++p->head);
  return (int) length;
}
