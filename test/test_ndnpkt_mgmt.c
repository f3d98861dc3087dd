/* SPDX-License-Identifier: MIT */
/* test_ndnpkt_mgmt.c: commands and responses. All captured exchanges of test/vectors/management.txt are decoded,
 * verified, and encoded again: a command gets the same name, digest and signature, a response the same bytes, a link
 * packet the same headers. Then every parameter, and what is broken. */
#include <errno.h>
#include <string.h>

#include "harness.h"
#include "wire.h"

static ndnpkt_crypto_t* new_crypto(void) {
  ndnpkt_crypto_t* crypto = NULL;

  ck_assert_int_eq(ndnpkt_crypto_new(&crypto), 0);
  return crypto;
}

/* --- The captured exchanges ------------------------------------------------------------------- */

typedef struct seen_s {
  int commands, requests, old, responses, nacks, wrapped, tokens, other, wrong;
} seen_t;

/* What was read from a command makes the same command: same parameters, digest and signature, so the same name. */
static void encode_again(ndnpkt_crypto_t* crypto, const ndnpkt_command_t* command) {
  uint8_t buf[1024];
  ssize_t len = ndnpkt_command_encode(crypto, buf, sizeof(buf), command, NULL);
  ndnpkt_interest_t interest;
  ndnpkt_command_t again;

  ck_assert_int_gt(len, 0);
  ck_assert_int_eq(ndnpkt_interest_decode(buf, (size_t) len, &interest), 0);
  ck_assert_int_eq(ndnpkt_interest_check(crypto, &interest), 0);
  ck_assert_int_eq(ndnpkt_command_decode(&interest, &again), 0);
  wire_assert_same(command->name, again.name);
  wire_assert_same(command->signature.value, again.signature.value);
  ck_assert_uint_eq(command->lifetime_ms, again.lifetime_ms);
}

/* ndn-rs's own client signs other bytes than the format says; PyNDN writes the format before this one. */
static void see_interest(ndnpkt_crypto_t* crypto, const wire_vector_t* vector, const ndnpkt_interest_t* interest,
                         seen_t* seen) {
  bool wrong = strstr(vector->session, "its own client") != NULL;
  bool old = strstr(vector->exchange, "PyNDN") != NULL;
  ndnpkt_command_t command;
  int err = ndnpkt_command_decode(interest, &command);

  ck_assert_int_eq(ndnpkt_interest_check(crypto, interest), 0);
  if (err < 0) {
    ck_assert_int_eq(err, -ENOENT);
    seen->other++;
    return;
  }
  ck_assert_msg(command.has_parameters && !command.malformed, "%s", vector->exchange);
  seen->commands++;
  seen->old += old;
  if (interest->parameters.base == NULL) {
    ck_assert_int_eq(ndnpkt_verify(crypto, &command.signature, NULL), -ENOKEY);
    seen->requests++;
    return;
  }
  ck_assert_int_eq(ndnpkt_verify(crypto, &command.signature, NULL), wrong ? -EBADMSG : 0);
  ck_assert(command.signature.has_time && command.signature.nonce.len == 8);
  seen->wrong += wrong;
  if (!wrong) encode_again(crypto, &command);
}

static void see_data(ndnpkt_crypto_t* crypto, const ndnpkt_data_t* data, seen_t* seen) {
  ndnpkt_response_t response;
  uint8_t buf[1024];
  ssize_t len;

  ck_assert_int_eq(ndnpkt_verify(crypto, &data->signature, NULL), 0);
  ck_assert_int_eq(ndnpkt_response_decode(data->content, &response), 0);
  ck_assert_uint_ge(response.code, 200);
  ck_assert_uint_gt(response.text.len, 0);
  seen->responses++;
  if (!response.has_parameters) return; /* as the seed's failures are; ours always have some */
  len = ndnpkt_response_encode(buf, sizeof(buf), &response);
  wire_assert_same((ndnpkt_bytes_t){buf, (size_t) len}, data->content);
}

static void see_link(const ndnpkt_link_t* link, const wire_vector_t* vector, seen_t* seen) {
  uint8_t head[NDNPKT_LINK_HEADER_MAX];
  ssize_t len = ndnpkt_link_encode(head, sizeof(head), link);

  if (!link->wrapped) return;
  wire_assert_same((ndnpkt_bytes_t){head, (size_t) len},
                   (ndnpkt_bytes_t){vector->bytes, vector->len - link->fragment.len});
  seen->wrapped++;
  seen->tokens += link->pit_token.len > 0;
}

