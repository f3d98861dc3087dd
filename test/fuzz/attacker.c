/* SPDX-License-Identifier: MIT */
/* attacker.c: the interpreter of attacker.h. */
#include "attacker.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "../../include/ndnshm.h"

#define FIFO_BYTES 65536
#define FIELDS (sizeof(field_offsets) / sizeof(field_offsets[0]))
#define AT(field) offsetof(ndnshm__region_header_t, field)

static const uint16_t field_offsets[] = {
    AT(magic),       AT(magic) + 4,  AT(capacity),    AT(slot_size),    /* 0 to 3 */
    AT(engine_caps), AT(app_caps),   AT(a2e_waiting), AT(e2a_waiting),  /* 4 to 7 */
    AT(a2e_tail),    AT(a2e_head),   AT(e2a_tail),    AT(e2a_head),     /* 8 to 11 */
    AT(a2e_parked),  AT(e2a_parked), AT(reserved),    AT(a2e_tail) + 4, /* 12 to 15 */
};

/* --- Memory ----------------------------------------------------------------------------------- */

static bool is_there(const attacker_t* a) {
  return a->base != NULL && !a->pulled;
}

static void put(attacker_t* a, size_t offset, const void* bytes, size_t len) {
  size_t head = a->is_engine ? AT(a2e_head) : AT(e2a_head);

  if (!is_there(a) || offset + len > a->geometry.region_bytes) return;
  if (offset <= head && offset + len > head) a->head_writes++;
  memcpy(a->base + offset, bytes, len);
  memcpy((unsigned char*) a->shadow + offset, bytes, len);
}

static void put_u32(attacker_t* a, size_t offset, uint32_t value) {
  put(a, offset, &value, sizeof(value));
}

static uint32_t get_u32(const attacker_t* a, size_t offset) {
  uint32_t value = 0;

  if (is_there(a)) memcpy(&value, a->base + offset, sizeof(value));
  return value;
}

/* Where the attacker's own ring and indices are, and those of the face. */
static size_t own_tail(const attacker_t* a) {
  return a->is_engine ? AT(e2a_tail) : AT(a2e_tail);
}

static size_t own_head(const attacker_t* a) {
  return a->is_engine ? AT(a2e_head) : AT(e2a_head);
}

static size_t face_tail(const attacker_t* a) {
  return a->is_engine ? AT(a2e_tail) : AT(e2a_tail);
}

static size_t face_head(const attacker_t* a) {
  return a->is_engine ? AT(e2a_head) : AT(a2e_head);
}

static size_t own_slot(const attacker_t* a, uint32_t index) {
  size_t ring = a->is_engine ? a->geometry.e2a_offset : a->geometry.a2e_offset;

  return ring + index % a->geometry.capacity * a->geometry.stride;
}

/* A number that breaks what is not checked, one near `now`, a small one, or any. */
static uint32_t pick_value(attacker_t* a, uint32_t now) {
  uint32_t capacity = a->geometry.capacity, slot_size = a->geometry.slot_size;
  const uint32_t nasty[16] = {
      0,
      1,
      capacity,
      capacity + 1, /* 0 to 3 */
      0x7fffffffu,
      0x80000000u,
      0x80000001u,
      0xffffffffu, /* 4 to 7 */
      slot_size,
      slot_size + 1,
      slot_size * 2,
      0xfffffffcu, /* 8 to 11 */
      65536,
      NDNSHM__CAPS_TAG,
      NDNSHM__CAPS_TAG | 1,
      NDNSHM__CAPS_TAG | 3,
  };
  uint8_t code = fuzz_front(a->in);

  if (code < 0x60) return nasty[code % 16];
  if (code < 0xa0) return now + code - 0x80u;
  if (code == 0xff) return fuzz_front_u32(a->in);
  return code - 0xa0u;
}

static void fill_slot(attacker_t* a, uint32_t index, uint8_t byte, size_t bytes) {
  unsigned char payload[ATTACKER_REGION_MAX];

  if (bytes > a->geometry.slot_size) bytes = a->geometry.slot_size;
  memset(payload, byte, bytes);
  put(a, own_slot(a, index) + NDNSHM__LENGTH_BYTES, payload, bytes);
}

/* --- FIFOs ------------------------------------------------------------------------------------ */

static void close_fd(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void open_fd(int* fd, const char* path, int flags) {
  if (*fd < 0) *fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);
}

