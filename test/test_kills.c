/* SPDX-License-Identifier: MIT */
/* test_kills.c: a process is killed at every step of its life with a face: before each access to shared memory
 * and before each call to the kernel (shim.h), from create or connect through sending, receiving, parking and
 * waking up to close. Whatever the step, who survives is told once if they were attached, gets whole packets in
 * order and all that were sent, and the name can be taken again.
 * Under sanitizers and valgrind (UVFACE_SLOW=n) only every n-th step is tried. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ndnshm.h>

#include "faces.h"
#include "names.h"
#include "shim.h"

#define RING 8
#define SINGLES 1
#define BATCH 3
#define QUEUED 12   /* more than the ring holds */
#define GREETINGS 3 /* from the survivor, before the victim is let go */
#define DEADLINE_NS (UINT64_C(20000000000) * harness_slow())
#define MAX_STEPS SHIM_TRACE_STEPS

/* What a victim leaves behind for its survivor to read. */
typedef struct will_s {
  shim_trace_t trace;
  unsigned int begun; /* packets whose sending has begun */
  unsigned int sent;  /* packets of calls that returned */
  unsigned int received;
  bool finished; /* it lived to the end */
  bool failed;   /* something went wrong before it died */
} will_t;

/* An end of a face, the victim's or the survivor's. */
typedef struct survivor_s {
  uv_loop_t loop;
  uvface_t face;
  unsigned int got, bad, ends;
  int end_error;
  uint64_t end_ns;
  unsigned int reply_at; /* answers that packet; 0 = none */
} survivor_t;

typedef struct case_s {
  char name[80];
  bool victim_is_engine;
  bool frozen; /* the survivor does nothing while the victim lives */
  unsigned int die_at;
  int control[2]; /* the survivor's end, the victim's end */
  will_t* will;
} case_t;

/* --- Packets that tell whether they are whole ------------------------------------------------- */

static size_t message(unsigned int sequence, unsigned char* text) {
  size_t bytes = 1 + sequence * 37 % 90;

  memset(text, (int) (sequence + 1), bytes);
  return bytes;
}

static bool is_message(const uv_buf_t* packet, unsigned int sequence) {
  unsigned char expected[100];
  size_t bytes = message(sequence, expected);

  return packet->len == bytes && memcmp(packet->base, expected, bytes) == 0;
}

static int try_message(uvface_t* face, unsigned int sequence) {
  unsigned char text[100];
  uv_buf_t buf = uv_buf_init((char*) text, 0);

  buf.len = message(sequence, text);
  return uvface_try_send(face, &buf, 1);
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  survivor_t* end = face->data;

  if (npkts < 0) {
    end->ends++;
    end->end_error = (int) npkts;
    end->end_ns = harness_now_ns();
    return;
  }
  for (ssize_t p = 0; p < npkts; p++) {
    if (!is_message(&pkts[p], end->got)) end->bad++;
    if (++end->got == end->reply_at) try_message(face, GREETINGS);
  }
}

/* --- The victim ------------------------------------------------------------------------------- */

static uvface_options_t cold_options(void) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;

  options.capacity = RING;
  options.slot_size = 100;
  options.hot_ns = options.spin_ns = 0; /* as few steps as possible, and parked after each packet */
  return options;
}

static int open_end(survivor_t* end, const char* name, bool is_engine) {
  uvface_options_t options = cold_options();
  int err = uv_loop_init(&end->loop);

  if (err == 0) err = uvface_init(&end->loop, &end->face);
  end->face.data = end;
  if (err < 0) return err;
  return is_engine ? face_create(&end->face, name, &options) : face_connect(&end->face, name, &options);
}

static void on_victim_sent(uvface_send_t* req, int status) {
  will_t* will = req->data;

  if (status == 0)
    will->sent++;
  else
    will->failed = true;
}

