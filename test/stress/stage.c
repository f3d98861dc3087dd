/* SPDX-License-Identifier: MIT */
/* stage.c: who plays where, and for how long: see stage.h. One thread, no events: it looks every few
 * milliseconds. A place whose player is gone is vacant until the engine has opened the next face there;
 * that it does so within STAGE_WAIT_MS is part of what is tested. */
#include "stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <ndnshm.h>
#include <uv.h>

enum { LOOK_US = 5000, WINDOW_LONG = 96, WINDOW_SHORT = 24 };

void stage_fail(stage_t* s, const char* format, ...) {
  va_list args;
  if (s->failed) return;
  s->failed = true;
  va_start(args, format);
  vsnprintf(s->why, sizeof(s->why), format, args);
  va_end(args);
}

static bool honest(const char* part) {
  return part != NULL && (strcmp(part, "app") == 0 || strcmp(part, "mortal") == 0);
}

/* --- Starting and ending ----------------------------------------------------------------------- */

static void free_board(actor_t* a) {
  munmap(a->board, sizeof(*a->board));
  *a = (actor_t){0, NULL};
}

static void confine(stage_t* s, pid_t pid, const cpu_set_t* cpus) {
  if (sched_setaffinity(pid, sizeof(*cpus), cpus) != 0 && errno != ESRCH)
    stage_fail(s, "sched_setaffinity: %s", strerror(errno));
}

void stage_keep_apart(stage_t* s) {
  size_t last = CPU_SETSIZE - 1;
  CPU_ZERO(&s->cpus[1]);
  if (sched_getaffinity(0, sizeof(s->cpus[0]), &s->cpus[0]) != 0 || CPU_COUNT(&s->cpus[0]) < 2) return;
  while (!CPU_ISSET(last, &s->cpus[0])) last--;
  CPU_CLR(last, &s->cpus[0]);
  CPU_SET(last, &s->cpus[1]);
  s->apart = true;
  confine(s, s->engine.pid, &s->cpus[0]);
}

static bool start_actor(stage_t* s, actor_t* a, const char* part, const char* face, int board_fd, const int more[],
                        size_t nmore) {
  pid_t pid = stage_start(s->program, part, face, board_fd, more, nmore, (uid_t) -1, (gid_t) -1);
  if (pid < 0) stage_fail(s, "fork: %s", strerror(errno));
  close(board_fd);
  a->pid = pid > 0 ? pid : 0;
  return pid > 0;
}

