/* SPDX-License-Identifier: MIT */
/* test_uvface_tap.c: what a tap sees of a face of each kind, and that it may be cleared, and the face closed, within
 * it. See faces.h. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faces.h"
#include "ndnshm.h"

enum { PACKET_BYTES = 5, KINDS = 4 };

static const kind_t kinds[KINDS] = {NAMED, BY_SOCKET, BY_PIPES, STREAM};

/* What the taps were told, in order: 's'ent or 'r'eceived, then the last letter of the packet; what recv_cb got. */
static char seen[1024], got[1024];
static void (*in_tap)(uvface_t* face, int direction);
static int closed, finished, last_status;

static void note(char* where, char what) {
  size_t n = strlen(where);

  HOLDS(n + 1 < sizeof(seen));
  where[n] = what;
  where[n + 1] = '\0';
}

static void on_tap(uvface_t* face, int direction, const uv_buf_t pieces[], unsigned int npieces) {
  char packet[PACKET_BYTES];
  size_t n = 0;

  for (unsigned int p = 0; p < npieces; p++) {
    HOLDS(n + pieces[p].len <= sizeof(packet));
    memcpy(packet + n, pieces[p].base, pieces[p].len);
    n += pieces[p].len;
  }
  HOLDS(n == PACKET_BYTES && memcmp(packet, "\6\3ab", 4) == 0);
  HOLDS(direction == UVFACE_SENT || (direction == UVFACE_RECEIVED && npieces == 1));
  note(seen, direction == UVFACE_SENT ? 's' : 'r');
  note(seen, packet[4]);
  if (in_tap != NULL) in_tap(face, direction);
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face;
  for (ssize_t p = 0; p < npkts; p++) note(got, pkts[p].base[4]);
}

static void on_sent(uvface_send_t* req, int status) {
  (void) req;
  finished++;
  last_status = status;
}

static void on_closed(uvface_t* face) {
  (void) face;
  closed++;
}

/* A TLV element, as a stream wants it; the last letter tells it from others. */
static uv_buf_t packet_of(char letter) {
  static char packets[256][PACKET_BYTES];
  char* packet = packets[(unsigned char) letter];

  memcpy(packet, "\6\3ab", 4);
  packet[4] = letter;
  return uv_buf_init(packet, PACKET_BYTES);
}

static void begin(pair_t* pair, int kind, const uvface_options_t* options) {
  faces_kind = kinds[kind];
  memset(seen, 0, sizeof(seen));
  memset(got, 0, sizeof(got));
  in_tap = NULL;
  closed = finished = last_status = 0;
  pair_open(pair, options);
}

static void send_one(uvface_t* face, char letter) {
  uv_buf_t packet = packet_of(letter);

  ck_assert_int_eq(uvface_try_send(face, &packet, 1), PACKET_BYTES);
}

static void commit_one(uvface_t* face, char letter) {
  uv_buf_t packet = packet_of(letter), slot;

  ASSERT_OK(uvface_reserve(face, 100, &slot));
  memcpy(slot.base, packet.base, packet.len);
  ASSERT_OK(uvface_commit(face, packet.len));
}

