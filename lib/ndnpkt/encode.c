/* SPDX-License-Identifier: MIT */
/* encode.c: Interests and Data are written, and signed where they are written (Packet Format, Interest, Data,
 * Signature). A packet's length stands in front and its signature at the end, so the head is written last, for the size
 * that the signature came out with. Any thread that has its own ndnpkt_crypto_t. */
#include <errno.h>
#include <string.h>

#include "crypto.h"
#include "name.h"
#include "tlv.h"

/* More than any version of ndnpkt_signer_t will have: what is larger was never initialized. */
#define MAX_SIGNER_BYTES 1024
/* The parameters digest in a name: type, length and 32 bytes. */
#define DIGEST_COMPONENT_BYTES (2 + NDNPKT_DIGEST_BYTES)

/* --- Signers ---------------------------------------------------------------------------------- */

/* The caller's struct may be older or newer than this library's. */
static int copy_signer(const ndnpkt_signer_t* signer, ndnpkt_signer_t* taken) {
  const unsigned char* bytes = (const unsigned char*) signer;

  if (signer->size < sizeof(signer->size) || signer->size > MAX_SIGNER_BYTES ||
      signer->size % _Alignof(ndnpkt_signer_t) != 0)
    return -EINVAL;
  for (size_t i = sizeof(*taken); i < signer->size; i++)
    if (bytes[i] != 0) return -EINVAL; /* asks for something that is not known here */
  memcpy(taken, signer, signer->size < sizeof(*taken) ? signer->size : sizeof(*taken));
  return 0;
}

/* What will really sign: a copy of signer with everything filled in. */
static int take_signer(const ndnpkt_signer_t* signer, ndnpkt_signer_t* ret_taken) {
  ndnpkt_signer_t taken = NDNPKT_SIGNER_INIT;

  if (signer != NULL && copy_signer(signer, &taken) < 0) return -EINVAL;
  if (ndnpkt_name_check(taken.key_name) < 0) return -EINVAL;
  if (taken.sign == NULL && taken.key != NULL) {
    if (!ndnpkt_key_can_sign(taken.key)) return -EKEYREJECTED;
    taken.type = (uint64_t) ndnpkt_key_type(taken.key);
    if (taken.key_name.len == 0) taken.key_name = ndnpkt_key_name(taken.key);
  } else if (taken.sign == NULL) {
    if (taken.type != NDNPKT_SIGNATURE_DIGEST_SHA256) return -EINVAL;
    taken.key_name = (ndnpkt_name_t){NULL, 0}; /* a digest has no key */
  }
  *ret_taken = taken;
  return 0;
}

static size_t signature_max(const ndnpkt_signer_t* signer) {
  if (signer->sign != NULL) return NDNPKT_SIGNATURE_MAX;
  if (signer->type == NDNPKT_SIGNATURE_SHA256_ECDSA) return 72; /* two numbers of up to 33 bytes, in DER */
  return signer->type == NDNPKT_SIGNATURE_ED25519 ? 64 : NDNPKT_DIGEST_BYTES;
}

static int make_signature(ndnpkt_crypto_t* crypto, const ndnpkt_signer_t* signer, const ndnpkt_bytes_t pieces[2],
                          uint8_t out[NDNPKT_SIGNATURE_MAX], size_t* ret_len) {
  size_t len = NDNPKT_SIGNATURE_MAX;
  int err;

  if (signer->sign != NULL) {
    err = signer->sign(signer->ctx, pieces, pieces[1].len > 0 ? 2 : 1, out, &len);
    if (err == 0 && len > NDNPKT_SIGNATURE_MAX) return -EINVAL;
  } else if (signer->key != NULL) {
    err = ndnpkt__key_sign(crypto, signer->key, pieces, out, &len);
  } else {
    len = NDNPKT_DIGEST_BYTES;
    err = ndnpkt_sha256(crypto, pieces, pieces[1].len > 0 ? 2 : 1, out);
  }
  *ret_len = len;
  return err;
}

