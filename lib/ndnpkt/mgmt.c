/* SPDX-License-Identifier: MIT */
/* mgmt.c: commands to a forwarder and its answers (NFD Management, ControlCommand). Reading is as lenient as forwarders
 * are: parameters in any order, what is not known is skipped, critical or not. Writing is as strict as they are with
 * each other: the order of ndn-cxx. Any thread that has its own ndnpkt_crypto_t. */
#include <errno.h>
#include <string.h>

#include "crypto.h"
#include "tlv.h"

/* --- ControlParameters ------------------------------------------------------------------------ */

typedef enum kind_e { KIND_NUMBER, KIND_BYTES, KIND_NAME, KIND_NAME_INSIDE } kind_t;

/* The members, in the order of the bits NDNPKT_HAS_*, which is the order in which ndn-cxx writes them. */
#define MEMBER(name) offsetof(ndnpkt_parameters_t, name)
static const struct {
  uint16_t type;
  kind_t kind;
  size_t offset;
} members[] = {
    {NDNPKT__NAME, KIND_NAME, MEMBER(name)},
    {105, KIND_NUMBER, MEMBER(face_id)},
    {114, KIND_BYTES, MEMBER(uri)},
    {129, KIND_BYTES, MEMBER(local_uri)},
    {111, KIND_NUMBER, MEMBER(origin)},
    {106, KIND_NUMBER, MEMBER(cost)},
    {131, KIND_NUMBER, MEMBER(capacity)},
    {132, KIND_NUMBER, MEMBER(count)},
    {108, KIND_NUMBER, MEMBER(flags)},
    {112, KIND_NUMBER, MEMBER(mask)},
    {107, KIND_NAME_INSIDE, MEMBER(strategy)},
    {109, KIND_NUMBER, MEMBER(expiration_ms)},
    {133, KIND_NUMBER, MEMBER(persistency)},
    {135, KIND_NUMBER, MEMBER(congestion_interval_ns)},
    {136, KIND_NUMBER, MEMBER(congestion_threshold)},
    {137, KIND_NUMBER, MEMBER(mtu)},
    {176, KIND_BYTES, MEMBER(shm_token)},
};
#define MEMBERS (sizeof(members) / sizeof(*members))

/* Where a member is. The table says of which type. */
static void* member_of(ndnpkt_parameters_t* parameters, size_t i) {
  return (unsigned char*) parameters + members[i].offset;
}

static const void* member_in(const ndnpkt_parameters_t* parameters, size_t i) {
  return (const unsigned char*) parameters + members[i].offset;
}

static int member_decode(ndnpkt_parameters_t* parameters, size_t i, ndnpkt_bytes_t value) {
  ndnpkt_bytes_t* bytes = member_of(parameters, i);

  if (members[i].kind == KIND_NUMBER) return ndnpkt_uint_decode(value, member_of(parameters, i));
  if (members[i].kind == KIND_NAME_INSIDE && ndnpkt__open(value.base, value.len, NDNPKT__NAME, &value) < 0)
    return -EBADMSG;
  *bytes = value;
  return members[i].kind == KIND_BYTES ? 0 : ndnpkt_name_check(value);
}

/* Decodes the value of a ControlParameters element. Of an element that comes twice the first counts. */
static int parameters_decode(ndnpkt_bytes_t rest, ndnpkt_parameters_t* ret_parameters) {
  ndnpkt_parameters_t parameters = {.has = 0};
  ndnpkt_tlv_t tlv;
  int got;

  while ((got = ndnpkt_tlv_next(&rest, &tlv)) > 0) {
    size_t i = 0;

    while (i < MEMBERS && members[i].type != tlv.type) i++;
    if (i == MEMBERS || (parameters.has >> i & 1) != 0) continue;
    if (member_decode(&parameters, i, tlv.value) < 0) return -EBADMSG;
    parameters.has |= (uint32_t) 1 << i;
  }
  if (got == 0) *ret_parameters = parameters;
  return got;
}

