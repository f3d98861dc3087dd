/* SPDX-License-Identifier: MIT */
/* test_hostile.c: a face whose peer writes what it likes, when it likes, into what they share: header,
 * indices, lengths, payloads, wake-up bytes. Each test is run with our end as engine (even) and as app (odd).
 *
 * The peer is a puppet (puppet.h): its mapping is another one than the library's, and what has to change at
 * any moment is changed by a child process, so that nothing here is a data race to ThreadSanitizer, and none
 * is hidden from it: it sees one address space and knows nothing of two mappings of one page. What the
 * interleavings of two loads could do is for the fuzzer and the models to say. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "faces.h"
#include "puppet.h"

#define SLOTS 4
#define SLOT_BYTES 100
#define SECOND_NS UINT64_C(1000000000)

/* --- Our face, its puppet, and two others on the same loop -------------------------------------- */

typedef struct scene_s {
  uv_loop_t loop;
  uvface_t face;
  uvface_t others[2];
  puppet_t puppet;
  char name[80];
  unsigned char last[SLOT_BYTES]; /* the packet that came last */
  size_t last_bytes;
  unsigned int packets, errors;
  int error;
  unsigned int others_packets;
  int others_done;
} scene_t;

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  scene_t* s = face->data;

  if (npkts < 0) {
    s->errors++;
    s->error = (int) npkts;
    return;
  }
  s->packets += (unsigned int) npkts;
  s->last_bytes = pkts[npkts - 1].len;
  HOLDS(s->last_bytes <= sizeof(s->last));
  memcpy(s->last, pkts[npkts - 1].base, s->last_bytes);
}

static void on_others_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  scene_t* s = face->data;

  ck_assert_int_eq(npkts, 1);
  ck_assert(pkts[0].len == 5 && memcmp(pkts[0].base, "hello", 5) == 0);
  s->others_packets++;
  s->others_done = 1;
}

static void open_others(scene_t* s) {
  const char* name = harness_name("others");

  for (int i = 0; i < 2; i++) {
    ASSERT_OK(uvface_init(&s->loop, &s->others[i]));
    s->others[i].data = s;
  }
  ASSERT_OK(face_create(&s->others[0], name, NULL));
  ASSERT_OK(face_connect(&s->others[1], name, NULL));
  ASSERT_OK(uvface_recv_start(&s->others[0], on_others_packets));
}

static void open_scene(scene_t* s, bool engine, unsigned int flags, uint32_t capacity, uint32_t slot_bytes) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;

  memset(s, 0, sizeof(*s));
  options.capacity = capacity;
  options.slot_size = slot_bytes;
  options.flags = flags;
  snprintf(s->name, sizeof(s->name), "%s", harness_name("hostile"));
  ASSERT_OK(uv_loop_init(&s->loop));
  ASSERT_OK(uvface_init(&s->loop, &s->face));
  s->face.data = s;
  if (engine) {
    ASSERT_OK(face_create(&s->face, s->name, &options));
    puppet_attach(&s->puppet, s->name);
  } else {
    puppet_make(&s->puppet, s->name, capacity, slot_bytes, 0);
    ck_assert_msg(face_connect(&s->face, s->name, &options) == 0, "%s", uvface_errmsg(&s->face));
  }
  open_others(s);
}

static void drop_scene(scene_t* s) {
  uvface_close(&s->face, NULL);
  for (int i = 0; i < 2; i++) uvface_close(&s->others[i], NULL);
  finish_loop(&s->loop);
  puppet_drop(&s->puppet);
}

/* Turns the loop until our end has taken all that the puppet published, or has failed. */
static void until_taken(scene_t* s) {
  uint64_t end_ns = harness_now_ns() + 10 * SECOND_NS * harness_slow();

  while (s->error == 0 && puppet_load(puppet_peer_head(&s->puppet)) != s->puppet.tail) {
    HOLDS(harness_now_ns() < end_ns);
    uv_run(&s->loop, UV_RUN_NOWAIT);
  }
}

