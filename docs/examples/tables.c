/* SPDX-License-Identifier: MIT */
/* tables.c: FIB, PIT and content store on one kind of hash table. Guarantees what tables.h says: no packet
 * costs a scan. PIT entries are pooled, so that in steady state an Interest allocates nothing; they end by
 * a timing wheel, whose lists hold what expires within the same few milliseconds. */
#include "tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
  POOLED_NAME_BYTES = 128, /* a PIT entry with a longer name is allocated for itself */
  LIFETIME_MAX_MS = 60000,
  BUCKETS_MIN = 256
};

/* --- Hashes of names -------------------------------------------------------------------------- */

static uint64_t hash_word(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 32;
}

/* Folds one component into a hash; a name's hash is the fold over its components, starting at a seed, so
 * that the hashes of all prefixes fall out on the way. Not a cryptographic hash. */
static uint64_t component_hash(uint64_t hash, ndnpkt_bytes_t component) {
  uint64_t word = 0;
  size_t at = 0;
  for (; component.len - at >= sizeof(word); at += sizeof(word)) {
    memcpy(&word, component.base + at, sizeof(word));
    hash = hash_word(hash, word);
  }
  word = 0;
  memcpy(&word, component.base + at, component.len - at);
  return hash_word(hash, word);
}

static uint64_t name_hash(uint64_t seed, ndnpkt_name_t name) {
  ndnpkt_tlv_t component;
  while (ndnpkt_tlv_next(&name, &component) > 0) seed = component_hash(seed, component.whole);
  return seed;
}

/* --- Hash table ------------------------------------------------------------------------------- */

static int table_init(table_t* table) {
  *table = (table_t){calloc(BUCKETS_MIN, sizeof(node_t*)), BUCKETS_MIN - 1, 0};
  return table->buckets != NULL ? 0 : -ENOMEM;
}

/* Doubles the buckets. Without memory for that the table stays as it is: slower, not wrong. */
static void table_grow(table_t* table) {
  size_t mask = table->mask * 2 + 1;
  node_t** buckets = calloc(mask + 1, sizeof(node_t*));
  if (buckets == NULL) return;
  for (size_t i = 0; i <= table->mask; i++) {
    for (node_t *node = table->buckets[i], *next; node != NULL; node = next) {
      next = node->next;
      node->next = buckets[node->hash & mask];
      buckets[node->hash & mask] = node;
    }
  }
  free(table->buckets);
  table->buckets = buckets;
  table->mask = mask;
}

static void table_add(table_t* table, node_t* node) {
  if (table->count++ > table->mask) table_grow(table);
  node_t** bucket = &table->buckets[node->hash & table->mask];
  node->next = *bucket;
  *bucket = node;
}

static void table_remove(table_t* table, node_t* node) {
  node_t** link = &table->buckets[node->hash & table->mask];
  while (*link != node) link = &(*link)->next;
  *link = node->next;
  table->count--;
}

static node_t* node_match(node_t* node, uint64_t hash, ndnpkt_name_t name) {
  while (node != NULL && (node->hash != hash || !ndnpkt_name_equal(node->name, name))) node = node->next;
  return node;
}

static node_t* table_find(const table_t* table, uint64_t hash, ndnpkt_name_t name) {
  return node_match(table->buckets[hash & table->mask], hash, name);
}

/* Takes any entry out, NULL when the table is empty: for taking tables apart. */
static void* table_pop(table_t* table, size_t* bucket) {
  while (*bucket <= table->mask && table->buckets[*bucket] == NULL) ++*bucket;
  if (*bucket > table->mask) return NULL;
  node_t* node = table->buckets[*bucket];
  table->buckets[*bucket] = node->next;
  return node->entry;
}

/* --- FIB -------------------------------------------------------------------------------------- */

int fib_init(fib_t* fib, uint64_t seed) {
  fib->seed = seed;
  fib->depth = 0;
  return table_init(&fib->table);
}

void fib_free(fib_t* fib) {
  size_t bucket = 0;
  void* route;
  while ((route = table_pop(&fib->table, &bucket)) != NULL) free(route);
  free(fib->table.buckets);
}

