/* SPDX-License-Identifier: MIT */
/* serve.h: what the files of the server share: its private half and that of an app.
 *
 *   closing.c         the end of handles that others may have closed
 *   acceptor.c        a listening socket with a name
 *   handoff_server.c  the socket that gives the descriptors of a private face away
 *   dataset.c         which faces and routes there are
 *   app.c             one face of a local app: birth, end, and the faces that belong to a connection
 *   command.c         what apps ask for is done, or refused
 *   work.c            commands, from their arrival to their answers
 *   server.c          the public functions
 *
 * Each file calls those above it and none below (test_headers.py). An app is a connection or a shared-memory face that
 * was made on one. Whatever ends it goes through uvface__app_end(), which closes its face; the face's filter tells when
 * that is closed, whoever closed it; then, when its timer and handoff are closed too, on_close is called and the app
 * freed. Memory of an app therefore never goes inside a callback of the user's.
 *
 * A command is copied when it arrives, and executed in an idle phase of the loop, a few in a turn, one user after the
 * other, and of each user one app after the other: so commands at full rate, or from many connections, cost others
 * little, and on_command is never called inside a call or a delivery. An app has one answer under way at most: who does
 * not read its answers waits, and its commands with it. Loop thread. */
#ifndef UVFACE_MGMT_SERVE_H
#define UVFACE_MGMT_SERVE_H

#include <stdbool.h>
#include <sys/queue.h>

#include "acceptor.h"
#include "closing.h"
#include "handoff_server.h"
#include "uvface_mgmt.h"

/* Commands that a turn of the loop executes, beside one that makes a face: those wait in a queue of their own, so that
 * others do not wait for all of them. If there are more, the next come a while later, so that most turns go without. */
#define UVFACE__COMMANDS_PER_TURN 16
#define UVFACE__BREATH_MS 1
/* Apps that have rested, and are looked at again in a turn. */
#define UVFACE__WAKES_PER_TURN 4
/* What may wait of one app. */
#define UVFACE__PENDING_BYTES_MAX ((size_t) 256 * 1024)
/* Commands of an app whose answers are remembered. */
#define UVFACE__REMEMBERED 32
#define UVFACE__BUCKETS 256
/* Routes of an app that rib/list tells of; the embedder may have more. */
#define UVFACE__ROUTES_MAX 1024
/* Of a route, in bytes, so that rib/list can tell of it: a packet that every node carries has no longer one. */
#define UVFACE__ROUTE_NAME_MAX NDNPKT_PACKET_MAX
/* Of the names of an app's routes together: what is beyond, or the 1025th, is not listed. */
#define UVFACE__ROUTES_BYTES_MAX 65536
/* The same of all apps of a user who is neither this process's nor root: a list of all that his connections may have
 * would keep the loop busy for seconds. */
#define UVFACE__USER_ROUTES_MAX 16384
#define UVFACE__USER_ROUTES_BYTES_MAX ((size_t) 1 << 20)
/* What counts of the process's descriptors. A face by name has its region, its FIFOs and the directory of these. A
 * private face has an end of a socket, or of two pipes; as long as its app has not come for it, also the app's, the
 * region, the handoff's socket and one connector there. More connectors count as they come. What a face needs besides
 * while it is made is in the share that is left. */
#define UVFACE__CONNECTION_FDS 1u
#define UVFACE__NAMED_FDS 4u
#define UVFACE__PRIVATE_FDS(by_pipes) ((by_pipes) ? 2u : 1u)
#define UVFACE__OFFERED_FDS(by_pipes) (2 * UVFACE__PRIVATE_FDS(by_pipes) + 3)
/* How long the faces of a connection that ended may still deliver what is in their rings; longer, if they do. */
#define UVFACE__GRACE_MS 100
/* A face with a name is looked at this often at least, for an app that has come and says nothing. */
#define UVFACE__LOOK_FOR_APP_MS 1100
/* The longest packet: a Data of 8800 bytes with its link headers, and the answer to the longest command. */
#define UVFACE__PACKET_MAX 16384
/* Of "shm://NAME". */
#define UVFACE__NAME_MAX 200

typedef struct uvface__server_s uvface__server_t;
typedef struct uvface__app_s uvface__app_t;

