/* SPDX-License-Identifier: MIT */
/* server.c: the public functions of the server: an embedder's front door.
 *
 * Guarantees that a failed listen leaves nothing behind and may be tried again; and that the close callback comes last,
 * when every app has had its on_close and every inner handle is closed. Loop thread. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "given.h"
#include "serve.h"

#define BACKLOG 511
#define APPS_MAX 1024
#define USER_BYTES_MAX (SIZE_MAX >> 30 >= 4 ? (size_t) 4 << 30 : SIZE_MAX) /* 4 GiB, or all that 32 bits can count */
#define FACES_MAX 8
#define REGION_BYTES_MAX ((size_t) 64 << 20)
#define APP_BYTES_MAX ((size_t) 256 << 20)
#define ATTACH_TIMEOUT_MS 10000
#define FIRST_FACE_ID 256
#define CAPACITY 256
#define SLOT_SIZE 9020
#define KNOWN_FLAGS ((unsigned int) (UVFACE_SERVER_NO_SHM | UVFACE_SERVER_NAMES_FOR_ALL))

static uvface__server_t* priv_of(const uvface_server_t* server) {
  return server != NULL ? server->priv_ : NULL;
}

/* --- Life --------------------------------------------------------------------------------------- */

static void on_empty(uvface__server_t* s) {
  uvface_server_t* server = s->pub;
  uvface_server_close_cb cb = s->close_cb;

  uvface__datasets_free(s);
  ndnpkt_crypto_free(s->crypto);
  free(s->handoff_dir);
  free(s->uri);
  free(s);
  server->priv_ = NULL;
  if (cb != NULL) cb(server);
}

static void on_handles_closed(uvface__closing_t* closing) {
  uvface__server_release((uvface__server_t*) ((char*) closing - offsetof(uvface__server_t, closing)));
}

static void on_acceptor_closed(uvface__acceptor_t* acceptor) {
  uvface__server_release(acceptor->data);
}

int uvface_server_init(uv_loop_t* loop, uvface_server_t* server) {
  uvface__server_t* s;

  if (loop == NULL || server == NULL) return UV_EINVAL;
  server->priv_ = NULL;
  s = calloc(1, sizeof(*s));
  if (s == NULL) return UV_ENOMEM;
  if (ndnpkt_crypto_new(&s->crypto) < 0) {
    free(s);
    return UV_ENOMEM;
  }
  s->pub = server;
  s->loop = loop;
  s->on_packet = uvface__work_on_packet;
  s->on_empty = on_empty;
  s->acceptor.data = s;
  uv_idle_init(loop, &s->idle);
  uv_timer_init(loop, &s->rest);
  uv_timer_init(loop, &s->breath);
  s->idle.data = s->rest.data = s->breath.data = NULL; /* others may close them */
  TAILQ_INIT(&s->apps);
  LIST_INIT(&s->users);
  TAILQ_INIT(&s->ready);
  TAILQ_INIT(&s->makers);
  TAILQ_INIT(&s->resting);
  for (int i = 0; i < UVFACE__BUCKETS; i++) LIST_INIT(&s->buckets[i]);
  server->loop = loop;
  server->priv_ = s;
  return 0;
}

void uvface_server_close(uvface_server_t* server, uvface_server_close_cb cb) {
  uvface__server_t* s = priv_of(server);
  uvface__app_t* app;

  if (s == NULL || s->is_closing) return;
  s->is_closing = true;
  s->close_cb = cb;
  s->holds++; /* the three handles; apps hold it, too */
  if (s->is_listening) {
    s->holds++;
    uvface__acceptor_close(&s->acceptor, on_acceptor_closed);
  }
  TAILQ_FOREACH(app, &s->apps, all_link) uvface__app_end(app, UV_ECANCELED);
  uvface__close_handle((uv_handle_t*) &s->idle);
  uvface__close_handle((uv_handle_t*) &s->rest);
  uvface__close_handle((uv_handle_t*) &s->breath);
  uvface__closing_begin(s->loop, &s->closing, on_handles_closed);
}

/* --- Listening ---------------------------------------------------------------------------------- */

static int take_struct(uvface__server_t* s, const char* what, const void* given, void* taken, size_t bytes) {
  char why[80];
  int err = uvface__take_given(given, taken, bytes, why, sizeof(why));

  return err == 0 ? 0 : uvface__server_complain(s, err, "uvface_server_listen: %s: %s", what, why);
}

