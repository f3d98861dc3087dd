/* SPDX-License-Identifier: MIT */
/* perf_uvface.c: uvface-perf, the measuring program's link over uvface.h: what an application sees that
 * uses the face as its manual says. Packets go by try_send while there is room, by one queued send when
 * there is none, so that a full ring is waited for inside the loop and not in a circle of system calls.
 * Uses nothing but the public header, so it is also an example of a program that saturates a face. */
#include "perf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uvface.h>

struct link_s {
  side_t* side;
  const perf_options_t* o;
  uv_loop_t loop;
  uvface_t face;
  uvface_send_t req;
  uv_idle_t idle;
  uv_timer_t tick;
  uvface_stats_t stats;
  uvface_recv_cb on_recv;
  struct iovec elements[PERF_MAX_BATCH]; /* over a stream: of a queued send */
  bool stopped;
};

/* libuv promises that a uv_buf_t may be cast to a struct iovec on Unix, so one array serves both. */
static const uv_buf_t* as_bufs(const struct iovec pkts[]) {
  return (const uv_buf_t*) pkts;
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  link_t* l = face->data;
  if (l->stopped) return;
  if (npkts > 0)
    side_on_packets(l->side, (const struct iovec*) pkts, (unsigned int) npkts);
  else
    side_on_end(l->side, npkts == UV_EOF ? 0 : (int) npkts);
}

/* --- Over a stream: a packet is an element ------------------------------------------------------- */

enum { MAX_HEADER_BYTES = 4, SHORT_BYTES = 252 };

static size_t header_bytes(size_t len) {
  return len <= SHORT_BYTES ? 2 : MAX_HEADER_BYTES;
}

/* Writes type and length before the bytes; what is echoed has the same there already. */
static struct iovec as_element(const struct iovec* pkt) {
  unsigned char* at = (unsigned char*) pkt->iov_base - header_bytes(pkt->iov_len);
  at[0] = 6;
  if (pkt->iov_len <= SHORT_BYTES) {
    at[1] = (unsigned char) pkt->iov_len;
  } else {
    at[1] = 253;
    at[2] = (unsigned char) (pkt->iov_len >> 8);
    at[3] = (unsigned char) pkt->iov_len;
  }
  return (struct iovec){at, header_bytes(pkt->iov_len) + pkt->iov_len};
}

static void on_elements(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  struct iovec bare[PERF_MAX_RECV];
  for (ssize_t p = 0; p < npkts; p++) {
    size_t n = (unsigned char) pkts[p].base[1] <= SHORT_BYTES ? 2 : MAX_HEADER_BYTES;
    bare[p] = (struct iovec){pkts[p].base + n, pkts[p].len - n};
  }
  on_packets(face, npkts, as_bufs(bare));
}

static void on_sent(uvface_send_t* req, int status) {
  link_t* l = req->data;
  if (l->stopped) return;
  if (status < 0)
    side_on_end(l->side, status);
  else
    side_on_room(l->side);
}

static void on_idle(uv_idle_t* idle) {
  link_t* l = idle->data;
  side_on_idle(l->side);
}

static void on_tick(uv_timer_t* tick) {
  link_t* l = tick->data;
  side_tick(l->side);
}

static int open_stream(link_t* l) {
  const perf_options_t* o = l->o;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  int sock = perf_open_socket(o);
  if (sock < 0) {
    perf_error(o, "socket of %s: %s", o->name, strerror(-sock));
    return sock;
  }
  if (o->size_bytes > UINT16_MAX || o->reply_bytes > UINT16_MAX) return -EMSGSIZE;
  options.mtu = MAX_HEADER_BYTES + (uint32_t) (o->size_bytes > o->reply_bytes ? o->size_bytes : o->reply_bytes);
  options.send_timeout_ms = 0;
  int rc = uvface_open_stream(&l->face, sock, &options);
  if (rc < 0) close(sock);
  return rc;
}

/* The first part: the engine makes it and says what is the app's; the second: they meet, and it is handed over. */
static int make_private(link_t* l, uvface_options_t* options, int ret_fds[3]) {
  options->flags |= l->o->private == PERF_BY_SOCKET ? UVFACE_WAKE_SOCKET : UVFACE_WAKE_PIPE;
  int rc = uvface_create_private(&l->face, options);
  return rc < 0 ? rc : uvface_app_fds(&l->face, ret_fds);
}

