/* SPDX-License-Identifier: MIT */
/* dump.h: what the parts of uvface-dump share. How faces are found, and their regions read, is uvface-stat's (stat.h).
 *
 *   dump_follow.c  the packets of a region, as they come
 *   dump_text.c    a packet in a line, and whether it was asked for
 *   dump_pcap.c    packets in a file for Wireshark
 *   dump_out.c     where they are written to
 *   dump_face.c    which face, and whether it is still there
 *   dump.c         the command line, and when to end
 *
 * Nothing here maps, writes to, waits for or wakes what it looks at. What it shows is somebody else's: any bytes. One
 * thread at a time. */
#ifndef UVFACE_DUMP_H
#define UVFACE_DUMP_H

#include <ndnpkt.h>
#include <time.h>

#include "stat.h"

/* --- Following ------------------------------------------------------------------------------------ */

/* One direction. */
typedef struct way_s {
  bool is_a2e;
  uint32_t next;                 /* the index of the first packet that was not looked at */
  uint32_t seen_tail, seen_head; /* when it was marked last */
  bool was_impossible;           /* these two */
  uint64_t missed;               /* packets that came, and whose slots were used again too early for us */
} way_t;

/* A packet that was copied whole. */
typedef struct packet_s {
  struct timespec time; /* of the look */
  bool is_a2e;
  const uint8_t* bytes;
  uint32_t len;         /* of what is there */
  bool is_impossible;   /* its length is none; there are no bytes */
  uint32_t claimed_len; /* that length */
} packet_t;

typedef struct follow_s {
  source_t source;
  header_t header;
  way_t a2e, e2a;
  way_t* asks; /* one of them: in which direction the Interests went lately */
  uint8_t* slot;
  bool is_done;        /* enough: set by on_packet, or a signal has come */
  uint64_t work_bytes; /* since it was looked for a signal */
  void (*on_packet)(struct follow_s* follow, const packet_t* packet);
  void (*on_missed)(struct follow_s* follow, const packet_t* where, uint32_t n); /* of where: time and direction */
} follow_t;

/* Begins with the packets that lie in the rings. source: taken over. Errors: -EPROTO (no face has such a header),
 * -ENODATA (the region is shorter than its header says), -ENOMEM, and those of reading. */
int follow_start(follow_t* follow, const source_t* source);
/* Looks at both rings once: on_packet and on_missed are called for what came, with one time, first for the direction
 * that asks. So an answer comes behind its question, if neither was missed. Returns 1 if there was something, 0 if not.
 * Errors: -EPROTO (the indices are impossible, and stay so; in a process's memory, too, a tail behind what was
 * read: another region may have come there), and those of reading: then the region is gone, or was
 * truncated. */
int follow_look(follow_t* follow);
void follow_end(follow_t* follow);

/* --- Output --------------------------------------------------------------------------------------- */

/* A packet as a line of text, or of what was missed. */
void text_packet(FILE* to, const packet_t* packet);
void text_missed(FILE* to, const packet_t* where, uint32_t n);
/* Whether it has a name that begins so. */
bool text_has_prefix(const packet_t* packet, ndnpkt_name_t prefix);
/* Tells stderr why something failed, and returns the status for that. object: escaped. */
int text_failed(const char* object, const char* why);

/* A stream to a new file, or to standard output: NULL, "-". It waits for a reader until a signal comes, see
 * catch_signals(); then it has an error. NULL with errno. */
FILE* out_open(const char* path);

/* A file of packets, if this program was built with libpcap. to: taken over. NULL after telling stderr why. */
typedef struct pcap_file_s pcap_file_t;
bool pcap_is_built_in(void);
pcap_file_t* pcap_file_open(FILE* to, uint32_t slot_size);
void pcap_file_packet(pcap_file_t* file, const packet_t* packet);
/* False if something could not be written. */
bool pcap_file_flush(pcap_file_t* file);
void pcap_file_close(pcap_file_t* file);

/* --- Which face ----------------------------------------------------------------------------------- */

/* Finds the face that is called so, or that the process of that number is on, and opens its region. False after
 * telling stderr why. */
bool face_choose(const char* text, face_t* ret_face, source_t* ret_source);
/* To stderr, without an end of line: what it is called, and who is on it. */
void face_tell(const face_t* face);
/* Whether nobody has its region any more. */
bool face_has_ended(const face_t* face);
/* For a region that is read in a process's memory: whether it is still there, and not another at the same address. */
bool face_is_in_memory(const face_t* face, const source_t* source);
/* For a region that is read in a process's memory, where it is not any more: finds who else has it. 1 and another
 * source, 0 if it is there after all, or -ENOENT. */
int face_find_again(face_t* face, source_t* source);

#endif
