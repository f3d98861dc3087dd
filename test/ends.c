/* SPDX-License-Identifier: MIT */
/* ends.c: see ends.h. */
#include "ends.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

face_t face_plan(const char* tag) {
  return face_plan_of(harness_kind(), tag);
}

face_t face_plan_of(kind_t kind, const char* tag) {
  face_t f = {.kind = kind};

  snprintf(f.name, sizeof(f.name), "%s", harness_name(tag));
  snprintf(f.shm, sizeof(f.shm), "/ndn-shm-%s", f.name);
  snprintf(f.shm_path, sizeof(f.shm_path), "%s", harness_shm_path(f.name));
  snprintf(f.a2e_path, sizeof(f.a2e_path), "%s", harness_a2e_path(f.name));
  snprintf(f.e2a_path, sizeof(f.e2a_path), "%s", harness_e2a_path(f.name));
  ck_assert_int_eq(ndnshm_new(&f.engine), 0);
  ck_assert_int_eq(ndnshm_new(&f.app), 0);
  return f;
}

/* The kind of wake-up is asked for: by user it would be pipes for whoever names himself. */
static void create_private(face_t* f, ndnshm_options_t* options) {
  ndnshm__error_t error;
  bool is_sealed;
  int fds[3];

  options->flags = f->kind == BY_SOCKET ? NDNSHM_WAKE_SOCKET : NDNSHM_WAKE_PIPE;
  ck_assert_msg(ndnshm_create_private(f->engine, options) == 0, "%s", ndnshm_errmsg(f->engine));
  ck_assert_int_eq(ndnshm_app_fds(f->engine, fds), 0);
  ck_assert_int_eq(ndnshm__region_attach_private(&f->view, "view", fds[0], NOBODY, false, &is_sealed, &error), 0);
}

void face_create(face_t* f, uint32_t capacity, uint32_t slot_size) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  ndnshm__error_t error;

  options.capacity = capacity;
  options.slot_size = slot_size;
  if (f->kind != NAMED) {
    create_private(f, &options);
  } else {
    ck_assert_msg(ndnshm_create(f->engine, f->name, &options) == 0, "%s", ndnshm_errmsg(f->engine));
    ck_assert_int_eq(ndnshm__region_attach(&f->view, f->shm, NOBODY, &error), 0);
    ndnshm__region_close(&f->view);
  }
  f->header = f->view.header;
}

void face_hand_over(const face_t* f, int ret_fds[3]) {
  int fds[3];

  ck_assert_int_eq(ndnshm_app_fds(f->engine, fds), 0);
  for (int i = 0; i < 3; i++) {
    ret_fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
    ck_assert_int_ge(ret_fds[i], 0);
  }
}

void close_fds(const int fds[3]) {
  for (int i = 0; i < 3; i++) close(fds[i]);
}

void face_join(face_t* f, const ndnshm_options_t* options) {
  int fds[3];

  if (f->kind == NAMED) {
    ck_assert_msg(ndnshm_connect(f->app, f->name, options) == 0, "%s", ndnshm_errmsg(f->app));
    return;
  }
  face_hand_over(f, fds);
  ck_assert_msg(ndnshm_attach(f->app, fds, options) == 0, "%s", ndnshm_errmsg(f->app));
  ndnshm_app_fds_close(f->engine);
}

face_t face_make(const char* tag, uint32_t capacity, uint32_t slot_size) {
  return face_make_of(harness_kind(), tag, capacity, slot_size);
}

face_t face_make_of(kind_t kind, const char* tag, uint32_t capacity, uint32_t slot_size) {
  face_t f = face_plan_of(kind, tag);

  face_create(&f, capacity, slot_size);
  face_join(&f, NULL);
  return f;
}

void face_drop(face_t* f) {
  ndnshm_free(f->app);
  ndnshm_free(f->engine);
  ndnshm__region_unmap(&f->view);
}

void remove_names(const face_t* f) {
  unlink(f->shm_path);
  unlink(f->a2e_path);
  unlink(f->e2a_path);
  harness_remove_stage(f->name);
}

int names_there(const face_t* f) {
  return exists(f->shm_path) + exists(f->a2e_path) + exists(f->e2a_path);
}

bool readable(int fd, int timeout_ms) {
  struct pollfd p = {.fd = fd, .events = POLLIN};

  return poll(&p, 1, timeout_ms) == 1;
}

void assert_errmsg(const ndnshm_t* ep, const char* call, const char* object, const char* reason) {
  const char* text = ndnshm_errmsg(ep);

  ck_assert_msg(strncmp(text, call, strlen(call)) == 0, "'%s' does not begin with '%s'", text, call);
  ck_assert_msg(strstr(text, object) != NULL, "'%s' does not name '%s'", text, object);
  ck_assert_msg(strstr(text, reason) != NULL, "'%s' does not say '%s'", text, reason);
}

void assert_create_fails(face_t* f, const ndnshm_options_t* options, int code, const char* call, const char* object,
                         const char* reason) {
  int fds = harness_count_fds();

  ck_assert_int_eq(ndnshm_create(f->engine, f->name, options), code);
  assert_errmsg(f->engine, call, object, reason);
  ck_assert_int_eq(ndnshm_fd(f->engine), -1);
  ck_assert_int_eq(harness_count_fds(), fds);
}

int send_text(ndnshm_t* ep, const char* text) {
  struct iovec whole = {(void*) (uintptr_t) text, strlen(text)};

  return ndnshm_send(ep, &whole, 1);
}

void assert_receives(ndnshm_t* ep, const char* text) {
  char arena[10000];
  struct iovec packet;

  ck_assert_int_eq(ndnshm_recv(ep, arena, sizeof(arena), &packet, 1), 1);
  ck_assert_uint_eq(packet.iov_len, strlen(text));
  ck_assert_mem_eq(packet.iov_base, text, strlen(text));
}

void assert_receives_nothing(ndnshm_t* ep) {
  char arena[10000];
  struct iovec packet;

  ck_assert_int_eq(ndnshm_recv(ep, arena, sizeof(arena), &packet, 1), 0);
}

static int engine_until_killed(void* arg) {
  const face_t* f = arg;
  ndnshm_t* ep;

  REQUIRE(ndnshm_new(&ep) == 0);
  REQUIRE(ndnshm_create(ep, f->name, NULL) == 0);
  kill(getpid(), SIGSTOP); /* so that the parent sees that it is ready */
  return 1;
}

pid_t start_engine(face_t* f) {
  pid_t pid = harness_fork(engine_until_killed, f);

  ck_assert(harness_wait_state(pid, 'T', DEADLINE_MS));
  return pid;
}

face_t face_of_the_dead(const char* tag) {
  face_t f = face_plan(tag);

  harness_kill(start_engine(&f));
  ck_assert_int_eq(names_there(&f), 3);
  return f;
}