static void until_error(scene_t* s) {
  uint64_t end_ns = harness_now_ns() + 10 * SECOND_NS * harness_slow();

  while (s->errors == 0) {
    HOLDS(harness_now_ns() < end_ns);
    uv_run(&s->loop, UV_RUN_NOWAIT);
  }
}

static int send_text(uvface_t* face, const char* text) {
  uv_buf_t buf = uv_buf_init((char*) (uintptr_t) text, (unsigned int) strlen(text));

  return uvface_try_send(face, &buf, 1);
}

static void assert_others_go_on(scene_t* s) {
  s->others_done = 0;
  ck_assert_int_eq(send_text(&s->others[1], "hello"), 5);
  ck_assert(run_until(&s->loop, &s->others_done, 10000));
}

/* The face has failed with UV_EPROTO, said so once, and answers everything with it. */
static void assert_failed_once(scene_t* s, const char* what) {
  run_for(&s->loop, 20);
  ck_assert_int_eq(s->error, UV_EPROTO);
  ck_assert_uint_eq(s->errors, 1);
  ck_assert_msg(strstr(uvface_errmsg(&s->face), what) != NULL, "'%s'", uvface_errmsg(&s->face));
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&s->face), faces_kind == NAMED ? s->name : "private face"));
  ck_assert_int_eq(send_text(&s->face, "x"), UV_EPROTO);
  ck_assert_int_eq(uvface_recv_start(&s->face, on_packets), UV_EPROTO);
  assert_others_go_on(s);
  ck_assert_uint_eq(s->errors, 1);
}

/* --- The header --------------------------------------------------------------------------------- */

/* One packet each way, whole, and the shared copies of our indices are the true ones afterwards. */
static void exchange(scene_t* s, uint32_t n) {
  uint32_t reply = ~n, taken = 0;
  uv_buf_t buf = uv_buf_init((char*) &reply, sizeof(reply));

  puppet_fill(&s->puppet, sizeof(n), &n, sizeof(n));
  puppet_publish(&s->puppet);
  until_taken(s);
  HOLDS(s->error == 0);
  HOLDS(s->last_bytes == sizeof(n) && memcmp(s->last, &n, sizeof(n)) == 0);
  HOLDS(uvface_try_send(&s->face, &buf, 1) == (int) sizeof(reply));
  HOLDS(puppet_load(puppet_peer_tail(&s->puppet)) == s->puppet.head + 1);
  HOLDS(puppet_take(&s->puppet, &taken, sizeof(taken)) == (int) sizeof(reply) && taken == reply);
  HOLDS(uvface_get_mtu(&s->face) == SLOT_BYTES);
}

/* Not the magic, which a slow probe may look at, and not the indices that are the puppet's to write. */
TEST_KINDS_LOOP(header_rewritten_in_mid_traffic_changes_nothing, 2) {
  static const uint32_t values[] = {0, 1, SLOTS + 1, 0x5546ffff, UINT32_C(1) << 31, UINT32_MAX};
  uint32_t n = 0;
  scene_t s;

  open_scene(&s, _i % 2 == 0, 0, SLOTS, SLOT_BYTES);
  ASSERT_OK(uvface_recv_start(&s.face, on_packets));
  for (size_t at = AT_CAPACITY; at < AT_SLOTS; at += 4) {
    uint32_t* word = puppet_word(&s.puppet, at);

    if (word == puppet_own_tail(&s.puppet) || word == puppet_own_head(&s.puppet)) continue;
    for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
      puppet_store(word, values[v]);
      exchange(&s, n++);
    }
  }
  ck_assert_uint_eq(s.packets, n);
  assert_others_go_on(&s);
  drop_scene(&s);
}

/* --- Indices ------------------------------------------------------------------------------------ */

/* As they are, or so far from our own index. */
static const struct {
  uint32_t value;
  bool relative;
} nonsense[] = {{0, false}, {1, false}, {SLOTS + 1, true}, {UINT32_C(1) << 31, true}, {UINT32_MAX, true}};
#define N_NONSENSE ((int) (sizeof(nonsense) / sizeof(nonsense[0])))

