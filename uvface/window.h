/* SPDX-License-Identifier: MIT */
/* window.h: how long it pays to look for something before sleeping.
 *
 * Pure policy: it is told what happened and when, and answers until when to look; it knows no loop and reads no clock.
 * It may ask the kernel one thing, whether this thread lost its CPU, where an answer depends on that. */
#ifndef UVFACE_WINDOW_H
#define UVFACE_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

/* For one thing that is waited for: the next packet, or room in a full ring. */
typedef struct uvface__window_s {
  uint32_t max_ns;      /* the longest that it may be open */
  uint32_t ns;          /* the window now */
  uint64_t since_ns;    /* when it was found last, or is waited for since */
  bool more;            /* the last time there was more of it than a turn may take: nobody had to wait for the rest */
  bool slept;           /* the face slept since */
  unsigned int misses;  /* times that it came after the window */
  unsigned int penalty; /* how long the window stayed shut the last time; 0 = it was worth it since */
  unsigned int skips;   /* finds until it may open again */
} uvface__window_t;

/* A window that opens for max_ns at first; 0 = never. */
void uvface__window_init(uvface__window_t* w, uint32_t max_ns);

/* What is waited for was found at now_ns; more: and more of it than the turn may take. preemptions: the involuntary
 * switches of this thread, as last seen; -1 = not seen yet. Returns until when to look for the next, in ns. */
uint64_t uvface__window_hit(uvface__window_t* w, uint64_t now_ns, bool more, long* preemptions);

/* It is waited for since now_ns. Returns until when to look for it. */
uint64_t uvface__window_open(uvface__window_t* w, uint64_t now_ns);

/* The face went to sleep without having found it. */
void uvface__window_sleep(uvface__window_t* w);

#endif
