/* SPDX-License-Identifier: MIT */
/* consumer.c: fetches what ndn-producer serves, app of whatever forwarder there is. Shows a window of Interests
 * sent in batches, a timeout and retransmission for each segment, packets used where they arrive, and a transfer
 * that goes on when the forwarder was restarted. Guarantees: status 0 only if every segment came, in order,
 * each with a right DigestSha256 signature, and the whole has the expected hash. Does not do: congestion
 * control (a ring loses nothing), trust (a digest says who got it right, not who sent it), writing to a slow
 * disk without stopping the loop. */
#include <errno.h>
#include <getopt.h>
#include <ndnpkt.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#include "common.h"

enum {
  NAME_MAX_BYTES = 512,
  INTEREST_MAX_BYTES = NAME_MAX_BYTES + 64,
  OUT_MAX = 64, /* Interests published together */
  WINDOW_MAX = 4096,
  TRIES_MAX = 8,
  TICK_MS = 10,
  PROGRESS_TICKS = 20,
  RECONNECT_MS = 50,
  NAME_TYPE = 7 /* TLV-TYPE of a Name element */
};

static const uint64_t rto_first_ns = 200000000, rto_min_ns = 50000000;

/* A place in the window. */
typedef struct segment_s {
  uint64_t sent_ns; /* 0: to be sent as soon as there is room */
  unsigned int tries;
  bool here; /* content waits for those before it */
  size_t content_bytes;
  uint8_t content[NDNPKT_PACKET_MAX];
} segment_t;

typedef struct consumer_s {
  uv_loop_t loop;
  uvface_client_t client;
  ndnpkt_crypto_t* crypto;
  uv_timer_t tick;
  const char *uri, *output_path, *expected_hex;
  uint64_t connect_timeout_ms, window, lifetime_ms;
  bool no_shm, verbose, progress, stopping;
  uint8_t name[NAME_MAX_BYTES];     /* the prefix; then the version, and room for a segment */
  size_t prefix_len, versioned_len; /* versioned_len is 0 until an answer has told it, or the prefix has it */
  bool last_known;
  segment_t* segments;              /* segment n is at n % window */
  uint64_t next_in, next_out, last; /* to be delivered, to be asked for, and the last there is */
  uint64_t out_segment[OUT_MAX];
  uint8_t out_bytes[OUT_MAX][INTEREST_MAX_BYTES];
  uv_buf_t out[OUT_MAX];
  unsigned int nout;
  uint32_t nonce;
  uint64_t srtt_ns, rttvar_ns;
  uint64_t now_ns, start_ns;
  uint64_t lost_ns; /* since when there is no forwarder; 0: there is */
  uint64_t strange; /* answers that are no segments of a file */
  unsigned int ticks;
  FILE* output;
  EVP_MD_CTX* hash;
  uint64_t bytes, interests, retransmissions;
  int exit_code;
} consumer_t;

static void consumer_stop(consumer_t* consumer, int exit_code) {
  if (consumer->stopping) return;
  consumer->stopping = true;
  consumer->exit_code = exit_code;
  uv_close((uv_handle_t*) &consumer->tick, NULL);
  uvface_client_close(&consumer->client, NULL);
}

static void consumer_fail(consumer_t* consumer, const char* what, const char* why) {
  if (consumer->progress) fputc('\n', stderr);
  fprintf(stderr, "ndn-consumer: %s: %s\n", what, why);
  if (consumer->bytes > 0)
    fprintf(stderr, "ndn-consumer: incomplete: %llu bytes had arrived\n", (unsigned long long) consumer->bytes);
  consumer_stop(consumer, 1);
}

/* --- Asking ----------------------------------------------------------------------------------- */

static segment_t* segment_at(consumer_t* consumer, uint64_t number) {
  return &consumer->segments[number % consumer->window];
}

/* How long to wait for an answer: as measured, twice that after each loss, the lifetime at most. */
static uint64_t rto_ns(const consumer_t* consumer, unsigned int tries) {
  uint64_t rto = consumer->srtt_ns == 0 ? rto_first_ns : consumer->srtt_ns + 4 * consumer->rttvar_ns;
  uint64_t max = consumer->lifetime_ms * 1000000;
  rto = (rto < rto_min_ns ? rto_min_ns : rto) << (tries > 0 ? tries - 1 : 0);
  return rto < max ? rto : max;
}

