/* SPDX-License-Identifier: MIT */
/* wake.c: the flags and wake-up bytes of wake.h. Letters in comments are those of the diagram there. */
#include "wake.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define DRAIN_BYTES 4096
/* What is read from a socket at once: each byte may be one that was sent by itself, and each of those that is taken out
 * wakes whoever sleeps on the other end. A single byte, which it nearly always is, leaves room and so ends the
 * reading. */
#define PIECE_BYTES 2
#define PIECES_MAX 64
#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x100 /* since Linux 6.18, which many headers do not know */
#endif

void ndnshm__wake_announce_parked(ndnshm__wake_t* wake) {
  ndnshm__store_relaxed(wake->own_parked, 1); /* (G) relaxed: ordered by (F), seen by (H) */
}

void ndnshm__wake_announce_waiting(ndnshm__wake_t* wake) {
  ndnshm__store_relaxed(wake->own_waiting, 1); /* (G) relaxed: ordered by (F), seen by (H) */
}

void ndnshm__wake_withdraw(ndnshm__wake_t* wake) {
  /* (G) relaxed: if the peer sees the store late, it writes a byte that nobody needs; no wake-up is lost */
  ndnshm__store_relaxed(wake->own_parked, 0);
  ndnshm__store_relaxed(wake->own_waiting, 0);
}

/* --- Waking ----------------------------------------------------------------------------------- */

static ssize_t write_with_flags(int fd, const struct iovec* bytes, int flags) {
#ifdef RWF_HIPRI
  return pwritev2(fd, bytes, 1, -1, flags);
#else /* a libc that knows none of the flags, as musl before 1.2.5, has no such call either */
  (void) fd, (void) bytes, (void) flags;
  errno = EOPNOTSUPP;
  return -1;
#endif
}

/* 1 = written; 0 = the FIFO is full, which wakes the peer as well; else -errno. */
static int write_byte(int fd, int flags) {
  static const char byte = 1;
  static const struct iovec bytes = {(void*) (uintptr_t) &byte, 1};
  ssize_t n;

  do {
    n = flags != 0 ? write_with_flags(fd, &bytes, flags) : write(fd, &byte, 1);
  } while (n < 0 && errno == EINTR);
  if (n == 1) return 1;
  return errno == EAGAIN ? 0 : -errno;
}

/* Takes a signal off the queue, if it is there: where it was ignored it is not. False if the system lets nobody
 * look. */
static bool take_off(const sigset_t* signal) {
  static const struct timespec now = {0, 0};
  int taken;

  do {
    taken = sigtimedwait(signal, NULL, &now);
  } while (taken < 0 && errno == EINTR);
  return taken >= 0 || errno == EAGAIN;
}

/* SIGPIPE is blocked in this thread for the write, and taken off the queue if the write raised it and none was pending
 * before, which can only be where it was blocked before. It stays blocked if it cannot be taken off: it would kill. */
static int write_byte_with_sigpipe_blocked(int fd) {
  sigset_t sigpipe, before, pending;
  bool was_pending = false;
  int written;

  sigemptyset(&sigpipe);
  sigaddset(&sigpipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &sigpipe, &before);
  if (sigismember(&before, SIGPIPE) == 1) {
    was_pending = sigpending(&pending) != 0 || sigismember(&pending, SIGPIPE) == 1;
  }
  written = write_byte(fd, 0);
  if (written == -EPIPE && !was_pending && !take_off(&sigpipe)) sigaddset(&before, SIGPIPE);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return written;
}

/* A FIFO knows no MSG_NOSIGNAL, but Linux 6.18 has a flag for any write. An older kernel refuses it (EOPNOTSUPP), and
 * so may a filter of system calls, as it likes; then the way around is taken from now on, by the whole process. */
static int write_byte_without_sigpipe(int fd) {
  static atomic_bool is_refused;
  int written;

  /* relaxed: a fact about the kernel, true whoever learns it first */
  if (atomic_load_explicit(&is_refused, memory_order_relaxed)) return write_byte_with_sigpipe_blocked(fd);
  written = write_byte(fd, RWF_NOSIGNAL);
  if (written >= 0 || written == -EPIPE || written == -ENOMEM) return written;
  atomic_store_explicit(&is_refused, true, memory_order_relaxed); /* relaxed: as above */
  return write_byte_with_sigpipe_blocked(fd);
}

/* Neither signals nor waits, whatever flags the peer puts on a description that it shares. A peer that closes its end
 * while bytes lie in it leaves ECONNRESET, once. Memory for a byte may be short: ENOBUFS is ENOMEM's name here. */
