/* SPDX-License-Identifier: MIT */
/* uvface.h: an NDN face as a libuv-style handle: over shared memory, or over a stream socket.
 *
 * Guarantees: what ndnshm.h guarantees, delivered by callbacks on a uv_loop_t; the ten rules of
 * docs/design.rst ("The rules"), among them: a callback never runs inside the call that asked for it,
 * an accepted request gets exactly one callback, close_cb comes last, every function may be called
 * from every callback. Does not guarantee: thread safety. As everywhere in libuv, all calls on a face
 * belong to the thread that runs its loop; faces on different loops are independent.
 *
 * Errors are libuv's negative codes. uvface_errmsg() names the call, the object and the reason. "Errors:" lists what a
 * function returns; where the system fails a call for a reason that is not listed (a seccomp filter, say), its code is
 * passed on. A face that has failed answers with the code that failed it: UV_EPROTO, UV_EIO, UV_EBADF, UV_ENOMEM,
 * UV_ENOENT.
 * "Design N" is section N of docs/protocol.rst and docs/design.rst. */
#ifndef UVFACE_H
#define UVFACE_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define UVFACE_EXTERN __attribute__((visibility("default")))
#else
#define UVFACE_EXTERN
#endif

typedef struct uvface_s uvface_t;
typedef struct uvface_send_s uvface_send_t;
typedef struct uvface_options_s uvface_options_t;
typedef struct uvface_stats_s uvface_stats_t;

/* npkts > 0: that many packets, at most 64, in order; pkts and the bytes are valid until the callback
 * returns. They are private copies unless UVFACE_RECV_BORROW was asked for.
 * npkts < 0: an error, given once, receiving is already stopped: UV_EOF (peer gone, everything it sent
 * has been delivered), UV_EPROTO (peer broke the protocol), UV_EIO (region lost), UV_EBADF (somebody else
 * closed the face's descriptor), UV_ENOMEM (none for a packet of more than 256 KiB, which stays in the ring), UV_ENOENT
 * (engine that has no app yet: somebody removed a name of the face, so that no app can come; seen within a second).
 * Packets that were handed out count as delivered, borrowed ones too, even if the callback closes the face: the next
 * app does not get them again. */
typedef void (*uvface_recv_cb)(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]);

/* status 0: the packet, or every packet of the batch, is in the ring. Else UV_ETIMEDOUT (send
 * deadline), UV_EPIPE (peer gone), UV_EPROTO, UV_EIO, UV_EBADF, UV_ENOENT, UV_ENOMEM (as for uvface_recv_cb; the last
 * also for the rest of a batch), or UV_ECANCELED (face closed). After an error the first packets of a batch may be in
 * the ring. */
typedef void (*uvface_send_cb)(uvface_send_t* req, int status);

/* The face's memory is the caller's again, to be freed or used for another face. Until this returns,
 * uvface_get_stats(), uvface_get_name() and uvface_errmsg() still tell of the face that was closed. */
typedef void (*uvface_close_cb)(uvface_t* face);

/* Something has happened to the face beside packets: events has the bits UVFACE_ATTACHED and so on. status: with
 * UVFACE_GONE the code that ended the face, as uvface_recv_cb gets it; else 0. Called in a turn of the loop, never
 * inside a call of the user's; may call every function on every face. */
typedef void (*uvface_event_cb)(uvface_t* face, unsigned int events, int status);

/* A packet was sent (direction UVFACE_SENT: it is in the ring, or in the buffer of a stream) or is about to be
 * delivered (UVFACE_RECEIVED), as the user of the face sends and gets it: behind a filter when it is received, before
 * one when it is sent. npieces pieces, one after the other; 1 if it was received. The bytes are valid until it returns
 * or closes the face; on a face that borrows, those received are the slot's, which the peer can change meanwhile. A
 * packet of uvface_commit() is shown right before it is published, all others right after. Called inside the call that
 * sends, or in a turn of the loop. It may call every function on every face; if it closes this one, the call that sends
 * returns UV_ECANCELED, whether the packet was sent or not. */
typedef void (*uvface_tap_cb)(uvface_t* face, int direction, const uv_buf_t pieces[], unsigned int npieces);

