/* SPDX-License-Identifier: MIT */
/* fuzz_ring.c: a face of either role alone with an attacker, who acts at every access to shared memory.
 *
 * Finds: values of the peer's that are used unchecked or looked at twice, steps outside the region, writes to
 * what is the peer's, packets that change while they are parsed, more than one error, loops without end,
 * handles that keep a loop from closing. Does not find missing fences: it is one thread (test/models does). */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "victim.h"

/* The first byte of an input. */
enum { FLAG_APP = 1, FLAG_BORROW = 2, FLAG_CORE = 4, FLAG_WINDOWS = 8, FLAG_GEOMETRY = 0x30, FLAG_INDEX = 0xc0 };

/* What one step may take: a pass over a ring of empty slots is some hundreds, and ends the turn. */
#define POINTS_PER_STEP 100000
#define HOLD_STEPS 4

static victim_t victim;
static unsigned int points;
static unsigned char payload[VICTIM_PAYLOAD_MAX];

/* --- For the victims -------------------------------------------------------------------------- */

void ndnshm__point(const char* access) {
  attacker_t* a = &victim.attacker;

  (void) access;
  points++;
  FUZZ_REQUIRE(points < POINTS_PER_STEP); /* a step does not end */
  if (!a->is_engine) a->base = sandbox_region.base;
  if (a->active) attacker_step(a);
}

void victim_begin_step(void) {
  points = 0;
}

void victim_attached(victim_t* v) {
  attacker_t* a = &v->attacker;

  if (!a->is_engine) a->base = sandbox_region.base;
  attacker_watch(a);
  a->active = true;
}

/* All bytes of the packets, one after the other; their number. */
static size_t copy_bytes(const struct iovec pkts[], int npkts, unsigned char* to) {
  size_t bytes = 0;

  for (int p = 0; p < npkts; p++) {
    memcpy(to + bytes, pkts[p].iov_base, pkts[p].iov_len);
    bytes += pkts[p].iov_len;
  }
  return bytes;
}

static void check_place(const victim_t* v, const struct iovec* pkt) {
  uintptr_t at = (uintptr_t) pkt->iov_base, base = (uintptr_t) sandbox_region.base;
  uintptr_t ring = base + (v->is_engine ? v->geometry.a2e_offset : v->geometry.e2a_offset);
  size_t ring_bytes = v->geometry.capacity * v->geometry.stride;

  FUZZ_REQUIRE(pkt->iov_len >= 1 && pkt->iov_len <= v->geometry.slot_size);
  if (v->borrow)
    FUZZ_REQUIRE(at >= ring && at + pkt->iov_len <= ring + ring_bytes);
  else
    FUZZ_REQUIRE(at + pkt->iov_len <= base || at >= base + sandbox_region.bytes);
}

void victim_hold_packets(victim_t* v, const struct iovec pkts[], int npkts) {
  static unsigned char before[ATTACKER_REGION_MAX], after[ATTACKER_REGION_MAX];
  struct iovec views[64];
  size_t bytes;

  FUZZ_REQUIRE(npkts <= 64 && (uint32_t) npkts <= v->geometry.capacity);
  for (int p = 0; p < npkts; p++) check_place(v, &pkts[p]);
  memcpy(views, pkts, (size_t) npkts * sizeof(pkts[0]));
  bytes = copy_bytes(pkts, npkts, before);
  attacker_run(&v->attacker, HOLD_STEPS);
  FUZZ_REQUIRE(memcmp(views, pkts, (size_t) npkts * sizeof(pkts[0])) == 0);
  FUZZ_REQUIRE(copy_bytes(pkts, npkts, after) == bytes);
  FUZZ_REQUIRE(v->borrow || memcmp(before, after, bytes) == 0);
}

void victim_check_sent(victim_t* v, uint64_t sent) {
  if (v->attacker.head_writes != v->head_writes) {
    v->head_writes = v->attacker.head_writes;
    v->sent = sent;
  }
  FUZZ_REQUIRE(sent - v->sent <= 2 * (uint64_t) v->geometry.capacity);
}

bool victim_end_scripts(victim_t* v) {
  v->in.front = v->in.back;
  v->attacker.active = false;
  victim_begin_step();
  return v->attacker.pulled;
}

size_t victim_pick_length(victim_t* v) {
  uint8_t code = fuzz_back(&v->in);

  if (code >= 0xf8) return v->geometry.slot_size + code - 0xfcu;
  return code % (v->geometry.slot_size + 1);
}

struct iovec victim_pick_packet(victim_t* v) {
  return (struct iovec){payload, victim_pick_length(v)};
}

