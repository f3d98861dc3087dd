/* SPDX-License-Identifier: MIT */
/* face.c: life and death of a face.
 *
 * Guarantees rules 1, 2 and 5 to 10 of docs/design.rst: after init a close is owed and always works;
 * the memory is given back two rounds of the loop later, when every inner
 * handle has surely finished, whoever closed it, and the names are gone; a failed face answers every call with its
 * error. All functions belong to the loop's thread. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transport.h"
#include "version.h"

#define APP_SEND_TIMEOUT_MS 5000
#define ENGINE_QUEUE_MAX 1024
/* More than any version of uvface_options_t will have: what is larger was never initialized. */
#define MAX_OPTIONS_BYTES 4096
#define KNOWN_FLAGS ((unsigned int) (UVFACE_RECV_BORROW | UVFACE_SIGBUS_GUARD | UVFACE_WAKE_SOCKET | UVFACE_WAKE_PIPE))
/* What texts call a face that has no name. */
#define PRIVATE_FACE "private face"

_Static_assert(NDNSHM_EOF == UV_EOF, "the core's end of file is libuv's");
_Static_assert(sizeof(struct iovec) == sizeof(uv_buf_t) &&
                   offsetof(struct iovec, iov_base) == offsetof(uv_buf_t, base) &&
                   offsetof(struct iovec, iov_len) == offsetof(uv_buf_t, len),
               "uv_buf_t is laid out like struct iovec");

/* --- Asking ----------------------------------------------------------------------------------- */

static uvface__priv_t* priv_of(const uvface_t* face) {
  return face != NULL ? face->priv_ : NULL;
}

/* The face whose close_cb runs in this thread. It may be asked about, though it is no longer part of its uvface_t,
 * which that callback may free or use again. */
static _Thread_local const uvface__priv_t* finishing;

static const uvface__priv_t* last_priv_of(const uvface_t* face) {
  const uvface__priv_t* f = priv_of(face);

  return f == NULL && finishing != NULL && finishing->face == face ? finishing : f;
}

int uvface_is_active(const uvface_t* face) {
  const uvface__priv_t* f = priv_of(face);

  return f != NULL && uvface__has_work(f);
}

int uvface_is_closing(const uvface_t* face) {
  const uvface__priv_t* f = priv_of(face);

  return f == NULL || f->state == UVFACE__CLOSING;
}

static void set_ref(uvface_t* face, bool has_ref) {
  uvface__priv_t* f = priv_of(face);

  if (f == NULL || f->state == UVFACE__CLOSING) return;
  f->has_ref = has_ref;
  uvface__update_active(f);
}

void uvface_ref(uvface_t* face) {
  set_ref(face, true);
}

void uvface_unref(uvface_t* face) {
  set_ref(face, false);
}

int uvface_has_ref(const uvface_t* face) {
  const uvface__priv_t* f = priv_of(face);

  return f != NULL && f->has_ref;
}

size_t uvface_get_mtu(const uvface_t* face) {
  const uvface__priv_t* f = priv_of(face);

  return f != NULL ? uvface__mtu(f) : 0;
}

int uvface_get_transport(const uvface_t* face) {
  const uvface__priv_t* f = priv_of(face);

  if (f == NULL) return UV_EINVAL;
  if (f->state == UVFACE__CLOSED || f->state == UVFACE__CLOSING) return UV_ENOTCONN;
  return f->stream != NULL ? UVFACE_STREAM : UVFACE_SHM;
}

static uvface_stats_t stream_stats(const uvface__priv_t* f) {
  const uvface__stream_stats_t* stream = uvface__stream_stats(f->stream);

  return (uvface_stats_t){
      .rx_packets = stream->rx_packets,
      .rx_bytes = stream->rx_bytes,
      .tx_packets = stream->tx_packets,
      .tx_bytes = stream->tx_bytes,
      .wakeups_sent = stream->writes,
      .wakeups_received = stream->reads,
      .tx_full = stream->tx_full,
      .slot_size = (uint32_t) uvface__stream_mtu(f->stream),
  };
}

