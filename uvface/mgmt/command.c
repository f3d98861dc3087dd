/* SPDX-License-Identifier: MIT */
/* command.c: see serve.h: what apps ask for, and the answers (NFD Management).
 *
 * Guarantees that each command that can be read is answered once, with a body that has ControlParameters; that the same
 * Interest again is answered from memory; that commands of one app are executed in order; and that a turn of the loop
 * executes a few and no more. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve.h"

/* A connection rests after a face was made for it, so many times as long as that took, and so long at least: zeroing a
 * large region keeps the loop busy, and who asks for one after the other must not keep it so. */
#define REST_FACTOR 20
#define REST_MIN_NS 4000000

/* A region of this size takes milliseconds to zero. After one, all connections together rest so many times as long, or
 * many of them would keep the loop busy in turn. */
#define LARGE_BYTES ((uint64_t) 8 << 20)
#define LARGE_REST_FACTOR 4

#define TEXT_MAX 512

#define SERVER_OF(pointer, member) ((uvface__server_t*) ((char*) (pointer) -offsetof(uvface__server_t, member)))

static const uint8_t localhost_nfd[] = {8, 9, 'l', 'o', 'c', 'a', 'l', 'h', 'o', 's', 't', 8, 3, 'n', 'f', 'd'};

/* --- Arrival ------------------------------------------------------------------------------------ */

/* The two outermost headers tell; the rest is decoded when it is executed. */
static bool is_for_us(ndnpkt_bytes_t packet) {
  ndnpkt_tlv_t interest, name;

  if (packet.len == 0 || packet.base[0] != NDNPKT_TYPE_INTEREST) return false;
  if (ndnpkt_tlv_next(&packet, &interest) <= 0) return false;
  if (ndnpkt_tlv_next(&interest.value, &name) <= 0 || name.type != 7) return false;
  return name.value.len >= sizeof(localhost_nfd) && memcmp(name.value.base, localhost_nfd, sizeof(localhost_nfd)) == 0;
}

static bool has_work(const uvface__server_t* s) {
  return !TAILQ_EMPTY(&s->ready) || !TAILQ_EMPTY(&s->makers);
}

static void start_working(uvface__server_t* s) {
  if (!has_work(s) || uv_is_active((uv_handle_t*) &s->breath)) return;
  if (uv_is_closing((uv_handle_t*) &s->idle)) return; /* somebody else has closed it */
  uv_idle_start(&s->idle, uvface__command_on_idle);
}

/* The app waits for its turn, if it has something to do. */
static void queue_up(uvface__app_t* app) {
  uvface__server_t* s = app->server;

  if (app->is_ending || app->work != UVFACE__IDLE || STAILQ_EMPTY(&app->pending)) return;
  app->work = UVFACE__READY;
  TAILQ_INSERT_TAIL(&s->ready, app, work_link);
  start_working(s);
}

static void take(uvface__app_t* app, const uv_buf_t* packet) {
  uvface__pending_t* last = NULL;

  if (app->is_ending || uvface__app_connection(app) == NULL) return;
  if (app->pending_bytes + sizeof(*last) + packet->len <= UVFACE__PENDING_BYTES_MAX)
    last = malloc(sizeof(*last) + packet->len);
  if (last == NULL) {
    app->server->stats.commands_dropped++;
    return;
  }
  last->bytes = packet->len;
  memcpy(last->packet, packet->base, packet->len);
  app->pending_bytes += sizeof(*last) + packet->len;
  STAILQ_INSERT_TAIL(&app->pending, last, link);
  queue_up(app);
}

