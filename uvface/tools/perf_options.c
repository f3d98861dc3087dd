/* SPDX-License-Identifier: MIT */
/* perf_options.c: the command line of the measuring programs, one and the same for all of them. Guarantees
 * that what it returns is complete and in range; whether a name or a slot size is acceptable is left to
 * the link, which knows. Also holds the names of modes, sides and roles, and CPU pinning. */
#include "perf.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char* const mode_names[MODE_COUNT] = {"throughput", "rtt", "paced", "fetch", "full"};
static const char* const side_names[SIDE_COUNT] = {"source", "ping", "paced",       "fetch", "stuff",
                                                   "sink",   "echo", "fetchserver", "sip"};
static const char* const role_names[ROLE_COUNT] = {"engine", "app"};
static const perf_kind_t clients[MODE_COUNT] = {SIDE_SOURCE, SIDE_PING, SIDE_PACED, SIDE_FETCH, SIDE_STUFF};
static const perf_kind_t servers[MODE_COUNT] = {SIDE_SINK, SIDE_ECHO, SIDE_ECHO, SIDE_FETCHSERVER, SIDE_SIP};

const char* perf_mode_name(perf_mode_t mode) {
  return mode_names[mode];
}

const char* perf_side_name(perf_kind_t side) {
  return side < SIDE_COUNT ? side_names[side] : "both";
}

const char* perf_role_name(perf_role_t role) {
  return role_names[role];
}

perf_kind_t perf_client_of(perf_mode_t mode) {
  return clients[mode];
}

perf_kind_t perf_server_of(perf_mode_t mode) {
  return servers[mode];
}

static const char usage_text[] =
    "MODE [options]\n"
    "\n"
    "Runs a client and a server process over one face and prints what they measured.\n"
    "\n"
    "  throughput  source -> sink, one way; the rate is the sink's\n"
    "  rtt         ping <-> echo, one packet at a time\n"
    "  paced       the same, a packet every --interval-us; also what an idle server costs\n"
    "  fetch       fetch <-> fetchserver: --window Interests outstanding, --reply bytes back\n"
    "  full        stuff -> sip: no room but every 10 ms; what waiting costs, and how long until\n"
    "              the sender goes on, as a round trip\n"
    "\n"
    "  --server-role engine|app  role of sink, echo or fetchserver (engine)\n"
    "  --side SIDE --role engine|app --name NAME\n"
    "                            run that end alone, in this process\n"
    "  --name NAME               name of the face\n"
    "  --count N                 packets or round trips (20k, 1M; default: by time)\n"
    "  --secs S                  run this long (2)\n"
    "  --size N                  bytes of a packet, an Interest (64; with replies 100)\n"
    "  --reply N                 fetch: bytes of a reply (8000)\n"
    "  --batch N                 hand over N packets at once; 1: each on its own (1)\n"
    "  --window N                fetch: Interests outstanding (64)\n"
    "  --interval-us N           paced: microseconds between packets (100)\n"
    "  --verify                  number, fill and check every packet\n"
    "  --borrow                  receive slots, not copies\n"
    "  --coalesce                pipe-perf: one write for all packets that are ready\n"
    "  --literal                 uvface-perf: announce nothing, as a face of ndn-rs\n"
    "  --cpu A[,B]               pin the client to CPU A, the server to B\n"
    "  --capacity N              slots per ring\n"
    "  --slot-size N             bytes, the largest packet\n"
    "  --hot-ns N, --spin-ns N   how long a face stays awake; --no-spin: both 0\n"
    "  --timeout-ms N            no packet for this long is a stall; give up after three (10000)\n"
    "  --json                    print one JSON object\n"
    "  --version, --help\n"
    "\n"
    "Exit: 0 well; 1 failed, or the peer left early; 2 usage; 3 stalled; 4 --verify found a fault.\n";

bool perf_parse_count(const char* text, uint64_t max, uint64_t* ret_n) {
  char* end;
  if (text[0] < '0' || text[0] > '9') return false;
  errno = 0;
  unsigned long long n = strtoull(text, &end, 10);
  uint64_t unit = *end == 'k' ? 1000 : *end == 'M' ? 1000000 : 1;
  if (errno != 0 || end[unit != 1] != '\0' || n > max / unit) return false;
  *ret_n = n * unit;
  return true;
}

