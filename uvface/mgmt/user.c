/* SPDX-License-Identifier: MIT */
/* user.c: see serve.h: what the apps of one user have together, for as long as there are any; and whose turn it is. */
#include <stdlib.h>
#include <unistd.h>

#include "serve.h"

uvface__user_t* uvface__user_of(uvface__server_t* s, uid_t uid) {
  uvface__user_t* user;

  LIST_FOREACH(user, &s->users, link) if (user->uid == uid) return uvface__user_hold(user);
  user = calloc(1, sizeof(*user));
  if (user == NULL) return NULL;
  TAILQ_INIT(&user->ready.apps);
  TAILQ_INIT(&user->makers.apps);
  TAILQ_INIT(&user->resting.apps);
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

bool uvface__user_has_too_many_fds(const uvface__server_t* s, const uvface__user_t* user, unsigned int more) {
  return user->is_stranger && user->fds + more > s->max_user_fds;
}

void uvface__app_count_fds(uvface__app_t* app, unsigned int fds) {
  app->user->fds += fds;
  app->user->fds -= app->fds;
  app->fds = fds;
}

void uvface__line_join(struct uvface__lines_s* lines, uvface__line_t* line, uvface__app_t* app) {
  if (TAILQ_EMPTY(&line->apps)) TAILQ_INSERT_TAIL(lines, line, link);
  TAILQ_INSERT_TAIL(&line->apps, app, work_link);
}

void uvface__line_leave(struct uvface__lines_s* lines, uvface__line_t* line, uvface__app_t* app) {
  TAILQ_REMOVE(&line->apps, app, work_link);
  if (TAILQ_EMPTY(&line->apps)) TAILQ_REMOVE(lines, line, link);
}

uvface__app_t* uvface__lines_take(struct uvface__lines_s* lines) {
  uvface__line_t* line = TAILQ_FIRST(lines);
  uvface__app_t* app;

  if (line == NULL) return NULL;
  app = TAILQ_FIRST(&line->apps);
  TAILQ_REMOVE(lines, line, link);
  TAILQ_REMOVE(&line->apps, app, work_link);
  if (!TAILQ_EMPTY(&line->apps)) TAILQ_INSERT_TAIL(lines, line, link);
  return app;
}
