/* SPDX-License-Identifier: MIT */
/* uvface_mgmt.h: the door between apps and a forwarder of the same machine, on libuv.
 *
 * Client: an app that knows the forwarder's socket (or nothing at all) gets a connected uvface_t, over shared memory
 * where the forwarder has some, and registers prefixes. Speaks to ndn-fwd, ndnd, NFD, NDNts and to the server below.
 * Server: a forwarder listens on a socket and gets a uvface_t for each connection and for each shared-memory face that
 * is asked for on it, and the commands that are its business.
 *
 * Guarantees what uvface.h guarantees, its ten rules among them: a callback never runs inside the call that asked for
 * it, an accepted request gets exactly one callback, close callbacks come last, every function may be called from every
 * callback. All calls on an object belong to the thread that runs its loop. Errors are libuv's negative codes; the
 * errmsg functions name the call, the object and the reason.
 * Does not guarantee that the forwarder at the other end keeps its word: what it sends is checked, but who owns the
 * socket is trusted. "Management" is the NFD Management protocol (redmine.named-data.net/projects/nfd/wiki/Management),
 * "Door N" is section N of the page "The door". */
#ifndef UVFACE_MGMT_H
#define UVFACE_MGMT_H

#include "ndnpkt.h"
#include "uvface.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- Client ------------------------------------------------------------------------------------ */

typedef struct uvface_client_s uvface_client_t;
typedef struct uvface_command_s uvface_command_t;

/* status 0: the client is up: client->face is there, and registrations of before are in force again: start receiving on
 * the face here. status < 0: it is not, or no longer: client->face is NULL; a face that was there has been closed, and
 * all its callbacks have run. With options.reconnect_ms the client goes on trying, and a loss is told once, attempts
 * are not; without, uvface_client_connect() may be called again, from here too.
 * UV_ENOENT, UV_ECONNREFUSED, UV_EACCES (the socket), UV_ETIMEDOUT (no answer), UV_EOF (the forwarder is gone),
 * UV_EPROTO (it broke the protocol), UV_ENOTSUP (UVFACE_SHM was asked for, and it has none), UV_ECANCELED (the client,
 * or its face, was closed), others as they come from the system. */
typedef void (*uvface_client_cb)(uvface_client_t* client, int status);

/* The client's memory is the caller's again. */
typedef void (*uvface_client_close_cb)(uvface_client_t* client);

/* status 0: done. UV_ETIMEDOUT (no answer in options.command_timeout_ms), UV_EACCES (403), UV_ENOENT (404), UV_EINVAL
 * (400), UV_ENOTSUP (501, or a Nack: nobody there manages routes), UV_EPROTO (another code, or an answer that cannot be
 * read), UV_EPIPE (the forwarder is gone, and the client does not reconnect), UV_EMSGSIZE (too long with its
 * signature), UV_ENOMEM, UV_ECANCELED (close, or a later command took its place), and what a signer's callback returns.
 * code, text: the forwarder's; 0 and "" if there was no answer. text is valid until the callback returns. */
typedef void (*uvface_command_cb)(uvface_command_t* req, int status, unsigned int code, const char* text);

/* A client. Caller-allocated. */
struct uvface_client_s {
  /* public */
  void* data;
  /* read-only */
  uv_loop_t* loop;
  uvface_t* face; /* NULL while not connected; its callbacks, sends and stats are the app's; never to be closed by it */
  /* private */
  void* priv_;
};

/* A command under way. Caller-allocated; must stay valid, and not be used again, until its callback has run. */
struct uvface_command_s {
  /* public */
  void* data;
  /* read-only */
  uvface_client_t* client;
  /* private */
  void* priv_;
};

/* How the client reaches its forwarder. Start from UVFACE_CLIENT_OPTIONS_INIT, then change members. */
typedef struct uvface_client_options_s {
  size_t size;                   /* sizeof(uvface_client_options_t), as the caller was compiled */
  uvface_options_t face;         /* for the face that carries the app's packets */
  int transport;                 /* UVFACE_ANY: shared memory where it is offered, else the socket; UVFACE_SHM: or fail;
                                   UVFACE_STREAM: the socket */
  uint32_t mtu;                  /* bytes, the largest packet to ask shared memory for; 0 = the forwarder's default */
  uint32_t command_timeout_ms;   /* for each command; 0 = 4000 */
  uint32_t reconnect_ms;         /* 0 = off; else the first pause before connecting anew, doubled to 64 times of it */
  const ndnpkt_signer_t* signer; /* of commands; NULL = DigestSha256; copied with its key_name, but the key, or the
                                    callback and its ctx, must live as long as the client */
  const char* handoff_dir;       /* where the forwarder puts the sockets of descriptors; NULL = /tmp, as ndn-rs does;
                                    copied */
} uvface_client_options_t;