int uvface_get_stats(const uvface_t* face, uvface_stats_t* stats) {
  const uvface__priv_t* f = last_priv_of(face);
  ndnshm_stats_t core;

  if (f == NULL || stats == NULL) return UV_EINVAL;
  if (f->ep == NULL && f->stream == NULL) return UV_ENOTCONN;
  if (f->stream != NULL) {
    *stats = stream_stats(f);
    return 0;
  }
  ndnshm_get_stats(f->ep, &core);
  *stats = (uvface_stats_t){
      .rx_packets = core.rx_packets,
      .rx_bytes = core.rx_bytes,
      .tx_packets = core.tx_packets,
      .tx_bytes = core.tx_bytes,
      .wakeups_sent = core.wakeups_sent,
      .wakeups_received = core.wakeups_received,
      .parks = core.parks,
      .tx_full = core.tx_full,
      .spin_hits = f->spin_hits,
      .recheck_hits = f->recheck_hits,
      .capacity = f->capacity,
      .slot_size = f->slot_size,
      .peer_caps = f->state != UVFACE__FAILED ? ndnshm_peer_caps(f->ep) : 0, /* its region may be slow to touch */
      .hot_ns = f->rx_window.ns,
      .sealed = core.sealed,
      .attached = (f->seen & UVFACE_ATTACHED) != 0 || uvface__has_app(f, &core),
      .throttled = f->look_due_ms != 0,
      .names_left = core.names_left,
  };
  return 0;
}

const char* uvface_get_name(const uvface_t* face) {
  const uvface__priv_t* f = last_priv_of(face);

  return f != NULL && f->ep != NULL && !f->is_private ? f->name : "";
}

/* The kernel tells of no peer where it knows none: on anything but a socket, and over TCP, where it says user -1. */
int uvface_get_peer(const uvface_t* face, uv_pid_t* ret_pid, uv_uid_t* ret_uid) {
  uvface__priv_t* f = priv_of(face);
  struct ucred peer = {.uid = (uid_t) -1};
  socklen_t len = sizeof(peer);
  uv_os_fd_t fd;

  if (f == NULL) return UV_EINVAL;
  if (f->state == UVFACE__CLOSED || f->state == UVFACE__CLOSING)
    return uvface__refuse(f, "uvface_get_peer", UV_ENOTCONN);
  if (uv_fileno((const uv_handle_t*) &f->poll, &fd) < 0) return uvface__refuse(f, "uvface_get_peer", UV_ECANCELED);
  /* Of its own end of a private face an engine would hear who made both ends: itself. */
  if (f->is_engine || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.uid == (uid_t) -1)
    return uvface__complain(f, UV_ENOTSUP, "uvface_get_peer: %s: the kernel knows of no peer there", f->name);
  if (ret_pid != NULL) *ret_pid = peer.pid;
  if (ret_uid != NULL) *ret_uid = peer.uid;
  return 0;
}

const char* uvface_errmsg(const uvface_t* face) {
  const uvface__priv_t* f = last_priv_of(face);

  return f != NULL ? f->errmsg : "";
}

unsigned int uvface_version(void) {
  return VERSION_MAJOR << 16 | VERSION_MINOR << 8 | VERSION_PATCH;
}

const char* uvface_version_string(void) {
  return VERSION_STRING;
}

/* --- Birth ------------------------------------------------------------------------------------ */

int uvface_init(uv_loop_t* loop, uvface_t* face) {
  uvface__priv_t* f;
  int err;

  if (loop == NULL || face == NULL) return UV_EINVAL;
  face->priv_ = NULL;
  f = calloc(1, sizeof(*f));
  if (f == NULL) return UV_ENOMEM;
  err = uvface__loop_acquire(loop, uvface__on_prepare, uvface__on_check, uvface__on_timer, &f->ctx);
  if (err < 0) {
    free(f);
    return err;
  }
  f->face = face;
  f->has_ref = true;
  uvface__list_init(&f->hot_link);
  uvface__list_init(&f->timed_link);
  uvface__list_init(&f->open_link);
  uvface__list_init(&f->owing_link);
  face->loop = loop;
  face->priv_ = f;
  return 0;
}