/* What found no room in the ring is due again at the next tick. */
static void flush(consumer_t* consumer) {
  if (consumer->nout == 0) return;
  uvface_t* face = consumer->client.face;
  int taken = face != NULL ? uvface_try_send_batch(face, consumer->out, consumer->nout) : 0;
  for (unsigned int i = 0; i < consumer->nout; i++) {
    segment_t* segment = segment_at(consumer, consumer->out_segment[i]);
    if ((int) i < taken) {
      consumer->interests++;
      consumer->retransmissions += segment->tries++ > 0;
      segment->sent_ns = consumer->now_ns;
    } else {
      segment->sent_ns = 0;
    }
  }
  consumer->nout = 0;
}

/* Puts an Interest for a segment among those to be sent; while the version is not known, for any. */
static void ask(consumer_t* consumer, uint64_t number) {
  bool discover = consumer->versioned_len == 0;
  ssize_t len = (ssize_t) consumer->prefix_len;
  if (!discover)
    len = ndnpkt_append_uint(consumer->name, (ssize_t) consumer->versioned_len, sizeof(consumer->name),
                             NDNPKT_COMPONENT_SEGMENT, number);
  ndnpkt_interest_t interest = {.name = {consumer->name, (size_t) len},
                                .can_be_prefix = discover,
                                .must_be_fresh = discover,
                                .has_nonce = true,
                                .nonce = consumer->nonce++,
                                .lifetime_ms = consumer->lifetime_ms};
  uint8_t* bytes = consumer->out_bytes[consumer->nout];
  ssize_t size = ndnpkt_interest_encode(NULL, bytes, INTEREST_MAX_BYTES, &interest, NULL);
  consumer->out[consumer->nout] = uv_buf_init((char*) bytes, (unsigned int) size);
  consumer->out_segment[consumer->nout] = number;
  if (++consumer->nout == OUT_MAX) flush(consumer);
}

/* Keeps the window full. */
static void ask_for_more(consumer_t* consumer) {
  while (consumer->next_out <= consumer->last && consumer->next_out < consumer->next_in + consumer->window) {
    segment_t* segment = segment_at(consumer, consumer->next_out);
    segment->tries = 0;
    segment->here = false;
    ask(consumer, consumer->next_out++);
  }
  flush(consumer);
}

static void no_answer(consumer_t* consumer, uint64_t number) {
  char uri[NAME_MAX_BYTES], why[200];
  ndnpkt_name_t name = {consumer->name, consumer->prefix_len};
  int len = snprintf(why, sizeof(why), "no answer for segment %llu after %d Interests", (unsigned long long) number,
                     TRIES_MAX);
  if (consumer->strange > 0)
    snprintf(why + len, sizeof(why) - (size_t) len,
             ", but %llu packets that are no segments of a file as ndn-producer serves it",
             (unsigned long long) consumer->strange);
  else
    snprintf(why + len, sizeof(why) - (size_t) len, "; is ndn-producer running?");
  consumer_fail(consumer, ndnpkt_name_to_uri(name, uri, sizeof(uri)), why);
}

static void print_progress(const consumer_t* consumer) {
  double seconds = (double) (consumer->now_ns - consumer->start_ns) / 1e9;
  fprintf(stderr, "\rndn-consumer: %llu of %llu segments, %.1f MB/s   ", (unsigned long long) consumer->next_in,
          (unsigned long long) consumer->last + 1, (double) consumer->bytes / 1e6 / seconds);
}

