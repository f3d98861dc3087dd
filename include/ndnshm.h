/* SPDX-License-Identifier: MIT */
/* ndnshm.h: the endpoint of a shared-memory NDN face, for any event loop or none.
 *
 * Guarantees: whole packets, in order, each exactly once (but packets that were peeked at and not released before
 * the end leaves are there again for the next app), over two single-producer/single-consumer
 * rings in one POSIX shared-memory region; a sleeping consumer is always woken; the death of the peer
 * shows as end of file on ndnshm_fd(). Speaks the format of ndn-rs byte for byte in both roles.
 * Does not guarantee: any use from two threads at once (an endpoint belongs to one thread at a time;
 * different endpoints are independent), nor delivery to a peer that does not read.
 *
 * Nothing here blocks, needs a second thread, calls exit, or installs a signal handler unless asked to
 * (NDNSHM_SIGBUS_GUARD); but the names of a face are in directories that others use as well, and to make, look up and
 * remove them waits for whoever holds the kernel's locks on those (docs/security.rst, "What is not promised";
 * NDNSHM_CHORES). Needs libc only.
 * Every function that can fail returns 0 or a count on success and a negative errno value (-EINVAL ...)
 * or NDNSHM_EOF on failure; ndnshm_errmsg() says which call failed on what, and why. "Errors:" lists what a function
 * returns; where the system fails a call for a reason that is not listed (a seccomp filter, say), its errno is passed
 * on.
 * "Design N" is section N of docs/protocol.rst and docs/design.rst. */
#ifndef NDNSHM_H
#define NDNSHM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define NDNSHM_EXTERN __attribute__((visibility("default")))
#else
#define NDNSHM_EXTERN
#endif

/* The peer is gone and the ring is drained. The value is that of libuv's UV_EOF. */
#define NDNSHM_EOF (-4095)

/* One end of a face: opaque, made by ndnshm_new(). */
typedef struct ndnshm_s ndnshm_t;

/* What the engine may choose when it creates a face; an app takes what it finds and reads only uid
 * max_slot_size and flags (on a private face slot_size, too). Start from NDNSHM_OPTIONS_INIT, then change members. */
typedef struct ndnshm_options_s {
  size_t size;            /* sizeof(ndnshm_options_t), as the caller was compiled: see docs/ndnshm.rst, "Versions" */
  uint32_t capacity;      /* slots per ring; rounded up to a power of two; 0 = 256. Keep 448 + 2 * capacity *
                         (4 + slot_size) bytes below 256 MiB: ndn-rs apps since 2026 refuse a larger region */
  uint32_t slot_size;     /* bytes, the largest packet; 0 = 9020 (a slot with its length fills cache lines); app of a
                         private face: the least it is content with; 0 = any */
  uint32_t mtu;           /* bytes; derive both others as ndn-rs does; excludes them; 0 = not used */
  unsigned int mode;      /* permissions of region and FIFOs, umask does not cut them; 0 = 0600 */
  uid_t uid;              /* engine: owner of region and FIFOs; app: the engine's user, to be trusted beside
                         root and this process's own; engine of a private face: the app's user; (uid_t) -1 =
                         leave, or nobody else, or not known */
  gid_t gid;              /* group of region and FIFOs; (gid_t) -1 = leave */
  unsigned int flags;     /* both: NDNSHM_SIGBUS_GUARD, NDNSHM_LEVEL_TRIGGERED; engine of a private face:
                             NDNSHM_WAKE_SOCKET or _PIPE; of any: NDNSHM_CHORES */
  uint32_t max_slot_size; /* app: bytes; an engine whose slots are larger is refused, for each packet is as long as it
                             says, and copied; 0 = 16 MiB */
} ndnshm_options_t;

/* ~0u is (uid_t) -1, in words that C++ does not warn of either. */
#define NDNSHM_OPTIONS_INIT \
  { sizeof(ndnshm_options_t), 0, 0, 0, 0, ~0u, ~0u, 0, 0 }

