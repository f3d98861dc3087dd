/* SPDX-License-Identifier: MIT */
/* stress_villains.c: apps that break the protocol, or keep to it and nothing else: hostile, flood, wakes,
 * stopped. Each does its worst to its own face until the engine ends it or it is told to stop. None writes
 * outside its face. Hostile, flood and wakes never rest: they use all of a CPU that they get. And burn, which does
 * that and nothing else: what others suffer from it is the kernel's doing. */
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <uv.h>

#include "raw_face.h"
#include "stress.h"

enum {
  OPEN_MS = 10000,
  NOBODY = 65534,
  BEHAVE_NS = 20000000,
  HARMLESS_MS = 100, /* a strike that is none to the engine ends with the process */
  ENDED_MS = 10000,
  BATCH = 64,
  STRIKES = 9,
  OUTRIGHT = 6
};

bool stress_stopped_by_stage(const stress_board_t* board) {
  return atomic_load_explicit(&board->stop, memory_order_relaxed) != 0;
}

/* Who has a private face needs no right to any file: root's villain becomes nobody, and so is another user. */
static bool give_up_rights(void) {
  if (geteuid() != 0) return true;
  if (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0)
    return false;
  return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0; /* which that has cleared */
}

bool stress_take_face(stress_board_t* board, raw_face_t* f, const char* name) {
  static const int inherited[] = {STRESS_FACE_FD, STRESS_FACE_FD + 1, STRESS_FACE_FD + 2};
  signal(SIGPIPE, SIG_IGN);
  int err = board->is_private != 0 ? raw_attach(f, inherited) : raw_open_waiting(f, name, OPEN_MS);
  if (err == 0 && board->is_private != 0 && !give_up_rights()) err = -errno;
  if (err == 0) return true;
  stress_say(board, "villain of place %u: cannot open %s: %s", board->place, name, strerror(-err));
  stress_add(&board->errors, 1);
  return false;
}

static bool enter(stress_board_t* board, raw_face_t* f, const char* name) {
  bool entered = stress_take_face(board, f, name);
  if (entered) atomic_store(&board->ready, 1);
  return entered;
}

void stress_swallow(raw_face_t* f) {
  raw_store(f, RAW_E2A_HEAD, raw_load(f, RAW_E2A_TAIL));
}

static void scribble(raw_face_t* f, uint32_t* random) {
  for (int i = 0; i < 1000; i++) {
    raw_store(f, (size_t) (stress_random(random) % (RAW_HEADER_BYTES / 4)) * 4, stress_random(random) * 257u);
    raw_ring(f);
  }
}

static void change_while_read(raw_face_t* f) {
  uint32_t good = 100, bad = f->slot_size * 2, tail = raw_load(f, RAW_A2E_TAIL);
  for (int i = 0; i < 20000 && raw_has_room(f); i++) {
    raw_push(f, good);
    memcpy(raw_slot(f, tail), &bad, sizeof(bad));
    memcpy(raw_slot(f, tail), &good, sizeof(good));
    tail = raw_load(f, RAW_A2E_TAIL);
    stress_swallow(f);
  }
}

/* Truncation is tried only on an engine that says it survives it. */
static void truncate_it(const stress_board_t* board, raw_face_t* f, uint32_t* random) {
  if (board->may_truncate == 0 || ftruncate(f->fd, (off_t) (stress_random(random) % f->bytes)) != 0)
    raw_push(f, UINT32_MAX);
}

/* The engine looks at the index of answers when it has no more room by the one it knows: so it is asked on. */
static void take_more_than_there_is(raw_face_t* f, uint32_t* random) {
  raw_store(f, RAW_E2A_HEAD, raw_load(f, RAW_E2A_TAIL) + 1000 + stress_random(random));
  for (int i = 0; i < ENDED_MS && !raw_ended(f, 1); i++) {
    if (raw_has_room(f)) raw_push(f, 100);
    raw_ring(f);
  }
}

