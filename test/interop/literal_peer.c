/* SPDX-License-Identifier: MIT */
/* literal_peer.c: a second opinion on the base protocol. A peer that speaks it to the letter as ndn-rs does,
 * faults included, and that shares no line and no header with lib/: both FIFOs O_RDWR (so it never sees
 * its peer die), no fence between tail and the parked flag, the peer's flag never cleared, lengths cut to the
 * slot size, 64 looks and then sleep, a busy wait on a full ring, O_TRUNC over whatever region is there.
 * Robust only where a test needs it: it looks at the region's size before it maps it, ends at a deadline
 * and on SIGTERM, which it also gets when its parent dies, and as engine removes the three names.
 *
 * Usage: literal-peer {engine|app}-{echo|sink|source|ping|wait|hold} NAME [N] [SIZE] [options]
 *   echo [N]         return N packets (0 or nothing: for ever)
 *   sink [N]         receive N packets (1)
 *   source [N] SIZE  send N packets (1) and stay until the peer has taken them
 *   ping [N] SIZE    send N packets (1), each after the echo of the one before
 *   wait [N]         print every packet; end after N (0: never)
 *   hold [SECONDS]   attach, and do nothing at all (0: for ever)
 *   --verify         packets are numbered from 0: a u64, little-endian, then its low byte; sink checks it
 *   --size BYTES     SIZE, for all commands (64)
 *   --cap C --slot S engine: slots per ring (256), bytes per slot (8960)
 *   --start-index I  engine: both heads and tails start at I
 *   --withhold-byte K  lose the wake-up of each K-th packet sent (see send_withheld()) and print at the end
 *                    how many were lost so, how many of these were taken within 5 ms, how many got their
 *                    byte after all because this process was late, and the longest time to be taken
 *   --timeout-ms MS  end after that long, done or not (60000)
 * Prints "ready" when attached. Exit status: 0 done (or SIGTERM where N is "for ever"), 1 failed, 2 usage,
 * 3 not done in time. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x4E444E5F53484D00u
#define CAPACITY_AT 8
#define SLOT_SIZE_AT 12
#define A2E_TAIL_AT 64
#define A2E_HEAD_AT 128
#define E2A_TAIL_AT 192
#define E2A_HEAD_AT 256
#define A2E_PARKED_AT 320
#define E2A_PARKED_AT 384
#define SLOTS_AT 448
#define LENGTH_BYTES 4
#define LOOKS_BEFORE_SLEEP 64

#define NS_PER_MS 1000000u
#define CONNECT_RETRY_NS 1000000
#define WITHHOLD_WINDOW_NS 500000u
#define IN_TIME_NS 5000000u

enum { DONE = 0, FAILED = 1, USAGE = 2, NOT_DONE = 3 };

typedef struct ring_s {
  _Atomic uint32_t* tail;
  _Atomic uint32_t* head;
  _Atomic uint32_t* parked;
  uint8_t* slots;
} ring_t;

typedef struct peer_s {
  /* what was asked for */
  bool engine, verify;
  const char* command;
  const char* name;
  uint64_t count;
  bool count_given;
  size_t size_bytes;
  uint32_t capacity, slot_size, start_index, withhold_every;
  uint64_t timeout_ms;
  /* what it works with */
  uint64_t deadline_ns;
  int signal_fd;
  bool terminated;
  char region[256], a2e_path[256], e2a_path[256];
  ring_t tx, rx;
  int sleep_fd, wake_fd;
  uint8_t* packet; /* slot_size bytes for what is received */
  uint8_t* own;    /* and for what is made here */
  /* what it did */
  uint64_t sent, received, withheld, late, in_time, worst_ns;
} peer_t;

/* --- Time and the end ------------------------------------------------------------------------- */

static uint64_t now_ns(void) {
  struct timespec ts;

  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}

