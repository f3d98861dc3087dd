/* SPDX-License-Identifier: MIT */
/* internal.h: what the files of the adapter share: a face's private half and the context of its loop.
 *
 *   tap.c     sending while somebody looks, and over streams
 *   loop.c    the context of a loop: its handles and its lists
 *   window.c  how long it pays to look before sleeping (window.h)
 *   stream.c  packets over a stream socket (stream.h)
 *   chores.c  what can have to wait: sealing and leaving, on threads of their own
 *   state.c   in what state a face is, and its words
 *   events.c  what happens to a face beside its packets: to event_cb
 *   settle.c  wake-ups: the looks at peers that were put off
 *   send.c    requests: into the ring, into the queue, to their callbacks
 *   recv.c    packets and the final error: to recv_cb
 *   turn.c    one turn of the loop: serve, spin, park
 *   due.c     the clock: rechecks, retries, deadlines, floods, the slow probe
 *   face.c    life and death of a face
 *
 * Each file calls those above it and none below (test_headers.py). Data flows one way: a function of the API changes
 * the state and makes the face hot; a turn serves hot faces; only serving calls the user. So no callback ever runs
 * inside a call. Everything here belongs to the loop's thread, except for the list of contexts, which has a lock.
 *
 * The state of a face:
 *
 *            create, connect          end of file              all was delivered
 *   CLOSED ------------------> OPEN --------------> PEER_GONE ------------------> FAILED, by UV_EOF
 *                                |                      |                            ^
 *                                +----------------------+----------------------------+
 *                                   the peer broke the protocol, the region is lost, a call failed
 *   each of them ---- uvface_close() ----> CLOSING, which nothing leaves
 *
 * Where a face that waits for something is looked at (one that waits for nothing is idle, and in no list):
 *
 *   hot        in hot_list: served each turn, looked at in the spin; the loop does not block
 *   lingering  its window is over, but others keep the loop turning: still in hot_list
 *   parked     announced, in no list: the peer writes a byte, and the FIFO is polled; in timed_list as well if the peer
 *              does not announce that its byte will come for sure
 *   owing      its peer sleeps, and there can be no byte for it now, which is tried again by the clock: in timed_list
 * as well
 *   throttled  the peer floods its FIFO, or makes reading it slow; it is therefore not polled but looked at by the
 * clock,
 *              or only the ring is for a while: in timed_list */
#ifndef UVFACE_INTERNAL_H
#define UVFACE_INTERNAL_H

#include <stdbool.h>
#include <sys/types.h>

#include "ndnshm.h"
#include "stream.h"
#include "uvface.h"
#include "window.h"

/* What one face may take of a turn; a queue may fill a whole default ring. */
#define UVFACE__RX_PACKETS_PER_TURN 64
#define UVFACE__TX_PACKETS_PER_TURN 256
#define UVFACE__BYTES_PER_TURN ((size_t) 256 * 1024)
/* How often a full ring of a peer that cannot wake for space is looked at, once the window is over. */
#define UVFACE__RETRY_MS 1
/* How often a byte is tried again that could not be written. */
#define UVFACE__SETTLE_MS 1
/* How often the FIFO of a peer that floods it is looked at. */
#define UVFACE__LOOK_MS 1
/* How often the ring of a peer whose descriptors are to be left alone is looked at, at least. */
#define UVFACE__REST_LOOK_MS 100

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

/* What a face has taken of a turn, in one direction. */
typedef struct uvface__budget_s {
  uint64_t turn; /* the one that the others count in */
  unsigned int packets;
  size_t bytes;
} uvface__budget_t;

static inline void uvface__budget_begin(uvface__budget_t* budget, uint64_t turn) {
  if (budget->turn != turn) *budget = (uvface__budget_t){.turn = turn};
}

static inline bool uvface__budget_spent(const uvface__budget_t* budget, uint64_t turn, unsigned int max_packets) {
  return budget->turn == turn && (budget->packets >= max_packets || budget->bytes >= UVFACE__BYTES_PER_TURN);
}