int uvface__command_on_packet(uvface_filter_t* filter, uvface_t* face, uv_buf_t* packet) {
  uvface__app_t* app = filter->data;
  ndnpkt_bytes_t inner = {(const uint8_t*) packet->base, packet->len};
  ndnpkt_link_t link;

  (void) face;
  if (inner.len > 0 && inner.base[0] == NDNPKT_TYPE_LP_PACKET) {
    app->speaks_lp = true;
    if (ndnpkt_link_decode(inner.base, inner.len, &link) < 0) return 1;
    if (link.fragment.len == 0) return 0; /* idle: there is nothing in it for anybody */
    if (link.nack || link.frag_count > 1) return 1;
    inner = link.fragment;
  }
  if (!is_for_us(inner)) return 1;
  take(app, packet);
  return 0;
}

/* --- The answer --------------------------------------------------------------------------------- */

static void on_answered(uvface_send_t* req, int status) {
  uvface__app_t* app = req->data;

  if (status < 0) app->server->stats.commands_dropped++;
  free(app->answer);
  app->answer = NULL;
  app->work = UVFACE__IDLE;
  queue_up(app);
}

/* Sends it now or, if there is no room, as soon as there is: until then the app's commands wait. */
static void send_answer(uvface__app_t* app, const uint8_t* packet, size_t bytes) {
  uv_buf_t buf = uv_buf_init((char*) (uintptr_t) packet, (unsigned int) bytes);
  int err = uvface_try_send(&app->face, &buf, 1);

  if (err == UV_EAGAIN && (app->answer = malloc(bytes)) != NULL) {
    memcpy(app->answer, packet, bytes);
    buf.base = (char*) app->answer;
    app->answer_req.data = app;
    err = uvface_send(&app->answer_req, &app->face, &buf, 1, on_answered);
    if (err == 0) {
      app->work = UVFACE__ANSWERING;
      return;
    }
    free(app->answer);
    app->answer = NULL;
  }
  if (err < 0) app->server->stats.commands_dropped++;
}

/* The Data that answers, with link headers if the app speaks them. Returns the size, or a negative number. */
static ssize_t encode_answer(uvface__app_t* app, const ndnpkt_packet_t* packet, const ndnpkt_data_t* data) {
  uvface__server_t* s = app->server;
  uint8_t* at = s->packet + NDNPKT_LINK_HEADER_MAX;
  ssize_t len = ndnpkt_data_encode(s->crypto, at, sizeof(s->packet) - NDNPKT_LINK_HEADER_MAX, data, NULL);
  ndnpkt_link_t link = {.pit_token = packet->link.pit_token};
  ssize_t head = 0;

  if (len < 0) return len;
  link.fragment.len = (size_t) len;
  if (app->speaks_lp) head = ndnpkt_link_encode(s->packet, NDNPKT_LINK_HEADER_MAX, &link);
  if (head < 0) return head;
  memmove(s->packet + head, at, (size_t) len);
  return head + len;
}

static void answer_data(uvface__app_t* app, const ndnpkt_packet_t* packet, uint64_t code, const ndnpkt_data_t* data) {
  uvface__server_t* s = app->server;
  ssize_t bytes = encode_answer(app, packet, data);

  if (bytes < 0 || (size_t) bytes > uvface_get_mtu(&app->face)) {
    s->stats.commands_dropped++;
    return;
  }
  s->stats.commands++;
  if (code >= 400) s->stats.commands_refused++;
  send_answer(app, s->packet, (size_t) bytes);
}

static void answer_with(uvface__app_t* app, const ndnpkt_packet_t* packet, uint64_t code, ndnpkt_bytes_t content) {
  const ndnpkt_data_t data = {.name = packet->interest.name, .content = content};

  answer_data(app, packet, code, &data);
}

/* --- Repeated commands -------------------------------------------------------------------------- */

/* What makes a command the same as another one: its name, which has a digest of all that is signed, nonce and time too.
 * One without that digest is the same only if its Nonce is. False: it cannot be told, and is always a new one. */
