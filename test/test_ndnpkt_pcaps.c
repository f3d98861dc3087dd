/* SPDX-License-Identifier: MIT */
/* test_ndnpkt_pcaps.c: real traffic, if UVFACE_NDN_PCAPS names a directory of captures: what is known to be in them is
 * found, and every suffix of every file is decoded as if an attacker had sent it. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "wire.h"

/* What is known to be in a capture: how many packets decode to each kind, in UDP datagrams of port 6363 and
 * in Ethernet frames of NDN's own type. Those that are broken are so on purpose, or of an older format. */
typedef struct capture_s {
  const char* file;
  int interests, data, nacks, fragments, idle, broken;
} capture_t;

static const capture_t captures[] = {
    {"bug3603.pcap", 0, 1, 0, 0, 0, 0},
    {"ipv4-udp-fragmented.pcap", 1, 1, 0, 0, 0, 3},
    {"ipv6-udp-fragmented.pcap", 1, 1, 0, 0, 0, 1},
    {"nameuri.pcap", 0, 1, 0, 0, 0, 0},
    {"packet03.pcap", 0, 1, 0, 0, 0, 2}, /* its Interest has parameters and no digest of them */
    {"ndnlpv2.pcap", 1, 1, 5, 2, 1, 2},
};

/* Datagrams put together from IP fragments, which these captures hold in order. */
typedef struct reassembly_s {
  uint8_t bytes[65536];
  size_t len;
} reassembly_t;

static unsigned int load16(const uint8_t* at) {
  return (unsigned int) (at[0] << 8 | at[1]);
}

static void count_packet(const uint8_t* bytes, size_t len, capture_t* seen) {
  int kind = wire_decode((ndnpkt_bytes_t){bytes, len});
  *(kind == NDNPKT_INTEREST   ? &seen->interests
    : kind == NDNPKT_DATA     ? &seen->data
    : kind == NDNPKT_NACK     ? &seen->nacks
    : kind == NDNPKT_FRAGMENT ? &seen->fragments
    : kind == NDNPKT_IDLE     ? &seen->idle
                              : &seen->broken) += 1;
}

static void take_udp(const uint8_t* bytes, size_t len, capture_t* seen) {
  if (len > 8 && load16(bytes + 4) == len && (load16(bytes) == 6363 || load16(bytes + 2) == 6363))
    count_packet(bytes + 8, len - 8, seen);
}

static void take_ip_part(const uint8_t* bytes, size_t len, size_t offset, bool more, reassembly_t* parts,
                         capture_t* seen) {
  if (offset == 0) parts->len = 0;
  if (offset != parts->len || offset + len > sizeof(parts->bytes)) return;
  memcpy(parts->bytes + offset, bytes, len);
  parts->len += len;
  if (!more) take_udp(parts->bytes, parts->len, seen);
}

static void take_ip4(const uint8_t* bytes, size_t len, reassembly_t* parts, capture_t* seen) {
  size_t head = len >= 20 ? (size_t) (bytes[0] & 15) * 4 : 0;
  if (head < 20 || load16(bytes + 2) > len || load16(bytes + 2) < head || bytes[9] != 17) return;
  unsigned int fragment = load16(bytes + 6);
  size_t offset = (fragment & 0x1fff) * 8;
  take_ip_part(bytes + head, load16(bytes + 2) - head, offset, (fragment & 0x2000) != 0, parts, seen);
}

static void take_ip6(const uint8_t* bytes, size_t len, reassembly_t* parts, capture_t* seen) {
  if (len < 48 || load16(bytes + 4) + 40u > len) return;
  size_t payload = load16(bytes + 4);
  unsigned int fragment = load16(bytes + 42);
  if (bytes[6] == 17)
    take_ip_part(bytes + 40, payload, 0, false, parts, seen);
  else if (bytes[6] == 44 && bytes[40] == 17 && payload > 8)
    take_ip_part(bytes + 48, payload - 8, fragment & 0xfff8, (fragment & 1) != 0, parts, seen);
}

