/* SPDX-License-Identifier: MIT */
/* perf_side.c: the frame of a side: life, the window in which things count, checking, sending, stalls.
 * Guarantees that a side never waits inside a callback while it measures, never has more than one queued send, keeps
 * one order, and ends with an exit code that says how. A packet is a u64 sequence number, little-endian, then
 * its low byte again and again; it is built and checked with --verify only, else the same bytes go out
 * every time. Knows nothing of the transport, and not which packet comes next (perf_kinds.c does). */
#include "perf_side.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
  WARMUP_ROUNDS = 1000, /* round trips before the window opens, at most */
  WARMUP_PACED = 100,
  MAX_STALLS = 3, /* in a row: then the run is given up */
  MAX_FAULTS_SHOWN = 8,
  LINE_BYTES = 64
};

/* --- The window and the end -------------------------------------------------------------------- */

void side_open_window(side_t* s) {
  s->open = true;
  s->r->packets = s->r->bytes = 0;
  getrusage(RUSAGE_SELF, &s->opened_usage);
  place_look(&s->r->place);
  s->opened_ns = perf_now_ns();
}

static uint64_t usec(struct timeval from, struct timeval to) {
  return (uint64_t) ((to.tv_sec - from.tv_sec) * 1000000 + (to.tv_usec - from.tv_usec));
}

static int count_entries(const char* path) {
  DIR* dir = opendir(path);
  int n = 0;
  while (dir != NULL && readdir(dir) != NULL) n++;
  if (dir != NULL) closedir(dir);
  return n;
}

static struct process_size_s process_size(void) {
  long long pages = 0, resident = 0;
  FILE* statm = fopen("/proc/self/statm", "r");
  /* NOLINTNEXTLINE(cert-err34-c): the kernel writes numbers, and such as fit */
  if (statm != NULL && fscanf(statm, "%lld %lld", &pages, &resident) != 2) resident = 0;
  if (statm != NULL) fclose(statm);
  return (struct process_size_s){count_entries("/proc/self/fd"), count_entries("/proc/self/task"),
                                 resident * sysconf(_SC_PAGESIZE)};
}

static bool counts_sent(const side_t* s) {
  return s->o->side == SIDE_SOURCE || s->o->side == SIDE_STUFF;
}

static void end_interval(side_t* s, double now_s) {
  uint64_t packets = counts_sent(s) ? s->sent : s->r->packets;
  report_interval(s->o, s->r, s->interval_from_s, now_s, packets - s->interval_packets);
  s->intervals = (uint64_t) (now_s / s->o->interval_secs); /* a look that comes late makes one long interval */
  s->interval_from_s = now_s;
  s->interval_packets = packets;
}

static void watch_interval(side_t* s) {
  double now_s = (double) (perf_now_ns() - s->opened_ns) / 1e9;
  if (s->open && s->o->interval_secs > 0 && now_s >= (double) (s->intervals + 1) * s->o->interval_secs)
    end_interval(s, now_s);
}

/* A thread that does one piece of work, as sealing a region, is no part of what a link costs. One that is still there a
 * second later is. Nothing is measured any more. */