static bool digest_of(uvface__server_t* s, const ndnpkt_packet_t* packet, uint8_t ret_digest[NDNPKT_DIGEST_BYTES]) {
  const ndnpkt_interest_t* interest = &packet->interest;
  ndnpkt_bytes_t piece = interest->name;

  if (interest->parameters.base == NULL) {
    if (!interest->has_nonce) return false;
    piece = packet->wire;
  }
  return ndnpkt_sha256(s->crypto, &piece, 1, ret_digest) == 0;
}

static const uvface__given_answer_t* recall(const uvface__app_t* app, const uint8_t digest[NDNPKT_DIGEST_BYTES]) {
  for (int i = 0; i < UVFACE__REMEMBERED; i++) {
    const uvface__given_answer_t* answer = &app->answers[i];

    if (answer->content != NULL && memcmp(answer->digest, digest, NDNPKT_DIGEST_BYTES) == 0) return answer;
  }
  return NULL;
}

/* In the place of the oldest. Without memory it is forgotten. */
static void remember(uvface__app_t* app, const uint8_t digest[NDNPKT_DIGEST_BYTES], uint64_t code,
                     ndnpkt_bytes_t content) {
  uvface__given_answer_t* answer = &app->answers[app->next_answer++ % UVFACE__REMEMBERED];

  free(answer->content);
  answer->content = malloc(content.len);
  if (answer->content == NULL) return;
  memcpy(answer->digest, digest, NDNPKT_DIGEST_BYTES);
  memcpy(answer->content, content.base, content.len);
  answer->code = code;
  answer->bytes = content.len;
}

/* --- Execution ---------------------------------------------------------------------------------- */

/* A command while it is executed. */
typedef struct order_s {
  uvface__app_t* app; /* who asks */
  const ndnpkt_command_t* command;
  ndnpkt_response_t response;
  uvface__app_t* dismissed; /* ends when the answer is out */
  bool is_dataset;          /* the answer is one, and not a response */
  ndnpkt_data_t dataset;
  char text[TEXT_MAX];
} order_t;

static ndnpkt_bytes_t text_of(const char* text) {
  return (ndnpkt_bytes_t){(const uint8_t*) text, strlen(text)};
}

/* The answer is a failure. */
static void refuse(order_t* order, unsigned int code, const char* text) {
  order->response = (ndnpkt_response_t){.code = code, .text = text_of(text)};
}

static bool has(const order_t* order, uint32_t what) {
  return (order->command->parameters.has & what) != 0;
}

/* What follows "shm://", or base NULL. */
static ndnpkt_bytes_t name_in(ndnpkt_bytes_t uri) {
  static const char scheme[] = "shm://";
  size_t len = sizeof(scheme) - 1;

  if (uri.len < len || memcmp(uri.base, scheme, len) != 0) return (ndnpkt_bytes_t){NULL, 0};
  return (ndnpkt_bytes_t){uri.base + len, uri.len - len};
}

/* 200, or what is wrong with the wish. */
static unsigned int read_wish(order_t* order, uvface__wish_t* wish) {
  const ndnpkt_parameters_t* p = &order->command->parameters;
  const char* text = NULL;

  *wish = (uvface__wish_t){.name = name_in(p->uri), .has_mtu = has(order, NDNPKT_HAS_MTU), .mtu = p->mtu};
  if (has(order, NDNPKT_HAS_SHM_TOKEN)) wish->token = p->shm_token;
  if (!has(order, NDNPKT_HAS_URI))
    text = "Uri is required";
  else if (wish->name.base == NULL || (order->app->server->options.flags & UVFACE_SERVER_NO_SHM) != 0)
    snprintf(order->text, sizeof(order->text), "unsupported URI scheme: %.*s",
             (int) (p->uri.len < 64 ? p->uri.len : 64), (const char*) p->uri.base);
  else if (wish->name.len == 0 || wish->name.len > UVFACE__NAME_MAX ||
           memchr(wish->name.base, '\0', wish->name.len) != NULL)
    text = "the name of a face has 1 to 200 characters";
  else if (wish->token.base != NULL && wish->token.len != UVFACE__KEY_BYTES)
    text = "shm control token must be 32 bytes";
  else if (wish->has_mtu && wish->mtu > UINT32_MAX)
    text = "Mtu is too large";
  else
    return 200;
  refuse(order, 400, text != NULL ? text : order->text);
  return 400;
}

