/* SPDX-License-Identifier: MIT */
/* endpoint.c: how one end of a face comes to life and goes, and what can be asked of it.
 *
 * Guarantees that an engine gives its region a name after everything else is ready, that an app opens the FIFO by which
 * the engine notices it last, that a failed create or connect leaves nothing, and that a failed attach leaves what it
 * was given as it was. One thread per endpoint at a time. */
#include "endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fifo.h"
#include "hurry.h"
#include "version.h"

/* What this implementation announces: it fences, and its consumer wakes for space. */
#define OWN_CAPS (NDNSHM__CAPS_TAG | NDNSHM_CAP_FENCED | NDNSHM_CAP_SPACE)

/* So many reads empty a FIFO that nobody writes to: 64 KiB in pieces of 4096 bytes, and one that finds the end. */
#define STALE_DRAINS 17

/* More than any version of ndnshm_options_t will have: what is larger was never initialized. */
#define MAX_OPTIONS_BYTES 4096

/* The largest slots that an app takes unless it says otherwise. */
#define DEFAULT_MAX_SLOT_BYTES ((uint32_t) 16 << 20)

#define KNOWN_FLAGS                                                                                       \
  ((unsigned int) (NDNSHM_SIGBUS_GUARD | NDNSHM_WAKE_SOCKET | NDNSHM_WAKE_PIPE | NDNSHM_LEVEL_TRIGGERED | \
                   NDNSHM_CHORES))

/* What texts call a face, or a part of it, that has no name. */
#define PRIVATE_FACE "private face"

/* --- Life ------------------------------------------------------------------------------------- */

int ndnshm_new(ndnshm_t** ret_ep) {
  ndnshm_t* ep;

  if (ret_ep == NULL) return -EINVAL;
  ep = calloc(1, sizeof(*ep));
  if (ep == NULL) return -ENOMEM;
  ep->region.fd = ep->wake.rx_fd = ep->wake.tx_fd = -1;
  ep->app_end = (ndnshm__pair_t){-1, -1};
  *ret_ep = ep;
  return 0;
}

/* What every birth begins with: ep is not in use, and what the caller knows of the options is put over the defaults.
 * One that was compiled with an older header knows fewer members; what one with a newer header knows must be zero. */
static int take_options(ndnshm_t* ep, const ndnshm_options_t* options, ndnshm_options_t* taken) {
  const unsigned char* bytes = (const unsigned char*) options;

  if (ep->region.header != NULL) return ndnshm__fail(&ep->error, -EALREADY, "%s: is in use already", ep->names.shm);
  if (options != NULL) {
    if (options->size < sizeof(options->size) || options->size > MAX_OPTIONS_BYTES ||
        options->size % _Alignof(ndnshm_options_t) != 0)
      return ndnshm__fail(&ep->error, -EINVAL, "options: impossible size %zu (use NDNSHM_OPTIONS_INIT)", options->size);
    for (size_t i = sizeof(*taken); i < options->size; i++)
      if (bytes[i] != 0)
        return ndnshm__fail(&ep->error, -EINVAL, "options: size %zu: has members that this library does not know",
                            options->size);
    memcpy(taken, options, options->size < sizeof(*taken) ? options->size : sizeof(*taken));
  }
  if ((taken->flags & ~KNOWN_FLAGS) != 0)
    return ndnshm__fail(&ep->error, -EINVAL, "options: unknown flags %#x", taken->flags);
  if ((taken->flags & NDNSHM_WAKE_SOCKET) != 0 && (taken->flags & NDNSHM_WAKE_PIPE) != 0)
    return ndnshm__fail(&ep->error, -EINVAL, "options: flags %#x ask for a socket and for pipes", taken->flags);
  ep->is_level_triggered = (taken->flags & NDNSHM_LEVEL_TRIGGERED) != 0;
  return 0;
}

static int guard_if_asked(ndnshm_t* ep, const ndnshm_options_t* options) {
  return (options->flags & NDNSHM_SIGBUS_GUARD) != 0 ? ndnshm__region_guard(&ep->region, &ep->error) : 0;
}