/* Which way, for uvface_tap_cb. */
enum { UVFACE_SENT = 1, UVFACE_RECEIVED = 2 };

/* A face. Caller-allocated; not a uv_handle_t and never to be cast to one. */
struct uvface_s {
  /* public */
  void* data;
  /* read-only */
  uv_loop_t* loop;
  /* private */
  void* priv_;
};

/* A send request. Caller-allocated; must stay valid until its callback has run. */
struct uvface_send_s {
  /* public */
  void* data;
  /* read-only */
  uvface_t* face;
  /* private */
  uvface_send_cb cb_;
  uvface_send_t* next_;
  uv_buf_t* bufs_;
  uv_buf_t bufsml_[4];
  uint64_t due_ms_;
  unsigned int nbufs_;
  unsigned int sent_;
  int batch_;
  int status_;
  void* reserved_[4];
};

enum {
  UVFACE_RECV_BORROW = 1,  /* hand out the slots themselves; only for peers that are trusted. They are given back
                              when the callback returns, or at once when it closes the face */
  UVFACE_SIGBUS_GUARD = 2, /* survive a region that is truncated under us: that face gets UV_EIO. Installs a
                              handler for SIGBUS, once for the process, which passes on what is not ours
                              to the one that stood before, and goes with the last guarded face if it
                              still stands foremost; one that comes later must pass on to it, and the
                              loop's thread must not block SIGBUS */
  /* Private faces, engine: by what the ends wake each other. Pipes are faster, but a peer can hold a pipe's lock in the
   * kernel, and the loop waits. By user: pipes if options.uid is this process's effective user, who could stop it
   * anyway; else, and where uid is -1, a socket. */
  UVFACE_WAKE_BY_USER = 0,
  UVFACE_WAKE_SOCKET = 4,
  UVFACE_WAKE_PIPE = 8
};

/* What uvface_event_cb is told. */
enum {
  UVFACE_ATTACHED = 1, /* engine: an app has come: before its first packet, or within a second if it is silent; of a
                          private face, a silent app of ndn-rs is not seen */
  UVFACE_GONE = 2, /* sending is over: the peer is gone (UV_EOF), or the face has failed (UV_EPROTO, UV_EIO, UV_EBADF,
                          UV_ENOMEM, UV_ENOENT). As soon as it is known, whether the face receives or not; what a peer
                          that is gone had sent can still be received, and recv_cb gets its own error after that */
  UVFACE_THROTTLED = 4, /* the peer has begun to flood its wake-up, or has stopped: stats.throttled says which */
  UVFACE_SEALED = 8,    /* engine of a named face: the region is append-only now, and has lost its name */
  UVFACE_ROOM = 16      /* what returned UV_EAGAIN, uvface_try_send(), uvface_try_send_batch() or uvface_reserve(), may
                          be tried again: there is room, no send waits, and no reservation is open. Once each time */
};

