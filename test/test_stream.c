/* SPDX-License-Identifier: MIT */
/* test_stream.c: a stream of packets alone (uvface/stream.h), without a face and a loop: what it makes of a socket that
 * gives and takes as it likes, or fails. recv() and send() go by here; so does the memory that it asks for. */
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "harness.h"

#define MTU 300

/* --- The socket ------------------------------------------------------------------------------- */

static struct world_s {
  bool is_real; /* the socket's own calls, untouched */
  /* what the peer has sent, and how much of it comes at once */
  const unsigned char* in;
  size_t in_bytes, in_at, in_step;
  bool in_ends;
  /* what it got, and how much it takes at once */
  unsigned char out[1 << 20];
  size_t out_bytes, out_step;
  int recv_errno, send_errno; /* of the next call; 0 = none */
  unsigned int recvs, sends;
  int flags;
  unsigned int mallocs, malloc_fails_at;
} world;

ssize_t __real_recv(int fd, void* to, size_t bytes, int flags);
ssize_t __wrap_recv(int fd, void* to, size_t bytes, int flags);
ssize_t __wrap_recv(int fd, void* to, size_t bytes, int flags) {
  size_t n = world.in_bytes - world.in_at;

  if (world.is_real) return __real_recv(fd, to, bytes, flags);
  world.recvs++;
  world.flags = flags;
  if (world.recv_errno != 0) {
    errno = world.recv_errno;
    world.recv_errno = 0;
    return -1;
  }
  if (n > world.in_step) n = world.in_step;
  if (n > bytes) n = bytes;
  if (n == 0 && !world.in_ends) {
    errno = EAGAIN;
    return -1;
  }
  if (n > 0) memcpy(to, world.in + world.in_at, n);
  world.in_at += n;
  return (ssize_t) n;
}

ssize_t __real_send(int fd, const void* from, size_t bytes, int flags);
ssize_t __wrap_send(int fd, const void* from, size_t bytes, int flags);
ssize_t __wrap_send(int fd, const void* from, size_t bytes, int flags) {
  size_t n = bytes < world.out_step ? bytes : world.out_step;

  if (world.is_real) return __real_send(fd, from, bytes, flags);
  world.sends++;
  world.flags = flags;
  if (world.send_errno != 0) {
    errno = world.send_errno;
    world.send_errno = 0;
    return -1;
  }
  if (n == 0) {
    errno = EAGAIN;
    return -1;
  }
  HOLDS(world.out_bytes + n <= sizeof(world.out));
  memcpy(world.out + world.out_bytes, from, n);
  world.out_bytes += n;
  return (ssize_t) n;
}

void* __real_malloc(size_t bytes);
void* __wrap_malloc(size_t bytes);
void* __wrap_malloc(size_t bytes) {
  return ++world.mallocs == world.malloc_fails_at ? NULL : __real_malloc(bytes);
}

void* __real_calloc(size_t n, size_t bytes);
void* __wrap_calloc(size_t n, size_t bytes);
void* __wrap_calloc(size_t n, size_t bytes) {
  return ++world.mallocs == world.malloc_fails_at ? NULL : __real_calloc(n, bytes);
}

/* --- Streams ---------------------------------------------------------------------------------- */

static uvface__stream_t* stream_open(void) {
  uvface__stream_t* s;

  memset(&world, 0, sizeof(world));
  world.in_step = world.out_step = SIZE_MAX;
  ck_assert_int_eq(uvface__stream_new(0, MTU, &s), 0);
  return s;
}

static void stream_close(uvface__stream_t* s) {
  uvface__stream_shutdown(s);
  uvface__stream_free(s);
}

static void comes(const void* bytes, size_t n) {
  world.in = bytes;
  world.in_bytes = n;
  world.in_at = 0;
}

