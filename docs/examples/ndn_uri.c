/* SPDX-License-Identifier: MIT */
/* ndn_uri.c: NDN names as text, for command lines and messages: percent-encoding, "..." for a component of
 * dots, seg= and v= for numbers, TYPE= for other types. Guarantees that what ndn_name_to_uri() writes reads
 * back as the same name, unless it was cut off or holds a number in a longer form than needed. Does not
 * know the other conventions (off=, t=, seq=, sha256digest=). */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ndn.h"

static int hex_digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

static bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         (c != '\0' && strchr("-._~", c) != NULL);
}

/* Undoes percent-encoding in place. Returns the length or -EINVAL. A component of dots alone carries
 * three more than it means, so that "." and ".." keep their meaning in other URIs. */
static ssize_t unescape(char* text) {
  char* out = text;
  if (text[strspn(text, ".")] == '\0') return strlen(text) < 3 ? -EINVAL : (ssize_t) strlen(text) - 3;
  for (const char* in = text; *in != '\0'; in++) {
    char c = *in;
    if (c == '%') {
      int high = hex_digit(in[1]);
      int low = high < 0 ? -1 : hex_digit(in[2]);
      if (low < 0) return -EINVAL;
      c = (char) (high * 16 + low);
      in += 2;
    } else if (!is_unreserved(c)) {
      return -EINVAL;
    }
    *out++ = c;
  }
  return out - text;
}

/* Reads the decimal number that text starts with and that `after` follows. */
static bool read_number(const char* text, char after, uint64_t* ret_number) {
  char* end;
  errno = 0;
  unsigned long long number = strtoull(text, &end, 10);
  *ret_number = number;
  return isdigit((unsigned char) text[0]) && errno == 0 && *end == after;
}

/* Appends one component given as text, which is overwritten. Returns the name's new length. */
static ssize_t append_text(uint8_t* buf, size_t len, size_t cap, char* text) {
  uint64_t number, type = NDN_GENERIC;
  char* equals = strchr(text, '=');
  bool segment = strncmp(text, "seg=", 4) == 0;
  if (segment || strncmp(text, "v=", 2) == 0) {
    if (!read_number(equals + 1, '\0', &number)) return -EINVAL;
    return ndn_name_append_number(buf, len, cap, segment ? NDN_SEGMENT : NDN_VERSION, number);
  }
  if (equals != NULL && !read_number(text, '=', &type)) return -EINVAL;
  text = equals != NULL ? equals + 1 : text;
  ssize_t size = unescape(text);
  if (size < 0 || type == 0 || type > UINT16_MAX) return -EINVAL;
  uint8_t head[18];
  size_t head_size = ndn_varnum_encode(head, type);
  head_size += ndn_varnum_encode(head + head_size, (uint64_t) size);
  if (head_size + (size_t) size > cap - len) return -ENOBUFS;
  memcpy(buf + len, head, head_size);
  memcpy(buf + len + head_size, text, (size_t) size);
  return (ssize_t) (len + head_size) + size;
}

int ndn_name_from_uri(const char* uri, uint8_t* buf, size_t cap, ndn_name_t* ret_name) {
  const char* at = strncmp(uri, "ndn:", 4) == 0 ? uri + 4 : uri;
  if (*at != '/') return -EINVAL;
  char* copy = strdup(at + 1);
  if (copy == NULL) return -ENOMEM;
  ssize_t len = 0;
  char* next = copy[0] == '\0' ? NULL : copy;
  while (next != NULL && len >= 0) {
    char* component = strsep(&next, "/");
    if (component[0] == '\0')
      len = next == NULL ? len : -EINVAL; /* a slash at the end is allowed */
    else
      len = append_text(buf, (size_t) len, cap, component);
  }
  free(copy);
  if (len < 0 || ndn_name_check((ndn_name_t){buf, (size_t) len}) < 0) return len == -ENOBUFS ? -ENOBUFS : -EINVAL;
  *ret_name = (ndn_name_t){buf, (size_t) len};
  return 0;
}

typedef struct text_s {
  char* out;
  size_t cap, len; /* len counts on when out is full */
} text_t;

static void text_put(text_t* text, const char* add) {
  for (; *add != '\0'; add++, text->len++)
    if (text->len + 1 < text->cap) text->out[text->len] = *add;
}

static void text_put_component(text_t* text, const ndn_tlv_t* component) {
  char part[32];
  uint64_t number;
  uint32_t type = component->type;
  bool numbered = (type == NDN_SEGMENT || type == NDN_VERSION) && ndn_uint_decode(component->value, &number) == 0;
  if (numbered) {
    snprintf(part, sizeof(part), "/%s=%llu", type == NDN_SEGMENT ? "seg" : "v", (unsigned long long) number);
    text_put(text, part);
    return;
  }
  snprintf(part, sizeof(part), type == NDN_GENERIC ? "/" : "/%u=", type);
  text_put(text, part);
  size_t dots = 0;
  for (size_t i = 0; i < component->value.len; i++) {
    char c = (char) component->value.base[i];
    dots += c == '.';
    snprintf(part, sizeof(part), is_unreserved(c) ? "%c" : "%%%02X", (unsigned char) c);
    text_put(text, part);
  }
  if (dots == component->value.len) text_put(text, "...");
}

const char* ndn_name_to_uri(ndn_name_t name, char* out, size_t cap) {
  text_t text = {out, cap, 0};
  ndn_tlv_t component;
  if (name.len == 0) text_put(&text, "/");
  while (ndn_tlv_next(&name, &component) > 0) text_put_component(&text, &component);
  out[text.len < cap ? text.len : cap - 1] = '\0';
  if (text.len >= cap && cap > 3) memcpy(out + cap - 4, "...", 3);
  return out;
}