TEST_KINDS_LOOP(impossible_tail_is_eproto_once, 2 * N_NONSENSE) {
  scene_t s;
  uint32_t value = nonsense[_i / 2].value;

  open_scene(&s, _i % 2 == 0, 0, SLOTS, SLOT_BYTES);
  ASSERT_OK(uvface_recv_start(&s.face, on_packets));
  for (uint32_t n = 0; n < 7; n++) exchange(&s, n);
  s.puppet.tail = nonsense[_i / 2].relative ? s.puppet.tail + value : value;
  puppet_publish(&s.puppet);
  until_error(&s);
  assert_failed_once(&s, "tail index");
  ck_assert_uint_eq(s.packets, 7);
  ck_assert_uint_eq(puppet_load(puppet_peer_head(&s.puppet)), 7);
  drop_scene(&s);
}

static int send_status;
static unsigned int send_callbacks;

static void note_status(uvface_send_t* req, int status) {
  (void) req;
  send_status = status;
  send_callbacks++;
}

TEST_KINDS_LOOP(impossible_head_is_eproto_once, 2 * N_NONSENSE) {
  scene_t s;
  uvface_send_t req;
  uv_buf_t buf = uv_buf_init((char*) &req, 1);
  uint32_t value = nonsense[_i / 2].value;
  uint32_t tail;

  open_scene(&s, _i % 2 == 0, 0, SLOTS, SLOT_BYTES);
  ASSERT_OK(uvface_recv_start(&s.face, on_packets));
  for (uint32_t n = 0; n < 7; n++) exchange(&s, n);
  ck_assert_int_eq(fill_ring(&s.face), SLOTS);
  memset(&req, 0, sizeof(req));
  send_callbacks = 0;
  ASSERT_OK(uvface_send(&req, &s.face, &buf, 1, note_status));
  tail = puppet_load(puppet_peer_tail(&s.puppet));
  s.puppet.head = nonsense[_i / 2].relative ? tail - value : value;
  puppet_store(puppet_own_head(&s.puppet), s.puppet.head);
  puppet_publish(&s.puppet); /* nothing but a byte */
  until_error(&s);
  assert_failed_once(&s, "head index");
  ck_assert_uint_eq(send_callbacks, 1);
  ck_assert_int_eq(send_status, UV_EPROTO);
  ck_assert_uint_eq(puppet_load(puppet_peer_tail(&s.puppet)), tail);
  drop_scene(&s);
}

/* --- Lengths ------------------------------------------------------------------------------------ */

TEST_KINDS_LOOP(impossible_length_is_eproto_once_after_what_came_before, 12) {
  static const uint32_t lies[] = {SLOT_BYTES + 1, UINT32_C(1) << 31, UINT32_MAX};
  unsigned char full[SLOT_BYTES];
  scene_t s;

  memset(full, 'f', sizeof(full));
  open_scene(&s, _i % 2 == 0, _i / 2 % 2 == 0 ? 0 : UVFACE_RECV_BORROW, SLOTS, SLOT_BYTES);
  ASSERT_OK(uvface_recv_start(&s.face, on_packets));
  puppet_fill(&s.puppet, SLOT_BYTES, full, sizeof(full));
  puppet_fill(&s.puppet, 0, full, 0);
  puppet_fill(&s.puppet, lies[_i / 4], full, sizeof(full));
  puppet_fill(&s.puppet, 5, "never", 5);
  puppet_publish(&s.puppet);
  until_error(&s);
  assert_failed_once(&s, "packet length");
  ck_assert_uint_eq(s.packets, 1);
  ck_assert(s.last_bytes == SLOT_BYTES && memcmp(s.last, full, SLOT_BYTES) == 0);
  ck_assert_uint_eq(puppet_load(puppet_peer_head(&s.puppet)), 2);
  drop_scene(&s);
}

