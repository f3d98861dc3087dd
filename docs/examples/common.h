/* SPDX-License-Identifier: MIT */
/* common.h: what the example programs share that is neither NDN nor a face's business: reading numbers,
 * CPU time, and a connect that is tried again until the engine is there. One loop thread. */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#include <stdbool.h>
#include <stdint.h>
#include <uvface.h>

/* Reads a decimal number within [min, max]. */
bool parse_number(const char* text, uint64_t min, uint64_t max, uint64_t* ret_value);

/* User and system time of this process. */
double cpu_seconds(void);

/* Writes len bytes as 2 * len digits and a NUL. Returns out. */
const char* to_hex(const uint8_t* bytes, size_t len, char* out);

/* A connect with a deadline, so that the order in which programs start does not matter. */
typedef struct connector_s connector_t;
typedef void (*connector_cb)(connector_t* connector, int status);
struct connector_s {
  void* data;     /* the caller's */
  uvface_t* face; /* initialized */
  const char* name;
  uint64_t deadline_ms; /* on uv_now()'s clock */
  connector_cb cb;
  uv_timer_t timer;
};

/* Connects connector->face to connector->name; cb gets 0, or the error that remained at the deadline or
 * that waiting cannot mend. connector must stay valid until the loop has ended. */
int connector_start(connector_t* connector, uint64_t timeout_ms, connector_cb cb);

/* Gives up: cb is not called any more. */
void connector_stop(connector_t* connector);

#endif
