/* SPDX-License-Identifier: MIT */
/* fuzz_api.c: a program that calls any function of uvface.h at any time, from every callback, on several faces of two
 * loops that talk to each other, while a hostile peer's hand is in some of them. Input: flags, what is done between
 * turns from the front, what is done in callbacks from the back.
 *
 * Holds the product to the ten rules of docs/design.rst: no callback inside a call, each one exactly once, in order,
 * and none after it was stopped or closed; what a call returns is what the header lists for the state that the face is
 * in; packets arrive as they were sent, in order, all of them; the program's memory is not touched once it was given
 * back (each face, request, packet and filter is a block of its own, freed at the first moment allowed); nobody is left
 * asleep beside a packet; and nothing is left. Here are the run and its end; api_ends.h says what is in the other
 * files. */
#include <poll.h>
#include <string.h>

#include "api_ends.h"

#define FDS_MAX 64
#define ROUNDS_MAX 4000

/* --- The end of a run ------------------------------------------------------------------------- */

static void stop_handles(loop_t* l) {
  if (l->dead) return;
  uv_timer_stop(&l->timer);
  uv_prepare_stop(&l->prepare);
  uv_check_stop(&l->check);
  uv_idle_stop(&l->idle);
}

static bool is_at_rest(void) {
  for (unsigned int i = 0; i < run.nloops; i++)
    if (uv_loop_alive(&run.loops[i].loop) && uv_backend_timeout(&run.loops[i].loop) == 0) return false;
  return true;
}

/* Turns the loops until nothing more happens; the hand may see to it that they never rest. */
static bool come_to_rest(void) {
  unsigned int quiet_rounds = 0;

  run.quiet = true;
  run.poke_at = 0;
  for (unsigned int i = 0; i < run.nloops; i++) stop_handles(&run.loops[i]);
  for (int round = 0; round < ROUNDS_MAX && quiet_rounds < 3; round++) {
    unsigned int news = run.news;

    for (unsigned int i = 0; i < run.nloops; i++) loop_turn(i);
    if (round % 4 == 3) sandbox_advance_ms(1);
    quiet_rounds = run.news == news && is_at_rest() ? quiet_rounds + 1 : 0;
  }
  for (unsigned int i = 0; i < LINKS_MAX && link_get(i) != NULL; i++)
    if (link_get(i)->ledgers[0].poked) return quiet_rounds > 0;
  FUZZ_REQUIRE(quiet_rounds > 0);
  return true;
}

static end_t* peer_of(const end_t* end) {
  for (end_t* peer = run.all; peer != NULL; peer = peer->next)
    if (peer->state == END_OPEN && peer->link == end->link && peer->side != end->side) return peer;
  return NULL;
}

/* Nobody sleeps beside a packet, a free slot, or an end that should be told. */
static void check_rest(void) {
  for (end_t* end = run.all; end != NULL; end = end->next) {
    const end_t* peer;

    if (end->state != END_CLOSING) end_ask(end);
    if (end->state != END_OPEN || end_is_dead(end) || end_is_poked(end) || !end->receiving || end->drops) continue;
    if (!uv_loop_alive(&run.loops[end->loop].loop)) continue; /* nothing runs it any more */
    peer = peer_of(end);
    if (peer != NULL && !end_is_dead(peer) && uv_loop_alive(&run.loops[peer->loop].loop)) {
      ledger_require_all(end_in(end));
      if (peer->slot == NULL) FUZZ_REQUIRE(peer->first == NULL);
    }
    if (peer == NULL && end->link->closed[1 - end->side] && end->link->raw[1] < 0 &&
        (end->side != 0 || end->link->kind != BY_DESCRIPTORS || end->link->app_fds_closed))
      FUZZ_REQUIRE(end->error != 0);
  }
}

/* Rule 9: once the program's own handles are gone, faces alone decide. */
static void check_alive(void) {
  for (unsigned int i = 0; i < run.nloops; i++) {
    loop_t* l = &run.loops[i];
    bool wanted = false;

    if (!l->dead) {
      uv_close((uv_handle_t*) &l->timer, NULL);
      uv_close((uv_handle_t*) &l->async, NULL);
      uv_close((uv_handle_t*) &l->prepare, NULL);
      uv_close((uv_handle_t*) &l->check, NULL);
      uv_close((uv_handle_t*) &l->idle, NULL);
    }
    l->lonely = true;
    for (int t = 0; t < 6; t++) loop_turn(i);
    for (end_t* end = run.all; end != NULL; end = end->next)
      if (end->loop == i && end->state == END_OPEN && !end->orphan && end->ref && uvface_is_active(&end->face))
        wanted = true;
    if (!l->dead) FUZZ_REQUIRE(!wanted || uv_loop_alive(&l->loop));
  }
}

static void close_all(void) {
  for (end_t *end = run.all, *next; end != NULL; end = next) {
    next = end->next;
    if (end->state != END_CLOSING) end_close(end, false);
  }
  for (unsigned int i = 0; i < run.nloops; i++) {
    loop_t* l = &run.loops[i];

    if ((run.flags & FLAG_WALK) != 0 || !l->lonely) uv_walk(&l->loop, loop_close_handle, NULL);
    for (int t = 0; t < 12 && uv_loop_alive(&l->loop); t++) loop_turn(i);
    FUZZ_REQUIRE(!uv_loop_alive(&l->loop));
    FUZZ_REQUIRE(uv_loop_close(&l->loop) == 0);
  }
  while (run.all != NULL) { /* closed without a callback, and without a filter */
    FUZZ_REQUIRE(run.all->silent_close && run.all->filter == NULL);
    end_free(run.all);
  }
}

/* --- The run ---------------------------------------------------------------------------------- */

static uint64_t open_descriptors(void) {
  struct pollfd fds[FDS_MAX];
  uint64_t open = 0;

  for (int i = 0; i < FDS_MAX; i++) fds[i] = (struct pollfd){.fd = i};
  FUZZ_REQUIRE(poll(fds, FDS_MAX, 0) >= 0);
  for (int i = 0; i < FDS_MAX; i++)
    if ((fds[i].revents & POLLNVAL) == 0) open |= UINT64_C(1) << i;
  return open;
}

/* What libuv opens once for the process. */
static void prepare(void) {
  static bool prepared;
  uv_loop_t loop;

  if (prepared) return;
  prepared = true;
  FUZZ_REQUIRE(uv_loop_init(&loop) == 0);
  FUZZ_REQUIRE(uv_loop_close(&loop) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint64_t before;

  prepare();
  memset(&run, 0, sizeof(run));
  run.in = (fuzz_input_t){data, data + size};
  run.flags = fuzz_front(&run.in);
  run.nloops = (run.flags & FLAG_TWO_LOOPS) != 0 ? 2 : 1;
  sandbox_enter();
  links_begin();
  before = open_descriptors();
  for (unsigned int i = 0; i < run.nloops; i++) loop_open(&run.loops[i]);
  while (fuzz_left(&run.in) > 0 && run.ops < OPS_MAX) script_do_one();
  if (come_to_rest()) check_rest();
  if ((run.flags & FLAG_LONELY) != 0) check_alive();
  close_all();
  links_end();
  FUZZ_REQUIRE(open_descriptors() == before);
  FUZZ_REQUIRE(sandbox_count_regions() == 0);
  sandbox_leave();
  return 0;
}