/* Start from UVFACE_OPTIONS_INIT, then change members. An app ignores those marked "engine". */
struct uvface_options_s {
  size_t size;             /* sizeof(uvface_options_t), as the caller was compiled: see docs/uvface.rst, "Versions" */
  uint32_t capacity;       /* engine: slots per ring; rounded up to a power of two; 0 = 256. Keep 448 +
                               2 * capacity * (4 + slot_size) bytes below 256 MiB: ndn-rs apps since 2026
                               refuse a larger region */
  uint32_t slot_size;      /* engine: bytes, the largest packet; 0 = 9020; app of a private face: the least it is
                               content with; 0 = any */
  uint32_t mtu;            /* engine: bytes; derives both others; excludes them; 0 = not used; stream: bytes, the
                               largest packet, at most 16 MiB; 0 = 8800 */
  unsigned int mode;       /* engine: permissions of region and FIFOs; 0 = 0600; not cut by umask */
  uv_uid_t uid;            /* engine: owner of region and FIFOs; app: the engine's user, to be trusted
                               beside root and this process's own; engine of a private face: the app's user;
                               -1 = leave, or nobody else, or not known */
  uv_gid_t gid;            /* engine: group of region and FIFOs; -1 = leave */
  unsigned int flags;      /* UVFACE_RECV_BORROW | UVFACE_SIGBUS_GUARD; engine of a private face:
                               UVFACE_WAKE_SOCKET or UVFACE_WAKE_PIPE */
  int64_t send_timeout_ms; /* how long a send may wait for room; 0 = for ever; -1 = the role's
                               default: app 5000, engine for ever */
  uint32_t hot_ns;         /* keep the loop turning, not blocking, at most this long after the last
                               packet; adaptive; 0 = no longer than spin_ns */
  uint32_t spin_ns;        /* look at the rings at most this long before the loop would block; all
                               faces of a loop together never above 10000 a turn; 0 = off */
  uint32_t recheck_ms;     /* look again this long after parking, if the peer's producer does not
                               announce its fence; 0 = never */
  uint32_t queue_max;      /* sends that may wait for room at a time; 0 = the role's default: app no
                               bound (but a deadline), engine 1024 */
  uint32_t max_slot_size;  /* app: bytes; an engine whose slots are larger is refused, for each packet is as long as
                               it says, and copied; 0 = 16 MiB */
  uint32_t reserved[15];   /* 0; members to come take their place, so that the size stays, inside other structs, too */
};

/* clang-format off */
#define UVFACE_OPTIONS_INIT \
  { sizeof(uvface_options_t), 0, 0, 0, 0, ~0u, ~0u, 0, -1, 50000, 2000, 1, 0, 0, { 0 } }
/* clang-format on */

/* Counters since create or connect, and what the face is made of. */
struct uvface_stats_s {
  uint64_t rx_packets; /* packets delivered to recv_cb, or to a filter */
  uint64_t rx_bytes;
  uint64_t tx_packets; /* packets put into the ring */
  uint64_t tx_bytes;
  uint64_t wakeups_sent;     /* bytes written to the peer's FIFO; on a stream: times that the socket was written */
  uint64_t wakeups_received; /* bytes drained from ours; on a stream: times that it was read */
  uint64_t parks;            /* times the face went to sleep on an empty ring */
  uint64_t spin_hits;        /* times the spin before the poll found something */
  uint64_t tx_full;          /* times a packet found the ring full, or the buffer of a stream */
  uint64_t recheck_hits;     /* times the look after parking found something a peer failed to announce */
  uint32_t capacity;         /* slots per ring; 0 on a stream, as all below but slot_size */
  uint32_t slot_size;        /* bytes; on a stream: the MTU */
  uint32_t peer_caps;        /* NDNSHM_CAP_* bits that the peer announces now; 0 for ndn-rs */
  uint32_t hot_ns;           /* the adaptive window at this moment */
  uint32_t sealed;           /* engine: 1 = the region is append-only since the app attached, so that nobody
                                can truncate it; 0 = the kernel refused, not done yet, or no app yet; both ends of a
                                private face: 1 = sealed against that */
  uint32_t throttled;        /* 1 = the peer floods its FIFO, which is therefore not polled at the moment */
  uint32_t attached;         /* engine: 1 = an app has come, seen within a second (as UVFACE_ATTACHED) */
  uint32_t names_left; /* engine of a named face, after uvface_close(), best in its callback: how many of its three
                                names are still there, because this process may not remove them: it has given up the
                                rights that it made them with */
  uint64_t reserved[6];
};

/* Initializes a face on a loop. loop, face: not NULL; both must outlive the close callback.
 * face->data is left as it is. After success uvface_close() is owed, whatever happens later.
 * Errors: UV_EINVAL (NULL), UV_ENOMEM. Loop thread. (Design 5, rule 7) */
UVFACE_EXTERN int uvface_init(uv_loop_t* loop, uvface_t* face);

