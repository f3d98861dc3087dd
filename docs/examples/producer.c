/* SPDX-License-Identifier: MIT */
/* producer.c: serves one file as segments of Data, app of whatever forwarder there is. Shows how an app connects,
 * registers its prefix, comes back after its forwarder was restarted, and answers in place: each packet is
 * encoded and signed in the face's own slot (uvface_reserve, uvface_commit), and only if there is none free in
 * a buffer that waits (uvface_send). Segment N is PREFIX/v=TIME/seg=N, TIME being the file's; PREFIX or
 * PREFIX/v=TIME with CanBePrefix gets segment 0, and PREFIX/32=metadata the name with the version (RDR, as ndnd's and
 * NDNts' programs ask). Does not do: a file that changes while it is served, or reads
 * that must not block the loop (pread from the page cache does not for long; a disk that might needs
 * uv_fs_read). */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <ndnpkt.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

enum {
  NAME_MAX_BYTES = 512,
  FRESHNESS_MS = 10000,
  METADATA_FRESHNESS_MS = 1000,
  NAME_TYPE = 7,   /* TLV-TYPE of a Name element */
  QUEUE_MAX = 512, /* packets that wait behind a full ring; past that the consumer asks again */
  READ_AHEAD = 16, /* segments per read */
  RECONNECT_MS = 50
};

typedef struct producer_s producer_t;
typedef struct packet_s packet_t;
struct packet_s {
  uvface_send_t req;
  producer_t* producer;
  packet_t* next;
  char bytes[NDNPKT_PACKET_MAX];
};

struct producer_s {
  uv_loop_t loop;
  uvface_client_t client;
  uvface_command_t registration;
  ndnpkt_crypto_t* crypto;
  uv_signal_t signals[2];
  const char *uri, *path;
  bool no_shm, verbose, stopping;
  uint64_t segment_bytes;
  uint8_t name[NAME_MAX_BYTES]; /* the prefix, the version, and room for a segment */
  ndnpkt_name_t prefix, versioned;
  uint8_t metadata_name[NAME_MAX_BYTES + 32], metadata[NAME_MAX_BYTES + 8];
  size_t metadata_prefix_bytes, metadata_name_bytes, metadata_bytes;
  uint8_t final_block[16];
  size_t final_block_bytes;
  int fd;
  uint64_t file_bytes, last_segment;
  uint8_t* block; /* READ_AHEAD segments of the file */
  uint64_t block_index, block_bytes;
  packet_t* free_packets;
  unsigned int queued;
  uint64_t interests, sent, waited, dropped, unknown;
  int exit_code;
};

static void producer_stop(producer_t* producer) {
  if (producer->stopping) return;
  producer->stopping = true;
  uvface_client_close(&producer->client, NULL);
  unwatch_signals(producer->signals);
}

static void producer_fail(producer_t* producer, const char* what, const char* why) {
  fprintf(stderr, "ndn-producer: %s: %s\n", what, why);
  producer->exit_code = 1;
  producer_stop(producer);
}

/* --- The file --------------------------------------------------------------------------------- */

