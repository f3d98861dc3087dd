/* SPDX-License-Identifier: MIT */
/* forwarder.c: a small NDN forwarder on one uv_loop_t. Local apps come and go through uvface_server_t, each with a
 * face, over shared memory or over its socket; with --uplink it is itself an app of a bigger forwarder. Shows how an
 * engine embeds uvface_mgmt.h: faces in and out, routes by command, batches in, one copy to where a packet stays,
 * batches out, a bounded queue behind each full face, an orderly end. Guarantees: packets leave as they came (only a
 * HopLimit is counted down), answers with the PIT token of who asked; no app can make it wait, each can make it hold
 * QUEUE_MAX packets at most, all of them QUEUE_BYTES_MAX; of an app that is gone nothing is left. Does not do:
 * multicast, several ways at a time, routing protocols, reassembly. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common.h"
#include "tables.h"

enum {
  OUT_MAX = 64,     /* packets collected for one face: as many as one recv_cb can bring */
  QUEUE_MAX = 1024, /* packets that wait behind one full face */
  QUEUE_BYTES_MAX = 64 << 20,
  SEND_TIMEOUT_MS = 4000, /* an Interest lives no longer by default */
  PIT_MAX = 65536,        /* pending Interests */
  NAME_MAX_BYTES = 1024,
  TITLE_BYTES = 64,          /* of a face, in messages */
  SCRATCH_BYTES = 256 << 10, /* more than one packet, as much as a recv_cb brings */
  CS_BYTES_DEFAULT = 32 << 20,
  EXPIRE_MS = 1000, /* routes end so much later than they said, at most */
  RECONNECT_MS = 50
};

static const uint64_t uplink_cost = (uint64_t) 1 << 32; /* dearer than what an app asks for */

typedef struct forwarder_s forwarder_t;
typedef struct port_s port_t;

/* A packet that waits for room. */
typedef struct packet_s {
  uvface_send_t req;
  port_t* port;
  size_t len;
  char bytes[];
} packet_t;

/* A face, and what is about to go out by it. */
struct port_s {
  forwarder_t* fwd;
  uvface_t* face; /* NULL: gone, or the uplink is down */
  uint64_t face_id;
  int pid; /* of its app */
  size_t mtu;
  hop_t hop;
  port_t *next, **link; /* among all of the forwarder */
  port_t* next_out;     /* among those that have something to send */
  uv_buf_t out[OUT_MAX];
  unsigned int nout;
  bool listed; /* among those */
  unsigned int queued;
  uint64_t answered; /* the last Data that it got without a token */
  uint64_t drops;
};

typedef struct counters_s {
  uint64_t interests, data, nacks, cs_hits, drops, too_large, aggregated, loops, no_route, unsolicited, broken;
} counters_t;

/* A registration on its way to the uplink, or back. */
typedef struct upward_s {
  uvface_command_t req;
  forwarder_t* fwd;
  char name[NAME_MAX_BYTES];
} upward_t;

struct forwarder_s {
  uv_loop_t loop;
  uv_timer_t sweep, expire;
  uv_signal_t signals[2], asked; /* to end, and to print the faces */
  uvface_server_t server;
  uvface_client_t client; /* of the uplink */
  port_t uplink;
  fib_t fib;
  pit_t pit;
  cs_t cs;
  port_t* ports;
  port_t* outs; /* have something to send */
  size_t queued_bytes;
  uint8_t scratch[SCRATCH_BYTES]; /* copies of packets that are not for the content store, until they are flushed */
  size_t scratch_used;
  const char *path, *uplink_uri;
  uint64_t cs_bytes, mtu;
  unsigned int mode, uid, gid; /* of the socket; 0 and ~0u: as they come */
  bool no_shm, verbose, stopping;
  counters_t count;
};

/* --- Sending ---------------------------------------------------------------------------------- */

static void port_drop(port_t* port, uint64_t packets) {
  port->drops += packets;
  port->fwd->count.drops += packets;
}

/* An app's port lives as long as its face, or as what still waits for that. */
static void port_free(port_t* port) {
  if (port->face == NULL && port->queued == 0 && port != &port->fwd->uplink) free(port);
}

static void on_sent(uvface_send_t* req, int status) {
  packet_t* packet = req->data;
  port_t* port = packet->port;
  port->queued--;
  port->fwd->queued_bytes -= packet->len;
  if (status == UV_ETIMEDOUT) port_drop(port, 1); /* else its face has gone, and took it along */
  free(packet);
  port_free(port);
}