static void push_now(survivor_t* end, will_t* will) {
  unsigned char texts[BATCH][100];
  uv_buf_t bufs[BATCH];
  uv_buf_t slot;
  size_t bytes;

  will->begun = SINGLES;
  if (try_message(&end->face, 0) > 0) will->sent = SINGLES;
  for (unsigned int b = 0; b < BATCH; b++) {
    bufs[b] = uv_buf_init((char*) texts[b], 0);
    bufs[b].len = message(SINGLES + b, texts[b]);
  }
  will->begun = SINGLES + BATCH;
  if (uvface_try_send_batch(&end->face, bufs, BATCH) == BATCH) will->sent = SINGLES + BATCH;
  will->begun = SINGLES + BATCH + 1;
  if (uvface_reserve(&end->face, 100, &slot) < 0) return;
  bytes = message(SINGLES + BATCH, (unsigned char*) slot.base);
  if (uvface_commit(&end->face, bytes) == 0) will->sent = SINGLES + BATCH + 1;
}

/* More than there is room for; then until all are in the ring, and the survivor has answered the last. */
static void push_and_wait(survivor_t* end, will_t* will) {
  static unsigned char texts[QUEUED][100];
  static uvface_send_t reqs[QUEUED];
  unsigned int first = will->begun;

  for (unsigned int q = 0; q < QUEUED; q++) {
    uv_buf_t buf = uv_buf_init((char*) texts[q], 0);

    buf.len = message(first + q, texts[q]);
    reqs[q].data = will;
    will->begun++;
    if (uvface_send(&reqs[q], &end->face, &buf, 1, on_victim_sent) < 0) will->failed = true;
  }
  while (!will->failed && (will->sent < will->begun || end->got < GREETINGS + 1)) uv_run(&end->loop, UV_RUN_ONCE);
}

static int victim_body(void* arg) {
  const case_t* c = arg;
  will_t* will = c->will;
  survivor_t end = {.got = 0};
  char byte = 'r';

  close(c->control[0]); /* so that the survivor's death, and ours, end the conversation */
  if (!c->victim_is_engine && read(c->control[1], &byte, 1) != 1) return 1;
  shim_die_at(c->die_at, &will->trace);
  if (open_end(&end, c->name, c->victim_is_engine) < 0) return 1;
  /* not send() and recv(), which would be steps */
  if (c->victim_is_engine && sendto(c->control[1], &byte, 1, 0, NULL, 0) != 1) return 1;
  if (c->victim_is_engine && recvfrom(c->control[1], &byte, 1, 0, NULL, NULL) != 1) return 1;
  push_now(&end, will);
  if (will->sent != SINGLES + BATCH + 1) return 1;
  uvface_recv_start(&end.face, on_packets);
  for (int turn = 0; turn < 1000 && end.got < GREETINGS; turn++) uv_run(&end.loop, UV_RUN_NOWAIT);
  if (end.got < GREETINGS || end.bad != 0) return 1;
  if (!c->frozen) push_and_wait(&end, will);
  uvface_close(&end.face, NULL);
  uv_run(&end.loop, UV_RUN_DEFAULT);
  uv_loop_close(&end.loop);
  shim_disarm();
  will->finished = true;
  will->trace.died_ns = harness_now_ns();
  kill(getpid(), SIGKILL);
  return 1;
}

/* --- The survivor ----------------------------------------------------------------------------- */