static void put_members(ndnpkt__writer_t* writer, const void* arg) {
  const ndnpkt_parameters_t* parameters = arg;

  for (size_t i = 0; i < MEMBERS; i++) {
    const void* member = member_in(parameters, i);

    if ((parameters->has >> i & 1) == 0) continue;
    if (members[i].kind == KIND_NUMBER)
      ndnpkt__put_uint(writer, members[i].type, *(const uint64_t*) member);
    else if (members[i].kind == KIND_NAME_INSIDE)
      ndnpkt__put_nested(writer, members[i].type, ndnpkt__put_name, member);
    else
      ndnpkt__put_tlv(writer, members[i].type, *(const ndnpkt_bytes_t*) member);
  }
}

static void put_parameters(ndnpkt__writer_t* writer, const void* arg) {
  ndnpkt__put_nested(writer, NDNPKT__CONTROL_PARAMETERS, put_members, arg);
}

/* --- Commands --------------------------------------------------------------------------------- */

static const uint8_t localhost_nfd[] = {8, 9, 'l', 'o', 'c', 'a', 'l', 'h', 'o', 's', 't', 8, 3, 'n', 'f', 'd'};
static const uint8_t localhop_nfd[] = {8, 8, 'l', 'o', 'c', 'a', 'l', 'h', 'o', 'p', 8, 3, 'n', 'f', 'd'};

static bool take_prefix(ndnpkt_name_t* rest, ndnpkt_name_t prefix, ndnpkt_name_t* ret_prefix) {
  if (!ndnpkt_name_has_prefix(*rest, prefix)) return false;
  *ret_prefix = (ndnpkt_name_t){rest->base, prefix.len};
  *rest = (ndnpkt_name_t){rest->base + prefix.len, rest->len - prefix.len};
  return true;
}

static bool take_word(ndnpkt_name_t* rest, ndnpkt_bytes_t* ret_word) {
  ndnpkt_tlv_t component;

  if (ndnpkt_tlv_next(rest, &component) <= 0 || component.type != NDNPKT_COMPONENT_GENERIC) return false;
  *ret_word = component.value;
  return true;
}

/* Whether these bytes begin as ControlParameters do. */
static bool looks_like_parameters(ndnpkt_bytes_t bytes) {
  return bytes.len > 0 && bytes.base[0] == NDNPKT__CONTROL_PARAMETERS;
}

/* Parameters in the name, or behind it, but not in both. */
static void take_parameters(ndnpkt_command_t* command, ndnpkt_name_t rest, ndnpkt_bytes_t behind) {
  ndnpkt_bytes_t word, value;
  bool in_name = take_word(&rest, &word);
  bool is_behind = looks_like_parameters(behind);

  if (!in_name && !is_behind) return;
  if ((in_name && is_behind) ||
      ndnpkt__open(in_name ? word.base : behind.base, in_name ? word.len : behind.len, NDNPKT__CONTROL_PARAMETERS,
                   &value) < 0 ||
      parameters_decode(value, &command->parameters) < 0)
    command->malformed = true;
  else
    command->has_parameters = true;
}

int ndnpkt_command_decode(const ndnpkt_interest_t* interest, ndnpkt_command_t* ret_command) {
  ndnpkt_command_t command = {
      .name = interest->name, .lifetime_ms = interest->lifetime_ms, .signature = interest->signature};
  ndnpkt_name_t rest = interest->name;

  if (!take_prefix(&rest, (ndnpkt_name_t){localhost_nfd, sizeof(localhost_nfd)}, &command.prefix) &&
      !take_prefix(&rest, (ndnpkt_name_t){localhop_nfd, sizeof(localhop_nfd)}, &command.prefix))
    return -ENOENT;
  if (!take_word(&rest, &command.module) || !take_word(&rest, &command.verb)) return -ENOENT;
  take_parameters(&command, rest, interest->parameters);
  *ret_command = command;
  return 0;
}

static bool is_word(ndnpkt_bytes_t bytes, const char* word) {
  return bytes.len == strlen(word) && memcmp(bytes.base, word, bytes.len) == 0;
}

bool ndnpkt_command_is(const ndnpkt_command_t* command, const char* module, const char* verb) {
  return is_word(command->module, module) && is_word(command->verb, verb);
}