/* The face is full: the packet waits in a copy, because its bytes belong to somebody else. */
static void port_queue(port_t* port, const uv_buf_t bufs[], unsigned int nbufs) {
  forwarder_t* fwd = port->fwd;
  size_t len = 0;
  for (unsigned int i = 0; i < nbufs; i++) len += bufs[i].len;
  bool room = port->queued < QUEUE_MAX && fwd->queued_bytes + len <= QUEUE_BYTES_MAX;
  packet_t* packet = room ? malloc(sizeof(*packet) + len) : NULL;
  if (packet == NULL) {
    port_drop(port, 1);
    return;
  }
  packet->req.data = packet;
  packet->port = port;
  packet->len = 0;
  for (unsigned int i = 0; i < nbufs; packet->len += bufs[i++].len)
    memcpy(packet->bytes + packet->len, bufs[i].base, bufs[i].len);
  uv_buf_t buf = uv_buf_init(packet->bytes, (unsigned int) len);
  if (uvface_send(&packet->req, port->face, &buf, 1, on_sent) < 0) {
    port_drop(port, 1); /* it is gone, and its callback is about to tell */
    free(packet);
    return;
  }
  port->queued++;
  fwd->queued_bytes += len;
}

static void port_flush(port_t* port) {
  if (port->nout == 0) return;
  int taken = port->face != NULL ? uvface_try_send_batch(port->face, port->out, port->nout) : 0;
  for (unsigned int i = taken > 0 ? (unsigned int) taken : 0; i < port->nout; i++) port_queue(port, &port->out[i], 1);
  port->nout = 0;
}

/* All that was put leaves, and the scratch is free again. */
static void flush_all(forwarder_t* fwd) {
  for (port_t* port; (port = fwd->outs) != NULL; port_flush(port)) {
    fwd->outs = port->next_out;
    port->listed = false;
  }
  fwd->scratch_used = 0;
}

/* Room in the peer's slots, or in its buffer, is what the face says; what is larger would be the end of some. */
static bool port_takes(port_t* port, size_t len) {
  if (port->face != NULL && len <= port->mtu) return true;
  port->fwd->count.too_large += port->face != NULL;
  port_drop(port, 1);
  return false;
}

/* The bytes must stay until flush_all(), which ends every recv_cb. */
static void port_put(port_t* port, ndnpkt_bytes_t wire) {
  if (!port_takes(port, wire.len)) return;
  if (port->nout == OUT_MAX) port_flush(port);
  if (!port->listed) {
    port->listed = true;
    port->next_out = port->fwd->outs;
    port->fwd->outs = port;
  }
  port->out[port->nout++] = uv_buf_init((char*) wire.base, (unsigned int) wire.len);
}

/* The same with link headers, which is for few packets. It goes at once, behind those that were put. */
static void port_wrap(port_t* port, const ndnpkt_link_t* link) {
  uint8_t header[NDNPKT_LINK_HEADER_MAX];
  ssize_t size = ndnpkt_link_encode(header, sizeof(header), link);
  if (size < 0 || !port_takes(port, (size_t) size + link->fragment.len)) return;
  uv_buf_t bufs[] = {uv_buf_init((char*) header, (unsigned int) size),
                     uv_buf_init((char*) link->fragment.base, (unsigned int) link->fragment.len)};
  port_flush(port);
  if (uvface_try_send(port->face, bufs, 2) < 0) port_queue(port, bufs, 2);
}

/* An answer: with the token that came with the question, bare if there was none. */
static void port_answer(port_t* port, ndnpkt_bytes_t data, ndnpkt_bytes_t token) {
  ndnpkt_link_t link = {.pit_token = token, .fragment = data};
  if (token.len > 0)
    port_wrap(port, &link);
  else
    port_put(port, data);
}

/* Tells a face at once that its Interest leads nowhere. */
static void port_nack(port_t* port, ndnpkt_bytes_t interest, uint64_t reason, ndnpkt_bytes_t token) {
  ndnpkt_link_t nack = {.nack = true, .nack_reason = reason, .pit_token = token, .fragment = interest};
  port_wrap(port, &nack);
}

/* --- Forwarding ------------------------------------------------------------------------------- */

