/* SPDX-License-Identifier: MIT */
/* test_places.c: where a face lives: names that somebody else has taken in every way there is, other users,
 * umask, full file systems, limits. In both roles, through the adapter. What runs as another user, in a mount
 * namespace of its own or with other limits runs in a child. Tests that need root, or a namespace that is
 * refused, are skipped elsewhere. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ndnshm.h>

#include "faces.h"

#define APP_UID 61234
#define THIRD_UID 61235
#define FACE_GID 61300
#define SKIPPED 77

/* --- A face of one role, and its three places --------------------------------------------------- */

enum { SHM, A2E, E2A, PLACES };

typedef struct place_s {
  char name[80];
  char paths[PLACES][128];
  char victims[PLACES][128]; /* a file beside each that must not be touched */
  uv_loop_t loop;
  uvface_t face;
} place_t;

static void open_place(place_t* p, const char* tag) {
  memset(p, 0, sizeof(*p));
  snprintf(p->name, sizeof(p->name), "%s", harness_name(tag));
  snprintf(p->paths[SHM], sizeof(p->paths[0]), "%s", harness_shm_path(p->name));
  snprintf(p->paths[A2E], sizeof(p->paths[0]), "%s", harness_a2e_path(p->name));
  snprintf(p->paths[E2A], sizeof(p->paths[0]), "%s", harness_e2a_path(p->name));
  snprintf(p->victims[SHM], sizeof(p->victims[0]), "%s-victim", harness_shm_path(p->name));
  snprintf(p->victims[A2E], sizeof(p->victims[0]), "/tmp/.ndn-%s-victim", p->name);
  snprintf(p->victims[E2A], sizeof(p->victims[0]), "/tmp/.ndn-%s-victim", p->name);
  ASSERT_OK(uv_loop_init(&p->loop));
  ASSERT_OK(uvface_init(&p->loop, &p->face));
}

static void drop_place(place_t* p) {
  uvface_close(&p->face, NULL);
  finish_loop(&p->loop);
}

static int names_there(const place_t* p) {
  return exists(p->paths[SHM]) + exists(p->paths[A2E]) + exists(p->paths[E2A]);
}

static bool errmsg_has(const uvface_t* face, const char* piece) {
  if (strstr(uvface_errmsg(face), piece) != NULL) return true;
  fprintf(stderr, "# '%s' does not say '%s'\n", uvface_errmsg(face), piece);
  return false;
}

static int become(uid_t uid, gid_t gid) {
  REQUIRE(setgroups(0, NULL) == 0);
  REQUIRE(setgid(gid) == 0);
  REQUIRE(setuid(uid) == 0);
  return 0;
}

static void assert_child_passes_or_skips(int (*body)(void* arg), void* arg) {
  int status = harness_wait(harness_fork(body, arg), DEADLINE_MS);

  if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) SKIP("a mount namespace is refused");
  ck_assert_msg(status == 0, "status %#x", (unsigned) status);
}

/* --- Squatters ---------------------------------------------------------------------------------- */

typedef enum squat {
  PLAIN_FILE,
  DIRECTORY,
  UNREAD_FIFO,
  READ_FIFO,
  SYMLINK,
  DANGLING,
  HARD_LINK,
  UNIX_SOCKET,
  SQUATS
} squat_t;

static const char precious[] = "precious";

static void make_file(const char* path, const char* text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);

  ck_assert_msg(fd >= 0, "open %s: %s", path, strerror(errno));
  ck_assert_int_eq(fchmod(fd, 0640), 0);
  ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t) strlen(text));
  close(fd);
}

static void bind_socket(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
  ck_assert_int_eq(bind(fd, (struct sockaddr*) &address, sizeof(address)), 0);
  close(fd);
}

/* Puts something under the path; a descriptor that belongs to it, or -1. */
static int squat(squat_t kind, const char* path, const char* victim) {
  switch (kind) {
    case PLAIN_FILE: make_file(path, "squatted"); break;
    case DIRECTORY: ck_assert_int_eq(mkdir(path, 0700), 0); break;
    case UNREAD_FIFO: ck_assert_int_eq(mkfifo(path, 0600), 0); break;
    case READ_FIFO: ck_assert_int_eq(mkfifo(path, 0600), 0); return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    case SYMLINK: ck_assert_int_eq(symlink(victim, path), 0); break;
    case DANGLING: ck_assert_int_eq(symlink("/nowhere/at/all", path), 0); break;
    case HARD_LINK: ck_assert_int_eq(link(victim, path), 0); break;
    case UNIX_SOCKET: bind_socket(path); break;
    case SQUATS: break;
  }
  return -1;
}

static void unsquat(const char* path, int fd) {
  if (fd >= 0) close(fd);
  if (unlink(path) != 0) rmdir(path);
}