TEST_KINDS_LOOP(empty_slots_are_delivered_as_nothing, 4) {
  scene_t s;

  open_scene(&s, _i % 2 == 0, _i / 2 == 0 ? 0 : UVFACE_RECV_BORROW, SLOTS, SLOT_BYTES);
  ASSERT_OK(uvface_recv_start(&s.face, on_packets));
  for (int round = 0; round < 100; round++) {
    for (int i = 0; i < SLOTS; i++) puppet_fill(&s.puppet, 0, "", 0);
    puppet_publish(&s.puppet);
    until_taken(&s);
  }
  ck_assert_uint_eq(s.packets + s.errors, 0);
  puppet_fill(&s.puppet, 3, "end", 3);
  puppet_publish(&s.puppet);
  until_taken(&s);
  ck_assert_uint_eq(s.packets, 1);
  ck_assert_uint_eq(s.last_bytes, 3);
  drop_scene(&s);
}

/* Rewrites a length, until it is killed. Each value in turn stays for a while after some quick changes: of
 * stores that follow each other at once another processor may see the last only, and one that we share leaves
 * us what was there when our turn came. It sleeps for that, so that we do not wait for its turn to end. That
 * the library loads the length by one instruction, once, is shown in test_ring.c; here it is what comes of it. */
static int flip_length(void* arg) {
  static const uint32_t values[] = {10, SLOT_BYTES + 1, 10, UINT32_MAX, 0};
  const size_t n = sizeof(values) / sizeof(values[0]);
  volatile uint32_t* length = arg;

  for (size_t rest = 0;; rest++) {
    for (size_t flip = 0; flip < 1000 * n + rest % n + 1; flip++) *length = values[flip % n];
    usleep(rest / n % 8 * 10);
  }
  return 0;
}

/* With one slot the length under attack is that of every packet. Ends each scene by UV_EPROTO. */
static void receive_flipping_lengths(bool engine, unsigned int flags, uint64_t* good, uint64_t* bad) {
  scene_t s;
  pid_t flipper;

  open_scene(&s, engine, flags, 1, SLOT_BYTES);
  ASSERT_OK(uvface_recv_start(&s.face, on_packets));
  flipper = harness_fork(flip_length, puppet_slot(&s.puppet, 0));
  for (int i = 0; i < 1000 && s.error == 0; i++) {
    unsigned int before = s.packets;

    s.puppet.tail++;
    puppet_publish(&s.puppet);
    until_taken(&s);
    if (s.packets == before) continue;
    HOLDS(s.packets == before + 1 && s.last_bytes == 10);
    ++*good;
  }
  harness_kill(flipper);
  if (s.error != 0) {
    ck_assert_int_eq(s.error, UV_EPROTO);
    assert_others_go_on(&s);
    ck_assert_uint_eq(s.errors, 1);
    ++*bad;
  }
  drop_scene(&s);
}

TEST_KINDS_LOOP(length_that_changes_meanwhile_is_whole_or_eproto, 4) {
  uint64_t end_ns = harness_now_ns() + 30 * SECOND_NS * harness_slow();
  uint64_t good = 0, bad = 0;
  uint64_t rounds = harness_under_valgrind() ? 1 : 10; /* it looks at what is read, once is enough, and ten are slow */

  while ((good < 50 * rounds || bad < 2 * rounds) && harness_now_ns() < end_ns)
    receive_flipping_lengths(_i % 2 == 0, _i / 2 == 0 ? 0 : UVFACE_RECV_BORROW, &good, &bad);
  ck_assert_msg(good > 0 && bad > 0, "%llu good, %llu bad", (unsigned long long) good, (unsigned long long) bad);
}

/* --- Payloads ----------------------------------------------------------------------------------- */

#define LARGE_BYTES 8000u

/* Rewrites a payload, without end. */
static int flip_payload(void* arg) {
  volatile unsigned char* payload = arg;

  for (unsigned char value = 1;; value++)
    for (unsigned int b = 0; b < LARGE_BYTES; b++) payload[b] = value;
  return 0;
}

