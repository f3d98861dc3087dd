/* SPDX-License-Identifier: MIT */
/* handoff_server.c: see handoff_server.h. A connector is in one of two steps: its nonce is awaited, or its proof. What
 * we send fits into the buffer of a fresh socket, so nothing here ever waits for room. */
#include "handoff_server.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "acceptor.h"

#define BACKLOG 16

#define CONNECTOR_OF(pointer, member) ((connector_t*) ((char*) (pointer) -offsetof(connector_t, member)))

typedef struct connector_s {
  uvface__handoff_server_t* handoff;
  int fd; /* -1 = the place is free, unless its handles are closing */
  bool is_closing;
  uvface__closing_t closing;
  uv_poll_t poll;
  uv_timer_t timer; /* of the step */
  bool has_nonce;
  size_t have; /* bytes of what is awaited */
  unsigned char client_nonce[UVFACE__NONCE_BYTES];
  unsigned char server_nonce[UVFACE__NONCE_BYTES];
  unsigned char proof[UVFACE__PROOF_BYTES];
} connector_t;

struct uvface__handoff_server_s {
  uvface__handoff_options_t o;
  unsigned char key[UVFACE__KEY_BYTES];
  uvface__acceptor_t acceptor;
  connector_t connectors[UVFACE__CONNECTORS_MAX];
  unsigned int connected; /* connectors that have a descriptor */
  unsigned int wrong_proofs;
  unsigned int open; /* acceptor and connectors that have handles */
  bool closing;
  bool ended; /* on_end was called */
};

/* --- The end ------------------------------------------------------------------------------------ */

static void let_go(uvface__handoff_server_t* h) {
  void (*on_closed)(void*) = h->o.on_closed;
  void* data = h->o.data;

  if (--h->open > 0) return;
  explicit_bzero(h->key, sizeof(h->key));
  free(h);
  on_closed(data);
}

static void on_handles_closed(uvface__closing_t* closing) {
  connector_t* c = CONNECTOR_OF(closing, closing);

  c->is_closing = false;
  let_go(c->handoff);
}

static void turn_away(connector_t* c) {
  if (c->fd < 0) return;
  uvface__close_handle((uv_handle_t*) &c->poll);
  uvface__close_handle((uv_handle_t*) &c->timer);
  c->is_closing = true;
  uvface__closing_begin(c->handoff->o.loop, &c->closing, on_handles_closed);
  close(c->fd);
  c->fd = -1;
  if (--c->handoff->connected > 0) c->handoff->o.on_another(c->handoff->o.data, false);
}

static void on_acceptor_closed(uvface__acceptor_t* acceptor) {
  let_go(acceptor->data);
}

void uvface__handoff_server_close(uvface__handoff_server_t* h) {
  h->closing = true;
  uvface__acceptor_close(&h->acceptor, on_acceptor_closed);
  for (int i = 0; i < UVFACE__CONNECTORS_MAX; i++) turn_away(&h->connectors[i]);
}

static void end(uvface__handoff_server_t* h, int status) {
  if (h->ended || h->closing) return;
  h->ended = true;
  h->o.on_end(h->o.data, status);
}

/* --- The steps of a connector ------------------------------------------------------------------- */

static void on_silence(uv_timer_t* timer);

static int send_all(int fd, const void* bytes, size_t n) {
  return send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t) n ? 0 : UV_EPIPE;
}

/* Its nonce is there: ours, and the proof that we know the key, go back. */
static int answer_nonce(connector_t* c) {
  uvface__handoff_server_t* h = c->handoff;
  unsigned char out[UVFACE__NONCE_BYTES + UVFACE__PROOF_BYTES];
  int err = uvface__random(c->server_nonce, sizeof(c->server_nonce));

  if (err == 0)
    err = uvface__handoff_proof(h->o.crypto, h->key, 'S', c->client_nonce, c->server_nonce, out + UVFACE__NONCE_BYTES);
  if (err < 0) return err;
  memcpy(out, c->server_nonce, sizeof(c->server_nonce));
  if ((err = send_all(c->fd, out, sizeof(out))) < 0) return err;
  c->has_nonce = true;
  c->have = 0;
  uv_timer_start(&c->timer, on_silence, UVFACE__HANDOFF_STEP_MS, 0);
  return 0;
}

/* One byte with three descriptors: they arrive together, or not at all. */
static int send_descriptors(int fd, const int fds[3]) {
  unsigned char byte = UVFACE__HANDOFF_BYTE;
  struct iovec piece = {&byte, 1};
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(3 * sizeof(int))];
  } control = {.bytes = {0}};
  struct msghdr message = {
      .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
  struct cmsghdr* header = CMSG_FIRSTHDR(&message);

  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(3 * sizeof(int));
  memcpy(CMSG_DATA(header), fds, 3 * sizeof(int));
  return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 ? 0 : uv_translate_sys_error(errno);
}

static void refuse_proof(connector_t* c) {
  uvface__handoff_server_t* h = c->handoff;

  h->o.counts->refused++;
  turn_away(c);
  if (++h->wrong_proofs == UVFACE__WRONG_PROOFS_MAX) end(h, UV_EACCES);
}

