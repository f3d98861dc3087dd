/* SPDX-License-Identifier: MIT */
/* dataset.c: see serve.h: which faces and which routes there are, for who asks (NFD Management, Face and RIB datasets).
 *
 * A dataset is a snapshot, cut into segments: who asks for segment 3 of a version gets it of that version, or learns
 * that it is gone. One of several segments is kept for a second, and until there is the next but one: so who began to
 * fetch it gets to its end, whoever asks meanwhile. A snapshot that took long to make is kept for longer, so that
 * asking for it without end costs little. */
#include <stdlib.h>
#include <string.h>

#include "serve.h"

/* What a Data carries of it. */
#define SEGMENT_BYTES ((size_t) 7000)
/* How many times as long as it took to make one a snapshot is kept. */
#define KEEP_FACTOR 20
/* How long one of several segments is kept, and how long what is asked for is fresh. */
#define KEEP_LONG_MS 1000

enum {
  TYPE_NAME = 0x07,
  TYPE_FACE_ID = 0x69,
  TYPE_COST = 0x6a,
  TYPE_FLAGS = 0x6c,
  TYPE_EXPIRATION = 0x6d,
  TYPE_ORIGIN = 0x6f,
  TYPE_URI = 0x72,
  TYPE_ENTRY = 0x80, /* FaceStatus, RibEntry */
  TYPE_ROUTE = 0x81,
  TYPE_LOCAL_URI = 0x81,
  TYPE_FACE_SCOPE = 0x84,
  TYPE_FACE_PERSISTENCY = 0x85,
  TYPE_LINK_TYPE = 0x86,
  TYPE_MTU = 0x89,
  TYPE_IN_BYTES = 0x94,
  TYPE_OUT_BYTES = 0x95,
  SCOPE_LOCAL = 1,
  PERSISTENCY_ON_DEMAND = 1 /* ends with its app */
};

/* Counts of packets, by direction and kind, which the server does not look for: 0. In the order of FaceStatus. */
static const uint32_t packet_counts[] = {0x90, 0x91, 0x97, 0x92, 0x93, 0x98};

static ndnpkt_bytes_t text_of(const char* text) {
  return (ndnpkt_bytes_t){(const uint8_t*) text, strlen(text)};
}

/* --- Routes ------------------------------------------------------------------------------------- */

static void drop_route(uvface__app_t* app, uvface__route_t* route) {
  SLIST_REMOVE(&app->routes, route, uvface__route_s, link);
  app->nroutes--;
  app->routes_bytes -= route->name_bytes;
  app->user->nroutes--;
  app->user->routes_bytes -= route->name_bytes;
  free(route);
}

void uvface__route_remove(uvface__app_t* app, ndnpkt_name_t name, uint64_t origin) {
  uvface__route_t* route;

  SLIST_FOREACH(route, &app->routes, link) {
    if (route->origin == origin && ndnpkt_name_equal((ndnpkt_name_t){route->name, route->name_bytes}, name)) {
      drop_route(app, route);
      return;
    }
  }
}

/* What is over gives its place back when another wants it. */
static void drop_expired(uvface__app_t* app, uint64_t now_ms) {
  uvface__route_t *route, *next;

  for (route = SLIST_FIRST(&app->routes); route != NULL; route = next) {
    next = SLIST_NEXT(route, link);
    if (route->due_ms != 0 && route->due_ms <= now_ms) drop_route(app, route);
  }
}

static bool has_place(const uvface__app_t* app, size_t name_bytes) {
  const uvface__user_t* user = app->user;

  if (user->is_stranger &&
      (user->nroutes >= UVFACE__USER_ROUTES_MAX || user->routes_bytes + name_bytes > UVFACE__USER_ROUTES_BYTES_MAX))
    return false;
  return app->nroutes < UVFACE__ROUTES_MAX && app->routes_bytes + name_bytes <= UVFACE__ROUTES_BYTES_MAX;
}

/* Of the app; and, at most once a second, of all others of its user, if what these have together is bounded. */
static void make_place(uvface__app_t* app, uint64_t now_ms) {
  uvface__user_t* user = app->user;
  uvface__app_t* other;

  drop_expired(app, now_ms);
  if (!user->is_stranger || now_ms < user->routes_due_ms) return;
  user->routes_due_ms = now_ms + 1000;
  TAILQ_FOREACH(other, &app->server->apps, all_link) if (other->user == user) drop_expired(other, now_ms);
}

