/* SPDX-License-Identifier: MIT */
/* api_ends.h: a program of fuzz_api while it runs: its loops, its faces, and what is known of each. Shared by
 *
 *   api_script.c     what an input means: which call is made when
 *   api_open.c       the calls that make, open and close faces
 *   api_calls.c      all other calls
 *   api_callbacks.c  what the product calls
 *   api_known.c      what is known of a face, and so what its calls may return
 *   fuzz_api.c       the run, and what must hold in the end
 *
 * and on top of api.h: packets and their ledgers (api_ledger.c), and the hand of a hostile peer (api_links.c). Each
 * call of the product's stands between api_enter() and api_leave(), and what it returns is held against what is known.
 * One thread. */
#ifndef API_ENDS_H
#define API_ENDS_H

#include "api.h"

enum { FLAG_TWO_LOOPS = 1, FLAG_WALK = 2, FLAG_LONELY = 4, FLAG_FORKS = 0xf8 };

#define ENDS_MAX 6
#define LOOPS_MAX 2
#define OPS_MAX 160

typedef struct end_s end_t;

/* A request, its packets, and what the ledger knows of them. */
typedef struct request_s {
  uvface_send_t req;
  end_t* end;
  ledger_t* ledger;
  struct request_s* next;
  unsigned int first, n;
  uint8_t* bytes;
} request_t;

typedef struct filter_s {
  uvface_filter_t f; /* first */
  ledger_t* in;      /* what it sees; NULL = not open yet, or a closed face */
  uint8_t mode;
  bool ended;
  bool may_close; /* the close callback has run, or there is none */
  end_t* end;     /* NULL once that is gone */
} filter_t;

typedef enum { END_CLOSED, END_OPEN, END_CLOSING } end_state_t;

/* A face, and what is known of it. */
struct end_s {
  uvface_t face;
  end_t* next; /* of all */
  unsigned int loop;
  end_state_t state;
  int error; /* that it was told, 0 = none */
  bool receiving, drops, ref, orphan;
  bool silent_close;
  bool hears, heard_gone; /* by an event callback */
  bool expires, bounded, guarded, borrows;
  link_t* link; /* of an open one, and then its side */
  unsigned int side;
  request_t *first, *last; /* with a callback, in order */
  request_t* mute;         /* without: kept until the face is closed */
  uint8_t* slot;           /* reserved, and a packet is in it already */
  size_t slot_bytes;
  unsigned int slot_number;
  filter_t* filter;
  uint64_t received, sent; /* packets */
};

/* A loop, and the program's own handles on it. */
typedef struct loop_s {
  uv_loop_t loop;
  uv_timer_t timer;
  uv_async_t async;
  uv_prepare_t prepare;
  uv_check_t check;
  uv_idle_t idle;
  bool dead;   /* somebody has closed all handles that were there */
  bool lonely; /* the program's own are closed */
} loop_t;

/* The program that runs. */
typedef struct api_run_s {
  fuzz_input_t in;
  unsigned int flags;
  loop_t loops[LOOPS_MAX];
  unsigned int nloops;
  end_t* ends[ENDS_MAX]; /* those that the program still uses */
  end_t* all;            /* those whose memory is the product's */
  unsigned int ops;
  unsigned int in_call;     /* of the product's */
  unsigned int in_callback; /* of ours */
  bool quiet;               /* callbacks do nothing more */
  unsigned int news;        /* callbacks so far */
  unsigned int points, poke_at;
  uint8_t poke[3];
  unsigned int poke_link;
  bool forked;
} api_run_t;

extern api_run_t run;

/* --- api_known.c ------------------------------------------------------------------------------- */

/* Around each call of the product's; the second passes the result on. */
void api_enter(void);
int api_leave(int result);
/* Around each of ours. The product is not in a call meanwhile. */
void api_begin_callback(void);
void api_end_callback(void);
/* What an open end sends, and what it is sent. */
ledger_t* end_out(const end_t* end);
ledger_t* end_in(const end_t* end);
/* Somebody has closed the handles of its loop; a peer's hand is in its link; that, or its peer has gone. */
bool end_is_dead(const end_t* end);
bool end_is_poked(const end_t* end);
bool end_may_be_alone(const end_t* end);
/* Whether an error of a call that needs an open face is one that the header lists for the state that it is in. */
bool end_is_due(const end_t* end, int err, int after_eof);
/* A call succeeded, or failed, as it must in this state; its words begin with its name; both, for an error. */
void end_check_state(const end_t* end, int result, int after_eof);
void end_check_words(const end_t* end, const char* function);
void end_check_refusal(end_t* end, int err, const char* function);
/* The product says that the face is over. */
void end_check_end(end_t* end, int status);

/* --- api_callbacks.c --------------------------------------------------------------------------- */

/* The program uses it no more; its memory is given back. */
void end_forget(end_t* end);
void end_free(end_t* end);
void on_closed(uvface_t* face);
void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]);
void on_sent(uvface_send_t* req, int status);
int on_packet(uvface_filter_t* filter, uvface_t* face, uv_buf_t* packet);
size_t on_send(uvface_filter_t* filter, uvface_t* face, uint8_t* packet, size_t bytes, size_t room);
void on_end(uvface_filter_t* filter, uvface_t* face, int status);
void on_filter_closed(uvface_filter_t* filter, uvface_t* face);
void on_event(uvface_t* face, unsigned int events, int status);

/* --- api_open.c -------------------------------------------------------------------------------- */

/* In that slot of the program's, on that loop. */
end_t* end_new(uint8_t slot, uint8_t loop);
/* An engine; an app, by name or by an engine's descriptors. code: of the options. */
int end_create(end_t* end, link_kind_t kind, unsigned int name, uint8_t code);
int end_connect(end_t* end, unsigned int name, uint8_t code);
int end_attach(end_t* end, const end_t* engine, uint8_t code);
void end_close_app_fds(end_t* end);
/* One end of a new pair of sockets; the other end of one. */
link_t* end_open_pair(end_t* end, uint8_t code);
void end_open_raw(end_t* end, link_t* link, uint8_t code);
/* Both ends of a face, on any loops, receiving. */
void end_open_both(uint8_t code, uint8_t options);
/* silent: without a callback. */
void end_close(end_t* end, bool silent);

/* --- api_calls.c ------------------------------------------------------------------------------- */

/* A NULL end is one that the program has not: nothing happens. code: how many, how large, in how many pieces. */
void end_start(end_t* end, bool drops);
void end_stop(end_t* end);
void end_try_send(end_t* end, uint8_t code, bool batch);
void end_send(end_t* end, uint8_t code, bool batch, bool mute);
void end_reserve(end_t* end, uint8_t code);
void end_commit(end_t* end, uint8_t code);
void end_ask(end_t* end);
void end_ask_wrongly(end_t* end, uint8_t code);
void end_set_filter(end_t* end, uint8_t code);
void end_set_event_cb(end_t* end, bool hears);
void end_set_ref(end_t* end, bool ref);

/* --- api_script.c ------------------------------------------------------------------------------ */

/* The next thing of the script that is read: that between turns, or in callbacks that of callbacks; some, in a
 * callback. */
void script_do_one(void);
void script_do_some(void);
void loop_open(loop_t* l);
/* Once, without waiting. */
void loop_turn(unsigned int which);
/* For uv_walk(). */
void loop_close_handle(uv_handle_t* handle, void* arg);

#endif
