/* SPDX-License-Identifier: MIT */
/* ndn.h: the part of NDN packet format 0.3 that the examples need: names, Interests, Data with a
 * DigestSha256 signature, and as much NDNLPv2 as it takes to unwrap a packet or see a Nack. Decoding
 * trusts nothing, allocates nothing, keeps nothing: every result is a view into the caller's packet and
 * valid as long as that is. Does not do: other signatures, the implicit digest of a Data packet, the
 * parameters digest of an Interest, reassembly. Functions return 0 or a size, or a negative errno value;
 * -EBADMSG means a broken packet. Everything may be called from any thread except the two functions
 * that hash (ndn_sha256 and what is built on it), which share one context. */
#ifndef EXAMPLES_NDN_H
#define EXAMPLES_NDN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* TLV-TYPE numbers that a caller meets; those inside packets stay in ndn.c. */
enum {
  NDN_TYPE_DATA = 6,       /* what a Data packet begins with */
  NDN_IMPLICIT_DIGEST = 1, /* name component types */
  NDN_PARAMETERS_DIGEST = 2,
  NDN_GENERIC = 8,
  NDN_SEGMENT = 50, /* naming conventions, revision 3 */
  NDN_VERSION = 54
};

enum {
  NDN_PACKET_MAX = 8800, /* bytes: what every NDN node must be able to carry */
  NDN_DIGEST_BYTES = 32,
  NDN_LIFETIME_DEFAULT_MS = 4000,
  NDN_NACK_NO_ROUTE = 150
};

/* A view of somebody else's bytes. */
typedef struct ndn_bytes_s {
  const uint8_t* base;
  size_t len;
} ndn_bytes_t;

/* --- TLV -------------------------------------------------------------------------------------- */

typedef struct ndn_tlv_s {
  uint32_t type;     /* 1 to 2^32 - 1 */
  ndn_bytes_t value; /* what TLV-LENGTH covers */
  ndn_bytes_t whole; /* type, length and value */
} ndn_tlv_t;

/* Reads a type or length number. Returns its size in bytes (1, 3, 5, 9); 0 if it is cut off or not in
 * the shortest form. */
size_t ndn_varnum_decode(const uint8_t* buf, size_t len, uint64_t* ret_value);

/* Writes the shortest form. buf: room for 9 bytes. Returns its size. */
size_t ndn_varnum_encode(uint8_t* buf, uint64_t value);

/* Takes the next element off *rest. Returns 1, 0 at the end, -EBADMSG. */
int ndn_tlv_next(ndn_bytes_t* rest, ndn_tlv_t* ret_tlv);

/* Reads a non-negative integer, which is 1, 2, 4 or 8 bytes long. Returns 0 or -EBADMSG. */
int ndn_uint_decode(ndn_bytes_t value, uint64_t* ret_value);

/* Writes the shortest form. buf: room for 8 bytes. Returns its size. */
size_t ndn_uint_encode(uint8_t* buf, uint64_t value);

/* --- Names ------------------------------------------------------------------------------------ */

/* A name: the components, one TLV after the other, without the Name element around them. A view that
 * came out of a decoder has been checked; names built by hand start as {NULL, 0}. */
typedef ndn_bytes_t ndn_name_t;

/* Returns 0 if these bytes are whole components of types 1 to 65535, digests having their length; else
 * -EBADMSG. */
int ndn_name_check(ndn_name_t name);

/* Canonical order: < 0, 0, > 0. */
int ndn_name_compare(ndn_name_t a, ndn_name_t b);

bool ndn_name_equal(ndn_name_t a, ndn_name_t b);

/* True if the first components of name are those of prefix. */
bool ndn_name_has_prefix(ndn_name_t name, ndn_name_t prefix);

/* Folds one component into a hash; a name's hash is the fold over its components, starting at a seed, so
 * that the hashes of all prefixes fall out on the way. Not a cryptographic hash. */
uint64_t ndn_component_hash(uint64_t hash, ndn_bytes_t component);
uint64_t ndn_name_hash(uint64_t seed, ndn_name_t name);

