/* SPDX-License-Identifier: MIT */
/* forwarder.c: a small NDN forwarder on one uv_loop_t, engine of one shared-memory face per app. Shows how
 * an engine embeds uvface.h: batches in, one copy to where a packet stays, batches out, a bounded queue behind
 * each full ring, an app that dies and comes back, an orderly end. Guarantees: packets leave as they came (only a
 * HopLimit is counted down); no app can make it wait, and each can make it hold QUEUE_MAX packets at most. Does not
 * do: multicast, routing protocols, reassembly, Nacks from apps (their Interest times out instead). */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common.h"
#include "tables.h"

enum {
  OUT_MAX = 64,     /* packets collected for one ring: as many as one recv_cb can bring */
  QUEUE_MAX = 1024, /* packets that wait behind one full ring */
  PIT_MAX = 65536,  /* pending Interests */
  NAME_MAX_BYTES = 1024,
  SCRATCH_BYTES = 256 << 10, /* more than one packet, as much as a recv_cb brings */
  CS_BYTES_DEFAULT = 32 << 20
};

typedef struct forwarder_s forwarder_t;
typedef struct port_s port_t;
typedef struct packet_s packet_t;

/* A packet that waits for room in a ring; the memory is used again and again. */
struct packet_s {
  uvface_send_t req;
  packet_t* next;
  char bytes[];
};

/* A face, what is about to go out by it, and what it has seen over all the apps that came and went. */
struct port_s {
  forwarder_t* fwd;
  unsigned int index;
  const char* name;
  uvface_t face;
  size_t mtu;
  bool initialized; /* a uvface_close() is owed */
  bool open;
  uv_buf_t out[OUT_MAX];
  unsigned int nout;
  packet_t* free_packets;
  unsigned int queued;
  uint64_t drops;
  uvface_stats_t total;
};

typedef struct counters_s {
  uint64_t interests, data, cs_hits, aggregated, loops, no_route, unsolicited, broken;
} counters_t;

typedef struct route_option_s {
  ndnpkt_name_t prefix;
  uint8_t name[NAME_MAX_BYTES];
  char* face;
} route_option_t;

struct forwarder_s {
  uv_loop_t loop;
  uv_timer_t sweep;
  uv_signal_t signals[2];
  fib_t fib;
  pit_t pit;
  cs_t cs;
  port_t ports[FACES_MAX];
  unsigned int nports;
  route_option_t* routes;
  size_t nroutes;
  uint64_t cs_bytes;
  uint8_t scratch[SCRATCH_BYTES]; /* copies of packets that are not for the content store, until they are flushed */
  size_t scratch_used;
  bool print_faces;
  bool stopping;
  int exit_code;
  counters_t count;
};

static void port_open(port_t* port);
static void forwarder_stop(forwarder_t* fwd);

/* --- Sending ---------------------------------------------------------------------------------- */

static void on_sent(uvface_send_t* req, int status) {
  packet_t* packet = req->data;
  port_t* port = req->face->data;
  packet->next = port->free_packets;
  port->free_packets = packet;
  port->queued--;
  port->drops += status < 0;
}

static packet_t* packet_new(port_t* port) {
  packet_t* packet = port->free_packets;
  if (port->queued >= QUEUE_MAX) return NULL;
  if (packet == NULL) return malloc(sizeof(*packet) + port->mtu);
  port->free_packets = packet->next;
  return packet;
}

/* The ring is full: the packet waits in a copy, because its bytes belong to somebody else. */
static void port_queue(port_t* port, const uv_buf_t* bytes) {
  packet_t* packet = bytes->len <= port->mtu ? packet_new(port) : NULL;
  if (packet == NULL) {
    port->drops++;
    return;
  }
  memcpy(packet->bytes, bytes->base, bytes->len);
  packet->req.data = packet;
  uv_buf_t buf = uv_buf_init(packet->bytes, (unsigned int) bytes->len);
  port->queued++;
  if (uvface_send(&packet->req, &port->face, &buf, 1, on_sent) == 0) return;
  port->queued--;
  port->drops++;
  packet->next = port->free_packets;
  port->free_packets = packet;
}