/* Prefix, module, verb and parameters. Returns the size or -ENOBUFS. */
static ssize_t make_name(const ndnpkt_command_t* command, uint8_t* buf, size_t cap) {
  ndnpkt_name_t prefix =
      command->prefix.len > 0 ? command->prefix : (ndnpkt_name_t){localhost_nfd, sizeof(localhost_nfd)};
  ndnpkt__writer_t writer = {buf, cap, 0};

  ndnpkt__put(&writer, prefix.base, prefix.len);
  ndnpkt__put_tlv(&writer, NDNPKT_COMPONENT_GENERIC, command->module);
  ndnpkt__put_tlv(&writer, NDNPKT_COMPONENT_GENERIC, command->verb);
  ndnpkt__put_nested(&writer, NDNPKT_COMPONENT_GENERIC, put_parameters, &command->parameters);
  return writer.len <= cap ? (ssize_t) writer.len : -ENOBUFS;
}

ssize_t ndnpkt_command_encode(ndnpkt_crypto_t* crypto, uint8_t* buf, size_t cap, const ndnpkt_command_t* command,
                              const ndnpkt_signer_t* signer) {
  static const ndnpkt_signer_t digest = NDNPKT_SIGNER_INIT;
  uint8_t name[NDNPKT_PACKET_MAX], nonces[12];
  ssize_t len = make_name(command, name, sizeof(name));
  ndnpkt_interest_t interest = {.lifetime_ms = command->lifetime_ms, .has_nonce = true};
  ndnpkt_signature_t* signature = &interest.signature;

  if (len < 0) return len;
  if (ndnpkt__random(nonces, sizeof(nonces)) < 0) return -EIO;
  interest.name = (ndnpkt_name_t){name, (size_t) len};
  interest.nonce = (uint32_t) ndnpkt__load_be(nonces, 4);
  if (interest.lifetime_ms == 0) interest.lifetime_ms = NDNPKT_LIFETIME_DEFAULT_MS;
  signature->nonce = command->signature.nonce;
  if (signature->nonce.len == 0) signature->nonce = (ndnpkt_bytes_t){nonces + 4, 8};
  signature->has_time = true;
  signature->time_ms = command->signature.has_time ? command->signature.time_ms : ndnpkt_signature_time();
  return ndnpkt_interest_encode(crypto, buf, cap, &interest, signer != NULL ? signer : &digest);
}

/* --- Responses -------------------------------------------------------------------------------- */

int ndnpkt_response_decode(ndnpkt_bytes_t content, ndnpkt_response_t* ret_response) {
  ndnpkt_response_t response = {.code = 0};
  ndnpkt_bytes_t rest;
  ndnpkt_tlv_t tlv;
  bool has_code = false;
  int got;

  if (ndnpkt__open(content.base, content.len, NDNPKT__CONTROL_RESPONSE, &rest) < 0) return -EBADMSG;
  while ((got = ndnpkt_tlv_next(&rest, &tlv)) > 0) {
    int err = 0;

    if (tlv.type == NDNPKT__STATUS_CODE) {
      has_code = true;
      err = ndnpkt_uint_decode(tlv.value, &response.code);
    } else if (tlv.type == NDNPKT__STATUS_TEXT) {
      response.text = tlv.value;
    } else if (tlv.type == NDNPKT__CONTROL_PARAMETERS) {
      response.has_parameters = true;
      err = parameters_decode(tlv.value, &response.parameters);
    }
    if (err < 0) return err;
  }
  if (got < 0 || !has_code) return -EBADMSG;
  *ret_response = response;
  return 0;
}

static void put_response(ndnpkt__writer_t* writer, const void* arg) {
  const ndnpkt_response_t* response = arg;

  ndnpkt__put_uint(writer, NDNPKT__STATUS_CODE, response->code);
  ndnpkt__put_tlv(writer, NDNPKT__STATUS_TEXT, response->text);
  put_parameters(writer, &response->parameters);
}

ssize_t ndnpkt_response_encode(uint8_t* buf, size_t cap, const ndnpkt_response_t* response) {
  ndnpkt__writer_t writer = {buf, cap, 0};

  ndnpkt__put_nested(&writer, NDNPKT__CONTROL_RESPONSE, put_response, response);
  return writer.len <= cap ? (ssize_t) writer.len : -ENOBUFS;
}
