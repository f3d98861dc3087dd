/* SPDX-License-Identifier: MIT */
/* client.h: what the files of the client share: its private half.
 *
 *   clock.c    what is due when; and the client's words
 *   jobs.c     commands under way, and the routes that are to be registered again
 *   way.c      the way to a face: connecting, asking, the handoff, and what follows if one of them fails
 *   client.c   the public calls
 *
 * Each file calls those above it and none below (test_headers.py). A call of the API changes the state and starts the
 * clock, or sends; only the loop calls the user. Everything belongs to the loop's thread.
 *
 * The stages of a client (way.c):
 *
 *   IDLE --> DIALLING --> ASKING --> HANDING --> REPLAYING --> UP --> ENDING
 *               ^ |          |          |            |          |       |
 *               | |          +----------+------------+----------+-------+-- over, or deaf
 *               | v                                                     v
 *             PAUSED <------------------------------------------- DROPPING --> IDLE, or DIALLING again
 *
 * ASKING and HANDING are passed over without shared memory, REPLAYING without routes of before. ENDING: the forwarder
 * is gone, and what it left in the ring is still delivered. DROPPING: faces are closing. CLOSING: for good. */
#ifndef UVFACE_MGMT_CLIENT_H
#define UVFACE_MGMT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "closing.h"
#include "dial.h"
#include "handoff_client.h"
#include "request.h"
#include "uvface_mgmt.h"
#include "where.h"

typedef enum uvface__stage_e {
  UVFACE__IDLE,
  UVFACE__DIALLING,
  UVFACE__ASKING,
  UVFACE__HANDING,
  UVFACE__REPLAYING,
  UVFACE__UP,
  UVFACE__ENDING,
  UVFACE__DROPPING,
  UVFACE__PAUSED,
  UVFACE__CLOSING
} uvface__stage_t;

/* A route that is in force, to be registered again after a loss. */
typedef struct uvface__kept_s {
  struct uvface__kept_s* next;
  uvface_route_t route;
  size_t name_bytes;
  uint8_t name[];
} uvface__kept_t;

/* A command under way, or waiting for the connection. */
typedef struct uvface__job_s {
  struct uvface__job_s* next;
  uvface__verb_t verb;
  uvface_command_t* req; /* the user's; NULL: ours */
  uvface_command_cb cb;
  uvface__kept_t* keep; /* of a registration of the user's: to be kept once it is in force; else NULL */
  bool replay;          /* registers again what was registered */
  bool late;            /* its time is over, and the socket is looked at once more */
  uint64_t due_ms;      /* when its time is over; 0 = it has not begun */
  uvface_route_t route;
  uvface__answer_t answer; /* once it is done */
  uint8_t* wire_name;      /* of the Interest; NULL = not sent */
  size_t wire_name_bytes;
  size_t name_bytes;
  uint8_t name[]; /* the prefix */
} uvface__job_t;

typedef struct uvface__jobs_s {
  uvface__job_t *first, *last;
} uvface__jobs_t;

/* A face of the client's, between its filter and us. */
typedef struct uvface__carrier_s {
  uvface_t face;
  uvface_filter_t filter;
  bool open;    /* initialized, and its on_close has not come */
  bool dropped; /* we closed it */
} uvface__carrier_t;

/* The private half of a client. */
typedef struct uvface__client_s {
  uvface_client_t* client;
  uv_loop_t* loop;
  uvface_client_options_t options;
  ndnpkt_signer_t signer; /* a copy; key_name is own memory */
  bool has_signer;
  char handoff_dir[108];
  uvface_client_cb cb;
  uvface_client_close_cb close_cb;
  ndnpkt_crypto_t* crypto;
  uvface__stage_t stage;
  uv_timer_t timer;
  uvface__closing_t closing;
  void (*on_due)(struct uvface__client_s* c);    /* something may be due */
  void (*on_closed)(struct uvface__client_s* c); /* all faces have closed, while CLOSING */
  /* the clock, in ms of uv_hrtime() */
  uint64_t step_due_ms;  /* 0 = nothing due */
  bool step_has_grace;   /* what is due is a deadline: look at the sockets once more before it counts */
  uint64_t retry_due_ms; /* commands that found no room */
  uint64_t dial_until_ms;
  /* the connection */
  uvface__where_t where;
  unsigned int place; /* which of them */
  int first_err;      /* of the places before */
  uvface__dial_t* dial;
  uvface__carrier_t control; /* the socket, for life */
  uvface__carrier_t data;    /* shared memory, if there is some */
  bool has_shm;
  uv_uid_t peer_uid; /* the forwarder's, as the kernel says; -1 = not known */
  /* asking for shared memory */
  uvface__job_t* create;
  unsigned int asked; /* in this life */
  bool asked_twice;
  char face_name[80];
  unsigned char key[UVFACE__KEY_BYTES];
  uint64_t face_id;
  uvface__handoff_t* handoff;
  char handoff_path[108];
  /* commands */
  uvface__jobs_t waiting; /* not sent */
  uvface__jobs_t sent;    /* in this order */
  uvface__jobs_t done;    /* callbacks owed */
  uvface__kept_t* kept;
  unsigned int replays;   /* that are not answered yet */
  uvface__job_t* posting; /* being signed, or on its way through a tap: in none of the lists; NULL */
  /* losses */
  int status;         /* why it goes down */
  bool redial;        /* connect anew at once, and tell nobody */
  bool told_down;     /* the user knows that it is down */
  bool owes_down;     /* he is about to be told, after his commands */
  unsigned int tries; /* since it was up */
  uint64_t nonces;    /* the state of their generator */
  char words[80];     /* of a code */
  char errmsg[640];   /* "function: call object: reason" */
} uvface__client_t;

