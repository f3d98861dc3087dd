/* SPDX-License-Identifier: MIT */
/* stat_faces.c: names, regions and processes become faces. Files are known by their inodes: under a path that a process
 * knows, another file may lie by now, or for us. What is under a name but no region stays in the list, with what is
 * wrong with it. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "stat.h"

static void say(face_t* face, const char* what, int err) {
  if (face->missing[0] == '\0')
    snprintf(face->missing, sizeof(face->missing), "%s%s%s", what, err != 0 ? ": " : "",
             err != 0 ? strerror(-err) : "");
}

static face_t* find_name(faces_t* faces, const char* name) {
  for (size_t i = 0; i < faces->faces.n; i++)
    if (strcmp(faces->faces.items[i].name, name) == 0) return &faces->faces.items[i];
  return NULL;
}

static face_t* find_region(faces_t* faces, dev_t dev, ino_t ino) {
  for (size_t i = 0; i < faces->faces.n; i++) {
    face_t* face = &faces->faces.items[i];

    if (face->has_region && face->dev == dev && face->ino == ino) return face;
  }
  return NULL;
}

static face_t* find_a2e(faces_t* faces, dev_t dev, ino_t ino) {
  for (size_t i = 0; i < faces->faces.n; i++) {
    face_t* face = &faces->faces.items[i];

    if (face->a2e_ino != 0 && face->a2e_dev == dev && face->a2e_ino == ino) return face;
  }
  return NULL;
}

static face_t* add(faces_t* faces, const char* name) {
  face_t* face = LIST_ADD(&faces->faces);

  snprintf(face->name, sizeof(face->name), "%s", name);
  face->sealed = -1;
  return face;
}

/* --- Names -------------------------------------------------------------------------------------- */

static void for_each(const char* directory, void (*visit)(faces_t* faces, const char* file, const struct stat* st),
                     faces_t* faces) {
  DIR* dir = opendir(directory);
  struct dirent* entry;
  char path[NAME_BYTES + 32];
  struct stat st;

  if (dir == NULL) return;
  while ((entry = readdir(dir)) != NULL) {
    snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
    if (lstat(path, &st) == 0) visit(faces, entry->d_name, &st);
  }
  closedir(dir);
}

static void visit_region(faces_t* faces, const char* file, const struct stat* st) {
  face_t* face;

  if (strncmp(file, REGION_PREFIX, sizeof(REGION_PREFIX) - 1) != 0) return;
  face = add(faces, file + sizeof(REGION_PREFIX) - 1);
  face->has_region_name = face->has_region = face->has_owner = true;
  face->dev = st->st_dev;
  face->ino = st->st_ino;
  face->owner = st->st_uid;
  face->bytes = (uint64_t) st->st_size;
  if (!S_ISREG(st->st_mode)) say(face, "the name is taken by what is not a regular file", 0);
}

static void visit_fifo(faces_t* faces, const char* file, const struct stat* st) {
  char name[NAME_BYTES];
  bool is_a2e;
  face_t* face;

  if (!fifo_name(file, name, &is_a2e)) return;
  face = find_name(faces, name);
  if (face == NULL) face = add(faces, name);
  if (!face->has_owner) {
    face->has_owner = true;
    face->owner = st->st_uid;
  }
  if (!is_a2e) return;
  face->a2e_dev = st->st_dev;
  face->a2e_ino = st->st_ino;
}

/* --- Processes ---------------------------------------------------------------------------------- */

/* An app knows its region by name even after the name is gone. */
static const char* name_in(const char* path) {
  static const char prefix[] = SHM_DIRECTORY "/" REGION_PREFIX;

  return strncmp(path, prefix, sizeof(prefix) - 1) == 0 ? path + sizeof(prefix) - 1 : "";
}

static bool is_memory(const use_t* use) {
  return strncmp(use->path, "/memfd:", 7) == 0;
}

/* "/memfd:ndn-shm:PID", or 0. */
static pid_t maker_in(const char* path) {
  static const char prefix[] = "/memfd:ndn-shm:";
  const char* digits = path + sizeof(prefix) - 1;
  size_t n;

  if (strncmp(path, prefix, sizeof(prefix) - 1) != 0) return 0;
  n = strspn(digits, "0123456789");
  return n > 0 && n < 10 && digits[n] == '\0' ? (pid_t) strtol(digits, NULL, 10) : 0;
}

