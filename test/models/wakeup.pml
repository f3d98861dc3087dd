/* SPDX-License-Identifier: MIT */
/* wakeup.pml: one direction of a face, a producer and a consumer that sleeps on a FIFO, for the model
 * checker spin. Every store first goes into its owner's store buffer and reaches memory at any later moment,
 * in order, as on x86; a fence waits until the buffer is empty. Proves for N packets in a ring of CAP slots:
 * the consumer is never left asleep beside a packet, and never sees a slot before its payload. Does not
 * model loads that run early or stores that overtake each other: the Relacy model beside this one does.
 * A lost wake-up shows as an invalid end state: all buffers empty, the consumer asleep for ever.
 * As it stands the model is what the core does, with DEFERRED what it does between ndnshm_defer() and ndnshm_settle();
 * each macro breaks or replaces one thing:
 *   NO_PUBLISH_FENCE  the producer does not fence between tail and parked, as in ndn-rs
 *   NO_PARK_FENCE     the consumer does not fence between parked and its second look. (A sequentially
 *                     consistent store is as good as a fence on x86, but not on AArch64 nor in C11.)
 *   NO_SECOND_LOOK    the consumer sleeps at once after it announced it
 *   DRAIN_LATE        the consumer empties the FIFO after its second look
 *   CLEAR_BY_STORE    the producer clears parked by load and store, not by exchange
 *   LITERAL           the producer leaves parked alone and writes its byte whenever it is set, as ndn-rs does
 *   RECHECK           the consumer looks once more, one time per park, when no store is in a buffer any more:
 *                     a millisecond is longer than any store stays there
 * DEFERRED is the form for a producer that publishes many times in one turn of a loop. Each publish looks at parked
 * at once, without a fence. At most one byte is written in a turn; if it is spent, parked stays as it is. Whoever has
 * published owes a settle, which is a fence and another look, before it blocks or closes. If the settle finds parked
 * set and the byte spent, it is still owed, and the next turn has a byte. A turn may end anywhere: the proof does not
 * need to know where. A byte may overtake its packet here; then the consumer sleeps again, and the settle wakes it.
 * Each of these breaks it:
 *   SETTLE_AFTER_BLOCKING  the producer settles after it has waited for room, not before
 *   NO_SETTLE_ON_CLOSE     the producer closes while it owes
 *   NO_SETTLE_FENCE        settle looks without a fence
 *   DROP_SECOND_BYTE       nothing is owed after such a settle either */
#define N 4
#define CAP 2
#define TAIL 0
#define HEAD 1
#define PARKED 2
#define SLOT(i) (3 + (i) % CAP)
#define PAYLOAD(i) (100 + (i))
#define FENCE(buffer) empty(buffer)
#define ROOM (tail - mem[HEAD] < CAP)

#ifdef DEFERRED
#define NO_PUBLISH_FENCE
#define DEFER 1
#else
#define DEFER 0 /* nothing is ever owed, and a byte never spent */
#endif
#ifdef SETTLE_AFTER_BLOCKING
#define MAY_SETTLE (tail == N || ROOM)
#else
#define MAY_SETTLE true
#endif
#ifdef NO_SETTLE_ON_CLOSE
#define MAY_CLOSE true
#else
#define MAY_CLOSE (!owes)
#endif

byte mem[3 + CAP];
chan pbuf = [6] of { byte, byte };  /* what the producer stored and nobody else sees yet: address, value */
chan cbuf = [6] of { byte, byte };
chan fifo = [2] of { bit };         /* full: the byte is dropped, EAGAIN is success */

active proctype producer_stores() { byte a, v; end: do :: atomic { pbuf?a, v -> mem[a] = v } od }
active proctype consumer_stores() { byte a, v; end: do :: atomic { cbuf?a, v -> mem[a] = v } od }

inline write_byte() {
  if
  :: nfull(fifo) -> fifo!1
  :: full(fifo)
  fi;
  spent = DEFER
}

inline wake_consumer() {
  if
  :: mem[PARKED] == 0
  :: mem[PARKED] == 1 ->
#if defined(LITERAL)
     write_byte()
#elif defined(CLEAR_BY_STORE)
     pbuf!PARKED, 0;
     write_byte()
#else
     if
     :: atomic { mem[PARKED] == 1 -> mem[PARKED] = 0 }; write_byte()
     :: mem[PARKED] == 0
     fi
#endif
  fi
}

inline settle() {
#ifndef NO_SETTLE_FENCE
  FENCE(pbuf);
#endif
  if
  :: !spent -> wake_consumer(); owes = 0
  :: spent && mem[PARKED] == 0 -> owes = 0
  :: spent && mem[PARKED] == 1
#ifdef DROP_SECOND_BYTE
     -> owes = 0
#endif
  fi
}

inline drain() {
  do
  :: fifo?_
  :: empty(fifo) -> break
  od
}

inline sleep() {
  if
  :: nempty(fifo)
#ifdef RECHECK
  :: empty(pbuf) && empty(cbuf) ->
     if
     :: mem[TAIL] != head
     :: mem[TAIL] == head -> nempty(fifo)
     fi
#endif
  fi
}

active proctype producer() {
  byte tail = 0;
  bit owes = 0, spent = 0;  /* a settle; this turn's byte */
  do
  :: tail == N && MAY_CLOSE -> break
  :: tail < N && ROOM ->
     pbuf!SLOT(tail), PAYLOAD(tail);
     tail++;
     pbuf!TAIL, tail;
#ifndef NO_PUBLISH_FENCE
     FENCE(pbuf);
#endif
     owes = DEFER;
     if
     :: spent
     :: !spent -> wake_consumer()
     fi
  :: owes && MAY_SETTLE -> settle()
  :: spent -> spent = 0  /* a new turn */
  od
}

active proctype consumer() {
  byte head = 0;
  do
  :: head == N -> break
  :: head < N && mem[TAIL] != head ->
     assert(mem[SLOT(head)] == PAYLOAD(head));
     head++;
     cbuf!HEAD, head
  :: head < N && mem[TAIL] == head ->
     cbuf!PARKED, 1;
#ifndef NO_PARK_FENCE
     FENCE(cbuf);
#endif
     if
#ifndef NO_SECOND_LOOK
     :: mem[TAIL] != head -> cbuf!PARKED, 0
     :: mem[TAIL] == head ->
#else
     :: true ->
#endif
#ifdef DRAIN_LATE
        drain();
#endif
        sleep();
        cbuf!PARKED, 0;
        drain()
     fi
  od
}
