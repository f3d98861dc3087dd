/* SPDX-License-Identifier: MIT */
/* jobs.c: commands under way: sent, answered, over their time, taken back when the connection is lost, and sent again
 * over the next. Guarantees that a command of the user's gets exactly one callback, from the loop, and that the same
 * Interest is never sent twice: each attempt has its own nonces and time. Loop thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

/* --- Lists ----------------------------------------------------------------------------------------- */

uvface__job_t* uvface__job_new(uvface__verb_t verb, const uint8_t* name, size_t name_bytes) {
  uvface__job_t* job = calloc(1, sizeof(*job) + name_bytes);

  if (job == NULL) return NULL;
  job->verb = verb;
  job->name_bytes = name_bytes;
  if (name_bytes > 0) memcpy(job->name, name, name_bytes);
  return job;
}

void uvface__job_free(uvface__job_t* job) {
  if (job == NULL) return;
  free(job->keep);
  free(job->wire_name);
  free(job);
}

void uvface__jobs_append(uvface__jobs_t* jobs, uvface__job_t* job) {
  job->next = NULL;
  if (jobs->first == NULL)
    jobs->first = job;
  else
    jobs->last->next = job;
  jobs->last = job;
}

/* Puts all of `from` in front of `to`. */
static void prepend_all(uvface__jobs_t* to, uvface__jobs_t* from) {
  if (from->first == NULL) return;
  from->last->next = to->first;
  if (to->first == NULL) to->last = from->last;
  to->first = from->first;
  *from = (uvface__jobs_t){NULL, NULL};
}

/* Takes the one behind `before` off, or the first one if that is NULL. */
static uvface__job_t* take_behind(uvface__jobs_t* jobs, uvface__job_t* before) {
  uvface__job_t* job = before != NULL ? before->next : jobs->first;

  if (before != NULL)
    before->next = job->next;
  else
    jobs->first = job->next;
  if (jobs->last == job) jobs->last = before;
  job->next = NULL;
  return job;
}

uvface__job_t* uvface__jobs_take(uvface__jobs_t* jobs) {
  return jobs->first != NULL ? take_behind(jobs, NULL) : NULL;
}

bool uvface__job_is(const uvface__job_t* job, ndnpkt_name_t name) {
  return job->wire_name != NULL && job->wire_name_bytes == name.len && memcmp(job->wire_name, name.base, name.len) == 0;
}

uvface__job_t* uvface__jobs_match(uvface__client_t* c, ndnpkt_name_t name) {
  uvface__job_t* before = NULL;

  for (uvface__job_t* job = c->sent.first; job != NULL; before = job, job = job->next)
    if (uvface__job_is(job, name)) return take_behind(&c->sent, before);
  return NULL;
}

/* --- Sending ---------------------------------------------------------------------------------------- */

/* An Interest on its way into the socket. */
typedef struct parcel_s {
  uvface_send_t req;
  char bytes[];
} parcel_t;

static void on_sent(uvface_send_t* req, int status) {
  (void) status; /* what was not sent gets no answer */
  free((char*) req - offsetof(parcel_t, req));
}

static int post(uvface_t* face, const uint8_t* bytes, size_t n) {
  parcel_t* parcel = malloc(sizeof(*parcel) + n);
  uv_buf_t buf;
  int err;

  if (parcel == NULL) return UV_ENOMEM;
  memcpy(parcel->bytes, bytes, n);
  buf = uv_buf_init(parcel->bytes, (unsigned int) n);
  err = uvface_send(&parcel->req, face, &buf, 1, on_sent);
  if (err < 0) free(parcel);
  return err;
}

int uvface__job_post(uvface__client_t* c, uvface__job_t* job, const ndnpkt_parameters_t* parameters) {
  uint8_t packet[NDNPKT_PACKET_MAX];
  const ndnpkt_signer_t* signer = c->has_signer ? &c->signer : NULL;
  ndnpkt_name_t name;
  uint8_t* copy;
  ssize_t n;
  int err;

  n = uvface__request_encode(c->crypto, packet, job->verb, parameters, c->options.command_timeout_ms, signer, &name);
  if (n < 0) return n == -ENOBUFS ? UV_EMSGSIZE : (int) n;
  copy = malloc(name.len);
  if (copy == NULL) return UV_ENOMEM;
  err = post(&c->control.face, packet, (size_t) n);
  if (err < 0) {
    free(copy);
    return err;
  }
  memcpy(copy, name.base, name.len);
  free(job->wire_name);
  job->wire_name = copy;
  job->wire_name_bytes = name.len;
  return 0;
}

