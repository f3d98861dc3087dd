/* SPDX-License-Identifier: MIT */
/* acceptor.c: see acceptor.h.
 *
 * Who may take a name: a socket that nobody listens to any more refuses connections, which is the proof that its server
 * is dead. The proof is asked of the file itself, held open by its inode, not of whatever has the name at the moment:
 * once before the name is moved away, and once after, when nobody else can reach it. So of two servers that start at
 * the same time, and find the same stale socket, none removes the fresh socket of the other for good. */
#include "acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "handoff.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* since Linux 6.16, which many headers do not know */
#endif

/* Connections that one turn of the loop takes. Each costs some ten microseconds, and others wait meanwhile; if there
 * are more, the next come a while later, so that most turns go without. */
#define ACCEPTS_PER_TURN 8
#define BREATH_MS 1
/* How long to wait for descriptors or memory to come back. */
#define PAUSE_MS 50

#define ACCEPTOR_OF(pointer, member) ((uvface__acceptor_t*) ((char*) (pointer) -offsetof(uvface__acceptor_t, member)))

int uvface__explain(char* why, size_t cap, const char* call, const char* object, int err) {
  int code = uv_translate_sys_error(err);

  snprintf(why, cap, "%s %s: %s", call, object, uv_strerror(code));
  return code;
}

/* --- Taking a name over ------------------------------------------------------------------------- */

/* 0 if the socket behind fd refuses connections; else a negative errno. A file that is held by its inode is reached
 * through /proc, whatever its name is now. */
static int check_dead(int fd) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int err;

  if (probe < 0) return -errno;
  snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", fd);
  err = connect(probe, (const struct sockaddr*) &address, sizeof(address)) == 0 ? EADDRINUSE : errno;
  close(probe);
  if (err == ECONNREFUSED) return 0;
  /* its queue is full; it is another kind of socket; we may not ask: none of these is dead */
  return err == EAGAIN || err == EPROTOTYPE || err == EACCES || err == EPERM ? -EADDRINUSE : -err;
}

static bool is_named(const char* path, dev_t dev, ino_t ino) {
  struct stat st;

  return lstat(path, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

/* Moves the stale socket out of the way and removes it, or moves back what it was not. */
static int move_away(int fd, const struct stat* st, const char* path) {
  char aside[UVFACE__SOCKET_PATH_BYTES + 32];
  unsigned char random[8];
  int err = uvface__random(random, sizeof(random));

  if (err < 0) return err;
  snprintf(aside, sizeof(aside), "%s.%02x%02x%02x%02x%02x%02x%02x%02x", path, random[0], random[1], random[2],
           random[3], random[4], random[5], random[6], random[7]);
  if (rename(path, aside) != 0) return errno == ENOENT ? 0 : -errno;
  err = -EADDRINUSE;
  if (is_named(aside, st->st_dev, st->st_ino) && check_dead(fd) == 0) {
    if (unlink(aside) == 0) return 0;
    err = -errno;
  }
  (void) renameat2(AT_FDCWD, aside, AT_FDCWD, path, RENAME_NOREPLACE);
  return err;
}

static int clear_stale(const char* path) {
  struct stat st;
  int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  int err;

  if (fd < 0) return errno == ENOENT ? 0 : -errno;
  if (fstat(fd, &st) != 0)
    err = -errno;
  else
    err = S_ISSOCK(st.st_mode) ? check_dead(fd) : -EADDRINUSE;
  if (err == 0) err = move_away(fd, &st, path);
  close(fd);
  return err;
}

/* --- Opening ------------------------------------------------------------------------------------ */

static int take_name(int fd, const char* path, char* why, size_t cap) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int err;

  memcpy(address.sun_path, path, strlen(path) + 1);
  if (bind(fd, (const struct sockaddr*) &address, sizeof(address)) == 0) return 0;
  if (errno != EADDRINUSE) return uvface__explain(why, cap, "bind", path, errno);
  err = clear_stale(path);
  if (err < 0) return uvface__explain(why, cap, "bind", path, -err);
  if (bind(fd, (const struct sockaddr*) &address, sizeof(address)) == 0) return 0;
  return uvface__explain(why, cap, "bind", path, errno);
}

/* Connections take after the socket that they came to: none ever brings descriptors, whose closing could cost us
 * time. */
static void refuse_descriptors(int fd) {
  static const int off = 0;

  setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof(off));
}