static void port_flush(port_t* port) {
  if (port->nout == 0) return;
  int taken = uvface_try_send_batch(&port->face, port->out, port->nout);
  for (unsigned int i = taken > 0 ? (unsigned int) taken : 0; i < port->nout; i++) port_queue(port, &port->out[i]);
  port->nout = 0;
}

/* All that was put leaves, and the scratch is free again. */
static void flush_all(forwarder_t* fwd) {
  for (unsigned int i = 0; i < fwd->nports; i++) port_flush(&fwd->ports[i]);
  fwd->scratch_used = 0;
}

/* The bytes must stay until flush_all(), which ends every recv_cb. */
static void port_put(port_t* port, ndnpkt_bytes_t wire) {
  if (!port->open) {
    port->drops++;
    return;
  }
  port->out[port->nout++] = uv_buf_init((char*) wire.base, (unsigned int) wire.len);
  if (port->nout == OUT_MAX) port_flush(port);
}

/* Tells the app at once that its Interest leads nowhere. */
static void port_nack(port_t* port, ndnpkt_bytes_t interest) {
  uint8_t header[NDNPKT_LINK_HEADER_MAX];
  ndnpkt_link_t nack = {.nack = true, .nack_reason = NDNPKT_NACK_NO_ROUTE, .fragment = interest};
  ssize_t size = ndnpkt_link_encode(header, sizeof(header), &nack);
  uv_buf_t bufs[] = {uv_buf_init((char*) header, (unsigned int) size),
                     uv_buf_init((char*) interest.base, (unsigned int) interest.len)};
  port->drops += uvface_try_send(&port->face, bufs, 2) < 0;
}

/* --- Forwarding ------------------------------------------------------------------------------- */

static void on_sweep(uv_timer_t* timer) {
  forwarder_t* fwd = timer->data;
  pit_sweep(&fwd->pit, uv_now(&fwd->loop));
  if (fwd->pit.table.count == 0) uv_timer_stop(timer); /* an idle forwarder sleeps */
}

static void forward_interest(port_t* port, const ndnpkt_packet_t* packet, unsigned int to) {
  forwarder_t* fwd = port->fwd;
  const ndnpkt_interest_t* interest = &packet->interest;
  switch (pit_add(&fwd->pit, interest, port->index, to, uv_now(&fwd->loop))) {
    case PIT_AGGREGATE: fwd->count.aggregated++; return;
    case PIT_LOOP: fwd->count.loops++; return;
    case PIT_FULL: port->drops++; return;
    case PIT_FORWARD: break;
  }
  if (!uv_is_active((uv_handle_t*) &fwd->sweep)) uv_timer_start(&fwd->sweep, on_sweep, WHEEL_TICK_MS, WHEEL_TICK_MS);
  if (interest->hop_limit != NULL) --*(uint8_t*) interest->hop_limit; /* our own copy */
  port_put(&fwd->ports[to], packet->wire);
}

static void on_interest(port_t* port, const ndnpkt_packet_t* packet) {
  forwarder_t* fwd = port->fwd;
  const ndnpkt_interest_t* interest = &packet->interest;
  fwd->count.interests++;
  if (interest->hop_limit != NULL && *interest->hop_limit == 0) {
    port->drops++;
    return;
  }
  ndnpkt_bytes_t found = cs_find(&fwd->cs, interest, uv_now(&fwd->loop));
  if (found.len > 0) {
    fwd->count.cs_hits++;
    port_put(port, found);
    return;
  }
  int to = fib_find(&fwd->fib, interest->name);
  if (to < 0 || (unsigned int) to == port->index) {
    fwd->count.no_route++;
    port_nack(port, packet->wire);
    return;
  }
  forward_interest(port, packet, (unsigned int) to);
}