/* What a registration, or the end of one, asks for. */
static ndnpkt_parameters_t parameters_of(const uvface__client_t* c, const uvface__job_t* job) {
  ndnpkt_parameters_t parameters = {
      .has = NDNPKT_HAS_NAME | NDNPKT_HAS_ORIGIN, .name = {job->name, job->name_bytes}, .origin = job->route.origin};

  if (c->has_shm) { /* else the connection's own, which the forwarder knows */
    parameters.has |= NDNPKT_HAS_FACE_ID;
    parameters.face_id = c->face_id;
  }
  if (job->verb != UVFACE__REGISTER) return parameters;
  parameters.has |= NDNPKT_HAS_COST | NDNPKT_HAS_FLAGS;
  parameters.cost = job->route.cost;
  parameters.flags = job->route.flags;
  if (job->route.expiration_ms != 0) parameters.has |= NDNPKT_HAS_EXPIRATION;
  parameters.expiration_ms = job->route.expiration_ms;
  return parameters;
}

/* Whether a job may be sent at this stage: the user's wait until what was registered is so again. */
static bool may_send(const uvface__client_t* c, const uvface__job_t* job) {
  if (c->stage == UVFACE__REPLAYING) return job->replay || job->req == NULL;
  return c->stage == UVFACE__UP;
}

/* Sends the first job, which is c->posting and in no list meanwhile: a signer or a tap that is called in there may do
 * anything with the client. Returns false if it has to wait, in front of all others. *ret_err: as
 * uvface__job_done(). */
static bool send_first(uvface__client_t* c, int* ret_err) {
  uvface__job_t* job = uvface__jobs_take(&c->waiting);
  uvface__jobs_t one = {job, job};
  const ndnpkt_parameters_t parameters = parameters_of(c, job);
  int err;

  c->posting = job;
  err = uvface__job_post(c, job, &parameters);
  c->posting = NULL;
  if (job->due_ms == 0) job->due_ms = uvface__now_ms() + c->options.command_timeout_ms;
  if (err == UV_ENOBUFS) c->retry_due_ms = uvface__now_ms() + UVFACE__RETRY_MS;
  if (err == UV_ENOBUFS || err == UV_EPIPE || err == UV_EOF) { /* the end of the face is told elsewhere */
    prepend_all(&c->waiting, &one);
    return false;
  }
  if (err == 0)
    uvface__jobs_append(&c->sent, job);
  else
    *ret_err = uvface__job_done(c, job, &(uvface__answer_t){.status = err});
  return true;
}

int uvface__jobs_flush(uvface__client_t* c) {
  int err = 0;

  if (c->posting != NULL) return 0; /* called from within send_first(): it goes on */
  c->retry_due_ms = 0;
  while (err == 0 && c->waiting.first != NULL && may_send(c, c->waiting.first) && send_first(c, &err)) continue;
  return err;
}

/* --- Ends --------------------------------------------------------------------------------------------- */

static void complain_of(uvface__client_t* c, const uvface__job_t* job) {
  const uvface__answer_t* answer = &job->answer;
  const char* function = job->verb == UVFACE__UNREGISTER ? "uvface_client_unregister" : "uvface_client_register";
  char name[256];

  ndnpkt_name_to_uri((ndnpkt_name_t){job->name, job->name_bytes}, name, sizeof(name));
  if (answer->code != 0)
    uvface__client_complain(c, answer->status, "%s: %s %s: the forwarder answers %u %s", function,
                            uvface__verb_text(job->verb), name, answer->code, answer->text);
  else
    uvface__client_complain(c, answer->status, "%s: %s %s: %s", function, uvface__verb_text(job->verb), name,
                            uvface__client_words(c, answer->status));
}

/* Takes the route out of those that are registered again. */
static void discard_kept(uvface__client_t* c, ndnpkt_name_t name, uint64_t origin) {
  for (uvface__kept_t** at = &c->kept; *at != NULL; at = &(*at)->next) {
    uvface__kept_t* kept = *at;

    if (kept->route.origin != origin || !ndnpkt_name_equal((ndnpkt_name_t){kept->name, kept->name_bytes}, name))
      continue;
    *at = kept->next;
    free(kept);
    return;
  }
}

static void keep(uvface__client_t* c, uvface__job_t* job) {
  discard_kept(c, (ndnpkt_name_t){job->name, job->name_bytes}, job->route.origin);
  job->keep->next = c->kept;
  c->kept = job->keep;
  job->keep = NULL;
}

/* Of what ends with the connection, the connection's own words tell. */
static bool says_why(int status) {
  return status < 0 && status != UV_EPIPE && status != UV_ECANCELED;
}