static void take_region(face_t* face, const use_t* use) {
  face->has_region = true;
  face->dev = use->dev;
  face->ino = use->ino;
  face->is_private = is_memory(use);
  face->maker = maker_in(use->path);
}

/* The name that a process knows a region by does not make it the region of the face that has this name now. */
static face_t* face_of(faces_t* faces, const use_t* use) {
  face_t* face = find_region(faces, use->dev, use->ino);

  if (face == NULL) {
    face = add(faces, "");
    take_region(face, use);
  }
  face->had_name = face->had_name || name_in(use->path)[0] != '\0';
  return face;
}

/* First comes who is known best: the holder of a lock, then the readers and writers of FIFOs, then who has the
 * region. */
static void join_locks(faces_t* faces, const procs_t* procs) {
  for (size_t i = 0; i < faces->faces.n; i++) {
    face_t* face = &faces->faces.items[i];

    for (size_t k = 0; k < procs->locks.n && face->engine.pid == 0; k++) {
      const lock_t* lock = &procs->locks.items[k];

      if ((face->has_region && lock->dev == face->dev && lock->ino == face->ino) ||
          (face->a2e_ino != 0 && lock->dev == face->a2e_dev && lock->ino == face->a2e_ino))
        face->engine = process_of(lock->pid);
    }
  }
}

static void join_ends(faces_t* faces, const procs_t* procs) {
  for (size_t k = 0; k < procs->ends.n; k++) {
    const end_t* end = &procs->ends.items[k];
    face_t* face = find_a2e(faces, end->dev, end->ino);

    if (face == NULL || end->reads == end->writes) continue;
    if (end->reads && face->engine.pid == 0) face->engine = end->process;
    if (end->writes && face->app.pid == 0) face->app = end->process;
  }
}

static bool has_mapped(const procs_t* procs, pid_t pid, const use_t* region) {
  for (size_t k = 0; k < procs->uses.n; k++) {
    const use_t* use = &procs->uses.items[k];

    if (use->is_mapped && use->process.pid == pid && use->dev == region->dev && use->ino == region->ino) return true;
  }
  return false;
}

/* A sealed region has lost its name, which its app still knows. A face that has this name now is the same if one of the
 * two ends of its FIFO has that region: an app that hangs may have the region of an engine that is long dead. */
static void join_known_to_app(faces_t* faces, const procs_t* procs) {
  for (size_t k = 0; k < procs->uses.n; k++) {
    const use_t* use = &procs->uses.items[k];
    const char* name = name_in(use->path);
    face_t* face = name[0] != '\0' ? find_name(faces, name) : NULL;

    if (face == NULL || face->has_region || find_region(faces, use->dev, use->ino) != NULL) continue;
    if ((face->engine.pid != 0 && has_mapped(procs, face->engine.pid, use)) ||
        (face->app.pid != 0 && face->app.pid == use->process.pid))
      take_region(face, use);
  }
}

/* An engine knows its sealed region by no name, but it has the FIFO that has one. */
static void join_sealed(faces_t* faces, const procs_t* procs) {
  for (size_t i = 0; i < faces->faces.n; i++) {
    face_t* named = &faces->faces.items[i];
    const use_t* found = NULL;
    unsigned int n = 0;

    if (named->has_region || named->engine.pid == 0) continue;
    for (size_t k = 0; k < procs->uses.n; k++) {
      const use_t* use = &procs->uses.items[k];

      if (use->process.pid != named->engine.pid || !use->is_mapped || is_memory(use)) continue;
      if (name_in(use->path)[0] != '\0' || find_region(faces, use->dev, use->ino) != NULL) continue;
      found = use;
      n++;
    }
    if (n == 1) take_region(named, found);
  }
}

static void join_use(face_t* face, const use_t* use) {
  bool may_be_engine = face->is_private || !use->is_mapped; /* an app has nothing but the mapping */

  if (use->process.pid == face->engine.pid || use->process.pid == face->app.pid) return;
  if (face->engine.pid == 0 && may_be_engine)
    face->engine = use->process;
  else if (face->app.pid == 0)
    face->app = use->process;
  else
    face->others++;
}

