/* SPDX-License-Identifier: MIT */
/* client.c: the public calls of a client.
 *
 * Guarantees that no callback runs inside a call, that each accepted command gets exactly one, and that a client is
 * gone, with all that it opened, when its close callback runs, whoever closed its inner handles. Loop thread. */
#include "client.h"

#include <stdlib.h>
#include <string.h>

#include "given.h"

/* What a command has beside its name: module, verb, numbers, digests, and the signature without its KeyLocator. */
#define COMMAND_BYTES (400 + NDNPKT_SIGNATURE_MAX)
#define KNOWN_ROUTE_FLAGS ((uint64_t) (NDNPKT_ROUTE_CHILD_INHERIT | NDNPKT_ROUTE_CAPTURE))

static uvface__client_t* priv_of(const uvface_client_t* client) {
  return client != NULL ? client->priv_ : NULL;
}

const char* uvface_client_errmsg(const uvface_client_t* client) {
  const uvface__client_t* c = priv_of(client);

  return c != NULL ? c->errmsg : "";
}

/* --- What is due -------------------------------------------------------------------------------------- */

/* A deadline counts once the sockets have been looked at after it: a loop that was held up, say by a long callback,
 * runs its timers before it looks. */
static void step_due(uvface__client_t* c, uint64_t now_ms) {
  if (c->step_due_ms == 0 || now_ms < c->step_due_ms) return;
  if (c->step_has_grace) {
    uvface__client_step(c, UVFACE__GRACE_MS, false);
    return;
  }
  c->step_due_ms = 0;
  if (c->stage == UVFACE__IDLE)
    uvface__way_begin(c);
  else
    uvface__way_due(c);
}

static void on_due(uvface__client_t* c) {
  uint64_t now_ms = uvface__now_ms();
  int err;

  step_due(c, now_ms);
  err = uvface__jobs_expire(c, now_ms);
  if (err == 0 && c->retry_due_ms != 0 && now_ms >= c->retry_due_ms) err = uvface__jobs_flush(c);
  if (err < 0) uvface__way_lose(c, err);
  uvface__jobs_tell(c);
  uvface__client_arm(c);
}

/* --- Life ------------------------------------------------------------------------------------------------ */

static void destroy(uvface__client_t* c) {
  while (c->kept != NULL) {
    uvface__kept_t* next = c->kept->next;

    free(c->kept);
    c->kept = next;
  }
  ndnpkt_crypto_free(c->crypto);
  free((void*) (uintptr_t) c->signer.key_name.base);
  free(c);
}

static void on_closed(uvface__client_t* c);

int uvface_client_init(uv_loop_t* loop, uvface_client_t* client) {
  uvface__client_t* c;
  int err;

  if (loop == NULL || client == NULL) return UV_EINVAL;
  c = calloc(1, sizeof(*c));
  if (c == NULL) return UV_ENOMEM;
  err = ndnpkt_crypto_new(&c->crypto);
  if (err == 0) err = uvface__random((unsigned char*) &c->nonces, sizeof(c->nonces));
  if (err < 0) {
    destroy(c);
    return err;
  }
  c->client = client;
  c->loop = loop;
  c->on_due = on_due;
  c->on_closed = on_closed;
  uv_timer_init(loop, &c->timer);
  c->timer.data = NULL;
  client->loop = loop;
  client->face = NULL;
  client->priv_ = c;
  return 0;
}

/* What is owed is told here, after the callbacks of the faces. */
static void on_gone(uvface__closing_t* closing) {
  uvface__client_t* c = (uvface__client_t*) ((char*) closing - offsetof(uvface__client_t, closing));
  uvface_client_t* client = c->client;
  uvface_client_close_cb cb = c->close_cb;

  uvface__jobs_end(c, UV_ECANCELED);
  uvface__jobs_tell(c);
  if (!c->told_down && c->cb != NULL) c->cb(client, UV_ECANCELED);
  destroy(c);
  client->priv_ = NULL;
  if (cb != NULL) cb(client);
}

static void on_closed(uvface__client_t* c) {
  uvface__closing_begin(c->loop, &c->closing, on_gone);
}

void uvface_client_close(uvface_client_t* client, uvface_client_close_cb cb) {
  uvface__client_t* c = priv_of(client);

  if (c == NULL || c->stage == UVFACE__CLOSING) return;
  if (c->stage == UVFACE__IDLE && c->step_due_ms == 0 && !c->owes_down) c->told_down = true; /* nothing goes down */
  c->stage = UVFACE__CLOSING;
  c->close_cb = cb;
  uvface__client_complain(c, UV_ECANCELED, "uvface_client_close: the client was closed");
  uvface__close_handle((uv_handle_t*) &c->timer);
  if (uvface__way_drop(c)) on_closed(c);
}

