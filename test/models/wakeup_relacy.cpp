// SPDX-License-Identifier: MIT
// wakeup_relacy.cpp: park and wake under the C11 memory model itself, checked by Relacy, where any load may
// return any value that the model allows; prints TAP. The bare exchange of flag and index is searched
// exhaustively; the whole loop (packets, room, payload, FIFOs that are semaphores) at random, from fixed
// seeds, and so can miss what is rare. A lost wake-up shows as a deadlock, a slot read or written too early
// as a data race. Every variant that lacks a fence or an order must be caught, else the model proves nothing.
// Memory orders are those of lib/ring and lib/wake. Deferred is the form of wakeup.pml that settles once a turn
// instead of fencing each publish and release. The only C++ of the project.
#include <relacy/windows.h>

#include <cstdio>
#include <ostream>
#include <streambuf>

namespace {

// What the variant being checked does without: a fence, the order of one access to an index, or a step of settling.
enum {
  NOTHING = 0,
  PUBLISH_FENCE = 1,
  PARK_FENCE = 2,
  RELEASE_FENCE = 4,
  WAIT_FENCE = 8,
  TAIL_STORE = 16,
  TAIL_LOAD = 32,
  HEAD_STORE = 64,
  HEAD_LOAD = 128,
  DEFERRED = 256 | PUBLISH_FENCE | RELEASE_FENCE,  // and settles instead
  SETTLE_FENCE = 512,
  SETTLE_BEFORE_BLOCKING = 1024,
  SETTLE_ON_CLOSE = 2048,
  SECOND_BYTE = 4096
};
unsigned without;

void fence(unsigned which) {
  if (!(without & which)) rl::atomic_thread_fence(rl::mo_seq_cst, $);
}

bool deferred() { return (without & DEFERRED) == DEFERRED; }

rl::memory_order order(unsigned access, rl::memory_order wanted) {
  return without & access ? rl::mo_relaxed : wanted;
}

// One packet, one look: the producer finds the flag and takes it down, or the consumer finds the packet.
struct bare : rl::test_suite<bare, 2> {
  static const rl::scheduler_type_e search = rl::sched_full;
  rl::atomic<unsigned> tail, parked;
  bool woken, seen;

  void before() {
    tail($) = 0;
    parked($) = 0;
    woken = seen = false;
  }

  void look() {
    if (parked.load(rl::mo_relaxed, $) && parked.exchange(0, rl::mo_relaxed, $)) woken = true;
  }

  void thread(unsigned id) {
    if (id == 0) {
      tail.store(1, rl::mo_release, $);
      fence(PUBLISH_FENCE);
      look();
      if (deferred() && !(without & SETTLE_ON_CLOSE)) {
        fence(SETTLE_FENCE);
        look();
      }
    } else {
      parked.store(1, rl::mo_relaxed, $);
      fence(PARK_FENCE);
      seen = tail.load(rl::mo_acquire, $) != 0;
    }
  }

  void after() { RL_ASSERT(woken || seen); }
};

// A producer that sleeps on a full ring and a consumer that sleeps on an empty one.
struct whole : rl::test_suite<whole, 2> {
  static const rl::scheduler_type_e search = rl::sched_random;
  static const unsigned packets = 4, capacity = 2;
  rl::atomic<unsigned> tail, head, parked, waiting;
  rl::var<unsigned> slot[capacity];
  HANDLE packet_fifo, room_fifo;
  struct end {
    rl::atomic<unsigned> *flag;  // of the peer, as is the FIFO
    HANDLE fifo;
    bool owes, spent;  // a settle; this turn's byte
  } producer, consumer;

  void before() {
    tail($) = head($) = 0;
    parked($) = waiting($) = 0;
    packet_fifo = CreateSemaphore(0, 0, 100, 0);
    room_fifo = CreateSemaphore(0, 0, 100, 0);
    producer = {&parked, packet_fifo, false, false};
    consumer = {&waiting, room_fifo, false, false};
  }

  void after() {
    CloseHandle(packet_fifo);
    CloseHandle(room_fifo);
  }

  // Returns whether it wrote a byte.
  bool wake(end &own) {
    if (!own.flag->load(rl::mo_relaxed, $) || !own.flag->exchange(0, rl::mo_relaxed, $)) return false;
    ReleaseSemaphore(own.fifo, 1, 0);
    return true;
  }

  // The look right after a store. A flag that is set when the turn's byte is spent stays, for the settle.
  void look(end &own) {
    bool woke = !own.spent && wake(own);

    if (!deferred()) return;
    if (woke) own.spent = true;
    own.owes = true;
  }

  // Ends the turn; if the flag is set and the turn's byte spent, the next turn too, which has a byte.
  void settle(end &own) {
    while (own.owes) {
      fence(SETTLE_FENCE);
      if (own.spent) {
        own.owes = own.flag->load(rl::mo_relaxed, $) && !(without & SECOND_BYTE);
      } else {
        wake(own);
        own.owes = false;
      }
      own.spent = false;
    }
  }

  void settle_before_blocking(end &own) {
    if (!(without & SETTLE_BEFORE_BLOCKING)) settle(own);
  }

  void sleep(rl::atomic<unsigned> &flag, HANDLE fifo) {
    WaitForSingleObject(fifo, INFINITE);
    flag.store(0, rl::mo_relaxed, $);
    while (WaitForSingleObject(fifo, 0) == WAIT_OBJECT_0) continue;
  }

