/* SPDX-License-Identifier: MIT */
/* names.c: checking a face's name, deriving its paths, and giving files to whom they are for. */
#include "names.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool name_is_clean(const char* name) {
  static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

  return name[0] != '\0' && name[0] != '.' && name[strspn(name, allowed)] == '\0';
}

/* A copy for texts: they end up on terminals and in logs, and a refused name may be anybody's. */
static void show(const char* name, char ret_shown[NDNSHM__NAME_MAX + 1]) {
  size_t n = strnlen(name, NDNSHM__NAME_MAX);

  for (size_t i = 0; i < n; i++) {
    ret_shown[i] = name[i];
    if (name[i] < ' ' || name[i] > '~') ret_shown[i] = '?';
  }
  ret_shown[n] = '\0';
}

/* FNV-1a, and then the bits are mixed once more. It is not to be calculated backwards in the microseconds that its
 * result can be seen before the name itself can. */
static uint64_t digest(const char* name) {
  uint64_t h = UINT64_C(0xcbf29ce484222325);

  for (; *name != '\0'; name++) h = (h ^ (unsigned char) *name) * UINT64_C(0x100000001b3);
  h = (h ^ (h >> 32)) * UINT64_C(0xd6e8feb86659fd93);
  return h ^ (h >> 32);
}

int ndnshm__names_init(const char* name, ndnshm__names_t* ret_names, ndnshm__error_t* error) {
  char shown[NDNSHM__NAME_MAX + 1];

  if (name == NULL) return ndnshm__fail(error, -EINVAL, "name: is NULL");
  show(name, shown);
  if (strnlen(name, NDNSHM__NAME_MAX + 1) > NDNSHM__NAME_MAX)
    return ndnshm__fail(error, -ENAMETOOLONG, "name '%.32s...': longer than %d characters", shown, NDNSHM__NAME_MAX);
  if (!name_is_clean(name))
    return ndnshm__fail(error, -EINVAL, "name '%s': must be [A-Za-z0-9._-]{1,200} without a leading dot", shown);
  snprintf(ret_names->shm, sizeof(ret_names->shm), "/ndn-shm-%s", name);
  snprintf(ret_names->a2e, sizeof(ret_names->a2e), "/tmp/.ndn-%s.a2e.pipe", name);
  snprintf(ret_names->e2a, sizeof(ret_names->e2a), "/tmp/.ndn-%s.e2a.pipe", name);
  snprintf(ret_names->stage, sizeof(ret_names->stage), "/tmp/.ndn-%016llx", (unsigned long long) digest(name));
  return 0;
}

bool ndnshm__owner_is_trusted(uid_t owner, uid_t trusted) {
  return owner == 0 || owner == geteuid() || (trusted != (uid_t) -1 && owner == trusted);
}

static int fail_group(gid_t gid, const char* path, ndnshm__error_t* error) {
  if (errno != EPERM) return ndnshm__fail_errno(error, "fchown", path);
  return ndnshm__fail(error, -EPERM, "fchown %s: this process is not a member of gid %lu", path, (unsigned long) gid);
}

static int fail_owner(uid_t uid, const char* path, ndnshm__error_t* error) {
  if (errno != EPERM) return ndnshm__fail_errno(error, "fchown", path);
  return ndnshm__fail(error, -EPERM, "fchown %s: only a privileged process may give it to uid %lu", path,
                      (unsigned long) uid);
}

int ndnshm__access_apply(int fd, const ndnshm__access_t* access, const char* path, ndnshm__error_t* error) {
  /* Group, mode, owner. The group comes before the mode, or the mode would let in the group of this process. The owner
   * comes last, because only the owner of a file may set its mode. */
  if (access->gid != (gid_t) -1 && fchown(fd, (uid_t) -1, access->gid) != 0)
    return fail_group(access->gid, path, error);
  if (fchmod(fd, access->mode) != 0) return ndnshm__fail_errno(error, "fchmod", path);
  if (access->uid != (uid_t) -1 && fchown(fd, access->uid, (gid_t) -1) != 0)
    return fail_owner(access->uid, path, error);
  return 0;
}

bool ndnshm__owner_is_ours(uid_t owner, const ndnshm__access_t* access) {
  return owner == geteuid() || (access->uid != (uid_t) -1 && owner == access->uid);
}
