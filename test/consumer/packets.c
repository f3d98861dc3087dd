/* SPDX-License-Identifier: MIT */
/* packets.c: the least program that uses libndnpkt. Prints its version, makes a packet, reads it back and verifies it.
 * It shows that header, library and pkg-config file fit together; nothing else. */
#include <ndnpkt.h>
#include <stdio.h>

static int make_and_read(ndnpkt_crypto_t* crypto) {
  uint8_t name[32], buf[128];
  ndnpkt_data_t data = {.content = {(const uint8_t*) "hello", 5}};
  ndnpkt_packet_t packet;
  ssize_t len;

  if (ndnpkt_name_from_uri("/a/v=1", name, sizeof(name), &data.name) < 0) return 1;
  len = ndnpkt_data_encode(crypto, buf, sizeof(buf), &data, NULL);
  if (len < 0 || ndnpkt_packet_decode(buf, (size_t) len, &packet) < 0 || packet.kind != NDNPKT_DATA) return 1;
  return ndnpkt_verify(crypto, &packet.data.signature, NULL) != 0;
}

int main(void) {
  ndnpkt_crypto_t* crypto;
  int failed;

  printf("ndnpkt %s\n", ndnpkt_version_string());
  if (ndnpkt_crypto_new(&crypto) < 0) return 1;
  failed = make_and_read(crypto);
  ndnpkt_crypto_free(crypto);
  return failed;
}
