/* SPDX-License-Identifier: MIT */
/* ndnpkt.h: NDN packets: names, Interests, Data, link headers, signatures, keys, and the commands by which an app and
 * a forwarder talk about faces and routes.
 *
 * Guarantees: decoding trusts nothing, allocates nothing, keeps nothing: no byte outside the given buffer is read, and
 * every result is a view of the caller's packet, valid as long as that is. On failure what a ret_ points at is
 * untouched; a buffer that is encoded into may hold anything then.
 * Does not guarantee that a packet makes sense to an application, or that its signature is right before
 * ndnpkt_verify() says so. Does not reassemble fragments, and knows no trust schema and no RSA.
 *
 * Any function may be called from any thread. There is no state that two calls share, but what the caller passes: a
 * ndnpkt_crypto_t is for one thread at a time, a ndnpkt_key_t is for any number once it is loaded. Needs libc and
 * libcrypto 3.
 * Functions that can fail return 0 or a size on success and a negative errno value (-EINVAL ...) on failure. "Errors:"
 * lists them; -EBADMSG is always "these bytes are broken".
 * "Packet Format" is the NDN Packet Format Specification 0.3, "NDNLPv2" the link protocol of that name, "NFD
 * Management" the management protocol of NFD; what follows the name is a section. */
#ifndef NDNPKT_H
#define NDNPKT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define NDNPKT_EXTERN __attribute__((visibility("default")))
#else
#define NDNPKT_EXTERN
#endif

enum {
  NDNPKT_PACKET_MAX = 8800,         /* bytes: what every NDN node must be able to carry */
  NDNPKT_DIGEST_BYTES = 32,         /* SHA-256 */
  NDNPKT_PIT_TOKEN_MAX = 32,        /* bytes */
  NDNPKT_SIGNATURE_MAX = 512,       /* bytes: the longest signature that can be made here (RSA of 4096 bits) */
  NDNPKT_LINK_HEADER_MAX = 128,     /* bytes that ndnpkt_link_encode() writes at most */
  NDNPKT_LIFETIME_DEFAULT_MS = 4000 /* of an Interest that does not say */
};

/* TLV-TYPE numbers of packets: the first byte of each (Packet Format, TLV-TYPE number assignments; NDNLPv2). */
enum { NDNPKT_TYPE_INTEREST = 5, NDNPKT_TYPE_DATA = 6, NDNPKT_TYPE_LP_PACKET = 100 };

/* TLV-TYPE numbers of name components (Packet Format, Name; Naming Conventions, revision 3). */
enum {
  NDNPKT_COMPONENT_IMPLICIT_DIGEST = 1,
  NDNPKT_COMPONENT_PARAMETERS_DIGEST = 2,
  NDNPKT_COMPONENT_GENERIC = 8,
  NDNPKT_COMPONENT_KEYWORD = 32,
  NDNPKT_COMPONENT_SEGMENT = 50,
  NDNPKT_COMPONENT_BYTE_OFFSET = 52,
  NDNPKT_COMPONENT_VERSION = 54,
  NDNPKT_COMPONENT_TIMESTAMP = 56,
  NDNPKT_COMPONENT_SEQUENCE = 58
};

/* Why an Interest came back (NDNLPv2, Network Nack). */
enum { NDNPKT_NACK_CONGESTION = 50, NDNPKT_NACK_DUPLICATE = 100, NDNPKT_NACK_NO_ROUTE = 150 };

/* A view of bytes that are somebody else's. */
typedef struct ndnpkt_bytes_s {
  const uint8_t* base;
  size_t len;
} ndnpkt_bytes_t;

/* --- Elements --------------------------------------------------------------------------------- */

/* One TLV element (Packet Format, TLV). */
typedef struct ndnpkt_tlv_s {
  uint32_t type;        /* 1 to 2^32 - 1 */
  ndnpkt_bytes_t value; /* what TLV-LENGTH covers */
  ndnpkt_bytes_t whole; /* type, length and value */
} ndnpkt_tlv_t;

/* Takes the next element off *rest, which moves on behind it.
 * Returns 1, or 0 at the end.
 * Errors: -EBADMSG (cut off, type 0, or a number that is not in its shortest form). Any thread. */