static uint64_t hash(const uv_buf_t* packet) {
  const volatile char* bytes = packet->base; /* read anew each time, whatever the compiler knows */
  uint64_t h = 14695981039346656037u;

  for (size_t b = 0; b < packet->len; b++) h = (h ^ (unsigned char) bytes[b]) * 1099511628211u;
  return h;
}

typedef struct watch_s {
  uint64_t first_hash;
  unsigned int packets, changed, different; /* under our eyes; from the first one */
} watch_t;

static void watch_packet(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  watch_t* w = face->data;
  uint64_t before;

  HOLDS(npkts == 1 && pkts[0].len == LARGE_BYTES);
  before = hash(&pkts[0]);
  sched_yield();
  w->changed += hash(&pkts[0]) != before;
  if (w->packets++ == 0) w->first_hash = before;
  w->different += before != w->first_hash;
}

/* That the packet does change when it is borrowed shows that it could have. */
TEST_KINDS_LOOP(packet_given_to_the_callback_never_changes, 4) {
  bool borrowed = _i / 2 == 1;
  uint64_t end_ns = harness_now_ns() + 30 * SECOND_NS * harness_slow();
  uint32_t length = LARGE_BYTES;
  watch_t w = {0};
  scene_t s;
  pid_t flipper;

  open_scene(&s, _i % 2 == 0, borrowed ? UVFACE_RECV_BORROW : 0, 1, LARGE_BYTES);
  s.face.data = &w;
  ASSERT_OK(uvface_recv_start(&s.face, watch_packet));
  memcpy(puppet_slot(&s.puppet, 0), &length, sizeof(length));
  flipper = harness_fork(flip_payload, puppet_slot(&s.puppet, 0) + 4);
  while ((w.packets < 100 || w.different == 0 || (borrowed && w.changed == 0)) && harness_now_ns() < end_ns) {
    s.puppet.tail++;
    puppet_publish(&s.puppet);
    until_taken(&s);
  }
  harness_kill(flipper);
  ck_assert_uint_gt(w.different, 0);
  if (borrowed)
    ck_assert_uint_gt(w.changed, 0);
  else
    ck_assert_uint_eq(w.changed, 0);
  drop_scene(&s);
}

/* --- Wake-ups ----------------------------------------------------------------------------------- */

/* Fills what the puppet reads with bytes that it never does. It makes a pipe as small as one can be. */
static void fill_fifo(scene_t* s) {
  unsigned int n = 0;

  if (faces_kind != BY_SOCKET) ck_assert_int_gt(fcntl(s->puppet.rx_fd, F_SETPIPE_SZ, 4096), 0);
  while (stats_of(&s->face).wakeups_sent == n) {
    puppet_store(puppet_word(&s->puppet, s->puppet.engine ? AT_A2E_PARKED : AT_E2A_PARKED), 1);
    exchange(s, n++);
  }
  ck_assert_uint_ge(n, 100);
}

TEST_KINDS_LOOP(full_fifo_is_a_wake_up, 2) {
  uint64_t full;
  scene_t s;

  open_scene(&s, _i % 2 == 0, 0, SLOTS, SLOT_BYTES);
  ASSERT_OK(uvface_recv_start(&s.face, on_packets));
  fill_fifo(&s);
  full = stats_of(&s.face).wakeups_sent;
  for (uint32_t n = 0; n < 100; n++) {
    puppet_store(puppet_word(&s.puppet, s.puppet.engine ? AT_A2E_PARKED : AT_E2A_PARKED), 1);
    puppet_store(puppet_word(&s.puppet, s.puppet.engine ? AT_E2A_WAITING : AT_A2E_WAITING), 1);
    exchange(&s, n);
    HOLDS(puppet_load(puppet_word(&s.puppet, s.puppet.engine ? AT_A2E_PARKED : AT_E2A_PARKED)) == 0);
  }
  ck_assert_uint_eq(stats_of(&s.face).wakeups_sent, full);
  ck_assert_uint_eq(s.errors, 0);
  drop_scene(&s);
}