static void on_sweep(uv_timer_t* timer) {
  forwarder_t* fwd = timer->data;
  pit_sweep(&fwd->pit, uv_now(&fwd->loop));
  if (fwd->pit.table.count == 0) uv_timer_stop(timer); /* an idle forwarder sleeps */
}

static void forward_interest(port_t* port, const ndnpkt_packet_t* packet, hop_t* to) {
  forwarder_t* fwd = port->fwd;
  const ndnpkt_interest_t* interest = &packet->interest;
  switch (pit_add(&fwd->pit, interest, packet->link.pit_token, &port->hop, to, uv_now(&fwd->loop))) {
    case PIT_AGGREGATE: fwd->count.aggregated++; return;
    case PIT_LOOP: fwd->count.loops++; return;
    case PIT_FULL: port_drop(port, 1); return;
    case PIT_FORWARD: break;
  }
  if (!uv_is_active((uv_handle_t*) &fwd->sweep)) uv_timer_start(&fwd->sweep, on_sweep, WHEEL_TICK_MS, WHEEL_TICK_MS);
  if (interest->hop_limit != NULL) --*(uint8_t*) interest->hop_limit; /* our own copy */
  port_put(to->data, packet->wire);                                   /* never the token, which is between two ends */
}

/* Names under /localhost do not leave this forwarder, and none come in from the other. */
static bool is_local(ndnpkt_name_t name) {
  static const uint8_t localhost[] = "\x08\x09localhost";
  return ndnpkt_name_has_prefix(name, (ndnpkt_name_t){localhost, sizeof(localhost) - 1});
}

static hop_t* find_hop(const port_t* port, ndnpkt_name_t name) {
  forwarder_t* fwd = port->fwd;
  hop_t* hop = fib_find(&fwd->fib, name, &port->hop);
  bool crosses = port == &fwd->uplink || hop == &fwd->uplink.hop;
  return crosses && is_local(name) ? NULL : hop;
}

static void on_interest(port_t* port, const ndnpkt_packet_t* packet) {
  forwarder_t* fwd = port->fwd;
  const ndnpkt_interest_t* interest = &packet->interest;
  fwd->count.interests++;
  if (interest->hop_limit != NULL && *interest->hop_limit == 0) {
    port_drop(port, 1);
    return;
  }
  ndnpkt_bytes_t found = cs_find(&fwd->cs, interest, uv_now(&fwd->loop));
  if (found.len > 0) {
    fwd->count.cs_hits++;
    port_answer(port, found, packet->link.pit_token);
    return;
  }
  hop_t* hop = find_hop(port, interest->name);
  if (hop == NULL) {
    fwd->count.no_route++;
    port_nack(port, packet->wire, NDNPKT_NACK_NO_ROUTE, packet->link.pit_token);
    return;
  }
  forward_interest(port, packet, hop);
}

static void on_data(port_t* port, const ndnpkt_packet_t* packet) {
  forwarder_t* fwd = port->fwd;
  uint64_t now_ms = uv_now(&fwd->loop);
  uint64_t number = ++fwd->count.data;
  pit_match_t match = pit_satisfy(&fwd->pit, packet->data.name, &port->hop, now_ms);
  if (!match.found) {
    fwd->count.unsolicited++;
    return;
  }
  cs_add(&fwd->cs, packet->wire, &packet->data, match.prefix_size, now_ms);
  for (const pit_in_t* in = match.ins; in != NULL; in = in->next) {
    port_t* to = in->hop->data;
    if (in->token_bytes == 0 && to->answered == number) continue; /* it asked for the same in two ways */
    if (in->token_bytes == 0) to->answered = number;
    port_answer(to, packet->wire, (ndnpkt_bytes_t){in->token, in->token_bytes});
  }
  pit_release(&fwd->pit, &match);
}

/* Goes back to all who wait for it: there is but one way that was tried. */
static void on_nack(port_t* port, const ndnpkt_packet_t* packet) {
  forwarder_t* fwd = port->fwd;
  fwd->count.nacks++;
  pit_match_t match = pit_refuse(&fwd->pit, &packet->interest, &port->hop, uv_now(&fwd->loop));
  for (const pit_in_t* in = match.ins; in != NULL; in = in->next)
    port_nack(in->hop->data, packet->wire, packet->link.nack_reason, (ndnpkt_bytes_t){in->token, in->token_bytes});
  pit_release(&fwd->pit, &match);
}