static bool is_large(const uvface__server_t* s, const ndnpkt_parameters_t* p) {
  uint32_t capacity = s->face_capacity, slot_size = s->face_slot_size;

  if ((p->has & NDNPKT_HAS_MTU) != 0 && p->mtu <= UINT32_MAX)
    return uvface__geometry(p->mtu, &capacity, &slot_size) > LARGE_BYTES;
  return uvface__region_bytes(capacity, slot_size) > LARGE_BYTES;
}

/* A face by name has FIFOs, whose locks its app can hold, and a file, which it can truncate: that is for who could stop us
 * anyway. */
static bool may_have_name(const uvface__app_t* connection) {
  return connection->pub.uid == geteuid() || connection->pub.uid == 0 ||
         (connection->server->options.flags & UVFACE_SERVER_NAMES_FOR_ALL) != 0;
}

static void create_face(order_t* order) {
  uvface__app_t* connection = uvface__app_connection(order->app);
  uvface__server_t* s = order->app->server;
  uvface__app_t* face = NULL;
  ndnpkt_parameters_t* p = &order->response.parameters;
  uvface__wish_t wish;
  uint64_t begin_ns = uv_hrtime(), took_ns;
  unsigned int code = read_wish(order, &wish);

  if (code == 200 && wish.token.base == NULL && !may_have_name(connection)) {
    code = 403;
    refuse(order, code, "a face by name is for the forwarder's own user: ask with a token");
  }
  if (code == 200) {
    code = uvface__app_make_face(connection, &wish, &face, order->text, sizeof(order->text));
    took_ns = uv_hrtime() - begin_ns;
    connection->rest_until_ns =
        begin_ns + took_ns + (took_ns * REST_FACTOR > REST_MIN_NS ? took_ns * REST_FACTOR : REST_MIN_NS);
    if (is_large(s, &order->command->parameters))
      s->large_rest_until_ns = begin_ns + took_ns + took_ns * LARGE_REST_FACTOR;
    if (code != 200) refuse(order, code, order->text);
  }
  if (code != 200) {
    s->stats.faces_refused++;
    return;
  }
  *p = (ndnpkt_parameters_t){.has = NDNPKT_HAS_FACE_ID | NDNPKT_HAS_URI, .face_id = face->pub.face_id};
  p->uri = text_of(face->pub.uri);
  if (wish.has_mtu) {
    p->has |= NDNPKT_HAS_MTU;
    p->mtu = wish.mtu;
  }
}

/* The app that a command is about, or NULL after the answer has been written. */
static uvface__app_t* target_of(order_t* order) {
  uint64_t face_id = has(order, NDNPKT_HAS_FACE_ID) ? order->command->parameters.face_id : 0;
  uvface__app_t* target = face_id != 0 ? uvface__app_find(order->app->server, face_id) : order->app;

  if (target == NULL) {
    snprintf(order->text, sizeof(order->text), "face %llu does not exist", (unsigned long long) face_id);
    refuse(order, 410, order->text);
  } else if (uvface__app_connection(target) != uvface__app_connection(order->app)) {
    snprintf(order->text, sizeof(order->text), "face %llu is not yours", (unsigned long long) face_id);
    refuse(order, 403, order->text);
    target = NULL;
  }
  return target;
}

static void destroy_face(order_t* order) {
  uvface__app_t* target;

  if (!has(order, NDNPKT_HAS_FACE_ID) || order->command->parameters.face_id == 0) {
    refuse(order, 400, "FaceId is required");
    return;
  }
  if ((target = target_of(order)) == NULL) return;
  if (!target->is_shm) {
    refuse(order, 403, "the connection itself ends when it is closed");
    return;
  }
  order->dismissed = target;
  order->response.parameters.has = NDNPKT_HAS_FACE_ID;
  order->response.parameters.face_id = target->pub.face_id;
}