static void assert_untouched(const char* victim) {
  char text[sizeof(precious) + 1] = "";
  struct stat st;
  int fd = open(victim, O_RDONLY | O_CLOEXEC);

  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(read(fd, text, sizeof(text)), (ssize_t) strlen(precious));
  ck_assert_str_eq(text, precious);
  ck_assert_int_eq(fstat(fd, &st), 0);
  ck_assert_uint_eq(st.st_mode & 07777, 0640);
  ck_assert_uint_eq(st.st_uid, geteuid());
  close(fd);
}

/* What a squatted name gives a create: 0 where it is our own user's and nobody lives behind it. */
static const int create_results[SQUATS][PLACES] = {
    [PLAIN_FILE] = {0, UV_EADDRINUSE, UV_EADDRINUSE},
    [DIRECTORY] = {UV_EADDRINUSE, UV_EADDRINUSE, UV_EADDRINUSE},
    [UNREAD_FIFO] = {UV_EADDRINUSE, 0, 0},
    [READ_FIFO] = {UV_EADDRINUSE, UV_EADDRINUSE, 0}, /* who reads e2a is an app */
    [SYMLINK] = {UV_EADDRINUSE, UV_EADDRINUSE, UV_EADDRINUSE},
    [DANGLING] = {UV_EADDRINUSE, UV_EADDRINUSE, UV_EADDRINUSE},
    [HARD_LINK] = {0, UV_EADDRINUSE, UV_EADDRINUSE}, /* this name of it goes, the other stays */
    [UNIX_SOCKET] = {UV_EADDRINUSE, UV_EADDRINUSE, UV_EADDRINUSE},
};

TEST_LOOP(squatted_name_fails_create_or_is_taken, SQUATS* PLACES) {
  squat_t kind = (squat_t) (_i / PLACES);
  int place = _i % PLACES, expected = create_results[kind][place];
  struct stat before, after;
  place_t p;
  int fd;

  open_place(&p, "squat");
  make_file(p.victims[place], precious);
  fd = squat(kind, p.paths[place], p.victims[place]);
  ck_assert_int_eq(lstat(p.paths[place], &before), 0);
  ck_assert_int_eq(uvface_create(&p.face, p.name, NULL), expected);
  if (expected == 0) {
    ck_assert_int_eq(names_there(&p), 3);
    close_face(&p.face);
    ck_assert_int_eq(names_there(&p), 0);
    if (fd >= 0) close(fd);
  } else {
    ck_assert(errmsg_has(&p.face, "uvface_create: "));
    ck_assert(errmsg_has(&p.face, p.name));
    ck_assert_int_eq(names_there(&p), 1);
    ck_assert(lstat(p.paths[place], &after) == 0 && after.st_ino == before.st_ino && after.st_mode == before.st_mode);
    unsquat(p.paths[place], fd);
    ASSERT_OK(uvface_create(&p.face, p.name, NULL));
  }
  assert_untouched(p.victims[place]);
  unlink(p.victims[place]);
  drop_place(&p);
}

static const int connect_results[SQUATS][PLACES] = {
    [PLAIN_FILE] = {UV_EPROTO, UV_EPERM, UV_EPERM},
    [DIRECTORY] = {UV_EPERM, UV_EPERM, UV_EPERM},
    [UNREAD_FIFO] = {UV_EPERM, UV_ECONNREFUSED, UV_ECONNREFUSED},
    [READ_FIFO] = {UV_EPERM, 0, UV_ECONNREFUSED}, /* our own user reads it: good enough for an engine */
    [SYMLINK] = {UV_EPERM, UV_EPERM, UV_EPERM},
    [DANGLING] = {UV_EPERM, UV_EPERM, UV_EPERM},
    [HARD_LINK] = {UV_EPROTO, UV_EPERM, UV_EPERM},
    [UNIX_SOCKET] = {UV_EPERM, UV_EPERM, UV_EPERM},
};

TEST_LOOP(squatted_name_fails_connect, SQUATS* PLACES) {
  squat_t kind = (squat_t) (_i / PLACES);
  int place = _i % PLACES, expected = connect_results[kind][place];
  ndnshm_header_t header;
  uvface_t app;
  place_t p;
  int fd;

  open_place(&p, "lure");
  ASSERT_OK(uvface_init(&p.loop, &app));
  ASSERT_OK(uvface_create(&p.face, p.name, NULL));
  make_file(p.victims[place], precious);
  ck_assert_int_eq(unlink(p.paths[place]), 0);
  fd = squat(kind, p.paths[place], p.victims[place]);
  if (place == SHM) ck_assert_int_eq(ndnshm_inspect(p.name, &header), expected);
  ck_assert_msg(uvface_connect(&app, p.name, NULL) == expected, "%s", uvface_errmsg(&app));
  if (expected != 0) {
    ck_assert(errmsg_has(&app, "uvface_connect: "));
    ck_assert(errmsg_has(&app, p.name));
  }
  assert_untouched(p.victims[place]);
  uvface_close(&app, NULL);
  close_face(&p.face);
  ck_assert_int_eq(names_there(&p), 1); /* what is not the engine's own stays */
  unsquat(p.paths[place], fd);
  unlink(p.victims[place]);
  drop_place(&p);
}