/* Rights and geometry of what is to be created, checked before anything is touched. */
typedef struct plan_s {
  ndnshm__access_t access;
  ndnshm__geometry_t geometry;
} plan_t;

static int plan_make(ndnshm_t* ep, const ndnshm_options_t* options, plan_t* ret_plan) {
  if ((options->mode & ~0777u) != 0)
    return ndnshm__fail(&ep->error, -EINVAL, "options: mode %#o has more than permission bits", options->mode);
  if (ndnshm__geometry_from_options(options->capacity, options->slot_size, options->mtu, &ret_plan->geometry) < 0)
    return ndnshm__fail(
        &ep->error, -EINVAL, "options: impossible geometry, capacity %lu, slot_size %lu, mtu %lu (mtu excludes both)",
        (unsigned long) options->capacity, (unsigned long) options->slot_size, (unsigned long) options->mtu);
  ret_plan->access.mode = options->mode != 0 ? (mode_t) options->mode : 0600;
  ret_plan->access.uid = options->uid;
  ret_plan->access.gid = options->gid;
  return 0;
}

/* What of a region is one direction's. */
typedef struct way_s {
  unsigned char* slots;
  uint32_t *tail, *head;
  uint32_t *parked, *waiting; /* of its consumer, of its producer */
} way_t;

/* Binds rings and wake-up to the mapped region. Errors: -EPROTO (indices impossible). */
static int bind_rings(ndnshm_t* ep) {
  ndnshm__region_header_t* h = ep->region.header;
  const ndnshm__geometry_t* g = &ep->region.geometry;
  const way_t a2e = {(unsigned char*) h + g->a2e_offset, &h->a2e_tail.value, &h->a2e_head.value, &h->a2e_parked.value,
                     &h->a2e_waiting};
  const way_t e2a = {(unsigned char*) h + g->e2a_offset, &h->e2a_tail.value, &h->e2a_head.value, &h->e2a_parked.value,
                     &h->e2a_waiting};
  const way_t* in = ep->is_engine ? &a2e : &e2a;
  const way_t* out = ep->is_engine ? &e2a : &a2e;
  int err = ndnshm__tx_init(&ep->tx, out->slots, out->tail, out->head, g);

  if (err == 0) err = ndnshm__rx_init(&ep->rx, in->slots, in->tail, in->head, g);
  ep->wake.own_parked = in->parked;
  ep->wake.own_waiting = out->waiting;
  ep->wake.peer_parked = out->parked;
  ep->wake.peer_waiting = in->waiting;
  ep->own_caps = ep->is_engine ? &h->engine_caps : &h->app_caps;
  ep->peer_caps = ep->is_engine ? &h->app_caps : &h->engine_caps;
  if (err < 0) return ndnshm__fail(&ep->error, err, "header %s: impossible ring indices", ep->names.shm);
  return 0;
}

/* Removes what a dead engine left. Its region goes last, because the region proves that the engine is dead. Without
 * that proof an ndn-rs app, which goes on reading the FIFO of a dead engine, would look like a live engine. */
static int clear_names(ndnshm_t* ep, const plan_t* plan) {
  ndnshm__stale_t stale;
  int err = ndnshm__region_lock_stale(ep->names.shm, &plan->access, &stale, &ep->error);

  if (err < 0 || stale.fd < 0) return err;
  err = ndnshm__fifo_clear(ep->names.a2e, stale.is_dead, &plan->access, &ep->error);
  if (err == 0 && shm_unlink(ep->names.shm) != 0 && errno != ENOENT)
    err = ndnshm__fail_errno(&ep->error, "shm_unlink", ep->names.shm);
  close(stale.fd);
  return err;
}

/* What a role begins with, named or private, whatever a failed attempt has left. */
static void begin(ndnshm_t* ep, bool is_engine, bool is_private) {
  ep->is_engine = is_engine;
  ep->is_private = is_private;
  ep->pid = getpid();
  ep->is_attached = is_private; /* nobody opens a private face: there is nothing to look for, and nothing to seal */
  ep->wake.tx_may_signal = is_private;
  ep->wake.is_socket = false;
  ep->may_seal = ep->seal_is_due = false;
  ep->wake.patience = (ndnshm__patience_t){0};
  ep->stats.sealed = 0;
}