/* An element of 3 to MTU bytes, from a number; never of 255 or 256. */
static size_t make_element(unsigned char* at, unsigned int number) {
  size_t bytes = 3 + (size_t) number * 7919 % (MTU - 2), header;

  if (bytes == 255 || bytes == 256) bytes = 257;
  header = bytes < 255 ? 2 : 4;
  at[0] = (unsigned char) (1 + number % 252);
  at[1] = header == 2 ? (unsigned char) (bytes - 2) : 253;
  at[2] = (unsigned char) (header == 2 ? number : (bytes - 4) >> 8);
  if (header == 4) at[3] = (unsigned char) (bytes - 4);
  for (size_t b = header; b < bytes; b++) at[b] = (unsigned char) (number + b);
  return bytes;
}

TEST(memory_that_there_is_not_is_told_and_nothing_is_lost) {
  for (unsigned int n = 1; n <= 4; n++) {
    uvface__stream_t* s = NULL;
    int err;

    memset(&world, 0, sizeof(world));
    world.malloc_fails_at = n;
    err = uvface__stream_new(0, MTU, &s);
    world.malloc_fails_at = 0;
    ck_assert_int_eq(err, n <= 3 ? UV_ENOMEM : 0);
    ck_assert((s == NULL) == (n <= 3));
    uvface__stream_free(s);
  }
}

static const int passing[] = {EINTR, EAGAIN, ENOMEM, ENOBUFS};
static const int lasting[] = {ECONNRESET, EPIPE, ETIMEDOUT, EHOSTUNREACH, ENETDOWN, EIO, EBADF, ENOTSOCK};

TEST_LOOP(read_that_fails_for_a_moment_is_not_noticed, 4) {
  uvface__stream_t* s = stream_open();
  struct iovec pkt;

  comes("\5\1x", 3);
  uvface__stream_note_readable(s);
  world.recv_errno = passing[_i];
  if (uvface__stream_fill(s, false) == 0) {
    ck_assert_int_ne(passing[_i], EINTR);
    ck_assert(!uvface__stream_has_packets(s)); /* it waits for the poll, and does not turn */
    uvface__stream_note_readable(s);
    ck_assert_int_eq(uvface__stream_fill(s, false), 3);
  }
  ck_assert_int_eq(world.flags, MSG_DONTWAIT);
  ck_assert_int_eq(uvface__stream_take(s, true, 1000, &pkt, 1), 1);
  ck_assert_mem_eq(pkt.iov_base, "\5\1x", 3);
  stream_close(s);
}

TEST_LOOP(read_that_fails_for_good_is_the_end_after_what_has_come, 8) {
  uvface__stream_t* s = stream_open();
  struct iovec pkts[2];
  int err;

  comes("\5\1x\5", 4);
  uvface__stream_note_readable(s);
  ck_assert_int_eq(uvface__stream_fill(s, false), 4);
  ck_assert_int_eq(uvface__stream_take(s, true, 1000, pkts, 2), 1);
  uvface__stream_note_readable(s);
  world.recv_errno = lasting[_i];
  err = uvface__stream_fill(s, false);
  ck_assert_int_eq(err, lasting[_i] == EBADF || lasting[_i] == ENOTSOCK ? UV_EBADF : UV_EOF);
  ck_assert_ptr_nonnull(strstr(uvface__stream_words(s), "recv stream socket 0: "));
  ck_assert_ptr_nonnull(strstr(uvface__stream_words(s), strerror(lasting[_i])));
  uvface__stream_note_readable(s);
  ck_assert(!uvface__stream_has_packets(s));
  ck_assert_int_eq(uvface__stream_fill(s, false), 0);
  ck_assert_int_eq(uvface__stream_take(s, true, 1000, pkts, 2), 0);
  ck_assert_int_eq(uvface__stream_end(s), UV_EOF);
  stream_close(s);
}

