/* SPDX-License-Identifier: MIT */
/* dump.c: uvface-dump: shows the packets of a live face without touching it. The command line, and when to end.
 *
 * It looks once a millisecond, as SCHED_IDLE: an end of a face that has something to do goes first. So it may miss
 * packets, which it counts. What it costs the face measures bench/dump.py. Only a second thread, the scout, keeps its
 * priority; while that looks, this one waits. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <ndnshm.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dump.h"

enum { USAGE = 2, FOUND_DEAD = 3 };
#define LOOK_S 0.001
#define QUIET_S 1.0 /* after so long without a packet it is asked whether the face is still there; then more seldom */
#define QUIET_MAX_S 8.0
#define GAP_S 0.02 /* so long after a look a process may have closed its face and made another at the same address */
#define PREFIX_BYTES 1024

typedef struct options_s {
  const char* face;
  const char* write;
  uint64_t count; /* 0 = no end */
  bool eager;
  bool has_prefix;
  uint8_t prefix_bytes[PREFIX_BYTES];
  ndnpkt_name_t prefix;
} options_t;

typedef struct dump_s {
  follow_t follow; /* first: its callbacks get this */
  const options_t* options;
  face_t face;
  FILE* out;
  pcap_file_t* pcap; /* has out; NULL = text */
  uint64_t shown, seen;
  double looked_s; /* when it did last; 0 = never */
  /* The scout, a thread that looks whether the face has ended. */
  bool has_scout;
  pthread_t scout;
  sem_t is_asked, is_answered;
  bool is_over; /* before it is asked: it is to end */
  bool answer;  /* before it has answered */
} dump_t;

static void usage(FILE* to) {
  fprintf(to,
          "usage: uvface-dump [-c N] [-p PREFIX] %s[-e] NAME|PID\n"
          "Shows the packets of the face called NAME, or of the one that process PID is on.\n"
          "  -c, --count=N       ends after N packets\n"
          "  -p, --prefix=NAME   only packets whose names begin so\n"
          "%s"
          "  -e, --eager         at normal priority: misses less, and may slow the face\n"
          "  -h, --help          this text\n"
          "  -V, --version       the version\n"
          "%s"
          "Status: 0, 1 failed, 2 usage, 3 the face is a dead engine's.\n",
          pcap_is_built_in() ? "[-w FILE] " : "",
          pcap_is_built_in() ? "  -w, --write=FILE    writes them as pcap instead (-: to standard output)\n" : "",
          pcap_is_built_in() ? "" : "This build has no pcap: it was built without libpcap.\n");
}

/* --- Packets -------------------------------------------------------------------------------------- */

static void on_packet(follow_t* follow, const packet_t* packet) {
  dump_t* d = (dump_t*) follow;

  d->seen++;
  if (d->options->has_prefix && !text_has_prefix(packet, d->options->prefix)) return;
  d->shown++;
  if (d->pcap != NULL)
    pcap_file_packet(d->pcap, packet);
  else
    text_packet(d->out, packet);
  if (d->options->count != 0 && d->shown >= d->options->count) follow->is_done = true;
}

static void on_missed(follow_t* follow, const packet_t* where, uint32_t n) {
  dump_t* d = (dump_t*) follow;

  if (d->pcap == NULL) text_missed(d->out, where, n);
}

/* False if nobody reads any more, or the disk is full. */
static bool flush(const dump_t* d) {
  if (d->pcap != NULL) return pcap_file_flush(d->pcap);
  return fflush(d->out) == 0 && !ferror(d->out);
}

static void summarize(const dump_t* d) {
  char text[256];
  int n = snprintf(text, sizeof(text),
                   "uvface-dump: %" PRIu64 " packets shown of %" PRIu64 " seen; missed: %" PRIu64
                   " app > engine, %" PRIu64 " engine > app\n",
                   d->shown, d->seen, d->follow.a2e.missed, d->follow.e2a.missed);

  write_or_end(STDERR_FILENO, text, (size_t) n);
}

/* --- The end of the face -------------------------------------------------------------------------- */

static void wait_for(sem_t* sem) {
  while (sem_wait(sem) != 0) continue; /* EINTR */
}

