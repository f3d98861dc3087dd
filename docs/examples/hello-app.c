/* SPDX-License-Identifier: MIT */
/* hello-app.c: an app in forty lines: answers every Interest under the prefix argv[1] with "hello", through the
 * forwarder at the URI argv[2], or the one of this host. Ends with 1 when there is none, or none any more. Does not
 * look at what is asked. */
/* [app] */
#include <stdio.h>
#include <string.h>
#include <uvface_mgmt.h>

static ndnpkt_crypto_t* crypto;
static int err; /* why there is no face */

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  for (ssize_t i = 0; i < npkts; i++) {
    ndnpkt_packet_t packet;
    uv_buf_t slot;
    if (ndnpkt_packet_decode((const uint8_t*) pkts[i].base, pkts[i].len, &packet) < 0) continue;
    ndnpkt_data_t data = {.name = packet.interest.name, .content = {(const uint8_t*) "hello", 5}};
    if (packet.kind != NDNPKT_INTEREST || uvface_reserve(face, NDNPKT_PACKET_MAX, &slot) < 0) continue;
    ssize_t size = ndnpkt_data_encode(crypto, (uint8_t*) slot.base, slot.len, &data, NULL);
    uvface_commit(face, size > 0 ? (size_t) size : 0);
  }
}

static void on_client(uvface_client_t* client, int status) {
  err = status;
  fprintf(stderr, "hello-app: %s\n", status == 0 ? "ready" : uvface_client_errmsg(client));
  if (status == 0)
    uvface_recv_start(client->face, on_packets);
  else
    uvface_client_close(client, NULL);
}

int main(int argc, char** argv) {
  uvface_client_t client;
  uvface_command_t command;
  uint8_t buf[256];
  ndnpkt_name_t prefix;
  const char* name = argc > 1 ? argv[1] : "/hello";
  if (argc > 3 || name[0] == '-' || ndnpkt_name_from_uri(name, buf, sizeof(buf), &prefix) < 0) {
    int asked = strcmp(name, "--help") == 0;
    fprintf(asked ? stdout : stderr, "usage: hello-app [/PREFIX [URI]]\n");
    return asked ? 0 : 2;
  }
  if (ndnpkt_crypto_new(&crypto) < 0 || uvface_client_init(uv_default_loop(), &client) < 0) return 1;
  err = uvface_client_connect(&client, argc > 2 ? argv[2] : NULL, NULL, on_client);
  if (err == 0) err = uvface_client_register(&client, &command, prefix.base, prefix.len, NULL, NULL);
  if (err < 0) on_client(&client, err);
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  ndnpkt_crypto_free(crypto);
  return uv_loop_close(uv_default_loop()) != 0 || err < 0;
}
/* [app end] */