static void take_signal(peer_t* peer) {
  struct signalfd_siginfo info;

  if (read(peer->signal_fd, &info, sizeof(info)) > 0) peer->terminated = true;
}

static bool is_over(peer_t* peer) {
  take_signal(peer);
  return peer->terminated || now_ns() >= peer->deadline_ns;
}

/* True if fd became readable, false when the run is over. fd -1: just wait for that. */
static bool sleep_on(peer_t* peer, int fd) {
  while (!is_over(peer)) {
    struct pollfd fds[2] = {{.fd = peer->signal_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    uint64_t now = now_ns();
    uint64_t left_ms = now < peer->deadline_ns ? (peer->deadline_ns - now) / NS_PER_MS + 1 : 0;

    if (poll(fds, 2, (int) left_ms) > 0 && fds[1].revents != 0) return true;
  }
  return false;
}

/* --- The region and the FIFOs ----------------------------------------------------------------- */

static int complain(const char* what, const char* object) {
  fprintf(stderr, "literal-peer: %s %s: %s\n", what, object, strerror(errno));
  return FAILED;
}

static void set_names(peer_t* peer) {
  snprintf(peer->region, sizeof(peer->region), "/ndn-shm-%s", peer->name);
  snprintf(peer->a2e_path, sizeof(peer->a2e_path), "/tmp/.ndn-%s.a2e.pipe", peer->name);
  snprintf(peer->e2a_path, sizeof(peer->e2a_path), "/tmp/.ndn-%s.e2a.pipe", peer->name);
}

static size_t stride_bytes(const peer_t* peer) {
  return LENGTH_BYTES + (size_t) peer->slot_size;
}

static size_t region_bytes(const peer_t* peer) {
  return SLOTS_AT + 2 * (size_t) peer->capacity * stride_bytes(peer);
}

static _Atomic uint32_t* word_at(uint8_t* base, size_t offset) {
  return (_Atomic uint32_t*) (base + offset);
}

static void set_rings(peer_t* peer, uint8_t* base) {
  ring_t a2e = {word_at(base, A2E_TAIL_AT), word_at(base, A2E_HEAD_AT), word_at(base, A2E_PARKED_AT), base + SLOTS_AT};
  ring_t e2a = {word_at(base, E2A_TAIL_AT), word_at(base, E2A_HEAD_AT), word_at(base, E2A_PARKED_AT),
                base + SLOTS_AT + (size_t) peer->capacity * stride_bytes(peer)};

  peer->tx = peer->engine ? e2a : a2e;
  peer->rx = peer->engine ? a2e : e2a;
}

static bool open_fifos(peer_t* peer) {
  peer->sleep_fd = open(peer->engine ? peer->a2e_path : peer->e2a_path, O_RDWR | O_NONBLOCK);
  peer->wake_fd = open(peer->engine ? peer->e2a_path : peer->a2e_path, O_RDWR | O_NONBLOCK);
  return peer->sleep_fd >= 0 && peer->wake_fd >= 0;
}

static void write_header(const peer_t* peer, uint8_t* base) {
  static const size_t indices[] = {A2E_TAIL_AT, A2E_HEAD_AT, E2A_TAIL_AT, E2A_HEAD_AT};

  for (size_t i = 0; i < sizeof(indices) / sizeof(indices[0]); i++)
    atomic_store(word_at(base, indices[i]), peer->start_index);
  memcpy(base + CAPACITY_AT, &peer->capacity, 4);
  memcpy(base + SLOT_SIZE_AT, &peer->slot_size, 4);
  atomic_store((_Atomic uint64_t*) (void*) base, MAGIC); /* last: it says that the rest is valid */
}

static int engine_open(peer_t* peer) {
  int fd = shm_open(peer->region, O_CREAT | O_RDWR | O_TRUNC, 0666);
  uint8_t* base;

  if (fd < 0) return complain("shm_open", peer->region);
  if (ftruncate(fd, (off_t) region_bytes(peer)) != 0) return complain("ftruncate", peer->region);
  base = mmap(NULL, region_bytes(peer), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) return complain("mmap", peer->region);
  close(fd);
  write_header(peer, base);
  set_rings(peer, base);
  unlink(peer->a2e_path);
  unlink(peer->e2a_path);
  if (mkfifo(peer->a2e_path, 0600) != 0) return complain("mkfifo", peer->a2e_path);
  if (mkfifo(peer->e2a_path, 0600) != 0) return complain("mkfifo", peer->e2a_path);
  return open_fifos(peer) ? DONE : complain("open the FIFOs of", peer->name);
}

static void engine_remove_names(const peer_t* peer) {
  shm_unlink(peer->region);
  unlink(peer->a2e_path);
  unlink(peer->e2a_path);
}

/* Fails with errno set, above all while the engine is not there yet. */
static bool app_try_open(peer_t* peer) {
  int fd = shm_open(peer->region, O_RDWR, 0);
  uint8_t header[16] = {0};
  uint8_t* base = MAP_FAILED;
  uint64_t magic;
  struct stat st;

  if (fd < 0) return false;
  errno = EAGAIN;
  if (pread(fd, header, sizeof(header), 0) == (ssize_t) sizeof(header) && fstat(fd, &st) == 0) {
    memcpy(&magic, header, 8);
    memcpy(&peer->capacity, header + CAPACITY_AT, 4);
    memcpy(&peer->slot_size, header + SLOT_SIZE_AT, 4);
    if (magic == MAGIC && (size_t) st.st_size >= region_bytes(peer))
      base = mmap(NULL, region_bytes(peer), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  close(fd);
  if (base == MAP_FAILED) return false;
  set_rings(peer, base);
  if (open_fifos(peer)) return true;
  munmap(base, region_bytes(peer));
  return false;
}

static int app_open(peer_t* peer) {
  const struct timespec pause = {0, CONNECT_RETRY_NS};

  while (!app_try_open(peer)) {
    int cause = errno;

    if (is_over(peer)) {
      errno = cause;
      return complain("attach to", peer->name);
    }
    nanosleep(&pause, NULL);
  }
  return DONE;
}

/* --- The ring and the wake-up, to the letter --------------------------------------------------- */

static bool push(const peer_t* peer, const uint8_t* data, size_t len) {
  const ring_t* ring = &peer->tx;
  uint32_t tail = atomic_load_explicit(ring->tail, memory_order_relaxed);
  uint32_t head = atomic_load_explicit(ring->head, memory_order_acquire);
  uint8_t* slot = ring->slots + (size_t) (tail % peer->capacity) * stride_bytes(peer);
  uint32_t length = (uint32_t) len;

  if (tail - head >= peer->capacity) return false;
  memcpy(slot, &length, LENGTH_BYTES);
  memcpy(slot + LENGTH_BYTES, data, len);
  atomic_store_explicit(ring->tail, tail + 1, memory_order_release);
  return true;
}

static bool pop(peer_t* peer, size_t* ret_len) {
  const ring_t* ring = &peer->rx;
  uint32_t head = atomic_load_explicit(ring->head, memory_order_relaxed);
  uint32_t tail = atomic_load_explicit(ring->tail, memory_order_acquire);
  const uint8_t* slot = ring->slots + (size_t) (head % peer->capacity) * stride_bytes(peer);
  uint32_t length;

  if (head == tail) return false;
  memcpy(&length, slot, LENGTH_BYTES);
  if (length > peer->slot_size) length = peer->slot_size;
  memcpy(peer->packet, slot + LENGTH_BYTES, length);
  atomic_store_explicit(ring->head, head + 1, memory_order_release);
  *ret_len = length;
  peer->received++;
  return true;
}

static void write_byte(const peer_t* peer) {
  static const uint8_t byte = 1;

  if (write(peer->wake_fd, &byte, 1) < 0) return; /* full: it will wake anyway */
}

static bool push_waiting(peer_t* peer, const uint8_t* data, size_t len) {
  while (!push(peer, data, len)) {
    if (is_over(peer)) return false;
    sched_yield();
  }
  peer->sent++;
  return true;
}

/* Makes the loss of a wake-up certain that ndn-rs leaves to chance. It loses one only for a packet that
 * is published at the moment at which the consumer goes to sleep. So the consumer is woken for nothing,
 * watched until it announces its sleep again, and given a packet without a byte. If that took too long,
 * because this process was not running, the packet gets its byte: ndn-rs would not lose it either. */
static bool send_withheld(peer_t* peer, const uint8_t* data, size_t len) {
  uint64_t awake_ns = now_ns(), looked_ns = awake_ns, published_ns, took_ns;

  atomic_store(peer->tx.parked, 0);
  write_byte(peer);
  while (atomic_load(peer->tx.parked) == 0) {
    awake_ns = looked_ns;
    if (is_over(peer)) return false;
    sched_yield();
    looked_ns = now_ns();
  }
  if (!push_waiting(peer, data, len)) return false;
  published_ns = now_ns();
  if (published_ns - awake_ns > WITHHOLD_WINDOW_NS) {
    write_byte(peer);
    peer->late++;
    return true;
  }
  peer->withheld++;
  while (atomic_load(peer->tx.head) != atomic_load(peer->tx.tail)) {
    if (is_over(peer)) return false;
    sched_yield();
  }
  took_ns = now_ns() - published_ns;
  if (took_ns <= IN_TIME_NS) peer->in_time++;
  if (took_ns > peer->worst_ns) peer->worst_ns = took_ns;
  return true;
}

static bool send_packet(peer_t* peer, const uint8_t* data, size_t len) {
  if (peer->withhold_every != 0 && (peer->sent + 1) % peer->withhold_every == 0) return send_withheld(peer, data, len);
  if (!push_waiting(peer, data, len)) return false;
  if (atomic_load_explicit(peer->tx.parked, memory_order_seq_cst) != 0) write_byte(peer);
  return true;
}

static bool look_for_a_while(peer_t* peer, size_t* ret_len) {
  for (int i = 0; i <= LOOKS_BEFORE_SLEEP; i++) {
    if (pop(peer, ret_len)) return true;
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
  }
  return false;
}

static bool receive_packet(peer_t* peer, size_t* ret_len) {
  uint8_t bytes[64];
  bool found, alive = true;

  while (!look_for_a_while(peer, ret_len)) {
    atomic_store_explicit(peer->rx.parked, 1, memory_order_seq_cst);
    found = pop(peer, ret_len);
    if (!found) {
      alive = sleep_on(peer, peer->sleep_fd);
      if (alive) alive = read(peer->sleep_fd, bytes, sizeof(bytes)) > 0 || errno == EAGAIN;
    }
    atomic_store_explicit(peer->rx.parked, 0, memory_order_relaxed);
    if (found || !alive) return found;
  }
  return true;
}

/* --- The commands ----------------------------------------------------------------------------- */

static size_t number_packet(peer_t* peer, uint64_t number) {
  memset(peer->own, (int) (number & 0xff), peer->size_bytes);
  for (size_t i = 0; i < 8; i++) peer->own[i] = (uint8_t) (number >> (8 * i));
  return peer->size_bytes;
}

static bool is_packet(peer_t* peer, uint64_t number, size_t len) {
  if (len == number_packet(peer, number) && memcmp(peer->packet, peer->own, len) == 0) return true;
  fprintf(stderr, "literal-peer: packet %llu, %zu bytes, is not what was sent\n", (unsigned long long) number, len);
  return false;
}

/* True while there is more to do; a count of 0 means for ever. */
static bool wants_more(const peer_t* peer, uint64_t done) {
  return peer->count == 0 || done < peer->count;
}

static int stopped_early(const peer_t* peer) {
  return peer->count == 0 && peer->terminated ? DONE : NOT_DONE;
}

static int run_echo(peer_t* peer) {
  size_t len;

  while (wants_more(peer, peer->sent))
    if (!receive_packet(peer, &len) || !send_packet(peer, peer->packet, len)) return stopped_early(peer);
  return DONE;
}

static int run_sink(peer_t* peer) {
  size_t len;

  while (wants_more(peer, peer->received)) {
    if (!receive_packet(peer, &len)) return stopped_early(peer);
    if (peer->verify && !is_packet(peer, peer->received - 1, len)) return FAILED;
  }
  return DONE;
}

static int run_source(peer_t* peer) {
  while (wants_more(peer, peer->sent))
    if (!send_packet(peer, peer->own, number_packet(peer, peer->verify ? peer->sent : 0))) return stopped_early(peer);
  while (atomic_load(peer->tx.head) != atomic_load(peer->tx.tail)) {
    if (is_over(peer)) return NOT_DONE;
    sched_yield();
  }
  return DONE;
}

static int run_ping(peer_t* peer) {
  uint64_t start_ns, took_ns, worst_ns = 0, total_ns = 0;
  size_t len;

  for (uint64_t i = 0; wants_more(peer, i); i++) {
    start_ns = now_ns();
    if (!send_packet(peer, peer->own, number_packet(peer, i))) return stopped_early(peer);
    if (!receive_packet(peer, &len)) return stopped_early(peer);
    took_ns = now_ns() - start_ns;
    total_ns += took_ns;
    if (took_ns > worst_ns) worst_ns = took_ns;
    if (!is_packet(peer, i, len)) return FAILED;
  }
  printf("ping mean_ns=%llu max_ns=%llu\n", (unsigned long long) (total_ns / peer->received),
         (unsigned long long) worst_ns);
  return DONE;
}

static int run_wait(peer_t* peer) {
  size_t len;

  while (wants_more(peer, peer->received)) {
    if (!receive_packet(peer, &len)) return stopped_early(peer);
    printf("got %zu bytes:", len);
    for (size_t i = 0; i < len && i < 8; i++) printf(" %02x", peer->packet[i]);
    printf("\n");
    fflush(stdout);
  }
  return DONE;
}

static int run_hold(peer_t* peer) {
  uint64_t until_ns = now_ns() + peer->count * 1000 * NS_PER_MS;

  if (peer->count != 0 && until_ns < peer->deadline_ns) {
    peer->deadline_ns = until_ns;
    sleep_on(peer, -1);
    return DONE;
  }
  sleep_on(peer, -1);
  return stopped_early(peer);
}

typedef struct command_s {
  const char* name;
  int (*run)(peer_t* peer);
  uint64_t default_count;
} command_t;

static const command_t commands[] = {
    {"echo", run_echo, 0}, {"sink", run_sink, 1}, {"source", run_source, 1},
    {"ping", run_ping, 1}, {"wait", run_wait, 0}, {"hold", run_hold, 0},
};

static const command_t* find_command(const char* name) {
  for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
    if (strcmp(commands[i].name, name) == 0) return &commands[i];
  return NULL;
}

/* --- The command line ------------------------------------------------------------------------- */

static bool parse_number(const char* text, uint64_t max, uint64_t* ret_number) {
  char* end;

  errno = 0;
  *ret_number = text == NULL ? 0 : strtoull(text, &end, 0);
  return text != NULL && *text != '\0' && *text != '-' && *end == '\0' && errno == 0 && *ret_number <= max;
}

static bool parse_option(peer_t* peer, const char* option, const char* value) {
  uint64_t number;

  if (!parse_number(value, UINT32_MAX, &number)) return false;
  if (strcmp(option, "--cap") == 0)
    peer->capacity = (uint32_t) number;
  else if (strcmp(option, "--slot") == 0)
    peer->slot_size = (uint32_t) number;
  else if (strcmp(option, "--size") == 0)
    peer->size_bytes = (size_t) number;
  else if (strcmp(option, "--start-index") == 0)
    peer->start_index = (uint32_t) number;
  else if (strcmp(option, "--withhold-byte") == 0)
    peer->withhold_every = (uint32_t) number;
  else if (strcmp(option, "--timeout-ms") == 0)
    peer->timeout_ms = number;
  else
    return false;
  return true;
}

static bool parse_positional(peer_t* peer, unsigned int position, const char* text) {
  uint64_t number;

  if (position == 0) {
    peer->engine = strncmp(text, "engine-", 7) == 0;
    peer->command = text + (peer->engine ? 7 : 4);
    return peer->engine || strncmp(text, "app-", 4) == 0;
  }
  if (position == 1) {
    peer->name = text;
    return strlen(text) <= 200;
  }
  if (!parse_number(text, position == 2 ? UINT64_MAX : UINT32_MAX, &number)) return false;
  if (position == 2) peer->count = number;
  if (position == 2) peer->count_given = true;
  if (position == 3) peer->size_bytes = (size_t) number;
  return position <= 3;
}

static bool parse(peer_t* peer, int argc, char** argv) {
  unsigned int positionals = 0;
  bool good = true;

  for (int i = 1; good && i < argc; i++) {
    if (strcmp(argv[i], "--verify") == 0) {
      peer->verify = true;
    } else if (strncmp(argv[i], "--", 2) == 0) {
      good = parse_option(peer, argv[i], argv[i + 1]);
      i++;
    } else {
      good = parse_positional(peer, positionals++, argv[i]);
    }
  }
  if (peer->size_bytes < 8) peer->size_bytes = 8;
  return good && positionals >= 2 && peer->capacity > 0 && peer->slot_size >= 8;
}

/* SIGTERM, SIGINT and the death of the parent end the run through a descriptor: every wait sees it. */
static void watch_signals(peer_t* peer) {
  sigset_t set;

  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, NULL);
  peer->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
}

static int attach_and_run(peer_t* peer, const command_t* command) {
  int status = peer->engine ? engine_open(peer) : app_open(peer);

  if (status != DONE) return status;
  peer->packet = malloc(peer->slot_size);
  peer->own = malloc(peer->slot_size);
  if (peer->packet == NULL || peer->own == NULL || peer->size_bytes > peer->slot_size) {
    fprintf(stderr, "literal-peer: %zu bytes in slots of %u\n", peer->size_bytes, peer->slot_size);
    return FAILED;
  }
  printf("ready\n");
  fflush(stdout);
  status = command->run(peer);
  printf("%s sent=%llu received=%llu\n", peer->command, (unsigned long long) peer->sent,
         (unsigned long long) peer->received);
  if (peer->withhold_every != 0)
    printf("withheld=%llu in_time=%llu late=%llu worst_us=%llu\n", (unsigned long long) peer->withheld,
           (unsigned long long) peer->in_time, (unsigned long long) peer->late,
           (unsigned long long) peer->worst_ns / 1000);
  return status;
}

int main(int argc, char** argv) {
  peer_t peer = {.size_bytes = 64, .capacity = 256, .slot_size = 8960, .timeout_ms = 60000};
  const command_t* command = parse(&peer, argc, argv) ? find_command(peer.command) : NULL;
  int status;

  if (command == NULL) {
    fprintf(stderr, "usage: literal-peer {engine|app}-{echo|sink|source|ping|wait|hold} NAME [N] [SIZE]\n");
    return USAGE;
  }
  if (!peer.count_given) peer.count = command->default_count;
  peer.deadline_ns = now_ns() + peer.timeout_ms * NS_PER_MS;
  watch_signals(&peer);
  set_names(&peer);
  status = attach_and_run(&peer, command);
  if (peer.engine) engine_remove_names(&peer);
  free(peer.packet);
  free(peer.own);
  return status;
}