/* Memory for the copy of a packet: in the content store if it is Data, which then need not be copied again. */
static uint8_t* place_for(forwarder_t* fwd, uint8_t type, size_t len) {
  uint8_t* place = type == NDNPKT_TYPE_DATA ? cs_place(&fwd->cs, len) : NULL;
  if (place != NULL) return place;
  if (len > SCRATCH_BYTES - fwd->scratch_used) flush_all(fwd);
  if (len > SCRATCH_BYTES) return NULL;
  place = fwd->scratch + fwd->scratch_used;
  fwd->scratch_used += len;
  return place;
}

/* The packet is borrowed, so its sender can still change it: it is copied, once, and only the copy is looked at. The
 * type, which says where to, is not read a second time. */
static void on_packet(port_t* port, const uv_buf_t* pkt) {
  uint8_t type = *(const volatile uint8_t*) pkt->base;
  uint8_t* bytes = place_for(port->fwd, type, pkt->len);
  if (bytes == NULL) {
    port_drop(port, 1);
    return;
  }
  memcpy(bytes, pkt->base, pkt->len);
  bytes[0] = type;
  ndnpkt_packet_t packet;
  if (ndnpkt_packet_decode(bytes, pkt->len, &packet) < 0)
    port->fwd->count.broken++;
  else if (packet.kind == NDNPKT_INTEREST)
    on_interest(port, &packet);
  else if (packet.kind == NDNPKT_DATA)
    on_data(port, &packet);
  else if (packet.kind == NDNPKT_NACK)
    on_nack(port, &packet);
}

/* The end of a face is told by on_close(), that of the uplink by on_uplink(). */
static void on_recv(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  port_t* port = face->data;
  forwarder_t* fwd = port->fwd;
  for (ssize_t i = 0; i < npkts; i++) on_packet(port, &pkts[i]);
  flush_all(fwd);
  cs_trim(&fwd->cs);
}

/* --- The uplink ------------------------------------------------------------------------------- */

static void on_upward(uvface_command_t* req, int status, unsigned int code, const char* text) {
  upward_t* upward = req->data;
  if (status < 0 && status != UV_ECANCELED)
    fprintf(stderr, "ndn-forwarder: uplink %s: register %s: %s (%u %s)\n", upward->fwd->uplink_uri, upward->name,
            uv_strerror(status), code, text);
  free(upward);
}

typedef int (*command_f)(uvface_client_t*, uvface_command_t*, const uint8_t*, size_t, const uvface_route_t*,
                         uvface_command_cb);

/* Tells the uplink of a prefix that has got its first route here, or lost its last. */
static void tell_uplink(forwarder_t* fwd, ndnpkt_name_t prefix, command_f command) {
  if (fwd->uplink_uri == NULL || fwd->stopping || is_local(prefix)) return;
  upward_t* upward = malloc(sizeof(*upward));
  int err = upward == NULL ? UV_ENOMEM : 0;
  if (err == 0) {
    upward->req.data = upward;
    upward->fwd = fwd;
    ndnpkt_name_to_uri(prefix, upward->name, sizeof(upward->name));
    err = command(&fwd->client, &upward->req, prefix.base, prefix.len, NULL, on_upward);
  }
  if (err == 0) return; /* cppcheck-suppress memleak ; it is freed by on_upward() */
  fprintf(stderr, "ndn-forwarder: uplink %s: %s\n", fwd->uplink_uri, uv_strerror(err));
  free(upward);
}

static void remove_route(forwarder_t* fwd, route_t* route) {
  uint8_t name[NAME_MAX_BYTES];
  ndnpkt_name_t prefix = {name, route->node.name.len};
  memcpy(name, route->name, prefix.len);
  fib_remove(&fwd->fib, route);
  if (fib_route(&fwd->fib, prefix, NULL, &fwd->uplink.hop) == NULL) tell_uplink(fwd, prefix, uvface_client_unregister);
}

/* Nothing leads to that face any more, nobody waits for it, and it waits for nothing. */
static void port_forget(port_t* port) {
  forwarder_t* fwd = port->fwd;
  while (port->hop.routes != NULL) remove_route(fwd, port->hop.routes);
  pit_forget(&fwd->pit, &port->hop);
  port->face = NULL;
}

