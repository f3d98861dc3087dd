/* SPDX-License-Identifier: MIT */
/* poke.c: ndn-poke: reads content from stdin, waits for one Interest and answers it with one Data, as ndnpoke of
 * ndn-tools does. Guarantees: with status 0 the forwarder has taken the Data: its answer to the last command came
 * later. Else the status is 1 for an error, 2 for wrong usage, 3 if nobody asked in time, 5 if the name could not be
 * registered. Signs with DigestSha256. */
#include <errno.h>
#include <getopt.h>
#include <ndnpkt.h>
#include <stdio.h>
#include <string.h>

#include "common.h"

enum { EXIT_ERROR = 1, EXIT_USAGE, EXIT_TIMEOUT, EXIT_REGISTER = 5 };

enum { PACKET_MAX = 65536 }; /* what --mtu can ask for */

typedef struct poke_s {
  uv_loop_t loop;
  uv_timer_t timer;
  uvface_client_t client;
  uvface_command_t command;
  uvface_send_t req;
  ndnpkt_crypto_t* crypto;
  const char *uri, *name_uri;
  uint64_t mtu;        /* 0: what the forwarder has by default */
  uint64_t timeout_ms; /* 0: for ever */
  bool final, verbose, no_shm, answered, stopping;
  uint8_t name[NDNPKT_PACKET_MAX], packet[PACKET_MAX], content[PACKET_MAX];
  ndnpkt_data_t data, decoded; /* to be encoded, and what came of it */
  ndnpkt_bytes_t wire;
  int exit_code;
} poke_t;

static void stop(poke_t* poke, int exit_code) {
  if (poke->stopping) return;
  poke->stopping = true;
  poke->exit_code = exit_code;
  uv_close((uv_handle_t*) &poke->timer, NULL);
  uvface_client_close(&poke->client, NULL);
}

static void fail(poke_t* poke, int exit_code, const char* what, const char* why) {
  fprintf(stderr, "ndn-poke: %s: %s\n", what, why);
  stop(poke, exit_code);
}

static void on_unregistered(uvface_command_t* req, int status, unsigned int code, const char* text) {
  poke_t* poke = req->data;
  (void) code;
  if (poke->stopping) return;
  if (status < 0)
    fail(poke, EXIT_ERROR, poke->name_uri, text[0] != '\0' ? text : uv_strerror(status));
  else
    stop(poke, 0);
}

/* The Data is on its way. To take the name back is polite, and the answer says that the forwarder has come so far. */
static void on_sent(uvface_send_t* req, int status) {
  poke_t* poke = req->data;
  if (poke->stopping) return;
  if (status == 0)
    status = uvface_client_unregister(&poke->client, &poke->command, poke->data.name.base, poke->data.name.len, NULL,
                                      on_unregistered);
  if (status < 0) fail(poke, EXIT_ERROR, poke->name_uri, uv_strerror(status));
}

static void on_recv(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  poke_t* poke = face->data;
  for (ssize_t i = 0; i < npkts && !poke->answered; i++) {
    ndnpkt_packet_t packet;
    uv_buf_t buf = uv_buf_init((char*) poke->wire.base, (unsigned int) poke->wire.len);
    if (ndnpkt_packet_decode((const uint8_t*) pkts[i].base, pkts[i].len, &packet) < 0 ||
        packet.kind != NDNPKT_INTEREST ||
        ndnpkt_interest_matches(poke->crypto, &packet.interest, &poke->decoded, poke->wire) != 1)
      continue;
    poke->answered = true;
    poke->req.data = poke;
    if (uvface_send(&poke->req, face, &buf, 1, on_sent) < 0)
      fail(poke, EXIT_ERROR, poke->name_uri, uvface_errmsg(face));
  }
}

static void on_timeout(uv_timer_t* timer) {
  poke_t* poke = timer->data;
  fail(poke, EXIT_TIMEOUT, poke->name_uri, "nobody asked for it");
}

static void on_client(uvface_client_t* client, int status) {
  poke_t* poke = client->data;
  if (poke->stopping) return;
  if (status < 0) {
    fail(poke, EXIT_ERROR, forwarder_name(poke->uri), uvface_client_errmsg(client));
    return;
  }
  if (poke->verbose) print_transport("ndn-poke", client);
  client->face->data = poke;
  if (uvface_recv_start(client->face, on_recv) < 0)
    fail(poke, EXIT_ERROR, forwarder_name(poke->uri), uvface_errmsg(client->face));
}

static void on_registered(uvface_command_t* req, int status, unsigned int code, const char* text) {
  poke_t* poke = req->data;
  (void) code;
  if (poke->stopping || status == UV_EPIPE) return; /* of the connection on_client() tells */
  if (status < 0) fail(poke, EXIT_REGISTER, poke->name_uri, text[0] != '\0' ? text : uv_strerror(status));
  if (status == 0 && poke->verbose) fprintf(stderr, "ndn-poke: registered %s\n", poke->name_uri);
}