/* One per loop that has faces. Its handles keep data == NULL; others may close them (rule 8). */
typedef struct uvface__loop_s {
  uv_loop_t* loop;
  struct uvface__loop_s* next; /* in the list of contexts */
  unsigned int faces;          /* that hold this context */
  unsigned int alive;          /* of them, active and ref'd: while there are any, prepare is ref'd */
  bool closed;                 /* its handles are closing: nothing will be served any more */
  bool in_turn;                /* begun, and its check handle is sure to follow unless the loop is dead */
  bool many_cpus;              /* else looking instead of sleeping only keeps the peer from running */
  uv_prepare_t prepare;        /* serves, spins, parks; always started */
  uv_check_t check;            /* settles; always started */
  uv_idle_t idle;              /* started while a face is hot, or owes a look: the poll then does not block */
  uv_timer_t timer;            /* rechecks, retries, deadlines of all faces */
  uv_timer_t probe;            /* the slow look at every open face; started while there are any */
  uv_timer_cb on_timer;
  uint64_t timer_due_ms;     /* loop time; 0 = not started */
  uvface__link_t hot_list;   /* faces to serve every turn */
  uvface__link_t timed_list; /* faces with something due */
  uvface__link_t open_list;  /* faces with a peer, or waiting for one */
  uvface__link_t owing_list; /* faces that put off the look whether their peer sleeps */
  long preemptions;          /* involuntary switches of this thread, as last seen; -1 = not yet */
  uint64_t turn;             /* counts turns, for budgets */
  struct iovec pkts[UVFACE__RX_PACKETS_PER_TURN];
  _Alignas(64) unsigned char arena[UVFACE__BYTES_PER_TURN]; /* private copies of one face's packets at a time */
} uvface__loop_t;

typedef enum uvface__state_e {
  UVFACE__CLOSED,    /* after init: neither created nor connected */
  UVFACE__OPEN,      /* packets may go both ways */
  UVFACE__PEER_GONE, /* sending is over; the ring may still hold packets */
  UVFACE__FAILED,    /* for good, by `error` */
  UVFACE__CLOSING
} uvface__state_t;

/* A thread that does one piece of work. */
typedef struct uvface__worker_s uvface__worker_t;

/* The private half of a face. */
typedef struct uvface__priv_s {
  uvface_t* face;
  uvface__loop_t* ctx;
  ndnshm_t* ep;    /* NULL while CLOSED, and over a stream: then what the core does is nothing */
  ndnshm_t* tx_ep; /* the same for packets that go there with nobody looking: NULL, too, while there is a tap */
  uvface__stream_t* stream; /* NULL, unless the face is over one */
  uvface_filter_t* filter;  /* or NULL */
  uvface_event_cb event_cb; /* or NULL */
  uvface_tap_cb tap_cb;     /* or NULL */
  struct iovec lent;        /* the slot of a reservation, where sends are told; base NULL: none, or not known */
  uv_poll_t poll;
  uv_idle_t closer; /* lives only while closing */
  uvface__state_t state;
  pid_t pid;     /* of the process that opened it; a forked child's copy leaves the traffic alone */
  int error;     /* of FAILED */
  bool has_poll; /* `poll` is initialized, perhaps closing */
  bool is_engine;
  bool is_private; /* created or attached without a name */
  bool is_watched; /* has a filter, an event_cb or a tap_cb: it is served the longer way */
  bool receiving;
  bool filter_told; /* of the end */
  bool has_ref;
  bool counted;        /* in ctx->alive */
  unsigned int seen;   /* UVFACE_ATTACHED, UVFACE_SEALED: known to be so */
  unsigned int told;   /* to event_cb, of what comes once */
  bool told_throttled; /* what event_cb was told last */
  bool wants_room;     /* event_cb is to be told of it */
  bool minds_chores;   /* engine of a named face: its app has not been seen, or a sealing not been told of */
  uvface_recv_cb recv_cb;
  uvface_close_cb close_cb;
  int polled;               /* over a stream: the events that its poll waits for */
  uv_poll_cb on_stream;     /* over a stream: the callback of its poll */
  uvface__queue_t queued;   /* not yet in the ring */
  uvface__queue_t done;     /* finished, callback owed */
  unsigned int nqueued;     /* requests in `queued` */
  unsigned int pending;     /* requests accepted and not called back */
  unsigned char* own_arena; /* for packets that the context's is too small for; NULL until one has come */
  size_t own_arena_bytes;   /* the largest of them */
  /* options */
  unsigned int flags;
  uint64_t send_timeout_ms; /* 0 = never */
  uint32_t spin_ns;
  uint32_t recheck_ms;
  uint32_t queue_max;
  /* scheduling */
  uvface__link_t hot_link;
  uvface__link_t timed_link;
  uvface__link_t open_link;
  uvface__link_t owing_link;
  uint64_t deferred_in_turn; /* the last turn in which it put its look off */
  uint64_t woke_in_turn;     /* the last turn whose wake-up byte was written */
  uint64_t hot_until_ns;
  uvface__window_t rx_window; /* for the next packet */
  uvface__window_t tx_window; /* for room in a full ring */
  uvface__budget_t rx_budget;
  uvface__budget_t tx_budget; /* of queued requests */
  uvface__budget_t filter_budget;
  unsigned int announced;  /* what the peer will wake for */
  uint64_t recheck_due_ms; /* loop time; 0 = nothing due */
  uint64_t retry_due_ms;
  uint64_t settle_due_ms;   /* a byte could not be written when it was owed */
  uint64_t look_due_ms;     /* while throttled: the next look */
  unsigned int empty_wakes; /* in a row, with nothing in the ring */
  unsigned int quiet_looks; /* in a row, while throttled */
  uint64_t spin_hits;
  uint64_t recheck_hits;
  uint32_t capacity; /* of the rings, for statistics after the end */
  uint32_t slot_size;
  /* chores */
  uvface__worker_t* sealer; /* NULL: nothing of the kind is done */
  uvface__worker_t* leaver;
  uint64_t waited_ns; /* by the close callback, for both */
  uint64_t looked_ns; /* the last time that it did */
  char name[208];     /* the face's, for words */
  char why[512];      /* what ended it: "call object: reason" */
  char errmsg[640];   /* "function: call object: reason" */
} uvface__priv_t;