NDNPKT_EXTERN int ndnpkt_tlv_next(ndnpkt_bytes_t* rest, ndnpkt_tlv_t* ret_tlv);

/* Reads a non-negative integer, which has 1, 2, 4 or 8 bytes (Packet Format, Non-Negative Integer).
 * Errors: -EBADMSG. Any thread. */
NDNPKT_EXTERN int ndnpkt_uint_decode(ndnpkt_bytes_t value, uint64_t* ret_value);

/* Append an element, or one that holds a number, to the len bytes that are in buf, which has room for cap. Name
 * components are elements: so names are built, from 0 bytes on.
 * len: a negative one is handed back as it is, so that only the last of several calls needs to be looked at.
 * Return the new length. Errors: -ENOBUFS, -EINVAL (type 0). Any thread. */
NDNPKT_EXTERN ssize_t ndnpkt_append(uint8_t* buf, ssize_t len, size_t cap, uint32_t type, ndnpkt_bytes_t value);
NDNPKT_EXTERN ssize_t ndnpkt_append_uint(uint8_t* buf, ssize_t len, size_t cap, uint32_t type, uint64_t number);

/* --- Names ------------------------------------------------------------------------------------ */

/* A name: its components, one element after the other, without the Name element around them. Those that come out of
 * a decoder have been checked. {NULL, 0} is the name without components. */
typedef ndnpkt_bytes_t ndnpkt_name_t;

/* Looks whether these are whole components of types 1 to 65535, digests having 32 bytes (Packet Format, Name).
 * Errors: -EBADMSG. Any thread. */
NDNPKT_EXTERN int ndnpkt_name_check(ndnpkt_name_t name);

/* Compare two names that have been checked: < 0, 0, > 0 in canonical order; whether they are equal; whether the first
 * components of name are those of prefix (Packet Format, Name, Canonical Order). Any thread. */
NDNPKT_EXTERN int ndnpkt_name_compare(ndnpkt_name_t a, ndnpkt_name_t b);
NDNPKT_EXTERN bool ndnpkt_name_equal(ndnpkt_name_t a, ndnpkt_name_t b);
NDNPKT_EXTERN bool ndnpkt_name_has_prefix(ndnpkt_name_t name, ndnpkt_name_t prefix);

/* Reads the number of a name that is one component of that type, NDNPKT_COMPONENT_SEGMENT for example.
 * Errors: -EINVAL (it is something else, or more). Any thread. */
NDNPKT_EXTERN int ndnpkt_component_number(ndnpkt_name_t component, uint32_t type, uint64_t* ret_number);

/* Reads a name as text: "/a/b%20c/v=3/seg=7" (Packet Format, Name, NDN URI Scheme). Knows sha256digest=,
 * params-sha256=, seg=, off=, v=, t=, seq= and any number of a type; "ndn:" in front and a slash at the end may be.
 * buf, cap: where the components go.
 * Errors: -EINVAL (not a name), -ENOBUFS. Any thread. */
NDNPKT_EXTERN int ndnpkt_name_from_uri(const char* uri, uint8_t* buf, size_t cap, ndnpkt_name_t* ret_name);

/* Writes a name that has been checked as text, which reads back as the same name if all of it fitted.
 * out, cap: where the text and its NUL go, at least 1 byte; what does not fit is cut off and shown by "...".
 * Returns out. Any thread. */
NDNPKT_EXTERN const char* ndnpkt_name_to_uri(ndnpkt_name_t name, char* out, size_t cap);

/* --- Packets ---------------------------------------------------------------------------------- */

/* Signature types (Packet Format, Signature; 5 by the assignments of the TLV registry). */
enum {
  NDNPKT_SIGNATURE_DIGEST_SHA256 = 0, /* integrity only: anybody can make it */
  NDNPKT_SIGNATURE_SHA256_RSA = 1,    /* known by number; can be made by a signer's callback */
  NDNPKT_SIGNATURE_SHA256_ECDSA = 3,  /* with P-256 here; the one that NFD and ndn-cxx know */
  NDNPKT_SIGNATURE_HMAC_SHA256 = 4,
  NDNPKT_SIGNATURE_ED25519 = 5
};