/* Of the very file behind named_fd. Where there is no /proc, by its name again. */
static int set_mode(int named_fd, const char* path, mode_t mode) {
  char self[sizeof("/proc/self/fd/") + 10];

  snprintf(self, sizeof(self), "/proc/self/fd/%d", named_fd);
  return chmod(self, mode) == 0 || (errno == ENOENT && chmod(path, mode) == 0) ? 0 : -1;
}

/* Before listen(): until then every connection is refused, so nobody comes in by permissions that are not right yet. */
static int set_access(int named_fd, const uvface__socket_place_t* place, char* why, size_t cap) {
  if (set_mode(named_fd, place->path, place->mode) != 0) return uvface__explain(why, cap, "chmod", place->path, errno);
  if (place->uid == (uid_t) -1 && place->gid == (gid_t) -1) return 0;
  if (fchownat(named_fd, "", place->uid, place->gid, AT_EMPTY_PATH) == 0) return 0;
  if (errno != EPERM || place->mode_if_not_given == 0) return uvface__explain(why, cap, "chown", place->path, errno);
  if (set_mode(named_fd, place->path, place->mode_if_not_given) == 0) return 0;
  return uvface__explain(why, cap, "chmod", place->path, errno);
}

static char* absolute(const char* path) {
  char* cwd = path[0] == '/' ? NULL : getcwd(NULL, 0);
  size_t bytes = strlen(path) + (cwd != NULL ? strlen(cwd) : 0) + 2;
  char* name = malloc(bytes);

  if (name != NULL) snprintf(name, bytes, "%s%s%s", cwd != NULL ? cwd : "", cwd != NULL ? "/" : "", path);
  free(cwd);
  return name;
}

/* What has the name: a socket, and not another's by a hard link. Else somebody has put it there, who may rename in that
 * directory. */
static int look(uvface__acceptor_t* a, int named_fd, const char* path, char* why, size_t cap) {
  struct stat st;

  if (fstat(named_fd, &st) != 0) return uvface__explain(why, cap, "fstat", path, errno);
  if (!S_ISSOCK(st.st_mode) || st.st_nlink > 1) return uvface__explain(why, cap, "bind", path, EADDRINUSE);
  a->dev = st.st_dev;
  a->ino = st.st_ino;
  return 0;
}

/* The socket has its name. It is only ours if it still has it once it listens: before, another server may have taken it
 * for a dead one. */
