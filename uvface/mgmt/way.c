/* SPDX-License-Identifier: MIT */
/* way.c: an app's way to its face (client.h has the picture of the stages).
 *
 * Guarantees that the socket is kept for life; that a create is never sent twice, but asked anew over another
 * connection, once, if it got no answer; that the face's name is used only if nobody listens where the descriptors
 * would be handed out, never after a proof that failed; that a face that was made and cannot be used is given back; and
 * that a loss is told when the callbacks of the face have run. All functions are called by the loop, never by the user.
 * Loop thread. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "client.h"
#include "link.h"

#define CONNECT "uvface_client_connect"

static uvface__client_t* client_of(const uvface_filter_t* filter) {
  return filter->data;
}

static bool is_over(const uvface__client_t* c) {
  return c->stage == UVFACE__DROPPING || c->stage == UVFACE__CLOSING;
}

static const char* place_text(const uvface__client_t* c, char* out, size_t cap) {
  return uvface__place_text(&c->where.places[c->place], out, cap);
}

/* --- Down -------------------------------------------------------------------------------------------- */

static void drop_carrier(uvface__carrier_t* carrier) {
  if (!carrier->open || carrier->dropped) return;
  carrier->dropped = true;
  uvface_close(&carrier->face, NULL); /* on_close follows, also if the user has closed it already */
}

bool uvface__way_drop(uvface__client_t* c) {
  uvface__client_step(c, UVFACE__NEVER, false);
  uvface__dial_drop(c->dial);
  c->dial = NULL;
  uvface__handoff_drop(c->handoff);
  c->handoff = NULL;
  uvface__job_free(c->create);
  c->create = NULL;
  explicit_bzero(c->key, sizeof(c->key));
  c->client->face = NULL;
  drop_carrier(&c->data);
  drop_carrier(&c->control);
  return !c->data.open && !c->control.open;
}

static void dial(uvface__client_t* c);

/* Everything is closed: connects anew, pauses, or rests. */
static void dropped(uvface__client_t* c) {
  uvface_client_cb cb = c->told_down ? NULL : c->cb;
  unsigned int doublings = c->tries < 6 ? c->tries : 6;

  c->has_shm = false;
  if (c->redial) {
    c->redial = false;
    dial(c);
    return;
  }
  c->owes_down = !c->told_down;
  if (c->options.reconnect_ms == 0) {
    c->stage = UVFACE__IDLE;
    uvface__jobs_end(c, UV_EPIPE);
  } else {
    c->stage = UVFACE__PAUSED;
    uvface__jobs_take_back(c);
    uvface__client_step(c, (uint64_t) c->options.reconnect_ms << doublings, false);
    c->tries++;
  }
  uvface__jobs_tell(c);
  c->owes_down = false;
  if (c->stage == UVFACE__CLOSING) return; /* closing tells */
  c->told_down = true;
  if (cb != NULL) cb(c->client, c->status);
}

void uvface__way_lose(uvface__client_t* c, int status) {
  if (is_over(c)) return;
  c->status = status;
  c->stage = UVFACE__DROPPING;
  if (uvface__way_drop(c)) dropped(c);
}

/* --- Up ----------------------------------------------------------------------------------------------- */

static void up(uvface__client_t* c) {
  c->stage = UVFACE__UP;
  c->client->face = c->has_shm ? &c->data.face : &c->control.face;
  c->tries = 0;
  c->told_down = false;
  uvface__client_step(c, UVFACE__NEVER, false);
  uvface__jobs_flush(c); /* before anything that the callback asks for */
  if (!is_over(c) && c->cb != NULL) c->cb(c->client, 0);
}

/* The face that carries the packets is there: registers again what was registered. */
static void go_up(uvface__client_t* c) {
  int err;

  if (is_over(c)) return; /* by a signer's callback */
  explicit_bzero(c->key, sizeof(c->key));
  uvface__client_step(c, UVFACE__NEVER, false);
  c->stage = UVFACE__REPLAYING;
  err = uvface__jobs_replay(c);
  if (err < 0) uvface__client_complain(c, err, CONNECT ": registering again: out of memory");
  if (err == 0) err = uvface__jobs_flush(c);
  if (err < 0)
    uvface__way_lose(c, err);
  else if (!is_over(c) && c->replays == 0)
    up(c);
}

/* No shared memory, for a reason that errmsg has. */
static void go_without(uvface__client_t* c, int status) {
  if (c->options.transport == UVFACE_SHM)
    uvface__way_lose(c, status);
  else
    go_up(c);
}