/* Puts what the caller knows of the options over the defaults. One that was compiled with an older header knows fewer
 * members; what one with a newer header knows must be zero. */
static int take_options(uvface__priv_t* f, const char* function, const uvface_options_t* options,
                        uvface_options_t* taken) {
  const unsigned char* bytes = (const unsigned char*) options;

  if (options != NULL) {
    if (options->size < sizeof(options->size) || options->size > MAX_OPTIONS_BYTES ||
        options->size % _Alignof(uvface_options_t) != 0)
      return uvface__complain(f, UV_EINVAL, "%s: options: impossible size %zu (use UVFACE_OPTIONS_INIT)", function,
                              options->size);
    for (size_t i = sizeof(*taken); i < options->size; i++)
      if (bytes[i] != 0)
        return uvface__complain(f, UV_EINVAL, "%s: options: size %zu: has members that this library does not know",
                                function, options->size);
    memcpy(taken, options, options->size < sizeof(*taken) ? options->size : sizeof(*taken));
    for (size_t i = 0; i < sizeof(taken->reserved) / sizeof(taken->reserved[0]); i++)
      if (taken->reserved[i] != 0)
        return uvface__complain(f, UV_EINVAL, "%s: options: reserved[%zu]: is a member that this library does not know",
                                function, i);
  }
  if ((taken->flags & ~KNOWN_FLAGS) != 0)
    return uvface__complain(f, UV_EINVAL, "%s: options: unknown flags %#x", function, taken->flags);
  if (taken->send_timeout_ms < -1)
    return uvface__complain(f, UV_EINVAL, "%s: options: send_timeout_ms %lld is negative", function,
                            (long long) taken->send_timeout_ms);
  return 0;
}

static void apply_options(uvface__priv_t* f, const uvface_options_t* options) {
  uint32_t window_ns = options->hot_ns != 0 ? options->hot_ns : options->spin_ns;

  f->flags = options->flags;
  f->recheck_ms = options->recheck_ms;
  f->spin_ns = f->ctx->many_cpus ? options->spin_ns : 0;
  uvface__window_init(&f->rx_window, f->ctx->many_cpus ? window_ns : 0);
  uvface__window_init(&f->tx_window, f->rx_window.max_ns);
  if (options->send_timeout_ms >= 0)
    f->send_timeout_ms = (uint64_t) options->send_timeout_ms;
  else
    f->send_timeout_ms = f->is_engine ? 0 : APP_SEND_TIMEOUT_MS;
  f->queue_max = options->queue_max != 0 ? options->queue_max : f->is_engine ? ENGINE_QUEUE_MAX : UINT32_MAX;
}

static void on_poll_closed(uv_handle_t* handle) {
  UVFACE__CONTAINER(handle, uvface__priv_t, poll)->has_poll = false;
}

/* On failure the handle, if there is one, is closing: it must not outlive the descriptor. */
static int poll_descriptor(uvface__priv_t* f, const char* function, const char* name, int fd) {
  int err = uv_poll_init(f->face->loop, &f->poll, fd);

  if (err < 0) return uvface__complain(f, err, "%s: uv_poll_init %s: %s", function, name, uv_strerror(err));
  f->has_poll = true;
  f->poll.data = NULL;
  uv_unref((uv_handle_t*) &f->poll);
  err = uvface__start_polling(f);
  if (err == 0) return 0;
  uv_close((uv_handle_t*) &f->poll, on_poll_closed);
  return uvface__complain(f, err, "%s: uv_poll_start %s: %s", function, name, uv_strerror(err));
}

/* One of the four ways to open a face. */
typedef struct way_s {
  const char* function;
  const char* name; /* PRIVATE_FACE, if it has none */
  bool is_engine;
  bool is_private;
  int* fds; /* of an attach: descriptors that the endpoint takes over; then -1 */
} way_t;

