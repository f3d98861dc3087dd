/* SPDX-License-Identifier: MIT */
/* fuzz_fifo.c: a face of either role with a peer that keeps to the rings and does with its FIFOs what it likes:
 * opens, closes, comes back, dies, writes bytes for nothing or none at all. Input: flags, then instructions.
 *
 * Holds the face to the rules of attaching and of death: it attaches if and only if the engine lives; every
 * packet arrives, in order, whatever happened to the FIFOs; UV_EOF comes once, after the last packet, when the
 * peer is gone for good, and never when it never was. Hostile memory is fuzz_ring's. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../include/uvface.h"
#include "../../lib/layout.h"
#include "../../lib/words.h"
#include "fuzz.h"
#include "sandbox.h"

enum { FLAG_APP = 1, FLAG_NO_READER = 2, FLAG_NO_WRITER = 4, FLAG_BYTES = 8, FLAG_FENCED = 16, FLAG_SIZE = 0xe0 };

#define CAPACITY 4
#define SLOT_BYTES 60
#define STEPS_MAX 96
#define LAST_TURNS 96 /* 64 KiB of bytes are read 4096 at a time, and perhaps one portion a millisecond */

typedef struct run_s {
  fuzz_input_t in;
  uv_loop_t loop;
  uvface_t face;
  sandbox_names_t names;
  bool face_is_app;
  ndnshm__region_header_t* header; /* the region as the peer sees it */
  int wake_fd, own_fd;             /* the peer's ends: to wake the face, to be woken */
  int keep_fd;                     /* a reader of e2a, so that bytes without their writer can lie there; else -1 */
  uint32_t pushed, taken;          /* packets */
  bool attached;                   /* the peer had its wake_fd open since the face is there */
  bool seen_dead;                  /* the loop turned after that while it had not */
  int eofs, closes;
} run_t;

void ndnshm__point(const char* access) {
  (void) access;
}

/* --- The peer --------------------------------------------------------------------------------- */

static void close_fd(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void open_fd(int* fd, const char* path, int flags) {
  if (*fd < 0) *fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);
}

static void open_own(run_t* run) {
  open_fd(&run->own_fd, run->face_is_app ? run->names.a2e : run->names.e2a, O_RDONLY);
}

static void open_wake(run_t* run) {
  open_fd(&run->wake_fd, run->face_is_app ? run->names.e2a : run->names.a2e, run->face_is_app ? O_RDWR : O_WRONLY);
  if (run->wake_fd >= 0) run->attached = true;
}

static void write_bytes(run_t* run, unsigned int code) {
  static const char zeros[65536];
  static const size_t sizes[8] = {1, 1, 2, 4095, 4096, 4097, 20000, sizeof(zeros)};

  if (run->wake_fd < 0) return;
  sandbox_may_sigpipe = true;
  (void) !write(run->wake_fd, zeros, sizes[code % 8]);
  sandbox_may_sigpipe = false;
}

static void push(run_t* run, bool wake) {
  ndnshm__region_header_t* h = run->header;
  uint32_t* tail = run->face_is_app ? &h->e2a_tail.value : &h->a2e_tail.value;
  uint32_t* parked = run->face_is_app ? &h->e2a_parked.value : &h->a2e_parked.value;
  uint32_t head = run->face_is_app ? h->e2a_head.value : h->a2e_head.value;
  unsigned char* slots = (unsigned char*) h + sizeof(*h) + (run->face_is_app ? CAPACITY * (SLOT_BYTES + 4) : 0);
  unsigned char* slot = slots + *tail % CAPACITY * (SLOT_BYTES + 4);
  const uint32_t packet[2] = {4, run->pushed};

  if (*tail - head >= CAPACITY || run->eofs > 0) return;
  memcpy(slot, packet, sizeof(packet));
  ++*tail;
  run->pushed++;
  if (!wake || *parked == 0) return;
  *parked = 0;
  write_bytes(run, 0);
}

static void take_all(run_t* run) {
  ndnshm__region_header_t* h = run->header;

  if (run->face_is_app)
    h->a2e_head.value = h->a2e_tail.value;
  else
    h->e2a_head.value = h->e2a_tail.value;
}

static void park(run_t* run) {
  if (run->face_is_app)
    run->header->a2e_parked.value = 1;
  else
    run->header->e2a_parked.value = 1;
}

/* --- The face --------------------------------------------------------------------------------- */

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  run_t* run = face->data;

  FUZZ_REQUIRE(run->eofs == 0);
  if (npkts < 0) {
    FUZZ_REQUIRE(npkts == UV_EOF && run->seen_dead && run->taken == run->pushed);
    run->eofs++;
    return;
  }
  for (ssize_t p = 0; p < npkts; p++) {
    uint32_t number;

    FUZZ_REQUIRE(pkts[p].len == sizeof(number));
    memcpy(&number, pkts[p].base, sizeof(number));
    FUZZ_REQUIRE(number == run->taken);
    run->taken++;
  }
}

static void on_closed(uvface_t* face) {
  ((run_t*) face->data)->closes++;
}

static void turn(run_t* run) {
  if (run->attached && run->wake_fd < 0) run->seen_dead = true;
  uv_run(&run->loop, UV_RUN_NOWAIT);
}

