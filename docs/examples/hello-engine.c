/* SPDX-License-Identifier: MIT */
/* hello-engine.c: an engine in forty lines: listens on the socket argv[1] until ^C; whoever registers a prefix is
 * asked for it, and what is answered is printed. Forwards nothing. */
/* [engine] */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uvface_mgmt.h>

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face;
  for (ssize_t i = 0; i < npkts; i++) {
    ndnpkt_packet_t packet;
    if (ndnpkt_packet_decode((const uint8_t*) pkts[i].base, pkts[i].len, &packet) == 0 && packet.kind == NDNPKT_DATA)
      printf("%.*s\n", (int) packet.data.content.len, (const char*) packet.data.content.base);
  }
  fflush(stdout);
}

static void on_open(uvface_app_t* app) {
  uvface_recv_start(app->face, on_packets);
}

static void on_close(uvface_app_t* app, int status) {
  fprintf(stderr, "hello-engine: %s: %s\n", app->uri, uv_strerror(status));
}

static unsigned int on_command(uvface_app_t* app, const ndnpkt_command_t* command, ndnpkt_response_t* response) {
  (void) response; /* "OK", and what was asked for */
  uint8_t bytes[NDNPKT_PACKET_MAX];
  if (!ndnpkt_command_is(command, "rib", "register")) return 404;
  ndnpkt_interest_t interest = {.name = command->parameters.name, .can_be_prefix = true, .lifetime_ms = 4000};
  ssize_t size = ndnpkt_interest_encode(NULL, bytes, sizeof(bytes), &interest, NULL);
  uv_buf_t packet = uv_buf_init((char*) bytes, size > 0 ? (unsigned int) size : 0);
  return uvface_try_send(app->face, &packet, 1) > 0 ? 200 : 400;
}

static void on_signal(uv_signal_t* handle, int signum) {
  (void) signum;
  uvface_server_close(handle->data, NULL);
  uv_close((uv_handle_t*) handle, NULL);
}

int main(int argc, char** argv) {
  uvface_server_t server;
  uv_signal_t interrupt = {.data = &server};
  uvface_server_callbacks_t callbacks = {sizeof(callbacks), on_open, on_close, on_command, NULL};
  if (argc != 2 || argv[1][0] == '-') {
    int asked = argc == 2 && strcmp(argv[1], "--help") == 0;
    fprintf(asked ? stdout : stderr, "usage: hello-engine SOCKET\n");
    return asked ? 0 : 2;
  }
  if (uvface_server_init(uv_default_loop(), &server) < 0) return 1;
  uv_signal_init(uv_default_loop(), &interrupt);
  int err = uvface_server_listen(&server, argv[1], NULL, &callbacks);
  fprintf(stderr, "hello-engine: %s\n", err == 0 ? "ready" : uvface_server_errmsg(&server));
  if (err < 0 || uv_signal_start(&interrupt, on_signal, SIGINT) < 0) on_signal(&interrupt, 0);
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  return uv_loop_close(uv_default_loop()) != 0 || err < 0;
}
/* [engine end] */
