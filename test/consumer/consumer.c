/* SPDX-License-Identifier: MIT */
/* consumer.c: the least program that uses both libraries. Prints their versions, makes an endpoint and a face
 * and gives them back. It shows that headers, libraries and pkg-config files fit together; nothing else. */
#include <ndnshm.h>
#include <stdio.h>
#include <uvface.h>

static int make_endpoint(void) {
  ndnshm_t* ep;

  if (ndnshm_new(&ep) < 0) return 1;
  ndnshm_free(ep);
  return 0;
}

static int make_face(void) {
  uv_loop_t loop;
  uvface_t face;

  if (uv_loop_init(&loop) < 0 || uvface_init(&loop, &face) < 0) return 1;
  uvface_close(&face, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  return uv_loop_close(&loop) != 0;
}

int main(void) {
  printf("ndnshm %s uvface %s\n", ndnshm_version_string(), uvface_version_string());
  return make_endpoint() != 0 || make_face() != 0;
}
