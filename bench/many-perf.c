/* SPDX-License-Identifier: MIT */
/* many-perf.c: many faces on one loop. The engine's process receives on all of them; the app's, one process with
 * as many, sends on the first few. Prints as one JSON object what a loop takes in a second, how long its turns
 * are, what a face costs in memory and descriptors, and, with --quiet, how many turns a packet waits on a face
 * that speaks every 5 ms while all others flood. With --sockets the same over Unix stream sockets and
 * uv_pipe_t. One packet size and small rings, so that 500 faces fit; uses the public header only. */
#include "perf.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uvface.h>

enum {
  MAX_FACES = 4096,
  BATCH = 32,
  PACKET_BYTES = 64,
  HEADER_BYTES = 4, /* --sockets: a length before each packet */
  FRAME_BYTES = HEADER_BYTES + PACKET_BYTES,
  SLOT_BYTES = 1084, /* with its length 17 cache lines: an odd number of them (docs/tuning.rst) */
  CAPACITY = 64,
  READ_BYTES = 65536,
  QUIET_EVERY_NS = 5000000,
  MAX_TURNS = 1 << 20,
  LAST_TURNS = 1 << 14 /* of which the beginnings are kept */
};

typedef struct many_s many_t;

typedef struct one_s {
  many_t* many;
  unsigned int index;
  uvface_t face;
  uv_pipe_t pipe;
  int fds[2];  /* --sockets: the engine's end, the app's end */
  size_t held; /* --sockets: bytes of a packet that is not whole yet */
  char hold[FRAME_BYTES];
} one_t;

struct many_s {
  uv_loop_t loop;
  uv_prepare_t prepare;
  unsigned int faces, active, open;
  double secs;
  bool sockets, quiet;
  int cpu[2];
  char name[64];
  one_t* all;
  uint64_t packets, first_packets, opened_ns, closed_ns, turns, first_turn, last_turn_ns;
  struct rusage opened_usage, closed_usage;
  size_t closed_rss_bytes;
  uint64_t began[LAST_TURNS]; /* when turn n began, at n % LAST_TURNS */
  uint32_t *turn_ns, *wait_ns, *wait_turns;
  size_t nturns, nwaits;
  unsigned char touched;
  char in[READ_BYTES];
};

static void die(const char* what, const char* why) {
  fprintf(stderr, "many-perf: %s: %s\n", what, why);
  exit(PERF_FAILED);
}

static uint64_t now_ns(void) {
  return uv_hrtime(); /* CLOCK_MONOTONIC: the same in both processes */
}

static int count_fds(void) {
  DIR* dir = opendir("/proc/self/fd");
  int n = 0;
  while (dir != NULL && readdir(dir) != NULL) n++;
  if (dir != NULL) closedir(dir);
  return n;
}

static size_t rss_bytes(void) {
  size_t rss = 0;
  uv_resident_set_memory(&rss);
  return rss;
}

/* --- The engine: receives ---------------------------------------------------------------------- */

static void on_turn(uv_prepare_t* prepare) {
  many_t* m = prepare->data;
  uint64_t now = now_ns();
  if (m->packets != 0 && m->last_turn_ns != 0 && m->nturns < MAX_TURNS)
    m->turn_ns[m->nturns++] = (uint32_t) (now - m->last_turn_ns);
  m->last_turn_ns = now;
  m->began[++m->turns % LAST_TURNS] = now;
}

/* A packet of the quiet face carries the time at which it went into the ring. */
static void take_quiet(many_t* m, const char* packet) {
  uint64_t sent_ns, now = now_ns();
  uint32_t waited = 0;
  memcpy(&sent_ns, packet, sizeof(sent_ns));
  while (waited < LAST_TURNS - 1 && waited < m->turns && m->began[(m->turns - waited) % LAST_TURNS] > sent_ns) waited++;
  if (m->nwaits == MAX_TURNS) return;
  m->wait_turns[m->nwaits] = waited;
  m->wait_ns[m->nwaits++] = now > sent_ns ? (uint32_t) (now - sent_ns) : 0;
}

/* One byte of each packet is read, so that it has arrived in this CPU at all. */
static void take(one_t* one, const uv_buf_t pkts[], unsigned int npkts) {
  many_t* m = one->many;
  for (unsigned int i = 0; i < npkts; i++) m->touched ^= (unsigned char) pkts[i].base[0];
  for (unsigned int i = 0; m->quiet && one->index == m->faces - 1 && i < npkts; i++) take_quiet(m, pkts[i].base);
  if (m->packets == 0) {
    m->opened_ns = now_ns();
    m->first_turn = m->turns;
    m->first_packets = npkts;
    getrusage(RUSAGE_SELF, &m->opened_usage);
  }
  m->packets += npkts;
}