void uvface__route_add(uvface__app_t* app, const ndnpkt_parameters_t* p) {
  uint64_t now_ms = uv_hrtime() / 1000000;
  uvface__route_t* route;

  uvface__route_remove(app, p->name, p->origin);
  if (!has_place(app, p->name.len)) make_place(app, now_ms);
  if (!has_place(app, p->name.len) || p->name.len > UVFACE__ROUTE_NAME_MAX) return;
  if ((route = malloc(sizeof(*route) + p->name.len)) == NULL) return;
  *route = (uvface__route_t){.origin = p->origin, .cost = p->cost, .flags = p->flags, .name_bytes = p->name.len};
  if ((p->has & NDNPKT_HAS_EXPIRATION) != 0 && p->expiration_ms <= UINT64_MAX - now_ms)
    route->due_ms = now_ms + p->expiration_ms;
  if (p->name.len != 0) memcpy(route->name, p->name.base, p->name.len);
  SLIST_INSERT_HEAD(&app->routes, route, link);
  app->nroutes++;
  app->routes_bytes += p->name.len;
  app->user->nroutes++;
  app->user->routes_bytes += p->name.len;
}

void uvface__routes_free(uvface__app_t* app) {
  uvface__route_t* route;

  while ((route = SLIST_FIRST(&app->routes)) != NULL) drop_route(app, route);
}

/* --- Snapshots ---------------------------------------------------------------------------------- */

/* An element behind the others. False: out of memory. */
static bool add(uvface__dataset_t* d, const uint8_t* entry, ssize_t len) {
  if (len < 0) return true; /* larger than any packet: no command could have made it */
  if (d->len + (size_t) len + 8 > d->room) {
    size_t room = 2 * (d->len + (size_t) len + 8);
    uint8_t* bytes = realloc(d->bytes, room);

    if (bytes == NULL) return false;
    d->bytes = bytes;
    d->room = room;
  }
  d->len =
      (size_t) ndnpkt_append(d->bytes, (ssize_t) d->len, d->room, TYPE_ENTRY, (ndnpkt_bytes_t){entry, (size_t) len});
  return true;
}

static bool add_face(uvface__dataset_t* d, const uvface__app_t* app) {
  uint8_t entry[1024];
  const size_t cap = sizeof(entry);
  uvface_stats_t stats = {0};
  ssize_t len = ndnpkt_append_uint(entry, 0, cap, TYPE_FACE_ID, app->pub.face_id);

  uvface_get_stats(&app->face, &stats);
  len = ndnpkt_append(entry, len, cap, TYPE_URI, text_of(app->pub.uri));
  len = ndnpkt_append(entry, len, cap, TYPE_LOCAL_URI, text_of(app->server->uri));
  len = ndnpkt_append_uint(entry, len, cap, TYPE_FACE_SCOPE, SCOPE_LOCAL);
  len = ndnpkt_append_uint(entry, len, cap, TYPE_FACE_PERSISTENCY, PERSISTENCY_ON_DEMAND);
  len = ndnpkt_append_uint(entry, len, cap, TYPE_LINK_TYPE, 0);
  len = ndnpkt_append_uint(entry, len, cap, TYPE_MTU, uvface_get_mtu(&app->face));
  for (size_t i = 0; i < sizeof(packet_counts) / sizeof(*packet_counts); i++)
    len = ndnpkt_append_uint(entry, len, cap, packet_counts[i], 0);
  len = ndnpkt_append_uint(entry, len, cap, TYPE_IN_BYTES, stats.rx_bytes);
  len = ndnpkt_append_uint(entry, len, cap, TYPE_OUT_BYTES, stats.tx_bytes);
  len = ndnpkt_append_uint(entry, len, cap, TYPE_FLAGS, 0);
  return add(d, entry, len);
}

static bool fill_faces(uvface__server_t* s, uvface__dataset_t* d) {
  uvface__app_t* app;

  TAILQ_FOREACH(app, &s->apps, all_link) {
    if (app->is_open && !uvface__app_is_ending(app) && !add_face(d, app)) return false;
  }
  return true;
}