/* How a packet is signed: SignatureInfo and SignatureValue, or those of an Interest. */
typedef struct ndnpkt_signature_s {
  uint64_t type;             /* NDNPKT_SIGNATURE_*, or another number */
  ndnpkt_name_t key_name;    /* KeyLocator, if it is a name; base NULL: it is not */
  ndnpkt_bytes_t key_digest; /* KeyLocator, if it is a digest; base NULL: it is not */
  ndnpkt_bytes_t nonce;      /* SignatureNonce; base NULL: none */
  bool has_time, has_seq_num;
  uint64_t time_ms;         /* SignatureTime, since 1970 */
  uint64_t seq_num;         /* SignatureSeqNum */
  ndnpkt_bytes_t value;     /* base NULL: the packet is not signed */
  ndnpkt_bytes_t pieces[2]; /* what is signed, in this order; the second is empty in Data */
} ndnpkt_signature_t;

/* Interest (Packet Format, Interest). */
typedef struct ndnpkt_interest_s {
  ndnpkt_name_t name; /* at least one component */
  bool can_be_prefix;
  bool must_be_fresh;
  bool has_nonce;
  uint32_t nonce;
  uint64_t lifetime_ms;           /* NDNPKT_LIFETIME_DEFAULT_MS if the packet does not say; 0 stays 0 */
  const uint8_t* hop_limit;       /* where that byte is; NULL: none */
  ndnpkt_bytes_t forwarding_hint; /* Name elements, one after the other; base NULL: none */
  ndnpkt_bytes_t parameters;      /* the value of ApplicationParameters; base NULL: none */
  ndnpkt_bytes_t digested;        /* what the digest in the name is of: ApplicationParameters to the end; len 0: none */
  ndnpkt_signature_t signature;
} ndnpkt_interest_t;

/* Data (Packet Format, Data). */
typedef struct ndnpkt_data_s {
  ndnpkt_name_t name;
  uint64_t content_type; /* 0 is a blob */
  uint64_t freshness_ms;
  ndnpkt_name_t final_block; /* one component; len 0: none */
  ndnpkt_bytes_t content;
  ndnpkt_signature_t signature;
} ndnpkt_data_t;

/* What a link packet says beside what it carries (NDNLPv2). Link headers that are not here are skipped. */
typedef struct ndnpkt_link_s {
  bool wrapped;             /* it came in a LpPacket; false: bare, and all else is at its default */
  bool nack;                /* its Interest came back */
  bool has_sequence;        /* there is a number of this fragment */
  uint64_t nack_reason;     /* NDNPKT_NACK_*; 0: not given */
  uint64_t sequence;        /* of this fragment */
  uint64_t frag_index;      /* which part of a packet the fragment is, from 0 */
  uint64_t frag_count;      /* of so many; 1 is a whole packet, and encoding takes 0 for it */
  uint64_t congestion_mark; /* 0: none */
  ndnpkt_bytes_t pit_token; /* 1 to NDNPKT_PIT_TOKEN_MAX bytes, to be sent back with the answer; len 0: none */
  ndnpkt_bytes_t fragment;  /* the packet, or a part of it; len 0: nothing, an idle packet */
} ndnpkt_link_t;

/* What arrived. */
typedef enum ndnpkt_kind_e {
  NDNPKT_IDLE,     /* nothing but link headers */
  NDNPKT_FRAGMENT, /* a part of a packet, to be put together by others */
  NDNPKT_INTEREST,
  NDNPKT_DATA,
  NDNPKT_NACK /* an Interest that came back */
} ndnpkt_kind_t;

/* Any packet. */
typedef struct ndnpkt_packet_s {
  ndnpkt_kind_t kind;
  ndnpkt_link_t link;
  ndnpkt_bytes_t wire; /* the Interest, Data or fragment itself, without link headers */
  union {
    ndnpkt_interest_t interest; /* of NDNPKT_INTEREST, NDNPKT_NACK */
    ndnpkt_data_t data;         /* of NDNPKT_DATA */
  };
} ndnpkt_packet_t;

/* Decode exactly len bytes: an Interest, a Data, the headers of a LpPacket (or none: a bare packet), any of them.
 * Unknown elements that are critical break a packet, others are skipped (Packet Format, TLV, Considerations for
 * Evolving TLV-Based Encoding); link headers have a rule of their own (NDNLPv2, TLV-TYPE 800 to 959). An Interest has a
 * ParametersSha256Digest component if and only if it has ApplicationParameters; whether that digest is right tells
 * ndnpkt_interest_check().
 * Errors: -EBADMSG. Any thread. */