static int open_private(link_t* l, uvface_options_t* options) {
  const perf_options_t* o = l->o;
  bool is_engine = o->role == ROLE_ENGINE;
  int fds[3];
  int rc = is_engine ? make_private(l, options, fds) : 0;
  if (rc < 0) return rc;
  int sock = perf_open_socket(o);
  rc = sock < 0 ? sock : is_engine ? perf_send_three(sock, fds) : perf_receive_three(sock, fds);
  if (sock >= 0) close(sock);
  if (rc < 0) perf_error(o, "handing %s over: %s", o->name, strerror(-rc));
  if (is_engine) uvface_app_fds_close(&l->face);
  return rc < 0 || is_engine ? rc : uvface_attach(&l->face, fds, options); /* on failure the program ends */
}

static int open_face(link_t* l) {
  const perf_options_t* o = l->o;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uint64_t start_ns = perf_now_ns();
  if (o->stream) return open_stream(l);
  if (o->role == ROLE_ENGINE) {
    options.capacity = o->capacity;
    options.slot_size = o->slot_size;
    options.mode = o->mode_bits;
    options.gid = o->gid;
  }
  options.uid = o->uid;
  options.flags = o->borrow ? UVFACE_RECV_BORROW : 0;
  options.max_slot_size = UINT32_MAX; /* what the other side was asked for */
  options.send_timeout_ms = 0;        /* the stall detector reports instead */
  if (o->hot_ns >= 0) options.hot_ns = (uint32_t) o->hot_ns;
  if (o->spin_ns >= 0) options.spin_ns = (uint32_t) o->spin_ns;
  if (o->private != 0) return open_private(l, &options);
  if (o->role == ROLE_ENGINE) return uvface_create(&l->face, o->name, &options);
  for (;;) {
    int rc = uvface_connect(&l->face, o->name, &options);
    bool not_yet = rc == UV_ENOENT || rc == UV_ECONNREFUSED || rc == UV_EBUSY || rc == UV_EPROTO;
    if (!not_yet || !perf_keep_waiting(o, start_ns)) return rc;
  }
}

/* A word that announces nothing, for it lacks the tag; and not the one that is there before an end comes. */
enum { NOTHING_ANNOUNCED = 1 };

/* Where in the header each end's announcement is (Design 4). */
static off_t caps_offset(perf_role_t role) {
  return role == ROLE_ENGINE ? 16 : 20;
}

/* Until the server has taken its announcement back, too: who sees it for a moment waits for the wake-up that it
 * promises, and gets it. A process that was started by itself knows nothing of the other's options. */
static bool await_silence(const perf_options_t* o, int fd) {
  uint64_t start_ns = perf_now_ns();
  off_t at = caps_offset(o->role == ROLE_ENGINE ? ROLE_APP : ROLE_ENGINE);
  uint32_t word = 0;
  if (o->server_pid == 0) return true;
  while (pread(fd, &word, sizeof(word), at) == sizeof(word) && word != NOTHING_ANNOUNCED)
    if (!perf_keep_waiting(o, start_ns)) return false;
  return word == NOTHING_ANNOUNCED;
}

/* Takes back what this end announces, a word in the reserved bytes of the header, so that the other treats it as a face
 * of ndn-rs. This end still does what it no longer promises. */