/* Engine: creates the face `name` and waits for an app. name: [A-Za-z0-9._-]{1,200}, no leading dot;
 * copied. options: NULL = defaults; copied. An app can connect from the moment when this returns, not before.
 * Errors: UV_EINVAL (face, name, options), UV_ENAMETOOLONG, UV_EADDRINUSE (a live engine or another
 * user has the name), UV_EALREADY (already created or connected), UV_EACCES, UV_EPERM (owner or group may not be
 * given), UV_ENOSPC (/dev/shm, /tmp, or the user's epoll watches), UV_EFBIG, UV_EROFS (/dev/shm or /tmp is read-only),
 * UV_ENOENT (there is no /dev/shm, /tmp or /proc), UV_ENOTSUP (/dev/shm has no unnamed files, O_TMPFILE), UV_EMFILE,
 * UV_ENFILE, UV_ENOMEM (also RLIMIT_MEMLOCK, under mlockall()), UV_EIO, UV_EPROTO (a process of the same user wrote
 * into the region while it was made), UV_ENOTCONN (closing), UV_ECANCELED (somebody else closed the face's inner
 * handles).
 * A failed create leaves nothing behind, and may be tried again on the same face. Loop thread. (Design 2, 3) */
UVFACE_EXTERN int uvface_create(uvface_t* face, const char* name, const uvface_options_t* options);

/* App: attaches to the face `name`. Arguments as for uvface_create().
 * Errors: UV_EINVAL (face, name, options), UV_ENAMETOOLONG, UV_EALREADY (already created or connected), UV_ENOENT (no
 * such face, or not yet), UV_ECONNREFUSED (its engine is dead), UV_EBUSY (another app has taken it, and it was sealed
 * for that), UV_EACCES, UV_EPERM (wrong owner, or not a region and FIFOs), UV_EPROTO (header broken, indices
 * impossible, or slots larger than options->max_slot_size), UV_EROFS (/dev/shm is read-only), UV_ENOSPC (the user's
 * epoll watches), UV_EMFILE, UV_ENFILE, UV_ENOMEM, UV_EIO, UV_ENOTCONN (closing), UV_ECANCELED (somebody else closed
 * the face's inner handles).
 * An app that polls for an engine of this library sees only UV_ENOENT and UV_ECONNREFUSED until it is in, and UV_EBUSY
 * if another was quicker: try again from a timer. (An engine of ndn-rs is visible while it creates: for a moment
 * UV_EPROTO or UV_EACCES as well.) A failed connect may be tried again on the same face; but one that ran out of memory
 * (UV_ENOMEM) or of epoll watches (UV_ENOSPC) may have looked to the engine like an app that came and went. Loop
 * thread. (Design 2, 3) */
UVFACE_EXTERN int uvface_connect(uvface_t* face, const char* name, const uvface_options_t* options);

/* Engine: creates a private face: no name, for one app, which is handed the three descriptors of uvface_app_fds().
 * Nobody else can come in, nothing is left in the file system, and nobody can truncate the region.
 * options: NULL = defaults; copied; mode and gid are checked and not used; uid: the app's user (UVFACE_WAKE_BY_USER).
 * Where the kernel refuses memfd_create the region is a file in /dev/shm without a name: stats.sealed is 0, and an app
 * of another user needs the guard, or trust.
 * Errors: UV_EINVAL (face, options), UV_EALREADY (already created or connected), UV_ENOSPC (also the user's epoll
 * watches), UV_EFBIG, UV_EMFILE, UV_ENFILE, UV_ENOMEM (also RLIMIT_MEMLOCK, under mlockall()), UV_ENOTCONN (closing),
 * UV_ECANCELED (somebody else closed the face's inner handles); only without memfd_create: UV_EACCES, UV_EROFS,
 * UV_ENOENT, UV_ENOTSUP, UV_EIO.
 * A failed create leaves nothing behind, and may be tried again on the same face. Loop thread. (Design 3) */
UVFACE_EXTERN int uvface_create_private(uvface_t* face, const uvface_options_t* options);

/* Engine of a private face: the three descriptors for its app, to be sent (SCM_RIGHTS) or inherited, in ndn-rs's order:
 * region, a2e write end, e2a read end. The last two are one socket twice, or two pipes. They stay the face's: do not
 * close, read or write them. ret_fds: receives them; untouched on failure. uvface_errmsg() is not written.
 * Errors: UV_EINVAL (NULL), UV_ENOTCONN, UV_EBADF (not the engine of a private face, or closed already). Loop thread.
 * (Design 3) */
