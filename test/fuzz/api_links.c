/* SPDX-License-Identifier: MIT */
/* api_links.c: what lies between two ends, and the hand of a hostile peer in it: see api.h.
 *
 * The hand has a mapping of its own, and descriptors of its own; whatever it touches is marked as poked, and no promise
 * about its packets is held to the product any more. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../lib/layout.h"
#include "api.h"

static link_t* links[LINKS_MAX];
static unsigned int nlinks;
static sandbox_names_t names[NAMES];

void links_begin(void) {
  if (names[0].face[0] == '\0') {
    sandbox_names("api-a", &names[0]);
    sandbox_names("api-b", &names[1]);
  }
  nlinks = 0;
}

static void close_fd(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

void link_drop_raw(link_t* link) {
  for (int i = 0; i < 3; i++) close_fd(&link->raw[i]);
}

static void unmap(link_t* link) {
  if (link->map != NULL) munmap(link->map, link->map_bytes);
  link->map = NULL;
}

/* The product has closed everything: no name may be left. */
void links_end(void) {
  for (unsigned int i = 0; i < nlinks; i++) {
    link_drop_raw(links[i]);
    unmap(links[i]);
    free(links[i]);
  }
  for (int i = 0; i < NAMES; i++) {
    char path[112];

    snprintf(path, sizeof(path), "/dev/shm%s", names[i].shm);
    FUZZ_REQUIRE(access(path, F_OK) < 0 && access(names[i].a2e, F_OK) < 0 && access(names[i].e2a, F_OK) < 0);
  }
}

link_t* link_new(link_kind_t kind) {
  link_t* link;

  if (nlinks == LINKS_MAX) return NULL;
  link = calloc(1, sizeof(*link));
  FUZZ_REQUIRE(link != NULL);
  link->kind = kind;
  link->raw[0] = link->raw[1] = link->raw[2] = -1;
  link->ledgers[0].tag = (uint8_t) (2 * nlinks);
  link->ledgers[1].tag = (uint8_t) (2 * nlinks + 1);
  links[nlinks++] = link;
  return link;
}

link_t* link_get(unsigned int i) {
  return nlinks > 0 ? links[i % nlinks] : NULL;
}

const char* link_name(unsigned int name) {
  return names[name % NAMES].face;
}

/* --- What the hand holds ------------------------------------------------------------------------ */