static int open_core(const way_t* way, const ndnshm_options_t* options, ndnshm_t* ep) {
  int err;

  if (!way->is_private)
    return way->is_engine ? ndnshm_create(ep, way->name, options) : ndnshm_connect(ep, way->name, options);
  if (way->is_engine) return ndnshm_create_private(ep, options);
  err = ndnshm_attach(ep, way->fds, options);
  if (err == 0) way->fds[0] = way->fds[1] = way->fds[2] = -1;
  return err;
}

static unsigned int core_flags(unsigned int flags) {
  unsigned int core = NDNSHM_LEVEL_TRIGGERED; /* as libuv polls */

  if ((flags & UVFACE_SIGBUS_GUARD) != 0) core |= NDNSHM_SIGBUS_GUARD;
  if ((flags & UVFACE_WAKE_SOCKET) != 0) core |= NDNSHM_WAKE_SOCKET;
  if ((flags & UVFACE_WAKE_PIPE) != 0) core |= NDNSHM_WAKE_PIPE;
  return core;
}

static int open_endpoint(uvface__priv_t* f, const way_t* way, const uvface_options_t* options, ndnshm_t* ep) {
  ndnshm_options_t core = NDNSHM_OPTIONS_INIT;
  int err;

  core.capacity = options->capacity;
  core.slot_size = options->slot_size;
  core.mtu = options->mtu;
  core.mode = options->mode;
  core.uid = options->uid;
  core.gid = options->gid;
  core.flags = core_flags(options->flags) | NDNSHM_CHORES;
  core.max_slot_size = options->max_slot_size;
  err = open_core(way, &core, ep);
  if (err < 0) return uvface__complain(f, err, "%s: %s", way->function, ndnshm_errmsg(ep));
  return poll_descriptor(f, way->function, way->name, ndnshm_fd(ep));
}

/* 0 if the face may be opened. */
static int check_closed(uvface__priv_t* f, const char* function) {
  if (f->state == UVFACE__CLOSING) return uvface__complain(f, UV_ENOTCONN, "%s: the face is closing", function);
  if (f->state != UVFACE__CLOSED) return uvface__complain(f, UV_EALREADY, "%s: the face is open already", function);
  if (f->has_poll)
    return uvface__complain(f, UV_EALREADY, "%s: the handle of the last attempt is closing: try again in the next turn",
                            function);
  if (uvface__loop_is_dead(f->ctx))
    return uvface__complain(f, UV_ECANCELED, "%s: the face's inner handles were closed by somebody else", function);
  return 0;
}

static int open_face(uvface_t* face, const way_t* way, const uvface_options_t* options) {
  uvface__priv_t* f = priv_of(face);
  uvface_options_t taken = UVFACE_OPTIONS_INIT;
  ndnshm_t* ep;
  int err;

  if (f == NULL) return UV_EINVAL;
  if ((err = check_closed(f, way->function)) < 0) return err;
  if ((err = take_options(f, way->function, options, &taken)) < 0) return err;
  if ((err = ndnshm_new(&ep)) < 0) return uvface__complain(f, err, "%s: out of memory", way->function);
  f->is_engine = way->is_engine;
  err = open_endpoint(f, way, &taken, ep);
  if (err < 0) {
    ndnshm_free(ep);
    return err;
  }
  f->ep = ep;
  uvface__aim(f);
  f->is_private = way->is_private;
  f->capacity = ndnshm_get_capacity(ep);
  f->slot_size = (uint32_t) ndnshm_get_mtu(ep);
  f->pid = getpid();
  f->state = UVFACE__OPEN;
  f->errmsg[0] = '\0'; /* of an attempt before */
  f->minds_chores = way->is_engine && !way->is_private;
  snprintf(f->name, sizeof(f->name), "%s", way->name);
  apply_options(f, &taken);
  uvface__watch(f);
  return 0;
}

/* How the socket was is put back. */
static int open_socket(uvface__priv_t* f, const char* function, const char* name, int sock, size_t mtu) {
  int flags = fcntl(sock, F_GETFL);
  int err = uvface__stream_new(sock, mtu, &f->stream);

  if (err < 0) return uvface__complain(f, err, "%s: malloc for %s: out of memory", function, name);
  err = poll_descriptor(f, function, name, sock);
  if (err == 0) return 0;
  fcntl(sock, F_SETFL, flags);
  uvface__stream_free(f->stream);
  f->stream = NULL;
  return err;
}