/* The parameters that NFD answers to a command that is carried out. */
static void fill_parameters(order_t* order, const uvface__app_t* target) {
  ndnpkt_parameters_t* p = &order->response.parameters;
  bool registers = ndnpkt_command_is(order->command, "rib", "register");

  *p = order->command->parameters;
  p->has |= NDNPKT_HAS_FACE_ID;
  p->face_id = target->pub.face_id;
  if (!registers && !ndnpkt_command_is(order->command, "rib", "unregister")) return;
  p->has &= NDNPKT_HAS_NAME | NDNPKT_HAS_FACE_ID | NDNPKT_HAS_ORIGIN | NDNPKT_HAS_COST | NDNPKT_HAS_FLAGS |
            NDNPKT_HAS_EXPIRATION;
  if ((p->has & NDNPKT_HAS_ORIGIN) == 0) p->origin = 0;
  if ((p->has & NDNPKT_HAS_COST) == 0) p->cost = 0;
  if ((p->has & NDNPKT_HAS_FLAGS) == 0) p->flags = NDNPKT_ROUTE_CHILD_INHERIT;
  p->has |= NDNPKT_HAS_ORIGIN;
  if (registers)
    p->has |= NDNPKT_HAS_COST | NDNPKT_HAS_FLAGS;
  else
    p->has &= NDNPKT_HAS_NAME | NDNPKT_HAS_FACE_ID | NDNPKT_HAS_ORIGIN;
}

static const char* usual_text(uint64_t code) {
  switch (code) {
    case 200: return "OK";
    case 400: return "bad command";
    case 403: return "not allowed";
    case 404: return "not found";
    case 409: return "conflict";
    case 410: return "gone";
    case 500: return "failed";
    case 501: return "not supported";
    case 503: return "too much";
    default: return "";
  }
}

static bool is_known_module(const ndnpkt_command_t* command) {
  static const char* const modules[] = {"rib", "fib", "cs", "strategy-choice", "status"};

  for (size_t i = 0; i < sizeof(modules) / sizeof(*modules); i++)
    if (command->module.len == strlen(modules[i]) && memcmp(command->module.base, modules[i], command->module.len) == 0)
      return true;
  return false;
}

/* What rib/list will tell. */
static void note_route(uvface__app_t* target, const ndnpkt_command_t* command, const ndnpkt_parameters_t* p) {
  if ((p->has & NDNPKT_HAS_NAME) == 0) return;
  if (ndnpkt_command_is(command, "rib", "register"))
    uvface__route_add(target, p);
  else if (ndnpkt_command_is(command, "rib", "unregister"))
    uvface__route_remove(target, p->name, p->origin);
}

static void ask_for_dataset(order_t* order) {
  uvface__server_t* s = order->app->server;
  unsigned int code = uvface__dataset_answer(s, order->command, s->names, sizeof(s->names), &order->dataset);

  order->is_dataset = code == 200;
  if (code != 200) refuse(order, code, usual_text(code));
}