typedef struct listed_s {
  const uvface__route_t* route;
  uint64_t face_id;
} listed_t;

static ndnpkt_name_t name_of(const uvface__route_t* route) {
  return (ndnpkt_name_t){route->name, route->name_bytes};
}

static int by_name_and_face(const void* a, const void* b) {
  const listed_t *x = a, *y = b;
  int order = ndnpkt_name_compare(name_of(x->route), name_of(y->route));

  return order != 0 ? order : (x->face_id > y->face_id) - (x->face_id < y->face_id);
}

/* All routes that are in force, those of a name together. NULL: there are none, or out of memory, which n tells. */
static listed_t* list_routes(uvface__server_t* s, uint64_t now_ms, size_t* ret_n) {
  const uvface__route_t* route;
  const uvface__app_t* app;
  listed_t* all;
  size_t n = 0;

  TAILQ_FOREACH(app, &s->apps, all_link) if (!uvface__app_is_ending(app)) n += app->nroutes;
  *ret_n = n;
  if (n == 0 || (all = malloc(n * sizeof(*all))) == NULL) return NULL;
  n = 0;
  TAILQ_FOREACH(app, &s->apps, all_link) {
    if (uvface__app_is_ending(app)) continue;
    SLIST_FOREACH(route, &app->routes, link) {
      if (route->due_ms == 0 || now_ms < route->due_ms) all[n++] = (listed_t){route, app->pub.face_id};
    }
  }
  qsort(all, n, sizeof(*all), by_name_and_face);
  *ret_n = n;
  return all;
}

static ssize_t append_route(uint8_t* entry, ssize_t len, size_t cap, const listed_t* listed, uint64_t now_ms) {
  const uvface__route_t* route = listed->route;
  uint8_t body[64];
  ssize_t n = ndnpkt_append_uint(body, 0, sizeof(body), TYPE_FACE_ID, listed->face_id);

  n = ndnpkt_append_uint(body, n, sizeof(body), TYPE_ORIGIN, route->origin);
  n = ndnpkt_append_uint(body, n, sizeof(body), TYPE_COST, route->cost);
  n = ndnpkt_append_uint(body, n, sizeof(body), TYPE_FLAGS, route->flags);
  if (route->due_ms != 0) n = ndnpkt_append_uint(body, n, sizeof(body), TYPE_EXPIRATION, route->due_ms - now_ms);
  return ndnpkt_append(entry, len, cap, TYPE_ROUTE, (ndnpkt_bytes_t){body, (size_t) n});
}

static bool fill_routes(uvface__server_t* s, uvface__dataset_t* d) {
  uint64_t now_ms = uv_hrtime() / 1000000;
  size_t n;
  listed_t* all = list_routes(s, now_ms, &n);
  bool done = all != NULL || n == 0;

  for (size_t i = 0; all != NULL && i < n && done;) {
    const ndnpkt_name_t name = name_of(all[i].route);
    ssize_t len = ndnpkt_append(s->content, 0, sizeof(s->content), TYPE_NAME, name);

    for (; i < n && ndnpkt_name_equal(name_of(all[i].route), name); i++) {
      ssize_t more = append_route(s->content, len, sizeof(s->content), &all[i], now_ms);

      if (more < 0) break; /* the rest in an entry of its own; one route finds room beside UVFACE__ROUTE_NAME_MAX */
      len = more;
    }
    done = add(d, s->content, len);
  }
  free(all);
  return done;
}

static bool make(uvface__server_t* s, bool is_faces) {
  uvface__dataset_t *d = &s->datasets[is_faces ? 0 : 1], *former = &s->former[is_faces ? 0 : 1], spare = *former;
  uint64_t begin_ns = uv_hrtime(), keep_ns;
  bool is_long;

  if (d->version != 0 && begin_ns < d->keep_until_ns) return true;
  if (d->version != 0) {
    *former = *d;
    *d = spare;
  }
  d->len = 0;
  d->version = 0;
  if (!(is_faces ? fill_faces(s, d) : fill_routes(s, d))) return false;
  d->version = ndnpkt_signature_time();                            /* larger each time */
  is_long = d->len > SEGMENT_BYTES || former->len > SEGMENT_BYTES; /* or the former would not stay for as long */
  keep_ns = KEEP_FACTOR * (uv_hrtime() - begin_ns);
  if (is_long && keep_ns < KEEP_LONG_MS * UINT64_C(1000000)) keep_ns = KEEP_LONG_MS * UINT64_C(1000000);
  d->keep_until_ns = uv_hrtime() + keep_ns;
  return true;
}

