/* SPDX-License-Identifier: MIT */
/* zmq-perf.c: the measuring program's link over ZeroMQ, PAIR on ipc://, with its defaults (a thread for the
 * socket, 1000 messages each way), polled with zmq_poll(). It batches by itself, behind the caller's back; a
 * batch here is as many sends. The engine binds /tmp/.NAME.sock. */
#include "perf_wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

enum { LINGER_MS = 1000 };

const bool wire_says_goodbye = true;

struct wire_s {
  void* context;
  void* socket;
  char path[128];              /* to be removed by the engine; else empty */
  zmq_msg_t in[PERF_MAX_RECV]; /* lent out until the next receive */
  unsigned int nin;
  uint64_t sends, receives, would_block;
};

unsigned int wire_wait(wire_t* w, unsigned int what, int timeout_ms) {
  short events = (short) ((what & WIRE_PACKETS ? ZMQ_POLLIN : 0) | (what & WIRE_ROOM ? ZMQ_POLLOUT : 0));
  zmq_pollitem_t item = {w->socket, 0, events, 0};
  if (zmq_poll(&item, 1, timeout_ms) <= 0) return 0;
  return (item.revents & ZMQ_POLLIN ? WIRE_PACKETS : 0u) | (item.revents & ZMQ_POLLOUT ? WIRE_ROOM : 0u);
}

static void give_back(wire_t* w) {
  while (w->nin > 0) zmq_msg_close(&w->in[--w->nin]);
}

int wire_recv(wire_t* w, struct iovec pkts[], unsigned int max) {
  give_back(w);
  while (w->nin < max) {
    zmq_msg_t* msg = &w->in[w->nin];
    zmq_msg_init(msg);
    if (zmq_msg_recv(msg, w->socket, ZMQ_DONTWAIT) < 0) {
      int rc = errno;
      zmq_msg_close(msg);
      if (rc == EAGAIN || rc == EINTR) break;
      return -rc;
    }
    pkts[w->nin++] = (struct iovec){zmq_msg_data(msg), zmq_msg_size(msg)};
    w->receives++;
  }
  return (int) w->nin;
}

int wire_send(wire_t* w, const struct iovec pkts[], unsigned int npkts) {
  for (unsigned int i = 0; i < npkts; i++) {
    int rc = zmq_send(w->socket, pkts[i].iov_base, pkts[i].iov_len, ZMQ_DONTWAIT);
    w->sends++;
    if (rc >= 0) continue;
    w->would_block += errno == EAGAIN;
    return errno == EAGAIN || errno == EINTR ? (int) i : -errno;
  }
  return (int) npkts;
}

json_t* wire_stats(const wire_t* w) {
  return json_pack("{s:I, s:I, s:I}", "sends", (json_int_t) w->sends, "receives", (json_int_t) w->receives,
                   "would_block", (json_int_t) w->would_block);
}

/* The app's first message says that it is there; the engine's answer, that it may go on. */
static int greet(wire_t* w, const perf_options_t* o) {
  uint64_t start_ns = perf_now_ns();
  char hello = 0;
  if (o->role == ROLE_APP && zmq_send(w->socket, &hello, 1, 0) < 0) return -errno;
  while (zmq_recv(w->socket, &hello, 1, ZMQ_DONTWAIT) < 0)
    if ((errno != EAGAIN && errno != EINTR) || !perf_keep_waiting(o, start_ns)) return -errno;
  return o->role == ROLE_ENGINE && zmq_send(w->socket, &hello, 1, 0) < 0 ? -errno : 0;
}

wire_t* wire_open(const perf_options_t* o) {
  char path[128], url[140];
  int linger = LINGER_MS, at_once = 1;
  wire_t* w = calloc(1, sizeof(*w));
  if (w == NULL || !wire_path(o, path, sizeof(path))) {
    free(w);
    return NULL;
  }
  snprintf(url, sizeof(url), "ipc://%s", path);
  w->context = zmq_ctx_new();
  w->socket = zmq_socket(w->context, ZMQ_PAIR);
  zmq_setsockopt(w->socket, ZMQ_LINGER, &linger, sizeof(linger));
  zmq_setsockopt(w->socket, ZMQ_RECONNECT_IVL, &at_once, sizeof(at_once));
  int rc = o->role == ROLE_ENGINE ? zmq_bind(w->socket, url) : zmq_connect(w->socket, url);
  if (rc == 0 && o->role == ROLE_ENGINE) snprintf(w->path, sizeof(w->path), "%s", path);
  rc = rc == 0 ? greet(w, o) : -errno;
  if (rc == 0) return w;
  perf_error(o, "%s: %s", url, zmq_strerror(-rc));
  wire_close(w);
  return NULL;
}

void wire_close(wire_t* w) {
  give_back(w);
  zmq_close(w->socket);
  zmq_ctx_term(w->context);
  if (w->path[0] != '\0') unlink(w->path);
  free(w);
}

int main(int argc, char** argv) {
  return perf_main(argc, argv, "zmq-perf", 0);
}
