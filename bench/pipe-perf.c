/* SPDX-License-Identifier: MIT */
/* pipe-perf.c: the measuring program's link over a Unix stream socket and uv_pipe_t: what an application
 * and a forwarder do without shared memory. Each packet is a 4-byte length and its bytes; a batch is one
 * write; with --coalesce all packets handed over at once are copied into one buffer and written together.
 * Guarantees the same order and the same callbacks as the face, so that the sides cannot tell. */
#include "perf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum {
  HEADER_BYTES = 4,
  COALESCE_BYTES = 1 << 16,
  MAX_PACKET_BYTES = 1 << 20,
  READ_BYTES = 2 * (HEADER_BYTES + MAX_PACKET_BYTES), /* a whole packet fits behind the rest of another */
  READ_AT_ONCE = 1 << 16                              /* libuv's own suggestion for a read */
};

struct link_s {
  side_t* side;
  const perf_options_t* o;
  uv_loop_t loop;
  uv_pipe_t pipe;
  uv_idle_t idle;
  uv_timer_t tick;
  uv_write_t queued_req, tail_req;
  uint32_t headers[PERF_MAX_BATCH];
  uv_buf_t bufs[2 * PERF_MAX_BATCH];
  char* together; /* --coalesce: what goes into one write */
  char* tail;     /* what the socket did not take of a packet it took in part */
  char* in;       /* received: in[in_at .. in_len) is not delivered yet */
  size_t in_at, in_len;
  bool stopped, paused, tail_waits;
  uint64_t writes, short_writes, reads, would_block;
  char errmsg[384];
};

static int failed(link_t* l, const char* call, int rc) {
  snprintf(l->errmsg, sizeof(l->errmsg), "%s socket /tmp/.%s.sock: %s", call, l->o->name, uv_strerror(rc));
  return rc;
}

const char* link_errmsg(const link_t* l) {
  return l->errmsg;
}

/* --- Receiving --------------------------------------------------------------------------------- */

/* Cuts up to PERF_MAX_RECV whole packets out of what was received. */
static unsigned int cut_packets(link_t* l, struct iovec pkts[]) {
  unsigned int n = 0;
  uint32_t len;
  while (n < PERF_MAX_RECV && l->in_len - l->in_at >= HEADER_BYTES) {
    memcpy(&len, l->in + l->in_at, HEADER_BYTES);
    if (len == 0 || len > MAX_PACKET_BYTES || l->in_len - l->in_at - HEADER_BYTES < len) break;
    pkts[n++] = (struct iovec){l->in + l->in_at + HEADER_BYTES, len};
    l->in_at += HEADER_BYTES + len;
  }
  return n;
}

static void deliver(link_t* l) {
  struct iovec pkts[PERF_MAX_RECV];
  unsigned int n;
  while (!l->stopped && !l->paused && (n = cut_packets(l, pkts)) > 0) side_on_packets(l->side, pkts, n);
  if (l->in_at == 0 || l->paused) return;
  memmove(l->in, l->in + l->in_at, l->in_len - l->in_at);
  l->in_len -= l->in_at;
  l->in_at = 0;
}

static void on_alloc(uv_handle_t* handle, size_t suggested, uv_buf_t* buf) {
  link_t* l = handle->data;
  size_t room = READ_BYTES - l->in_len;
  (void) suggested;
  *buf = uv_buf_init(l->in + l->in_len, (unsigned int) (room < READ_AT_ONCE ? room : READ_AT_ONCE));
}

static void on_read(uv_stream_t* stream, ssize_t nread, const uv_buf_t* buf) {
  link_t* l = stream->data;
  (void) buf;
  if (nread > 0) {
    l->reads++;
    l->in_len += (size_t) nread;
    deliver(l);
  } else if (nread < 0) {
    uv_read_stop(stream);
    side_on_end(l->side, nread == UV_EOF ? 0 : failed(l, "read", (int) nread));
  }
}

void link_pause(link_t* l, bool on) {
  l->paused = on;
  if (on)
    uv_read_stop((uv_stream_t*) &l->pipe);
  else
    uv_read_start((uv_stream_t*) &l->pipe, on_alloc, on_read);
}

/* --- Sending ----------------------------------------------------------------------------------- */