/* What is not the server's own business. */
static void ask_user(order_t* order) {
  uvface__server_t* s = order->app->server;
  ndnpkt_command_t command = *order->command;
  uvface__app_t* target;
  ndnpkt_bytes_t ok = order->response.text;

  if (command.module.len == 3 && memcmp(command.module.base, "rib", 3) == 0 && !has(order, NDNPKT_HAS_NAME) &&
      (ndnpkt_command_is(&command, "rib", "register") || ndnpkt_command_is(&command, "rib", "unregister"))) {
    refuse(order, 400, "Name is required");
    return;
  }
  if ((target = target_of(order)) == NULL) return;
  if (s->cb.on_command == NULL) {
    if (is_known_module(&command))
      refuse(order, 501, usual_text(501));
    else
      refuse(order, 404, "unknown module");
    return;
  }
  fill_parameters(order, target);
  command.parameters.has |= NDNPKT_HAS_FACE_ID;
  command.parameters.face_id = target->pub.face_id;
  order->response.code = s->cb.on_command(&target->pub, &command, &order->response);
  if (order->response.code < 300 && !target->is_ending) note_route(target, &command, &order->response.parameters);
  if (order->response.code != 200 && order->response.text.base == ok.base)
    order->response.text = text_of(usual_text(order->response.code));
  if (order->response.code >= 400) order->response.parameters.has = 0;
}

static void execute(order_t* order) {
  uvface__server_t* s = order->app->server;

  order->response = (ndnpkt_response_t){.code = 200, .text = text_of("OK")};
  if (order->command->malformed && !uvface__dataset_is(order->command))
    refuse(order, 400, "the ControlParameters are broken");
  else if (s->cb.on_verify != NULL && s->cb.on_verify(&order->app->pub, order->command) == 0)
    refuse(order, 403, usual_text(403));
  else if (order->app->is_ending || uvface__app_connection(order->app) == NULL)
    return;
  else if (uvface__dataset_is(order->command))
    ask_for_dataset(order);
  else if (ndnpkt_command_is(order->command, "faces", "create"))
    create_face(order);
  else if (ndnpkt_command_is(order->command, "faces", "destroy"))
    destroy_face(order);
  else if (order->command->module.len == 5 && memcmp(order->command->module.base, "faces", 5) == 0)
    refuse(order, 404, "unknown faces verb");
  else
    ask_user(order);
}

/* The response into s->content; without its parameters and text if it is too long with them. */
static ssize_t encode_response(uvface__server_t* s, const ndnpkt_response_t* response) {
  const ndnpkt_response_t bare = {.code = response->code};
  ssize_t len = ndnpkt_response_encode(s->content, sizeof(s->content), response);

  return len >= 0 ? len : ndnpkt_response_encode(s->content, sizeof(s->content), &bare);
}

static void execute_and_answer(uvface__app_t* app, const ndnpkt_packet_t* packet, const ndnpkt_command_t* command,
                               const uint8_t* digest) {
  uvface__server_t* s = app->server;
  order_t order = {.app = app, .command = command};
  ndnpkt_bytes_t content = {s->content, 0};
  ssize_t len;

  execute(&order);
  if (app->is_ending) return; /* a callback of the user's has closed it */
  if (order.is_dataset) {
    answer_data(app, packet, 200, &order.dataset);
    return;
  }
  len = encode_response(s, &order.response);
  if (len < 0) return;
  content.len = (size_t) len;
  if (digest != NULL) remember(app, digest, order.response.code, content);
  answer_with(app, packet, order.response.code, content);
  if (order.dismissed != NULL) uvface__app_end(order.dismissed, UV_ECANCELED);
}

/* --- The work ----------------------------------------------------------------------------------- */

/* A name of ours that is no command still wants an answer. */
static void decode_command(const ndnpkt_interest_t* interest, ndnpkt_command_t* command) {
  if (ndnpkt_command_decode(interest, command) == 0) return;
  *command = (ndnpkt_command_t){.name = interest->name};
}

static bool makes_face(const ndnpkt_command_t* command) {
  return ndnpkt_command_is(command, "faces", "create");
}

/* When the face that is asked for may be made. */
static uint64_t earliest(uvface__app_t* app, const ndnpkt_command_t* command) {
  uint64_t own_ns = uvface__app_connection(app)->rest_until_ns, all_ns = app->server->large_rest_until_ns;

  return all_ns > own_ns && is_large(app->server, &command->parameters) ? all_ns : own_ns;
}

