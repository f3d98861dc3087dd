/* SPDX-License-Identifier: MIT */
/* api_known.c: what is known of an end, and so what its calls may return: see api_ends.h. Here is what is asserted of
 * every call of the product's; what is asserted of one callback alone stands in api_callbacks.c, and of the end of a
 * run in fuzz_api.c. */
#include <string.h>

#include "../../lib/words.h"
#include "api_ends.h"

#define POINTS_PER_STEP 200000

api_run_t run;

/* --- Steps in the midst of a call ------------------------------------------------------------- */

void ndnshm__point(const char* access) {
  (void) access;
  run.points++;
  FUZZ_REQUIRE(run.points < POINTS_PER_STEP); /* a step does not end */
  if (run.poke_at == 0 || --run.poke_at > 0) return;
  link_poke(link_get(run.poke_link), run.poke[0] % 5, run.poke[1], run.poke[2]);
}

void api_enter(void) {
  if (run.in_call++ == 0) run.points = 0;
}

int api_leave(int result) {
  run.in_call--;
  return result;
}

/* One of the product's, in which the script is asked what to do. */
void api_begin_callback(void) {
  FUZZ_REQUIRE(run.in_call == 0); /* rule 2 */
  run.in_callback++;
  run.news++;
}

void api_end_callback(void) {
  run.in_callback--;
}

/* --- What is known of an end ------------------------------------------------------------------ */

ledger_t* end_out(const end_t* end) {
  return &end->link->ledgers[end->side];
}

ledger_t* end_in(const end_t* end) {
  return &end->link->ledgers[1 - end->side];
}

bool end_is_dead(const end_t* end) {
  return end->orphan;
}

bool end_is_poked(const end_t* end) {
  return end->link != NULL && (end->link->ledgers[0].poked || end->link->ledgers[1].poked);
}

/* Its peer has gone, or its socket may have. */
bool end_may_be_alone(const end_t* end) {
  return end_is_poked(end) || end->link->closed[1 - end->side];
}

/* Whether an error of a call that needs an open face is one that the header lists for the state that it is in. */
bool end_is_due(const end_t* end, int err, int after_eof) {
  if (end->state != END_OPEN) return err == UV_ENOTCONN;
  if (end->error == UV_EOF) return err == after_eof;
  if (end->error != 0) return err == end->error;
  if (err == UV_ECANCELED) return end_is_dead(end);
  if (err == UV_EPROTO || err == UV_EIO) return end_is_poked(end);
  return err == after_eof && end_may_be_alone(end);
}

/* A call that must fail where the state says so. */
void end_check_state(const end_t* end, int result, int after_eof) {
  if (result == 0 || result > 0) FUZZ_REQUIRE(end->state == END_OPEN && end->error == 0);
  if (end->state != END_OPEN) FUZZ_REQUIRE(result == UV_ENOTCONN);
  if (end->error != 0) FUZZ_REQUIRE(result == (end->error == UV_EOF ? after_eof : end->error));
}

/* The words of a failure begin with the function's name. */
void end_check_words(const end_t* end, const char* function) {
  const char* words = uvface_errmsg(&end->face);

  FUZZ_REQUIRE(strncmp(words, function, strlen(function)) == 0 && words[strlen(function)] == ':');
}

void end_check_refusal(end_t* end, int err, const char* function) {
  if (!end_is_due(end, err, UV_EPIPE))
    fprintf(stderr, "%s: %s: %s\n", function, uv_err_name(err), uvface_errmsg(&end->face));
  FUZZ_REQUIRE(end_is_due(end, err, UV_EPIPE));
  end_check_words(end, function);
}

static bool is_end_of_face(int status) {
  return status == UV_EOF || status == UV_EPROTO || status == UV_EIO;
}

void end_check_end(end_t* end, int status) {
  FUZZ_REQUIRE(is_end_of_face(status));
  if (status == UV_EOF)
    FUZZ_REQUIRE(end_may_be_alone(end));
  else
    FUZZ_REQUIRE(end_is_poked(end));
}