static void await_passing_threads(const side_t* s) {
  for (int looks = 0; looks < 1000 && count_entries("/proc/self/task") > s->threads_of_link; looks++)
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void close_window(side_t* s) {
  struct rusage usage;
  perf_result_t* r = s->r;
  if (!s->open) return;
  if (counts_sent(s)) {
    r->packets = s->sent;
    r->bytes = s->sent * s->o->size_bytes;
  }
  r->window_ns = perf_now_ns() - s->opened_ns;
  getrusage(RUSAGE_SELF, &usage);
  r->user_us = usec(s->opened_usage.ru_utime, usage.ru_utime);
  r->system_us = usec(s->opened_usage.ru_stime, usage.ru_stime);
  r->voluntary_switches = usage.ru_nvcsw - s->opened_usage.ru_nvcsw;
  r->involuntary_switches = usage.ru_nivcsw - s->opened_usage.ru_nivcsw;
  await_passing_threads(s);
  struct process_size_s size = process_size();
  r->fds = size.fds - s->size_before.fds;
  r->threads = size.threads - s->size_before.threads;
  r->rss_bytes = size.rss_bytes - s->size_before.rss_bytes;
  place_look(&r->place);
  if (s->o->interval_secs > 0) end_interval(s, (double) r->window_ns / 1e9); /* the last, if it is shorter */
}

static uint64_t faults(const perf_verify_t* v) {
  return v->missing + v->repeated + v->torn + v->bad_length;
}

void side_finish(side_t* s, int exit_code) {
  if (s->done) return;
  s->done = true;
  close_window(s);
  if (exit_code == PERF_OK)
    exit_code = faults(&s->r->verify) != 0 ? PERF_CORRUPT : s->r->stalls != 0 ? PERF_STALLED : PERF_OK;
  s->r->exit_code = exit_code;
  link_stop(s->link);
}

void side_add_sample(side_t* s, uint64_t ns) {
  if (s->r->nsamples < s->max_samples)
    s->r->samples_ns[s->r->nsamples++] = ns < UINT32_MAX ? (uint32_t) ns : UINT32_MAX;
}

bool side_time_is_up(const side_t* s) {
  return s->o->count == 0 && s->open && (double) (perf_now_ns() - s->opened_ns) >= s->o->secs * 1e9;
}

/* --- Packets ----------------------------------------------------------------------------------- */

void side_write_packet(void* at, size_t len, uint64_t seq) {
  uint64_t le = htole64(seq);
  memset(at, (int) (seq & 0xff), len);
  memcpy(at, &le, sizeof(le));
}

static void fault(side_t* s, uint64_t* counter, const char* what, uint64_t got, uint64_t want) {
  ++*counter;
  if (faults(&s->r->verify) <= MAX_FAULTS_SHOWN)
    perf_error(s->o, "packet %" PRIu64 ": %s: got %" PRIu64 ", expected %" PRIu64, s->r->verify.checked - 1, what, got,
               want);
}

static void check_packet(side_t* s, const struct iovec* pkt, size_t len) {
  const unsigned char* p = pkt->iov_base;
  perf_verify_t* v = &s->r->verify;
  uint64_t seq;
  v->checked++;
  if (pkt->iov_len != len) fault(s, &v->bad_length, "wrong length", pkt->iov_len, len);
  if (pkt->iov_len < sizeof(seq)) return;
  memcpy(&seq, p, sizeof(seq));
  seq = le64toh(seq);
  if (pkt->iov_len > 8 && (p[8] != (seq & 0xff) || memcmp(p + 8, p + 9, pkt->iov_len - 9) != 0))
    fault(s, &v->torn, "payload differs", p[8], seq & 0xff);
  if (seq != s->next_seq) fault(s, seq > s->next_seq ? &v->missing : &v->repeated, "wrong order", seq, s->next_seq);
  s->next_seq = seq + 1;
}

/* A copy has been through this CPU, and one byte of it is read. What is borrowed is still where the other CPU wrote it,
 * and who parses it fetches it from there: a byte of each line, and the last, stand for that. */
static uint64_t read_packet(const unsigned char* p, size_t len, bool borrowed) {
  uint64_t sum = p[0];
  if (!borrowed) return sum;
  for (size_t i = LINE_BYTES; i < len; i += LINE_BYTES) sum += p[i];
  return sum + p[len - 1];
}

void side_read_packets(side_t* s, const struct iovec pkts[], unsigned int npkts) {
  for (unsigned int i = 0; i < npkts; i++)
    s->r->read_sum += read_packet(pkts[i].iov_base, pkts[i].iov_len, s->o->borrow);
}

void side_take_packets(side_t* s, const struct iovec pkts[], unsigned int npkts, size_t len) {
  for (unsigned int i = 0; i < npkts; i++) {
    if (s->o->verify) check_packet(s, &pkts[i], len);
    s->r->bytes += pkts[i].iov_len;
  }
  side_read_packets(s, pkts, npkts);
  s->r->packets += npkts;
  s->received += npkts;
}

/* --- Sending ----------------------------------------------------------------------------------- */

/* Echoed packets are gone when the callback returns: what has to wait moves to memory of ours. */
static bool keep_rest(side_t* s) {
  size_t bytes = 0;
  for (unsigned int i = s->out_at; i < s->out_n; i++) bytes += PERF_HEADROOM + s->out[i].iov_len;
  if (bytes == 0) return true; /* malloc(0) may return NULL, which is no lack of memory */
  free(s->memory);
  unsigned char* copy = s->memory = malloc(bytes);
  for (unsigned int i = s->out_at; i < s->out_n && copy != NULL; i++) {
    copy += PERF_HEADROOM;
    memcpy(copy, s->out[i].iov_base, s->out[i].iov_len);
    s->out[i].iov_base = copy;
    copy += s->out[i].iov_len;
  }
  return copy != NULL;
}

static void no_memory(side_t* s) {
  perf_error(s->o, "malloc: %s", strerror(ENOMEM));
  side_finish(s, PERF_FAILED);
}

static bool send_failed(side_t* s, int status) {
  if (status < 0) side_on_end(s, status);
  return status < 0;
}

bool side_push(side_t* s, bool transient) {
  int n = link_send(s->link, s->out + s->out_at, s->out_n - s->out_at);
  if (send_failed(s, n)) return false;
  s->out_at += (unsigned int) n;
  if (s->out_at == s->out_n) return true;
  if (transient && !keep_rest(s)) {
    no_memory(s);
    return false;
  }
  n = link_queue(s->link, s->out + s->out_at, s->out_n - s->out_at);
  if (send_failed(s, n)) return false;
  s->out_at += (unsigned int) n;
  s->waiting = true;
  return false;
}

void side_on_room(side_t* s) {
  s->waiting = false;
  if (s->out_at < s->out_n && !side_push(s, false)) return;
  s->ops->room(s);
}

bool side_push_new(side_t* s, unsigned int n) {
  if (s->o->verify)
    for (unsigned int i = 0; i < n; i++) side_write_packet(s->out[i].iov_base, s->o->size_bytes, s->sent + i);
  s->out_at = 0;
  s->out_n = n;
  s->sent += n;
  return side_push(s, false);
}

/* --- What the link calls ----------------------------------------------------------------------- */

void side_on_packets(side_t* s, const struct iovec pkts[], unsigned int npkts) {
  s->ops->packets(s, pkts, npkts);
}

void side_on_idle(side_t* s) {
  s->ops->idle(s);
}

/* A server ends when its client leaves, and a source may find its sink gone that has counted all. */
void side_on_end(side_t* s, int status) {
  bool server = s->o->side >= SIDE_FIRST_SERVER;
  bool counted = s->o->side == SIDE_SINK && s->o->count != 0;
  bool all_sent = s->o->side == SIDE_SOURCE && s->o->count != 0 && s->sent == s->o->count;
  if (s->done) return;
  if ((status == 0 && server && !counted) || all_sent) {
    side_finish(s, PERF_OK);
    return;
  }
  if (status == 0)
    perf_error(s->o, "face %s: peer left after %" PRIu64 " packets sent, %" PRIu64 " received", s->o->name, s->sent,
               s->received);
  else
    perf_error(s->o, "%s", link_errmsg(s->link));
  side_finish(s, PERF_FAILED);
}

static void watch_for_stall(side_t* s) {
  uint64_t now_ns = perf_now_ns(), progress = s->sent + s->received;
  if (progress != s->seen_progress || !s->ops->awaits(s)) {
    s->seen_progress = progress;
    s->seen_ns = now_ns;
    s->stalls_in_row = 0;
    return;
  }
  if (now_ns - s->seen_ns < s->o->timeout_ms * UINT64_C(1000000)) return;
  s->seen_ns = now_ns;
  s->r->stalls++;
  perf_error(s->o, "face %s: STALL: nothing for %u ms after %" PRIu64 " packets sent, %" PRIu64 " received", s->o->name,
             s->o->timeout_ms, s->sent, s->received);
  if (++s->stalls_in_row == MAX_STALLS) side_finish(s, PERF_STALLED);
}

static void show_progress(const side_t* s) {
  double secs = (double) (perf_now_ns() - s->opened_ns) / 1e9;
  uint64_t n = s->o->side == SIDE_SOURCE ? s->sent : s->received;
  if (s->open && secs > 0)
    fprintf(stderr, "%s %s: %" PRIu64 " packets, %.1f s, %.3f M/s\033[K\r", s->o->program, perf_side_name(s->o->side),
            n, secs, (double) n / secs / 1e6);
}

/* A server that ended is noticed by end of file, unless it never attached: hence the second look. */
void side_tick(side_t* s) {
  if (s->open) place_look(&s->r->place);
  if (s->progress) show_progress(s);
  watch_interval(s);
  if (perf_signal() != 0) {
    perf_error(s->o, "face %s: ended by %s", s->o->name, strsignal(perf_signal()));
    side_finish(s, PERF_FAILED);
  } else if (perf_server_gone(s->o) && ++s->gone_ticks == 2) {
    perf_error(s->o, "face %s: the server process ended early", s->o->name);
    side_finish(s, PERF_FAILED);
  } else {
    watch_for_stall(s);
  }
}

/* --- Life -------------------------------------------------------------------------------------- */

static uint64_t warmup_rounds(const perf_options_t* o) {
  uint64_t most = o->mode == MODE_PACED ? WARMUP_PACED : WARMUP_ROUNDS;
  uint64_t tenth = o->count / 10 + 1;
  return o->count != 0 && tenth < most ? tenth : most;
}

/* Outgoing packets share one buffer unless each has its own bytes to carry; echo keeps what has to wait. */
static bool allocate_packets(side_t* s) {
  const perf_options_t* o = s->o;
  bool reply = o->side == SIDE_FETCHSERVER;
  size_t len = reply ? o->reply_bytes : o->size_bytes;
  size_t stride = PERF_HEADROOM + (len + 63) / 64 * 64;
  s->pool = o->side == SIDE_STUFF ? 1 : o->batch > PERF_MAX_RECV ? o->batch : PERF_MAX_RECV / o->batch * o->batch;
  size_t buffers = o->verify ? PERF_MAX_BATCH : 1;
  if (o->side == SIDE_ECHO) return true;
  s->memory = aligned_alloc(64, buffers * stride);
  if (s->memory == NULL) return false;
  memset(s->memory, reply ? 0x5a : 0, buffers * stride);
  for (size_t i = 0; i < PERF_MAX_BATCH; i++)
    s->out[i] = (struct iovec){s->memory + PERF_HEADROOM + (i < buffers ? i * stride : 0), len};
  return true;
}

/* Touched now: a page fault inside the window would be measured as a round trip. */
static bool allocate_samples(side_t* s) {
  const perf_options_t* o = s->o;
  if (o->side != SIDE_PING && o->side != SIDE_PACED && o->side != SIDE_SIP) return true;
  double most = o->count != 0 ? (double) o->count : o->secs * 1e7;
  size_t bytes = (most < PERF_MAX_SAMPLES ? (size_t) most + 1 : PERF_MAX_SAMPLES) * sizeof(*s->r->samples_ns);
  s->r->samples_ns = malloc(bytes);
  if (s->r->samples_ns == NULL) return false;
  s->max_samples = bytes / sizeof(*s->r->samples_ns);
  memset(s->r->samples_ns, 0xff, bytes);
  return true;
}

static void run_open(side_t* s, const perf_options_t* o, json_t** ret_link_stats) {
  s->size_before = process_size();
  s->link = link_open(s, o);
  if (s->link == NULL) return;
  s->threads_of_link = count_entries("/proc/self/task");
  s->r->exit_code = PERF_OK;
  s->seen_ns = perf_now_ns();
  s->ops->start(s);
  link_run(s->link);
  if (s->progress) fputs("\033[K", stderr);
  json_decref(*ret_link_stats);
  *ret_link_stats = link_stats(s->link);
  link_free(s->link);
}

int side_run(const perf_options_t* o, perf_result_t* ret_result, json_t** ret_link_stats) {
  *ret_result = (perf_result_t){.exit_code = PERF_FAILED};
  *ret_link_stats = json_object();
  int cpu = o->cpu[o->side >= SIDE_FIRST_SERVER];
  int rc = perf_pin(cpu);
  if (rc < 0) {
    perf_error(o, "sched_setaffinity CPU %d: %s", cpu, strerror(-rc));
    return PERF_FAILED;
  }
  side_t* s = calloc(1, sizeof(*s));
  if (s != NULL) {
    *s = (side_t){.o = o,
                  .ops = side_ops_of(o->side),
                  .r = ret_result,
                  .warmup = warmup_rounds(o),
                  .progress = o->side < SIDE_FIRST_SERVER && o->interval_secs == 0 && isatty(STDERR_FILENO)};
    if (o->interval_secs > 0) ret_result->intervals = json_array();
    if (allocate_packets(s) && allocate_samples(s))
      run_open(s, o, ret_link_stats);
    else
      perf_error(o, "malloc: %s", strerror(ENOMEM));
    free(s->memory);
    free(s);
  }
  return ret_result->exit_code;
}
