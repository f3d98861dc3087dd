/* SPDX-License-Identifier: MIT */
/* test_uvface_stream.c: faces over a stream socket: framing, what a peer can do to one, and the filter. A face on one
 * end of a socket pair; at the other end a second face, or the test itself, which writes bytes as it likes. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "faces.h"

#define MTU 8800

/* --- Elements --------------------------------------------------------------------------------- */

/* Writes an element of exactly `bytes` bytes, at least 2, whose content tells its number. */
static void write_element(unsigned char* at, size_t bytes, unsigned int number) {
  size_t header = bytes < 255 ? 2 : bytes <= 259 ? 4 : 4;
  size_t length = bytes - header;

  at[0] = (unsigned char) (number % 2 == 0 ? 5 : 6);
  if (header == 2) {
    at[1] = (unsigned char) length;
  } else {
    at[1] = 253;
    at[2] = (unsigned char) (length >> 8);
    at[3] = (unsigned char) length;
  }
  for (size_t b = header; b < bytes; b++) at[b] = (unsigned char) (number + b);
}

/* Sizes that an element can have: not 255 and 256, which no shortest header makes. */
static size_t size_of(unsigned int number) {
  static const size_t sizes[] = {2, 3, 100, 254, 257, 258, 259, 300, 1024, 4000, MTU};

  return sizes[number % (sizeof(sizes) / sizeof(sizes[0]))];
}

/* --- A face, and the other end of its socket --------------------------------------------------- */

typedef struct lone_s {
  uv_loop_t loop;
  uvface_t face;
  int peer;
  unsigned int received; /* packets, checked against size_of() if `checks` */
  bool checks;
  int error;
  int calls;
  unsigned char last[MTU]; /* the last packet */
  size_t last_bytes;
} lone_t;

static void open_pair(int ret_fds[2]) {
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_fds), 0);
}

static void lone_open(lone_t* l, const uvface_options_t* options) {
  int fds[2];

  memset(l, 0, sizeof(*l));
  open_pair(fds);
  l->peer = fds[1];
  ASSERT_OK(fcntl(l->peer, F_SETFL, O_NONBLOCK));
  ASSERT_OK(uv_loop_init(&l->loop));
  ASSERT_OK(uvface_init(&l->loop, &l->face));
  l->face.data = l;
  ck_assert_msg(uvface_open_stream(&l->face, fds[0], options) == 0, "%s", uvface_errmsg(&l->face));
}

static void lone_close(lone_t* l) {
  uvface_close(&l->face, NULL);
  finish_loop(&l->loop);
  if (l->peer >= 0) close(l->peer);
}

static void lone_recv(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  static unsigned char expected[MTU];
  lone_t* l = face->data;

  l->calls++;
  ck_assert_int_eq(l->error, 0);
  if (npkts < 0) {
    l->error = (int) npkts;
    return;
  }
  HOLDS(npkts > 0 && npkts <= 64);
  for (ssize_t p = 0; p < npkts; p++) {
    if (l->checks) {
      HOLDS(pkts[p].len == size_of(l->received));
      write_element(expected, pkts[p].len, l->received);
      HOLDS(memcmp(expected, pkts[p].base, pkts[p].len) == 0);
    }
    HOLDS(pkts[p].len <= sizeof(l->last));
    memcpy(l->last, pkts[p].base, pkts[p].len);
    l->last_bytes = pkts[p].len;
    l->received++;
  }
}

static void put(lone_t* l, const void* bytes, size_t n) {
  ck_assert_int_eq(send(l->peer, bytes, n, MSG_NOSIGNAL), (ssize_t) n);
}

/* What the peer has received so far of what it did not read, at most max bytes. */
static ssize_t get(const lone_t* l, void* bytes, size_t max) {
  return recv(l->peer, bytes, max, MSG_DONTWAIT);
}

/* --- A filter ------------------------------------------------------------------------------- */

typedef struct sieve_s {
  uvface_filter_t filter;
  unsigned int seen, ended, closed;
  int status;
  uvface_t* close_it;
  unsigned int close_at;
} sieve_t;

/* Type 100 is a link header around one packet, or around nothing; type 7 is a command, kept from the user. */
static int sift(uvface_filter_t* filter, uvface_t* face, uv_buf_t* packet) {
  sieve_t* s = filter->data;
  const unsigned char* p = (const unsigned char*) packet->base;

  (void) face;
  HOLDS(s->ended == 0);
  s->seen++;
  if (s->close_it != NULL && s->seen == s->close_at) uvface_close(s->close_it, NULL);
  if (p[0] == 7) return 0;
  if (p[0] == 100) {
    packet->base += 2 + p[2]; /* its third byte says how long the header is */
    packet->len -= (size_t) 2 + p[2] + p[3];
    return packet->len != 0;
  }
  return 1;
}

static int narrow(uvface_filter_t* filter, uvface_t* face, uv_buf_t* packet) {
  (void) filter, (void) face;
  packet->base += 8;
  packet->len -= 8;
  return 1;
}

/* A link packet may be longer than the MTU by its headers; what is in it may not. */
TEST(words_about_what_a_filter_left_are_about_that) {
  static unsigned char wire[8908] = {0x64, 253, 0x22, 0xc8, 0x50, 253, 0x22, 0xc4, 6, 253, 0x22, 0xc0};
  uvface_filter_t filter = {.size = sizeof(filter), .on_packet = narrow};
  lone_t l;

  lone_open(&l, NULL);
  ASSERT_OK(uvface_set_filter(&l.face, &filter));
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  put(&l, wire, sizeof(wire));
  RUN_UNTIL(&l.loop, l.error != 0);
  ck_assert_int_eq(l.error, UV_EPROTO);
  ck_assert_msg(strstr(uvface_errmsg(&l.face), "packet of 8900 bytes: larger than the MTU of 8800") != NULL, "%s",
                uvface_errmsg(&l.face));
  lone_close(&l);
}

static void note_end(uvface_filter_t* filter, uvface_t* face, int status) {
  sieve_t* s = filter->data;

  (void) face;
  s->ended++;
  s->status = status;
}

static void note_close(uvface_filter_t* filter, uvface_t* face) {
  sieve_t* s = filter->data;

  (void) face;
  s->closed++;
}