static inline bool uvface__rx_spent(const uvface__priv_t* f) {
  return uvface__budget_spent(&f->rx_budget, f->ctx->turn, UVFACE__RX_PACKETS_PER_TURN);
}

static inline bool uvface__tx_spent(const uvface__priv_t* f) {
  return uvface__budget_spent(&f->tx_budget, f->ctx->turn, UVFACE__TX_PACKETS_PER_TURN);
}

/* What the face waits for: NDNSHM_PACKETS, NDNSHM_SPACE. */
static inline unsigned int uvface__wants(const uvface__priv_t* f) {
  unsigned int what = 0;

  if (f->receiving) what |= NDNSHM_PACKETS;
  if ((f->queued.first != NULL || f->wants_room) && f->state == UVFACE__OPEN) what |= NDNSHM_SPACE;
  return what;
}

/* Sending is over; what has come may still have to be delivered, and the end to be told. */
static inline bool uvface__is_over(const uvface__priv_t* f) {
  return f->state == UVFACE__FAILED || f->state == UVFACE__PEER_GONE;
}

/* The face stays hot until then, or longer. */
static inline void uvface__stay_hot(uvface__priv_t* f, uint64_t until_ns) {
  if (f->hot_until_ns < until_ns) f->hot_until_ns = until_ns;
}

#define UVFACE__CONTAINER(pointer, type, member) ((type*) ((char*) (pointer) -offsetof(type, member)))

/* --- tap.c ------------------------------------------------------------------------------------ */

/* Aims sends at the ring, or at the functions below: there is a ring now, or a tap, or none any more. */
void uvface__aim(uvface__priv_t* f);
/* As ndnshm_send() and so on, of a ring or a stream; then tell the tap, if there is one. UV_ECANCELED: that has closed
 * the face. */
int uvface__put_told(uvface__priv_t* f, const struct iovec bufs[], unsigned int nbufs);
int uvface__put_batch_told(uvface__priv_t* f, const struct iovec pkts[], unsigned int npkts);
int uvface__lend_told(uvface__priv_t* f, size_t len, struct iovec* ret_slot);
int uvface__publish_told(uvface__priv_t* f, size_t len);
/* Tells the tap, if there is one, of packets that are about to be delivered. */
void uvface__tell_received(uvface__priv_t* f, const struct iovec pkts[], int npkts);

