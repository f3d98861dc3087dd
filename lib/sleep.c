/* SPDX-License-Identifier: MIT */
/* sleep.c: an open endpoint that has nothing to do: looking, going to sleep, waking, and the slow look.
 *
 * The orders that make sure that no wake-up is lost stand in wake.h. One thread per endpoint at a time. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "endpoint.h"
#include "probes.h"

/* Engine: an app is there. The seal waits for it, because the app must find the region's name and open the region
 * for writing. */
static void note_attached(ndnshm_t* ep) {
  if (!ep->open || !ep->is_engine || ep->is_attached) return;
  ep->is_attached = true;
  NDNSHM__PROBE2(attach, ep, ep->names.shm);
  if (ep->may_seal) ndnshm__seal(ep);
}

unsigned int ndnshm_ready(ndnshm_t* ep, unsigned int what) {
  unsigned int ready = 0;

  if (ep == NULL || !ep->open) return 0;
  if ((what & NDNSHM_PACKETS) != 0 && ndnshm__rx_ready(&ep->rx)) ready |= NDNSHM_PACKETS;
  if ((what & NDNSHM_SPACE) != 0 && ep->reserved_bytes == 0 && ndnshm__tx_ready(&ep->tx)) ready |= NDNSHM_SPACE;
  return ready;
}

unsigned int ndnshm_announce(ndnshm_t* ep, unsigned int what) {
  if (ep == NULL || !ep->open) return 0;
  if (ep->stats.rx_packets != 0) note_attached(ep); /* here, not for each packet */
  if ((ndnshm__announced_caps(ep) & NDNSHM_CAP_SPACE) == 0) what &= ~(unsigned int) NDNSHM_SPACE;
  if ((what & NDNSHM_PACKETS) != 0) ndnshm__wake_announce_parked(&ep->wake);
  if ((what & NDNSHM_SPACE) != 0) ndnshm__wake_announce_waiting(&ep->wake);
  return what;
}

void ndnshm_fence(void) {
  ndnshm__wake_fence();
}

void ndnshm_defer(ndnshm_t* ep, unsigned int bytes) {
  if (ep != NULL && ep->open) ndnshm__wake_defer(&ep->wake, bytes != 0);
}

int ndnshm_settle(ndnshm_t* ep) {
  int n, err;

  if (ep == NULL || !ep->open || !ep->wake.defers) return 0;
  n = ndnshm__wake_settle(&ep->wake);
  if (n > 0) ep->stats.wakeups_sent++;
  if ((err = ndnshm__check_patience(ep)) < 0) return err;
  return n < 0 ? n : !ep->wake.may_write;
}

unsigned int ndnshm_confirm(ndnshm_t* ep, unsigned int what) {
  unsigned int ready = ndnshm_ready(ep, what);

  if (ep != NULL && ndnshm__region_is_lost(&ep->region)) ready = what; /* receiving or sending tells why */
  if (ready != 0) {
    ndnshm_unpark(ep);
  } else if (ep != NULL && (what & NDNSHM_PACKETS) != 0) {
    ep->stats.parks++;
    NDNSHM__PROBE2(park, ep, ep->names.shm);
  }
  return ready;
}

unsigned int ndnshm_park(ndnshm_t* ep, unsigned int what) {
  ndnshm_announce(ep, what);
  ndnshm_fence();
  return ndnshm_confirm(ep, what);
}

void ndnshm_unpark(ndnshm_t* ep) {
  if (ep != NULL && ep->open) ndnshm__wake_withdraw(&ep->wake);
}

/* So many reads empty a FIFO, if it is not being filled meanwhile. */
#define DRAINS_MAX 16

/* To the end, for it may be told of once only. */
static int drain(ndnshm_t* ep) {
  int n = ndnshm__wake_drain(&ep->wake), drained = 0;

  for (int drains = 1; n > 0; drains++) {
    drained += n;
    if (ep->is_level_triggered || drains == DRAINS_MAX) break;
    n = ndnshm__wake_drain(&ep->wake);
  }
  ep->stats.wakeups_received += (uint64_t) drained;
  if (drained > 0) note_attached(ep);
  return n < 0 ? n : drained;
}

