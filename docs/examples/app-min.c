/* SPDX-License-Identifier: MIT */
/* app-min.c: the smallest app: sends one packet by the face argv[1] and prints the reply. Waits for that
 * as long as the engine lives. */
/* [app] */
#include <stdio.h>
#include <string.h>
#include <uvface.h>

static void on_reply(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  if (npkts > 0)
    printf("%.*s\n", (int) pkts[0].len, pkts[0].base);
  else
    fprintf(stderr, "app-min: no reply: %s\n", uv_strerror((int) npkts));
  uvface_close(face, NULL);
}

int main(int argc, char** argv) {
  uvface_t face;
  if (argc > 1 && argv[1][0] == '-') {
    int asked = strcmp(argv[1], "--help") == 0;
    fprintf(asked ? stdout : stderr, "usage: app-min [NAME]\n");
    return asked ? 0 : 2;
  }
  uvface_send_t req;
  char hello[] = "hello";
  uv_buf_t packet = uv_buf_init(hello, sizeof(hello) - 1);
  int err = uvface_init(uv_default_loop(), &face);
  if (err < 0) return 1;
  err = uvface_connect(&face, argc > 1 ? argv[1] : "demo", NULL);
  if (err == 0) err = uvface_recv_start(&face, on_reply);
  if (err == 0) err = uvface_send(&req, &face, &packet, 1, NULL);
  if (err < 0) {
    fprintf(stderr, "app-min: %s\n", uvface_errmsg(&face));
    uvface_close(&face, NULL);
  }
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  return uv_loop_close(uv_default_loop()) != 0 || err < 0;
}
/* [app end] */
