/* SPDX-License-Identifier: MIT */
/* seqpacket-perf.c: the measuring program's link over a Unix SOCK_SEQPACKET socket and epoll, without any
 * library: the least that a packet through the kernel costs. A batch is one sendmmsg(); whatever has arrived is
 * taken with one recvmmsg(). The engine listens on /tmp/.NAME.sock, takes one connection and removes the path. */
#include "perf_wire.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SLOT_BYTES = 65536 }; /* the largest packet; the buffers are touched only as far as packets reach */

const bool wire_says_goodbye = false;

struct wire_s {
  int fd, epoll_fd;
  uint32_t armed; /* the events that epoll watches */
  uint64_t sends, receives, would_block;
  char* memory;
  struct mmsghdr out[PERF_MAX_BATCH], in[PERF_MAX_RECV];
  struct iovec in_bufs[PERF_MAX_RECV];
};

unsigned int wire_wait(wire_t* w, unsigned int what, int timeout_ms) {
  struct epoll_event event = {(what & WIRE_PACKETS ? EPOLLIN : 0u) | (what & WIRE_ROOM ? EPOLLOUT : 0u), {0}};
  if (event.events != w->armed) epoll_ctl(w->epoll_fd, EPOLL_CTL_MOD, w->fd, &event);
  w->armed = event.events;
  if (epoll_wait(w->epoll_fd, &event, 1, timeout_ms) <= 0) return 0;
  unsigned int ready = (event.events & EPOLLOUT ? WIRE_ROOM : 0u) | (event.events & EPOLLIN ? WIRE_PACKETS : 0u);
  return event.events & (EPOLLHUP | EPOLLERR) ? what : ready & what;
}

int wire_recv(wire_t* w, struct iovec pkts[], unsigned int max) {
  int n = recvmmsg(w->fd, w->in, max, MSG_DONTWAIT, NULL);
  w->receives++;
  if (n <= 0 || w->in[0].msg_len == 0) {
    bool end = n >= 0 || errno == ECONNRESET;
    return end ? WIRE_END : errno == EAGAIN || errno == EINTR ? 0 : -errno;
  }
  for (int i = 0; i < n; i++) {
    if (w->in[i].msg_len == 0) return i; /* the end comes again */
    pkts[i] = (struct iovec){w->in_bufs[i].iov_base, w->in[i].msg_len};
  }
  return n;
}

int wire_send(wire_t* w, const struct iovec pkts[], unsigned int npkts) {
  for (unsigned int i = 0; i < npkts; i++)
    w->out[i].msg_hdr = (struct msghdr){.msg_iov = (struct iovec*) (uintptr_t) &pkts[i], .msg_iovlen = 1};
  int n = sendmmsg(w->fd, w->out, npkts, MSG_DONTWAIT | MSG_NOSIGNAL);
  w->sends++;
  w->would_block += n < 0 && errno == EAGAIN;
  return n >= 0 ? n : errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

json_t* wire_stats(const wire_t* w) {
  return json_pack("{s:I, s:I, s:I}", "sends", (json_int_t) w->sends, "receives", (json_int_t) w->receives,
                   "would_block", (json_int_t) w->would_block);
}

/* Returns the connected socket or a negative errno value. */
static int accept_one(int fd, const struct sockaddr_un* addr, const perf_options_t* o) {
  uint64_t start_ns = perf_now_ns();
  struct pollfd p = {fd, POLLIN, 0};
  if (bind(fd, (const struct sockaddr*) addr, sizeof(*addr)) != 0 || listen(fd, 1) != 0) return -errno;
  while (poll(&p, 1, 1) <= 0)
    if (!perf_keep_waiting(o, start_ns)) {
      unlink(addr->sun_path);
      return -ETIMEDOUT;
    }
  int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
  unlink(addr->sun_path);
  return peer < 0 ? -errno : peer;
}

static int connect_until(int fd, const struct sockaddr_un* addr, const perf_options_t* o) {
  uint64_t start_ns = perf_now_ns();
  while (connect(fd, (const struct sockaddr*) addr, sizeof(*addr)) != 0)
    if ((errno != ENOENT && errno != ECONNREFUSED) || !perf_keep_waiting(o, start_ns)) return -errno;
  return dup(fd);
}

static bool allocate(wire_t* w) {
  struct epoll_event event = {0, {0}};
  w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  w->memory = malloc((size_t) PERF_MAX_RECV * SLOT_BYTES);
  for (unsigned int i = 0; i < PERF_MAX_RECV && w->memory != NULL; i++) {
    w->in_bufs[i] = (struct iovec){w->memory + (size_t) i * SLOT_BYTES, SLOT_BYTES};
    w->in[i].msg_hdr = (struct msghdr){.msg_iov = &w->in_bufs[i], .msg_iovlen = 1};
  }
  return w->memory != NULL && epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->fd, &event) == 0;
}

wire_t* wire_open(const perf_options_t* o) {
  struct sockaddr_un addr = {.sun_family = AF_UNIX};
  if (!wire_path(o, addr.sun_path, sizeof(addr.sun_path))) return NULL;
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  int peer = fd < 0 ? -errno : o->role == ROLE_ENGINE ? accept_one(fd, &addr, o) : connect_until(fd, &addr, o);
  wire_t* w = calloc(1, sizeof(*w));
  if (fd >= 0) close(fd);
  if (w != NULL && peer >= 0) {
    w->fd = peer;
    if (allocate(w)) return w;
  }
  perf_error(o, "%s socket %s: %s", o->role == ROLE_ENGINE ? "listen" : "connect", addr.sun_path,
             strerror(peer < 0 ? -peer : ENOMEM));
  free(w);
  return NULL;
}

void wire_close(wire_t* w) {
  close(w->epoll_fd);
  close(w->fd);
  free(w->memory);
  free(w);
}

int main(int argc, char** argv) {
  return perf_main(argc, argv, "seqpacket-perf", 0);
}