static bool is_owner(const face_t* face, const process_t* end) {
  return face->has_owner && end->uid == face->owner;
}

static bool is_maker(const face_t* face, const process_t* end) {
  return face->maker != 0 && own_pid_of(end->pid) == face->maker;
}

/* Both ends of a private face have the same. The engine is known by what is true of one of them alone: by the owner of
 * the region, which nobody can choose, before the region's name. If one end alone is seen, the PID in that name may be
 * of a namespace where the other is. */
static void settle_roles(face_t* face) {
  process_t first = face->engine, second = face->app;
  bool is_second = false;

  if (!face->is_private || first.pid == 0) return;
  face->roles_unknown = second.pid == 0;
  if (face->roles_unknown) return;
  if (is_owner(face, &first) != is_owner(face, &second))
    is_second = is_owner(face, &second);
  else if (is_maker(face, &first) != is_maker(face, &second))
    is_second = is_maker(face, &second);
  else
    face->roles_unknown = true;
  if (!is_second) return;
  face->engine = second;
  face->app = first;
}

/* --- Regions ------------------------------------------------------------------------------------ */

static const char needs_root[] =
    "its header needs root (CAP_CHECKPOINT_RESTORE, or CAP_SYS_PTRACE), or may be read by who may trace its processes";

/* A private region that no process has open can be read through a mapping of it, by root, or in a process's memory. */
static int open_by_use(const procs_t* procs, face_t* face, source_t* ret_source) {
  const use_t* mapped = NULL;

  for (size_t k = 0; k < procs->uses.n; k++) {
    const use_t* use = &procs->uses.items[k];

    if (use->dev != face->dev || use->ino != face->ino) continue;
    if (source_open(use->at, true, ret_source, &face->owner) == 0) {
      face->has_owner = true;
      face->bytes = ret_source->bytes;
      return 0;
    }
    if (use->is_mapped) mapped = use;
  }
  if (mapped == NULL) return -EACCES;
  *ret_source = (source_t){.fd = -1, .pid = mapped->process.pid, .address = mapped->address, .bytes = mapped->bytes};
  return 0;
}

static int open_region(const procs_t* procs, face_t* face, source_t* ret_source) {
  char path[NAME_BYTES + 32];
  int err;

  if (!face->has_region_name) return open_by_use(procs, face, ret_source);
  snprintf(path, sizeof(path), SHM_DIRECTORY "/" REGION_PREFIX "%s", face->name);
  err = source_open(path, false, ret_source, &face->owner);
  if (err == 0) face->bytes = ret_source->bytes;
  /* A region that was sealed a moment ago has lost its name. */
  return (err == -EACCES || err == -ENOENT) && open_by_use(procs, face, ret_source) == 0 ? 0 : err;
}

static void explain(face_t* face, int err) {
  if (!face->has_region_name)
    say(face, needs_root, 0);
  else if (err == -EAGAIN)
    say(face, "its owner has a lease of the region", 0);
  else if (err == -EACCES)
    say(face, "the region may be read by its owner and root", err);
  else if (err == -ENODATA)
    say(face, "the region is shorter than a header", 0);
  else
    say(face, "the region cannot be read", err);
}

static uint32_t since(uint32_t now, const face_t* before, bool is_a2e) {
  if (before == NULL || !before->has_header) return UINT32_MAX;
  return now - (is_a2e ? before->header.a2e.tail : before->header.e2a.tail);
}

/* A tail only grows. One that went back, or on by half of all numbers, was written by who may write anything. */
static rate_t rate_of(uint32_t packets, double mean_bytes, double seconds) {
  if (packets > INT32_MAX || seconds <= 0) return (rate_t){.is_known = false};
  return (rate_t){true, packets / seconds, packets * mean_bytes / seconds};
}

/* Its processes would lead to it. */
static void explain_no_region(face_t* face, unsigned int hidden) {
  say(face,
      hidden > 0 ? "the region has no name any more, sealed or removed: root sees its header, its packets and its app"
                 : "the region has no name any more: sealed, or removed",
      0);
}