/* SignatureInfo: of an Interest with what makes each one different. */
typedef struct signature_info_s {
  const ndnpkt_signer_t* signer;
  const ndnpkt_signature_t* interest; /* NULL: of Data */
} signature_info_t;

static void put_signature_info(ndnpkt__writer_t* writer, const void* arg) {
  const signature_info_t* info = arg;
  const ndnpkt_signature_t* interest = info->interest;

  ndnpkt__put_uint(writer, NDNPKT__SIGNATURE_TYPE, info->signer->type);
  if (info->signer->key_name.len > 0)
    ndnpkt__put_nested(writer, NDNPKT__KEY_LOCATOR, ndnpkt__put_name, &info->signer->key_name);
  if (interest == NULL) return;
  if (interest->nonce.len > 0) ndnpkt__put_tlv(writer, NDNPKT__SIGNATURE_NONCE, interest->nonce);
  if (interest->has_time) ndnpkt__put_uint(writer, NDNPKT__SIGNATURE_TIME, interest->time_ms);
  if (interest->has_seq_num) ndnpkt__put_uint(writer, NDNPKT__SIGNATURE_SEQ_NUM, interest->seq_num);
}

/* Writes the outermost head in front of the body that was written at buf + room, for a head that is not longer than
 * room. Returns the size of the packet. */
static size_t close_packet(uint8_t* buf, uint32_t type, size_t room, size_t body) {
  size_t head = ndnpkt__head_size(type, body);
  ndnpkt__writer_t writer = {buf, head, 0};

  if (head != room) memmove(buf + head, buf + room, body);
  ndnpkt__put_head(&writer, type, body);
  return head + body;
}

/* --- Interest --------------------------------------------------------------------------------- */

/* Up to what the digest covers; the digest in the name is filled in later. */
static void put_front(ndnpkt__writer_t* writer, const ndnpkt_interest_t* interest, bool has_digest) {
  static const uint8_t digest[DIGEST_COMPONENT_BYTES] = {NDNPKT_COMPONENT_PARAMETERS_DIGEST, NDNPKT_DIGEST_BYTES};
  size_t digest_bytes = has_digest ? sizeof(digest) : 0;

  ndnpkt__put_head(writer, NDNPKT__NAME, interest->name.len + digest_bytes);
  ndnpkt__put(writer, interest->name.base, interest->name.len);
  ndnpkt__put(writer, digest, digest_bytes);
  if (interest->can_be_prefix) ndnpkt__put_head(writer, NDNPKT__CAN_BE_PREFIX, 0);
  if (interest->must_be_fresh) ndnpkt__put_head(writer, NDNPKT__MUST_BE_FRESH, 0);
  if (interest->forwarding_hint.base != NULL)
    ndnpkt__put_tlv(writer, NDNPKT__FORWARDING_HINT, interest->forwarding_hint);
  if (interest->has_nonce) {
    uint8_t nonce[4];

    ndnpkt__store_be(nonce, sizeof(nonce), interest->nonce);
    ndnpkt__put_tlv(writer, NDNPKT__NONCE, (ndnpkt_bytes_t){nonce, sizeof(nonce)});
  }
  if (interest->lifetime_ms != NDNPKT_LIFETIME_DEFAULT_MS)
    ndnpkt__put_uint(writer, NDNPKT__LIFETIME, interest->lifetime_ms);
  if (interest->hop_limit != NULL) ndnpkt__put_tlv(writer, NDNPKT__HOP_LIMIT, (ndnpkt_bytes_t){interest->hop_limit, 1});
}

/* ApplicationParameters and, with a signer, how they are signed. */
static void put_tail(ndnpkt__writer_t* writer, const ndnpkt_interest_t* interest, const ndnpkt_signer_t* signer) {
  signature_info_t info = {signer, &interest->signature};

  ndnpkt__put_tlv(writer, NDNPKT__APPLICATION_PARAMETERS, interest->parameters);
  if (signer != NULL) ndnpkt__put_nested(writer, NDNPKT__INTEREST_SIGNATURE_INFO, put_signature_info, &info);
}

