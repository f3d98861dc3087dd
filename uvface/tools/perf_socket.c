/* SPDX-License-Identifier: MIT */
/* perf_socket.c: the Unix stream socket of the links that have one: a face over a stream, and pipe-perf.
 * The engine listens on /tmp/.NAME.sock, takes one connection and removes the path at once. A private face is handed
 * over by the same way. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "perf.h"

static int accept_one(int listener, const perf_options_t* o) {
  uint64_t start_ns = perf_now_ns();
  struct pollfd p = {listener, POLLIN, 0};
  while (poll(&p, 1, 1) <= 0)
    if (!perf_keep_waiting(o, start_ns)) return -ETIMEDOUT;
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

static int listen_and_accept(const struct sockaddr_un* addr, const perf_options_t* o) {
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) return -errno;
  if (bind(listener, (const struct sockaddr*) addr, sizeof(*addr)) != 0 || listen(listener, 1) != 0) {
    int rc = -errno;
    close(listener);
    return rc;
  }
  int fd = accept_one(listener, o);
  unlink(addr->sun_path);
  close(listener);
  return fd;
}

static int connect_until(const struct sockaddr_un* addr, const perf_options_t* o) {
  uint64_t start_ns = perf_now_ns();
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  while (fd >= 0 && connect(fd, (const struct sockaddr*) addr, sizeof(*addr)) != 0) {
    int rc = -errno;
    if ((rc != -ENOENT && rc != -ECONNREFUSED) || !perf_keep_waiting(o, start_ns)) {
      close(fd);
      return rc;
    }
  }
  return fd < 0 ? -errno : fd;
}

int perf_open_socket(const perf_options_t* o) {
  struct sockaddr_un addr = {.sun_family = AF_UNIX};
  int len = snprintf(addr.sun_path, sizeof(addr.sun_path), "/tmp/.%.100s.sock", o->name);
  if (len >= (int) sizeof(addr.sun_path)) return -ENAMETOOLONG;
  return o->role == ROLE_ENGINE ? listen_and_accept(&addr, o) : connect_until(&addr, o);
}

#define THREE_BYTES (3 * sizeof(int))

int perf_send_three(int sock, const int fds[3]) {
  char byte = 'h', control[CMSG_SPACE(THREE_BYTES)] = {0};
  struct iovec v = {&byte, 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(THREE_BYTES);
  memcpy(CMSG_DATA(c), fds, THREE_BYTES);
  return sendmsg(sock, &m, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

int perf_receive_three(int sock, int ret_fds[3]) {
  char byte, control[CMSG_SPACE(THREE_BYTES)];
  struct iovec v = {&byte, 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  ssize_t n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
  if (n < 0) return -errno;
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  if (n == 0 || c == NULL || c->cmsg_len != CMSG_LEN(THREE_BYTES)) return -EPROTO;
  memcpy(ret_fds, CMSG_DATA(c), THREE_BYTES);
  return 0;
}