/* Reads the content, and makes the packet of it. */
static int make_data(poke_t* poke) {
  poke->data.content = (ndnpkt_bytes_t){poke->content, fread(poke->content, 1, sizeof(poke->content), stdin)};
  if (ferror(stdin) != 0) return errno != 0 ? -errno : -EIO;
  ssize_t size = ndnpkt_data_encode(poke->crypto, poke->packet, sizeof(poke->packet), &poke->data, NULL);
  if (size < 0) return size == -ENOBUFS ? -EMSGSIZE : (int) size;
  poke->wire = (ndnpkt_bytes_t){poke->packet, (size_t) size};
  return ndnpkt_data_decode(poke->packet, (size_t) size, &poke->decoded);
}

static int init(poke_t* poke) {
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;
  options.mtu = (uint32_t) poke->mtu;
  options.transport = poke->no_shm ? UVFACE_STREAM : UVFACE_ANY;
  int err = ndnpkt_crypto_new(&poke->crypto);
  err = err < 0 ? err : make_data(poke);
  err = err < 0 ? err : uv_loop_init(&poke->loop);
  err = err < 0 ? err : uv_timer_init(&poke->loop, &poke->timer);
  err = err < 0 ? err : uvface_client_init(&poke->loop, &poke->client);
  if (err < 0) return err;
  poke->timer.data = poke->client.data = poke->command.data = poke;
  if (poke->timeout_ms != 0) uv_timer_start(&poke->timer, on_timeout, poke->timeout_ms, 0);
  err = uvface_client_connect(&poke->client, poke->uri, &options, on_client);
  if (err == 0)
    err = uvface_client_register(&poke->client, &poke->command, poke->data.name.base, poke->data.name.len, NULL,
                                 on_registered);
  if (err < 0) fail(poke, EXIT_ERROR, forwarder_name(poke->uri), uvface_client_errmsg(&poke->client));
  return 0;
}

/* The last component of a name that has one. */
static ndnpkt_bytes_t last_component(ndnpkt_name_t name) {
  ndnpkt_tlv_t component = {0};
  while (ndnpkt_tlv_next(&name, &component) > 0) continue;
  return component.whole;
}

static bool parse_options(poke_t* poke, int argc, char** argv) {
  static const struct option options[] = {
      {"freshness", required_argument, NULL, 'x'}, {"final", no_argument, NULL, 'F'},
      {"timeout", required_argument, NULL, 'w'},   {"verbose", no_argument, NULL, 'v'},
      {"forwarder", required_argument, NULL, 'u'}, {"mtu", required_argument, NULL, 'm'},
      {"no-shm", no_argument, NULL, 'n'},          {NULL, 0, NULL, 0}};
  int option;
  while ((option = getopt_long(argc, argv, "x:Fw:v", options, NULL)) != -1) {
    switch (option) {
      case 'x':
        if (!parse_number(optarg, 0, UINT32_MAX, &poke->data.freshness_ms)) return false;
        break;
      case 'F': poke->final = true; break;
      case 'w':
        if (!parse_number(optarg, 1, UINT32_MAX, &poke->timeout_ms)) return false;
        break;
      case 'm':
        if (!parse_number(optarg, 1, PACKET_MAX, &poke->mtu)) return false;
        break;
      case 'v': poke->verbose = true; break;
      case 'u': poke->uri = optarg; break;
      case 'n': poke->no_shm = true; break;
      default: return false;
    }
  }
  if (optind + 1 != argc || argv[optind][0] == '-') return false;
  poke->name_uri = argv[optind];
  if (ndnpkt_name_from_uri(poke->name_uri, poke->name, sizeof(poke->name), &poke->data.name) < 0) return false;
  if (poke->final) poke->data.final_block = last_component(poke->data.name);
  return poke->data.name.len > 0;
}

int main(int argc, char** argv) {
  static poke_t poke;
  keep_streams();
  bool help = wants_help(argc, argv);
  if (help || !parse_options(&poke, argc, argv))
    return print_usage(
        help,
        "usage: ndn-poke [--freshness MS] [--final] [--timeout MS] [--verbose] [--forwarder URI] [--mtu BYTES]\n"
        "                [--no-shm] /name\n"
        "Reads the content from stdin.\n");
  int err = init(&poke);
  if (err < 0) {
    fprintf(stderr, "ndn-poke: %s: %s\n", poke.name_uri, err == -EMSGSIZE ? "too much for one Data" : strerror(-err));
    return EXIT_ERROR;
  }
  uv_run(&poke.loop, UV_RUN_DEFAULT);
  ndnpkt_crypto_free(poke.crypto);
  return uv_loop_close(&poke.loop) < 0 ? EXIT_ERROR : poke.exit_code;
}