/* What the options leave open. */
#define UVFACE__COMMAND_MS 4000
#define UVFACE__CREATE_MS 2000
#define UVFACE__DIAL_MS 5000
#define UVFACE__NEVER UINT64_MAX
#define UVFACE__END_MS 100  /* how long the ring of a forwarder that is gone is still read */
#define UVFACE__RETRY_MS 5  /* between attempts to get into a full queue */
#define UVFACE__GRACE_MS 20 /* between a deadline and its verdict: the loop may have been held up, not the forwarder */

static inline uint64_t uvface__now_ms(void) {
  return uv_hrtime() / 1000000;
}

/* --- clock.c ------------------------------------------------------------------------------- */

/* Writes errmsg and returns code. */
int uvface__client_complain(uvface__client_t* c, int code, const char* format, ...)
    __attribute__((format(printf, 3, 4)));
/* The words of a code, which need not be one of libuv's: a signer's callback returns what it likes. Valid until the
 * next. */
const char* uvface__client_words(uvface__client_t* c, int code);
/* A step is due in so many ms, or UVFACE__NEVER; uvface__client_arm() starts the timer. has_grace: it is a deadline. */
void uvface__client_step(uvface__client_t* c, uint64_t ms, bool has_grace);
/* Starts the timer for what is due first. */
void uvface__client_arm(uvface__client_t* c);

/* --- jobs.c ---------------------------------------------------------------------------------------- */

/* A job with a copy of the name. NULL: out of memory. */
uvface__job_t* uvface__job_new(uvface__verb_t verb, const uint8_t* name, size_t name_bytes);
void uvface__job_free(uvface__job_t* job);
void uvface__jobs_append(uvface__jobs_t* jobs, uvface__job_t* job);
/* Takes the first one off. NULL: there is none. */
uvface__job_t* uvface__jobs_take(uvface__jobs_t* jobs);
/* The job that this is the answer of, taken off the sent ones; NULL. */
uvface__job_t* uvface__jobs_match(uvface__client_t* c, ndnpkt_name_t name);
/* Encodes a job and sends it, with these parameters. Errors: as ndnpkt_command_encode(), uvface_send(). */
int uvface__job_post(uvface__client_t* c, uvface__job_t* job, const ndnpkt_parameters_t* parameters);
/* True if this is the name of the Interest that was sent for it. */
bool uvface__job_is(const uvface__job_t* job, ndnpkt_name_t name);
/* The job is done. One of the user's: it will be told by uvface__jobs_tell(). Returns the status of a replay, 0 for all
 * others: an error means that what was registered is not so again. */
int uvface__job_done(uvface__client_t* c, uvface__job_t* job, const uvface__answer_t* answer);
/* Sends what waits, as far as the stage allows; what cannot be sent at all is done. Returns as uvface__job_done(). */
int uvface__jobs_flush(uvface__client_t* c);
/* Ends jobs whose time is over. Returns as uvface__job_done(). */
int uvface__jobs_expire(uvface__client_t* c, uint64_t now_ms);
/* Calls the callbacks that are owed. From the loop only. */
void uvface__jobs_tell(uvface__client_t* c);
/* The connection is over: what was sent waits again, but for what was about the connection itself. */
void uvface__jobs_take_back(uvface__client_t* c);
/* All that is under way ends with this status. */
void uvface__jobs_end(uvface__client_t* c, int status);
/* Queues the registrations of before, in front of all that waits. Errors: UV_ENOMEM. */
int uvface__jobs_replay(uvface__client_t* c);
/* The route is not to be registered again, also if its registration is still under way. */
void uvface__jobs_forget(uvface__client_t* c, ndnpkt_name_t name, uint64_t origin);
/* Ends what waits about the route, so that who changes his mind without end does not fill memory. */
void uvface__jobs_supersede(uvface__client_t* c, ndnpkt_name_t name, uint64_t origin);

/* --- way.c ------------------------------------------------------------------------------------------- */

/* Goes on where the places are known and nothing is open. */
void uvface__way_begin(uvface__client_t* c);
/* The time of a step is over. */
void uvface__way_due(uvface__client_t* c);
/* Goes down, by `status`, for a reason that errmsg has. */
void uvface__way_lose(uvface__client_t* c, int status);
/* Closes all that is open; c->on_closed is called when the last face has closed. True if none was open. */
bool uvface__way_drop(uvface__client_t* c);

#endif