enum {
  /* Survive a region that is truncated or punched under us: the endpoint then fails with -EIO, others go on.
   * Installs a handler for SIGBUS, once for the process, and takes it out with the last guarded endpoint if it still
   * stands foremost; it passes on what is not ours to the handler that stood before. Whoever installs another one must
   * pass on to this one, and no thread that uses the endpoint may block SIGBUS: the kernel would kill the process.
   * (docs/security.rst) */
  NDNSHM_SIGBUS_GUARD = 1,
  /* Private faces: by what an end wakes the other. Pipes wake faster; but who writes to a pipe from memory that never
   * comes keeps the kernel's lock on it, and whoever uses the other end waits. A socket has no such lock. By user:
   * pipes if options.uid is this process's effective user, who could stop it anyway; else, and where uid is -1, a
   * socket. */
  NDNSHM_WAKE_BY_USER = 0,
  NDNSHM_WAKE_SOCKET = 2,
  NDNSHM_WAKE_PIPE = 4,
  /* Engine: leaves to the caller what an app can make slow. Of a named face, what may wait for a lock of the kernel's
   * that the app holds: to seal the region, to remove the names, to close the FIFOs; of a private face, to close the
   * socket. Without it the calls that lead to it do it: ndnshm_wake(), ndnshm_probe(), ndnshm_announce(),
   * ndnshm_park(), ndnshm_shutdown() and ndnshm_free(). See ndnshm_take_chore(). */
  NDNSHM_CHORES = 8,
  /* ndnshm_fd() is polled level-triggered: ndnshm_wake() makes do with one read, which nearly always is enough, for
   * what is left makes the descriptor readable again. */
  NDNSHM_LEVEL_TRIGGERED = 16
};

/* Counters since create or connect. */
typedef struct ndnshm_stats_s {
  uint64_t rx_packets;       /* packets taken out of the ring */
  uint64_t rx_bytes;         /* their bytes */
  uint64_t tx_packets;       /* packets published */
  uint64_t tx_bytes;         /* their bytes */
  uint64_t wakeups_sent;     /* bytes written to the peer's FIFO, pipe or socket */
  uint64_t wakeups_received; /* bytes drained from ours */
  uint64_t parks;            /* times this end went to sleep on an empty ring */
  uint64_t tx_full;          /* times a packet found the ring full */
  uint32_t sealed;           /* engine: 1 = the region is append-only, nobody can truncate it any more; both ends of a
                                private face: 1 = it is sealed against that */
  uint32_t attached;         /* engine of a named face: 1 = an app has come; seen at its first packet or wake-up, or by
                                ndnshm_probe() */
  uint32_t names_left;  /* engine of a named face, after ndnshm_shutdown(): how many of its three names are still there,
                                because this process may not remove them: it has given up the rights that it made them
                                with. 0 while open */
  uint32_t reserved[9]; /* 0; for counters to come, so that the size stays */
} ndnshm_stats_t;

/* The header of a region as ndnshm_inspect() saw it: raw, unchecked values of somebody else's memory. */
typedef struct ndnshm_header_s {
  uint64_t magic;
  uint32_t capacity, slot_size;
  uint32_t engine_caps, app_caps, a2e_waiting, e2a_waiting;
  uint32_t a2e_tail, a2e_head, e2a_tail, e2a_head, a2e_parked, e2a_parked;
  uint64_t file_size; /* bytes of the region's file */
} ndnshm_header_t;

/* What an end announces in the reserved bytes of the header (Design 4). */
enum {
  NDNSHM_CAP_FENCED = 1, /* its producer fences: no lost wake-up, no recheck needed */
  NDNSHM_CAP_SPACE = 2   /* its consumer wakes a producer that waits for space */
};

/* What an end may wait for: the argument of ndnshm_park() and the bits it returns. */
enum {
  NDNSHM_PACKETS = 1, /* a packet to receive */
  NDNSHM_SPACE = 2    /* room to send one */
};

/* --- Life ------------------------------------------------------------------------------------- */

/* Makes an endpoint that is connected to nothing.
 * ret_ep: receives it; untouched on failure. The caller owes one ndnshm_free().
 * Errors: -ENOMEM, -EINVAL (ret_ep is NULL). Any thread. */
NDNSHM_EXTERN int ndnshm_new(ndnshm_t** ret_ep);