static size_t count_components(ndnpkt_name_t name) {
  ndnpkt_tlv_t component;
  size_t count = 0;
  while (ndnpkt_tlv_next(&name, &component) > 0) count++;
  return count;
}

route_t* fib_route(const fib_t* fib, ndnpkt_name_t prefix, const hop_t* hop, const hop_t* except) {
  uint64_t hash = name_hash(fib->seed, prefix);
  node_t* node = table_find(&fib->table, hash, prefix);
  for (; node != NULL; node = node_match(node->next, hash, prefix)) {
    route_t* route = node->entry;
    if (hop != NULL ? route->hop == hop : route->hop != except) return route;
  }
  return NULL;
}

static route_t* route_new(fib_t* fib, ndnpkt_name_t prefix, hop_t* hop) {
  route_t* route = malloc(sizeof(*route) + prefix.len);
  if (route == NULL) return NULL;
  if (prefix.len > 0) memcpy(route->name, prefix.base, prefix.len);
  route->node = (node_t){NULL, name_hash(fib->seed, prefix), {route->name, prefix.len}, route};
  route->hop = hop;
  route->next = hop->routes;
  route->link = &hop->routes;
  if (route->next != NULL) route->next->link = &route->next;
  hop->routes = route;
  hop->nroutes++;
  table_add(&fib->table, &route->node);
  return route;
}

int fib_add(fib_t* fib, ndnpkt_name_t prefix, hop_t* hop, uint64_t cost, uint64_t expires_ms) {
  size_t depth = count_components(prefix);
  if (depth > FIB_DEPTH_MAX) return -EINVAL;
  route_t* route = fib_route(fib, prefix, hop, NULL);
  if (route == NULL && (hop->nroutes >= HOP_ROUTES_MAX || fib->table.count >= FIB_ROUTES_MAX)) return -ENOSPC;
  if (route == NULL) route = route_new(fib, prefix, hop);
  if (route == NULL) return -ENOMEM;
  route->cost = cost;
  route->expires_ms = expires_ms;
  fib->depth = depth > fib->depth ? depth : fib->depth;
  return 0;
}

void fib_remove(fib_t* fib, route_t* route) {
  if (route == NULL) return;
  *route->link = route->next;
  if (route->next != NULL) route->next->link = route->link;
  route->hop->nroutes--;
  table_remove(&fib->table, &route->node);
  free(route);
}

/* The cheapest way to exactly this prefix that does not lead back. The youngest lie in front. */
static hop_t* best_hop(const fib_t* fib, uint64_t hash, ndnpkt_name_t prefix, const hop_t* from) {
  const route_t* best = NULL;
  node_t* node = table_find(&fib->table, hash, prefix);
  for (; node != NULL; node = node_match(node->next, hash, prefix)) {
    const route_t* route = node->entry;
    if (route->hop != from && (best == NULL || route->cost < best->cost)) best = route;
  }
  return best != NULL ? best->hop : NULL;
}

hop_t* fib_find(const fib_t* fib, ndnpkt_name_t name, const hop_t* from) {
  uint64_t hashes[FIB_DEPTH_MAX + 1] = {fib->seed};
  size_t sizes[FIB_DEPTH_MAX + 1] = {0};
  size_t depth = 0;
  ndnpkt_bytes_t rest = name;
  ndnpkt_tlv_t component;
  while (depth < fib->depth && ndnpkt_tlv_next(&rest, &component) > 0) {
    hashes[depth + 1] = component_hash(hashes[depth], component.whole);
    sizes[depth + 1] = sizes[depth] + component.whole.len;
    depth++;
  }
  hop_t* hop = NULL;
  for (size_t at = depth + 1; hop == NULL && at-- > 0;)
    hop = best_hop(fib, hashes[at], (ndnpkt_name_t){name.base, sizes[at]}, from);
  return hop;
}

/* --- PIT -------------------------------------------------------------------------------------- */