static int begin_to_listen(uvface__acceptor_t* a, const uvface__socket_place_t* place, char* why, size_t cap) {
  int named_fd = open(place->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  int err;

  err = named_fd < 0 ? uvface__explain(why, cap, "open", place->path, errno) : look(a, named_fd, place->path, why, cap);
  if (err < 0 && err != UV_EADDRINUSE) unlink(place->path); /* it was bound just now */
  if (err == 0) err = set_access(named_fd, place, why, cap);
  if (named_fd >= 0) close(named_fd);
  if (err < 0) return err;
  refuse_descriptors(a->fd);
  if (listen(a->fd, place->backlog) != 0) return uvface__explain(why, cap, "listen", place->path, errno);
  if (!is_named(place->path, a->dev, a->ino)) return uvface__explain(why, cap, "listen", place->path, EADDRINUSE);
  return 0;
}

static void on_readable(uv_poll_t* handle, int status, int events);
static void on_pause_over(uv_timer_t* timer);

/* Who waits in the queue goes on waiting; the poll would tell of them all the time. */
static void pause_accepting(uvface__acceptor_t* a, uint64_t ms) {
  if (uv_is_closing((uv_handle_t*) &a->poll)) return; /* somebody else has closed it */
  uv_poll_stop(&a->poll);
  uv_timer_start(&a->pause, on_pause_over, ms, 0);
}

static void resume_accepting(uvface__acceptor_t* a) {
  if (uv_is_closing((uv_handle_t*) &a->poll)) return;
  if (uv_poll_start(&a->poll, UV_READABLE, on_readable) < 0) pause_accepting(a, PAUSE_MS);
}

static void on_pause_over(uv_timer_t* timer) {
  resume_accepting(ACCEPTOR_OF(timer, pause));
}

static int begin_to_poll(uv_loop_t* loop, uvface__acceptor_t* a, const char* path, char* why, size_t cap) {
  int err = uv_poll_init(loop, &a->poll, a->fd);

  if (err < 0) {
    snprintf(why, cap, "uv_poll_init %s: %s", path, uv_strerror(err));
    return err;
  }
  uv_timer_init(loop, &a->pause);
  a->poll.data = a->pause.data = NULL;
  resume_accepting(a);
  return 0;
}

/* What cannot be looked at is taken for ours: it was. */
static void remove_name(uvface__acceptor_t* a) {
  struct stat st;

  if (a->name != NULL && a->ino != 0 && (lstat(a->name, &st) != 0 || (st.st_dev == a->dev && st.st_ino == a->ino)))
    unlink(a->name);
  free(a->name);
  a->name = NULL;
}

int uvface__acceptor_open(uv_loop_t* loop, uvface__acceptor_t* a, const uvface__socket_place_t* place, char* why,
                          size_t cap) {
  int err;

  if (strlen(place->path) >= UVFACE__SOCKET_PATH_BYTES)
    return uvface__explain(why, cap, "bind", place->path, ENAMETOOLONG);
  a->loop = loop;
  a->ino = 0;
  a->name = absolute(place->path);
  if (a->name == NULL) return uvface__explain(why, cap, "malloc", place->path, ENOMEM);
  a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  err = a->fd < 0 ? uvface__explain(why, cap, "socket", place->path, errno) : take_name(a->fd, place->path, why, cap);
  if (err == 0) err = begin_to_listen(a, place, why, cap);
  if (err == 0) err = begin_to_poll(loop, a, place->path, why, cap);
  if (err == 0) return 0;
  remove_name(a);
  if (a->fd >= 0) close(a->fd);
  a->fd = -1;
  return err;
}

/* --- Accepting ---------------------------------------------------------------------------------- */

static void on_readable(uv_poll_t* handle, int status, int events) {
  uvface__acceptor_t* a = ACCEPTOR_OF(handle, poll);

  (void) status, (void) events; /* accept4() tells what is wrong */
  for (int n = 0; n < ACCEPTS_PER_TURN && a->fd >= 0; n++) {
    int fd = accept4(a->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int error = errno;

    if (fd >= 0) {
      a->on_accept(a, fd);
      continue;
    }
    if (error == EAGAIN) return;
    if (error == EINTR || error == ECONNABORTED) continue;
    pause_accepting(a, PAUSE_MS);
    a->on_trouble(a, error);
    return;
  }
  if (a->fd >= 0) pause_accepting(a, BREATH_MS);
}

/* --- Closing ------------------------------------------------------------------------------------ */

static void on_handles_closed(uvface__closing_t* closing) {
  uvface__acceptor_t* a = ACCEPTOR_OF(closing, closing);

  a->on_closed(a);
}

void uvface__acceptor_close(uvface__acceptor_t* a, void (*on_closed)(uvface__acceptor_t* acceptor)) {
  a->on_closed = on_closed;
  remove_name(a); /* before its inode may become another file's */
  uvface__close_handle((uv_handle_t*) &a->poll);
  uvface__close_handle((uv_handle_t*) &a->pause);
  uvface__closing_begin(a->loop, &a->closing, on_handles_closed);
  close(a->fd);
  a->fd = -1;
}
