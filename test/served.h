/* SPDX-License-Identifier: MIT */
/* served.h: a server on a loop, what happened to it, and apps that speak to it byte by byte over a plain socket. For
 * the tests of libuvface_mgmt's server. */
#ifndef SERVED_H
#define SERVED_H

#include <ndnpkt.h>
#include <uvface_mgmt.h>

#include "faces.h"
#include "wire.h"

#define SERVED_APPS 64

/* What is known of an app from the callbacks. */
typedef struct guest_s {
  uvface_app_t* app; /* NULL once it is gone */
  uint64_t face_id;
  char uri[240];
  int status;         /* of on_close */
  unsigned int order; /* which on_close it was */
  unsigned int got;   /* packets */
  uint8_t last[WIRE_MAX];
  size_t last_bytes;
  int end; /* that recv_cb was told; 0 = none */
} guest_t;

typedef struct served_s {
  uv_loop_t loop;
  uvface_server_t server;
  char directory[80]; /* of both kinds of sockets; empty in the end */
  char path[120];
  uvface_server_options_t options; /* begin with handoff_dir = directory */
  uvface_server_callbacks_t callbacks;
  guest_t guests[SERVED_APPS]; /* in the order of on_open; beyond that they are counted only */
  unsigned int opened, closed, commands, verified;
  unsigned int packets; /* of all apps */
  uint64_t opened_ns;   /* the last on_open */
  /* what the callbacks do */
  bool close_in_open, close_in_verify, close_in_command, close_by_face, echo, refuse_all, deaf;
  unsigned int code;    /* that on_command returns; 0 = 200 */
  int hold_ms;          /* how long each recv_cb holds the loop up; 0 = not */
  bool loses_answers;   /* so that an app that waits for one must give up */
  uvface_app_t* target; /* of the last command */
  uint64_t target_id, asked_id;
  int done;
} served_t;

/* Makes a directory, fills options and callbacks. */
void served_init(served_t* served);
/* Listens; asserts that it does. */
void served_listen(served_t* served);
/* Both. */
void served_open(served_t* served);
/* Closes the server, runs the loop to its end, asserts that nothing is left. */
void served_close(served_t* served);
uvface_server_stats_t served_stats(const served_t* served);

/* An app that is a socket and nothing more. */
typedef struct raw_s {
  served_t* served;
  ndnpkt_crypto_t* crypto;
  int fd;
  uint8_t in[4 * WIRE_MAX];
  size_t have;
  uint8_t sent[WIRE_MAX]; /* the last command */
  size_t sent_bytes;
  uint8_t packet[WIRE_MAX]; /* the last that came */
  size_t packet_bytes;
} raw_t;

void raw_connect(raw_t* raw, served_t* served);
void raw_close(raw_t* raw);
void raw_send(raw_t* raw, ndnpkt_bytes_t bytes);
/* Runs the loop until a whole packet has come, and decodes it; asserts that one comes. */
ndnpkt_packet_t raw_receive(raw_t* raw);
/* True if the server has closed the connection; takes what comes before. */
bool raw_is_over(raw_t* raw);
/* Nothing has come so far. Does not run the loop. */
bool raw_is_silent(raw_t* raw);

/* A command with these parameters, by ndnpkt's signer; sends it. */
void raw_command(raw_t* raw, const char* module, const char* verb, const ndnpkt_parameters_t* parameters);
/* Receives the answer to the last command, which must be one, and signed; name and text are views of raw. */
ndnpkt_response_t raw_response(raw_t* raw);
/* Both; asserts the code. */
ndnpkt_response_t raw_ask(raw_t* raw, const char* module, const char* verb, const ndnpkt_parameters_t* parameters,
                          unsigned int code);
/* The code of faces/create for that name; ret_face_id may be NULL. key: NULL = by name. mtu < 0: none. */
unsigned int raw_create(raw_t* raw, const char* name, const uint8_t* key, int64_t mtu, uint64_t* ret_face_id);
unsigned int raw_register(raw_t* raw, const char* uri, uint64_t face_id);

/* --- The app's side of a handoff, one step at a time -------------------------------------------- */

#define KEY_BYTES 32

/* A key that differs with n. */
const uint8_t* handoff_key(unsigned int n);
/* Connects to the socket of that key; -1 if there is none. */
int handoff_connect(const served_t* served, const uint8_t* key);
void handoff_path(const served_t* served, const uint8_t* key, char path[200]);
bool handoff_exists(const served_t* served, const uint8_t* key);
/* Sends a nonce; true when the server has proved that it knows the key. */
bool handoff_meet(served_t* served, int fd, const uint8_t* key, uint8_t nonces[64]);
/* Sends the proof, or another one. */
void handoff_prove(int fd, const uint8_t* key, const uint8_t nonces[64], bool right);
/* Takes the descriptors: 3, or fewer. */
int handoff_take(served_t* served, int fd, int fds[3]);
/* All of it: attaches face; a negative number if it does not work. */
int handoff_attach(served_t* served, const uint8_t* key, uvface_t* face);

/* --- An app that needs no loop, for a child: its calls block ------------------------------------- */

/* Connects and asks for a private face. Returns the connection, or -1. */
int plain_ask(const served_t* served, const uint8_t* key);
/* Reads the answer, fetches the descriptors, attaches, sends a packet. 0, or 1 after saying why. */
int plain_fetch(const served_t* served, int control, const uint8_t* key);
/* Both. */
/* The code of its answer; 0 = the connection is closed, -1 = neither. */
int plain_code(int control);
int plain_app(const served_t* served, const uint8_t* key);
/* The same with a named face. */
int plain_named(const served_t* served, const char* name);

/* Runs the loop until the other end of fd is closed, having taken what comes; asserts that it is. */
void run_until_eof(served_t* served, int fd);

#endif