TEST_LOOP(write_that_fails_for_a_moment_is_repeated, 4) {
  uvface__stream_t* s = stream_open();
  struct iovec pkt = {(void*) (uintptr_t) "\5\1x", 3};
  int err;

  ck_assert_int_eq(uvface__stream_send(s, &pkt, 1), 3);
  ck_assert_uint_eq(world.sends, 0);
  world.send_errno = passing[_i];
  err = uvface__stream_flush(s);
  ck_assert_int_eq(err, passing[_i] == EINTR ? 0 : UV_EAGAIN);
  ck_assert(uvface__stream_is_blocked(s) == (err != 0));
  ck_assert_int_eq(world.flags, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (err != 0) {
    ck_assert_int_eq(uvface__stream_flush(s), UV_EAGAIN); /* and does not ask again */
    ck_assert_uint_eq(world.sends, 1);
    uvface__stream_note_writable(s);
    ck_assert_int_eq(uvface__stream_flush(s), 0);
  }
  ck_assert_uint_eq(world.out_bytes, 3);
  stream_close(s);
}

TEST_LOOP(write_that_fails_for_good_is_told, 8) {
  uvface__stream_t* s = stream_open();
  struct iovec pkt = {(void*) (uintptr_t) "\5\1x", 3};

  ck_assert_int_eq(uvface__stream_send(s, &pkt, 1), 3);
  world.send_errno = lasting[_i];
  ck_assert_int_eq(uvface__stream_flush(s), lasting[_i] == EBADF || lasting[_i] == ENOTSOCK ? UV_EBADF : UV_EPIPE);
  ck_assert_ptr_nonnull(strstr(uvface__stream_words(s), "send stream socket 0: "));
  stream_close(s);
}

/* A failure that comes while a packet looks for room is that packet's. */
TEST(write_that_fails_while_a_packet_wants_room_refuses_the_packet) {
  uvface__stream_t* s = stream_open();
  unsigned char element[MTU];
  struct iovec pkt = {element, 0};
  int err;

  pkt.iov_len = make_element(element, 42);
  world.send_errno = ECONNRESET;
  do {
    err = uvface__stream_send(s, &pkt, 1);
  } while (err > 0);
  ck_assert_int_eq(err, UV_EPIPE);
  ck_assert_uint_eq(world.sends, 1); /* 64 KiB are written at once */
  ck_assert_uint_eq(world.out_bytes, 0);
  stream_close(s);
}

/* --- Any way that bytes can come ----------------------------------------------------------------- */

static unsigned int dice_state;

static unsigned int dice(unsigned int sides) {
  dice_state = dice_state * 1103515245u + 12345u;
  return (dice_state >> 16) % sides;
}

/* What becomes of an element, by its content: 0, 1 = passed on; 2 = kept; 3 = its value is passed on, if that is an
 * element. */
static unsigned int fate_of(const unsigned char* element) {
  return element[0] % 4u;
}

static const unsigned char* value_of(const unsigned char* element) {
  return element + (element[1] == 253 ? 4 : 2);
}

/* Some elements hold others. */
static size_t make_nested(unsigned char* at, unsigned int number) {
  unsigned char inner[MTU];
  size_t bytes = make_element(inner, number), header = bytes < 253 ? 2 : 4;

  if (number % 3 != 0 || bytes + 4 > MTU) {
    memcpy(at, inner, bytes);
    return bytes;
  }
  at[0] = 3;
  at[1] = header == 2 ? (unsigned char) bytes : 253;
  at[2] = (unsigned char) (bytes >> 8);
  at[3] = (unsigned char) bytes;
  memcpy(at + header, inner, bytes);
  return header + bytes;
}

static bool is_element(const unsigned char* p, size_t n) {
  size_t header = n >= 2 && p[1] == 253 ? 4 : 2;

  if (n < header || p[0] == 0 || p[0] > 252 || p[1] > 253) return false;
  if (header == 4 && p[2] == 0 && p[3] < 253) return false;
  return n == header + (header == 4 ? (size_t) p[2] << 8 | p[3] : p[1]);
}

/* As the filter of a face does. */
static void look_and_pass(uvface__stream_t* s) {
  struct iovec packet, part;

  if (!uvface__stream_look(s, &packet)) return;
  part = packet;
  if (fate_of(packet.iov_base) == 3) {
    part.iov_base = (void*) (uintptr_t) value_of(packet.iov_base);
    part.iov_len -= (size_t) ((unsigned char*) part.iov_base - (unsigned char*) packet.iov_base);
  }
  uvface__stream_pass(s, fate_of(packet.iov_base) == 2 ? NULL : &part);
}

#define MANY 3000

/* _i % 2: somebody looks at the packets; the rest: another way of the dice. */
TEST_LOOP(packets_come_out_as_they_went_in_whatever_comes_between, 20) {
  static unsigned char wire[MANY * MTU], expected[MANY * MTU];
  size_t bytes = 0, expected_bytes = 0, at = 0;
  bool looks = _i % 2 == 1;
  uvface__stream_t* s = stream_open();
  struct iovec pkts[64];
  int n, end = 0;

  dice_state = (unsigned int) _i;
  for (unsigned int e = 0; e < MANY; e++) {
    size_t len = make_nested(wire + bytes, e);
    const unsigned char* from = wire + bytes;
    size_t skip = looks && fate_of(from) == 3 ? (size_t) (value_of(from) - from) : 0;

    bytes += len;
    if (looks && (fate_of(from) == 2 || (skip != 0 && !is_element(from + skip, len - skip)))) continue;
    memcpy(expected + expected_bytes, from + skip, len - skip);
    expected_bytes += len - skip;
  }
  comes(wire, bytes);
  world.in_ends = true;
  while (at < expected_bytes) {
    world.in_step = dice(8) == 0 ? SIZE_MAX : 1 + dice(dice(4) == 0 ? 3000 : 30);
    if (dice(10) == 0) world.recv_errno = passing[dice(4)];
    uvface__stream_note_readable(s);
    n = uvface__stream_fill(s, looks);
    if (n < 0) end = n;
    for (unsigned int times = dice(100); looks && times > 0; times--) look_and_pass(s);
    if (dice(3) == 0) continue; /* nobody receives */
    n = uvface__stream_take(s, !looks, dice(2) == 0 ? 1 + dice(2000) : SIZE_MAX, pkts, 1 + dice(64));
    HOLDS(n >= 0);
    for (int p = 0; p < n; p++) {
      HOLDS(is_element(pkts[p].iov_base, pkts[p].iov_len));
      HOLDS(at + pkts[p].iov_len <= expected_bytes);
      HOLDS(memcmp(pkts[p].iov_base, expected + at, pkts[p].iov_len) == 0);
      at += pkts[p].iov_len;
    }
  }
  for (int more = 0; more < 1000 && end == 0; more++) { /* the rest is kept from the user */
    uvface__stream_note_readable(s);
    end = uvface__stream_fill(s, looks);
    if (end > 0) end = 0;
    if (looks) look_and_pass(s);
  }
  while (looks && uvface__stream_has_unseen(s)) look_and_pass(s);
  ck_assert_int_eq(uvface__stream_take(s, !looks, SIZE_MAX, pkts, 64), 0);
  ck_assert_int_eq(end, UV_EOF);
  ck_assert_uint_eq(uvface__stream_stats(s)->rx_packets, MANY);
  ck_assert_uint_eq(uvface__stream_stats(s)->rx_bytes, bytes);
  stream_close(s);
}

/* --- Any way that bytes can go ------------------------------------------------------------------- */

/* Puts a type and length around every other packet. */
static size_t wrap(void* arg, uint8_t* packet, size_t bytes, size_t room) {
  unsigned int* n = arg;

  HOLDS(room >= bytes + UVFACE__STREAM_GROW);
  if (++*n % 2 == 0) return bytes;
  memmove(packet + 8, packet, bytes);
  memset(packet, 0xee, 8);
  return bytes + 8;
}

TEST_LOOP(packets_go_out_as_they_were_given_whatever_the_socket_takes, 20) {
  static unsigned char expected[1 << 20];
  size_t expected_bytes = 0;
  unsigned int edited = 0, number = 0;
  bool edits = _i % 2 == 1;
  uvface__stream_t* s = stream_open();

  dice_state = 1000u + (unsigned int) _i;
  if (edits) uvface__stream_set_edit(s, wrap, &edited);
  while (number < MANY) {
    unsigned char elements[8][MTU];
    struct iovec pkts[8], pieces[3], slot;
    unsigned int many = 1 + dice(8);
    int taken = 0;

    for (unsigned int p = 0; p < many; p++)
      pkts[p] = (struct iovec){elements[p], make_element(elements[p], number + p)};
    world.out_step = dice(3) == 0 ? dice(2) * (size_t) dice(500) : SIZE_MAX;
    if (dice(10) == 0) world.send_errno = passing[dice(4)];
    switch (dice(4)) {
      case 0: taken = uvface__stream_send_batch(s, pkts, many); break;
      case 1: {
        size_t cut = 1 + dice((unsigned int) pkts[0].iov_len), rest = pkts[0].iov_len - cut;

        pieces[0] = (struct iovec){elements[0], cut};
        pieces[1] = (struct iovec){NULL, 0};
        pieces[2] = (struct iovec){elements[0] + cut, rest};
        taken = uvface__stream_send(s, pieces, 3);
        HOLDS(taken == UV_EAGAIN || taken == (int) pkts[0].iov_len);
        if (taken > 0) taken = 1;
        break;
      }
      case 2:
        if ((taken = uvface__stream_reserve(s, MTU, &slot)) < 0) break;
        HOLDS(uvface__stream_send(s, pkts, 1) == UV_EAGAIN); /* it would come in between */
        if (dice(3) == 0) uvface__stream_flush(s);
        memcpy(slot.iov_base, elements[0], pkts[0].iov_len);
        HOLDS(uvface__stream_commit(s, pkts[0].iov_len) == 0);
        taken = 1;
        break;
      default: uvface__stream_note_writable(s); uvface__stream_flush(s);
    }
    HOLDS(taken >= 0 || taken == UV_EAGAIN);
    for (int p = 0; p < taken; p++) {
      if (edits && number % 2 == 0) {
        memset(expected + expected_bytes, 0xee, 8);
        expected_bytes += 8;
      }
      memcpy(expected + expected_bytes, pkts[p].iov_base, pkts[p].iov_len);
      expected_bytes += pkts[p].iov_len;
      number++;
    }
  }
  world.out_step = SIZE_MAX;
  for (int n = 0; n < 3; n++) {
    uvface__stream_note_writable(s);
    uvface__stream_flush(s);
  }
  ck_assert_uint_eq(world.out_bytes, expected_bytes);
  ck_assert_mem_eq(world.out, expected, expected_bytes);
  ck_assert(!uvface__stream_is_blocked(s));
  stream_close(s);
}

TEST(buffer_of_a_socket_that_takes_nothing_fills_up_and_says_so) {
  uvface__stream_t* s = stream_open();
  unsigned char element[MTU];
  struct iovec pkt = {element, 0}, slot;
  size_t bytes = 0;

  pkt.iov_len = make_element(element, 42);
  world.out_step = 0;
  while (uvface__stream_send(s, &pkt, 1) > 0) bytes += pkt.iov_len;
  ck_assert_uint_ge(bytes, 64 * 1024);
  ck_assert_uint_eq(world.sends, 1);
  ck_assert(!uvface__stream_has_space(s));
  ck_assert_int_eq(uvface__stream_reserve(s, MTU, &slot), UV_EAGAIN);
  ck_assert_uint_eq(uvface__stream_stats(s)->tx_full, 2);
  world.out_step = bytes - 10;
  uvface__stream_note_writable(s);
  ck_assert_int_eq(uvface__stream_flush(s), UV_EAGAIN);
  ck_assert_int_eq(uvface__stream_send(s, &pkt, 1), (int) pkt.iov_len); /* what is left moves to the front */
  world.out_step = SIZE_MAX;
  uvface__stream_note_writable(s);
  ck_assert_int_eq(uvface__stream_flush(s), 0);
  ck_assert_uint_eq(world.out_bytes, bytes + pkt.iov_len);
  stream_close(s);
}