/* --- loop.c ----------------------------------------------------------------------------------- */

/* The context of a loop, made if there is none, held by one more face. What is to be done in each turn before the poll
 * and after it, and when something is due. Errors: UV_ENOMEM. */
int uvface__loop_acquire(uv_loop_t* loop, uv_prepare_cb on_prepare, uv_check_cb on_check, uv_timer_cb on_timer,
                         uvface__loop_t** ret_ctx);
/* Lets go; true if this was the last face: the handles are closing, and the caller frees the context
 * two rounds later with uvface__loop_free(). */
bool uvface__loop_release(uvface__loop_t* ctx);
void uvface__loop_free(uvface__loop_t* ctx);
/* True once the handles are closing, whoever closes them. */
bool uvface__loop_is_dead(const uvface__loop_t* ctx);
/* A turn begins, with the first handle of ours that is called in it. */
void uvface__begin_turn(uvface__loop_t* ctx);
/* The face is served in the next prepare phase, which comes without the loop blocking before. */
void uvface__make_hot(uvface__priv_t* f);
/* Keeps the idle handle started while there are hot faces, or such that owe a look, so that the poll does not block. */
void uvface__keep_turning(uvface__loop_t* ctx);
/* Sees to it that the timer serves the face at due_ms of loop time, or earlier. */
void uvface__at(uvface__priv_t* f, uint64_t due_ms);

/* --- chores.c --------------------------------------------------------------------------------- */

/* Has done what the endpoint asks for, in a thread of its own: once an app is there, and with the slow probe. True: a
 * sealing goes on, or has ended since the last call. */
bool uvface__do_chores(uvface__priv_t* f);
/* Shuts the endpoint down, and has its names removed. */
void uvface__leave(uvface__priv_t* f);
/* True once all that is done, or has taken too long to wait for: the endpoint may be freed. To be asked in each
 * turn. */
bool uvface__has_left(uvface__priv_t* f);

/* --- state.c ---------------------------------------------------------------------------------- */

/* Writes errmsg and returns code. */
int uvface__complain(uvface__priv_t* f, int code, const char* format, ...) __attribute__((format(printf, 3, 4)));
/* 0 if the face is open and has not failed; else the error that a call on it returns. f: NULL is UV_EINVAL. */
int uvface__check_open(const uvface__priv_t* f);
/* The words of a call that check_open() refused: writes errmsg and returns err. f: not NULL. */
int uvface__refuse(uvface__priv_t* f, const char* function, int err);
/* The face is receiving, or has sends pending. */
bool uvface__has_work(const uvface__priv_t* f);
/* Recounts whether the face keeps its loop alive. */
void uvface__update_active(uvface__priv_t* f);
/* No longer polls the face's FIFO. Errors: UV_ECANCELED (somebody else closed the handle). */
int uvface__stop_polling(uvface__priv_t* f);
/* What the socket of a stream face is to be polled for now. */
int uvface__stream_events(const uvface__priv_t* f);
/* Polls it for that; where it is for less than before, only if told to. */
void uvface__poll_stream(uvface__priv_t* f, bool also_for_less);
/* The face has failed for good. function: the one that the user hears it from; why: "call object: reason". Only marks
 * it and makes it hot: when it is served, queued sends are aborted and receiving ends. */
void uvface__fail(uvface__priv_t* f, int error, const char* function, const char* why);
/* Reads the face's FIFO: the bytes that were there, or an error that has been dealt with. */
int uvface__drain(uvface__priv_t* f);
/* Sending is over: the peer is gone. What has come from it is still delivered. why: "call object: reason". Only marks
 * the face and makes it hot. */
void uvface__lose_peer(uvface__priv_t* f, const char* why);
/* What the face's stream has returned, if it ends the face: UV_EOF, UV_EPIPE, UV_EPROTO, UV_EBADF. function: the one
 * that the user hears it from. */