TEST_LOOP(tap_sees_each_packet_once_whichever_way_it_goes, KINDS) {
  uv_buf_t two[] = {packet_of('b'), packet_of('c')}, more[] = {packet_of('e'), packet_of('f')}, one = packet_of('d');
  uv_buf_t pieces[] = {uv_buf_init(packet_of('a').base, 2), uv_buf_init(packet_of('a').base + 2, 3)};
  uvface_send_t req, batch;
  pair_t pair;

  begin(&pair, _i, NULL);
  ASSERT_OK(uvface_set_tap(&pair.app, on_tap));
  ck_assert_int_eq(uvface_try_send(&pair.app, pieces, 2), PACKET_BYTES);
  ck_assert_int_eq(uvface_try_send_batch(&pair.app, two, 2), 2);
  ASSERT_OK(uvface_send(&req, &pair.app, &one, 1, on_sent));
  ASSERT_OK(uvface_send_batch(&batch, &pair.app, more, 2, on_sent));
  commit_one(&pair.app, 'g');
  ck_assert_str_eq(seen, "sasbscsdsesfsg");
  ASSERT_OK(uvface_recv_start(&pair.engine, on_packets));
  RUN_UNTIL(&pair.loop, strcmp(got, "abcdefg") == 0 && finished == 2);

  seen[0] = got[0] = '\0';
  ASSERT_OK(uvface_set_tap(&pair.engine, on_tap));
  ASSERT_OK(uvface_recv_start(&pair.app, on_packets));
  send_one(&pair.app, 'h');
  RUN_UNTIL(&pair.loop, strcmp(got, "h") == 0);
  send_one(&pair.engine, 'i');
  RUN_UNTIL(&pair.loop, strcmp(got, "hi") == 0);
  ck_assert_str_eq(seen, "shrhsiri");
  pair_close(&pair);
}

TEST_LOOP(tap_is_not_told_of_what_was_not_sent, KINDS) {
  uv_buf_t wrong = uv_buf_init(NULL, 0), slot;
  pair_t pair;

  begin(&pair, _i, NULL);
  ASSERT_OK(uvface_set_tap(&pair.app, on_tap));
  ck_assert_int_eq(uvface_try_send(&pair.app, &wrong, 1), UV_EINVAL);
  ASSERT_OK(uvface_reserve(&pair.app, 100, &slot));
  ck_assert_int_eq(uvface_commit(&pair.app, 101), UV_EMSGSIZE);
  ASSERT_OK(uvface_commit(&pair.app, 0));
  ck_assert_int_eq(uvface_commit(&pair.app, PACKET_BYTES), UV_EINVAL);
  ck_assert_str_eq(seen, "");
  pair_close(&pair);
}

/* What waits for room is told when it goes, and what finds none is not. */
TEST_LOOP(tap_sees_queued_packets_when_they_go, KINDS - 1) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uv_buf_t two[] = {packet_of('y'), packet_of('z')}, none = packet_of('n');
  uvface_send_t req;
  pair_t pair;

  options.capacity = 4;
  begin(&pair, _i, &options);
  ASSERT_OK(uvface_set_tap(&pair.app, on_tap));
  for (char letter = 'a'; letter <= 'd'; letter++) send_one(&pair.app, letter);
  ASSERT_OK(uvface_send_batch(&req, &pair.app, two, 2, on_sent));
  ck_assert_int_eq(uvface_try_send(&pair.app, &none, 1), UV_EAGAIN);
  ck_assert_str_eq(seen, "sasbscsd");
  ASSERT_OK(uvface_recv_start(&pair.engine, on_packets));
  RUN_UNTIL(&pair.loop, finished == 1 && strlen(got) == 6);
  ck_assert_str_eq(seen, "sasbscsdsysz");
  ck_assert_str_eq(got, "abcdyz");
  pair_close(&pair);
}

TEST_LOOP(slot_that_was_lent_before_the_tap_came_is_not_shown, KINDS) {
  uv_buf_t slot, other;
  pair_t pair;

  begin(&pair, _i, NULL);
  ASSERT_OK(uvface_reserve(&pair.app, 100, &slot));
  memcpy(slot.base, packet_of('a').base, PACKET_BYTES);
  ASSERT_OK(uvface_set_tap(&pair.app, on_tap));
  ASSERT_OK(uvface_commit(&pair.app, PACKET_BYTES));
  ASSERT_OK(uvface_reserve(&pair.app, 100, &slot));
  ASSERT_OK(uvface_set_tap(&pair.app, NULL));
  memcpy(slot.base, packet_of('b').base, PACKET_BYTES);
  ASSERT_OK(uvface_commit(&pair.app, PACKET_BYTES));
  ASSERT_OK(uvface_reserve(&pair.app, 100, &other));
  memcpy(other.base, packet_of('c').base, PACKET_BYTES);
  ASSERT_OK(uvface_set_tap(&pair.app, on_tap));
  ASSERT_OK(uvface_commit(&pair.app, PACKET_BYTES));
  commit_one(&pair.app, 'd');
  ck_assert_str_eq(seen, "sd");
  ASSERT_OK(uvface_recv_start(&pair.engine, on_packets));
  RUN_UNTIL(&pair.loop, strcmp(got, "abcd") == 0);
  pair_close(&pair);
}