/* The first OUTRIGHT kinds are impossible however the engine has moved on meanwhile, and must end the face. */
static void strike(const stress_board_t* board, raw_face_t* f, uint32_t kind, uint32_t* random) {
  uint32_t tail = raw_load(f, RAW_A2E_TAIL);
  switch (kind) {
    case 0: raw_store(f, RAW_A2E_TAIL, tail + f->capacity + 1); break;
    case 1: raw_store(f, RAW_A2E_TAIL, tail + (UINT32_C(1) << 31)); break;
    case 2: raw_store(f, RAW_A2E_TAIL, raw_load(f, RAW_A2E_HEAD) - 1); break;
    case 3: raw_push(f, UINT32_MAX); break;
    case 4: raw_push(f, f->slot_size + 1); break;
    case 5: take_more_than_there_is(f, random); break;
    case 6: scribble(f, random); break;
    case 7: change_while_read(f); break;
    default: truncate_it(board, f, random); break;
  }
}

static void behave(const stress_board_t* board, raw_face_t* f) {
  uint64_t end_ns = uv_hrtime() + BEHAVE_NS;
  while (uv_hrtime() < end_ns && !stress_stopped_by_stage(board)) {
    if (raw_has_room(f)) raw_push(f, 64);
    stress_swallow(f);
    raw_ring(f);
  }
}

/* Takes the answers meanwhile: an engine that finds no room for them looks at nothing more, and rightly so. */
static bool ended_while_taking(raw_face_t* f) {
  for (int ms = 0; ms < ENDED_MS; ms++) {
    stress_swallow(f);
    raw_ring(f);
    if (raw_ended(f, 1)) return true;
  }
  return false;
}

/* Behaves for a while, or until it is told to stop; then one of the strikes, by the seed. */
int stress_hostile(stress_board_t* board, const char* name) {
  raw_face_t f;
  uint32_t random = board->seed, kind = board->seed % STRIKES;
  if (!enter(board, &f, name)) return 1;
  behave(board, &f);
  strike(board, &f, kind, &random);
  raw_ring(&f);
  bool ended = kind < OUTRIGHT ? raw_ended(&f, 0) || ended_while_taking(&f) : raw_ended(&f, HARMLESS_MS);
  raw_close(&f);
  if (ended || kind >= OUTRIGHT) return 0;
  stress_say(board, "villain of place %u: strike %u did not end the face", board->place, kind);
  return 1;
}

int stress_flood(stress_board_t* board, const char* name) {
  raw_face_t f;
  uint32_t length = 0;
  if (!enter(board, &f, name)) return 1;
  while (!stress_stopped_by_stage(board) && !raw_ended(&f, 0)) {
    for (int i = 0; i < BATCH && raw_has_room(&f); i++) {
      length = length % f.slot_size + 1;
      raw_push(&f, length);
      stress_add(&board->sent, 1);
    }
    stress_swallow(&f);
    raw_flood(&f);
  }
  raw_close(&f);
  return 0;
}

int stress_wakes(stress_board_t* board, const char* name) {
  raw_face_t f;
  if (!enter(board, &f, name)) return 1;
  while (!stress_stopped_by_stage(board) && !raw_ended(&f, 0)) stress_add(&board->sent, raw_flood(&f));
  raw_close(&f);
  return 0;
}

int stress_burn(stress_board_t* board, const char* name) {
  raw_face_t f;
  if (!enter(board, &f, name)) return 1;
  while (!stress_stopped_by_stage(board)) continue;
  raw_close(&f);
  return 0;
}

/* Asks until the answers fill their ring, and the questions the other; then it is there and does nothing. */
int stress_stopped(stress_board_t* board, const char* name) {
  raw_face_t f;
  if (!enter(board, &f, name)) return 1;
  for (int idle = 0; idle < 50; idle++, stress_nap(1000)) {
    while (raw_has_room(&f)) {
      raw_push(&f, 64);
      raw_ring(&f);
      idle = 0;
    }
  }
  raise(SIGSTOP);
  raw_close(&f);
  return 0;
}