static void read_region(const procs_t* procs, face_t* face, const face_t* before) {
  source_t source = {.fd = -1};
  uint32_t a2e, e2a;
  int err;

  if (!face->has_region) {
    explain_no_region(face, procs->hidden);
    return;
  }
  if (face->missing[0] != '\0') return;
  err = open_region(procs, face, &source);
  if (err == 0) err = source_read_header(&source, &face->header);
  if (err < 0) {
    explain(face, err);
    source_close(&source);
    return;
  }
  face->header_s = now_s();
  face->has_header = face->header.magic == MAGIC;
  if (!face->has_header) say(face, "the region has no header of a face", 0);
  face->sealed = source_is_sealed(&source);
  a2e = since(face->header.a2e.tail, before, true);
  e2a = since(face->header.e2a.tail, before, false);
  if (face->has_header) {
    face->a2e_bytes = source_mean_bytes(&source, &face->header, true, a2e);
    face->e2a_bytes = source_mean_bytes(&source, &face->header, false, e2a);
  }
  if (face->has_header && before != NULL && before->has_header) {
    face->a2e_rate = rate_of(a2e, face->a2e_bytes, face->header_s - before->header_s);
    face->e2a_rate = rate_of(e2a, face->e2a_bytes, face->header_s - before->header_s);
  }
  source_close(&source);
}

static const face_t* same_before(const faces_t* before, const face_t* face) {
  for (size_t i = 0; before != NULL && face->has_region && i < before->faces.n; i++) {
    const face_t* old = &before->faces.items[i];

    if (old->has_region && old->dev == face->dev && old->ino == face->ino && strcmp(old->name, face->name) == 0)
      return old;
  }
  return NULL;
}

/* A region that never had a name, and that nothing else tells to be a face's, is one if it looks like it. */
static bool is_face(const face_t* face) {
  return face->name[0] != '\0' || face->had_name || face->is_private || face->has_header;
}

/* --- Dead or alive ------------------------------------------------------------------------------ */

static bool is_stale(const stales_t* stales, const face_t* face) {
  char region[NAME_BYTES + 32], a2e[NAME_BYTES + 32], e2a[NAME_BYTES + 32];

  snprintf(region, sizeof(region), SHM_DIRECTORY "/" REGION_PREFIX "%s", face->name);
  snprintf(a2e, sizeof(a2e), FIFO_DIRECTORY "/" FIFO_PREFIX "%s.a2e.pipe", face->name);
  snprintf(e2a, sizeof(e2a), FIFO_DIRECTORY "/" FIFO_PREFIX "%s.e2a.pipe", face->name);
  for (size_t i = 0; i < stales->items.n; i++) {
    const char* path = stales->items.items[i].path;

    if (strcmp(path, region) == 0 || strcmp(path, a2e) == 0 || strcmp(path, e2a) == 0) return true;
  }
  return false;
}

/* No lock tells of an app, only a look into its process does; and traces in the header tell that there was one. An app
 * of this library takes its caps back when it leaves; one of ndn-rs announces none, so nothing tells how it went. */
static state_t judge_app(const face_t* face, unsigned int hidden) {
  const header_t* h = &face->header;

  if (face->app.pid != 0) return ALIVE;
  if (hidden > 0 || face->roles_unknown || !face->has_header) return UNKNOWN;
  if ((h->app_caps & CAPS_TAG_MASK) == CAPS_TAG) return DEAD;
  return h->a2e.tail != 0 || h->e2a.head != 0 ? GONE : NONE;
}

static void judge(faces_t* faces) {
  stales_t stales = {.is_incomplete = false};
  size_t unknown = 0;

  for (size_t i = 0; i < faces->faces.n; i++) {
    face_t* face = &faces->faces.items[i];

    if (face->engine.pid != 0) face->state = ALIVE;
    face->app_state = judge_app(face, faces->hidden);
    unknown += face->state == UNKNOWN;
  }
  if (unknown > 0) stales_scan(&stales, false, true);
  for (size_t i = 0; i < faces->faces.n; i++) {
    face_t* face = &faces->faces.items[i];

    if (face->state == UNKNOWN && is_stale(&stales, face)) face->state = DEAD;
    if (face->state == UNKNOWN)
      say(face,
          geteuid() == 0 || geteuid() == face->owner ? "nothing proves whether its engine lives"
                                                     : "whether its engine lives can be told by its owner, or root",
          0);
  }
  stales_free(&stales);
}

/* --- All of them -------------------------------------------------------------------------------- */