static will_t* will_new(void) {
  void* will = mmap(NULL, sizeof(will_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

  ck_assert_ptr_ne(will, MAP_FAILED);
  return will;
}

/* Those of the face, and the one of the directory where its FIFOs are made. */
static int count_names(const char* name) {
  ndnshm__error_t error;
  ndnshm__names_t names;
  struct stat st;
  int n = 0;

  ck_assert_int_eq(ndnshm__names_init(name, &names, &error), 0);
  const char* const paths[] = {harness_shm_path(name), names.a2e, names.e2a, names.stage};

  for (int p = 0; p < 4; p++) n += lstat(paths[p], &st) == 0;
  return n;
}

/* An app takes hold of a2e last, after the region and e2a, and looks at each before it opens it; before that no engine
 * can know of it. To the engine of a private face it is there once it has the descriptors. */
static bool app_was_attached(const case_t* c) {
  const will_t* will = c->will;
  unsigned int begun = will->finished ? will->trace.steps : will->trace.steps - 1;
  int opened = 0;

  if (faces_kind != NAMED) return !face_is_offered(c->name);
  for (unsigned int i = 0; i < begun && i < MAX_STEPS; i++) opened += strcmp(will->trace.names[i], "open") == 0;
  return opened >= 6;
}

static const char* died_before(const case_t* c) {
  static char text[160];
  const will_t* will = c->will;
  unsigned int last = will->trace.steps;

  snprintf(text, sizeof(text), "%s, %s, dead before step %u (%s)", c->victim_is_engine ? "engine" : "app",
           c->frozen ? "frozen" : "running", last, last > 0 ? will->trace.names[(last - 1) % MAX_STEPS] : "none");
  return text;
}

#define SURVIVES(c, condition) ck_assert_msg(condition, "%s: %s", died_before(c), #condition)

static void greet(survivor_t* end) {
  for (unsigned int g = 0; g < GREETINGS; g++) ck_assert_int_gt(try_message(&end->face, g), 0);
  ASSERT_OK(uvface_recv_start(&end->face, on_packets));
  for (int turn = 0; turn < 3; turn++) uv_run(&end->loop, UV_RUN_NOWAIT); /* it is asleep now */
}

/* A byte each way over the name, from a new engine and a new app, or from an engine that waits for its app. */
static void assert_serves(const case_t* c, survivor_t* engine) {
  survivor_t app = {.got = 0};
  uint64_t end_ns = harness_now_ns() + DEADLINE_NS;
  unsigned int before = engine->got;
  int err = open_end(&app, c->name, false);

  ck_assert_msg(err == 0, "%s: %s", died_before(c), uvface_errmsg(&app.face));
  ASSERT_OK(uvface_recv_start(&app.face, on_packets));
  ck_assert_int_gt(try_message(&app.face, before), 0);
  while (engine->got == before || app.got == 0) {
    SURVIVES(c, harness_now_ns() < end_ns);
    run_for(&engine->loop, 1);
    run_for(&app.loop, 1);
  }
  SURVIVES(c, engine->got == before + 1 && engine->bad == 0 && app.bad == 0 && engine->ends == 0 && app.ends == 0);
  uvface_close(&app.face, NULL);
  finish_loop(&app.loop);
}

static void close_end(survivor_t* end) {
  uvface_close(&end->face, NULL);
  finish_loop(&end->loop);
}

static void assert_name_is_free(const case_t* c) {
  survivor_t heir = {.got = 0};
  int err = open_end(&heir, c->name, true);

  ck_assert_msg(err == 0, "%s: %s", died_before(c), uvface_errmsg(&heir.face));
  greet(&heir);
  assert_serves(c, &heir);
  close_end(&heir);
  SURVIVES(c, count_names(c->name) == 0);
}

static void count_busy(uv_handle_t* handle, void* n) {
  bool polls = handle->type == UV_POLL || handle->type == UV_IDLE;

  *(int*) n += polls && uv_is_active(handle);
}

/* A survivor that was attached: told once, within reason; everything that was sent has arrived; at rest. */
static void assert_was_told(const case_t* c, survivor_t* survivor) {
  int busy = 0;

  run_for(&survivor->loop, 1);
  uv_walk(&survivor->loop, count_busy, &busy);
  SURVIVES(c, busy == 0);
  SURVIVES(c, survivor->ends == 1);
  SURVIVES(c, survivor->end_error == UV_EOF);
  SURVIVES(c, survivor->bad == 0);
  SURVIVES(c, survivor->got >= c->will->sent);
  SURVIVES(c, survivor->got <= c->will->begun);
  SURVIVES(c, try_message(&survivor->face, 0) == UV_EPIPE);
}

/* Until the survivor is told, or nothing can come any more. Reaps the victim. */
static void run_to_the_end(const case_t* c, survivor_t* survivor, pid_t pid, bool attached) {
  uint64_t end_ns = harness_now_ns() + DEADLINE_NS;
  bool reaped = false;

  if (c->frozen) {
    SURVIVES(c, harness_wait(pid, 20000 * (int) harness_slow()) == SIGKILL);
    reaped = true;
  }
  while (survivor->ends == 0 || !reaped) {
    int status = SIGKILL;

    SURVIVES(c, harness_now_ns() < end_ns);
    run_for(&survivor->loop, 1);
    if (!reaped) reaped = waitpid(pid, &status, WNOHANG) == pid;
    SURVIVES(c, status == SIGKILL);
    if (reaped && !attached && !app_was_attached(c)) break;
  }
}

static bool run_to_eof(survivor_t* end) {
  uint64_t end_ns = harness_now_ns() + DEADLINE_NS;

  while (end->ends == 0 && harness_now_ns() < end_ns) run_for(&end->loop, 1);
  return end->end_error == UV_EOF;
}

/* The victim is an engine: true if it lived until we were attached, and were told of its death. */
static bool survive_engine(case_t* c, pid_t pid, survivor_t* app) {
  struct pollfd ready = {.fd = c->control[0], .events = POLLIN};
  char byte;
  int err;

  SURVIVES(c, poll(&ready, 1, 20000 * (int) harness_slow()) == 1);
  if (recv(c->control[0], &byte, 1, 0) != 1) { /* it died being born */
    SURVIVES(c, harness_wait(pid, 20000 * (int) harness_slow()) == SIGKILL);
    err = open_end(app, c->name, false);
    if (err == 0 && faces_kind != NAMED) /* what a dead engine leaves of such a face is good for its end */
      SURVIVES(c, uvface_recv_start(&app->face, on_packets) == 0 && run_to_eof(app));
    else
      SURVIVES(c, err == UV_ENOENT || err == UV_EPROTO || err == UV_ECONNREFUSED);
    return false;
  }
  err = open_end(app, c->name, false);
  ck_assert_msg(err == 0, "%s: %s", died_before(c), uvface_errmsg(&app->face));
  greet(app);
  ck_assert_int_eq(send(c->control[0], "g", 1, 0), 1);
  run_to_the_end(c, app, pid, true);
  assert_was_told(c, app);
  return true;
}

/* The victim is an app: true if it lived until it was attached, and we were told of its death. */
static bool survive_app(case_t* c, pid_t pid, survivor_t* engine) {
  ck_assert_int_eq(open_end(engine, c->name, true), 0);
  greet(engine);
  ck_assert_int_eq(send(c->control[0], "g", 1, 0), 1);
  run_to_the_end(c, engine, pid, false);
  if (app_was_attached(c)) {
    assert_was_told(c, engine);
    return true;
  }
  SURVIVES(c, engine->ends == 0 && engine->got == 0);
  assert_serves(c, engine);
  return false;
}

/* One death. True if the victim's life was long enough for it. late: counts those told of too late. */
static bool die_once(case_t* c, unsigned int* told, unsigned int* late) {
  survivor_t survivor = {.reply_at = SINGLES + BATCH + 1 + QUEUED};
  int fds = harness_count_fds();
  bool finished;
  pid_t pid;

  *c->will = (will_t){.begun = 0};
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, c->control), 0);
  pid = harness_fork(victim_body, c); /* before we have anything that it could inherit */
  close(c->control[1]);
  if (c->victim_is_engine ? survive_engine(c, pid, &survivor) : survive_app(c, pid, &survivor)) {
    ++*told;
    *late += survivor.end_ns > c->will->trace.died_ns + 50 * UINT64_C(1000000) * harness_slow();
  }
  SURVIVES(c, !c->will->failed);
  if (c->victim_is_engine && c->die_at % 2 == 1) assert_name_is_free(c); /* also beside the app that it had */
  close_end(&survivor);
  assert_name_is_free(c);
  close(c->control[0]);
  SURVIVES(c, harness_count_fds() == fds);
  finished = c->will->finished;
  return !finished;
}