static int announce_nothing(const perf_options_t* o) {
  char path[256];
  uint32_t none = NOTHING_ANNOUNCED;
  snprintf(path, sizeof(path), "/ndn-shm-%s", o->name);
  int fd = shm_open(path, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return -errno;
  ssize_t n = pwrite(fd, &none, sizeof(none), caps_offset(o->role));
  bool silent = n == sizeof(none) && await_silence(o, fd);
  close(fd);
  return silent ? 0 : -EIO;
}

static int start(link_t* l) {
  int rc = open_face(l);
  if (rc == 0 && l->o->literal && !l->o->stream) rc = announce_nothing(l->o);
  l->on_recv = l->o->stream ? on_elements : on_packets;
  if (rc == 0) rc = uvface_recv_start(&l->face, l->on_recv);
  if (rc < 0) perf_error(l->o, "%s", uvface_errmsg(&l->face));
  return rc < 0 ? rc : uv_timer_start(&l->tick, on_tick, perf_tick_ms(l->o), perf_tick_ms(l->o));
}

link_t* link_open(side_t* s, const perf_options_t* o) {
  link_t* l = calloc(1, sizeof(*l));
  if (l == NULL || uv_loop_init(&l->loop) != 0 || uvface_init(&l->loop, &l->face) != 0) {
    perf_error(o, "uv_loop_init, uvface_init: out of memory or descriptors");
    return NULL; /* and the program ends */
  }
  l->side = s;
  l->o = o;
  l->face.data = l->req.data = l->idle.data = l->tick.data = l;
  uv_idle_init(&l->loop, &l->idle);
  uv_timer_init(&l->loop, &l->tick);
  if (start(l) == 0) return l;
  link_stop(l);
  link_free(l);
  return NULL;
}

void link_run(link_t* l) {
  uv_run(&l->loop, UV_RUN_DEFAULT);
}

/* As the face wants them. */
static const struct iovec* encode(link_t* l, const struct iovec pkts[], unsigned int npkts) {
  if (!l->o->stream) return pkts;
  for (unsigned int i = 0; i < npkts; i++) l->elements[i] = as_element(&pkts[i]);
  return l->elements;
}

int link_send(link_t* l, const struct iovec pkts[], unsigned int npkts) {
  unsigned int batch = l->o->batch, taken = 0;
  pkts = encode(l, pkts, npkts);
  while (taken < npkts) {
    const uv_buf_t* bufs = as_bufs(pkts + taken);
    unsigned int n = npkts - taken < batch ? npkts - taken : batch;
    int rc = batch == 1 ? uvface_try_send(&l->face, bufs, 1) : uvface_try_send_batch(&l->face, bufs, n);
    if (rc == UV_EAGAIN) break;
    if (rc < 0) return rc;
    taken += batch == 1 ? 1 : (unsigned int) rc;
  }
  return (int) taken;
}

int link_queue(link_t* l, const struct iovec pkts[], unsigned int npkts) {
  unsigned int n = npkts < l->o->batch ? npkts : l->o->batch;
  pkts = encode(l, pkts, n);
  int rc = n == 1 ? uvface_send(&l->req, &l->face, as_bufs(pkts), 1, on_sent)
                  : uvface_send_batch(&l->req, &l->face, as_bufs(pkts), n, on_sent);
  return rc < 0 ? rc : (int) n;
}

void link_idle(link_t* l, bool on) {
  if (on)
    uv_idle_start(&l->idle, on_idle);
  else
    uv_idle_stop(&l->idle);
}

void link_pause(link_t* l, bool on) {
  int rc = on ? uvface_recv_stop(&l->face) : uvface_recv_start(&l->face, l->on_recv);
  if (rc < 0) side_on_end(l->side, rc == UV_EOF ? 0 : rc);
}

void link_stop(link_t* l) {
  l->stopped = true;
  uvface_get_stats(&l->face, &l->stats);
  uvface_close(&l->face, NULL);
  uv_close((uv_handle_t*) &l->idle, NULL);
  uv_close((uv_handle_t*) &l->tick, NULL);
}

const char* link_errmsg(const link_t* l) {
  return uvface_errmsg(&l->face);
}

json_t* link_stats(const link_t* l) {
  const uvface_stats_t* s = &l->stats;
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "wakeups_sent", (json_int_t) s->wakeups_sent,
                   "wakeups_received", (json_int_t) s->wakeups_received, "parks", (json_int_t) s->parks, "spin_hits",
                   (json_int_t) s->spin_hits, "recheck_hits", (json_int_t) s->recheck_hits, "tx_full",
                   (json_int_t) s->tx_full, "capacity", (json_int_t) s->capacity, "slot_size",
                   (json_int_t) s->slot_size);
}

/* A loop that cannot be closed has a handle left: a fault of the library or of this file. */
void link_free(link_t* l) {
  uv_run(&l->loop, UV_RUN_DEFAULT);
  if (uv_loop_close(&l->loop) != 0) perf_error(l->o, "uv_loop_close: handles are left open");
  free(l);
}

int main(int argc, char** argv) {
  return perf_main(argc, argv, "uvface-perf", PERF_RING | PERF_FACE);
}
