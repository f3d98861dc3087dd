/* SPDX-License-Identifier: MIT */
/* sweep.c: what dead engines left under their names is found, and removed if asked.
 *
 * The lock decides: nothing is removed while somebody holds the lock of the region, of the FIFO a2e or of the directory
 * of the FIFOs, and all are held here as long as names are taken away. So an engine that comes meanwhile is refused, as
 * if two started at once, and none loses a name that it has. Only files of this process's effective user are opened: a
 * stranger's can make who opens them wait. Any thread. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "fifo.h"
#include "layout.h"
#include "names.h"
#include "ndnshm.h"
#include "open.h"

#define SHM_DIRECTORY "/dev/shm"
#define FIFO_DIRECTORY "/tmp"
#define SHM_PREFIX "ndn-shm-"
#define FIFO_PREFIX ".ndn-"
#define SOCKET_PREFIX ".ndn-shm-ctl-"
#define SOCKET_HEX 16
#define SOCKET_SUFFIX ".sock"
#define STAGE_HEX 16

/* What is younger may be on its way: a FIFO whose engine is about to lock it, a socket whose server is about to
 * listen. */
#define MIN_AGE_NS INT64_C(1000000000)

/* The call under way. */
typedef struct sweep_s {
  bool removes;
  ndnshm_sweep_cb cb;
  void* arg;
  int files; /* found, or removed */
} sweep_t;

static void tell(sweep_t* sweep, const char* path, int status) {
  if (status == 0) sweep->files++;
  if (sweep->cb != NULL) sweep->cb(sweep->arg, path, status);
}

/* Takes the name away, if that is asked for. */
static void drop(sweep_t* sweep, const char* path) {
  int status = sweep->removes && unlink(path) != 0 ? -errno : 0;

  if (status != -ENOENT) tell(sweep, path, status);
}

static bool is_young(const struct stat* st) {
  struct timespec now;

  clock_gettime(CLOCK_REALTIME, &now);
  return ((int64_t) now.tv_sec - st->st_ctim.tv_sec) * 1000000000 + now.tv_nsec - st->st_ctim.tv_nsec < MIN_AGE_NS;
}

/* --- The names of a face ------------------------------------------------------------------------ */

/* One of the files of a face, while it is looked at. */
typedef struct file_s {
  char path[NDNSHM__NAME_MAX + 40];
  struct stat st;
  int fd; /* with its lock; -1 = not there */
} file_t;

typedef struct face_s {
  file_t stage, region, a2e, e2a; /* e2a is never opened: it belongs to whoever holds the name */
  bool stage_tells;               /* of a2e, which needs not be opened then: its engine is dead */
} face_t;

static void let_go(file_t* file) {
  if (file->fd >= 0) close(file->fd);
  file->fd = -1;
}

/* What has the name, if it is a file of ours and of this type: as a descriptor that can only be asked. -1: nothing. */
static int look(file_t* file, mode_t type, int* ret_looked_fd) {
  ndnshm__error_t ignored;
  int err = ndnshm__look(file->path, ret_looked_fd, &file->st, &ignored);

  if (err == -ENOENT) return 0;
  if (err < 0) return err;
  if ((file->st.st_mode & S_IFMT) == type && file->st.st_uid == geteuid()) return 0;
  close(*ret_looked_fd);
  return -EADDRINUSE;
}