static int take_face_options(uvface__server_t* s, const uvface_options_t* given, uvface_options_t* taken) {
  char why[80];
  int err = uvface__take_face_options(given, taken, why, sizeof(why));

  return err == 0 ? 0 : uvface__server_complain(s, err, "uvface_server_listen: options.face: %s", why);
}

static void fill_defaults(uvface_server_options_t* o) {
  if (o->mode == 0) o->mode = 0600;
  if (o->backlog == 0) o->backlog = BACKLOG;
  if (o->max_apps == 0) o->max_apps = APPS_MAX;
  if (o->max_faces == 0) o->max_faces = FACES_MAX;
  if (o->max_region_bytes == 0) o->max_region_bytes = REGION_BYTES_MAX;
  if (o->max_app_bytes == 0) o->max_app_bytes = APP_BYTES_MAX;
  if (o->max_user_apps == 0) o->max_user_apps = o->max_apps - o->max_apps / 4;
  if (o->max_user_bytes == 0) o->max_user_bytes = USER_BYTES_MAX;
  if (o->attach_timeout_ms == 0) o->attach_timeout_ms = ATTACH_TIMEOUT_MS;
  if (o->first_face_id == 0) o->first_face_id = FIRST_FACE_ID;
}

/* As of connections three quarters, so that some are left for others, and for what else the process does. */
static uint64_t share_of_fds(void) {
  struct rlimit limit;

  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
  return limit.rlim_cur - limit.rlim_cur / 4;
}

/* The geometry of faces without an Mtu of their own. */
static int plan_faces(uvface__server_t* s, const uvface_server_options_t* o) {
  uint32_t capacity = CAPACITY, slot_size = o->face.slot_size != 0 ? o->face.slot_size : SLOT_SIZE;
  uint64_t bytes;

  if (o->face.mtu != 0 && (o->face.capacity != 0 || o->face.slot_size != 0))
    return uvface__server_complain(s, UV_EINVAL,
                                   "uvface_server_listen: options: face.mtu excludes capacity and slot_size");
  if (o->face.mtu > UVFACE__MTU_MAX)
    return uvface__server_complain(s, UV_EINVAL, "uvface_server_listen: options: face.mtu %lu is impossible",
                                   (unsigned long) o->face.mtu);
  if (o->face.capacity > UINT32_MAX / 2 + 1)
    return uvface__server_complain(s, UV_EINVAL, "uvface_server_listen: options: face.capacity %lu is impossible",
                                   (unsigned long) o->face.capacity);
  if (o->face.capacity != 0)
    for (capacity = 1; capacity < o->face.capacity;) capacity <<= 1;
  bytes = o->face.mtu != 0 ? uvface__geometry(o->face.mtu, &capacity, &slot_size)
                           : uvface__region_bytes(capacity, slot_size);
  if (bytes > o->max_region_bytes)
    return uvface__server_complain(
        s, UV_EINVAL, "uvface_server_listen: options: face: a region of %llu bytes, max_region_bytes is %zu",
        (unsigned long long) bytes, o->max_region_bytes);
  s->face_capacity = capacity;
  s->face_slot_size = slot_size;
  return 0;
}

static int take_options(uvface__server_t* s, const uvface_server_options_t* options) {
  uvface_server_options_t taken = UVFACE_SERVER_OPTIONS_INIT;
  uvface_options_t face = UVFACE_OPTIONS_INIT;
  int err = 0;

  err = take_struct(s, "options", options, &taken, sizeof(taken));
  if (err == 0) err = take_face_options(s, &taken.face, &face);
  if (err < 0) return err;
  taken.face = face;
  if ((taken.flags & ~KNOWN_FLAGS) != 0)
    return uvface__server_complain(s, UV_EINVAL, "uvface_server_listen: options: unknown flags %#x", taken.flags);
  if ((taken.mode & ~0777u) != 0)
    return uvface__server_complain(s, UV_EINVAL,
                                   "uvface_server_listen: options: mode %#o has more than permission bits", taken.mode);
  if (taken.backlog < 0)
    return uvface__server_complain(s, UV_EINVAL, "uvface_server_listen: options: backlog %d is negative",
                                   taken.backlog);
  fill_defaults(&taken);
  err = plan_faces(s, &taken);
  if (err == 0) s->options = taken;
  s->max_user_fds = share_of_fds();
  return err;
}