static void take_frame(const uint8_t* bytes, size_t len, reassembly_t* parts, capture_t* seen) {
  if (len < 14) return;
  unsigned int type = load16(bytes + 12);
  ndnpkt_bytes_t rest = {bytes + 14, len - 14};
  ndnpkt_tlv_t packet; /* without the padding of short frames */
  if (type == 0x0800)
    take_ip4(rest.base, rest.len, parts, seen);
  else if (type == 0x86dd)
    take_ip6(rest.base, rest.len, parts, seen);
  else if (type == 0x8624 && ndnpkt_tlv_next(&rest, &packet) > 0)
    count_packet(packet.whole.base, packet.whole.len, seen);
}

static uint32_t load32(const uint8_t* at, bool little) {
  return (uint32_t) (little ? load16((uint8_t[]){at[3], at[2]}) << 16 | load16((uint8_t[]){at[1], at[0]})
                            : load16(at) << 16 | load16(at + 2));
}

/* Classic files of Ethernet frames; others are only attacked with. */
static void take_file(const uint8_t* bytes, size_t len, capture_t* seen) {
  static reassembly_t parts;
  bool little = len > 24 && bytes[0] == 0xd4;
  if (len <= 24 || (!little && bytes[0] != 0xa1) || load32(bytes + 20, little) != 1) return;
  size_t at = 24;
  while (len - at > 16) {
    size_t size = load32(bytes + at + 8, little);
    at += 16;
    if (size > len - at) return;
    take_frame(bytes + at, size, &parts, seen);
    at += size;
  }
}

/* Every suffix of the file, as an attacker may send it; and what looks like an element anywhere. */
static size_t attack(const uint8_t* bytes, size_t len) {
  size_t good = 0;
  for (size_t at = 0; at < len; at++) {
    ndnpkt_bytes_t rest = {bytes + at, len - at};
    ndnpkt_tlv_t element;
    wire_decode(rest);
    if (ndnpkt_tlv_next(&rest, &element) > 0) good += wire_decode(element.whole) > 0;
  }
  return good;
}

static uint8_t* read_file(const char* directory, const char* file, size_t* ret_len) {
  char path[4096];
  snprintf(path, sizeof(path), "%s/%s", directory, file);
  FILE* stream = fopen(path, "rbe");
  ck_assert_msg(stream != NULL, "%s: %s", path, strerror(errno));
  uint8_t* bytes = malloc(1 << 20);
  *ret_len = fread(bytes, 1, 1 << 20, stream);
  fclose(stream);
  return bytes;
}

TEST(captures_decode_as_known) {
  const char* directory = getenv("UVFACE_NDN_PCAPS");
  size_t files = 0, known = 0, good = 0;
  if (directory == NULL) SKIP("UVFACE_NDN_PCAPS does not name a directory");
  DIR* dir = opendir(directory);
  ck_assert_msg(dir != NULL, "%s: %s", directory, strerror(errno));
  for (struct dirent* entry; (entry = readdir(dir)) != NULL;) {
    if (strlen(entry->d_name) < 6 || strcmp(entry->d_name + strlen(entry->d_name) - 5, ".pcap") != 0) continue;
    size_t len;
    uint8_t* bytes = read_file(directory, entry->d_name, &len);
    capture_t seen = {.file = entry->d_name};
    take_file(bytes, len, &seen);
    good += attack(bytes, len);
    free(bytes);
    files++;
    for (size_t i = 0; i < sizeof(captures) / sizeof(*captures); i++) {
      const capture_t* want = &captures[i];
      if (strcmp(want->file, seen.file) != 0) continue;
      known++;
      ck_assert_msg(want->interests == seen.interests && want->data == seen.data && want->nacks == seen.nacks &&
                        want->fragments == seen.fragments && want->idle == seen.idle && want->broken == seen.broken,
                    "%s: %d Interests, %d Data, %d Nacks, %d fragments, %d empty, %d broken", seen.file, seen.interests,
                    seen.data, seen.nacks, seen.fragments, seen.idle, seen.broken);
    }
  }
  closedir(dir);
  ck_assert_msg(known > 0 && good > 0, "%s: %zu captures, none of them known", directory, files);
}