/* --- Into the face -------------------------------------------------------------------------------------- */

/* The face that the forwarder made cannot be used, for a reason that errmsg has: it may have it back. */
static void give_back(uvface__client_t* c, int status) {
  const ndnpkt_parameters_t parameters = {.has = NDNPKT_HAS_FACE_ID, .face_id = c->face_id};
  uvface__job_t* job = uvface__job_new(UVFACE__DESTROY, NULL, 0);

  drop_carrier(&c->data);
  if (job != NULL && uvface__job_post(c, job, &parameters) == 0) {
    job->due_ms = uvface__now_ms() + c->options.command_timeout_ms;
    uvface__jobs_append(&c->sent, job);
  } else { /* then the end of the connection takes it away */
    uvface__job_free(job);
  }
  go_without(c, status);
}

static int on_packet(uvface_filter_t* filter, uvface_t* face, uv_buf_t* packet);
static size_t on_send(uvface_filter_t* filter, uvface_t* face, uint8_t* packet, size_t bytes, size_t room);
static void on_end(uvface_filter_t* filter, uvface_t* face, int status);
static void on_close(uvface_filter_t* filter, uvface_t* face);

/* Initializes a face with its filter, which tells of its close. Errors: UV_ENOMEM. */
static int carrier_init(uvface__client_t* c, uvface__carrier_t* carrier) {
  int err = uvface_init(c->loop, &carrier->face);

  if (err < 0) return err;
  carrier->open = true;
  carrier->dropped = false;
  carrier->filter =
      (uvface_filter_t){.size = sizeof(carrier->filter), .data = c, .on_end = on_end, .on_close = on_close};
  if (carrier == &c->control) {
    carrier->filter.on_packet = on_packet;
    carrier->filter.on_send = on_send;
  }
  return uvface_set_filter(&carrier->face, &carrier->filter);
}

static uvface_options_t face_options(const uvface__client_t* c) {
  uvface_options_t options = c->options.face;

  if (options.uid == (uv_uid_t) -1) options.uid = c->peer_uid; /* whom the app trusts with its socket */
  return options;
}

/* Attaches to the face by its descriptors, or by its name if fds is NULL. They are ours, and closed on failure. */
static void attach(uvface__client_t* c, const int fds[3]) {
  const uvface_options_t options = face_options(c);
  int err = carrier_init(c, &c->data);

  if (err < 0)
    uvface__client_complain(c, err, CONNECT ": face %s: %s", c->face_name, uvface__client_words(c, err));
  else if ((err = fds != NULL ? uvface_attach(&c->data.face, fds, &options)
                              : uvface_connect(&c->data.face, c->face_name, &options)) < 0)
    uvface__client_complain(c, err, CONNECT ": %s", uvface_errmsg(&c->data.face));
  if (err < 0 && fds != NULL)
    for (int i = 0; i < 3; i++) close(fds[i]);
  if (err < 0) {
    give_back(c, err);
    return;
  }
  c->has_shm = true;
  go_up(c);
}

static void on_handoff(void* arg, int status, const int fds[3], const char* why) {
  uvface__client_t* c = arg;

  if (status > 0) {
    uvface__client_step(c, UVFACE__HANDOFF_STEP_MS, true);
  } else {
    c->handoff = NULL;
    if (status == 0)
      attach(c, fds);
    else
      give_back(c, uvface__client_complain(c, status, CONNECT ": handoff %s: %s", c->handoff_path, why));
  }
  uvface__client_arm(c);
}

/* Comes for the descriptors, or takes the name if nobody hands any out. */
static void take_face(uvface__client_t* c) {
  int err = uvface__handoff_path(c->crypto, c->options.handoff_dir, c->key, c->handoff_path, sizeof(c->handoff_path));

  c->stage = UVFACE__HANDING;
  if (err == 0) err = uvface__handoff_start(c->loop, c->crypto, c->handoff_path, c->key, on_handoff, c, &c->handoff);
  if (err == 0)
    uvface__client_step(c, UVFACE__HANDOFF_STEP_MS, true);
  else if (err == UV_ENOENT || err == UV_ECONNREFUSED)
    attach(c, NULL);
  else if (err == UV_EAGAIN && uvface__now_ms() < c->dial_until_ms)
    uvface__client_step(c, UVFACE__RETRY_MS, false);
  else
    give_back(
        c, uvface__client_complain(c, err, CONNECT ": connect %s: %s", c->handoff_path, uvface__client_words(c, err)));
}