/* What a successful attempt met on its way is no failure. */
static void set_open(ndnshm_t* ep) {
  ep->open = true;
  ep->error.text[0] = '\0';
}

static void abandon(ndnshm_t* ep) {
  ndnshm_shutdown(ep);
  ndnshm__claim_drop(ep->claim);
  ep->claim = NULL;
  ndnshm__region_unmap(&ep->region);
}

/* Makes what no app can see yet: the region, complete but for its name. */
static int prepare_region(ndnshm_t* ep, const plan_t* plan, const ndnshm_options_t* options) {
  bool is_sealed = false;
  int err = ep->is_private
                ? ndnshm__region_create_private(&ep->region, ep->names.shm, &plan->geometry, &is_sealed, &ep->error)
                : ndnshm__region_create(&ep->region, ep->names.shm, &plan->geometry, &ep->error);

  if (err == 0) err = guard_if_asked(ep, options);
  if (err == 0) err = bind_rings(ep);
  if (err < 0) return err;
  ep->stats.sealed = is_sealed;
  /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): what failed has returned a negative number */
  ep->region.header->engine_caps = OWN_CAPS;
  /* release: pairs with the system call by which an app reads the header as a whole */
  ndnshm__store_release_u64(&ep->region.header->magic, NDNSHM__MAGIC);
  return 0;
}

/* Before the first name is taken: from now on shutting down removes what is ours. Whether the region can be sealed is
 * asked here, where it needs nothing that may have run out when an app comes. */
static int stake_claim(ndnshm_t* ep) {
  ep->claim = ndnshm__claim_new(&ep->names, ep->region.fd);
  if (ep->claim == NULL) return ndnshm__fail(&ep->error, -ENOMEM, "malloc for %s: out of memory", ep->names.shm);
  ep->may_seal = ndnshm__region_can_be_sealed(ep->region.fd);
  return 0;
}

/* The engine opens a2e for reading only: then end of file tells it that the last app is gone. It opens e2a for both:
 * then it needs no app to open it. */
static int make_fifos(ndnshm_t* ep, const plan_t* plan, int stage_fd) {
  int err = ndnshm__fifo_make(stage_fd, ep->names.a2e, O_RDONLY, true, &plan->access, &ep->wake.rx_fd, &ep->error);

  if (err < 0) return err;
  return ndnshm__fifo_make(stage_fd, ep->names.e2a, O_RDWR, false, &plan->access, &ep->wake.tx_fd, &ep->error);
}

static int publish_region(ndnshm_t* ep) {
  int err = ndnshm__region_publish(&ep->region, ep->names.shm, &ep->error);

  if (err != -EEXIST) return err;
  return ndnshm__fail(&ep->error, -EADDRINUSE, "linkat %s: another engine is taking the name", ep->names.shm);
}

static int publish_e2a(ndnshm_t* ep, const plan_t* plan) {
  return ndnshm__fifo_publish(ep->wake.tx_fd, ep->names.e2a, false, &plan->access, &ep->error);
}

/* Takes the three names, and does nothing else meanwhile, because who sees the first knows the others and may take them
 * before us. The first decides. Of the others the one that is had faster goes first (/dev/shm is memory, /tmp may be a
 * disk): until e2a is there, too, an app finds no face. But not if there is another e2a, of which an app could believe
 * that it belongs to the region. */
static int take_names(ndnshm_t* ep, const plan_t* plan, bool has_old_e2a) {
  int err = ndnshm__fifo_publish(ep->wake.rx_fd, ep->names.a2e, true, &plan->access, &ep->error);

  if (err == 0 && has_old_e2a) err = publish_e2a(ep, plan);
  if (err == 0) err = publish_region(ep);
  if (err == 0 && !has_old_e2a) err = publish_e2a(ep, plan);
  return err;
}