static void sieve_set(sieve_t* s, uvface_t* face) {
  *s = (sieve_t){
      .filter = {
          .size = sizeof(uvface_filter_t), .data = s, .on_packet = sift, .on_end = note_end, .on_close = note_close}};
  ASSERT_OK(uvface_set_filter(face, &s->filter));
}

/* --- Framing ---------------------------------------------------------------------------------- */

TEST(elements_are_found_wherever_the_stream_is_cut) {
  unsigned char wire[2 + 3 + 254 + 257 + 300];
  size_t bytes = 0;
  lone_t l;

  for (unsigned int n = 0; bytes < sizeof(wire); n++) {
    size_t size = (const size_t[]){2, 3, 254, 257, 300}[n];

    write_element(wire + bytes, size, n);
    bytes += size;
  }
  lone_open(&l, NULL);
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  for (size_t cut = 0; cut <= bytes; cut++) {
    unsigned int before = l.received, whole = 0;
    size_t at = 0;

    for (unsigned int n = 0; n < 5 && at + (const size_t[]){2, 3, 254, 257, 300}[n] <= cut; n++) {
      at += (const size_t[]){2, 3, 254, 257, 300}[n];
      whole++;
    }
    if (cut > 0) put(&l, wire, cut);
    for (int turn = 0; turn < 3; turn++) uv_run(&l.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(l.received - before, whole); /* as soon as it is whole, and no sooner */
    if (cut < bytes) put(&l, wire + cut, bytes - cut);
    RUN_UNTIL(&l.loop, l.received == before + 5);
    ck_assert_uint_eq(l.last_bytes, 300);
    ck_assert_mem_eq(l.last, wire + bytes - 300, 300);
  }
  for (size_t b = 0; b < bytes; b++) { /* each byte alone */
    put(&l, wire + b, 1);
    uv_run(&l.loop, UV_RUN_NOWAIT);
  }
  RUN_UNTIL(&l.loop, l.received == 5 * (bytes + 2));
  ck_assert_int_eq(l.error, 0);
  lone_close(&l);
}

typedef struct broken_s {
  const char* what;
  size_t bytes;
  unsigned char wire[12];
} broken_t;

static const broken_t broken[] = {
    {"type 0", 2, {0, 0}},
    {"type 0", 3, {0, 1, 7}},
    {"not a packet: type", 4, {253, 0, 252, 0}},
    {"not a packet: type", 6, {254, 0, 0, 255, 255, 0}},
    {"not a packet: type", 10, {255, 0, 0, 0, 1, 0, 0, 0, 0, 0}},
    {"not a packet: length", 4, {6, 253, 0, 252}},
    {"not a packet: length", 6, {6, 254, 0, 0, 255, 255}},
    {"not a packet: length", 10, {6, 255, 0, 0, 0, 0, 0, 0, 0, 1}},
    {"not a packet: length", 10, {6, 255, 255, 255, 255, 255, 255, 255, 255, 255}},
    {"packet of 8801 bytes: larger than the MTU of 8800", 4, {6, 253, 0x22, 0x5d}},
    {"packet of 4294967301 bytes: larger than the MTU of 8800", 6, {6, 254, 255, 255, 255, 255}},
    {"packet of 4294967305 bytes: larger than the MTU of 8800", 10, {254, 255, 255, 255, 255, 254, 255, 255, 255, 255}},
};
#define N_BROKEN ((int) (sizeof(broken) / sizeof(broken[0])))

TEST_LOOP(what_is_no_packet_ends_the_face_after_the_packets_before_it, N_BROKEN) {
  const broken_t* b = &broken[_i];
  static const unsigned char good[] = {5, 1, 42, 0xff};
  uv_buf_t packet = uv_buf_init((char*) (uintptr_t) good, 3);
  lone_t l;

  lone_open(&l, NULL);
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  put(&l, good, 3);
  put(&l, good, 3);
  put(&l, b->wire, b->bytes);
  RUN_UNTIL(&l.loop, l.error != 0);
  ck_assert_int_eq(l.error, UV_EPROTO);
  ck_assert_uint_eq(l.received, 2);
  ck_assert_msg(strstr(uvface_errmsg(&l.face), b->what) != NULL, "%s", uvface_errmsg(&l.face));
  ck_assert_int_eq(uvface_try_send(&l.face, &packet, 1), UV_EPROTO);
  ck_assert_int_eq(uvface_recv_start(&l.face, lone_recv), UV_EPROTO);
  lone_close(&l);
}

TEST(element_of_exactly_the_mtu_passes_and_one_more_does_not) {
  static unsigned char wire[2 * 301];
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uv_buf_t packet = uv_buf_init((char*) wire, 301);
  lone_t l;

  options.mtu = 300;
  lone_open(&l, &options);
  ck_assert_uint_eq(uvface_get_mtu(&l.face), 300);
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  write_element(wire, 301, 0);
  ck_assert_int_eq(uvface_try_send(&l.face, &packet, 1), UV_EMSGSIZE);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&l.face), "packet of 301 bytes: larger than the MTU of 300"));
  write_element(wire, 300, 0);
  write_element(wire + 300, 301, 0);
  packet.len = 300;
  ck_assert_int_eq(uvface_try_send(&l.face, &packet, 1), 300);
  put(&l, wire, 601);
  RUN_UNTIL(&l.loop, l.error != 0);
  ck_assert_int_eq(l.error, UV_EPROTO);
  ck_assert_uint_eq(l.received, 1);
  lone_close(&l);
}

/* What carries a packet of exactly the MTU is longer, by its headers. */
TEST(link_packet_may_be_longer_by_its_headers) {
  static unsigned char wire[2 * 429];
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  lone_t l;

  options.mtu = 300;
  lone_open(&l, &options);
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  write_element(wire, 428, 0);
  write_element(wire + 428, 429, 0);
  wire[0] = wire[428] = 100;
  put(&l, wire, 857);
  RUN_UNTIL(&l.loop, l.error != 0);
  ck_assert_int_eq(l.error, UV_EPROTO);
  ck_assert_uint_eq(l.received, 1);
  lone_close(&l);
}