NDNPKT_EXTERN int ndnpkt_interest_decode(const uint8_t* buf, size_t len, ndnpkt_interest_t* ret_interest);
NDNPKT_EXTERN int ndnpkt_data_decode(const uint8_t* buf, size_t len, ndnpkt_data_t* ret_data);
NDNPKT_EXTERN int ndnpkt_link_decode(const uint8_t* buf, size_t len, ndnpkt_link_t* ret_link);
NDNPKT_EXTERN int ndnpkt_packet_decode(const uint8_t* buf, size_t len, ndnpkt_packet_t* ret_packet);

/* Writes the link headers that link asks for, up to where its fragment begins: the caller puts fragment.len bytes right
 * behind them, or sends both as two pieces. fragment.base is not read; wrapped counts for nothing.
 * buf, cap: NDNPKT_LINK_HEADER_MAX bytes are always enough.
 * Returns the size. Errors: -ENOBUFS, -EINVAL (a token that is too long, frag_index not below frag_count). Any
 * thread. */
NDNPKT_EXTERN ssize_t ndnpkt_link_encode(uint8_t* buf, size_t cap, const ndnpkt_link_t* link);

/* --- Keys ------------------------------------------------------------------------------------- */

/* A key: opaque, made by ndnpkt_key_new(). One that is loaded does not change any more: any thread may use it. */
typedef struct ndnpkt_key_s ndnpkt_key_t;

/* Makes a key that holds nothing yet. ret_key: receives it. The caller owes one ndnpkt_key_free().
 * Errors: -ENOMEM, -EINVAL (NULL). Any thread. */
NDNPKT_EXTERN int ndnpkt_key_new(ndnpkt_key_t** ret_key);

/* key: NULL is allowed. */
NDNPKT_EXTERN void ndnpkt_key_free(ndnpkt_key_t* key);

/* Loads a key from bytes: Ed25519 or ECDSA P-256, private or public: PEM or DER, PKCS#8 or SubjectPublicKeyInfo; or the
 * public key of ndn-rs's certificate format ("NDNC", versions 1 and 2), if that is valid now.
 * bytes: not needed any more afterwards.
 * Errors: -EBADMSG (nothing of these, or encrypted), -ENOTSUP (a key of another kind), -EKEYEXPIRED (the certificate is
 * not valid now), -EALREADY (key holds one), -ENOMEM, -EINVAL (NULL). On failure ndnpkt_key_errmsg() says why, and key
 * may be used again. */
NDNPKT_EXTERN int ndnpkt_key_load(ndnpkt_key_t* key, ndnpkt_bytes_t bytes);

/* Loads it from a file, of at most 64 KiB. Blocks as reading a file does.
 * Errors: as ndnpkt_key_load(), and -ENOENT, -EACCES, -EISDIR, -EFBIG (larger), -ELOOP, -ENAMETOOLONG, -ENOTDIR,
 * -EMFILE, -ENFILE, -EIO; what else open() and read() fail with is passed on. */
NDNPKT_EXTERN int ndnpkt_key_load_file(ndnpkt_key_t* key, const char* path);

/* Loads the private key of that certificate from ndn-rs's FilePib: keys/HASH/private.pkcs8.der, or private.key, which
 * was before it. key keeps the name as ndnpkt_key_name().
 * directory: NULL is $NDN_PIB, or .ndn/pib in $HOME.
 * name: of the certificate, as the forwarder knows it ("/alice/KEY/0123/self/v=0"); copied.
 * Errors: as ndnpkt_key_load_file(), -ENOENT too if there is no such key or neither variable. */
NDNPKT_EXTERN int ndnpkt_key_load_pib(ndnpkt_key_t* key, const char* directory, ndnpkt_name_t name);

/* Takes a secret that both sides know, for HMAC-SHA256.
 * secret: at least 1 byte, better 32; copied.
 * Errors: -EALREADY (key holds one), -ENOMEM, -EINVAL (NULL, empty). */
NDNPKT_EXTERN int ndnpkt_key_set_secret(ndnpkt_key_t* key, ndnpkt_bytes_t secret);