  bool full(unsigned own_tail) {
    return own_tail - head.load(order(HEAD_LOAD, rl::mo_acquire), $) == capacity;
  }

  bool empty(unsigned own_head) { return tail.load(order(TAIL_LOAD, rl::mo_acquire), $) == own_head; }

  void produce(unsigned i) {
    while (full(i)) {
      settle_before_blocking(producer);
      waiting.store(1, rl::mo_relaxed, $);
      fence(WAIT_FENCE);
      if (full(i))
        sleep(waiting, room_fifo);
      else
        waiting.store(0, rl::mo_relaxed, $);
    }
    slot[i % capacity]($) = 100 + i;
    tail.store(i + 1, order(TAIL_STORE, rl::mo_release), $);
    fence(PUBLISH_FENCE);
    look(producer);
  }

  void consume(unsigned i) {
    while (empty(i)) {
      settle_before_blocking(consumer);
      parked.store(1, rl::mo_relaxed, $);
      fence(PARK_FENCE);
      if (empty(i))
        sleep(parked, packet_fifo);
      else
        parked.store(0, rl::mo_relaxed, $);
    }
    RL_ASSERT(slot[i % capacity]($) == 100 + i);
    head.store(i + 1, order(HEAD_STORE, rl::mo_release), $);
    fence(RELEASE_FENCE);
    look(consumer);
  }

  void thread(unsigned id) {
    end &own = id == 0 ? producer : consumer;

    for (unsigned i = 0; i < packets; i++) {
      if (id == 0)
        produce(i);
      else
        consume(i);
      if (own.owes && rl::rand(2)) settle(own);  // a turn may end after any packet
    }
    if (!(without & SETTLE_ON_CLOSE)) settle(own);
  }
};

// What Relacy says becomes TAP comments: for a broken variant, step by step how it loses the wake-up.
class commented : public std::streambuf {
  bool line_start = true;

  int_type overflow(int_type c) override {
    if (line_start) std::fputs("# ", stdout);
    line_start = c == '\n';
    return std::putchar(c);
  }
};

int number = 0, failures = 0;

template <typename Model>
void check(const char *name, unsigned missing, rl::test_result_e expected) {
  commented comments;
  std::ostream said(&comments);
  rl::test_params params;

  without = missing;
  params.search_type = Model::search;
  params.iteration_count = 300000;
  params.output_stream = params.progress_stream = &said;
  rl::simulate<Model>(params);
  bool good = params.test_result == expected;
  std::printf("%sok %d - %s: %s after %llu executions\n", good ? "" : "not ", ++number, name,
              rl::test_result_str(params.test_result), (unsigned long long) params.stop_iteration);
  if (!good) std::printf("# expected: %s\n", rl::test_result_str(expected));
  failures += !good;
}

}  // namespace

int main() {
  const rl::test_result_e safe = rl::test_result_success, lost = rl::test_result_user_assert_failed,
                          stuck = rl::test_result_deadlock, race = rl::test_result_data_race;

  std::printf("1..26\n");
  check<bare>("bare, both fences", NOTHING, safe);
  check<bare>("bare, no publish fence", PUBLISH_FENCE, lost);
  check<bare>("bare, no park fence", PARK_FENCE, lost);
  check<bare>("bare, no fence", PUBLISH_FENCE | PARK_FENCE, lost);
  check<bare>("bare, deferred", DEFERRED, safe);
  check<bare>("bare, deferred, no park fence", DEFERRED | PARK_FENCE, lost);
  check<bare>("bare, deferred, no settle fence", DEFERRED | SETTLE_FENCE, lost);
  check<bare>("bare, deferred, no settle on close", DEFERRED | SETTLE_ON_CLOSE, lost);
  check<whole>("whole loop, all fences", NOTHING, safe);
  check<whole>("whole loop, no publish fence", PUBLISH_FENCE, stuck);
  check<whole>("whole loop, no park fence", PARK_FENCE, stuck);
  check<whole>("whole loop, no release fence", RELEASE_FENCE, stuck);
  check<whole>("whole loop, no wait fence", WAIT_FENCE, stuck);
  check<whole>("whole loop, deferred", DEFERRED, safe);
  check<whole>("whole loop, deferred, no park fence", DEFERRED | PARK_FENCE, stuck);
  check<whole>("whole loop, deferred, no wait fence", DEFERRED | WAIT_FENCE, stuck);
  check<whole>("whole loop, deferred, no settle fence", DEFERRED | SETTLE_FENCE, stuck);
  check<whole>("whole loop, deferred, settle after blocking", DEFERRED | SETTLE_BEFORE_BLOCKING, stuck);
  check<whole>("whole loop, deferred, no settle on close", DEFERRED | SETTLE_ON_CLOSE, stuck);
  check<whole>("whole loop, deferred, second byte dropped", DEFERRED | SECOND_BYTE, stuck);
  check<whole>("whole loop, tail stored relaxed", TAIL_STORE, race);
  check<whole>("whole loop, tail loaded relaxed", TAIL_LOAD, race);
  check<whole>("whole loop, head stored relaxed", HEAD_STORE, race);
  check<whole>("whole loop, head loaded relaxed", HEAD_LOAD, race);
  check<whole>("whole loop, deferred, tail stored relaxed", DEFERRED | TAIL_STORE, race);
  check<whole>("whole loop, deferred, head stored relaxed", DEFERRED | HEAD_STORE, race);
  return failures != 0;
}