static void on_data(port_t* port, const ndnpkt_packet_t* packet) {
  forwarder_t* fwd = port->fwd;
  uint64_t now_ms = uv_now(&fwd->loop);
  fwd->count.data++;
  pit_match_t match = pit_satisfy(&fwd->pit, packet->data.name, port->index, now_ms);
  if (match.faces == 0) {
    fwd->count.unsolicited++;
    return;
  }
  cs_add(&fwd->cs, packet->wire, &packet->data, match.prefix_size, now_ms);
  for (unsigned int i = 0; i < fwd->nports; i++)
    if ((match.faces >> i & 1) != 0) port_put(&fwd->ports[i], packet->wire);
}

/* Memory for the copy of a packet: in the content store if it is Data, which then need not be copied again. */
static uint8_t* place_for(forwarder_t* fwd, uint8_t type, size_t len) {
  uint8_t* place = type == NDNPKT_TYPE_DATA ? cs_place(&fwd->cs, len) : NULL;
  if (place != NULL) return place;
  if (len > SCRATCH_BYTES - fwd->scratch_used) flush_all(fwd);
  place = fwd->scratch + fwd->scratch_used;
  fwd->scratch_used += len;
  return place;
}

/* The packet is borrowed, so its sender can still change it: it is copied, once, and only the copy is looked at. The
 * type, which says where to, is not read a second time. */
static void on_packet(port_t* port, const uv_buf_t* pkt) {
  uint8_t type = *(const volatile uint8_t*) pkt->base;
  uint8_t* bytes = place_for(port->fwd, type, pkt->len);
  memcpy(bytes, pkt->base, pkt->len);
  bytes[0] = type;
  ndnpkt_packet_t packet;
  if (ndnpkt_packet_decode(bytes, pkt->len, &packet) < 0)
    port->fwd->count.broken++;
  else if (packet.kind == NDNPKT_INTEREST)
    on_interest(port, &packet);
  else if (packet.kind == NDNPKT_DATA)
    on_data(port, &packet);
}

/* --- Faces ------------------------------------------------------------------------------------ */

static void add_stats(port_t* port) {
  uvface_stats_t stats;
  if (uvface_get_stats(&port->face, &stats) < 0) return;
  port->total.rx_packets += stats.rx_packets;
  port->total.rx_bytes += stats.rx_bytes;
  port->total.tx_packets += stats.tx_packets;
  port->total.tx_bytes += stats.tx_bytes;
  port->total.wakeups_sent += stats.wakeups_sent;
  port->total.parks += stats.parks;
}

static void on_closed(uvface_t* face) {
  port_t* port = face->data;
  port->initialized = false;
  if (!port->fwd->stopping) port_open(port);
}

static void port_close(port_t* port) {
  if (!port->initialized || uvface_is_closing(&port->face)) return;
  add_stats(port);
  port->open = false;
  port->nout = 0;
  uvface_close(&port->face, on_closed);
}

static void on_recv(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  port_t* port = face->data;
  forwarder_t* fwd = port->fwd;
  if (npkts < 0) {
    printf("ndn-forwarder: face %s: %s; waiting for the next app\n", port->name, uv_strerror((int) npkts));
    fflush(stdout);
    pit_forget_face(&fwd->pit, port->index);
    port_close(port); /* and open it again under the same name */
    return;
  }
  for (ssize_t i = 0; i < npkts; i++) on_packet(port, &pkts[i]);
  flush_all(fwd);
  cs_trim(&fwd->cs);
}