static void send_one(run_t* run) {
  static char byte = 'y';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  int n = uvface_try_send(&run->face, &buf, 1);

  FUZZ_REQUIRE(n == 1 || n == UV_EAGAIN || (n == UV_EPIPE && run->seen_dead));
}

static void take_step(run_t* run, uint8_t op) {
  switch (op % 16) {
    case 0:
      open_own(run);
      open_wake(run);
      break;
    case 1:
      close_fd(&run->wake_fd);
      close_fd(&run->own_fd);
      break;
    case 2: close_fd(&run->wake_fd); break;
    case 3: close_fd(&run->own_fd); break;
    case 4: open_own(run); break;
    case 5: open_wake(run); break;
    case 6: write_bytes(run, op / 16); break;
    case 7: push(run, true); break;
    case 8: push(run, false); break;
    case 9: take_all(run); break;
    case 10: park(run); break;
    case 11: send_one(run); break;
    case 12: uvface_recv_stop(&run->face); break;
    case 13: uvface_recv_start(&run->face, on_packets); break;
    case 14: sandbox_advance_ms(1u + op / 16); break;
    default: turn(run); break;
  }
  if (op % 2 == 0) turn(run);
}

/* --- The run ---------------------------------------------------------------------------------- */

/* The files that an app attaches to: made once, written anew each time. */
static void make_engine(run_t* run, uint8_t flags) {
  static sandbox_names_t names;
  static ndnshm__region_header_t* header;
  const size_t bytes = sizeof(*header) + 2 * CAPACITY * (SLOT_BYTES + 4);

  if (header == NULL) {
    int fd;

    sandbox_names("fifo-app", &names);
    fd = sandbox_make_engine_files(&names);
    FUZZ_REQUIRE(ftruncate(fd, (off_t) bytes) == 0);
    header = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    FUZZ_REQUIRE(header != MAP_FAILED);
    close(fd);
  }
  memset(header, 0, bytes);
  header->magic = NDNSHM__MAGIC;
  header->capacity = CAPACITY;
  header->slot_size = SLOT_BYTES;
  header->engine_caps = (flags & FLAG_FENCED) != 0 ? NDNSHM__CAPS_TAG | 3 : 0;
  run->header = header;
  run->names = names;
  if ((flags & FLAG_NO_READER) == 0) open_own(run);
  open_fd(&run->keep_fd, names.e2a, O_RDONLY);
  open_wake(run);
  if ((flags & FLAG_BYTES) != 0) write_bytes(run, (flags & FLAG_SIZE) / 32);
  if ((flags & FLAG_NO_WRITER) != 0) close_fd(&run->wake_fd);
}

static int connect_face(run_t* run, const uvface_options_t* options, uint8_t flags) {
  bool is_dead = (flags & (FLAG_NO_READER | FLAG_NO_WRITER)) != 0; /* whatever bytes lie about */
  int err;

  make_engine(run, flags);
  err = uvface_connect(&run->face, run->names.face, options);
  FUZZ_REQUIRE(err == (is_dead ? UV_ECONNREFUSED : 0));
  close_fd(&run->keep_fd);
  return err;
}

static int create_face(run_t* run, uvface_options_t* options) {
  static sandbox_names_t names;

  if (names.face[0] == '\0') sandbox_names("fifo-engine", &names);
  run->names = names;
  run->attached = false;
  options->capacity = CAPACITY;
  options->slot_size = SLOT_BYTES;
  FUZZ_REQUIRE(uvface_create(&run->face, names.face, options) == 0);
  run->header = (ndnshm__region_header_t*) (void*) sandbox_region.base;
  return 0;
}

/* In the end the peer is gone for good, and the face must know if it ever knew the peer. */
static void end_face(run_t* run) {
  close_fd(&run->wake_fd);
  close_fd(&run->own_fd);
  uvface_recv_start(&run->face, on_packets);
  for (int n = 0; n < (run->attached ? LAST_TURNS : 3) && run->eofs == 0; n++) {
    sandbox_advance_ms(1);
    turn(run);
  }
  FUZZ_REQUIRE(run->eofs == (run->attached ? 1 : 0));
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  run_t run = {.in = {data, data + size}, .wake_fd = -1, .own_fd = -1, .keep_fd = -1};
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uint8_t flags = fuzz_front(&run.in);
  int err;

  options.hot_ns = options.spin_ns = 0;
  run.face_is_app = (flags & FLAG_APP) != 0;
  run.face.data = &run;
  sandbox_enter();
  FUZZ_REQUIRE(uv_loop_init(&run.loop) == 0);
  FUZZ_REQUIRE(uvface_init(&run.loop, &run.face) == 0);
  err = run.face_is_app ? connect_face(&run, &options, flags) : create_face(&run, &options);
  if (err == 0) {
    run.attached = run.face_is_app;
    FUZZ_REQUIRE(uvface_recv_start(&run.face, on_packets) == 0);
    for (int step = 0; step < STEPS_MAX && fuzz_left(&run.in) > 0; step++) take_step(&run, fuzz_front(&run.in));
    end_face(&run);
  }
  close_fd(&run.wake_fd);
  close_fd(&run.own_fd);
  uvface_close(&run.face, on_closed);
  FUZZ_REQUIRE(uv_run(&run.loop, UV_RUN_DEFAULT) == 0 && run.closes == 1);
  FUZZ_REQUIRE(uv_loop_close(&run.loop) == 0);
  sandbox_leave();
  return 0;
}