/* What would break the peer's stream is refused, whole or in pieces, at once or behind a queue. */
TEST(what_is_no_element_is_not_sent) {
  unsigned char wire[] = {5, 3, 1, 2, 3, 4}, zero[] = {0, 1, 7}, type[] = {253, 0, 200, 0};
  uv_buf_t bufs[4], slot;
  uvface_send_t req;
  lone_t l;

  lone_open(&l, NULL);
  for (int queued = 0; queued < 2; queued++) {
    static unsigned char large[MTU];
    uv_buf_t whole = uv_buf_init((char*) large, sizeof(large));

    for (size_t n = 1; n <= sizeof(wire); n++) {
      bufs[0] = uv_buf_init((char*) wire, (unsigned int) n);
      ck_assert_int_eq(uvface_send(&req, &l.face, bufs, 1, NULL), n == 5 ? 0 : UV_EINVAL);
      if (n == 5) continue;
      ck_assert_ptr_nonnull(strstr(uvface_errmsg(&l.face), "uvface_send: packet of"));
      ck_assert_ptr_nonnull(strstr(uvface_errmsg(&l.face), "is not one TLV element"));
    }
    bufs[0] = uv_buf_init((char*) zero, sizeof(zero));
    ck_assert_int_eq(uvface_send(&req, &l.face, bufs, 1, NULL), UV_EINVAL);
    bufs[0] = uv_buf_init((char*) type, sizeof(type));
    ck_assert_int_eq(uvface_send(&req, &l.face, bufs, 1, NULL), UV_EINVAL);
    bufs[0] = bufs[1] = uv_buf_init((char*) wire, 5);
    bufs[1].len = 4;
    ck_assert_int_eq(uvface_send_batch(&req, &l.face, bufs, 2, NULL), UV_EINVAL);
    if (queued) break;
    bufs[0] = uv_buf_init((char*) wire, 1);
    bufs[1] = uv_buf_init(NULL, 0);
    bufs[2] = uv_buf_init((char*) wire + 1, 1);
    bufs[3] = uv_buf_init((char*) wire + 2, 3);
    ck_assert_int_eq(uvface_try_send(&l.face, bufs, 4), 5);
    bufs[3].len = 2;
    ck_assert_int_eq(uvface_try_send(&l.face, bufs, 4), UV_EINVAL);
    ASSERT_OK(uvface_reserve(&l.face, 5, &slot));
    memset(slot.base, 0, 5);
    ck_assert_int_eq(uvface_commit(&l.face, 5), UV_EINVAL);
    memcpy(slot.base, wire, 5);
    ASSERT_OK(uvface_commit(&l.face, 5)); /* it stayed open */
    write_element(large, sizeof(large), 0);
    while (uvface_try_send(&l.face, &whole, 1) > 0) continue;
    ASSERT_OK(uvface_send(&(uvface_send_t){.data = NULL}, &l.face, &whole, 1, NULL));
    break;
  }
  uvface_close(&l.face, NULL);
  finish_loop(&l.loop);
  ck_assert_int_eq(get(&l, wire, 5), 5);
  ck_assert_mem_eq(wire, ((unsigned char[]){5, 3, 1, 2, 3}), 5);
  close(l.peer);
}

/* --- Two faces -------------------------------------------------------------------------------- */

typedef struct twins_s {
  uv_loop_t loop;
  uvface_t a, b;
} twins_t;

static void twins_open(twins_t* t, const uvface_options_t* options) {
  int fds[2];

  open_pair(fds);
  ASSERT_OK(uv_loop_init(&t->loop));
  ASSERT_OK(uvface_init(&t->loop, &t->a));
  ASSERT_OK(uvface_init(&t->loop, &t->b));
  ck_assert_int_eq(uvface_get_transport(&t->a), UV_ENOTCONN);
  ASSERT_OK(uvface_open_stream(&t->a, fds[0], options));
  ASSERT_OK(uvface_open_stream(&t->b, fds[1], options));
  ck_assert_int_eq(uvface_get_transport(&t->a), UVFACE_STREAM);
}

static void twins_close(twins_t* t) {
  uvface_close(&t->a, NULL);
  uvface_close(&t->b, NULL);
  finish_loop(&t->loop);
}

#define MANY 5000

static unsigned int done_count;

static void in_order(uvface_send_t* req, int status) {
  ck_assert_int_eq(status, 0);
  ck_assert_uint_eq((unsigned int) (uintptr_t) req->data, done_count);
  done_count++;
}

/* Singles, pieces, batches and reservations, far more than buffers hold, both ways at once. */
TEST(all_that_is_sent_arrives_in_order) {
  static uvface_send_t reqs[MANY];
  static unsigned char wire[MANY][300];
  static lone_t at_a, at_b;
  unsigned int n = 0, nreqs = 0, sent_by_b = 0;
  uv_buf_t slot, bufs[40];
  twins_t t;

  memset(&at_a, 0, sizeof(at_a));
  memset(&at_b, 0, sizeof(at_b));
  twins_open(&t, NULL);
  t.a.data = &at_a;
  t.b.data = &at_b;
  done_count = 0;
  while (n < MANY) {
    unsigned int many = nreqs % 3 == 0 ? 1 : nreqs % 3 == 1 ? 40 : 1;

    if (many > MANY - n) many = MANY - n;
    for (unsigned int p = 0; p < many; p++) {
      write_element(wire[n + p], 300, n + p);
      bufs[p] = uv_buf_init((char*) wire[n + p], 300);
    }
    reqs[nreqs].data = (void*) (uintptr_t) nreqs;
    if (nreqs % 3 == 2) {
      uv_buf_t pieces[3] = {uv_buf_init(bufs[0].base, 3), uv_buf_init(bufs[0].base + 3, 7),
                            uv_buf_init(bufs[0].base + 10, 290)};
      ASSERT_OK(uvface_send(&reqs[nreqs], &t.a, pieces, 3, in_order));
    } else {
      ASSERT_OK(uvface_send_batch(&reqs[nreqs], &t.a, bufs, many, in_order));
    }
    n += many;
    nreqs++;
  }
  ASSERT_OK(uvface_recv_start(&t.a, lone_recv));
  ASSERT_OK(uvface_recv_start(&t.b, lone_recv));
  at_a.checks = true;
  while (sent_by_b < MANY) {
    int err = uvface_reserve(&t.b, size_of(sent_by_b), &slot);

    if (err == 0) {
      ck_assert_uint_eq(slot.len, size_of(sent_by_b));
      write_element((unsigned char*) slot.base, slot.len, sent_by_b++);
      ASSERT_OK(uvface_commit(&t.b, slot.len));
    } else {
      ck_assert_int_eq(err, UV_EAGAIN);
      uv_run(&t.loop, UV_RUN_NOWAIT);
    }
  }
  RUN_UNTIL(&t.loop, at_a.received == MANY && at_b.received == MANY && done_count == nreqs);
  ck_assert_mem_eq(at_b.last, wire[MANY - 1], 300);
  ck_assert_uint_eq(stats_of(&t.a).tx_packets, MANY);
  ck_assert_uint_eq(stats_of(&t.b).rx_packets, MANY);
  ck_assert_uint_eq(stats_of(&t.b).rx_bytes, MANY * 300);
  ck_assert_uint_gt(stats_of(&t.b).tx_full, 0);
  twins_close(&t);
}