/* Region and FIFOs appear, with their rights and ready to be used. */
static int appear(ndnshm_t* ep, const plan_t* plan) {
  int stage_fd = -1;
  int err = ndnshm__stage_open(&ep->names, &stage_fd, &ep->error);

  if (err < 0) return err;
  ndnshm__claim_stage(ep->claim, stage_fd);
  err = make_fifos(ep, plan, stage_fd);
  if (err == 0) err = ndnshm__access_apply(ep->region.fd, &plan->access, ep->names.shm, &ep->error);
  if (err == 0) {
    bool has_old_e2a = access(ep->names.e2a, F_OK) == 0;
    ndnshm__hurry_t hurry = ndnshm__hurry_begin();

    err = take_names(ep, plan, has_old_e2a);
    ndnshm__hurry_end(hurry);
  }
  if (err < 0) return err;
  ndnshm__stage_drop_e2a(stage_fd);
  return ndnshm__fifo_unvouch(ep->wake.rx_fd, ep->names.a2e, &plan->access, &ep->error);
}

int ndnshm_create(ndnshm_t* ep, const char* name, const ndnshm_options_t* options) {
  ndnshm_options_t taken = NDNSHM_OPTIONS_INIT;
  plan_t plan;
  int err;

  if (ep == NULL) return -EINVAL;
  if ((err = take_options(ep, options, &taken)) < 0) return err;
  if ((err = plan_make(ep, &taken, &plan)) < 0) return err;
  if ((err = ndnshm__names_init(name, &ep->names, &ep->error)) < 0) return err;
  if ((err = clear_names(ep, &plan)) < 0) return err;
  begin(ep, true, false);
  ep->leaves_chores = (taken.flags & NDNSHM_CHORES) != 0;
  err = prepare_region(ep, &plan, &taken);
  if (err == 0) err = stake_claim(ep);
  if (err == 0) err = appear(ep, &plan);
  if (err < 0) {
    abandon(ep);
    return err;
  }
  set_open(ep);
  return 0;
}

static void name_as_private(ndnshm_t* ep) {
  static const ndnshm__names_t names = {PRIVATE_FACE, PRIVATE_FACE, PRIVATE_FACE, ""};

  ep->names = names;
}

/* Pipes are faster, but who holds a pipe's lock makes the other end wait: they are for an app of our own user, who
 * could stop us anyway. Of an app that is not known we assume the worst. */
static bool wakes_by_socket(const ndnshm_options_t* options) {
  if ((options->flags & NDNSHM_WAKE_SOCKET) != 0) return true;
  if ((options->flags & NDNSHM_WAKE_PIPE) != 0) return false;
  return options->uid == (uid_t) -1 || options->uid != geteuid();
}

static int make_wakeup(ndnshm_t* ep, bool by_socket) {
  ndnshm__pair_t own = {-1, -1};
  int err = ndnshm__pair_make(by_socket, ep->names.a2e, &own, &ep->app_end, &ep->error);

  if (err < 0) return err;
  ep->wake.rx_fd = own.rx_fd;
  ep->wake.tx_fd = own.tx_fd;
  ep->wake.is_socket = by_socket;
  return 0;
}

int ndnshm_create_private(ndnshm_t* ep, const ndnshm_options_t* options) {
  ndnshm_options_t taken = NDNSHM_OPTIONS_INIT;
  plan_t plan;
  int err;

  if (ep == NULL) return -EINVAL;
  if ((err = take_options(ep, options, &taken)) < 0) return err;
  if ((err = plan_make(ep, &taken, &plan)) < 0) return err;
  name_as_private(ep);
  begin(ep, true, true);
  ep->leaves_chores = (taken.flags & NDNSHM_CHORES) != 0;
  err = prepare_region(ep, &plan, &taken);
  if (err == 0) err = make_wakeup(ep, wakes_by_socket(&taken));
  if (err < 0) {
    abandon(ep);
    return err;
  }
  set_open(ep);
  return 0;
}

