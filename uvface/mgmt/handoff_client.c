/* SPDX-License-Identifier: MIT */
/* handoff_client.c: see handoff_client.h. */
#include "handoff_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dial.h"
#include "watch.h"

#define SEND_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT)
#define MAX_FDS 16 /* that are looked at; the kernel closes what comes beyond that */
#define WHY_BYTES 160

struct uvface__handoff_s {
  uvface__watch_t* watch;
  ndnpkt_crypto_t* crypto;
  uvface__handoff_cb cb;
  void* arg;
  unsigned char key[UVFACE__KEY_BYTES];
  unsigned char nonce[UVFACE__NONCE_BYTES];                        /* ours */
  unsigned char answer[UVFACE__NONCE_BYTES + UVFACE__PROOF_BYTES]; /* theirs, and the proof */
  size_t have;                                                     /* of the answer; all: proved to each other */
};

const char* uvface__handoff_waits_for(const uvface__handoff_t* handoff) {
  return handoff->have < sizeof(handoff->answer) ? "the proof" : "the descriptors";
}

void uvface__handoff_drop(uvface__handoff_t* handoff) {
  if (handoff == NULL) return;
  uvface__watch_drop(handoff->watch);
  explicit_bzero(handoff, sizeof(*handoff));
  free(handoff);
}

static void finish(uvface__handoff_t* handoff, int status, const int fds[3], const char* why) {
  uvface__handoff_cb cb = handoff->cb;
  void* arg = handoff->arg;

  uvface__handoff_drop(handoff);
  cb(arg, status, fds, why);
}

/* However a forwarder left the socket, it is gone. */
static int code_of(int error) {
  return error == ECONNRESET || error == EPIPE ? UV_EOF : uv_translate_sys_error(error);
}

/* Few bytes into an empty socket: they fit, or something is wrong. */
static int send_all(int fd, const unsigned char* bytes, size_t n) {
  ssize_t sent = send(fd, bytes, n, SEND_FLAGS);

  if (sent < 0) return code_of(errno);
  return (size_t) sent == n ? 0 : UV_EIO;
}

/* The end, by a call that failed. */
static void fail(uvface__handoff_t* handoff, const char* call, int err) {
  char why[WHY_BYTES], words[80];

  snprintf(why, sizeof(why), "%s: %s", call, uv_strerror_r(err, words, sizeof(words)));
  finish(handoff, err, NULL, why);
}

/* --- Proofs --------------------------------------------------------------------------------------- */

static void prove(uvface__handoff_t* handoff) {
  const unsigned char *theirs = handoff->answer, *proof = handoff->answer + UVFACE__NONCE_BYTES;
  unsigned char expected[UVFACE__PROOF_BYTES], own[UVFACE__PROOF_BYTES];
  int err;

  err = uvface__handoff_proof(handoff->crypto, handoff->key, 'S', handoff->nonce, theirs, expected);
  if (err == 0) err = uvface__handoff_proof(handoff->crypto, handoff->key, 'C', handoff->nonce, theirs, own);
  if (err < 0) {
    fail(handoff, "SHA-256", err);
    return;
  }
  if (!uvface__handoff_same(expected, proof)) {
    finish(handoff, UV_EPROTO, NULL, "wrong proof: whoever listens there does not know the key");
    return;
  }
  err = send_all(uvface__watch_fd(handoff->watch), own, sizeof(own));
  if (err < 0)
    fail(handoff, "send the proof", err);
  else
    handoff->cb(handoff->arg, 1, NULL, NULL);
}

/* Descriptors that come here are not asked for: without room for them the kernel closes them. Returns false if there is
 * nothing to read; else the handoff may be gone. */
