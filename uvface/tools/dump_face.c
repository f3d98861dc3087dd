/* SPDX-License-Identifier: MIT */
/* dump_face.c: which face is meant by a name or a process, and whether it is still there. It looks at all processes
 * each time, and does not remember what it found. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dump.h"

#define LOOKS 3 /* at processes that come and go */

/* --- Which face ----------------------------------------------------------------------------------- */

/* A name may be that of two: of one that lives on without it, and of one that has it now. */
static const face_t* find_name(const faces_t* faces, const char* name) {
  const face_t* found = NULL;

  for (size_t i = 0; i < faces->faces.n; i++) {
    const face_t* face = &faces->faces.items[i];

    if (!face_is_called(face, name)) continue;
    if (found == NULL || (face->state == ALIVE && (found->state != ALIVE || face->has_region_name))) found = face;
  }
  return found;
}

void face_tell(const face_t* face) {
  char name[4 * NAME_BYTES], engine[PROCESS_TEXT_BYTES], app[PROCESS_TEXT_BYTES];

  if (face->name[0] != '\0')
    escape(face->name, true, name, sizeof(name));
  else
    face_label(face, name, sizeof(name));
  process_text(&face->engine, face->roles_unknown, "-", engine, sizeof(engine));
  process_text(&face->app, face->roles_unknown, no_app(face->app_state), app, sizeof(app));
  fprintf(stderr, "%s: engine %s, app %s", name, engine, app);
}

static void tell_choices(const faces_t* faces, const char* pid_text) {
  const face_t* end = faces->faces.items + faces->faces.n;

  for (const face_t* face = faces->faces.items; face != end; face++) {
    if (!face_is_on(face, pid_text)) continue;
    fputs("  ", stderr);
    face_tell(face);
    fputc('\n', stderr);
  }
}

/* NULL after telling why. */
static const face_t* find_process(const faces_t* faces, const char* text) {
  const face_t* found = NULL;
  size_t n = 0;

  for (size_t i = 0; i < faces->faces.n; i++) {
    if (!face_is_on(&faces->faces.items[i], text)) continue;
    found = &faces->faces.items[i];
    n++;
  }
  if (n == 1) return found;
  if (n == 0) {
    text_failed(text, faces_why_none(faces, text));
    return NULL;
  }
  text_failed(text, "this process is on several faces: give a name, or the process at the other end");
  tell_choices(faces, text);
  return NULL;
}

/* NULL after telling why. */
static const face_t* find_face(const faces_t* faces, const char* text) {
  const face_t* face = find_name(faces, text);

  return face != NULL ? face : find_process(faces, text);
}

/* 0, EXIT_FAILURE after telling why, or a negative errno. */
static int choose_once(const char* text, face_t* ret_face, source_t* ret_source) {
  faces_t faces;
  const face_t* face;
  int err = EXIT_FAILURE;

  faces_scan(&faces, NULL);
  face = find_face(&faces, text);
  if (face != NULL) {
    *ret_face = *face;
    if (face->has_header)
      err = faces_open(ret_face, ret_source);
    else
      text_failed(text, face->missing[0] != '\0' ? face->missing : "its region cannot be read");
  }
  faces_free(&faces);
  return err;
}

/* A face may lose its name, or its process, between two looks: then another look finds it, or why not. */
bool face_choose(const char* text, face_t* ret_face, source_t* ret_source) {
  int err = -ENOENT;

  for (int i = 0; i < LOOKS && err < 0; i++) err = choose_once(text, ret_face, ret_source);
  if (err < 0) text_failed(text, err == -EACCES ? "its region may be read by its owner and root" : strerror(-err));
  return err == 0;
}

/* --- The end of the face -------------------------------------------------------------------------- */

/* Whether somebody still has the region. Its file remains as long as we have it, and tells nothing. */
static bool is_there(const face_t* face) {
  faces_t faces;
  bool found = false;

  faces_scan(&faces, NULL);
  for (size_t i = 0; i < faces.faces.n && !found; i++) {
    const face_t* one = &faces.faces.items[i];

    found = one->has_region && one->dev == face->dev && one->ino == face->ino && one->state != DEAD &&
            (one->engine.pid != 0 || one->app.pid != 0 || one->state == ALIVE);
  }
  faces_free(&faces);
  return found;
}

/* While a region is sealed, and loses its name, a look at files and processes may miss it: so one look is not
 * enough. */
bool face_has_ended(const face_t* face) {
  for (int i = 0; i < LOOKS; i++)
    if (is_there(face)) return false;
  return true;
}

int face_find_again(face_t* face, source_t* source) {
  source_t found = {.fd = -1};
  bool is_same;

  if (faces_open(face, &found) < 0) return -ENOENT;
  is_same = found.fd < 0 && found.pid == source->pid && found.address == source->address;
  source_close(source);
  *source = found;
  return !is_same;
}

bool face_is_in_memory(const face_t* face, const source_t* source) {
  procs_t procs;
  bool found = false;

  procs_scan_mappings(&procs, source->pid);
  for (size_t i = 0; i < procs.uses.n && !found; i++) {
    const use_t* use = &procs.uses.items[i];

    found = use->address == source->address && use->dev == face->dev && use->ino == face->ino;
  }
  procs_free(&procs);
  return found;
}
