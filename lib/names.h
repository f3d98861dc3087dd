/* SPDX-License-Identifier: MIT */
/* names.h: the names of a face in the file system, whose files are trusted, and who may use ours.
 *
 * Guarantees that no name leads out of its directory, whatever the user passes. Knows nothing of what lies behind the
 * names. Any thread. */
#ifndef NDNSHM_NAMES_H
#define NDNSHM_NAMES_H

#include <stdbool.h>
#include <sys/types.h>

#include "error.h"

#define NDNSHM__NAME_MAX 200

/* The three names of a face, and that of the directory where its FIFOs are made, which its engine keeps. */
typedef struct ndnshm__names_s {
  char shm[NDNSHM__NAME_MAX + 16];
  char a2e[NDNSHM__NAME_MAX + 32];
  char e2a[NDNSHM__NAME_MAX + 32];
  char stage[32]; /* who sees it does not know the face's name by it */
} ndnshm__names_t;

/* Who may use what an engine creates. */
typedef struct ndnshm__access_s {
  mode_t mode;
  uid_t uid; /* (uid_t) -1 = leave */
  gid_t gid; /* (gid_t) -1 = leave */
} ndnshm__access_t;

/* Derives the names. Errors: -EINVAL (NULL, empty, a character outside [A-Za-z0-9._-], a leading dot),
 * -ENAMETOOLONG. */
int ndnshm__names_init(const char* name, ndnshm__names_t* ret_names, ndnshm__error_t* error);

/* True for an owner whose files we use: root, our effective user, or `trusted` unless that is -1. */
bool ndnshm__owner_is_trusted(uid_t owner, uid_t trusted);

/* Gives fd the mode and owner in `access`. Errors: those of fchown and fchmod. */
int ndnshm__access_apply(int fd, const ndnshm__access_t* access, const char* path, ndnshm__error_t* error);

/* True for an owner whose files an engine may replace: our effective user, or the one it gives its files to. */
bool ndnshm__owner_is_ours(uid_t owner, const ndnshm__access_t* access);

#endif
