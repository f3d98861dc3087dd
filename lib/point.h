/* SPDX-License-Identifier: MIT */
/* point.h: where a test may step in: right before each access to memory that the peer can touch too.
 *
 * The attacker of the fuzzer changes the memory there, and the kill matrix ends the process there. Only a
 * library that is built for such a test has the points (NDNSHM_TEST_POINTS); in any other they are nothing. */
#ifndef NDNSHM_POINT_H
#define NDNSHM_POINT_H

#ifdef NDNSHM_TEST_POINTS
void ndnshm__point(const char* access); /* the test's own */
#define NDNSHM__POINT(access) ndnshm__point(access)
#else
#define NDNSHM__POINT(access) ((void) 0)
#endif

#endif