int ndnshm_app_fds(const ndnshm_t* ep, int ret_fds[3]) {
  if (ep == NULL || ret_fds == NULL) return -EINVAL;
  if (!ep->open) return -ENOTCONN;
  if (ep->app_end.rx_fd < 0) return -EBADF;
  ret_fds[0] = ep->region.fd;
  ret_fds[1] = ep->app_end.tx_fd;
  ret_fds[2] = ep->app_end.rx_fd;
  return 0;
}

void ndnshm_app_fds_close(ndnshm_t* ep) {
  if (ep == NULL || ep->app_end.rx_fd < 0) return;
  ndnshm__pair_close(&ep->app_end);
  if (ep->stats.sealed != 0) ndnshm__region_close(&ep->region); /* else the slow look still asks for its size */
}

static int fail_replaced(ndnshm_t* ep) {
  return ndnshm__fail(&ep->error, -ECONNREFUSED, "fstat %s: its engine is dead, another one is taking the name",
                      ep->names.shm);
}

/* App: how long a packet is, the engine says, and the app copies it. */
static int check_slots(ndnshm_t* ep, const ndnshm_options_t* options) {
  uint32_t max = options->max_slot_size != 0 ? options->max_slot_size : DEFAULT_MAX_SLOT_BYTES;
  uint32_t slot_size = ep->region.geometry.slot_size;

  if (slot_size <= max) return 0;
  return ndnshm__fail(&ep->error, -EPROTO, "header %s: slots of %lu bytes, more than max_slot_size, %lu", ep->names.shm,
                      (unsigned long) slot_size, (unsigned long) max);
}

static int open_e2a(ndnshm_t* ep, uid_t trusted) {
  int looked_fd = -1, rounds = STALE_DRAINS;
  struct stat st;
  int err = ndnshm__fifo_look(ep->names.e2a, trusted, &looked_fd, &st, &ep->error);

  if (err < 0) return err;
  err = ndnshm__fifo_open(looked_fd, ep->names.e2a, O_RDONLY, &ep->wake.rx_fd, &ep->error);
  close(looked_fd);
  if (err < 0) return err;
  /* All of it: while bytes of a dead engine lie in the FIFO, read() does not tell that nobody writes to it. */
  do {
    err = ndnshm__wake_drain(&ep->wake);
  } while (err > 0 && --rounds > 0);
  if (err == -EPIPE)
    return ndnshm__fail(&ep->error, -ECONNREFUSED, "read %s: no engine writes it (dead?)", ep->names.e2a);
  return err < 0 ? ndnshm__fail(&ep->error, err, "read %s: %s", ep->names.e2a, strerror(-err)) : 0;
}

/* An engine that takes over a dead one's name removes the old region before it makes its FIFOs: while a region has its
 * name, what is found under the names of the FIFOs belongs to it. */
static int open_a2e(ndnshm_t* ep, uid_t trusted) {
  int looked_fd = -1;
  struct stat st;
  int err = ndnshm__fifo_look(ep->names.a2e, trusted, &looked_fd, &st, &ep->error);

  if (err < 0) return err;
  err = ndnshm__region_has_name(&ep->region) ? 0 : fail_replaced(ep);
  if (err == 0) err = ndnshm__fifo_open(looked_fd, ep->names.a2e, O_WRONLY, &ep->wake.tx_fd, &ep->error);
  close(looked_fd);
  return err;
}

/* App: opens e2a for reading and a2e for writing. It opens a2e last, when it knows that the engine lives, because
 * somebody writes e2a, and that the FIFO is that engine's: to any engine a writer that opens a2e and goes away is an
 * app that died. */
static int open_fifos(ndnshm_t* ep, uid_t trusted) {
  int err = open_e2a(ep, trusted);

  if (err < 0) return err;
  ep->wake.tx_may_signal = true;
  return open_a2e(ep, trusted);
}

/* If the region has lost its name, another engine is just making the FIFOs: whatever is wrong with them will pass. */
static int join_engine(ndnshm_t* ep, uid_t trusted) {
  int err = open_fifos(ep, trusted);

  return err == 0 || ndnshm__region_has_name(&ep->region) ? err : fail_replaced(ep);
}

