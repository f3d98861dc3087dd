/* SPDX-License-Identifier: MIT */
/* stat.h: what the parts of uvface-stat share with each other and, all but the last three, with uvface-dump.
 *
 *   stat_look.c   a region from outside: its header, its seal, the packets in its slots
 *   stat_procs.c  processes: which regions they map or hold open, which FIFOs, which locks
 *   stat_faces.c  names, regions and processes become faces
 *   stat_stale.c  what dead engines left
 *   stat_wait.c   waiting, until a signal comes or nobody reads any more
 *   stat_print.c  text and JSON
 *   stat_screen.c a terminal's screen
 *   stat.c        the command line, and watching
 *
 * Nothing here maps, writes to, waits for or signals what it looks at. What it shows is somebody else's: unchecked
 * values, and names of any bytes, which are escaped. One thread at a time. */
#ifndef UVFACE_STAT_H
#define UVFACE_STAT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define SHM_DIRECTORY "/dev/shm"
#define FIFO_DIRECTORY "/tmp"
#define REGION_PREFIX "ndn-shm-"
#define FIFO_PREFIX ".ndn-"
#define NAME_BYTES 256 /* of a file, with its end */

/* An array that grows: `items` of `n` elements. */
#define LIST(type)  \
  struct {          \
    type* items;    \
    size_t n, room; \
  }
/* A new element at the end, all zero. Ends the program if there is no memory. */
#define LIST_ADD(list) \
  (list_grow((void**) &(list)->items, &(list)->room, (list)->n, sizeof((list)->items[0])), &(list)->items[(list)->n++])
void list_grow(void** items, size_t* room, size_t n, size_t item_bytes);

/* --- Processes ----------------------------------------------------------------------------------- */

typedef struct process_s {
  pid_t pid; /* 0 = none */
  uid_t uid;
  char program[64];
} process_t;

/* What a process has to do with a region. */
typedef struct use_s {
  process_t process;
  dev_t dev;
  ino_t ino;
  bool is_mapped;             /* else only open */
  char at[64];                /* under /proc: by which name it can be opened */
  uint64_t address, bytes;    /* of the mapping */
  char path[NAME_BYTES + 32]; /* as the process knows it: another file may have that name */
} use_t;

/* What a process has to do with a FIFO. */
typedef struct end_s {
  process_t process;
  dev_t dev;
  ino_t ino;
  bool reads, writes;
} end_t;

/* The holder of a lock. */
typedef struct lock_s {
  pid_t pid;
  dev_t dev;
  ino_t ino;
} lock_t;

typedef struct procs_s {
  LIST(use_t) uses;
  LIST(end_t) ends;
  LIST(lock_t) locks;
  unsigned int hidden; /* processes that could not be looked into */
} procs_t;

void procs_scan(procs_t* procs);
/* Only the regions that one process maps. */
void procs_scan_mappings(procs_t* procs, pid_t pid);
void procs_free(procs_t* procs);
process_t process_of(pid_t pid);
/* The PID that a process has for itself, in its own PID namespace. 0 = it has just ended. */
pid_t own_pid_of(pid_t pid);

/* Splits the file name of a FIFO: the name of its face, and which it is. */
bool fifo_name(const char* file, char ret_name[NAME_BYTES], bool* ret_is_a2e);

/* --- Regions -------------------------------------------------------------------------------------- */

typedef struct ring_s {
  uint32_t tail, head;
  bool consumer_parked, producer_waiting;
} ring_t;

typedef struct header_s {
  uint64_t magic;
  uint32_t capacity, slot_size, engine_caps, app_caps;
  ring_t a2e, e2a;
} header_t;

#define MAGIC UINT64_C(0x4E444E5F53484D00)
#define CAPS_TAG_MASK UINT32_C(0xFFFF0000) /* caps with another tag are none */
#define CAPS_TAG UINT32_C(0x55460000)

/* From where a region is read: a descriptor, or another process's memory. */
typedef struct source_s {
  int fd; /* -1 = none */
  pid_t pid;
  uint64_t address;
  uint64_t bytes; /* of the file, or of the mapping: nothing beyond is read, whatever a header says */
} source_t;

/* Opens a path for reading if it is a regular file: looks first, and neither waits nor follows a symbolic link, unless
 * it is one of /proc, which leads to the very file. 0, or a negative errno; -EPERM: another kind of file. */
int source_open(const char* path, bool is_in_proc, source_t* ret_source, uid_t* ret_owner);
void source_close(source_t* source);
int source_read(const source_t* source, void* bytes, size_t n, uint64_t offset);
int source_read_header(const source_t* source, header_t* ret_header);
/* How long the region is, by its header. */
uint64_t region_bytes(const header_t* header);
/* The two indices of a ring, of nearly the same instant. 0, or a negative errno. */
int source_read_indices(const source_t* source, bool is_a2e, uint32_t* ret_tail, uint32_t* ret_head);
/* Copies the slot of an index: its length, whatever that is, and as much of its packet as a slot of that header holds;
 * packet has room for slot_size bytes. What the producer does meanwhile is the caller's to find out. 0, or a negative
 * errno. */
int source_read_slot(const source_t* source, const header_t* header, bool is_a2e, uint32_t index, void* packet,
                     uint32_t* ret_length);
/* 1, 0, or -1 if it cannot be told. */
int source_is_sealed(const source_t* source);
/* The mean length of the last n packets that were put into a ring, as far as they lie there; at most 64 are looked
 * at. */
double source_mean_bytes(const source_t* source, const header_t* header, bool is_a2e, uint32_t n);

/* --- Faces ---------------------------------------------------------------------------------------- */

