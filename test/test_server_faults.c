/* SPDX-License-Identifier: MIT */
/* test_server_faults.c: each system call and allocation of the server's fails once, with each error that is natural to
 * it (shim.h), while an app comes, asks for a face and fetches it. Whatever fails, the server either could not listen,
 * says so, and can be asked again; or it serves the next app, and in the end nothing is left. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "served.h"
#include "shim.h"

typedef struct guest_process_s {
  const served_t* served;
  const char* name; /* of its face; NULL: a private one */
  int go[2];
  pid_t pid;
} guest_process_t;

static int app_body(void* arg) {
  guest_process_t* app = arg;
  char byte;

  close(app->go[1]);
  if (read(app->go[0], &byte, 1) != 1) return 2;
  return app->name != NULL ? plain_named(app->served, app->name) : plain_app(app->served, handoff_key(1));
}

/* Forked before the arms are taken up. */
static void start(guest_process_t* app, const served_t* served, const char* name) {
  *app = (guest_process_t){.served = served, .name = name};
  ck_assert_int_eq(pipe(app->go), 0);
  app->pid = harness_fork(app_body, app);
  close(app->go[0]);
}

static int status_of_it;

static bool has_ended(guest_process_t* app) {
  if (app->pid != 0 && waitpid(app->pid, &status_of_it, WNOHANG) == app->pid) app->pid = 0;
  return app->pid == 0;
}

/* Lets it go, and serves it. Returns its status, -1 if it does not end. Calls nothing of Check's: that allocates. */
static int serve(guest_process_t* app, served_t* served) {
  patience_t patience;

  status_of_it = -1;
  if (writev(app->go[1], &(struct iovec){"g", 1}, 1) != 1) return -1; /* not write(), which may be the one to fail */
  patience_start(&patience, &served->loop, PATIENCE_MS);
  while (!has_ended(app) && !patience_is_over(&patience)) uv_run(&served->loop, UV_RUN_ONCE);
  patience_stop(&patience);
  close(app->go[1]);
  return status_of_it;
}

static void settle(served_t* served) {
  run_for(&served->loop, 1);
  RUN_UNTIL(&served->loop, served->closed == served->opened);
}

/* As a server that was killed leaves it. */
static void leave_stale_socket(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);

  memcpy(address.sun_path, path, strlen(path) + 1);
  ck_assert_int_eq(bind(fd, (const struct sockaddr*) &address, sizeof(address)), 0);
  close(fd);
}

/* Names stay where the call that removes them fails, or the one that looks whether they are ours. */
static void sweep(const char* path, const char* call, const char* name) {
  DIR* directory;

  if (strstr("unlink shm_unlink fstat lstat flock", call) == NULL) return;
  directory = opendir(path);

  for (struct dirent* e = readdir(directory); e != NULL; e = readdir(directory))
    if (strncmp(e->d_name, ".ndn", 4) == 0) unlinkat(dirfd(directory), e->d_name, 0);
  closedir(directory);
  if (name == NULL) return;
  unlink(harness_shm_path(name));
  unlink(harness_a2e_path(name));
  unlink(harness_e2a_path(name));
}

