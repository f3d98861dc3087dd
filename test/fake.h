/* SPDX-License-Identifier: MIT */
/* fake.h: a forwarder that is moved by hand, and a client that notes what happens to it. For the tests of clients.
 *
 * The forwarder is made of blocking calls on a raw socket, and of the bytes of test/vectors and of the handoff: nothing
 * of libuvface_mgmt is in it but two pure functions of handoff.h. It runs in a child of its own, whose function returns
 * 0 if all was as it should be (REQUIRE). The client runs on a loop of the test's. */
#ifndef FAKE_H
#define FAKE_H

#include <ndnpkt.h>
#include <ndnshm.h>
#include <uvface_mgmt.h>

#include "faces.h"
#include "handoff.h"
#include "harness.h"
#include "wire.h"

/* --- The forwarder --------------------------------------------------------------------------------- */

typedef struct fake_s {
  char path[108]; /* of its socket */
  char uri[128];
  int listener;
  int conn;       /* the connection of now; -1 = none */
  bool link;      /* wraps what it sends into link packets with a PIT token, as ndnd does */
  size_t dribble; /* writes so many bytes at a time; 0 = all at once */
  ndnshm_t* ep;   /* its end of a face */
  int echoes;     /* ends after so many packets that it sent back over the face; 0 = never */
  int handoff_listener;
  char handoff_path[108]; /* "" = none was made */
} fake_t;

/* A packet that came. */
typedef struct fake_packet_s {
  uint8_t bytes[NDNPKT_PACKET_MAX];
  size_t n;
  ndnpkt_packet_t packet;
  ndnpkt_command_t command; /* if it is one; else its name is empty */
} fake_packet_t;

/* Makes the socket, in the test itself, so that a client finds it. Takes it away; and what a child that was killed left
 * at the handoff, if fake is in memory that they share. */
void fake_listen(fake_t* fake, const char* tag);
void fake_unlisten(fake_t* fake);
/* The same on a port of this machine. uri: receives where, by that name of the host. */
void fake_listen_tcp(fake_t* fake, char* uri, size_t uri_bytes, const char* host);
/* Has such a port, and refuses whoever connects. */
void fake_bind_tcp(fake_t* fake, char* uri, size_t uri_bytes, const char* host);

/* All that follows is for the child. The next connection, in place of the one of now. */
int fake_accept(fake_t* fake);
/* The next packet of the connection. False at its end. */
bool fake_read(fake_t* fake, fake_packet_t* packet);
/* True if it is this command. */
bool fake_is(const fake_packet_t* packet, const char* module, const char* verb);
/* Reads the next packet, which must be this command. */
bool fake_expect(fake_t* fake, fake_packet_t* packet, const char* module, const char* verb);
/* True if the connection ends with nothing before. */
bool fake_ends(fake_t* fake);
/* Sends bytes as they are. */
void fake_write(fake_t* fake, const void* bytes, size_t n);
/* Answers a command: code, text, and what of parameters.has is there. */
void fake_answer_with(fake_t* fake, const fake_packet_t* packet, unsigned int code, const char* text,
                      const ndnpkt_parameters_t* parameters);
/* With the command's own parameters; those of faces/create without token and with this FaceId, as ndn-fwd does. */
void fake_answer(fake_t* fake, const fake_packet_t* packet, unsigned int code, const char* text, uint64_t face_id);
void fake_nack(fake_t* fake, const fake_packet_t* packet);
/* Sends a packet, wrapped or not. */
void fake_send(fake_t* fake, ndnpkt_bytes_t packet);
/* Answers every command with 200, echoes all else, until the connection ends; over the face, if there is one, too. The
 * commands are counted. */
int fake_serve(fake_t* fake, unsigned int* ret_commands);

/* How a handoff goes wrong. */
typedef enum fake_fault {
  FAKE_RIGHT,
  FAKE_EOF_AT_ONCE,
  FAKE_SILENT_AT_ONCE,
  FAKE_HALF_A_PROOF,
  FAKE_WRONG_PROOF,
  FAKE_EOF_AFTER_PROOF,
  FAKE_SILENT_AFTER_PROOF,
  FAKE_NO_DESCRIPTORS,
  FAKE_TWO_DESCRIPTORS,
  FAKE_FOUR_DESCRIPTORS,
  FAKE_MANY_DESCRIPTORS,
  FAKE_WRONG_BYTE,
  FAKE_STRANGE_DESCRIPTORS,
  FAKE_FAULTS
} fake_fault_t;

/* Makes a private face for a create that came, and the socket where it is handed out. */
int fake_make_private(fake_t* fake, const fake_packet_t* create);
/* Makes the face of the name that was asked for. */
int fake_make_named(fake_t* fake, const fake_packet_t* create);
/* Serves one connector at the handoff. ret_peer: NULL, or receives its connection, left open; else it is closed. */
int fake_hand_out(fake_t* fake, const fake_packet_t* create, fake_fault_t fault);
/* Listens at the handoff no longer; takes its socket away, too. */
void fake_close_handoff(fake_t* fake);
void fake_end_handoff(fake_t* fake);
/* All of it: create, answer with that FaceId, handoff. */
int fake_give_face(fake_t* fake, fake_packet_t* create, uint64_t face_id);

/* --- The client ------------------------------------------------------------------------------------- */

/* A forwarder may be kept from running for longer than a client waits for it: so time passes for the client only a
 * twentieth as fast, unless the test is about its deadlines, and says so before anything else. */
void fake_true_time(void);

typedef struct watcher_s {
  uv_loop_t loop;
  uvface_client_t client;
  unsigned int ups, downs, closed; /* how often it was told */
  int status;                      /* the last one */
  int face_error;                  /* what recv_cb was told */
  unsigned int packets;            /* received */
  uint8_t last[NDNPKT_PACKET_MAX]; /* the last of them */
  size_t last_bytes;
  bool receive; /* starts receiving when it is up */
  void (*on_change)(struct watcher_s* w, int status);
} watcher_t;

/* A client that connects; it receives once it is up. options: NULL = defaults. */
void watcher_open(watcher_t* w, const char* uri, const uvface_client_options_t* options);
/* Closes the client, and the loop, which must have nothing left. */
void watcher_close(watcher_t* w);
/* Runs until it is up, or down, so often. */
void watcher_run_up(watcher_t* w, unsigned int ups);
void watcher_run_down(watcher_t* w, unsigned int downs);
/* Sends a packet over the face, and runs until it has come back. */
void watcher_echo(watcher_t* w, const char* hex);
/* Asserts what the client said last. */
void watcher_assert_says(const watcher_t* w, const char* words);

/* A command with what became of it. */
typedef struct order_s {
  uvface_command_t req;
  int told; /* how often */
  int status;
  unsigned int code;
  char text[256];
} order_t;

void order_register(watcher_t* w, order_t* order, const char* name);
void order_unregister(watcher_t* w, order_t* order, const char* name);
void on_order(uvface_command_t* req, int status, unsigned int code, const char* text);
/* Registers, and asserts what comes of it. */
void assert_registers(watcher_t* w, const char* name, int status);

#endif
