/* SPDX-License-Identifier: MIT */
/* ring-perf.c: the measuring program's link over the bare rings of ndnshm.h, polled without a pause and
 * without an event loop: what a loop and callbacks cost is the difference to it. Guarantees nothing about CPU: both
 * processes run flat out, so each needs a CPU of its own. `ring-perf probe --cpu A,B` measures instead how
 * long a cache line takes between two CPUs and back, which tells apart where a host has placed them, and
 * how long it takes to copy packets that the other CPU has just written. */
#include "perf.h"

#include <errno.h>
#include <ndnshm.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  LOOK_EVERY = 1024,     /* rounds between looks at the clock */
  FD_EVERY_NS = 1000000, /* how often to ask whether the peer is gone */
  PROBE_ROUNDS = 4000,   /* of one block; the probe reports the median block */
  PROBE_BLOCKS = 9,
  COPY_PACKETS = 32, /* that one CPU writes before the other copies them */
  COPY_MAX_BYTES = 8832,
  COPY_ROUNDS = 101
};

struct link_s {
  side_t* side;
  const perf_options_t* o;
  ndnshm_t* ep;
  void* arena;
  size_t arena_bytes;
  const struct iovec* queued;
  unsigned int nqueued;
  uint64_t tick_ns, fd_ns;
  bool stopped, paused, idle, peer_gone;
  ndnshm_stats_t stats;
};

static void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

const char* link_errmsg(const link_t* l) {
  return ndnshm_errmsg(l->ep);
}

/* --- The circle -------------------------------------------------------------------------------- */

static void look_around(link_t* l) {
  uint64_t now_ns = perf_now_ns();
  struct pollfd p = {ndnshm_fd(l->ep), POLLIN, 0};
  if (now_ns - l->fd_ns >= FD_EVERY_NS && !l->peer_gone) {
    l->fd_ns = now_ns;
    l->peer_gone = poll(&p, 1, 0) > 0 && ndnshm_wake(l->ep) == NDNSHM_EOF;
  }
  if (now_ns - l->tick_ns < perf_tick_ms(l->o) * UINT64_C(1000000)) return;
  l->tick_ns = now_ns;
  side_tick(l->side);
}

/* Returns whether anything came. What the peer sent before it left comes before its end. */
static bool receive(link_t* l) {
  struct iovec pkts[PERF_MAX_RECV];
  bool gone = l->peer_gone;
  if (l->paused) return false;
  if (!ndnshm_ready(l->ep, NDNSHM_PACKETS)) {
    if (gone) side_on_end(l->side, 0);
    return false;
  }
  int n = l->o->borrow ? ndnshm_peek(l->ep, SIZE_MAX, pkts, PERF_MAX_RECV)
                       : ndnshm_recv(l->ep, l->arena, l->arena_bytes, pkts, PERF_MAX_RECV);
  if (n < 0)
    side_on_end(l->side, n);
  else if (n > 0)
    side_on_packets(l->side, pkts, (unsigned int) n);
  if (l->o->borrow) ndnshm_release(l->ep);
  return n != 0;
}

static bool send_queued(link_t* l) {
  int n = link_send(l, l->queued, l->nqueued);
  if (n < 0) {
    side_on_end(l->side, n);
    return false;
  }
  l->queued += n;
  l->nqueued -= (unsigned int) n;
  if (l->nqueued == 0) side_on_room(l->side);
  return n > 0;
}

void link_run(link_t* l) {
  for (unsigned int round = 1; !l->stopped; round++) {
    bool busy = receive(l);
    if (!l->stopped && l->nqueued > 0 && ndnshm_ready(l->ep, NDNSHM_SPACE)) busy |= send_queued(l);
    if (!l->stopped && l->idle) {
      side_on_idle(l->side);
      busy = true;
    }
    if (!l->stopped && round % LOOK_EVERY == 0) look_around(l);
    if (!busy) pause_cpu();
  }
  ndnshm_shutdown(l->ep);
}

/* --- What the sides call ----------------------------------------------------------------------- */

int link_send(link_t* l, const struct iovec pkts[], unsigned int npkts) {
  unsigned int batch = l->o->batch, taken = 0;
  while (taken < npkts) {
    unsigned int n = npkts - taken < batch ? npkts - taken : batch;
    int rc = batch == 1 ? ndnshm_send(l->ep, pkts + taken, 1) : ndnshm_send_batch(l->ep, pkts + taken, n);
    if (rc == -EAGAIN) break;
    if (rc < 0) return rc;
    taken += batch == 1 ? 1 : (unsigned int) rc;
  }
  return (int) taken;
}