/* What is for shared memory, a stream has no use for: there is nothing to look at before it sleeps. */
static void apply_stream_options(uvface__priv_t* f, uvface_options_t* options) {
  options->flags = 0;
  options->hot_ns = options->spin_ns = options->recheck_ms = 0;
  apply_options(f, options);
}

int uvface_open_stream(uvface_t* face, uv_os_sock_t sock, const uvface_options_t* options) {
  static const char function[] = "uvface_open_stream";
  uvface__priv_t* f = priv_of(face);
  uvface_options_t taken = UVFACE_OPTIONS_INIT;
  char name[sizeof(f->name)];
  int err;

  if (f == NULL) return UV_EINVAL;
  if ((err = check_closed(f, function)) < 0) return err;
  if ((err = take_options(f, function, options, &taken)) < 0) return err;
  if (taken.mtu > UVFACE__STREAM_MAX_MTU)
    return uvface__complain(f, UV_EINVAL, "%s: options: mtu %u is above %u", function, taken.mtu,
                            UVFACE__STREAM_MAX_MTU);
  snprintf(name, sizeof(name), "stream socket %d", sock);
  if ((err = uvface__stream_check(sock)) < 0)
    return uvface__complain(f, err, "%s: %s: %s", function, name, uv_strerror(err));
  err = open_socket(f, function, name, sock, taken.mtu != 0 ? taken.mtu : UVFACE__STREAM_MTU);
  if (err < 0) return err;
  uvface__stream_own(f->stream);
  uvface__recv_begin_stream(f);
  f->is_engine = false;
  f->pid = getpid();
  f->state = UVFACE__OPEN;
  f->errmsg[0] = '\0'; /* of an attempt before */
  memcpy(f->name, name, sizeof(name));
  apply_stream_options(f, &taken);
  return 0;
}

int uvface_create(uvface_t* face, const char* name, const uvface_options_t* options) {
  const way_t way = {.function = "uvface_create", .name = name, .is_engine = true};

  return open_face(face, &way, options);
}

int uvface_connect(uvface_t* face, const char* name, const uvface_options_t* options) {
  const way_t way = {.function = "uvface_connect", .name = name};

  return open_face(face, &way, options);
}

int uvface_create_private(uvface_t* face, const uvface_options_t* options) {
  const way_t way = {.function = "uvface_create_private", .name = PRIVATE_FACE, .is_engine = true, .is_private = true};

  return open_face(face, &way, options);
}

int uvface_app_fds(const uvface_t* face, int ret_fds[3]) {
  const uvface__priv_t* f = priv_of(face);

  if (f == NULL) return UV_EINVAL;
  if (f->state == UVFACE__CLOSED || f->state == UVFACE__CLOSING) return UV_ENOTCONN;
  if (ret_fds != NULL && f->ep == NULL) return UV_EBADF; /* a stream */
  return ndnshm_app_fds(f->ep, ret_fds);
}

void uvface_app_fds_close(uvface_t* face) {
  const uvface__priv_t* f = priv_of(face);

  if (f != NULL) ndnshm_app_fds_close(f->ep);
}

/* As many as there are: a socket may stand there twice. */
static void close_three(const int fds[3]) {
  for (int i = 0; i < 3; i++)
    if (fds[i] >= 0 && (i != 2 || fds[2] != fds[1])) close(fds[i]);
}

static int copy_three(uvface__priv_t* f, const char* function, const int fds[3], int copies[3]) {
  for (int i = 0; i < 3; i++) {
    copies[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1); /* not where printf() writes */
    if (copies[i] < 0) {
      int err = uv_translate_sys_error(errno);

      return uvface__complain(f, err, "%s: fcntl %s, descriptor %d (%s): %s", function, PRIVATE_FACE, fds[i],
                              i == 0   ? "region"
                              : i == 1 ? "a2e write end"
                                       : "e2a read end",
                              uv_strerror(err));
    }
  }
  return 0;
}