static bool can_be_asked_for(const ndnpkt_interest_t* interest) {
  ndnpkt__digest_t digest;

  return interest->name.len > 0 && ndnpkt__name_scan(interest->name, &digest) == 0 && digest.count == 0 &&
         ndnpkt__hint_check(interest->forwarding_hint) == 0;
}

/* Signs what stands in the writer from tail_at on, and puts the value behind it. */
static int sign_interest(ndnpkt_crypto_t* crypto, ndnpkt__writer_t* writer, ndnpkt_bytes_t name, size_t tail_at,
                         const ndnpkt_signer_t* signer) {
  ndnpkt_bytes_t pieces[2] = {name, {writer->buf + tail_at, writer->len - tail_at}};
  uint8_t value[NDNPKT_SIGNATURE_MAX];
  size_t len;
  int err = make_signature(crypto, signer, pieces, value, &len);

  if (err < 0) return err;
  ndnpkt__put_tlv(writer, NDNPKT__INTEREST_SIGNATURE_VALUE, (ndnpkt_bytes_t){value, len});
  return writer->len <= writer->cap ? 0 : -ENOBUFS;
}

/* An Interest that has a digest. front, tail: how long its parts are. */
static ssize_t encode_digested(ndnpkt_crypto_t* crypto, uint8_t* buf, size_t cap, const ndnpkt_interest_t* interest,
                               const ndnpkt_signer_t* signer, size_t front, size_t tail) {
  size_t max = signer == NULL ? 0 : signature_max(signer);
  size_t value = signer == NULL ? 0 : ndnpkt__head_size(NDNPKT__INTEREST_SIGNATURE_VALUE, max) + max;
  size_t room = ndnpkt__head_size(NDNPKT_TYPE_INTEREST, front + tail + value);
  size_t name_at = ndnpkt__head_size(NDNPKT__NAME, interest->name.len + DIGEST_COMPONENT_BYTES);
  ndnpkt__writer_t writer;
  size_t size;
  const uint8_t* body;
  int err = 0;

  if (room + front + tail > cap) return -ENOBUFS;
  writer = (ndnpkt__writer_t){buf + room, cap - room, 0};
  put_front(&writer, interest, true);
  put_tail(&writer, interest, signer);
  if (signer != NULL)
    err = sign_interest(crypto, &writer, (ndnpkt_bytes_t){buf + room + name_at, interest->name.len}, front, signer);
  if (err < 0) return err;
  size = close_packet(buf, NDNPKT_TYPE_INTEREST, room, writer.len);
  body = buf + size - writer.len;
  err = ndnpkt_sha256(crypto, &(ndnpkt_bytes_t){body + front, writer.len - front}, 1,
                      buf + (size - writer.len) + name_at + interest->name.len + 2);
  return err < 0 ? err : (ssize_t) size;
}

ssize_t ndnpkt_interest_encode(ndnpkt_crypto_t* crypto, uint8_t* buf, size_t cap, const ndnpkt_interest_t* interest,
                               const ndnpkt_signer_t* signer) {
  bool has_digest = signer != NULL || interest->parameters.base != NULL;
  ndnpkt__writer_t front = {NULL, 0, 0}, tail = {NULL, 0, 0}, writer = {buf, cap, 0};
  ndnpkt_signer_t taken;
  int err;

  if (!can_be_asked_for(interest) || (has_digest && crypto == NULL)) return -EINVAL;
  if (signer != NULL && (err = take_signer(signer, &taken)) < 0) return err;
  put_front(&front, interest, has_digest);
  if (has_digest) {
    put_tail(&tail, interest, signer != NULL ? &taken : NULL);
    return encode_digested(crypto, buf, cap, interest, signer != NULL ? &taken : NULL, front.len, tail.len);
  }
  if (ndnpkt__head_size(NDNPKT_TYPE_INTEREST, front.len) + front.len > cap) return -ENOBUFS;
  ndnpkt__put_head(&writer, NDNPKT_TYPE_INTEREST, front.len);
  put_front(&writer, interest, false);
  return (ssize_t) writer.len;
}

