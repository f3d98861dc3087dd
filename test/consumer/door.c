/* SPDX-License-Identifier: MIT */
/* door.c: the least program that uses libuvface_mgmt, and names no other library. Prints its version, makes a client
 * and a server and gives them back. It shows that the libraries behind the one are found, too. */
#include <stdio.h>
#include <uvface_mgmt.h>

int main(void) {
  uvface_client_t client;
  uvface_server_t server;
  uv_loop_t loop;

  printf("uvface_mgmt %s\n", uvface_mgmt_version_string());
  if (uv_loop_init(&loop) < 0 || uvface_client_init(&loop, &client) < 0 || uvface_server_init(&loop, &server) < 0)
    return 1;
  uvface_client_close(&client, NULL);
  uvface_server_close(&server, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  return uv_loop_close(&loop) != 0;
}