static void* scout(void* arg) {
  dump_t* d = arg;

  for (wait_for(&d->is_asked); !d->is_over; wait_for(&d->is_asked)) {
    d->answer = face_has_ended(&d->face);
    sem_post(&d->is_answered);
  }
  return NULL;
}

static bool has_ended(dump_t* d) {
  if (!d->has_scout) return face_has_ended(&d->face);
  sem_post(&d->is_asked);
  wait_for(&d->is_answered);
  return d->answer;
}

/* A file is read under no lock for which an end could wait. Another process's memory is, and what /proc tells of it, so
 * not by who may have to wait long for the CPU: the one is not done behind everybody else, the other is the scout's,
 * who stays at the priority that this thread had. Without it nobody yields. */
static void yield_to_everybody(dump_t* d) {
  struct sched_param none = {.sched_priority = 0};

  if (d->options->eager || d->follow.source.fd < 0) return;
  sem_init(&d->is_asked, 0, 0);
  sem_init(&d->is_answered, 0, 0);
  d->has_scout = pthread_create(&d->scout, NULL, scout, d) == 0;
  if (d->has_scout) sched_setscheduler(0, SCHED_IDLE, &none);
}

static void dismiss_scout(dump_t* d) {
  if (!d->has_scout) return;
  d->is_over = true;
  sem_post(&d->is_asked);
  pthread_join(d->scout, NULL);
  sem_destroy(&d->is_asked);
  sem_destroy(&d->is_answered);
}

/* Why a look failed. */
static const char* why_lost(int err) {
  if (err == -EPROTO) return "the indices of a ring are impossible";
  if (err == -ENODATA) return "the region was truncated";
  return strerror(-err);
}

/* As follow_look(). */
static int look(dump_t* d) {
  bool is_late = d->follow.source.fd < 0 && now_s() - d->looked_s > GAP_S;
  int err = is_late && !face_is_in_memory(&d->face, &d->follow.source) ? -EFAULT : follow_look(&d->follow);

  d->looked_s = now_s();
  return err;
}

static int end_well(const dump_t* d) {
  text_failed(d->options->face, "the face has ended");
  return EXIT_SUCCESS;
}

/* Until a signal, the count, the end of the face, or of who reads our output. Returns the status. */
static int run(dump_t* d) {
  const options_t* o = d->options;
  int fd = o->write == NULL || strcmp(o->write, "-") == 0 ? STDOUT_FILENO : -1;
  double heard_s = now_s(), quiet_s = QUIET_S;

  do {
    int err = look(d), found = 0;
    bool is_quiet;

    errno = 0;
    if (!flush(d)) {
      const char* why = errno != 0 ? strerror(errno) : "cannot be written";

      return wait_for_next(0, fd) ? text_failed(fd == STDOUT_FILENO ? "standard output" : o->write, why) : EXIT_SUCCESS;
    }
    if (d->follow.is_done) return EXIT_SUCCESS;
    is_quiet = err == 0 && now_s() - heard_s >= quiet_s;
    if (err == 0 && d->face.state == DEAD) {
      text_failed(o->face, "its engine is dead");
      return FOUND_DEAD;
    }
    if (err < 0 && d->follow.source.fd < 0) found = face_find_again(&d->face, &d->follow.source);
    if (found > 0) continue;
    if (found < 0) return end_well(d);
    if (err == -EPROTO) return text_failed(o->face, why_lost(err));
    if ((err < 0 || is_quiet) && has_ended(d)) {
      if (err >= 0) look(d); /* what came while it was looked for */
      flush(d);
      return end_well(d);
    }
    if (err < 0) return text_failed(o->face, why_lost(err));
    if (err > 0 || is_quiet) heard_s = now_s();
    if (err > 0)
      quiet_s = QUIET_S;
    else if (is_quiet && quiet_s < QUIET_MAX_S)
      quiet_s *= 2;
  } while (wait_for_next(LOOK_S, fd));
  return EXIT_SUCCESS;
}

/* For who sits before a silent terminal: that it follows, and which face. */
static void tell_start(const dump_t* d) {
  if (!isatty(STDERR_FILENO)) return;
  fputs("uvface-dump: looking at ", stderr);
  face_tell(&d->face);
  fprintf(stderr, ", %" PRIu32 " slots of %" PRIu32 " bytes each way\n", d->follow.header.capacity,
          d->follow.header.slot_size);
}

