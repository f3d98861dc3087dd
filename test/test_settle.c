/* SPDX-License-Identifier: MIT */
/* test_settle.c: an end that defers its looks, and settles them: ndnshm_defer(), ndnshm_settle(). See ends.h.
 *
 * A peer that falls asleep in the moment when a packet is still in the store buffer cannot be made to order. It looks
 * like this: the packet was published, the end has looked, and then the peer's flag appears, though the peer has not
 * taken the packet. So the tests announce the peer's sleep after the publish, and do without its last look. */
#include "ends.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int failures; /* of the next writes of one byte */
static uint32_t flags_at_write;
static const uint32_t *parked, *waiting; /* the sleeper's; NULL = not asked for */

ssize_t write(int fd, const void* bytes, size_t n) {
  if (n == 1 && parked != NULL) flags_at_write = *parked | *waiting;
  if (n == 1 && failures > 0) {
    failures--;
    errno = ENOMEM;
    return -1;
  }
  return syscall(SYS_write, fd, bytes, n);
}

/* What an app wakes its engine with, on a kernel that knows the flag. */
ssize_t pwritev2(int fd, const struct iovec* bufs, int nbufs, off_t at, int flags) {
  (void) nbufs, (void) at, (void) flags;
  return write(fd, bufs->iov_base, bufs->iov_len);
}

/* And over a socket. */
ssize_t send(int fd, const void* bytes, size_t n, int flags) {
  (void) flags;
  return write(fd, bytes, n);
}

/* The same for either end: the app wakes the engine with even numbers, the other way round with odd. */
typedef struct ends_s {
  face_t face;
  ndnshm_t *waker, *sleeper;
} ends_t;

static ends_t ends_make(int i) {
  ends_t e = {.face = face_make("settle", 4, 100)};
  ndnshm__region_header_t* h = e.face.header;

  e.waker = i % 2 == 0 ? e.face.app : e.face.engine;
  e.sleeper = i % 2 == 0 ? e.face.engine : e.face.app;
  parked = i % 2 == 0 ? &h->a2e_parked.value : &h->e2a_parked.value;
  waiting = i % 2 == 0 ? &h->e2a_waiting : &h->a2e_waiting;
  flags_at_write = 0;
  return e;
}

static void ends_drop(ends_t* e) {
  parked = waiting = NULL;
  face_drop(&e->face);
}

static uint64_t wakeups_sent(const ndnshm_t* ep) {
  ndnshm_stats_t stats;

  ck_assert_int_eq(ndnshm_get_stats(ep, &stats), 0);
  return stats.wakeups_sent;
}

static uint64_t wakeups_received(const ndnshm_t* ep) {
  ndnshm_stats_t stats;

  ck_assert_int_eq(ndnshm_get_stats(ep, &stats), 0);
  return stats.wakeups_received;
}

/* Bytes that wait for the sleeper, which wakes of them, whether or not the end came with them. */
static int bytes_for(ndnshm_t* sleeper) {
  uint64_t before = wakeups_received(sleeper);

  if (readable(ndnshm_fd(sleeper), 0)) ndnshm_wake(sleeper);
  return (int) (wakeups_received(sleeper) - before);
}

TEST_LOOP(peer_that_slept_before_is_woken_at_once, 2) {
  ends_t e = ends_make(_i);

  ndnshm_defer(e.waker, 1);
  ck_assert_uint_eq(ndnshm_park(e.sleeper, NDNSHM_PACKETS), 0);
  ck_assert_int_eq(send_text(e.waker, "x"), 1);
  ck_assert_int_eq(bytes_for(e.sleeper), 1);
  ck_assert_int_eq(ndnshm_settle(e.waker), 1);
  ck_assert_int_eq(bytes_for(e.sleeper), 0);
  ck_assert_uint_eq(wakeups_sent(e.waker), 1);
  ends_drop(&e);
}