/* --- Peers ------------------------------------------------------------------------------------ */

/* Who does not read holds up what is sent to it, and nobody else; and gets all of it in the end. */
TEST(peer_that_never_reads_is_waited_for_without_turning) {
  static unsigned char large[MTU], got[MTU];
  uv_buf_t packet = uv_buf_init((char*) large, sizeof(large));
  unsigned int sent = 0;
  lone_t l;

  lone_open(&l, NULL);
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv)); /* a loop that nobody keeps does not run */
  write_element(large, sizeof(large), 0);
  do {
    while (uvface_try_send(&l.face, &packet, 1) > 0) sent++;
    uv_run(&l.loop, UV_RUN_NOWAIT);
  } while (uvface_try_send(&l.face, &packet, 1) > 0 && ++sent > 0);
  ck_assert_uint_gt(sent, 10);
  run_asleep(&l.loop, 300);
  ck_assert_uint_eq(stats_of(&l.face).tx_packets, sent);
  for (unsigned int n = 0; n < sent; n++) {
    size_t have = 0;

    while (have < sizeof(got)) {
      ssize_t more = get(&l, got + have, sizeof(got) - have);

      if (more > 0)
        have += (size_t) more;
      else
        uv_run(&l.loop, UV_RUN_NOWAIT);
    }
    ck_assert_mem_eq(got, large, sizeof(got));
  }
  run_asleep(&l.loop, 300);
  lone_close(&l);
}

static int timed_out;

static void note_timeout(uvface_send_t* req, int status) {
  (void) req;
  ck_assert_int_eq(status, UV_ETIMEDOUT);
  timed_out = 1;
}

TEST(send_to_a_peer_that_never_reads_times_out) {
  static unsigned char large[MTU];
  uv_buf_t packet = uv_buf_init((char*) large, sizeof(large));
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uvface_send_t req, other;
  lone_t l;

  options.send_timeout_ms = 50;
  options.queue_max = 1;
  lone_open(&l, &options);
  write_element(large, sizeof(large), 0);
  while (uvface_try_send(&l.face, &packet, 1) > 0) continue;
  timed_out = 0;
  ASSERT_OK(uvface_send(&req, &l.face, &packet, 1, note_timeout));
  ck_assert_int_eq(uvface_send(&other, &l.face, &packet, 1, note_timeout), UV_ENOBUFS);
  RUN_UNTIL(&l.loop, timed_out);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&l.face), "stayed full for 50 ms"));
  lone_close(&l);
}

/* _i: 1 = in large packets, more than the face's buffer holds. */
TEST_LOOP(end_of_the_peer_comes_after_all_that_it_sent, 2) {
  static unsigned char wire[MTU];
  unsigned int sent = 0;
  lone_t l;

  lone_open(&l, NULL);
  l.checks = _i == 0;
  for (;;) { /* what the socket holds */
    size_t bytes = _i == 0 ? size_of(sent) : MTU;

    write_element(wire, bytes, sent);
    if (send(l.peer, wire, bytes, MSG_NOSIGNAL) < (ssize_t) bytes) break; /* the last one in part */
    sent++;
  }
  if (_i == 1) ck_assert_uint_gt(sent * MTU, 140000);
  close(l.peer);
  l.peer = -1;
  RUN_UNTIL(&l.loop, uvface_try_send(&l.face, &(uv_buf_t){.base = (char*) "\5\0", .len = 2}, 1) == UV_EPIPE);
  ck_assert_uint_eq(l.received, 0);
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  RUN_UNTIL(&l.loop, l.error != 0);
  ck_assert_int_eq(l.error, UV_EOF);
  ck_assert_uint_eq(l.received, sent);
  ck_assert_int_eq(uvface_recv_start(&l.face, lone_recv), UV_EOF);
  ck_assert_uint_gt(strlen(uvface_errmsg(&l.face)), 0);
  lone_close(&l);
}

/* A peer that dies with bytes of ours unread leaves an error behind, not an end of file; SIGPIPE is not raised. */
TEST(peer_that_dies_with_our_bytes_unread_is_an_end_as_well) {
  static unsigned char wire[] = {5, 1, 42};
  uv_buf_t packet = uv_buf_init((char*) wire, sizeof(wire));
  lone_t l;

  signal(SIGPIPE, SIG_DFL);
  lone_open(&l, NULL);
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  ck_assert_int_eq(uvface_try_send(&l.face, &packet, 1), 3);
  uv_run(&l.loop, UV_RUN_NOWAIT);
  put(&l, wire, sizeof(wire));
  close(l.peer);
  l.peer = -1;
  ck_assert_int_eq(uvface_try_send(&l.face, &packet, 1), 3);
  RUN_UNTIL(&l.loop, l.error != 0);
  ck_assert_int_eq(l.error, UV_EOF);
  ck_assert_uint_eq(l.received, 1);
  ck_assert_int_eq(uvface_try_send(&l.face, &packet, 1), UV_EPIPE);
  lone_close(&l);
}

typedef struct victim_s {
  int fd;
  bool reads;
} victim_t;

/* Says something for ever, and listens or not. */
static int talk(void* arg) {
  const victim_t* v = arg;
  unsigned char element[100];
  char ignored[4096];

  write_element(element, sizeof(element), 1);
  for (;;) {
    if (send(v->fd, element, sizeof(element), MSG_NOSIGNAL) < 0) return 1;
    if (v->reads) recv(v->fd, ignored, sizeof(ignored), MSG_DONTWAIT);
  }
}