TEST_KINDS_LOOP(life_that_ends_at_any_step_is_survived, 4) {
  case_t c = {.victim_is_engine = _i % 2 == 0, .frozen = _i / 2 == 0, .die_at = 1, .will = will_new()};
  unsigned int told = 0, late = 0;

  snprintf(c.name, sizeof(c.name), "%s", harness_name("step"));
  while (die_once(&c, &told, &late)) {
    c.die_at += harness_slow();
    ck_assert_uint_lt(c.die_at, MAX_STEPS);
  }
  ck_assert_uint_ge(c.die_at, 50); /* or too little was tried */
  ck_assert_uint_ge(told * harness_slow(), 30);
  if (!c.frozen) ck_assert_uint_le(late * 2, told); /* a busy machine delays some */
  munmap(c.will, sizeof(*c.will));
}

/* --- Who takes over a dead engine's name and dies of it ---------------------------------------- */

typedef enum lingerer { NOBODY, OWN_APP, FOREIGN_APP, N_LINGERERS } lingerer_t;

/* Creates, and dies at a step of it or right after. */
static int creator_body(void* arg) {
  const case_t* c = arg;
  ndnshm_options_t options = NDNSHM_OPTIONS_INIT;
  ndnshm_t* ep;

  options.capacity = RING;
  options.slot_size = 100;
  if (ndnshm_new(&ep) < 0) return 1;
  shim_die_at(c->die_at, &c->will->trace);
  if (ndnshm_create(ep, c->name, &options) < 0) return 1;
  shim_disarm();
  c->will->finished = true;
  kill(getpid(), SIGKILL);
  return 1;
}