int ndnshm_wake(ndnshm_t* ep) {
  const char *path, *call;
  int n, err;

  if (ep == NULL) return -EINVAL;
  if (!ep->open) return -ENOTCONN;
  if (ep->is_engine && !ep->is_attached && ndnshm__region_check(&ep->region)) return ndnshm__fail_lost(ep);
  call = ep->wake.is_socket ? "recv" : "read";
  path = ep->is_engine ? ep->names.a2e : ep->names.e2a;
  ndnshm__wake_withdraw(&ep->wake);
  n = drain(ep);
  if (n == -EPIPE) {
    NDNSHM__PROBE2(gone, ep, ep->names.shm);
    return ndnshm__fail(&ep->error, NDNSHM_EOF, "%s %s: end of file, the peer is gone", call, path);
  }
  if (n < 0) return ndnshm__fail(&ep->error, n, "%s %s: %s", call, path, strerror(-n));
  note_attached(ep);
  NDNSHM__PROBE3(wake, ep, ep->names.shm, n);
  err = ndnshm__check_patience(ep);
  return err < 0 ? err : n;
}

unsigned int ndnshm_rest(ndnshm_t* ep) {
  return ep != NULL && ep->open ? (unsigned int) ((ndnshm__patience_rests_ns(&ep->wake.patience) + 999999) / 1000000)
                                : 0;
}

/* --- The slow look ---------------------------------------------------------------------------- */

static int check_magic(ndnshm_t* ep) {
  /* acquire: it pairs with nothing, for no sane peer changes this word; loaded once, then compared */
  uint64_t magic = ndnshm__load_acquire_u64(&ep->region.header->magic);

  if (ndnshm__region_is_lost(&ep->region)) return ndnshm__fail_lost(ep);
  if (magic == NDNSHM__MAGIC) return 0;
  return ndnshm__fail(&ep->error, -EPROTO, "header %s: wiped, magic is %#llx", ep->names.shm,
                      (unsigned long long) magic);
}

/* An engine whose FIFO has no writer reads end of file; that is no death before anybody was there. */
static int look_for_app(ndnshm_t* ep) {
  int n;

  if (!ep->is_engine || ep->is_attached || ndnshm__patience_rests_ns(&ep->wake.patience) > 0) return 0;
  n = ndnshm__wake_drain(&ep->wake);
  if (n >= 0) note_attached(ep);
  if (n <= 0) return 0;
  ep->stats.wakeups_received += (uint64_t) n;
  return n;
}

static bool has_lost_its_name(int fd) {
  struct stat st;

  return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

/* Of an engine that waits for its app: without all of its names no app can come any more. Not by looking for them, for
 * who looks for a name that is gone waits for whoever holds up the directory. An app that is there needs no name. */
static int check_names(ndnshm_t* ep) {
  const char* gone = NULL;

  if (!ep->is_engine || ep->is_attached) return 0;
  if (has_lost_its_name(ep->region.fd)) gone = ep->names.shm;
  if (ndnshm__claim_lost_a2e(ep->claim, ep->wake.rx_fd)) gone = ep->names.a2e;
  if (has_lost_its_name(ep->wake.tx_fd)) gone = ep->names.e2a;
  if (gone == NULL) return 0;
  return ndnshm__fail(&ep->error, -ENOENT, "fstat %s: somebody removed it, no app can find the face any more", gone);
}

/* What has become of the seal. Who gives the region another name means to outlive us with it. What failed for a passing
 * cause is tried again. */
static int check_seal(ndnshm_t* ep) {
  ndnshm__seal_t outcome = ep->claim != NULL ? ndnshm__claim_outcome(ep->claim) : NDNSHM__NOT_SEALED;

  if (outcome == NDNSHM__SEAL_FAILED) ndnshm__seal(ep);
  if (outcome != NDNSHM__HAS_OTHER_NAME) return 0;
  return ndnshm__fail(&ep->error, -EPROTO, "fstat %s: the region was given another name, and cannot be sealed",
                      ep->names.shm);
}

int ndnshm_probe(ndnshm_t* ep) {
  int n, err;

  if (ep == NULL) return -EINVAL;
  if (!ep->open) return -ENOTCONN;
  if (ndnshm__region_check(&ep->region)) return ndnshm__fail_lost(ep);
  if (ndnshm__region_has_grown(&ep->region))
    return ndnshm__fail(&ep->error, -EPROTO, "fstat %s: somebody made the region's file longer", ep->names.shm);
  if ((err = check_magic(ep)) < 0) return err;
  n = look_for_app(ep);
  err = check_names(ep);
  if (err == 0) err = check_seal(ep);
  if (err == 0) err = ndnshm__check_patience(ep);
  return err < 0 ? err : n;
}