static unsigned int frame(link_t* l, const struct iovec pkts[], unsigned int npkts) {
  for (unsigned int i = 0; i < npkts; i++) {
    l->headers[i] = (uint32_t) pkts[i].iov_len;
    l->bufs[(size_t) 2 * i] = uv_buf_init((char*) &l->headers[i], HEADER_BYTES);
    l->bufs[2 * i + 1] = uv_buf_init(pkts[i].iov_base, (unsigned int) pkts[i].iov_len);
  }
  return 2 * npkts;
}

static void close_pipe(link_t* l) {
  if (!uv_is_closing((uv_handle_t*) &l->pipe)) uv_close((uv_handle_t*) &l->pipe, NULL);
}

static void on_tail_written(uv_write_t* req, int status) {
  link_t* l = req->data;
  l->tail_waits = false;
  if (l->stopped)
    close_pipe(l);
  else if (status < 0)
    side_on_end(l->side, failed(l, "write", status));
}

/* The socket took `written` bytes and ended inside the packet at bufs[first]: that packet's rest is
 * copied and queued, so that whole packets are all anybody sees. */
static int queue_tail(link_t* l, unsigned int first, size_t written) {
  size_t len = 0, skip = written;
  for (unsigned int i = first; i < first + 2; i++) {
    size_t part = l->bufs[i].len < skip ? l->bufs[i].len : skip;
    memcpy(l->tail + len, l->bufs[i].base + part, l->bufs[i].len - part);
    len += l->bufs[i].len - part;
    skip -= part;
  }
  uv_buf_t rest = uv_buf_init(l->tail, (unsigned int) len);
  l->short_writes++;
  l->tail_waits = true;
  return uv_write(&l->tail_req, (uv_stream_t*) &l->pipe, &rest, 1, on_tail_written);
}

/* Writes packets with one call. Returns how many are gone, or will go before anything later. */
static int write_some(link_t* l, const struct iovec pkts[], unsigned int npkts) {
  int rc = uv_try_write((uv_stream_t*) &l->pipe, l->bufs, frame(l, pkts, npkts));
  size_t left = rc > 0 ? (size_t) rc : 0;
  unsigned int taken = 0;
  l->writes++;
  l->would_block += rc == UV_EAGAIN;
  if (rc < 0) return rc == UV_EAGAIN ? 0 : failed(l, "write", rc);
  while (taken < npkts && left >= HEADER_BYTES + pkts[taken].iov_len) left -= HEADER_BYTES + pkts[taken++].iov_len;
  if (left == 0) return (int) taken;
  rc = queue_tail(l, 2 * taken, left);
  return rc < 0 ? failed(l, "write", rc) : (int) taken + 1;
}

/* Fills one buffer and writes it. What the socket does not take of it stays there and is queued. */
static int write_together(link_t* l, const struct iovec pkts[], unsigned int npkts) {
  size_t len = 0;
  unsigned int taken = 0;
  while (taken < npkts && (len == 0 || len + HEADER_BYTES + pkts[taken].iov_len <= COALESCE_BYTES)) {
    uint32_t header = (uint32_t) pkts[taken].iov_len;
    memcpy(l->together + len, &header, HEADER_BYTES);
    memcpy(l->together + len + HEADER_BYTES, pkts[taken].iov_base, header);
    len += HEADER_BYTES + header;
    taken++;
  }
  uv_buf_t buf = uv_buf_init(l->together, (unsigned int) len);
  int rc = uv_try_write((uv_stream_t*) &l->pipe, &buf, 1);
  l->writes++;
  l->would_block += rc == UV_EAGAIN;
  if (rc < 0) return rc == UV_EAGAIN ? 0 : failed(l, "write", rc);
  if ((size_t) rc == len) return (int) taken;
  buf = uv_buf_init(l->together + rc, (unsigned int) (len - (size_t) rc));
  l->short_writes++;
  l->tail_waits = true;
  rc = uv_write(&l->tail_req, (uv_stream_t*) &l->pipe, &buf, 1, on_tail_written);
  return rc < 0 ? failed(l, "write", rc) : (int) taken;
}

int link_send(link_t* l, const struct iovec pkts[], unsigned int npkts) {
  unsigned int taken = 0;
  while (l->o->coalesce && taken < npkts && !l->tail_waits) {
    int rc = write_together(l, pkts + taken, npkts - taken);
    if (rc <= 0) return rc < 0 ? rc : (int) taken;
    taken += (unsigned int) rc;
  }
  while (taken < npkts && !l->tail_waits) {
    unsigned int n = npkts - taken < l->o->batch ? npkts - taken : l->o->batch;
    int rc = write_some(l, pkts + taken, n);
    if (rc <= 0) return rc < 0 ? rc : (int) taken;
    taken += (unsigned int) rc;
  }
  return (int) taken;
}

