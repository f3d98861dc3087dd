/* SPDX-License-Identifier: MIT */
/* fifo-perf.c: the measuring program's link over two FIFOs and epoll, a packet with its length in one write: the
 * floor for a face that sleeps, which is woken through a FIFO and an epoll too. For round trips only: a packet
 * must fit PIPE_BUF (else -EMSGSIZE), so that writes are whole. The engine makes /tmp/.ndn-NAME.{a2e,e2a}.pipe,
 * and removes them as soon as the app is there. */
#include "perf_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER_BYTES = 4, READ_BYTES = 65536 };

const bool wire_says_goodbye = false;

struct wire_s {
  int in_fd, out_fd, epoll_fd;
  uint32_t armed; /* whether epoll watches for packets, for room */
  uint64_t writes, reads, would_block;
  size_t at, len; /* received: in[at .. len) is not delivered yet */
  char in[READ_BYTES];
};

static void arm(wire_t* w, int fd, uint32_t events) {
  struct epoll_event event = {events, {.fd = fd}};
  epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

unsigned int wire_wait(wire_t* w, unsigned int what, int timeout_ms) {
  struct epoll_event events[2];
  unsigned int ready = 0;
  if ((what ^ w->armed) & WIRE_PACKETS) arm(w, w->in_fd, what & WIRE_PACKETS ? EPOLLIN : 0);
  if ((what ^ w->armed) & WIRE_ROOM) arm(w, w->out_fd, what & WIRE_ROOM ? EPOLLOUT : 0);
  w->armed = what;
  int n = epoll_wait(w->epoll_fd, events, 2, timeout_ms);
  for (int i = 0; i < n; i++) ready |= events[i].data.fd == w->in_fd ? WIRE_PACKETS : WIRE_ROOM;
  return ready & what;
}

/* Packets end where writes do, but a read can end anywhere. */
int wire_recv(wire_t* w, struct iovec pkts[], unsigned int max) {
  unsigned int n = 0;
  uint32_t len;
  memmove(w->in, w->in + w->at, w->len - w->at);
  w->len -= w->at;
  w->at = 0;
  ssize_t got = read(w->in_fd, w->in + w->len, READ_BYTES / PERF_MAX_RECV);
  w->reads++;
  if (got <= 0) return got == 0 ? WIRE_END : errno == EAGAIN || errno == EINTR ? 0 : -errno;
  w->len += (size_t) got;
  while (n < max && w->len - w->at >= HEADER_BYTES) {
    memcpy(&len, w->in + w->at, HEADER_BYTES);
    if (len > PIPE_BUF) return -EPROTO;
    if (w->len - w->at - HEADER_BYTES < len) break;
    pkts[n++] = (struct iovec){w->in + w->at + HEADER_BYTES, len};
    w->at += HEADER_BYTES + len;
  }
  return (int) n;
}

int wire_send(wire_t* w, const struct iovec pkts[], unsigned int npkts) {
  char packet[PIPE_BUF];
  for (unsigned int i = 0; i < npkts; i++) {
    uint32_t len = (uint32_t) pkts[i].iov_len;
    if (pkts[i].iov_len > sizeof(packet) - HEADER_BYTES) return -EMSGSIZE;
    memcpy(packet, &len, HEADER_BYTES);
    memcpy(packet + HEADER_BYTES, pkts[i].iov_base, len);
    w->writes++;
    if (write(w->out_fd, packet, HEADER_BYTES + len) >= 0) continue;
    w->would_block += errno == EAGAIN;
    return errno == EAGAIN ? (int) i : -errno;
  }
  return (int) npkts;
}

json_t* wire_stats(const wire_t* w) {
  return json_pack("{s:I, s:I, s:I}", "writes", (json_int_t) w->writes, "reads", (json_int_t) w->reads, "would_block",
                   (json_int_t) w->would_block);
}

/* The writing end can be opened once the peer reads; so everybody opens to read first. */
static int open_both(wire_t* w, const perf_options_t* o, char paths[2][256]) {
  bool engine = o->role == ROLE_ENGINE;
  uint64_t start_ns = perf_now_ns();
  for (int i = 0; engine && i < 2; i++)
    if (mkfifo(paths[i], 0600) != 0) return -errno;
  for (;;) {
    if (w->in_fd < 0) w->in_fd = open(paths[!engine], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (w->in_fd >= 0) w->out_fd = open(paths[engine], O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (w->out_fd >= 0) return 0;
    if ((errno != ENOENT && errno != ENXIO) || !perf_keep_waiting(o, start_ns)) return -errno;
  }
}

/* The engine's names may go when the app has opened both, which its first byte says. */
static int settle(wire_t* w, const perf_options_t* o) {
  uint64_t start_ns = perf_now_ns();
  char hello = 0;
  if (o->role == ROLE_APP) return write(w->out_fd, &hello, 1) == 1 ? 0 : -errno;
  while (read(w->in_fd, &hello, 1) != 1)
    if (!perf_keep_waiting(o, start_ns)) return -ETIMEDOUT;
  return 0;
}

wire_t* wire_open(const perf_options_t* o) {
  static const char* const direction[] = {"a2e", "e2a"};
  char paths[2][256];
  struct epoll_event event = {0, {0}};
  wire_t* w = calloc(1, sizeof(*w));
  if (w == NULL) return NULL;
  w->in_fd = w->out_fd = -1;
  w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  for (int i = 0; i < 2; i++) snprintf(paths[i], sizeof(paths[i]), "/tmp/.ndn-%s.%s.pipe", o->name, direction[i]);
  int rc = open_both(w, o, paths);
  if (rc == 0) rc = settle(w, o);
  for (int i = 0; o->role == ROLE_ENGINE && i < 2; i++) unlink(paths[i]);
  event.data.fd = w->in_fd;
  if (rc == 0 && epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->in_fd, &event) != 0) rc = -errno;
  event.data.fd = w->out_fd;
  if (rc == 0 && epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->out_fd, &event) != 0) rc = -errno;
  if (rc == 0) return w;
  perf_error(o, "opening %s and %s: %s", paths[0], paths[1], strerror(-rc));
  wire_close(w);
  return NULL;
}

void wire_close(wire_t* w) {
  close(w->epoll_fd);
  if (w->in_fd >= 0) close(w->in_fd);
  if (w->out_fd >= 0) close(w->out_fd);
  free(w);
}

int main(int argc, char** argv) {
  return perf_main(argc, argv, "fifo-perf", 0);
}
