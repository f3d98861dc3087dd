/* SPDX-License-Identifier: MIT */
/* perf_options.c: the command line of the measuring programs: one table, of which each program and each mode has
 * its part, and no more than that is taken or listed. Guarantees that what it returns is complete and in range; whether
 * a name or a slot size is acceptable is left to the link, which knows. Also holds the names of modes, sides and roles,
 * and CPU pinning. */
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
static const char* const private_names[] = {"socket", "pipes"}; /* PERF_BY_SOCKET, PERF_BY_PIPES */
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

static const char* const mode_texts[MODE_COUNT] = {
    "source -> sink, one way; the rate is the sink's",
    "ping <-> echo, one packet at a time",
    "the same, a packet every --interval-us; also what an idle server costs",
    "fetch <-> fetchserver: --window Interests outstanding, --reply bytes back",
    "stuff -> sip, which takes packets every 10 ms: what waiting for room costs, and how long it is",
};

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
  OPT_INTERVAL,
  OPT_SIZE,
  OPT_REPLY,
  OPT_BATCH,
  OPT_WINDOW,
  OPT_PACE,
  OPT_VERIFY,
  OPT_BORROW,
  OPT_COALESCE,
  OPT_LITERAL,
  OPT_STREAM,
  OPT_PRIVATE,
  OPT_CPU,
  OPT_CAPACITY,
  OPT_SLOT_SIZE,
  OPT_MODE,
  OPT_UID,
  OPT_GID,
  OPT_HOT,
  OPT_SPIN,
  OPT_NO_SPIN,
  OPT_TIMEOUT,
  OPT_JSON,
  OPT_SERVER_ROLE,
  OPT_SIDE,
  OPT_ROLE
};

enum {
  IN_THROUGHPUT = 1 << MODE_THROUGHPUT,
  IN_PACED = 1 << MODE_PACED,
  IN_FETCH = 1 << MODE_FETCH,
  IN_FULL = 1 << MODE_FULL,
  IN_ALL = (1 << MODE_COUNT) - 1
};

/* argument: NULL if it takes none. links: who has it, 0 for all. */
typedef struct row_s {
  const char* name;
  const char* argument;
  int option;
  unsigned int modes, links;
  const char* help;
} row_t;

static const row_t rows[] = {
    {"server-role", "ROLE", OPT_SERVER_ROLE, IN_ALL, 0, "engine or app: the role of the second of the two (engine)"},
    {"side", "SIDE", OPT_SIDE, IN_ALL, 0, "run that end alone, in this process; needs --role and --name"},
    {"role", "ROLE", OPT_ROLE, IN_ALL, 0, "engine or app: the role of that end"},
    {"name", "NAME", OPT_NAME, IN_ALL, 0, "name of the face"},
    {"count", "N", OPT_COUNT, IN_ALL, 0, "packets or round trips (20k, 1M; default: by time)"},
    {"secs", "S", OPT_SECS, IN_ALL, 0, "run this long (2)"},
    {"interval", "S", OPT_INTERVAL, IN_ALL, 0,
     "meanwhile a line every S seconds, with what was counted since the last"},
    {"size", "N", OPT_SIZE, IN_ALL, 0, "bytes of a packet, an Interest (64; with replies 100)"},
    {"reply", "N", OPT_REPLY, IN_FETCH, 0, "bytes of a reply (8000)"},
    {"batch", "N", OPT_BATCH, IN_THROUGHPUT | IN_FETCH, 0, "hand over N packets at once; 1: each on its own (1)"},
    {"window", "N", OPT_WINDOW, IN_FETCH, 0, "Interests outstanding (64)"},
    {"interval-us", "N", OPT_PACE, IN_PACED, 0, "microseconds between packets (100)"},
    {"verify", NULL, OPT_VERIFY, IN_ALL & ~IN_FULL, 0, "number, fill and check every packet"},
    {"borrow", NULL, OPT_BORROW, IN_ALL, PERF_RING,
     "receive slots, not copies, and read every 64-byte line; of a copy one byte is read"},
    {"coalesce", NULL, OPT_COALESCE, IN_ALL, PERF_PIPE, "one write for all packets that are ready"},
    {"stream", NULL, OPT_STREAM, IN_ALL, PERF_FACE, "the face is over a Unix stream socket"},
    {"private", "KIND", OPT_PRIVATE, IN_ALL, PERF_FACE, "socket or pipes: the face has no name, and is woken by that"},
    {"literal", NULL, OPT_LITERAL, IN_ALL, PERF_FACE, "announce nothing, as a face of ndn-rs"},
    {"cpu", "A[,B]", OPT_CPU, IN_ALL, 0, "pin the client to CPU A, the server to B"},
    {"capacity", "N", OPT_CAPACITY, IN_ALL, PERF_RING, "slots per ring"},
    {"slot-size", "N", OPT_SLOT_SIZE, IN_ALL, PERF_RING, "bytes, the largest packet"},
    {"mode", "OCTAL", OPT_MODE, IN_ALL, PERF_FACE, "engine: permissions of the face's files (0600)"},
    {"uid", "N", OPT_UID, IN_ALL, PERF_FACE, "engine: their owner; app: the engine's user, to be trusted"},
    {"gid", "N", OPT_GID, IN_ALL, PERF_FACE, "engine: their group"},
    {"hot-ns", "N", OPT_HOT, IN_ALL, PERF_FACE, "how long a loop turns without sleeping after a packet"},
    {"spin-ns", "N", OPT_SPIN, IN_ALL, PERF_FACE, "how long it looks at the rings before it would sleep"},
    {"no-spin", NULL, OPT_NO_SPIN, IN_ALL, PERF_FACE, "both 0"},
    {"timeout-ms", "N", OPT_TIMEOUT, IN_ALL, 0, "no packet for this long is a stall; three end the run (10000)"},
    {"json", NULL, OPT_JSON, IN_ALL, 0, "print one JSON object"},
    {"version", NULL, 'V', IN_ALL, 0, "print the version"},
    {"help", NULL, 'h', IN_ALL, 0, "print this; with a MODE, what that mode has"},
};
enum { ROWS = sizeof(rows) / sizeof(*rows) };