struct pit_entry_s {
  node_t node;
  pit_entry_t* next; /* in the wheel or among the free */
  pit_entry_t** link;
  pit_in_t* ins;
  uint64_t expires_ms;
  hop_t* to;
  pit_entry_t* to_next; /* of what that face was asked for */
  pit_entry_t** to_link;
  bool can_be_prefix, must_be_fresh;
  bool pooled;
  uint8_t name[]; /* POOLED_NAME_BYTES, or as many as it takes */
};

int pit_init(pit_t* pit, uint64_t seed, size_t max_ins, uint64_t now_ms) {
  *pit = (pit_t){.seed = seed, .max_ins = max_ins, .tick = now_ms / WHEEL_TICK_MS};
  return table_init(&pit->table);
}

static pit_entry_t* entry_new(pit_t* pit, const ndnpkt_interest_t* interest) {
  bool pooled = interest->name.len <= POOLED_NAME_BYTES;
  pit_entry_t* entry = pooled ? pit->free_entries : NULL;
  if (entry != NULL)
    pit->free_entries = entry->next;
  else
    entry = malloc(sizeof(*entry) + (pooled ? POOLED_NAME_BYTES : interest->name.len));
  if (entry == NULL) return NULL;
  memcpy(entry->name, interest->name.base, interest->name.len);
  entry->pooled = pooled;
  entry->ins = NULL;
  entry->can_be_prefix = interest->can_be_prefix;
  entry->must_be_fresh = interest->must_be_fresh;
  return entry;
}

static void entry_free(pit_t* pit, pit_entry_t* entry) {
  if (!entry->pooled) {
    free(entry);
    return;
  }
  entry->next = pit->free_entries;
  pit->free_entries = entry;
}

/* The face waits no longer; what is left of it is in a match, or free. */
static void in_unlink(pit_t* pit, pit_in_t* in) {
  *in->hop_link = in->hop_next;
  if (in->hop_next != NULL) in->hop_next->hop_link = in->hop_link;
  in->hop->nins--;
  pit->nins--;
}

static void in_free(pit_t* pit, pit_in_t* in) {
  in->next = pit->free_ins;
  pit->free_ins = in;
}

static pit_in_t* in_add(pit_t* pit, pit_entry_t* entry, hop_t* hop) {
  if (pit->nins >= pit->max_ins || hop->nins >= (pit->max_ins + HOP_PART - 1) / HOP_PART) return NULL;
  pit_in_t* in = pit->free_ins;
  if (in != NULL)
    pit->free_ins = in->next;
  else
    in = malloc(sizeof(*in));
  if (in == NULL) return NULL;
  in->next = entry->ins;
  entry->ins = in;
  in->entry = entry;
  in->hop = hop;
  in->hop_next = hop->ins;
  in->hop_link = &hop->ins;
  if (in->hop_next != NULL) in->hop_next->hop_link = &in->hop_next;
  hop->ins = in;
  hop->nins++;
  pit->nins++;
  return in;
}

static void in_set(pit_in_t* in, const ndnpkt_interest_t* interest, ndnpkt_bytes_t token, uint64_t expires_ms) {
  in->has_nonce = interest->has_nonce;
  in->nonce = interest->nonce;
  in->expires_ms = expires_ms;
  in->token_bytes = (uint8_t) token.len;
  if (token.len > 0) memcpy(in->token, token.base, token.len);
}

/* Files an entry under the tick at which it is over, or under the last one if that is further away. */
static void wheel_add(pit_t* pit, pit_entry_t* entry) {
  uint64_t tick = entry->expires_ms / WHEEL_TICK_MS + 1;
  uint64_t last = pit->tick + WHEEL_SLOTS - 1;
  tick = tick <= pit->tick ? pit->tick + 1 : tick > last ? last : tick;
  entry->link = &pit->wheel[tick % WHEEL_SLOTS];
  entry->next = *entry->link;
  if (entry->next != NULL) entry->next->link = &entry->next;
  *entry->link = entry;
}

static void wheel_remove(pit_entry_t* entry) {
  *entry->link = entry->next;
  if (entry->next != NULL) entry->next->link = entry->link;
}

static void asked_add(pit_entry_t* entry, hop_t* to) {
  entry->to = to;
  entry->to_next = to->asked;
  entry->to_link = &to->asked;
  if (entry->to_next != NULL) entry->to_next->to_link = &entry->to_next;
  to->asked = entry;
}