/* A command that waits to be executed: the packet as it came. */
typedef struct uvface__pending_s {
  STAILQ_ENTRY(uvface__pending_s) link;
  size_t bytes;
  uint8_t packet[];
} uvface__pending_t;
STAILQ_HEAD(uvface__pendings_s, uvface__pending_s);

/* What was answered to a command: the content of the Data. */
typedef struct uvface__given_answer_s {
  uint8_t digest[NDNPKT_DIGEST_BYTES]; /* of the command */
  uint64_t code;
  size_t bytes;
  uint8_t* content; /* NULL = an empty place */
} uvface__given_answer_t;

/* A registration that on_command has accepted. */
typedef struct uvface__route_s {
  SLIST_ENTRY(uvface__route_s) link;
  uint64_t origin, cost, flags;
  uint64_t due_ms; /* when it expires, in ms of uv_hrtime(); 0 = never */
  size_t name_bytes;
  uint8_t name[];
} uvface__route_t;
SLIST_HEAD(uvface__routes_s, uvface__route_s);

/* A snapshot of a dataset. */
typedef struct uvface__dataset_s {
  uint8_t* bytes;
  size_t len, room;
  uint64_t version; /* 0 = there is none */
  uint64_t keep_until_ns;
} uvface__dataset_t;

TAILQ_HEAD(uvface__apps_s, uvface__app_s);
LIST_HEAD(uvface__bucket_s, uvface__app_s);

/* Apps of one user that wait for the same; and the users who have such apps, who take turns. */
typedef struct uvface__line_s {
  TAILQ_ENTRY(uvface__line_s) link;
  struct uvface__apps_s apps;
} uvface__line_t;
TAILQ_HEAD(uvface__lines_s, uvface__line_s);

/* What a user's apps have of a server together. */
typedef struct uvface__user_s {
  LIST_ENTRY(uvface__user_s) link;
  uvface__line_t ready, makers, resting;
  uid_t uid;
  bool is_stranger;      /* neither this process's user nor root */
  unsigned int holds;    /* its apps, and who looks at it: what keeps this memory */
  uint32_t apps;         /* connections */
  uint64_t region_bytes; /* of all its faces */
  unsigned int nroutes;  /* that are listed; and the bytes of their names */
  size_t routes_bytes;
  uint64_t routes_due_ms; /* from when on all may be looked at for those that have expired */
  uint64_t fds;           /* that count for them */
} uvface__user_t;
LIST_HEAD(uvface__users_s, uvface__user_s);

struct uvface__app_s {
  uvface_app_t pub;
  uvface_t face;
  uvface_filter_t filter;
  uvface__server_t* server;
  uvface__user_t* user;
  TAILQ_ENTRY(uvface__app_s) all_link;
  LIST_ENTRY(uvface__app_s) bucket_link;
  bool is_shm;
  bool is_open;       /* on_open was called, on_close is owed */
  bool is_ending;     /* its face is closing */
  int status;         /* that on_close gets */
  unsigned int parts; /* face, timer, handoff, faces of a connection: those that are not closed yet */
  unsigned int fds;   /* that count for it */
  /* a connection's */
  struct uvface__apps_s faces; /* made on it */
  unsigned int nfaces;
  uint64_t region_bytes;  /* of all of them */
  uint64_t rest_until_ns; /* no other face before */
  /* a shared-memory face's */
  uvface__app_t* owner;  /* the connection; NULL: one of both has ended */
  uvface__app_t* parent; /* the connection, which stays until this is gone */
  TAILQ_ENTRY(uvface__app_s) face_link;
  bool is_claimed;           /* its app has come */
  uint64_t own_bytes;        /* of its region */
  uint64_t claim_due_ns;     /* when it is taken back */
  unsigned int late_looks;   /* for its app, since then */
  unsigned int quiet_looks;  /* after the end of the connection: so many in a row found nothing new */
  uint64_t rx_packets;       /* so many had come at the last of them */
  uint64_t last_rx_packets;  /* with so many it ends: the ring cannot have had more */
  uv_timer_t timer;          /* for that; after the end of the connection, for the rest of its life */
  uvface__closing_t closing; /* of the timer */
  uvface__handoff_server_t* handoff;
  char uri[sizeof("shm://") + UVFACE__NAME_MAX];
  /* its commands */
  bool speaks_lp; /* has sent a LpPacket */
  struct uvface__pendings_s pending;
  size_t pending_bytes;
  enum { UVFACE__IDLE, UVFACE__READY, UVFACE__MAKING, UVFACE__RESTING, UVFACE__ANSWERING } work;
  TAILQ_ENTRY(uvface__app_s) work_link; /* of READY, MAKING, RESTING: in its user's line */
  uvface_send_t answer_req;
  uint8_t* answer;    /* under way */
  uint64_t rested_ns; /* of RESTING: when it is over, by the clock of uv_hrtime() */
  struct uvface__routes_s routes;
  unsigned int nroutes;
  size_t routes_bytes; /* of their names */
  uvface__given_answer_t answers[UVFACE__REMEMBERED];
  unsigned int next_answer;
};

