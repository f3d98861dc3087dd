/* SPDX-License-Identifier: MIT */
/* faces.h: a pair of faces on one loop, and running that loop with a deadline. For the adapter's tests. */
#ifndef FACES_H
#define FACES_H

#include <uvface.h>

#include "harness.h"

typedef struct pair_s {
  uv_loop_t loop;
  uvface_t engine;
  uvface_t app;
  char name[80];
} pair_t;

/* Opens both ends. options: the engine's; NULL = defaults; the app gets its flags and timings. */
void pair_open(pair_t* pair, const uvface_options_t* options);

/* Closes what is not closing, runs the loop to its end, asserts that it closes cleanly. */
void pair_close(pair_t* pair);

/* Runs the loop until *flag is set; false after timeout_ms. */
bool run_until(uv_loop_t* loop, const int* flag, int timeout_ms);

/* Runs the loop for about so long. */
void run_for(uv_loop_t* loop, int ms);

/* Runs the loop until it has nothing more to do, and asserts uv_loop_close() == 0. */
void finish_loop(uv_loop_t* loop);

/* Fills the ring of a face that is not read; the number of packets taken. */
int fill_ring(uvface_t* face);

#define ASSERT_OK(call) ck_assert_msg((call) == 0, "%s", #call)

#endif