static void asked_remove(pit_entry_t* entry) {
  *entry->to_link = entry->to_next;
  if (entry->to_next != NULL) entry->to_next->to_link = entry->to_link;
}

static void entry_end(pit_t* pit, pit_entry_t* entry) {
  wheel_remove(entry);
  asked_remove(entry);
  table_remove(&pit->table, &entry->node);
  pit->can_be_prefix -= entry->can_be_prefix;
  while (entry->ins != NULL) {
    pit_in_t* in = entry->ins;
    entry->ins = in->next;
    in_unlink(pit, in);
    in_free(pit, in);
  }
  entry_free(pit, entry);
}

void pit_free(pit_t* pit) {
  for (size_t slot = 0; slot < WHEEL_SLOTS; slot++)
    while (pit->wheel[slot] != NULL) entry_end(pit, pit->wheel[slot]);
  for (pit_entry_t* entry; (entry = pit->free_entries) != NULL; free(entry)) pit->free_entries = entry->next;
  for (pit_in_t* in; (in = pit->free_ins) != NULL; free(in)) pit->free_ins = in->next;
  free(pit->table.buckets);
}

static pit_entry_t* pit_find(const pit_t* pit, uint64_t hash, const ndnpkt_interest_t* interest) {
  node_t* node = table_find(&pit->table, hash, interest->name);
  for (; node != NULL; node = node_match(node->next, hash, interest->name)) {
    pit_entry_t* entry = node->entry;
    if (entry->can_be_prefix == interest->can_be_prefix && entry->must_be_fresh == interest->must_be_fresh)
      return entry;
  }
  return NULL;
}

static pit_result_t pit_add_new(pit_t* pit, const ndnpkt_interest_t* interest, uint64_t hash, ndnpkt_bytes_t token,
                                hop_t* from, hop_t* to, uint64_t expires_ms) {
  pit_entry_t* entry = entry_new(pit, interest);
  if (entry == NULL) return PIT_FULL;
  pit_in_t* in = in_add(pit, entry, from);
  if (in == NULL) {
    entry_free(pit, entry);
    return PIT_FULL;
  }
  in_set(in, interest, token, expires_ms);
  entry->node = (node_t){NULL, hash, {entry->name, interest->name.len}, entry};
  entry->expires_ms = expires_ms;
  asked_add(entry, to);
  table_add(&pit->table, &entry->node);
  wheel_add(pit, entry);
  pit->can_be_prefix += entry->can_be_prefix;
  return PIT_FORWARD;
}

pit_result_t pit_add(pit_t* pit, const ndnpkt_interest_t* interest, ndnpkt_bytes_t token, hop_t* from, hop_t* to,
                     uint64_t now_ms) {
  uint64_t hash = name_hash(pit->seed, interest->name);
  uint64_t lifetime_ms = interest->lifetime_ms < LIFETIME_MAX_MS ? interest->lifetime_ms : LIFETIME_MAX_MS;
  uint64_t expires_ms = now_ms + lifetime_ms;
  pit_entry_t* entry = pit_find(pit, hash, interest);
  if (entry == NULL) return pit_add_new(pit, interest, hash, token, from, to, expires_ms);
  pit_in_t* own = NULL;
  for (pit_in_t* in = entry->ins; in != NULL; in = in->next) {
    if (interest->has_nonce && in->has_nonce && in->nonce == interest->nonce) return PIT_LOOP;
    own = in->hop == from ? in : own;
  }
  /* An answer cannot come from the face that asks, so its Interest is as good as new. */
  bool forward = own != NULL || entry->to == from;
  if (own == NULL) own = in_add(pit, entry, from);
  if (own == NULL) return PIT_FULL;
  in_set(own, interest, token, expires_ms);
  entry->expires_ms = expires_ms > entry->expires_ms ? expires_ms : entry->expires_ms;
  if (!forward) return PIT_AGGREGATE;
  if (entry->to != to) { /* the route has changed: from now on the answer is to come from there */
    asked_remove(entry);
    asked_add(entry, to);
  }
  return PIT_FORWARD;
}