/* The signature type that this key makes and verifies, or -1 if it holds none. */
NDNPKT_EXTERN int ndnpkt_key_type(const ndnpkt_key_t* key);

/* True if it can sign: it is private, or a secret. */
NDNPKT_EXTERN bool ndnpkt_key_can_sign(const ndnpkt_key_t* key);

/* The certificate that it came with, a view that lives as long as the key; {NULL, 0} if it came without. */
NDNPKT_EXTERN ndnpkt_name_t ndnpkt_key_name(const ndnpkt_key_t* key);

/* The last failure of loading, as "call object: reason"; "" if there was none. Valid until the next call on key. */
NDNPKT_EXTERN const char* ndnpkt_key_errmsg(const ndnpkt_key_t* key);

/* --- Signing ---------------------------------------------------------------------------------- */

/* What libcrypto needs at hand, so that no call has to look it up again: opaque, made by ndnpkt_crypto_new(), for one
 * thread at a time. */
typedef struct ndnpkt_crypto_s ndnpkt_crypto_t;

/* Errors: -ENOMEM, -ENOTSUP (libcrypto has no SHA-256), -EINVAL (NULL). The caller owes one ndnpkt_crypto_free(). */
NDNPKT_EXTERN int ndnpkt_crypto_new(ndnpkt_crypto_t** ret_crypto);

/* crypto: NULL is allowed. */
NDNPKT_EXTERN void ndnpkt_crypto_free(ndnpkt_crypto_t* crypto);

/* Signs instead of a key: somebody else has it.
 * ctx: the signer's. pieces, n: what is signed, one after the other. out: where the signature goes; *len: the room
 * there, at least NDNPKT_SIGNATURE_MAX, then its size.
 * Returns 0, or a negative errno value, which the function that asked for the signature returns. */
typedef int (*ndnpkt_sign_cb)(void* ctx, const ndnpkt_bytes_t pieces[], unsigned int n, uint8_t* out, size_t* len);

/* Who signs. Start from NDNPKT_SIGNER_INIT, which is DigestSha256, then change members. Read during the call alone. */
typedef struct ndnpkt_signer_s {
  size_t size;             /* sizeof(ndnpkt_signer_t), as the caller was compiled: see docs/ndnpkt.rst, "Versions" */
  uint64_t type;           /* of what the callback makes, or DigestSha256; a key has its own */
  ndnpkt_name_t key_name;  /* the certificate, for the KeyLocator; len 0: the key's own, or none */
  const ndnpkt_key_t* key; /* signs, unless there is a callback */
  ndnpkt_sign_cb sign;     /* signs; NULL: the key does */
  void* ctx;               /* its first argument */
} ndnpkt_signer_t;

#define NDNPKT_SIGNER_INIT \
  { sizeof(ndnpkt_signer_t), NDNPKT_SIGNATURE_DIGEST_SHA256, {NULL, 0}, NULL, NULL, NULL }

/* Encodes an Interest: every member, lifetime if it is not the default. Of the signature only nonce, time and sequence
 * number are read, and only if a signer signs. With parameters or a signer the Interest gets ApplicationParameters, and
 * the digest component is appended to its name (Packet Format, Interest, Signed Interest).
 * crypto: may be NULL if there are neither parameters nor a signer. signer: NULL: not signed.
 * Returns the size. Errors: -ENOBUFS, -EINVAL (name empty, broken or with a parameters digest, broken forwarding hint,
 * signer), -EKEYREJECTED (the signer's key cannot sign), -EIO (libcrypto failed), -ENOMEM, and what the signer's
 * callback returns. */
NDNPKT_EXTERN ssize_t ndnpkt_interest_encode(ndnpkt_crypto_t* crypto, uint8_t* buf, size_t cap,
                                             const ndnpkt_interest_t* interest, const ndnpkt_signer_t* signer);

/* Encodes a Data: name, content type, freshness and final block if there are any, content (Packet Format, Data). Of the
 * signature nothing is read.
 * signer: NULL is DigestSha256.
 * Returns the size. Errors: as ndnpkt_interest_encode(); -EINVAL (broken name, final block that is not one component,
 * signer). */
NDNPKT_EXTERN ssize_t ndnpkt_data_encode(ndnpkt_crypto_t* crypto, uint8_t* buf, size_t cap, const ndnpkt_data_t* data,
                                         const ndnpkt_signer_t* signer);