#define UVFACE_CLIENT_OPTIONS_INIT \
  { sizeof(uvface_client_options_t), UVFACE_OPTIONS_INIT, UVFACE_ANY, 0, 0, 0, NULL, NULL }

/* What is asked for with a prefix (Management, RIB). Start from UVFACE_ROUTE_INIT. */
typedef struct uvface_route_s {
  size_t size;
  uint64_t origin; /* 0 = app, 65 = client, ... */
  uint64_t cost;
  uint64_t flags;         /* NDNPKT_ROUTE_CHILD_INHERIT | NDNPKT_ROUTE_CAPTURE */
  uint64_t expiration_ms; /* 0 = none: the route lives as long as the face */
} uvface_route_t;

#define UVFACE_ROUTE_INIT \
  { sizeof(uvface_route_t), 0, 0, NDNPKT_ROUTE_CHILD_INHERIT, 0 }

/* Initializes a client on a loop. client->data is left as it is. After success uvface_client_close() is owed.
 * Errors: UV_EINVAL (NULL), UV_ENOMEM. Loop thread. */
UVFACE_EXTERN int uvface_client_init(uv_loop_t* loop, uvface_client_t* client);

/* Connects to the forwarder; cb tells when it is up, and each time when it goes down.
 * uri: "unix:///path" or "tcp://host:port" (numeric host or a name; port 6363 if there is none); copied. NULL: what the
 * environment says: $NDN_CLIENT_TRANSPORT, then `transport=` of client.conf where ndn-cxx looks for it (~/.ndn,
 * /usr/local/etc/ndn, /etc/ndn), then $NDN_SOCK, then the first of /run/nfd/nfd.sock and /run/ndn-fwd/ndn-fwd.sock that
 * answers. Over TCP shared memory is not asked for: the other end may be another machine.
 * options: NULL = defaults; copied. cb: may be NULL.
 * Errors: UV_EINVAL (client, uri, options), UV_ENAMETOOLONG (path, host, handoff_dir), UV_EALREADY (connected, or under
 * way), UV_ENOMEM, UV_ENOTCONN (closing). All else is told by cb. Loop thread. (Door 1) */
UVFACE_EXTERN int uvface_client_connect(uvface_client_t* client, const char* uri,
                                        const uvface_client_options_t* options, uvface_client_cb cb);

/* Registers a prefix for the client's face. It may be called before the client is up, and is then sent as soon as it
 * is; until then a later command about the same prefix and origin takes its place, and cb is told UV_ECANCELED. With
 * options.reconnect_ms what has been registered is registered again after each loss, until it is unregistered.
 * req: the caller's, until cb. name: components, as ndnpkt.h has them; copied; NULL with 0 bytes is "/".
 * route: NULL = UVFACE_ROUTE_INIT; copied. cb: may be NULL; then req must stay until the client is closed.
 * Errors: UV_EINVAL (NULL, name, route), UV_EMSGSIZE (name: longer than a command can carry), UV_ENOTCONN (neither
 * connected nor connecting, or closing), UV_ENOMEM. Loop thread. (Management, RIB) */
UVFACE_EXTERN int uvface_client_register(uvface_client_t* client, uvface_command_t* req, const uint8_t* name,
                                         size_t name_bytes, const uvface_route_t* route, uvface_command_cb cb);

/* Takes a registration back; from now on it is not made again. Arguments as for uvface_client_register(); of route only
 * the origin counts. Errors: as uvface_client_register(). Loop thread. */
UVFACE_EXTERN int uvface_client_unregister(uvface_client_t* client, uvface_command_t* req, const uint8_t* name,
                                           size_t name_bytes, const uvface_route_t* route, uvface_command_cb cb);

/* Closes the connection and the face. What is pending gets UV_ECANCELED, on later turns: the face's sends, the
 * commands, the client's callback unless it knows that the client is down; then cb, once. cb: may be NULL. A second
 * close is ignored. Loop thread. */
UVFACE_EXTERN void uvface_client_close(uvface_client_t* client, uvface_client_close_cb cb);

/* What failed last, as "function: call object: reason"; also why shared memory was not used; "" if nothing did. Valid
 * until the next call on the client. Loop thread. */
UVFACE_EXTERN const char* uvface_client_errmsg(const uvface_client_t* client);

/* --- Server ------------------------------------------------------------------------------------ */

typedef struct uvface_server_s uvface_server_t;
typedef struct uvface_app_s uvface_app_t;

/* The server's memory is the caller's again; on_close has been called for each app. */
typedef void (*uvface_server_close_cb)(uvface_server_t* server);