/* --- Connecting ------------------------------------------------------------------------------------------- */

static int take_struct(uvface__client_t* c, const char* function, const char* what, const void* given, void* taken,
                       size_t bytes) {
  char why[80];
  int err = uvface__take_given(given, taken, bytes, why, sizeof(why));

  return err == 0 ? 0 : uvface__client_complain(c, err, "%s: %s: %s", function, what, why);
}

static int take_signer(uvface__client_t* c, const ndnpkt_signer_t* given) {
  ndnpkt_signer_t signer = NDNPKT_SIGNER_INIT;
  uint8_t* name = NULL;
  int err = take_struct(c, "uvface_client_connect", "options: signer", given, &signer, sizeof(signer));

  if (err < 0) return err;
  if (ndnpkt_name_check(signer.key_name) < 0)
    return uvface__client_complain(c, UV_EINVAL, "uvface_client_connect: options: signer: key_name is not a name");
  if (signer.key_name.len > 0) {
    name = malloc(signer.key_name.len);
    if (name == NULL) return uvface__client_complain(c, UV_ENOMEM, "uvface_client_connect: out of memory");
    memcpy(name, signer.key_name.base, signer.key_name.len);
  }
  free((void*) (uintptr_t) c->signer.key_name.base);
  c->signer = signer;
  c->signer.size = sizeof(signer);
  c->signer.key_name.base = name;
  c->has_signer = given != NULL;
  return 0;
}

static int take_handoff_dir(uvface__client_t* c, const char* dir) {
  const unsigned char key[UVFACE__KEY_BYTES] = {0};
  char path[sizeof(c->handoff_path)];

  if (dir == NULL) dir = UVFACE__HANDOFF_DIR;
  if (uvface__handoff_path(c->crypto, dir, key, path, sizeof(path)) == UV_ENAMETOOLONG)
    return uvface__client_complain(
        c, UV_ENAMETOOLONG, "uvface_client_connect: options: handoff_dir %.200s: too long for a socket in it", dir);
  snprintf(c->handoff_dir, sizeof(c->handoff_dir), "%s", dir);
  return 0;
}

static int take_face_options(uvface__client_t* c, const uvface_options_t* given, uvface_options_t* taken) {
  char why[80];
  int err = uvface__take_face_options(given, taken, why, sizeof(why));

  return err == 0 ? 0 : uvface__client_complain(c, err, "uvface_client_connect: options.face: %s", why);
}

static int take_options(uvface__client_t* c, const uvface_client_options_t* given) {
  uvface_client_options_t options = UVFACE_CLIENT_OPTIONS_INIT;
  uvface_options_t face = UVFACE_OPTIONS_INIT;
  int err = take_struct(c, "uvface_client_connect", "options", given, &options, sizeof(options));

  if (err == 0) err = take_face_options(c, &options.face, &face);
  if (err < 0) return err;
  options.face = face;
  if (options.transport != UVFACE_ANY && options.transport != UVFACE_SHM && options.transport != UVFACE_STREAM)
    return uvface__client_complain(c, UV_EINVAL, "uvface_client_connect: options: unknown transport %d",
                                   options.transport);
  if ((err = take_signer(c, options.signer)) < 0) return err;
  if ((err = take_handoff_dir(c, options.handoff_dir)) < 0) return err;
  if (options.command_timeout_ms == 0) options.command_timeout_ms = UVFACE__COMMAND_MS;
  options.signer = NULL; /* copied, and no longer the caller's to keep */
  options.handoff_dir = c->handoff_dir;
  c->options = options;
  return 0;
}

int uvface_client_connect(uvface_client_t* client, const char* uri, const uvface_client_options_t* options,
                          uvface_client_cb cb) {
  uvface__client_t* c = priv_of(client);
  char why[512];
  int err;

  if (c == NULL) return UV_EINVAL;
  if (c->stage == UVFACE__CLOSING)
    return uvface__client_complain(c, UV_ENOTCONN, "uvface_client_connect: the client is closing");
  if (c->stage != UVFACE__IDLE || c->step_due_ms != 0 || c->owes_down)
    return uvface__client_complain(c, UV_EALREADY, "uvface_client_connect: connected already, or under way");
  err = uvface__where(uri, &c->where, why, sizeof(why));
  if (err < 0) return uvface__client_complain(c, err, "uvface_client_connect: %s", why);
  if ((err = take_options(c, options)) < 0) return err;
  c->errmsg[0] = '\0';
  c->cb = cb;
  c->told_down = false;
  c->tries = 0;
  uvface__client_step(c, 0, false); /* the loop begins */
  uvface__client_arm(c);
  return 0;
}

