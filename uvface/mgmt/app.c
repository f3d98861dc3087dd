/* SPDX-License-Identifier: MIT */
/* app.c: see serve.h: one face of a local app, from its birth to on_close. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve.h"

/* ndn-rs: room in a slot beside the Mtu for what a forwarder adds, the bytes both rings share, the fewest slots. */
#define MTU_HEADROOM_BYTES 16384u
#define RINGS_BYTES 4589568u
#define SLOTS_MIN 16u
/* The region's header, and the length in front of each slot. */
#define HEADER_BYTES 448u
#define LENGTH_BYTES 4u
#define CACHE_LINE_BYTES 64u
/* What a connection may leave waiting, unless the options say more: as the engine of a ring. */
#define QUEUE_MAX 1024
/* The most that a face over a stream may be asked to carry (uvface.h). */
#define STREAM_MTU_MAX (16u << 20)
/* Looks in a row that find nothing new from a face without a connection. */
#define QUIET_LOOKS 3

#define APP_OF(pointer, member) ((uvface__app_t*) ((char*) (pointer) -offsetof(uvface__app_t, member)))

int uvface__server_complain(uvface__server_t* s, int code, const char* format, ...) {
  va_list args;

  va_start(args, format);
  vsnprintf(s->errmsg, sizeof(s->errmsg), format, args);
  va_end(args);
  return code;
}

void uvface__server_release(uvface__server_t* s) {
  if (--s->holds == 0 && s->is_closing) s->on_empty(s);
}

/* --- The end ------------------------------------------------------------------------------------ */

static void part_closed(uvface__app_t* app);

static void finish(uvface__app_t* app) {
  uvface__server_t* s = app->server;
  uvface__app_t* parent = app->parent;

  if (app->is_open) {
    if (app->is_shm)
      s->stats.app_faces--;
    else {
      s->stats.apps--;
      app->user->apps--;
    }
    s->cb.on_close(&app->pub, app->status);
  }
  TAILQ_REMOVE(&s->apps, app, all_link);
  for (int i = 0; i < UVFACE__REMEMBERED; i++) free(app->answers[i].content);
  uvface__routes_free(app);
  if (app->user != NULL) {
    app->user->region_bytes -= app->own_bytes;
    uvface__app_count_fds(app, 0);
  }
  uvface__user_release(app->user);
  free(app);
  uvface__server_release(s);
  if (parent != NULL) part_closed(parent); /* so that its on_close comes after those of its faces */
}

static void part_closed(uvface__app_t* app) {
  if (--app->parts == 0) finish(app);
}

static void on_timer_closed(uvface__closing_t* closing) {
  part_closed(APP_OF(closing, closing));
}

static void on_handoff_closed(void* data) {
  part_closed(data);
}

static void drop_work(uvface__app_t* app) {
  uvface__server_t* s = app->server;
  uvface__pending_t* next;

  if (app->work == UVFACE__READY) uvface__line_leave(&s->ready, &app->user->ready, app);
  if (app->work == UVFACE__MAKING) uvface__line_leave(&s->makers, &app->user->makers, app);
  if (app->work == UVFACE__RESTING) uvface__line_leave(&s->resting, &app->user->resting, app);
  if (app->work != UVFACE__ANSWERING) app->work = UVFACE__IDLE;
  while ((next = STAILQ_FIRST(&app->pending)) != NULL) {
    STAILQ_REMOVE_HEAD(&app->pending, link);
    free(next);
  }
  app->pending_bytes = 0;
}

/* A named face is known to be claimed by what its app has done; ndn-rs does nothing but open the FIFOs. */
static bool is_claimed(uvface__app_t* app) {
  uvface_stats_t stats;

  if (!app->is_claimed && app->handoff == NULL && uvface_get_stats(&app->face, &stats) == 0)
    app->is_claimed = stats.attached != 0 || stats.peer_caps != 0 || stats.rx_packets != 0;
  return app->is_claimed;
}

/* The face leaves its connection. */
static void leave(uvface__app_t* face) {
  uvface__app_t* owner = face->owner;

  if (owner == NULL) return;
  TAILQ_REMOVE(&owner->faces, face, face_link);
  owner->nfaces--;
  owner->region_bytes -= face->own_bytes;
  face->owner = NULL;
}

static void on_timer(uv_timer_t* timer);

/* The connection that the face was made on is gone. If its app just went away, then what it sent last is still in the
 * ring, and the end of that comes from the ring itself, now or soon. */
