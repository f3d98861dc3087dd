/* SPDX-License-Identifier: MIT */
/* test_endpoint.c: the life of an end of a face: its options, names, rights and states, and what is seen of it from
 * outside. See ends.h. Tests of other users need root and say so when they are skipped. */
#include "ends.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- Life ------------------------------------------------------------------------------------------ */

TEST(endpoint_needs_a_place) {
  ck_assert_int_eq(ndnshm_new(NULL), -EINVAL);
}

static void assert_every_call_fails(ndnshm_t* ep, int code) {
  struct iovec v = {&v, 1};
  char arena[10000];

  ck_assert_int_eq(ndnshm_recv(ep, arena, sizeof(arena), &v, 1), code);
  ck_assert_int_eq(ndnshm_peek(ep, SIZE_MAX, &v, 1), code);
  ck_assert_int_eq(ndnshm_send(ep, &v, 1), code);
  ck_assert_int_eq(ndnshm_send_batch(ep, &v, 1), code);
  ck_assert_int_eq(ndnshm_reserve(ep, 1, &v), code);
  ck_assert_int_eq(ndnshm_commit(ep, 1), code);
  ck_assert_int_eq(ndnshm_wake(ep), code);
  ndnshm_release(ep);
  ck_assert_uint_eq(ndnshm_announce(ep, NDNSHM_PACKETS | NDNSHM_SPACE), 0);
  ck_assert_uint_eq(ndnshm_confirm(ep, NDNSHM_PACKETS | NDNSHM_SPACE), 0);
  ck_assert_uint_eq(ndnshm_park(ep, NDNSHM_PACKETS | NDNSHM_SPACE), 0);
  ck_assert_uint_eq(ndnshm_ready(ep, NDNSHM_PACKETS | NDNSHM_SPACE), 0);
  ndnshm_unpark(ep);
  ck_assert_int_eq(ndnshm_fd(ep), -1);
  ck_assert_uint_eq(ndnshm_get_mtu(ep), 0);
  ck_assert_uint_eq(ndnshm_get_capacity(ep), 0);
  ck_assert_uint_eq(ndnshm_peer_caps(ep), 0);
  ck_assert_int_eq(ndnshm_probe(ep), code);
}

TEST(no_endpoint_is_einval_everywhere_and_harmless) {
  ndnshm_stats_t stats;

  assert_every_call_fails(NULL, -EINVAL);
  ck_assert_int_eq(ndnshm_create(NULL, "x", NULL), -EINVAL);
  ck_assert_int_eq(ndnshm_connect(NULL, "x", NULL), -EINVAL);
  ck_assert_int_eq(ndnshm_get_stats(NULL, &stats), -EINVAL);
  ck_assert_str_eq(ndnshm_errmsg(NULL), "");
  ndnshm_shutdown(NULL);
  ndnshm_free(NULL);
}

TEST(endpoint_that_is_not_open_is_enotconn_everywhere) {
  face_t f = face_plan("closed");
  ndnshm_stats_t stats = {.rx_packets = 9}, zero = {0};

  ck_assert_str_eq(ndnshm_errmsg(f.app), "");
  ck_assert_int_eq(ndnshm_get_stats(f.app, &stats), 0);
  ck_assert_mem_eq(&stats, &zero, sizeof(stats));
  ck_assert_int_eq(ndnshm_get_stats(f.app, NULL), -EINVAL);
  assert_every_call_fails(f.app, -ENOTCONN);
  face_create(&f, 0, 0);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  ndnshm_shutdown(f.app);
  ndnshm_shutdown(f.engine);
  assert_every_call_fails(f.app, -ENOTCONN);
  assert_every_call_fails(f.engine, -ENOTCONN);
  face_drop(&f);
}

