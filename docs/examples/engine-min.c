/* SPDX-License-Identifier: MIT */
/* engine-min.c: the smallest engine: creates the face argv[1] and echoes what the app sends until the app
 * is gone, or until ^C, so that no name stays. Does not wait for room: what finds the ring full is dropped. */
/* [engine] */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uvface.h>

static uv_signal_t interrupt;

static void stop(uvface_t* face) {
  uvface_close(face, NULL);
  uv_close((uv_handle_t*) &interrupt, NULL);
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  if (npkts < 0)
    stop(face); /* UV_EOF: the app is gone */
  else
    uvface_try_send_batch(face, pkts, (unsigned int) npkts);
}

static void on_signal(uv_signal_t* handle, int signum) {
  (void) signum;
  stop(handle->data);
}

int main(int argc, char** argv) {
  uvface_t face;
  if (argc > 1 && argv[1][0] == '-') {
    int asked = strcmp(argv[1], "--help") == 0;
    fprintf(asked ? stdout : stderr, "usage: engine-min [NAME]\n");
    return asked ? 0 : 2;
  }
  if (uvface_init(uv_default_loop(), &face) < 0) return 1;
  uv_signal_init(uv_default_loop(), &interrupt);
  interrupt.data = &face;
  int err = uvface_create(&face, argc > 1 ? argv[1] : "demo", NULL);
  if (err == 0) err = uvface_recv_start(&face, on_packets);
  if (err == 0) err = uv_signal_start(&interrupt, on_signal, SIGINT);
  fprintf(stderr, "engine-min: %s\n", err == 0 ? "ready" : uvface_errmsg(&face));
  if (err < 0) stop(&face);
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  return uv_loop_close(uv_default_loop()) != 0 || err < 0;
}
/* [engine end] */