/* The first end of a face ends the window, the last one the loop. */
static void one_ended(many_t* m) {
  if (m->closed_ns == 0) {
    m->closed_ns = now_ns();
    m->closed_rss_bytes = rss_bytes();
    getrusage(RUSAGE_SELF, &m->closed_usage);
  }
  if (--m->open == 0) uv_close((uv_handle_t*) &m->prepare, NULL);
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  one_t* one = face->data;
  if (npkts > 0) {
    take(one, pkts, (unsigned int) npkts);
    return;
  }
  uvface_close(face, NULL);
  one_ended(one->many);
}

static void on_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
  one_t* one = handle->data;
  (void) suggested;
  memcpy(one->many->in, one->hold, one->held);
  *buf = uv_buf_init(one->many->in + one->held, (unsigned int) (READ_BYTES - one->held));
}

static void on_read(uv_stream_t* stream, ssize_t nread, const uv_buf_t* buf) {
  one_t* one = stream->data;
  char *at = one->many->in, *end = at + one->held + (nread > 0 ? nread : 0);
  uv_buf_t pkts[READ_BYTES / FRAME_BYTES];
  unsigned int n = 0;
  uint32_t len;
  (void) buf;
  if (nread < 0) {
    uv_close((uv_handle_t*) stream, NULL);
    one_ended(one->many);
    return;
  }
  for (; end - at >= FRAME_BYTES; at += FRAME_BYTES) {
    memcpy(&len, at, HEADER_BYTES);
    if (len != PACKET_BYTES) die("socket", "not a packet");
    pkts[n++] = uv_buf_init(at + HEADER_BYTES, len);
  }
  one->held = (size_t) (end - at);
  memcpy(one->hold, at, one->held);
  if (n > 0) take(one, pkts, n);
}

static void engine_open_one(many_t* m, one_t* one) {
  char name[128];
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  options.capacity = CAPACITY;
  options.slot_size = SLOT_BYTES;
  if (m->sockets) {
    close(one->fds[1]);
    uv_pipe_init(&m->loop, &one->pipe, 0);
    one->pipe.data = one;
    if (uv_pipe_open(&one->pipe, one->fds[0]) != 0 || uv_read_start((uv_stream_t*) &one->pipe, on_alloc, on_read) != 0)
      die("uv_pipe_open", "failed");
    return;
  }
  snprintf(name, sizeof(name), "%s-%u", m->name, one->index);
  one->face.data = one;
  if (uvface_init(&m->loop, &one->face) != 0 || uvface_create(&one->face, name, &options) != 0 ||
      uvface_recv_start(&one->face, on_packets) != 0)
    die("face", uvface_errmsg(&one->face));
}

/* --- The app: sends ---------------------------------------------------------------------------- */

static void app_open_one(many_t* m, one_t* one) {
  char name[128];
  if (m->sockets) {
    close(one->fds[0]);
    return;
  }
  snprintf(name, sizeof(name), "%s-%u", m->name, one->index);
  if (uvface_init(&m->loop, &one->face) != 0 || uvface_connect(&one->face, name, NULL) != 0)
    die("face", uvface_errmsg(&one->face));
}

/* What finds no room is not sent. A socket takes the whole batch or, seldom, a part: then it is finished. */
static void send_some(many_t* m, one_t* one, uv_buf_t pkts[], unsigned int npkts) {
  size_t len = (size_t) npkts * FRAME_BYTES, at = 0;
  if (!m->sockets) {
    int rc = uvface_try_send_batch(&one->face, pkts, npkts);
    if (rc < 0 && rc != UV_EAGAIN) die("uvface_try_send_batch", uvface_errmsg(&one->face));
    return;
  }
  do {
    ssize_t n = send(one->fds[1], pkts[0].base - HEADER_BYTES + at, len - at, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) die("send", strerror(errno));
    at += n > 0 ? (size_t) n : 0;
  } while (at % FRAME_BYTES != 0);
}