static void on_tick(uv_timer_t* timer) {
  consumer_t* consumer = timer->data;
  consumer->now_ns = uv_hrtime();
  if (consumer->lost_ns != 0) {
    if (consumer->now_ns - consumer->lost_ns >= consumer->connect_timeout_ms * 1000000)
      consumer_fail(consumer, forwarder_name(consumer->uri), "no forwarder; is one running?");
    return;
  }
  for (uint64_t number = consumer->next_in; number < consumer->next_out; number++) {
    segment_t* segment = segment_at(consumer, number);
    if (segment->here || consumer->now_ns - segment->sent_ns < rto_ns(consumer, segment->tries)) continue;
    if (segment->tries == TRIES_MAX) {
      no_answer(consumer, number);
      return;
    }
    ask(consumer, number);
  }
  flush(consumer);
  if (consumer->progress && ++consumer->ticks % PROGRESS_TICKS == 0 && consumer->versioned_len != 0)
    print_progress(consumer);
}

/* --- Taking ----------------------------------------------------------------------------------- */

static void measure(consumer_t* consumer, uint64_t rtt_ns) {
  uint64_t srtt = consumer->srtt_ns == 0 ? rtt_ns : consumer->srtt_ns;
  uint64_t error = srtt > rtt_ns ? srtt - rtt_ns : rtt_ns - srtt;
  consumer->rttvar_ns = (3 * consumer->rttvar_ns + error) / 4;
  consumer->srtt_ns = (7 * srtt + rtt_ns) / 8;
}

static bool deliver(consumer_t* consumer, ndnpkt_bytes_t content) {
  consumer->next_in++;
  consumer->bytes += content.len;
  if (EVP_DigestUpdate(consumer->hash, content.base, content.len) != 1) abort(); /* libcrypto is broken */
  if (consumer->output == NULL || fwrite(content.base, 1, content.len, consumer->output) == content.len) return true;
  consumer_fail(consumer, consumer->output_path, strerror(errno));
  return false;
}

/* Content that comes in its turn is used where it is; what is early is kept. */
static void take(consumer_t* consumer, uint64_t number, ndnpkt_bytes_t content) {
  segment_t* segment = segment_at(consumer, number);
  if (segment->tries == 1) measure(consumer, consumer->now_ns - segment->sent_ns);
  if (number != consumer->next_in) {
    if (content.len > 0)
      memcpy(segment->content, content.base, content.len); /* fits: on_packet() takes none that is larger */
    segment->content_bytes = content.len;
    segment->here = true;
    return;
  }
  bool good = deliver(consumer, content);
  while (good && consumer->next_in < consumer->next_out && segment_at(consumer, consumer->next_in)->here) {
    segment = segment_at(consumer, consumer->next_in);
    good = deliver(consumer, (ndnpkt_bytes_t){segment->content, segment->content_bytes});
  }
}

/* Metadata has the versioned name as its content (RDR): so ndnd and NDNts tell of versions, and a forwarder may have it
 * in its store as the answer to a prefix. Returns the version's component; len 0: it is something else. */
static ndnpkt_bytes_t version_of_metadata(const ndnpkt_data_t* data, ndnpkt_name_t prefix) {
  ndnpkt_bytes_t content = data->content;
  ndnpkt_tlv_t name;
  if (ndnpkt_tlv_next(&content, &name) <= 0 || name.type != NAME_TYPE || ndnpkt_name_check(name.value) < 0 ||
      !ndnpkt_name_has_prefix(name.value, prefix))
    return (ndnpkt_bytes_t){NULL, 0};
  return (ndnpkt_bytes_t){name.value.base + prefix.len, name.value.len - prefix.len};
}

/* Learns the version from whatever answers the prefix: any segment, or metadata. */
static bool discover(consumer_t* consumer, const ndnpkt_data_t* data) {
  ndnpkt_name_t prefix = {consumer->name, consumer->prefix_len};
  uint64_t version;
  ndnpkt_tlv_t component;
  ndnpkt_bytes_t rest = {data->name.base + prefix.len, data->name.len - prefix.len};
  if (ndnpkt_tlv_next(&rest, &component) <= 0) return false;
  ndnpkt_bytes_t told = component.whole;
  if (component.type == NDNPKT_COMPONENT_KEYWORD) told = version_of_metadata(data, prefix);
  if (ndnpkt_component_number(told, NDNPKT_COMPONENT_VERSION, &version) < 0) return false;
  consumer->versioned_len = (size_t) ndnpkt_append_uint(consumer->name, (ssize_t) prefix.len, sizeof(consumer->name),
                                                        NDNPKT_COMPONENT_VERSION, version);
  return true;
}

