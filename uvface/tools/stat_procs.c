/* SPDX-License-Identifier: MIT */
/* stat_procs.c: processes: which regions they map or hold open, which FIFOs, which locks. Asks /proc, as lsof(8) does:
 * no process notices. Into a process of another user only root looks; the locks of all are told to everybody. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "stat.h"

#define DELETED " (deleted)"

void list_grow(void** items, size_t* room, size_t n, size_t item_bytes) {
  if (n == *room) {
    size_t more = n > 0 ? 2 * n : 16;
    void* grown = realloc(*items, more * item_bytes);

    if (grown == NULL) {
      fprintf(stderr, "%s: out of memory\n", program_invocation_short_name);
      exit(EXIT_FAILURE);
    }
    *items = grown;
    *room = more;
  }
  memset((char*) *items + n * item_bytes, 0, item_bytes);
}

bool fifo_name(const char* file, char ret_name[NAME_BYTES], bool* ret_is_a2e) {
  size_t prefix = sizeof(FIFO_PREFIX) - 1, suffix = sizeof(".a2e.pipe") - 1, len = strlen(file);

  if (len <= prefix + suffix || len - prefix - suffix >= NAME_BYTES || strncmp(file, FIFO_PREFIX, prefix) != 0)
    return false;
  *ret_is_a2e = strcmp(file + len - suffix, ".a2e.pipe") == 0;
  if (!*ret_is_a2e && strcmp(file + len - suffix, ".e2a.pipe") != 0) return false;
  memcpy(ret_name, file + prefix, len - prefix - suffix);
  ret_name[len - prefix - suffix] = '\0';
  return true;
}

/* --- One process --------------------------------------------------------------------------------- */

process_t process_of(pid_t pid) {
  process_t process = {.pid = pid, .uid = (uid_t) -1};
  char path[64];
  struct stat st;
  FILE* file;

  snprintf(path, sizeof(path), "/proc/%ld", (long) pid);
  if (stat(path, &st) == 0) process.uid = st.st_uid;
  snprintf(path, sizeof(path), "/proc/%ld/comm", (long) pid);
  file = fopen(path, "re");
  if (file != NULL) {
    size_t n = fread(process.program, 1, sizeof(process.program) - 1, file);

    if (n > 0 && process.program[n - 1] == '\n') process.program[n - 1] = '\0';
    fclose(file);
  }
  return process;
}

/* "NSpid:" has the PIDs in all namespaces, from ours to its own. A kernel without namespaces has no such line. */
pid_t own_pid_of(pid_t pid) {
  char path[64];
  char* line = NULL;
  size_t room = 0;
  pid_t own = pid;
  FILE* file;

  snprintf(path, sizeof(path), "/proc/%ld/status", (long) pid);
  file = fopen(path, "re");
  if (file == NULL) return 0;
  while (getline(&line, &room, file) >= 0) {
    const char* last = strrchr(line, '\t');

    if (last != NULL && strncmp(line, "NSpid:", 6) == 0) own = (pid_t) strtol(last, NULL, 10);
  }
  free(line);
  fclose(file);
  return own;
}

/* A region by the path that a process knows it by. One that never had a name is called by its inode. */
static bool may_be_region(const char* path) {
  return strncmp(path, SHM_DIRECTORY "/" REGION_PREFIX, sizeof(SHM_DIRECTORY "/" REGION_PREFIX) - 1) == 0 ||
         strncmp(path, SHM_DIRECTORY "/#", sizeof(SHM_DIRECTORY "/#") - 1) == 0 ||
         strncmp(path, "/memfd:ndn", sizeof("/memfd:ndn") - 1) == 0;
}

static void copy_path(use_t* use, const char* path) {
  size_t len = strlen(path);

  if (len > sizeof(DELETED) - 1 && strcmp(path + len - (sizeof(DELETED) - 1), DELETED) == 0) len -= sizeof(DELETED) - 1;
  snprintf(use->path, sizeof(use->path), "%.*s", (int) len, path);
}

/* Which file a descriptor is of, whatever its path says. Opens nothing, and waits for no file system. */
static bool identify(const char* at, dev_t* ret_dev, ino_t* ret_ino) {
  struct statx st;

  if (statx(AT_FDCWD, at, AT_STATX_DONT_SYNC, STATX_INO, &st) != 0) return false;
  *ret_dev = makedev(st.stx_dev_major, st.stx_dev_minor);
  *ret_ino = (ino_t) st.stx_ino;
  return true;
}

static void note_region(procs_t* procs, const process_t* process, const char* at, const char* path) {
  use_t* use;
  dev_t dev;
  ino_t ino;

  if (!identify(at, &dev, &ino)) return;
  use = LIST_ADD(&procs->uses);
  *use = (use_t){.process = *process, .dev = dev, .ino = ino};
  snprintf(use->at, sizeof(use->at), "%s", at);
  copy_path(use, path);
}

