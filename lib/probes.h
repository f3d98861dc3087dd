/* SPDX-License-Identifier: MIT */
/* probes.h: static probe points, at which bpftrace, perf and SystemTap look into a running program.
 *
 * Guarantees that a point is one instruction that does nothing, until somebody attaches to it; and nothing at all in a
 * library that was built without sys/sdt.h. None is in the path of a packet. What each tells: docs/metrics.rst. Any
 * thread. */
#ifndef NDNSHM_PROBES_H
#define NDNSHM_PROBES_H

#ifdef HAVE_SDT
#ifdef __clang__ /* gcc knows that the macros are the system's, and not ISO C's for that reason */
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments"
#endif
#include <sys/sdt.h>
#define NDNSHM__PROBE2(name, a, b) DTRACE_PROBE2(ndnshm, name, a, b)
#define NDNSHM__PROBE3(name, a, b, c) DTRACE_PROBE3(ndnshm, name, a, b, c)
#else
#define NDNSHM__PROBE2(name, a, b) ((void) 0)
#define NDNSHM__PROBE3(name, a, b, c) ((void) 0)
#endif

#endif