TEST(options_choose_geometry_and_rights) {
  face_t f = face_plan("options");
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  const char* const paths[] = {f.shm_path, f.a2e_path, f.e2a_path};
  mode_t before = umask(077);
  struct stat st;

  options.capacity = 131;
  options.slot_size = 1234;
  options.mode = 0666;
  ck_assert_int_eq(ndnshm_create(f.engine, f.name, &options), 0);
  umask(before);
  ck_assert_uint_eq(ndnshm_get_mtu(f.engine), 1234);
  ck_assert_uint_eq(ndnshm_get_capacity(f.engine), 256);
  for (int i = 0; i < 3; i++) {
    ck_assert_int_eq(lstat(paths[i], &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0666);
  }
  ndnshm_free(f.engine);
  ck_assert_int_eq(ndnshm_new(&f.engine), 0);
  options = (ndnshm_options_t) NDNSHM_OPTIONS_INIT;
  options.mtu = 8800;
  ck_assert_int_eq(ndnshm_create(f.engine, f.name, &options), 0);
  ck_assert_uint_eq(ndnshm_get_mtu(f.engine), 25276);
  ck_assert_uint_eq(ndnshm_get_capacity(f.engine), 64);
  for (int i = 0; i < 3; i++) {
    ck_assert_int_eq(lstat(paths[i], &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
  }
  face_drop(&f);
}

static int create_under_harsh_umask(void* arg) {
  face_t* f = arg;

  if (is_root() && become_other() != 0) return 1;
  umask(0777);
  REQUIRE(ndnshm_create(f->engine, f->name, NULL) == 0);
  ndnshm_free(f->engine);
  return 0;
}

TEST(umask_takes_nothing_from_the_engine_itself) {
  face_t f = face_plan("umask");

  assert_child_passes(create_under_harsh_umask, &f);
  face_drop(&f);
}

TEST(face_can_be_given_to_another_user) {
  face_t f = face_plan("give");
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  const char* const paths[] = {f.shm_path, f.a2e_path, f.e2a_path};
  struct stat st;

  if (is_root()) {
    options.uid = OTHER_UID;
    options.gid = OTHER_UID + 1;
    ck_assert_int_eq(ndnshm_create(f.engine, f.name, &options), 0);
    for (int i = 0; i < 3; i++) {
      ck_assert_int_eq(lstat(paths[i], &st), 0);
      ck_assert(st.st_uid == OTHER_UID && st.st_gid == OTHER_UID + 1);
    }
    ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), -EPERM);
    ck_assert_int_eq(ndnshm_connect(f.app, f.name, &options), 0);
  }
  face_drop(&f);
}

TEST(impossible_options_are_einval) {
  face_t f = face_plan("einval");
  ndnshm_options_t o = NDNSHM_OPTIONS_INIT;

  for (int i = 0; i < 4; i++) {
    o.size = (size_t[]){0, sizeof(size_t) / 2, sizeof(o) + 1, SIZE_MAX}[i];
    assert_create_fails(&f, &o, -EINVAL, "options", "size", "NDNSHM_OPTIONS_INIT");
    ck_assert_int_eq(ndnshm_connect(f.app, f.name, &o), -EINVAL);
  }
  o = (ndnshm_options_t) NDNSHM_OPTIONS_INIT;
  o.flags = 0x80;
  assert_create_fails(&f, &o, -EINVAL, "options", "flags", "0x80");
  o = (ndnshm_options_t) NDNSHM_OPTIONS_INIT;
  o.mode = 01600;
  assert_create_fails(&f, &o, -EINVAL, "options", "mode", "permission bits");
  o = (ndnshm_options_t) NDNSHM_OPTIONS_INIT;
  o.mtu = 8800;
  o.capacity = 1;
  assert_create_fails(&f, &o, -EINVAL, "options", "capacity 1", "mtu 8800");
  o.capacity = UINT32_MAX;
  o.mtu = 0;
  assert_create_fails(&f, &o, -EINVAL, "options", "capacity 4294967295", "geometry");
  ck_assert_int_eq(names_there(&f), 0);
  face_drop(&f);
}

/* What a caller passes who was compiled with another version of the header. */
TEST(options_of_an_older_header_get_defaults_and_unknown_ones_must_be_zero) {
  struct {
    ndnshm_options_t known;
    unsigned char unknown[16];
  } newer = {NDNSHM_OPTIONS_INIT, {0}};
  ndnshm_options_t older;
  face_t f = face_plan("versions");
  face_t g = face_plan("unknown");

  memset(&older, 0xa5, sizeof(older)); /* behind its size: not the caller's */
  older.size = offsetof(ndnshm_options_t, mtu);
  older.capacity = 8;
  older.slot_size = 124;
  ck_assert_msg(ndnshm_create(f.engine, f.name, &older) == 0, "%s", ndnshm_errmsg(f.engine));
  ck_assert_uint_eq(ndnshm_get_capacity(f.engine), 8);
  ck_assert_uint_eq(ndnshm_get_mtu(f.engine), 124);
  newer.known.size = sizeof(newer);
  ck_assert_msg(ndnshm_connect(f.app, f.name, &newer.known) == 0, "%s", ndnshm_errmsg(f.app));
  newer.unknown[15] = 1;
  assert_create_fails(&g, &newer.known, -EINVAL, "options", "size", "does not know");
  face_drop(&f);
  face_drop(&g);
}

TEST(impossible_names_are_refused_with_the_reason) {
  char longest[202];
  ndnshm_t* ep;

  ck_assert_int_eq(ndnshm_new(&ep), 0);
  memset(longest, 'x', 201);
  longest[201] = '\0';
  ck_assert_int_eq(ndnshm_create(ep, NULL, NULL), -EINVAL);
  assert_errmsg(ep, "name", "name", "NULL");
  ck_assert_int_eq(ndnshm_create(ep, "a/b", NULL), -EINVAL);
  assert_errmsg(ep, "name", "a/b", "must be");
  ck_assert_int_eq(ndnshm_connect(ep, ".a", NULL), -EINVAL);
  assert_errmsg(ep, "name", ".a", "must be");
  ck_assert_int_eq(ndnshm_create(ep, longest, NULL), -ENAMETOOLONG);
  assert_errmsg(ep, "name", "xxx", "longer");
  ck_assert_int_eq(ndnshm_connect(ep, longest, NULL), -ENAMETOOLONG);
  ndnshm_free(ep);
}

/* A name may come from anywhere, and the text about it goes to logs and terminals. */
TEST(text_about_a_refused_name_is_printable) {
  static const char* const names[] = {"x\n2026 engine: all is well", "\033]0;owned\007\033[2J", "\x80\xff\x7f",
                                      "\r/\t"};
  char longest[300];
  ndnshm_t* ep;

  ck_assert_int_eq(ndnshm_new(&ep), 0);
  memset(longest, '\033', sizeof(longest));
  longest[sizeof(longest) - 1] = '\0';
  for (int i = 0; i < 5; i++) {
    const char* name = i < 4 ? names[i] : longest;
    ndnshm_header_t header;

    ck_assert_int_lt(ndnshm_create(ep, name, NULL), 0);
    for (const char* c = ndnshm_errmsg(ep); *c != '\0'; c++)
      ck_assert_msg(*c >= ' ' && *c <= '~', "byte %#x", *c & 0xff);
    ck_assert_ptr_nonnull(strchr(ndnshm_errmsg(ep), '?'));
    ck_assert_int_lt(ndnshm_inspect(name, &header), 0);
  }
  ndnshm_free(ep);
}

/* The first attempt fails; the second finds the names of a dead engine in its way, and takes them. */
TEST(success_leaves_no_text_of_a_failure) {
  face_t f = face_of_the_dead("silent");

  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), -ECONNREFUSED);
  ck_assert_str_ne(ndnshm_errmsg(f.app), "");
  ck_assert_int_eq(ndnshm_create(f.engine, f.name, NULL), 0);
  ck_assert_str_eq(ndnshm_errmsg(f.engine), "");
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), 0);
  ck_assert_str_eq(ndnshm_errmsg(f.app), "");
  face_drop(&f);
}

