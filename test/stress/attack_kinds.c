/* SPDX-License-Identifier: MIT */
/* attack_kinds.c: the attacker: a process without rights but those of its own face, which does its worst to
 * that face, and to every name it can reach, until it is told to stop. When the engine ends the face it takes
 * the next one. Counts what it tried, what was refused, and breaches: what must have been refused and was
 * not. Cleans up the names it has squatted. Everything it does, it does through system calls and memory that
 * the kernel gives it; it knows the protocol and the way this engine makes up names. */
#include "attack.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "raw_face.h"
#include "stress.h"

enum {
  LOOK_AHEAD = 64,
  LOOK_MS = 10000,
  ROUND_NS = 20000000,
  SQUATS = 6,
  LEASED = 5, /* the sixth way to take a name */
  LINK_MS = 20,
  GROW_BYTES = 64 << 20
};

const char* const attack_names[ATTACK_KINDS] = {"header", "index",      "length", "race",        "truncate", "punch",
                                                "flood",  "fifo modes", "twice",  "come and go", "squat",    "others",
                                                "grow",   "link",       "lease",  "sleepers"};

typedef struct attacker_s {
  stress_board_t* board;
  raw_face_t face;
  uint32_t generation; /* of face */
  uint32_t random;
  struct {
    char path[200];
    ino_t inode;
    int lease_fd; /* -1: none */
  } squats[SQUATS];
  unsigned int nsquats;
} attacker_t;

static const uint32_t nasty[] = {0,
                                 1,
                                 7,
                                 63,
                                 255,
                                 4096,
                                 STRESS_CAPACITY,
                                 STRESS_CAPACITY + 1,
                                 STRESS_SLOT_BYTES,
                                 STRESS_SLOT_BYTES + 1,
                                 0x7fffffff,
                                 0x80000000,
                                 0x80000001,
                                 0xfffffff0,
                                 0xffffffff};
enum { NASTY = sizeof(nasty) / sizeof(*nasty) };

void attack_canary_path(char* to, size_t size, const char* prefix) {
  snprintf(to, size, "/tmp/%s.canary", prefix);
}

static void tried(attacker_t* a, int kind) {
  stress_add(&a->board->tried[kind], 1);
}

/* For what may succeed: whether it was refused is for the report. */
static void outcome(attacker_t* a, int kind, int rc) {
  tried(a, kind);
  if (rc < 0) stress_add(&a->board->refused[kind], 1);
}

static bool told_to_stop(const attacker_t* a) {
  return atomic_load_explicit(&a->board->stop, memory_order_relaxed) != 0;
}

/* A packet as it should be, so that the engine looks and answers. */
static void nudge(attacker_t* a) {
  if (raw_has_room(&a->face)) raw_push(&a->face, 64);
  raw_ring(&a->face);
}

/* True while the face lives and the attacker may go on. */
static bool lives(attacker_t* a) {
  return !told_to_stop(a) && !raw_ended(&a->face, 0);
}

/* --- The region -------------------------------------------------------------------------------- */

static void attack_header(attacker_t* a) {
  static const size_t fields[] = {
      0,  4,  RAW_CAPACITY,   RAW_SLOT_SIZE,  16,           RAW_APP_CAPS, RAW_A2E_WAITING, 28,
      32, 60, RAW_A2E_PARKED, RAW_E2A_PARKED, RAW_A2E_HEAD, RAW_E2A_TAIL};
  for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
    for (size_t n = 0; n < NASTY && lives(a); n++) {
      raw_store(&a->face, fields[i], nasty[n]);
      nudge(a);
      tried(a, ATTACK_HEADER);
    }
}

/* One index a face: the first that is impossible ends it. */
static void attack_index(attacker_t* a) {
  static const size_t indices[] = {RAW_A2E_TAIL, RAW_A2E_HEAD, RAW_E2A_TAIL, RAW_E2A_HEAD};
  size_t at = indices[stress_random(&a->random) % 4];
  uint32_t base = raw_load(&a->face, at);
  for (size_t n = stress_random(&a->random) % NASTY; n < NASTY && lives(a); n++) {
    nudge(a);
    raw_store(&a->face, at, base + nasty[n]);
    raw_ring(&a->face);
    tried(a, ATTACK_INDEX);
    stress_nap(50);
  }
}

static void attack_length(attacker_t* a) {
  for (size_t n = stress_random(&a->random) % NASTY; n < NASTY && lives(a); n++) {
    raw_push(&a->face, nasty[n]);
    raw_ring(&a->face);
    tried(a, ATTACK_LENGTH);
    stress_nap(50);
  }
}