/* Creates the face; without it the forwarder has no purpose, so it ends. */
static void port_open(port_t* port) {
  forwarder_t* fwd = port->fwd;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  options.flags = UVFACE_RECV_BORROW; /* see on_packet() */
  int err = uvface_init(&fwd->loop, &port->face);
  port->initialized = err == 0;
  port->face.data = port;
  err = err < 0 ? err : uvface_create(&port->face, port->name, &options);
  err = err < 0 ? err : uvface_recv_start(&port->face, on_recv);
  if (err < 0) {
    fprintf(stderr, "ndn-forwarder: face %s: %s\n", port->name,
            port->initialized ? uvface_errmsg(&port->face) : uv_strerror(err));
    fwd->exit_code = 1;
    forwarder_stop(fwd);
    return;
  }
  port->mtu = uvface_get_mtu(&port->face);
  port->open = true;
}

/* --- Life ------------------------------------------------------------------------------------- */

static void forwarder_stop(forwarder_t* fwd) {
  if (fwd->stopping) return;
  fwd->stopping = true;
  for (unsigned int i = 0; i < fwd->nports; i++) port_close(&fwd->ports[i]);
  uv_close((uv_handle_t*) &fwd->sweep, NULL);
  uv_close((uv_handle_t*) &fwd->signals[0], NULL);
  uv_close((uv_handle_t*) &fwd->signals[1], NULL);
}

static void on_signal(uv_signal_t* handle, int signum) {
  (void) signum;
  forwarder_stop(handle->data);
}

static void print_counters(const forwarder_t* fwd) {
  const counters_t* count = &fwd->count;
  uint64_t drops = 0;
  for (unsigned int i = 0; i < fwd->nports; i++) drops += fwd->ports[i].drops;
#define NUMBER(value) (unsigned long long) (value)
  printf(
      "ndn-forwarder: %llu interests, %llu data, %llu cs hits, %llu drops; %llu aggregated, %llu loops, "
      "%llu expired, %llu without route, %llu unsolicited, %llu broken; %.3f s CPU\n",
      NUMBER(count->interests), NUMBER(count->data), NUMBER(count->cs_hits), NUMBER(drops), NUMBER(count->aggregated),
      NUMBER(count->loops), NUMBER(fwd->pit.expired), NUMBER(count->no_route), NUMBER(count->unsolicited),
      NUMBER(count->broken), cpu_seconds());
  for (unsigned int i = 0; i < fwd->nports && fwd->print_faces; i++) {
    const port_t* port = &fwd->ports[i];
    printf(
        "  face %s: received %llu packets, %llu bytes; sent %llu packets, %llu bytes; %llu drops, "
        "%llu wake-ups sent, %llu parks\n",
        port->name, NUMBER(port->total.rx_packets), NUMBER(port->total.rx_bytes), NUMBER(port->total.tx_packets),
        NUMBER(port->total.tx_bytes), NUMBER(port->drops), NUMBER(port->total.wakeups_sent), NUMBER(port->total.parks));
  }
#undef NUMBER
}

static int forwarder_init(forwarder_t* fwd) {
  static const int signals[] = {SIGINT, SIGTERM};
  uint64_t seed;
  int err = uv_loop_init(&fwd->loop);
  if (err < 0) return err;
  if (getrandom(&seed, sizeof(seed), 0) != (ssize_t) sizeof(seed)) return UV_EIO;
  if (fib_init(&fwd->fib, seed) < 0 || cs_init(&fwd->cs, seed, fwd->cs_bytes) < 0 ||
      pit_init(&fwd->pit, seed, PIT_MAX, uv_now(&fwd->loop)) < 0)
    return UV_ENOMEM;
  uv_timer_init(&fwd->loop, &fwd->sweep);
  fwd->sweep.data = fwd;
  for (int i = 0; i < 2 && err == 0; i++) {
    err = uv_signal_init(&fwd->loop, &fwd->signals[i]);
    fwd->signals[i].data = fwd;
    err = err < 0 ? err : uv_signal_start(&fwd->signals[i], on_signal, signals[i]);
  }
  return err;
}