/* As an engine it keeps its FIFO open both ways, as an app it can write only what somebody reads. */
static void open_wake_fd(attacker_t* a) {
  open_fd(&a->wake_fd, a->is_engine ? a->names->e2a : a->names->a2e, a->is_engine ? O_RDWR : O_WRONLY);
}

void attacker_open_fifos(attacker_t* a) {
  open_fd(&a->own_fd, a->is_engine ? a->names->a2e : a->names->e2a, O_RDONLY);
  open_wake_fd(a);
}

void attacker_close_fifos(attacker_t* a) {
  close_fd(&a->wake_fd);
  close_fd(&a->own_fd);
}

static void write_wake(attacker_t* a, size_t bytes) {
  static const char zeros[FIFO_BYTES];

  open_wake_fd(a);
  if (a->wake_fd < 0) return;
  sandbox_may_sigpipe = true;
  (void) !write(a->wake_fd, zeros, bytes);
  sandbox_may_sigpipe = false;
}

static void drain_own(attacker_t* a) {
  char bytes[4096];

  while (a->own_fd >= 0 && read(a->own_fd, bytes, sizeof(bytes)) == (ssize_t) sizeof(bytes)) continue;
}

static void use_fifo(attacker_t* a, unsigned int how) {
  static const uint32_t sizes[] = {1, 2, 255, 4095, 4096, 4097, 8192, FIFO_BYTES};

  if (how < 8) {
    write_wake(a, sizes[how]);
  } else if (how < 10) {
    close_fd(&a->wake_fd);
  } else if (how == 10) {
    close_fd(&a->own_fd);
  } else if (how < 13) {
    attacker_open_fifos(a);
  } else if (how == 13) {
    drain_own(a);
  } else if (how == 14) {
    attacker_close_fifos(a);
  } else {
    close_fd(&a->wake_fd); /* dead and back between two looks */
    open_wake_fd(a);
  }
}

/* --- The file --------------------------------------------------------------------------------- */

static bool cut_file(attacker_t* a, int fd, size_t bytes) {
  if (ftruncate(fd, (off_t) bytes) != 0) return false; /* sealed */
  a->pulled = bytes < a->geometry.region_bytes;
  a->was_cut = a->was_cut || a->pulled;
  return true;
}

static void punch_file(attacker_t* a, int fd) {
  off_t bytes = (off_t) a->geometry.region_bytes;

  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, bytes) == 0) memset(a->shadow, 0, sizeof(a->shadow));
}

/* A sealed region has no name that it could be opened by, or refuses. */
static void pull_file(attacker_t* a, unsigned int how) {
  const size_t bytes = a->geometry.region_bytes;
  char path[128];
  int fd;

  snprintf(path, sizeof(path), "/dev/shm%s", a->names->shm);
  fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0 || a->base == NULL) {
    close_fd(&fd);
    return;
  }
  a->file_touched = true;
  if (how % 4 == 0)
    cut_file(a, fd, 0);
  else if (how % 4 == 1)
    cut_file(a, fd, bytes * 2);
  else if (how % 4 == 2)
    punch_file(a, fd);
  else if (cut_file(a, fd, 0))
    cut_file(a, fd, bytes);
  a->head_writes++;
  close(fd);
}

/* --- Instructions ----------------------------------------------------------------------------- */

/* Sends a packet as an honest peer would, so that an input need not spell out how. */
static void push_packet(attacker_t* a, uint32_t bytes) {
  uint32_t tail = get_u32(a, own_tail(a));

  fill_slot(a, tail, (uint8_t) tail, bytes);
  put_u32(a, own_slot(a, tail), bytes);
  put_u32(a, own_tail(a), tail + 1);
}

/* A word that is one thing at one look and another at the next. */
static void start_flipping(attacker_t* a, unsigned int which) {
  size_t length = own_slot(a, get_u32(a, face_head(a)) + which % 4);
  uint32_t now;

  a->flip_offset = which < 4 ? length : field_offsets[fuzz_front(a->in) % FIELDS];
  now = get_u32(a, a->flip_offset);
  a->flip_values[0] = now;
  a->flip_values[1] = pick_value(a, now);
  a->flip_points = 1 + fuzz_front(a->in) % 32;
}

static void flip(attacker_t* a) {
  put_u32(a, a->flip_offset, a->flip_values[a->flip_points-- % 2]);
}

