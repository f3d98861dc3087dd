/* SPDX-License-Identifier: MIT */
/* work.c: see serve.h: commands from their arrival to their answers.
 *
 * Guarantees that each command that can be read is answered once, with a body that has ControlParameters; that the same
 * Interest again is answered from memory; that commands of one app are executed in order, those of several in turn, and
 * those of several users in turn, too; and that a turn of the loop executes a few and no more. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"

/* Of a Data that answers, with its link headers: all but name and content. */
#define ANSWER_BYTES (NDNPKT_LINK_HEADER_MAX + 100)

#define SERVER_OF(pointer, member) ((uvface__server_t*) ((char*) (pointer) -offsetof(uvface__server_t, member)))

static const uint8_t localhost_nfd[] = {8, 9, 'l', 'o', 'c', 'a', 'l', 'h', 'o', 's', 't', 8, 3, 'n', 'f', 'd'};

/* --- Arrival ------------------------------------------------------------------------------------ */

/* The two outermost headers tell; the rest is decoded when it is executed. */
static bool is_for_us(ndnpkt_bytes_t packet) {
  ndnpkt_tlv_t interest, name;

  if (packet.len == 0 || packet.base[0] != NDNPKT_TYPE_INTEREST) return false;
  if (ndnpkt_tlv_next(&packet, &interest) <= 0) return false;
  if (ndnpkt_tlv_next(&interest.value, &name) <= 0 || name.type != 7) return false;
  return name.value.len >= sizeof(localhost_nfd) && memcmp(name.value.base, localhost_nfd, sizeof(localhost_nfd)) == 0;
}

static bool has_work(const uvface__server_t* s) {
  return !TAILQ_EMPTY(&s->ready) || !TAILQ_EMPTY(&s->makers);
}

static void start_working(uvface__server_t* s) {
  if (!has_work(s) || uv_is_active((uv_handle_t*) &s->breath)) return;
  if (uv_is_closing((uv_handle_t*) &s->idle)) return; /* somebody else has closed it */
  uv_idle_start(&s->idle, uvface__work_on_idle);
}

/* The app waits for its turn, if it has something to do. */
static void queue_up(uvface__app_t* app) {
  uvface__server_t* s = app->server;

  if (uvface__app_is_ending(app) || app->work != UVFACE__IDLE || STAILQ_EMPTY(&app->pending)) return;
  app->work = UVFACE__READY;
  uvface__line_join(&s->ready, &app->user->ready, app);
  start_working(s);
}

static void take(uvface__app_t* app, ndnpkt_bytes_t packet) {
  uvface__pending_t* last = NULL;

  if (uvface__app_is_ending(app) || uvface__app_connection(app) == NULL) return;
  if (app->pending_bytes + sizeof(*last) + packet.len <= UVFACE__PENDING_BYTES_MAX)
    last = malloc(sizeof(*last) + packet.len);
  if (last == NULL) {
    app->server->stats.commands_dropped++;
    return;
  }
  last->bytes = packet.len;
  memcpy(last->packet, packet.base, packet.len);
  app->pending_bytes += sizeof(*last) + packet.len;
  STAILQ_INSERT_TAIL(&app->pending, last, link);
  queue_up(app);
}

/* The packet, where its sender cannot change it while we look: a slot that is lent is copied, as far as a command could
 * be in it. A Data is none, so most of what is large is not. Empty: it is no command, by its first byte. */
static ndnpkt_bytes_t private_view(uvface__app_t* app, const uv_buf_t* packet) {
  uvface__server_t* s = app->server;
  ndnpkt_bytes_t view = {(const uint8_t*) packet->base, packet->len};
  uint8_t type = *(const volatile uint8_t*) packet->base; /* read once: what follows has its own copy */

  if (type == NDNPKT_TYPE_LP_PACKET) app->speaks_lp = true;
  if (type != NDNPKT_TYPE_LP_PACKET && type != NDNPKT_TYPE_INTEREST) view.len = 0;
  if (view.len == 0 || !app->is_shm || (s->options.face.flags & UVFACE_RECV_BORROW) == 0) return view;
  if (view.len > sizeof(s->packet)) return (ndnpkt_bytes_t){NULL, 0};
  memcpy(s->packet, view.base, view.len);
  return (ndnpkt_bytes_t){s->packet, view.len};
}

