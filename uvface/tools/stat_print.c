/* SPDX-License-Identifier: MIT */
/* stat_print.c: faces as text, one line each, and as JSON. Names of files and of processes may be anybody's: what is
 * not printable ASCII is escaped, so that nobody writes to the reader's terminal. */
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "stat.h"

#define CELL_BYTES 512

void escape(const char* text, bool with_space, char* ret, size_t bytes) {
  size_t n = 0;

  for (; *text != '\0' && n + 5 <= bytes; text++) {
    unsigned char c = (unsigned char) *text;

    if (c > ' ' && c <= '~' && c != '\\')
      ret[n++] = (char) c;
    else if (c == ' ' && !with_space)
      ret[n++] = ' ';
    else
      n += (size_t) snprintf(ret + n, bytes - n, "\\x%02x", c);
  }
  ret[n] = '\0';
}

/* What could not be seen, and who there is besides the ends. */
static void note_text(const face_t* face, char* ret, size_t bytes) {
  size_t n = (size_t) snprintf(ret, bytes, "%s", face->missing);

  if (face->others > 0)
    snprintf(ret + n, bytes - n, "%s%u more process%s", n > 0 ? "; " : "", face->others, face->others > 1 ? "es" : "");
}

/* -1: of a process that has just ended. */
static void user_name(uid_t uid, char* ret, size_t bytes) {
  const struct passwd* user = uid != (uid_t) -1 ? getpwuid(uid) : NULL;

  if (uid == (uid_t) -1)
    snprintf(ret, bytes, "?");
  else if (user != NULL)
    escape(user->pw_name, true, ret, bytes);
  else
    snprintf(ret, bytes, "%lu", (unsigned long) uid);
}

/* --- Text --------------------------------------------------------------------------------------- */

enum {
  FACE,
  STATE,
  ENGINE,
  APP,
  SLOTS,
  A2E_USED,
  E2A_USED,
  ASLEEP,
  SEALED,
  A2E_PACKETS,
  A2E_BYTES,
  E2A_PACKETS,
  E2A_BYTES,
  NOTE,
  COLUMNS
};

typedef struct column_s {
  const char* title;
  bool is_number; /* to the right */
} column_t;

static const column_t all_columns[COLUMNS] = {
    [FACE] = {"FACE", false},        [STATE] = {"STATE", false},          [ENGINE] = {"ENGINE", false},
    [APP] = {"APP", false},          [SLOTS] = {"SLOTS", false},          [A2E_USED] = {"A2E", true},
    [E2A_USED] = {"E2A", true},      [ASLEEP] = {"ASLEEP", false},        [SEALED] = {"SEALED", false},
    [NOTE] = {"NOTE", false},        [A2E_PACKETS] = {"A2E-PKT/S", true}, [A2E_BYTES] = {"A2E-B/S", true},
    [E2A_BYTES] = {"E2A-B/S", true}, [E2A_PACKETS] = {"E2A-PKT/S", true},
};

/* In which order; the note, which is mostly empty, is the last. What moves comes first where it is watched: a terminal
 * of 80 columns has room for the rates. */
static const unsigned char listed[] = {FACE, STATE, ENGINE, APP, SLOTS, A2E_USED, E2A_USED, ASLEEP, SEALED, NOTE};
static const unsigned char watched[] = {FACE,     STATE,  A2E_PACKETS, A2E_BYTES, E2A_PACKETS, E2A_BYTES, A2E_USED,
                                        E2A_USED, ASLEEP, ENGINE,      APP,       SLOTS,       SEALED,    NOTE};

typedef struct row_s {
  char cells[COLUMNS][CELL_BYTES];
} row_t;

static const char* state_name(state_t state) {
  static const char* const names[] = {"unknown", "alive", "dead", "gone", "none"};

  return names[state];
}

const char* no_app(state_t state) {
  return state == NONE ? "-" : state == UNKNOWN ? "?" : state_name(state);
}

void process_text(const process_t* process, bool is_guess, const char* missing, char* ret, size_t bytes) {
  char program[4 * sizeof(process->program)], user[CELL_BYTES / 4];

  if (process->pid == 0) {
    snprintf(ret, bytes, "%s", missing);
    return;
  }
  escape(process->program, true, program, sizeof(program));
  user_name(process->uid, user, sizeof(user));
  snprintf(ret, bytes, "%s%ld/%s/%s", is_guess ? "?" : "", (long) process->pid, program[0] != '\0' ? program : "?",
           user);
}

static void used_text(const face_t* face, const ring_t* ring, char* ret, size_t bytes) {
  uint32_t used = ring->tail - ring->head;

  if (!face->has_header)
    snprintf(ret, bytes, "?");
  else if (used > face->header.capacity)
    snprintf(ret, bytes, "broken");
  else
    snprintf(ret, bytes, "%" PRIu32, used);
}