unsigned int victim_pick_batch(victim_t* v, struct iovec pkts[VICTIM_BATCH_MAX]) {
  unsigned int npkts = 1 + fuzz_back(&v->in) % VICTIM_BATCH_MAX;
  size_t len = victim_pick_length(v);

  for (unsigned int p = 0; p < npkts; p++) pkts[p] = (struct iovec){payload, len};
  return npkts;
}

/* --- The attacker's engine -------------------------------------------------------------------- */

/* The files of the face that an app attaches to; made once. */
typedef struct engine_files_s {
  sandbox_names_t names;
  int fd;
  size_t bytes;
  unsigned char* base;
  bool touched; /* in the run before */
} engine_files_t;
static engine_files_t files;

/* Where both indices of each ring start: 2^32 is near in two of four. */
static void write_header(const ndnshm__geometry_t* g, unsigned int index_kind, ndnshm__region_header_t* h) {
  const uint32_t starts[4] = {0, 0u - g->capacity, 0xffffffffu, 0x7fffffffu};

  memset(h, 0, g->region_bytes);
  h->magic = NDNSHM__MAGIC;
  h->capacity = g->capacity;
  h->slot_size = g->slot_size;
  h->engine_caps = index_kind % 2 == 0 ? NDNSHM__CAPS_TAG | 3 : 0;
  h->a2e_tail.value = h->a2e_head.value = starts[index_kind];
  h->e2a_tail.value = h->e2a_head.value = starts[index_kind];
}

static void play_engine(victim_t* v, unsigned int index_kind) {
  attacker_t* a = &v->attacker;

  if (files.base == NULL) {
    sandbox_names("engine", &files.names);
    files.fd = sandbox_make_engine_files(&files.names);
    files.base = mmap(NULL, ATTACKER_REGION_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, files.fd, 0);
    FUZZ_REQUIRE(files.base != MAP_FAILED);
  }
  if (files.touched) FUZZ_REQUIRE(ftruncate(files.fd, 0) == 0);
  if (files.touched || files.bytes != v->geometry.region_bytes)
    FUZZ_REQUIRE(ftruncate(files.fd, (off_t) v->geometry.region_bytes) == 0);
  files.bytes = v->geometry.region_bytes;
  files.touched = false;
  v->names = files.names;
  a->base = files.base;
  attacker_open_fifos(a);
  write_header(&v->geometry, index_kind, (ndnshm__region_header_t*) (void*) files.base);
}

/* --- The run ---------------------------------------------------------------------------------- */

static void choose_geometry(victim_t* v, unsigned int kind) {
  /* Whole pages, and what ends within one; slots on no boundary; as app also no power of two. */
  static const uint32_t engine[4][2] = {{4, 452}, {8, 17}, {1, 1820}, {2, 60}};
  static const uint32_t app[4][2] = {{4, 452}, {3, 604}, {8, 17}, {5, 25}};
  const uint32_t* choice = v->is_engine ? engine[kind] : app[kind];

  FUZZ_REQUIRE(ndnshm__geometry_from_header(choice[0], choice[1], &v->geometry) == 0);
  v->attacker.geometry = v->geometry;
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static sandbox_names_t engine_names;
  victim_t* v = &victim;
  attacker_t* a = &v->attacker;
  uint8_t flags;

  if (size < 2) return 0;
  if (engine_names.face[0] == '\0') {
    sandbox_names("victim", &engine_names);
    memset(payload, 'p', sizeof(payload));
  }
  memset(v, 0, sizeof(*v));
  v->in = (fuzz_input_t){data, data + size};
  flags = fuzz_front(&v->in);
  v->is_engine = (flags & FLAG_APP) == 0;
  v->borrow = (flags & FLAG_BORROW) != 0;
  v->windows = (flags & FLAG_WINDOWS) != 0;
  a->in = &v->in;
  a->names = &v->names;
  a->is_engine = !v->is_engine;
  a->own_fd = a->wake_fd = -1;
  choose_geometry(v, (flags & FLAG_GEOMETRY) >> 4);
  sandbox_enter();
  if (v->is_engine)
    v->names = engine_names;
  else
    play_engine(v, (flags & FLAG_INDEX) >> 6);
  if ((flags & FLAG_CORE) != 0)
    ring_core_run(v);
  else
    ring_face_run(v);
  a->active = false;
  attacker_close_fifos(a);
  files.touched = files.touched || a->file_touched;
  sandbox_leave();
  FUZZ_REQUIRE(sandbox_region.base == NULL);
  return 0;
}