TEST(endpoint_in_use_is_ealready) {
  face_t f = face_make("already", 4, 100);

  ck_assert_int_eq(ndnshm_create(f.engine, f.name, NULL), -EALREADY);
  assert_errmsg(f.engine, f.shm, f.shm, "in use");
  ck_assert_int_eq(ndnshm_connect(f.engine, f.name, NULL), -EALREADY);
  ck_assert_int_eq(ndnshm_create(f.app, "other", NULL), -EALREADY);
  ck_assert_int_eq(ndnshm_connect(f.app, f.name, NULL), -EALREADY);
  assert_errmsg(f.app, f.shm, f.shm, "in use");
  ck_assert_int_eq(send_text(f.app, "still there"), 11);
  assert_receives(f.engine, "still there");
  face_drop(&f);
}

TEST(every_descriptor_is_nonblocking_and_closed_on_exec) {
  bool before[256];
  face_t f;
  int made = 0;

  for (int fd = 0; fd < 256; fd++) before[fd] = fcntl(fd, F_GETFD) >= 0;
  f = face_make("cloexec", 4, 100);
  for (int fd = 0; fd < 256; fd++) {
    struct stat st;

    if (before[fd] || fstat(fd, &st) != 0) continue;
    made++;
    ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    if (S_ISFIFO(st.st_mode)) ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  }
  ck_assert_int_eq(made, 6); /* the engine's region, directory and FIFOs, the app's FIFOs */
  face_drop(&f);
}

/* --- Looking from outside ---------------------------------------------------------------------------- */

/* A daemon may have closed these three, and a printf() of its into a region would be the end of the face. */
static int make_face_without_stdio(void* arg) {
  kind_t kind = *(const kind_t*) arg;
  int kept = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 100);
  bool is_free = true;
  face_t f;

  for (int fd = 0; fd <= STDERR_FILENO; fd++) close(fd);
  f = face_plan_of(kind, "daemon");
  face_create(&f, 4, 100);
  if (kind == NAMED) face_join(&f, NULL); /* else the test makes copies itself */
  for (int fd = 0; fd <= STDERR_FILENO; fd++) is_free = is_free && fcntl(fd, F_GETFD) < 0;
  face_drop(&f);
  dup2(kept, STDERR_FILENO);
  REQUIRE(is_free);
  return 0;
}