/* A process at the other end, killed while both talk. _i & 1: it listens; & 2: the face does; & 4: a filter does. */
TEST_LOOP(peer_that_is_killed_is_an_end, 8) {
  unsigned char element[100];
  uv_buf_t packet = uv_buf_init((char*) element, sizeof(element));
  victim_t victim = {.reads = (_i & 1) != 0};
  sieve_t sieve = {.seen = 0};
  int err = 0;
  pid_t pid;
  lone_t l;

  signal(SIGPIPE, SIG_DFL);
  write_element(element, sizeof(element), 1);
  lone_open(&l, NULL);
  victim.fd = l.peer;
  ASSERT_OK(fcntl(l.peer, F_SETFL, 0));
  pid = harness_fork(talk, &victim);
  close(l.peer);
  l.peer = -1;
  if ((_i & 2) != 0) ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  if ((_i & 4) != 0) sieve_set(&sieve, &l.face);
  for (int n = 0; n < 300; n++) {
    uvface_try_send(&l.face, &packet, 1);
    uv_run(&l.loop, UV_RUN_NOWAIT);
  }
  harness_kill(pid);
  RUN_UNTIL(&l.loop, (err = uvface_try_send(&l.face, &packet, 1)) != (int) sizeof(element) && err != UV_EAGAIN);
  ck_assert_int_eq(err, UV_EPIPE);
  if ((_i & 2) == 0) ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  RUN_UNTIL(&l.loop, l.error != 0);
  ck_assert_int_eq(l.error, UV_EOF);
  if ((_i & 4) != 0) RUN_UNTIL(&l.loop, sieve.ended == 1);
  if ((_i & 4) != 0) ck_assert_int_eq(sieve.status, UV_EOF);
  lone_close(&l);
}

static unsigned char burst[200];

static void close_at_once(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  uv_buf_t packet = uv_buf_init((char*) burst, sizeof(burst));
  lone_t* l = face->data;

  l->received += (unsigned int) npkts;
  ck_assert_int_eq(uvface_try_send(face, &packet, 1), (int) sizeof(burst));
  uvface_close(face, NULL);
  ck_assert_mem_eq(pkts[0].base, burst, sizeof(burst)); /* still readable */
}

TEST(what_was_accepted_is_written_by_closing) {
  unsigned char got[2 * sizeof(burst)];
  lone_t l;

  write_element(burst, sizeof(burst), 3);
  lone_open(&l, NULL);
  put(&l, burst, sizeof(burst));
  ASSERT_OK(uvface_recv_start(&l.face, close_at_once));
  RUN_UNTIL(&l.loop, l.received == 1);
  finish_loop(&l.loop);
  ck_assert_int_eq(get(&l, got, sizeof(got)), (int) sizeof(burst));
  ck_assert_mem_eq(got, burst, sizeof(burst));
  ck_assert_int_eq(get(&l, got, sizeof(got)), 0);
  close(l.peer);
}

/* A loop that ends for want of anything to do has written what it was given first. */
TEST(what_was_accepted_is_written_before_the_loop_ends) {
  unsigned char got[sizeof(burst)];
  uv_buf_t packet = uv_buf_init((char*) burst, sizeof(burst));
  lone_t l;

  write_element(burst, sizeof(burst), 3);
  lone_open(&l, NULL);
  ck_assert_int_eq(uvface_try_send(&l.face, &packet, 1), (int) sizeof(burst));
  ck_assert_int_eq(uv_run(&l.loop, UV_RUN_DEFAULT), 0);
  ck_assert_int_eq(get(&l, got, sizeof(got)), (int) sizeof(burst));
  lone_close(&l);
}

TEST(packets_of_a_turn_are_written_together) {
  static unsigned char got[100 * sizeof(burst)];
  uv_buf_t packet = uv_buf_init((char*) burst, sizeof(burst));
  lone_t l;

  write_element(burst, sizeof(burst), 3);
  lone_open(&l, NULL);
  for (int p = 0; p < 100; p++) ck_assert_int_eq(uvface_try_send(&l.face, &packet, 1), (int) sizeof(burst));
  uv_run(&l.loop, UV_RUN_NOWAIT);
  ck_assert_uint_eq(stats_of(&l.face).wakeups_sent, 1);
  ck_assert_int_eq(get(&l, got, sizeof(got)), (int) sizeof(got));
  lone_close(&l);
}

TEST(turn_takes_at_most_64_packets_of_a_stream) {
  static unsigned char wire[1000 * 2];
  unsigned int before = 0, most = 0;
  lone_t l;

  for (size_t b = 0; b < sizeof(wire); b += 2) write_element(wire + b, 2, 0);
  lone_open(&l, NULL);
  put(&l, wire, sizeof(wire));
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  while (l.received < 1000) {
    uv_run(&l.loop, UV_RUN_NOWAIT);
    if (l.received - before > most) most = l.received - before;
    before = l.received;
  }
  ck_assert_uint_eq(most, 64);
  lone_close(&l);
}

/* Without a filter nothing is read for a user who does not receive: the socket pushes back. */
TEST(face_that_does_not_receive_reads_nothing_and_sleeps) {
  static unsigned char wire[60000];
  lone_t l;

  for (size_t b = 0; b < sizeof(wire); b += 200) write_element(wire + b, 200, 0);
  lone_open(&l, NULL);
  put(&l, wire, sizeof(wire));
  run_asleep(&l.loop, 300);
  ck_assert_uint_eq(stats_of(&l.face).wakeups_received, 0);
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  RUN_UNTIL(&l.loop, l.received == 300);
  ASSERT_OK(uvface_recv_stop(&l.face));
  put(&l, wire, sizeof(wire));
  run_asleep(&l.loop, 300);
  ck_assert_uint_eq(l.received, 300);
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  RUN_UNTIL(&l.loop, l.received == 600);
  lone_close(&l);
}

/* More than the face's buffer holds, in packets that take many turns. */
TEST_LOOP(face_whose_buffer_is_full_reads_on, 2) {
  static unsigned char wire[30000];
  unsigned int sent = 0;
  sieve_t sieve;
  lone_t l;

  for (size_t b = 0; b < sizeof(wire); b += 20) write_element(wire + b, 20, 0);
  lone_open(&l, NULL);
  if (_i == 1) sieve_set(&sieve, &l.face);
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  for (int n = 0; n < 20; n++) {
    size_t at = 0;

    while (at < sizeof(wire)) {
      ssize_t more = send(l.peer, wire + at, sizeof(wire) - at, MSG_NOSIGNAL);

      if (more < 0) break;
      at += (size_t) more;
    }
    if (at == 0) break;
    for (; at < sizeof(wire); uv_run(&l.loop, UV_RUN_NOWAIT)) {
      ssize_t more = send(l.peer, wire + at, sizeof(wire) - at, MSG_NOSIGNAL);

      if (more > 0) at += (size_t) more;
    }
    sent += sizeof(wire) / 20;
  }
  RUN_UNTIL(&l.loop, l.received == sent);
  put(&l, wire, 20);
  RUN_UNTIL(&l.loop, l.received == sent + 1);
  lone_close(&l);
}

