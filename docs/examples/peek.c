/* SPDX-License-Identifier: MIT */
/* peek.c: ndn-peek: sends one Interest and writes the Data that answers it to stdout, as ndnpeek of ndn-tools does.
 * Guarantees: the exit status says what came: 0 Data, 1 an error, 2 wrong usage, 3 nothing in time, 4 a Nack. Does not
 * do: retransmission, or looking at the signature. */
#include <errno.h>
#include <getopt.h>
#include <ndnpkt.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "common.h"

enum { EXIT_ERROR = 1, EXIT_USAGE, EXIT_TIMEOUT, EXIT_NACK };

enum { PACKET_MAX = 65536 }; /* what --mtu can ask for */

typedef struct peek_s {
  uv_loop_t loop;
  uv_timer_t timer;
  uvface_client_t client;
  uvface_send_t req;
  ndnpkt_crypto_t* crypto;
  const char *uri, *name_uri;
  uint64_t mtu;        /* 0: what the forwarder has by default */
  uint64_t timeout_ms; /* 0: the Interest's lifetime */
  bool payload, verbose, no_shm, stopping;
  uint8_t name[NDNPKT_PACKET_MAX], packet[PACKET_MAX], hop_limit;
  ndnpkt_interest_t interest;
  int exit_code;
} peek_t;

static void stop(peek_t* peek, int exit_code) {
  if (peek->stopping) return;
  peek->stopping = true;
  peek->exit_code = exit_code;
  uv_close((uv_handle_t*) &peek->timer, NULL);
  uvface_client_close(&peek->client, NULL);
}

static void fail(peek_t* peek, int exit_code, const char* what, const char* why) {
  fprintf(stderr, "ndn-peek: %s: %s\n", what, why);
  stop(peek, exit_code);
}

static void write_out(peek_t* peek, const ndnpkt_packet_t* packet) {
  ndnpkt_bytes_t bytes = peek->payload ? packet->data.content : packet->wire;
  if (fwrite(bytes.base, 1, bytes.len, stdout) == bytes.len && fflush(stdout) == 0)
    stop(peek, 0);
  else
    fail(peek, EXIT_ERROR, "stdout", strerror(errno));
}

static void on_recv(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  peek_t* peek = face->data;
  for (ssize_t i = 0; i < npkts && !peek->stopping; i++) {
    ndnpkt_packet_t packet;
    if (ndnpkt_packet_decode((const uint8_t*) pkts[i].base, pkts[i].len, &packet) < 0) continue;
    if (packet.kind == NDNPKT_DATA &&
        ndnpkt_interest_matches(peek->crypto, &peek->interest, &packet.data, packet.wire) == 1)
      write_out(peek, &packet);
    else if (packet.kind == NDNPKT_NACK && ndnpkt_name_equal(packet.interest.name, peek->interest.name))
      fail(peek, EXIT_NACK, peek->name_uri,
           packet.link.nack_reason == NDNPKT_NACK_NO_ROUTE ? "Nack: no route" : "Nack");
  }
}

static void on_timeout(uv_timer_t* timer) {
  peek_t* peek = timer->data;
  fail(peek, EXIT_TIMEOUT, peek->name_uri, peek->client.face != NULL ? "no answer" : "no forwarder");
}

static void on_client(uvface_client_t* client, int status) {
  peek_t* peek = client->data;
  if (peek->stopping) return;
  if (status < 0) {
    fail(peek, EXIT_ERROR, forwarder_name(peek->uri), uvface_client_errmsg(client));
    return;
  }
  if (peek->verbose) print_transport("ndn-peek", client);
  client->face->data = peek;
  ssize_t size = ndnpkt_interest_encode(NULL, peek->packet, sizeof(peek->packet), &peek->interest, NULL);
  uv_buf_t buf = uv_buf_init((char*) peek->packet, size < 0 ? 0 : (unsigned int) size);
  int err = uvface_recv_start(client->face, on_recv);
  err = err < 0 ? err : uvface_send(&peek->req, client->face, &buf, 1, NULL);
  if (err < 0) fail(peek, EXIT_ERROR, peek->name_uri, uvface_errmsg(client->face));
}

