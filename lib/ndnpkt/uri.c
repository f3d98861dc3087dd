/* SPDX-License-Identifier: MIT */
/* uri.c: names as text (Packet Format, Name, NDN URI Scheme; Naming Conventions, revision 3). Guarantees that what
 * ndnpkt_name_to_uri() writes reads back as the same name, unless it was cut off. Takes no character that ought to be
 * escaped: a name from a command line then means what it looks like. Any thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tlv.h"

/* How the value of a component is written, if not as text. */
typedef enum form_e { FORM_TEXT, FORM_NUMBER, FORM_HEX } form_t;

static const struct {
  const char* word;
  uint16_t type;
  form_t form;
} conventions[] = {
    {"sha256digest=", NDNPKT_COMPONENT_IMPLICIT_DIGEST, FORM_HEX},
    {"params-sha256=", NDNPKT_COMPONENT_PARAMETERS_DIGEST, FORM_HEX},
    {"seg=", NDNPKT_COMPONENT_SEGMENT, FORM_NUMBER},
    {"off=", NDNPKT_COMPONENT_BYTE_OFFSET, FORM_NUMBER},
    {"v=", NDNPKT_COMPONENT_VERSION, FORM_NUMBER},
    {"t=", NDNPKT_COMPONENT_TIMESTAMP, FORM_NUMBER},
    {"seq=", NDNPKT_COMPONENT_SEQUENCE, FORM_NUMBER},
};
#define CONVENTIONS (sizeof(conventions) / sizeof(*conventions))

/* Text that is looked at and not changed. */
typedef struct span_s {
  const char *at, *end;
} span_t;

static int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

static bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

/* --- Reading ---------------------------------------------------------------------------------- */

/* Takes two hexadecimal digits. Returns the byte or -EINVAL. */
static int take_hex(span_t* text) {
  int high = text->end - text->at >= 2 ? hex_digit(text->at[0]) : -1;
  int low = high < 0 ? -1 : hex_digit(text->at[1]);

  text->at += 2;
  return low < 0 ? -EINVAL : high * 16 + low;
}

/* Takes one byte of a component, which may be percent-encoded. Returns it or -EINVAL. */
static int take_byte(span_t* text) {
  char c = *text->at++;

  return c == '%' ? take_hex(text) : is_unreserved(c) ? c : -EINVAL;
}

/* Reads a decimal number without needless zeros in front. */
static int read_number(span_t text, uint64_t* ret_number) {
  uint64_t number = 0;

  if (text.at == text.end || (*text.at == '0' && text.end - text.at > 1)) return -EINVAL;
  for (; text.at < text.end; text.at++) {
    uint64_t digit = (uint64_t) (*text.at - '0');

    if (*text.at < '0' || *text.at > '9' || number > (UINT64_MAX - digit) / 10) return -EINVAL;
    number = number * 10 + digit;
  }
  *ret_number = number;
  return 0;
}

static ssize_t append_digest(uint8_t* buf, ssize_t len, size_t cap, uint32_t type, span_t text) {
  uint8_t digest[NDNPKT_DIGEST_BYTES];

  if ((size_t) (text.end - text.at) != 2 * sizeof(digest)) return -EINVAL;
  for (size_t i = 0; i < sizeof(digest); i++) {
    int byte = take_hex(&text);

    if (byte < 0) return byte;
    digest[i] = (uint8_t) byte;
  }
  return ndnpkt_append(buf, len, cap, type, (ndnpkt_bytes_t){digest, sizeof(digest)});
}

/* A component of dots alone carries three more than it means, so that "." and ".." keep their meaning in other URIs. */
static ssize_t append_text(uint8_t* buf, ssize_t len, size_t cap, uint32_t type, span_t text) {
  size_t size = 0, dots = 0;
  ndnpkt__writer_t writer = {buf, cap, (size_t) len};

  for (span_t rest = text; rest.at < rest.end; size++) {
    int byte = take_byte(&rest);

    if (byte < 0) return byte;
    dots += byte == '.';
  }
  if (dots == size && dots < 3) return -EINVAL;
  if (dots == size) size -= 3;
  if (ndnpkt__head_size(type, size) + size > cap - (size_t) len) return -ENOBUFS;
  ndnpkt__put_head(&writer, type, size);
  for (size_t i = 0; i < size; i++) {
    uint8_t byte = (uint8_t) take_byte(&text);

    ndnpkt__put(&writer, &byte, 1);
  }
  return (ssize_t) writer.len;
}

