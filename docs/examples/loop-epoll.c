/* SPDX-License-Identifier: MIT */
/* loop-epoll.c: a face on an event loop of epoll(7): the engine of the face argv[1], which sends every packet back and
 * ends when the app does. Level-triggered, or edge-triggered if argv[2] is "edge". Shows what a loop owes an endpoint:
 * to park before it waits, to drain after, to look a second time at a peer that does not fence, and now and then to
 * look whether the region is sound. Does not wait for room: what finds the ring full, or nobody there, is dropped. */
#include <errno.h>
#include <ndnshm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { BATCH_MAX = 64, SOON_MS = 1, PROBE_MS = 1000 };

static char* arena; /* BATCH_MAX of the largest packets */

/* Sends back what has come. Returns how many packets have, 0 if there are none any more, or an error. */
static int pump(ndnshm_t* ep) {
  struct iovec pkts[BATCH_MAX];
  int got = ndnshm_recv(ep, arena, BATCH_MAX * ndnshm_get_mtu(ep), pkts, BATCH_MAX);
  if (got > 0) ndnshm_send_batch(ep, pkts, (unsigned int) got);
  return got;
}

/* [drain] */
/* Level-triggered, what is left makes the descriptor readable again. An edge is told once: after so much at once go
 * on. */
static int drain(ndnshm_t* ep, bool edge) {
  int got = ndnshm_wake(ep);
  while (edge && got > 1024) got = ndnshm_wake(ep);
  return got;
}
/* [drain end] */

/* [turn] */
/* Waits until packets may be there. Returns 0 or more, or an error; NDNSHM_EOF: the peer is gone. */
static int wait_for_packets(ndnshm_t* ep, int epfd, bool edge) {
  struct epoll_event event;
  int ready = 0;
  if (ndnshm_park(ep, NDNSHM_PACKETS) != 0) return 0; /* some came while we were about to sleep */
  if ((ndnshm_peer_caps(ep) & NDNSHM_CAP_FENCED) == 0) ready = epoll_wait(epfd, &event, 1, SOON_MS);
  if (ready == 0 && ndnshm_ready(ep, NDNSHM_PACKETS) == 0) ready = epoll_wait(epfd, &event, 1, PROBE_MS);
  if (ready > 0) return drain(ep, edge);
  ndnshm_unpark(ep);
  return ready == 0 ? ndnshm_probe(ep) : errno == EINTR ? 0 : -errno;
}

static int loop(ndnshm_t* ep, int epfd, bool edge) {
  int err = 0, got;
  do {
    do {
      got = pump(ep);
    } while (got > 0);
    if (got < 0 || err < 0) break; /* after the end of the peer its last packets have been taken, too */
    err = wait_for_packets(ep, epfd, edge);
  } while (err >= 0 || err == NDNSHM_EOF);
  return got < 0 ? got : err;
}
/* [turn end] */

int main(int argc, char** argv) {
  bool edge = argc == 3 && strcmp(argv[2], "edge") == 0;
  if (argc < 2 || argv[1][0] == '-' || (argc > 2 && !edge)) {
    bool asked = argc == 2 && strcmp(argv[1], "--help") == 0;
    fprintf(asked ? stdout : stderr, "usage: loop-epoll NAME [edge]\n");
    return asked ? 0 : 2;
  }
  ndnshm_t* ep;
  if (ndnshm_new(&ep) < 0) return 1;
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  options.flags = edge ? 0 : NDNSHM_LEVEL_TRIGGERED;
  int epfd = -1, err = ndnshm_create(ep, argv[1], &options);
  if (err == 0) {
    struct epoll_event event = {EPOLLIN | (edge ? EPOLLET : 0), {0}};
    epfd = epoll_create1(EPOLL_CLOEXEC);
    arena = malloc(BATCH_MAX * ndnshm_get_mtu(ep));
    if (epfd < 0 || arena == NULL || epoll_ctl(epfd, EPOLL_CTL_ADD, ndnshm_fd(ep), &event) < 0) err = -errno;
  }
  fprintf(stderr, "loop-epoll: %s\n", err == 0 ? "ready" : ndnshm_errmsg(ep));
  if (err == 0) err = loop(ep, epfd, edge);
  if (err != NDNSHM_EOF) fprintf(stderr, "loop-epoll: %s\n", ndnshm_errmsg(ep));
  ndnshm_free(ep);
  free(arena);
  if (epfd >= 0) close(epfd);
  return err != NDNSHM_EOF;
}