TEST(names_that_lead_elsewhere_are_einval) {
  static const char* const names[] = {
      "../../etc/passwd", "..", ".", "a/b", "/absolute", "a/../b", ".hidden", "", "a b", "a\nb", "a%sb", "\xc3\xa4",
  };
  place_t p;

  open_place(&p, "names");
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    ck_assert_int_eq(uvface_create(&p.face, names[i], NULL), UV_EINVAL);
    ck_assert(errmsg_has(&p.face, "[A-Za-z0-9._-]{1,200}"));
    ck_assert_int_eq(uvface_connect(&p.face, names[i], NULL), UV_EINVAL);
    ck_assert(errmsg_has(&p.face, "[A-Za-z0-9._-]{1,200}"));
  }
  drop_place(&p);
}

/* --- Other users -------------------------------------------------------------------------------- */

typedef struct foreign_s {
  place_t* p;
  int place;
  bool fifo;
} foreign_t;

/* An unprivileged engine and app before a name that root has taken. */
static int meet_roots_squat(void* arg) {
  const foreign_t* f = arg;
  place_t* p = f->p;

  if (become(APP_UID, APP_UID) != 0) return 1;
  REQUIRE(uvface_create(&p->face, p->name, NULL) == UV_EADDRINUSE);
  REQUIRE(errmsg_has(&p->face, p->name));
  REQUIRE(names_there(p) == 1 && exists(p->paths[f->place]));
  return 0;
}

/* Nobody takes another user's name: root not an unprivileged user's, and he not root's. */
TEST_LOOP(name_of_another_user_is_in_use, 2 * PLACES) {
  foreign_t f = {.place = _i % PLACES, .fifo = _i / PLACES == 1};
  struct stat before, after;
  place_t p;
  int fd;

  open_place(&p, "foreign");
  f.p = &p;
  if (is_root()) {
    fd = squat(f.fifo ? UNREAD_FIFO : PLAIN_FILE, p.paths[f.place], NULL);
    ck_assert_int_eq(lstat(p.paths[f.place], &before), 0);
    assert_child_passes(meet_roots_squat, &f);
    ck_assert_int_eq(chmod(p.paths[f.place], 0666), 0); /* not for want of permissions */
    assert_child_passes(meet_roots_squat, &f);
    ck_assert_int_eq(chown(p.paths[f.place], THIRD_UID, THIRD_UID), 0);
    ck_assert_int_eq(uvface_create(&p.face, p.name, NULL), UV_EADDRINUSE);
    ck_assert(errmsg_has(&p.face, p.paths[f.place] + strlen(f.place == SHM ? "/dev/shm" : "")));
    ck_assert(lstat(p.paths[f.place], &after) == 0 && after.st_ino == before.st_ino && names_there(&p) == 1);
    unsquat(p.paths[f.place], fd);
  }
  drop_place(&p);
}

/* What an unprivileged user meets, and what the text tells him of it. */
typedef struct obstacle_s {
  const char* what;
  int place; /* where something of root's is, or PLACES */
  squat_t kind;
  bool connects; /* else creates */
  uid_t uid;     /* options */
  gid_t gid;
  int code;
  const char* text;
} obstacle_t;

#define NOBODYS ((uid_t) -1)
#define NO_GROUP ((gid_t) -1)

static const obstacle_t obstacles[] = {
    {"root's region", SHM, PLAIN_FILE, false, NOBODYS, NO_GROUP, UV_EADDRINUSE, ": it belongs to uid 0"},
    {"root's a2e", A2E, UNREAD_FIFO, false, NOBODYS, NO_GROUP, UV_EADDRINUSE, ": it belongs to uid 0"},
    {"root's e2a", E2A, UNREAD_FIFO, false, NOBODYS, NO_GROUP, UV_EADDRINUSE, ": it belongs to uid 0"},
    {"no region", SHM, DIRECTORY, false, NOBODYS, NO_GROUP, UV_EADDRINUSE, "not a regular file, of uid 0"},
    {"no FIFO", A2E, PLAIN_FILE, false, NOBODYS, NO_GROUP, UV_EADDRINUSE, "not a FIFO, of uid 0"},
    {"a group", PLACES, SQUATS, false, NOBODYS, 0, UV_EPERM, "this process is not a member of gid 0"},
    {"an owner", PLACES, SQUATS, false, THIRD_UID, NO_GROUP, UV_EPERM, "may give it to uid 61235"},
    {"root's face", SHM, PLAIN_FILE, true, NOBODYS, NO_GROUP, UV_EACCES, "owned by uid 0, mode 0640"},
    {"root's FIFO alone", A2E, UNREAD_FIFO, true, NOBODYS, NO_GROUP, UV_ENOENT,
     ".a2e.pipe is there and belongs to uid 0"},
    {"no face", PLACES, SQUATS, true, NOBODYS, NO_GROUP, UV_ENOENT, "No such file or directory"},
};
#define OBSTACLES ((int) (sizeof(obstacles) / sizeof(obstacles[0])))

