/* SPDX-License-Identifier: MIT */
/* stream.c: see stream.h.
 *
 * The buffer that is read into:
 *
 *   0            head              seen              len            in_bytes
 *   | taken      | seen, not taken | not looked at   | room         |
 *
 * What somebody who looked did not pass on is overwritten where it lies, by bytes that no element begins with: a packet
 * is never moved, and a part of one is taken without a copy. Such blanks stand between head and seen only, so that
 * bytes of the peer are not mistaken for them. */
#include "stream.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* since Linux 6.16, which many headers do not know; Unix sockets alone have it */
#endif

/* What each buffer holds beside one element that is not whole. */
#define BUFFER_BYTES ((size_t) 64 * 1024)
/* As much is written at once, and not kept for the end of the turn: so that the peer has something to do meanwhile. */
#define WRITE_BYTES ((size_t) 64 * 1024)
/* A link packet (NDNLPv2) may be longer than the packet that it carries, by its headers. */
#define LINK_PACKET 0x64
#define LINK_HEADER_BYTES 128
/* As much is read at once: so that it is still in the cache when it is delivered. */
#define READ_BYTES ((size_t) 64 * 1024)
/* The longest header of an element: type and length of five bytes each. */
#define HEADER_BYTES 10

/* The first byte of what no packet begins with. A run is followed by its size in RUN_HEADER_BYTES, itself included; it
 * stands for a type that does not exist, and for a number that is longer than types are. */
enum { BLANK_RUN = 0, BLANK_BYTE = 255, RUN_HEADER_BYTES = 5 };

struct uvface__stream_s {
  int fd;
  bool is_ours; /* to be closed */
  size_t mtu;
  /* receiving */
  uint8_t* in;
  size_t in_bytes, head, seen, len;
  bool readable; /* perhaps */
  bool reads_out;
  bool eof;
  bool broken; /* what begins at seen is no element */
  /* sending: out[out_at .. out_len) is not written yet */
  uint8_t* out;
  size_t out_bytes, out_at, out_len;
  size_t lent;  /* reserved behind out_len; 0 = nothing */
  bool blocked; /* the socket took no more */
  uvface__stream_edit_t* edit;
  void* edit_arg;
  uvface__stream_stats_t stats;
  char words[160];
};

static int complain(uvface__stream_t* s, int code, const char* format, ...) __attribute__((format(printf, 3, 4)));

static int complain(uvface__stream_t* s, int code, const char* format, ...) {
  va_list args;

  va_start(args, format);
  vsnprintf(s->words, sizeof(s->words), format, args);
  va_end(args);
  return code;
}

/* --- Elements --------------------------------------------------------------------------------- */

/* What is wrong with a header. */
enum { BAD_TYPE = -1, BAD_LENGTH = -2 };

/* A number of at most 32 bits in its shortest form, of which n bytes are here. Returns its bytes, 0 = they are not all
 * here, or -1. */
static int read_number(const uint8_t* p, size_t n, uint32_t* ret_number) {
  if (n == 0) return 0;
  if (p[0] < 253) {
    *ret_number = p[0];
    return 1;
  }
  if (p[0] == 253) {
    if (n < 3) return 0;
    *ret_number = (uint32_t) p[1] << 8 | p[2];
    return *ret_number < 253 ? -1 : 3;
  }
  if (p[0] == 255) return -1;
  if (n < 5) return 0;
  *ret_number = (uint32_t) p[1] << 24 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 8 | p[4];
  return *ret_number <= UINT16_MAX ? -1 : 5;
}

static int64_t measure_long(const uint8_t* p, size_t n) {
  uint32_t type = 1, length = 0; /* until the type is there, nothing is wrong with it */
  int type_bytes = read_number(p, n, &type), length_bytes;

  if (type_bytes < 0 || type == 0) return BAD_TYPE;
  if (type_bytes == 0) return 0;
  length_bytes = read_number(p + type_bytes, n - (size_t) type_bytes, &length);
  if (length_bytes < 0) return BAD_LENGTH;
  return length_bytes == 0 ? 0 : (int64_t) type_bytes + length_bytes + length;
}

/* How long the element at p is, by its header, of which n bytes are here: 0 = not to be told yet. Or BAD_TYPE, or
 * BAD_LENGTH. */
static inline int64_t measure(const uint8_t* p, size_t n) {
  if (n >= 2 && p[0] - 1u < 252u && p[1] < 253) return 2 + (int64_t) p[1];
  return measure_long(p, n);
}

