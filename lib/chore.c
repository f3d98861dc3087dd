/* SPDX-License-Identifier: MIT */
/* chore.c: see chore.h. */
#include "chore.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fifo.h"

struct ndnshm_chore_s {
  ndnshm__claim_t* claim; /* NULL, of a private face */
  ndnshm__pair_t pair;    /* of a private face */
};

struct ndnshm__claim_s {
  atomic_uint holders;     /* the endpoint, or the chore of leaving; and that of sealing while it is given out */
  atomic_uint owners;      /* they, and the endpoint until it asks nothing more: of the memory */
  atomic_int outcome;      /* ndnshm__seal_t */
  atomic_uint fifos_left;  /* that have a name, once the endpoint has let go */
  atomic_uint region_left; /* the same for the region */
  int region_fd;           /* holds the lock that keeps other engines from the names */
  int stage_fd;            /* so does this, if the region is sealed; -1 = none yet */
  int a2e_fd, e2a_fd;      /* once the endpoint has let go; -1 = none */
  ndnshm__names_t names;
  ndnshm_chore_t sealing, leaving;
};

ndnshm__claim_t* ndnshm__claim_new(const ndnshm__names_t* names, int region_fd) {
  ndnshm__claim_t* claim = malloc(sizeof(*claim));

  if (claim == NULL) return NULL;
  atomic_init(&claim->holders, 1);
  atomic_init(&claim->owners, 2);
  atomic_init(&claim->fifos_left, 0);
  atomic_init(&claim->region_left, 0);
  atomic_init(&claim->outcome, NDNSHM__NOT_SEALED);
  claim->region_fd = region_fd;
  claim->stage_fd = claim->a2e_fd = claim->e2a_fd = -1;
  claim->names = *names;
  claim->sealing.claim = claim->leaving.claim = claim;
  return claim;
}

static void close_if_open(int fd) {
  if (fd >= 0) close(fd);
}

/* Without looking for the name: to look for one that is gone waits for whoever holds up the directory. */
static unsigned int has_a_name(int fd) {
  struct stat st;

  return fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink > 0;
}

/* Besides the link in the directory. */
static unsigned int a2e_has_a_name(const ndnshm__claim_t* claim, int a2e_fd) {
  struct stat st;

  return a2e_fd >= 0 && fstat(a2e_fd, &st) == 0 && st.st_nlink > (ndnshm__stage_has_a2e(claim->stage_fd) ? 1 : 0);
}

/* True for who comes last: acquire and release, so that he sees what the others have done, and nobody is still at
 * it. */
static bool is_last(atomic_uint* count) {
  return atomic_fetch_sub_explicit(count, 1, memory_order_acq_rel) == 1;
}

void ndnshm__claim_drop(ndnshm__claim_t* claim) {
  if (claim != NULL && is_last(&claim->owners)) free(claim);
}

static void let_go(ndnshm__claim_t* claim) {
  if (is_last(&claim->holders)) {
    if (claim->stage_fd >= 0) ndnshm__stage_close(claim->stage_fd, &claim->names);
    ndnshm__region_unlink(claim->region_fd, claim->names.shm);
    /* relaxed, here and below: a number that orders nothing */
    atomic_store_explicit(&claim->region_left, has_a_name(claim->region_fd), memory_order_relaxed);
    close(claim->region_fd);
  }
  ndnshm__claim_drop(claim);
}

void ndnshm__claim_stage(ndnshm__claim_t* claim, int stage_fd) {
  claim->stage_fd = stage_fd;
}

bool ndnshm__claim_lost_a2e(const ndnshm__claim_t* claim, int a2e_fd) {
  return !a2e_has_a_name(claim, a2e_fd);
}

unsigned int ndnshm__claim_names_left(const ndnshm__claim_t* claim) {
  return atomic_load_explicit(&claim->fifos_left, memory_order_relaxed) +
         atomic_load_explicit(&claim->region_left, memory_order_relaxed);
}

/* --- Sealing ---------------------------------------------------------------------------------- */

ndnshm_chore_t* ndnshm__claim_seal(ndnshm__claim_t* claim) {
  /* relaxed, all: nobody else has the claim now, or only to leave it; the thread that is given the chore sees them */
  atomic_store_explicit(&claim->outcome, NDNSHM__NOT_SEALED, memory_order_relaxed);
  atomic_fetch_add_explicit(&claim->holders, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&claim->owners, 1, memory_order_relaxed);
  return &claim->sealing;
}

ndnshm__seal_t ndnshm__claim_outcome(const ndnshm__claim_t* claim) {
  /* acquire: pairs with the release in seal(); what the sealing has done comes before */
  return (ndnshm__seal_t) atomic_load_explicit(&claim->outcome, memory_order_acquire);
}

static void seal(ndnshm__claim_t* claim) {
  ndnshm__seal_t outcome = ndnshm__region_seal(claim->region_fd, claim->names.shm);

  atomic_store_explicit(&claim->outcome, (int) outcome, memory_order_release); /* release: see claim_outcome() */
  let_go(claim);
}

/* --- Leaving ---------------------------------------------------------------------------------- */

static void count_fifos(ndnshm__claim_t* claim) {
  atomic_store_explicit(&claim->fifos_left, a2e_has_a_name(claim, claim->a2e_fd) + has_a_name(claim->e2a_fd),
                        memory_order_relaxed);
}

ndnshm_chore_t* ndnshm__claim_leave(ndnshm__claim_t* claim, int a2e_fd, int e2a_fd) {
  claim->a2e_fd = a2e_fd;
  claim->e2a_fd = e2a_fd;
  count_fifos(claim);
  atomic_store_explicit(&claim->region_left, has_a_name(claim->region_fd), memory_order_relaxed);
  return &claim->leaving;
}

/* The name that keeps other engines away goes last: the region's, or a2e's where a sealed region has none. The app sees
 * end of file before, however long that takes. */
static void leave(ndnshm__claim_t* claim) {
  ndnshm__fifo_unlink(claim->e2a_fd, claim->names.e2a);
  ndnshm__fifo_unlink(claim->a2e_fd, claim->names.a2e);
  if (claim->stage_fd >= 0) ndnshm__stage_empty(claim->stage_fd);
  count_fifos(claim);
  close_if_open(claim->e2a_fd);
  close_if_open(claim->a2e_fd);
  let_go(claim);
}

void ndnshm__claim_forget(ndnshm__claim_t* claim, int a2e_fd, int e2a_fd) {
  close_if_open(e2a_fd);
  close_if_open(a2e_fd);
  close_if_open(claim->stage_fd);
  close(claim->region_fd);
  free(claim);
}

ndnshm_chore_t* ndnshm__chore_to_close(const ndnshm__pair_t* pair) {
  ndnshm_chore_t* chore = malloc(sizeof(*chore));

  if (chore != NULL) *chore = (ndnshm_chore_t){.claim = NULL, .pair = *pair};
  return chore;
}

void ndnshm_do_chore(ndnshm_chore_t* chore) {
  if (chore == NULL) return;
  if (chore->claim == NULL) {
    ndnshm__pair_close(&chore->pair);
    free(chore);
  } else if (chore == &chore->claim->sealing) {
    seal(chore->claim);
  } else {
    leave(chore->claim);
  }
}