static int take_callbacks(uvface__server_t* s, const uvface_server_callbacks_t* callbacks) {
  uvface_server_callbacks_t taken = UVFACE_SERVER_CALLBACKS_INIT;
  int err;

  if (callbacks == NULL) return uvface__server_complain(s, UV_EINVAL, "uvface_server_listen: callbacks: are NULL");
  if ((err = take_struct(s, "callbacks", callbacks, &taken, sizeof(taken))) < 0) return err;
  if (taken.on_open == NULL || taken.on_close == NULL)
    return uvface__server_complain(s, UV_EINVAL, "uvface_server_listen: callbacks: on_open and on_close are needed");
  s->cb = taken;
  return 0;
}

static void forget_texts(uvface__server_t* s) {
  free(s->uri);
  free(s->handoff_dir);
  s->uri = s->handoff_dir = NULL;
}

static int take_texts(uvface__server_t* s, const char* path) {
  size_t bytes = strlen("unix://") + strlen(path) + 1;
  const char* dir = s->options.handoff_dir;

  forget_texts(s);
  s->uri = malloc(bytes);
  if (s->uri != NULL) snprintf(s->uri, bytes, "unix://%s", path);
  if (dir != NULL) s->handoff_dir = strdup(dir);
  s->options.handoff_dir = s->handoff_dir;
  if (s->uri != NULL && (s->handoff_dir != NULL || dir == NULL)) return 0;
  forget_texts(s);
  return uvface__server_complain(s, UV_ENOMEM, "uvface_server_listen: malloc %s: out of memory", path);
}

static void on_accept(uvface__acceptor_t* acceptor, int fd) {
  uvface__app_accept(acceptor->data, fd);
}

static void on_trouble(uvface__acceptor_t* acceptor, int err) {
  uvface__server_t* s = acceptor->data;
  int code = uv_translate_sys_error(err);

  s->stats.connections_refused++;
  uvface__server_complain(s, code, "uvface_server: accept4 %s: %s", s->uri, uv_strerror(code));
}

static int check_state(uvface__server_t* s, const char* path) {
  if (s->is_closing) return uvface__server_complain(s, UV_ENOTCONN, "uvface_server_listen: the server is closing");
  if (s->is_listening)
    return uvface__server_complain(s, UV_EALREADY, "uvface_server_listen: %s: listens already", s->uri);
  if (path == NULL || path[0] == '\0')
    return uvface__server_complain(s, UV_EINVAL, "uvface_server_listen: path: is %s", path == NULL ? "NULL" : "empty");
  return 0;
}

int uvface_server_listen(uvface_server_t* server, const char* path, const uvface_server_options_t* options,
                         const uvface_server_callbacks_t* callbacks) {
  uvface__server_t* s = priv_of(server);
  char why[512];
  uvface__socket_place_t place;
  int err;

  if (s == NULL) return UV_EINVAL;
  if ((err = check_state(s, path)) < 0) return err;
  if ((err = take_callbacks(s, callbacks)) < 0) return err;
  if ((err = take_options(s, options)) < 0) return err;
  if ((err = take_texts(s, path)) < 0) return err;
  place = (uvface__socket_place_t){.path = path,
                                   .mode = (mode_t) s->options.mode,
                                   .uid = s->options.uid,
                                   .gid = s->options.gid,
                                   .backlog = s->options.backlog};
  s->acceptor.on_accept = on_accept;
  s->acceptor.on_trouble = on_trouble;
  s->next_face_id = s->options.first_face_id;
  err = uvface__acceptor_open(s->loop, &s->acceptor, &place, why, sizeof(why));
  if (err < 0) return uvface__server_complain(s, err, "uvface_server_listen: %s", why);
  s->is_listening = true;
  return 0;
}

/* --- Asking ------------------------------------------------------------------------------------- */

void uvface_app_close(uvface_app_t* app) {
  if (app != NULL && app->priv_ != NULL) uvface__app_end(app->priv_, UV_ECANCELED);
}

int uvface_server_get_stats(const uvface_server_t* server, uvface_server_stats_t* stats) {
  const uvface__server_t* s = priv_of(server);

  if (server == NULL || stats == NULL) return UV_EINVAL;
  if (s == NULL || !s->is_listening || s->is_closing) return UV_ENOTCONN;
  *stats = s->stats;
  stats->handoffs = s->handoffs.done;
  stats->proofs_refused = s->handoffs.refused;
  stats->handoff_timeouts = s->handoffs.timeouts;
  return 0;
}

const char* uvface_server_errmsg(const uvface_server_t* server) {
  const uvface__server_t* s = priv_of(server);

  return s != NULL ? s->errmsg : "";
}