typedef struct meeting_s {
  place_t* p;
  const obstacle_t* obstacle;
} meeting_t;

static int meet_obstacle(void* arg) {
  const meeting_t* m = arg;
  const obstacle_t* o = m->obstacle;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  int err;

  options.uid = o->uid;
  options.gid = o->gid;
  if (become(APP_UID, APP_UID) != 0) return 1;
  err = o->connects ? uvface_connect(&m->p->face, m->p->name, &options)
                    : uvface_create(&m->p->face, m->p->name, &options);
  REQUIRE(err == o->code);
  REQUIRE(errmsg_has(&m->p->face, o->text));
  REQUIRE(errmsg_has(&m->p->face, m->p->name));
  return 0;
}

TEST_LOOP(text_names_who_or_what_stands_in_the_way, OBSTACLES) {
  const obstacle_t* o = &obstacles[_i];
  place_t p;
  meeting_t m = {&p, o};

  if (!is_root()) SKIP("needs root");
  open_place(&p, "obstacle");
  if (o->place != PLACES) squat(o->kind, p.paths[o->place], NULL);
  assert_child_passes(meet_obstacle, &m);
  if (o->place != PLACES) unsquat(p.paths[o->place], -1);
  drop_place(&p);
}

/* --- Rights that are given up -------------------------------------------------------------------- */

typedef struct dropping_s {
  place_t* p;
  uid_t owner; /* option */
} dropping_t;

static void ask_what_is_left(uvface_t* face) {
  uvface_stats_t stats;

  *(int*) face->data = uvface_get_stats(face, &stats) == 0 ? (int) stats.names_left : -1;
}

/* As daemons do: makes its face as root, and goes on as somebody else. */
static int create_and_drop(void* arg) {
  const dropping_t* d = arg;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uvface_stats_t stats;
  int left = -1;

  options.uid = d->owner;
  REQUIRE(uvface_create(&d->p->face, d->p->name, &options) == 0);
  REQUIRE(uvface_get_stats(&d->p->face, &stats) == 0 && stats.names_left == 0);
  if (become(APP_UID, APP_UID) != 0) return 1;
  d->p->face.data = &left;
  uvface_close(&d->p->face, ask_what_is_left);
  REQUIRE(uv_run(&d->p->loop, UV_RUN_DEFAULT) == 0);
  REQUIRE(left == names_there(d->p));
  REQUIRE(left == (d->owner == APP_UID ? 0 : PLACES));
  return 0;
}

/* _i: 0 = the names stay root's; 1 = they are given to the later user. */
TEST_LOOP(close_tells_of_names_that_it_may_not_remove, 2) {
  place_t p;
  dropping_t d = {&p, _i == 0 ? NOBODYS : APP_UID};

  if (!is_root()) SKIP("needs root");
  open_place(&p, "dropped");
  assert_child_passes(create_and_drop, &d);
  ck_assert_msg(uvface_create(&p.face, p.name, NULL) == 0, "%s", uvface_errmsg(&p.face)); /* root may take it again */
  drop_place(&p);
}

/* Opening can wait for whoever holds the FIFO's lock, or has a lease on the file, whatever flags it has: so what is a
 * stranger's is looked at, and not opened. */
TEST_LOOP(nothing_of_a_stranger_is_opened, 2 * PLACES) {
  int place = _i % PLACES, watch, fd;
  squat_t kind = _i / PLACES == 1 ? UNREAD_FIFO : PLAIN_FILE;
  ndnshm_header_t header;
  uvface_t app;
  place_t p;

  if (!is_root()) SKIP("needs root");
  open_place(&p, "unopened");
  ASSERT_OK(uvface_init(&p.loop, &app));
  ASSERT_OK(uvface_create(&p.face, p.name, NULL));
  ck_assert_int_eq(unlink(p.paths[place]), 0);
  fd = squat(kind, p.paths[place], NULL);
  ck_assert_int_eq(chown(p.paths[place], THIRD_UID, THIRD_UID), 0);
  watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  ck_assert_int_ge(watch, 0);
  ck_assert_int_ge(inotify_add_watch(watch, p.paths[place], IN_OPEN), 0);
  ck_assert_int_eq(uvface_connect(&app, p.name, NULL), UV_EPERM);
  if (place == SHM) ck_assert_int_eq(ndnshm_inspect(p.name, &header), -EPERM);
  uvface_close(&p.face, NULL);
  uvface_close(&app, NULL);
  ASSERT_OK(uv_run(&p.loop, UV_RUN_DEFAULT));
  ASSERT_OK(uvface_init(&p.loop, &p.face));
  ck_assert_int_eq(uvface_create(&p.face, p.name, NULL), UV_EADDRINUSE);
  ck_assert_msg(read(watch, &header, sizeof(header)) < 0 && errno == EAGAIN, "somebody has opened it");
  close(watch);
  unsquat(p.paths[place], fd);
  drop_place(&p);
}