static void attack_race(attacker_t* a) {
  uint64_t end_ns = uv_hrtime() + ROUND_NS;
  while (uv_hrtime() < end_ns && lives(a)) {
    uint32_t tail = raw_load(&a->face, RAW_A2E_TAIL);
    raw_push(&a->face, 100);
    raw_ring(&a->face);
    for (int i = 0; i < 100; i++) {
      uint32_t length = i % 2 == 0 ? STRESS_SLOT_BYTES : stress_random(&a->random);
      memcpy(raw_slot(&a->face, tail), &length, sizeof(length));
      raw_slot(&a->face, tail)[4 + i] = (unsigned char) i;
    }
    raw_store(&a->face, RAW_E2A_HEAD, raw_load(&a->face, RAW_E2A_TAIL));
    tried(a, ATTACK_RACE);
  }
}

static void attack_truncate(attacker_t* a) {
  off_t whole = (off_t) a->face.bytes;
  const off_t sizes[] = {0, 1, 64, RAW_HEADER_BYTES, 4096, whole / 2, whole - 1, whole + 1, whole * 2, whole};
  if (a->board->may_truncate == 0) return;
  for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes) && lives(a); i++) {
    off_t size = sizes[stress_random(&a->random) % (sizeof(sizes) / sizeof(*sizes))];
    outcome(a, ATTACK_TRUNCATE, ftruncate(a->face.fd, size));
    if (i % 2 == 0) outcome(a, ATTACK_TRUNCATE, ftruncate(a->face.fd, whole)); /* and back: holes read as zeros */
    raw_ring(&a->face);
    stress_nap(200);
  }
}

static void attack_punch(attacker_t* a) {
  long page = sysconf(_SC_PAGESIZE);
  for (off_t at = 0; at < (off_t) a->face.bytes && lives(a); at += page) {
    outcome(a, ATTACK_PUNCH, fallocate(a->face.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, page));
    outcome(a, ATTACK_PUNCH, madvise(a->face.base + at, (size_t) page, MADV_REMOVE));
    nudge(a);
  }
}

/* Where it is not sealed: the longer the file, the longer a punch takes, and an access of the engine's waits for it. */
static void attack_grow(attacker_t* a) {
  off_t whole = (off_t) a->face.bytes;
  unsigned char header[RAW_HEADER_BYTES];
  memcpy(header, a->face.base, sizeof(header));
  for (int i = 0; i < 3 && lives(a); i++) {
    int rc = fallocate(a->face.fd, 0, whole, GROW_BYTES);
    outcome(a, ATTACK_GROW, rc);
    if (rc == 0) fallocate(a->face.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, whole + GROW_BYTES);
    if (rc == 0) memcpy(a->face.base, header, sizeof(header));
    nudge(a);
  }
}

/* In a directory of our own, from which we may remove whatever is ours or not; but not what is append-only. */
static void attack_link(attacker_t* a) {
  char directory[200], region[200], other[220];
  snprintf(region, sizeof(region), "/dev/shm%s", a->face.shm);
  snprintf(directory, sizeof(directory), "/dev/shm/ndn-shm-%s-links", a->board->prefix);
  snprintf(other, sizeof(other), "%s/%lu", directory, (unsigned long) a->generation);
  mkdir(directory, 0700);
  int rc = link(region, other); /* too late where the engine has seen us */
  outcome(a, ATTACK_LINK, rc);
  for (int ms = 0; ms < LINK_MS && lives(a); ms++) {
    nudge(a);
    stress_nap(1000);
  }
  if (rc == 0 && unlink(other) != 0) {
    stress_add(&a->board->breaches[ATTACK_LINK], 1);
    stress_say(a->board, "attacker: %s cannot be removed any more: %s", other, strerror(errno));
  }
  rmdir(directory);
}

static void attack_sleepers(attacker_t* a) {
  bool gathered = stress_gather_sleepers(&a->face);
  uint64_t end_ns = uv_hrtime() + ROUND_NS;
  while (gathered && uv_hrtime() < end_ns && lives(a)) {
    raw_store(&a->face, RAW_E2A_PARKED, 1);
    nudge(a);
    stress_swallow(&a->face);
    tried(a, ATTACK_SLEEPERS);
    stress_nap(200);
  }
  close_range(STRESS_SLEEPERS_FD, ~0u, 0);
}

/* --- The FIFOs --------------------------------------------------------------------------------- */

static void attack_flood(attacker_t* a) {
  uint64_t end_ns = uv_hrtime() + ROUND_NS;
  while (uv_hrtime() < end_ns && lives(a)) {
    for (int i = 0; i < STRESS_CAPACITY && raw_has_room(&a->face); i++) raw_push(&a->face, 0);
    raw_flood(&a->face);
    tried(a, ATTACK_FLOOD);
  }
}

