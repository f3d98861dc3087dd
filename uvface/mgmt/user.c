/* SPDX-License-Identifier: MIT */
/* user.c: see serve.h: what the apps of one user have together, for as long as there are any. */
#include <stdlib.h>
#include <unistd.h>

#include "serve.h"

uvface__user_t* uvface__user_of(uvface__server_t* s, uid_t uid) {
  uvface__user_t* user;

  LIST_FOREACH(user, &s->users, link) if (user->uid == uid) return uvface__user_hold(user);
  user = calloc(1, sizeof(*user));
  if (user == NULL) return NULL;
  user->uid = uid;
  user->is_stranger = uid != 0 && uid != geteuid();
  LIST_INSERT_HEAD(&s->users, user, link);
  return uvface__user_hold(user);
}

uvface__user_t* uvface__user_hold(uvface__user_t* user) {
  user->holds++;
  return user;
}

void uvface__user_release(uvface__user_t* user) {
  if (user == NULL || --user->holds != 0) return;
  LIST_REMOVE(user, link);
  free(user);
}
