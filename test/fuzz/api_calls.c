/* SPDX-License-Identifier: MIT */
/* api_calls.c: what a program calls on a face that it has: receiving, sending, asking, and asking wrongly; with what
 * each call may return: see api_ends.h. */
#include <stdlib.h>
#include <string.h>

#include "api_ends.h"

#define BATCH_MAX 8
#define NAMES_BAD 4

/* --- Receiving -------------------------------------------------------------------------------- */

void end_start(end_t* end, bool drops) {
  int err;

  if (end == NULL) return;
  api_enter();
  err = api_leave(uvface_recv_start(&end->face, drops ? NULL : on_packets));
  if (err == UV_EALREADY) FUZZ_REQUIRE(end->receiving);
  if (err < 0 && err != UV_EALREADY) FUZZ_REQUIRE(end_is_due(end, err, UV_EOF));
  if (err < 0) end_check_words(end, "uvface_recv_start");
  if (err < 0) return;
  end_check_state(end, err, UV_EOF);
  FUZZ_REQUIRE(!end->receiving);
  end->receiving = true;
  end->drops = drops;
  if (drops) end_in(end)->lossy = true;
}

void end_stop(end_t* end) {
  int err;

  if (end == NULL) return;
  api_enter();
  err = api_leave(uvface_recv_stop(&end->face));
  FUZZ_REQUIRE(err == (end->state == END_OPEN ? 0 : UV_ENOTCONN));
  end->receiving = false;
  if (end->filter != NULL && end->link != NULL) end_in(end)->lossy = true; /* what a filter has not passed on by then */
}

/* --- Sending ---------------------------------------------------------------------------------- */

/* n packets in one block, as buffers; how many there are. */
static unsigned int make_packets(end_t* end, uint8_t code, unsigned int n, uv_buf_t bufs[], uint8_t** ret_bytes,
                                 unsigned int* ret_first) {
  static const size_t sizes[8] = {6, 16, 60, 61, 200, 300, 1000, 4000};
  size_t mtu = uvface_get_mtu(&end->face), bytes = ledger_fit(sizes[code % 8], mtu);
  ledger_t* ledger = end_out(end);
  uint8_t* all;

  if (ledger->next + n > LEDGER_PACKETS_MAX) return 0;
  all = malloc(bytes * n);
  FUZZ_REQUIRE(all != NULL);
  *ret_first = ledger->next;
  *ret_bytes = all;
  for (unsigned int p = 0; p < n; p++) {
    ledger_write(ledger, all + p * bytes, bytes);
    bufs[p] = uv_buf_init((char*) all + p * bytes, (unsigned int) bytes);
  }
  return n;
}

/* A packet in pieces, some of them empty. */
static unsigned int cut(uv_buf_t packet, uint8_t code, uv_buf_t pieces[BATCH_MAX]) {
  unsigned int n = 1 + code % BATCH_MAX;
  size_t at = 0;

  for (unsigned int i = 0; i < n; i++) {
    size_t len = i + 1 == n ? packet.len - at : (packet.len - at) / (1 + code / BATCH_MAX % 4);

    pieces[i] = uv_buf_init(packet.base + at, (unsigned int) len);
    at += len;
  }
  return n;
}

void end_try_send(end_t* end, uint8_t code, bool batch) {
  uv_buf_t bufs[BATCH_MAX], pieces[BATCH_MAX];
  unsigned int first, n = batch ? 1 + code / 8 % BATCH_MAX : 1, npieces;
  uint8_t* bytes;
  int result;

  if (end == NULL) return;
  if (end->link == NULL || make_packets(end, code, n, bufs, &bytes, &first) == 0) {
    static char letter[6];
    uv_buf_t buf = uv_buf_init(letter, sizeof(letter));

    if (end->link != NULL) return;
    api_enter();
    FUZZ_REQUIRE(api_leave(uvface_try_send(&end->face, &buf, 1)) == UV_ENOTCONN);
    return;
  }
  npieces = cut(bufs[0], code, pieces);
  api_enter();
  result = api_leave(batch ? uvface_try_send_batch(&end->face, bufs, n) : uvface_try_send(&end->face, pieces, npieces));
  free(bytes); /* they are copied */
  if (result < 0) {
    ledger_settle(end_out(end), first, n, LEDGER_REFUSED);
    if (result != UV_EAGAIN) end_check_refusal(end, result, batch ? "uvface_try_send_batch" : "uvface_try_send");
    return;
  }
  end_check_state(end, result, UV_EPIPE);
  FUZZ_REQUIRE(end->first == NULL || end->sent + 1 > 0);
  if (batch)
    FUZZ_REQUIRE(result >= 1 && (unsigned int) result <= n);
  else
    FUZZ_REQUIRE((unsigned int) result == bufs[0].len);
  ledger_settle(end_out(end), first, batch ? (unsigned int) result : 1, LEDGER_SENT);
  ledger_settle(end_out(end), first, n, LEDGER_REFUSED); /* the others */
  end->sent += batch ? (uint64_t) result : 1;
}