static void clear(uvface_t* face, int direction) {
  (void) direction;
  ASSERT_OK(uvface_set_tap(face, NULL));
}

TEST_LOOP(tap_may_be_cleared_within_it, KINDS) {
  uv_buf_t two[] = {packet_of('a'), packet_of('b')};
  pair_t pair;

  begin(&pair, _i, NULL);
  in_tap = clear;
  ASSERT_OK(uvface_set_tap(&pair.app, on_tap));
  ASSERT_OK(uvface_set_tap(&pair.engine, on_tap));
  ck_assert_int_eq(uvface_try_send_batch(&pair.app, two, 2), 2);
  ASSERT_OK(uvface_recv_start(&pair.engine, on_packets));
  send_one(&pair.app, 'c');
  RUN_UNTIL(&pair.loop, strcmp(got, "abc") == 0);
  ck_assert_str_eq(seen, "sara");
  pair_close(&pair);
}

static void close_it(uvface_t* face, int direction) {
  (void) direction;
  uvface_close(face, on_closed);
}

/* _i: the kind, and by which call. */
TEST_LOOP(face_may_be_closed_within_its_tap_while_it_sends, KINDS * 5) {
  uv_buf_t two[] = {packet_of('a'), packet_of('b')}, slot;
  uvface_send_t req;
  pair_t pair;
  int err;

  begin(&pair, _i % KINDS, NULL);
  in_tap = close_it;
  ASSERT_OK(uvface_set_tap(&pair.app, on_tap));
  switch (_i / KINDS) {
    case 0: err = uvface_try_send(&pair.app, two, 1); break;
    case 1: err = uvface_try_send_batch(&pair.app, two, 2); break;
    case 2: err = uvface_send(&req, &pair.app, two, 1, on_sent); break;
    case 3: err = uvface_send_batch(&req, &pair.app, two, 2, on_sent); break;
    default:
      ASSERT_OK(uvface_reserve(&pair.app, 100, &slot));
      memcpy(slot.base, two[0].base, two[0].len);
      err = uvface_commit(&pair.app, two[0].len);
  }
  ck_assert_int_eq(err, UV_ECANCELED);
  ck_assert_str_eq(seen, "sa");
  ck_assert(uvface_is_closing(&pair.app));
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&pair.app), "tap"));
  RUN_UNTIL(&pair.loop, closed == 1);
  ck_assert_int_eq(finished, 0); /* a call that fails has no callback */
  pair_close(&pair);
}

TEST_LOOP(face_may_be_closed_within_its_tap_when_a_queued_packet_goes, KINDS - 1) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uv_buf_t packet = packet_of('q');
  uvface_send_t reqs[3];
  pair_t pair;

  options.capacity = 4;
  begin(&pair, _i, &options);
  for (char letter = 'a'; letter <= 'd'; letter++) send_one(&pair.app, letter);
  for (int r = 0; r < 3; r++) ASSERT_OK(uvface_send(&reqs[r], &pair.app, &packet, 1, on_sent));
  in_tap = close_it;
  ASSERT_OK(uvface_set_tap(&pair.app, on_tap));
  ASSERT_OK(uvface_recv_start(&pair.engine, on_packets));
  RUN_UNTIL(&pair.loop, closed == 1);
  ck_assert_str_eq(seen, "sq");
  ck_assert_int_eq(finished, 3);
  ck_assert_int_eq(last_status, UV_ECANCELED);
  pair_close(&pair);
}