TEST(captured_exchanges_decode_verify_and_encode_again) {
  static wire_vector_t vector;
  ndnpkt_crypto_t* crypto = new_crypto();
  FILE* file = wire_open_vectors("management.txt");
  seen_t seen = {0};

  while (wire_next_vector(file, &vector)) {
    ndnpkt_packet_t packet;

    ck_assert_msg(ndnpkt_packet_decode(vector.bytes, vector.len, &packet) == 0, "%s", vector.exchange);
    see_link(&packet.link, &vector, &seen);
    if (packet.kind == NDNPKT_DATA)
      see_data(crypto, &packet.data, &seen);
    else
      see_interest(crypto, &vector, &packet.interest, &seen);
    seen.nacks += packet.kind == NDNPKT_NACK && packet.link.nack_reason == NDNPKT_NACK_NO_ROUTE;
  }
  fclose(file);
  ndnpkt_crypto_free(crypto);
  ck_assert_int_eq(seen.commands, 25);
  ck_assert_int_eq(seen.requests, 2); /* without parameters behind the name: one unsigned, and PyNDN's */
  ck_assert_int_eq(seen.old, 1);
  ck_assert_int_eq(seen.wrong, 2);
  ck_assert_int_eq(seen.responses, 26);
  ck_assert_int_eq(seen.nacks, 2);
  ck_assert_int_eq(seen.other, 3); /* the Interest without a route, and the Nacks of two */
  ck_assert_int_eq(seen.wrapped, 15);
  ck_assert_int_eq(seen.tokens, 3);
}

/* NDNts registers with ndnd: what it asks for, and what it gets. */
TEST(an_exchange_says_what_was_meant) {
  ndnpkt_bytes_t bytes = wire_hex(
      "64b062065588ffffffff50a605a4075b08096c6f63616c686f737408036e66640803726962080872656769737465720818681607050803"
      "6e74736f01416a01006c01026d0400124f800220e32db2def76d0db1698869aa3872bb8af8fccb5a823559d36cdaefeaec1b59010a049b"
      "f32f490c020f9f24002c171b010026088360a3afda084b102808000001a2241a853d2e20c9f6c25ea174baa5bdb18541f149cae50dee12"
      "d39037ac8775e939e664e90b93");
  ndnpkt_bytes_t content =
      wire_hex("6522 6601c8 67024f4b 6819 0705 0803 6e7473 690103 6f0141 6a0100 6c0102 6d04 00124f80");
  ndnpkt_packet_t packet;
  ndnpkt_command_t command;
  ndnpkt_response_t response;
  const ndnpkt_parameters_t* got = &command.parameters;

  ck_assert_int_eq(ndnpkt_packet_decode(bytes.base, bytes.len, &packet), 0);
  wire_assert_same(packet.link.pit_token, wire_hex("5588ffffffff"));
  ck_assert_int_eq(ndnpkt_command_decode(&packet.interest, &command), 0);
  ck_assert(ndnpkt_command_is(&command, "rib", "register") && !ndnpkt_command_is(&command, "rib", "registe"));
  ck_assert(!ndnpkt_command_is(&command, "faces", "register") && !ndnpkt_command_is(&command, "rib", "registers"));
  ck_assert_uint_eq(got->has,
                    NDNPKT_HAS_NAME | NDNPKT_HAS_ORIGIN | NDNPKT_HAS_COST | NDNPKT_HAS_FLAGS | NDNPKT_HAS_EXPIRATION);
  ck_assert(ndnpkt_name_equal(got->name, wire_name("/nts")));
  ck_assert(got->origin == 65 && got->cost == 0 && got->flags == NDNPKT_ROUTE_CAPTURE && got->expiration_ms == 1200000);
  ck_assert(ndnpkt_name_equal(command.prefix, wire_name("/localhost/nfd")));
  ck_assert(ndnpkt_name_equal(command.name, packet.interest.name));
  ck_assert_uint_eq(command.lifetime_ms, 0x0f9f);
  ck_assert_int_eq(ndnpkt_response_decode(content, &response), 0);
  ck_assert_uint_eq(response.code, 200);
  wire_assert_same(response.text, wire_text("OK"));
  ck_assert(response.has_parameters && response.parameters.face_id == 3);
}

/* --- Parameters ------------------------------------------------------------------------------- */

static ndnpkt_interest_t decode(const uint8_t* buf, ssize_t len) {
  ndnpkt_interest_t interest;

  ck_assert_int_gt(len, 0);
  ck_assert_int_eq(ndnpkt_interest_decode(buf, (size_t) len, &interest), 0);
  return interest;
}