TEST(idle_stream_face_sleeps) {
  lone_t l;

  lone_open(&l, NULL);
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  run_asleep(&l.loop, 300);
  put(&l, "\5\0", 2);
  RUN_UNTIL(&l.loop, l.received == 1);
  run_asleep(&l.loop, 300);
  lone_close(&l);
}

/* --- What a filter sees ------------------------------------------------------------------------ */

/* A link packet: `before` bytes of header beside type and length, an element of 4, `after` bytes. */
static size_t wrap(unsigned char* at, unsigned char before, unsigned char after, unsigned char content) {
  at[0] = 100;
  at[1] = (unsigned char) (before + 4 + after);
  memset(at + 2, 0, before);
  at[2] = before;
  at[3] = after;
  memcpy(at + 2 + before, ((unsigned char[]){6, 2, content, content}), 4);
  memset(at + 6 + before, 0, after);
  return (size_t) 6 + before + after;
}

/* Headers of every length around packets, commands in between: what is passed on is exactly the packets. */
TEST_LOOP(filter_keeps_commands_and_takes_headers_off, 2) {
  static unsigned char wire[65536];
  size_t bytes = 0;
  unsigned int packets = 0, all = 0;
  sieve_t sieve;
  lone_t l;

  lone_open(&l, NULL);
  sieve_set(&sieve, &l.face);
  for (unsigned char before = 2; before < 20; before++) {
    for (unsigned char after = 0; after < 20; after++) {
      bytes += wrap(wire + bytes, before, after, after);
      write_element(wire + bytes, (size_t) 2 + after, 0);
      wire[bytes] = 7;
      bytes += (size_t) 2 + after;
      packets++;
      all += 2;
    }
  }
  ck_assert_uint_lt(bytes, sizeof(wire));
  put(&l, wire, bytes);
  if (_i == 1) RUN_UNTIL(&l.loop, sieve.seen == all); /* all of it is seen before the user receives */
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  RUN_UNTIL(&l.loop, l.received == packets);
  ck_assert_uint_eq(sieve.seen, all);
  ck_assert_mem_eq(l.last, ((unsigned char[]){6, 2, 19, 19}), 4);
  ck_assert_uint_eq(l.last_bytes, 4);
  close(l.peer);
  l.peer = -1;
  RUN_UNTIL(&l.loop, sieve.ended == 1);
  ck_assert_int_eq(l.error, UV_EOF); /* the user was told before */
  ck_assert_int_eq(sieve.status, UV_EOF);
  lone_close(&l);
  ck_assert_uint_eq(sieve.ended, 1);
}

TEST(turn_shows_a_filter_at_most_64_packets) {
  static unsigned char wire[1000 * 2];
  unsigned int before = 0, most = 0;
  sieve_t sieve;
  lone_t l;

  for (size_t b = 0; b < sizeof(wire); b += 2) memcpy(wire + b, "\7\0", 2);
  lone_open(&l, NULL);
  sieve_set(&sieve, &l.face);
  uvface_ref(&l.face);
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  put(&l, wire, sizeof(wire));
  while (sieve.seen < 1000) {
    uv_run(&l.loop, UV_RUN_NOWAIT);
    if (sieve.seen - before > most) most = sieve.seen - before;
    before = sieve.seen;
  }
  ck_assert_uint_eq(most, 64);
  lone_close(&l);
}

/* A part that is no element, such as a fragment of garbage, could not be told from its neighbours. */
TEST(part_that_is_no_element_is_dropped) {
  unsigned char wire[] = {100, 6, 2, 0, 6, 9, 1, 1, 6, 1, 42};
  sieve_t sieve;
  lone_t l;

  lone_open(&l, NULL);
  sieve_set(&sieve, &l.face);
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  put(&l, wire, sizeof(wire));
  RUN_UNTIL(&l.loop, l.received == 1);
  ck_assert_mem_eq(l.last, ((unsigned char[]){6, 1, 42}), 3);
  ck_assert_uint_eq(sieve.seen, 2);
  lone_close(&l);
}

/* Commands are seen though the user does not receive, until what waits for the user fills the buffer; then reading
 * stops, and the loop sleeps. */
TEST(filter_sees_commands_until_the_buffer_is_full) {
  static unsigned char large[MTU];
  unsigned char command[] = {7, 1, 1};
  unsigned int sent = 0, before;
  sieve_t sieve;
  lone_t l;

  lone_open(&l, NULL);
  l.checks = false;
  sieve_set(&sieve, &l.face);
  for (int n = 0; n < 100000; n++) { /* more than any buffer holds: they leave no trace */
    if (get(&l, large, 1) < 0 && send(l.peer, command, sizeof(command), MSG_NOSIGNAL) == 3) sent++;
    if (n % 100 == 0) uv_run(&l.loop, UV_RUN_NOWAIT);
  }
  RUN_UNTIL(&l.loop, sieve.seen == sent);
  write_element(large, sizeof(large), 0);
  for (;;) {
    before = sieve.seen;
    if (send(l.peer, large, sizeof(large), MSG_NOSIGNAL) == (ssize_t) sizeof(large)) {
      sent++;
      continue;
    }
    run_for(&l.loop, 20);
    if (sieve.seen == before) break;
  }
  ck_assert_uint_lt(sieve.seen, sent);
  run_asleep(&l.loop, 300);
  ck_assert_uint_eq(sieve.ended, 0);
  close(l.peer);
  l.peer = -1;
  RUN_UNTIL(&l.loop, sieve.ended == 1); /* though it cannot read on */
  run_asleep(&l.loop, 300);
  lone_close(&l);
}

