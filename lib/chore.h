/* SPDX-License-Identifier: MIT */
/* chore.h: what an engine does that can have to wait: of a named face, it seals its region, and it removes its names
 * when it leaves; of a private face, it closes what the app hangs on.
 *
 * The former two need locks of the kernel's that others can hold: of the region's file, as long as one write to it
 * takes, which can be for ever; of /dev/shm and /tmp, as long as anybody there waits for such a lock. So they are
 * pieces of work that any thread may do, apart from the endpoint. What they work on, the claim, is kept until the last
 * of them has let go of it, and the endpoint has; who comes last removes the region's name. Guarantees that a name is
 * removed only while it is ours, and the region's after those of the FIFOs. */
#ifndef NDNSHM_CHORE_H
#define NDNSHM_CHORE_H

#include "names.h"
#include "ndnshm.h"
#include "pair.h"
#include "region.h"

/* What an engine has in the file system: three names, the descriptors that tell whether they are still its own, and the
 * directory of the FIFOs (fifo.h). */
typedef struct ndnshm__claim_s ndnshm__claim_t;

/* The names of a region that is open as region_fd, which becomes the claim's. NULL: no memory. The caller owes one
 * ndnshm__claim_drop(), when he will ask nothing more. */
ndnshm__claim_t* ndnshm__claim_new(const ndnshm__names_t* names, int region_fd);
void ndnshm__claim_drop(ndnshm__claim_t* claim);

/* The directory becomes the claim's, too. */
void ndnshm__claim_stage(ndnshm__claim_t* claim, int stage_fd);

/* True if a2e, open as a2e_fd, has no name any more but for the link in the directory. */
bool ndnshm__claim_lost_a2e(const ndnshm__claim_t* claim, int a2e_fd);

/* The region is to be sealed. One at a time, until its outcome is asked for. */
ndnshm_chore_t* ndnshm__claim_seal(ndnshm__claim_t* claim);
/* What has come of it so far. */
ndnshm__seal_t ndnshm__claim_outcome(const ndnshm__claim_t* claim);

/* The endpoint lets go of the claim, which gets the FIFOs as well: all names are to be removed, and all is to be
 * closed.
 * -1 = there is no such FIFO yet. */
ndnshm_chore_t* ndnshm__claim_leave(ndnshm__claim_t* claim, int a2e_fd, int e2a_fd);

/* How many of the three names are still there, once the endpoint has let go; 0 before. */
unsigned int ndnshm__claim_names_left(const ndnshm__claim_t* claim);

/* Of a private face, which has no claim: all is to be closed, which wakes thousands of sleepers if the app has hung
 * them on it, and once more for each byte that it left there. NULL: no memory. */
ndnshm_chore_t* ndnshm__chore_to_close(const ndnshm__pair_t* pair);

/* In a forked child, which has a copy of it, and where nobody else is at work: only closes, and frees. */
void ndnshm__claim_forget(ndnshm__claim_t* claim, int a2e_fd, int e2a_fd);

#endif