/* True from the call that closes it, or its face, on. */
static inline bool uvface__app_is_ending(const uvface__app_t* app) {
  return app->is_ending || uvface_is_closing(&app->face);
}

struct uvface__server_s {
  uvface_server_t* pub;
  uv_loop_t* loop;
  uvface_server_options_t options; /* complete: no member says "default" any more, but face and handoff_dir */
  uvface_server_callbacks_t cb;
  char* handoff_dir;
  char* uri;                              /* of connections */
  uint64_t max_user_fds;                  /* of a user who is neither this process's nor root */
  uint32_t face_capacity, face_slot_size; /* of faces without an Mtu of their own */
  ndnpkt_crypto_t* crypto;
  uvface__acceptor_t acceptor;
  uv_idle_t idle;            /* executes commands; started while there are any */
  uv_timer_t rest;           /* for those that rest */
  uv_timer_t breath;         /* until the next commands are executed */
  uvface__closing_t closing; /* of these handles */
  bool is_listening, is_closing;
  unsigned int holds; /* apps, handles, closing itself: what keeps this memory */
  uvface_server_close_cb close_cb;
  struct uvface__apps_s apps; /* all, in the order of their ids */
  struct uvface__lines_s ready, makers, resting;
  struct uvface__users_s users;
  struct uvface__bucket_s buckets[UVFACE__BUCKETS];
  uint64_t next_face_id;
  uint64_t large_rest_until_ns; /* no other large face before, whoever asks */
  uvface_server_stats_t stats;
  uvface__handoff_counts_t handoffs;
  uvface__dataset_t datasets[2];                                               /* faces, routes */
  uvface__dataset_t former[2];                                                 /* and the ones before */
  int (*on_packet)(uvface_filter_t* filter, uvface_t* face, uv_buf_t* packet); /* of commands, for filters */
  void (*on_empty)(uvface__server_t* server);                                  /* nothing holds it any more */
  char errmsg[640];
  uint8_t content[UVFACE__PACKET_MAX]; /* of the answer that is being made */
  uint8_t packet[UVFACE__PACKET_MAX];  /* that answers; or a private copy of one that has come */
  uint8_t names[UVFACE__PACKET_MAX];   /* of a dataset's Data */
};

/* --- dataset.c ---------------------------------------------------------------------------------- */

/* Keeps a route that is in force, in the place of one with the same name and origin; forgets one; forgets all. */
void uvface__route_add(uvface__app_t* app, const ndnpkt_parameters_t* parameters);
void uvface__route_remove(uvface__app_t* app, ndnpkt_name_t name, uint64_t origin);
void uvface__routes_free(uvface__app_t* app);

/* Whether it asks for faces/list or rib/list. */
bool uvface__dataset_is(const ndnpkt_command_t* command);
/* The Data for it. names, cap: memory for its name. Returns 200, or a code: 404 for a segment or a version that is not
 * there (any more), 500 without memory. The content is valid until the next call. */
unsigned int uvface__dataset_answer(uvface__server_t* s, const ndnpkt_command_t* command, uint8_t* names, size_t cap,
                                    ndnpkt_data_t* ret_data);
void uvface__datasets_free(uvface__server_t* s);

/* --- user.c ------------------------------------------------------------------------------------- */

