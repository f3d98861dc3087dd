/* SPDX-License-Identifier: MIT */
/* perf_wire.c: the link of all rivals that do without libuv: a plain loop that sleeps in wire_wait(), as a
 * program of its own would. Guarantees the order of events that perf.h asks for, one queued send at most, and
 * an end that the peer sees after the last packet. Does not spin: what a rival costs, awake or asleep, is its
 * own doing. */
#include "perf_wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

struct link_s {
  side_t* side;
  const perf_options_t* o;
  wire_t* wire;
  const struct iovec* queued;
  unsigned int nqueued;
  uint64_t tick_ns;
  bool stopped, paused, idle, peer_left;
  char errmsg[384];
};

bool wire_path(const perf_options_t* o, char* ret_path, size_t size) {
  int len = snprintf(ret_path, size, "/tmp/.%s.sock", o->name);
  if (len < (int) size && len < (int) sizeof((struct sockaddr_un*) NULL)->sun_path) return true;
  perf_error(o, "face %s: the name is too long for a socket", o->name);
  return false;
}

const char* link_errmsg(const link_t* l) {
  return l->errmsg;
}

static int failed(link_t* l, const char* call, int rc) {
  snprintf(l->errmsg, sizeof(l->errmsg), "%s face %s: %s", call, l->o->name, strerror(-rc));
  return rc;
}

/* --- The loop ---------------------------------------------------------------------------------- */

static void receive(link_t* l) {
  struct iovec pkts[PERF_MAX_RECV];
  int n = wire_recv(l->wire, pkts, PERF_MAX_RECV);
  bool goodbye = wire_says_goodbye && n > 0 && pkts[n - 1].iov_len == 1;
  l->peer_left = goodbye || n == WIRE_END;
  if (n < 0 && !l->peer_left) {
    side_on_end(l->side, failed(l, "receive", n));
    return;
  }
  n = n < 0 ? 0 : n - goodbye;
  if (n > 0) side_on_packets(l->side, pkts, (unsigned int) n);
  if (l->peer_left && !l->stopped) side_on_end(l->side, 0);
}

static void send_queued(link_t* l) {
  int n = link_send(l, l->queued, l->nqueued);
  if (n < 0) {
    side_on_end(l->side, n);
    return;
  }
  l->queued += n;
  l->nqueued -= (unsigned int) n;
  if (l->nqueued == 0) side_on_room(l->side);
}

static void turn(link_t* l) {
  unsigned int what = (l->paused ? 0u : WIRE_PACKETS) | (l->nqueued > 0 ? WIRE_ROOM : 0u);
  unsigned int ready = wire_wait(l->wire, what, l->idle ? 0 : (int) perf_tick_ms(l->o));
  if (ready & WIRE_PACKETS) receive(l);
  if (!l->stopped && l->nqueued > 0 && ready & WIRE_ROOM) send_queued(l);
  if (!l->stopped && l->idle) side_on_idle(l->side);
}

/* Whether the other's goodbye can still come. */
static bool may_answer(const link_t* l, uint64_t since_ns) {
  bool late = perf_now_ns() - since_ns > l->o->timeout_ms * UINT64_C(1000000);
  return !late && perf_signal() == 0 && !perf_server_gone(l->o);
}

/* Both ends say it, so neither closes while the other's last packets are on their way. */
static void say_goodbye(link_t* l) {
  struct iovec pkts[PERF_MAX_RECV], goodbye = {(char[]){0}, 1};
  uint64_t start_ns = perf_now_ns();
  bool said = false;
  while (!(said && l->peer_left) && may_answer(l, start_ns)) {
    unsigned int what = (said ? 0u : WIRE_ROOM) | (l->peer_left ? 0u : WIRE_PACKETS);
    unsigned int ready = wire_wait(l->wire, what, 10);
    if (!said && ready & WIRE_ROOM) said = wire_send(l->wire, &goodbye, 1) != 0;
    if (!(ready & WIRE_PACKETS)) continue;
    int n = wire_recv(l->wire, pkts, PERF_MAX_RECV);
    l->peer_left = n < 0 || (n > 0 && pkts[n - 1].iov_len == 1);
  }
}

void link_run(link_t* l) {
  while (!l->stopped) {
    turn(l);
    uint64_t now_ns = perf_now_ns();
    if (l->stopped || now_ns - l->tick_ns < perf_tick_ms(l->o) * UINT64_C(1000000)) continue;
    l->tick_ns = now_ns;
    side_tick(l->side);
  }
  if (wire_says_goodbye) say_goodbye(l);
}

/* --- What the sides call ----------------------------------------------------------------------- */

int link_send(link_t* l, const struct iovec pkts[], unsigned int npkts) {
  unsigned int batch = l->o->batch, taken = 0;
  while (taken < npkts) {
    unsigned int n = npkts - taken < batch ? npkts - taken : batch;
    int rc = wire_send(l->wire, pkts + taken, n);
    if (rc < 0) return failed(l, "send", rc);
    taken += (unsigned int) rc;
    if (rc == 0) break;
  }
  return (int) taken;
}

int link_queue(link_t* l, const struct iovec pkts[], unsigned int npkts) {
  l->queued = pkts;
  l->nqueued = npkts < l->o->batch ? npkts : l->o->batch;
  return (int) l->nqueued;
}

void link_idle(link_t* l, bool on) {
  l->idle = on;
}

void link_pause(link_t* l, bool on) {
  l->paused = on;
}

void link_stop(link_t* l) {
  l->stopped = true;
}

json_t* link_stats(const link_t* l) {
  return wire_stats(l->wire);
}

link_t* link_open(side_t* s, const perf_options_t* o) {
  link_t* l = calloc(1, sizeof(*l));
  if (l == NULL) {
    perf_error(o, "calloc: %s", strerror(ENOMEM));
    return NULL;
  }
  l->side = s;
  l->o = o;
  l->wire = wire_open(o);
  if (l->wire != NULL) return l;
  free(l);
  return NULL;
}

void link_free(link_t* l) {
  wire_close(l->wire);
  free(l);
}