/* One life. False if so many calls are not made, or this one has no such error. */
static bool fail_once(unsigned int n, unsigned int k, const char* name, bool stale, bool* ret_made) {
  served_t served;
  guest_process_t victim, next;
  int err, status;
  const char* call;

  served_init(&served);
  served.options.face.capacity = 8;
  served.options.uid = geteuid(); /* so that it is given away, to ourselves */
  if (stale) leave_stale_socket(served.path);
  served.loses_answers = true;
  start(&victim, &served, name);
  served.loses_answers = false;
  start(&next, &served, name != NULL ? harness_name("next") : NULL);
  shim_fail_at(n, k);
  err = uvface_server_listen(&served.server, served.path, &served.options, &served.callbacks);
  status = err == 0 ? serve(&victim, &served) : 0;
  *ret_made = shim_disarm() >= n;
  call = shim_failed_call();
  ck_assert_msg(status != -1, "%s: its app hangs", call);
  if (err < 0) {
    ck_assert_msg(call != NULL, "%s", uvface_server_errmsg(&served.server));
    ck_assert_msg(strlen(uvface_server_errmsg(&served.server)) > 20, "%s: %s", call,
                  uvface_server_errmsg(&served.server));
    if (!stale) ck_assert_msg(!exists(served.path), "%s", call);
    served_listen(&served);
    serve(&victim, &served);
  }
  settle(&served);
  status = serve(&next, &served); /* nothing fails any more */
  ck_assert_msg(status == 0, "after %s (%s): %d", call != NULL ? call : "nothing", strerror(shim_failed_errno()),
                status);
  settle(&served);
  ck_assert_uint_eq(served_stats(&served).app_faces, 0);
  if (call != NULL) sweep(served.directory, call, name); /* what it could not remove */
  served_close(&served);
  if (name != NULL)
    ck_assert_msg(!exists(harness_shm_path(name)) && !exists(harness_a2e_path(name)) && !exists(harness_e2a_path(name)),
                  "after %s (%s)", call, strerror(shim_failed_errno()));
  return call != NULL;
}

static void fail_each_call(const char* name, bool stale) {
  unsigned int failed = 0;
  bool made = true;

  for (unsigned int n = 1; made; n++)
    for (unsigned int k = 0; fail_once(n, k, name, stale, &made); k++) failed++;
  printf("# %u failures\n", failed);
  ck_assert_uint_gt(failed, 60);
}

TEST(any_call_may_fail_while_a_private_face_is_fetched) {
  fail_each_call(NULL, true);
}

TEST(any_call_may_fail_while_a_named_face_is_made) {
  char name[80];

  if (harness_may_seal()) harness_forbid_sealing(); /* what is sealed cannot be swept */
  snprintf(name, sizeof(name), "%s", harness_name("faults"));
  fail_each_call(name, false);
}

/* --- Another file under the socket's name ------------------------------------------------------- */

static struct {
  const char* path; /* of the server's socket */
  char aside[200], victim[200];
  unsigned int at, step; /* before which step it is done; 0 = before none */
} swap;

/* As somebody does who may rename in the directory of the socket. */
static void swap_for_link(void) {
  struct stat st;

  if (++swap.step != swap.at || lstat(swap.path, &st) != 0 || !S_ISSOCK(st.st_mode)) return;
  if (rename(swap.path, swap.aside) == 0 && symlink(swap.victim, swap.path) != 0) fputs("# no link\n", stderr);
}

static mode_t mode_of(const char* path) {
  struct stat st;

  ck_assert_int_eq(lstat(path, &st), 0);
  return st.st_mode & 07777;
}

/* False if so many steps are not made. */
static bool swap_once(unsigned int at) {
  served_t served;
  int err, fd;

  served_init(&served);
  served.options.mode = 0666;
  served.options.uid = geteuid(); /* so that it is given away, to ourselves */
  swap.path = served.path;
  snprintf(swap.victim, sizeof(swap.victim), "%s/victim", served.directory);
  snprintf(swap.aside, sizeof(swap.aside), "%s/aside", served.directory);
  fd = open(swap.victim, O_CREAT | O_RDONLY | O_CLOEXEC, 0600);
  ck_assert_int_ge(fd, 0);
  close(fd);
  swap.at = at;
  swap.step = 0;
  shim_before_each(swap_for_link);
  err = uvface_server_listen(&served.server, served.path, &served.options, &served.callbacks);
  shim_before_each(NULL);
  ck_assert_msg(mode_of(swap.victim) == 0600, "step %u: %#o", at, mode_of(swap.victim));
  if (swap.step < at) ck_assert_int_eq(mode_of(served.path), 0666);
  unlink(swap.victim);
  unlink(swap.aside);
  if (err < 0 || swap.step >= at) unlink(served.path);
  served_close(&served);
  return swap.step >= at;
}

TEST(no_file_but_the_socket_gets_its_permissions) {
  unsigned int steps = 0;

  while (swap_once(steps + 1)) steps++;
  printf("# %u steps\n", steps);
  ck_assert_uint_gt(steps, 8);
}