static int init(peek_t* peek) {
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;
  options.mtu = (uint32_t) peek->mtu;
  options.transport = peek->no_shm ? UVFACE_STREAM : UVFACE_ANY;
  int err = ndnpkt_crypto_new(&peek->crypto);
  err = err < 0 ? err : uv_loop_init(&peek->loop);
  err = err < 0 ? err : uv_timer_init(&peek->loop, &peek->timer);
  err = err < 0 ? err : uvface_client_init(&peek->loop, &peek->client);
  if (err < 0) return err;
  peek->timer.data = peek->client.data = peek;
  uv_timer_start(&peek->timer, on_timeout, peek->timeout_ms != 0 ? peek->timeout_ms : peek->interest.lifetime_ms, 0);
  if (uvface_client_connect(&peek->client, peek->uri, &options, on_client) < 0)
    fail(peek, EXIT_ERROR, forwarder_name(peek->uri), uvface_client_errmsg(&peek->client));
  return 0;
}

static bool parse_options(peek_t* peek, int argc, char** argv) {
  static const struct option options[] = {{"prefix", no_argument, NULL, 'P'},
                                          {"fresh", no_argument, NULL, 'f'},
                                          {"lifetime", required_argument, NULL, 'l'},
                                          {"hop-limit", required_argument, NULL, 'H'},
                                          {"payload", no_argument, NULL, 'p'},
                                          {"timeout", required_argument, NULL, 'w'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {"forwarder", required_argument, NULL, 'u'},
                                          {"mtu", required_argument, NULL, 'm'},
                                          {"no-shm", no_argument, NULL, 'n'},
                                          {NULL, 0, NULL, 0}};
  uint64_t number;
  int option;
  while ((option = getopt_long(argc, argv, "Pfl:H:pw:v", options, NULL)) != -1) {
    switch (option) {
      case 'P': peek->interest.can_be_prefix = true; break;
      case 'f': peek->interest.must_be_fresh = true; break;
      case 'l':
        if (!parse_number(optarg, 1, UINT32_MAX, &peek->interest.lifetime_ms)) return false;
        break;
      case 'H':
        if (!parse_number(optarg, 0, UINT8_MAX, &number)) return false;
        peek->hop_limit = (uint8_t) number;
        peek->interest.hop_limit = &peek->hop_limit;
        break;
      case 'p': peek->payload = true; break;
      case 'w':
        if (!parse_number(optarg, 1, UINT32_MAX, &peek->timeout_ms)) return false;
        break;
      case 'm':
        if (!parse_number(optarg, 1, PACKET_MAX, &peek->mtu)) return false;
        break;
      case 'v': peek->verbose = true; break;
      case 'u': peek->uri = optarg; break;
      case 'n': peek->no_shm = true; break;
      default: return false;
    }
  }
  if (optind + 1 != argc || argv[optind][0] == '-') return false;
  peek->name_uri = argv[optind];
  return ndnpkt_name_from_uri(peek->name_uri, peek->name, sizeof(peek->name), &peek->interest.name) == 0 &&
         peek->interest.name.len > 0;
}

int main(int argc, char** argv) {
  static peek_t peek = {.interest = {.has_nonce = true, .lifetime_ms = NDNPKT_LIFETIME_DEFAULT_MS}};
  keep_streams();
  bool help = wants_help(argc, argv);
  if (help || !parse_options(&peek, argc, argv))
    return print_usage(
        help,
        "usage: ndn-peek [--prefix] [--fresh] [--lifetime MS] [--hop-limit N] [--payload] [--timeout MS] [--verbose]\n"
        "                [--forwarder URI] [--mtu BYTES] [--no-shm] /name\n"
        "Writes the Data that answers, or its content alone with --payload.\n");
  int err = getrandom(&peek.interest.nonce, sizeof(peek.interest.nonce), 0) < 0 ? UV_EIO : init(&peek);
  if (err < 0) {
    fprintf(stderr, "ndn-peek: cannot start: %s\n", uv_strerror(err));
    return EXIT_ERROR;
  }
  uv_run(&peek.loop, UV_RUN_DEFAULT);
  ndnpkt_crypto_free(peek.crypto);
  return uv_loop_close(&peek.loop) < 0 ? EXIT_ERROR : peek.exit_code;
}
