/* SPDX-License-Identifier: MIT */
/* name.c: names as bytes: checked, compared, taken apart. Any thread. */
#include "name.h"

#include <errno.h>
#include <string.h>

#include "tlv.h"

static bool component_is_good(const ndnpkt_tlv_t* component) {
  bool digest =
      component->type == NDNPKT_COMPONENT_IMPLICIT_DIGEST || component->type == NDNPKT_COMPONENT_PARAMETERS_DIGEST;

  return component->type <= UINT16_MAX && (!digest || component->value.len == NDNPKT_DIGEST_BYTES);
}

int ndnpkt__name_scan(ndnpkt_name_t name, ndnpkt__digest_t* ret_digest) {
  ndnpkt__digest_t digest = {0};
  ndnpkt_tlv_t component;
  int got;

  while ((got = ndnpkt_tlv_next(&name, &component)) > 0) {
    if (!component_is_good(&component)) return -EBADMSG;
    digest.is_last = component.type == NDNPKT_COMPONENT_PARAMETERS_DIGEST;
    if (!digest.is_last) continue;
    digest.count++;
    digest.component = component.whole;
  }
  if (got == 0) *ret_digest = digest;
  return got;
}

int ndnpkt_name_check(ndnpkt_name_t name) {
  ndnpkt__digest_t digest;

  return ndnpkt__name_scan(name, &digest);
}

int ndnpkt__component_check(ndnpkt_name_t name) {
  ndnpkt_bytes_t rest = name;
  ndnpkt_tlv_t component;

  return ndnpkt_tlv_next(&rest, &component) > 0 && rest.len == 0 ? ndnpkt_name_check(name) : -EBADMSG;
}

int ndnpkt__hint_check(ndnpkt_bytes_t value) {
  ndnpkt_tlv_t tlv;
  int got;

  while ((got = ndnpkt_tlv_next(&value, &tlv)) > 0) {
    bool critical = tlv.type <= 31 || (tlv.type & 1) != 0;

    if (tlv.type == NDNPKT__NAME ? ndnpkt_name_check(tlv.value) < 0 : critical && tlv.type != NDNPKT__DELEGATION)
      return -EBADMSG;
  }
  return got;
}

/* Types and lengths are in their shortest form, whose bytes sort as the numbers do. So the canonical order (type, then
 * length, then value, component by component) is that of the encoded bytes. */
int ndnpkt_name_compare(ndnpkt_name_t a, ndnpkt_name_t b) {
  size_t common = a.len < b.len ? a.len : b.len;
  int order = common == 0 ? 0 : memcmp(a.base, b.base, common);

  return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

bool ndnpkt_name_equal(ndnpkt_name_t a, ndnpkt_name_t b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.base, b.base, a.len) == 0);
}

/* Equal bytes have equal component boundaries, so no component can be cut in half here. */
bool ndnpkt_name_has_prefix(ndnpkt_name_t name, ndnpkt_name_t prefix) {
  return name.len >= prefix.len && ndnpkt_name_equal((ndnpkt_name_t){name.base, prefix.len}, prefix);
}

int ndnpkt_component_number(ndnpkt_name_t component, uint32_t type, uint64_t* ret_number) {
  ndnpkt_tlv_t tlv;

  if (ndnpkt_tlv_next(&component, &tlv) <= 0 || component.len != 0 || tlv.type != type ||
      ndnpkt_uint_decode(tlv.value, ret_number) < 0)
    return -EINVAL;
  return 0;
}