static void create_and_die(case_t* c, unsigned int step) {
  *c->will = (will_t){.begun = 0};
  c->die_at = step;
  SURVIVES(c, harness_wait(harness_fork(creator_body, c), 20000 * (int) harness_slow()) == SIGKILL);
}

/* Attached to the first engine until its death, of which it does not know yet. */
static void attach_to_victim(case_t* c, survivor_t* app) {
  char byte;

  *c->will = (will_t){.begun = 0};
  c->die_at = MAX_STEPS;
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, c->control), 0);
  {
    pid_t pid = harness_fork(victim_body, c);

    close(c->control[1]);
    ck_assert_int_eq(recv(c->control[0], &byte, 1, 0), 1);
    ck_assert_int_eq(open_end(app, c->name, false), 0);
    harness_kill(pid);
  }
  close(c->control[0]);
}

static bool die_as_heir(case_t* c, unsigned int step, lingerer_t lingerer) {
  survivor_t app = {.got = 0};
  int a2e = -1, e2a = -1;
  int fds = harness_count_fds();
  bool finished;

  if (lingerer == OWN_APP)
    attach_to_victim(c, &app);
  else
    create_and_die(c, MAX_STEPS);
  if (lingerer == FOREIGN_APP) { /* as an app of ndn-rs holds them, which never learns of the death */
    a2e = open(harness_a2e_path(c->name), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    e2a = open(harness_e2a_path(c->name), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    ck_assert(a2e >= 0 && e2a >= 0);
  }
  create_and_die(c, step);
  finished = c->will->finished;
  assert_name_is_free(c);
  if (lingerer == OWN_APP) {
    ASSERT_OK(uvface_recv_start(&app.face, on_packets));
    for (int turn = 0; turn < 1000 && app.ends == 0; turn++) run_for(&app.loop, 1);
    SURVIVES(c, app.end_error == UV_EOF);
    close_end(&app);
  }
  if (lingerer == FOREIGN_APP) ck_assert(close(a2e) == 0 && close(e2a) == 0);
  SURVIVES(c, harness_count_fds() == fds);
  return !finished;
}

TEST_LOOP(dead_engines_heir_may_die_at_any_step, N_LINGERERS) {
  case_t c = {.victim_is_engine = true, .frozen = true, .will = will_new()};
  unsigned int step = 1;

  snprintf(c.name, sizeof(c.name), "%s", harness_name("step"));
  while (die_as_heir(&c, step, (lingerer_t) _i)) step += harness_slow();
  ck_assert_uint_ge(step, 30); /* or too little was tried */
  munmap(c.will, sizeof(*c.will));
}