static bool read_answer(uvface__handoff_t* handoff) {
  ssize_t n = recv(uvface__watch_fd(handoff->watch), handoff->answer + handoff->have,
                   sizeof(handoff->answer) - handoff->have, MSG_DONTWAIT);

  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (n <= 0) {
    fail(handoff, "receive the proof", n == 0 ? UV_EOF : code_of(errno));
    return true;
  }
  handoff->have += (size_t) n;
  if (handoff->have == sizeof(handoff->answer)) prove(handoff);
  return true;
}

/* --- Descriptors ---------------------------------------------------------------------------------- */

/* All descriptors of a message, at most MAX_FDS. Returns how many. */
static unsigned int collect(struct msghdr* message, int fds[MAX_FDS]) {
  unsigned int n = 0;

  for (struct cmsghdr* c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    for (size_t i = 0; i < count && n < MAX_FDS; i++) memcpy(&fds[n++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
  }
  return n;
}

/* Takes the message apart: three descriptors into fds, or none and the reason. */
static const char* take_message(struct msghdr* message, unsigned char byte, int fds[3]) {
  int all[MAX_FDS];
  unsigned int n = collect(message, all);
  const char* why = NULL;

  if ((message->msg_flags & MSG_CTRUNC) != 0)
    why = "more descriptors than three, or no room for them in this process";
  else if (byte != UVFACE__HANDOFF_BYTE)
    why = "not the byte that comes with descriptors";
  else if (n != 3)
    why = "not three descriptors";
  if (why == NULL)
    memcpy(fds, all, 3 * sizeof(int));
  else
    for (unsigned int i = 0; i < n; i++) close(all[i]);
  return why;
}

static bool read_fds(uvface__handoff_t* handoff) {
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
  } control;
  unsigned char byte = 0;
  struct iovec piece = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
  int fds[3];
  const char* why;
  ssize_t n = recvmsg(uvface__watch_fd(handoff->watch), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (n < 0) {
    fail(handoff, "receive the descriptors", code_of(errno));
    return true;
  }
  why = n == 0 ? NULL : take_message(&message, byte, fds);
  if (n == 0)
    finish(handoff, UV_EOF, NULL, "closed without handing anything out");
  else
    finish(handoff, why == NULL ? 0 : UV_EPROTO, fds, why);
  return true;
}

/* --- Both ------------------------------------------------------------------------------------------ */

/* An error of the poll is one of the socket, most often: reading tells which. */
static void on_readable(void* arg, int status) {
  uvface__handoff_t* handoff = arg;
  bool proves = handoff->have < sizeof(handoff->answer);
  bool has_read = proves ? read_answer(handoff) : read_fds(handoff);

  if (!has_read && status < 0) fail(handoff, "poll", status);
}

/* fd is the handoff's on success. */
static int begin(uv_loop_t* loop, uvface__handoff_t* handoff, int fd) {
  int err = uvface__random(handoff->nonce, sizeof(handoff->nonce));

  if (err < 0) return uv_translate_sys_error(-err);
  err = send_all(fd, handoff->nonce, sizeof(handoff->nonce));
  if (err < 0) return err;
  return uvface__watch_new(loop, fd, UV_READABLE, on_readable, handoff, &handoff->watch);
}

int uvface__handoff_start(uv_loop_t* loop, ndnpkt_crypto_t* crypto, const char* path,
                          const unsigned char key[UVFACE__KEY_BYTES], uvface__handoff_cb cb, void* arg,
                          uvface__handoff_t** ret_handoff) {
  uvface__handoff_t* handoff;
  int err, fd = uvface__dial_path(path);

  if (fd < 0) return fd;
  handoff = calloc(1, sizeof(*handoff));
  if (handoff == NULL) {
    close(fd);
    return UV_ENOMEM;
  }
  handoff->crypto = crypto;
  handoff->cb = cb;
  handoff->arg = arg;
  memcpy(handoff->key, key, sizeof(handoff->key));
  err = begin(loop, handoff, fd);
  if (err < 0) {
    close(fd);
    free(handoff);
    return err;
  }
  *ret_handoff = handoff;
  return 0;
}