UVFACE_EXTERN int uvface_app_fds(const uvface_t* face, int ret_fds[3]);

/* Engine of a private face: they have been handed over, or never will be: closes them here. From now on the app's death
 * is UV_EOF; before, it is not seen. Harmless when called twice, and on any other face. Loop thread. (Design 3) */
UVFACE_EXTERN void uvface_app_fds_close(uvface_t* face);

/* App: takes its end of a private face from three descriptors, as uvface_app_fds() and ndn-rs give them. A region that
 * is not sealed against truncation must belong to root, to this process's effective user or to options->uid, unless
 * UVFACE_SIGBUS_GUARD is asked for. Who handed them over is for the caller to know: nothing in them tells.
 * fds: on success they are the face's, and must not be used any more; on failure they stay the caller's, as they were.
 * options: NULL = defaults; those marked "engine" are not read, slot_size as said there.
 * An engine that has died meanwhile is UV_EOF, after what it had sent.
 * Errors: UV_EINVAL (face, fds, options), UV_EALREADY (already created or connected), UV_EBADF (not open, or for
 * another direction), UV_EPERM (not a regular file, neither pipe nor socket, or a region that is neither sealed nor of
 * a trusted owner), UV_EPROTO (header broken, size not that of its geometry, indices impossible, slots smaller than
 * options->slot_size or larger than options->max_slot_size, a pipe that would block, a socket of another kind or not
 * connected, one of each), UV_EACCES, UV_ENOSPC (the user's epoll watches), UV_EMFILE, UV_ENOMEM, UV_EIO, UV_ENOTCONN
 * (closing), UV_ECANCELED (somebody else closed the face's inner handles). Loop thread. (Design 3) */
UVFACE_EXTERN int uvface_attach(uvface_t* face, const int fds[3], const uvface_options_t* options);

/* What carries a face: see uvface_get_transport(). UVFACE_ANY is for functions that choose. */
enum {
  UVFACE_ANY = 0,
  UVFACE_SHM = 1,   /* a region of shared memory, named or private */
  UVFACE_STREAM = 2 /* a stream socket */
};

/* Opens the face over a connected stream socket (Unix or TCP) that carries NDN packets, one TLV element after the
 * other, as NFD, ndnd, ndn-fwd and their clients speak it. All that holds for faces holds here, but "in the ring" reads
 * "in the face's buffer or the socket's": what is sent is written together when the turn of the loop ends, or, if it
 * was sent outside of turns, in the next; so run the loop. uvface_close() writes what the socket takes at once; what it
 * does not take then is lost. A packet is one element; one longer than options.mtu (default 8800; a link packet that
 * arrives may have 128 bytes of headers more), or what is none, is UV_EPROTO: on a stream there is no next packet to
 * find. Packets before it are delivered. Whatever else ends the connection is UV_EOF. A face that does not receive, and
 * has no filter, reads nothing. The role for the defaults of send_timeout_ms and queue_max is the app's.
 * sock: the face's on success (made O_NONBLOCK and closed on exec, without Nagle's delay); on failure it stays the
 * caller's, as it was. options: NULL = defaults; copied; read are mtu, send_timeout_ms, queue_max.
 * Errors: UV_EINVAL (face, options), UV_EALREADY (already open), UV_EBADF (not open), UV_ENOTSOCK, UV_EPROTOTYPE (not a
 * stream), UV_ENOTCONN (not connected, or closing), UV_EEXIST (the loop polls it already), UV_ENOMEM, UV_ENOSPC (the
 * user's epoll watches), UV_ECANCELED (somebody else closed the face's inner handles). Loop thread. (Design 6) */
UVFACE_EXTERN int uvface_open_stream(uvface_t* face, uv_os_sock_t sock, const uvface_options_t* options);

/* UVFACE_SHM or UVFACE_STREAM. Errors: UV_EINVAL (NULL), UV_ENOTCONN (not open, or closing). Loop thread. */
UVFACE_EXTERN int uvface_get_transport(const uvface_t* face);