/* A region may belong to its app, who can lease it to himself: the kernel then holds up whoever opens it, 45 s by
 * default. */
static int meet_lease(void* arg) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  place_t* p = arg;
  uvface_t app;

  options.uid = APP_UID;
  REQUIRE(uvface_create(&p->face, p->name, &options) == UV_EADDRINUSE);
  REQUIRE(errmsg_has(&p->face, p->name));
  REQUIRE(uvface_init(&p->loop, &app) == 0);
  REQUIRE(uvface_connect(&app, p->name, &options) == UV_EACCES);
  REQUIRE(errmsg_has(&app, "lease of it"));
  uvface_close(&app, NULL);
  return uv_run(&p->loop, UV_RUN_DEFAULT);
}

TEST(leased_region_holds_nobody_up) {
  place_t p;
  int fd;

  if (!is_root()) SKIP("needs root");
  open_place(&p, "leased");
  make_file(p.paths[SHM], "region");
  ck_assert_int_eq(chown(p.paths[SHM], APP_UID, APP_UID), 0);
  fd = open(p.paths[SHM], O_RDWR | O_CLOEXEC);
  signal(SIGIO, SIG_IGN); /* how the kernel asks for the lease back */
  ck_assert_int_eq(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
  assert_child_passes(meet_lease, &p);
  unsquat(p.paths[SHM], fd);
  drop_place(&p);
}

typedef struct fake_s {
  place_t* p;
  int ready[2];
} fake_t;

/* A whole engine, alive, of a user whom nobody trusts, open to all. */
static int serve_as_stranger(void* arg) {
  fake_t* f = arg;
  uvface_options_t options = UVFACE_OPTIONS_INIT;

  options.mode = 0666;
  if (become(THIRD_UID, THIRD_UID) != 0) return 1;
  REQUIRE(uvface_create(&f->p->face, f->p->name, &options) == 0);
  REQUIRE(write(f->ready[1], "r", 1) == 1);
  for (;;) pause();
}

static int connect_to_stranger(void* arg) {
  place_t* p = arg;

  if (become(APP_UID, APP_UID) != 0) return 1;
  REQUIRE(uvface_connect(&p->face, p->name, NULL) == UV_EPERM);
  REQUIRE(errmsg_has(&p->face, "owned by uid 61235"));
  return 0;
}

TEST(engine_of_a_stranger_is_eperm_unless_trusted) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  place_t p;
  fake_t f = {.p = &p};
  char byte;
  pid_t pid;

  open_place(&p, "stranger");
  if (is_root()) {
    ck_assert_int_eq(pipe2(f.ready, O_CLOEXEC), 0);
    pid = harness_fork(serve_as_stranger, &f);
    close(f.ready[1]);
    ck_assert_int_eq(read(f.ready[0], &byte, 1), 1);
    ck_assert_int_eq(uvface_connect(&p.face, p.name, NULL), UV_EPERM);
    ck_assert(errmsg_has(&p.face, "owned by uid 61235"));
    ck_assert_int_eq(uvface_create(&p.face, p.name, NULL), UV_EADDRINUSE);
    assert_child_passes(connect_to_stranger, &p);
    options.uid = THIRD_UID;
    ck_assert_msg(uvface_connect(&p.face, p.name, &options) == 0, "%s", uvface_errmsg(&p.face));
    harness_kill(pid);
    close(f.ready[0]);
    for (int i = 0; i < PLACES; i++) unlink(p.paths[i]);
  }
  drop_place(&p);
}

static void note_echo(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  *(int*) face->data = npkts == 1 && pkts[0].len == 4 && memcmp(pkts[0].base, "ping", 4) == 0 ? 1 : -1;
}

static void echo(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  if (npkts > 0) uvface_try_send_batch(face, pkts, (unsigned int) npkts);
}