/* The size of the element at in + at if it is whole, 0 if more of it must come, or -1 if it never can be one. */
static inline int64_t frame(const uvface__stream_t* s, size_t at) {
  int64_t bytes = measure(s->in + at, s->len - at);

  if (bytes < 0) return -1;
  if (bytes > (int64_t) s->mtu && bytes > (int64_t) (s->mtu + (s->in[at] == LINK_PACKET ? LINK_HEADER_BYTES : 0)))
    return -1;
  return (size_t) bytes <= s->len - at ? bytes : 0;
}

/* What is at in + at is no packet, and nothing that comes behind can be told apart any more. */
static int break_off(uvface__stream_t* s, size_t at) {
  int64_t bytes = measure(s->in + at, s->len - at);

  s->broken = true;
  if (bytes == BAD_TYPE)
    return complain(s, UV_EPROTO,
                    "recv stream socket %d: not a packet: type 0, above 32 bits or not in its shortest form", s->fd);
  if (bytes == BAD_LENGTH)
    return complain(s, UV_EPROTO,
                    "recv stream socket %d: not a packet: length above 32 bits or not in its shortest form", s->fd);
  return complain(s, UV_EPROTO, "recv stream socket %d: packet of %lld bytes: larger than the MTU of %zu", s->fd,
                  (long long) bytes, s->mtu);
}

/* --- Blanks ----------------------------------------------------------------------------------- */

static void blank(uint8_t* p, size_t bytes) {
  uint32_t run = (uint32_t) bytes;

  if (bytes < RUN_HEADER_BYTES) {
    memset(p, BLANK_BYTE, bytes);
    return;
  }
  p[0] = BLANK_RUN;
  memcpy(p + 1, &run, sizeof(run));
}

static void skip_blanks(uvface__stream_t* s) {
  uint32_t run;

  while (s->head < s->seen && (s->in[s->head] == BLANK_RUN || s->in[s->head] == BLANK_BYTE)) {
    if (s->in[s->head] == BLANK_BYTE) {
      s->head++;
    } else {
      memcpy(&run, s->in + s->head + 1, sizeof(run));
      s->head += run;
    }
  }
}

/* --- Life ------------------------------------------------------------------------------------- */

int uvface__stream_check(int sock) {
  struct sockaddr_storage peer;
  socklen_t bytes = sizeof(int), peer_bytes = sizeof(peer);
  int type = 0;

  if (getsockopt(sock, SOL_SOCKET, SO_TYPE, &type, &bytes) != 0) return uv_translate_sys_error(errno);
  if (type != SOCK_STREAM) return UV_EPROTOTYPE;
  if (getpeername(sock, (struct sockaddr*) &peer, &peer_bytes) != 0) return uv_translate_sys_error(errno);
  return 0;
}

int uvface__stream_new(int sock, size_t mtu, uvface__stream_t** ret_stream) {
  size_t longest = mtu + LINK_HEADER_BYTES, bytes = (longest > BUFFER_BYTES ? longest : BUFFER_BYTES) + longest;
  uvface__stream_t* s = calloc(1, sizeof(*s));

  if (s == NULL) return UV_ENOMEM;
  s->fd = sock;
  s->mtu = mtu;
  s->in_bytes = s->out_bytes = bytes;
  s->in = malloc(bytes);
  s->out = malloc(bytes);
  if (s->in == NULL || s->out == NULL) {
    uvface__stream_free(s);
    return UV_ENOMEM;
  }
  *ret_stream = s;
  return 0;
}

void uvface__stream_own(uvface__stream_t* s) {
  int on = 1, off = 0;

  fcntl(s->fd, F_SETFD, FD_CLOEXEC);
  setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* another kind of socket refuses, and does not wait */
  setsockopt(s->fd, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof(off)); /* closing what a peer sends may cost time */
  s->is_ours = true;
}

void uvface__stream_shutdown(uvface__stream_t* s) {
  if (s->fd < 0) return;
  if (s->is_ours) close(s->fd);
  s->fd = -1;
  s->out_at = s->out_len;
}

void uvface__stream_free(uvface__stream_t* s) {
  if (s == NULL) return;
  free(s->in);
  free(s->out);
  free(s);
}

size_t uvface__stream_mtu(const uvface__stream_t* s) {
  return s->mtu;
}

const uvface__stream_stats_t* uvface__stream_stats(const uvface__stream_t* s) {
  return &s->stats;
}

const char* uvface__stream_words(const uvface__stream_t* s) {
  return s->words;
}

