/* SPDX-License-Identifier: MIT */
/* puppet.c: see puppet.h. */
#include "puppet.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

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
  int fd = open(harness_shm_path(name), O_RDWR | O_CLOEXEC);
  struct stat st;

  memset(p, 0, sizeof(*p));
  snprintf(p->name, sizeof(p->name), "%s", name);
  ck_assert(fd >= 0 && fstat(fd, &st) == 0);
  p->region_bytes = (size_t) st.st_size;
  map_region(p, fd);
  p->capacity = *puppet_word(p, AT_CAPACITY);
  p->slot_size = *puppet_word(p, AT_SLOT_SIZE);
  p->tail = *puppet_own_tail(p);
  p->head = *puppet_own_head(p);
  p->rx_fd = open_fifo(harness_e2a_path(name), O_RDONLY);
  p->tx_fd = open_fifo(harness_a2e_path(name), O_WRONLY);
}

void puppet_make(puppet_t* p, const char* name, uint32_t capacity, uint32_t slot_size, uint32_t index) {
  uint64_t magic = MAGIC;
  int fd = open(harness_shm_path(name), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

  memset(p, 0, sizeof(*p));
  snprintf(p->name, sizeof(p->name), "%s", name);
  p->engine = true;
  p->capacity = capacity;
  p->slot_size = slot_size;
  p->tail = p->head = index;
  p->region_bytes = AT_SLOTS + 2 * capacity * stride(p);
  ck_assert(fd >= 0 && ftruncate(fd, (off_t) p->region_bytes) == 0);
  map_region(p, fd);
  *puppet_word(p, AT_CAPACITY) = capacity;
  *puppet_word(p, AT_SLOT_SIZE) = slot_size;
  *puppet_own_tail(p) = *puppet_own_head(p) = *puppet_peer_tail(p) = *puppet_peer_head(p) = index;
  ck_assert_int_eq(mkfifo(harness_a2e_path(name), 0600), 0);
  ck_assert_int_eq(mkfifo(harness_e2a_path(name), 0600), 0);
  p->rx_fd = open_fifo(harness_a2e_path(name), O_RDONLY);
  p->tx_fd = open_fifo(harness_e2a_path(name), O_RDWR);
  memcpy(p->region, &magic, sizeof(magic));
}

void puppet_die(puppet_t* p) {
  if (p->rx_fd >= 0) close(p->rx_fd);
  if (p->tx_fd >= 0) close(p->tx_fd);
  p->rx_fd = p->tx_fd = -1;
}

void puppet_drop(puppet_t* p) {
  puppet_die(p);
  munmap(p->region, p->region_bytes);
  if (!p->engine) return;
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

void puppet_publish(puppet_t* p) {
  ssize_t ignored;

  puppet_store(puppet_own_tail(p), p->tail);
  ignored = write(p->tx_fd, "", 1); /* a full FIFO wakes as well */
  (void) ignored;
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