TEST_LOOP(peer_that_fell_asleep_meanwhile_is_woken_by_settling, 2) {
  ends_t e = ends_make(_i);

  ndnshm_defer(e.waker, 1);
  send_text(e.waker, "x");
  ndnshm_announce(e.sleeper, NDNSHM_PACKETS);
  ck_assert_int_eq(bytes_for(e.sleeper), 0);
  ndnshm_announce(e.sleeper, NDNSHM_PACKETS);
  ck_assert_int_eq(ndnshm_settle(e.waker), 1);
  ck_assert_int_eq(bytes_for(e.sleeper), 1);
  ck_assert_int_eq(ndnshm_settle(e.waker), 0);
  ck_assert_uint_eq(wakeups_sent(e.waker), 1);
  ends_drop(&e);
}

/* A producer that waits for room, and the end that releases slots. */
TEST_LOOP(peer_that_waits_for_room_is_woken_by_settling, 2) {
  ends_t e = ends_make(_i);

  send_text(e.sleeper, "x");
  ndnshm_defer(e.waker, 1);
  assert_receives(e.waker, "x");
  ck_assert_uint_eq(ndnshm_announce(e.sleeper, NDNSHM_SPACE), NDNSHM_SPACE);
  ck_assert_int_eq(ndnshm_settle(e.waker), 1);
  ck_assert_int_eq(bytes_for(e.sleeper), 1);
  ends_drop(&e);
}

TEST_LOOP(nobody_is_woken_for_what_did_not_happen, 2) {
  ends_t e = ends_make(_i);

  ndnshm_defer(e.waker, 1);
  send_text(e.waker, "x");
  ndnshm_announce(e.sleeper, NDNSHM_SPACE); /* there was no room made */
  ck_assert_int_eq(ndnshm_settle(e.waker), 0);
  ndnshm_unpark(e.sleeper);
  send_text(e.sleeper, "x");
  ndnshm_defer(e.waker, 1);
  assert_receives(e.waker, "x");
  ndnshm_announce(e.sleeper, NDNSHM_PACKETS);
  ck_assert_int_eq(ndnshm_settle(e.waker), 0);
  ndnshm_defer(e.waker, 1); /* nor for what was settled before */
  ck_assert_int_eq(ndnshm_settle(e.waker), 0);
  ck_assert_int_eq(bytes_for(e.sleeper), 0);
  ends_drop(&e);
}

/* A byte between the two would wake a peer that then announces itself anew, and whose new flag goes down unheard. */
TEST_LOOP(one_byte_serves_both_flags_when_both_are_down, 2) {
  ends_t e = ends_make(_i);

  send_text(e.sleeper, "x");
  ndnshm_defer(e.waker, 1);
  send_text(e.waker, "x");
  assert_receives(e.waker, "x");
  ndnshm_announce(e.sleeper, NDNSHM_PACKETS | NDNSHM_SPACE);
  ck_assert(*parked == 1 && *waiting == 1);
  flags_at_write = 1;
  ck_assert_int_eq(ndnshm_settle(e.waker), 1);
  ck_assert_uint_eq(flags_at_write, 0);
  ck_assert_int_eq(bytes_for(e.sleeper), 1);
  ends_drop(&e);
}

TEST_LOOP(peer_that_sleeps_again_and_again_gets_one_byte, 2) {
  ends_t e = ends_make(_i);
  int bytes = 0;

  ndnshm_defer(e.waker, 1);
  for (int i = 0; i < 3; i++) {
    ndnshm_announce(e.sleeper, NDNSHM_PACKETS);
    send_text(e.waker, "x");
    bytes += bytes_for(e.sleeper);
  }
  ck_assert_int_eq(bytes, 1);
  ck_assert_int_eq(ndnshm_settle(e.waker), -EAGAIN);
  ends_drop(&e);
}