static void look_for_engine(stage_t* s) {
  siginfo_t info = {.si_pid = 0};
  if (waitid(P_PID, (id_t) s->engine.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0)
    stage_fail(s, "the engine ended (%s %d): %s", info.si_code == CLD_EXITED ? "status" : "signal", info.si_status,
               s->engine.board->message);
  if (stress_get(&s->engine.board->errors) > 0) stage_fail(s, "%s", s->engine.board->message);
}

static bool open_stage(stage_t* s, const char* program, uint32_t nhealthy, uint32_t nplaces, bool is_private,
                       uint32_t open_place, gid_t open_gid) {
  int fd, sockets[2] = {-1, -1};
  *s = (stage_t){.program = program,
                 .nplaces = nplaces,
                 .nhealthy = nhealthy,
                 .is_private = is_private,
                 .seed = (uint32_t) getpid()};
  snprintf(s->prefix, sizeof(s->prefix), "%s-%ld", program, (long) getpid());
  for (uint32_t i = 0; i < STRESS_PLACES; i++) s->places[i].window = i % 2 == 0 ? WINDOW_LONG : WINDOW_SHORT;
  s->engine.board = stage_board_new(&fd);
  if (s->engine.board == NULL) {
    fprintf(stderr, "%s: memfd_create: %s\n", program, strerror(errno));
    exit(EXIT_FAILURE); /* nothing is there yet, and nothing can be reported without a board */
  }
  memcpy(s->engine.board->prefix, s->prefix, sizeof(s->prefix));
  s->engine.board->nplaces = nplaces;
  s->engine.board->open_place = open_place;
  s->engine.board->open_gid = open_gid;
  s->engine.board->is_private = is_private;
  if (is_private && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0)
    stage_fail(s, "socketpair: %s", strerror(errno));
  s->offers = sockets[0];
  bool started = start_actor(s, &s->engine, "engine", "", fd, &sockets[1], is_private ? 1 : 0);
  if (is_private) close(sockets[1]);
  if (!started) return false;
  for (unsigned int ms = 0; ms < STAGE_WAIT_MS && !s->failed && atomic_load(&s->engine.board->ready) == 0; ms++) {
    look_for_engine(s);
    stress_nap(1000);
  }
  if (atomic_load(&s->engine.board->ready) == 0)
    stage_fail(s, "the engine does not start: %s", s->engine.board->message);
  return !s->failed;
}

bool stage_open(stage_t* s, const char* program, uint32_t nhealthy, uint32_t nplaces, uint32_t open_place,
                gid_t open_gid) {
  return open_stage(s, program, nhealthy, nplaces, false, open_place, open_gid);
}

bool stage_open_private(stage_t* s, const char* program, uint32_t nhealthy, uint32_t nplaces) {
  return open_stage(s, program, nhealthy, nplaces, true, STRESS_PLACES, (gid_t) -1);
}

/* --- Private faces ----------------------------------------------------------------------------- */

static void drop_offer(stage_place_t* p) {
  for (int k = 0; k < 3 && p->offered != 0; k++) close(p->fds[k]);
  p->offered = 0;
}

/* False if there is none. */
static bool take_offer(stage_t* s) {
  stress_offer_t offer;
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(3 * sizeof(int))];
  } control;
  struct iovec v = {&offer, sizeof(offer)};
  struct msghdr m = {
      .msg_iov = &v, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
  if (recvmsg(s->offers, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != sizeof(offer)) return false;
  const struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  if (c == NULL || c->cmsg_len != CMSG_LEN(3 * sizeof(int)) || offer.place >= s->nplaces) {
    stage_fail(s, "the engine offers what is no face");
    return false;
  }
  stage_place_t* p = &s->places[offer.place];
  drop_offer(p);
  memcpy(p->fds, CMSG_DATA(c), sizeof(p->fds));
  p->offered = offer.generation;
  return true;
}

/* --- Parts ------------------------------------------------------------------------------------- */

static void start_part(stage_t* s, uint32_t i, uint32_t generation) {
  stage_place_t* p = &s->places[i];
  char face[128];
  int fd;
  stress_board_t* b = p->actor.board = stage_board_new(&fd);
  if (b == NULL) {
    stage_fail(s, "memfd_create: %s", strerror(errno));
    return;
  }
  stress_face_name(face, sizeof(face), s->prefix, i, generation);
  b->place = i;
  b->window = p->window;
  b->seed = honest(p->part) ? generation : s->seed++;
  b->may_truncate = atomic_load(&s->engine.board->guard);
  b->is_private = s->is_private;
  atomic_store(&s->engine.board->places[i].honest, honest(p->part));
  bool started = start_actor(s, &p->actor, p->part, face, fd, p->fds, s->is_private ? 3 : 0);
  drop_offer(p);
  if (started) {
    p->generation = generation;
    s->starts++;
    if (s->apart) confine(s, p->actor.pid, &s->cpus[i >= s->nhealthy]);
  }
}

/* What an app that is gone has found counts on. */
static void vacate(stage_t* s, uint32_t i) {
  stage_place_t* p = &s->places[i];
  s->lost_packets += stress_get(&p->actor.board->faults);
  s->blows += stress_get(&p->actor.board->struck);
  s->breaches += stress_get(&p->actor.board->breaches[0]);
  if (stress_get(&p->actor.board->breaches[0]) > 0) stage_fail(s, "%s", p->actor.board->message);
  if (p->actor.board->message[0] != '\0' && stress_get(&p->actor.board->faults) > 0)
    stage_fail(s, "%s", p->actor.board->message);
  free_board(&p->actor);
  p->vacant_ns = uv_hrtime();
}

/* Not before it has attached: the engine would wait on for somebody who is to come. */
void stage_kill(stage_t* s, uint32_t i) {
  actor_t* a = &s->places[i].actor;
  siginfo_t info = {.si_pid = 0};
  if (a->pid == 0) return;
  for (unsigned int ms = 0; ms < STAGE_WAIT_MS && atomic_load(&a->board->ready) == 0; ms++) {
    if (waitid(P_PID, (id_t) a->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0) break;
    stress_nap(1000);
  }
  kill(a->pid, SIGKILL);
  waitpid(a->pid, NULL, 0);
  vacate(s, i);
}

static void note_end(stage_t* s, uint32_t i, int status) {
  const stage_place_t* p = &s->places[i];
  if (honest(p->part))
    stage_fail(s, "the app of place %u ended by itself (wait status %#x): %s", i, (unsigned int) status,
               p->actor.board->message);
  else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    stage_fail(s, "%s of place %u ended badly (wait status %#x): %s", p->part, i, (unsigned int) status,
               p->actor.board->message);
  vacate(s, i);
}

/* What a hostile app has to say of the engine comes at its end: it is asked to come to it. */
static void dismiss(stage_t* s, uint32_t i) {
  const stage_place_t* p = &s->places[i];
  /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): where a process is, it plays a part */
  if (p->actor.pid == 0 || strcmp(p->part, "hostile") != 0) {
    stage_kill(s, i);
    return;
  }
  atomic_store(&p->actor.board->stop, 1);
  note_end(s, i, stage_wait(p->actor.pid, STAGE_WAIT_MS));
}

void stage_cast(stage_t* s, uint32_t i, const char* part) {
  stage_place_t* p = &s->places[i];
  if (p->part != NULL && part != NULL && strcmp(p->part, part) == 0) return;
  dismiss(s, i);
  p->part = part;
  p->vacant_ns = uv_hrtime();
}

/* --- Tending ----------------------------------------------------------------------------------- */

static void look_for_end(stage_t* s, uint32_t i) {
  pid_t pid = s->places[i].actor.pid;
  int status;
  if (pid != 0 && waitpid(pid, &status, WNOHANG) == pid) note_end(s, i, status);
}

static void tend_place(stage_t* s, uint32_t i) {
  stage_place_t* p = &s->places[i];
  look_for_end(s, i);
  if (p->part == NULL || p->actor.pid != 0 || s->failed) return;
  uint32_t generation = atomic_load(&s->engine.board->places[i].generation);
  if (generation != 0 && generation != p->generation && (!s->is_private || generation == p->offered))
    start_part(s, i, generation);
  else if (uv_hrtime() - p->vacant_ns > STAGE_WAIT_MS * UINT64_C(1000000))
    stage_fail(s, "the engine has no new face for place %u, %d ms after its app was gone", i, STAGE_WAIT_MS);
}

void stage_tend(stage_t* s) {
  if (stage_signal() != 0) stage_fail(s, "ended by %s", strsignal(stage_signal()));
  look_for_engine(s);
  while (s->is_private && take_offer(s)) continue;
  for (uint32_t i = 0; i < s->nplaces && !s->failed; i++) tend_place(s, i);
}

static bool under_way(const stage_t* s) {
  for (uint32_t i = 0; i < s->nplaces; i++) {
    const stage_place_t* p = &s->places[i];
    if (p->part != NULL && (p->actor.pid == 0 || atomic_load(&p->actor.board->ready) == 0)) return false;
  }
  return true;
}

bool stage_settle(stage_t* s) {
  uint64_t start_ns = uv_hrtime();
  do {
    stage_tend(s);
    stress_nap(LOOK_US);
    if (uv_hrtime() - start_ns > STAGE_WAIT_MS * UINT64_C(1000000))
      stage_fail(s, "not every app is under way after %d ms", STAGE_WAIT_MS);
  } while (!s->failed && !under_way(s));
  return !s->failed;
}

/* --- Measuring --------------------------------------------------------------------------------- */

static uint64_t cpu_ns(pid_t pid) {
  clockid_t clock;
  struct timespec t = {0, 0};
  if (clock_getcpuclockid(pid, &clock) == 0) clock_gettime(clock, &t);
  return (uint64_t) t.tv_sec * UINT64_C(1000000000) + (uint64_t) t.tv_nsec;
}

typedef struct snapshot_s {
  uint64_t at_ns, engine_cpu_ns;
  uint64_t received[STRESS_PLACES];
  uint64_t round_trips[STRESS_BUCKETS];
} snapshot_t;

static void take_snapshot(const stage_t* s, snapshot_t* ret_snapshot) {
  *ret_snapshot = (snapshot_t){.at_ns = uv_hrtime(), .engine_cpu_ns = cpu_ns(s->engine.pid)};
  for (uint32_t i = 0; i < s->nhealthy; i++) {
    const stress_board_t* b = s->places[i].actor.board;
    if (b == NULL) continue;
    ret_snapshot->received[i] = stress_get(&b->received);
    for (size_t k = 0; k < STRESS_BUCKETS; k++) ret_snapshot->round_trips[k] += stress_get(&b->round_trips[k]);
  }
}

/* Turns what was at the end of a phase into what is to be told of it. */
static void conclude(const stage_t* s, const snapshot_t* from, snapshot_t* to, stage_phase_t* ret_phase) {
  uint64_t received = 0;
  for (uint32_t i = 0; i < s->nhealthy; i++) received += to->received[i] - from->received[i];
  for (size_t k = 0; k < STRESS_BUCKETS; k++) to->round_trips[k] -= from->round_trips[k];
  ret_phase->secs = (double) (to->at_ns - from->at_ns) / 1e9;
  ret_phase->rate = (double) received / ret_phase->secs;
  ret_phase->engine_cpu = (double) (to->engine_cpu_ns - from->engine_cpu_ns) / 1e9 / ret_phase->secs;
  ret_phase->p50_ns = stress_percentile(to->round_trips, 0.5);
  ret_phase->p99_ns = stress_percentile(to->round_trips, 0.99);
}

/* An app that got nothing for a whole phase stands still, unless the phase is too short for a busy machine:
 * then it is given the time. */
static void look_for_stalls(stage_t* s, const snapshot_t* from) {
  for (uint32_t i = 0; i < s->nhealthy; i++) {
    uint64_t start_ns = uv_hrtime();
    while (!s->failed && stress_get(&s->places[i].actor.board->received) == from->received[i]) {
      if (uv_hrtime() - start_ns > STAGE_WAIT_MS * UINT64_C(1000000))
        stage_fail(s, "the app of place %u stands still", i);
      stage_tend(s);
      stress_nap(LOOK_US);
    }
  }
}

bool stage_phase(stage_t* s, double secs, void (*each)(stage_t* s, void* arg), void* arg, stage_phase_t* ret_phase) {
  snapshot_t from, to;
  stage_take_stay_ns(s);
  take_snapshot(s, &from);
  while (!s->failed && (double) (uv_hrtime() - from.at_ns) < secs * 1e9) {
    stage_tend(s);
    if (each != NULL) each(s, arg);
    stress_nap(LOOK_US);
  }
  if (s->failed) return false;
  take_snapshot(s, &to);
  conclude(s, &from, &to, ret_phase);
  ret_phase->stay_ns = stage_take_stay_ns(s);
  look_for_stalls(s, &from);
  return !s->failed;
}

/* Lines of the mappings in /proc that are a face's region; the engine's was born without a name, or is private. */
static uint64_t count_regions(const char* path) {
  FILE* file = fopen(path, "r");
  char line[512];
  uint64_t n = 0;
  if (file == NULL) return 0;
  while (fgets(line, sizeof(line), file) != NULL)
    n += strstr(line, "/ndn-shm-") != NULL || strstr(line, "/dev/shm/#") != NULL || strstr(line, "/memfd:ndn") != NULL;
  fclose(file);
  return n;
}

static uint64_t count_entries(const char* path) {
  DIR* dir = opendir(path);
  uint64_t n = 0;
  if (dir == NULL) return 0;
  while (readdir(dir) != NULL) n++;
  closedir(dir);
  return n;
}

stage_size_t stage_size(const stage_t* s) {
  stage_size_t size = {0, 0, 0};
  char path[64];
  unsigned long long pages = 0;
  snprintf(path, sizeof(path), "/proc/%ld/statm", (long) s->engine.pid);
  FILE* file = fopen(path, "r");
  /* NOLINTNEXTLINE(cert-err34-c): the kernel writes numbers, and such as fit */
  if (file != NULL && fscanf(file, "%*u %llu", &pages) == 1) size.rss_bytes = pages * (uint64_t) sysconf(_SC_PAGESIZE);
  if (file != NULL) fclose(file);
  snprintf(path, sizeof(path), "/proc/%ld/fd", (long) s->engine.pid);
  size.fds = count_entries(path);
  snprintf(path, sizeof(path), "/proc/%ld/maps", (long) s->engine.pid);
  size.regions = count_regions(path);
  return size;
}

/* --- The end ----------------------------------------------------------------------------------- */

static void end_apps(stage_t* s) {
  for (uint32_t i = 0; i < s->nplaces; i++)
    if (s->places[i].actor.pid != 0 && honest(s->places[i].part)) atomic_store(&s->places[i].actor.board->stop, 1);
  for (uint32_t i = 0; i < s->nplaces; i++) {
    actor_t* a = &s->places[i].actor;
    if (a->pid == 0) continue;
    int status = stage_wait(a->pid, honest(s->places[i].part) ? 2 * STAGE_WAIT_MS : 0);
    if (honest(s->places[i].part) && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
      stage_fail(s, "the app of place %u ended badly (wait status %#x): %s", i, (unsigned int) status,
                 a->board->message);
    vacate(s, i);
  }
}

void stage_close(stage_t* s) {
  end_apps(s);
  for (uint32_t i = 0; i < s->nplaces; i++) drop_offer(&s->places[i]);
  if (s->engine.pid == 0) return;
  atomic_store(&s->engine.board->stop, 1);
  int status = stage_wait(s->engine.pid, STAGE_WAIT_MS);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    stage_fail(s, "the engine ended badly (wait status %#x): %s", (unsigned int) status, s->engine.board->message);
  if (stage_faults(s) > 0) stage_fail(s, "%s", s->engine.board->message);
  s->engine.pid = 0; /* its board stays for the report, until the program ends */
  if (s->is_private) close(s->offers);
}

uint64_t stage_faults(const stage_t* s) {
  uint64_t faults = s->lost_packets;
  for (uint32_t i = 0; i < s->nplaces; i++) {
    faults += stress_get(&s->engine.board->places[i].faults);
    if (s->places[i].actor.board != NULL) faults += stress_get(&s->places[i].actor.board->faults);
  }
  return faults;
}

uint64_t stage_breaches(const stage_t* s) {
  return s->breaches;
}

uint64_t stage_blows(const stage_t* s) {
  return s->blows;
}

uint64_t stage_take_stay_ns(stage_t* s) {
  return atomic_exchange(&s->engine.board->longest_stay_ns, 0);
}

/* With the FIFO of its engine goes the directory that tells whose it is. */
static void sweep_face_of(const char* file) {
  static const char prefix[] = ".ndn-", suffix[] = ".a2e.pipe";
  char name[256];
  size_t len = strlen(file), around = sizeof(prefix) - 1 + sizeof(suffix) - 1;
  if (len <= around || strncmp(file, prefix, sizeof(prefix) - 1) != 0) return;
  if (strcmp(file + len - (sizeof(suffix) - 1), suffix) != 0) return;
  snprintf(name, sizeof(name), "%.*s", (int) (len - around), file + sizeof(prefix) - 1);
  (void) ndnshm_sweep(name, NDNSHM_SWEEP_REMOVE, NULL, NULL);
}

static unsigned int sweep(const char* dir_path, const char* start) {
  DIR* dir = opendir(dir_path);
  struct dirent* entry;
  unsigned int n = 0;
  if (dir == NULL) return 0;
  while ((entry = readdir(dir)) != NULL) {
    if (strncmp(entry->d_name, start, strlen(start)) != 0) continue;
    n++;
    sweep_face_of(entry->d_name);
    if (unlinkat(dirfd(dir), entry->d_name, 0) != 0) unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
  }
  closedir(dir);
  return n;
}

unsigned int stage_sweep(const stage_t* s) {
  char start[96];
  snprintf(start, sizeof(start), ".ndn-%s-", s->prefix);
  unsigned int n = sweep("/tmp", start);
  snprintf(start, sizeof(start), "ndn-shm-%s-", s->prefix);
  return n + sweep("/dev/shm", start);
}

static int compare(const void* a, const void* b) {
  double x = *(const double*) a, y = *(const double*) b;
  return (x > y) - (x < y);
}

double stage_median(const double values[], unsigned int n) {
  double sorted[256];
  if (n == 0 || n > 256) return 0;
  memcpy(sorted, values, n * sizeof(*values));
  qsort(sorted, n, sizeof(*sorted), compare);
  return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}