static bool add_route(forwarder_t* fwd, const route_option_t* route) {
  char text[NAME_MAX_BYTES];
  for (unsigned int i = 0; i < fwd->nports; i++) {
    if (strcmp(fwd->ports[i].name, route->face) != 0) continue;
    if (fib_add(&fwd->fib, route->prefix, i) == 0) return true;
    fprintf(stderr, "ndn-forwarder: --route %s: is there twice, or has more than %d components\n",
            ndnpkt_name_to_uri(route->prefix, text, sizeof(text)), FIB_DEPTH_MAX);
    return false;
  }
  fprintf(stderr, "ndn-forwarder: --route ...=%s: no --face has that name\n", route->face);
  return false;
}

static int forwarder_free(forwarder_t* fwd) {
  fib_free(&fwd->fib);
  pit_free(&fwd->pit);
  cs_free(&fwd->cs);
  free(fwd->routes);
  for (unsigned int i = 0; i < fwd->nports; i++) {
    for (packet_t* packet; (packet = fwd->ports[i].free_packets) != NULL; free(packet))
      fwd->ports[i].free_packets = packet->next;
  }
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
  for (size_t i = 0; i < fwd->nroutes && !fwd->stopping; i++) {
    if (!add_route(fwd, &fwd->routes[i])) {
      fwd->exit_code = 2;
      forwarder_stop(fwd);
    }
  }
  for (unsigned int i = 0; i < fwd->nports && !fwd->stopping; i++) port_open(&fwd->ports[i]);
  if (!fwd->stopping) {
    printf("ndn-forwarder: ready: %u faces, %zu routes\n", fwd->nports, fwd->nroutes);
    fflush(stdout);
  }
  uv_run(&fwd->loop, UV_RUN_DEFAULT);
  if (fwd->exit_code != 2) print_counters(fwd);
  return forwarder_free(fwd) < 0 ? 1 : fwd->exit_code;
}

/* --- Command line ----------------------------------------------------------------------------- */

static int usage(void) {
  fputs(
      "usage: ndn-forwarder --face NAME [--face NAME ...] --route PREFIX=NAME [--route ...]\n"
      "                     [--cs-bytes N] [--stats]\n",
      stderr);
  return 2;
}

/* A prefix may hold "=", a face's name cannot. */
static bool parse_route(forwarder_t* fwd, char* text) {
  route_option_t* route = &fwd->routes[fwd->nroutes];
  char* equals = strrchr(text, '=');
  if (equals == NULL) return false;
  *equals = '\0';
  route->face = equals + 1;
  fwd->nroutes++;
  return ndnpkt_name_from_uri(text, route->name, sizeof(route->name), &route->prefix) == 0;
}

static bool parse_face(forwarder_t* fwd, const char* name) {
  if (fwd->nports == FACES_MAX) return false;
  fwd->ports[fwd->nports] = (port_t){.fwd = fwd, .index = fwd->nports, .name = name};
  fwd->nports++;
  return true;
}

static bool parse_options(forwarder_t* fwd, int argc, char** argv) {
  static const struct option options[] = {{"face", required_argument, NULL, 'f'},
                                          {"route", required_argument, NULL, 'r'},
                                          {"cs-bytes", required_argument, NULL, 'c'},
                                          {"stats", no_argument, NULL, 's'},
                                          {NULL, 0, NULL, 0}};
  int option;
  bool good = true;
  while (good && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
    if (option == 'f')
      good = parse_face(fwd, optarg);
    else if (option == 'r')
      good = parse_route(fwd, optarg);
    else if (option == 'c')
      good = parse_number(optarg, 0, SIZE_MAX / 2, &fwd->cs_bytes);
    else
      good = fwd->print_faces = option == 's';
  }
  return good && optind == argc && fwd->nports > 0;
}

int main(int argc, char** argv) {
  static forwarder_t fwd = {.cs_bytes = CS_BYTES_DEFAULT};
  fwd.routes = calloc((size_t) argc, sizeof(*fwd.routes)); /* more than there can be */
  if (fwd.routes == NULL || !parse_options(&fwd, argc, argv)) {
    free(fwd.routes);
    return usage();
  }
  return forwarder_run(&fwd);
}