/* --- Asking --------------------------------------------------------------------------------------------- */

static void on_created(uvface__client_t* c, const uvface__answer_t* answer) {
  int status = answer->status;
  char place[300];

  place_text(c, place, sizeof(place));
  uvface__client_step(c, UVFACE__NEVER, false);
  if (status == 0 && answer->has_face_id && answer->face_id != 0) {
    c->face_id = answer->face_id;
    c->dial_until_ms = uvface__now_ms() + UVFACE__HANDOFF_STEP_MS;
    take_face(c);
    return;
  }
  if (status == UV_EINVAL || status == UV_ENOENT) status = UV_ENOTSUP;
  if (status == 0)
    status = uvface__client_complain(
        c, UV_EPROTO, CONNECT ": faces/create %s: the forwarder answers %u without a FaceId", place, answer->code);
  else if (answer->code != 0)
    uvface__client_complain(c, status, CONNECT ": faces/create %s: the forwarder answers %u %s", place, answer->code,
                            answer->text);
  else
    uvface__client_complain(
        c, status, CONNECT ": faces/create %s: %s", place,
        status == UV_ENOTSUP ? "the Interest came back: nobody there makes faces" : "an answer that cannot be read");
  go_without(c, status);
}

/* Encodes the command and sends it. Errors: as uvface__job_post(), UV_ENOMEM. */
static int post_create(uvface__client_t* c) {
  char uri[sizeof(c->face_name) + 8];
  ndnpkt_parameters_t parameters = {.has = NDNPKT_HAS_URI | NDNPKT_HAS_SHM_TOKEN, .mtu = c->options.mtu};
  unsigned char random[8] = {0};
  uvface__job_t* job;
  int err;

  err = uvface__random(c->key, sizeof(c->key));
  if (err == 0) err = uvface__random(random, sizeof(random));
  if (err < 0) return err;
  snprintf(c->face_name, sizeof(c->face_name), "app-%ld-%u-%02x%02x%02x%02x%02x%02x%02x%02x", (long) getpid(),
           c->asked++, random[0], random[1], random[2], random[3], random[4], random[5], random[6], random[7]);
  snprintf(uri, sizeof(uri), "shm://%s", c->face_name);
  parameters.uri = (ndnpkt_bytes_t){(const uint8_t*) uri, strlen(uri)};
  parameters.shm_token = (ndnpkt_bytes_t){c->key, sizeof(c->key)};
  if (c->options.mtu != 0) parameters.has |= NDNPKT_HAS_MTU;
  job = uvface__job_new(UVFACE__CREATE, NULL, 0);
  if (job == NULL) return UV_ENOMEM;
  err = uvface__job_post(c, job, &parameters);
  if (err == 0 && !is_over(c))
    c->create = job;
  else
    uvface__job_free(job);
  return err;
}

static void ask(uvface__client_t* c) {
  int err;

  c->stage = UVFACE__ASKING;
  err = post_create(c);
  if (is_over(c)) return; /* by a signer's callback */
  if (err == 0)
    uvface__client_step(c, UVFACE__CREATE_MS, true);
  else
    go_without(c, uvface__client_complain(c, err, CONNECT ": faces/create: %s", uvface__client_words(c, err)));
}

/* --- Connecting ------------------------------------------------------------------------------------------- */

/* Who listens there, as the kernel says. */
static uv_uid_t peer_of(int fd) {
  struct ucred peer;
  socklen_t len = sizeof(peer);

  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 ? peer.uid : (uv_uid_t) -1;
}

/* What answers to commands take must fit, also where the app's packets, over shared memory, are shorter. */
static uvface_options_t control_options(const uvface__client_t* c) {
  uvface_options_t options = c->options.face;

  if (c->options.transport != UVFACE_STREAM && options.mtu != 0 && options.mtu < NDNPKT_PACKET_MAX)
    options.mtu = NDNPKT_PACKET_MAX;
  return options;
}

