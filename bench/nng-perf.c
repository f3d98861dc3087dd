/* SPDX-License-Identifier: MIT */
/* nng-perf.c: the measuring program's link over nng, PAIR0 on ipc://: a message library as most would use it,
 * non-blocking, polled through the descriptors it offers, 128 messages of buffer each way. It has no batches:
 * a batch is as many sends. The engine listens on /tmp/.NAME.sock. */
#include "perf_wire.h"

#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_MESSAGES = 128 };

const bool wire_says_goodbye = true;

struct wire_s {
  nng_socket socket;
  int recv_fd, send_fd;
  nng_msg* in[PERF_MAX_RECV]; /* lent out until the next receive */
  unsigned int nin;
  uint64_t sends, receives, would_block;
};

unsigned int wire_wait(wire_t* w, unsigned int what, int timeout_ms) {
  struct pollfd p[] = {{what & WIRE_PACKETS ? w->recv_fd : -1, POLLIN, 0},
                       {what & WIRE_ROOM ? w->send_fd : -1, POLLIN, 0}};
  if (poll(p, 2, timeout_ms) <= 0) return 0;
  return (p[0].revents != 0 ? WIRE_PACKETS : 0u) | (p[1].revents != 0 ? WIRE_ROOM : 0u);
}

static void give_back(wire_t* w) {
  while (w->nin > 0) nng_msg_free(w->in[--w->nin]);
}

int wire_recv(wire_t* w, struct iovec pkts[], unsigned int max) {
  give_back(w);
  while (w->nin < max) {
    int rc = nng_recvmsg(w->socket, &w->in[w->nin], NNG_FLAG_NONBLOCK);
    if (rc == NNG_EAGAIN) break;
    if (rc != 0) return rc == NNG_ENOMEM ? -ENOMEM : -EIO;
    pkts[w->nin] = (struct iovec){nng_msg_body(w->in[w->nin]), nng_msg_len(w->in[w->nin])};
    w->receives++;
    w->nin++;
  }
  return (int) w->nin;
}

int wire_send(wire_t* w, const struct iovec pkts[], unsigned int npkts) {
  for (unsigned int i = 0; i < npkts; i++) {
    int rc = nng_send(w->socket, pkts[i].iov_base, pkts[i].iov_len, NNG_FLAG_NONBLOCK);
    w->sends++;
    w->would_block += rc == NNG_EAGAIN;
    if (rc != 0) return rc == NNG_EAGAIN ? (int) i : rc == NNG_ENOMEM ? -ENOMEM : -EIO;
  }
  return (int) npkts;
}

json_t* wire_stats(const wire_t* w) {
  return json_pack("{s:I, s:I, s:I}", "sends", (json_int_t) w->sends, "receives", (json_int_t) w->receives,
                   "would_block", (json_int_t) w->would_block);
}

/* A socket that nobody is connected to takes messages into its buffer, so the peer is waited for here. */
static int connect_until(wire_t* w, const perf_options_t* o, const char* url) {
  uint64_t start_ns = perf_now_ns();
  int rc;
  while ((rc = nng_dial(w->socket, url, NULL, 0)) == NNG_ECONNREFUSED || rc == NNG_ENOENT)
    if (!perf_keep_waiting(o, start_ns)) break;
  return rc;
}

/* The app's first message says that it is there. */
static int greet(wire_t* w, const perf_options_t* o) {
  uint64_t start_ns = perf_now_ns();
  nng_msg* hello;
  if (o->role == ROLE_APP) return nng_send(w->socket, (char[]){0}, 1, 0);
  while (nng_recvmsg(w->socket, &hello, NNG_FLAG_NONBLOCK) != 0)
    if (!perf_keep_waiting(o, start_ns)) return NNG_ETIMEDOUT;
  nng_msg_free(hello);
  return 0;
}

wire_t* wire_open(const perf_options_t* o) {
  char path[128], url[140];
  wire_t* w = calloc(1, sizeof(*w));
  if (w == NULL || !wire_path(o, path, sizeof(path)) || nng_pair0_open(&w->socket) != 0) {
    free(w);
    return NULL;
  }
  snprintf(url, sizeof(url), "ipc://%s", path);
  nng_socket_set_int(w->socket, NNG_OPT_RECVBUF, BUFFER_MESSAGES);
  nng_socket_set_int(w->socket, NNG_OPT_SENDBUF, BUFFER_MESSAGES);
  nng_socket_set_size(w->socket, NNG_OPT_RECVMAXSZ, WIRE_MAX_PACKET_BYTES);
  int rc = o->role == ROLE_ENGINE ? nng_listen(w->socket, url, NULL, 0) : connect_until(w, o, url);
  if (rc == 0) rc = nng_socket_get_int(w->socket, NNG_OPT_RECVFD, &w->recv_fd);
  if (rc == 0) rc = nng_socket_get_int(w->socket, NNG_OPT_SENDFD, &w->send_fd);
  if (rc == 0) rc = greet(w, o);
  if (rc == 0) return w;
  perf_error(o, "%s: %s", url, nng_strerror(rc));
  wire_close(w);
  return NULL;
}

void wire_close(wire_t* w) {
  give_back(w);
  nng_close(w->socket);
  free(w);
}

int main(int argc, char** argv) {
  return perf_main(argc, argv, "nng-perf", 0);
}