/* Opens what there is and takes its lock. Lookers share it, so that none is taken for an engine (ndnshm__lock). */
static int take(file_t* file, mode_t type, bool for_removal) {
  int looked_fd = -1;
  int err = look(file, type, &looked_fd);

  if (err < 0 || looked_fd < 0) return err;
  file->fd = ndnshm__open_looked_at(looked_fd, file->path, O_RDONLY);
  err = file->fd < 0 ? -errno : 0;
  close(looked_fd);
  if (err == -ENOENT) return 0;
  if (err == 0 && flock(file->fd, (for_removal ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0)
    err = errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
  if (err == 0 && !ndnshm__is_named(file->fd, file->path)) err = -EADDRINUSE; /* somebody is just taking it */
  if (err < 0) let_go(file);
  return err == -EAGAIN ? -EADDRINUSE : err;
}

static void let_go_of_all(face_t* face) {
  let_go(&face->a2e);
  let_go(&face->region);
  let_go(&face->stage);
}

/* Of what is in a sticky directory. */
static bool may_remove(file_t* file) {
  return lstat(file->path, &file->st) == 0 && (geteuid() == 0 || file->st.st_uid == geteuid());
}

/* The directory first: whoever of ours has the name has its lock, and so no FIFO of a live engine is opened. */
static int take_all(face_t* face, bool for_removal) {
  int err = take(&face->stage, S_IFDIR, for_removal);

  face->stage_tells =
      err == 0 && face->stage.fd >= 0 && ndnshm__stage_made(face->stage.fd, face->a2e.path) && may_remove(&face->a2e);
  if (err == 0) err = take(&face->region, S_IFREG, for_removal);
  if (err == 0 && !face->stage_tells) err = take(&face->a2e, S_IFIFO, for_removal);
  if (err < 0) let_go_of_all(face);
  return err;
}

/* True if an engine made the region that held the lock as long as it lived. */
static bool tells_of_lock(const file_t* region) {
  ndnshm__region_header_t h;

  return region->fd >= 0 && pread(region->fd, &h, sizeof(h), 0) == (ssize_t) sizeof(h) && h.magic == NDNSHM__MAGIC &&
         (h.engine_caps & NDNSHM__CAPS_TAG_MASK) == NDNSHM__CAPS_TAG;
}

/* True if nobody reads the FIFO: then no engine lives, whoever made it. Its lock must have been found free, because to
 * an engine of ours who opens a2e for writing and closes it is an app that died. */
static bool is_unread(const file_t* fifo) {
  int looked_fd = -1, fd;
  file_t again = *fifo;
  bool unread;

  if (look(&again, S_IFIFO, &looked_fd) < 0 || looked_fd < 0) return false;
  fd = ndnshm__open_looked_at(looked_fd, fifo->path, O_WRONLY);
  unread = fd < 0 && errno == ENXIO;
  if (fd >= 0) close(fd);
  close(looked_fd);
  return unread;
}

/* The proof that the engine is dead, beyond the locks, which are free: that it would have held one. The directory and a
 * marked FIFO say so (fifo.h), and the header of a region. Engines of other implementations lock nothing: of those a
 * FIFO tells that nobody reads. A region without FIFOs proves nothing: others may have swept them while it lives. */
static int prove_dead(face_t* face) {
  bool has_a2e = face->a2e.fd >= 0, proved;

  if (face->stage_tells) return 0;
  if (has_a2e && is_young(&face->a2e.st) && face->region.fd < 0) return -EADDRINUSE;
  if (tells_of_lock(&face->region)) return 0;
  if (has_a2e && (face->a2e.st.st_mode & S_ISVTX) != 0) return 0;
  let_go(&face->a2e); /* or we would be its reader */
  proved = is_unread(has_a2e ? &face->a2e : &face->e2a);
  return proved ? 0 : -EADDRINUSE;
}

/* As it was when it was looked at, and not truncated since, or gone. */
static bool is_unchanged(const file_t* file) {
  struct stat now;

  return lstat(file->path, &now) != 0 ||
         (now.st_dev == file->st.st_dev && now.st_ino == file->st.st_ino && now.st_size == file->st.st_size &&
          now.st_ctim.tv_sec == file->st.st_ctim.tv_sec && now.st_ctim.tv_nsec == file->st.st_ctim.tv_nsec);
}

/* All locks once more, to remove what was proved to be a dead engine's. One that locks nothing may have come since,
 * with files of its own. */
static int take_all_again(face_t* face) {
  face_t proved = *face;
  int err;

  let_go_of_all(face);
  if ((err = take_all(face, true)) < 0) return err;
  if (face->stage_tells == proved.stage_tells && is_unchanged(&proved.region) && is_unchanged(&proved.a2e) &&
      is_unchanged(&proved.e2a))
    return 0;
  let_go_of_all(face);
  return -EADDRINUSE;
}

/* Nothing of the face is there but perhaps e2a, which has no lock: so its name is taken as an engine takes it. */
static int hold_name(face_t* face, const ndnshm__names_t* names) {
  static const ndnshm__access_t access = {0600, (uid_t) -1, (gid_t) -1};
  ndnshm__error_t ignored;
  int err;

  if (face->stage_tells || face->region.fd >= 0 || face->a2e.fd >= 0) return 0;
  let_go(&face->stage); /* to be opened as an engine's */
  if ((err = ndnshm__stage_open(names, &face->stage.fd, &ignored)) < 0) return err;
  err = ndnshm__fifo_make(face->stage.fd, names->a2e, O_RDONLY, true, &access, &face->a2e.fd, &ignored);
  return err < 0 ? err : ndnshm__fifo_publish(face->a2e.fd, names->a2e, true, &access, &ignored);
}

static bool is_there(file_t* file) {
  return lstat(file->path, &file->st) == 0;
}

static bool is_ours(const file_t* e2a) {
  return S_ISFIFO(e2a->st.st_mode) && e2a->st.st_uid == geteuid();
}

/* An engine gives both its FIFOs to the same user. */
static bool is_of_same_engine(face_t* face) {
  return face->stage_tells && S_ISFIFO(face->e2a.st.st_mode) && is_there(&face->a2e) &&
         face->a2e.st.st_uid == face->e2a.st.st_uid;
}

/* The names go in this order: the proof that the engine is dead goes last. */
static void drop_names(sweep_t* sweep, face_t* face, bool had_a2e, bool had_region) {
  if (is_there(&face->e2a) && (is_ours(&face->e2a) || is_of_same_engine(face))) drop(sweep, face->e2a.path);
  if (had_a2e)
    drop(sweep, face->a2e.path);
  else
    ndnshm__fifo_unlink(face->a2e.fd, face->a2e.path);
  if (had_region) drop(sweep, face->region.path);
}

/* With what is in it, which nobody else sees. */
static void drop_stage(sweep_t* sweep, file_t* stage, const ndnshm__names_t* names, bool is_found) {
  int status = 0;

  if (stage->fd < 0) return;
  if (sweep->removes) {
    ndnshm__stage_close(stage->fd, names);
    stage->fd = -1;
    if (is_there(stage)) status = -ENOTEMPTY;
  }
  if (is_found) tell(sweep, stage->path, status);
}

static void name_files(const char* name, const ndnshm__names_t* names, face_t* ret_face) {
  *ret_face = (face_t){.stage = {.fd = -1}, .region = {.fd = -1}, .a2e = {.fd = -1}, .e2a = {.fd = -1}};
  snprintf(ret_face->stage.path, sizeof(ret_face->stage.path), "%s", names->stage);
  snprintf(ret_face->region.path, sizeof(ret_face->region.path), SHM_DIRECTORY "/" SHM_PREFIX "%s", name);
  snprintf(ret_face->a2e.path, sizeof(ret_face->a2e.path), "%s", names->a2e);
  snprintf(ret_face->e2a.path, sizeof(ret_face->e2a.path), "%s", names->e2a);
}

/* Errors: -ENOENT (nothing has the name), -EADDRINUSE (alive, or not ours, or not proved to be dead), and others. */
static int sweep_face(sweep_t* sweep, const char* name, const ndnshm__names_t* names) {
  face_t face;
  bool has_e2a, had_a2e, had_region;
  int err;

  name_files(name, names, &face);
  if ((err = take_all(&face, false)) < 0) return err;
  had_a2e = face.stage_tells || face.a2e.fd >= 0;
  had_region = face.region.fd >= 0;
  has_e2a = is_there(&face.e2a);
  if (!had_a2e && !had_region) err = !has_e2a ? -ENOENT : is_ours(&face.e2a) ? 0 : -EADDRINUSE;
  if (err == 0) err = prove_dead(&face);
  if (err == 0 && sweep->removes) err = take_all_again(&face);
  if (err == 0 && sweep->removes) err = hold_name(&face, names);
  if (err == 0) drop_names(sweep, &face, had_a2e, had_region);
  if (err == 0) drop_stage(sweep, &face.stage, names, face.stage_tells);
  let_go_of_all(&face);
  return err;
}

/* --- Sockets ------------------------------------------------------------------------------------ */

static bool is_socket_name(const char* name) {
  size_t prefix = sizeof(SOCKET_PREFIX) - 1;

  return strncmp(name, SOCKET_PREFIX, prefix) == 0 && strspn(name + prefix, "0123456789abcdef") == SOCKET_HEX &&
         strcmp(name + prefix + SOCKET_HEX, SOCKET_SUFFIX) == 0;
}

/* A socket that nobody listens to refuses; one that is full, or of another type, has somebody. */
static bool refuses(int looked_fd) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  bool refused;

  if (fd < 0) return false;
  snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", looked_fd);
  refused = connect(fd, (const struct sockaddr*) &address, sizeof(address)) != 0 && errno == ECONNREFUSED;
  close(fd);
  return refused;
}

/* Nobody makes a socket of the same name again, for it is made of a secret that is used once. */
static void sweep_socket(sweep_t* sweep, const char* name) {
  file_t file = {.fd = -1};
  int looked_fd = -1;

  snprintf(file.path, sizeof(file.path), FIFO_DIRECTORY "/%.*s", NDNSHM__NAME_MAX, name); /* it is shorter */
  if (look(&file, S_IFSOCK, &looked_fd) < 0 || looked_fd < 0) return;
  if (!is_young(&file.st) && refuses(looked_fd)) drop(sweep, file.path);
  close(looked_fd);
}

/* --- Directories where FIFOs are made ------------------------------------------------------------ */

static bool is_stage_name(const char* name) {
  size_t prefix = sizeof(FIFO_PREFIX) - 1;

  return strncmp(name, FIFO_PREFIX, prefix) == 0 && strspn(name + prefix, "0123456789abcdef") == STAGE_HEX &&
         name[prefix + STAGE_HEX] == '\0';
}

/* One that tells of no face's engine any more; the others have been swept with the faces, or seen. */
static void sweep_stage(sweep_t* sweep, const char* name) {
  ndnshm__names_t names = {.a2e = ""};
  file_t dir = {.fd = -1};

  snprintf(names.stage, sizeof(names.stage), FIFO_DIRECTORY "/%.*s", (int) (sizeof(FIFO_PREFIX) - 1 + STAGE_HEX), name);
  snprintf(dir.path, sizeof(dir.path), "%s", names.stage);
  if (!is_there(&dir) || is_young(&dir.st)) return; /* first: the lock keeps engines out */
  if (take(&dir, S_IFDIR, sweep->removes) < 0) return;
  if (!ndnshm__stage_is_linked(dir.fd)) drop_stage(sweep, &dir, &names, true);
  let_go(&dir);
}

/* --- All of them -------------------------------------------------------------------------------- */

/* A face that a file in one of the directories belongs to. Of its files only the first that is there speaks for it. */
static void sweep_name(sweep_t* sweep, const char* name, bool is_region) {
  ndnshm__names_t names;
  ndnshm__error_t ignored;
  face_t face;

  if (ndnshm__names_init(name, &names, &ignored) < 0) return;
  name_files(name, &names, &face);
  if (!is_region && is_there(&face.region)) return;
  (void) sweep_face(sweep, name, &names); /* what is not to be removed is no failure of the whole */
}

static void sweep_region(sweep_t* sweep, const char* file) {
  if (strncmp(file, SHM_PREFIX, sizeof(SHM_PREFIX) - 1) == 0) sweep_name(sweep, file + sizeof(SHM_PREFIX) - 1, true);
}

static bool is_e2a_beside_a2e(const char* name, const char* suffix) {
  file_t a2e;

  snprintf(a2e.path, sizeof(a2e.path), FIFO_DIRECTORY "/" FIFO_PREFIX "%s.a2e.pipe", name);
  return strcmp(suffix, ".e2a.pipe") == 0 && is_there(&a2e);
}

static void sweep_fifo(sweep_t* sweep, const char* file) {
  char name[NDNSHM__NAME_MAX + 1];
  size_t prefix = sizeof(FIFO_PREFIX) - 1, suffix = sizeof(".a2e.pipe") - 1, len = strlen(file);
  const char* end;

  if (len <= prefix + suffix || len - prefix - suffix > NDNSHM__NAME_MAX || strncmp(file, FIFO_PREFIX, prefix) != 0)
    return;
  end = file + len - suffix;
  if (strcmp(end, ".a2e.pipe") != 0 && strcmp(end, ".e2a.pipe") != 0) return;
  snprintf(name, sizeof(name), "%.*s", (int) (len - prefix - suffix), file + prefix);
  if (!is_e2a_beside_a2e(name, end)) sweep_name(sweep, name, false);
}

static void sweep_other(sweep_t* sweep, const char* file) {
  if (is_socket_name(file)) sweep_socket(sweep, file);
  if (is_stage_name(file)) sweep_stage(sweep, file);
}

static int for_each(sweep_t* sweep, const char* directory, void (*visit)(sweep_t* sweep, const char* file)) {
  DIR* dir = opendir(directory);
  struct dirent* entry;

  if (dir == NULL) return -errno;
  for (;;) {
    errno = 0;
    entry = readdir(dir);
    if (entry == NULL) break;
    visit(sweep, entry->d_name);
  }
  closedir(dir);
  return 0;
}

int ndnshm_sweep(const char* name, unsigned int flags, ndnshm_sweep_cb cb, void* arg) {
  sweep_t sweep = {.removes = (flags & NDNSHM_SWEEP_REMOVE) != 0, .cb = cb, .arg = arg};
  ndnshm__names_t names;
  ndnshm__error_t ignored;
  int err;

  if ((flags & ~(unsigned int) NDNSHM_SWEEP_REMOVE) != 0) return -EINVAL;
  if (name != NULL) {
    err = ndnshm__names_init(name, &names, &ignored);
    if (err == 0) err = sweep_face(&sweep, name, &names);
  } else {
    err = for_each(&sweep, SHM_DIRECTORY, sweep_region);
    if (err == 0) err = for_each(&sweep, FIFO_DIRECTORY, sweep_fifo);
    if (err == 0) err = for_each(&sweep, FIFO_DIRECTORY, sweep_other);
  }
  return err < 0 ? err : sweep.files;
}