/* Which segment a Data is; false if it is none. Learns the last one from the first that tells. */
static bool number_of(consumer_t* consumer, const ndnpkt_data_t* data, uint64_t* ret_number) {
  ndnpkt_name_t versioned = {consumer->name, consumer->versioned_len};
  uint64_t last;
  if (!ndnpkt_name_has_prefix(data->name, versioned)) return false;
  ndnpkt_bytes_t rest = {data->name.base + versioned.len, data->name.len - versioned.len};
  if (ndnpkt_component_number(rest, NDNPKT_COMPONENT_SEGMENT, ret_number) < 0) return false;
  if (!consumer->last_known && ndnpkt_component_number(data->final_block, NDNPKT_COMPONENT_SEGMENT, &last) == 0) {
    consumer->last_known = true;
    consumer->last = last;
  }
  return consumer->last_known;
}

/* No route at first is the answer. Later the producer may be on its way back to a forwarder that was restarted. */
static void on_nack(consumer_t* consumer, const ndnpkt_packet_t* packet) {
  char uri[NAME_MAX_BYTES];
  if (consumer->bytes > 0) return;
  consumer_fail(consumer, ndnpkt_name_to_uri(packet->interest.name, uri, sizeof(uri)),
                packet->link.nack_reason == NDNPKT_NACK_NO_ROUTE ? "the forwarder has no route for this name"
                                                                 : "refused by a Nack");
}

/* With the version known the segments are asked for by their names, from the first on. */
static void start_over(consumer_t* consumer) {
  consumer->next_out = consumer->next_in;
}

static void on_data(consumer_t* consumer, const ndnpkt_data_t* data) {
  char uri[NAME_MAX_BYTES];
  uint64_t number = 0;
  bool discovers = consumer->versioned_len == 0;
  if (!ndnpkt_name_has_prefix(data->name, (ndnpkt_name_t){consumer->name, consumer->prefix_len})) return;
  if (ndnpkt_verify(consumer->crypto, &data->signature, NULL) < 0) {
    consumer_fail(consumer, ndnpkt_name_to_uri(data->name, uri, sizeof(uri)),
                  "does not carry a right DigestSha256 signature");
    return;
  }
  bool blob = data->content_type == 0; /* another is a key, or the producer's "there is none" */
  bool known = blob && (!discovers || discover(consumer, data));
  bool segment = known && number_of(consumer, data, &number);
  if (segment && number >= consumer->next_in && number < consumer->next_out && !segment_at(consumer, number)->here)
    take(consumer, number, data->content);
  else if (known && discovers)
    start_over(consumer);
  else
    consumer->strange += !segment;
}

static void on_packet(consumer_t* consumer, const uv_buf_t* pkt) {
  ndnpkt_packet_t packet;
  if (pkt->len > NDNPKT_PACKET_MAX || ndnpkt_packet_decode((const uint8_t*) pkt->base, pkt->len, &packet) < 0)
    consumer->strange++;
  else if (packet.kind == NDNPKT_NACK)
    on_nack(consumer, &packet);
  else if (packet.kind == NDNPKT_DATA)
    on_data(consumer, &packet.data);
}

/* --- Life ------------------------------------------------------------------------------------- */

static void print_summary(const consumer_t* consumer, const char* hex) {
  double seconds = (double) (uv_hrtime() - consumer->start_ns) / 1e9;
  double megabytes = (double) consumer->bytes / 1e6;
  fprintf(stderr,
          "%sndn-consumer: %llu bytes, %llu segments, %.3f s, %.1f MB/s, %.0f Mbit/s; "
          "%llu interests, %llu retransmissions; sha256 %s; %.3f s CPU\n",
          consumer->progress ? "\r" : "", (unsigned long long) consumer->bytes, (unsigned long long) consumer->next_in,
          seconds, megabytes / seconds, 8 * megabytes / seconds, (unsigned long long) consumer->interests,
          (unsigned long long) consumer->retransmissions, hex, cpu_seconds());
}