TEST_KINDS_LOOP(sends_to_a_dead_peer_raise_no_signal, 2) {
  struct sigaction action;
  scene_t s;

  sigaction(SIGPIPE, NULL, &action);
  ck_assert(action.sa_handler == SIG_DFL);
  open_scene(&s, _i % 2 == 0, 0, SLOTS, SLOT_BYTES);
  ASSERT_OK(uvface_recv_start(&s.face, on_packets));
  exchange(&s, 1);
  puppet_die(&s.puppet);
  for (int i = 0; i < SLOTS; i++) { /* it has not been seen yet */
    puppet_store(puppet_word(&s.puppet, s.puppet.engine ? AT_A2E_PARKED : AT_E2A_PARKED), 1);
    ck_assert_int_eq(send_text(&s.face, "hello?"), 6);
  }
  until_error(&s);
  ck_assert_int_eq(s.error, UV_EOF);
  for (int i = 0; i < SLOTS; i++) ck_assert_int_eq(send_text(&s.face, "hello?"), UV_EPIPE);
  sigaction(SIGPIPE, NULL, &action);
  ck_assert(action.sa_handler == SIG_DFL);
  drop_scene(&s);
}

/* --- Interrupted calls -------------------------------------------------------------------------- */

static volatile sig_atomic_t alarms;

static void count_alarm(int number) {
  (void) number;
  alarms++;
}

static void echo(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  if (npkts > 0) uvface_try_send_batch(face, pkts, (unsigned int) npkts);
}

static void count_echoes(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) pkts;
  if (npkts > 0) *(unsigned int*) face->data += (unsigned int) npkts;
}

/* One life of a face: made, used both ways, closed. */
static int live_once(uv_loop_t* loop, const char* name) {
  uint64_t end_ns = harness_now_ns() + 20 * SECOND_NS * harness_slow();
  uvface_t engine, app;
  unsigned int echoes = 0;

  REQUIRE(uvface_init(loop, &engine) == 0 && uvface_init(loop, &app) == 0);
  app.data = &echoes;
  REQUIRE(face_create(&engine, name, NULL) == 0);
  REQUIRE(face_connect(&app, name, NULL) == 0);
  REQUIRE(uvface_recv_start(&engine, echo) == 0 && uvface_recv_start(&app, count_echoes) == 0);
  for (unsigned int n = 0; n < 20; n++) {
    REQUIRE(send_text(&app, "ping") == 4);
    while (echoes <= n && harness_now_ns() < end_ns) uv_run(loop, UV_RUN_NOWAIT);
    REQUIRE(echoes == n + 1);
  }
  uvface_close(&app, NULL);
  uvface_close(&engine, NULL);
  REQUIRE(uv_run(loop, UV_RUN_DEFAULT) == 0);
  return 0;
}

static int live_in_a_storm(void* arg) {
  struct sigaction action = {.sa_handler = count_alarm}; /* no SA_RESTART */
  struct itimerval storm = {{0, 200}, {0, 200}};
  struct itimerval calm = {{0, 0}, {0, 0}};
  int status = 0;
  uv_loop_t loop;

  uv_loop_init(&loop);
  sigaction(SIGALRM, &action, NULL);
  setitimer(ITIMER_REAL, &storm, NULL);
  for (int cycles = 0; status == 0 && (cycles < 20 || alarms < 50); cycles++) status = live_once(&loop, arg);
  setitimer(ITIMER_REAL, &calm, NULL);
  return status != 0 ? status : uv_loop_close(&loop) != 0;
}

TEST_KINDS(storm_of_signals_disturbs_nothing) {
  char name[80];

  snprintf(name, sizeof(name), "%s", harness_name("storm"));
  ck_assert_int_eq(harness_wait(harness_fork(live_in_a_storm, name), (int) (50000 * harness_slow())), 0);
}

/* --- Death, and another attach, between two looks ----------------------------------------------- */

/* The FIFO has a writer again before the engine looks: it cannot see that it is another one. What the first
 * app published arrives, what it only wrote does not; the second goes on where it stopped. */