/* A server. Caller-allocated. */
struct uvface_server_s {
  /* public */
  void* data;
  /* read-only */
  uv_loop_t* loop;
  /* private */
  void* priv_;
};

/* One face of a local app: a connection itself, or a shared-memory face that was asked for on one. The server's; valid
 * from on_open until on_close has returned. */
struct uvface_app_s {
  /* public */
  void* data;
  /* read-only */
  uvface_server_t* server;
  uvface_t* face;   /* receive, send and look at it; closing it takes the app away, as uvface_app_close() does */
  uint64_t face_id; /* never used twice */
  const char* uri;  /* "unix://PATH" or "shm://NAME" */
  pid_t pid;        /* of the process that connected, as the kernel says (SO_PEERCRED) */
  uid_t uid;
  gid_t gid;
  /* private */
  void* priv_;
};

/* A new face. Start receiving on app->face here; if this does not, what it sends is dropped. Closing it here is
 * allowed: a shared-memory face is then refused. */
typedef void (*uvface_app_open_cb)(uvface_app_t* app);

/* The face is over and closed, and after this app is gone; the faces of a connection come before it. status: UV_EOF:
 * its app is gone, or the connection that it was made on; UV_ECANCELED: destroyed, or closed by this side;
 * UV_ETIMEDOUT: its app never came for it; else as recv_cb gets it. Of an end of the face itself recv_cb has been told
 * before, if it received. */
typedef void (*uvface_app_close_cb)(uvface_app_t* app, int status);

/* A command that is not the server's own: rib/register, rib/unregister, and whatever else. app: the face that
 * parameters.face_id names, which is filled in if the command had none; a registration has a name. response: begins as
 * 200 "OK" with the parameters that NFD answers (for a registration: name, face_id, origin, cost, flags,
 * expiration_ms); what it points at is read right after the return; an answer of 400 and more has no parameters.
 * Returns the status code: 200, 403, 404, 501 ... */
typedef unsigned int (*uvface_app_command_cb)(uvface_app_t* app, const ndnpkt_command_t* command,
                                              ndnpkt_response_t* response);

/* May this app do that? Nonzero = yes. app: the face that the command came over. Asked for each command whose
 * parameters can be read, those of the server's own too. */
typedef int (*uvface_app_verify_cb)(uvface_app_t* app, const ndnpkt_command_t* command);

/* What the embedder wants to hear. Start from UVFACE_SERVER_CALLBACKS_INIT. */
typedef struct uvface_server_callbacks_s {
  size_t size;                      /* sizeof(uvface_server_callbacks_t), as the caller was compiled */
  uvface_app_open_cb on_open;       /* needed */
  uvface_app_close_cb on_close;     /* needed */
  uvface_app_command_cb on_command; /* NULL = NFD's modules are answered with 501, others with 404 */
  uvface_app_verify_cb on_verify;   /* NULL = whoever may connect may command, as NFD's `type any` has it */
} uvface_server_callbacks_t;

#define UVFACE_SERVER_CALLBACKS_INIT \
  { sizeof(uvface_server_callbacks_t), NULL, NULL, NULL, NULL }

enum {
  /* Offer no shared memory: faces/create is refused, apps stay on their connection. */
  UVFACE_SERVER_NO_SHM = 1,
  /* Faces by name for apps of any user, and not only of this process's and root. Such an app can hold the loop by a
   * lock of the kernel's, and without the SIGBUS guard end the process (docs/security.rst). ndn-rs's apps before June
   * 2026 know no others. */
  UVFACE_SERVER_NAMES_FOR_ALL = 2
};

/* Start from UVFACE_SERVER_OPTIONS_INIT, then change members. */
typedef struct uvface_server_options_s {
  size_t size;                /* sizeof(uvface_server_options_t), as the caller was compiled */
  uvface_options_t face;      /* geometry and flags of the shared-memory faces that are made (an Mtu in the command goes
                                before the geometry), send_timeout_ms and the like for all */
  unsigned int mode;          /* permissions of the socket, umask does not cut them; 0 = 0600 */
  uv_uid_t uid;               /* owner of the socket; -1 = leave */
  uv_gid_t gid;               /* its group; -1 = leave */
  unsigned int flags;         /* UVFACE_SERVER_NO_SHM, UVFACE_SERVER_NAMES_FOR_ALL */
  int backlog;                /* of listen(); 0 = 511 */
  uint32_t max_apps;          /* connections at a time; 0 = 1024; more are closed at once */
  uint32_t max_faces;         /* shared-memory faces of one connection; 0 = 8 */
  size_t max_region_bytes;    /* of the region of one face; 0 = 64 MiB */
  size_t max_app_bytes;       /* of the regions of all faces of one connection; 0 = 256 MiB */
  uint32_t attach_timeout_ms; /* a face that nobody came for is taken back, a named one up to 1.1 s later; 0 = 10000 */
  uint64_t first_face_id;     /* 0 = 256 */
  const char* handoff_dir;    /* where sockets that hand out descriptors are made; NULL = /tmp, as ndn-rs does */
  uint32_t max_user_apps;     /* connections of one user other than this process's and root; 0 = 3/4 of max_apps */
  size_t max_user_bytes;      /* of the regions of all faces of one such user; 0 = 4 GiB */
} uvface_server_options_t;