TEST_LOOP(no_descriptor_is_one_of_stdio, N_KINDS) {
  kind_t kind = (kind_t) _i;

  assert_child_passes(make_face_without_stdio, &kind);
}

/* --- Forked children -------------------------------------------------------------------------------- */

static int free_both_copies(void* arg) {
  face_t* f = arg;

  ndnshm_free(f->app);
  ndnshm_free(f->engine);
  return 0;
}

/* Its parent's names stay, and both ends go on as if there had been no child. */
TEST_LOOP(forked_childs_copy_leaves_the_face_alone, N_KINDS) {
  face_t f = face_make_of((kind_t) _i, "forked", 4, 64);
  int names = names_there(&f);

  ndnshm_park(f.engine, NDNSHM_PACKETS);
  ndnshm_park(f.app, NDNSHM_PACKETS);
  assert_child_passes(free_both_copies, &f);
  ck_assert_int_eq(names_there(&f), names);
  ck_assert_uint_eq(ndnshm_peer_caps(f.engine), NDNSHM_CAP_FENCED | NDNSHM_CAP_SPACE);
  ck_assert_int_eq(send_text(f.app, "to"), 2);
  ck_assert(readable(ndnshm_fd(f.engine), DEADLINE_MS)); /* it was still announced as asleep */
  ck_assert_int_eq(ndnshm_wake(f.engine), 1);
  assert_receives(f.engine, "to");
  ck_assert_int_eq(send_text(f.engine, "fro"), 3);
  ck_assert_int_eq(ndnshm_wake(f.app), 1);
  assert_receives(f.app, "fro");
  face_drop(&f);
}

TEST(inspecting_shows_the_header_as_it_is) {
  face_t f = face_make("inspect", 4, 100);
  ndnshm_header_t h;

  send_text(f.app, "x");
  send_text(f.app, "x");
  send_text(f.engine, "x");
  assert_receives(f.engine, "x");
  f.header->a2e_parked.value = 11;
  f.header->e2a_parked.value = 12;
  f.header->a2e_waiting = 13;
  f.header->e2a_waiting = 14;
  f.header->e2a_head.value = 15;
  f.header->app_caps = 16;
  ck_assert_int_eq(ndnshm_inspect(f.name, &h), 0);
  ck_assert(h.magic == UINT64_C(0x4E444E5F53484D00) && h.capacity == 4 && h.slot_size == 100);
  ck_assert(h.engine_caps == 0x55460003 && h.app_caps == 16);
  ck_assert(h.a2e_tail == 2 && h.a2e_head == 1 && h.e2a_tail == 1 && h.e2a_head == 15);
  ck_assert(h.a2e_parked == 11 && h.e2a_parked == 12 && h.a2e_waiting == 13 && h.e2a_waiting == 14);
  ck_assert_uint_eq(h.file_size, 448 + 2 * 4 * 104);
  f.header->magic = 99;
  ck_assert_int_eq(ndnshm_inspect(f.name, &h), 0);
  ck_assert_uint_eq(h.magic, 99);
  face_drop(&f);
}

TEST(inspecting_what_cannot_be_says_why_and_leaves_the_result_alone) {
  face_t f = face_plan("noinspect");
  ndnshm_header_t h = {.magic = 77};

  ck_assert_int_eq(ndnshm_inspect(f.name, NULL), -EINVAL);
  ck_assert_int_eq(ndnshm_inspect(NULL, &h), -EINVAL);
  ck_assert_int_eq(ndnshm_inspect("a/b", &h), -EINVAL);
  ck_assert_int_eq(ndnshm_inspect(f.name, &h), -ENOENT);
  close(open(f.shm_path, O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  ck_assert_int_eq(truncate(f.shm_path, 447), 0);
  ck_assert_int_eq(ndnshm_inspect(f.name, &h), -EPROTO);
  if (is_root()) {
    ck_assert_int_eq(chown(f.shm_path, OTHER_UID, (gid_t) -1), 0);
    ck_assert_int_eq(ndnshm_inspect(f.name, &h), -EPERM);
  }
  ck_assert_uint_eq(h.magic, 77);
  unlink(f.shm_path);
  face_drop(&f);
}

TEST(version_is_the_same_as_number_and_as_text) {
  unsigned int v = ndnshm_version();
  char text[40];

  snprintf(text, sizeof(text), "%u.%u.%u", v >> 16, v >> 8 & 0xff, v & 0xff);
  ck_assert_str_eq(ndnshm_version_string(), text);
}