/* Engine: creates the region and both FIFOs of a face and becomes its engine (Design 2, 3).
 * name: [A-Za-z0-9._-]{1,200}, no leading dot; copied. options: NULL = defaults; copied.
 * A name left by a dead engine of the same owner is cleaned away and taken.
 * An app can attach from the moment when this returns, not before: until then it finds no face (-ENOENT) or a dead
 * engine's (-ECONNREFUSED). The three names are taken in one go, for microseconds at real-time priority where the
 * thread may have it, because who sees the first can take the others (docs/security.rst, "Names").
 * Errors: -EINVAL (ep, name, options), -ENAMETOOLONG, -EADDRINUSE (a live engine or somebody else has the
 * name), -EALREADY (ep is in use), -EACCES, -EPERM (owner or group may not be given), -ENOSPC, -EDQUOT, -EFBIG,
 * -EROFS (/dev/shm or /tmp is read-only), -ENOENT (there is no /dev/shm, /tmp or /proc), -ENOTSUP (/dev/shm has no
 * unnamed files, O_TMPFILE), -EMFILE, -ENFILE, -ENOMEM (also RLIMIT_MEMLOCK, under mlockall()), -EIO, -EPROTO (a
 * process of the same user wrote into the region while it was made).
 * On failure nothing is left behind and ep may be used again. */
NDNSHM_EXTERN int ndnshm_create(ndnshm_t* ep, const char* name, const ndnshm_options_t* options);

/* App: attaches to the face that an engine created (Design 2, 3).
 * name: as for ndnshm_create(). options: NULL = defaults; only uid, flags and max_slot_size are read. Region and
 * FIFOs must belong to root, to this process's effective user or to options->uid.
 * Errors: -EINVAL (ep, name, options), -ENAMETOOLONG, -EALREADY (ep is in use), -ENOENT (no such face, or not yet),
 * -ECONNREFUSED (its engine is dead), -EBUSY (another app has taken it, and it was sealed for that), -EACCES, -EPERM
 * (wrong owner, or not a region and FIFOs), -EPROTO (header broken, indices impossible, or slots larger than
 * options->max_slot_size), -EROFS (/dev/shm is read-only), -EMFILE, -ENFILE, -ENOMEM, -EIO.
 * On failure nothing is left open and ep may be used again. */
NDNSHM_EXTERN int ndnshm_connect(ndnshm_t* ep, const char* name, const ndnshm_options_t* options);

/* Engine of a private face: creates region and wake-up without any name (Design 3). What is handed over instead are the
 * three descriptors of ndnshm_app_fds(). Nobody else can come in, nothing is left in the file system, and the region is
 * sealed: nobody can truncate it, no guard is needed.
 * options: NULL = defaults; copied; mode and gid are checked and not used; uid: the app's user, which decides about the
 * wake-up (NDNSHM_WAKE_BY_USER). Where the kernel refuses memory that can be sealed (memfd_create), the region is a
 * file in /dev/shm without a name and not sealed: stats.sealed is 0, and an app of another user needs the guard, or
 * trust. Errors: -EINVAL (ep, options), -EALREADY (ep is in use), -ENOSPC, -EDQUOT, -EFBIG, -EMFILE, -ENFILE, -ENOMEM
 * (also RLIMIT_MEMLOCK, under mlockall()); only without memfd_create: -EACCES, -EROFS, -ENOENT, -ENOTSUP, -EIO.
 * On failure nothing is left behind and ep may be used again. */
NDNSHM_EXTERN int ndnshm_create_private(ndnshm_t* ep, const ndnshm_options_t* options);

/* Engine of a private face: the three descriptors for its app, to be sent (SCM_RIGHTS) or inherited, in ndn-rs's order:
 * region, a2e write end, e2a read end. The last two are one socket twice, or two pipes. They stay the endpoint's: do
 * not close, read or write them.
 * ret_fds: receives them; untouched on failure. ndnshm_errmsg() is not written.
 * Errors: -EINVAL (NULL), -ENOTCONN, -EBADF (not the engine of a private face, or closed already). (Design 3) */
NDNSHM_EXTERN int ndnshm_app_fds(const ndnshm_t* ep, int ret_fds[3]);

/* Engine of a private face: the descriptors have been handed over, or never will be: closes them here. From now on the
 * app's death is end of file; before, the engine itself keeps the app's ends open and does not see it. Harmless when
 * called twice, and on any other endpoint. (Design 3) */
NDNSHM_EXTERN void ndnshm_app_fds_close(ndnshm_t* ep);