enum { DEADLINE_OF_SEND_MS = 200 };

/* An engine without extensions, so that what its app waits for is looked at by the clock as well. */
static ndnshm_t* open_plain_engine(const char* name) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  const uint32_t none = 0;
  ndnshm_t* engine;
  int fd;

  options.capacity = 4;
  options.slot_size = 60;
  ASSERT_OK(ndnshm_new(&engine));
  ASSERT_OK(ndnshm_create(engine, name, &options));
  fd = open(harness_shm_path(name), O_RDWR | O_CLOEXEC);
  ck_assert_int_eq(pwrite(fd, &none, sizeof(none), 16), sizeof(none));
  close(fd);
  return engine;
}

/* After the poll of a turn, once the app sleeps: takes what is in the ring, and keeps the loop until the deadline of
 * the queued send has passed. */
static void take_and_hold(uv_check_t* handle) {
  pair_t* pair = handle->data;
  char arena[4096];
  struct iovec pkts[4];
  uvface_stats_t stats;

  HOLDS(uvface_get_stats(&pair->app, &stats) == 0);
  if (stats.parks == 0 && finished == 0) return;
  HOLDS(ndnshm_recv(pair->engine.data, arena, sizeof(arena), pkts, 4) == 4);
  poll(NULL, 0, DEADLINE_OF_SEND_MS + 1);
  uv_close((uv_handle_t*) handle, NULL);
}

/* The timer finds room after all. */
static void close_at_deadline(pair_t* pair) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uv_buf_t packet = packet_of('q');
  char name[80];
  uvface_send_t req;
  uv_check_t check = {.data = pair};

  snprintf(name, sizeof(name), "%s", harness_name("deadline"));
  pair->engine.data = open_plain_engine(name);
  options.hot_ns = options.spin_ns = 0;
  options.send_timeout_ms = DEADLINE_OF_SEND_MS;
  options.recheck_ms = 60000; /* what is still due when the face is closed */
  ASSERT_OK(uvface_init(&pair->loop, &pair->app));
  ASSERT_OK(uvface_connect(&pair->app, name, &options));
  ASSERT_OK(uvface_recv_start(&pair->app, on_packets));
  for (char letter = 'a'; letter <= 'd'; letter++) send_one(&pair->app, letter);
  ASSERT_OK(uvface_send(&req, &pair->app, &packet, 1, on_sent));
  ASSERT_OK(uvface_set_tap(&pair->app, on_tap));
  uv_check_init(&pair->loop, &check);
  uv_check_start(&check, take_and_hold);
  RUN_UNTIL(&pair->loop, finished == 1);
  if (!uvface_is_closing(&pair->app)) uvface_close(&pair->app, on_closed);
  RUN_UNTIL(&pair->loop, closed == 1);
  ndnshm_free(pair->engine.data);
}

/* The other face of the pair keeps alive what they have in common. */
TEST(face_may_be_closed_within_its_tap_when_a_packet_goes_at_its_deadline) {
  pair_t pair;

  do { /* once, unless this process is kept from running until the send has timed out */
    begin(&pair, 0, NULL);
    uvface_close(&pair.app, on_closed);
    RUN_UNTIL(&pair.loop, closed == 1);
    closed = 0;
    in_tap = close_it;
    close_at_deadline(&pair);
    pair_close(&pair);
  } while (last_status == UV_ETIMEDOUT);
  ck_assert_int_eq(last_status, UV_ECANCELED);
  ck_assert_str_eq(seen, "sq");
}

TEST_LOOP(face_may_be_closed_within_its_tap_when_a_packet_arrives, KINDS) {
  uv_buf_t two[] = {packet_of('a'), packet_of('b')};
  pair_t pair;

  begin(&pair, _i, NULL);
  in_tap = close_it;
  ASSERT_OK(uvface_set_tap(&pair.engine, on_tap));
  ASSERT_OK(uvface_recv_start(&pair.engine, on_packets));
  ck_assert_int_eq(uvface_try_send_batch(&pair.app, two, 2), 2);
  RUN_UNTIL(&pair.loop, closed == 1);
  ck_assert_str_eq(seen, "ra");
  ck_assert_str_eq(got, "");
  pair_close(&pair);
}