static void on_uplink(uvface_client_t* client, int status) {
  forwarder_t* fwd = client->data;
  port_t* port = &fwd->uplink;
  if (status < 0) {
    fib_remove(&fwd->fib, fib_route(&fwd->fib, (ndnpkt_name_t){NULL, 0}, &port->hop, NULL));
    port_forget(port);
    if (status != UV_ECANCELED)
      fprintf(stderr, "ndn-forwarder: uplink %s: %s; trying again\n", fwd->uplink_uri, uvface_client_errmsg(client));
    return;
  }
  port->face = client->face;
  port->face->data = port;
  port->mtu = uvface_get_mtu(port->face);
  if (fib_add(&fwd->fib, (ndnpkt_name_t){NULL, 0}, &port->hop, uplink_cost, UINT64_MAX) < 0 ||
      uvface_recv_start(port->face, on_recv) < 0)
    fprintf(stderr, "ndn-forwarder: uplink %s: no memory for a route\n", fwd->uplink_uri);
  printf("ndn-forwarder: uplink %s is there\n", fwd->uplink_uri);
  if (fwd->verbose) print_transport("ndn-forwarder", client);
  fflush(stdout);
}

/* --- Apps ------------------------------------------------------------------------------------- */

static void on_open(uvface_app_t* app) {
  forwarder_t* fwd = app->server->data;
  port_t* port = calloc(1, sizeof(*port));
  app->data = port;
  if (port == NULL || uvface_recv_start(app->face, on_recv) < 0) {
    free(port);
    app->data = NULL;
    uvface_app_close(app);
    return;
  }
  port->fwd = fwd;
  port->face = app->face;
  port->face_id = app->face_id;
  port->pid = (int) app->pid;
  port->face->data = port->hop.data = port;
  port->mtu = uvface_get_mtu(app->face);
  port->next = fwd->ports;
  port->link = &fwd->ports;
  if (port->next != NULL) port->next->link = &port->next;
  fwd->ports = port;
  if (!fwd->verbose) return;
  printf("ndn-forwarder: face %llu, %s, process %d: open\n", (unsigned long long) app->face_id, app->uri,
         (int) app->pid);
  fflush(stdout);
}

static void on_close(uvface_app_t* app, int status) {
  port_t* port = app->data;
  if (port == NULL) return;
  if (port->fwd->verbose) {
    printf("ndn-forwarder: face %llu, %s: %s; %llu drops\n", (unsigned long long) app->face_id, app->uri,
           uv_strerror(status), (unsigned long long) port->drops);
    fflush(stdout);
  }
  *port->link = port->next;
  if (port->next != NULL) port->next->link = port->link;
  port_forget(port);
  port_free(port);
}

static unsigned int answer(ndnpkt_response_t* response, unsigned int code, const char* text) {
  response->text = (ndnpkt_bytes_t){(const uint8_t*) text, strlen(text)};
  return code;
}

/* Ends the routes whose time is over, and looks when the next is. */
static void on_expire(uv_timer_t* timer) {
  forwarder_t* fwd = timer->data;
  uint64_t now_ms = uv_now(&fwd->loop);
  uint64_t due_ms = UINT64_MAX;
  for (port_t* port = fwd->ports; port != NULL; port = port->next) {
    for (route_t *route = port->hop.routes, *next; route != NULL; route = next) {
      next = route->next;
      if (route->expires_ms <= now_ms)
        remove_route(fwd, route);
      else if (route->expires_ms < due_ms)
        due_ms = route->expires_ms;
    }
  }
  if (due_ms != UINT64_MAX) uv_timer_start(timer, on_expire, due_ms - now_ms + EXPIRE_MS, 0);
}

/* So that they end within EXPIRE_MS of their time, and a thousand of them in one look. */
static void expire_later(forwarder_t* fwd, uint64_t delay_ms) {
  uv_timer_t* timer = &fwd->expire;
  delay_ms += EXPIRE_MS;
  if (uv_is_active((uv_handle_t*) timer) && uv_timer_get_due_in(timer) <= delay_ms) return;
  uv_timer_start(timer, on_expire, delay_ms, 0);
}

/* A face as messages call it; uvface-stat knows it by the process. */
static const char* port_title(const port_t* port, char title[TITLE_BYTES]) {
  if (port == &port->fwd->uplink) return "the uplink";
  snprintf(title, TITLE_BYTES, "face %llu of process %d", (unsigned long long) port->face_id, port->pid);
  return title;
}