int uvface__work_on_packet(uvface_filter_t* filter, uvface_t* face, uv_buf_t* packet) {
  uvface__app_t* app = filter->data;
  ndnpkt_bytes_t whole = private_view(app, packet), inner = whole;
  ndnpkt_link_t link;

  (void) face;
  if (whole.len == 0) return 1;
  if (whole.base[0] == NDNPKT_TYPE_LP_PACKET) {
    if (ndnpkt_link_decode(whole.base, whole.len, &link) < 0) return 1;
    if (link.fragment.len == 0) return 0; /* idle: there is nothing in it for anybody */
    if (link.nack || link.frag_count > 1) return 1;
    inner = link.fragment;
  }
  if (!is_for_us(inner)) return 1;
  take(app, whole);
  return 0;
}

/* --- The answer --------------------------------------------------------------------------------- */

static void on_answered(uvface_send_t* req, int status) {
  uvface__app_t* app = req->data;

  if (status < 0) app->server->stats.commands_dropped++;
  free(app->answer);
  app->answer = NULL;
  app->work = UVFACE__IDLE;
  queue_up(app);
}

/* Sends it now or, if there is no room, as soon as there is: until then the app's commands wait. */
static void send_answer(uvface__app_t* app, const uint8_t* packet, size_t bytes) {
  uv_buf_t buf = uv_buf_init((char*) (uintptr_t) packet, (unsigned int) bytes);
  int err = uvface_try_send(&app->face, &buf, 1);

  if (err == UV_EAGAIN && (app->answer = malloc(bytes)) != NULL) {
    memcpy(app->answer, packet, bytes);
    buf.base = (char*) app->answer;
    app->answer_req.data = app;
    err = uvface_send(&app->answer_req, &app->face, &buf, 1, on_answered);
    if (err == 0) {
      app->work = UVFACE__ANSWERING;
      return;
    }
    free(app->answer);
    app->answer = NULL;
  }
  if (err < 0) app->server->stats.commands_dropped++;
}

/* The Data that answers, with link headers if the app speaks them. Returns the size, or a negative number. */
static ssize_t encode_answer(uvface__app_t* app, const ndnpkt_packet_t* packet, const ndnpkt_data_t* data) {
  uvface__server_t* s = app->server;
  uint8_t* at = s->packet + NDNPKT_LINK_HEADER_MAX;
  ssize_t len = ndnpkt_data_encode(s->crypto, at, sizeof(s->packet) - NDNPKT_LINK_HEADER_MAX, data, NULL);
  ndnpkt_link_t link = {.pit_token = packet->link.pit_token};
  ssize_t head = 0;

  if (len < 0) return len;
  link.fragment.len = (size_t) len;
  if (app->speaks_lp) head = ndnpkt_link_encode(s->packet, NDNPKT_LINK_HEADER_MAX, &link);
  if (head < 0) return head;
  memmove(s->packet + head, at, (size_t) len);
  return head + len;
}

static void answer_data(uvface__app_t* app, const ndnpkt_packet_t* packet, uint64_t code, const ndnpkt_data_t* data) {
  uvface__server_t* s = app->server;
  ssize_t bytes = encode_answer(app, packet, data);

  if (bytes < 0 || (size_t) bytes > uvface_get_mtu(&app->face)) {
    s->stats.commands_dropped++;
    return;
  }
  s->stats.commands++;
  if (code >= 400) s->stats.commands_refused++;
  send_answer(app, s->packet, (size_t) bytes);
}

static void answer_with(uvface__app_t* app, const ndnpkt_packet_t* packet, uint64_t code, ndnpkt_bytes_t content) {
  const ndnpkt_data_t data = {.name = packet->interest.name, .content = content};

  answer_data(app, packet, code, &data);
}

/* --- Repeated commands -------------------------------------------------------------------------- */

/* Whether no other command has the same signature. */
static bool is_signed_once(const ndnpkt_signature_t* signature) {
  return signature->value.base != NULL &&
         (signature->nonce.base != NULL || signature->has_time || signature->has_seq_num);
}

/* What makes a command the same as another one: its name, and all that the digest there should be of, with what makes
 * each signature another. One without that is the same only if its Nonce is. False: it cannot be told, and is always a
 * new one. */
static bool digest_of(uvface__server_t* s, const ndnpkt_packet_t* packet, uint8_t ret_digest[NDNPKT_DIGEST_BYTES]) {
  const ndnpkt_interest_t* interest = &packet->interest;
  ndnpkt_bytes_t pieces[] = {interest->name, interest->digested};

  if (!is_signed_once(&interest->signature)) {
    if (!interest->has_nonce) return false;
    pieces[0] = packet->wire;
    pieces[1].len = 0;
  }
  return ndnpkt_sha256(s->crypto, pieces, 2, ret_digest) == 0;
}