static void attack_modes(attacker_t* a) {
  static const int modes[] = {O_RDONLY, O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC, O_RDWR | O_APPEND};
  char bytes[4096];
  for (size_t i = 0; i < 2 * sizeof(modes) / sizeof(*modes) && lives(a); i++) {
    const char* path = i % 2 == 0 ? a->face.a2e_path : a->face.e2a_path;
    int fd = open(path, modes[i / 2] | O_NONBLOCK | O_CLOEXEC);
    outcome(a, ATTACK_MODES, fd);
    if (fd < 0) continue;
    nudge(a);
    outcome(a, ATTACK_MODES, (int) read(fd, bytes, sizeof(bytes)));
    outcome(a, ATTACK_MODES, (int) write(fd, bytes, sizeof(bytes)));
    close(fd);
  }
  outcome(a, ATTACK_MODES, unlink(a->face.a2e_path));
  outcome(a, ATTACK_MODES, shm_unlink(a->face.shm));
  outcome(a, ATTACK_MODES, fchmod(a->face.fd, 0777));
}

/* --- Attaching --------------------------------------------------------------------------------- */

static void attack_twice(attacker_t* a) {
  raw_face_t second;
  char name[128];
  stress_face_name(name, sizeof(name), a->board->prefix, ATTACK_PLACE, a->generation);
  int rc = raw_open(&second, name);
  outcome(a, ATTACK_TWICE, rc);
  for (int i = 0; i < 200 && rc == 0 && lives(a); i++) {
    raw_push(&second, 64);
    nudge(a);
    raw_store(&second, RAW_E2A_HEAD, raw_load(&second, RAW_E2A_TAIL));
  }
  if (rc == 0) raw_close(&second);
}

static void attack_come_go(attacker_t* a) {
  for (int i = 0; i < 20 && lives(a); i++) {
    close(a->face.a2e);
    a->face.a2e = open(a->face.a2e_path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    outcome(a, ATTACK_COME_GO, a->face.a2e);
  }
}

/* --- Names ------------------------------------------------------------------------------------- */

/* An engine of the same user may have taken the name by now. */
static void clear_squats(attacker_t* a) {
  struct stat st;
  for (unsigned int i = 0; i < a->nsquats; i++) {
    if (lstat(a->squats[i].path, &st) == 0 && st.st_ino == a->squats[i].inode && unlink(a->squats[i].path) != 0)
      rmdir(a->squats[i].path);
    if (a->squats[i].lease_fd >= 0) close(a->squats[i].lease_fd);
  }
  a->nsquats = 0;
}

/* Who opens it waits until we give the lease back, or until /proc/sys/fs/lease-break-time is over: 45 s. */
static int open_leased(const char* path) {
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd >= 0) fcntl(fd, F_SETLEASE, F_WRLCK);
  return fd;
}

static void squat(attacker_t* a, const char* path, unsigned int how) {
  char canary[160];
  struct stat st;
  int rc = -1;
  if (a->nsquats == SQUATS) return;
  attack_canary_path(canary, sizeof(canary), a->board->prefix);
  switch (how) {
    case 0: rc = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666); break;
    case 1: rc = mkfifo(path, 0666); break;
    case 2: rc = symlink(canary, path); break;
    case 3: rc = link(canary, path); break;
    case LEASED: rc = open_leased(path); break;
    default: rc = mkdir(path, 0777); break;
  }
  outcome(a, how == LEASED ? ATTACK_LEASE : ATTACK_SQUAT, rc);
  if (rc < 0) return;
  if (how == 0) close(rc);
  a->squats[a->nsquats].lease_fd = how == LEASED ? rc : -1;
  snprintf(a->squats[a->nsquats].path, sizeof(a->squats[0].path), "%s", path);
  if (lstat(path, &st) == 0) a->squats[a->nsquats++].inode = st.st_ino;
}

/* The three names of the n-th face that comes next. */
static void names_to_come(const attacker_t* a, uint32_t n, char region[200], raw_face_t* ret_names) {
  char name[128];
  stress_face_name(name, sizeof(name), a->board->prefix, ATTACK_PLACE, a->generation + 1 + n);
  raw_paths(ret_names, name);
  snprintf(region, 200, "/dev/shm%s", ret_names->shm);
}

/* Each of them has one of its names taken, in one of five ways. */
static void attack_squat(attacker_t* a) {
  clear_squats(a);
  for (uint32_t i = 0; i < 3; i++) {
    raw_face_t names;
    char region[200];
    names_to_come(a, i, region, &names);
    const char* const paths[] = {region, names.a2e_path, names.e2a_path};
    squat(a, paths[stress_random(&a->random) % 3], stress_random(&a->random) % LEASED);
  }
}

