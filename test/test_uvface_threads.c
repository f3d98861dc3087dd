/* SPDX-License-Identifier: MIT */
/* test_uvface_threads.c: six threads, each with a loop of its own, on which engines and apps of all kinds of faces
 * come, exchange packets, fail and go, all at the same time. Faces on different loops are independent, so whatever the
 * library keeps for the process as a whole must hold here; ThreadSanitizer sees what does not. Each link has its engine
 * in one thread and its app in another, and opens one face after the other, of another kind and with another end each
 * time. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faces.h"
#include "puppet.h"

#define THREADS 6
#define LINKS 12
#define LIVES 16 /* every kind with every ending */
#define LIVES_UNDER_VALGRIND 4
#define PACKETS 60u
#define WINDOW 12u /* sent ahead of the echoes: more than the ring holds, so that some wait */
#define CAPACITY 8
#define BYTES_MAX 200u
#define N_KINDS_OF_ALL 4

typedef enum ending_e { ENGINE_CLOSES, APP_CLOSES, NONSENSE, LOSS, N_ENDINGS } ending_t;

typedef struct thread_s thread_t;
typedef struct link_s link_t;

/* One end of a link. All of it belongs to its thread. */
typedef struct side_s {
  link_t* link;
  thread_t* thread;
  bool engine;
  unsigned int life;
  uvface_t face;
  uv_timer_t timer; /* the app's: tries to connect */
  unsigned int sent, called_back, received;
  unsigned int events;
  int error; /* that ended the face; 0 = none */
  /* The engine's hold on the face, to spoil it from outside. */
  int region_fd, wake_fd;
  unsigned char* header;
} side_t;

struct link_s {
  side_t sides[2]; /* engine, app */
  char names[LIVES][40];
  /* Of private faces and streams, from thread to thread. */
  uv_mutex_t lock;
  bool offered;
  int fds[3];
};

struct thread_s {
  uv_thread_t id;
  uv_loop_t loop;
  uv_timer_t watch;
  uint64_t end_ns;
  unsigned int open; /* sides that are not through with all their lives */
  char failure[400]; /* the first; "" = none */
};

typedef struct request_s {
  uvface_send_t req;
  side_t* side;
  unsigned char bytes[BYTES_MAX];
} request_t;

static thread_t threads[THREADS];
static link_t links[LINKS];
static unsigned int lives;
static bool may_truncate;         /* nobody seals */
static atomic_bool all_shall_end; /* one has failed */

/* --- What must hold, in threads, where Check cannot end the test -------------------------------- */

static unsigned int number_of(const link_t* link) {
  return (unsigned int) (link - links);
}

static void note_failure(side_t* side, const char* what, int err) {
  thread_t* thread = side->thread;

  if (thread->failure[0] == '\0')
    snprintf(thread->failure, sizeof(thread->failure), "link %u, life %u, %s: %s (%s; %s)", number_of(side->link),
             side->life, side->engine ? "engine" : "app", what, err < 0 ? uv_err_name(err) : "no error",
             uvface_errmsg(&side->face));
  atomic_store_explicit(&all_shall_end, true, memory_order_relaxed);
  uv_stop(&thread->loop);
}

