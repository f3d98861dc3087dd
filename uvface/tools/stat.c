/* SPDX-License-Identifier: MIT */
/* stat.c: uvface-stat: which faces there are on this machine, who is on them, and what dead engines left. The command
 * line, and watching. */
#include <errno.h>
#include <getopt.h>
#include <ndnshm.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "stat.h"

enum { FAILED = 1, USAGE = 2, FOUND_DEAD = 3 };

typedef struct options_s {
  bool json, stale, remove;
  double watch_s; /* 0 = look once */
  char** names;
  int n_names;
} options_t;

static void usage(FILE* to) {
  fputs(
      "usage: uvface-stat [--json] [--watch[=SECONDS]] [NAME|PID...]\n"
      "       uvface-stat {--stale | --remove} [--json] [NAME...]\n"
      "Lists the shared-memory faces of this machine, or those called NAME, or that process PID is on.\n"
      "  -j, --json          as JSON; with --watch an object a line\n"
      "  -w, --watch[=S]     again every S seconds (default 1), with packets and bytes a second\n"
      "  -s, --stale         what dead engines left\n"
      "  -r, --remove        removes that\n"
      "  -h, --help          this text\n"
      "  -V, --version       the version\n"
      "Status: 0, 1 failed, 2 usage.\n"
      "  With NAME or PID: 0 all are alive, 1 one is not there or not known to live, 3 one is a dead engine's.\n"
      "  A list of all ends with 0, whatever it shows; --stale with 3 if there is something.\n",
      to);
}

static void tell(FILE* to, const char* name, const char* why) {
  char shown[4 * NAME_BYTES];

  escape(name, false, shown, sizeof(shown));
  fprintf(to, "uvface-stat: %s: %s\n", shown, why);
}

static int fail(const char* name, const char* why) {
  tell(stderr, name, why);
  return FAILED;
}

static bool parse_seconds(const char* text, double* ret_seconds) {
  char* end;
  double seconds = text != NULL ? strtod(text, &end) : 1;

  if (text != NULL && (end == text || *end != '\0')) return false;
  if (!(seconds >= 0.01 && seconds <= 86400)) return false;
  *ret_seconds = seconds;
  return true;
}

/* --- Output --------------------------------------------------------------------------------------- */

static int print_json(json_t* all, bool is_line) {
  int rc = all == NULL ? -1 : json_dumpf(all, stdout, is_line ? JSON_COMPACT : JSON_INDENT(2));

  putchar('\n');
  json_decref(all);
  return rc;
}

/* False if nobody reads any more, or the disk is full. */
static bool flush(void) {
  return fflush(stdout) == 0 && !ferror(stdout);
}

static int fail_output(void) {
  return fail("standard output", errno != 0 ? strerror(errno) : "failed");
}

/* The status after what is all that was to be printed. */
static int print_end(void) {
  return flush() ? EXIT_SUCCESS : fail_output();
}

static bool is_an_app_unknown(const faces_t* faces) {
  for (size_t i = 0; i < faces->faces.n; i++)
    if (faces->faces.items[i].app_state == UNKNOWN) return true;
  return false;
}

/* Of faces that were asked for, only if it explains something of them. */
static void tell_hidden(FILE* to, const faces_t* faces, const options_t* o) {
  if (faces->hidden == 0 || (o->n_names > 0 && !is_an_app_unknown(faces))) return;
  fprintf(to,
          "%u processes of other users could not be looked into: apps and private faces of theirs are not shown "
          "(root sees all)\n",
          faces->hidden);
}

/* --- Faces ---------------------------------------------------------------------------------------- */

static const room_t all = {SIZE_MAX, SIZE_MAX};

typedef bool (*is_meant_t)(const face_t* face, const char* text);

/* A NAME goes before a PID. */
static is_meant_t meaning_of(const faces_t* faces, const char* text) {
  for (size_t i = 0; i < faces->faces.n; i++)
    if (face_is_called(&faces->faces.items[i], text)) return face_is_called;
  return face_is_on;
}