static int find_name(const char* text, const char* const names[], int n) {
  for (int i = 0; i < n; i++)
    if (strcmp(text, names[i]) == 0) return i;
  return -1;
}

static bool parse_cpus(const char* text, int ret_cpu[2]) {
  char* end;
  long a = strtol(text, &end, 10);
  if (end == text || a < 0 || a >= CPU_SETSIZE) return false;
  long b = a;
  if (*end == ',') {
    const char* second = end + 1;
    b = strtol(second, &end, 10);
    if (end == second || b < 0 || b >= CPU_SETSIZE) return false;
  }
  if (*end != '\0') return false;
  ret_cpu[0] = (int) a;
  ret_cpu[1] = (int) b;
  return true;
}

enum {
  OPT_NAME = 256,
  OPT_COUNT,
  OPT_SECS,
  OPT_SIZE,
  OPT_REPLY,
  OPT_BATCH,
  OPT_WINDOW,
  OPT_INTERVAL,
  OPT_VERIFY,
  OPT_BORROW,
  OPT_COALESCE,
  OPT_LITERAL,
  OPT_CPU,
  OPT_CAPACITY,
  OPT_SLOT_SIZE,
  OPT_HOT,
  OPT_SPIN,
  OPT_NO_SPIN,
  OPT_TIMEOUT,
  OPT_JSON,
  OPT_SERVER_ROLE,
  OPT_SIDE,
  OPT_ROLE
};

static const struct option long_options[] = {
    {"name", required_argument, NULL, OPT_NAME},
    {"count", required_argument, NULL, OPT_COUNT},
    {"secs", required_argument, NULL, OPT_SECS},
    {"size", required_argument, NULL, OPT_SIZE},
    {"reply", required_argument, NULL, OPT_REPLY},
    {"batch", required_argument, NULL, OPT_BATCH},
    {"window", required_argument, NULL, OPT_WINDOW},
    {"interval-us", required_argument, NULL, OPT_INTERVAL},
    {"verify", no_argument, NULL, OPT_VERIFY},
    {"borrow", no_argument, NULL, OPT_BORROW},
    {"coalesce", no_argument, NULL, OPT_COALESCE},
    {"literal", no_argument, NULL, OPT_LITERAL},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"capacity", required_argument, NULL, OPT_CAPACITY},
    {"slot-size", required_argument, NULL, OPT_SLOT_SIZE},
    {"hot-ns", required_argument, NULL, OPT_HOT},
    {"spin-ns", required_argument, NULL, OPT_SPIN},
    {"no-spin", no_argument, NULL, OPT_NO_SPIN},
    {"timeout-ms", required_argument, NULL, OPT_TIMEOUT},
    {"json", no_argument, NULL, OPT_JSON},
    {"server-role", required_argument, NULL, OPT_SERVER_ROLE},
    {"side", required_argument, NULL, OPT_SIDE},
    {"role", required_argument, NULL, OPT_ROLE},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* What the command line says before it is known what it means together. */
typedef struct parsed_s {
  perf_options_t* o;
  int server_role, side, role; /* -1 = not given */
  uint64_t size_bytes;         /* 0 = not given */
} parsed_t;

/* The numbers: option, smallest, largest, and where they go. */
static bool apply_number(parsed_t* p, int option, const char* text) {
  perf_options_t* o = p->o;
  uint64_t n;
  if (!perf_parse_count(text, option == OPT_COUNT ? UINT64_MAX : INT32_MAX, &n)) return false;
  switch (option) {
    case OPT_COUNT: o->count = n; return n > 0;
    case OPT_SIZE: p->size_bytes = n; return n >= 8 && n <= 1 << 20;
    case OPT_REPLY: o->reply_bytes = (size_t) n; return n >= 8 && n <= 1 << 20;
    case OPT_BATCH: o->batch = (unsigned int) n; return n >= 1 && n <= PERF_MAX_BATCH;
    case OPT_WINDOW: o->window = (unsigned int) n; return n >= 1;
    case OPT_INTERVAL: o->interval_us = n; return n >= 1;
    case OPT_CAPACITY: o->capacity = (uint32_t) n; return true;
    case OPT_SLOT_SIZE: o->slot_size = (uint32_t) n; return true;
    case OPT_HOT: o->hot_ns = (int64_t) n; return true;
    case OPT_SPIN: o->spin_ns = (int64_t) n; return true;
    case OPT_TIMEOUT: o->timeout_ms = (unsigned int) n; return n >= 1;
    default: return false;
  }
}