/* How many bytes longer than its content such a Data can be at most, with this signer (NULL: DigestSha256); 0 if the
 * signer is not valid. The content is not read. */
NDNPKT_EXTERN size_t ndnpkt_data_overhead(const ndnpkt_data_t* data, const ndnpkt_signer_t* signer);

/* Looks whether the signature of a decoded packet is right.
 * key: its public key, or the secret; NULL for DigestSha256, which needs none.
 * Errors: -EBADMSG (the signature is wrong), -ENOKEY (the packet is not signed), -EKEYREJECTED (key is missing or of
 * another type than the signature), -ENOTSUP (a type that cannot be verified here), -EINVAL (NULL), -ENOMEM, -EIO
 * (libcrypto failed). Only 0 means that it is right. */
NDNPKT_EXTERN int ndnpkt_verify(ndnpkt_crypto_t* crypto, const ndnpkt_signature_t* signature, const ndnpkt_key_t* key);

/* Looks whether the digest in an Interest's name is that of its parameters; right for an Interest without them
 * (Packet Format, Interest, ApplicationParameters).
 * Errors: -EBADMSG (it is not), -EIO (libcrypto failed). */
NDNPKT_EXTERN int ndnpkt_interest_check(ndnpkt_crypto_t* crypto, const ndnpkt_interest_t* interest);

/* Whether a Data answers an Interest by its name: CanBePrefix and an implicit digest are looked at, freshness is not
 * (Packet Format, Interest, CanBePrefix).
 * wire: the whole Data packet, which the implicit digest is of; read only if the Interest has one.
 * Returns 1 or 0. Errors: -EIO (libcrypto failed). */
NDNPKT_EXTERN int ndnpkt_interest_matches(ndnpkt_crypto_t* crypto, const ndnpkt_interest_t* interest,
                                          const ndnpkt_data_t* data, ndnpkt_bytes_t wire);

/* SHA-256 of n pieces, one after the other. That of a whole Data packet is its implicit digest.
 * Errors: -EIO (libcrypto failed). */
NDNPKT_EXTERN int ndnpkt_sha256(ndnpkt_crypto_t* crypto, const ndnpkt_bytes_t pieces[], unsigned int n,
                                uint8_t ret_digest[NDNPKT_DIGEST_BYTES]);

/* The time in milliseconds since 1970, but larger each time in this process: for SignatureTime, which forwarders want
 * to grow from command to command. Any thread. */
NDNPKT_EXTERN uint64_t ndnpkt_signature_time(void);

/* --- Management ------------------------------------------------------------------------------- */

/* Which members of ndnpkt_parameters_t are there. */
enum {
  NDNPKT_HAS_NAME = 1 << 0,
  NDNPKT_HAS_FACE_ID = 1 << 1,
  NDNPKT_HAS_URI = 1 << 2,
  NDNPKT_HAS_LOCAL_URI = 1 << 3,
  NDNPKT_HAS_ORIGIN = 1 << 4,
  NDNPKT_HAS_COST = 1 << 5,
  NDNPKT_HAS_CAPACITY = 1 << 6,
  NDNPKT_HAS_COUNT = 1 << 7,
  NDNPKT_HAS_FLAGS = 1 << 8,
  NDNPKT_HAS_MASK = 1 << 9,
  NDNPKT_HAS_STRATEGY = 1 << 10,
  NDNPKT_HAS_EXPIRATION = 1 << 11,
  NDNPKT_HAS_PERSISTENCY = 1 << 12,
  NDNPKT_HAS_CONGESTION_INTERVAL = 1 << 13,
  NDNPKT_HAS_CONGESTION_THRESHOLD = 1 << 14,
  NDNPKT_HAS_MTU = 1 << 15,
  NDNPKT_HAS_SHM_TOKEN = 1 << 16
};

/* Flags of a route (NFD Management, RIB). */
enum { NDNPKT_ROUTE_CHILD_INHERIT = 1, NDNPKT_ROUTE_CAPTURE = 2 };