static void outlive(uvface__app_t* face, int status) {
  uvface_stats_t stats;

  if (status != UV_EOF || !is_claimed(face)) {
    uvface__app_end(face, status);
    return;
  }
  leave(face);
  drop_work(face);
  uvface_get_stats(&face->face, &stats);
  face->rx_packets = stats.rx_packets;
  face->last_rx_packets = stats.rx_packets + stats.capacity;
  uv_timer_start(&face->timer, on_timer, UVFACE__GRACE_MS, 0);
}

/* The clock alone does not say that no more comes: the loop may have been held up, or have others to serve. A turn in
 * which nothing came does. Timers run at the end of a turn and once more before the next, so that of three looks in a
 * row two had a turn between them. Who still sends gets no more than a ring's worth. */
static bool still_delivers(uvface__app_t* face) {
  uvface_stats_t stats;

  uvface_get_stats(&face->face, &stats);
  face->quiet_looks = stats.rx_packets == face->rx_packets ? face->quiet_looks + 1 : 0;
  face->rx_packets = stats.rx_packets;
  return face->quiet_looks < QUIET_LOOKS && stats.rx_packets < face->last_rx_packets;
}

void uvface__app_end(uvface__app_t* app, int status) {
  uvface__app_t* face;

  if (app->is_ending) return;
  app->is_ending = true;
  app->status = status;
  LIST_REMOVE(app, bucket_link);
  drop_work(app);
  while ((face = TAILQ_FIRST(&app->faces)) != NULL) outlive(face, status);
  leave(app);
  uvface__close_handle((uv_handle_t*) &app->timer);
  uvface__closing_begin(app->server->loop, &app->closing, on_timer_closed);
  if (app->handoff != NULL) uvface__handoff_server_close(app->handoff); /* before the face whose descriptors it has */
  uvface_close(&app->face, NULL);
}

static void on_end(uvface_filter_t* filter, uvface_t* face, int status) {
  (void) face;
  uvface__app_end(filter->data, status);
}

static void on_close(uvface_filter_t* filter, uvface_t* face) {
  uvface__app_t* app = filter->data;

  (void) face;
  uvface__app_end(app, UV_ECANCELED); /* if it was the user who closed it */
  part_closed(app);
}

/* --- Birth -------------------------------------------------------------------------------------- */

uvface__app_t* uvface__app_find(uvface__server_t* s, uint64_t face_id) {
  uvface__app_t* app;

  LIST_FOREACH(app, &s->buckets[face_id % UVFACE__BUCKETS], bucket_link) {
    if (app->pub.face_id == face_id) return uvface__app_is_ending(app) ? NULL : app;
  }
  return NULL;
}

static uvface__app_t* app_new(uvface__server_t* s, const uvface__app_t* owner) {
  uvface__app_t* app = calloc(1, sizeof(*app));

  if (app == NULL) return NULL;
  if (uvface_init(s->loop, &app->face) < 0) {
    free(app);
    return NULL;
  }
  app->server = s;
  app->is_shm = owner != NULL;
  app->filter = (uvface_filter_t){
      .size = sizeof(app->filter), .data = app, .on_packet = s->on_packet, .on_end = on_end, .on_close = on_close};
  uvface_set_filter(&app->face, &app->filter);
  uv_timer_init(s->loop, &app->timer);
  app->timer.data = NULL;
  app->parts = 2;
  TAILQ_INIT(&app->faces);
  STAILQ_INIT(&app->pending);
  SLIST_INIT(&app->routes);
  app->pub = (uvface_app_t){.server = s->pub, .face = &app->face, .face_id = s->next_face_id++, .priv_ = app};
  TAILQ_INSERT_TAIL(&s->apps, app, all_link);
  LIST_INSERT_HEAD(&s->buckets[app->pub.face_id % UVFACE__BUCKETS], app, bucket_link);
  s->holds++;
  return app;
}

/* False if the user has closed it in there. */
static bool tell_open(uvface__app_t* app) {
  app->is_open = true;
  app->server->cb.on_open(&app->pub);
  if (uvface__app_is_ending(app)) return false;
  if (!uvface_is_active(&app->face)) uvface_recv_start(&app->face, NULL); /* commands must still come through */
  return true;
}

/* --- Connections -------------------------------------------------------------------------------- */