int link_queue(link_t* l, const struct iovec pkts[], unsigned int npkts) {
  l->queued = pkts;
  l->nqueued = npkts < l->o->batch ? npkts : l->o->batch;
  return (int) l->nqueued;
}

void link_idle(link_t* l, bool on) {
  l->idle = on;
}

void link_pause(link_t* l, bool on) {
  l->paused = on;
}

void link_stop(link_t* l) {
  l->stopped = true;
  ndnshm_get_stats(l->ep, &l->stats);
}

json_t* link_stats(const link_t* l) {
  const ndnshm_stats_t* s = &l->stats;
  return json_pack("{s:I, s:I, s:I, s:I}", "wakeups_sent", (json_int_t) s->wakeups_sent, "wakeups_received",
                   (json_int_t) s->wakeups_received, "parks", (json_int_t) s->parks, "tx_full",
                   (json_int_t) s->tx_full);
}

/* --- Life -------------------------------------------------------------------------------------- */

static int open_endpoint(link_t* l) {
  const perf_options_t* o = l->o;
  uint64_t start_ns = perf_now_ns();
  if (o->role == ROLE_ENGINE) {
    ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
    options.capacity = o->capacity;
    options.slot_size = o->slot_size;
    return ndnshm_create(l->ep, o->name, &options);
  }
  for (;;) {
    int rc = ndnshm_connect(l->ep, o->name, NULL);
    bool not_yet = rc == -ENOENT || rc == -ECONNREFUSED || rc == -EBUSY || rc == -EPROTO;
    if (!not_yet || !perf_keep_waiting(o, start_ns)) return rc;
  }
}

link_t* link_open(side_t* s, const perf_options_t* o) {
  link_t* l = calloc(1, sizeof(*l));
  if (l == NULL || ndnshm_new(&l->ep) != 0) {
    perf_error(o, "ndnshm_new: out of memory");
    return NULL; /* and the program ends */
  }
  l->side = s;
  l->o = o;
  int rc = open_endpoint(l);
  if (rc < 0) perf_error(o, "%s", ndnshm_errmsg(l->ep));
  l->arena_bytes = PERF_MAX_RECV * ((ndnshm_get_mtu(l->ep) + 63) / 64 * 64);
  if (rc == 0) l->arena = aligned_alloc(64, l->arena_bytes);
  if (l->arena != NULL) return l;
  link_free(l);
  return NULL;
}

void link_free(link_t* l) {
  ndnshm_free(l->ep);
  free(l->arena);
  free(l);
}

/* --- Probe ------------------------------------------------------------------------------------- */

/* Never yields: on a busy machine the two would hardly run at the same time any more. */
static void wait_for(atomic_uint* line, unsigned int value) {
  while (atomic_load_explicit(line, memory_order_acquire) != value) {}
}

/* Each end waits for the other's number and answers with the next. */
static void bounce(atomic_uint* line, unsigned int first, unsigned int end) {
  for (unsigned int i = first; i < end; i += 2) {
    wait_for(line, i);
    atomic_store_explicit(line, i + 1, memory_order_release);
  }
}

static int by_value(const void* a, const void* b) {
  double x = *(const double*) a, y = *(const double*) b;
  return (x > y) - (x < y);
}

static void probe_client(atomic_uint* line, double ret_ns[PROBE_BLOCKS]) {
  unsigned int at = 0;
  bounce(line, at, 2 * PROBE_ROUNDS); /* until both run */
  for (unsigned int i = 0; i < PROBE_BLOCKS; i++) {
    uint64_t start_ns = perf_now_ns();
    at += 2 * PROBE_ROUNDS;
    bounce(line, at, at + 2 * PROBE_ROUNDS);
    ret_ns[i] = (double) (perf_now_ns() - start_ns) / PROBE_ROUNDS;
  }
  qsort(ret_ns, PROBE_BLOCKS, sizeof(*ret_ns), by_value);
}

/* What the two CPUs share: the line that goes back and forth, and packets that go one way. */
typedef struct shared_s {
  atomic_uint line;
  _Alignas(64) char packets[COPY_PACKETS][COPY_MAX_BYTES];
} shared_t;

