/* SPDX-License-Identifier: MIT */
/* dial.c: see dial.h. */
#include "dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "watch.h"

/* Not a code of libuv's. */
#define UNDER_WAY (-EINPROGRESS)
#define SOCKET_FLAGS (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

int uvface__dial_path(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int err, fd = socket(AF_UNIX, SOCKET_FLAGS, 0);

  if (fd < 0) return uv_translate_sys_error(errno);
  snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
  if (connect(fd, (struct sockaddr*) &address, sizeof(address)) == 0) return fd;
  err = uv_translate_sys_error(errno);
  close(fd);
  return err;
}

/* --- Hosts -------------------------------------------------------------------------------------- */

struct uvface__dial_s {
  uv_getaddrinfo_t lookup;
  uv_loop_t* loop;
  uvface__dial_cb cb; /* NULL: dropped while libuv still looks up */
  void* arg;
  struct addrinfo* addresses; /* all that were found */
  struct addrinfo* next;      /* to be tried */
  uvface__watch_t* watch;     /* of the connection that is being made */
};

static void destroy(uvface__dial_t* dial) {
  uv_freeaddrinfo(dial->addresses);
  free(dial);
}

static void finish(uvface__dial_t* dial, int fd) {
  uvface__dial_cb cb = dial->cb;
  void* arg = dial->arg;

  destroy(dial);
  cb(arg, fd);
}

static void on_writable(void* arg, int status);

/* Begins to connect to one address. Returns the descriptor, UNDER_WAY (the watch has it), or an error. */
static int try_address(uvface__dial_t* dial, const struct addrinfo* address) {
  int err, on = 1, fd = socket(address->ai_family, SOCKET_FLAGS, 0);

  if (fd < 0) return uv_translate_sys_error(errno);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* batches are ours to make; without it, just slower */
  if (connect(fd, address->ai_addr, address->ai_addrlen) == 0) return fd;
  err = uv_translate_sys_error(errno);
  if (err == UNDER_WAY) {
    err = uvface__watch_new(dial->loop, fd, UV_WRITABLE, on_writable, dial, &dial->watch);
    if (err == 0) return UNDER_WAY;
  }
  close(fd);
  return err;
}

/* The next address; err: what became of the one before. */
static void go_on(uvface__dial_t* dial, int err) {
  while (dial->next != NULL) {
    const struct addrinfo* address = dial->next;

    dial->next = address->ai_next;
    err = try_address(dial, address);
    if (err == UNDER_WAY) return;
    if (err >= 0) break;
  }
  finish(dial, err);
}

static void on_writable(void* arg, int status) {
  uvface__dial_t* dial = arg;
  uvface__watch_t* watch = dial->watch;
  int error = 0;
  socklen_t len = sizeof(error);

  dial->watch = NULL;
  if (getsockopt(uvface__watch_fd(watch), SOL_SOCKET, SO_ERROR, &error, &len) < 0) error = errno;
  if (error != 0) status = uv_translate_sys_error(error); /* the poll knows only that there is one */
  if (status == 0) {
    finish(dial, uvface__watch_take(watch));
    return;
  }
  uvface__watch_drop(watch);
  go_on(dial, status);
}

static void on_lookup(uv_getaddrinfo_t* lookup, int status, struct addrinfo* addresses) {
  uvface__dial_t* dial = (uvface__dial_t*) ((char*) lookup - offsetof(uvface__dial_t, lookup));

  dial->addresses = dial->next = addresses;
  if (dial->cb == NULL)
    destroy(dial);
  else
    go_on(dial, status < 0 ? status : UV_EAI_NODATA);
}

int uvface__dial_host(uv_loop_t* loop, const uvface__place_t* place, uvface__dial_cb cb, void* arg,
                      uvface__dial_t** ret_dial) {
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
  uvface__dial_t* dial = calloc(1, sizeof(*dial));
  int err;

  if (dial == NULL) return UV_ENOMEM;
  dial->loop = loop;
  dial->cb = cb;
  dial->arg = arg;
  err = uv_getaddrinfo(loop, &dial->lookup, on_lookup, place->host, place->port, &hints);
  if (err < 0)
    free(dial);
  else
    *ret_dial = dial;
  return err;
}

void uvface__dial_drop(uvface__dial_t* dial) {
  if (dial == NULL) return;
  dial->cb = NULL;
  if (dial->watch == NULL) { /* looking up: on_lookup() comes for sure, and frees it */
    uv_cancel((uv_req_t*) &dial->lookup);
    return;
  }
  uvface__watch_drop(dial->watch);
  destroy(dial);
}