static const uvface__given_answer_t* recall(const uvface__app_t* app, const uint8_t digest[NDNPKT_DIGEST_BYTES]) {
  for (int i = 0; i < UVFACE__REMEMBERED; i++) {
    const uvface__given_answer_t* answer = &app->answers[i];

    if (answer->content != NULL && memcmp(answer->digest, digest, NDNPKT_DIGEST_BYTES) == 0) return answer;
  }
  return NULL;
}

/* In the place of the oldest. Without memory it is forgotten. */
static void remember(uvface__app_t* app, const uint8_t digest[NDNPKT_DIGEST_BYTES], uint64_t code,
                     ndnpkt_bytes_t content) {
  uvface__given_answer_t* answer = &app->answers[app->next_answer++ % UVFACE__REMEMBERED];

  free(answer->content);
  answer->content = malloc(content.len);
  if (answer->content == NULL) return;
  memcpy(answer->digest, digest, NDNPKT_DIGEST_BYTES);
  memcpy(answer->content, content.base, content.len);
  answer->code = code;
  answer->bytes = content.len;
}

/* --- Execution ---------------------------------------------------------------------------------- */

/* The response into s->content; without its parameters, or its text, too, if the answer is too long with them: the name
 * of a route is in the name of the command as well. room: what the rest of the answer leaves of a packet. */
static ssize_t encode_response(uvface__server_t* s, const ndnpkt_response_t* response, ssize_t room) {
  const ndnpkt_response_t with_text = {.code = response->code, .text = response->text}, bare = {.code = response->code};
  const ndnpkt_response_t* const forms[] = {response, &with_text, &bare};
  ssize_t len = -1;

  for (int i = 0; i < 3 && (len < 0 || len > room); i++)
    len = ndnpkt_response_encode(s->content, sizeof(s->content), forms[i]);
  return len;
}

static ssize_t room_for_content(const uvface__app_t* app, const ndnpkt_packet_t* packet) {
  return (ssize_t) uvface_get_mtu(&app->face) - (ssize_t) packet->interest.name.len - ANSWER_BYTES;
}

static void execute_and_answer(uvface__app_t* app, const ndnpkt_packet_t* packet, const ndnpkt_command_t* command,
                               const uint8_t* digest) {
  uvface__server_t* s = app->server;
  uvface__order_t order = {.app = app, .command = command};
  ndnpkt_bytes_t content = {s->content, 0};
  ssize_t len;

  uvface__command_execute(&order);
  if (uvface__app_is_ending(app)) return; /* a callback of the user's has closed it */
  if (order.is_dataset) {
    answer_data(app, packet, 200, &order.dataset);
    return;
  }
  len = encode_response(s, &order.response, room_for_content(app, packet));
  if (len < 0) return;
  content.len = (size_t) len;
  if (digest != NULL) remember(app, digest, order.response.code, content);
  answer_with(app, packet, order.response.code, content);
  if (order.dismissed != NULL) uvface__app_end(order.dismissed, UV_ECANCELED);
}

/* A name of ours that is no command still wants an answer. */
static void decode_command(const ndnpkt_interest_t* interest, ndnpkt_command_t* command) {
  if (ndnpkt_command_decode(interest, command) == 0) return;
  *command = (ndnpkt_command_t){.name = interest->name};
}

static bool makes_face(const ndnpkt_command_t* command) {
  return ndnpkt_command_is(command, "faces", "create");
}

static void wake_at(uvface__server_t* s, uint64_t now_ns, uint64_t due_ns) {
  uint64_t rest_ms = due_ns > now_ns ? (due_ns - now_ns) / 1000000 + 1 : UVFACE__BREATH_MS;

  if (!uv_is_active((uv_handle_t*) &s->rest) || uv_timer_get_due_in(&s->rest) > rest_ms)
    uv_timer_start(&s->rest, uvface__work_on_rest, rest_ms, 0);
}

/* Waits until then. */
static void rest(uvface__app_t* app, uint64_t now_ns, uint64_t until_ns) {
  uvface__server_t* s = app->server;

  app->work = UVFACE__RESTING;
  app->rested_ns = until_ns;
  uvface__line_join(&s->resting, &app->user->resting, app);
  wake_at(s, now_ns, until_ns);
}

