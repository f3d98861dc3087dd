/* SPDX-License-Identifier: MIT */
/* internal.h: what the files of the adapter share: a face's private half and the context of its loop.
 *
 *   loop.c  the context: when rings are looked at, when the loop spins, turns or sleeps
 *   due.c   the clock: rechecks, retries, deadlines, floods, the slow probe
 *   face.c  life and death of a face, and the one place where a face is served
 *   send.c  requests: into the ring, into the queue, to their callbacks
 *   recv.c  packets and the final error: to recv_cb
 *
 * Data flows one way: a function of the API changes state and makes the face hot; the context serves
 * hot faces; only serving calls the user. So no callback ever runs inside a call. Everything here
 * belongs to the loop's thread, except for the list of contexts, which has a lock. */
#ifndef UVFACE_INTERNAL_H
#define UVFACE_INTERNAL_H

#include <stdbool.h>

#include "ndnshm.h"
#include "uvface.h"

#define UVFACE__PACKETS_PER_TURN 64
#define UVFACE__BYTES_PER_TURN ((size_t) 256 * 1024)
/* How often a full ring of a peer that cannot wake for space is looked at, once the window is over. */
#define UVFACE__RETRY_MS 1

/* A link of a circular list; an unlinked one points at itself. */
typedef struct uvface__link_s {
  struct uvface__link_s* next;
  struct uvface__link_s* prev;
} uvface__link_t;

static inline void uvface__list_init(uvface__link_t* link) {
  link->next = link->prev = link;
}

static inline bool uvface__list_empty(const uvface__link_t* list) {
  return list->next == list;
}

static inline void uvface__list_remove(uvface__link_t* link) {
  link->prev->next = link->next;
  link->next->prev = link->prev;
  uvface__list_init(link);
}

static inline void uvface__list_append(uvface__link_t* list, uvface__link_t* link) {
  link->prev = list->prev;
  link->next = list;
  list->prev->next = link;
  list->prev = link;
}

/* Moves all of `from` to the uninitialized list `to`. */
static inline void uvface__list_take(uvface__link_t* from, uvface__link_t* to) {
  uvface__list_init(to);
  if (uvface__list_empty(from)) return;
  *to = *from;
  to->next->prev = to->prev->next = to;
  uvface__list_init(from);
}

/* Requests in order, linked through next_. */
typedef struct uvface__queue_s {
  uvface_send_t* first;
  uvface_send_t* last;
} uvface__queue_t;

/* One per loop that has faces. Its handles keep data == NULL; others may close them (rule 8). */
typedef struct uvface__loop_s {
  uv_loop_t* loop;
  struct uvface__loop_s* next; /* in the list of contexts */
  unsigned int faces;          /* that hold this context */
  unsigned int alive;          /* of them, active and ref'd: while there are any, prepare is ref'd */
  bool closed;                 /* its handles are closing: nothing will be served any more */
  bool many_cpus;              /* else looking instead of sleeping only keeps the peer from running */
  uv_prepare_t prepare;        /* serves, spins, parks; always started */
  uv_idle_t idle;              /* started while a face is hot: the poll then does not block */
  uv_timer_t timer;            /* rechecks, retries, deadlines of all faces */
  uv_timer_t probe;            /* the slow look at every open face; started while there are any */
  uint64_t timer_due_ms;       /* loop time; 0 = not started */
  uvface__link_t hot;          /* faces to serve every turn */
  uvface__link_t timed;        /* faces with something due */
  uvface__link_t open;         /* faces with a peer, or waiting for one */
  long preemptions;            /* involuntary context switches of this thread, as last seen */
  uint64_t turn;               /* counts turns, for budgets */
  uint64_t now_ns;             /* uv_hrtime() when what is served now was found; read once a turn, not a packet */
  struct iovec pkts[UVFACE__PACKETS_PER_TURN];
  _Alignas(64) unsigned char arena[UVFACE__BYTES_PER_TURN]; /* private copies of one face's packets at a time */
} uvface__loop_t;

/* How long it pays to look for something before sleeping: between 0 and the face's window_max_ns. */
typedef struct uvface__window_s {
  uint64_t since_ns;    /* when it was found last, or is waited for since */
  uint32_t ns;          /* the window now */
  bool more;            /* there was more of it than the turn's budget: nobody waits for it */
  bool slept;           /* the face slept since */
  unsigned int misses;  /* times that it came after the window */
  unsigned int penalty; /* how long the window stayed shut the last time; 0 = it was worth it since */
  unsigned int skips;   /* finds until it may open again */
} uvface__window_t;