/* An app in the group, or the owner, sends and receives. */
static int attach_as_member(void* arg) {
  const place_t* p = arg;
  char ping[] = "ping";
  uv_buf_t buf = uv_buf_init(ping, 4);
  int echoed = 0;
  uv_loop_t loop;
  uvface_t app;

  if (become(APP_UID, FACE_GID) != 0) return 1;
  REQUIRE(uv_loop_init(&loop) == 0 && uvface_init(&loop, &app) == 0);
  app.data = &echoed;
  if (uvface_connect(&app, p->name, NULL) != 0) fprintf(stderr, "# %s\n", uvface_errmsg(&app));
  REQUIRE(uvface_get_mtu(&app) != 0);
  REQUIRE(uvface_recv_start(&app, note_echo) == 0);
  REQUIRE(uvface_try_send(&app, &buf, 1) == 4);
  REQUIRE(run_until(&loop, &echoed, 10000) && echoed == 1);
  uvface_close(&app, NULL);
  return uv_run(&loop, UV_RUN_DEFAULT) != 0 || uv_loop_close(&loop) != 0;
}

static int attach_as_third(void* arg) {
  const place_t* p = arg;
  uv_loop_t loop;
  uvface_t app;

  if (become(THIRD_UID, THIRD_UID) != 0) return 1;
  REQUIRE(uv_loop_init(&loop) == 0 && uvface_init(&loop, &app) == 0);
  REQUIRE(uvface_connect(&app, p->name, NULL) == UV_EACCES);
  REQUIRE(errmsg_has(&app, p->name) && errmsg_has(&app, "ermission denied"));
  for (int i = 0; i < PLACES; i++) REQUIRE(open(p->paths[i], O_RDWR | O_NONBLOCK) < 0 && errno == EACCES);
  uvface_close(&app, NULL);
  return uv_run(&loop, UV_RUN_DEFAULT) != 0 || uv_loop_close(&loop) != 0;
}

/* The engine is root, whose umask would keep everybody out. */
TEST_LOOP(group_or_owner_attaches_and_a_third_user_does_not, 2) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  int finished = 0, status = -1;
  place_t p;
  pid_t pid;

  open_place(&p, "group");
  if (is_root()) {
    if (_i == 0) {
      options.mode = 0660;
      options.gid = FACE_GID;
    } else {
      options.uid = APP_UID; /* mode 0600 */
    }
    umask(077);
    ck_assert_msg(uvface_create(&p.face, p.name, &options) == 0, "%s", uvface_errmsg(&p.face));
    assert_child_passes(attach_as_third, &p);
    ASSERT_OK(uvface_recv_start(&p.face, echo));
    pid = harness_fork(attach_as_member, &p);
    for (int i = 0; i < 2000 && !finished; i++) {
      run_until(&p.loop, &finished, 10);
      finished = waitpid(pid, &status, WNOHANG) == pid;
    }
    if (!finished) harness_kill(pid);
    ck_assert_int_eq(status, 0);
  }
  drop_place(&p);
}

/* --- Full file systems -------------------------------------------------------------------------- */

static bool write_file(const char* path, const char* text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t) strlen(text);

  if (fd >= 0) close(fd);
  return written;
}

/* A mount namespace of our own, as root or inside a user namespace of our own. */
static int enter_namespace(void) {
  char map[64];

  if (geteuid() == 0) {
    if (unshare(CLONE_NEWNS) != 0) return SKIPPED;
  } else {
    uid_t uid = geteuid();
    gid_t gid = getegid();

    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return SKIPPED;
    snprintf(map, sizeof(map), "%lu %lu 1", (unsigned long) uid, (unsigned long) uid);
    if (!write_file("/proc/self/setgroups", "deny") || !write_file("/proc/self/uid_map", map)) return SKIPPED;
    snprintf(map, sizeof(map), "%lu %lu 1", (unsigned long) gid, (unsigned long) gid);
    if (!write_file("/proc/self/gid_map", map)) return SKIPPED;
  }
  return mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 ? 0 : SKIPPED;
}

static int mount_small(const char* where, const char* options) {
  int status = enter_namespace();

  if (status == 0 && mount("tmpfs", where, "tmpfs", MS_NOSUID | MS_NODEV, options) != 0) status = SKIPPED;
  return status;
}

static int count_files(const char* directory) {
  DIR* dir = opendir(directory);
  int n = 0;

  if (dir == NULL) return -1;
  for (struct dirent* e = readdir(dir); e != NULL; e = readdir(dir)) n += e->d_name[0] != '.' || e->d_name[1] == 'n';
  closedir(dir);
  return n;
}

typedef struct small_s {
  place_t p;
  bool as_user;
} small_t;

static int as_asked(const small_t* s) {
  if (!s->as_user) return 0;
  if (become(APP_UID, APP_UID) != 0) return 1;
  return prctl(PR_SET_DUMPABLE, 1) != 0; /* else /proc/self is root's */
}