static void keep(end_t* end, request_t* request, bool mute) {
  if (mute) {
    request->next = end->mute;
    end->mute = request;
  } else {
    if (end->last != NULL)
      end->last->next = request;
    else
      end->first = request;
    end->last = request;
  }
}

void end_send(end_t* end, uint8_t code, bool batch, bool mute) {
  uv_buf_t bufs[BATCH_MAX], pieces[BATCH_MAX];
  unsigned int n = batch ? 1 + code / 8 % BATCH_MAX : 1, npieces;
  uvface_send_cb cb = mute ? NULL : on_sent;
  request_t* request;
  int err;

  if (end == NULL || end->link == NULL) return;
  request = calloc(1, sizeof(*request));
  FUZZ_REQUIRE(request != NULL);
  if (make_packets(end, code, n, bufs, &request->bytes, &request->first) == 0) {
    free(request);
    return;
  }
  request->end = end;
  request->ledger = end_out(end);
  request->n = n;
  npieces = cut(bufs[0], code, pieces);
  api_enter();
  err = api_leave(batch ? uvface_send_batch(&request->req, &end->face, bufs, n, cb)
                        : uvface_send(&request->req, &end->face, pieces, npieces, cb));
  memset(bufs, 0, sizeof(bufs)); /* the arrays are copied */
  memset(pieces, 0, sizeof(pieces));
  if (err < 0) {
    FUZZ_REQUIRE(err != UV_EAGAIN);
    if (err == UV_ENOBUFS)
      FUZZ_REQUIRE(end->bounded);
    else
      end_check_refusal(end, err, batch ? "uvface_send_batch" : "uvface_send");
    ledger_settle(request->ledger, request->first, n, n > 1 && err == UV_EPIPE ? LEDGER_MAYBE : LEDGER_REFUSED);
    free(request->bytes);
    free(request);
    return;
  }
  end_check_state(end, err, UV_EPIPE);
  if (mute) ledger_settle(request->ledger, request->first, n, LEDGER_MAYBE); /* nobody will say */
  keep(end, request, mute);
}

void end_reserve(end_t* end, uint8_t code) {
  uv_buf_t slot = {0};
  size_t len;
  int err, number;

  if (end == NULL || (end->link != NULL && end_out(end)->next == LEDGER_PACKETS_MAX)) return;
  len = ledger_fit(6u + code, uvface_get_mtu(&end->face));
  api_enter();
  err = api_leave(uvface_reserve(&end->face, len, &slot));
  if (err == UV_EALREADY) FUZZ_REQUIRE(end->slot != NULL);
  if (err < 0 && err != UV_EALREADY && err != UV_EAGAIN) end_check_refusal(end, err, "uvface_reserve");
  if (err < 0) return;
  end_check_state(end, err, UV_EPIPE);
  FUZZ_REQUIRE(end->slot == NULL && slot.len == len);
  number = ledger_write(end_out(end), (uint8_t*) slot.base, len);
  end->slot = (uint8_t*) slot.base;
  end->slot_bytes = len;
  end->slot_number = (unsigned int) number;
}

/* All of it; or nothing, which gives the slot back; or too much. */
void end_commit(end_t* end, uint8_t code) {
  size_t len;
  int err;

  if (end == NULL) return;
  len = end->slot == NULL ? 6 : code % 4 == 0 ? 0 : code % 4 == 1 ? end->slot_bytes + 1 : end->slot_bytes;
  api_enter();
  err = api_leave(uvface_commit(&end->face, len));
  if (err == UV_EINVAL) {
    FUZZ_REQUIRE(end->slot == NULL);
  } else if (err == UV_EMSGSIZE) {
    FUZZ_REQUIRE(end->slot != NULL && len > end->slot_bytes);
  } else if (err < 0) {
    end_check_refusal(end, err, "uvface_commit");
  } else {
    end_check_state(end, err, UV_EPIPE);
    FUZZ_REQUIRE(end->slot != NULL && len <= end->slot_bytes);
    ledger_settle(end_out(end), end->slot_number, 1, len > 0 ? LEDGER_SENT : LEDGER_REFUSED);
    end->slot = NULL;
    if (len > 0) end->sent++;
  }
}

/* --- Asking, and asking wrongly --------------------------------------------------------------- */