static void execute(attacker_t* a, uint8_t op) {
  unsigned int low = op & 0x0fu;
  size_t offset;

  switch (op >> 4) {
    case 3: start_flipping(a, low % 8); break;
    case 4:
    case 5:
      offset = field_offsets[low % FIELDS];
      put_u32(a, offset, pick_value(a, get_u32(a, offset)));
      break;
    case 6: put_u32(a, own_tail(a), get_u32(a, face_head(a)) + pick_value(a, low)); break;
    case 7: put_u32(a, own_head(a), get_u32(a, face_tail(a)) - pick_value(a, low)); break;
    case 8: /* near where the face reads */
    case 9: /* anywhere */
      offset = own_slot(a, op >> 4 == 8 ? get_u32(a, face_head(a)) + low % 4 : low);
      put_u32(a, offset, pick_value(a, get_u32(a, offset)));
      break;
    case 10: fill_slot(a, low, fuzz_front(a->in), a->geometry.slot_size); break;
    case 11: use_fifo(a, low); break;
    case 12: pull_file(a, low); break;
    case 2:
    case 13: push_packet(a, low < 12 ? low : low == 12 ? a->geometry.slot_size : pick_value(a, low)); break;
    case 14:
      push_packet(a, low);
      write_wake(a, 1);
      break;
    case 15: put_u32(a, own_head(a), get_u32(a, face_tail(a)) - low % 2); break; /* takes all packets but 0 or 1 */
    default: a->idle_points = op; break;                                         /* 0x00 to 0x1f */
  }
}

void attacker_step(attacker_t* a) {
  if (a->flip_points > 0) {
    flip(a);
  } else if (a->idle_points > 0) {
    a->idle_points--;
  } else if (fuzz_left(a->in) > 0) {
    execute(a, fuzz_front(a->in));
  }
}

void attacker_run(attacker_t* a, unsigned int n) {
  if (a->flip_points > 0) flip(a);
  a->idle_points = 0;
  while (n-- > 0 && fuzz_left(a->in) > 0) {
    execute(a, fuzz_front(a->in));
    a->idle_points = 0;
  }
}

/* --- What the face must not write ------------------------------------------------------------- */

static void allow(attacker_t* a, size_t offset, size_t bytes) {
  memset((unsigned char*) a->mask + offset, 0, bytes);
}

void attacker_watch(attacker_t* a) {
  const ndnshm__geometry_t* g = &a->geometry;

  FUZZ_REQUIRE(g->region_bytes <= ATTACKER_REGION_MAX);
  if (a->was_cut) return;
  memset(a->mask, 0, sizeof(a->mask));
  memset(a->mask, 0xff, g->region_bytes);
  memcpy(a->shadow, a->base, g->region_bytes);
  allow(a, face_tail(a), 4);
  allow(a, face_head(a), 4);
  if (a->is_engine) allow(a, AT(app_caps), 4); /* taken back when the app leaves */
  allow(a, AT(a2e_waiting), 4);                /* flags: set by one end, cleared by either; checked below */
  allow(a, AT(e2a_waiting), 4);
  allow(a, AT(a2e_parked), 4);
  allow(a, AT(e2a_parked), 4);
  allow(a, a->is_engine ? g->a2e_offset : g->e2a_offset, g->capacity * g->stride);
}

/* A flag of the attacker's may be cleared, and nothing else. */
static void check_flag(attacker_t* a, size_t offset) {
  uint32_t shadow;

  memcpy(&shadow, (unsigned char*) a->shadow + offset, sizeof(shadow));
  FUZZ_REQUIRE(get_u32(a, offset) == shadow || get_u32(a, offset) == 0);
  put_u32(a, offset, get_u32(a, offset));
}

/* Bits that differ from the shadow where the face must not write. Not instrumented: this is no news to a fuzzer, and
 * would cost more than all the rest. */
#ifdef __clang__
__attribute__((no_sanitize("address", "undefined", "coverage")))
#endif
static uint64_t
changed_bits(const attacker_t* a) {
  const uint64_t* region = (const uint64_t*) (const void*) a->base;
  const size_t words = a->geometry.region_bytes / 8;
  uint64_t changed = 0;

  for (size_t i = 0; i < words; i++) changed |= (region[i] ^ a->shadow[i]) & a->mask[i];
  return changed;
}

void attacker_check(attacker_t* a) {
  if (a->base == NULL || a->was_cut) return;
  FUZZ_REQUIRE(changed_bits(a) == 0); /* the face wrote what is the peer's */
  check_flag(a, a->is_engine ? AT(e2a_waiting) : AT(a2e_waiting));
  check_flag(a, a->is_engine ? AT(a2e_parked) : AT(e2a_parked));
}