#define EXPECT(side, condition, err)                           \
  do {                                                         \
    if (!(condition)) note_failure((side), #condition, (err)); \
  } while (0)

static void on_watch(uv_timer_t* timer) {
  thread_t* thread = timer->data;

  if (harness_now_ns() >= thread->end_ns && thread->failure[0] == '\0')
    snprintf(thread->failure, sizeof(thread->failure), "not over in time");
  if (thread->failure[0] != '\0') atomic_store_explicit(&all_shall_end, true, memory_order_relaxed);
  if (atomic_load_explicit(&all_shall_end, memory_order_relaxed)) uv_stop(&thread->loop);
}

/* --- Which life is how -------------------------------------------------------------------------- */

static kind_t kind_of(const side_t* side) {
  static const kind_t kinds[N_KINDS_OF_ALL] = {NAMED, BY_SOCKET, BY_PIPES, STREAM};

  return kinds[(side->life + number_of(side->link)) % N_KINDS_OF_ALL];
}

static ending_t ending_of(const side_t* side) {
  ending_t ending = (ending_t) ((side->life + side->life / N_KINDS_OF_ALL) % N_ENDINGS);
  bool may_be_lost = kind_of(side) == STREAM || (kind_of(side) == NAMED && may_truncate);

  return ending == LOSS && !may_be_lost ? ENGINE_CLOSES : ending;
}

static uvface_options_t options_of(const side_t* side) {
  uvface_options_t options = UVFACE_OPTIONS_INIT;

  options.send_timeout_ms = 0;
  if (kind_of(side) == STREAM) {
    options.mtu = 256;
    return options;
  }
  options.capacity = CAPACITY;
  options.slot_size = 256;
  if (ending_of(side) == LOSS || side->life % 2 == 0) options.flags |= UVFACE_SIGBUS_GUARD;
  if (side->engine && kind_of(side) == BY_SOCKET) options.flags |= UVFACE_WAKE_SOCKET;
  if (side->engine && kind_of(side) == BY_PIPES) options.flags |= UVFACE_WAKE_PIPE;
  return options;
}

/* What the end of the face is called on this side; 0 = it closes the face itself. */
static bool is_due(const side_t* side) {
  switch (ending_of(side)) {
    case ENGINE_CLOSES: return side->error == (side->engine ? 0 : UV_EOF);
    case APP_CLOSES: return side->error == (side->engine ? UV_EOF : 0);
    case NONSENSE: return side->error == (side->engine ? UV_EPROTO : UV_EOF);
    default:
      if (kind_of(side) == STREAM) return side->error == UV_EOF;
      return side->error == UV_EIO || (!side->engine && side->error == UV_EOF);
  }
}

/* --- Packets: elements of many sizes that tell which they are ----------------------------------- */

static size_t write_packet(const side_t* side, bool by_engine, unsigned int n, unsigned char* at) {
  size_t bytes = 12 + n * 37 % (BYTES_MAX - 12);

  at[0] = by_engine ? 5 : 6;
  at[1] = (unsigned char) (bytes - 2);
  at[2] = (unsigned char) number_of(side->link);
  at[3] = (unsigned char) side->life;
  for (size_t b = 4; b < bytes; b++) at[b] = (unsigned char) (n + b);
  return bytes;
}

static void on_closed(uvface_t* face);

static void on_sent(uvface_send_t* req, int status) {
  request_t* request = (request_t*) (void*) req;
  side_t* side = request->side;

  side->called_back++;
  if (side->called_back <= PACKETS) EXPECT(side, status == 0, status); /* the one beyond is for a face that is lost */
  free(request);
  if (side->called_back == PACKETS && !side->engine && ending_of(side) == APP_CLOSES)
    uvface_close(&side->face, on_closed);
}

static void send_packet(side_t* side) {
  request_t* request = malloc(sizeof(*request));
  uv_buf_t buf;
  int err;

  if (request == NULL) abort();
  request->side = side;
  buf =
      uv_buf_init((char*) request->bytes, (unsigned int) write_packet(side, side->engine, side->sent, request->bytes));
  err = uvface_send(&request->req, &side->face, &buf, 1, on_sent);
  if (err == 0) {
    side->sent++;
    return;
  }
  free(request);
  EXPECT(side, side->sent >= PACKETS, err);
}

static void check_packet(side_t* side, const uv_buf_t* packet) {
  unsigned char expected[BYTES_MAX];
  size_t bytes = write_packet(side, !side->engine, side->received, expected);

  EXPECT(side, packet->len == bytes && memcmp(packet->base, expected, bytes) == 0, 0);
  side->received++;
}

/* --- Ends --------------------------------------------------------------------------------------- */

/* The engine keeps what it needs to spoil the face later: of a stream the app's socket, of others the region and the
 * way to wake this engine. The FIFO is not opened yet, for who opens it is an app. */
static void keep_hold(side_t* side, int socket_fd) {
  int fds[3];

  side->region_fd = side->wake_fd = -1;
  if (ending_of(side) != NONSENSE && ending_of(side) != LOSS) return;
  if (kind_of(side) == STREAM) {
    side->wake_fd = fcntl(socket_fd, F_DUPFD_CLOEXEC, 0);
  } else if (kind_of(side) == NAMED) {
    const char* name = side->link->names[side->life];
    char path[100];

    snprintf(path, sizeof(path), "/dev/shm/ndn-shm-%s", name);
    side->region_fd = open(path, O_RDWR | O_CLOEXEC);
    snprintf(path, sizeof(path), "/tmp/.ndn-%s.a2e.pipe", name);
    side->wake_fd = open(path, O_PATH | O_CLOEXEC);
    EXPECT(side, side->region_fd >= 0, 0);
  } else if (uvface_app_fds(&side->face, fds) == 0) {
    side->region_fd = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
    side->wake_fd = fcntl(fds[1], F_DUPFD_CLOEXEC, 0);
    EXPECT(side, side->region_fd >= 0, 0);
  }
  EXPECT(side, side->wake_fd >= 0, 0);
  if (kind_of(side) == STREAM) return;
  side->header = mmap(NULL, AT_SLOTS, PROT_READ | PROT_WRITE, MAP_SHARED, side->region_fd, 0); /* refused once sealed */
  if (side->header == MAP_FAILED) abort();
}

static void let_go(side_t* side) {
  if (side->region_fd >= 0) close(side->region_fd);
  if (side->wake_fd >= 0) close(side->wake_fd);
  if (side->header != NULL) munmap(side->header, AT_SLOTS);
  side->header = NULL;
  side->region_fd = side->wake_fd = -1;
}

/* An index that is none, and a byte that has the engine look at it. */
static void write_nonsense(side_t* side) {
  int fd = side->wake_fd;
  char path[40];
  ssize_t n;

  puppet_store((uint32_t*) (void*) (side->header + AT_A2E_TAIL), 1u << 30);
  if (kind_of(side) == NAMED) {
    snprintf(path, sizeof(path), "/proc/self/fd/%d", side->wake_fd);
    fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  }
  n = write(fd, "", 1);
  EXPECT(side, n == 1, -errno);
  if (fd != side->wake_fd) close(fd);
}

/* All packets have come back to the engine. */
static void end_life(side_t* side) {
  switch (ending_of(side)) {
    case ENGINE_CLOSES: uvface_close(&side->face, on_closed); break;
    case APP_CLOSES: break;
    case NONSENSE:
      if (kind_of(side) != STREAM)
        write_nonsense(side);
      else if (send(side->wake_fd, "\0\0", 2, MSG_NOSIGNAL) != 2) /* no type is 0 */
        note_failure(side, "send", -errno);
      break;
    default:
      if (kind_of(side) == STREAM) {
        shutdown(side->wake_fd, SHUT_RDWR);
      } else {
        if (ftruncate(side->region_fd, 0) != 0) note_failure(side, "ftruncate", -errno);
        send_packet(side); /* touches it */
      }
      break;
  }
  let_go(side);
}

static void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  side_t* side = face->data;
  unsigned int before = side->received;

  if (npkts < 0) {
    side->error = (int) npkts;
    uvface_close(face, on_closed);
    return;
  }
  for (ssize_t p = 0; p < npkts; p++) check_packet(side, &pkts[p]);
  EXPECT(side, side->received <= PACKETS, 0);
  for (; before < side->received; before++)
    if (side->sent < PACKETS) send_packet(side);
  if (side->engine && side->received == PACKETS) end_life(side);
}