/* Ends an entry; those of its faces that still wait become part of the match. */
static void entry_match(pit_t* pit, pit_entry_t* entry, uint64_t now_ms, pit_match_t* match) {
  size_t size = entry->node.name.len;
  for (pit_in_t** link = &entry->ins; *link != NULL;) {
    pit_in_t* in = *link;
    if (in->expires_ms <= now_ms) {
      link = &in->next;
      continue;
    }
    *link = in->next;
    in_unlink(pit, in);
    in->next = match->ins;
    match->ins = in;
  }
  match->found = true;
  match->prefix_size = size < match->prefix_size ? size : match->prefix_size;
  entry_end(pit, entry);
}

/* Ends the entries of exactly this name that Data satisfies, whose name it is or begins with it. */
static void satisfy_name(pit_t* pit, uint64_t hash, ndnpkt_name_t name, bool whole, const hop_t* from, uint64_t now_ms,
                         pit_match_t* match) {
  node_t* next = table_find(&pit->table, hash, name);
  while (next != NULL) {
    pit_entry_t* entry = next->entry;
    next = node_match(next->next, hash, name);
    if ((whole || entry->can_be_prefix) && entry->to == from) entry_match(pit, entry, now_ms, match);
  }
}

pit_match_t pit_satisfy(pit_t* pit, ndnpkt_name_t name, const hop_t* from, uint64_t now_ms) {
  pit_match_t match = {NULL, false, name.len};
  uint64_t hash = pit->seed;
  ndnpkt_bytes_t rest = name;
  ndnpkt_tlv_t component;
  while (ndnpkt_tlv_next(&rest, &component) > 0) {
    bool whole = rest.len == 0;
    hash = component_hash(hash, component.whole);
    if (whole || pit->can_be_prefix > 0)
      satisfy_name(pit, hash, (ndnpkt_name_t){name.base, name.len - rest.len}, whole, from, now_ms, &match);
  }
  return match;
}

pit_match_t pit_refuse(pit_t* pit, const ndnpkt_interest_t* interest, const hop_t* from, uint64_t now_ms) {
  pit_match_t match = {NULL, false, interest->name.len};
  pit_entry_t* entry = pit_find(pit, name_hash(pit->seed, interest->name), interest);
  if (entry != NULL && entry->to == from) entry_match(pit, entry, now_ms, &match);
  return match;
}

void pit_release(pit_t* pit, pit_match_t* match) {
  for (pit_in_t* in; (in = match->ins) != NULL; in_free(pit, in)) match->ins = in->next;
}

void pit_sweep(pit_t* pit, uint64_t now_ms) {
  uint64_t tick = now_ms / WHEEL_TICK_MS;
  if (tick > pit->tick + WHEEL_SLOTS) pit->tick = tick - WHEEL_SLOTS; /* once round looks at everything */
  while (pit->tick < tick) {
    pit_entry_t** slot = &pit->wheel[++pit->tick % WHEEL_SLOTS];
    while (*slot != NULL) {
      pit_entry_t* entry = *slot;
      if (entry->expires_ms <= now_ms) {
        entry_end(pit, entry);
        pit->expired++;
      } else { /* renewed since it was filed; never comes back to this slot */
        wheel_remove(entry);
        wheel_add(pit, entry);
      }
    }
  }
}

/* The entry forgets one who waits, and ends with the last. */
static void entry_leave(pit_t* pit, pit_entry_t* entry, const pit_in_t* in) {
  for (pit_in_t** link = &entry->ins; *link != NULL; link = &(*link)->next) {
    if (*link != in) continue;
    *link = in->next;
    break;
  }
  if (entry->ins == NULL) entry_end(pit, entry);
}

/* Costs what the face has, not what there is. */
void pit_forget(pit_t* pit, hop_t* hop) {
  for (pit_entry_t *entry = hop->asked, *next; entry != NULL; entry = next) {
    next = entry->to_next;
    entry_end(pit, entry);
  }
  pit_in_t* next = hop->ins;
  for (pit_in_t* in; (in = next) != NULL;) { /* each is of another entry */
    next = in->hop_next;
    entry_leave(pit, in->entry, in);
    in_unlink(pit, in);
    in_free(pit, in);
  }
}