static void on_queue_written(uv_write_t* req, int status) {
  link_t* l = req->data;
  if (l->stopped) return;
  if (status < 0) {
    side_on_end(l->side, failed(l, "write", status));
    return;
  }
  side_on_room(l->side);
  deliver(l); /* what a pause held back */
}

int link_queue(link_t* l, const struct iovec pkts[], unsigned int npkts) {
  unsigned int n = npkts < l->o->batch ? npkts : l->o->batch;
  int rc = uv_write(&l->queued_req, (uv_stream_t*) &l->pipe, l->bufs, frame(l, pkts, n), on_queue_written);
  return rc < 0 ? failed(l, "write", rc) : (int) n;
}

/* --- Life -------------------------------------------------------------------------------------- */

static void on_idle(uv_idle_t* idle) {
  link_t* l = idle->data;
  side_on_idle(l->side);
}

static void on_tick(uv_timer_t* tick) {
  link_t* l = tick->data;
  side_tick(l->side);
}

void link_idle(link_t* l, bool on) {
  if (on)
    uv_idle_start(&l->idle, on_idle);
  else
    uv_idle_stop(&l->idle);
}

static int open_socket(link_t* l) {
  const perf_options_t* o = l->o;
  int fd = perf_open_socket(o);
  if (fd < 0) return failed(l, o->role == ROLE_ENGINE ? "listen" : "connect", fd);
  int rc = uv_pipe_open(&l->pipe, fd);
  if (rc < 0)
    close(fd);
  else
    rc = uv_read_start((uv_stream_t*) &l->pipe, on_alloc, on_read);
  if (rc == 0) rc = uv_timer_start(&l->tick, on_tick, perf_tick_ms(o), perf_tick_ms(o));
  return rc < 0 ? failed(l, "open", rc) : 0;
}

link_t* link_open(side_t* s, const perf_options_t* o) {
  link_t* l = calloc(1, sizeof(*l));
  if (l == NULL || uv_loop_init(&l->loop) != 0 || (l->in = malloc(READ_BYTES)) == NULL ||
      (l->tail = malloc(HEADER_BYTES + MAX_PACKET_BYTES)) == NULL ||
      (l->together = malloc(COALESCE_BYTES + HEADER_BYTES + MAX_PACKET_BYTES)) == NULL) {
    perf_error(o, "uv_loop_init: out of memory or descriptors");
    return NULL; /* and the program ends */
  }
  l->side = s;
  l->o = o;
  uv_pipe_init(&l->loop, &l->pipe, 0);
  uv_idle_init(&l->loop, &l->idle);
  uv_timer_init(&l->loop, &l->tick);
  l->pipe.data = l->idle.data = l->tick.data = l->queued_req.data = l->tail_req.data = l;
  if (open_socket(l) == 0) return l;
  perf_error(o, "%s", l->errmsg);
  link_stop(l);
  link_free(l);
  return NULL;
}

void link_run(link_t* l) {
  uv_run(&l->loop, UV_RUN_DEFAULT);
}

/* The rest of a packet that the socket took in part is still to go: the peer counts it. */
void link_stop(link_t* l) {
  l->stopped = true;
  if (!l->tail_waits || perf_signal() != 0) close_pipe(l);
  uv_close((uv_handle_t*) &l->idle, NULL);
  uv_close((uv_handle_t*) &l->tick, NULL);
}

json_t* link_stats(const link_t* l) {
  return json_pack("{s:I, s:I, s:I, s:I}", "writes", (json_int_t) l->writes, "short_writes",
                   (json_int_t) l->short_writes, "would_block", (json_int_t) l->would_block, "reads",
                   (json_int_t) l->reads);
}

void link_free(link_t* l) {
  uv_run(&l->loop, UV_RUN_DEFAULT);
  if (uv_loop_close(&l->loop) != 0) perf_error(l->o, "uv_loop_close: handles are left open");
  free(l->in);
  free(l->tail);
  free(l->together);
  free(l);
}

int main(int argc, char** argv) {
  return perf_main(argc, argv, "pipe-perf", PERF_PIPE);
}