/* The record of a user, held; NULL without memory. */
uvface__user_t* uvface__user_of(uvface__server_t* s, uid_t uid);
uvface__user_t* uvface__user_hold(uvface__user_t* user);
/* NULL is harmless. */
void uvface__user_release(uvface__user_t* user);
/* Whether so many descriptors more would be too many. From now on so many count for an app. */
bool uvface__user_has_too_many_fds(const uvface__server_t* s, const uvface__user_t* user, unsigned int more);
void uvface__app_count_fds(uvface__app_t* app, unsigned int fds);

/* An app goes to the end of its user's line, or leaves it. */
void uvface__line_join(struct uvface__lines_s* lines, uvface__line_t* line, uvface__app_t* app);
void uvface__line_leave(struct uvface__lines_s* lines, uvface__line_t* line, uvface__app_t* app);
/* Takes the first app of the user whose turn it is; the next turn is that of the others. NULL: nobody waits. */
uvface__app_t* uvface__lines_take(struct uvface__lines_s* lines);

/* --- app.c -------------------------------------------------------------------------------------- */

/* Writes errmsg and returns code. */
int uvface__server_complain(uvface__server_t* s, int code, const char* format, ...)
    __attribute__((format(printf, 3, 4)));
void uvface__server_release(uvface__server_t* s);

/* A connection has come: fd becomes an app, or is closed. */
void uvface__app_accept(uvface__server_t* s, int fd);

/* What a face is to be. */
typedef struct uvface__wish_s {
  ndnpkt_bytes_t name;  /* behind "shm://" */
  ndnpkt_bytes_t token; /* base NULL: a face by name */
  bool has_mtu;
  uint64_t mtu;
} uvface__wish_t;

/* Makes a face on a connection, and calls on_open. Returns the status code of the answer: 200 and the face, or why
 * not. */
unsigned int uvface__app_make_face(uvface__app_t* connection, const uvface__wish_t* wish, uvface__app_t** ret_face,
                                   char* why, size_t cap);

/* Ends an app by status; a connection takes its faces along. More than once is harmless. */
void uvface__app_end(uvface__app_t* app, int status);

/* The app of that id that is not ending, or NULL. */
uvface__app_t* uvface__app_find(uvface__server_t* s, uint64_t face_id);

/* The connection that an app belongs to: itself, or NULL if that has ended. */
static inline uvface__app_t* uvface__app_connection(uvface__app_t* app) {
  return app->is_shm ? app->owner : app;
}

/* The largest Mtu whose slot has a size of 32 bits, with what a forwarder adds, and rounded up. */
#define UVFACE__MTU_MAX (UINT32_MAX - 16384u - 128u)

/* The geometry of a face: for an Mtu, up to UVFACE__MTU_MAX, as ndn-rs has it, else what the options say; and the bytes
 * of its region. */
uint64_t uvface__geometry(uint64_t mtu, uint32_t* ret_capacity, uint32_t* ret_slot_size);
uint64_t uvface__region_bytes(uint64_t capacity, uint64_t slot_size);

/* --- command.c ---------------------------------------------------------------------------------- */

#define UVFACE__TEXT_MAX 512

/* A command while it is executed. */
typedef struct uvface__order_s {
  uvface__app_t* app; /* who asks */
  const ndnpkt_command_t* command;
  ndnpkt_response_t response;
  uvface__app_t* dismissed; /* ends when the answer is out */
  bool is_dataset;          /* the answer is one, and not a response */
  ndnpkt_data_t dataset;
  char text[UVFACE__TEXT_MAX];
} uvface__order_t;

/* Does what an order asks for: fills in the response or the dataset, unless the app has ended meanwhile. */
void uvface__command_execute(uvface__order_t* order);
/* When a face that a command asks for may be made: by the clock of uv_hrtime(). */
uint64_t uvface__command_earliest(uvface__app_t* app, const ndnpkt_command_t* command);

/* --- work.c -------------------------------------------------------------------------------------- */

/* Takes a command out of what arrives: for uvface__server_t.on_packet. */
int uvface__work_on_packet(uvface_filter_t* filter, uvface_t* face, uv_buf_t* packet);
void uvface__work_on_idle(uv_idle_t* idle);
void uvface__work_on_rest(uv_timer_t* timer);
void uvface__work_on_breath(uv_timer_t* timer);

#endif