/* App: takes its end of a private face from three descriptors (Design 3): region (a regular file, open for reading and
 * writing), a2e write end, e2a read end (two pipes, O_NONBLOCK; or Unix stream sockets, which may be the same twice),
 * as ndnshm_app_fds() and ndn-rs give them. A region that is not sealed against truncation must belong to root, to this
 * process's effective user or to options->uid, unless NDNSHM_SIGBUS_GUARD is asked for. Who handed them over is for the
 * caller to know: nothing in them tells.
 * fds: on success they are the endpoint's, closed on exec, fds[0] closed at once; on failure they stay the caller's, as
 * they were. options: NULL = defaults; only slot_size, max_slot_size, uid and flags are read.
 * An engine that has died meanwhile is end of file, after what it had sent.
 * Errors: -EINVAL (ep, fds, options), -EALREADY (ep is in use), -EBADF (not open, or for another direction), -EPERM
 * (not a regular file, neither pipe nor socket, or a region that is neither sealed nor of a trusted owner), -EPROTO
 * (header broken, size not that of its geometry, indices impossible, slots smaller than options->slot_size or larger
 * than options->max_slot_size, a pipe that would block, a socket of another kind or not connected, one of each),
 * -EACCES,
 * -ENOMEM, -EIO. ep may be used again. */
NDNSHM_EXTERN int ndnshm_attach(ndnshm_t* ep, const int fds[3], const ndnshm_options_t* options);

/* Leaves the face: closes all descriptors (the peer sees end of file) and, as engine, removes the
 * region's and the FIFOs' names if they are still ours; with NDNSHM_CHORES an engine leaves both to who
 * takes the chore, and until that is done the names cannot be taken by anybody else. The mapping, and so every packet
 * handed out by ndnshm_peek(), stays readable until ndnshm_free(). Harmless when called twice. In a forked child it
 * only closes the child's descriptors: the face is its parent's. */
NDNSHM_EXTERN void ndnshm_shutdown(ndnshm_t* ep);

/* Shuts down if need be, unmaps, frees. ep: NULL is allowed. */
NDNSHM_EXTERN void ndnshm_free(ndnshm_t* ep);

/* A piece of work that can have to wait: for as long as an app that may write to the region takes for one write, which
 * can be for ever; or that takes long, because of thousands of sleepers on a socket that is closed. It needs nothing of
 * the endpoint any more. */
typedef struct ndnshm_chore_s ndnshm_chore_t;

/* Engine, with NDNSHM_CHORES: what is to be done now: of a named face, to seal the region, once an app is there, and
 * again after the probe if it failed for a passing cause; of any, to leave, after ndnshm_shutdown(). NULL = nothing. To
 * be asked for after ndnshm_wake(), ndnshm_probe() and ndnshm_shutdown(); what is not taken is not sealed, or is done
 * by ndnshm_free(). ep: NULL is allowed. The chore is the caller's: it owes one ndnshm_do_chore(), before the process
 * ends; ep may be used, shut down and freed meanwhile. After fork() it is the parent's. ep's thread. */
NDNSHM_EXTERN ndnshm_chore_t* ndnshm_take_chore(ndnshm_t* ep);

/* Does it, once, and frees it. Waits as long as it must. Chores may be done at the same time, also two of one endpoint.
 * What has come of a sealing, ndnshm_get_stats() and ndnshm_probe() tell. chore: NULL is allowed. Any thread. */
NDNSHM_EXTERN void ndnshm_do_chore(ndnshm_chore_t* chore);

/* The last failure of create, connect, sending or of the ring, as "call object: reason"; "" if there was none.
 * Valid until the next call on ep. */
NDNSHM_EXTERN const char* ndnshm_errmsg(const ndnshm_t* ep);

/* The descriptor to poll for reading while the endpoint is open, else -1. Owned by ep: do not read or
 * close it. When it becomes readable call ndnshm_wake(). */
NDNSHM_EXTERN int ndnshm_fd(const ndnshm_t* ep);

/* The largest packet in bytes (the slot size), 0 when not open. */
NDNSHM_EXTERN size_t ndnshm_get_mtu(const ndnshm_t* ep);

/* Slots per ring, 0 when not open. */
NDNSHM_EXTERN uint32_t ndnshm_get_capacity(const ndnshm_t* ep);

