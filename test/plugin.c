/* SPDX-License-Identifier: MIT */
/* plugin.c: a plug-in with the libraries in it, as archives: what test_unload.c loads, uses and unloads. */
#include "ndnshm.h"
#include "uvface.h"

int plugin_run(const char* name);

/* A guarded face from its birth to its end, and one of libuv's on a loop, which removes its names
 * on a thread. */
__attribute__((visibility("default"))) int plugin_run(const char* name) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  uv_loop_t loop;
  uvface_t face;
  ndnshm_t* ep;

  options.flags = NDNSHM_SIGBUS_GUARD;
  if (ndnshm_new(&ep) < 0 || ndnshm_create(ep, name, &options) < 0) return 1;
  ndnshm_free(ep);
  if (uv_loop_init(&loop) < 0 || uvface_init(&loop, &face) < 0) return 1;
  if (uvface_create(&face, name, NULL) < 0) return 1;
  uvface_close(&face, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  return uv_loop_close(&loop) == 0 ? 0 : 1;
}