static void print_route(const port_t* port, ndnpkt_name_t prefix) {
  char uri[NAME_MAX_BYTES], title[TITLE_BYTES];
  printf("ndn-forwarder: route %s to %s\n", ndnpkt_name_to_uri(prefix, uri, sizeof(uri)), port_title(port, title));
}

static unsigned int rib_register(port_t* port, const ndnpkt_parameters_t* parameters, ndnpkt_response_t* response) {
  forwarder_t* fwd = port->fwd;
  ndnpkt_name_t prefix = parameters->name;
  bool ends = (parameters->has & NDNPKT_HAS_EXPIRATION) != 0 && parameters->expiration_ms < UINT32_MAX;
  uint64_t expires_ms = ends ? uv_now(&fwd->loop) + parameters->expiration_ms : UINT64_MAX;
  uint64_t cost = (parameters->has & NDNPKT_HAS_COST) != 0 ? parameters->cost : 0;
  bool first = fib_route(&fwd->fib, prefix, NULL, &fwd->uplink.hop) == NULL;
  int err = prefix.len > NAME_MAX_BYTES ? UV_EINVAL : fib_add(&fwd->fib, prefix, &port->hop, cost, expires_ms);
  if (err == UV_EINVAL) return answer(response, 414, "the prefix is too long");
  if (err < 0) return answer(response, 500, "no room for a route");
  if (ends) expire_later(fwd, parameters->expiration_ms);
  if (first) tell_uplink(fwd, prefix, uvface_client_register);
  if (fwd->verbose) {
    print_route(port, prefix);
    fflush(stdout);
  }
  return 200;
}

static unsigned int on_command(uvface_app_t* app, const ndnpkt_command_t* command, ndnpkt_response_t* response) {
  port_t* port = app->data;
  bool adds = ndnpkt_command_is(command, "rib", "register");
  if (!adds && !ndnpkt_command_is(command, "rib", "unregister")) return answer(response, 404, "not known here");
  if ((command->parameters.has & NDNPKT_HAS_NAME) == 0) return answer(response, 400, "Name is required");
  if (port == NULL || port->face == NULL) return answer(response, 410, "the face is gone");
  if (adds) return rib_register(port, &command->parameters, response);
  route_t* route = fib_route(&port->fwd->fib, command->parameters.name, &port->hop, NULL);
  if (route != NULL) remove_route(port->fwd, route); /* without one there is nothing to do, as in NFD */
  return 200;
}

/* --- Life ------------------------------------------------------------------------------------- */

static void forwarder_stop(forwarder_t* fwd) {
  if (fwd->stopping) return;
  fwd->stopping = true;
  uvface_server_close(&fwd->server, NULL);
  if (fwd->uplink_uri != NULL) uvface_client_close(&fwd->client, NULL);
  uv_close((uv_handle_t*) &fwd->sweep, NULL);
  uv_close((uv_handle_t*) &fwd->expire, NULL);
  unwatch_signals(fwd->signals);
  if (!uv_is_closing((uv_handle_t*) &fwd->asked)) uv_close((uv_handle_t*) &fwd->asked, NULL);
}

static void on_signal(uv_signal_t* handle, int signum) {
  (void) signum;
  forwarder_stop(handle->data);
}

static void print_counters(const forwarder_t* fwd) {
  const counters_t* count = &fwd->count;
#define NUMBER(value) (unsigned long long) (value)
  printf(
      "ndn-forwarder: %llu interests, %llu data, %llu cs hits, %llu drops; %llu aggregated, %llu loops, "
      "%llu expired, %llu without route, %llu unsolicited, %llu nacks, %llu broken, %llu too large; %.3f s CPU\n",
      NUMBER(count->interests), NUMBER(count->data), NUMBER(count->cs_hits), NUMBER(count->drops),
      NUMBER(count->aggregated), NUMBER(count->loops), NUMBER(fwd->pit.expired), NUMBER(count->no_route),
      NUMBER(count->unsolicited), NUMBER(count->nacks), NUMBER(count->broken), NUMBER(count->too_large), cpu_seconds());
#undef NUMBER
}

