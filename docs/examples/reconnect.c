/* SPDX-License-Identifier: MIT */
/* reconnect.c: an app of the named face argv[1] that outlives its engine: it connects as soon as there is one, sends a
 * packet, prints what comes back, and when the engine has gone connects to the next. Ends when argv[2] engines have
 * gone; 0 or none: never. What was in flight when the engine went is lost: who must know asks again. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvface.h>

static const char* name;
static long engines; /* how many may go */
static uvface_t face;
static uvface_send_t req;
static uv_timer_t again;
static bool waiting; /* and has said so */

/* [reconnect] */
static void on_packets(uvface_t* from, ssize_t npkts, const uv_buf_t pkts[]);

static void try_to_connect(uv_timer_t* timer) {
  int err = uvface_connect(&face, name, NULL);
  if (err == UV_ENOENT || err == UV_ECONNREFUSED ||
      err == UV_EPROTO) { /* no engine yet, or one that is dead, or not ready */
    if (!waiting) fprintf(stderr, "reconnect: waiting for an engine: %s\n", uvface_errmsg(&face));
    waiting = true;
    uv_timer_start(timer, try_to_connect, 50, 0);
    return;
  }
  waiting = false;
  uv_buf_t hello = uv_buf_init("hello", 5);
  if (err == 0) err = uvface_recv_start(&face, on_packets);
  if (err == 0) err = uvface_send(&req, &face, &hello, 1, NULL);
  fprintf(stderr, "reconnect: %s\n", err == 0 ? "connected" : uvface_errmsg(&face));
  if (err < 0) uvface_close(&face, NULL);
}

static void on_closed(uvface_t* closed) { /* from here on its memory may be used again */
  if (engines > 0 && --engines == 0) return;
  if (uvface_init(closed->loop, closed) == 0) uv_timer_start(&again, try_to_connect, 50, 0);
}

static void on_packets(uvface_t* from, ssize_t npkts, const uv_buf_t pkts[]) {
  if (npkts < 0) {
    fprintf(stderr, "reconnect: %s\n", uv_strerror((int) npkts)); /* UV_EOF: the engine has gone */
    uvface_close(from, on_closed);
  } else {
    printf("%.*s\n", (int) pkts[0].len, pkts[0].base);
    fflush(stdout);
  }
}
/* [reconnect end] */

int main(int argc, char** argv) {
  char* end = "";
  name = argc > 1 ? argv[1] : "demo";
  engines = argc > 2 ? strtol(argv[2], &end, 10) : 0;
  if (argc > 3 || name[0] == '-' || engines < 0 || *end != '\0') {
    bool asked = strcmp(name, "--help") == 0;
    fprintf(asked ? stdout : stderr, "usage: reconnect [NAME [ENGINES]]\n");
    return asked ? 0 : 2;
  }
  if (uv_timer_init(uv_default_loop(), &again) < 0 || uvface_init(uv_default_loop(), &face) < 0) return 1;
  try_to_connect(&again);
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  uv_close((uv_handle_t*) &again, NULL);
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  return uv_loop_close(uv_default_loop()) != 0;
}