/* Keeps those that were asked for. Returns the status. */
static int select_faces(faces_t* faces, const options_t* o) {
  bool failed = false, dead = false;
  bool* is_kept;
  size_t kept = 0;

  if (o->n_names == 0) return EXIT_SUCCESS;
  is_kept = calloc(faces->faces.n + 1, sizeof(bool));
  if (is_kept == NULL) return fail("faces", strerror(ENOMEM));
  for (int k = 0; k < o->n_names; k++) {
    is_meant_t is_meant = meaning_of(faces, o->names[k]);
    bool found = false;

    for (size_t i = 0; i < faces->faces.n; i++) {
      const face_t* face = &faces->faces.items[i];

      if (!is_meant(face, o->names[k])) continue;
      found = is_kept[i] = true;
      dead = dead || face->state == DEAD;
      failed = failed || face->state == UNKNOWN;
    }
    if (!found) failed = true;
  }
  for (size_t i = 0; i < faces->faces.n; i++)
    if (is_kept[i]) faces->faces.items[kept++] = faces->faces.items[i];
  faces->faces.n = kept;
  free(is_kept);
  return failed ? FAILED : dead ? FOUND_DEAD : EXIT_SUCCESS;
}

/* Who writes "--watch 2" may mean seconds. */
static void tell_none(FILE* to, const faces_t* faces, const options_t* o, const char* text) {
  char shown[4 * NAME_BYTES];
  double seconds;

  tell(to, text, faces_why_none(faces, text));
  if (o->watch_s == 0 || !parse_seconds(text, &seconds)) return;
  escape(text, false, shown, sizeof(shown));
  fprintf(to, "uvface-stat: seconds go with \"=\": --watch=%s\n", shown);
}

/* Those that were asked for and are not among the selected. */
static void tell_missing(FILE* to, const faces_t* faces, const options_t* o) {
  for (int k = 0; k < o->n_names; k++) {
    is_meant_t is_meant = meaning_of(faces, o->names[k]);
    size_t i = 0;

    while (i < faces->faces.n && !is_meant(&faces->faces.items[i], o->names[k])) i++;
    if (i == faces->faces.n) tell_none(to, faces, o, o->names[k]);
  }
}

static int list(const options_t* o) {
  faces_t faces;
  int status, rc = 0;

  faces_scan(&faces, NULL);
  status = select_faces(&faces, o);
  tell_missing(stderr, &faces, o);
  if (o->json)
    rc = print_json(faces_json(&faces, false), false);
  else if (faces.faces.n > 0 || o->n_names == 0)
    print_table(stdout, &faces, false, &all);
  if (!flush() || rc != 0) status = fail_output();
  if (!o->json) tell_hidden(stderr, &faces, o);
  faces_free(&faces);
  return status;
}

/* --- Watching ------------------------------------------------------------------------------------- */

/* Looks are due at whole intervals after the first, however long each takes; one that took longer skips some. */
static double until_next(double first_s, double interval_s) {
  double since_s = now_s() - first_s;

  return ((double) (uint64_t) (since_s / interval_s) + 1) * interval_s - since_s;
}

static void print_title(FILE* to, const faces_t* faces, const options_t* o) {
  time_t now = (time_t) faces->time_s;
  struct tm tm;
  char at[32] = "";

  if (localtime_r(&now, &tm) != NULL) strftime(at, sizeof(at), "%Y-%m-%d %H:%M:%S", &tm);
  fprintf(to, "uvface-stat %s, every %g s: %zu face%s\n", at, o->watch_s, faces->faces.n,
          faces->faces.n == 1 ? "" : "s");
}

/* On a narrow screen names leave most of the line to what moves. */
static size_t name_columns(const screen_t* screen) {
  size_t quarter = screen->columns / 4;

  return quarter > 12 ? quarter : 12;
}

static void draw_screen(const options_t* o, const faces_t* faces) {
  screen_t screen;
  room_t room;

  if (!screen_open(&screen, STDOUT_FILENO)) return;
  print_title(screen.to, faces, o);
  tell_hidden(screen.to, faces, o);
  tell_missing(screen.to, faces, o); /* they may come */
  room = (room_t){screen_room(&screen), name_columns(&screen)};
  print_table(screen.to, faces, true, &room);
  screen_draw(&screen, stdout);
}

static void draw_lines(const options_t* o, const faces_t* faces, bool is_first) {
  if (o->json) {
    print_json(faces_json(faces, true), true);
  } else {
    print_table(stdout, faces, true, &all);
    putchar('\n');
  }
  if (is_first) tell_missing(stderr, faces, o);
  if (is_first && !o->json) tell_hidden(stderr, faces, o);
}