/* --- Answers ------------------------------------------------------------------------------------ */

bool uvface__dataset_is(const ndnpkt_command_t* command) {
  return ndnpkt_command_is(command, "faces", "list") || ndnpkt_command_is(command, "rib", "list");
}

/* The snapshot of that version, or NULL: two others were made since. */
static const uvface__dataset_t* find(const uvface__server_t* s, bool is_faces, uint64_t version) {
  const uvface__dataset_t *d = &s->datasets[is_faces ? 0 : 1], *former = &s->former[is_faces ? 0 : 1];

  if (version == 0) return NULL;
  return version == d->version ? d : version == former->version ? former : NULL;
}

/* What is asked for: the name up to the verb; behind it perhaps a version and a segment. False: it is something
 * else. */
static bool read_name(ndnpkt_name_t name, ndnpkt_name_t* ret_base, bool* ret_has_version, uint64_t* ret_version,
                      uint64_t* ret_segment) {
  ndnpkt_bytes_t rest = name;
  ndnpkt_tlv_t component;
  ndnpkt_name_t last[2] = {{NULL, 0}, {NULL, 0}};
  int n = 0;

  for (int i = 0; i < 4; i++)
    if (ndnpkt_tlv_next(&rest, &component) <= 0) return false;
  *ret_base = (ndnpkt_name_t){name.base, name.len - rest.len};
  for (const uint8_t* at = rest.base; ndnpkt_tlv_next(&rest, &component) > 0; at = rest.base) {
    if (component.type == NDNPKT_COMPONENT_PARAMETERS_DIGEST) continue; /* who likes to sign what need not be signed */
    if (n == 2) return false;
    last[n++] = (ndnpkt_name_t){at, (size_t) (rest.base - at)};
  }
  *ret_has_version = n > 0;
  *ret_segment = 0;
  if (n > 0 && ndnpkt_component_number(last[0], NDNPKT_COMPONENT_VERSION, ret_version) < 0) return false;
  return n < 2 || ndnpkt_component_number(last[1], NDNPKT_COMPONENT_SEGMENT, ret_segment) == 0;
}

unsigned int uvface__dataset_answer(uvface__server_t* s, const ndnpkt_command_t* command, uint8_t* names, size_t cap,
                                    ndnpkt_data_t* ret_data) {
  bool is_faces = ndnpkt_command_is(command, "faces", "list"), has_version;
  const uvface__dataset_t* d = &s->datasets[is_faces ? 0 : 1];
  uint64_t version = 0, segment, last;
  ndnpkt_name_t base;
  size_t at;
  ssize_t len, end;

  if (!read_name(command->name, &base, &has_version, &version, &segment)) return 404;
  if (!has_version && !make(s, is_faces)) return 500;
  if (has_version && (d = find(s, is_faces, version)) == NULL) return 404;
  last = d->len == 0 ? 0 : (d->len - 1) / SEGMENT_BYTES;
  if (segment > last || base.len > cap) return 404;
  memcpy(names, base.base, base.len);
  len = ndnpkt_append_uint(names, (ssize_t) base.len, cap, NDNPKT_COMPONENT_VERSION, d->version);
  len = ndnpkt_append_uint(names, len, cap, NDNPKT_COMPONENT_SEGMENT, segment);
  end = ndnpkt_append_uint(names, len, cap, NDNPKT_COMPONENT_SEGMENT, last);
  if (end < 0) return 404;
  at = (size_t) segment * SEGMENT_BYTES;
  *ret_data = (ndnpkt_data_t){
      .name = {names, (size_t) len},
      .freshness_ms = KEEP_LONG_MS,
      .final_block = {names + len, (size_t) (end - len)},
      .content = {d->len > 0 ? d->bytes + at : NULL, d->len - at < SEGMENT_BYTES ? d->len - at : SEGMENT_BYTES}};
  return 200;
}

void uvface__datasets_free(uvface__server_t* s) {
  for (int i = 0; i < 2; i++) {
    free(s->datasets[i].bytes);
    free(s->former[i].bytes);
  }
}