/* What stands between a face and its user: for libraries that open faces on behalf of others, as libuvface_mgmt does to
 * keep management commands and link headers from the app. All callbacks run on the loop's thread; all but on_send in a
 * turn, never inside a call of the user's, and may call every function on every face. */
typedef struct uvface_filter_s uvface_filter_t;

/* A packet has come. *packet may be narrowed to a part of it: on a stream to one that is an element, else it is
 * dropped. Returns nonzero to pass it on to recv_cb, 0 to keep it from there. The bytes are valid until it returns. On
 * a stream it is called for each packet once, as it arrives, also while the user does not receive: what is passed on
 * waits in the face's buffer, and reading stops when that is full. On shared memory it is called while the user
 * receives, right before recv_cb; if it stops receiving itself, the rest of the packets that were taken with this one
 * is dropped. With UVFACE_RECV_BORROW the bytes there are the slot's, which the peer can change meanwhile: copy first,
 * look at the copy. */
typedef int (*uvface_filter_packet_cb)(uvface_filter_t* filter, uvface_t* face, uv_buf_t* packet);

/* On a stream: a packet of `bytes` bytes is on its way out and may be changed in place; it may grow to `room` bytes, at
 * least 64 more. Returns its new size; 0 = it is not sent. Called inside the call that sends, it may call nothing on
 * this face. */
typedef size_t (*uvface_filter_send_cb)(uvface_filter_t* filter, uvface_t* face, uint8_t* packet, size_t bytes,
                                        size_t room);

/* The face is over, by `status` as recv_cb gets it: once, whether the user receives or not, and after recv_cb was told
 * if it receives. Not after uvface_close(). No packet is shown to it any more: where the face did not receive, what did
 * not fit into the buffer of a stream is lost, and on shared memory what was still in the ring. */
typedef void (*uvface_filter_end_cb)(uvface_filter_t* filter, uvface_t* face, int status);

/* The face was closed, by whoever it was: once, after its close callback. Its memory, and the filter's, are free again.
 * So a library learns that the user has closed a face behind its back. */
typedef void (*uvface_filter_close_cb)(uvface_filter_t* filter, uvface_t* face);

/* Caller-allocated, valid until on_close. Callbacks may be NULL. */
struct uvface_filter_s {
  size_t size; /* sizeof(uvface_filter_t), as the caller was compiled */
  void* data;  /* the caller's */
  uvface_filter_packet_cb on_packet;
  uvface_filter_send_cb on_send;
  uvface_filter_end_cb on_end;
  uvface_filter_close_cb on_close;
};

/* Puts filter in front of the user of face, or none (NULL); at any time between init and close.
 * Errors: UV_EINVAL (face, size), UV_ENOTCONN (closing). Loop thread. (Design 6) */
UVFACE_EXTERN int uvface_set_filter(uvface_t* face, uvface_filter_t* filter);

/* Starts delivery to cb; not before this call has returned. cb: NULL = take packets and drop them.
 * Errors: UV_EINVAL (NULL), UV_ENOTCONN, UV_EALREADY (already receiving), UV_ECANCELED (somebody else closed the
 * inner handles), UV_EOF (given before), UV_EPROTO, UV_EIO, UV_EBADF, UV_ENOENT, UV_ENOMEM (the face has failed). Loop
 * thread. */
UVFACE_EXTERN int uvface_recv_start(uvface_t* face, uvface_recv_cb cb);

/* Stops delivery; packets stay in the ring. 0 also if it was stopped before, and on a face that has failed.
 * Errors: UV_EINVAL (NULL), UV_ENOTCONN. Loop thread. */
UVFACE_EXTERN int uvface_recv_stop(uvface_t* face);

/* Sends one packet, gathered from nbufs pieces; waits in the face's queue while the ring is full.
 * req: the caller's, until cb; its `data` is left alone. bufs: the array is copied, the bytes must stay
 * until cb. cb: may be NULL; then req and bytes must stay until the face is closed. status 0 means "in the ring".
 * After an error cb is never called.
 * Errors: UV_EINVAL (no byte at all, NULL; on a stream: not one element), UV_EMSGSIZE (larger than the MTU),
 * UV_ENOTCONN, UV_EPIPE
 * (peer gone; a receiving face gets its UV_EOF after the last packet), UV_ENOBUFS (options.queue_max sends
 * wait already), UV_ENOMEM, UV_ECANCELED (somebody else closed the inner handles), UV_EPROTO, UV_EIO, UV_EBADF,
 * UV_ENOENT (the face has failed). Loop thread. (Design 5, rules 1 to 3) */