static void sleepers_text(const face_t* face, char* ret, size_t bytes) {
  const header_t* h = &face->header;

  snprintf(ret, bytes, "%s%s%s%s", h->a2e.consumer_parked ? ",engine" : "", h->e2a.consumer_parked ? ",app" : "",
           h->e2a.producer_waiting ? ",engine-full" : "", h->a2e.producer_waiting ? ",app-full" : "");
  if (!face->has_header)
    snprintf(ret, bytes, "?");
  else if (ret[0] == '\0')
    snprintf(ret, bytes, "-");
  else
    memmove(ret, ret + 1, strlen(ret));
}

static void rate_text(const rate_t* rate, char* ret_packets, char* ret_bytes) {
  snprintf(ret_packets, CELL_BYTES, rate->is_known ? "%.0f" : "-", rate->packets);
  snprintf(ret_bytes, CELL_BYTES, rate->is_known ? "%.0f" : "-", rate->bytes);
}

static void head_row(row_t* row) {
  for (size_t i = 0; i < COLUMNS; i++) snprintf(row->cells[i], CELL_BYTES, "%s", all_columns[i].title);
}

static void face_row(const face_t* face, row_t* row) {
  char name[4 * NAME_BYTES], label[64];

  escape(face->name, true, name, sizeof(name));
  face_label(face, label, sizeof(label));
  if (name[0] != '\0')
    snprintf(row->cells[FACE], CELL_BYTES, "%.400s", name);
  else
    snprintf(row->cells[FACE], CELL_BYTES, "(%s)", label);
  snprintf(row->cells[STATE], CELL_BYTES, "%s", state_name(face->state));
  process_text(&face->engine, face->roles_unknown, "-", row->cells[ENGINE], CELL_BYTES);
  process_text(&face->app, face->roles_unknown, no_app(face->app_state), row->cells[APP], CELL_BYTES);
  if (face->has_header)
    snprintf(row->cells[SLOTS], CELL_BYTES, "%" PRIu32 "x%" PRIu32, face->header.capacity, face->header.slot_size);
  else
    snprintf(row->cells[SLOTS], CELL_BYTES, "?");
  used_text(face, &face->header.a2e, row->cells[A2E_USED], CELL_BYTES);
  used_text(face, &face->header.e2a, row->cells[E2A_USED], CELL_BYTES);
  sleepers_text(face, row->cells[ASLEEP], CELL_BYTES);
  snprintf(row->cells[SEALED], CELL_BYTES, "%s", face->sealed < 0 ? "?" : face->sealed > 0 ? "yes" : "no");
  rate_text(&face->a2e_rate, row->cells[A2E_PACKETS], row->cells[A2E_BYTES]);
  rate_text(&face->e2a_rate, row->cells[E2A_PACKETS], row->cells[E2A_BYTES]);
  note_text(face, row->cells[NOTE], CELL_BYTES);
}

/* Nothing is padded at the end of a line. */
static void print_row(FILE* to, const row_t* row, const unsigned char* order, size_t n, const int* widths) {
  if (row->cells[order[n - 1]][0] == '\0') n--;
  for (size_t k = 0; k < n; k++) {
    unsigned char column = order[k];
    bool is_last = k + 1 == n;
    int width = all_columns[column].is_number ? widths[column] : is_last ? 0 : -widths[column]; /* < 0: to the left */

    fprintf(to, "%*s%s", width, row->cells[column], is_last ? "\n" : "  ");
  }
}

static void shorten(char* text, size_t columns) {
  size_t n = strlen(text), first = (columns - 2) / 2, last = columns - 3 - first;

  if (n <= columns) return;
  memset(text + first, '.', 3);
  memmove(text + first + 3, text + n - last, last + 1);
}

/* Of so many faces, if the title needs a line, too, and that there are more. */
static size_t that_fit(size_t n, size_t lines) {
  if (n < lines) return n;
  return lines > 2 ? lines - 2 : 0;
}

void print_table(FILE* to, const faces_t* faces, bool with_rates, const room_t* room) {
  const unsigned char* order = with_rates ? watched : listed;
  size_t shown = that_fit(faces->faces.n, room->lines), n_rows = shown + 1;
  size_t n_columns = with_rates ? sizeof(watched) : sizeof(listed);
  int widths[COLUMNS] = {0};
  row_t* rows = calloc(n_rows, sizeof(row_t));

  if (rows == NULL) return;
  head_row(&rows[0]);
  for (size_t i = 0; i < shown; i++) {
    face_row(&faces->faces.items[i], &rows[i + 1]);
    shorten(rows[i + 1].cells[FACE], room->name_columns);
  }
  for (size_t i = 0; i < n_rows; i++)
    for (size_t k = 0; k < COLUMNS; k++)
      if ((int) strlen(rows[i].cells[k]) > widths[k]) widths[k] = (int) strlen(rows[i].cells[k]);
  for (size_t i = 0; i < n_rows; i++) print_row(to, &rows[i], order, n_columns, widths);
  if (shown < faces->faces.n) fprintf(to, "... %zu more\n", faces->faces.n - shown);
  free(rows);
}