static bool apply(parsed_t* p, int option, const char* text) {
  perf_options_t* o = p->o;
  char* end;
  switch (option) {
    case OPT_NAME: return snprintf(o->name, sizeof(o->name), "%s", text) < (int) sizeof(o->name);
    case OPT_SECS: o->secs = strtod(text, &end); return *end == '\0' && o->secs > 0 && o->secs < 1e6;
    case OPT_CPU: return parse_cpus(text, o->cpu);
    case OPT_SERVER_ROLE: return (p->server_role = find_name(text, role_names, ROLE_COUNT)) >= 0;
    case OPT_ROLE: return (p->role = find_name(text, role_names, ROLE_COUNT)) >= 0;
    case OPT_SIDE: return (p->side = find_name(text, side_names, SIDE_COUNT)) >= 0;
    case OPT_VERIFY: o->verify = true; return true;
    case OPT_BORROW: o->borrow = true; return true;
    case OPT_COALESCE: o->coalesce = true; return true;
    case OPT_LITERAL: o->literal = true; return true;
    case OPT_JSON: o->json = true; return true;
    case OPT_NO_SPIN: o->hot_ns = o->spin_ns = 0; return true;
    default: return apply_number(p, option, text);
  }
}

static int usage_error(const char* program, const char* what, const char* text) {
  fprintf(stderr, "%s: %s%s; see %s --help\n", program, what, text, program);
  return PERF_USAGE;
}

/* Decides the role of this process, checks that the words fit together. */
static int settle(parsed_t* p) {
  perf_options_t* o = p->o;
  perf_role_t server_role = p->server_role < 0 ? ROLE_ENGINE : (perf_role_t) p->server_role;
  o->side = p->side < 0 ? SIDE_BOTH : (perf_kind_t) p->side;
  o->role = server_role == ROLE_ENGINE ? ROLE_APP : ROLE_ENGINE;
  if (o->side == SIDE_BOTH && p->role >= 0) return usage_error(o->program, "--role", " needs --side");
  if (o->side != SIDE_BOTH) {
    if (o->side != clients[o->mode] && o->side != servers[o->mode])
      return usage_error(o->program, "no such side in this mode: ", side_names[o->side]);
    if (p->role < 0 || o->name[0] == '\0') return usage_error(o->program, "--side", " needs --role and --name");
    o->role = (perf_role_t) p->role;
  }
  bool one_way = o->mode == MODE_THROUGHPUT || o->mode == MODE_FULL;
  o->size_bytes = p->size_bytes != 0 ? (size_t) p->size_bytes : one_way ? 64 : 100;
  if (o->name[0] == '\0') snprintf(o->name, sizeof(o->name), "%s-%ld", o->program, (long) getpid());
  return PERF_OK;
}

int perf_options_parse(perf_options_t* o, int argc, char** argv, const char* program) {
  *o = (perf_options_t){.program = program,
                        .secs = 2,
                        .reply_bytes = 8000,
                        .batch = 1,
                        .window = 64,
                        .interval_us = 100,
                        .timeout_ms = 10000,
                        .cpu = {-1, -1},
                        .hot_ns = -1,
                        .spin_ns = -1};
  parsed_t p = {o, -1, -1, -1, 0};
  int option, index = 0;
  while ((option = getopt_long(argc, argv, "h", long_options, &index)) != -1) {
    if (option == '?') return PERF_USAGE;
    if (option == 'h') printf("Usage: %s %s", program, usage_text);
    if (option == 'V') printf("%s %s\n", program, PERF_VERSION);
    if (option == 'h' || option == 'V') exit(PERF_OK);
    if (!apply(&p, option, optarg)) return usage_error(program, "bad value for --", long_options[index].name);
  }
  int mode = optind < argc ? find_name(argv[optind], mode_names, MODE_COUNT) : -1;
  if (mode < 0)
    return usage_error(program, optind < argc ? "no such mode: " : "MODE is missing",
                       optind < argc ? argv[optind] : "");
  if (optind + 1 < argc) return usage_error(program, "unexpected argument: ", argv[optind + 1]);
  o->mode = (perf_mode_t) mode;
  return settle(&p);
}

int perf_pin(int cpu) {
  if (cpu < 0) return 0;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((size_t) cpu, &set);
  return sched_setaffinity(0, sizeof(set), &set) == 0 ? 0 : -errno;
}