static int open_stream(uvface__app_t* app, int fd) {
  const uvface_options_t* all = &app->server->options.face;
  uvface_options_t options = UVFACE_OPTIONS_INIT;

  options.mtu = app->server->face_slot_size; /* so that what fits into a ring fits here; and answers do */
  if (options.mtu < NDNPKT_PACKET_MAX) options.mtu = NDNPKT_PACKET_MAX;
  if (options.mtu > STREAM_MTU_MAX) options.mtu = STREAM_MTU_MAX;
  options.send_timeout_ms = all->send_timeout_ms >= 0 ? all->send_timeout_ms : 0;
  options.queue_max = all->queue_max != 0 ? all->queue_max : QUEUE_MAX;
  return uvface_open_stream(&app->face, fd, &options);
}

static int out_of_memory(uvface__server_t* s) {
  return uvface__server_complain(s, UV_ENOMEM, "uvface_server: calloc %s: out of memory", s->uri);
}

static int become_app(uvface__server_t* s, int fd, const struct ucred* peer, uvface__user_t* user) {
  uvface__app_t* app = app_new(s, NULL);
  int err;

  if (app == NULL) return out_of_memory(s);
  app->pub.uri = s->uri;
  app->pub.pid = peer->pid;
  app->pub.uid = peer->uid;
  app->pub.gid = peer->gid;
  app->user = uvface__user_hold(user);
  uvface__app_count_fds(app, UVFACE__CONNECTION_FDS);
  err = open_stream(app, fd);
  if (err < 0) {
    uvface__server_complain(s, err, "uvface_server: %s", uvface_errmsg(&app->face));
    uvface__app_end(app, err);
    return err;
  }
  s->stats.connections++;
  s->stats.apps++;
  user->apps++;
  tell_open(app);
  return 0;
}

static int admit(uvface__server_t* s, int fd, const struct ucred* peer) {
  uvface__user_t* user = uvface__user_of(s, peer->uid);
  int err;

  if (user == NULL) return out_of_memory(s);
  if (user->is_stranger && user->apps >= s->options.max_user_apps)
    err = uvface__server_complain(s, UV_EMFILE, "uvface_server: accept4 %s: max_user_apps, %lu of user %lu, are there",
                                  s->uri, (unsigned long) user->apps, (unsigned long) user->uid);
  else if (uvface__user_has_too_many_fds(s, user, UVFACE__CONNECTION_FDS))
    err = uvface__server_complain(s, UV_EMFILE, "uvface_server: accept4 %s: user %lu has %llu descriptors, his share",
                                  s->uri, (unsigned long) user->uid, (unsigned long long) user->fds);
  else
    err = become_app(s, fd, peer, user);
  uvface__user_release(user);
  return err;
}

void uvface__app_accept(uvface__server_t* s, int fd) {
  struct ucred peer;
  socklen_t len = sizeof(peer);
  int err;

  if (s->stats.apps >= s->options.max_apps)
    err = uvface__server_complain(s, UV_EMFILE, "uvface_server: accept4 %s: max_apps, %lu connections, are there",
                                  s->uri, (unsigned long) s->options.max_apps);
  else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
    err = uvface__server_complain(s, UV_EACCES, "uvface_server: getsockopt %s: %s", s->uri,
                                  uv_strerror(uv_translate_sys_error(errno)));
  else
    err = admit(s, fd, &peer);
  if (err == 0) return;
  s->stats.connections_refused++;
  close(fd);
}

/* --- Shared-memory faces ------------------------------------------------------------------------ */

uint64_t uvface__region_bytes(uint64_t capacity, uint64_t slot_size) {
  return HEADER_BYTES + 2 * capacity * (slot_size + LENGTH_BYTES);
}

/* As ndn-rs: the slot is the Mtu and its headroom, and there are as many as fill 4.6 MB, but not less than 16. A slot
 * and its length are whole cache lines here, and the slots a power of two, which is faster. */