/* --- Data ------------------------------------------------------------------------------------- */

static void put_meta(ndnpkt__writer_t* writer, const void* arg) {
  const ndnpkt_data_t* data = arg;

  if (data->content_type != 0) ndnpkt__put_uint(writer, NDNPKT__CONTENT_TYPE, data->content_type);
  if (data->freshness_ms != 0) ndnpkt__put_uint(writer, NDNPKT__FRESHNESS, data->freshness_ms);
  if (data->final_block.len != 0) ndnpkt__put_tlv(writer, NDNPKT__FINAL_BLOCK, data->final_block);
}

static void put_signed_part(ndnpkt__writer_t* writer, const ndnpkt_data_t* data, const ndnpkt_signer_t* signer) {
  signature_info_t info = {signer, NULL};

  ndnpkt__put_tlv(writer, NDNPKT__NAME, data->name);
  if (data->content_type != 0 || data->freshness_ms != 0 || data->final_block.len != 0)
    ndnpkt__put_nested(writer, NDNPKT__META_INFO, put_meta, data);
  ndnpkt__put_tlv(writer, NDNPKT__CONTENT, data->content);
  ndnpkt__put_nested(writer, NDNPKT__SIGNATURE_INFO, put_signature_info, &info);
}

static bool can_be_data(const ndnpkt_data_t* data) {
  return ndnpkt_name_check(data->name) == 0 &&
         (data->final_block.len == 0 || ndnpkt__component_check(data->final_block) == 0);
}

size_t ndnpkt_data_overhead(const ndnpkt_data_t* data, const ndnpkt_signer_t* signer) {
  ndnpkt_data_t empty = *data;
  ndnpkt__writer_t writer = {NULL, 0, 0};
  ndnpkt_signer_t taken;
  size_t max;

  if (take_signer(signer, &taken) < 0) return 0;
  empty.content.len = 0;
  put_signed_part(&writer, &empty, &taken);
  max = signature_max(&taken);
  /* a length of content takes up to four bytes more than that of none, the head of Data up to six in all */
  return writer.len + 4 + 6 + ndnpkt__head_size(NDNPKT__SIGNATURE_VALUE, max) + max;
}

ssize_t ndnpkt_data_encode(ndnpkt_crypto_t* crypto, uint8_t* buf, size_t cap, const ndnpkt_data_t* data,
                           const ndnpkt_signer_t* signer) {
  ndnpkt__writer_t part = {NULL, 0, 0}, writer;
  ndnpkt_bytes_t pieces[2] = {{NULL, 0}, {NULL, 0}};
  uint8_t value[NDNPKT_SIGNATURE_MAX];
  ndnpkt_signer_t taken;
  size_t max, room, len;
  int err = crypto == NULL || !can_be_data(data) ? -EINVAL : take_signer(signer, &taken);

  if (err < 0) return err;
  put_signed_part(&part, data, &taken);
  max = signature_max(&taken);
  room = ndnpkt__head_size(NDNPKT_TYPE_DATA, part.len + ndnpkt__head_size(NDNPKT__SIGNATURE_VALUE, max) + max);
  if (room + part.len > cap) return -ENOBUFS;
  writer = (ndnpkt__writer_t){buf + room, cap - room, 0};
  put_signed_part(&writer, data, &taken);
  pieces[0] = (ndnpkt_bytes_t){buf + room, part.len};
  if ((err = make_signature(crypto, &taken, pieces, value, &len)) < 0) return err;
  ndnpkt__put_tlv(&writer, NDNPKT__SIGNATURE_VALUE, (ndnpkt_bytes_t){value, len});
  return writer.len <= writer.cap ? (ssize_t) close_packet(buf, NDNPKT_TYPE_DATA, room, writer.len) : -ENOBUFS;
}