static void on_event(uvface_t* face, unsigned int events, int status) {
  side_t* side = face->data;

  EXPECT(side, ((events & UVFACE_GONE) != 0) == (status != 0), status);
  side->events |= events;
}

/* --- Lives -------------------------------------------------------------------------------------- */

/* Under the lock: the app may take them as soon as they are there. */
static void offer(side_t* side, const int fds[3]) {
  link_t* link = side->link;

  uv_mutex_lock(&link->lock);
  memcpy(link->fds, fds, sizeof(link->fds));
  link->offered = true;
  uv_mutex_unlock(&link->lock);
}

static bool take(side_t* side, int ret_fds[3]) {
  link_t* link = side->link;
  bool taken;

  uv_mutex_lock(&link->lock);
  taken = link->offered;
  if (taken) memcpy(ret_fds, link->fds, sizeof(link->fds));
  link->offered = false;
  uv_mutex_unlock(&link->lock);
  return taken;
}

static void offer_copies(side_t* side) {
  int fds[3], copies[3];

  EXPECT(side, uvface_app_fds(&side->face, fds) == 0, 0);
  for (int i = 0; i < 3; i++) copies[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
  uvface_app_fds_close(&side->face);
  offer(side, copies);
}

static int open_engine(side_t* side) {
  uvface_options_t options = options_of(side);
  int pair[2], err;

  switch (kind_of(side)) {
    case NAMED:
      err = uvface_create(&side->face, side->link->names[side->life], &options);
      keep_hold(side, -1);
      return err;
    case STREAM:
      if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) abort();
      err = uvface_open_stream(&side->face, pair[0], &options);
      keep_hold(side, pair[1]);
      offer(side, (const int[3]){pair[1], -1, -1});
      return err;
    default:
      err = uvface_create_private(&side->face, &options);
      keep_hold(side, -1);
      offer_copies(side);
      return err;
  }
}