/* The bits NDNSHM_CAP_* that the peer announces at this moment; 0 for ndn-rs or no peer yet. */
NDNSHM_EXTERN unsigned int ndnshm_peer_caps(const ndnshm_t* ep);

/* Copies the counters to ret_stats. Errors: -EINVAL (NULL). */
NDNSHM_EXTERN int ndnshm_get_stats(const ndnshm_t* ep, ndnshm_stats_t* ret_stats);

/* --- Receiving -------------------------------------------------------------------------------- */

/* Copies packets out of the ring, frees their slots, publishes that once (Design 5, 6). At most 64 slots a call, so
 * that 0 can also mean 64 empty ones: ndnshm_park() tells whether there is more.
 * arena, arena_bytes: private memory that the copies go to; what does not fit stays in the ring. With
 * ndnshm_get_mtu() bytes each packet fits, but the engine chooses how many they are: an app may begin with less.
 * pkts, max: receives base and length of at most max packets, in order; the bases point into arena.
 * Returns the number of packets, 0 if there is none. Slots of length 0 are skipped.
 * Errors: -EPROTO (impossible index or length; nothing partial is handed out), -EIO (the region is
 * lost, see NDNSHM_SIGBUS_GUARD), -ENOBUFS (arena smaller than the next packet, whose size is in pkts[0].iov_len then;
 * ndnshm_errmsg() is not written), -ENOTCONN, -EINVAL (NULL), -EALREADY (packets are peeked at). */
NDNSHM_EXTERN int ndnshm_recv(ndnshm_t* ep, void* arena, size_t arena_bytes, struct iovec pkts[], unsigned int max);

/* Like ndnshm_recv() without the copy: pkts point at the slots themselves. For trusted peers only: the
 * peer can change the bytes at any time. max_bytes: no more than this together, but always one packet.
 * The packets are the caller's until ndnshm_release(), or until another app attaches after ndnshm_shutdown().
 * Errors: -EPROTO, -EIO, -ENOTCONN, -EINVAL (as for ndnshm_recv()), -EALREADY (those of the last peek are not
 * released). */
NDNSHM_EXTERN int ndnshm_peek(ndnshm_t* ep, size_t max_bytes, struct iovec pkts[], unsigned int max);

/* Gives the slots of the last ndnshm_peek() back to the producer, published once. Packets that are not given back
 * before the endpoint shuts down are there again for the next app: it gets them a second time. */
NDNSHM_EXTERN void ndnshm_release(ndnshm_t* ep);

/* --- Sending ---------------------------------------------------------------------------------- */

/* Gathers nbufs pieces into one packet, publishes it, wakes the peer if it sleeps.
 * The bytes are copied before the call returns. Returns their number.
 * Errors: -EAGAIN (ring full, or a reservation is open), -EMSGSIZE (larger than the MTU), -EINVAL (no
 * byte at all, NULL), -EPROTO (the peer's index is impossible), -EIO (the region is lost), -ENOTCONN. */
NDNSHM_EXTERN int ndnshm_send(ndnshm_t* ep, const struct iovec bufs[], unsigned int nbufs);

/* Sends npkts packets, one per element, as many as find room, published with one store and one fence.
 * Returns the number taken (at least 1). Errors: as ndnshm_send(). With -EMSGSIZE and -EINVAL, which one packet that
 * is too large or empty is enough for, none was taken. */
NDNSHM_EXTERN int ndnshm_send_batch(ndnshm_t* ep, const struct iovec pkts[], unsigned int npkts);

/* Lends the next free slot, to encode a packet in place. One reservation at a time.
 * len: bytes wanted; ret_slot: receives where they go. Nothing is published before ndnshm_commit().
 * Errors: -EAGAIN (ring full), -EMSGSIZE (larger than the MTU), -EINVAL (NULL, len 0), -EPROTO (the peer's index is
 * impossible), -EIO (the region is lost), -ENOTCONN, -EALREADY (one is open). */
NDNSHM_EXTERN int ndnshm_reserve(ndnshm_t* ep, size_t len, struct iovec* ret_slot);

/* Publishes the reserved slot with its first len bytes; len 0 gives the reservation back unsent.
 * Errors: -EINVAL (no reservation), -EMSGSIZE (more than was reserved; the reservation stays open), -EIO (the
 * region is lost), -ENOTCONN. */
NDNSHM_EXTERN int ndnshm_commit(ndnshm_t* ep, size_t len);