static void app_send(many_t* m) {
  static char memory[BATCH * FRAME_BYTES];
  uint32_t header = PACKET_BYTES;
  uv_buf_t pkts[BATCH];
  uint64_t now = now_ns(), end_ns = now + (uint64_t) (m->secs * 1e9), quiet_ns = now + QUIET_EVERY_NS, sent_ns;
  unsigned int flooding = m->quiet ? m->faces - 1 : m->active;
  for (unsigned int i = 0; i < BATCH; i++) {
    memcpy(memory + (size_t) i * FRAME_BYTES, &header, HEADER_BYTES);
    pkts[i] = uv_buf_init(memory + (size_t) i * FRAME_BYTES + HEADER_BYTES, PACKET_BYTES);
  }
  while (now < end_ns) {
    for (unsigned int i = 0; i < flooding; i++) {
      send_some(m, &m->all[i], pkts, BATCH);
      now = now_ns();
      if (!m->quiet || now < quiet_ns) continue;
      quiet_ns = now + QUIET_EVERY_NS;
      sent_ns = now; /* gcc's analyzer takes `now` itself for unset here */
      memcpy(pkts[0].base, &sent_ns, sizeof(sent_ns));
      send_some(m, &m->all[m->faces - 1], pkts, 1);
    }
    if (flooding == 0) usleep(1000);
    now = now_ns();
  }
}

/* Runs in the child; ready_fd: a byte comes when all faces are there, and end of file if they never will be. */
static int app(many_t* m, int ready_fd, pid_t parent) {
  char byte;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent || read(ready_fd, &byte, 1) != 1) return PERF_FAILED;
  uv_loop_init(&m->loop);
  for (unsigned int i = 0; i < m->faces; i++) app_open_one(m, &m->all[i]);
  app_send(m);
  for (unsigned int i = 0; i < m->faces; i++)
    if (m->sockets)
      close(m->all[i].fds[1]);
    else
      uvface_close(&m->all[i].face, NULL);
  uv_run(&m->loop, UV_RUN_DEFAULT);
  return uv_loop_close(&m->loop) == 0 ? PERF_OK : PERF_FAILED;
}

/* --- What came of it --------------------------------------------------------------------------- */

static int by_value(const void* a, const void* b) {
  uint32_t x = *(const uint32_t*) a, y = *(const uint32_t*) b;
  return (x > y) - (x < y);
}

/* Sorts. */
static json_t* percentiles(uint32_t* v, size_t n) {
  if (n == 0) return json_null();
  qsort(v, n, sizeof(*v), by_value);
  return json_pack("{s:I, s:I, s:I, s:I}", "samples", (json_int_t) n, "p50", (json_int_t) v[n / 2], "p99",
                   (json_int_t) v[n * 99 / 100], "max", (json_int_t) v[n - 1]);
}