/* Opens copies: what can still fail when the core has taken them over must leave the caller's own alone. */
int uvface_attach(uvface_t* face, const int fds[3], const uvface_options_t* options) {
  uvface__priv_t* f = priv_of(face);
  int copies[3] = {-1, -1, -1};
  const way_t way = {.function = "uvface_attach", .name = PRIVATE_FACE, .is_private = true, .fds = copies};
  int err;

  if (f == NULL) return UV_EINVAL;
  if ((err = check_closed(f, way.function)) < 0) return err;
  if (fds == NULL) return uvface__complain(f, UV_EINVAL, "%s: fds: is NULL", way.function);
  err = copy_three(f, way.function, fds, copies);
  if (err == 0) err = open_face(face, &way, options);
  close_three(err < 0 ? copies : fds);
  return err;
}

/* --- Death ------------------------------------------------------------------------------------ */

static void on_close_round_two(uv_handle_t* handle);

static void close_in_next_round(uvface__priv_t* f) {
  uv_idle_init(f->face->loop, &f->closer);
  uv_close((uv_handle_t*) &f->closer, on_close_round_two);
}

/* And in as many more as it takes for its names to go. A handle that is closed again and again, because it is the one
 * thing in a loop that nobody else can close. */
static void on_close_round_two(uv_handle_t* handle) {
  uvface__priv_t* f = UVFACE__CONTAINER(handle, uvface__priv_t, closer);
  uvface_t* face = f->face;
  uvface_close_cb cb = f->close_cb;
  uvface_filter_t* filter = f->filter;

  assert(f->pending == 0 && f->nqueued == 0);
  if (!uvface__has_left(f)) {
    close_in_next_round(f);
    return;
  }
  if (f->ctx != NULL) uvface__loop_free(f->ctx);
  face->priv_ = NULL;
  finishing = f;
  if (cb != NULL) cb(face);
  if (filter != NULL && filter->on_close != NULL) filter->on_close(filter, face);
  finishing = NULL;
  ndnshm_free(f->ep);
  uvface__stream_free(f->stream);
  free(f->own_arena);
  free(f);
}

/* libuv finishes the handles of a round newest first, so others' closes that came before ours may still
 * be under way here. In the next round they are not. */
static void on_close_round_one(uv_handle_t* handle) {
  uvface__priv_t* f = UVFACE__CONTAINER(handle, uvface__priv_t, closer);

  uvface__send_complete(f);
  close_in_next_round(f);
}

/* Within recv_cb what was lent counts as delivered, and is not the next app's again; over a stream what the socket
 * takes at once is still sent. Not by a forked child, which has a copy of all that: it is its parent's to do. */
static void take_leave(uvface__priv_t* f) {
  if (f->pid != getpid()) return;
  ndnshm_release(f->ep);
  if (f->stream != NULL) uvface__stream_flush(f->stream);
}

void uvface_close(uvface_t* face, uvface_close_cb cb) {
  uvface__priv_t* f = priv_of(face);

  if (f == NULL || f->state == UVFACE__CLOSING) return;
  f->close_cb = cb;
  f->receiving = false;
  uvface__send_abort(f);
  f->state = UVFACE__CLOSING;
  uvface__update_active(f);
  uvface__list_remove(&f->hot_link);
  uvface__list_remove(&f->timed_link);
  uvface__list_remove(&f->open_link);
  uvface__list_remove(&f->owing_link); /* shutting down settles */
  uvface__keep_turning(f->ctx);
  if (f->has_poll && !uv_is_closing((uv_handle_t*) &f->poll)) uv_close((uv_handle_t*) &f->poll, NULL);
  take_leave(f);
  uvface__leave(f);
  if (f->stream != NULL) uvface__stream_shutdown(f->stream);
  uv_idle_init(face->loop, &f->closer);
  f->closer.data = NULL;
  if (!uvface__loop_release(f->ctx)) f->ctx = NULL;
  uv_close((uv_handle_t*) &f->closer, on_close_round_one);
}
