/* SPDX-License-Identifier: MIT */
/* stream.h: one end of a stream socket that carries NDN packets, one TLV element after the other.
 *
 * For a face over a socket it is what ndnshm.h is for one over shared memory, with calls of the same shape. It knows no
 * face and no loop. Guarantees that only whole elements come out and go in, that nothing blocks, that no signal is
 * raised, and that every byte of the peer is checked before it is used. One thread per stream at a time. Errors are
 * libuv's codes; "words" are "call object: reason". */
#ifndef UVFACE_STREAM_H
#define UVFACE_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define UVFACE__STREAM_MTU 8800 /* where none is asked for: NDN's own */
#define UVFACE__STREAM_MAX_MTU (1u << 24)
/* By how much a packet may grow on its way out. */
#define UVFACE__STREAM_GROW 64

typedef struct uvface__stream_s uvface__stream_t;

typedef struct uvface__stream_stats_s {
  uint64_t rx_packets;
  uint64_t rx_bytes;
  uint64_t tx_packets;
  uint64_t tx_bytes;
  uint64_t reads;  /* that brought something */
  uint64_t writes; /* that the socket took something of */
  uint64_t tx_full;
} uvface__stream_stats_t;

/* Changes a packet on its way out, in place: `bytes` bytes, may become `room`. Returns the new size. */
typedef size_t uvface__stream_edit_t(void* arg, uint8_t* packet, size_t bytes, size_t room);

/* --- Life ------------------------------------------------------------------------------------- */

/* 0 if sock is a stream socket that is connected. Errors: UV_EBADF, UV_ENOTSOCK, UV_EPROTOTYPE, UV_ENOTCONN. */
int uvface__stream_check(int sock);
/* A stream over a socket that was checked; it stays the caller's until uvface__stream_own(). mtu: the longest element.
 * Errors: UV_ENOMEM. */
int uvface__stream_new(int sock, size_t mtu, uvface__stream_t** ret_stream);
/* From now on the stream closes its socket, which becomes closed on exec; and, where it is TCP, sends without
 * waiting. */
void uvface__stream_own(uvface__stream_t* s);
/* Closes the socket; what is not written yet is lost. What was handed out stays readable. */
void uvface__stream_shutdown(uvface__stream_t* s);
/* s: NULL is allowed. */
void uvface__stream_free(uvface__stream_t* s);

size_t uvface__stream_mtu(const uvface__stream_t* s);
const uvface__stream_stats_t* uvface__stream_stats(const uvface__stream_t* s);
/* What failed last. */
const char* uvface__stream_words(const uvface__stream_t* s);

/* --- Receiving: socket -> buffer -> seen -> taken ------------------------------------------------ */

/* The socket has something to read, or an end to tell. */
void uvface__stream_note_readable(uvface__stream_t* s);
/* Nobody will say so any more: it is readable until its end. */
void uvface__stream_read_out(uvface__stream_t* s);
/* Reads once, if the socket is said to be readable and the buffer has no whole element that is not seen; or, with
 * unseen false, that is not taken. Returns the bytes read, 0 if there are none now.
 * Errors: UV_EOF (the peer is gone, and all that it sent is in the buffer), UV_EBADF (somebody else closed the
 * socket). */
int uvface__stream_fill(uvface__stream_t* s, bool unseen);
/* Nothing more is read: what is in the buffer is the rest. */
void uvface__stream_stop(uvface__stream_t* s);
/* Whether there is room to read into. */
bool uvface__stream_has_room(const uvface__stream_t* s);
/* The oldest element that is not seen yet. False if no whole one is there. */
bool uvface__stream_look(uvface__stream_t* s, struct iovec* ret_packet);
/* It is seen now, and what is passed on is the given part of it; NULL = nothing. */
void uvface__stream_pass(uvface__stream_t* s, const struct iovec* part);
/* Takes up to max elements out of the buffer, with unseen those too that nobody looked at; not more than max_bytes
 * together, but always one. Valid until the next fill. Returns their number, 0 if there is none.
 * Errors: UV_EPROTO (what comes next is no element, or too long: no packet will come any more). */
int uvface__stream_take(uvface__stream_t* s, bool unseen, size_t max_bytes, struct iovec pkts[], unsigned int max);
/* Whether taking would find something, or an error, before the socket is readable again. */
bool uvface__stream_has_packets(uvface__stream_t* s);
/* Whether looking would. */
bool uvface__stream_has_unseen(const uvface__stream_t* s);
/* The socket's peer has hung up, or the socket has failed: what is left in it can still be read. Returns UV_EPIPE. */
int uvface__stream_hung_up(uvface__stream_t* s);
/* What ends the stream, once it is over: UV_EPROTO or UV_EOF. */
int uvface__stream_end(const uvface__stream_t* s);

/* --- Sending: packets -> buffer -> socket --------------------------------------------------------- */

/* From now on each packet passes by edit(arg); NULL = by nobody. */
void uvface__stream_set_edit(uvface__stream_t* s, uvface__stream_edit_t* edit, void* arg);
/* As ndnshm_send(), ndnshm_send_batch(), ndnshm_reserve() and ndnshm_commit(), into the buffer.
 * Errors: UV_EAGAIN, UV_EINVAL (also: a packet that is not one element), UV_EMSGSIZE, UV_EALREADY; and, when the buffer
 * had to be written, those of uvface__stream_flush(). */
int uvface__stream_send(uvface__stream_t* s, const struct iovec bufs[], unsigned int nbufs);
int uvface__stream_send_batch(uvface__stream_t* s, const struct iovec pkts[], unsigned int npkts);
int uvface__stream_reserve(uvface__stream_t* s, size_t len, struct iovec* ret_slot);
int uvface__stream_commit(uvface__stream_t* s, size_t len);
/* Whether these bytes are one element. Errors: UV_EINVAL. */
int uvface__stream_check_packet(uvface__stream_t* s, const struct iovec bufs[], unsigned int nbufs);
/* Writes what is in the buffer. Errors: UV_EAGAIN (the socket is full, until uvface__stream_note_writable()), UV_EPIPE
 * (the peer is gone), UV_EBADF. */
int uvface__stream_flush(uvface__stream_t* s);
void uvface__stream_note_writable(uvface__stream_t* s);
/* Whether the socket did not take all that is in the buffer. */
bool uvface__stream_is_blocked(const uvface__stream_t* s);
/* Whether a packet of any size finds room. */
bool uvface__stream_has_space(const uvface__stream_t* s);

#endif