static double cpu_s(const struct rusage* u) {
  return (double) (u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
         (double) (u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e6;
}

static void print(many_t* m, int fds, int64_t rss) {
  double secs = (double) (m->closed_ns - m->opened_ns) / 1e9;
  uint64_t turns = m->turns - m->first_turn;
  double cpu = cpu_s(&m->closed_usage) - cpu_s(&m->opened_usage);
  json_t* out = json_pack(
      "{s:s, s:b, s:i, s:i, s:b, s:I, s:f, s:o, s:I, s:f, s:f, s:f, s:o, s:o, s:o}", "program", "many-perf", "sockets",
      (int) m->sockets, "faces", (int) m->faces, "active", (int) m->active, "quiet", (int) m->quiet, "packets",
      (json_int_t) m->packets, "seconds", secs, "packets_per_s",
      m->packets > m->first_packets && secs > 0 ? json_real((double) (m->packets - m->first_packets) / secs)
                                                : json_null(),
      "turns", (json_int_t) turns, "cpu_share", secs > 0 ? cpu / secs : 0, "fds_per_face", (double) fds / m->faces,
      "rss_bytes_per_face", (double) rss / m->faces, "turn_ns", percentiles(m->turn_ns, m->nturns), "wait_turns",
      percentiles(m->wait_turns, m->nwaits), "wait_ns", percentiles(m->wait_ns, m->nwaits));
  json_dumpf(out, stdout, JSON_COMPACT);
  putchar('\n');
  json_decref(out);
}

static void no_window(many_t* m) {
  m->opened_ns = now_ns();
  getrusage(RUSAGE_SELF, &m->opened_usage);
}

/* Runs in the parent. Memory is taken when everything has been used and nothing is closed yet. */
static int engine(many_t* m, int ready_fd) {
  int status = PERF_FAILED;
  uv_loop_init(&m->loop);
  uv_prepare_init(&m->loop, &m->prepare);
  m->prepare.data = m;
  uv_prepare_start(&m->prepare, on_turn);
  int fds = count_fds();
  size_t before_rss_bytes = rss_bytes();
  m->open = m->faces;
  for (unsigned int i = 0; i < m->faces; i++) engine_open_one(m, &m->all[i]);
  fds = count_fds() - fds + (m->sockets ? (int) m->faces * 2 : 0); /* both ends of a socket were there before */
  no_window(m);
  if (write(ready_fd, "", 1) != 1) die("write", strerror(errno));
  close(ready_fd);
  uv_run(&m->loop, UV_RUN_DEFAULT);
  wait(&status);
  if (uv_loop_close(&m->loop) != 0) die("uv_loop_close", "handles are left open");
  print(m, fds, (int64_t) m->closed_rss_bytes - (int64_t) before_rss_bytes);
  return WIFEXITED(status) ? WEXITSTATUS(status) : PERF_FAILED;
}

static void usage(void) {
  fprintf(stderr,
          "Usage: many-perf [--faces N] [--active N] [--quiet] [--sockets] [--secs S] [--cpu A,B]\n"
          "  --faces N   faces on one loop (16)\n"
          "  --active N  of them, the first N are sent to (all)\n"
          "  --quiet     all but the last flood; that one gets a packet every 5 ms\n"
          "  --sockets   Unix sockets instead of faces\n");
  exit(PERF_USAGE);
}

static void parse(many_t* m, int argc, char** argv) {
  static const struct option options[] = {
      {"faces", required_argument, NULL, 'f'},
      {"active", required_argument, NULL, 'a'},
      {"quiet", no_argument, NULL, 'q'},
      {"sockets", no_argument, NULL, 's'},
      {"secs", required_argument, NULL, 't'},
      {"cpu", required_argument, NULL, 'c'},
      {NULL, 0, NULL, 0},
  };
  char *comma, *end;
  int option;
  m->active = UINT32_MAX;
  while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) switch (option) {
      case 'f': m->faces = (unsigned int) strtoul(optarg, NULL, 10); break;
      case 'a': m->active = (unsigned int) strtoul(optarg, NULL, 10); break;
      case 'q': m->quiet = true; break;
      case 's': m->sockets = true; break;
      case 't': m->secs = strtod(optarg, NULL); break;
      case 'c':
        m->cpu[0] = (int) strtol(optarg, &comma, 10);
        if (comma == optarg || *comma != ',') usage();
        m->cpu[1] = (int) strtol(comma + 1, &end, 10);
        if (end == comma + 1) usage();
        break;
      default: usage();
    }
  if (optind < argc || m->faces < 1u + m->quiet || m->faces > MAX_FACES || !(m->secs > 0)) usage();
  if (m->active > m->faces) m->active = m->faces;
}

static void prepare(many_t* m) {
  snprintf(m->name, sizeof(m->name), "many-perf-%ld", (long) getpid());
  m->all = calloc(m->faces, sizeof(*m->all));
  m->turn_ns = calloc(MAX_TURNS, sizeof(*m->turn_ns));
  m->wait_ns = calloc(MAX_TURNS, sizeof(*m->wait_ns));
  m->wait_turns = calloc(MAX_TURNS, sizeof(*m->wait_turns));
  if (m->all == NULL || m->turn_ns == NULL || m->wait_ns == NULL || m->wait_turns == NULL)
    die("calloc", strerror(ENOMEM));
  memset(m->turn_ns, 0xff, MAX_TURNS * sizeof(*m->turn_ns)); /* touched now, not within a turn */
  for (unsigned int i = 0; i < m->faces; i++) {
    m->all[i].many = m;
    m->all[i].index = i;
    if (m->sockets && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, m->all[i].fds) != 0)
      die("socketpair", strerror(errno));
  }
}

int main(int argc, char** argv) {
  static many_t m = {.faces = 16, .secs = 1, .cpu = {-1, -1}};
  int ready[2];
  parse(&m, argc, argv);
  prepare(&m);
  if (pipe(ready) != 0) die("pipe", strerror(errno));
  pid_t parent = getpid();
  pid_t pid = fork();
  if (pid < 0 || perf_pin(m.cpu[pid != 0]) < 0) die("fork, sched_setaffinity", strerror(errno));
  close(ready[pid != 0 ? 0 : 1]);
  return pid == 0 ? app(&m, ready[0], parent) : engine(&m, ready[1]);
}
