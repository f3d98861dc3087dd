/* SPDX-License-Identifier: MIT */
/* pair.c: see pair.h. Of a socket pair the app gets its end for both directions, so that what is handed over is always
 * three descriptors in ndn-rs's order. */
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "open.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* since Linux 6.16, which many headers do not know */
#endif

/* --- Making ------------------------------------------------------------------------------------ */

static void close_two(const int fds[2]) {
  for (int i = 0; i < 2; i++)
    if (fds[i] >= 0) close(fds[i]);
}

/* On failure both are closed. */
static int keep_off_stdio(int fds[2], const char* label, ndnshm__error_t* error) {
  int err = 0;

  for (int i = 0; i < 2; i++) {
    fds[i] = ndnshm__keep_off_stdio(fds[i]);
    if (fds[i] < 0) err = ndnshm__fail_errno(error, "fcntl", label);
  }
  if (err < 0) close_two(fds);
  return err;
}

static int make_sockets(const char* label, ndnshm__pair_t* ret_engine, ndnshm__pair_t* ret_app,
                        ndnshm__error_t* error) {
  int fds[2];
  int err;

  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
    return ndnshm__fail_errno(error, "socketpair", label);
  if ((err = keep_off_stdio(fds, label, error)) < 0) return err;
  ndnshm__pair_refuse_descriptors(fds[0]);
  *ret_engine = (ndnshm__pair_t){fds[0], fds[0]};
  *ret_app = (ndnshm__pair_t){fds[1], fds[1]};
  return 0;
}

static int make_pipe(int fds[2], const char* label, ndnshm__error_t* error) {
  if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0) return ndnshm__fail_errno(error, "pipe2", label);
  return keep_off_stdio(fds, label, error);
}

static int make_pipes(const char* label, ndnshm__pair_t* ret_engine, ndnshm__pair_t* ret_app, ndnshm__error_t* error) {
  int a2e[2], e2a[2];
  int err = make_pipe(a2e, label, error);

  if (err < 0) return err;
  if ((err = make_pipe(e2a, label, error)) < 0) {
    close_two(a2e);
    return err;
  }
  *ret_engine = (ndnshm__pair_t){a2e[0], e2a[1]};
  *ret_app = (ndnshm__pair_t){e2a[0], a2e[1]};
  return 0;
}

int ndnshm__pair_make(bool by_socket, const char* label, ndnshm__pair_t* ret_engine, ndnshm__pair_t* ret_app,
                      ndnshm__error_t* error) {
  return by_socket ? make_sockets(label, ret_engine, ret_app, error) : make_pipes(label, ret_engine, ret_app, error);
}

void ndnshm__pair_refuse_descriptors(int socket_fd) {
  static const int off = 0;

  setsockopt(socket_fd, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof(off));
}

void ndnshm__pair_close(ndnshm__pair_t* pair) {
  if (pair->rx_fd >= 0) close(pair->rx_fd);
  if (pair->tx_fd >= 0 && pair->tx_fd != pair->rx_fd) close(pair->tx_fd);
  pair->rx_fd = pair->tx_fd = -1;
}

/* --- Checking ---------------------------------------------------------------------------------- */

static int option_of(int fd, int name) {
  int value = -1;
  socklen_t bytes = sizeof(value);

  return getsockopt(fd, SOL_SOCKET, name, &value, &bytes) == 0 ? value : -1;
}

static int check_socket(int fd, const char* label, const char* which, ndnshm__error_t* error) {
  struct sockaddr peer;
  socklen_t bytes = sizeof(peer);

  if (option_of(fd, SO_DOMAIN) != AF_UNIX || option_of(fd, SO_TYPE) != SOCK_STREAM)
    return ndnshm__fail(error, -EPROTO, "getsockopt %s, %s: not a Unix stream socket", label, which);
  if (getpeername(fd, &peer, &bytes) != 0)
    return ndnshm__fail(error, -EPROTO, "getpeername %s, %s: not connected", label, which);
  return 0;
}

static int check_pipe(int fd, int direction, const char* label, const char* which, ndnshm__error_t* error) {
  int flags = fcntl(fd, F_GETFL);

  if ((flags & (O_ACCMODE | O_PATH)) != direction)
    return ndnshm__fail(error, -EBADF, "fcntl %s, %s: not open for %s alone", label, which,
                        direction == O_RDONLY ? "reading" : "writing");
  if ((flags & O_NONBLOCK) == 0)
    return ndnshm__fail(error, -EPROTO, "fcntl %s, %s: a pipe that is not O_NONBLOCK", label, which);
  return 0;
}

static int check_end(int fd, int direction, const char* label, const char* which, bool* ret_is_socket,
                     ndnshm__error_t* error) {
  struct stat st;
  int err;

  if (fstat(fd, &st) != 0)
    return ndnshm__fail(error, -errno, "fstat %s, %s: %s", label, which,
                        errno == EBADF ? "not an open descriptor" : "no status");
  if (!S_ISSOCK(st.st_mode) && !S_ISFIFO(st.st_mode))
    return ndnshm__fail(error, -EPERM, "fstat %s, %s: neither a pipe nor a socket", label, which);
  err = S_ISSOCK(st.st_mode) ? check_socket(fd, label, which, error) : check_pipe(fd, direction, label, which, error);
  if (err == 0) *ret_is_socket = S_ISSOCK(st.st_mode);
  return err;
}

int ndnshm__pair_check(const ndnshm__pair_t* app, const char* label, bool* ret_by_socket, ndnshm__error_t* error) {
  bool tx_is_socket = false, rx_is_socket = false;
  int err = check_end(app->tx_fd, O_WRONLY, label, "a2e write end", &tx_is_socket, error);

  if (err == 0) err = check_end(app->rx_fd, O_RDONLY, label, "e2a read end", &rx_is_socket, error);
  if (err < 0) return err;
  if (tx_is_socket != rx_is_socket)
    return ndnshm__fail(error, -EPROTO, "fstat %s: one end is a pipe and the other a socket", label);
  *ret_by_socket = rx_is_socket;
  return 0;
}