static void attack_lease(attacker_t* a) {
  clear_squats(a);
  for (uint32_t i = 0; i < 3; i++) {
    raw_face_t names;
    char region[200];
    names_to_come(a, i, region, &names);
    squat(a, i == 0 ? region : i == 1 ? names.a2e_path : names.e2a_path, LEASED);
  }
}

/* Must be refused, in a way that says that it was the rights. */
static void forbidden(attacker_t* a, int rc, const char* what, const char* path) {
  /* EINVAL: truncate() of a FIFO, whoever asks. Anything else means that the rights were there. */
  bool refused = rc < 0 && (errno == EACCES || errno == EPERM || errno == ENOENT || errno == EINVAL);
  outcome(a, ATTACK_OTHERS, rc);
  if (refused) return;
  stress_add(&a->board->breaches[ATTACK_OTHERS], 1);
  stress_say(a->board, "attacker: %s %s: %s", what, path, rc < 0 ? strerror(errno) : "was allowed");
}

static void attack_path(attacker_t* a, const char* path) {
  static const int modes[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_TRUNC};
  char other[200];
  for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
    int fd = open(path, modes[i] | O_NONBLOCK | O_CLOEXEC);
    forbidden(a, fd, "open", path);
    if (fd >= 0) close(fd);
  }
  snprintf(other, sizeof(other), "%s.stolen", path);
  forbidden(a, chmod(path, 0777), "chmod", path);
  forbidden(a, truncate(path, 0), "truncate", path);
  forbidden(a, rename(path, other), "rename", path);
  forbidden(a, unlink(path), "unlink", path);
}

static void attack_others(attacker_t* a) {
  char path[200];
  if (a->board->is_stranger == 0) return;
  for (uint32_t place = 0; place < ATTACK_VICTIMS; place++) {
    raw_face_t names;
    char name[128];
    stress_face_name(name, sizeof(name), a->board->prefix, place, 1);
    raw_paths(&names, name);
    snprintf(path, sizeof(path), "/dev/shm%s", names.shm);
    attack_path(a, path);
    attack_path(a, names.a2e_path);
    attack_path(a, names.e2a_path);
  }
  snprintf(path, sizeof(path), "/proc/%ld/mem", (long) a->board->engine_pid);
  forbidden(a, open(path, O_RDWR | O_CLOEXEC), "open", path);
  forbidden(a, kill(a->board->engine_pid, SIGTERM), "kill", "the engine");
}

/* --- Going on ---------------------------------------------------------------------------------- */

/* The engine's next face: one it made, with a later generation, skipping names that are squatted. */
static bool next_face(attacker_t* a) {
  for (int ms = 0; ms < LOOK_MS && !told_to_stop(a); ms++) {
    for (uint32_t g = a->generation + 1; g <= a->generation + LOOK_AHEAD; g++) {
      char name[128];
      stress_face_name(name, sizeof(name), a->board->prefix, ATTACK_PLACE, g);
      if (raw_open(&a->face, name) != 0) continue;
      a->generation = g;
      stress_add(&a->board->received, 1); /* faces */
      return true;
    }
    stress_nap(1000);
  }
  if (!told_to_stop(a)) {
    stress_say(a->board, "attacker: no face after generation %u", a->generation);
    stress_add(&a->board->errors, 1);
  }
  return false;
}

static void attack(attacker_t* a, int kind) {
  static void (*const attacks[ATTACK_KINDS])(attacker_t*) = {
      attack_header, attack_index, attack_length, attack_race,    attack_truncate, attack_punch,
      attack_flood,  attack_modes, attack_twice,  attack_come_go, attack_squat,    attack_others,
      attack_grow,   attack_link,  attack_lease,  attack_sleepers};
  if (kind != ATTACK_SQUAT && kind != ATTACK_OTHERS && kind != ATTACK_LEASE && kind != ATTACK_LINK)
    /* a live face, not one that is just made */
    nudge(a);
  attacks[kind](a);
  raw_ring(&a->face);
  raw_ended(&a->face, 5);
}

int stress_attacker(stress_board_t* board) {
  static attacker_t a;
  a.board = board;
  a.random = board->seed;
  signal(SIGPIPE, SIG_IGN); /* a killed engine is the judge's to see */
  signal(SIGIO, SIG_IGN);   /* somebody opens what we have a lease of */
  for (int kind = 0; !told_to_stop(&a); kind = (kind + 1) % ATTACK_KINDS) {
    while (atomic_load(&board->pause) != 0 && !told_to_stop(&a)) stress_nap(1000);
    if (!next_face(&a)) break;
    atomic_store(&board->ready, 1);
    attack(&a, kind);
    raw_close(&a.face);
  }
  clear_squats(&a);
  return stress_get(&board->errors) > 0;
}