void end_ask(end_t* end) {
  uvface_stats_t stats;
  int err, kind;

  if (end == NULL) return;
  api_enter();
  FUZZ_REQUIRE((uvface_is_closing(&end->face) != 0) == (end->state == END_CLOSING));
  if (end->state != END_CLOSING) FUZZ_REQUIRE((uvface_has_ref(&end->face) != 0) == end->ref);
  /* Who drops what comes is not told of the end either. */
  if ((end->receiving && (!end->drops || !end_may_be_alone(end))) || (end->first != NULL && end->state != END_CLOSING))
    FUZZ_REQUIRE(uvface_is_active(&end->face));
  if (!end->receiving && end->first == NULL && end->mute == NULL) FUZZ_REQUIRE(!uvface_is_active(&end->face));
  if (end->state == END_CLOSED) FUZZ_REQUIRE(uvface_get_mtu(&end->face) == 0);
  if (end->state == END_OPEN) FUZZ_REQUIRE(uvface_get_mtu(&end->face) > 0);
  kind = uvface_get_transport(&end->face);
  err = uvface_get_stats(&end->face, &stats);
  api_leave(0);
  FUZZ_REQUIRE(strlen(uvface_errmsg(&end->face)) < 1000);
  FUZZ_REQUIRE(strlen(uvface_get_name(&end->face)) < 200);
  if (end->state != END_OPEN) {
    FUZZ_REQUIRE(kind == UV_ENOTCONN &&
                 err == (end->link != NULL ? 0 : UV_ENOTCONN)); /* what was open still has them */
    return;
  }
  if (end->link->kind == BY_NAME) FUZZ_REQUIRE(strcmp(uvface_get_name(&end->face), link_name(end->link->name)) == 0);
  FUZZ_REQUIRE(err == 0 && kind == (end->link->kind == BY_STREAM ? UVFACE_STREAM : UVFACE_SHM));
  FUZZ_REQUIRE(stats.rx_packets >= end->received || stats.rx_packets + 64 >= end->received);
  FUZZ_REQUIRE(stats.tx_packets >= end->sent || end->link->kind == BY_STREAM);
}

void end_ask_wrongly(end_t* end, uint8_t code) {
  static const char* const bad[NAMES_BAD] = {"", ".x", "a/b", NULL};
  uvface_options_t options = UVFACE_OPTIONS_INIT;
  uv_buf_t nothing = {0}, buf = uv_buf_init("\6\0", 2);
  uvface_send_t req;
  uvface_stats_t stats;
  int fds[3] = {-1, -1, -1}, err;

  if (end == NULL) return;
  api_enter();
  switch (code % 12) {
    case 0: err = uvface_create(&end->face, bad[code / 12 % NAMES_BAD], NULL); break;
    case 1: err = uvface_connect(&end->face, bad[code / 12 % NAMES_BAD], NULL); break;
    case 2:
      options.size = code;
      err = uvface_create_private(&end->face, &options);
      if (err == 0) err = -1; /* an older caller's, fits: not expected below the first member */
      break;
    case 3: err = uvface_attach(&end->face, fds, NULL); break;
    case 4: err = uvface_open_stream(&end->face, -1, NULL); break;
    case 5: err = uvface_try_send(&end->face, &nothing, code / 12 % 2); break;
    case 6: err = uvface_try_send_batch(&end->face, code / 12 % 2 != 0 ? NULL : &nothing, 1); break;
    case 7: err = uvface_send(code / 12 % 2 != 0 ? NULL : &req, &end->face, &nothing, 1, on_sent); break;
    case 8: err = uvface_reserve(&end->face, 1, NULL); break;
    case 9:
      buf.len = uvface_get_mtu(&end->face) + 1;
      err = uvface_try_send(&end->face, &buf, end->state == END_OPEN ? 1 : 0);
      break;
    case 10: err = uvface_get_stats(code / 12 % 2 != 0 ? &end->face : NULL, code / 12 % 2 != 0 ? NULL : &stats); break;
    default: err = uvface_commit(&end->face, SIZE_MAX); break;
  }
  api_leave(0);
  FUZZ_REQUIRE(err < 0);
}

/* --- Filters, events -------------------------------------------------------------------------- */

void end_set_filter(end_t* end, uint8_t code) {
  filter_t *filter = NULL, *before;
  int err;

  if (end == NULL) return;
  if (code % 8 != 7) {
    filter = calloc(1, sizeof(*filter));
    FUZZ_REQUIRE(filter != NULL);
    filter->f = (uvface_filter_t){.size = sizeof(uvface_filter_t), .on_close = on_filter_closed};
    if ((code & 8) == 0) filter->f.on_packet = on_packet;
    if ((code & 16) == 0) filter->f.on_send = on_send;
    if ((code & 32) == 0) filter->f.on_end = on_end;
    filter->mode = code;
    filter->end = end;
  }
  api_enter();
  err = api_leave(uvface_set_filter(&end->face, filter != NULL ? &filter->f : NULL));
  FUZZ_REQUIRE(err == (end->state == END_CLOSING ? UV_ENOTCONN : 0));
  if (err < 0) {
    free(filter);
    return;
  }
  before = end->filter;
  end->filter = filter;
  if (end->link != NULL) end_in(end)->lossy = true; /* what the one had seen, and the other has not */
  free(before);                                     /* nobody knows it any more */
}

void end_set_event_cb(end_t* end, bool hears) {
  int err;

  if (end == NULL) return;
  api_enter();
  err = api_leave(uvface_set_event_cb(&end->face, hears ? on_event : NULL));
  FUZZ_REQUIRE(err == (end->state == END_CLOSING ? UV_ENOTCONN : 0));
  if (err == 0) end->hears = hears;
  if (err == 0) end->heard_gone = false; /* what is so already is told anew */
}

void end_set_ref(end_t* end, bool ref) {
  if (end == NULL) return;
  if (ref)
    uvface_ref(&end->face);
  else
    uvface_unref(&end->face);
  if (end->state != END_CLOSING) end->ref = ref;
}