uint64_t uvface__geometry(uint64_t mtu, uint32_t* ret_capacity, uint32_t* ret_slot_size) {
  uint64_t slot_size = (mtu + MTU_HEADROOM_BYTES + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES;
  uint64_t stride = slot_size + CACHE_LINE_BYTES;
  uint64_t capacity = SLOTS_MIN;

  while (2 * (2 * capacity) * stride <= RINGS_BYTES) capacity *= 2;
  *ret_capacity = (uint32_t) capacity;
  *ret_slot_size = (uint32_t) (stride - LENGTH_BYTES);
  return uvface__region_bytes(capacity, stride - LENGTH_BYTES);
}

static void on_timer(uv_timer_t* timer) {
  uvface__app_t* app = APP_OF(timer, timer);
  uint64_t now_ns = uv_hrtime();

  if (app->owner == NULL) {
    if (still_delivers(app))
      uv_timer_start(timer, on_timer, 1, 0);
    else
      uvface__app_end(app, UV_EOF);
    return;
  }
  if (is_claimed(app)) return;
  if (now_ns < app->claim_due_ns) {
    uv_timer_start(timer, on_timer, (app->claim_due_ns - now_ns) / 1000000 + 1, 0);
  } else if (app->late_looks++ < QUIET_LOOKS) { /* the loop may have been held up, and its app have come meanwhile */
    uv_timer_start(timer, on_timer, 1, 0);
  } else {
    app->server->stats.faces_unclaimed++;
    uvface__app_end(app, UV_ETIMEDOUT);
  }
}

/* Who comes for a private face proves it. Who opens a named one is seen within a second. */
static void await_claim(uvface__app_t* app) {
  uint64_t timeout_ms = app->server->options.attach_timeout_ms;

  app->claim_due_ns = uv_hrtime() + (timeout_ms + (app->handoff == NULL ? UVFACE__LOOK_FOR_APP_MS : 0)) * 1000000;
  uv_timer_start(&app->timer, on_timer, timeout_ms, 0);
}

/* How private faces are woken of users whose descriptors are bounded: by a socket, unless the options say. */
static bool is_by_pipes(const uvface__server_t* s) {
  return (s->options.face.flags & UVFACE_WAKE_PIPE) != 0;
}

/* Where memfd_create(2) is refused, the region is a file, which is looked at again. */
static bool keeps_region(const uvface__app_t* app) {
  uvface_stats_t stats;

  return uvface_get_stats(&app->face, &stats) == 0 && stats.sealed == 0;
}

/* The handoff is over: the descriptors are the app's, whose death is end of file from now on; or nobody may have
 * them. */
static void on_handoff_end(void* data, int status) {
  uvface__app_t* app = data;
  uvface__handoff_server_t* handoff = app->handoff;

  if (status < 0) {
    app->server->stats.faces_unclaimed++;
    uvface__app_end(app, UV_ETIMEDOUT);
    return;
  }
  app->is_claimed = true;
  app->handoff = NULL;
  uvface__handoff_server_close(handoff);
  uvface__app_count_fds(app, UVFACE__PRIVATE_FDS(is_by_pipes(app->server)) + keeps_region(app));
  uvface_app_fds_close(&app->face);
  uv_timer_stop(&app->timer);
}

static bool on_another(void* data, bool comes) {
  uvface__app_t* app = data;

  if (comes && uvface__user_has_too_many_fds(app->server, app->user, 1)) return false;
  uvface__app_count_fds(app, comes ? app->fds + 1 : app->fds - 1);
  return true;
}

static int open_handoff(uvface__app_t* app, const uvface__wish_t* wish, char* why, size_t cap) {
  uvface__server_t* s = app->server;
  uvface__handoff_options_t options = {.loop = s->loop,
                                       .crypto = s->crypto,
                                       .dir = s->handoff_dir,
                                       .key = wish->token.base,
                                       .uid = app->pub.uid,
                                       .face = &app->face,
                                       .counts = &s->handoffs,
                                       .data = app,
                                       .on_end = on_handoff_end,
                                       .on_another = on_another,
                                       .on_closed = on_handoff_closed};
  int err = uvface__handoff_server_open(&options, &app->handoff, why, cap);

  if (err == 0) app->parts++;
  return err;
}

static uvface_options_t face_options(const uvface__app_t* app, const uvface__wish_t* wish, uint32_t capacity,
                                     uint32_t slot_size) {
  uvface_options_t options = app->server->options.face;

  options.mtu = 0;
  options.capacity = capacity;
  options.slot_size = slot_size;
  if (wish->token.base != NULL || (options.uid == (uv_uid_t) -1 && geteuid() == 0 && app->pub.uid != 0))
    options.uid = app->pub.uid; /* who may have the descriptors; or could not open, by name, what we make */
  return options;
}

static int open_face(uvface__app_t* app, const uvface__wish_t* wish, uint32_t capacity, uint32_t slot_size, char* why,
                     size_t cap) {
  uvface_options_t options = face_options(app, wish, capacity, slot_size);
  const char* name = app->pub.uri + strlen("shm://");
  int err = wish->token.base != NULL ? uvface_create_private(&app->face, &options)
                                     : uvface_create(&app->face, name, &options);

  if (err < 0) {
    snprintf(why, cap, "%s", uvface_errmsg(&app->face));
    return err;
  }
  return wish->token.base != NULL ? open_handoff(app, wish, why, cap) : 0;
}

/* 200 if the connection may have a face of so many bytes and descriptors. */
static unsigned int check_limits(const uvface__app_t* connection, uint64_t bytes, unsigned int fds, char* why,
                                 size_t cap) {
  const uvface_server_options_t* options = &connection->server->options;
  const uvface__user_t* user = connection->user;
  uint64_t of_connection = connection->region_bytes + bytes, of_user = user->region_bytes + bytes;

  if (bytes > options->max_region_bytes) {
    snprintf(why, cap, "a region of %llu bytes is more than %zu", (unsigned long long) bytes,
             options->max_region_bytes);
    return 400;
  }
  if (connection->nfaces >= options->max_faces) {
    snprintf(why, cap, "there are %u faces, and no more allowed", connection->nfaces);
    return 503;
  }
  if (of_connection > options->max_app_bytes) {
    snprintf(why, cap, "regions of %llu bytes together are more than %zu", (unsigned long long) of_connection,
             options->max_app_bytes);
    return 503;
  }
  if (user->is_stranger && of_user > options->max_user_bytes) {
    snprintf(why, cap, "regions of %llu bytes of user %lu together are more than %zu", (unsigned long long) of_user,
             (unsigned long) user->uid, options->max_user_bytes);
    return 503;
  }
  if (uvface__user_has_too_many_fds(connection->server, user, fds)) {
    snprintf(why, cap, "user %lu has %llu descriptors here, and %u more are more than his share",
             (unsigned long) user->uid, (unsigned long long) user->fds, fds);
    return 503;
  }
  return 200;
}

static unsigned int code_of(int err) {
  if (err == UV_EINVAL || err == UV_ENAMETOOLONG) return 400;
  return err == UV_EADDRINUSE ? 409 : 500;
}

static unsigned int fds_of(const uvface__server_t* s, const uvface__wish_t* wish) {
  return wish->token.base != NULL ? UVFACE__OFFERED_FDS(is_by_pipes(s)) : UVFACE__NAMED_FDS;
}

static void join(uvface__app_t* face, uvface__app_t* owner, const uvface__wish_t* wish, uint64_t bytes) {
  snprintf(face->uri, sizeof(face->uri), "shm://%.*s", (int) wish->name.len, (const char*) wish->name.base);
  face->pub.uri = face->uri;
  face->pub.pid = owner->pub.pid;
  face->pub.uid = owner->pub.uid;
  face->pub.gid = owner->pub.gid;
  face->owner = face->parent = owner;
  owner->parts++;
  face->user = uvface__user_hold(owner->user);
  face->own_bytes = bytes;
  face->user->region_bytes += bytes;
  uvface__app_count_fds(face, fds_of(face->server, wish));
  owner->nfaces++;
  owner->region_bytes += bytes;
  TAILQ_INSERT_TAIL(&owner->faces, face, face_link);
}

unsigned int uvface__app_make_face(uvface__app_t* connection, const uvface__wish_t* wish, uvface__app_t** ret_face,
                                   char* why, size_t cap) {
  uvface__server_t* s = connection->server;
  uint32_t capacity = s->face_capacity, slot_size = s->face_slot_size;
  uint64_t bytes =
      wish->has_mtu ? uvface__geometry(wish->mtu, &capacity, &slot_size) : uvface__region_bytes(capacity, slot_size);
  unsigned int code = check_limits(connection, bytes, fds_of(s, wish), why, cap);
  uvface__app_t* app;
  int err;

  if (code != 200) return code;
  app = app_new(s, connection);
  if (app == NULL) {
    snprintf(why, cap, "calloc face: out of memory");
    return 500;
  }
  join(app, connection, wish, bytes);
  err = open_face(app, wish, capacity, slot_size, why, cap);
  if (err < 0) {
    uvface__app_end(app, err);
    return code_of(err);
  }
  s->stats.faces++;
  s->stats.app_faces++;
  await_claim(app);
  if (!tell_open(app)) {
    snprintf(why, cap, "the forwarder does not want it");
    return 503;
  }
  *ret_face = app;
  return 200;
}