/* Waits until then. */
static void rest(uvface__app_t* app, uint64_t now_ns, uint64_t until_ns) {
  uvface__server_t* s = app->server;
  uint64_t rest_ms = (until_ns - now_ns) / 1000000 + 1;

  app->work = UVFACE__RESTING;
  TAILQ_INSERT_TAIL(&s->resting, app, work_link);
  if (!uv_is_active((uv_handle_t*) &s->rest) || uv_timer_get_due_in(&s->rest) > rest_ms)
    uv_timer_start(&s->rest, uvface__command_on_rest, rest_ms, 0);
}

void uvface__command_on_rest(uv_timer_t* timer) {
  uvface__server_t* s = SERVER_OF(timer, rest);
  uvface__app_t *app, *next;

  for (app = TAILQ_FIRST(&s->resting); app != NULL; app = next) { /* who is too early rests again */
    next = TAILQ_NEXT(app, work_link);
    TAILQ_REMOVE(&s->resting, app, work_link);
    app->work = UVFACE__IDLE;
    queue_up(app);
  }
}

/* Executes the app's next command. One that makes a face is left to the turn of those that do. */
static void work_on(uvface__app_t* app, bool is_maker) {
  uvface__server_t* s = app->server;
  uvface__pending_t* next = STAILQ_FIRST(&app->pending);
  uint64_t now_ns = uv_hrtime();
  ndnpkt_packet_t packet;
  ndnpkt_command_t command;
  const uvface__given_answer_t* known = NULL;
  uint8_t digest[NDNPKT_DIGEST_BYTES];
  bool is_readable = ndnpkt_packet_decode(next->packet, next->bytes, &packet) == 0 && packet.kind == NDNPKT_INTEREST;
  bool may_recall = false;

  if (is_readable) {
    decode_command(&packet.interest, &command);
    may_recall = digest_of(s, &packet, digest);
    known = may_recall ? recall(app, digest) : NULL;
    if (known == NULL && makes_face(&command)) {
      if (now_ns < earliest(app, &command)) {
        rest(app, now_ns, earliest(app, &command));
        return;
      }
      if (!is_maker) {
        app->work = UVFACE__MAKING;
        TAILQ_INSERT_TAIL(&s->makers, app, work_link);
        return;
      }
    }
  }
  STAILQ_REMOVE_HEAD(&app->pending, link);
  app->pending_bytes -= sizeof(*next) + next->bytes;
  if (!is_readable) {
    s->stats.commands_dropped++;
  } else if (known != NULL) {
    s->stats.commands_repeated++;
    answer_with(app, &packet, known->code, (ndnpkt_bytes_t){known->content, known->bytes});
  } else {
    execute_and_answer(app, &packet, &command, may_recall ? digest : NULL);
  }
  free(next);
}

static void serve_first(struct uvface__apps_s* queue, bool is_maker) {
  uvface__app_t* app = TAILQ_FIRST(queue);

  TAILQ_REMOVE(queue, app, work_link);
  app->work = UVFACE__IDLE;
  work_on(app, is_maker);
  queue_up(app); /* behind the others */
}

void uvface__command_on_idle(uv_idle_t* idle) {
  uvface__server_t* s = SERVER_OF(idle, idle);
  int executed = 0;

  for (; executed < UVFACE__COMMANDS_PER_TURN && !TAILQ_EMPTY(&s->ready); executed++) serve_first(&s->ready, false);
  if (!TAILQ_EMPTY(&s->makers)) serve_first(&s->makers, true);
  if (executed == UVFACE__COMMANDS_PER_TURN)
    uv_timer_start(&s->breath, uvface__command_on_breath, UVFACE__BREATH_MS, 0);
  if (!has_work(s) || executed == UVFACE__COMMANDS_PER_TURN) uv_idle_stop(idle);
}

void uvface__command_on_breath(uv_timer_t* timer) {
  start_working(SERVER_OF(timer, breath));
}