static void map_region(link_t* link, int fd) {
  struct stat st;

  FUZZ_REQUIRE(fstat(fd, &st) == 0);
  link->map_bytes = (size_t) st.st_size;
  link->map = mmap(NULL, link->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  FUZZ_REQUIRE(link->map != MAP_FAILED);
}

/* A named region has its name until an app has come. */
void link_hold_region(link_t* link, const uvface_t* engine) {
  int fds[3];

  if (link->kind == BY_NAME) {
    fds[0] = shm_open(names[link->name].shm, O_RDWR | O_CLOEXEC, 0);
    FUZZ_REQUIRE(fds[0] >= 0);
    map_region(link, fds[0]);
    link->raw[0] = fds[0];
  } else {
    FUZZ_REQUIRE(uvface_app_fds(engine, fds) == 0);
    map_region(link, fds[0]);
  }
}

void link_hold_descriptors(link_t* link, const uvface_t* engine) {
  int fds[3];

  if (link->raw[1] >= 0 || uvface_app_fds(engine, fds) < 0) return;
  link_drop_raw(link);
  for (int i = 0; i < 3; i++) {
    link->raw[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);
    FUZZ_REQUIRE(link->raw[i] >= 0);
  }
}

void link_mark_poked(link_t* link) {
  link->ledgers[0].poked = link->ledgers[1].poked = true;
}

/* --- What it does ------------------------------------------------------------------------------- */

static void write_raw(int fd, size_t bytes, bool is_socket) {
  static char garbage[300];

  if (garbage[0] == 0)
    for (size_t i = 0; i < sizeof(garbage); i++) garbage[i] = (char) (i % 7 == 0 ? 6 : i);
  if (bytes > sizeof(garbage)) bytes = sizeof(garbage);
  sandbox_may_sigpipe = true;
  if (is_socket)
    (void) !send(fd, garbage, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
  else
    (void) !write(fd, garbage, bytes);
  sandbox_may_sigpipe = false;
}

/* Wakes an end for nothing, or many times; reads what was meant for another; closes one end of two; on a stream: writes
 * what is no packet. */
static void use_descriptors(link_t* link, uint8_t where, uint8_t value) {
  static char sink[4096];
  int fd = link->raw[link->kind == BY_STREAM ? 0 : 1 + where % 2];
  struct stat st;

  if (link->kind == BY_NAME) {
    for (unsigned int i = 0; i < nlinks; i++) /* whosever FIFOs these are by now */
      if (links[i]->kind == BY_NAME && links[i]->name == link->name) link_mark_poked(links[i]);
    fd = open(where % 2 == 0 ? names[link->name].a2e : names[link->name].e2a, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return;
    write_raw(fd, value, false);
    close(fd);
    return;
  }
  if (fd < 0) return;
  FUZZ_REQUIRE(fstat(fd, &st) == 0);
  switch (where / 2 % 4) {
    case 0: write_raw(fd, value, S_ISSOCK(st.st_mode)); break;
    case 1: (void) !(S_ISSOCK(st.st_mode) ? recv(fd, sink, value, MSG_DONTWAIT) : read(fd, sink, value)); break;
    case 2:
      if (S_ISSOCK(st.st_mode)) shutdown(fd, value % 3);
      break;
    default: close_fd(&link->raw[link->kind == BY_STREAM ? 0 : 1 + where % 2]); break;
  }
}

/* Values that stand at an edge, beside others. */
static uint32_t pick_value(const uint32_t* word, uint8_t value) {
  switch (value >> 5) {
    case 0: return value & 31u;
    case 1: return *word + (value & 31u);
    case 2: return *word - (value & 31u);
    case 3: return 1u << (value & 31u);
    case 4: return 0xffffffffu - (value & 31u);
    case 5: return *word ^ 1u << (value & 31u);
    case 6: return 0x55460000u | (value & 31u);
    default: return 1000u * (value & 31u);
  }
}

/* Header words: those at the start, and the first of each cache line. */
static size_t header_offset(uint8_t where) {
  where %= 14;
  return where < 8 ? 4u * where : 64u * (where - 7u);
}

static void write_word(link_t* link, size_t offset, uint8_t value) {
  uint32_t* word;

  if (link->map == NULL || offset / 4 * 4 + 4 > link->map_bytes) return;
  word = (uint32_t*) (void*) (link->map + offset / 4 * 4);
  __atomic_store_n(word, pick_value(word, value), __ATOMIC_RELAXED);
}

/* Only where every face has its guard: without one the process would end, as documented. */
static void truncate_region(link_t* link, uint8_t value) {
  if (link->kind != BY_NAME || link->raw[0] < 0 || link->unguarded > 0 || link->open[0] + link->open[1] == 0) return;
  unmap(link);
  if (ftruncate(link->raw[0], value % 2 == 0 ? 0 : 448) == 0) link->lost = true; /* else it is sealed */
}

void link_poke(link_t* link, uint8_t what, uint8_t where, uint8_t value) {
  if (link == NULL) return;
  link_mark_poked(link);
  switch (what % 8) {
    case 0:
    case 1:
    case 2: write_word(link, header_offset(where), value); break;
    case 3: write_word(link, NDNSHM__HEADER_BYTES + 4u * where, value); break;
    case 4: write_word(link, link->map_bytes / 2 + 4u * where, value); break;
    case 5:
    case 6: use_descriptors(link, where, value); break;
    default: truncate_region(link, value); break;
  }
}
