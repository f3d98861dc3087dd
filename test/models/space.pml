/* SPDX-License-Identifier: MIT */
/* space.pml: both directions of a face whose ends announce SPACE, for the model checker spin. Each end sends
 * and receives N packets through rings of CAP slots and may go to sleep at any moment: it announces what it
 * wants (packets, room), fences once for both, looks at both rings again, and sleeps on its one FIFO. Store
 * buffers are as in wakeup.pml. Proves that neither end is left asleep while there is something for it to do:
 * a lost wake-up, for packets or for room, shows as an invalid end state. Says nothing of payloads.
 * As it stands the model is what the library does; each macro takes one thing away:
 *   NO_TAIL_FENCE    between tail (a packet is there) and the look at the consumer's parked
 *   NO_HEAD_FENCE    between head (a slot is free) and the look at the producer's waiting
 *   NO_PARK_FENCE    between the announcements and the second look
 *   NO_SPACE_LOOK    the second look is at the packets only
 *   NO_SPACE_WAKE    the consumer never looks at the producer's waiting */
#define N 2
#define CAP 1
/* Ring r carries the packets of end r. */
#define TAIL(r) (r)
#define HEAD(r) (2 + (r))
#define PARKED(r) (4 + (r))   /* set by the consumer of r */
#define WAITING(r) (6 + (r))  /* set by the producer of r */
#define FENCE(buffer) empty(buffer)

byte mem[8];
chan buf[2] = [6] of { byte, byte };  /* the store buffer of each end: address, value */
chan fifo[2] = [1] of { bit };        /* fifo[e] is the one that end e reads */

proctype stores(bit who) { byte a, v; end: do :: atomic { buf[who]?a, v -> mem[a] = v } od }

/* Takes an announcement of the other end down, and wakes it if this was what took it down. */
inline claim(flag) {
  if
  :: mem[flag] == 0
  :: mem[flag] == 1 ->
     if
     :: mem[flag] == 0
     :: atomic { mem[flag] == 1 -> mem[flag] = 0 };
        if
        :: nfull(fifo[1 - me]) -> fifo[1 - me]!1
        :: full(fifo[1 - me])
        fi
     fi
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
  do
  :: sent == N && got == N -> break
  :: sent < N && sent - mem[HEAD(me)] < CAP ->
     sent++;
     buf[me]!TAIL(me), sent;
#ifndef NO_TAIL_FENCE
     FENCE(buf[me]);
#endif
     claim(PARKED(me))
  :: got < N && mem[TAIL(1 - me)] != got ->
     got++;
     buf[me]!HEAD(1 - me), got;
#ifndef NO_HEAD_FENCE
     FENCE(buf[me]);
#endif
#ifndef NO_SPACE_WAKE
     claim(WAITING(1 - me))
#endif
  :: sent < N || got < N -> park()
  od
}

init { atomic { run stores(0); run stores(1); run endpoint(0); run endpoint(1) } }
