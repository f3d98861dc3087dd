/* SPDX-License-Identifier: MIT */
/* space.pml: both directions of a face whose ends announce SPACE, for the model checker spin. Each end sends
 * and receives N packets through rings of CAP slots and may go to sleep at any moment: it announces what it
 * wants (packets, room), fences once for both, looks at both rings again, and sleeps on its one FIFO. Store
 * buffers are as in wakeup.pml. Proves that neither end is left asleep while there is something for it to do:
 * a lost wake-up, for packets or for room, shows as an invalid end state. Says nothing of payloads.
 * As it stands the model is what the core does, with DEFERRED what it does between ndnshm_defer() and ndnshm_settle();
 * each macro takes one thing away:
 *   NO_TAIL_FENCE    between tail (a packet is there) and the look at the consumer's parked
 *   NO_HEAD_FENCE    between head (a slot is free) and the look at the producer's waiting
 *   NO_PARK_FENCE    between the announcements and the second look
 *   NO_SPACE_LOOK    the second look is at the packets only
 *   NO_SPACE_WAKE    the consumer never looks at the producer's waiting
 * DEFERRED is explained in wakeup.pml. Here an end owes for packets and for room, and one settle looks at both flags
 * and writes at most one byte for both. Each of these breaks it:
 *   SETTLE_AFTER_BLOCKING  an end that owes a settle sleeps
 *   NO_SETTLE_ON_CLOSE     an end that owes a settle closes
 *   NO_SETTLE_FENCE        settle looks without a fence
 *   DROP_SECOND_BYTE       nothing is owed after a settle that found a flag set and the turn's byte spent
 *   BYTE_BETWEEN_FLAGS     settle takes one flag down, writes its byte, and takes the other down for the same byte.
 *                          In between the peer may have woken, looked and gone to sleep again */
#define N 2
#define CAP 1
/* Ring r carries the packets of end r. */
#define TAIL(r) (r)
#define HEAD(r) (2 + (r))
#define PARKED(r) (4 + (r))   /* set by the consumer of r */
#define WAITING(r) (6 + (r))  /* set by the producer of r */
#define FENCE(buffer) empty(buffer)

#ifdef DEFERRED
#define NO_TAIL_FENCE
#define NO_HEAD_FENCE
#define DEFER 1
#else
#define DEFER 0 /* nothing is ever owed, and a byte never spent */
#endif
#ifdef SETTLE_AFTER_BLOCKING
#define MAY_SLEEP true
#else
#define MAY_SLEEP (!owes)
#endif
#ifdef NO_SETTLE_ON_CLOSE
#define MAY_CLOSE true
#else
#define MAY_CLOSE (!owes)
#endif

byte mem[8];
chan buf[2] = [6] of { byte, byte };  /* the store buffer of each end: address, value */
chan fifo[2] = [1] of { bit };        /* fifo[e] is the one that end e reads */

proctype stores(bit who) { byte a, v; end: do :: atomic { buf[who]?a, v -> mem[a] = v } od }

/* Takes an announcement of the other end down; if this was what took it down, a byte is due. */
inline take(flag) {
  if
  :: mem[flag] == 0
  :: mem[flag] == 1 ->
     if
     :: mem[flag] == 0
     :: atomic { mem[flag] == 1 -> mem[flag] = 0; due = 1 }
     fi
  fi
}

inline write_due() {
  if
  :: !due
  :: due && nfull(fifo[1 - me]) -> fifo[1 - me]!1; due = 0; spent = DEFER
  :: due && full(fifo[1 - me]) -> due = 0; spent = DEFER
  fi
}

/* The look right after a store. A flag that is set when the turn's byte is spent stays, for the settle. */
inline look(flag) {
  owes = DEFER;
  if
  :: spent
  :: !spent -> take(flag); write_due()
  fi
}

inline settle() {
#ifndef NO_SETTLE_FENCE
  FENCE(buf[me]);
#endif
  if
  :: !spent ->
     take(PARKED(me));
#ifdef BYTE_BETWEEN_FLAGS
     if
     :: !due -> take(WAITING(1 - me)); write_due()
     :: due -> write_due(); take(WAITING(1 - me)); due = 0
     fi;
#else
     take(WAITING(1 - me));
     write_due();
#endif
     owes = 0
#ifdef DROP_SECOND_BYTE
  :: spent -> owes = 0
#else
  :: spent && mem[PARKED(me)] == 1  /* still owed: the next turn has a byte */
  :: spent && mem[PARKED(me)] == 0 ->
     if
     :: mem[WAITING(1 - me)] == 1
     :: mem[WAITING(1 - me)] == 0 -> owes = 0
     fi
#endif
  fi
}

inline announce(value) {
  if
  :: got < N -> buf[me]!PARKED(1 - me), value
  :: got == N
  fi;
  if
  :: sent < N -> buf[me]!WAITING(me), value
  :: sent == N
  fi
}

inline wake() {
  announce(0);
  do
  :: fifo[me]?_
  :: empty(fifo[me]) -> break
  od
}

inline park() {
  announce(1);
#ifndef NO_PARK_FENCE
  FENCE(buf[me]);
#endif
  if
  :: got < N && mem[TAIL(1 - me)] != got -> announce(0)
  :: got == N || mem[TAIL(1 - me)] == got ->
#ifndef NO_SPACE_LOOK
     if
     :: sent < N && sent - mem[HEAD(me)] < CAP -> announce(0)
     :: sent == N || sent - mem[HEAD(me)] == CAP ->
#endif
        nempty(fifo[me]);
        wake()
#ifndef NO_SPACE_LOOK
     fi
#endif
  fi
}

proctype endpoint(bit me) {
  byte sent = 0, got = 0;
  bit owes = 0, spent = 0, due = 0;  /* a settle; this turn's byte; a byte is to be written now */
  do
  :: sent == N && got == N && MAY_CLOSE -> break
  :: sent < N && sent - mem[HEAD(me)] < CAP ->
     sent++;
     buf[me]!TAIL(me), sent;
#ifndef NO_TAIL_FENCE
     FENCE(buf[me]);
#endif
     look(PARKED(me))
  :: got < N && mem[TAIL(1 - me)] != got ->
     got++;
     buf[me]!HEAD(1 - me), got;
#ifndef NO_HEAD_FENCE
     FENCE(buf[me]);
#endif
#ifndef NO_SPACE_WAKE
     look(WAITING(1 - me))
#endif
  :: owes -> settle()
  :: spent -> spent = 0  /* a new turn */
  :: (sent < N || got < N) && MAY_SLEEP -> park()
  od
}

init { atomic { run stores(0); run stores(1); run endpoint(0); run endpoint(1) } }