TEST_LOOP(filter_is_told_of_the_end_though_nobody_receives, 3) {
  sieve_t sieve;
  lone_t l;

  lone_open(&l, NULL);
  sieve_set(&sieve, &l.face);
  if (_i == 1) put(&l, "\7\0\5\1x\0\0", 7); /* a command, a packet, and garbage */
  if (_i == 2) put(&l, "\7\0\5\1x", 5);
  if (_i != 1) {
    run_asleep(&l.loop, 100);
    close(l.peer);
    l.peer = -1;
  }
  RUN_UNTIL(&l.loop, sieve.ended == 1);
  ck_assert_int_eq(sieve.status, _i == 1 ? UV_EPROTO : UV_EOF);
  ck_assert_uint_eq(sieve.seen, _i == 0 ? 0 : 2);
  run_asleep(&l.loop, 100);
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv)); /* what was passed on before is still there */
  RUN_UNTIL(&l.loop, l.error != 0);
  ck_assert_int_eq(l.error, _i == 1 ? UV_EPROTO : UV_EOF);
  ck_assert_uint_eq(l.received, _i == 0 ? 0 : 1);
  lone_close(&l);
  ck_assert_uint_eq(sieve.ended, 1);
}

static sieve_t* closing_sieve;

static void close_comes_first(uvface_t* face) {
  (void) face;
  ck_assert_uint_eq(closing_sieve->closed, 0);
  closing_sieve->seen = 1000;
}

TEST(filter_is_told_of_the_close_after_its_callback) {
  sieve_t sieve;
  lone_t l;

  lone_open(&l, NULL);
  sieve_set(&sieve, &l.face);
  closing_sieve = &sieve;
  uvface_close(&l.face, close_comes_first);
  ck_assert_uint_eq(sieve.closed, 0);
  finish_loop(&l.loop);
  ck_assert_uint_eq(sieve.seen, 1000);
  ck_assert_uint_eq(sieve.closed, 1);
  ck_assert_uint_eq(sieve.ended, 0);
  close(l.peer);
}

TEST(filter_may_close_the_face) {
  sieve_t sieve;
  lone_t l;

  lone_open(&l, NULL);
  sieve_set(&sieve, &l.face);
  sieve.close_it = &l.face;
  sieve.close_at = 2;
  ASSERT_OK(uvface_recv_start(&l.face, lone_recv));
  put(&l, "\5\0\5\0\5\0", 6);
  finish_loop(&l.loop);
  ck_assert_uint_eq(sieve.seen, 2);
  ck_assert_uint_eq(sieve.ended, 0);
  ck_assert_uint_eq(l.received, 0);
  close(l.peer);
}

/* Between the app's packet and the app stands nothing but the filter; the other face of the loop goes on. */
TEST(filter_may_close_a_face_of_shared_memory_among_others) {
  static char packets[2][2] = {"\5\0", "\5\0"};
  uv_buf_t bufs[2] = {uv_buf_init(packets[0], 2), uv_buf_init(packets[1], 2)};
  static lone_t at_engine;
  sieve_t sieve;
  pair_t pair;

  pair_open(&pair, NULL);
  pair.engine.data = &at_engine;
  sieve_set(&sieve, &pair.engine);
  sieve.close_it = &pair.engine;
  sieve.close_at = 1;
  ASSERT_OK(uvface_recv_start(&pair.engine, lone_recv));
  ck_assert_int_eq(uvface_try_send_batch(&pair.app, bufs, 2), 2);
  RUN_UNTIL(&pair.loop, sieve.closed == 1);
  ck_assert_uint_eq(sieve.seen, 1);
  ck_assert_uint_eq(at_engine.received, 0);
  uvface_close(&pair.app, NULL);
  finish_loop(&pair.loop);
}

static size_t grow(uvface_filter_t* filter, uvface_t* face, uint8_t* packet, size_t bytes, size_t room) {
  (void) filter;
  (void) face;
  ck_assert_uint_ge(room, bytes + 64);
  memmove(packet + 64, packet, bytes);
  packet[0] = 100;
  packet[1] = 253;
  packet[2] = (unsigned char) ((bytes + 60) >> 8);
  packet[3] = (unsigned char) (bytes + 60);
  memset(packet + 4, 0xaa, 60);
  return bytes + 64;
}

TEST(filter_may_change_what_is_sent) {
  static unsigned char large[MTU], got[MTU + 64];
  uv_buf_t packet = uv_buf_init((char*) large, sizeof(large)), slot;
  sieve_t sieve;
  size_t all = 0;
  lone_t l;

  lone_open(&l, NULL);
  sieve_set(&sieve, &l.face);
  sieve.filter.on_send = grow;
  ASSERT_OK(uvface_set_filter(&l.face, &sieve.filter));
  write_element(large, sizeof(large), 0);
  for (int n = 0; n < 30; n++) {
    int err;

    while ((err = n % 3 == 0   ? uvface_try_send(&l.face, &packet, 1)
                  : n % 3 == 1 ? uvface_try_send_batch(&l.face, &packet, 1)
                               : uvface_reserve(&l.face, sizeof(large), &slot)) == UV_EAGAIN)
      uv_run(&l.loop, UV_RUN_NOWAIT);
    ck_assert_int_ge(err, 0);
    if (n % 3 == 2) {
      memcpy(slot.base, large, sizeof(large));
      ASSERT_OK(uvface_commit(&l.face, sizeof(large)));
    }
    for (all = 0; all < sizeof(got);) {
      ssize_t more = get(&l, got + all, sizeof(got) - all);

      if (more > 0) all += (size_t) more;
      uv_run(&l.loop, UV_RUN_NOWAIT);
    }
    ck_assert_uint_eq(got[0], 100);
    ck_assert_uint_eq(got[63], 0xaa);
    ck_assert_mem_eq(got + 64, large, sizeof(large));
  }
  lone_close(&l);
}