/* The private half of a face. */
typedef struct uvface__priv_s {
  uvface_t* face;
  uvface__loop_t* ctx;
  ndnshm_t* ep; /* NULL before create or connect */
  uv_poll_t poll;
  uv_idle_t closer; /* lives only while closing */
  bool has_poll;
  bool is_engine;
  bool can_send; /* open, peer alive, no error, not closing */
  bool receiving;
  bool peer_gone; /* end of file seen; the ring may still hold packets */
  bool closing;
  bool has_ref;
  bool counted; /* in ctx->alive */
  int error;    /* why the face failed; 0 = it did not */
  uvface_recv_cb recv_cb;
  uvface_close_cb close_cb;
  uvface__queue_t queued;   /* not yet in the ring */
  uvface__queue_t done;     /* finished, callback owed */
  unsigned int nqueued;     /* requests in `queued` */
  unsigned int pending;     /* requests accepted and not called back */
  unsigned char* own_arena; /* instead of the context's, where one packet needs more; else NULL */
  /* options */
  unsigned int flags;
  uint64_t send_timeout_ms; /* 0 = never */
  uint32_t window_max_ns;
  uint32_t spin_ns;
  uint32_t recheck_ms;
  uint32_t queue_max;
  /* scheduling */
  uvface__link_t hot;
  uvface__link_t timed;
  uvface__link_t open;
  uint64_t hot_until_ns;
  uvface__window_t packets; /* for the next packet */
  uvface__window_t space;   /* for room in a full ring */
  unsigned int announced;   /* what the peer will wake for */
  uint64_t turn;            /* the turn that the next two count in */
  unsigned int turn_packets;
  size_t turn_bytes;
  uint64_t tx_turn; /* likewise for queued packets put into the ring */
  unsigned int tx_turn_packets;
  size_t tx_turn_bytes;
  uint64_t recheck_due_ms; /* loop time; 0 = nothing due */
  uint64_t retry_due_ms;
  uint64_t look_due_ms;     /* while throttled: the next look at the FIFO */
  unsigned int empty_wakes; /* in a row, with nothing in the ring */
  unsigned int quiet_looks; /* in a row, while throttled */
  uint64_t spin_hits;
  uint64_t recheck_hits;
  char errmsg[640];
} uvface__priv_t;

#define UVFACE__CONTAINER(pointer, type, member) ((type*) ((char*) (pointer) -offsetof(type, member)))

/* loop.c */
/* The context of a loop, made if there is none, held by one more face. Errors: UV_ENOMEM. */
int uvface__loop_acquire(uv_loop_t* loop, uvface__loop_t** ret_ctx);
/* Lets go; true if this was the last face: the handles are closing, and the caller frees the context
 * two rounds later with uvface__loop_free(). */
bool uvface__loop_release(uvface__loop_t* ctx);
void uvface__loop_free(uvface__loop_t* ctx);
/* True once the handles are closing, whoever closes them. */
bool uvface__loop_is_dead(const uvface__loop_t* ctx);
/* The face is served in the next prepare phase, which comes without the loop blocking before. */
void uvface__make_hot(uvface__priv_t* f);
/* What the face waits for: NDNSHM_PACKETS, NDNSHM_SPACE. */
unsigned int uvface__wants(const uvface__priv_t* f);
/* What the window is for was found: adapts it, and keeps the face hot for the next. */
void uvface__window_hit(uvface__priv_t* f, uvface__window_t* w, uint64_t now_ns);
/* It is waited for from now on: keeps the face hot for the window. */
void uvface__window_open(uvface__priv_t* f, uvface__window_t* w);

/* due.c */
/* Sees to it that the timer serves the face at due_ms of loop time, or earlier. */
void uvface__at(uvface__priv_t* f, uint64_t due_ms);
/* The slow look at the face from now on, once a second. */
void uvface__watch(uvface__priv_t* f);
/* The face was woken for nothing. */
void uvface__note_empty_wake(uvface__priv_t* f);

/* face.c */
/* Reads the face's FIFO: the bytes that were there, or an error that has been dealt with. */
int uvface__drain(uvface__priv_t* f);
/* Polls the face's FIFO, or stops it. Errors: as uv_poll_start(). */
int uvface__poll(uvface__priv_t* f, bool on);
/* Everything that is to be done for a face now; may call the user. */
void uvface__serve(uvface__priv_t* f);
/* The face has failed for good: sends fail, the error is delivered once. */
void uvface__fail(uvface__priv_t* f, int error);
/* Recounts whether the face keeps its loop alive. */
void uvface__update_active(uvface__priv_t* f);
/* 0 if the face is open and has not failed; else the error that a call on it returns. */
int uvface__check_open(const uvface__priv_t* f);
/* Why a face that answers with err does so: what failed it, as far as that is known. */
const char* uvface__reason(const uvface__priv_t* f, int err);
/* Writes errmsg and returns code. */
int uvface__complain(uvface__priv_t* f, int code, const char* format, ...) __attribute__((format(printf, 3, 4)));

/* send.c */
/* Moves queued requests into the ring as far as there is room. */
void uvface__send_flush(uvface__priv_t* f);
/* Calls the callbacks of the requests that are finished by now. */
void uvface__send_complete(uvface__priv_t* f);
/* Finishes all queued requests with a status. */
void uvface__send_abort(uvface__priv_t* f, int status);
/* True if this turn's budget is used up. */
bool uvface__send_exhausted(const uvface__priv_t* f);
/* Finishes queued requests whose deadline has passed; the next deadline, 0 = none. */
uint64_t uvface__send_expire(uvface__priv_t* f, uint64_t now_ms);

/* recv.c */
/* Delivers packets within the budget of the turn, or the error that ends receiving. */
void uvface__recv_deliver(uvface__priv_t* f);
/* True if this turn's budget is used up. */
bool uvface__recv_exhausted(const uvface__priv_t* f);

#endif