/* A call on the socket failed for good. Who has closed it, and opened something else under its number, is told apart
 * from a connection that is over, for whatever reason. */
static int lose(uvface__stream_t* s, const char* call, int error, int code) {
  if (error == EBADF || error == ENOTSOCK) code = UV_EBADF;
  return complain(s, code, "%s stream socket %d: %s", call, s->fd, strerror(error));
}

/* --- Receiving -------------------------------------------------------------------------------- */

void uvface__stream_note_readable(uvface__stream_t* s) {
  s->readable = !s->eof;
}

void uvface__stream_read_out(uvface__stream_t* s) {
  s->reads_out = true;
  uvface__stream_note_readable(s);
}

void uvface__stream_stop(uvface__stream_t* s) {
  s->eof = true;
  s->readable = false;
}

bool uvface__stream_has_room(const uvface__stream_t* s) {
  return !s->broken && (s->len < s->in_bytes || s->len - s->head <= s->head);
}

/* Where the next element is looked for. */
static size_t next_at(uvface__stream_t* s, bool unseen) {
  skip_blanks(s);
  return unseen ? s->seen : s->head;
}

/* Moves what is left to the front, but never more than was taken since it was moved last: so each byte is moved once,
 * on average. There is always room for the rest of an element, because the buffer has room for two and more. */
static void make_room(uvface__stream_t* s) {
  size_t left = s->len - s->head;

  if (left > s->head) return;
  memmove(s->in, s->in + s->head, left);
  s->seen -= s->head;
  s->len = left;
  s->head = 0;
}