/* Over shared memory, which has no header to take off, it is the same, but for who does not receive. */
TEST(filter_stands_before_a_shared_memory_face_as_well) {
  static lone_t at_engine;
  sieve_t sieve;
  pair_t pair;

  memset(&at_engine, 0, sizeof(at_engine));
  pair_open(&pair, NULL);
  ck_assert_int_eq(uvface_get_transport(&pair.app), UVFACE_SHM);
  pair.engine.data = &at_engine;
  sieve_set(&sieve, &pair.engine);
  for (unsigned char n = 0; n < 200; n++) {
    unsigned char link[64], command[] = {7, 0};
    uv_buf_t bufs[2] = {uv_buf_init((char*) link, (unsigned int) wrap(link, 2, 3, n)), uv_buf_init((char*) command, 2)};

    for (int b = 0; b < 2; b++) {
      if (n == 100 && b == 0) ASSERT_OK(uvface_recv_start(&pair.engine, lone_recv));
      while (uvface_try_send(&pair.app, &bufs[b], 1) < 0) uv_run(&pair.loop, UV_RUN_NOWAIT);
    }
  }
  RUN_UNTIL(&pair.loop, sieve.seen == 400);
  ck_assert_uint_eq(at_engine.received, 200);
  ck_assert_mem_eq(at_engine.last, ((unsigned char[]){6, 2, 199, 199}), 4);
  uvface_close(&pair.app, NULL);
  RUN_UNTIL(&pair.loop, sieve.ended == 1);
  ck_assert_int_eq(at_engine.error, UV_EOF);
  ck_assert_int_eq(sieve.status, UV_EOF);
  pair_close(&pair);
}

/* Who begins to receive only then gets the end alone: what the filter cannot see any more is not for the user
 * either. */
TEST(filter_sees_nothing_of_the_ring_after_the_end) {
  static char packet[2] = {5, 0};
  uv_buf_t buf = uv_buf_init(packet, sizeof(packet));
  static lone_t at_engine;
  sieve_t sieve;
  pair_t pair;

  memset(&at_engine, 0, sizeof(at_engine));
  pair_open(&pair, NULL);
  pair.engine.data = &at_engine;
  sieve_set(&sieve, &pair.engine);
  ck_assert_int_eq(uvface_try_send(&pair.app, &buf, 1), 2);
  uvface_close(&pair.app, NULL);
  RUN_UNTIL(&pair.loop, sieve.ended == 1);
  ASSERT_OK(uvface_recv_start(&pair.engine, lone_recv));
  RUN_UNTIL(&pair.loop, at_engine.error != 0);
  ck_assert_int_eq(at_engine.error, UV_EOF);
  ck_assert_uint_eq(sieve.seen, 0);
  ck_assert_uint_eq(at_engine.received, 0);
  pair_close(&pair);
}

TEST(filter_is_refused_where_it_makes_no_sense) {
  uvface_filter_t small = {.size = 8};
  lone_t l;

  lone_open(&l, NULL);
  ck_assert_int_eq(uvface_set_filter(NULL, NULL), UV_EINVAL);
  ck_assert_int_eq(uvface_set_filter(&l.face, &small), UV_EINVAL);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&l.face), "impossible size 8"));
  ASSERT_OK(uvface_set_filter(&l.face, NULL));
  uvface_close(&l.face, NULL);
  ck_assert_int_eq(uvface_set_filter(&l.face, NULL), UV_ENOTCONN);
  finish_loop(&l.loop);
  close(l.peer);
}

/* --- Opening ---------------------------------------------------------------------------------- */

static void refuse(uvface_t* face, int fd, int err, const char* words) {
  int flags = fcntl(fd, F_GETFL), fd_flags = fcntl(fd, F_GETFD);

  ck_assert_int_eq(uvface_open_stream(face, fd, NULL), err);
  ck_assert_msg(strstr(uvface_errmsg(face), words) != NULL, "%s", uvface_errmsg(face));
  ck_assert_int_eq(fcntl(fd, F_GETFL), flags);
  ck_assert_int_eq(fcntl(fd, F_GETFD), fd_flags);
}

TEST(stream_face_takes_no_descriptors) {
  uvface_t face;
  uv_loop_t loop;
  int fds[2];

  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  if (!harness_kernel_refuses_descriptors(fds[1])) {
    close(fds[0]);
    close(fds[1]);
    SKIP("this kernel cannot refuse descriptors");
  }
  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &face));
  ck_assert_int_eq(harness_send_descriptor(fds[1]), 0);
  ASSERT_OK(uvface_open_stream(&face, fds[0], NULL));
  ck_assert_int_eq(harness_send_descriptor(fds[1]), EPERM);
  ck_assert_int_eq(write(fds[1], "x", 1), 1);
  uvface_close(&face, NULL);
  finish_loop(&loop);
  close(fds[1]);
}

TEST(socket_that_cannot_carry_a_face_is_refused_and_left_alone) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  int fds[2], pipes[2], datagram, fresh;
  uvface_t face;
  uv_loop_t loop;

  ASSERT_OK(uv_loop_init(&loop));
  ASSERT_OK(uvface_init(&loop, &face));
  ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
  datagram = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  fresh = socket(AF_INET, SOCK_STREAM, 0);
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  ck_assert_int_eq(uvface_open_stream(NULL, fds[0], NULL), UV_EINVAL);
  ck_assert_int_eq(uvface_open_stream(&face, -1, NULL), UV_EBADF);
  refuse(&face, pipes[0], UV_ENOTSOCK, "uvface_open_stream: stream socket");
  refuse(&face, datagram, UV_EPROTOTYPE, "uvface_open_stream: stream socket");
  refuse(&face, fresh, UV_ENOTCONN, "not connected");
  options.mtu = (1u << 24) + 1;
  ck_assert_int_eq(uvface_open_stream(&face, fds[0], &options), UV_EINVAL);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&face), "mtu 16777217"));
  options.mtu = 1u << 24;
  ck_assert_int_eq(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
  ASSERT_OK(uvface_open_stream(&face, fds[0], &options));
  ck_assert_int_ne(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
  ck_assert_int_ne(fcntl(fds[0], F_GETFD) & FD_CLOEXEC, 0);
  ck_assert_int_eq(uvface_open_stream(&face, fds[1], NULL), UV_EALREADY);
  ck_assert_int_eq(uvface_create(&face, harness_name("s"), NULL), UV_EALREADY);
  ck_assert_int_eq(uvface_app_fds(&face, (int[3]){0}), UV_EBADF);
  uvface_app_fds_close(&face);
  uvface_close(&face, NULL);
  ck_assert_int_eq(uvface_open_stream(&face, fds[1], NULL), UV_ENOTCONN);
  ck_assert_int_eq(uvface_get_transport(&face), UV_ENOTCONN);
  ck_assert_int_eq(uvface_get_transport(NULL), UV_EINVAL);
  finish_loop(&loop);
  close(fds[1]);
  close(pipes[0]);
  close(pipes[1]);
  close(datagram);
  close(fresh);
}
