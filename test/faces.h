/* SPDX-License-Identifier: MIT */
/* faces.h: a pair of faces on one loop, and running that loop with a deadline. For the adapter's tests. */
#ifndef FACES_H
#define FACES_H

#include <uvface.h>

#include "harness.h"

/* What face_create() and face_connect(), and so pair_open() and end_open(), make in this test; what the program was
 * told to (harness_kind()), unless the test says otherwise. */
extern kind_t faces_kind;

/* A test that runs for each of them. */
#define TEST_KINDS(name) TEST_KINDS_LOOP(name, 1)
#define TEST_KINDS_LOOP(name, n)               \
  static void name##_of_kind(int _i);          \
  TEST_LOOP(name, (int) (n) * (int) N_KINDS) { \
    faces_kind = (kind_t) (_i / (int) (n));    \
    name##_of_kind(_i % (int) (n));            \
  }                                            \
  static void name##_of_kind(int _i __attribute__((unused)))

/* As uvface_create() and uvface_connect(). A private face is handed over by way of a box that a test shares with its
 * children; the name is what its descriptors lie there under. UV_ENOENT: nothing does. */
int face_create(uvface_t* engine, const char* name, const uvface_options_t* options);
int face_connect(uvface_t* app, const char* name, const uvface_options_t* options);
/* The three by themselves: put into the box and closed here; taken out (false: there are none); asked for. */
void face_offer(const char* name, const int fds[3]);
bool face_take(const char* name, int ret_fds[3]);
bool face_is_offered(const char* name);
/* A private face's three descriptors as an app would get them: copies. */
void face_hand_over(const uvface_t* engine, int ret_fds[3]);
void close_fds(const int fds[3]);

typedef struct pair_s {
  kind_t kind;
  uv_loop_t loop;
  uvface_t engine;
  uvface_t app;
  char name[80];
} pair_t;

/* Opens both ends. options: the engine's; NULL = defaults; the app gets its flags and timings. */
void pair_open(pair_t* pair, const uvface_options_t* options);

/* Closes what is not closing, runs the loop to its end, asserts that it closes cleanly. */
void pair_close(pair_t* pair);

/* A deadline for a loop that may sleep; also lets it look up every few milliseconds, for what RUN_UNTIL() waits
 * for may have come to pass right before the loop went to sleep. */
typedef struct patience_s {
  uv_timer_t tick;
  uint64_t end_ns;
} patience_t;

void patience_start(patience_t* patience, uv_loop_t* loop, int timeout_ms);
bool patience_is_over(const patience_t* patience);
void patience_stop(patience_t* patience);

/* How long RUN_UNTIL() is patient: longer than any machine takes, so that only what never comes fails. */
#define PATIENCE_MS 30000

/* Runs the loop until the condition holds, and asserts that this happens. */
#define RUN_UNTIL(loop, condition)                                                             \
  do {                                                                                         \
    patience_t patience_;                                                                      \
                                                                                               \
    patience_start(&patience_, loop, PATIENCE_MS);                                             \
    while (!(condition) && !patience_is_over(&patience_)) uv_run(loop, UV_RUN_ONCE);           \
    patience_stop(&patience_);                                                                 \
    ck_assert_msg(condition, "not within %u ms: %s", PATIENCE_MS* harness_slow(), #condition); \
  } while (0)

/* The same for a flag; false after timeout_ms (times harness_slow()). */
bool run_until(uv_loop_t* loop, const int* flag, int timeout_ms);

/* Turns the loop until the face, just opened, has gone to sleep on an empty ring; asserts that it does. */
void run_until_parked(uv_loop_t* loop, const uvface_t* face);

/* Runs the loop for about so long: to give what must not happen the time to happen, never for what must.
 * Returns how many turns it took. */
uint64_t run_for(uv_loop_t* loop, int ms);

/* Asserts that the loop slept: that the turns since began_ns are not more than so many a second (and 20 for
 * how it began). A loop that turns without end takes a hundred thousand, on a busy machine some thousands,
 * and other processes never add one. */
void turns_since(uint64_t began_ns, uint64_t turns, unsigned int per_s);

/* run_for(), and asserts that the loop slept but for 100 turns a second. */
void run_asleep(uv_loop_t* loop, int ms);

/* Runs the loop until it has nothing more to do, and asserts uv_loop_close() == 0. */
void finish_loop(uv_loop_t* loop);

/* Closes the face and runs the loop until its close callback, before which its names go. */
void close_face(uvface_t* face);

/* Of what is done by the clock stops the look at all faces of the loop that comes each second: what a test counts must
 * not depend on whether this process was kept from running for so long. Until another face is opened. */
void stop_probe(uv_loop_t* loop);

/* The face's statistics now. */
uvface_stats_t stats_of(const uvface_t* face);

/* Fills the ring of a face that is not read; the number of packets taken. */
int fill_ring(uvface_t* face);

#define ASSERT_OK(call) ck_assert_int_eq((call), 0)

/* --- A face of one role on a loop of its own, with what happened to it ------------------------- */

/* Within which a killed peer must be reported, in the best of so many deaths. */
#define REPORT_NS (50 * UINT64_C(1000000) * harness_slow())
#define REPORT_DEATHS 5

typedef struct end_s {
  uv_loop_t loop;
  uvface_t face;
  uint64_t received, bad;
  uint64_t sent, to_send;
  size_t size_bytes;
  bool echo, verify;
  bool stream;     /* sends the next message for each that arrives */
  uint64_t count;  /* ends after so many received; 0 = never */
  uint64_t eof_ns; /* when the end was told */
  int error;       /* UV_EOF ... */
  int done;
} end_t;

/* An app waits for its engine. */
int end_open(end_t* end, const char* name, bool engine, const uvface_options_t* options);
void end_close(end_t* end);
void end_on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]);
bool end_send_message(end_t* end);

#endif