static int by_name(const void* a, const void* b) {
  const face_t *first = a, *second = b;
  int order = strcmp(first->name, second->name);

  if (order != 0) return order;
  return (first->ino > second->ino) - (first->ino < second->ino);
}

static void drop_others(faces_t* faces) {
  size_t kept = 0;

  for (size_t i = 0; i < faces->faces.n; i++)
    if (is_face(&faces->faces.items[i])) faces->faces.items[kept++] = faces->faces.items[i];
  faces->faces.n = kept;
}

static double since_1970_s(void) {
  struct timespec now;

  clock_gettime(CLOCK_REALTIME, &now);
  return (double) now.tv_sec + (double) now.tv_nsec * 1e-9;
}

void faces_scan(faces_t* faces, const faces_t* before) {
  procs_t procs;

  *faces = (faces_t){.time_s = since_1970_s()};
  procs_scan(&procs);
  faces->hidden = procs.hidden;
  for_each(SHM_DIRECTORY, visit_region, faces);
  for_each(FIFO_DIRECTORY, visit_fifo, faces);
  join_locks(faces, &procs);
  join_ends(faces, &procs);
  join_known_to_app(faces, &procs);
  join_sealed(faces, &procs);
  for (size_t k = 0; k < procs.uses.n; k++) join_use(face_of(faces, &procs.uses.items[k]), &procs.uses.items[k]);
  for (size_t i = 0; i < faces->faces.n; i++) {
    face_t* face = &faces->faces.items[i];

    read_region(&procs, face, same_before(before, face));
    settle_roles(face);
  }
  drop_others(faces);
  judge(faces);
  if (faces->faces.n > 0) qsort(faces->faces.items, faces->faces.n, sizeof(face_t), by_name);
  procs_free(&procs);
}

void faces_free(faces_t* faces) {
  free(faces->faces.items);
  *faces = (faces_t){.hidden = 0};
}

/* --- Which of them -------------------------------------------------------------------------------- */

void face_label(const face_t* face, char* ret, size_t bytes) {
  snprintf(ret, bytes, "%s:%llu", face->is_private ? "private" : "unnamed", (unsigned long long) face->ino);
}

/* As in the library: no engine gives another name, and none looks like a label. */
static bool is_name(const char* name) {
  static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  size_t n = strspn(name, set);

  return n > 0 && n <= 200 && name[n] == '\0' && name[0] != '.';
}

bool face_is_called(const face_t* face, const char* text) {
  char label[64];
  size_t n;

  if (face->name[0] != '\0') return is_name(face->name) && strcmp(face->name, text) == 0;
  face_label(face, label, sizeof(label));
  n = strlen(label);
  if (text[0] == '(') return strncmp(text + 1, label, n) == 0 && strcmp(text + 1 + n, ")") == 0;
  return strcmp(text, label) == 0;
}

bool face_is_on(const face_t* face, const char* pid_text) {
  size_t digits = strspn(pid_text, "0123456789");
  long pid;

  if (digits == 0 || digits > 9 || pid_text[digits] != '\0') return false;
  pid = strtol(pid_text, NULL, 10);
  return pid != 0 && (face->engine.pid == pid || face->app.pid == pid); /* 0: nobody is there */
}

const char* faces_why_none(const faces_t* faces, const char* text) {
  const char* label = text[0] == '(' ? text + 1 : text;

  if (text[0] != '\0' && text[strspn(text, "0123456789")] == '\0')
    return faces->hidden > 0 ? "no such face, and no process of this number is seen on one (root sees all)"
                             : "no such face, and no process of this number is on one";
  if (faces->hidden > 0 && (strncmp(label, "private:", 8) == 0 || strncmp(label, "unnamed:", 8) == 0))
    return "no such face is seen (root sees all)";
  return "no such face";
}

int faces_open(face_t* face, source_t* ret_source) {
  source_t source = {.fd = -1};
  struct stat st;
  procs_t procs;
  int err;

  procs_scan(&procs);
  err = open_region(&procs, face, &source);
  procs_free(&procs);
  if (err == 0 && source.fd >= 0 && fstat(source.fd, &st) == 0 && (st.st_dev != face->dev || st.st_ino != face->ino)) {
    source_close(&source);
    err = -ESTALE;
  }
  if (err == 0) *ret_source = source;
  return err;
}