/* App: region and descriptors are there. */
static void join(ndnshm_t* ep) {
  bool heal;

  ndnshm__wake_withdraw(&ep->wake); /* what an app before us may have left */
  /* relaxed: an earlier app left this long ago. It orders nothing, and a wrong guess costs one byte. */
  heal = ndnshm__load_relaxed(ep->own_caps) != 0 || ep->tx.tail != 0 || ep->rx.head != 0;
  /* release, with no partner that needs it: caps are a promise about what we do from now on, and order
   * nothing; but a stale flag of the app before us must not outlive them */
  ndnshm__store_release(ep->own_caps, OWN_CAPS);
  set_open(ep);
  if (heal && ndnshm__wake_heal(&ep->wake, ndnshm__rx_is_full(&ep->rx))) ep->stats.wakeups_sent++;
}

/* A region that was sealed for one app has no name for another. */
static int attach_region(ndnshm_t* ep, uid_t trusted) {
  int err = ndnshm__region_attach(&ep->region, ep->names.shm, trusted, &ep->error);
  int why = err == -ENOENT ? ndnshm__fifo_check_taken(ep->names.a2e, trusted, &ep->error) : 0;

  return why < 0 ? why : err;
}

int ndnshm_connect(ndnshm_t* ep, const char* name, const ndnshm_options_t* options) {
  ndnshm_options_t taken = NDNSHM_OPTIONS_INIT;
  int err;

  if (ep == NULL) return -EINVAL;
  if ((err = take_options(ep, options, &taken)) < 0) return err;
  if ((err = ndnshm__names_init(name, &ep->names, &ep->error)) < 0) return err;
  err = attach_region(ep, taken.uid);
  if (err < 0) return err;
  begin(ep, false, false);
  err = check_slots(ep, &taken);
  if (err == 0) err = guard_if_asked(ep, &taken);
  if (err == 0) err = bind_rings(ep);
  if (err == 0) err = join_engine(ep, taken.uid);
  if (err < 0) {
    abandon(ep);
    return err;
  }
  ndnshm__region_close(&ep->region); /* an app needs the mapping only */
  join(ep);
  return 0;
}

/* Maps a region that was handed over, and checks it as a whole. */
static int adopt_region(ndnshm_t* ep, int fd, const ndnshm_options_t* options) {
  bool is_sealed = false;
  bool will_be_guarded = (options->flags & NDNSHM_SIGBUS_GUARD) != 0;
  int err = ndnshm__region_attach_private(&ep->region, ep->names.shm, fd, options->uid, will_be_guarded, &is_sealed,
                                          &ep->error);

  if (err < 0) return err;
  ep->stats.sealed = is_sealed;
  if (ep->region.geometry.slot_size < options->slot_size)
    return ndnshm__fail(&ep->error, -EPROTO, "header %s: slots of %lu bytes, fewer than the %lu asked for",
                        ep->names.shm, (unsigned long) ep->region.geometry.slot_size,
                        (unsigned long) options->slot_size);
  err = check_slots(ep, options);
  if (err == 0) err = guard_if_asked(ep, options);
  return err < 0 ? err : bind_rings(ep);
}

/* From here on the three are ours: no program that is started gets them. */
static void take_over(ndnshm_t* ep, const int fds[3], const ndnshm__pair_t* own, bool by_socket) {
  close(fds[0]); /* an app needs the mapping only */
  fcntl(own->rx_fd, F_SETFD, FD_CLOEXEC);
  fcntl(own->tx_fd, F_SETFD, FD_CLOEXEC);
  if (by_socket) ndnshm__pair_refuse_descriptors(own->rx_fd);
  ep->wake.rx_fd = own->rx_fd;
  ep->wake.tx_fd = own->tx_fd;
  ep->wake.is_socket = by_socket;
}