static void print_face(const port_t* port) {
  uvface_stats_t stats;
  char title[TITLE_BYTES];
  const char* carrier = uvface_get_transport(port->face) == UVFACE_SHM ? "shared memory" : "socket";
  if (uvface_get_stats(port->face, &stats) < 0) return;
#define NUMBER(value) (unsigned long long) (value)
  printf(
      "ndn-forwarder: %s by %s: in %llu packets, %llu bytes; out %llu packets, %llu bytes; %llu queued, %llu "
      "drops, %llu route%s; %llu sleeps, %llu times woken, %llu times full\n",
      port_title(port, title), carrier, NUMBER(stats.rx_packets), NUMBER(stats.rx_bytes), NUMBER(stats.tx_packets),
      NUMBER(stats.tx_bytes), NUMBER(port->queued), NUMBER(port->drops), NUMBER(port->hop.nroutes),
      port->hop.nroutes == 1 ? "" : "s", NUMBER(stats.parks), NUMBER(stats.wakeups_received), NUMBER(stats.tx_full));
#undef NUMBER
  for (const route_t* route = port->hop.routes; route != NULL; route = route->next) print_route(port, route->node.name);
}

static void on_asked(uv_signal_t* handle, int signum) {
  const forwarder_t* fwd = handle->data;
  (void) signum;
  for (const port_t* port = fwd->ports; port != NULL; port = port->next) print_face(port);
  if (fwd->uplink.face != NULL) print_face(&fwd->uplink);
  print_counters(fwd);
  fflush(stdout);
}

static int forwarder_init(forwarder_t* fwd) {
  uint64_t seed;
  int err = uv_loop_init(&fwd->loop);
  if (err < 0) return err;
  if (getrandom(&seed, sizeof(seed), 0) != (ssize_t) sizeof(seed)) return UV_EIO;
  if (fib_init(&fwd->fib, seed) < 0 || cs_init(&fwd->cs, seed, fwd->cs_bytes) < 0 ||
      pit_init(&fwd->pit, seed, PIT_MAX, uv_now(&fwd->loop)) < 0)
    return UV_ENOMEM;
  uv_timer_init(&fwd->loop, &fwd->sweep);
  uv_timer_init(&fwd->loop, &fwd->expire);
  fwd->sweep.data = fwd->expire.data = fwd->server.data = fwd->client.data = fwd;
  fwd->uplink.fwd = fwd;
  fwd->uplink.hop.data = &fwd->uplink;
  err = watch_signals(&fwd->loop, fwd->signals, fwd, on_signal);
  if (err == 0) err = uv_signal_init(&fwd->loop, &fwd->asked);
  fwd->asked.data = fwd;
  if (err == 0) err = uv_signal_start(&fwd->asked, on_asked, SIGUSR1);
  err = err < 0 ? err : uvface_server_init(&fwd->loop, &fwd->server);
  if (err == 0 && fwd->uplink_uri != NULL) err = uvface_client_init(&fwd->loop, &fwd->client);
  return err;
}

static int forwarder_listen(forwarder_t* fwd) {
  uvface_server_options_t options = UVFACE_SERVER_OPTIONS_INIT;
  uvface_server_callbacks_t callbacks = UVFACE_SERVER_CALLBACKS_INIT;
  callbacks.on_open = on_open;
  callbacks.on_close = on_close;
  callbacks.on_command = on_command;
  options.mode = fwd->mode;
  options.uid = fwd->uid;
  options.gid = fwd->gid;
  options.flags = fwd->no_shm ? UVFACE_SERVER_NO_SHM : 0;
  options.face.flags = UVFACE_RECV_BORROW; /* see on_packet() */
  options.face.mtu = (uint32_t) fwd->mtu;
  options.face.send_timeout_ms = SEND_TIMEOUT_MS;
  int err = uvface_server_listen(&fwd->server, fwd->path, &options, &callbacks);
  if (err < 0) fprintf(stderr, "ndn-forwarder: %s\n", uvface_server_errmsg(&fwd->server));
  return err;
}

static int forwarder_connect(forwarder_t* fwd) {
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;
  options.face.flags = UVFACE_RECV_BORROW;
  options.reconnect_ms = RECONNECT_MS;
  if (fwd->no_shm) options.transport = UVFACE_STREAM;
  if (fwd->uplink_uri == NULL) return 0;
  int err = uvface_client_connect(&fwd->client, fwd->uplink_uri, &options, on_uplink);
  if (err < 0) fprintf(stderr, "ndn-forwarder: --uplink: %s\n", uvface_client_errmsg(&fwd->client));
  return err;
}