/* UV_ENOENT: not yet. */
static int open_app(side_t* side) {
  uvface_options_t options = options_of(side);
  int fds[3];

  if (kind_of(side) == NAMED) return uvface_connect(&side->face, side->link->names[side->life], &options);
  if (!take(side, fds)) return UV_ENOENT;
  return kind_of(side) == STREAM ? uvface_open_stream(&side->face, fds[0], &options)
                                 : uvface_attach(&side->face, fds, &options);
}

/* What a call says of its failure is said of this face, whatever others do at the time. */
static void fail_on_purpose(side_t* side) {
  char name[40];
  int err;

  snprintf(name, sizeof(name), "no/%u.%u.%d", number_of(side->link), side->life, side->engine);
  err = uvface_connect(&side->face, name, NULL);
  EXPECT(side, err == UV_EINVAL && strstr(uvface_errmsg(&side->face), name) != NULL, err);
}

static void begin_receiving(side_t* side) {
  int err = uvface_recv_start(&side->face, on_packets);

  EXPECT(side, err == 0, err);
}

static void on_try(uv_timer_t* timer) {
  side_t* side = timer->data;
  int err = open_app(side);

  if (err == UV_ENOENT || err == UV_ECONNREFUSED) return; /* the timer goes on */
  uv_timer_stop(timer);
  EXPECT(side, err == 0, err);
  if (err == 0) begin_receiving(side);
}

static void begin_life(side_t* side) {
  int err;

  side->sent = side->called_back = side->received = side->events = 0;
  side->error = 0;
  err = uvface_init(&side->thread->loop, &side->face);
  EXPECT(side, err == 0, err);
  side->face.data = side;
  fail_on_purpose(side);
  err = uvface_set_event_cb(&side->face, on_event);
  EXPECT(side, err == 0, err);
  if (!side->engine) {
    uv_timer_start(&side->timer, on_try, 0, 1);
    return;
  }
  err = open_engine(side);
  EXPECT(side, err == 0, err);
  begin_receiving(side);
  while (side->sent < WINDOW) send_packet(side);
}

