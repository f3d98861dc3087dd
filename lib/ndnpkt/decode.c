/* SPDX-License-Identifier: MIT */
/* decode.c: Interests and Data become views of their parts (Packet Format, Interest, Data, Signature). Guarantees that
 * no byte outside the packet is read, and that a broken packet changes nothing. Any thread. */
#include <errno.h>

#include "name.h"
#include "tlv.h"

/* --- Parts that both have --------------------------------------------------------------------- */

/* The name comes first in every packet; nothing, known or not, may stand before it. */
static int take_name(ndnpkt_bytes_t* rest, ndnpkt_name_t* ret_name, ndnpkt__digest_t* ret_digest) {
  ndnpkt_tlv_t tlv;

  if (ndnpkt_tlv_next(rest, &tlv) <= 0 || tlv.type != NDNPKT__NAME || ndnpkt__name_scan(tlv.value, ret_digest) < 0)
    return -EBADMSG;
  *ret_name = tlv.value;
  return 0;
}

/* A name or a digest, or neither: who verifies looks for a key in his own way then. */
static int key_locator_decode(ndnpkt_signature_t* signature, ndnpkt_bytes_t value) {
  static const uint16_t order[] = {NDNPKT__NAME, NDNPKT__KEY_DIGEST, 0};
  ndnpkt__fields_t fields = {value, order};
  ndnpkt_tlv_t tlv;
  int got;

  while ((got = ndnpkt__field_next(&fields, &tlv)) > 0) {
    fields.order = &order[2]; /* not both */
    if (tlv.type == NDNPKT__KEY_DIGEST)
      signature->key_digest = tlv.value;
    else if (ndnpkt_name_check(tlv.value) < 0)
      return -EBADMSG;
    else
      signature->key_name = tlv.value;
  }
  return got;
}

static int signature_field(ndnpkt_signature_t* signature, const ndnpkt_tlv_t* tlv) {
  switch (tlv->type) {
    case NDNPKT__KEY_LOCATOR: return key_locator_decode(signature, tlv->value);
    case NDNPKT__SIGNATURE_NONCE: signature->nonce = tlv->value; return tlv->value.len > 0 ? 0 : -EBADMSG;
    case NDNPKT__SIGNATURE_TIME: signature->has_time = true; return ndnpkt_uint_decode(tlv->value, &signature->time_ms);
    case NDNPKT__SIGNATURE_SEQ_NUM:
      signature->has_seq_num = true;
      return ndnpkt_uint_decode(tlv->value, &signature->seq_num);
    default: return 0; /* a certificate's ValidityPeriod */
  }
}

static int signature_info_decode(ndnpkt_signature_t* signature, ndnpkt_bytes_t value) {
  static const uint16_t order[] = {NDNPKT__SIGNATURE_TYPE,
                                   NDNPKT__KEY_LOCATOR,
                                   NDNPKT__SIGNATURE_NONCE,
                                   NDNPKT__SIGNATURE_TIME,
                                   NDNPKT__SIGNATURE_SEQ_NUM,
                                   NDNPKT__VALIDITY_PERIOD,
                                   0};
  ndnpkt__fields_t fields = {value, order};
  ndnpkt_tlv_t tlv;
  int got;

  if (ndnpkt__field_next(&fields, &tlv) <= 0 || tlv.type != NDNPKT__SIGNATURE_TYPE ||
      ndnpkt_uint_decode(tlv.value, &signature->type) < 0)
    return -EBADMSG;
  while ((got = ndnpkt__field_next(&fields, &tlv)) > 0)
    if (signature_field(signature, &tlv) < 0) return -EBADMSG;
  return got;
}

/* --- Interest --------------------------------------------------------------------------------- */

static int flag_decode(bool* flag, ndnpkt_bytes_t value) {
  *flag = true;
  return value.len == 0 ? 0 : -EBADMSG;
}

/* The four that belong together: whatever stands behind ApplicationParameters is covered by the digest. */
static int parameters_field(ndnpkt_interest_t* interest, const ndnpkt_tlv_t* tlv) {
  ndnpkt_signature_t* signature = &interest->signature;

  if (tlv->type == NDNPKT__APPLICATION_PARAMETERS) {
    interest->parameters = tlv->value;
    interest->digested.base = tlv->whole.base;
    return 0;
  }
  if (tlv->type == NDNPKT__INTEREST_SIGNATURE_INFO) {
    signature->pieces[1].base = interest->digested.base; /* NULL without parameters: then it is no signature */
    return signature_info_decode(signature, tlv->value);
  }
  if (signature->pieces[1].base == NULL) return 0;
  signature->pieces[1].len = (size_t) (tlv->whole.base - signature->pieces[1].base);
  signature->value = tlv->value;
  return 0;
}

static int interest_field(ndnpkt_interest_t* interest, const ndnpkt_tlv_t* tlv) {
  switch (tlv->type) {
    case NDNPKT__CAN_BE_PREFIX: return flag_decode(&interest->can_be_prefix, tlv->value);
    case NDNPKT__MUST_BE_FRESH: return flag_decode(&interest->must_be_fresh, tlv->value);
    case NDNPKT__FORWARDING_HINT: interest->forwarding_hint = tlv->value; return ndnpkt__hint_check(tlv->value);
    case NDNPKT__NONCE:
      if (tlv->value.len != 4) return -EBADMSG;
      interest->has_nonce = true;
      interest->nonce = (uint32_t) ndnpkt__load_be(tlv->value.base, 4);
      return 0;
    case NDNPKT__LIFETIME: return ndnpkt_uint_decode(tlv->value, &interest->lifetime_ms);
    case NDNPKT__HOP_LIMIT: interest->hop_limit = tlv->value.base; return tlv->value.len == 1 ? 0 : -EBADMSG;
    default: return parameters_field(interest, tlv);
  }
}