/* False after telling why. */
static bool open_output(dump_t* d) {
  const char* path = d->options->write;

  d->out = out_open(path);
  if (d->out == NULL) text_failed(path != NULL ? path : "standard output", strerror(errno));
  if (d->out == NULL || path == NULL) return d->out != NULL;
  d->pcap = pcap_file_open(d->out, d->follow.header.slot_size);
  return d->pcap != NULL;
}

/* It was flushed after each look. */
static void close_output(dump_t* d) {
  if (d->pcap != NULL)
    pcap_file_close(d->pcap);
  else
    fclose(d->out);
}

static int dump(const options_t* o) {
  dump_t d = {.options = o, .follow = {.on_packet = on_packet, .on_missed = on_missed}};
  source_t source = {.fd = -1};
  int err, status;

  if (!face_choose(o->face, &d.face, &source)) return EXIT_FAILURE;
  err = follow_start(&d.follow, &source);
  if (err < 0) {
    follow_end(&d.follow);
    return text_failed(o->face, err == -EPROTO    ? "the region has no header of a face"
                                : err == -ENODATA ? "the region is shorter than its header says"
                                                  : strerror(-err));
  }
  if (!open_output(&d)) {
    follow_end(&d.follow);
    return EXIT_FAILURE;
  }
  tell_start(&d);
  catch_signals();
  yield_to_everybody(&d);
  status = run(&d);
  dismiss_scout(&d);
  close_output(&d);
  summarize(&d);
  follow_end(&d.follow);
  return status;
}

/* --- The command line ----------------------------------------------------------------------------- */

static bool parse_count(const char* text, uint64_t* ret_count) {
  char* end;
  unsigned long long count;

  errno = 0;
  count = strtoull(text, &end, 10);
  if (!isdigit((unsigned char) text[0]) || *end != '\0' || errno != 0 || count == 0) return false;
  *ret_count = count;
  return true;
}

static bool parse_prefix(const char* text, options_t* o) {
  o->has_prefix = true;
  return ndnpkt_name_from_uri(text, o->prefix_bytes, PREFIX_BYTES, &o->prefix) == 0;
}

static bool refuse(const char* option, const char* value, const char* what) {
  char shown[4 * NAME_BYTES];

  escape(value, false, shown, sizeof(shown));
  fprintf(stderr, "uvface-dump: %s: \"%s\" is not %s\n", option, shown, what);
  return false;
}

static bool parse_write(const char* path, options_t* o) {
  o->write = path;
  if (!pcap_is_built_in()) fputs("uvface-dump: --write: this build has no pcap\n", stderr);
  return pcap_is_built_in();
}

/* False after telling why; of an option that is none, getopt_long() has told. */
static bool parse_option(int option, options_t* o) {
  switch (option) {
    case 'c': return parse_count(optarg, &o->count) || refuse("--count", optarg, "a number from 1 up");
    case 'p': return parse_prefix(optarg, o) || refuse("--prefix", optarg, "a URI of a name");
    case 'w': return parse_write(optarg, o);
    case 'e': o->eager = true; return true;
    default: return false;
  }
}

/* -1: go on; else the status to end with. */
static int parse(int argc, char** argv, options_t* o) {
  static const struct option options[] = {{"count", required_argument, NULL, 'c'},
                                          {"prefix", required_argument, NULL, 'p'},
                                          {"write", required_argument, NULL, 'w'},
                                          {"eager", no_argument, NULL, 'e'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'V'},
                                          {NULL, 0, NULL, 0}};
  int option;

  while ((option = getopt_long(argc, argv, "c:p:w:ehV", options, NULL)) != -1) {
    if (option == 'h') {
      usage(stdout);
      return EXIT_SUCCESS;
    }
    if (option == 'V') {
      printf("uvface-dump %s\n", ndnshm_version_string());
      return EXIT_SUCCESS;
    }
    if (!parse_option(option, o)) {
      usage(stderr);
      return USAGE;
    }
  }
  if (optind + 1 != argc) {
    usage(stderr);
    return USAGE;
  }
  o->face = argv[optind];
  return -1;
}

int main(int argc, char** argv) {
  options_t o = {.face = NULL};
  int status = parse(argc, argv, &o);

  return status >= 0 ? status : dump(&o);
}