/* The link itself tells by its mode for what the FIFO is open. */
static void note_fifo(procs_t* procs, const process_t* process, const char* at) {
  struct stat st;
  end_t end = {.process = *process};

  if (!identify(at, &end.dev, &end.ino) || lstat(at, &st) != 0) return;
  end.reads = (st.st_mode & S_IRUSR) != 0;
  end.writes = (st.st_mode & S_IWUSR) != 0;
  *LIST_ADD(&procs->ends) = end;
}

/* What it has open. False if we may not look. */
static bool scan_descriptors(procs_t* procs, const process_t* process) {
  char at[64], path[NAME_BYTES + 64];
  struct dirent* entry;
  DIR* dir;

  snprintf(at, sizeof(at), "/proc/%ld/fd", (long) process->pid);
  dir = opendir(at);
  if (dir == NULL) return errno != EACCES && errno != EPERM;
  while ((entry = readdir(dir)) != NULL) {
    ssize_t n;

    snprintf(at, sizeof(at), "/proc/%ld/fd/%.20s", (long) process->pid, entry->d_name);
    n = readlink(at, path, sizeof(path) - 1);
    if (n <= 0) continue;
    path[n] = '\0';
    if (may_be_region(path)) note_region(procs, process, at, path);
    if (strncmp(path, FIFO_DIRECTORY "/" FIFO_PREFIX, sizeof(FIFO_DIRECTORY "/" FIFO_PREFIX) - 1) == 0)
      note_fifo(procs, process, at);
  }
  closedir(dir);
  return true;
}

/* A line of maps: "start-end perms offset major:minor inode path". */
static void note_mapping(procs_t* procs, const process_t* process, char* line) {
  uint64_t start, end, offset, ino;
  unsigned int major_number, minor_number;
  char perms[5];
  int at = 0;
  use_t* use;

  line[strcspn(line, "\n")] = '\0';
  /* NOLINTNEXTLINE(cert-err34-c): they are the kernel's numbers, and fit */
  if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &start, &end, perms, &offset,
             &major_number, &minor_number, &ino, &at) < 7)
    return;
  if (perms[3] != 's' || offset != 0 || at == 0 || !may_be_region(line + at)) return;
  use = LIST_ADD(&procs->uses);
  *use = (use_t){.process = *process,
                 .dev = makedev(major_number, minor_number),
                 .ino = (ino_t) ino,
                 .is_mapped = true,
                 .address = start,
                 .bytes = end - start};
  snprintf(use->at, sizeof(use->at), "/proc/%ld/map_files/%" PRIx64 "-%" PRIx64, (long) process->pid, start, end);
  copy_path(use, line + at);
}

static void scan_mappings(procs_t* procs, const process_t* process) {
  char path[64];
  char* line = NULL;
  size_t room = 0;
  FILE* file;

  snprintf(path, sizeof(path), "/proc/%ld/maps", (long) process->pid);
  file = fopen(path, "re");
  if (file == NULL) return;
  while (getline(&line, &room, file) >= 0) note_mapping(procs, process, line);
  free(line);
  fclose(file);
}

/* --- All of them --------------------------------------------------------------------------------- */

/* "1: FLOCK  ADVISORY  WRITE 1234 00:19:567 0 EOF" */
static void scan_locks(procs_t* procs) {
  FILE* file = fopen("/proc/locks", "re");
  char* line = NULL;
  size_t room = 0;

  if (file == NULL) return;
  while (getline(&line, &room, file) >= 0) {
    unsigned int major_number, minor_number;
    uint64_t ino;
    long pid;

    /* NOLINTNEXTLINE(cert-err34-c): likewise */
    if (sscanf(line, "%*s FLOCK %*s WRITE %ld %x:%x:%" SCNu64, &pid, &major_number, &minor_number, &ino) == 4)
      *LIST_ADD(&procs->locks) = (lock_t){(pid_t) pid, makedev(major_number, minor_number), (ino_t) ino};
  }
  free(line);
  fclose(file);
}

void procs_scan(procs_t* procs) {
  DIR* dir = opendir("/proc");
  struct dirent* entry;

  *procs = (procs_t){.hidden = 0};
  if (access("/proc/1", F_OK) != 0) procs->hidden++; /* mounted with hidepid: it and others are not even listed */
  scan_locks(procs);
  if (dir == NULL) return;
  while ((entry = readdir(dir)) != NULL) {
    process_t process;
    pid_t pid;

    if (!isdigit((unsigned char) entry->d_name[0])) continue;
    pid = (pid_t) strtol(entry->d_name, NULL, 10);
    if (pid == getpid()) continue;
    process = process_of(pid);
    if (scan_descriptors(procs, &process))
      scan_mappings(procs, &process);
    else
      procs->hidden++;
  }
  closedir(dir);
}

void procs_scan_mappings(procs_t* procs, pid_t pid) {
  process_t process = {.pid = pid};

  *procs = (procs_t){.hidden = 0};
  scan_mappings(procs, &process);
}

void procs_free(procs_t* procs) {
  free(procs->uses.items);
  free(procs->ends.items);
  free(procs->locks.items);
}