/* One that has rested, of the user whose turn it is; the next turn is that of the others. NULL: nobody has. */
static uvface__app_t* take_rested(struct uvface__lines_s* lines, uint64_t now_ns) {
  uvface__app_t* app = NULL;
  uvface__line_t* line;

  TAILQ_FOREACH(line, lines, link) {
    TAILQ_FOREACH(app, &line->apps, work_link) if (app->rested_ns <= now_ns) break;
    if (app != NULL) break;
  }
  if (app == NULL) return NULL;
  uvface__line_leave(lines, line, app);
  if (TAILQ_EMPTY(&line->apps)) return app;
  TAILQ_REMOVE(lines, line, link);
  TAILQ_INSERT_TAIL(lines, line, link);
  return app;
}

/* When the next has rested. UINT64_MAX: nobody rests. */
static uint64_t next_rested_ns(const struct uvface__lines_s* lines) {
  uint64_t due_ns = UINT64_MAX;
  const uvface__line_t* line;
  const uvface__app_t* app;

  TAILQ_FOREACH(line, lines, link)
  TAILQ_FOREACH(app, &line->apps, work_link) if (app->rested_ns < due_ns) due_ns = app->rested_ns;
  return due_ns;
}

/* Many may have rested until the same moment, and most of them will have to rest again: they come a few at a time, or
 * others would wait behind all of them. */
void uvface__work_on_rest(uv_timer_t* timer) {
  uvface__server_t* s = SERVER_OF(timer, rest);
  uint64_t now_ns = uv_hrtime();
  uvface__app_t* app;

  for (int n = 0; n < UVFACE__WAKES_PER_TURN && (app = take_rested(&s->resting, now_ns)) != NULL; n++) {
    app->work = UVFACE__IDLE;
    queue_up(app);
  }
  if (!TAILQ_EMPTY(&s->resting)) wake_at(s, now_ns, next_rested_ns(&s->resting));
}

/* Executes the app's next command. One that makes a face is left to the turn of those that do. */
static void work_on(uvface__app_t* app, bool is_maker) {
  uvface__server_t* s = app->server;
  uvface__pending_t* next = STAILQ_FIRST(&app->pending);
  uint64_t now_ns = uv_hrtime();
  ndnpkt_packet_t packet;
  ndnpkt_command_t command;
  const uvface__given_answer_t* known = NULL;
  uint8_t digest[NDNPKT_DIGEST_BYTES];
  bool is_readable = ndnpkt_packet_decode(next->packet, next->bytes, &packet) == 0 && packet.kind == NDNPKT_INTEREST;
  bool may_recall = false;

  if (is_readable) {
    decode_command(&packet.interest, &command);
    may_recall = digest_of(s, &packet, digest);
    known = may_recall ? recall(app, digest) : NULL;
    if (known == NULL && makes_face(&command)) {
      if (now_ns < uvface__command_earliest(app, &command)) {
        rest(app, now_ns, uvface__command_earliest(app, &command));
        return;
      }
      if (!is_maker) {
        app->work = UVFACE__MAKING;
        uvface__line_join(&s->makers, &app->user->makers, app);
        return;
      }
    }
  }
  STAILQ_REMOVE_HEAD(&app->pending, link);
  app->pending_bytes -= sizeof(*next) + next->bytes;
  if (!is_readable) {
    s->stats.commands_dropped++;
  } else if (known != NULL) {
    s->stats.commands_repeated++;
    answer_with(app, &packet, known->code, (ndnpkt_bytes_t){known->content, known->bytes});
  } else {
    execute_and_answer(app, &packet, &command, may_recall ? digest : NULL);
  }
  free(next);
}

static void serve_first(struct uvface__lines_s* lines, bool is_maker) {
  uvface__app_t* app = uvface__lines_take(lines);

  if (app == NULL) return;
  app->work = UVFACE__IDLE;
  if (!uvface__app_is_ending(app)) work_on(app, is_maker);
  queue_up(app); /* behind the others */
}

void uvface__work_on_idle(uv_idle_t* idle) {
  uvface__server_t* s = SERVER_OF(idle, idle);
  int executed = 0;

  for (; executed < UVFACE__COMMANDS_PER_TURN && !TAILQ_EMPTY(&s->ready); executed++) serve_first(&s->ready, false);
  serve_first(&s->makers, true);
  if (executed == UVFACE__COMMANDS_PER_TURN) uv_timer_start(&s->breath, uvface__work_on_breath, UVFACE__BREATH_MS, 0);
  if (!has_work(s) || executed == UVFACE__COMMANDS_PER_TURN) uv_idle_stop(idle);
}

void uvface__work_on_breath(uv_timer_t* timer) {
  start_working(SERVER_OF(timer, breath));
}