TEST(second_app_between_two_looks_continues_the_first) {
  puppet_t first;
  scene_t s;

  harness_forbid_sealing(); /* a sealed region takes no second app */
  open_scene(&s, true, 0, SLOTS, SLOT_BYTES);
  ASSERT_OK(uvface_recv_start(&s.face, on_packets));
  exchange(&s, 0);
  first = s.puppet;
  puppet_fill(&first, 5, "first", 5);
  puppet_publish(&first);
  puppet_fill(&first, 7, "unsaid ", 7); /* not published */
  puppet_die(&first);
  puppet_attach(&s.puppet, s.name);
  until_taken(&s);
  ck_assert_uint_eq(s.packets, 2);
  exchange(&s, 1);
  ck_assert_uint_eq(s.packets, 3);
  run_for(&s.loop, 20);
  ck_assert_uint_eq(s.errors, 0);
  puppet_die(&s.puppet); /* with nobody after it a death is seen */
  until_error(&s);
  ck_assert_int_eq(s.error, UV_EOF);
  puppet_drop(&first);
  drop_scene(&s);
}

/* The other way round it is seen: a new engine makes new files. */
TEST(second_engine_between_two_looks_is_the_end_of_the_first) {
  puppet_t second;
  scene_t s;

  open_scene(&s, false, 0, SLOTS, SLOT_BYTES);
  ASSERT_OK(uvface_recv_start(&s.face, on_packets));
  exchange(&s, 0);
  puppet_fill(&s.puppet, 5, "first", 5);
  puppet_publish(&s.puppet);
  puppet_die(&s.puppet);
  unlink(harness_shm_path(s.name));
  unlink(harness_a2e_path(s.name));
  unlink(harness_e2a_path(s.name));
  puppet_make(&second, s.name, SLOTS, SLOT_BYTES, 0);
  ck_assert(puppet_send(&second, "second", 6));
  until_error(&s);
  ck_assert_int_eq(s.error, UV_EOF);
  ck_assert_uint_eq(s.packets, 2);
  ck_assert_uint_eq(s.last_bytes, 5);
  puppet_drop(&second);
  drop_scene(&s);
}

/* --- Slots of any size -------------------------------------------------------------------------- */

#define MIB ((uint32_t) 1 << 20)

static int connect_to(scene_t* s, puppet_t* engine, uint32_t slot_size, uint32_t max_slot_size) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  int err;

  options.max_slot_size = max_slot_size;
  puppet_make(engine, s->name, 1, slot_size, 0);
  err = face_connect(&s->face, s->name, &options);
  if (err < 0 && faces_kind != NAMED) {
    int fds[3];

    ck_assert(face_take(s->name, fds)); /* offered again, for another try */
    close_fds(fds);
  }
  if (err < 0) puppet_drop(engine);
  return err;
}

static void assert_refused(scene_t* s, uint32_t slot_size, uint32_t max_slot_size, const char* reason) {
  puppet_t engine;

  ck_assert_int_eq(connect_to(s, &engine, slot_size, max_slot_size), UV_EPROTO);
  ck_assert_ptr_nonnull(strstr(uvface_errmsg(&s->face), reason));
}

static void init_scene(scene_t* s) {
  memset(s, 0, sizeof(*s));
  snprintf(s->name, sizeof(s->name), "%s", harness_name("slots"));
  ASSERT_OK(uv_loop_init(&s->loop));
  ASSERT_OK(uvface_init(&s->loop, &s->face));
  s->face.data = s;
}

/* An app copies a packet that is as long as its engine says, whatever of it the engine has written. */
TEST_KINDS(engine_whose_slots_are_above_the_apps_limit_is_refused) {
  scene_t s;

  init_scene(&s);
  assert_refused(&s, 16 * MIB + 1, 0, "slots of 16777217 bytes, more than max_slot_size, 16777216");
  assert_refused(&s, 256 * MIB, 64 * MIB, "slots of 268435456 bytes, more than max_slot_size, 67108864");
  assert_refused(&s, 101, 100, "slots of 101 bytes, more than max_slot_size, 100");
  uvface_close(&s.face, NULL);
  finish_loop(&s.loop);
}