#define UVFACE_SERVER_OPTIONS_INIT \
  { sizeof(uvface_server_options_t), UVFACE_OPTIONS_INIT, 0, ~0u, ~0u, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, 0 }

/* Counters since listen. */
typedef struct uvface_server_stats_s {
  uint64_t connections;         /* accepted */
  uint64_t connections_refused; /* closed, beyond max_apps, max_user_apps or a user's share of descriptors, or for want
                                   of memory; and times without descriptors */
  uint64_t faces;               /* shared-memory faces made */
  uint64_t faces_refused;       /* asked for and not made */
  uint64_t faces_unclaimed;     /* made, and nobody came in time, or with the right proof */
  uint64_t handoffs;            /* descriptors handed out */
  uint64_t proofs_refused;      /* wrong proofs and strangers at the handoff */
  uint64_t handoff_timeouts;    /* connectors that were silent */
  uint64_t commands;            /* answered */
  uint64_t commands_refused;    /* of them, with 400 and more */
  uint64_t commands_repeated;   /* of them, answered from memory: the same Interest again */
  uint64_t commands_dropped;    /* not answered: too many wait, the app does not read, or broken beyond answering */
  uint32_t apps;                /* connections now */
  uint32_t app_faces;           /* shared-memory faces now */
  uint64_t reserved[8];
} uvface_server_stats_t;

/* Initializes a server on a loop. server->data is left as it is. After success uvface_server_close() is owed.
 * Errors: UV_EINVAL (NULL), UV_ENOMEM. Loop thread. */
UVFACE_EXTERN int uvface_server_init(uv_loop_t* loop, uvface_server_t* server);

/* Listens on the Unix socket `path`. A stale socket that a dead server left is taken over; a live one is UV_EADDRINUSE;
 * what is no socket is left alone.
 * path: absolute or relative, at most 107 bytes; copied. options: NULL = defaults; copied. callbacks: copied; on_open
 * and on_close are needed.
 * Errors: UV_EINVAL (server, path, options, callbacks), UV_ENAMETOOLONG, UV_EALREADY (listening), UV_EADDRINUSE,
 * UV_EACCES, UV_EPERM (owner or group may not be given), UV_ENOENT (no such directory), UV_ENOTDIR, UV_EROFS,
 * UV_EMFILE, UV_ENFILE, UV_ENOMEM, UV_ENOSPC (the user's epoll watches), UV_ENOTCONN (closing). On failure nothing is
 * left behind. Loop thread. (Door 2) */
UVFACE_EXTERN int uvface_server_listen(uvface_server_t* server, const char* path,
                                       const uvface_server_options_t* options,
                                       const uvface_server_callbacks_t* callbacks);

/* Takes an app away: closes its face; that of a connection takes those made on it along. on_close follows, on a later
 * turn, with UV_ECANCELED. app: from on_open on, until on_close. A second call is ignored. Loop thread. */
UVFACE_EXTERN void uvface_app_close(uvface_app_t* app);

/* Closes the socket, removes its name if it is still ours, closes all faces (on_close for each), then cb, once, on a
 * later turn. cb: may be NULL. A second close is ignored. Loop thread. */
UVFACE_EXTERN void uvface_server_close(uvface_server_t* server, uvface_server_close_cb cb);

/* Copies the counters. Errors: UV_EINVAL (NULL), UV_ENOTCONN (not listening). Loop thread. */
UVFACE_EXTERN int uvface_server_get_stats(const uvface_server_t* server, uvface_server_stats_t* stats);

/* What failed last, as "function: call object: reason"; "" if nothing did. Valid until the next call on the server.
 * Loop thread. */
UVFACE_EXTERN const char* uvface_server_errmsg(const uvface_server_t* server);

/* The library's version: major << 16 | minor << 8 | patch, and as text. Any thread. */
UVFACE_EXTERN unsigned int uvface_mgmt_version(void);
UVFACE_EXTERN const char* uvface_mgmt_version_string(void);

#ifdef __cplusplus
}
#endif
#endif
