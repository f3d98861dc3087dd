/* SPDX-License-Identifier: MIT */
/* dump_text.c: a packet in a line: time, direction, length, kind and name, much as ndndump prints it. Names are written
 * as URIs, whose escapes leave nothing that a terminal would obey. And why something failed. */
#include <inttypes.h>
#include <stdlib.h>

#include "dump.h"

#define NAME_TEXT_BYTES 32768 /* three for each byte of a packet that every node takes; longer names are cut */

static void text_where(FILE* to, const packet_t* p) {
  fprintf(to, "%lld.%06ld %s, ", (long long) p->time.tv_sec, p->time.tv_nsec / 1000,
          p->is_a2e ? "app > engine" : "engine > app");
}

static void text_reason(FILE* to, uint64_t reason) {
  switch (reason) {
    case 0: fputs("no reason", to); break;
    case NDNPKT_NACK_CONGESTION: fputs("congestion", to); break;
    case NDNPKT_NACK_DUPLICATE: fputs("duplicate", to); break;
    case NDNPKT_NACK_NO_ROUTE: fputs("no route", to); break;
    default: fprintf(to, "reason %" PRIu64, reason);
  }
}

/* What an Interest says beside its name, as in a query: no name contains a question mark. */
static void text_interest(FILE* to, const ndnpkt_interest_t* interest) {
  static char name[NAME_TEXT_BYTES];
  char between = '?';

  fputs(ndnpkt_name_to_uri(interest->name, name, sizeof(name)), to);
  if (interest->can_be_prefix) fprintf(to, "%cCanBePrefix", between);
  if (interest->can_be_prefix) between = '&';
  if (interest->must_be_fresh) fprintf(to, "%cMustBeFresh", between);
  if (interest->must_be_fresh) between = '&';
  if (interest->has_nonce) fprintf(to, "%cNonce=%08" PRIx32, between, interest->nonce);
  if (interest->has_nonce) between = '&';
  if (interest->lifetime_ms != NDNPKT_LIFETIME_DEFAULT_MS)
    fprintf(to, "%cLifetime=%" PRIu64, between, interest->lifetime_ms);
}

static void text_kind(FILE* to, const ndnpkt_packet_t* packet) {
  static char name[NAME_TEXT_BYTES];

  switch (packet->kind) {
    case NDNPKT_INTEREST:
      fputs("INTEREST: ", to);
      text_interest(to, &packet->interest);
      break;
    case NDNPKT_NACK:
      fputs("NACK (", to);
      text_reason(to, packet->link.nack_reason);
      fputs("): ", to);
      text_interest(to, &packet->interest);
      break;
    case NDNPKT_DATA: fprintf(to, "DATA: %s", ndnpkt_name_to_uri(packet->data.name, name, sizeof(name))); break;
    case NDNPKT_FRAGMENT:
      fprintf(to, "FRAGMENT: %" PRIu64 " of %" PRIu64, packet->link.frag_index + 1, packet->link.frag_count);
      break;
    case NDNPKT_IDLE: fputs("IDLE", to); break;
  }
}

void text_packet(FILE* to, const packet_t* p) {
  ndnpkt_packet_t packet;

  text_where(to, p);
  if (p->is_impossible) {
    fprintf(to, "BROKEN: the slot says %" PRIu32 " bytes\n", p->claimed_len);
    return;
  }
  fprintf(to, "length %" PRIu32 ", ", p->len);
  if (ndnpkt_packet_decode(p->bytes, p->len, &packet) == 0)
    text_kind(to, &packet);
  else
    fputs("UNKNOWN: not a packet of NDN", to);
  putc('\n', to);
}

void text_missed(FILE* to, const packet_t* where, uint32_t n) {
  text_where(to, where);
  fprintf(to, "%" PRIu32 " MISSED\n", n);
}

bool text_has_prefix(const packet_t* p, ndnpkt_name_t prefix) {
  ndnpkt_packet_t packet;

  if (p->is_impossible || ndnpkt_packet_decode(p->bytes, p->len, &packet) < 0) return false;
  switch (packet.kind) {
    case NDNPKT_INTEREST:
    case NDNPKT_NACK: return ndnpkt_name_has_prefix(packet.interest.name, prefix);
    case NDNPKT_DATA: return ndnpkt_name_has_prefix(packet.data.name, prefix);
    case NDNPKT_FRAGMENT:
    case NDNPKT_IDLE: return false;
  }
  return false;
}

int text_failed(const char* object, const char* why) {
  char shown[4 * NAME_BYTES];

  escape(object, false, shown, sizeof(shown));
  fprintf(stderr, "uvface-dump: %s: %s\n", shown, why);
  return EXIT_FAILURE;
}
