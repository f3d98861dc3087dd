/* SPDX-License-Identifier: MIT */
/* pair.h: the wake-up of a private face as descriptors: making both ends' at once, and checking what was handed over.
 *
 * Guarantees that the descriptors made are O_NONBLOCK and O_CLOEXEC, and that what was checked cannot make a call of
 * wake.h wait unless the peer holds a lock of the kernel's (pipes only). Closes nothing that it did not make. Knows
 * neither rings nor the region. Any thread. */
#ifndef NDNSHM_PAIR_H
#define NDNSHM_PAIR_H

#include <stdbool.h>

#include "error.h"

/* One end: what it reads and what it writes. With a socket both are the same descriptor. */
typedef struct ndnshm__pair_s {
  int rx_fd; /* -1 = none */
  int tx_fd;
} ndnshm__pair_t;

/* Makes a socket pair, or two pipes. label: for texts. Errors: -EMFILE, -ENFILE, -ENOMEM, others. On failure nothing is
 * left. */
int ndnshm__pair_make(bool by_socket, const char* label, ndnshm__pair_t* ret_engine, ndnshm__pair_t* ret_app,
                      ndnshm__error_t* error);

/* Checks an app's end that was handed over: two ends of pipes, each open for its direction alone and O_NONBLOCK, or two
 * connected Unix stream sockets, which may be one.
 * Errors: -EBADF (not open, or for another direction), -EPERM (neither pipe nor socket), -EPROTO (a socket of another
 * kind, a pipe that would block, one of each). */
int ndnshm__pair_check(const ndnshm__pair_t* app, const char* label, bool* ret_by_socket, ndnshm__error_t* error);

/* Where the kernel can (Linux 6.16): the peer sends no descriptors over the socket, whose closing could cost us
 * time. */
void ndnshm__pair_refuse_descriptors(int socket_fd);

/* Closes what is there. */
void ndnshm__pair_close(ndnshm__pair_t* pair);

#endif
