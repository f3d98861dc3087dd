/* SPDX-License-Identifier: MIT */
/* perf.h: what the parts of the measuring programs share. A program is perf.c (roles, processes),
 * perf_options.c, perf_side.c (who sends what when), perf_place.c (where and of what build), perf_socket.c (a
 * connection for links that have one), perf_report.c (output) and one link: perf_uvface.c,
 * pipe-perf.c, ring-perf.c, or perf_wire.c around a rival of one file. The link moves packets and knows
 * nothing of modes; the sides know nothing of transports, so that rivals differ in the link alone.
 * Guarantees nothing to anybody else: private. */
#ifndef PERF_H
#define PERF_H

#include <jansson.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Exit codes, documented in the usage text. */
enum { PERF_OK = 0, PERF_FAILED = 1, PERF_USAGE = 2, PERF_STALLED = 3, PERF_CORRUPT = 4 };

enum {
  PERF_MAX_BATCH = 256, /* --batch; two iovecs a packet stay below IOV_MAX */
  PERF_MAX_RECV = 64,   /* packets a link delivers at once */
  PERF_HEADROOM = 64,   /* bytes before each packet that a link is given to send, for a header of its own */
  PERF_MAX_SAMPLES = 1 << 24
};

/* What a link has options for, beside those that all have. */
enum {
  PERF_RING = 1, /* the ring: --capacity, --slot-size, --borrow */
  PERF_FACE =
      2, /* the face around it: --hot-ns, --spin-ns, --no-spin, --literal, --stream, --private, --mode to --gid */
  PERF_PIPE = 4 /* --coalesce */
};

typedef enum perf_mode_e { MODE_THROUGHPUT, MODE_RTT, MODE_PACED, MODE_FETCH, MODE_FULL, MODE_COUNT } perf_mode_t;

/* The client sides come first: side < SIDE_FIRST_SERVER is the one that drives the run. */
typedef enum perf_kind_e {
  SIDE_SOURCE,
  SIDE_PING,
  SIDE_PACED,
  SIDE_FETCH,
  SIDE_STUFF,
  SIDE_FIRST_SERVER,
  SIDE_SINK = SIDE_FIRST_SERVER,
  SIDE_ECHO,
  SIDE_FETCHSERVER,
  SIDE_SIP,
  SIDE_COUNT,
  SIDE_BOTH = SIDE_COUNT /* no --side: run both, in two processes */
} perf_kind_t;

typedef enum perf_role_e { ROLE_ENGINE, ROLE_APP, ROLE_COUNT } perf_role_t;

enum { PERF_BY_SOCKET = 1, PERF_BY_PIPES }; /* by what the ends of a private face wake each other */

typedef struct perf_options_s {
  const char* program;
  perf_mode_t mode;
  perf_kind_t side;
  perf_role_t role; /* of this process; in a run of both, the client's */
  char name[201];
  uint64_t count; /* packets or round trips; 0 = by time */
  double secs;
  double interval_secs; /* time between lines while it runs; 0 = none */
  size_t size_bytes;
  size_t reply_bytes;
  unsigned int batch;  /* packets handed to the link at once; 1 = each on its own */
  unsigned int window; /* fetch: Interests outstanding */
  uint64_t interval_us;
  unsigned int timeout_ms;
  bool verify, borrow, json;
  bool coalesce; /* pipe-perf: one write for all packets handed over at once */
  bool literal;  /* uvface-perf: the face announces nothing, as one of ndn-rs */
  bool stream;   /* uvface-perf: the face is over a stream socket */
  int private;   /* uvface-perf: 0, or what the face is without a name: PERF_BY_SOCKET, PERF_BY_PIPES */
  int cpu[2];    /* client, server; -1 = not pinned */
  uint32_t capacity, slot_size;
  uint32_t mode_bits, uid,
      gid;                 /* uvface-perf: permissions, owner and group of the face's files; 0, -1 = as they come */
  int64_t hot_ns, spin_ns; /* -1 = the face's defaults */
  pid_t server_pid;        /* the other process of a run of both, else 0 */
} perf_options_t;

typedef struct perf_verify_s {
  uint64_t checked;
  uint64_t missing;  /* order jumped forward */
  uint64_t repeated; /* order jumped backward */
  uint64_t torn;     /* a byte differs */
  uint64_t bad_length;
} perf_verify_t;

/* Where an end was seen. */
typedef struct perf_place_s {
  cpu_set_t seen;
  bool pinned; /* to one CPU, by --cpu or from outside */
} perf_place_t;

/* What one side measured. The window opens at the first packet received (a source: sent; with
 * round trips: after the warm-up), so that waiting for the peer is not part of any rate. */
typedef struct perf_result_s {
  uint64_t packets, bytes; /* inside the window */
  uint64_t window_ns;
  uint64_t user_us, system_us; /* CPU inside the window */
  uint64_t pacing_ns;          /* of it, what paced spent on looking at the clock until the next packet was due */
  int64_t voluntary_switches, involuntary_switches;
  uint64_t stalls;
  uint64_t read_sum; /* of the bytes that were read of the packets: that they were */
  int fds, threads;  /* that the link has opened and started, and keeps when the window closes */
  int64_t rss_bytes; /* by which the process has grown since before the link was opened */
  perf_place_t place;
  json_t* intervals; /* --interval: an array, else NULL */
  perf_verify_t verify;
  uint32_t* samples_ns; /* round trips, or NULL */
  size_t nsamples;
  int exit_code;
} perf_result_t;

/* --- perf.c ------------------------------------------------------------------------------------ */