/* The connection stands: fd is ours. */
static void connected(uvface__client_t* c, int fd) {
  const uvface_options_t options = control_options(c);
  bool is_tcp = c->where.places[c->place].is_tcp;
  char place[300];
  int err;

  place_text(c, place, sizeof(place));
  c->peer_uid = is_tcp ? (uv_uid_t) -1 : peer_of(fd);
  err = carrier_init(c, &c->control);
  if (err < 0)
    uvface__client_complain(c, err, CONNECT ": %s: %s", place, uvface__client_words(c, err));
  else if ((err = uvface_open_stream(&c->control.face, fd, &options)) < 0)
    uvface__client_complain(c, err, CONNECT ": %s: %s", place, uvface_errmsg(&c->control.face));
  if (err < 0) {
    close(fd);
    uvface__way_lose(c, err);
  } else if (c->options.transport == UVFACE_STREAM || (is_tcp && c->options.transport == UVFACE_ANY)) {
    go_up(c);
  } else if (is_tcp) {
    uvface__client_complain(c, UV_ENOTSUP, CONNECT ": %s: shared memory needs the forwarder's Unix socket", place);
    uvface__way_lose(c, UV_ENOTSUP);
  } else {
    ask(c);
  }
}

/* Nobody at this place: the next one, or the end. */
static void unreachable(uvface__client_t* c, int err) {
  char place[300], before[sizeof(c->errmsg)];

  place_text(c, place, sizeof(place));
  if (c->place == 0) {
    uvface__client_complain(c, err, CONNECT ": connect %s: %s", place, uvface__client_words(c, err));
    c->first_err = err;
  } else {
    snprintf(before, sizeof(before), "%s", c->errmsg);
    uvface__client_complain(c, err, "%.300s; connect %s: %s", before, place, uvface__client_words(c, err));
    if (err == UV_ENOENT) err = c->first_err;
  }
  if (c->place + 1 < c->where.n) {
    c->place++;
    dial(c);
  } else {
    uvface__way_lose(c, err);
  }
}

static void on_dialled(void* arg, int fd) {
  uvface__client_t* c = arg;

  c->dial = NULL;
  uvface__client_step(c, UVFACE__NEVER, false);
  if (fd < 0)
    unreachable(c, fd);
  else
    connected(c, fd);
  uvface__client_arm(c);
}

static void dial(uvface__client_t* c) {
  const uvface__place_t* place = &c->where.places[c->place];
  int got;

  c->stage = UVFACE__DIALLING;
  if (place->is_tcp) {
    got = uvface__dial_host(c->loop, place, on_dialled, c, &c->dial);
    if (got < 0)
      unreachable(c, got);
    else
      uvface__client_step(c, UVFACE__DIAL_MS, true);
    return;
  }
  got = uvface__dial_path(place->host);
  if (got == UV_EAGAIN && uvface__now_ms() < c->dial_until_ms)
    uvface__client_step(c, UVFACE__RETRY_MS, false);
  else if (got < 0)
    unreachable(c, got == UV_EAGAIN ? UV_ETIMEDOUT : got);
  else
    connected(c, got);
}

void uvface__way_begin(uvface__client_t* c) {
  c->place = 0;
  c->asked_twice = false;
  c->dial_until_ms = uvface__now_ms() + UVFACE__DIAL_MS;
  dial(c);
}

/* --- The clock -------------------------------------------------------------------------------------------- */

/* No answer: the connection may be one that the forwarder has forgotten, so another one is tried, once. */
static void deaf(uvface__client_t* c) {
  char place[300];

  c->redial = !c->asked_twice;
  c->asked_twice = true;
  c->dial_until_ms = uvface__now_ms() + UVFACE__DIAL_MS;
  uvface__client_complain(c, UV_ETIMEDOUT, CONNECT ": faces/create %s: no answer within %d ms",
                          place_text(c, place, sizeof(place)), UVFACE__CREATE_MS);
  uvface__way_lose(c, UV_ETIMEDOUT);
}

/* The forwarder has made the face and does not hand it out. */
static void silent(uvface__client_t* c) {
  uvface__client_complain(c, UV_ETIMEDOUT, CONNECT ": handoff %s: waited %d ms for %s", c->handoff_path,
                          UVFACE__HANDOFF_STEP_MS, uvface__handoff_waits_for(c->handoff));
  uvface__handoff_drop(c->handoff);
  c->handoff = NULL;
  give_back(c, UV_ETIMEDOUT);
}

void uvface__way_due(uvface__client_t* c) {
  if (c->stage == UVFACE__PAUSED) {
    uvface__way_begin(c);
  } else if (c->stage == UVFACE__DIALLING && c->dial != NULL) {
    uvface__dial_drop(c->dial);
    c->dial = NULL;
    unreachable(c, UV_ETIMEDOUT);
  } else if (c->stage == UVFACE__DIALLING) {
    dial(c);
  } else if (c->stage == UVFACE__ASKING) {
    deaf(c);
  } else if (c->stage == UVFACE__HANDING && c->handoff != NULL) {
    silent(c);
  } else if (c->stage == UVFACE__HANDING) {
    take_face(c);
  } else if (c->stage == UVFACE__ENDING) {
    uvface__way_lose(c, c->status);
  }
}