typedef enum state_e { UNKNOWN, ALIVE, DEAD, GONE, NONE } state_t;

typedef struct rate_s {
  bool is_known;
  double packets, bytes; /* a second */
} rate_t;

typedef struct face_s {
  char name[NAME_BYTES]; /* "" = private, or not known */
  bool is_private;
  bool had_name;        /* a process knows its region by the name of one */
  pid_t maker;          /* of a private region, by its name, as that process saw itself; 0 = not told */
  bool has_region_name; /* in /dev/shm */
  bool has_region;
  dev_t dev;
  ino_t ino;
  dev_t a2e_dev;
  ino_t a2e_ino; /* 0 = there is none */
  bool has_owner;
  uid_t owner;
  uint64_t bytes;           /* of its file; 0 = not known, unless the region has a name */
  state_t state, app_state; /* of the engine, and of the app, which alone can be GONE or NONE */
  process_t engine, app;
  bool roles_unknown; /* engine and app are two processes, and which is which cannot be told */
  unsigned int others;
  bool has_header;
  header_t header;
  double header_s;             /* when it was read, by now_s() */
  int sealed;                  /* 1, 0, -1 = not known */
  double a2e_bytes, e2a_bytes; /* mean length of the last packets */
  rate_t a2e_rate, e2a_rate;
  char missing[160]; /* what could not be seen, and why; "" = nothing */
} face_t;

typedef struct faces_s {
  LIST(face_t) faces;
  unsigned int hidden;
  double time_s; /* when they were looked at, since 1970 */
} faces_t;

/* All faces of the machine. before: of the last look, for rates; or NULL. */
void faces_scan(faces_t* faces, const faces_t* before);
void faces_free(faces_t* faces);
/* What a user calls a face without a name, and how it is shown: by the inode of its region. */
void face_label(const face_t* face, char* ret, size_t bytes);
/* Whether it is called so: by its name, if that is one that an engine can give, or by its label, in parentheses or
 * without. */
bool face_is_called(const face_t* face, const char* text);
/* Whether the process of that number is one of its ends. False for a text that is no number. */
bool face_is_on(const face_t* face, const char* pid_text);
/* Why none of them is meant by a text: there is none, or it may be hidden from this user. */
const char* faces_why_none(const faces_t* faces, const char* text);
/* Opens the region of one of them for reading. 0, or a negative errno; -ENOENT, -ESTALE: it has lost its name since, or
 * another has that name: scan again. */
int faces_open(face_t* face, source_t* ret_source);

/* --- What dead engines left ------------------------------------------------------------------------ */

typedef struct stale_s {
  char path[NAME_BYTES + 32];
  int status; /* 0, or a negative errno: why it was not removed */
} stale_t;

typedef struct stales_s {
  LIST(stale_t) items;
  bool is_incomplete; /* somebody's could not be looked at; told on stderr */
} stales_t;

/* All of them; root's own are its, and those of each other user are looked at with that user's rights alone. */
void stales_scan(stales_t* stales, bool remove, bool is_quiet);
/* Of one face, by its owner's rights. 0, or a negative errno. */
int stales_scan_name(stales_t* stales, const char* name, bool remove);
void stales_free(stales_t* stales);

/* --- Waiting ---------------------------------------------------------------------------------------- */

/* From now on SIGINT, SIGTERM and SIGHUP come only while one of these waits, so that none is lost before it; but SIGHUP
 * stays ignored, if it is, as by nohup(1). And a pipe that nobody reads is told by an error. */
void catch_signals(void);
/* Whether one of them has come, or waits to. */
bool is_interrupted(void);
/* Seconds of a clock that nobody sets. */
double now_s(void);
/* True after so many seconds; false after a signal, or when nobody reads any more what is written to fd, which a pipe
 * tells before it is written to. fd: -1 = none. */
bool wait_for_next(double seconds, int fd);
/* As write(2), but one of the signals ends the waiting for who does not read: EINTR. After it, nothing waits for longer
 * than a second. n: up to PIPE_BUF, if it may have to wait. */
ssize_t write_or_end(int fd, const void* bytes, size_t n);

/* --- Output ---------------------------------------------------------------------------------------- */

/* Printable ASCII stays; everything else, and the backslash, becomes \xNN. */
void escape(const char* text, bool with_space, char* ret, size_t bytes);
/* What there is room for; SIZE_MAX = for all. */
typedef struct room_s {
  size_t lines, name_columns;
} room_t;

/* What stands in the place of an app. */
const char* no_app(state_t state);
/* PID/PROGRAM/USER, escaped, behind a question mark if that is a guess; missing: what stands there if there is no
 * process. */
#define PROCESS_TEXT_BYTES 512
void process_text(const process_t* process, bool is_guess, const char* missing, char* ret, size_t bytes);
/* Names that are too long are cut in the middle, and a last line says how many faces there was no room for. */
void print_table(FILE* to, const faces_t* faces, bool with_rates, const room_t* room);
json_t* faces_json(const faces_t* faces, bool with_rates);
json_t* stales_json(const stales_t* stales);

typedef struct screen_s {
  size_t columns, lines; /* SIZE_MAX = not known */
  FILE* to;              /* what is to be drawn is written here */
  char* text;
  size_t bytes;
} screen_t;

/* An empty screen, as large as the terminal fd is now. False if there is no memory. */
bool screen_open(screen_t* screen, int fd);
/* How many lines it has below what was written. */
size_t screen_room(screen_t* screen);
/* Draws it, and gives its memory back. */
void screen_draw(screen_t* screen, FILE* terminal);

#endif