/* Appends one component given as text. Returns the name's new length. */
static ssize_t append_component(uint8_t* buf, ssize_t len, size_t cap, span_t text) {
  const char* equals = memchr(text.at, '=', (size_t) (text.end - text.at));
  uint64_t type = NDNPKT_COMPONENT_GENERIC, number;

  if (equals == NULL) return append_text(buf, len, cap, (uint32_t) type, text);
  for (size_t i = 0; i < CONVENTIONS; i++) {
    size_t word = strlen(conventions[i].word);
    span_t value = {equals + 1, text.end};

    if ((size_t) (value.at - text.at) != word || memcmp(text.at, conventions[i].word, word) != 0) continue;
    if (conventions[i].form == FORM_HEX) return append_digest(buf, len, cap, conventions[i].type, value);
    if (read_number(value, &number) < 0) return -EINVAL;
    return ndnpkt_append_uint(buf, len, cap, conventions[i].type, number);
  }
  if (read_number((span_t){text.at, equals}, &type) < 0 || type == 0 || type > UINT16_MAX) return -EINVAL;
  return append_text(buf, len, cap, (uint32_t) type, (span_t){equals + 1, text.end});
}

int ndnpkt_name_from_uri(const char* uri, uint8_t* buf, size_t cap, ndnpkt_name_t* ret_name) {
  const char* at = strncmp(uri, "ndn:", 4) == 0 ? uri + 4 : uri;
  ssize_t len = 0;

  if (*at != '/') return -EINVAL;
  at++;
  while (*at != '\0') {
    const char* end = at + strcspn(at, "/");

    len = append_component(buf, len, cap, (span_t){at, end});
    if (len < 0) return (int) len;
    at = *end == '/' ? end + 1 : end;
  }
  /* "1=short" is well written, and still no digest */
  if (ndnpkt_name_check((ndnpkt_name_t){buf, (size_t) len}) < 0) return -EINVAL;
  *ret_name = (ndnpkt_name_t){buf, (size_t) len};
  return 0;
}

/* --- Writing ---------------------------------------------------------------------------------- */

typedef struct text_s {
  char* out;
  size_t cap, len; /* len counts on when out is full */
} text_t;

static void text_put(text_t* text, const char* add) {
  for (; *add != '\0'; add++, text->len++)
    if (text->len + 1 < text->cap) text->out[text->len] = *add;
}

static void text_put_hex(text_t* text, ndnpkt_bytes_t value) {
  for (size_t i = 0; i < value.len; i++) {
    char part[3];

    snprintf(part, sizeof(part), "%02x", value.base[i]);
    text_put(text, part);
  }
}

static void text_put_escaped(text_t* text, ndnpkt_bytes_t value) {
  size_t dots = 0;

  for (size_t i = 0; i < value.len; i++) {
    char c = (char) value.base[i];
    char part[4];

    dots += c == '.';
    snprintf(part, sizeof(part), is_unreserved(c) ? "%c" : "%%%02X", (unsigned char) c);
    text_put(text, part);
  }
  if (dots == value.len) text_put(text, "...");
}

/* Writes the value by a convention of its type. False if there is none, or the value does not follow it: a number in
 * more bytes than it needs would not read back as the same component. */
static bool text_put_by_convention(text_t* text, const ndnpkt_tlv_t* component) {
  size_t i = 0;
  uint64_t number = 0;
  char part[24];

  while (i < CONVENTIONS && conventions[i].type != component->type) i++;
  if (i == CONVENTIONS) return false;
  if (conventions[i].form == FORM_NUMBER &&
      (ndnpkt_uint_decode(component->value, &number) < 0 || ndnpkt__uint_size(number) != component->value.len))
    return false;
  text_put(text, conventions[i].word);
  if (conventions[i].form == FORM_HEX) {
    text_put_hex(text, component->value);
  } else {
    snprintf(part, sizeof(part), "%llu", (unsigned long long) number);
    text_put(text, part);
  }
  return true;
}

const char* ndnpkt_name_to_uri(ndnpkt_name_t name, char* out, size_t cap) {
  text_t text = {out, cap, 0};
  ndnpkt_tlv_t component;
  char part[12];

  if (name.len == 0) text_put(&text, "/");
  while (ndnpkt_tlv_next(&name, &component) > 0) {
    text_put(&text, "/");
    if (text_put_by_convention(&text, &component)) continue;
    if (component.type != NDNPKT_COMPONENT_GENERIC) {
      snprintf(part, sizeof(part), "%u=", component.type);
      text_put(&text, part);
    }
    text_put_escaped(&text, component.value);
  }
  out[text.len < cap ? text.len : cap - 1] = '\0';
  if (text.len >= cap && cap > 3) memcpy(out + cap - 4, "...", 3);
  return out;
}