static bool has_row(unsigned int links, const row_t* row) {
  return row->links == 0 || (row->links & links) != 0;
}

static void list_modes(unsigned int modes) {
  for (unsigned int i = 0; i < MODE_COUNT; i++)
    if ((modes & 1U << i) != 0) printf("  %-12s%s\n", mode_names[i], mode_texts[i]);
}

/* "fetch: " before the text of an option that not all of these modes have. */
static void list_options(unsigned int links, unsigned int modes) {
  char left[32];
  for (const row_t* row = rows; row < rows + ROWS; row++) {
    if (!has_row(links, row) || (row->modes & modes) == 0) continue;
    snprintf(left, sizeof(left), "--%s %s", row->name, row->argument != NULL ? row->argument : "");
    printf("  %-20s", left);
    if ((row->modes & modes) != modes) {
      const char* comma = "";
      for (unsigned int i = 0; i < MODE_COUNT; i++) {
        if ((row->modes & 1U << i) == 0) continue;
        printf("%s%s", comma, mode_names[i]);
        comma = ", ";
      }
      printf(": ");
    }
    printf("%s\n", row->help);
  }
}

/* mode: -1 for all. */
static void print_help(const char* program, unsigned int links, int mode) {
  unsigned int modes = mode < 0 ? IN_ALL : 1U << mode;
  printf(
      "Usage: %s %s [options]\n\n"
      "Runs a client and a server process over one face and prints what they measured.\n\n",
      program, mode < 0 ? "MODE" : mode_names[mode]);
  list_modes(modes);
  putchar('\n');
  list_options(links, modes);
  printf("\nExit: 0 well; 1 failed, or the peer left early; 2 usage; 3 stalled; 4 --verify found a fault.\n");
}

