/* SPDX-License-Identifier: MIT */
/* soak.h: the one scenario of uvface-soak that needs no other process. Private to it. */
#ifndef SOAK_H
#define SOAK_H

#include <stdbool.h>

/* Measures the turn of a loop with and without 500 idle faces, prints, and returns the exit code. */
int soak_idle(double secs, bool json);

#endif