static void finish(consumer_t* consumer) {
  uint8_t digest[NDNPKT_DIGEST_BYTES];
  char hex[2 * NDNPKT_DIGEST_BYTES + 1];
  if (EVP_DigestFinal_ex(consumer->hash, digest, NULL) != 1) abort();
  print_summary(consumer, to_hex(digest, sizeof(digest), hex));
  if (consumer->output != NULL && fflush(consumer->output) != 0)
    consumer_fail(consumer, consumer->output_path, strerror(errno));
  else if (consumer->expected_hex != NULL && strcasecmp(hex, consumer->expected_hex) != 0)
    consumer_fail(consumer, "the content is not what --expect-sha256 says", consumer->expected_hex);
  else
    consumer_stop(consumer, 0);
}

/* The end of the face is told by on_client(). */
static void on_recv(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  consumer_t* consumer = face->data;
  if (npkts < 0) return;
  consumer->now_ns = uv_hrtime();
  for (ssize_t i = 0; i < npkts && !consumer->stopping; i++) on_packet(consumer, &pkts[i]);
  if (consumer->stopping) return;
  if (consumer->next_in > consumer->last)
    finish(consumer);
  else
    ask_for_more(consumer);
}

/* What was asked of the forwarder that is gone is asked anew, and costs the producer no try. */
static void ask_again(consumer_t* consumer) {
  for (uint64_t number = consumer->next_in; number < consumer->next_out; number++) {
    segment_t* segment = segment_at(consumer, number);
    if (segment->here) continue;
    segment->tries = 0;
    ask(consumer, number);
  }
  flush(consumer);
}

/* The forwarder has come or gone. The client goes on trying. */
static void on_client(uvface_client_t* client, int status) {
  consumer_t* consumer = client->data;
  consumer->now_ns = uv_hrtime();
  if (consumer->stopping) return;
  if (status < 0) {
    fprintf(stderr, "ndn-consumer: %s: %s; trying again\n", forwarder_name(consumer->uri),
            uvface_client_errmsg(client));
    consumer->lost_ns = consumer->now_ns;
    return;
  }
  consumer->lost_ns = 0;
  if (consumer->start_ns == 0) consumer->start_ns = consumer->now_ns;
  client->face->data = consumer;
  uvface_recv_start(client->face, on_recv);
  if (consumer->verbose) print_transport("ndn-consumer", client);
  ask_again(consumer);
  ask_for_more(consumer); /* the last is 0 as long as nothing is known */
}

static int consumer_init(consumer_t* consumer) {
  int err = ndnpkt_crypto_new(&consumer->crypto);
  err = err < 0 ? err : uv_loop_init(&consumer->loop);
  err = err < 0 ? err : uvface_client_init(&consumer->loop, &consumer->client);
  err = err < 0 ? err : uv_timer_init(&consumer->loop, &consumer->tick);
  err = err < 0 ? err : uv_timer_start(&consumer->tick, on_tick, TICK_MS, TICK_MS);
  consumer->client.data = consumer;
  consumer->tick.data = consumer;
  consumer->segments = calloc(consumer->window, sizeof(*consumer->segments));
  consumer->hash = EVP_MD_CTX_new();
  if (consumer->segments == NULL || consumer->hash == NULL ||
      EVP_DigestInit_ex2(consumer->hash, EVP_sha256(), NULL) != 1)
    return UV_ENOMEM;
  if (getrandom(&consumer->nonce, sizeof(consumer->nonce), 0) != (ssize_t) sizeof(consumer->nonce)) return UV_EIO;
  consumer->lost_ns = uv_hrtime();
  return err;
}

static void consumer_connect(consumer_t* consumer) {
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;
  options.reconnect_ms = RECONNECT_MS;
  options.transport = consumer->no_shm ? UVFACE_STREAM : UVFACE_ANY;
  if (uvface_client_connect(&consumer->client, consumer->uri, &options, on_client) < 0)
    consumer_fail(consumer, forwarder_name(consumer->uri), uvface_client_errmsg(&consumer->client));
}

static bool open_output(consumer_t* consumer) {
  if (consumer->output_path == NULL) return true;
  bool standard = strcmp(consumer->output_path, "-") == 0;
  consumer->output = standard ? stdout : fopen(consumer->output_path, "wbe");
  if (consumer->output == NULL) fprintf(stderr, "ndn-consumer: %s: %s\n", consumer->output_path, strerror(errno));
  return consumer->output != NULL;
}

