/* SPDX-License-Identifier: MIT */
/* command.c: see serve.h: what apps ask for is done, or refused with a reason (NFD Management).
 *
 * Guarantees that what an app gets is within the limits of the options, and its own; and that every order ends with a
 * response or a dataset. Knows neither packets nor queues. */
#include <stdio.h>
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

static ndnpkt_bytes_t text_of(const char* text) {
  return (ndnpkt_bytes_t){(const uint8_t*) text, strlen(text)};
}

/* The answer is a failure. */
static void refuse(uvface__order_t* order, unsigned int code, const char* text) {
  order->response = (ndnpkt_response_t){.code = code, .text = text_of(text)};
}

static bool has(const uvface__order_t* order, uint32_t what) {
  return (order->command->parameters.has & what) != 0;
}

/* What follows "shm://", or base NULL. */
static ndnpkt_bytes_t name_in(ndnpkt_bytes_t uri) {
  static const char scheme[] = "shm://";
  size_t len = sizeof(scheme) - 1;

  if (uri.len < len || memcmp(uri.base, scheme, len) != 0) return (ndnpkt_bytes_t){NULL, 0};
  return (ndnpkt_bytes_t){uri.base + len, uri.len - len};
}

/* It goes into logs and onto terminals, unseen by who asked for it, and a zero byte would end it. */
static bool is_printable(ndnpkt_bytes_t text) {
  for (size_t i = 0; i < text.len; i++)
    if (text.base[i] < ' ' || text.base[i] > '~') return false;
  return true;
}

/* 200, or what is wrong with the wish. */
static unsigned int read_wish(uvface__order_t* order, uvface__wish_t* wish) {
  const ndnpkt_parameters_t* p = &order->command->parameters;
  const char* text = NULL;

  *wish = (uvface__wish_t){.name = name_in(p->uri), .has_mtu = has(order, NDNPKT_HAS_MTU), .mtu = p->mtu};
  if (has(order, NDNPKT_HAS_SHM_TOKEN)) wish->token = p->shm_token;
  if (!has(order, NDNPKT_HAS_URI))
    text = "Uri is required";
  else if (wish->name.base == NULL || (order->app->server->options.flags & UVFACE_SERVER_NO_SHM) != 0)
    snprintf(order->text, sizeof(order->text), "unsupported URI scheme: %.*s",
             (int) (p->uri.len < 64 ? p->uri.len : 64), (const char*) p->uri.base);
  else if (wish->name.len == 0 || wish->name.len > UVFACE__NAME_MAX || !is_printable(wish->name))
    text = "the name of a face has 1 to 200 characters, all of them printable ASCII";
  else if (wish->token.base != NULL && wish->token.len != UVFACE__KEY_BYTES)
    text = "shm control token must be 32 bytes";
  else if (wish->has_mtu && wish->mtu > UVFACE__MTU_MAX)
    text = "Mtu is too large";
  else
    return 200;
  refuse(order, 400, text != NULL ? text : order->text);
  return 400;
}

static bool is_large(const uvface__server_t* s, const ndnpkt_parameters_t* p) {
  uint32_t capacity = s->face_capacity, slot_size = s->face_slot_size;

  if ((p->has & NDNPKT_HAS_MTU) != 0 && p->mtu <= UVFACE__MTU_MAX)
    return uvface__geometry(p->mtu, &capacity, &slot_size) > LARGE_BYTES;
  return uvface__region_bytes(capacity, slot_size) > LARGE_BYTES;
}

/* A face by name has FIFOs, whose locks its app can hold, and a file, which it can truncate: that is for who could stop
 * us anyway. */
static bool may_have_name(const uvface__app_t* connection) {
  return !connection->user->is_stranger || (connection->server->options.flags & UVFACE_SERVER_NAMES_FOR_ALL) != 0;
}

static void create_face(uvface__order_t* order) {
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
static uvface__app_t* target_of(uvface__order_t* order) {
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

static void destroy_face(uvface__order_t* order) {
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
static void fill_parameters(uvface__order_t* order, const uvface__app_t* target) {
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

static void ask_for_dataset(uvface__order_t* order) {
  uvface__server_t* s = order->app->server;
  unsigned int code = uvface__dataset_answer(s, order->command, s->names, sizeof(s->names), &order->dataset);

  order->is_dataset = code == 200;
  if (code != 200) refuse(order, code, usual_text(code));
}

/* What is wrong with the name of a route, or NULL. */
static const char* check_prefix(const uvface__order_t* order) {
  if (!has(order, NDNPKT_HAS_NAME)) return "Name is required";
  if (order->command->parameters.name.len > UVFACE__ROUTE_NAME_MAX) return "Name is longer than a packet of 8800 bytes";
  return NULL;
}

/* What is not the server's own business. */
static void ask_user(uvface__order_t* order) {
  uvface__server_t* s = order->app->server;
  ndnpkt_command_t command = *order->command;
  uvface__app_t* target;
  ndnpkt_bytes_t ok = order->response.text;

  if (ndnpkt_command_is(&command, "rib", "register") || ndnpkt_command_is(&command, "rib", "unregister")) {
    const char* text = check_prefix(order);

    if (text != NULL) {
      refuse(order, 400, text);
      return;
    }
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
  if (order->response.code < 300 && !uvface__app_is_ending(target))
    note_route(target, &command, &order->response.parameters);
  if (order->response.code != 200 && order->response.text.base == ok.base)
    order->response.text = text_of(usual_text(order->response.code));
  if (order->response.code >= 400) order->response.parameters.has = 0;
}

static bool is_of_faces(const ndnpkt_command_t* command) {
  return command->module.len == 5 && memcmp(command->module.base, "faces", 5) == 0;
}

/* What others have for parameters is not known, as the filter of NFD's faces/query. */
static bool is_unknown_faces_verb(const ndnpkt_command_t* command) {
  return is_of_faces(command) && !uvface__dataset_is(command) && !ndnpkt_command_is(command, "faces", "create") &&
         !ndnpkt_command_is(command, "faces", "destroy");
}

static bool has_broken_parameters(const ndnpkt_command_t* command) {
  return command->malformed && !uvface__dataset_is(command) && !is_unknown_faces_verb(command);
}

void uvface__command_execute(uvface__order_t* order) {
  uvface__server_t* s = order->app->server;

  order->response = (ndnpkt_response_t){.code = 200, .text = text_of("OK")};
  if (has_broken_parameters(order->command))
    refuse(order, 400, "the ControlParameters are broken");
  else if (s->cb.on_verify != NULL && s->cb.on_verify(&order->app->pub, order->command) == 0)
    refuse(order, 403, usual_text(403));
  else if (uvface__app_is_ending(order->app) || uvface__app_connection(order->app) == NULL)
    return;
  else if (uvface__dataset_is(order->command))
    ask_for_dataset(order);
  else if (ndnpkt_command_is(order->command, "faces", "create"))
    create_face(order);
  else if (ndnpkt_command_is(order->command, "faces", "destroy"))
    destroy_face(order);
  else if (is_of_faces(order->command))
    refuse(order, 404, "unknown faces verb");
  else
    ask_user(order);
}

uint64_t uvface__command_earliest(uvface__app_t* app, const ndnpkt_command_t* command) {
  uint64_t own_ns = uvface__app_connection(app)->rest_until_ns, all_ns = app->server->large_rest_until_ns;

  return all_ns > own_ns && is_large(app->server, &command->parameters) ? all_ns : own_ns;
}