/* Appends a component that holds a number to the name of len bytes in buf. Returns the new length, or
 * -ENOBUFS. */
ssize_t ndn_name_append_number(uint8_t* buf, size_t len, size_t cap, uint32_t type, uint64_t value);

/* True if rest is exactly one component of that type that holds a number. */
bool ndn_component_number(ndn_bytes_t rest, uint32_t type, uint64_t* ret_value);

/* Reads "/a/b%20c/seg=7". buf, cap: where the components go. Returns 0, -EINVAL or -ENOBUFS. */
int ndn_name_from_uri(const char* uri, uint8_t* buf, size_t cap, ndn_name_t* ret_name);

/* Writes a name as text, cut off with "..." if it does not fit. Returns out. */
const char* ndn_name_to_uri(ndn_name_t name, char* out, size_t cap);

/* --- Packets ---------------------------------------------------------------------------------- */

typedef struct ndn_interest_s {
  ndn_name_t name; /* at least one component */
  bool can_be_prefix;
  bool must_be_fresh;
  bool has_nonce;
  uint32_t nonce;
  uint64_t lifetime_ms;
  const uint8_t* hop_limit; /* where that byte is, NULL if there is none */
} ndn_interest_t;

typedef struct ndn_data_s {
  ndn_name_t name;
  uint64_t content_type;
  uint64_t freshness_ms;
  ndn_bytes_t final_block; /* one name component; len 0 if absent */
  ndn_bytes_t content;
  uint64_t signature_type; /* 0 is DigestSha256 */
  ndn_bytes_t signed_part; /* Name to SignatureInfo */
  ndn_bytes_t signature;
} ndn_data_t;

typedef enum ndn_kind_e { NDN_NOTHING, NDN_FRAGMENT, NDN_INTEREST, NDN_DATA, NDN_NACK } ndn_kind_t;

/* What arrived, without its link header. */
typedef struct ndn_packet_s {
  ndn_kind_t kind;      /* NDN_NOTHING: a link packet without a payload; NDN_FRAGMENT: a part of one */
  uint64_t nack_reason; /* NDN_NACK: why `interest` came back; 0 if no reason was given */
  ndn_bytes_t wire;     /* the Interest or Data itself */
  union {
    ndn_interest_t interest;
    ndn_data_t data;
  };
} ndn_packet_t;

/* Each decodes exactly len bytes. Returns 0 or -EBADMSG, and then *ret_ is untouched. Unknown elements
 * that are critical make a packet broken, others are skipped, as the format's rules for its evolution
 * say. ndn_packet_decode() takes any of Interest, Data and LpPacket. */
int ndn_interest_decode(const uint8_t* buf, size_t len, ndn_interest_t* ret_interest);
int ndn_data_decode(const uint8_t* buf, size_t len, ndn_data_t* ret_data);
int ndn_packet_decode(const uint8_t* buf, size_t len, ndn_packet_t* ret_packet);

/* Encode into buf. An Interest gets every member, hop_limit if it is not NULL, lifetime if it is not the
 * default; Data gets name, content_type and freshness_ms if not 0, final_block if not empty, content, and
 * is signed with DigestSha256. Return the size, or -ENOBUFS. */
ssize_t ndn_interest_encode(uint8_t* buf, size_t cap, const ndn_interest_t* interest);
ssize_t ndn_data_encode(uint8_t* buf, size_t cap, const ndn_data_t* data);

/* Writes the link header that turns the Interest of interest_len bytes, to be put right after it, into a
 * Nack. buf: room for 32 bytes. Returns the header's size. */
size_t ndn_nack_header(uint8_t* buf, uint64_t reason, size_t interest_len);

/* How much longer than its content a Data packet with such a name can be. */
size_t ndn_data_overhead(size_t name_len);

/* --- SHA-256, by libcrypto; one thread only --------------------------------------------------- */

void ndn_sha256(ndn_bytes_t bytes, uint8_t ret_digest[NDN_DIGEST_BYTES]);

/* True if the packet carries a DigestSha256 signature and it is right. */
bool ndn_data_verify(const ndn_data_t* data);

#endif
