/* SPDX-License-Identifier: MIT */
/* poll-echo.c: a face without libuv, on ndnshm.h and poll(2) alone, in either role: sends every packet
 * back. Shows the three waits that an event loop of one's own needs: for packets, for room, and the second
 * look at a peer whose producer does not fence. Does not do: several faces, timeouts. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl*): the C library asks for it, for ppoll() */
#define _GNU_SOURCE 1
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <ndnshm.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH_MAX = 64 };

typedef struct echo_s {
  ndnshm_t* ep;
  ndnshm_options_t options;
  void* arena; /* the packets in hand */
  size_t arena_bytes;
  unsigned long long count, limit; /* limit 0: none */
  bool first;                      /* this end began, so it ends with an answer */
} echo_t;

static volatile sig_atomic_t interrupted;

static void on_signal(int signum) {
  (void) signum;
  interrupted = 1;
}

/* [wait] */
/* Sleeps until one of `what` may be there. Returns 0, -EINTR, or NDNSHM_EOF. */
static int wait_for(ndnshm_t* ep, unsigned int what) {
  static const struct timespec soon = {0, 1000000};
  struct pollfd pollfd = {ndnshm_fd(ep), POLLIN, 0};
  unsigned int caps = ndnshm_peer_caps(ep);
  bool fenced = (caps & NDNSHM_CAP_FENCED) != 0;
  bool blind = (what & NDNSHM_SPACE) != 0 && (caps & NDNSHM_CAP_SPACE) == 0;
  sigset_t none;
  sigemptyset(&none); /* the signals that main() holds back are let in while we sleep, and only then */
  if (ndnshm_park(ep, what) != 0) return 0;
  int ready = ppoll(&pollfd, 1, fenced && !blind ? NULL : &soon, &none);
  if (ready == 0 && !blind && ndnshm_ready(ep, what) == 0)
    ready = ppoll(&pollfd, 1, NULL, &none); /* one second look is enough: from now on it sees us parked */
  if (ready > 0) return ndnshm_wake(ep) == NDNSHM_EOF ? NDNSHM_EOF : 0;
  ndnshm_unpark(ep);
  return ready < 0 ? -errno : 0;
}
/* [wait end] */

/* Sends all packets, waiting for room as often as it takes. */
static int send_all(ndnshm_t* ep, const struct iovec pkts[], unsigned int npkts) {
  while (npkts > 0) {
    int sent = ndnshm_send_batch(ep, pkts, npkts);
    if (sent == -EAGAIN) sent = wait_for(ep, NDNSHM_SPACE);
    if (sent < 0) return sent;
    pkts += sent;
    npkts -= (unsigned int) sent;
  }
  return 0;
}

/* Takes what is there and sends it back. Returns the number of packets taken. */
static int echo_batch(echo_t* echo) {
  struct iovec pkts[BATCH_MAX];
  unsigned long long left = echo->limit == 0 ? BATCH_MAX : echo->limit - echo->count;
  unsigned int max = left < BATCH_MAX ? (unsigned int) left : BATCH_MAX;
  int got = ndnshm_recv(echo->ep, echo->arena, echo->arena_bytes, pkts, max);
  if (got <= 0) return got;
  echo->count += (unsigned int) got;
  bool last = echo->first && echo->count == echo->limit;
  int err = send_all(echo->ep, pkts, (unsigned int) got - last);
  return err < 0 ? err : got;
}

/* Echoes until the limit, a signal or the peer's end. */
static int echo_run(echo_t* echo) {
  int err = 0;
  bool gone = false;
  while (!interrupted && (echo->limit == 0 || echo->count < echo->limit)) {
    int got = echo_batch(echo);
    if (got < 0 && got != NDNSHM_EOF) return got;
    if (gone && got <= 0) return 0; /* the peer is gone and its last packet taken */
    if (got == 0) err = wait_for(echo->ep, NDNSHM_PACKETS);
    gone = gone || got == NDNSHM_EOF || err == NDNSHM_EOF;
    if (err < 0 && err != NDNSHM_EOF && err != -EINTR) return err;
  }
  return 0;
}