static int create_in_2_mib(void* arg) {
  small_t* s = arg;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  int status = as_asked(s);

  if (status == 0) status = mount_small("/dev/shm", "size=2m,mode=1777");
  if (status != 0) return status;
  REQUIRE(uvface_create(&s->p.face, s->p.name, NULL) == UV_ENOSPC);
  REQUIRE(errmsg_has(&s->p.face, "posix_fallocate") && errmsg_has(&s->p.face, s->p.name));
  REQUIRE(count_files("/dev/shm") == 0 && names_there(&s->p) == 0);
  options.capacity = 64;
  options.slot_size = 1000;
  REQUIRE(uvface_create(&s->p.face, s->p.name, &options) == 0); /* the same face, smaller */
  REQUIRE(names_there(&s->p) == 3);
  uvface_close(&s->p.face, NULL);
  REQUIRE(uv_run(&s->p.loop, UV_RUN_DEFAULT) == 0);
  REQUIRE(names_there(&s->p) == 0);
  return 0;
}

TEST_LOOP(full_dev_shm_is_enospc_and_leaves_nothing, 2) {
  small_t s = {.as_user = _i == 1};

  if (s.as_user && !is_root()) SKIP("the other one ran as a user");
  open_place(&s.p, "small");
  assert_child_passes_or_skips(create_in_2_mib, &s);
  drop_place(&s.p);
}

/* The figure that docs/security.rst gives for a container of Docker's. */
static int fill_64_mib(void* arg) {
  const small_t* s = arg;
  uvface_t faces[20];
  uv_loop_t loop;
  char name[100];
  int n, err = 0;
  int status = mount_small("/dev/shm", "size=64m,mode=1777");

  if (status != 0) return status;
  REQUIRE(uv_loop_init(&loop) == 0);
  for (n = 0; n < 20 && err == 0; n++) {
    REQUIRE(uvface_init(&loop, &faces[n]) == 0);
    snprintf(name, sizeof(name), "%s-%d", s->p.name, n);
    err = uvface_create(&faces[n], name, NULL);
  }
  REQUIRE(err == UV_ENOSPC);
  REQUIRE(n - 1 == 14 && count_files("/dev/shm") == 14);
  while (n-- > 0) uvface_close(&faces[n], NULL);
  return uv_run(&loop, UV_RUN_DEFAULT) != 0 || uv_loop_close(&loop) != 0;
}

TEST(dockers_64_mib_hold_14_default_faces) {
  small_t s = {.as_user = false};

  open_place(&s.p, "docker");
  assert_child_passes_or_skips(fill_64_mib, &s);
  drop_place(&s.p);
}

static int seal_without_inodes(void* arg) {
  place_t* p = arg;
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uvface_stats_t stats = {.sealed = 0};
  uvface_t app;
  int status = mount_small("/dev/shm", "size=1m,nr_inodes=2,mode=1777"); /* the directory's and one more */

  if (status != 0) return status;
  options.capacity = 16;
  options.slot_size = 1000;
  REQUIRE(uvface_create(&p->face, p->name, &options) == 0);
  REQUIRE(open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) == -1 && errno == ENOSPC);
  REQUIRE(uvface_init(&p->loop, &app) == 0 && uvface_connect(&app, p->name, NULL) == 0);
  RUN_UNTIL(&p->loop, uvface_get_stats(&p->face, &stats) == 0 && stats.sealed == 1);
  uvface_close(&app, NULL);
  uvface_close(&p->face, NULL);
  REQUIRE(uv_run(&p->loop, UV_RUN_DEFAULT) == 0);
  REQUIRE(count_files("/dev/shm") == 0);
  return 0;
}

TEST(region_is_sealed_though_no_inode_is_left_when_its_app_comes) {
  place_t p;

  if (!harness_may_seal()) SKIP("needs CAP_LINUX_IMMUTABLE");
  open_place(&p, "inodes");
  assert_child_passes_or_skips(seal_without_inodes, &p);
  drop_place(&p);
}

typedef struct inodes_s {
  place_t p;
  int inodes; /* the last of which is the directory's where FIFOs are made, the first FIFO, the second, or its name */
} inodes_t;

/* A tmpfs counts names, too. What was made until there was no more goes again. */
static int create_without_inodes(void* arg) {
  static const char* const calls[] = {"mkdir", "mkfifo", "mkfifo", "linkat", "linkat"};
  inodes_t* i = arg;
  place_t* p = &i->p;
  char options[64];
  int status;

  snprintf(options, sizeof(options), "size=1m,nr_inodes=%d,mode=1777", i->inodes);
  status = mount_small("/tmp", options);
  if (status != 0) return status;
  REQUIRE(uvface_create(&p->face, p->name, NULL) == UV_ENOSPC);
  REQUIRE(errmsg_has(&p->face, calls[i->inodes - 1]));
  REQUIRE(errmsg_has(&p->face, p->paths[i->inodes % 2 == 1 && i->inodes > 1 ? E2A : A2E]));
  REQUIRE(names_there(p) == 0 && count_files("/tmp") == 0);
  return 0;
}