/* Its proof is there. */
static int answer_proof(connector_t* c) {
  uvface__handoff_server_t* h = c->handoff;
  unsigned char expected[UVFACE__PROOF_BYTES];
  int fds[3];
  int err = uvface__handoff_proof(h->o.crypto, h->key, 'C', c->client_nonce, c->server_nonce, expected);

  if (err < 0) return err;
  if (!uvface__handoff_same(expected, c->proof)) {
    refuse_proof(c);
    return 0;
  }
  err = uvface_app_fds(h->o.face, fds);
  if (err == 0) err = send_descriptors(c->fd, fds);
  if (err < 0) return err; /* the app may come again */
  h->o.counts->done++;
  turn_away(c);
  end(h, 0);
  return 0;
}

/* Reads what is awaited. 1: it is there; 0: not yet. Errors: UV_EOF, and what recv() says. */
static int read_step(connector_t* c) {
  unsigned char* into = c->has_nonce ? c->proof : c->client_nonce;
  ssize_t n = recv(c->fd, into + c->have, UVFACE__PROOF_BYTES - c->have, MSG_DONTWAIT);

  if (n == 0) return UV_EOF;
  if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : uv_translate_sys_error(errno);
  c->have += (size_t) n;
  return c->have == UVFACE__PROOF_BYTES;
}

/* False if there is nothing to take a step for yet. */
static bool take_step(connector_t* c) {
  int got = read_step(c);

  if (got == 0) return false;
  if (got > 0) got = c->has_nonce ? answer_proof(c) : answer_nonce(c);
  if (got < 0) turn_away(c);
  return true;
}

static void on_readable(uv_poll_t* handle, int status, int events) {
  (void) status, (void) events; /* recv() tells what is wrong */
  take_step(CONNECTOR_OF(handle, poll));
}

/* The loop may have been held up, and not the connector: what it has sent meanwhile is in the socket. */
static void on_silence(uv_timer_t* timer) {
  connector_t* c = CONNECTOR_OF(timer, timer);

  if (take_step(c)) return;
  c->handoff->o.counts->timeouts++;
  turn_away(c);
}

/* --- Who comes ---------------------------------------------------------------------------------- */

static connector_t* free_connector(uvface__handoff_server_t* h) {
  for (int i = 0; i < UVFACE__CONNECTORS_MAX; i++)
    if (h->connectors[i].fd < 0 && !h->connectors[i].is_closing) return &h->connectors[i];
  return NULL;
}

static bool is_of_user(int fd, uid_t uid) {
  struct ucred peer;
  socklen_t len = sizeof(peer);

  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid == uid;
}

static void on_accept(uvface__acceptor_t* acceptor, int fd) {
  uvface__handoff_server_t* h = acceptor->data;
  connector_t* c = free_connector(h);

  if (!is_of_user(fd, h->o.uid)) {
    h->o.counts->refused++; /* but is none of the wrong proofs, or a stranger could end it */
    close(fd);
    return;
  }
  if (c == NULL || (h->connected > 0 && !h->o.on_another(h->o.data, true))) {
    close(fd);
    return;
  }
  if (uv_poll_init(h->o.loop, &c->poll, fd) < 0) {
    if (h->connected > 0) h->o.on_another(h->o.data, false);
    close(fd);
    return;
  }
  h->connected++;
  uv_timer_init(h->o.loop, &c->timer);
  c->poll.data = c->timer.data = NULL;
  c->handoff = h;
  c->fd = fd;
  c->has_nonce = false;
  c->have = 0;
  h->open++;
  uv_timer_start(&c->timer, on_silence, UVFACE__HANDOFF_STEP_MS, 0);
  if (uv_poll_start(&c->poll, UV_READABLE, on_readable) < 0) turn_away(c);
}

/* No descriptors at the moment: accepting pauses, and connectors wait. */
static void on_trouble(uvface__acceptor_t* acceptor, int err) {
  (void) acceptor, (void) err;
}

/* Our own user's app may connect by the permissions of 0600; another user's if we may give it the socket; else the
 * socket is open to all, and its secret name, the peer's credentials and the proofs keep others out. */
static int open_socket(uvface__handoff_server_t* h, const char* path, char* why, size_t cap) {
  uvface__socket_place_t place = {
      .path = path, .mode = 0600, .uid = h->o.uid, .gid = (gid_t) -1, .mode_if_not_given = 0666, .backlog = BACKLOG};

  return uvface__acceptor_open(h->o.loop, &h->acceptor, &place, why, cap);
}

int uvface__handoff_server_open(const uvface__handoff_options_t* options, uvface__handoff_server_t** ret_handoff,
                                char* why, size_t cap) {
  uvface__handoff_server_t* h = calloc(1, sizeof(*h));
  char path[UVFACE__SOCKET_PATH_BYTES + 256];
  int err;

  if (h == NULL) return uvface__explain(why, cap, "malloc", "handoff", ENOMEM);
  h->o = *options;
  memcpy(h->key, options->key, sizeof(h->key));
  h->open = 1;
  h->acceptor.data = h;
  h->acceptor.on_accept = on_accept;
  h->acceptor.on_trouble = on_trouble;
  for (int i = 0; i < UVFACE__CONNECTORS_MAX; i++) h->connectors[i].fd = -1;
  err = uvface__handoff_path(options->crypto, options->dir, options->key, path, sizeof(path));
  if (err < 0)
    uvface__explain(why, cap, "handoff", options->dir != NULL ? options->dir : UVFACE__HANDOFF_DIR, -err);
  else
    err = open_socket(h, path, why, cap);
  if (err < 0) {
    explicit_bzero(h->key, sizeof(h->key));
    free(h);
    return err;
  }
  *ret_handoff = h;
  return 0;
}