static int pass_even(uvface_filter_t* filter, uvface_t* face, uv_buf_t* packet) {
  (void) filter;
  (void) face;
  return packet->base[4] % 2 == 0;
}

TEST_LOOP(tap_sees_what_a_filter_passes_on, KINDS) {
  uvface_filter_t filter = {.size = sizeof(filter), .on_packet = pass_even};
  pair_t pair;

  begin(&pair, _i, NULL);
  ASSERT_OK(uvface_set_filter(&pair.engine, &filter));
  ASSERT_OK(uvface_set_tap(&pair.engine, on_tap));
  ASSERT_OK(uvface_recv_start(&pair.engine, on_packets));
  for (char letter = 'a'; letter <= 'd'; letter++) send_one(&pair.app, letter);
  RUN_UNTIL(&pair.loop, strcmp(got, "bd") == 0);
  ck_assert_str_eq(seen, "rbrd");
  pair_close(&pair);
}

static void answer(uvface_t* face, int direction) {
  in_tap = NULL;
  if (direction == UVFACE_SENT) send_one(face, 'z');
}

TEST_LOOP(tap_may_send_on_its_face, KINDS) {
  pair_t pair;

  begin(&pair, _i, NULL);
  in_tap = answer;
  ASSERT_OK(uvface_set_tap(&pair.app, on_tap));
  send_one(&pair.app, 'a');
  ck_assert_str_eq(seen, "sasz");
  ASSERT_OK(uvface_recv_start(&pair.engine, on_packets));
  RUN_UNTIL(&pair.loop, strcmp(got, "az") == 0);
  pair_close(&pair);
}

static uvface_send_t send_of_tap;
static int batch_told, batch_status;

static void send_once(uvface_t* face, int direction) {
  uv_buf_t packet = packet_of('x');

  (void) direction;
  if (strlen(seen) == 2) ASSERT_OK(uvface_send(&send_of_tap, face, &packet, 1, on_sent));
}

static void on_batch(uvface_send_t* req, int status) {
  (void) req;
  batch_told++;
  batch_status = status;
}

/* The tap's own send takes the only place in the queue. What went before into the ring is not undone. */
TEST(batch_whose_rest_cannot_wait_is_not_refused) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uv_buf_t packets[8];
  uvface_send_t req;
  pair_t pair;

  batch_told = 0;
  options.capacity = 4;
  options.queue_max = 1;
  begin(&pair, 0, &options);
  for (int p = 0; p < 8; p++) packets[p] = packet_of((char) ('0' + p));
  in_tap = send_once;
  ASSERT_OK(uvface_set_tap(&pair.engine, on_tap));
  ASSERT_OK(uvface_send_batch(&req, &pair.engine, packets, 8, on_batch));
  ck_assert_int_eq(batch_told, 0);
  ASSERT_OK(uvface_recv_start(&pair.app, on_packets));
  RUN_UNTIL(&pair.loop, batch_told == 1 && finished == 1 && strlen(got) == 5);
  ck_assert_int_eq(batch_status, UV_ENOBUFS);
  ck_assert_int_eq(last_status, 0);
  pair_close(&pair);
}

TEST(tap_is_refused_where_there_is_no_face) {
  pair_t pair;

  begin(&pair, 0, NULL);
  ck_assert_int_eq(uvface_set_tap(NULL, on_tap), UV_EINVAL);
  uvface_close(&pair.app, on_closed);
  ck_assert_int_eq(uvface_set_tap(&pair.app, on_tap), UV_ENOTCONN);
  RUN_UNTIL(&pair.loop, closed == 1);
  pair_close(&pair);
}