static const size_t copy_sizes[] = {64, 1024, 8000, 8800};
enum { COPY_SIZES = sizeof(copy_sizes) / sizeof(*copy_sizes) };

static unsigned int copy_turn(size_t size, unsigned int round) {
  return (unsigned int) (size * COPY_ROUNDS + round) * 2;
}

static void copy_server(shared_t* shared) {
  for (size_t size = 0; size < COPY_SIZES; size++)
    for (unsigned int round = 0; round < COPY_ROUNDS; round++) {
      wait_for(&shared->line, copy_turn(size, round));
      for (size_t i = 0; i < COPY_PACKETS; i++) memset(shared->packets[i], (int) round, copy_sizes[size]);
      atomic_store_explicit(&shared->line, copy_turn(size, round) + 1, memory_order_release);
    }
}

/* The median time of one packet. */
static double copy_client(shared_t* shared, size_t size) {
  static char private[COPY_PACKETS][COPY_MAX_BYTES];
  double ns[COPY_ROUNDS];
  for (unsigned int round = 0; round < COPY_ROUNDS; round++) {
    wait_for(&shared->line, copy_turn(size, round) + 1);
    uint64_t start_ns = perf_now_ns();
    for (size_t i = 0; i < COPY_PACKETS; i++) memcpy(private[i], shared -> packets[i], copy_sizes[size]);
    ns[round] = (double) (perf_now_ns() - start_ns) / COPY_PACKETS;
    __asm__ __volatile__("" : : "r"(private) : "memory"); /* the copies are wanted */
    atomic_store_explicit(&shared->line, copy_turn(size, round) + 2, memory_order_release);
  }
  qsort(ns, COPY_ROUNDS, sizeof(*ns), by_value);
  return ns[COPY_ROUNDS / 2];
}

static int probe(const perf_options_t* o) {
  double ns[PROBE_BLOCKS], copy_ns[COPY_SIZES];
  shared_t* shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  atomic_uint* line = &shared->line;
  pid_t parent = getpid();
  pid_t pid = (void*) shared == MAP_FAILED ? -1 : fork();
  if (pid < 0 || perf_pin(o->cpu[pid == 0]) < 0) {
    perf_error(o, "mmap, fork or sched_setaffinity: %s", strerror(errno));
    return PERF_FAILED;
  }
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* else it would look for a number for ever */
    if (getppid() != parent) _exit(PERF_FAILED);
    bounce(line, 1, 2 * PROBE_ROUNDS * (PROBE_BLOCKS + 1) + 1);
    copy_server(shared);
    _exit(PERF_OK);
  }
  probe_client(line, ns);
  wait_for(line, 2 * PROBE_ROUNDS * (PROBE_BLOCKS + 1)); /* its last answer */
  atomic_store_explicit(line, 0, memory_order_release);
  for (size_t size = 0; size < COPY_SIZES; size++) copy_ns[size] = copy_client(shared, size);
  waitpid(pid, NULL, 0);
  printf("{\"mode\":\"probe\",\"round_trip_ns\":%.1f,\"min\":%.1f,\"max\":%.1f,\"copy_ns\":{", ns[PROBE_BLOCKS / 2],
         ns[0], ns[PROBE_BLOCKS - 1]);
  for (size_t size = 0; size < COPY_SIZES; size++)
    printf("%s\"%zu\":%.1f", size > 0 ? "," : "", copy_sizes[size], copy_ns[size]);
  printf("}}\n");
  return PERF_OK;
}

int main(int argc, char** argv) {
  if (argc != 4 || strcmp(argv[1], "probe") != 0 || strcmp(argv[2], "--cpu") != 0)
    return perf_main(argc, argv, "ring-perf", PERF_RING);
  perf_options_t o = {.program = "ring-perf probe"};
  char* end;
  o.cpu[0] = (int) strtol(argv[3], &end, 10);
  o.cpu[1] = *end == ',' ? (int) strtol(end + 1, &end, 10) : o.cpu[0];
  if (*end != '\0' || o.cpu[0] == o.cpu[1]) {
    fprintf(stderr, "Usage: ring-perf probe --cpu A,B with two CPUs\n");
    return PERF_USAGE;
  }
  return probe(&o);
}
