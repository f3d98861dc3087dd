/* SPDX-License-Identifier: MIT */
/* perf_side.h: what perf_side.c, the frame of a side, and perf_kinds.c, the nine kinds of side, know of
 * each other. Nobody else includes it. A kind never touches the window, the verdict or the link's errors;
 * the frame never asks which packets come next. */
#ifndef PERF_SIDE_H
#define PERF_SIDE_H

#include "perf.h"

typedef struct side_ops_s {
  void (*start)(side_t* s);
  void (*packets)(side_t* s, const struct iovec pkts[], unsigned int npkts);
  void (*room)(side_t* s); /* everything queued is sent */
  void (*idle)(side_t* s);
  bool (*awaits)(const side_t* s); /* whether silence is a stall */
} side_ops_t;

struct side_s {
  const perf_options_t* o;
  const side_ops_t* ops;
  link_t* link;
  perf_result_t* r;
  bool open, done, progress;
  uint64_t sent, received;              /* packets, warm-up included */
  uint64_t warmup;                      /* replies before the window opens */
  uint64_t opened_ns;                   /* when the window opened */
  double interval_from_s;               /* since then: when this interval began */
  uint64_t interval_packets, intervals; /* counted before it; how many would be over now */
  uint64_t sent_ns;                     /* ping: when the last packet went */
  uint64_t due_ns;                      /* paced: when the next one goes; sip: when it takes packets again */
  uint64_t resumed_ns;                  /* sip: when it last did; 0 = what came of it is known */
  size_t max_samples;
  uint64_t next_seq; /* the number the next packet must have */
  struct rusage opened_usage;
  struct process_size_s { /* before the link was opened */
    int fds, threads;
    int64_t rss_bytes;
  } size_before;
  int threads_of_link; /* entries of the process when it was opened */
  /* outgoing: out[out_at .. out_n) is still to be sent; while `waiting` the link has a part of it */
  struct iovec out[PERF_MAX_BATCH];
  unsigned int pool; /* how many buffers there are: a multiple of the batch */
  unsigned int out_at, out_n;
  bool waiting;
  unsigned char* memory; /* of the outgoing packets */
  /* stall detector */
  uint64_t seen_progress, seen_ns;
  unsigned int stalls_in_row, gone_ticks;
};

/* --- perf_kinds.c ------------------------------------------------------------------------------ */

const side_ops_t* side_ops_of(perf_kind_t side);

/* --- perf_side.c ------------------------------------------------------------------------------- */

/* From here on packets, bytes, time and CPU count. */
void side_open_window(side_t* s);
/* Ends the side, once. A run that ended well can still have stalled or carried wrong bytes. */
void side_finish(side_t* s, int exit_code);
/* Keeps a time in nanoseconds for the percentiles, while there is room. */
void side_add_sample(side_t* s, uint64_t ns);
/* Whether a run by time is over. */
bool side_time_is_up(const side_t* s);
/* Writes packet number seq, len bytes of at least 8. */
void side_write_packet(void* at, size_t len, uint64_t seq);
/* Counts packets and, with --verify, checks them; len: the length each must have. */
void side_take_packets(side_t* s, const struct iovec pkts[], unsigned int npkts, size_t len);
/* Reads what a receiver without interest in the bytes must read of them: of slots, every line. */
void side_read_packets(side_t* s, const struct iovec pkts[], unsigned int npkts);
/* Sends out[out_at .. out_n). Returns true when all of it is gone; false when it waits, and ops->room()
 * follows, or failed, and s->done is set. transient: the bytes are gone when the callback returns. */
bool side_push(side_t* s, bool transient);
/* Sends the next n of this side's own packets, at most s->pool. Returns as side_push(). */
bool side_push_new(side_t* s, unsigned int n);
#endif