/* The largest piece of memory that the libraries, or this program, asked for since it was set to 0. What the process
 * has as a whole says nothing: valgrind, a sanitizer and qemu take memory of their own, and in large steps. */
static _Atomic size_t largest_bytes;

static void note_bytes(size_t bytes) {
  size_t largest = largest_bytes; /* a worker thread of the libraries may note one, too */

  while (bytes > largest && !atomic_compare_exchange_weak(&largest_bytes, &largest, bytes)) continue;
}

void* __real_malloc(size_t bytes);
void* __wrap_malloc(size_t bytes);
void* __wrap_malloc(size_t bytes) {
  note_bytes(bytes);
  return __real_malloc(bytes);
}

void* __real_calloc(size_t n, size_t bytes);
void* __wrap_calloc(size_t n, size_t bytes);
void* __wrap_calloc(size_t n, size_t bytes) {
  note_bytes(n * bytes);
  return __real_calloc(n, bytes);
}

void* __real_aligned_alloc(size_t align, size_t bytes);
void* __wrap_aligned_alloc(size_t align, size_t bytes);
void* __wrap_aligned_alloc(size_t align, size_t bytes) {
  note_bytes(bytes);
  return __real_aligned_alloc(align, bytes);
}

static void on_size(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  scene_t* s = face->data;

  HOLDS(npkts == 1);
  s->packets++;
  s->last_bytes = pkts[0].len;
}

static void assert_arrives(scene_t* s, const char* packet, size_t bytes) {
  s->last_bytes = 0;
  ck_assert(puppet_send(&s->puppet, packet, bytes));
  until_taken(s);
  ck_assert_uint_eq(s->last_bytes, bytes);
}

TEST_KINDS(app_allocates_for_packets_that_come_and_not_for_slots) {
  char* packet = calloc(1, MIB);
  puppet_t engine;
  scene_t s;

  init_scene(&s);
  largest_bytes = 0;
  ck_assert_int_eq(connect_to(&s, &engine, 64 * MIB, 64 * MIB), 0);
  s.puppet = engine;
  ASSERT_OK(uvface_recv_start(&s.face, on_size));
  assert_arrives(&s, packet, 4);
  ck_assert_uint_gt(largest_bytes, 0); /* what the libraries ask for is seen */
  ck_assert_uint_lt(largest_bytes, MIB);
  assert_arrives(&s, packet, MIB);
  ck_assert_uint_eq(largest_bytes, MIB);
  assert_arrives(&s, packet, 4);
  assert_arrives(&s, packet, MIB / 2);
  ck_assert_uint_eq(largest_bytes, MIB);
  uvface_close(&s.face, NULL);
  finish_loop(&s.loop);
  puppet_drop(&s.puppet);
  free(packet);
}

/* --- A peer's child ----------------------------------------------------------------------------- */

static int sleep_for_ever(void* arg) {
  (void) arg;
  for (;;) pause();
  return 0;
}

/* The FIFO has a writer as long as a child that the peer forked has it open: no death before both are gone. */
TEST_KINDS_LOOP(forked_child_of_the_peer_keeps_it_alive, 2) {
  scene_t s;
  pid_t child;

  open_scene(&s, _i % 2 == 0, 0, SLOTS, SLOT_BYTES);
  ASSERT_OK(uvface_recv_start(&s.face, on_packets));
  exchange(&s, 1);
  child = harness_fork(sleep_for_ever, NULL);
  puppet_die(&s.puppet);
  run_for(&s.loop, 50);
  ck_assert_uint_eq(s.errors, 0);
  ck_assert_int_eq(send_text(&s.face, "to nobody"), 9);
  harness_kill(child);
  until_error(&s);
  ck_assert_int_eq(s.error, UV_EOF);
  ck_assert_uint_eq(s.errors, 1);
  drop_scene(&s);
}