static int send_byte(int fd) {
  static const char byte = 1;
  ssize_t n;

  do {
    n = send(fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n == 1) return 1;
  if (errno == ECONNRESET) return -EPIPE;
  if (errno == ENOBUFS) return -ENOMEM;
  return errno == EAGAIN ? 0 : -errno;
}

/* A byte for the peer, whatever it is that leads there. Results as above. */
static int write_untimed(const ndnshm__wake_t* wake) {
  if (wake->is_socket) return send_byte(wake->tx_fd);
  return wake->tx_may_signal ? write_byte_without_sigpipe(wake->tx_fd) : write_byte(wake->tx_fd, 0);
}

static int write_to_peer(ndnshm__wake_t* wake) {
  ndnshm__stopwatch_t watch;
  int written;

  if (ndnshm__patience_is_over(&wake->patience)) return -EPIPE; /* to be taken for gone */
  ndnshm__patience_start(&wake->patience, &watch);
  written = write_untimed(wake);
  ndnshm__patience_stop(&wake->patience, &watch, wake->is_socket ? "send" : "write", !wake->is_socket);
  return written;
}

/* (H) relaxed: the flags order nothing; the peer waits for the byte that follows. */
static bool take_down(uint32_t* flag) {
  return ndnshm__exchange_relaxed(flag, 0) != 0;
}

/* One byte for flags that were taken down, NULL for none. 1 = written; 0 = the FIFO is full, or nobody is left to wake;
 * else -errno: the flags are up again, so that the next look tries again. If the peer has woken meanwhile, that costs a
 * byte. */
static int write_for(ndnshm__wake_t* wake, uint32_t* flag, uint32_t* other) {
  int written = write_to_peer(wake);

  if (written >= 0) wake->may_write = false;
  if (written >= 0 || written == -EPIPE) return written > 0;
  if (flag != NULL) ndnshm__store_relaxed(flag, 1);   /* (H) relaxed: as when it was taken down */
  if (other != NULL) ndnshm__store_relaxed(other, 1); /* (H) relaxed: likewise */
  return written;
}

bool ndnshm__wake_claim(ndnshm__wake_t* wake, uint32_t* flag) {
  /* The look that is owed finds the flag again. */
  if (wake->defers && (!wake->may_write || ndnshm__patience_rests_ns(&wake->patience) > 0)) return false;
  return take_down(flag) && write_for(wake, flag, NULL) > 0;
}

/* Both flags are taken down before the byte is written. After it, the peer may have announced anew that it waits: a
 * flag that is taken down then needs a byte of its own. */
int ndnshm__wake_settle(ndnshm__wake_t* wake) {
  uint32_t *parked = NULL, *waiting = NULL;
  int written = 0;

  if (wake->published || wake->released) ndnshm__wake_fence(); /* (E) */
  /* (H) relaxed: ordered by (E) */
  if (wake->published && ndnshm__load_relaxed(wake->peer_parked) != 0) parked = wake->peer_parked;
  if (wake->released && ndnshm__load_relaxed(wake->peer_waiting) != 0) waiting = wake->peer_waiting;
  if (parked != NULL || waiting != NULL) {
    if (ndnshm__patience_rests_ns(&wake->patience) > 0) return -ENOBUFS; /* first: else it would be tried at once */
    if (!wake->may_write) return -EAGAIN;
  }
  if (parked != NULL && !take_down(parked)) parked = NULL;
  if (waiting != NULL && !take_down(waiting)) waiting = NULL;
  if (parked != NULL || waiting != NULL) written = write_for(wake, parked, waiting);
  if (written == -ENOMEM) return -ENOBUFS;
  wake->defers = wake->published = wake->released = false;
  return written > 0;
}

bool ndnshm__wake_heal(ndnshm__wake_t* wake, bool may_wait) {
  /* (H) relaxed: a byte too many does no harm; an engine that parks after this look sees what we send */
  return (may_wait || ndnshm__load_relaxed(wake->peer_parked) == 0) && write_to_peer(wake) == 1;
}

/* Up to `max` bytes of what lies there, which is DRAIN_BYTES or less. Results as of draining. */
static int read_some(ndnshm__wake_t* wake, size_t max) {
  ndnshm__stopwatch_t watch;
  char bytes[DRAIN_BYTES];
  ssize_t n;

  ndnshm__patience_start(&wake->patience, &watch);
  do {
    n = wake->is_socket ? recv(wake->rx_fd, bytes, max, MSG_DONTWAIT) : read(wake->rx_fd, bytes, max);
  } while (n < 0 && errno == EINTR);
  ndnshm__patience_stop(&wake->patience, &watch, wake->is_socket ? "recv" : "read", !wake->is_socket);
  if (n > 0) return (int) n;
  if (n == 0 || errno == ECONNRESET) return -EPIPE; /* reset: the peer died with bytes of ours unread */
  return errno == EAGAIN ? 0 : -errno;
}

/* Piece by piece, until one was slow. What went wrong after the first is found again by the next. */
static int drain_socket(ndnshm__wake_t* wake) {
  int drained = 0, n = PIECE_BYTES;

  for (int pieces = 0; n == PIECE_BYTES && pieces < PIECES_MAX; pieces++) {
    if (drained > 0 && ndnshm__patience_rests_ns(&wake->patience) > 0) break;
    n = read_some(wake, PIECE_BYTES);
    if (n < 0 && drained == 0) return n;
    if (n > 0) drained += n;
  }
  return drained;
}

int ndnshm__wake_drain(ndnshm__wake_t* wake) {
  if (ndnshm__patience_is_over(&wake->patience)) return 0;
  return wake->is_socket ? drain_socket(wake) : read_some(wake, DRAIN_BYTES);
}