static void catch_signals(void) {
  struct sigaction action = {.sa_handler = on_signal};
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, NULL);
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

static int echo_open(echo_t* echo, bool engine, const char* name) {
  int err = ndnshm_new(&echo->ep);
  if (err < 0) return err;
  err = engine ? ndnshm_create(echo->ep, name, &echo->options) : ndnshm_connect(echo->ep, name, &echo->options);
  echo->arena_bytes = BATCH_MAX * ndnshm_get_mtu(echo->ep);
  echo->arena = err < 0 ? NULL : malloc(echo->arena_bytes);
  return err < 0 ? err : echo->arena == NULL ? -ENOMEM : 0;
}

static int echo_main(echo_t* echo, bool engine, const char* name, const char* text) {
  catch_signals();
  int err = echo_open(echo, engine, name);
  if (err == 0) {
    fprintf(stderr, "poll-echo: ready\n");
    struct iovec first = {(void*) text, text != NULL ? strlen(text) : 0};
    err = text != NULL ? ndnshm_send(echo->ep, &first, 1) : 0;
    err = err < 0 ? err : echo_run(echo);
    printf("%llu packets\n", echo->count);
  }
  if (err < 0) {
    const char* why = echo->ep != NULL ? ndnshm_errmsg(echo->ep) : "";
    fprintf(stderr, "poll-echo: %s\n", why[0] != '\0' ? why : strerror(-err));
  }
  ndnshm_free(echo->ep);
  free(echo->arena);
  return err < 0;
}

/* The value of an option. One that cannot be used is told, and makes *good false. */
static unsigned long long number(const char* option, int base, unsigned long long max, bool* good) {
  char* end;
  errno = 0;
  unsigned long long value = strtoull(optarg, &end, base);
  if (isdigit((unsigned char) optarg[0]) && *end == '\0' && errno == 0 && value <= max) return value;
  fprintf(stderr, "poll-echo: --%s %s: must be a number%s\n", option, optarg, base == 8 ? " in octal" : "");
  *good = false;
  return 0;
}

int main(int argc, char** argv) {
  static const struct option options[] = {{"count", required_argument, NULL, 'c'},
                                          {"send", required_argument, NULL, 's'},
                                          {"mode", required_argument, NULL, 'm'},
                                          {"uid", required_argument, NULL, 'u'},
                                          {"gid", required_argument, NULL, 'g'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
  echo_t echo = {.options = NDNSHM_OPTIONS_INIT};
  const char* text = NULL;
  int option;
  bool good = true, help = false;
  while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
    if (option == 'c')
      echo.limit = number("count", 10, UINT64_MAX, &good);
    else if (option == 's')
      text = optarg;
    else if (option == 'm')
      echo.options.mode = (unsigned int) number("mode", 8, UINT32_MAX, &good);
    else if (option == 'u')
      echo.options.uid = (uid_t) number("uid", 10, UINT32_MAX - 1, &good);
    else if (option == 'g')
      echo.options.gid = (gid_t) number("gid", 10, UINT32_MAX - 1, &good);
    help = help || option == 'h';
    good = good && option != '?';
  }
  echo.first = text != NULL;
  bool engine = optind < argc && strcmp(argv[optind], "engine") == 0;
  bool named = argc - optind == 2 && argv[optind + 1][0] != '-';
  if (help || !good || !named || (!engine && strcmp(argv[optind], "app") != 0)) {
    fputs("usage: poll-echo engine|app NAME [--count N] [--send TEXT] [--mode OCTAL] [--uid N] [--gid N]\n",
          help ? stdout : stderr);
    return help ? 0 : 2;
  }
  return echo_main(&echo, engine, argv[optind + 1], text);
}
