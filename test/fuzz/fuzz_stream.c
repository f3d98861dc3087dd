/* SPDX-License-Identifier: MIT */
/* fuzz_stream.c: what a peer writes to a face over a stream, cut as the kernel likes, past a filter. Input: a script
 * from the back, of how much is read, looked at and taken when; from the front, the bytes of the peer.
 *
 * What comes out must be what another reading of the bytes, all at once and by the letter of the grammar, finds in
 * them; and the stream must end where that does. uvface/stream.c is built with recv() and send() of this file. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "fuzz.h"
#include "stream.h"

#define MTU 300
#define MAX_PACKETS 4096

static struct peer_s {
  const uint8_t* bytes;
  size_t n, at, step;
} peer;

ssize_t fuzz_recv(int fd, void* to, size_t bytes, int flags);
ssize_t fuzz_recv(int fd, void* to, size_t bytes, int flags) {
  size_t n = peer.n - peer.at;

  FUZZ_REQUIRE(fd == 0 && flags == MSG_DONTWAIT && bytes > 0);
  if (n > 0 && peer.step == 0) {
    errno = EAGAIN;
    return -1;
  }
  if (n > peer.step) n = peer.step;
  if (n > bytes) n = bytes;
  if (n > 0) memcpy(to, peer.bytes + peer.at, n);
  peer.at += n;
  return (ssize_t) n;
}

ssize_t fuzz_send(int fd, const void* from, size_t bytes, int flags);
ssize_t fuzz_send(int fd, const void* from, size_t bytes, int flags) {
  (void) fd, (void) from, (void) flags;
  return (ssize_t) bytes;
}

/* --- The grammar, by its letter ----------------------------------------------------------------- */

/* A number of the grammar; its bytes, 0 = they are not all here, -1 = not its shortest form. */
static int number(const uint8_t* p, size_t n, uint64_t* ret_number) {
  static const int sizes[] = {3, 5, 9};
  static const uint64_t least[] = {253, 65536, 4294967296};
  int kind;

  if (n == 0) return 0;
  *ret_number = p[0];
  if (p[0] < 253) return 1;
  kind = p[0] - 253;
  if (n < (size_t) sizes[kind]) return kind == 2 ? -1 : 0; /* nothing so large is allowed anyway */
  *ret_number = 0;
  for (int b = 1; b < sizes[kind]; b++) *ret_number = *ret_number << 8 | p[b];
  return *ret_number < least[kind] ? -1 : sizes[kind];
}

/* The size of the element at p: 0 = it is not whole, -1 = it is none. */
static int64_t element(const uint8_t* p, size_t n) {
  uint64_t type, length;
  int t = number(p, n, &type), l;

  if (t < 0 || t == 9 || (t > 0 && type == 0)) return -1;
  if (t == 0) return 0;
  l = number(p + t, n - (size_t) t, &length);
  if (l < 0 || l == 9) return -1;
  if (l == 0) return 0;
  if ((uint64_t) t + (uint64_t) l + length > MTU + (type == 100 ? 128 : 0)) return -1;
  return (uint64_t) t + (uint64_t) l + length <= n ? (int64_t) ((uint64_t) t + (uint64_t) l + length) : 0;
}

/* What a filter makes of an element, by its last byte: passes it on, keeps it, or passes on a part, which is dropped
 * unless it is an element. */
static bool sift(const uint8_t* p, size_t n, struct iovec* ret_part) {
  size_t skip = 0, cut = 0;

  if (p[n - 1] % 4 == 1) return false;
  if (p[n - 1] % 4 == 2) skip = p[n - 1] / 4u < n ? p[n - 1] / 4u : n;
  if (p[n - 1] % 4 == 3) skip = p[0] < 8 ? 2 : 1;
  if (n > 6 && p[n - 1] % 8 == 3) cut = p[n - 2] % (n - skip);
  *ret_part = (struct iovec){(void*) (uintptr_t) (p + skip), n - skip - cut};
  return true;
}

/* --- What must come out ------------------------------------------------------------------------- */

static struct expected_s {
  struct iovec packets[MAX_PACKETS]; /* parts of the input */
  size_t n;
  bool is_broken;
} expected;

static void expect(const uint8_t* p, size_t n, bool filters) {
  size_t at = 0;
  int64_t bytes;

  expected.n = 0;
  while ((bytes = element(p + at, n - at)) > 0) {
    struct iovec part = {(void*) (uintptr_t) (p + at), (size_t) bytes};

    if ((!filters || sift(p + at, (size_t) bytes, &part)) && part.iov_len > 0 &&
        element(part.iov_base, part.iov_len) == (int64_t) part.iov_len)
      expected.packets[expected.n++] = part;
    at += (size_t) bytes;
  }
  expected.is_broken = bytes < 0;
}

static void compare(const struct iovec pkts[], int n, size_t* at) {
  for (int p = 0; p < n; p++) {
    FUZZ_REQUIRE(*at < expected.n);
    FUZZ_REQUIRE(pkts[p].iov_len == expected.packets[*at].iov_len);
    FUZZ_REQUIRE(memcmp(pkts[p].iov_base, expected.packets[*at].iov_base, pkts[p].iov_len) == 0);
    ++*at;
  }
}

/* One that nobody else has, so that a byte too much is seen. */
static void show(uvface__stream_t* s) {
  struct iovec packet, part;

  if (!uvface__stream_look(s, &packet)) return;
  uvface__stream_pass(s, sift(packet.iov_base, packet.iov_len, &part) ? &part : NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz_input_t in = {data, data + size};
  bool filters = (fuzz_back(&in) & 1) != 0;
  size_t script = fuzz_back(&in), at = 0;
  struct iovec pkts[64];
  uvface__stream_t* s;
  int n = 0, end = 0;

  if (script > fuzz_left(&in)) script = fuzz_left(&in);
  if (fuzz_left(&in) - script > 2 * MAX_PACKETS) return 0;
  peer = (struct peer_s){.bytes = in.front, .n = fuzz_left(&in) - script};
  expect(peer.bytes, peer.n, filters);
  FUZZ_REQUIRE(uvface__stream_new(0, MTU, &s) == 0);
  while (end == 0 && n >= 0) {
    uint8_t step = script > 0 ? fuzz_back(&in) : 0xff;

    if (script > 0) script--;
    peer.step = step == 0xff ? SIZE_MAX : step & 0x3f;
    uvface__stream_note_readable(s);
    end = uvface__stream_fill(s, filters);
    FUZZ_REQUIRE(end >= 0 || end == UV_EOF);
    if (end > 0) end = 0;
    for (int looks = step == 0xff ? MAX_PACKETS : step & 7; filters && looks > 0; looks--) show(s);
    if ((step & 0x40) == 0) continue; /* nobody receives */
    n = uvface__stream_take(s, !filters, step & 0x80 ? SIZE_MAX : step, pkts, 1 + (step & 0x1fu));
    compare(pkts, n, &at);
  }
  for (int more = 0; more < MAX_PACKETS && filters && n >= 0; more++) show(s);
  while (n >= 0 && (n = uvface__stream_take(s, !filters, SIZE_MAX, pkts, 64)) > 0) compare(pkts, n, &at);
  FUZZ_REQUIRE(n == (expected.is_broken ? UV_EPROTO : 0));
  FUZZ_REQUIRE(at == expected.n);
  FUZZ_REQUIRE(uvface__stream_end(s) == (expected.is_broken ? UV_EPROTO : UV_EOF));
  uvface__stream_shutdown(s);
  uvface__stream_free(s);
  return 0;
}