static void on_closed(uvface_t* face) {
  side_t* side = face->data;
  thread_t* thread = side->thread;
  uvface_stats_t stats;

  EXPECT(side, is_due(side), side->error);
  EXPECT(side, side->received == PACKETS && side->sent >= PACKETS && side->called_back == side->sent, 0);
  EXPECT(side, uvface_get_stats(face, &stats) == 0 && stats.rx_packets == PACKETS && stats.names_left == 0, 0);
  if (side->engine && kind_of(side) != STREAM) EXPECT(side, (side->events & UVFACE_ATTACHED) != 0, 0);
  if (++side->life < lives) {
    begin_life(side);
    return;
  }
  if (!side->engine) uv_close((uv_handle_t*) &side->timer, NULL);
  if (--thread->open == 0) uv_close((uv_handle_t*) &thread->watch, NULL);
}

/* --- Threads ------------------------------------------------------------------------------------ */

static void run_thread(void* arg) {
  thread_t* thread = arg;

  if (uv_loop_init(&thread->loop) != 0 || uv_timer_init(&thread->loop, &thread->watch) != 0) abort();
  thread->end_ns = harness_now_ns() + (uint64_t) DEADLINE_MS * 1000000u;
  thread->watch.data = thread;
  uv_timer_start(&thread->watch, on_watch, 100, 100);
  for (int l = 0; l < LINKS; l++) {
    for (int s = 0; s < 2; s++) {
      side_t* side = &links[l].sides[s];

      if (side->thread != thread) continue;
      thread->open++;
      if (!side->engine) uv_timer_init(&thread->loop, &side->timer);
      side->timer.data = side;
      begin_life(side);
    }
  }
  if (uv_run(&thread->loop, UV_RUN_DEFAULT) != 0 && thread->failure[0] == '\0')
    snprintf(thread->failure, sizeof(thread->failure), "ended by another's failure");
}

static void lay_links(void) {
  for (unsigned int t = 0; t < THREADS; t++) threads[t] = (thread_t){0};
  for (unsigned int l = 0; l < LINKS; l++) {
    link_t* link = &links[l];
    unsigned int engine = l % THREADS, app = (l + 1 + l / THREADS) % THREADS;

    link->sides[0] = (side_t){.link = link, .thread = &threads[engine], .engine = true};
    link->sides[1] = (side_t){.link = link, .thread = &threads[app]};
    ASSERT_OK(uv_mutex_init(&link->lock));
    for (unsigned int life = 0; life < lives; life++) {
      char tag[20];

      snprintf(tag, sizeof(tag), "six-%u-%u", l, life);
      snprintf(link->names[life], sizeof(link->names[life]), "%s", harness_name(tag));
    }
  }
}

void harness_setup(void) {
  harness_needs_fault_address(); /* some faces lose their region */
}

/* Engines that may make their regions append-only, and others. */
TEST_LOOP(six_loops_in_six_threads_do_not_disturb_each_other, 2) {
  if (_i == 1) harness_forbid_sealing();
  may_truncate = !harness_may_seal();
  lives = harness_under_valgrind() ? LIVES_UNDER_VALGRIND : LIVES;
  lay_links();
  for (int t = 0; t < THREADS; t++) ASSERT_OK(uv_thread_create(&threads[t].id, run_thread, &threads[t]));
  for (int t = 0; t < THREADS; t++) ASSERT_OK(uv_thread_join(&threads[t].id));
  for (int t = 0; t < THREADS; t++)
    ck_assert_msg(threads[t].failure[0] == '\0', "thread %d: %s", t, threads[t].failure);
  /* Only now: libuv closes by a system call that ThreadSanitizer does not see, and another thread would get the
   * number. */
  for (int t = 0; t < THREADS; t++) ck_assert_int_eq(uv_loop_close(&threads[t].loop), 0);
  for (int l = 0; l < LINKS; l++) uv_mutex_destroy(&links[l].lock);
}
