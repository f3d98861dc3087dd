/* SPDX-License-Identifier: MIT */
/* given.h: structs that a caller fills in, who may have been compiled with an older or a newer header than this
 * library.
 *
 * Such a struct begins with its size (docs/uvface.rst, "Versions"). Any thread. */
#ifndef UVFACE_MGMT_GIVEN_H
#define UVFACE_MGMT_GIVEN_H

#include <stddef.h>

#include "uvface.h"

/* Puts what the caller knows of the struct `given` over the defaults in `taken`, which has `bytes` bytes. What an older
 * header does not have keeps its default; what only a newer one has must be zero. given: NULL = all defaults.
 * Errors: UV_EINVAL, and why. */
int uvface__take_given(const void* given, void* taken, size_t bytes, char* why, size_t cap);

/* The same for the options of faces that stand in another struct: what comes behind them does not move, so they are
 * never larger than this library's. given: not NULL. */
int uvface__take_face_options(const uvface_options_t* given, uvface_options_t* taken, char* why, size_t cap);

#endif