/* --- Commands ----------------------------------------------------------------------------------------------- */

static int take_route(uvface__client_t* c, const char* function, const uvface_route_t* given, uvface_route_t* route) {
  int err = take_struct(c, function, "route", given, route, sizeof(*route));

  if (err < 0) return err;
  if ((route->flags & ~KNOWN_ROUTE_FLAGS) != 0)
    return uvface__client_complain(c, UV_EINVAL, "%s: route: unknown flags %#llx", function,
                                   (unsigned long long) route->flags);
  return 0;
}

/* 0 if a command may be given. */
static int check_command(uvface__client_t* c, const char* function, ndnpkt_name_t name) {
  if (c->stage == UVFACE__CLOSING)
    return uvface__client_complain(c, UV_ENOTCONN, "%s: the client is closing", function);
  if (c->stage == UVFACE__IDLE && c->step_due_ms == 0)
    return uvface__client_complain(c, UV_ENOTCONN, "%s: neither connected nor connecting", function);
  if ((name.base == NULL && name.len > 0) || ndnpkt_name_check(name) < 0)
    return uvface__client_complain(c, UV_EINVAL, "%s: name: is not a name (whole components, without the Name around)",
                                   function);
  if (name.len + c->signer.key_name.len + COMMAND_BYTES > NDNPKT_PACKET_MAX)
    return uvface__client_complain(c, UV_EMSGSIZE, "%s: name: %zu bytes are more than a command can carry", function,
                                   name.len);
  return 0;
}

static uvface__kept_t* kept_of(const uvface__job_t* job) {
  uvface__kept_t* kept = calloc(1, sizeof(*kept) + job->name_bytes);

  if (kept == NULL) return NULL;
  kept->route = job->route;
  kept->name_bytes = job->name_bytes;
  memcpy(kept->name, job->name, job->name_bytes);
  return kept;
}

static int command(uvface_client_t* client, uvface_command_t* req, uvface__verb_t verb, ndnpkt_name_t name,
                   const uvface_route_t* given, uvface_command_cb cb) {
  const char* function = verb == UVFACE__REGISTER ? "uvface_client_register" : "uvface_client_unregister";
  uvface__client_t* c = priv_of(client);
  uvface_route_t route = UVFACE_ROUTE_INIT;
  uvface__job_t* job;
  int err;

  if (c == NULL) return UV_EINVAL;
  if (req == NULL) return uvface__client_complain(c, UV_EINVAL, "%s: req: is NULL", function);
  if ((err = check_command(c, function, name)) < 0) return err;
  if ((err = take_route(c, function, given, &route)) < 0) return err;
  job = uvface__job_new(verb, name.base, name.len);
  if (job != NULL) job->route = route;
  if (job != NULL && verb == UVFACE__REGISTER && c->options.reconnect_ms != 0) job->keep = kept_of(job);
  if (job == NULL || (verb == UVFACE__REGISTER && c->options.reconnect_ms != 0 && job->keep == NULL)) {
    uvface__job_free(job);
    return uvface__client_complain(c, UV_ENOMEM, "%s: out of memory", function);
  }
  if (verb == UVFACE__UNREGISTER) uvface__jobs_forget(c, name, route.origin);
  if (c->stage != UVFACE__UP) uvface__jobs_supersede(c, name, route.origin);
  job->req = req;
  job->cb = cb;
  req->client = client;
  req->priv_ = NULL;
  uvface__jobs_append(&c->waiting, job);
  if (c->stage == UVFACE__UP) uvface__jobs_flush(c); /* what fails is told by the loop; before, up() sends what waits */
  uvface__client_arm(c);
  return 0;
}

int uvface_client_register(uvface_client_t* client, uvface_command_t* req, const uint8_t* name, size_t name_bytes,
                           const uvface_route_t* route, uvface_command_cb cb) {
  return command(client, req, UVFACE__REGISTER, (ndnpkt_name_t){name, name_bytes}, route, cb);
}

int uvface_client_unregister(uvface_client_t* client, uvface_command_t* req, const uint8_t* name, size_t name_bytes,
                             const uvface_route_t* route, uvface_command_cb cb) {
  return command(client, req, UVFACE__UNREGISTER, (ndnpkt_name_t){name, name_bytes}, route, cb);
}