/* The values of ndn-cxx's own test, and the rest. */
TEST(every_parameter_comes_back) {
  ndnpkt_crypto_t* crypto = new_crypto();
  uint8_t buf[1024];
  ndnpkt_command_t command = {.prefix = wire_name("/localhop/nfd"),
                              .module = wire_text("faces"),
                              .verb = wire_text("update"),
                              .parameters = {.has = (NDNPKT_HAS_SHM_TOKEN << 1) - 1,
                                             .name = wire_name("/name"),
                                             .face_id = 2634,
                                             .uri = wire_text("udp4://192.0.2.1:6363"),
                                             .local_uri = wire_text("udp4://192.0.2.2:6363"),
                                             .origin = 128,
                                             .cost = 1388,
                                             .capacity = 2632,
                                             .count = 3100,
                                             .flags = 0xAFC4,
                                             .mask = 0xF7A1,
                                             .strategy = wire_name("/strategy-name"),
                                             .expiration_ms = 1800000,
                                             .persistency = 1,
                                             .congestion_interval_ns = 100000000,
                                             .congestion_threshold = 65536,
                                             .mtu = 8800,
                                             .shm_token = wire_text("0123456789abcdef0123456789abcdef")}};
  ndnpkt_interest_t interest = decode(buf, ndnpkt_command_encode(crypto, buf, sizeof(buf), &command, NULL));
  ndnpkt_command_t again;
  const ndnpkt_parameters_t *want = &command.parameters, *got = &again.parameters;

  ck_assert_int_eq(ndnpkt_command_decode(&interest, &again), 0);
  ck_assert(ndnpkt_command_is(&again, "faces", "update") && ndnpkt_name_equal(again.prefix, command.prefix));
  ck_assert_uint_eq(got->has, want->has);
  wire_assert_same(got->name, want->name);
  wire_assert_same(got->uri, want->uri);
  wire_assert_same(got->local_uri, want->local_uri);
  wire_assert_same(got->strategy, want->strategy);
  wire_assert_same(got->shm_token, want->shm_token);
  ck_assert(got->face_id == 2634 && got->origin == 128 && got->cost == 1388 && got->capacity == 2632);
  ck_assert(got->count == 3100 && got->flags == 0xAFC4 && got->mask == 0xF7A1 && got->expiration_ms == 1800000);
  ck_assert(got->persistency == 1 && got->congestion_interval_ns == 100000000 && got->congestion_threshold == 65536);
  ck_assert_uint_eq(got->mtu, 8800);
  ndnpkt_crypto_free(crypto);
}

TEST(commands_differ_though_they_ask_the_same) {
  ndnpkt_crypto_t* crypto = new_crypto();
  ndnpkt_command_t command = {.module = wire_text("faces"), .verb = wire_text("create")}, first, second;
  uint8_t bufs[2][512];
  ndnpkt_interest_t a = decode(bufs[0], ndnpkt_command_encode(crypto, bufs[0], sizeof(bufs[0]), &command, NULL));
  ndnpkt_interest_t b = decode(bufs[1], ndnpkt_command_encode(crypto, bufs[1], sizeof(bufs[1]), &command, NULL));

  ck_assert(a.has_nonce && a.lifetime_ms == NDNPKT_LIFETIME_DEFAULT_MS && !ndnpkt_name_equal(a.name, b.name));
  ck_assert_int_eq(ndnpkt_command_decode(&a, &first), 0);
  ck_assert_int_eq(ndnpkt_command_decode(&b, &second), 0);
  ck_assert_uint_lt(first.signature.time_ms, second.signature.time_ms);
  ck_assert(memcmp(first.signature.nonce.base, second.signature.nonce.base, 8) != 0);
  ck_assert_int_eq(ndnpkt_verify(crypto, &second.signature, NULL), 0);
  ck_assert(second.has_parameters && second.parameters.has == 0);
  ck_assert_int_eq(ndnpkt_command_encode(crypto, bufs[0], 20, &command, NULL), -ENOBUFS);
  ndnpkt_crypto_free(crypto);
}

TEST(a_command_that_is_too_long_is_refused) {
  static const uint8_t zeros[9000];
  ndnpkt_crypto_t* crypto = new_crypto();
  ndnpkt_command_t command = {.module = wire_text("faces"),
                              .verb = wire_text("create"),
                              .parameters = {.has = NDNPKT_HAS_URI, .uri = {zeros, sizeof(zeros)}}};
  static uint8_t buf[20000];

  ck_assert_int_eq(ndnpkt_command_encode(crypto, buf, sizeof(buf), &command, NULL), -ENOBUFS);
  ndnpkt_crypto_free(crypto);
}

TEST(signature_times_grow) {
  uint64_t last = ndnpkt_signature_time();

  ck_assert_uint_gt(last, 1700000000000);
  for (int i = 0; i < 1000; i++) {
    uint64_t next = ndnpkt_signature_time();

    ck_assert_uint_gt(next, last);
    last = next;
  }
}

/* --- What is broken --------------------------------------------------------------------------- */

#define RIB_REGISTER "0809 6c6f63616c686f7374 0803 6e6664 0803 726962 0808 7265676973746572"
#define DIGEST "0220 0000000000000000000000000000000000000000000000000000000000000000"