int uvface__stream_fill(uvface__stream_t* s, bool unseen) {
  size_t room;
  ssize_t n;

  if (!s->readable || s->broken || frame(s, next_at(s, unseen)) != 0) return 0;
  make_room(s);
  if (s->len == s->in_bytes) return 0;
  room = s->in_bytes - s->len < READ_BYTES ? s->in_bytes - s->len : READ_BYTES;
  do {
    n = recv(s->fd, s->in + s->len, room, MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n > 0) {
    s->readable = s->reads_out || (size_t) n == room; /* else that was all */
    s->len += (size_t) n;
    s->stats.reads++;
    return (int) n;
  }
  s->readable = false;
  if (n < 0 && (errno == EAGAIN || errno == ENOMEM || errno == ENOBUFS)) return 0;
  s->eof = true;
  if (n < 0) return lose(s, "recv", errno, UV_EOF);
  return complain(s, UV_EOF, "recv stream socket %d: end of file, the peer is gone", s->fd);
}

int uvface__stream_hung_up(uvface__stream_t* s) {
  return complain(s, UV_EPIPE, "poll stream socket %d: the peer is gone", s->fd);
}

bool uvface__stream_look(uvface__stream_t* s, struct iovec* ret_packet) {
  int64_t bytes = s->broken ? 0 : frame(s, s->seen);

  if (bytes < 0) break_off(s, s->seen);
  if (bytes <= 0) return false;
  *ret_packet = (struct iovec){s->in + s->seen, (size_t) bytes};
  return true;
}

/* The element that was looked at is whole, so it measures what it is. */
void uvface__stream_pass(uvface__stream_t* s, const struct iovec* part) {
  uint8_t* packet = s->in + s->seen;
  size_t bytes = (size_t) measure(packet, s->len - s->seen);
  size_t before;

  s->stats.rx_packets++;
  s->stats.rx_bytes += bytes;
  s->seen += bytes;
  if (part == NULL || measure(part->iov_base, part->iov_len) != (int64_t) part->iov_len) {
    blank(packet, bytes); /* what is no element could not be found again */
  } else {
    before = (size_t) ((uint8_t*) part->iov_base - packet);
    assert(before + part->iov_len <= bytes);
    blank(packet + before + part->iov_len, bytes - before - part->iov_len);
    blank(packet, before);
  }
  skip_blanks(s);
}

int uvface__stream_take(uvface__stream_t* s, bool unseen, size_t max_bytes, struct iovec pkts[], unsigned int max) {
  size_t taken_bytes = 0;
  unsigned int n = 0;
  int64_t bytes = 0;

  while (n < max && (taken_bytes < max_bytes || n == 0)) {
    if (s->head < s->seen) skip_blanks(s);
    if (s->head == s->seen && (!unseen || s->broken)) break;
    if ((bytes = frame(s, s->head)) <= 0) break;
    pkts[n++] = (struct iovec){s->in + s->head, (size_t) bytes};
    taken_bytes += (size_t) bytes;
    if (s->head == s->seen) {
      s->stats.rx_packets++;
      s->stats.rx_bytes += (size_t) bytes;
      s->seen += (size_t) bytes;
    }
    s->head += (size_t) bytes;
  }
  if (n == 0 && (bytes < 0 || (s->broken && s->head == s->seen))) return break_off(s, s->head);
  return (int) n;
}

bool uvface__stream_has_packets(uvface__stream_t* s) {
  skip_blanks(s);
  return (s->readable && uvface__stream_has_room(s)) || frame(s, s->head) != 0;
}

bool uvface__stream_has_unseen(const uvface__stream_t* s) {
  return !s->broken && ((s->readable && uvface__stream_has_room(s)) || frame(s, s->seen) != 0);
}

int uvface__stream_end(const uvface__stream_t* s) {
  return s->broken ? UV_EPROTO : UV_EOF;
}

/* --- Sending ---------------------------------------------------------------------------------- */

void uvface__stream_set_edit(uvface__stream_t* s, uvface__stream_edit_t* edit, void* arg) {
  s->edit = edit;
  s->edit_arg = arg;
}

void uvface__stream_note_writable(uvface__stream_t* s) {
  s->blocked = false;
}

bool uvface__stream_is_blocked(const uvface__stream_t* s) {
  return s->blocked;
}

int uvface__stream_flush(uvface__stream_t* s) {
  ssize_t n;

  if (s->out_at == s->out_len) return 0;
  if (s->blocked) return UV_EAGAIN;
  do {
    n = send(s->fd, s->out + s->out_at, s->out_len - s->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && errno != EAGAIN && errno != ENOMEM && errno != ENOBUFS) return lose(s, "send", errno, UV_EPIPE);
  if (n > 0) {
    s->stats.writes++;
    s->out_at += (size_t) n;
  }
  s->blocked = s->out_at < s->out_len;
  if (s->blocked) return UV_EAGAIN;
  if (s->lent == 0) s->out_at = s->out_len = 0;
  return 0;
}

static inline bool fits(const uvface__stream_t* s, size_t bytes) {
  return s->out_bytes - s->out_len >= bytes + UVFACE__STREAM_GROW;
}

bool uvface__stream_has_space(const uvface__stream_t* s) {
  return s->lent == 0 && (!s->blocked || fits(s, s->mtu));
}

static int make_space(uvface__stream_t* s, size_t bytes) {
  size_t unsent = s->out_len - s->out_at;
  int err;

  if (s->lent != 0) return UV_EAGAIN;
  if (unsent >= WRITE_BYTES) {
    err = uvface__stream_flush(s);
    if (err < 0 && err != UV_EAGAIN) return err;
    unsent = s->out_len - s->out_at;
  }
  if (fits(s, bytes)) return 0;
  if (unsent <= s->out_at) { /* so that each byte is moved once, on average */
    memmove(s->out, s->out + s->out_at, unsent);
    s->out_at = 0;
    s->out_len = unsent;
    if (fits(s, bytes)) return 0;
  }
  s->stats.tx_full++;
  return UV_EAGAIN;
}

/* 0 if the buffer has room for that many bytes behind out_len. */
static inline int find_space(uvface__stream_t* s, size_t bytes) {
  return s->lent == 0 && s->out_len - s->out_at < WRITE_BYTES && fits(s, bytes) ? 0 : make_space(s, bytes);
}

/* The packet behind out_len is whole. */
static inline void publish(uvface__stream_t* s, size_t bytes) {
  size_t room = s->out_bytes - s->out_len;

  s->stats.tx_packets++;
  s->stats.tx_bytes += bytes;
  if (s->edit != NULL) bytes = s->edit(s->edit_arg, s->out + s->out_len, bytes, room);
  assert(bytes <= room);
  s->out_len += bytes;
}

int uvface__stream_check_packet(uvface__stream_t* s, const struct iovec bufs[], unsigned int nbufs) {
  const uint8_t* header = bufs[0].iov_base;
  size_t bytes = bufs[0].iov_len, n = bytes;
  uint8_t gathered[HEADER_BYTES];

  if (nbufs > 1) {
    if (n > HEADER_BYTES) n = HEADER_BYTES;
    if (n > 0) memcpy(gathered, header, n);
    header = gathered;
    for (unsigned int b = 1; b < nbufs; b++) {
      size_t more = bufs[b].iov_len < HEADER_BYTES - n ? bufs[b].iov_len : HEADER_BYTES - n;

      if (more > 0) memcpy(gathered + n, bufs[b].iov_base, more);
      n += more;
      bytes += bufs[b].iov_len;
    }
  }
  if (measure(header, n) == (int64_t) bytes) return 0;
  return complain(s, UV_EINVAL, "packet of %zu bytes: is not one TLV element, and a stream carries nothing else",
                  bytes);
}

/* Says what is wrong with a packet, if anything is. */
static ssize_t check_slowly(uvface__stream_t* s, const struct iovec bufs[], unsigned int nbufs) {
  size_t bytes = 0;

  for (unsigned int b = 0; b < nbufs; b++) {
    if (bufs[b].iov_len > s->mtu || bytes + bufs[b].iov_len > s->mtu)
      return complain(s, UV_EMSGSIZE, "packet of %zu bytes: larger than the MTU of %zu", bytes + bufs[b].iov_len,
                      s->mtu);
    bytes += bufs[b].iov_len;
  }
  if (bytes == 0) return complain(s, UV_EINVAL, "packet of 0 bytes: cannot be sent");
  if (uvface__stream_check_packet(s, bufs, nbufs) < 0) return UV_EINVAL;
  return (ssize_t) bytes;
}

/* Whether a packet may be sent: its bytes, or an error. */
static inline ssize_t check(uvface__stream_t* s, const struct iovec bufs[], unsigned int nbufs) {
  size_t bytes = bufs[0].iov_len;

  if (nbufs == 1 && bytes - 1 < s->mtu && measure(bufs[0].iov_base, bytes) == (int64_t) bytes) return (ssize_t) bytes;
  return check_slowly(s, bufs, nbufs);
}

int uvface__stream_send(uvface__stream_t* s, const struct iovec bufs[], unsigned int nbufs) {
  ssize_t bytes;
  uint8_t* to;
  int err;

  if (bufs == NULL || nbufs == 0) return complain(s, UV_EINVAL, "no buffers: cannot be sent");
  if ((bytes = check(s, bufs, nbufs)) < 0) return (int) bytes;
  if ((err = find_space(s, (size_t) bytes)) < 0) return err;
  to = s->out + s->out_len;
  for (unsigned int b = 0; b < nbufs; b++) {
    if (bufs[b].iov_len != 0) memcpy(to, bufs[b].iov_base, bufs[b].iov_len);
    to += bufs[b].iov_len;
  }
  publish(s, (size_t) bytes);
  return (int) bytes;
}

int uvface__stream_send_batch(uvface__stream_t* s, const struct iovec pkts[], unsigned int npkts) {
  unsigned int n;
  int err = 0;

  if (pkts == NULL || npkts == 0) return complain(s, UV_EINVAL, "no buffers: cannot be sent");
  for (n = 0; n < npkts; n++) {
    ssize_t bytes = check(s, &pkts[n], 1);

    if (bytes < 0) return (int) bytes;
  }
  for (n = 0; n < npkts && (err = find_space(s, pkts[n].iov_len)) == 0; n++) {
    memcpy(s->out + s->out_len, pkts[n].iov_base, pkts[n].iov_len);
    publish(s, pkts[n].iov_len);
  }
  return n > 0 ? (int) n : err;
}

int uvface__stream_reserve(uvface__stream_t* s, size_t len, struct iovec* ret_slot) {
  int err;

  if (s->lent != 0) return complain(s, UV_EALREADY, "stream socket %d: a reservation is open already", s->fd);
  if (len == 0) return complain(s, UV_EINVAL, "reservation of 0 bytes: is none");
  if (len > s->mtu)
    return complain(s, UV_EMSGSIZE, "reservation of %zu bytes: larger than the MTU of %zu", len, s->mtu);
  if ((err = find_space(s, len)) < 0) return err;
  s->lent = len;
  *ret_slot = (struct iovec){s->out + s->out_len, len};
  return 0;
}

int uvface__stream_commit(uvface__stream_t* s, size_t len) {
  const struct iovec packet = {s->out + s->out_len, len};

  if (s->lent == 0) return complain(s, UV_EINVAL, "stream socket %d: nothing is reserved", s->fd);
  if (len > s->lent) return complain(s, UV_EMSGSIZE, "packet of %zu bytes: more than the %zu reserved", len, s->lent);
  if (len != 0 && uvface__stream_check_packet(s, &packet, 1) < 0) return UV_EINVAL;
  s->lent = 0;
  if (len != 0) publish(s, len);
  return 0;
}