UVFACE_EXTERN int uvface_send(uvface_send_t* req, uvface_t* face, const uv_buf_t bufs[], unsigned int nbufs,
                              uvface_send_cb cb);

/* Sends npkts packets, one per element, with one callback when the last is in the ring; what finds
 * room together is published together. UV_EINVAL and UV_EMSGSIZE for one of the packets refuse them all. If
 * some are in the ring when the rest cannot wait, cb is told why: UV_ENOBUFS, UV_ENOMEM.
 * Errors: as uvface_send(). Loop thread. (Design 5, rules 1 to 3) */
UVFACE_EXTERN int uvface_send_batch(uvface_send_t* req, uvface_t* face, const uv_buf_t pkts[], unsigned int npkts,
                                    uvface_send_cb cb);

/* Sends one packet now or not at all; never overtakes a queued send. Returns its bytes.
 * In a turn of the loop a face writes one wake-up byte: a peer that sleeps again is woken by the next turn. So do not
 * wait in a callback for what the peer does, and run a loop that was stopped on, while uv_backend_timeout() is 0,
 * before you wait elsewhere. Closing wakes it, too. (docs/design.rst, section 6)
 * Errors: UV_EAGAIN (ring full, sends queued, or a reservation open), UV_EINVAL (no byte at all, NULL), UV_EMSGSIZE
 * (larger than the MTU), UV_ENOTCONN, UV_EPIPE (peer gone), UV_ECANCELED (somebody else closed the inner handles),
 * UV_EPROTO, UV_EIO, UV_EBADF, UV_ENOENT, UV_ENOMEM (the face has failed). Loop thread. (Design 5, rule 4) */
UVFACE_EXTERN int uvface_try_send(uvface_t* face, const uv_buf_t bufs[], unsigned int nbufs);

/* Sends as many of npkts packets as find room now. Returns the packets taken (at least 1).
 * UV_EINVAL and UV_EMSGSIZE for one of the packets refuse them all.
 * Errors: as uvface_try_send(). Loop thread. (Design 5, rule 4) */
UVFACE_EXTERN int uvface_try_send_batch(uvface_t* face, const uv_buf_t pkts[], unsigned int npkts);

/* Lends the next free slot, to encode a packet of at most len bytes in place. slot: receives base and
 * length. One reservation at a time; while it is open other sends wait. Dropped at close.
 * Errors: UV_EAGAIN (ring full, sends queued), UV_EMSGSIZE (larger than the MTU), UV_EINVAL (NULL, len 0), UV_EALREADY
 * (one is open), UV_ENOTCONN, UV_EPIPE (peer gone), UV_ECANCELED (somebody else closed the inner handles), UV_EPROTO,
 * UV_EIO, UV_EBADF, UV_ENOENT, UV_ENOMEM (the face has failed). Loop thread. */
UVFACE_EXTERN int uvface_reserve(uvface_t* face, size_t len, uv_buf_t* slot);

/* Publishes the first len bytes of the reserved slot as a packet; 0 gives it back unsent.
 * Errors: UV_EINVAL (NULL, nothing reserved), UV_EMSGSIZE (more than reserved; stays open), UV_ENOTCONN, UV_EPIPE (peer
 * gone), UV_ECANCELED (somebody else closed the inner handles), UV_EPROTO, UV_EIO, UV_EBADF, UV_ENOENT, UV_ENOMEM (the
 * face has failed). Loop thread. */
UVFACE_EXTERN int uvface_commit(uvface_t* face, size_t len);

