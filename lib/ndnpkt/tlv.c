/* SPDX-License-Identifier: MIT */
/* tlv.c: numbers, elements and the writer of tlv.h. No byte outside the given buffer is read or written, whatever it
 * holds. Any thread. */
#include "tlv.h"

#include <errno.h>
#include <string.h>

/* --- Numbers ---------------------------------------------------------------------------------- */

/* Reads a type or length. Returns its size; 0 if it is cut off or not in the shortest form. */
static size_t varnum_decode(const uint8_t* buf, size_t len, uint64_t* ret_value) {
  size_t extra;
  uint64_t value;

  if (len == 0) return 0;
  extra = buf[0] < 253 ? 0 : (size_t) 2 << (buf[0] - 253);
  if (len < 1 + extra) return 0;
  value = extra == 0 ? buf[0] : ndnpkt__load_be(buf + 1, extra);
  if (ndnpkt__varnum_size(value) != 1 + extra) return 0;
  *ret_value = value;
  return 1 + extra;
}

static size_t varnum_encode(uint8_t* buf, uint64_t value) {
  size_t size = ndnpkt__varnum_size(value);

  buf[0] = (uint8_t) (size == 1 ? value : size == 3 ? 253 : size == 5 ? 254 : 255);
  if (size > 1) ndnpkt__store_be(buf + 1, size - 1, value);
  return size;
}

int ndnpkt_uint_decode(ndnpkt_bytes_t value, uint64_t* ret_value) {
  if (value.len != 1 && value.len != 2 && value.len != 4 && value.len != 8) return -EBADMSG;
  *ret_value = ndnpkt__load_be(value.base, value.len);
  return 0;
}

/* --- Elements --------------------------------------------------------------------------------- */

int ndnpkt_tlv_next(ndnpkt_bytes_t* rest, ndnpkt_tlv_t* ret_tlv) {
  uint64_t type, len;
  size_t head, more, size;

  if (rest->len == 0) return 0;
  head = varnum_decode(rest->base, rest->len, &type);
  if (head == 0 || type == 0 || type > UINT32_MAX) return -EBADMSG;
  more = varnum_decode(rest->base + head, rest->len - head, &len);
  head += more;
  if (more == 0 || len > rest->len - head) return -EBADMSG;
  size = head + (size_t) len;
  *ret_tlv = (ndnpkt_tlv_t){(uint32_t) type, {rest->base + head, (size_t) len}, {rest->base, size}};
  *rest = (ndnpkt_bytes_t){rest->base + size, rest->len - size};
  return 1;
}

int ndnpkt__field_next(ndnpkt__fields_t* fields, ndnpkt_tlv_t* ret_tlv) {
  int got;

  while ((got = ndnpkt_tlv_next(&fields->rest, ret_tlv)) > 0) {
    const uint16_t* known = fields->order;

    while (*known != 0 && *known != ret_tlv->type) known++;
    if (*known != 0) {
      fields->order = known + 1;
      return 1;
    }
    if (ret_tlv->type <= 31 || (ret_tlv->type & 1) != 0) return -EBADMSG;
  }
  return got;
}

int ndnpkt__open(const uint8_t* buf, size_t len, uint32_t type, ndnpkt_bytes_t* ret_value) {
  ndnpkt_bytes_t rest = {buf, len};
  ndnpkt_tlv_t packet;

  if (ndnpkt_tlv_next(&rest, &packet) <= 0 || packet.type != type || rest.len != 0) return -EBADMSG;
  *ret_value = packet.value;
  return 0;
}

/* --- Writing ---------------------------------------------------------------------------------- */

void ndnpkt__put(ndnpkt__writer_t* writer, const void* bytes, size_t len) {
  if (writer->buf != NULL && len > 0 && writer->len <= writer->cap && len <= writer->cap - writer->len)
    memcpy(writer->buf + writer->len, bytes, len);
  writer->len += len;
}

void ndnpkt__put_head(ndnpkt__writer_t* writer, uint32_t type, size_t len) {
  uint8_t head[18];
  size_t size = varnum_encode(head, type);

  size += varnum_encode(head + size, len);
  ndnpkt__put(writer, head, size);
}

void ndnpkt__put_tlv(ndnpkt__writer_t* writer, uint32_t type, ndnpkt_bytes_t value) {
  ndnpkt__put_head(writer, type, value.len);
  ndnpkt__put(writer, value.base, value.len);
}

void ndnpkt__put_uint(ndnpkt__writer_t* writer, uint32_t type, uint64_t value) {
  uint8_t bytes[8];
  size_t size = ndnpkt__uint_size(value);

  ndnpkt__store_be(bytes, size, value);
  ndnpkt__put_tlv(writer, type, (ndnpkt_bytes_t){bytes, size});
}

void ndnpkt__put_nested(ndnpkt__writer_t* writer, uint32_t type, ndnpkt__put_fn put, const void* arg) {
  ndnpkt__writer_t inner = {NULL, 0, 0};

  put(&inner, arg);
  ndnpkt__put_head(writer, type, inner.len);
  put(writer, arg);
}

void ndnpkt__put_name(ndnpkt__writer_t* writer, const void* arg) {
  ndnpkt__put_tlv(writer, NDNPKT__NAME, *(const ndnpkt_name_t*) arg);
}

ssize_t ndnpkt_append(uint8_t* buf, ssize_t len, size_t cap, uint32_t type, ndnpkt_bytes_t value) {
  ndnpkt__writer_t writer = {buf, cap, (size_t) len};

  if (len < 0) return len;
  if (type == 0) return -EINVAL;
  if ((size_t) len > cap || value.len > cap || ndnpkt__head_size(type, value.len) + value.len > cap - (size_t) len)
    return -ENOBUFS;
  ndnpkt__put_tlv(&writer, type, value);
  return (ssize_t) writer.len;
}

ssize_t ndnpkt_append_uint(uint8_t* buf, ssize_t len, size_t cap, uint32_t type, uint64_t number) {
  uint8_t bytes[8];
  size_t size = ndnpkt__uint_size(number);

  ndnpkt__store_be(bytes, size, number);
  return ndnpkt_append(buf, len, cap, type, (ndnpkt_bytes_t){bytes, size});
}