static int consumer_run(consumer_t* consumer) {
  if (!open_output(consumer)) return 1;
  int err = consumer_init(consumer);
  if (err < 0) {
    fprintf(stderr, "ndn-consumer: cannot start: %s\n", uv_strerror(err));
    return 1;
  }
  consumer_connect(consumer);
  uv_run(&consumer->loop, UV_RUN_DEFAULT);
  free(consumer->segments);
  EVP_MD_CTX_free(consumer->hash);
  ndnpkt_crypto_free(consumer->crypto);
  if (consumer->output != NULL && fclose(consumer->output) != 0) {
    fprintf(stderr, "ndn-consumer: %s: %s\n", consumer->output_path, strerror(errno));
    consumer->exit_code = 1;
  }
  return uv_loop_close(&consumer->loop) < 0 ? 1 : consumer->exit_code;
}

/* A prefix that ends with a version says all but the number of segments. */
static bool is_versioned(ndnpkt_name_t prefix) {
  ndnpkt_tlv_t component = {0};
  while (ndnpkt_tlv_next(&prefix, &component) > 0) continue;
  return component.type == NDNPKT_COMPONENT_VERSION;
}

static bool parse_options(consumer_t* consumer, int argc, char** argv) {
  static const struct option options[] = {{"forwarder", required_argument, NULL, 'f'},
                                          {"prefix", required_argument, NULL, 'p'},
                                          {"window", required_argument, NULL, 'w'},
                                          {"lifetime-ms", required_argument, NULL, 'l'},
                                          {"output", required_argument, NULL, 'o'},
                                          {"expect-sha256", required_argument, NULL, 'e'},
                                          {"connect-timeout-ms", required_argument, NULL, 'c'},
                                          {"no-shm", no_argument, NULL, 'n'},
                                          {"progress", no_argument, NULL, 'P'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {NULL, 0, NULL, 0}};
  ndnpkt_name_t prefix = {NULL, 0};
  int option;
  bool good = true;
  while (good && (option = getopt_long(argc, argv, "v", options, NULL)) != -1) {
    switch (option) {
      case 'f': consumer->uri = optarg; break;
      case 'o': consumer->output_path = optarg; break;
      case 'e': consumer->expected_hex = optarg; break;
      case 'n': consumer->no_shm = true; break;
      case 'v': consumer->verbose = true; break;
      case 'P': consumer->progress = isatty(STDERR_FILENO); break;
      case 'p': good = ndnpkt_name_from_uri(optarg, consumer->name, NAME_MAX_BYTES - 32, &prefix) == 0; break;
      case 'w': good = parse_number(optarg, 1, WINDOW_MAX, &consumer->window); break;
      case 'l': good = parse_number(optarg, 1, 60000, &consumer->lifetime_ms); break;
      case 'c': good = parse_number(optarg, 0, UINT32_MAX, &consumer->connect_timeout_ms); break;
      default: return false;
    }
    if (!good) fprintf(stderr, "ndn-consumer: %s cannot be used here\n", optarg);
  }
  consumer->prefix_len = prefix.len;
  if (is_versioned(prefix)) consumer->versioned_len = prefix.len;
  return good && optind == argc && prefix.len > 0;
}

int main(int argc, char** argv) {
  static consumer_t consumer = {.window = 64, .lifetime_ms = 1000, .connect_timeout_ms = 5000, .exit_code = 1};
  keep_streams();
  bool help = wants_help(argc, argv);
  if (help || !parse_options(&consumer, argc, argv))
    return print_usage(help,
                       "usage: ndn-consumer --prefix /demo/file [--forwarder URI] [--window 64] [--lifetime-ms 1000]\n"
                       "                    [--output PATH|-] [--expect-sha256 HEX] [--connect-timeout-ms 5000]\n"
                       "                    [--no-shm] [--progress] [--verbose]\n"
                       "URI is unix:///path or tcp://host:port; without, the forwarder of this host is looked for.\n");
  return consumer_run(&consumer);
}