/* --- Content store ---------------------------------------------------------------------------- */

enum {
  CS_SLACK_BYTES = 1 << 20, /* for what comes between two calls of cs_trim() */
  CS_MOVES_MAX = 64,        /* of one cs_trim(), so that it does not take long */
  HUGE_PAGE_BYTES = 2 << 20
};

struct cs_entry_s {
  node_t exact, prefix; /* entry is NULL while a node is not in the table */
  uint64_t fresh_until_ms;
  size_t size;
  bool found; /* since it came here */
  uint8_t wire[];
};

/* One block, touched here, in huge pages where there are any: else packets pay for the first touch of each page, which
 * costs more than to copy what goes into it. */
int cs_init(cs_t* cs, uint64_t seed, size_t max_bytes) {
  *cs = (cs_t){.seed = seed, .max_bytes = max_bytes};
  if (max_bytes > 0) {
    cs->block_bytes = (max_bytes + CS_SLACK_BYTES + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    cs->block = aligned_alloc(HUGE_PAGE_BYTES, cs->block_bytes);
    if (cs->block == NULL) return -ENOMEM;
    madvise(cs->block, cs->block_bytes, MADV_HUGEPAGE);
    memset(cs->block, 0, cs->block_bytes);
  }
  return table_init(&cs->table);
}

void cs_free(cs_t* cs) {
  free(cs->block);
  free(cs->table.buckets);
}

/* The bytes that an entry takes of the block. */
static size_t cs_room(size_t size) {
  size_t align = _Alignof(cs_entry_t);
  return (sizeof(cs_entry_t) + size + align - 1) / align * align;
}

static cs_entry_t* cs_at(const cs_t* cs, size_t offset) {
  return (void*) (cs->block + offset);
}

uint8_t* cs_place(cs_t* cs, size_t len) {
  size_t room = cs_room(len);
  bool round = cs->free < cs->oldest;                                  /* the newest lie before the oldest */
  size_t left = (round ? cs->oldest - 1 : cs->block_bytes) - cs->free; /* full must not look like empty */
  cs->place = NULL;
  if (room > cs->max_bytes) return NULL;
  if (room <= left)
    cs->place = cs_at(cs, cs->free);
  else if (!round && room < cs->oldest)
    cs->place = cs_at(cs, 0);
  return cs->place != NULL ? cs->place->wire : NULL;
}

/* The packet at the lent place stays. */
static cs_entry_t* cs_keep(cs_t* cs, size_t size, uint64_t fresh_until_ms) {
  cs_entry_t* entry = cs->place;
  size_t at = (size_t) ((uint8_t*) entry - cs->block);
  if (at < cs->free) cs->end = cs->free;
  cs->free = at + cs_room(size);
  cs->bytes += cs_room(size);
  cs->place = NULL;
  entry->exact.entry = entry->prefix.entry = NULL;
  entry->fresh_until_ms = fresh_until_ms;
  entry->size = size;
  entry->found = false;
  return entry;
}

static void cs_list(cs_t* cs, cs_entry_t* entry, node_t* node, uint64_t hash, ndnpkt_name_t name) {
  *node = (node_t){NULL, hash, name, entry};
  table_add(&cs->table, node);
}

static void cs_unlist(cs_t* cs, node_t* node) {
  if (node->entry != NULL) table_remove(&cs->table, node);
  node->entry = NULL;
}

/* Copies an entry to the lent place, under the same names. */
static void cs_move(cs_t* cs, const cs_entry_t* old) {
  cs_entry_t* entry = cs_keep(cs, old->size, old->fresh_until_ms);
  const node_t *exact = &old->exact, *prefix = &old->prefix;
  memcpy(entry->wire, old->wire, old->size);
  const uint8_t* name = entry->wire + (exact->name.base - old->wire);
  cs_list(cs, entry, &entry->exact, exact->hash, (ndnpkt_name_t){name, exact->name.len});
  if (prefix->entry != NULL) cs_list(cs, entry, &entry->prefix, prefix->hash, (ndnpkt_name_t){name, prefix->name.len});
}

static void cs_drop_oldest(cs_t* cs) {
  cs_entry_t* entry = cs_at(cs, cs->oldest);
  size_t room = cs_room(entry->size);
  cs_unlist(cs, &entry->exact);
  cs_unlist(cs, &entry->prefix);
  cs->bytes -= room;
  cs->oldest += room;
  if (cs->bytes == 0)
    cs->oldest = cs->free = 0;
  else if (cs->free < cs->oldest && cs->oldest == cs->end)
    cs->oldest = 0;
}

void cs_trim(cs_t* cs) {
  unsigned int moves = 0;
  while (cs->bytes > cs->max_bytes) {
    const cs_entry_t* entry = cs_at(cs, cs->oldest);
    bool stays = entry->found && entry->exact.entry != NULL && moves < CS_MOVES_MAX;
    if (stays && cs_place(cs, entry->size) != NULL) {
      cs_move(cs, entry);
      moves++;
    }
    cs_drop_oldest(cs);
  }
}

/* The entry that is found under this name: by its own name, or by the prefix it was asked for with. */
static cs_entry_t* cs_lookup(const cs_t* cs, uint64_t hash, ndnpkt_name_t name, bool exact) {
  node_t* node = table_find(&cs->table, hash, name);
  for (; node != NULL; node = node_match(node->next, hash, name)) {
    cs_entry_t* entry = node->entry;
    if (node == (exact ? &entry->exact : &entry->prefix)) return entry;
  }
  return NULL;
}

/* Lists the entry under a prefix of its name, where it takes the place of an older one. */
static void cs_list_prefix(cs_t* cs, cs_entry_t* entry, size_t prefix_size) {
  ndnpkt_name_t prefix = {entry->exact.name.base, prefix_size};
  uint64_t hash = name_hash(cs->seed, prefix);
  cs_entry_t* old = cs_lookup(cs, hash, prefix, false);
  if (old != NULL) cs_unlist(cs, &old->prefix);
  cs_list(cs, entry, &entry->prefix, hash, prefix);
}

void cs_add(cs_t* cs, ndnpkt_bytes_t wire, const ndnpkt_data_t* data, size_t prefix_size, uint64_t now_ms) {
  bool in_place = cs->place != NULL && wire.base == cs->place->wire;
  if (!in_place && cs_place(cs, wire.len) == NULL) return;
  uint64_t fresh_until_ms = data->freshness_ms < UINT64_MAX - now_ms ? now_ms + data->freshness_ms : UINT64_MAX;
  cs_entry_t* entry = cs_keep(cs, wire.len, fresh_until_ms);
  if (!in_place) memcpy(entry->wire, wire.base, wire.len);
  ndnpkt_name_t name = {entry->wire + (data->name.base - wire.base), data->name.len};
  uint64_t hash = name_hash(cs->seed, name);
  cs_entry_t* old = cs_lookup(cs, hash, name, true);
  if (old != NULL) { /* its bytes stay until their turn comes: somebody may hold them until cs_trim() */
    if (old->prefix.entry != NULL && old->prefix.name.len < prefix_size) prefix_size = old->prefix.name.len;
    cs_unlist(cs, &old->exact);
    cs_unlist(cs, &old->prefix);
  }
  cs_list(cs, entry, &entry->exact, hash, name);
  if (prefix_size < name.len) cs_list_prefix(cs, entry, prefix_size);
}

ndnpkt_bytes_t cs_find(cs_t* cs, const ndnpkt_interest_t* interest, uint64_t now_ms) {
  uint64_t hash = name_hash(cs->seed, interest->name);
  for (int exact = 1; exact >= (interest->can_be_prefix ? 0 : 1); exact--) {
    cs_entry_t* entry = cs_lookup(cs, hash, interest->name, exact);
    if (entry != NULL && (entry->fresh_until_ms > now_ms || !interest->must_be_fresh)) {
      entry->found = true;
      return (ndnpkt_bytes_t){entry->wire, entry->size};
    }
  }
  return (ndnpkt_bytes_t){NULL, 0};
}
