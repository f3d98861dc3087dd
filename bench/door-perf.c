/* SPDX-License-Identifier: MIT */
/* door-perf.c: how long an app takes from uvface_client_connect() to a face that it may use, one app after the other;
 * and how long many apps take that come at once, each a process with a face of its own. The server is a process beside
 * them. Prints both; judges nothing. Leaves nothing behind.
 *
 *   door-perf [CONNECTS [APPS]]      by default 1000 and 500 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uvface_mgmt.h>

static char path[64], uri[80];

/* --- The server ----------------------------------------------------------------------------------- */

static void on_open(uvface_app_t* app) {
  uvface_recv_start(app->face, NULL);
}

static void on_close(uvface_app_t* app, int status) {
  (void) app, (void) status;
}

static int serve(int ready_fd) {
  uvface_server_callbacks_t callbacks = UVFACE_SERVER_CALLBACKS_INIT;
  uvface_server_t server;
  uv_loop_t loop;
  int err;

  callbacks.on_open = on_open;
  callbacks.on_close = on_close;
  uv_loop_init(&loop);
  uvface_server_init(&loop, &server);
  err = uvface_server_listen(&server, path, NULL, &callbacks);
  if (err < 0) fprintf(stderr, "door-perf: %s\n", uvface_server_errmsg(&server));
  if (err < 0 || write(ready_fd, "r", 1) != 1) return 1;
  return uv_run(&loop, UV_RUN_DEFAULT);
}

/* --- An app ------------------------------------------------------------------------------------------ */

static void on_client(uvface_client_t* client, int status) {
  int* state = client->data;

  if (status < 0 && *state == 0) fprintf(stderr, "door-perf: %s\n", uvface_client_errmsg(client));
  *state = status == 0 ? 1 : -1;
}

/* Connects; the time in ns, 0 if that failed. The client stays open. */
static uint64_t connect_app(uv_loop_t* loop, uvface_client_t* client, int* state) {
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;
  uint64_t begin_ns = uv_hrtime();

  options.transport = UVFACE_SHM;
  *state = 0;
  client->data = state;
  if (uvface_client_init(loop, client) < 0 || uvface_client_connect(client, uri, &options, on_client) < 0) return 0;
  while (*state == 0) uv_run(loop, UV_RUN_ONCE);
  return *state > 0 ? uv_hrtime() - begin_ns : 0;
}

static int by_time(const void* a, const void* b) {
  uint64_t x = *(const uint64_t*) a, y = *(const uint64_t*) b;

  return x < y ? -1 : x > y;
}

static int one_after_the_other(unsigned int connects) {
  uint64_t* times_ns = calloc(connects, sizeof(*times_ns));
  unsigned int middle, late;
  uv_loop_t loop;

  if (times_ns == NULL) return 1;
  uv_loop_init(&loop);
  for (unsigned int i = 0; i < connects; i++) {
    uvface_client_t client;
    int state;

    times_ns[i] = connect_app(&loop, &client, &state);
    if (times_ns[i] == 0) {
      free(times_ns);
      return 1;
    }
    uvface_client_close(&client, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
  }
  uv_loop_close(&loop);
  qsort(times_ns, connects, sizeof(*times_ns), by_time);
  middle = connects / 2;
  late = connects * 99 / 100;
  printf("connect to usable face, %u apps one after the other: p50 %.0f us, p99 %.0f us, worst %.0f us\n", connects,
         (double) times_ns[middle] / 1e3, (double) times_ns[late] / 1e3, (double) times_ns[connects - 1] / 1e3);
  free(times_ns);
  return 0;
}

/* Tells when it is up, and stays until nobody listens any more. */
static int app_body(int go_fd, int up_fd) {
  uvface_client_t client;
  uv_loop_t loop;
  char byte;
  int state;

  uv_loop_init(&loop);
  if (read(go_fd, &byte, 1) != 0) return 1; /* the end of file is for all at once */
  byte = connect_app(&loop, &client, &state) != 0 ? 'u' : 'f';
  if (write(up_fd, &byte, 1) != 1) return 1;
  for (;;) pause();
}

static int at_once(unsigned int apps, pid_t pids[]) {
  int go[2], up[2];
  unsigned int good = 0;
  uint64_t begin_ns, took_ns;

  if (pipe(go) < 0 || pipe(up) < 0) return 1;
  for (unsigned int i = 0; i < apps; i++) {
    pids[i] = fork();
    if (pids[i] < 0) apps = i; /* no more than these */
    if (pids[i] != 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(go[1]);
    _exit(app_body(go[0], up[1]));
  }
  sleep(1); /* they have begun to wait */
  begin_ns = uv_hrtime();
  close(go[1]);
  for (unsigned int i = 0; i < apps; i++) {
    struct pollfd p = {.fd = up[0], .events = POLLIN};
    char byte;

    if (poll(&p, 1, 30000) <= 0 || read(up[0], &byte, 1) != 1) break;
    good += byte == 'u';
  }
  took_ns = uv_hrtime() - begin_ns;
  printf("%u apps at once, each a process with a face of its own: %u up in %.0f ms\n", apps, good,
         (double) took_ns / 1e6);
  for (unsigned int i = 0; i < apps; i++) {
    kill(pids[i], SIGKILL);
    waitpid(pids[i], NULL, 0);
  }
  return good == apps ? 0 : 1;
}

/* A number above 0, or 0. */
static unsigned int number(const char* text) {
  char* end;
  unsigned long value = strtoul(text, &end, 10);

  return *end == '\0' && value <= 100000 ? (unsigned int) value : 0;
}

int main(int argc, char** argv) {
  unsigned int connects = argc > 1 ? number(argv[1]) : 1000;
  unsigned int apps = argc > 2 ? number(argv[2]) : 500;
  pid_t* pids = calloc(apps + 1, sizeof(*pids));
  int ready[2], err;
  char byte;
  pid_t server;

  if (argc > 3 || connects == 0 || apps == 0 || pids == NULL) {
    free(pids);
    fprintf(stderr, "usage: door-perf [CONNECTS [APPS]]\n");
    return 2;
  }
  snprintf(path, sizeof(path), "/tmp/.ndn-door-perf-%ld.sock", (long) getpid());
  snprintf(uri, sizeof(uri), "unix://%s", path);
  server = pipe(ready) == 0 ? fork() : -1;
  if (server < 0) {
    perror("door-perf: no server");
    free(pids);
    return 1;
  }
  if (server == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(serve(ready[1]));
  }
  close(ready[1]);
  err = read(ready[0], &byte, 1) == 1 ? one_after_the_other(connects) : 1;
  fflush(stdout);
  if (err == 0) err = at_once(apps, pids);
  free(pids);
  kill(server, SIGKILL);
  waitpid(server, NULL, 0);
  unlink(path);
  return err;
}