static int watch(const options_t* o) {
  bool is_screen = isatty(STDOUT_FILENO) == 1 && !o->json;
  faces_t before = {.hidden = 0}, now;
  double first_s = now_s();
  bool is_first = true;
  int status = EXIT_SUCCESS;
  bool is_written;

  catch_signals();
  do {
    faces_scan(&now, is_first ? NULL : &before);
    select_faces(&now, o);
    if (is_screen)
      draw_screen(o, &now);
    else
      draw_lines(o, &now, is_first);
    is_first = false;
    faces_free(&before);
    before = now;
    is_written = flush(); /* and errno says why not */
  } while (is_written && wait_for_next(until_next(first_s, o->watch_s), STDOUT_FILENO));
  /* A pipe that nobody reads, or a terminal that is gone, is an end like others. */
  if (!is_written && errno != EPIPE && !is_screen) status = fail_output();
  faces_free(&before);
  return status;
}

/* --- What dead engines left ----------------------------------------------------------------------- */

static const char* why_not(int err) {
  if (err == -ENOENT) return "no such face";
  if (err == -EINVAL || err == -ENAMETOOLONG) return "not a name of a face, and one without a name leaves nothing";
  if (err == -EADDRINUSE) return "alive, or somebody else's, or not proved to be dead";
  return strerror(-err);
}

static bool scan_names(stales_t* stales, const options_t* o) {
  bool failed = false;

  for (int k = 0; k < o->n_names; k++) {
    int err = stales_scan_name(stales, o->names[k], o->remove);

    if (err == 0) continue;
    fail(o->names[k], why_not(err));
    failed = true;
  }
  return failed;
}

static int stale(const options_t* o) {
  stales_t stales = {.is_incomplete = false};
  bool failed = false;
  int rc = 0;

  if (o->n_names > 0)
    failed = scan_names(&stales, o);
  else
    stales_scan(&stales, o->remove, false);
  failed = failed || stales.is_incomplete;
  for (size_t i = 0; i < stales.items.n; i++) {
    const stale_t* item = &stales.items.items[i];
    char shown[4 * NAME_BYTES + 128];

    escape(item->path, false, shown, sizeof(shown));
    if (item->status < 0) failed = true;
    if (item->status < 0) fprintf(stderr, "uvface-stat: %s: %s\n", shown, strerror(-item->status));
    if (!o->json && item->status == 0) puts(shown);
  }
  if (o->json) rc = print_json(stales_json(&stales), false);
  if (!flush() || rc != 0)
    rc = fail_output();
  else
    rc = failed ? FAILED : stales.items.n > 0 && !o->remove ? FOUND_DEAD : EXIT_SUCCESS;
  stales_free(&stales);
  return rc;
}

/* --- The command line ----------------------------------------------------------------------------- */

/* -1: go on; else the status to end with. */
static int parse(int argc, char** argv, options_t* o) {
  static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                          {"watch", optional_argument, NULL, 'w'},
                                          {"stale", no_argument, NULL, 's'},
                                          {"remove", no_argument, NULL, 'r'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'V'},
                                          {NULL, 0, NULL, 0}};
  bool stale = false;
  int option;

  while ((option = getopt_long(argc, argv, "jw::srhV", options, NULL)) != -1) {
    if (option == 'h') {
      usage(stdout);
      return print_end();
    }
    if (option == 'V') {
      printf("uvface-stat %s\n", ndnshm_version_string());
      return print_end();
    }
    if (option == 'j') o->json = true;
    if (option == 's') stale = true;
    if (option == 's' || option == 'r') o->stale = true;
    if (option == 'r') o->remove = true;
    if (option == 'w' && !parse_seconds(optarg, &o->watch_s)) {
      char shown[4 * NAME_BYTES];

      escape(optarg, false, shown, sizeof(shown));
      fprintf(stderr, "uvface-stat: --watch: \"%s\" is not a number of seconds from 0.01 to 86400\n", shown);
      option = '?';
    }
    if (option == '?') {
      usage(stderr);
      return USAGE;
    }
  }
  o->names = argv + optind;
  o->n_names = argc - optind;
  if (stale && o->remove) {
    fputs("uvface-stat: --stale looks and --remove removes: give one of them\n", stderr);
    return USAGE;
  }
  if (o->stale && o->watch_s > 0) {
    fputs("uvface-stat: --watch goes with neither --stale nor --remove\n", stderr);
    return USAGE;
  }
  return -1;
}

int main(int argc, char** argv) {
  options_t o = {.json = false};
  int status = parse(argc, argv, &o);

  if (status >= 0) return status;
  if (o.stale) return stale(&o);
  return o.watch_s > 0 ? watch(&o) : list(&o);
}
