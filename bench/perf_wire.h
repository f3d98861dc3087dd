/* SPDX-License-Identifier: MIT */
/* perf_wire.h: what a rival without libuv has to say for itself: seven functions over one connection. The
 * loop around them, perf_wire.c, is the link of perf.h and the same for all of them; so two such programs
 * differ in the calls that move a packet and in nothing else. A rival is one file. Private. */
#ifndef PERF_WIRE_H
#define PERF_WIRE_H

#include "perf.h"

typedef struct wire_s wire_t;

/* What to wait for, and what is there. */
enum { WIRE_PACKETS = 1, WIRE_ROOM = 2 };

enum {
  WIRE_END = -4095, /* of wire_recv(): the peer closed, and everything it sent has been taken */
  WIRE_MAX_PACKET_BYTES = 1 << 20
};

/* Whether the transport loses what it has queued when it is closed, or does not tell of a peer's end in order:
 * then the loop says goodbye with a packet of one byte, and waits for the other's before it closes. */
extern const bool wire_says_goodbye;

/* Listens or connects, by o->role, until the peer is there. NULL after a message on stderr. */
wire_t* wire_open(const perf_options_t* o);
/* Sleeps until one of `what` is there, at most timeout_ms; 0 looks only. Returns which are. */
unsigned int wire_wait(wire_t* w, unsigned int what, int timeout_ms);
/* Takes up to max packets, valid until the next call. Returns how many, WIRE_END or a negative errno value. */
int wire_recv(wire_t* w, struct iovec pkts[], unsigned int max);
/* Sends as many as there is room for. Returns how many, or a negative errno value. */
int wire_send(wire_t* w, const struct iovec pkts[], unsigned int npkts);
/* The wire's counters. New reference. */
json_t* wire_stats(const wire_t* w);
void wire_close(wire_t* w);

/* --- perf_wire.c: for rivals ------------------------------------------------------------------- */

/* /tmp/.NAME.sock in ret_path; false after a message if that is too long for a socket. */
bool wire_path(const perf_options_t* o, char* ret_path, size_t size);
#endif
