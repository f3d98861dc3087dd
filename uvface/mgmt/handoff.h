/* SPDX-License-Identifier: MIT */
/* handoff.h: what both sides of the handoff of descriptors know: the name of its socket and the two proofs.
 *
 * The forwarder gives the three descriptors of a private face to whoever knows the key K that the app put into its
 * faces/create. Both prove that they know it, with a nonce from each. No I/O here. Any thread. */
#ifndef UVFACE_MGMT_HANDOFF_H
#define UVFACE_MGMT_HANDOFF_H

#include <stdbool.h>
#include <stddef.h>

#include "ndnpkt.h"

#define UVFACE__KEY_BYTES 32
#define UVFACE__NONCE_BYTES 32
#define UVFACE__PROOF_BYTES 32
#define UVFACE__HANDOFF_BYTE 0xED /* what comes with the descriptors */
#define UVFACE__HANDOFF_DIR "/tmp"
#define UVFACE__HANDOFF_STEP_MS 1000 /* for each step of each connector */

/* Writes the path of the socket: dir (NULL = the default) and 16 digits of SHA-256(key).
 * Errors: -ENAMETOOLONG (cap, or more than a Unix address holds), -EIO, -ENOMEM. */
int uvface__handoff_path(ndnpkt_crypto_t* crypto, const char* dir, const unsigned char key[UVFACE__KEY_BYTES],
                         char* path, size_t cap);

/* Writes SHA-256(key, who, client_nonce, server_nonce). who: 'S' or 'C', for who proves. Errors: -EIO, -ENOMEM. */
int uvface__handoff_proof(ndnpkt_crypto_t* crypto, const unsigned char key[UVFACE__KEY_BYTES], char who,
                          const unsigned char client_nonce[UVFACE__NONCE_BYTES],
                          const unsigned char server_nonce[UVFACE__NONCE_BYTES],
                          unsigned char proof[UVFACE__PROOF_BYTES]);

/* Compares in constant time. */
bool uvface__handoff_same(const unsigned char a[UVFACE__PROOF_BYTES], const unsigned char b[UVFACE__PROOF_BYTES]);

/* Fills buf with random bytes from the kernel (getrandom(), which does not wait once the machine is up).
 * Errors: its negative errno. */
int uvface__random(unsigned char* buf, size_t bytes);

#endif