/* ControlParameters: what a command asks for, and what was done (NFD Management, ControlCommand). */
typedef struct ndnpkt_parameters_s {
  uint32_t has; /* NDNPKT_HAS_* of the members that are there; the others count for nothing */
  ndnpkt_name_t name;
  uint64_t face_id;
  ndnpkt_bytes_t uri, local_uri;
  uint64_t origin;
  uint64_t cost;
  uint64_t capacity;
  uint64_t count;
  uint64_t flags;
  uint64_t mask;
  ndnpkt_name_t strategy;
  uint64_t expiration_ms;
  uint64_t persistency;
  uint64_t congestion_interval_ns;
  uint64_t congestion_threshold; /* bytes */
  uint64_t mtu;                  /* bytes */
  ndnpkt_bytes_t shm_token;      /* ndn-rs's ShmControlToken, 176: the key of a handoff of descriptors */
} ndnpkt_parameters_t;

/* A command, or a request for a dataset: an Interest for /localhost/nfd/MODULE/VERB. */
typedef struct ndnpkt_command_s {
  ndnpkt_name_t name;             /* the Interest's whole name, which the answer has too; not read by encoding */
  ndnpkt_name_t prefix;           /* in front of the module; encoding takes /localhost/nfd if it is empty */
  ndnpkt_bytes_t module, verb;    /* "rib", "register" */
  bool malformed;                 /* its parameters are broken, or there twice: to be answered with 400 */
  bool has_parameters;            /* there are some; encoding always writes them */
  ndnpkt_parameters_t parameters; /* of the command */
  uint64_t lifetime_ms;           /* of the Interest */
  ndnpkt_signature_t signature;   /* encoding reads time and nonce, and makes what is not there */
} ndnpkt_command_t;

/* Takes an Interest for a command. Parameters are found where NFD has them, in the fifth component, or in
 * ApplicationParameters. Does not verify the signature: that is ndnpkt_verify() of command->signature. The form of
 * Packet Format 0.2, with the signature in the name, is read, and counts as not signed.
 * Errors: -ENOENT (it is no command: its name is not one of /localhost/nfd or /localhop/nfd with module and verb). Any
 * thread. */
NDNPKT_EXTERN int ndnpkt_command_decode(const ndnpkt_interest_t* interest, ndnpkt_command_t* ret_command);

/* Encodes a command: a signed Interest with its own nonces and time, unless command says which (NFD Management, Control
 * Command; Packet Format, Interest, Signed Interest).
 * command: prefix, module, verb, parameters, lifetime_ms (0: the default), signature.nonce, .time_ms.
 * signer: NULL is DigestSha256.
 * Returns the size. Errors: as ndnpkt_interest_encode(). */
NDNPKT_EXTERN ssize_t ndnpkt_command_encode(ndnpkt_crypto_t* crypto, uint8_t* buf, size_t cap,
                                            const ndnpkt_command_t* command, const ndnpkt_signer_t* signer);

/* True if the command is this verb of this module. Any thread. */
NDNPKT_EXTERN bool ndnpkt_command_is(const ndnpkt_command_t* command, const char* module, const char* verb);

/* ControlResponse: the content of the Data that answers a command (NFD Management, ControlCommand). */
typedef struct ndnpkt_response_s {
  uint64_t code;                  /* 200 is done, 400 and more are failures */
  ndnpkt_bytes_t text;            /* for people */
  bool has_parameters;            /* there is a ControlParameters element; not read by encoding */
  ndnpkt_parameters_t parameters; /* what was done */
} ndnpkt_response_t;

/* Decodes the content of a Data that answers a command. Elements that are not known are skipped, and so is whatever
 * else than ControlParameters follows the text.
 * Errors: -EBADMSG. Any thread. */
NDNPKT_EXTERN int ndnpkt_response_decode(ndnpkt_bytes_t content, ndnpkt_response_t* ret_response);

/* Encodes the content of such a Data. It always has ControlParameters, which may be empty: there are clients that do
 * not live without.
 * Returns the size. Errors: -ENOBUFS. Any thread. */
NDNPKT_EXTERN ssize_t ndnpkt_response_encode(uint8_t* buf, size_t cap, const ndnpkt_response_t* response);

/* The library's version: major << 16 | minor << 8 | patch, and as text. Any thread. */
NDNPKT_EXTERN unsigned int ndnpkt_version(void);
NDNPKT_EXTERN const char* ndnpkt_version_string(void);

#ifdef __cplusplus
}
#endif
#endif
