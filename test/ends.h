/* SPDX-License-Identifier: MIT */
/* ends.h: the two ends of a face over bare ndnshm.h, and peers that die. For the core's tests of endpoints, which go
 * through every public function of ndnshm.h in both roles: test_endpoint.c (life), test_names.c, test_connect.c,
 * test_packets.c, test_sleep.c. Two ends in one process where that is enough, children where
 * somebody dies, waits, lacks something or is another user. How the parts work inside is tested beside them
 * (test_region.c, test_ring.c, test_wake.c). */
#ifndef ENDS_H
#define ENDS_H

#include "harness.h"
#include "ndnshm.h"
#include "region.h"

#define NOBODY ((uid_t) -1)

typedef struct face_s {
  kind_t kind;
  char name[64];
  char shm[80], shm_path[320], a2e_path[320], e2a_path[320];
  ndnshm_t* engine;
  ndnshm_t* app;
  ndnshm__region_t view; /* a third mapping: what a hostile peer could write */
  ndnshm__region_header_t* header;
} face_t;

/* Its names and two ends that are not open. */
face_t face_plan(const char* tag);
face_t face_plan_of(kind_t kind, const char* tag);
/* Opens the engine, and maps its region once more. */
void face_create(face_t* f, uint32_t capacity, uint32_t slot_size);
/* Opens the app. A private face's engine keeps nothing of what is the app's. */
void face_join(face_t* f, const ndnshm_options_t* options);
/* Both ends, open. */
face_t face_make(const char* tag, uint32_t capacity, uint32_t slot_size);
face_t face_make_of(kind_t kind, const char* tag, uint32_t capacity, uint32_t slot_size);
/* A private face's three descriptors as an app would get them: copies. */
void face_hand_over(const face_t* f, int ret_fds[3]);
void close_fds(const int fds[3]);
/* A name that a killed engine left behind. */
face_t face_of_the_dead(const char* tag);
void face_drop(face_t* f);
/* Removes what a killed engine left. */
void remove_names(const face_t* f);
/* How many of the three. */
int names_there(const face_t* f);

bool readable(int fd, int timeout_ms);
void assert_errmsg(const ndnshm_t* ep, const char* call, const char* object, const char* reason);
/* With that code and text, and no descriptor more. */
void assert_create_fails(face_t* f, const ndnshm_options_t* options, int code, const char* call, const char* object,
                         const char* reason);
/* As ndnshm_send(). */
int send_text(ndnshm_t* ep, const char* text);
void assert_receives(ndnshm_t* ep, const char* text);
void assert_receives_nothing(ndnshm_t* ep);

/* An engine of that name in a child, until it is killed. */
pid_t start_engine(face_t* f);

#endif
