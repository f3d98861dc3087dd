/* SPDX-License-Identifier: MIT */
/* common.h: what the example programs share that is neither NDN nor a face's business: numbers, CPU time, standard
 * streams that may be gone, and one way to say how a client is connected. One loop thread. */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#include <stdbool.h>
#include <stdint.h>
#include <uvface_mgmt.h>

/* Reads a decimal number within [min, max]. */
bool parse_number(const char* text, uint64_t min, uint64_t max, uint64_t* ret_value);

/* Reads permissions in octal, 1 to 0777. */
bool parse_mode(const char* text, unsigned int* ret_mode);

/* Reads the number of a user or a group. */
bool parse_id(const char* text, unsigned int* ret_id);

/* Whether --help, or -h, is among the arguments. */
bool wants_help(int argc, char** argv);

/* Prints how a program is called: who asked reads it from stdout, who was wrong from stderr. Returns the exit status, 0
 * or 2. */
int print_usage(bool is_asked, const char* text);

/* User and system time of this process. */
double cpu_seconds(void);

/* Writes len bytes as 2 * len digits and a NUL. Returns out. */
const char* to_hex(const uint8_t* bytes, size_t len, char* out);

/* For programs that run for long. One of the streams 0 to 2 that is closed becomes /dev/null, so that no socket gets
 * its number and then the program's messages; and a reader who went away is an error that nobody looks at, not a
 * signal. To be called first. */
void keep_streams(void);

/* Starts to watch for SIGINT and SIGTERM; data goes into both handles. Errors: as uv_signal_start(). */
int watch_signals(uv_loop_t* loop, uv_signal_t signals[2], void* data, uv_signal_cb cb);
void unwatch_signals(uv_signal_t signals[2]);

/* Prints to stderr over what a client is connected, and why not by shared memory. */
void print_transport(const char* program, const uvface_client_t* client);

/* The forwarder as messages call it: `uri`, or where one is looked for without. */
const char* forwarder_name(const char* uri);

#endif