/* What the command line says before it is known what it means together. */
typedef struct parsed_s {
  perf_options_t* o;
  int server_role, side, role; /* -1 = not given */
  uint64_t size_bytes;         /* 0 = not given */
  bool help;
  const char* foreign[MODE_COUNT]; /* an option that was given and is not one of this mode, or NULL */
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
    case OPT_PACE: o->interval_us = n; return n >= 1;
    case OPT_CAPACITY: o->capacity = (uint32_t) n; return true;
    case OPT_SLOT_SIZE: o->slot_size = (uint32_t) n; return true;
    case OPT_UID: o->uid = (uint32_t) n; return true;
    case OPT_GID: o->gid = (uint32_t) n; return true;
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
    case OPT_INTERVAL:
      o->interval_secs = strtod(text, &end);
      return *end == '\0' && end != text &&
             (o->interval_secs == 0 || (o->interval_secs >= 0.01 && o->interval_secs < 1e6));
    case OPT_MODE:
      o->mode_bits = (uint32_t) strtoul(text, &end, 8);
      return *end == '\0' && end != text && o->mode_bits > 0 && o->mode_bits <= 0777;
    case OPT_CPU: return parse_cpus(text, o->cpu);
    case OPT_SERVER_ROLE: return (p->server_role = find_name(text, role_names, ROLE_COUNT)) >= 0;
    case OPT_ROLE: return (p->role = find_name(text, role_names, ROLE_COUNT)) >= 0;
    case OPT_SIDE: return (p->side = find_name(text, side_names, SIDE_COUNT)) >= 0;
    case OPT_VERIFY: o->verify = true; return true;
    case OPT_BORROW: o->borrow = true; return true;
    case OPT_COALESCE: o->coalesce = true; return true;
    case OPT_LITERAL: o->literal = true; return true;
    case OPT_STREAM: o->stream = true; return true;
    case OPT_PRIVATE: return (o->private = 1 + find_name(text, private_names, 2)) > 0;
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
  if (o->private != 0 && (o->stream || o->literal))
    return usage_error(o->program, "--private", " excludes --stream and --literal");
  if ((o->private != 0 || o->stream) && (o->mode_bits != 0 || o->gid != ~0u))
    return usage_error(o->program, "--mode, --gid", " are for files: not with --private or --stream");
  bool one_way = o->mode == MODE_THROUGHPUT || o->mode == MODE_FULL;
  o->size_bytes = p->size_bytes != 0 ? (size_t) p->size_bytes : one_way ? 64 : 100;
  if (o->name[0] == '\0') snprintf(o->name, sizeof(o->name), "%s-%ld", o->program, (long) getpid());
  return PERF_OK;
}

/* For getopt: the options of this program. */
static void long_options(unsigned int links, struct option ret_options[ROWS + 1]) {
  struct option* next = ret_options;
  for (const row_t* row = rows; row < rows + ROWS; row++)
    if (has_row(links, row))
      *next++ = (struct option){row->name, row->argument != NULL ? required_argument : no_argument, NULL, row->option};
  *next = (struct option){NULL, 0, NULL, 0};
}

static void note_foreign(parsed_t* p, int option) {
  const row_t* row = rows;
  while (row->option != option) row++;
  for (unsigned int i = 0; i < MODE_COUNT; i++)
    if ((row->modes & 1U << i) == 0) p->foreign[i] = row->name;
}

static int read_options(parsed_t* p, int argc, char** argv, unsigned int links) {
  const char* program = p->o->program;
  struct option options[ROWS + 1];
  int option, index = 0;
  long_options(links, options);
  while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
    if (option == '?') return PERF_USAGE;
    if (option == 'V') {
      printf("%s %s\n", program, PERF_VERSION);
      exit(PERF_OK);
    }
    if (option == 'h')
      p->help = true;
    else if (!apply(p, option, optarg))
      return usage_error(program, "bad value for --", options[index].name);
    note_foreign(p, option);
  }
  return PERF_OK;
}

int perf_options_parse(perf_options_t* o, int argc, char** argv, const char* program, unsigned int links) {
  *o = (perf_options_t){.program = program,
                        .secs = 2,
                        .reply_bytes = 8000,
                        .batch = 1,
                        .window = 64,
                        .interval_us = 100,
                        .timeout_ms = 10000,
                        .cpu = {-1, -1},
                        .uid = ~0u,
                        .gid = ~0u,
                        .hot_ns = -1,
                        .spin_ns = -1};
  parsed_t p = {.o = o, .server_role = -1, .side = -1, .role = -1};
  int rc = read_options(&p, argc, argv, links);
  if (rc != PERF_OK) return rc;
  int mode = optind < argc ? find_name(argv[optind], mode_names, MODE_COUNT) : -1;
  if (p.help && (mode >= 0 || optind == argc)) {
    print_help(program, links, mode);
    exit(PERF_OK);
  }
  if (mode < 0)
    return usage_error(program, optind < argc ? "no such mode: " : "MODE is missing",
                       optind < argc ? argv[optind] : "");
  if (optind + 1 < argc) return usage_error(program, "unexpected argument: ", argv[optind + 1]);
  if (p.foreign[mode] != NULL) {
    fprintf(stderr, "%s: %s has no --%s; see %s %s --help\n", program, mode_names[mode], p.foreign[mode], program,
            mode_names[mode]);
    return PERF_USAGE;
  }
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