/* The whole program, but for the link. links: which options it has, PERF_RING and so on. Returns the exit code. */
int perf_main(int argc, char** argv, const char* program, unsigned int links);

/* Prints "program side: text" on stderr, as one line. */
__attribute__((format(printf, 2, 3))) void perf_error(const perf_options_t* o, const char* format, ...);

uint64_t perf_now_ns(void);
/* The signal that asked this process to end, or 0. */
int perf_signal(void);
/* For opening a link: sleeps a millisecond; false when it is time to give up waiting for the peer. */
bool perf_keep_waiting(const perf_options_t* o, uint64_t since_ns);
/* How often a link calls side_tick(). */
unsigned int perf_tick_ms(const perf_options_t* o);
/* Whether the server process of a run of both has ended. */
bool perf_server_gone(const perf_options_t* o);

/* --- perf_options.c ---------------------------------------------------------------------------- */

/* Fills o from the command line. Returns PERF_OK, or PERF_USAGE after a message; --help exits with 0. */
int perf_options_parse(perf_options_t* o, int argc, char** argv, const char* program, unsigned int links);
/* Reads "64", "20k", "1M". Returns false, ret_n untouched, on anything else or more than max. */
bool perf_parse_count(const char* text, uint64_t max, uint64_t* ret_n);
const char* perf_mode_name(perf_mode_t mode);
const char* perf_side_name(perf_kind_t side);
const char* perf_role_name(perf_role_t role);
perf_kind_t perf_client_of(perf_mode_t mode);
perf_kind_t perf_server_of(perf_mode_t mode);
/* Binds the process to one CPU; -1 = leave it. Returns 0 or a negative errno value. */
int perf_pin(int cpu);

/* --- perf_side.c ------------------------------------------------------------------------------- */

typedef struct side_s side_t;
typedef struct link_s link_t;

/* Runs one side from open to close and fills ret_result; ret_link_stats receives the link's counters
 * (never NULL). The caller frees samples and counters. Returns the exit code. */
int side_run(const perf_options_t* o, perf_result_t* ret_result, json_t** ret_link_stats);

/* Called by the link, from link_run() only, and not after link_stop(). */
void side_on_packets(side_t* s, const struct iovec pkts[], unsigned int npkts); /* at most PERF_MAX_RECV */
void side_on_end(side_t* s, int status); /* 0: the peer closed; else link_errmsg() says what failed */
void side_on_room(side_t* s);            /* what link_queue() took is sent */
void side_on_idle(side_t* s);            /* once a turn while asked for */
void side_tick(side_t* s);               /* every perf_tick_ms() or so */

/* --- the link ---------------------------------------------------------------------------------- */

/* Creates or connects, by o->role. NULL after a message. */
link_t* link_open(side_t* s, const perf_options_t* o);
/* Runs until link_stop() has been called and everything is closed. */
void link_run(link_t* l);
/* Sends as many packets as there is room for, o->batch at a time; PERF_HEADROOM bytes before each are the link's to
 * write. Returns how many, or negative. */
int link_send(link_t* l, const struct iovec pkts[], unsigned int npkts);
/* After link_send() found no room: takes up to o->batch packets, sends them when it can and then calls
 * side_on_room(), never from within. The array and the bytes must stay until then. One call at a time.
 * Returns how many, or negative. */
int link_queue(link_t* l, const struct iovec pkts[], unsigned int npkts);
/* Asks for side_on_idle(), or no longer. */
void link_idle(link_t* l, bool on);
/* Holds back delivery, or goes on; pause from side_on_packets(), resume from side_on_room(). */
void link_pause(link_t* l, bool on);
/* Leaves: closes the link, after which nothing is called. From within side_* callbacks. */
void link_stop(link_t* l);
/* "call object: reason" of the last failure. */
const char* link_errmsg(const link_t* l);
/* The link's own counters at link_stop(). New reference. */
json_t* link_stats(const link_t* l);
/* Frees what link_run() left. */
void link_free(link_t* l);

/* --- perf_place.c ------------------------------------------------------------------------------ */

/* Notes where the caller runs now; a place begins as zeros. */
void place_look(perf_place_t* place);
/* The CPUs that were seen. New reference. */
json_t* place_cpus(const perf_place_t* place);
/* Adds build, cpu_model and hints to the report of a whole program. pinned: whether all its ends were. */
void place_describe(json_t* report, bool pinned);

/* --- perf_socket.c ----------------------------------------------------------------------------- */

/* Listens and accepts, or connects, by o->role. Returns the connected socket or a negative errno value. */
int perf_open_socket(const perf_options_t* o);

/* Three descriptors over such a socket, to be closed by who gets them. 0 or a negative errno value. */
int perf_send_three(int sock, const int fds[3]);
int perf_receive_three(int sock, int ret_fds[3]);

/* --- perf_report.c ----------------------------------------------------------------------------- */

/* What one side measured as JSON; sorts r->samples_ns. Takes over link_stats. New reference. */
json_t* report_side(const perf_options_t* o, perf_result_t* r, json_t* link_stats);
/* What was counted between two times since the window opened, as an element of r->intervals; and, unless all is to
 * be JSON, as a line of text at once. */
void report_interval(const perf_options_t* o, perf_result_t* r, double from_s, double to_s, uint64_t packets);
/* Both sides of a run; steals client and server (server may be NULL: it ended without a report). */
json_t* report_run(const perf_options_t* o, json_t* client, json_t* server, int exit_code);
/* Prints what either made, as text, or as JSON with o->json. */
void report_print(const perf_options_t* o, const json_t* report);
#endif