/* --- Sleeping --------------------------------------------------------------------------------- */

/* Looks without side effects: which of `what` (NDNSHM_PACKETS | NDNSHM_SPACE) are there now.
 * Loads ring indices and nothing else: made for spinning. Impossible indices count as ready, so that
 * the next receive or send reports them. */
NDNSHM_EXTERN unsigned int ndnshm_ready(ndnshm_t* ep, unsigned int what);

/* Announces that this end is about to sleep, fences, looks once more (Design 3).
 * Returns 0: sleep until ndnshm_fd() is readable, then call ndnshm_wake(); or the bits of `what` that
 * are ready after all, and then nothing is announced. NDNSHM_SPACE wakes only if ndnshm_peer_caps() had
 * NDNSHM_CAP_SPACE before this call; otherwise look again later with ndnshm_ready(). A peer without
 * NDNSHM_CAP_FENCED can fail to wake: look again about 1 ms after parking. */
NDNSHM_EXTERN unsigned int ndnshm_park(ndnshm_t* ep, unsigned int what);

/* The three steps of ndnshm_park(), for those who put many endpoints to sleep with one fence:
 * ndnshm_announce() each, ndnshm_fence() once, ndnshm_confirm() each. ndnshm_announce() returns the bits
 * that the peer will wake for. */
NDNSHM_EXTERN unsigned int ndnshm_announce(ndnshm_t* ep, unsigned int what);
NDNSHM_EXTERN void ndnshm_fence(void);
NDNSHM_EXTERN unsigned int ndnshm_confirm(ndnshm_t* ep, unsigned int what);

/* For who sends or receives many packets before it waits. Between packet and look whether the peer sleeps stands a
 * fence, an eighth to a sixth of what a short packet costs. From ndnshm_defer() to ndnshm_settle() the look comes
 * without: a peer that slept before is woken at once as long as a byte is left, one that falls asleep at that very
 * moment is found by ndnshm_settle(), with one fence for all packets. So settle before you wait for anything: before
 * ndnshm_park(), before you block elsewhere, before you compute for longer than the peer may sleep. Shutting down
 * settles. After fork() both processes owe it.
 * bytes: 1 = in between at most one wake-up byte is written, however often the peer falls asleep again; 0 = none, for
 * who wrote one a moment ago. A second ndnshm_defer() before the settling only changes that.
 * ndnshm_settle() returns 0, or 1 if the byte was spent: all is settled, and deferring has ended. Or the peer sleeps,
 * and still deferring: -EAGAIN, no byte is left: ndnshm_defer(ep, 1) and settle again before you wait; -ENOBUFS, none
 * can be written now, because the kernel has no memory for it or the last call took long (ndnshm_wake()): settle again
 * in a millisecond or so, or when ndnshm_rest() says, and wait until then if you like. (Another error of the write
 * counts as if the peer were awake: the next look tries again.) Or -EIO, as ndnshm_wake().
 * (Design 3) */
NDNSHM_EXTERN void ndnshm_defer(ndnshm_t* ep, unsigned int bytes);
NDNSHM_EXTERN int ndnshm_settle(ndnshm_t* ep);

/* Withdraws the announcement without reading the descriptor: the end looks at its ring again. */
NDNSHM_EXTERN void ndnshm_unpark(ndnshm_t* ep);

/* To be called when ndnshm_fd() is readable: withdraws the announcement and drains the FIFO, pipe or socket.
 * It reads to the end, so that an edge may be told once for a byte and the end of the peer together, but no more than
 * 64 KiB (2 KiB of a socket); with NDNSHM_LEVEL_TRIGGERED, which saves a system call, it reads once.
 * Returns the bytes drained, 0 to 65536. Who waits for edges calls it again before he waits, if it was more than 1024:
 * the peer floods, and there may be more. Call it on readability only (Design 3).
 * A peer can make the calls on what it shares with us slow (docs/security.rst, "Wake-ups that cost time"). After one
 * that took more than 1 ms of CPU time, or slept for more than 10 ms, the next byte comes 200 ms later at the earliest,
 * for who defers, and ndnshm_rest() says how long not to read one either. After three such calls, of 10 ms together,
 * none is made any more, and it returns -EIO: leave the face.
 * Errors: NDNSHM_EOF (the peer is gone: stop polling the descriptor, take what is left in the ring), -EIO (the peer
 * made calls on the descriptors slow, or truncated the region before it was seen), -EINVAL, -ENOTCONN, -EBADF (somebody
 * else closed the descriptor). */