TEST_LOOP(byte_that_is_owed_comes_with_the_next, 2) {
  ends_t e = ends_make(_i);

  ndnshm_defer(e.waker, 1);
  ndnshm_announce(e.sleeper, NDNSHM_PACKETS);
  send_text(e.waker, "x");
  ck_assert_int_eq(bytes_for(e.sleeper), 1);
  ndnshm_announce(e.sleeper, NDNSHM_PACKETS);
  send_text(e.waker, "x");
  for (int i = 0; i < 3; i++) ck_assert_int_eq(ndnshm_settle(e.waker), -EAGAIN);
  ndnshm_defer(e.waker, 0);
  ck_assert_int_eq(ndnshm_settle(e.waker), -EAGAIN);
  ck_assert(!readable(ndnshm_fd(e.sleeper), 0) && *parked == 1);
  ndnshm_defer(e.waker, 1);
  ck_assert_int_eq(ndnshm_settle(e.waker), 1);
  ck_assert_int_eq(bytes_for(e.sleeper), 1);
  ends_drop(&e);
}

TEST_LOOP(byte_that_found_no_memory_stays_owed, 2) {
  ends_t e = ends_make(_i);

  for (int both = 0; both < 2; both++) {
    unsigned int what = both ? NDNSHM_PACKETS | NDNSHM_SPACE : NDNSHM_PACKETS;

    send_text(e.sleeper, "x");
    ndnshm_defer(e.waker, 1);
    send_text(e.waker, "x");
    assert_receives(e.waker, "x");
    ndnshm_announce(e.sleeper, what);
    failures = 2;
    for (int i = 0; i < 2; i++) {
      ck_assert_int_eq(ndnshm_settle(e.waker), -ENOBUFS);
      ck_assert(*parked == 1 && *waiting == (uint32_t) both);
    }
    ck_assert_int_eq(ndnshm_settle(e.waker), 1);
    ck_assert_int_eq(bytes_for(e.sleeper), 1);
    assert_receives(e.sleeper, "x");
  }
  ends_drop(&e);
}

/* Though it has had its byte: the end of file says only that nothing more comes. */
TEST_LOOP(shutting_down_settles, 4) {
  ends_t e = ends_make(_i);
  ndnshm_stats_t stats;

  ndnshm_defer(e.waker, _i < 2);
  send_text(e.waker, "x");
  ndnshm_announce(e.sleeper, NDNSHM_PACKETS);
  ndnshm_shutdown(e.waker);
  ck_assert_int_eq(ndnshm_get_stats(e.waker, &stats), 0);
  ck_assert_uint_eq(stats.wakeups_sent, 1);
  ck_assert_int_eq(bytes_for(e.sleeper), 1);
  ck_assert_int_eq(ndnshm_wake(e.sleeper), NDNSHM_EOF);
  assert_receives(e.sleeper, "x");
  ends_drop(&e);
}

TEST_LOOP(who_never_defers_owes_nothing, 2) {
  ends_t e = ends_make(_i);

  send_text(e.waker, "x");
  ndnshm_announce(e.sleeper, NDNSHM_PACKETS);
  ck_assert_int_eq(ndnshm_settle(e.waker), 0);
  ck_assert_int_eq(bytes_for(e.sleeper), 0);
  for (int i = 0; i < 2; i++) { /* as many bytes as it takes */
    ndnshm_announce(e.sleeper, NDNSHM_PACKETS);
    send_text(e.waker, "x");
    ck_assert_int_eq(bytes_for(e.sleeper), 1);
  }
  ends_drop(&e);
}

TEST(no_endpoint_and_one_that_is_not_open_owe_nothing) {
  face_t f = face_plan("closed");

  ndnshm_defer(NULL, 1);
  ck_assert_int_eq(ndnshm_settle(NULL), 0);
  ndnshm_defer(f.app, 1);
  ck_assert_int_eq(ndnshm_settle(f.app), 0);
  face_drop(&f);
}