/* Reads until the buffer is full or the file is at its end. */
static ssize_t read_fully(int fd, uint8_t* buf, size_t len, uint64_t offset) {
  size_t done = 0;
  while (done < len) {
    ssize_t got = pread(fd, buf + done, len - done, (off_t) (offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -errno;
    if (got == 0) break;
    done += (size_t) got;
  }
  return (ssize_t) done;
}

/* The content of a segment, valid until the next call; false if the file has become shorter. */
static bool read_segment(producer_t* producer, uint64_t segment, ndnpkt_bytes_t* ret_content) {
  uint64_t index = segment / READ_AHEAD;
  if (index != producer->block_index) {
    uint64_t size = READ_AHEAD * producer->segment_bytes;
    ssize_t got = read_fully(producer->fd, producer->block, size, index * size);
    producer->block_index = got < 0 ? UINT64_MAX : index;
    producer->block_bytes = got < 0 ? 0 : (uint64_t) got;
  }
  uint64_t left = producer->file_bytes - segment * producer->segment_bytes;
  uint64_t want = left < producer->segment_bytes ? left : producer->segment_bytes;
  uint64_t at = segment % READ_AHEAD * producer->segment_bytes;
  *ret_content = (ndnpkt_bytes_t){producer->block + at, want};
  return producer->block_index == index && at + want <= producer->block_bytes;
}

static int hash_file(producer_t* producer, uint8_t digest[NDNPKT_DIGEST_BYTES]) {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  uint64_t size = READ_AHEAD * producer->segment_bytes;
  uint64_t at = 0;
  ssize_t got = 0;
  bool good = context != NULL && EVP_DigestInit_ex2(context, EVP_sha256(), NULL) == 1;
  while (good && (got = read_fully(producer->fd, producer->block, size, at)) > 0) {
    good = EVP_DigestUpdate(context, producer->block, (size_t) got) == 1;
    at += (uint64_t) got;
  }
  good = good && EVP_DigestFinal_ex(context, digest, NULL) == 1;
  EVP_MD_CTX_free(context);
  return got < 0 ? (int) got : good ? 0 : -EIO;
}

/* --- Answering -------------------------------------------------------------------------------- */

/* Which segment an Interest asks for. */
static bool find_segment(const producer_t* producer, const ndnpkt_interest_t* interest, uint64_t* ret_segment) {
  ndnpkt_name_t name = interest->name;
  bool whole = ndnpkt_name_equal(name, producer->prefix) || ndnpkt_name_equal(name, producer->versioned);
  *ret_segment = 0;
  if (whole) return interest->can_be_prefix;
  if (!ndnpkt_name_has_prefix(name, producer->versioned)) return false;
  ndnpkt_bytes_t rest = {name.base + producer->versioned.len, name.len - producer->versioned.len};
  return ndnpkt_component_number(rest, NDNPKT_COMPONENT_SEGMENT, ret_segment) == 0 &&
         *ret_segment <= producer->last_segment;
}

static void on_sent(uvface_send_t* req, int status) {
  packet_t* packet = req->data;
  producer_t* producer = packet->producer;
  packet->next = producer->free_packets;
  producer->free_packets = packet;
  producer->queued--;
  producer->sent += status == 0;
}

/* No slot is free: the packet waits in a buffer of ours. */
static void answer_later(producer_t* producer, const ndnpkt_data_t* data) {
  packet_t* packet = producer->free_packets;
  if (packet != NULL)
    producer->free_packets = packet->next;
  else if (producer->queued < QUEUE_MAX)
    packet = malloc(sizeof(*packet));
  if (packet == NULL) {
    producer->dropped++;
    return;
  }
  ssize_t size = ndnpkt_data_encode(producer->crypto, (uint8_t*) packet->bytes, sizeof(packet->bytes), data, NULL);
  uv_buf_t buf = uv_buf_init(packet->bytes, (unsigned int) size);
  packet->req.data = packet;
  packet->producer = producer;
  producer->queued++;
  producer->waited++;
  if (uvface_send(&packet->req, producer->client.face, &buf, 1, on_sent) < 0) on_sent(&packet->req, UV_ECANCELED);
}

/* A segment, still without its content. */
static ndnpkt_data_t data_of(producer_t* producer, uint64_t segment) {
  ssize_t len = ndnpkt_append_uint(producer->name, (ssize_t) producer->versioned.len, sizeof(producer->name),
                                   NDNPKT_COMPONENT_SEGMENT, segment);
  return (ndnpkt_data_t){.name = {producer->name, (size_t) len},
                         .freshness_ms = FRESHNESS_MS,
                         .final_block = {producer->final_block, producer->final_block_bytes}};
}

/* Encodes and signs where the packet will be read. */
static void send_data(producer_t* producer, const ndnpkt_data_t* data) {
  uvface_t* face = producer->client.face;
  uv_buf_t slot;
  int err = uvface_reserve(face, data->content.len + ndnpkt_data_overhead(data, NULL), &slot);
  if (err == UV_EAGAIN) {
    answer_later(producer, data);
  } else if (err == UV_EPIPE) {
    producer->dropped++; /* on_client() is about to hear the same */
  } else if (err == 0) {
    ssize_t size = ndnpkt_data_encode(producer->crypto, (uint8_t*) slot.base, slot.len, data, NULL);
    producer->sent += uvface_commit(face, size < 0 ? 0 : (size_t) size) == 0;
  } else {
    producer_fail(producer, forwarder_name(producer->uri), uvface_errmsg(face));
  }
}

static void answer(producer_t* producer, uint64_t segment) {
  ndnpkt_data_t data = data_of(producer, segment);
  if (read_segment(producer, segment, &data.content))
    send_data(producer, &data);
  else
    producer_fail(producer, producer->path, "cannot be read any more, or has become shorter");
}

static void answer_metadata(producer_t* producer) {
  static const uint8_t segment_0[] = {NDNPKT_COMPONENT_SEGMENT, 1, 0};
  ndnpkt_data_t data = {.name = {producer->metadata_name, producer->metadata_name_bytes},
                        .freshness_ms = METADATA_FRESHNESS_MS,
                        .final_block = {segment_0, sizeof(segment_0)},
                        .content = {producer->metadata, producer->metadata_bytes}};
  send_data(producer, &data);
}

static bool asks_for_metadata(const producer_t* producer, const ndnpkt_interest_t* interest) {
  ndnpkt_name_t whole = {producer->metadata_name, producer->metadata_name_bytes};
  ndnpkt_name_t prefix = {producer->metadata_name, producer->metadata_prefix_bytes};
  return ndnpkt_name_equal(interest->name, whole) ||
         (interest->can_be_prefix && ndnpkt_name_equal(interest->name, prefix));
}

static void on_interest(producer_t* producer, const ndnpkt_interest_t* interest) {
  uint64_t segment;
  bool metadata = asks_for_metadata(producer, interest);
  if (!metadata && !find_segment(producer, interest, &segment)) {
    producer->unknown++;
    return;
  }
  producer->interests++;
  if (metadata)
    answer_metadata(producer);
  else
    answer(producer, segment);
}

/* The end of the face is told by on_client(). */
static void on_recv(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  producer_t* producer = face->data;
  for (ssize_t i = 0; i < npkts && !producer->stopping; i++) {
    ndnpkt_packet_t packet;
    if (ndnpkt_packet_decode((const uint8_t*) pkts[i].base, pkts[i].len, &packet) == 0 &&
        packet.kind == NDNPKT_INTEREST)
      on_interest(producer, &packet.interest);
    else
      producer->unknown++;
  }
}

/* --- Life ------------------------------------------------------------------------------------- */

/* The forwarder has come or gone. The client goes on trying, and registers again by itself. */
static void on_client(uvface_client_t* client, int status) {
  producer_t* producer = client->data;
  if (producer->stopping) return;
  if (status < 0) {
    fprintf(stderr, "ndn-producer: %s: %s; trying again\n", forwarder_name(producer->uri),
            uvface_client_errmsg(client));
    return;
  }
  ndnpkt_data_t data = data_of(producer, UINT64_MAX); /* no name is longer */
  size_t packet_bytes = producer->segment_bytes + ndnpkt_data_overhead(&data, NULL);
  if (packet_bytes > uvface_get_mtu(client->face) || packet_bytes > NDNPKT_PACKET_MAX) {
    producer_fail(producer, forwarder_name(producer->uri), "--segment-bytes and --prefix are too long for its packets");
    return;
  }
  client->face->data = producer;
  uvface_recv_start(client->face, on_recv);
  if (producer->verbose) print_transport("ndn-producer", client);
}

static void on_registered(uvface_command_t* req, int status, unsigned int code, const char* text) {
  producer_t* producer = req->data;
  char uri[NAME_MAX_BYTES], why[256];
  if (producer->stopping) return;
  ndnpkt_name_to_uri(producer->prefix, uri, sizeof(uri));
  if (status < 0) {
    snprintf(why, sizeof(why), "cannot be registered: %s (%u %s)", uv_strerror(status), code, text);
    producer_fail(producer, uri, why);
    return;
  }
  printf("ndn-producer: registered %s\n", uri);
  fflush(stdout);
}

static void on_signal(uv_signal_t* handle, int signum) {
  (void) signum;
  producer_stop(handle->data);
}

/* Metadata is the versioned name, under a name of its own with the same version. */
static int name_metadata(producer_t* producer, uint64_t version) {
  uint8_t* name = producer->metadata_name;
  size_t cap = sizeof(producer->metadata_name);
  memcpy(name, producer->prefix.base, producer->prefix.len);
  ssize_t len = ndnpkt_append(name, (ssize_t) producer->prefix.len, cap, NDNPKT_COMPONENT_KEYWORD,
                              (ndnpkt_bytes_t){(const uint8_t*) "metadata", 8});
  producer->metadata_prefix_bytes = len < 0 ? 0 : (size_t) len;
  len = ndnpkt_append_uint(name, len, cap, NDNPKT_COMPONENT_VERSION, version);
  len = ndnpkt_append_uint(name, len, cap, NDNPKT_COMPONENT_SEGMENT, 0);
  producer->metadata_name_bytes = len < 0 ? 0 : (size_t) len;
  if (len >= 0) len = ndnpkt_append(producer->metadata, 0, sizeof(producer->metadata), NAME_TYPE, producer->versioned);
  producer->metadata_bytes = len < 0 ? 0 : (size_t) len;
  return len < 0 ? (int) len : 0;
}

/* Opens and hashes the file, and gives it its names. */
static int open_file(producer_t* producer) {
  struct stat file;
  producer->fd = open(producer->path, O_RDONLY | O_CLOEXEC);
  if (producer->fd < 0 || fstat(producer->fd, &file) < 0) return -errno;
  if (!S_ISREG(file.st_mode)) return -EINVAL;
  producer->block = malloc(READ_AHEAD * producer->segment_bytes);
  if (producer->block == NULL) return -ENOMEM;
  producer->block_index = UINT64_MAX;
  producer->file_bytes = (uint64_t) file.st_size;
  producer->last_segment = file.st_size == 0 ? 0 : (producer->file_bytes - 1) / producer->segment_bytes;
  uint64_t version = (uint64_t) file.st_mtim.tv_sec * 1000000 + (uint64_t) file.st_mtim.tv_nsec / 1000;
  ssize_t len = ndnpkt_append_uint(producer->name, (ssize_t) producer->prefix.len, sizeof(producer->name) - 16,
                                   NDNPKT_COMPONENT_VERSION, version);
  if (len < 0) return (int) len;
  producer->versioned = (ndnpkt_name_t){producer->name, (size_t) len};
  producer->final_block_bytes = (size_t) ndnpkt_append_uint(producer->final_block, 0, sizeof(producer->final_block),
                                                            NDNPKT_COMPONENT_SEGMENT, producer->last_segment);
  return name_metadata(producer, version);
}

static int announce_file(producer_t* producer) {
  uint8_t digest[NDNPKT_DIGEST_BYTES];
  char hex[2 * NDNPKT_DIGEST_BYTES + 1], uri[NAME_MAX_BYTES];
  int err = hash_file(producer, digest);
  if (err < 0) return err;
  printf("ndn-producer: %s: %llu bytes, %llu segments, sha256 %s\n",
         ndnpkt_name_to_uri(producer->versioned, uri, sizeof(uri)), (unsigned long long) producer->file_bytes,
         (unsigned long long) producer->last_segment + 1, to_hex(digest, sizeof(digest), hex));
  fflush(stdout);
  return 0;
}

static int producer_init(producer_t* producer) {
  int err = ndnpkt_crypto_new(&producer->crypto);
  err = err < 0 ? err : uv_loop_init(&producer->loop);
  err = err < 0 ? err : watch_signals(&producer->loop, producer->signals, producer, on_signal);
  err = err < 0 ? err : uvface_client_init(&producer->loop, &producer->client);
  producer->client.data = producer->registration.data = producer;
  return err;
}

/* Both wait until there is a forwarder. */
static int producer_connect(producer_t* producer) {
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;
  options.reconnect_ms = RECONNECT_MS;
  options.transport = producer->no_shm ? UVFACE_STREAM : UVFACE_ANY;
  int err = uvface_client_connect(&producer->client, producer->uri, &options, on_client);
  if (err == 0)
    err = uvface_client_register(&producer->client, &producer->registration, producer->prefix.base,
                                 producer->prefix.len, NULL, on_registered);
  if (err < 0) producer_fail(producer, forwarder_name(producer->uri), uvface_client_errmsg(&producer->client));
  return err;
}

static void print_counters(const producer_t* producer) {
  printf(
      "ndn-producer: %llu interests, %llu data sent, %llu of them waited for room, %llu dropped, "
      "%llu packets not for us; %.3f s CPU\n",
      (unsigned long long) producer->interests, (unsigned long long) producer->sent,
      (unsigned long long) producer->waited, (unsigned long long) producer->dropped,
      (unsigned long long) producer->unknown, cpu_seconds());
}

static int producer_run(producer_t* producer) {
  int err = open_file(producer);
  err = err < 0 ? err : announce_file(producer);
  if (err < 0) {
    fprintf(stderr, "ndn-producer: %s: %s\n", producer->path, strerror(-err));
    return 1;
  }
  err = producer_init(producer);
  if (err < 0) {
    fprintf(stderr, "ndn-producer: cannot start: %s\n", uv_strerror(err));
    return 1;
  }
  producer_connect(producer);
  uv_run(&producer->loop, UV_RUN_DEFAULT);
  print_counters(producer);
  for (packet_t* packet; (packet = producer->free_packets) != NULL; free(packet)) producer->free_packets = packet->next;
  ndnpkt_crypto_free(producer->crypto);
  free(producer->block);
  close(producer->fd);
  return uv_loop_close(&producer->loop) < 0 ? 1 : producer->exit_code;
}

static bool parse_options(producer_t* producer, int argc, char** argv) {
  static const struct option options[] = {{"forwarder", required_argument, NULL, 'f'},
                                          {"prefix", required_argument, NULL, 'p'},
                                          {"file", required_argument, NULL, 'i'},
                                          {"segment-bytes", required_argument, NULL, 's'},
                                          {"no-shm", no_argument, NULL, 'n'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {NULL, 0, NULL, 0}};
  int option;
  bool good = true;
  while (good && (option = getopt_long(argc, argv, "v", options, NULL)) != -1) {
    switch (option) {
      case 'f': producer->uri = optarg; break;
      case 'i': producer->path = optarg; break;
      case 'n': producer->no_shm = true; break;
      case 'v': producer->verbose = true; break;
      case 'p': good = ndnpkt_name_from_uri(optarg, producer->name, NAME_MAX_BYTES - 32, &producer->prefix) == 0; break;
      case 's': good = parse_number(optarg, 1, NDNPKT_PACKET_MAX - 128, &producer->segment_bytes); break;
      default: return false;
    }
    if (!good) fprintf(stderr, "ndn-producer: %s cannot be used here\n", optarg);
  }
  return good && optind == argc && producer->path != NULL && producer->prefix.base != NULL;
}

int main(int argc, char** argv) {
  static producer_t producer = {.segment_bytes = 8000, .fd = -1};
  keep_streams();
  bool help = wants_help(argc, argv);
  if (help || !parse_options(&producer, argc, argv))
    return print_usage(help,
                       "usage: ndn-producer --prefix /demo/file --file PATH [--forwarder URI] [--segment-bytes 8000]\n"
                       "                    [--no-shm] [--verbose]\n"
                       "URI is unix:///path or tcp://host:port; without, the forwarder of this host is looked for.\n");
  return producer_run(&producer);
}