static int forwarder_free(forwarder_t* fwd) {
  fib_free(&fwd->fib);
  pit_free(&fwd->pit);
  cs_free(&fwd->cs);
  int err = uv_loop_close(&fwd->loop);
  if (err < 0) fprintf(stderr, "ndn-forwarder: uv_loop_close: %s\n", uv_strerror(err));
  return err;
}

static int forwarder_run(forwarder_t* fwd) {
  int err = forwarder_init(fwd);
  if (err < 0) {
    fprintf(stderr, "ndn-forwarder: cannot start: %s\n", uv_strerror(err));
    return 1;
  }
  err = forwarder_listen(fwd);
  err = err < 0 ? err : forwarder_connect(fwd);
  if (err < 0) {
    forwarder_stop(fwd);
  } else {
    printf("ndn-forwarder: ready: listening on %s\n", fwd->path);
    fflush(stdout);
  }
  uv_run(&fwd->loop, UV_RUN_DEFAULT);
  if (err == 0) print_counters(fwd);
  return forwarder_free(fwd) < 0 || err < 0;
}

/* --- Command line ----------------------------------------------------------------------------- */

static const char usage[] =
    "usage: ndn-forwarder --listen PATH [--mode OCTAL] [--uid N] [--gid N] [--uplink URI] [--no-shm] [--mtu BYTES]\n"
    "                     [--cs-bytes BYTES] [--verbose]\n"
    "Forwards between the apps that connect to the Unix socket PATH, and to the forwarder at URI.\n"
    "Who may connect: whoever may write to the socket by its mode (0600), owner and group (those of this process).\n"
    "SIGUSR1: prints its faces, what they carried, and its routes. SIGINT, SIGTERM: ends.\n";

static const char* range_of(int option) {
  _Static_assert(SCRATCH_BYTES / 2 == 131072, "the largest --mtu");
  switch (option) {
    case 'o': return "permissions in octal, 1 to 0777";
    case 'm': return "a number of bytes, 1 to 131072";
    case 'c': return "a number of bytes";
    default: return "a number, 0 to 4294967294"; /* of a user or a group */
  }
}

static bool parse_options(forwarder_t* fwd, int argc, char** argv) {
  static const struct option options[] = {
      {"listen", required_argument, NULL, 'l'}, {"mode", required_argument, NULL, 'o'},
      {"uid", required_argument, NULL, 'U'},    {"gid", required_argument, NULL, 'G'},
      {"uplink", required_argument, NULL, 'u'}, {"no-shm", no_argument, NULL, 'n'},
      {"mtu", required_argument, NULL, 'm'},    {"cs-bytes", required_argument, NULL, 'c'},
      {"verbose", no_argument, NULL, 'v'},      {NULL, 0, NULL, 0}};
  int option, index = 0;
  bool good = true;
  while (good && (option = getopt_long(argc, argv, "v", options, &index)) != -1) {
    switch (option) {
      case 'l': fwd->path = optarg; break;
      case 'o': good = parse_mode(optarg, &fwd->mode); break;
      case 'U': good = parse_id(optarg, &fwd->uid); break;
      case 'G': good = parse_id(optarg, &fwd->gid); break;
      case 'u': fwd->uplink_uri = optarg; break;
      case 'n': fwd->no_shm = true; break;
      case 'm': good = parse_number(optarg, 1, SCRATCH_BYTES / 2, &fwd->mtu); break;
      case 'c': good = parse_number(optarg, 0, SIZE_MAX / 2, &fwd->cs_bytes); break;
      case 'v': fwd->verbose = true; break;
      default: return false;
    }
    if (!good) fprintf(stderr, "ndn-forwarder: --%s %s: must be %s\n", options[index].name, optarg, range_of(option));
  }
  return good && optind == argc && fwd->path != NULL;
}

int main(int argc, char** argv) {
  static forwarder_t fwd = {.cs_bytes = CS_BYTES_DEFAULT, .uid = ~0u, .gid = ~0u};
  keep_streams();
  bool help = wants_help(argc, argv);
  if (help || !parse_options(&fwd, argc, argv)) return print_usage(help, usage);
  return forwarder_run(&fwd);
}