int uvface__job_done(uvface__client_t* c, uvface__job_t* job, const uvface__answer_t* answer) {
  int status = job->replay ? answer->status : 0;

  job->answer = *answer;
  if (says_why(answer->status) && (job->req != NULL || job->replay)) complain_of(c, job);
  if (answer->status == 0 && job->keep != NULL) keep(c, job);
  if (job->req != NULL) {
    uvface__jobs_append(&c->done, job);
    return 0;
  }
  if (job->replay) c->replays--;
  uvface__job_free(job);
  return status;
}

void uvface__jobs_tell(uvface__client_t* c) {
  uvface__job_t* job;

  while ((job = uvface__jobs_take(&c->done)) != NULL) {
    if (job->cb != NULL) job->cb(job->req, job->answer.status, job->answer.code, job->answer.text);
    uvface__job_free(job);
  }
}

static int expire(uvface__client_t* c, uvface__jobs_t* jobs, uint64_t now_ms) {
  int err = 0;

  while (err == 0 && jobs->first != NULL && jobs->first->due_ms != 0 && jobs->first->due_ms <= now_ms) {
    uvface__job_t* job = jobs->first;

    if (job->late) {
      uvface__jobs_take(jobs);
      err = uvface__job_done(c, job, &(uvface__answer_t){.status = UV_ETIMEDOUT});
    } else {
      job->late = true;
      job->due_ms = now_ms + UVFACE__GRACE_MS;
    }
  }
  return err;
}

int uvface__jobs_expire(uvface__client_t* c, uint64_t now_ms) {
  int err = expire(c, &c->sent, now_ms);

  return err < 0 ? err : expire(c, &c->waiting, now_ms);
}

/* --- Losses ------------------------------------------------------------------------------------------- */

void uvface__jobs_take_back(uvface__client_t* c) {
  uvface__jobs_t all;
  uvface__job_t* job;

  prepend_all(&c->waiting, &c->sent);
  all = c->waiting;
  c->waiting = (uvface__jobs_t){NULL, NULL};
  while ((job = uvface__jobs_take(&all)) != NULL) {
    if (job->req == NULL) {
      uvface__job_free(job);
      continue;
    }
    job->due_ms = 0;
    job->late = false;
    uvface__jobs_append(&c->waiting, job);
  }
  c->replays = 0;
}

void uvface__jobs_end(uvface__client_t* c, int status) {
  uvface__job_t* job;

  uvface__jobs_take_back(c);
  while ((job = uvface__jobs_take(&c->waiting)) != NULL)
    uvface__job_done(c, job, &(uvface__answer_t){.status = status});
}

/* --- Routes of before ---------------------------------------------------------------------------------- */

int uvface__jobs_replay(uvface__client_t* c) {
  uvface__jobs_t replays = {NULL, NULL};

  const uvface__kept_t* kept = c->kept;

  for (; kept != NULL; kept = kept->next) {
    uvface__job_t* job = uvface__job_new(UVFACE__REGISTER, kept->name, kept->name_bytes);

    if (job == NULL) break;
    job->route = kept->route;
    job->replay = true;
    c->replays++;
    uvface__jobs_append(&replays, job);
  }
  prepend_all(&c->waiting, &replays);
  return kept == NULL ? 0 : UV_ENOMEM;
}

void uvface__jobs_forget(uvface__client_t* c, ndnpkt_name_t name, uint64_t origin) {
  const uvface__jobs_t lists[] = {c->sent, c->waiting, {c->posting, c->posting}};

  discard_kept(c, name, origin);
  for (int i = 0; i < 3; i++)
    for (uvface__job_t* job = lists[i].first; job != NULL; job = job->next) {
      if (job->verb != UVFACE__REGISTER || job->route.origin != origin ||
          !ndnpkt_name_equal((ndnpkt_name_t){job->name, job->name_bytes}, name))
        continue;
      free(job->keep);
      job->keep = NULL;
    }
}

void uvface__jobs_supersede(uvface__client_t* c, ndnpkt_name_t name, uint64_t origin) {
  uvface__job_t *before = NULL, *job = c->waiting.first;

  while (job != NULL) {
    uvface__job_t* next = job->next;

    if (job->req == NULL || job->route.origin != origin ||
        !ndnpkt_name_equal((ndnpkt_name_t){job->name, job->name_bytes}, name))
      before = job;
    else
      uvface__job_done(c, take_behind(&c->waiting, before), &(uvface__answer_t){.status = UV_ECANCELED});
    job = next;
  }
}
