/* SPDX-License-Identifier: MIT */
/* dump_pcap.c: packets in a file of libpcap's: Ethernet frames of the type that NDN has, which Wireshark's dissector of
 * it reads. The addresses are of nobody, and tell the direction. */
#include <stdlib.h>
#include <string.h>

#include "dump.h"

#ifdef HAVE_PCAP

#include <pcap/pcap.h>

#define ETHERNET_BYTES 14
#define FRAME_MAX_BYTES 262144 /* what readers take; a longer packet is cut, and says how long it was */

struct pcap_file_s {
  pcap_t* pcap;
  pcap_dumper_t* dumper;
  uint32_t snap_bytes;
  uint8_t* frame;
};

static void release(pcap_file_t* file) {
  if (file->dumper != NULL) pcap_dump_close(file->dumper);
  if (file->pcap != NULL) pcap_close(file->pcap);
  free(file->frame);
  free(file);
}

static pcap_file_t* give_up(pcap_file_t* file, FILE* to, const char* why) {
  text_failed("pcap", why);
  if (file != NULL) release(file);
  fclose(to);
  return NULL;
}

bool pcap_is_built_in(void) {
  return true;
}

pcap_file_t* pcap_file_open(FILE* to, uint32_t slot_size) {
  pcap_file_t* file = calloc(1, sizeof(*file));

  if (file == NULL) return give_up(file, to, "out of memory");
  file->snap_bytes = slot_size < FRAME_MAX_BYTES - ETHERNET_BYTES ? slot_size + ETHERNET_BYTES : FRAME_MAX_BYTES;
  file->frame = malloc(file->snap_bytes);
  file->pcap = pcap_open_dead(DLT_EN10MB, (int) file->snap_bytes);
  if (file->frame == NULL || file->pcap == NULL) return give_up(file, to, "out of memory");
  file->dumper = pcap_dump_fopen(file->pcap, to);
  return file->dumper != NULL ? file : give_up(file, to, pcap_geterr(file->pcap));
}

void pcap_file_packet(pcap_file_t* file, const packet_t* p) {
  static const uint8_t engine[] = {2, 'e', 'n', 'g', 0, 1}, app[] = {2, 'a', 'p', 'p', 0, 2}, type[] = {0x86, 0x24};
  struct pcap_pkthdr header = {.ts = {p->time.tv_sec, p->time.tv_nsec / 1000}};
  uint32_t room = file->snap_bytes - ETHERNET_BYTES, bytes = p->len < room ? p->len : room;

  if (p->is_impossible) return;
  memcpy(file->frame, p->is_a2e ? engine : app, 6);
  memcpy(file->frame + 6, p->is_a2e ? app : engine, 6);
  memcpy(file->frame + 12, type, 2);
  memcpy(file->frame + ETHERNET_BYTES, p->bytes, bytes);
  header.caplen = ETHERNET_BYTES + bytes;
  header.len = ETHERNET_BYTES + p->len;
  pcap_dump((u_char*) file->dumper, &header, file->frame);
}

bool pcap_file_flush(pcap_file_t* file) {
  return pcap_dump_flush(file->dumper) == 0 && !ferror(pcap_dump_file(file->dumper));
}

void pcap_file_close(pcap_file_t* file) {
  release(file);
}

#else /* --write is refused, so none of the rest is called */

bool pcap_is_built_in(void) {
  return false;
}

pcap_file_t* pcap_file_open(FILE* to, uint32_t slot_size) {
  (void) to;
  (void) slot_size;
  return NULL;
}

void pcap_file_packet(pcap_file_t* file, const packet_t* p) {
  (void) file;
  (void) p;
}

bool pcap_file_flush(pcap_file_t* file) {
  return file == NULL;
}

void pcap_file_close(pcap_file_t* file) {
  (void) file;
}

#endif