/* Closes the face: the peer sees end of file and its names vanish at once, or, where somebody holds a lock of the
 * kernel's that this needs, when he lets go; pending sends get UV_ECANCELED in order; then cb, once, on a later turn,
 * when the names are gone, or have not gone for two seconds. Only then may face and requests be reused.
 * cb: may be NULL. A second close is ignored. In a forked child, after uv_loop_fork(), only its descriptors are closed:
 * the face is its parent's. Loop thread. (Design 5, rule 5) */
UVFACE_EXTERN void uvface_close(uvface_t* face, uvface_close_cb cb);

/* Has cb told of what happens to the face beside packets; at any time between init and close. What is so already is
 * told, too. It does not keep the loop alive. cb: NULL = nobody. Errors: UV_EINVAL (NULL), UV_ENOTCONN (closing). Loop
 * thread. */
UVFACE_EXTERN int uvface_set_event_cb(uvface_t* face, uvface_event_cb cb);

/* Has cb see each packet that is sent and received, for traces; at any time between init and close, also within cb.
 * Where there is none it costs nothing. A packet of which uvface_recv_stop() or uvface_close() within cb has made an
 * end is not delivered. A slot that was reserved before there was a tap is not shown. cb: NULL = none.
 * Errors: UV_EINVAL (NULL), UV_ENOTCONN (closing). Loop thread. */
UVFACE_EXTERN int uvface_set_tap(uvface_t* face, uvface_tap_cb cb);

/* Nonzero while the face is receiving or has sends pending. Loop thread. */
UVFACE_EXTERN int uvface_is_active(const uvface_t* face);

/* Nonzero from uvface_close() on, also after cb. Loop thread. */
UVFACE_EXTERN int uvface_is_closing(const uvface_t* face);

/* An active face keeps its loop alive unless it is unref'd; as uv_ref(), uv_unref(), uv_has_ref():
 * idempotent, and allowed at any time between init and close. Loop thread. (Design 5, rule 9) */
UVFACE_EXTERN void uvface_ref(uvface_t* face);
UVFACE_EXTERN void uvface_unref(uvface_t* face);
UVFACE_EXTERN int uvface_has_ref(const uvface_t* face);

/* The largest packet in bytes; 0 before create or connect. Loop thread. */
UVFACE_EXTERN size_t uvface_get_mtu(const uvface_t* face);

/* The name that it was created or connected with; "" if it has none: a private face, a stream, not open. The face's,
 * until its close callback has returned. Loop thread. */
UVFACE_EXTERN const char* uvface_get_name(const uvface_t* face);

/* Who is at the other end, where the kernel tells (SO_PEERCRED): on a Unix socket, and at the app's end of a private
 * face that wakes by socket. It is who connected, listened, or made the pair of sockets, then: it may have handed its
 * end on, or have changed its user since; a process id may be another's by now, and is 0 where the process is in a
 * namespace that cannot be seen from here. What a name leads to tells nothing of a process; an engine that serves by
 * uvface_server_t asks uvface_app_t. ret_pid, ret_uid: receive them, untouched on failure; either may be NULL.
 * Errors: UV_EINVAL (face), UV_ENOTSUP (named face, pipes, TCP, engine of a private face), UV_ENOTCONN (not open, or
 * closing), UV_ECANCELED (somebody else closed the inner handles). Loop thread. (unix(7)) */
UVFACE_EXTERN int uvface_get_peer(const uvface_t* face, uv_pid_t* ret_pid, uv_uid_t* ret_uid);

/* Copies the counters, also those of a face that has failed or is closing, until its close callback has returned.
 * Errors: UV_EINVAL (NULL, or closed), UV_ENOTCONN (never open). Loop thread. */
UVFACE_EXTERN int uvface_get_stats(const uvface_t* face, uvface_stats_t* stats);

/* What failed last, as "function: call object: reason"; "" if nothing did. Valid until the next call
 * on the face. Loop thread. */
UVFACE_EXTERN const char* uvface_errmsg(const uvface_t* face);

/* The library's version: major << 16 | minor << 8 | patch, and as text. Any thread. */
UVFACE_EXTERN unsigned int uvface_version(void);
UVFACE_EXTERN const char* uvface_version_string(void);

#ifdef __cplusplus
}
#endif
#endif