static ndnpkt_command_t command_named(const char* name, const char* parameters) {
  ndnpkt_interest_t interest = {.name = wire_hex(name)};
  ndnpkt_command_t command;

  if (parameters != NULL) interest.parameters = wire_hex(parameters);
  ck_assert_int_eq(ndnpkt_command_decode(&interest, &command), 0);
  return command;
}

TEST(parameters_are_found_in_the_name_or_behind_it) {
  ck_assert(command_named(RIB_REGISTER "0805 6803 690107", NULL).parameters.face_id == 7);
  ck_assert(command_named(RIB_REGISTER DIGEST, "6803 690107").parameters.face_id == 7);
  ck_assert(command_named(RIB_REGISTER "0805 6803 690107" DIGEST, "").parameters.face_id == 7);
  ck_assert(command_named(RIB_REGISTER "0805 6803 690107" DIGEST, "6700").parameters.face_id == 7);
  ck_assert(!command_named(RIB_REGISTER, NULL).has_parameters && !command_named(RIB_REGISTER, NULL).malformed);
  ck_assert(!command_named(RIB_REGISTER "360101", NULL).malformed); /* /localhost/nfd/faces/list/v=1 */
  /* unknown elements, even critical ones, and any order; of two the first counts */
  ck_assert(command_named(RIB_REGISTER "080f 680d f100 6a0105 690107 690108 e400", NULL).parameters.face_id == 7);
}

TEST(malformed_parameters_are_told) {
  static const char* const cases[][2] = {{RIB_REGISTER "0805 6803 690107" DIGEST, "6803 690107"}, /* in both places */
                                         {RIB_REGISTER "0800", NULL},
                                         {RIB_REGISTER "0804 6803 6901", NULL},
                                         {RIB_REGISTER "0804 6802 6900", NULL},        /* a number without bytes */
                                         {RIB_REGISTER "0806 6804 0702 0800", "6802"}, /* cut off, behind */
                                         {RIB_REGISTER "0806 6804 0702 0801", NULL},   /* a name that is none */
                                         {RIB_REGISTER "0804 6802 6b00", NULL},        /* a strategy without a name */
                                         {RIB_REGISTER "0806 6804 6b02 0805", NULL},
                                         {RIB_REGISTER "0806 6804 690107 69", NULL},
                                         {RIB_REGISTER "0805 6703 690107", NULL}};

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    ndnpkt_command_t command = command_named(cases[i][0], cases[i][1]);

    ck_assert_msg(command.malformed && !command.has_parameters, "%s", cases[i][0]);
    ck_assert(ndnpkt_command_is(&command, "rib", "register"));
  }
}

TEST(other_interests_are_no_commands) {
  static const char* const cases[] = {"0801 61",
                                      "0809 6c6f63616c686f7374",
                                      "0809 6c6f63616c686f7374 0803 6e6664",
                                      "0809 6c6f63616c686f7374 0803 6e6664 0803 726962",
                                      "0809 6c6f63616c686f7374 0803 6e6664 0803 726962 360101",
                                      "0809 6c6f63616c686f7374 0803 6e6664 360101 0803 726962"};

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    ndnpkt_interest_t interest = {.name = wire_hex(cases[i])};
    ndnpkt_command_t command = {.lifetime_ms = 77};

    ck_assert_int_eq(ndnpkt_command_decode(&interest, &command), -ENOENT);
    ck_assert_uint_eq(command.lifetime_ms, 77);
  }
}

TEST(broken_responses_are_refused) {
  static const char* const cases[] = {"",
                                      "6500",
                                      "6600",
                                      "6504 67024f4b",
                                      "6502 6600",
                                      "6503 660203",
                                      "6509 660200c8 6803 6900",
                                      "6506 660200c8 68ff",
                                      "650a 660200c8 6804 0702 0801"};
  ndnpkt_response_t response = {.code = 77};

  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
    ck_assert_msg(ndnpkt_response_decode(wire_hex(cases[i]), &response) == -EBADMSG, "%s", cases[i]);
  ck_assert_uint_eq(response.code, 77);
  ck_assert_int_eq(ndnpkt_response_decode(wire_hex("6507 660200c8 f10100"), &response), 0);
  ck_assert(response.code == 200 && response.text.len == 0 && !response.has_parameters);
}

/* A body is always there, even an empty one. */
TEST(responses_always_have_parameters) {
  ndnpkt_response_t response = {.code = 404, .text = wire_text("no")};
  uint8_t buf[64];
  ssize_t len = ndnpkt_response_encode(buf, sizeof(buf), &response);

  wire_assert_same((ndnpkt_bytes_t){buf, (size_t) len}, wire_hex("650a 66020194 67026e6f 6800"));
  for (size_t cap = 0; cap < (size_t) len; cap++)
    ck_assert_int_eq(ndnpkt_response_encode(buf, cap, &response), -ENOBUFS);
}