TEST_LOOP(full_tmp_is_enospc_and_leaves_nothing, 5) {
  inodes_t i = {.inodes = _i + 1};

  open_place(&i.p, "inodes");
  assert_child_passes_or_skips(create_without_inodes, &i);
  drop_place(&i.p);
}

/* --- Control groups ----------------------------------------------------------------------------- */

typedef struct group_s {
  place_t p;
  char directory[256];
} group_t;

/* One below ours that holds less than a region, of either kind of control group; false if it is refused. */
static bool make_group(group_t* g) {
  static const struct {
    const char *of_process, *mount, *limit;
  } kinds[] = {{":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"0::", "/sys/fs/cgroup", "memory.max"}};
  char line[256], path[300];
  FILE* file = fopen("/proc/self/cgroup", "re");
  bool made = false;

  while (file != NULL && !made && fgets(line, sizeof(line), file) != NULL)
    for (size_t k = 0; k < 2 && !made; k++) {
      const char* own = strstr(line, kinds[k].of_process);

      if (own == NULL) continue;
      own += strlen(kinds[k].of_process);
      snprintf(g->directory, sizeof(g->directory), "%s%.*s/uvface-%ld", kinds[k].mount, (int) strcspn(own, "\n"), own,
               (long) getpid());
      if (mkdir(g->directory, 0700) != 0) continue;
      snprintf(path, sizeof(path), "%s/%s", g->directory, kinds[k].limit);
      made = write_file(path, "3000000");
      if (!made) rmdir(g->directory);
    }
  if (file != NULL) fclose(file);
  return made;
}

static int create_in_group(void* arg) {
  const struct rlimit none = {0, 0};
  group_t* g = arg;
  char path[300];

  setrlimit(RLIMIT_CORE, &none);
  snprintf(path, sizeof(path), "%s/cgroup.procs", g->directory);
  REQUIRE(write_file(path, "0"));
  return uvface_create(&g->p.face, g->p.name, NULL) == 0 ? SKIPPED : 1; /* a group that swaps has room */
}

/* The kernel kills whom the group has no memory for; nobody can keep it from that. */
TEST(engine_killed_for_want_of_memory_leaves_nothing) {
  group_t g;
  int status;

  open_place(&g.p, "cgroup");
  if (!make_group(&g)) {
    drop_place(&g.p);
    SKIP("a control group for memory is refused");
  }
  status = harness_wait(harness_fork(create_in_group, &g), DEADLINE_MS);
  for (int i = 0; i < 1000 && rmdir(g.directory) != 0; i++) usleep(1000); /* its process is just leaving */
  ck_assert_int_eq(names_there(&g.p), 0);
  ck_assert(!exists(g.directory));
  if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) SKIP("this group has swap");
  ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %#x", (unsigned) status);
  ASSERT_OK(uvface_create(&g.p.face, g.p.name, NULL));
  drop_place(&g.p);
}

/* --- Limits ------------------------------------------------------------------------------------- */

static int limit_file_size(void) {
  struct rlimit limit = {100000, 100000}, none = {0, 0};

  REQUIRE(setrlimit(RLIMIT_CORE, &none) == 0);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  return 0;
}

static int create_beyond_file_size_limit(void* arg) {
  place_t* p = arg;

  signal(SIGXFSZ, SIG_IGN);
  if (limit_file_size() != 0) return 1;
  REQUIRE(uvface_create(&p->face, p->name, NULL) == UV_EFBIG);
  REQUIRE(errmsg_has(&p->face, "ftruncate") && errmsg_has(&p->face, p->name));
  REQUIRE(names_there(p) == 0);
  return 0;
}

static int create_beyond_file_size_limit_unprepared(void* arg) {
  place_t* p = arg;

  signal(SIGXFSZ, SIG_DFL);
  if (limit_file_size() != 0) return 1;
  return uvface_create(&p->face, p->name, NULL) != 0;
}

TEST(file_size_limit_is_efbig_where_sigxfsz_is_ignored) {
  place_t p;

  open_place(&p, "efbig");
  assert_child_passes(create_beyond_file_size_limit, &p);
  drop_place(&p);
}

/* The kernel's default, which a library has no business to change. */
TEST(file_size_limit_kills_where_it_is_not) {
  place_t p;
  int status;

  open_place(&p, "sigxfsz");
  status = harness_wait(harness_fork(create_beyond_file_size_limit_unprepared, &p), DEADLINE_MS);
  ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
  ck_assert_int_eq(names_there(&p), 0);
  ASSERT_OK(uvface_create(&p.face, p.name, NULL));
  drop_place(&p);
}