NDNSHM_EXTERN int ndnshm_wake(ndnshm_t* ep);

/* For how many ms to leave ndnshm_fd() alone, 0 for not at all, because the peer has made a call slow: as long, up to a
 * second, that all slow peers of this thread cost half a percent of its time. Ask before ndnshm_wake(): where it is
 * not 0, stop polling the descriptor, and look by the clock, at the ring each 100 ms or so and at the descriptor, with
 * ndnshm_wake(), when the time is over. Who does not ask pays for at most three such calls a face. Costs no system
 * call. NULL, or not open: 0. */
NDNSHM_EXTERN unsigned int ndnshm_rest(ndnshm_t* ep);

/* The slow look, for about once a second and for a face that seems idle: sees what no wake-up tells
 * (docs/security.rst, table of requirements, rows 8, 9 and 15). An engine seals its region here, or when it wakes
 * or parks, once an app is there; and tries here again what failed for a passing cause.
 * Returns 0, or the bytes drained from the FIFO as ndnshm_wake() does: then look at the ring.
 * Errors: -EIO (the region was truncated, or the peer made calls slow), -EPROTO (its header was wiped, or it could not
 * be sealed because somebody gave it another name), -ENOENT (engine that has no app yet: somebody removed a name of the
 * face, and no app can come any more: create it again), -ENOTCONN, -EINVAL. */
NDNSHM_EXTERN int ndnshm_probe(ndnshm_t* ep);

/* --- Looking from outside --------------------------------------------------------------------- */

/* Told of a file that a dead engine left. status: 0, or why it could not be removed: a negative errno value. */
typedef void (*ndnshm_sweep_cb)(void* arg, const char* path, int status);

enum {
  NDNSHM_SWEEP_REMOVE = 1 /* removes what it finds */
};

/* Finds what dead engines of this process's effective user left in /dev/shm and /tmp: regions, FIFOs, the directories
 * that engines keep (/tmp/.ndn- and 16 digits), and the sockets /tmp/.ndn-shm-ctl-*.sock of servers that died while
 * they handed a face over. Only creating a face under the same name cleans up otherwise, so who uses fresh names calls
 * this when it starts.
 * name: of one face; NULL = all of them, the sockets and the directories. flags: 0, or NDNSHM_SWEEP_REMOVE. cb: called
 * with arg for each file and directory, while the engine's lock is held; NULL is allowed. Returns how many were found,
 * or removed. What is not proved to be dead stays, and so does what belongs to another user. The lock of the engine is
 * the proof, or where an engine of ndn-rs takes none, that nobody reads its FIFO. A FIFO without a region, a socket or
 * a directory of the last second stays, too: it may be about to live. An engine that is created at the same moment
 * under a name that is just removed may get -EADDRINUSE. After fork() dead means: no child of the engine has its
 * descriptors either. Errors: -EINVAL (name, flags), -ENAMETOOLONG, -ENOENT (nothing has the name; there is no /dev/shm
 * or /tmp),
 * -EADDRINUSE (name: a live engine or somebody else has it, or its death is not proved), -EACCES, -EMFILE, -ENFILE,
 * -ENOMEM. Any thread. (Design 3) */
NDNSHM_EXTERN int ndnshm_sweep(const char* name, unsigned int flags, ndnshm_sweep_cb cb, void* arg);

/* Reads the header of the region `name` once, without attaching, and does not judge it.
 * Errors: -EINVAL (name, NULL), -ENAMETOOLONG, -ENOENT (no such face), -EACCES, -EPERM (wrong owner, or not a regular
 * file), -EPROTO (shorter than a header), -EMFILE, -ENFILE, -ENOMEM, -EIO. Any thread. */
NDNSHM_EXTERN int ndnshm_inspect(const char* name, ndnshm_header_t* ret_header);

/* The library's version: major << 16 | minor << 8 | patch, and as text. Any thread. */
NDNSHM_EXTERN unsigned int ndnshm_version(void);
NDNSHM_EXTERN const char* ndnshm_version_string(void);

#ifdef __cplusplus
}
#endif
#endif