/* --- JSON --------------------------------------------------------------------------------------- */

static json_t* escaped(const char* text) {
  char shown[4 * NAME_BYTES + 256];

  escape(text, false, shown, sizeof(shown));
  return json_string(shown);
}

static json_t* process_json(const process_t* process) {
  char user[CELL_BYTES];

  if (process->pid == 0) return json_null();
  user_name(process->uid, user, sizeof(user));
  return json_pack("{s:I, s:o, s:I, s:s}", "pid", (json_int_t) process->pid, "program", escaped(process->program),
                   "uid", process->uid != (uid_t) -1 ? (json_int_t) process->uid : -1, "user", user);
}

static json_t* ring_json(const ring_t* ring, const rate_t* rate, bool with_rates) {
  json_t* all = json_pack("{s:I, s:I, s:I, s:b, s:b}", "tail", (json_int_t) ring->tail, "head", (json_int_t) ring->head,
                          "used", (json_int_t) (uint32_t) (ring->tail - ring->head), "consumer_parked",
                          ring->consumer_parked, "producer_waiting", ring->producer_waiting);

  if (with_rates) {
    json_object_set_new(all, "packets_per_s", rate->is_known ? json_real(rate->packets) : json_null());
    json_object_set_new(all, "bytes_per_s", rate->is_known ? json_real(rate->bytes) : json_null());
  }
  return all;
}

static const char* kind_of(const face_t* face) {
  return face->is_private ? "private" : face->name[0] != '\0' ? "named" : "unnamed";
}

static json_t* number_json(bool is_known, uint64_t number) {
  return is_known ? json_integer((json_int_t) number) : json_null();
}

static json_t* note_json(const face_t* face) {
  char note[CELL_BYTES];

  note_text(face, note, sizeof(note));
  return note[0] != '\0' ? json_string(note) : json_null();
}

/* All keys are always there; what is not known is null. */
static json_t* face_json(const face_t* face, bool with_rates) {
  const header_t* h = &face->header;
  bool is_read = face->has_header;
  json_t* all =
      json_pack("{s:o, s:s, s:b, s:s, s:s, s:b, s:o, s:o, s:I}", "name",
                face->name[0] != '\0' ? escaped(face->name) : json_null(), "kind", kind_of(face), "has_region_name",
                face->has_region_name, "state", state_name(face->state), "app_state", state_name(face->app_state),
                "roles_unknown", face->roles_unknown, "engine", process_json(&face->engine), "app",
                process_json(&face->app), "other_processes", (json_int_t) face->others);

  json_object_set_new(all, "inode", number_json(face->has_region, face->ino));
  json_object_set_new(all, "owner_uid", number_json(face->has_owner, face->owner));
  json_object_set_new(all, "sealed", face->sealed < 0 ? json_null() : json_boolean(face->sealed));
  json_object_set_new(all, "file_size", number_json(face->has_region_name || face->bytes > 0, face->bytes));
  json_object_set_new(all, "capacity", number_json(is_read, h->capacity));
  json_object_set_new(all, "slot_size", number_json(is_read, h->slot_size));
  json_object_set_new(all, "engine_caps", number_json(is_read, h->engine_caps));
  json_object_set_new(all, "app_caps", number_json(is_read, h->app_caps));
  json_object_set_new(all, "a2e", is_read ? ring_json(&h->a2e, &face->a2e_rate, with_rates) : json_null());
  json_object_set_new(all, "e2a", is_read ? ring_json(&h->e2a, &face->e2a_rate, with_rates) : json_null());
  json_object_set_new(all, "missing", note_json(face));
  return all;
}

json_t* faces_json(const faces_t* faces, bool with_rates) {
  json_t* list = json_array();

  for (size_t i = 0; i < faces->faces.n; i++)
    json_array_append_new(list, face_json(&faces->faces.items[i], with_rates));
  return json_pack("{s:f, s:o, s:I}", "time", faces->time_s, "faces", list, "hidden_processes",
                   (json_int_t) faces->hidden);
}

json_t* stales_json(const stales_t* stales) {
  json_t* list = json_array();

  for (size_t i = 0; i < stales->items.n; i++) {
    const stale_t* stale = &stales->items.items[i];

    json_array_append_new(list, json_pack("{s:o, s:o}", "path", escaped(stale->path), "error",
                                          stale->status < 0 ? json_string(strerror(-stale->status)) : json_null()));
  }
  return json_pack("{s:o}", "stale", list);
}
