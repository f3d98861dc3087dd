/* SPDX-License-Identifier: MIT */
/* engine-min.c: the smallest engine: creates the face argv[1] and echoes what the app sends until the app
 * is gone. Does not wait for room: what finds the ring full is dropped. */
/* [engine] */
#include <stdio.h>
#include <uvface.h>

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  if (npkts < 0)
    uvface_close(face, NULL); /* UV_EOF: the app is gone */
  else
    uvface_try_send_batch(face, pkts, (unsigned int) npkts);
}

int main(int argc, char** argv) {
  uvface_t face;
  int err = uvface_init(uv_default_loop(), &face);
  if (err < 0) return 1;
  err = uvface_create(&face, argc > 1 ? argv[1] : "demo", NULL);
  if (err == 0) err = uvface_recv_start(&face, on_packets);
  fprintf(stderr, "engine-min: %s\n", err == 0 ? "ready" : uvface_errmsg(&face));
  if (err < 0) uvface_close(&face, NULL);
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  return uv_loop_close(uv_default_loop()) != 0 || err < 0;
}
/* [engine end] */