/* Parameters and the digest of them come together. */
static int interest_finish(ndnpkt_interest_t* interest, const ndnpkt__digest_t* digest, const uint8_t* end) {
  ndnpkt_signature_t* signature = &interest->signature;

  if (digest->count != (interest->parameters.base != NULL ? 1 : 0)) return -EBADMSG;
  if (interest->parameters.base != NULL) interest->digested.len = (size_t) (end - interest->digested.base);
  if (signature->value.base != NULL && digest->is_last)
    signature->pieces[0] =
        (ndnpkt_bytes_t){interest->name.base, (size_t) (digest->component.base - interest->name.base)};
  else
    *signature = (ndnpkt_signature_t){0}; /* nor is there anything of one */
  return 0;
}

int ndnpkt_interest_decode(const uint8_t* buf, size_t len, ndnpkt_interest_t* ret_interest) {
  static const uint16_t order[] = {NDNPKT__CAN_BE_PREFIX,
                                   NDNPKT__MUST_BE_FRESH,
                                   NDNPKT__FORWARDING_HINT,
                                   NDNPKT__NONCE,
                                   NDNPKT__LIFETIME,
                                   NDNPKT__HOP_LIMIT,
                                   NDNPKT__APPLICATION_PARAMETERS,
                                   NDNPKT__INTEREST_SIGNATURE_INFO,
                                   NDNPKT__INTEREST_SIGNATURE_VALUE,
                                   0};
  ndnpkt_interest_t interest = {.lifetime_ms = NDNPKT_LIFETIME_DEFAULT_MS};
  ndnpkt__fields_t fields = {.order = order};
  ndnpkt__digest_t digest;
  ndnpkt_tlv_t tlv;
  int got;

  if (ndnpkt__open(buf, len, NDNPKT_TYPE_INTEREST, &fields.rest) < 0 ||
      take_name(&fields.rest, &interest.name, &digest) < 0 || interest.name.len == 0)
    return -EBADMSG;
  while ((got = ndnpkt__field_next(&fields, &tlv)) > 0)
    if (interest_field(&interest, &tlv) < 0) return -EBADMSG;
  if (got < 0 || interest_finish(&interest, &digest, buf + len) < 0) return -EBADMSG;
  *ret_interest = interest;
  return 0;
}

/* --- Data ------------------------------------------------------------------------------------- */

static int final_block_decode(ndnpkt_data_t* data, ndnpkt_bytes_t value) {
  data->final_block = value;
  return ndnpkt__component_check(value);
}

static int meta_decode(ndnpkt_data_t* data, ndnpkt_bytes_t value) {
  static const uint16_t order[] = {NDNPKT__CONTENT_TYPE, NDNPKT__FRESHNESS, NDNPKT__FINAL_BLOCK, 0};
  ndnpkt__fields_t fields = {value, order};
  ndnpkt_tlv_t tlv;
  int got;

  while ((got = ndnpkt__field_next(&fields, &tlv)) > 0) {
    int err = tlv.type == NDNPKT__CONTENT_TYPE ? ndnpkt_uint_decode(tlv.value, &data->content_type)
              : tlv.type == NDNPKT__FRESHNESS  ? ndnpkt_uint_decode(tlv.value, &data->freshness_ms)
                                               : final_block_decode(data, tlv.value);

    if (err < 0) return err;
  }
  return got;
}

static int data_field(ndnpkt_data_t* data, const ndnpkt_tlv_t* tlv) {
  ndnpkt_bytes_t* signed_part = &data->signature.pieces[0];

  switch (tlv->type) {
    case NDNPKT__META_INFO: return meta_decode(data, tlv->value);
    case NDNPKT__CONTENT: data->content = tlv->value; return 0;
    case NDNPKT__SIGNATURE_INFO:
      signed_part->len = (size_t) (tlv->whole.base + tlv->whole.len - signed_part->base);
      return signature_info_decode(&data->signature, tlv->value);
    default: data->signature.value = tlv->value; return signed_part->len > 0 ? 0 : -EBADMSG;
  }
}

int ndnpkt_data_decode(const uint8_t* buf, size_t len, ndnpkt_data_t* ret_data) {
  static const uint16_t order[] = {NDNPKT__META_INFO, NDNPKT__CONTENT, NDNPKT__SIGNATURE_INFO, NDNPKT__SIGNATURE_VALUE,
                                   0};
  ndnpkt_data_t data = {.content_type = 0};
  ndnpkt__fields_t fields = {.order = order};
  ndnpkt__digest_t digest;
  ndnpkt_tlv_t tlv;
  int got;

  if (ndnpkt__open(buf, len, NDNPKT_TYPE_DATA, &fields.rest) < 0) return -EBADMSG;
  data.signature.pieces[0].base = fields.rest.base;
  if (take_name(&fields.rest, &data.name, &digest) < 0) return -EBADMSG;
  while ((got = ndnpkt__field_next(&fields, &tlv)) > 0)
    if (data_field(&data, &tlv) < 0) return -EBADMSG;
  if (got < 0 || data.signature.value.base == NULL) return -EBADMSG;
  *ret_data = data;
  return 0;
}