int ndnshm_attach(ndnshm_t* ep, const int fds[3], const ndnshm_options_t* options) {
  ndnshm_options_t taken = NDNSHM_OPTIONS_INIT;
  ndnshm__pair_t own;
  bool by_socket = false;
  int err;

  if (ep == NULL) return -EINVAL;
  if (fds == NULL) return ndnshm__fail(&ep->error, -EINVAL, "fds: is NULL");
  if ((err = take_options(ep, options, &taken)) < 0) return err;
  own = (ndnshm__pair_t){.rx_fd = fds[2], .tx_fd = fds[1]};
  name_as_private(ep);
  begin(ep, false, true);
  err = ndnshm__pair_check(&own, ep->names.a2e, &by_socket, &ep->error);
  if (err == 0) err = adopt_region(ep, fds[0], &taken);
  if (err < 0) {
    abandon(ep);
    return err;
  }
  take_over(ep, fds, &own, by_socket);
  join(ep);
  return 0;
}

/* What the peer sees of the end of a face in shared memory. */
static void take_leave(ndnshm_t* ep) {
  if (!ep->open || ndnshm__region_check(&ep->region) || ndnshm__region_has_grown(&ep->region)) return;
  ep->wake.may_write = true;
  if (ndnshm__wake_settle(&ep->wake) > 0) ep->stats.wakeups_sent++; /* before the end of file that follows */
  ndnshm__wake_withdraw(&ep->wake);
  if (!ep->is_engine) ndnshm__store_release(ep->own_caps, 0); /* the next app may be ndn-rs */
}

/* Descriptors and names are the claim's now: the region's may still be in use for sealing. */
static void give_up_claim(ndnshm_t* ep) {
  ep->seal_is_due = false;
  ep->region.fd = -1;
  if (ep->pid != getpid()) {
    ndnshm__claim_forget(ep->claim, ep->wake.rx_fd, ep->wake.tx_fd);
    ep->claim = NULL;
    return;
  }
  ep->chore = ndnshm__claim_leave(ep->claim, ep->wake.rx_fd, ep->wake.tx_fd);
  if (!ep->open || !ep->leaves_chores) ndnshm_do_chore(ndnshm_take_chore(ep));
}

/* Of an engine that leaves it to others, and has an app that may make it slow. */
static bool can_leave_closing(const ndnshm_t* ep) {
  return ep->open && ep->is_engine && ep->leaves_chores && ep->pid == getpid();
}

static void close_all(ndnshm_t* ep) {
  ndnshm__pair_t own = {ep->wake.rx_fd, ep->wake.tx_fd};

  if (can_leave_closing(ep) && (ep->chore = ndnshm__chore_to_close(&own)) != NULL) own = (ndnshm__pair_t){-1, -1};
  ndnshm__pair_close(&own);
  ndnshm__pair_close(&ep->app_end);
  ndnshm__region_close(&ep->region);
}

/* A forked child has a copy of the endpoint, and closes its descriptors; the face is its parent's. */
void ndnshm_shutdown(ndnshm_t* ep) {
  if (ep == NULL) return;
  if (ep->pid == getpid()) take_leave(ep);
  if (ep->claim == NULL)
    close_all(ep);
  else if (ep->region.fd >= 0) /* not yet */
    give_up_claim(ep);
  ep->wake.rx_fd = ep->wake.tx_fd = -1;
  ep->open = false;
}

void ndnshm_free(ndnshm_t* ep) {
  if (ep == NULL) return;
  ndnshm_shutdown(ep);
  if (ep->pid == getpid()) ndnshm_do_chore(ndnshm_take_chore(ep)); /* which nobody has taken */
  ndnshm__claim_drop(ep->claim);
  ndnshm__region_unmap(&ep->region);
  free(ep);
}

ndnshm_chore_t* ndnshm_take_chore(ndnshm_t* ep) {
  ndnshm_chore_t* chore;

  if (ep == NULL) return NULL;
  chore = ep->chore;
  ep->chore = NULL;
  if (!ep->seal_is_due) return chore;
  ep->seal_is_due = false;
  ndnshm__fifo_vouch(ep->wake.rx_fd); /* first: with its name the region stops telling others that we live */
  return ndnshm__claim_seal(ep->claim);
}

