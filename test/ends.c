/* SPDX-License-Identifier: MIT */
/* ends.c: see ends.h. */
#include "ends.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

face_t face_plan(const char* tag) {
  face_t f = {.engine = NULL};

  snprintf(f.name, sizeof(f.name), "%s", harness_name(tag));
  snprintf(f.shm, sizeof(f.shm), "/ndn-shm-%s", f.name);
  snprintf(f.shm_path, sizeof(f.shm_path), "%s", harness_shm_path(f.name));
  snprintf(f.a2e_path, sizeof(f.a2e_path), "%s", harness_a2e_path(f.name));
  snprintf(f.e2a_path, sizeof(f.e2a_path), "%s", harness_e2a_path(f.name));
  ck_assert_int_eq(ndnshm_new(&f.engine), 0);
  ck_assert_int_eq(ndnshm_new(&f.app), 0);
  return f;
}

void face_create(face_t* f, uint32_t capacity, uint32_t slot_size) {
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  ndnshm__error_t error;

  options.capacity = capacity;
  options.slot_size = slot_size;
  ck_assert_msg(ndnshm_create(f->engine, f->name, &options) == 0, "%s", ndnshm_errmsg(f->engine));
  ck_assert_int_eq(ndnshm__region_attach(&f->view, f->shm, NOBODY, &error), 0);
  ndnshm__region_close(&f->view);
  f->header = f->view.header;
}

face_t face_make(const char* tag, uint32_t capacity, uint32_t slot_size) {
  face_t f = face_plan(tag);

  face_create(&f, capacity, slot_size);
  ck_assert_msg(ndnshm_connect(f.app, f.name, NULL) == 0, "%s", ndnshm_errmsg(f.app));
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

/* --- Peers in a child, until they are killed ------------------------------------------------------- */

static int peer_serve(peer_t* peer, ndnshm_t* ep) {
  for (int i = 0; i < peer->packets; i++) REQUIRE(send_text(ep, "last words") == 10);
  if (peer->park) REQUIRE(ndnshm_park(ep, NDNSHM_PACKETS) == 0);
  REQUIRE(write(peer->ready[1], "r", 1) == 1);
  for (;;) pause();
}

int engine_body(void* arg) {
  peer_t* peer = arg;
  ndnshm_t* ep;

  REQUIRE(ndnshm_new(&ep) == 0);
  REQUIRE(ndnshm_create(ep, peer->face->name, NULL) == 0);
  return peer_serve(peer, ep);
}

int app_body(void* arg) {
  peer_t* peer = arg;
  ndnshm_t* ep;
  char byte;

  REQUIRE(read(peer->go[0], &byte, 1) == 1);
  REQUIRE(ndnshm_new(&ep) == 0);
  REQUIRE(ndnshm_connect(ep, peer->face->name, NULL) == 0);
  return peer_serve(peer, ep);
}

void peer_fork(peer_t* peer, int (*body)(void* arg)) {
  ck_assert_int_eq(pipe2(peer->ready, O_CLOEXEC), 0);
  ck_assert_int_eq(pipe2(peer->go, O_CLOEXEC), 0);
  peer->pid = harness_fork(body, peer);
}

void peer_wait_ready(peer_t* peer) {
  char byte;

  ck_assert_msg(readable(peer->ready[0], DEADLINE_MS), "the peer is not ready");
  ck_assert_int_eq(read(peer->ready[0], &byte, 1), 1);
}

void peer_go(peer_t* peer) {
  ck_assert_int_eq(write(peer->go[1], "g", 1), 1);
  peer_wait_ready(peer);
}

static void close_pipes(peer_t* peer) {
  for (int i = 0; i < 2; i++) {
    close(peer->ready[i]);
    close(peer->go[i]);
  }
}

void peer_kill(peer_t* peer) {
  harness_kill(peer->pid);
  close_pipes(peer);
}

void peer_assert_passes(peer_t* peer) {
  ck_assert_int_eq(harness_wait(peer->pid, DEADLINE_MS), 0);
  close_pipes(peer);
}

face_t face_of_the_dead(const char* tag) {
  face_t f = face_plan(tag);
  peer_t engine = {.face = &f};

  peer_fork(&engine, engine_body);
  peer_wait_ready(&engine);
  peer_kill(&engine);
  ck_assert_int_eq(names_there(&f), 3);
  return f;
}