/* --- What the faces tell ------------------------------------------------------------------------------------ */

/* True if the packet was an answer to us; then the client may be down, or closed, afterwards. */
static bool take_answer(uvface__client_t* c, ndnpkt_bytes_t packet) {
  uvface__answer_t answer;
  uvface__job_t* job;
  ndnpkt_name_t name;
  int err;

  if ((c->create == NULL && c->sent.first == NULL) || !uvface__answer_name(packet, &name)) return false;
  if (c->create != NULL && uvface__job_is(c->create, name)) {
    uvface__answer_read(packet, &answer);
    uvface__job_free(c->create);
    c->create = NULL;
    on_created(c, &answer);
    return true;
  }
  job = uvface__jobs_match(c, name);
  if (job == NULL) return false;
  uvface__answer_read(packet, &answer);
  err = uvface__job_done(c, job, &answer);
  if (err < 0)
    uvface__way_lose(c, err);
  else if (c->stage == UVFACE__REPLAYING && c->replays == 0)
    up(c);
  uvface__jobs_tell(c);
  return true;
}

/* Packets are the app's once it is decided that this face carries them. */
static bool carries_packets(const uvface__client_t* c) {
  return !c->has_shm && (c->stage == UVFACE__REPLAYING || c->stage == UVFACE__UP);
}

static int on_packet(uvface_filter_t* filter, uvface_t* face, uv_buf_t* packet) {
  uvface__client_t* c = client_of(filter);
  ndnpkt_bytes_t bytes = {(const uint8_t*) packet->base, packet->len};
  uvface__link_kind_t kind;

  (void) face;
  if (is_over(c)) return 0;
  kind = uvface__link_strip(&bytes);
  if (kind == UVFACE__LINK_DROP) return 0;
  if (take_answer(c, bytes)) {
    uvface__client_arm(c);
    return 0;
  }
  if (!carries_packets(c)) return 0;
  *packet = uv_buf_init((char*) (uintptr_t) bytes.base, (unsigned int) bytes.len);
  return 1;
}

/* A splitmix64: a Nonce has to differ from others, and that is all. */
static uint32_t next_nonce(uvface__client_t* c) {
  uint64_t z = c->nonces += UINT64_C(0x9e3779b97f4a7c15);

  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return (uint32_t) (z ^ (z >> 31));
}

/* A Nonce that makes an Interest too long for the other end would be the end of the connection. */
static size_t on_send(uvface_filter_t* filter, uvface_t* face, uint8_t* packet, size_t bytes, size_t room) {
  size_t mtu = uvface_get_mtu(face);

  return uvface__link_add_nonce(packet, bytes, room < mtu ? room : mtu, next_nonce(client_of(filter)));
}

/* The end of the connection is the end of the face; but what the forwarder left in a ring is delivered before. */
static void on_end(uvface_filter_t* filter, uvface_t* face, int status) {
  uvface__client_t* c = client_of(filter);

  if (is_over(c)) return;
  if (c->stage == UVFACE__UP && c->has_shm && face == &c->control.face) {
    uvface__client_complain(c, status, "uvface_client_cb: the forwarder's connection: %s", uvface_errmsg(face));
    c->status = status;
    c->stage = UVFACE__ENDING;
    uvface__client_step(c, UVFACE__END_MS, false);
  } else if (c->stage == UVFACE__ENDING) {
    uvface__way_lose(c, c->status);
  } else {
    uvface__client_complain(c, status, "%s: %s", c->stage == UVFACE__UP ? "uvface_client_cb" : CONNECT,
                            uvface_errmsg(face));
    uvface__way_lose(c, status);
  }
  uvface__client_arm(c);
}

static void on_close(uvface_filter_t* filter, uvface_t* face) {
  uvface__client_t* c = client_of(filter);
  uvface__carrier_t* carrier = face == &c->data.face ? &c->data : &c->control;

  carrier->open = false;
  if (!carrier->dropped && !is_over(c)) {
    uvface__client_complain(c, UV_ECANCELED, "uvface_client_cb: the client's face was closed by its user");
    uvface__way_lose(c, UV_ECANCELED);
  } else if (is_over(c) && !c->data.open && !c->control.open) {
    if (c->stage == UVFACE__CLOSING)
      c->on_closed(c);
    else
      dropped(c);
  }
  uvface__client_arm(c);
}