void uvface__end_stream(uvface__priv_t* f, int error, const char* function);

/* The code that ended a face that is over, as recv_cb gets it. */
int uvface__end_status(const uvface__priv_t* f);
/* Its filter, its event_cb or its tap has changed. */
void uvface__watch_or_not(uvface__priv_t* f);

/* --- events.c --------------------------------------------------------------------------------- */

/* Engine: an app has come. core: its statistics now. */
bool uvface__has_app(const uvface__priv_t* f, const ndnshm_stats_t* core);
/* Whether there is something to tell event_cb. */
bool uvface__owes_events(const uvface__priv_t* f);
/* Packets were refused for want of room, with UV_EAGAIN: event_cb is to be told when there is some. Returns
 * UV_EAGAIN. */
int uvface__await_room(uvface__priv_t* f);
/* Looks whether there is, and makes the face hot for it. */
void uvface__look_for_events(uvface__priv_t* f);
/* No app has been seen, and event_cb is to be told of it before it gets packets. */
bool uvface__awaits_app(const uvface__priv_t* f);
/* Tells what there is. May call the user. */
void uvface__tell_events(uvface__priv_t* f);

/* --- settle.c --------------------------------------------------------------------------------- */

/* Every face of the loop that put its look off has looked, or spent its byte of the turn. */
void uvface__settle_all(uvface__loop_t* ctx);
/* The end of a turn: for uvface__loop_acquire(). */
void uvface__on_check(uv_check_t* handle);
/* What uvface__before_publish() and uvface__after_publish() do for the first call of a turn, and for one that comes
 * outside of turns. */
void uvface__put_off(uvface__priv_t* f);
void uvface__settle(uvface__priv_t* f);

/* Around each call that publishes or releases. What a stream face has sent is written by the next turn at the
 * latest. */
static inline void uvface__before_publish(uvface__priv_t* f) {
  if (uvface__list_empty(&f->owing_link)) uvface__put_off(f);
}

static inline void uvface__after_publish(uvface__priv_t* f) {
  if (!uvface__list_empty(&f->owing_link) && !f->ctx->in_turn && f->ep != NULL) uvface__settle(f);
}

/* --- send.c ----------------------------------------------------------------------------------- */

/* Moves queued requests into the ring as far as there is room, at now_ns. */
void uvface__send_flush(uvface__priv_t* f, uint64_t now_ns);
/* Calls the callbacks of the requests that are finished by now; on a face whose sending is over all are. */
void uvface__send_complete(uvface__priv_t* f);
/* Finishes all queued requests: with what ended sending, or with UV_ECANCELED. */
void uvface__send_abort(uvface__priv_t* f);
/* Finishes queued requests whose deadline has passed; the next deadline, 0 = none. */
uint64_t uvface__send_expire(uvface__priv_t* f, uint64_t now_ns);

/* --- recv.c ----------------------------------------------------------------------------------- */

/* Delivers packets that were found at now_ns, within the budget of the turn, or the error that ends receiving. */
void uvface__recv_deliver(uvface__priv_t* f, uint64_t now_ns);
/* A stream has been opened: what is sent over it passes by the face's filter, if that wants it. */
void uvface__recv_begin_stream(uvface__priv_t* f);
/* Whether there is something to tell the face's filter that no look at a ring or socket will bring about. */
bool uvface__owes_filter(const uvface__priv_t* f);
/* Tells the filter that the face is over, if it is, and if there is one that does not know. */
void uvface__recv_tell_end(uvface__priv_t* f);

/* --- turn.c ----------------------------------------------------------------------------------- */

/* A turn of the loop: for uvface__loop_acquire(). */
void uvface__on_prepare(uv_prepare_t* handle);
/* Polls the face's FIFO, or the socket of its stream. Errors: as uv_poll_start(), UV_ECANCELED (somebody else closed
 * the handle). */
int uvface__start_polling(uvface__priv_t* f);

/* --- due.c ------------------------------------------------------------------------------------ */

/* Something is due: for uvface__loop_acquire(). */
void uvface__on_timer(uv_timer_t* handle);
/* The slow look at the face from now on, once a second. */
void uvface__watch(uvface__priv_t* f);

#endif
