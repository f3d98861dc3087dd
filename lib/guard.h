/* SPDX-License-Identifier: MIT */
/* guard.h: surviving a region whose memory is taken away while it is mapped.
 *
 * Touching a page beyond the end of its file raises SIGBUS, and whoever may write the region may truncate it. A
 * mapping under guard is replaced as a whole by private zeros when that happens, and says so from then on; so the
 * access that faulted, and all later ones, go on harmlessly. The handler is installed once for the process, by
 * the first guard, and passes on what is not its own to the handler that stood before. It goes with the last guard,
 * unless another stands before it. A handler that is
 * installed later must pass on in the same way, or there is no guard; nor is there in a thread that blocks SIGBUS,
 * which the kernel then kills. Nothing is paid while nothing happens.
 * Any thread; the mappings are their owners'. */
#ifndef NDNSHM_GUARD_H
#define NDNSHM_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One guarded mapping. */
typedef struct ndnshm__guard_s ndnshm__guard_t;

/* Puts the mapping of `bytes` at `base` under guard. Errors: -ENOMEM, those of sigaction. */
int ndnshm__guard_add(void* base, size_t bytes, ndnshm__guard_t** ret_guard);

/* To be called before the mapping goes. guard: NULL is allowed. */
void ndnshm__guard_remove(ndnshm__guard_t* guard);

/* True once the mapping was replaced. guard: NULL is never. */
bool ndnshm__guard_is_lost(const ndnshm__guard_t* guard);

/* What the handler does: private zeros in place of a mapping. Safe in a signal handler. False if it failed. */
bool ndnshm__replace_by_zeros(void* base, size_t bytes);

#endif