void ndnshm__seal(ndnshm_t* ep) {
  ep->seal_is_due = true;
  if (!ep->leaves_chores) ndnshm_do_chore(ndnshm_take_chore(ep));
}

int ndnshm__fail_lost(ndnshm_t* ep) {
  return ndnshm__fail(&ep->error, -EIO, "region %s: lost its memory (truncated?)", ep->names.shm);
}

int ndnshm__check_patience(ndnshm_t* ep) {
  const ndnshm__patience_t* patience = &ep->wake.patience;
  bool was_reading;

  if (!ndnshm__patience_is_over(patience)) return 0;
  was_reading = *patience->call == 'r';
  return ndnshm__fail(&ep->error, -EIO, "%s %s: %u slow calls took %llu ms together, the peer sees to that",
                      patience->call, was_reading == ep->is_engine ? ep->names.a2e : ep->names.e2a,
                      patience->slow_calls, (unsigned long long) patience->lost_ns / 1000000);
}

/* --- Asking ----------------------------------------------------------------------------------- */

const char* ndnshm_errmsg(const ndnshm_t* ep) {
  return ep != NULL ? ep->error.text : "";
}

int ndnshm_fd(const ndnshm_t* ep) {
  return ep != NULL ? ep->wake.rx_fd : -1;
}

size_t ndnshm_get_mtu(const ndnshm_t* ep) {
  return ep != NULL && ep->open ? ep->rx.slot_size : 0;
}

uint32_t ndnshm_get_capacity(const ndnshm_t* ep) {
  return ep != NULL && ep->open ? ep->rx.capacity : 0;
}

unsigned int ndnshm__announced_caps(const ndnshm_t* ep) {
  uint32_t caps = ndnshm__load_relaxed(ep->peer_caps); /* relaxed: one value, loaded once; it orders nothing */

  return (caps & NDNSHM__CAPS_TAG_MASK) == NDNSHM__CAPS_TAG ? caps & ~NDNSHM__CAPS_TAG_MASK : 0;
}

unsigned int ndnshm_peer_caps(const ndnshm_t* ep) {
  return ep != NULL && ep->open ? ndnshm__announced_caps(ep) : 0;
}

int ndnshm_get_stats(const ndnshm_t* ep, ndnshm_stats_t* ret_stats) {
  if (ep == NULL || ret_stats == NULL) return -EINVAL;
  *ret_stats = ep->stats;
  if (ep->claim != NULL) {
    ret_stats->sealed = ndnshm__claim_outcome(ep->claim) == NDNSHM__SEALED;
    ret_stats->names_left = ndnshm__claim_names_left(ep->claim);
  }
  ret_stats->attached = ep->is_engine && !ep->is_private && ep->is_attached;
  return 0;
}

int ndnshm_inspect(const char* name, ndnshm_header_t* ret_header) {
  ndnshm__names_t names;
  ndnshm__error_t error;
  ndnshm__region_header_t h;
  uint64_t file_bytes;
  int err;

  if (ret_header == NULL) return -EINVAL;
  if ((err = ndnshm__names_init(name, &names, &error)) < 0) return err;
  if ((err = ndnshm__region_inspect(names.shm, (uid_t) -1, &h, &file_bytes, &error)) < 0) return err;
  *ret_header = (ndnshm_header_t){
      h.magic,          h.capacity,         h.slot_size,        h.engine_caps,    h.app_caps,
      h.a2e_waiting,    h.e2a_waiting,      h.a2e_tail.value,   h.a2e_head.value, h.e2a_tail.value,
      h.e2a_head.value, h.a2e_parked.value, h.e2a_parked.value, file_bytes,
  };
  return 0;
}

unsigned int ndnshm_version(void) {
  return VERSION_MAJOR << 16 | VERSION_MINOR << 8 | VERSION_PATCH;
}

const char* ndnshm_version_string(void) {
  return VERSION_STRING;
}
