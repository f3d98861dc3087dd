/* SPDX-License-Identifier: MIT */
/* handoff.c: see handoff.h. Byte for byte what ndn-fwd does since June 2026. */
#include "handoff.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/un.h>

int uvface__handoff_path(ndnpkt_crypto_t* crypto, const char* dir, const unsigned char key[UVFACE__KEY_BYTES],
                         char* path, size_t cap) {
  const ndnpkt_bytes_t piece = {key, UVFACE__KEY_BYTES};
  unsigned char d[32];
  size_t max = sizeof(((struct sockaddr_un*) NULL)->sun_path);
  int n, err;

  err = ndnpkt_sha256(crypto, &piece, 1, d);
  if (err < 0) return err;
  n = snprintf(path, cap, "%s/.ndn-shm-ctl-%02x%02x%02x%02x%02x%02x%02x%02x.sock",
               dir != NULL ? dir : UVFACE__HANDOFF_DIR, d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]);
  return n < 0 || (size_t) n >= cap || (size_t) n >= max ? -ENAMETOOLONG : 0;
}

int uvface__handoff_proof(ndnpkt_crypto_t* crypto, const unsigned char key[UVFACE__KEY_BYTES], char who,
                          const unsigned char client_nonce[UVFACE__NONCE_BYTES],
                          const unsigned char server_nonce[UVFACE__NONCE_BYTES],
                          unsigned char proof[UVFACE__PROOF_BYTES]) {
  const ndnpkt_bytes_t pieces[] = {{key, UVFACE__KEY_BYTES},
                                   {(const uint8_t*) &who, 1},
                                   {client_nonce, UVFACE__NONCE_BYTES},
                                   {server_nonce, UVFACE__NONCE_BYTES}};

  return ndnpkt_sha256(crypto, pieces, 4, proof);
}

bool uvface__handoff_same(const unsigned char a[UVFACE__PROOF_BYTES], const unsigned char b[UVFACE__PROOF_BYTES]) {
  volatile unsigned char differs = 0; /* volatile: not to be left early */

  for (size_t i = 0; i < UVFACE__PROOF_BYTES; i++) differs = (unsigned char) (differs | (a[i] ^ b[i]));
  return differs == 0;
}

int uvface__random(unsigned char* buf, size_t bytes) {
  size_t have = 0;

  while (have < bytes) {
    ssize_t n = getrandom(buf + have, bytes - have, 0);

    if (n > 0)
      have += (size_t) n;
    else if (errno != EINTR)
      return -errno;
  }
  return 0;
}
