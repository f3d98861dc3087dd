/* SPDX-License-Identifier: MIT */
/* fuzz_header.c: an app attaches to a file that is the input. Input: 4 bytes of how long the file is (0 = as
 * long as the rest), then what stands in it.
 *
 * Holds ndnshm_connect() to a second opinion on which headers are good, ndnshm_inspect() to the bytes; a face
 * that attached then sends and receives. The FIFOs are honest. Does not change the file meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../include/ndnshm.h"
#include "../../lib/layout.h"
#include "../../lib/words.h"
#include "fuzz.h"
#include "sandbox.h"

#define SIZE_FIELD_BYTES 4
#define ARENA_MAX ((size_t) 1 << 20)

typedef struct engine_s {
  sandbox_names_t names;
  int fd, a2e, e2a;
} engine_t;

void ndnshm__point(const char* access) {
  (void) access;
}

static engine_t* engine_get(void) {
  static engine_t engine = {.fd = -1};

  if (engine.fd >= 0) return &engine;
  sandbox_names("header", &engine.names);
  engine.fd = sandbox_make_engine_files(&engine.names);
  engine.a2e = open(engine.names.a2e, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  engine.e2a = open(engine.names.e2a, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  FUZZ_REQUIRE(engine.a2e >= 0 && engine.e2a >= 0);
  return &engine;
}

/* To 16 MiB by the byte, to 64 GiB by the page: a file costs only what is written to it. */
static uint64_t file_bytes(const uint8_t* data, size_t content_bytes) {
  uint64_t bytes = (uint64_t) data[0] | (uint64_t) data[1] << 8 | (uint64_t) data[2] << 16;

  if (bytes == 0) return content_bytes;
  return data[3] % 2 == 0 ? bytes : bytes << 12;
}

/* What design 2 says; within the bounds, 2 * ring is below 2^62. */
static bool is_good(const ndnshm__region_header_t* h, uint64_t bytes) {
  uint64_t ring = (uint64_t) h->capacity * ((uint64_t) h->slot_size + 4);

  return h->magic == NDNSHM__MAGIC && h->capacity >= 1 && h->capacity <= NDNSHM__MAX_CAPACITY && h->slot_size >= 1 &&
         h->slot_size <= NDNSHM__MAX_SLOT_BYTES && bytes == 448 + 2 * ring &&
         h->a2e_tail.value - h->a2e_head.value <= h->capacity && h->e2a_tail.value - h->e2a_head.value <= h->capacity;
}

static void check_inspected(const ndnshm_header_t* seen, const ndnshm__region_header_t* h, uint64_t bytes) {
  FUZZ_REQUIRE(seen->magic == h->magic && seen->capacity == h->capacity && seen->slot_size == h->slot_size);
  FUZZ_REQUIRE(seen->engine_caps == h->engine_caps && seen->app_caps == h->app_caps);
  FUZZ_REQUIRE(seen->a2e_tail == h->a2e_tail.value && seen->e2a_head == h->e2a_head.value);
  FUZZ_REQUIRE(seen->e2a_parked == h->e2a_parked.value && seen->file_size == bytes);
}

static void receive(ndnshm_t* ep, const ndnshm__region_header_t* h) {
  struct iovec pkts[64];
  size_t mtu = ndnshm_get_mtu(ep);
  void* arena = malloc(mtu <= ARENA_MAX ? mtu : 1);
  int n;

  FUZZ_REQUIRE(arena != NULL);
  n = ndnshm_recv(ep, arena, mtu <= ARENA_MAX ? mtu : 1, pkts, 64);
  FUZZ_REQUIRE(n == -EPROTO || (n == -ENOBUFS && mtu > ARENA_MAX) || (n >= 0 && n <= 64));
  FUZZ_REQUIRE(n <= 0 || (uint32_t) n <= h->e2a_tail.value - h->e2a_head.value);
  free(arena);
  n = ndnshm_peek(ep, SIZE_MAX, pkts, 64);
  FUZZ_REQUIRE(n == -EPROTO || (n >= 0 && n <= 64));
  for (int p = 0; p < n; p++) FUZZ_REQUIRE(pkts[p].iov_len >= 1 && pkts[p].iov_len <= mtu);
  ndnshm_release(ep);
}

static void use(ndnshm_t* ep, const ndnshm__region_header_t* h) {
  static unsigned char byte = 'x';
  struct iovec pkts[3] = {{&byte, 1}, {&byte, 1}, {&byte, 1}};
  int n;

  FUZZ_REQUIRE(ndnshm_get_mtu(ep) == h->slot_size && ndnshm_get_capacity(ep) == h->capacity);
  n = ndnshm_send(ep, pkts, 1);
  FUZZ_REQUIRE(n == 1 || n == -EAGAIN);
  n = ndnshm_send_batch(ep, pkts, 3);
  FUZZ_REQUIRE((n >= 1 && n <= 3) || n == -EAGAIN);
  for (int i = 0; i < 3; i++) receive(ep, h);
  ndnshm_park(ep, NDNSHM_PACKETS | NDNSHM_SPACE);
  FUZZ_REQUIRE(ndnshm_wake(ep) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  engine_t* engine = engine_get();
  size_t content_bytes = size - SIZE_FIELD_BYTES;
  ndnshm__region_header_t h = {0};
  ndnshm_header_t seen;
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  uint64_t bytes;
  ndnshm_t* ep;
  int err;

  options.max_slot_size = UINT32_MAX;
  if (size < SIZE_FIELD_BYTES) return 0;
  bytes = file_bytes(data, content_bytes);
  if (content_bytes > bytes) content_bytes = (size_t) bytes;
  FUZZ_REQUIRE(ftruncate(engine->fd, 0) == 0);
  FUZZ_REQUIRE(pwrite(engine->fd, data + SIZE_FIELD_BYTES, content_bytes, 0) == (ssize_t) content_bytes);
  FUZZ_REQUIRE(ftruncate(engine->fd, (off_t) bytes) == 0);
  if (content_bytes > 0) memcpy(&h, data + SIZE_FIELD_BYTES, content_bytes < sizeof(h) ? content_bytes : sizeof(h));
  sandbox_enter();
  err = ndnshm_inspect(engine->names.face, &seen);
  FUZZ_REQUIRE(err == (bytes < sizeof(h) ? -EPROTO : 0));
  if (err == 0) check_inspected(&seen, &h, bytes);
  FUZZ_REQUIRE(ndnshm_new(&ep) == 0);
  err = ndnshm_connect(ep, engine->names.face, &options);
  FUZZ_REQUIRE(err == (bytes >= sizeof(h) && is_good(&h, bytes) ? 0 : -EPROTO));
  if (err == 0) use(ep, &h);
  ndnshm_free(ep);
  sandbox_leave();
  return 0;
}
