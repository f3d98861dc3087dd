/* SPDX-License-Identifier: MIT */
/* api_callbacks.c: the callbacks that the product is given, with what must hold in each, and what the script does in
 * it: see api_ends.h. */
#include <stdlib.h>
#include <string.h>

#include "api_ends.h"

/* --- Closing ---------------------------------------------------------------------------------- */

void end_forget(end_t* end) {
  for (int i = 0; i < ENDS_MAX; i++)
    if (run.ends[i] == end) run.ends[i] = NULL;
}

/* The memory of an end that the product has given back. */
void end_free(end_t* end) {
  end_t** at = &run.all;

  while (*at != end) at = &(*at)->next;
  *at = end->next;
  end_forget(end);
  while (end->mute != NULL) {
    request_t* request = end->mute;

    end->mute = request->next;
    free(request->bytes);
    free(request);
  }
  FUZZ_REQUIRE(end->first == NULL); /* rule 5: close comes last */
  if (end->filter != NULL) end->filter->end = NULL;
  free(end);
}

void on_closed(uvface_t* face) {
  end_t* end = face->data;

  api_begin_callback();
  FUZZ_REQUIRE(end->state == END_CLOSING && !end->silent_close);
  if (end->filter != NULL) end->filter->may_close = true;
  end_free(end);
  script_do_some();
  api_end_callback();
}

/* --- Packets ---------------------------------------------------------------------------------- */

/* All bytes of the packets, one after the other; their number. */
static size_t copy_bytes(const uv_buf_t pkts[], ssize_t npkts, uint8_t* to) {
  size_t bytes = 0;

  for (ssize_t p = 0; p < npkts; p++) {
    memcpy(to + bytes, pkts[p].base, pkts[p].len);
    bytes += pkts[p].len;
  }
  return bytes;
}

void on_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  static uint8_t held[64 * (LEDGER_BYTES_MAX + 128)], after[sizeof(held)];
  end_t* end = face->data;
  bool may_change = end->borrows;
  size_t bytes;

  api_begin_callback();
  FUZZ_REQUIRE(end->state == END_OPEN && end->receiving && !end->drops && end->error == 0);
  if (npkts < 0) {
    end_check_end(end, (int) npkts);
    if (npkts == UV_EOF && end->link->kind != BY_STREAM && end->link->open[1 - end->side] == 0)
      ledger_require_all(end_in(end));
    end->receiving = false;
    end->error = (int) npkts;
    script_do_some();
  } else {
    FUZZ_REQUIRE(npkts > 0 && npkts <= 64);
    for (ssize_t p = 0; p < npkts; p++) ledger_receive(end_in(end), &pkts[p], false);
    end->received += (uint64_t) npkts;
    bytes = copy_bytes(pkts, npkts, held);
    script_do_some(); /* it may close the face; the packets stay */
    FUZZ_REQUIRE(copy_bytes(pkts, npkts, after) == bytes);
    if (!may_change) FUZZ_REQUIRE(memcmp(held, after, bytes) == 0);
  }
  api_end_callback();
}

void on_sent(uvface_send_t* req, int status) {
  request_t* request = (request_t*) (void*) req;
  end_t* end = request->end;

  api_begin_callback();
  FUZZ_REQUIRE(req->face == &end->face && end->first == request); /* rule 3 */
  end->first = request->next;
  if (end->first == NULL) end->last = NULL;
  if (status == UV_ECANCELED)
    FUZZ_REQUIRE(end->state == END_CLOSING);
  else if (status == UV_ETIMEDOUT)
    FUZZ_REQUIRE(end->expires);
  else if (status == UV_EPIPE)
    FUZZ_REQUIRE(end_may_be_alone(end));
  else if (status != 0)
    end_check_end(end, status);
  if (status == 0) end->sent += request->n;
  ledger_settle(request->ledger, request->first, request->n,
                status == 0      ? LEDGER_SENT
                : request->n > 1 ? LEDGER_MAYBE
                                 : LEDGER_REFUSED);
  free(request->bytes);
  free(request);
  script_do_some();
  api_end_callback();
}

/* --- Filters ---------------------------------------------------------------------------------- */

int on_packet(uvface_filter_t* filter, uvface_t* face, uv_buf_t* packet) {
  filter_t* f = (filter_t*) (void*) filter;
  end_t* end = face->data;
  uint8_t mode = f->mode;

  api_begin_callback();
  FUZZ_REQUIRE(end->filter == f && end->state == END_OPEN && !f->ended);
  if (end->link->kind != BY_STREAM) FUZZ_REQUIRE(end->receiving);
  ledger_receive(end_in(end), packet, true);
  if (mode % 4 == 1) end_in(end)->lossy = true;
  script_do_some();
  api_end_callback();
  return mode % 4 != 1;
}

size_t on_send(uvface_filter_t* filter, uvface_t* face, uint8_t* packet, size_t bytes, size_t room) {
  filter_t* f = (filter_t*) (void*) filter;
  end_t* end = face->data;

  FUZZ_REQUIRE(end->filter == f && end->state == END_OPEN && end->link->kind == BY_STREAM);
  FUZZ_REQUIRE(room >= bytes + 64);
  return ledger_edit(end_out(end), packet, bytes, end->link->mtu, (uint8_t) (f->mode >> 2));
}

void on_end(uvface_filter_t* filter, uvface_t* face, int status) {
  filter_t* f = (filter_t*) (void*) filter;
  end_t* end = face->data;

  api_begin_callback();
  FUZZ_REQUIRE(end->filter == f && end->state == END_OPEN && (!end->receiving || end->drops) && !f->ended);
  end_check_end(end, status);
  f->ended = true;
  end_in(end)->lossy = true; /* what it has not seen by now */
  script_do_some();
  api_end_callback();
}

/* After the close callback: the face's memory may be another's already. */
void on_filter_closed(uvface_filter_t* filter, uvface_t* face) {
  filter_t* f = (filter_t*) (void*) filter;

  api_begin_callback();
  FUZZ_REQUIRE(f->may_close);
  if (f->end != NULL) { /* closed without a callback: this is how the program learns */
    FUZZ_REQUIRE(face == &f->end->face && f->end->silent_close);
    end_free(f->end);
  }
  free(f);
  script_do_some();
  api_end_callback();
}

/* --- Events ----------------------------------------------------------------------------------- */

void on_event(uvface_t* face, unsigned int events, int status) {
  end_t* end = face->data;

  api_begin_callback();
  FUZZ_REQUIRE(end->state == END_OPEN && end->hears);
  FUZZ_REQUIRE(events != 0 && events < 2 * UVFACE_ROOM);
  FUZZ_REQUIRE(((events & UVFACE_GONE) != 0) == (status != 0));
  FUZZ_REQUIRE((events & (UVFACE_ATTACHED | UVFACE_SEALED)) == 0 || end->side == 0);
  if (status != 0) {
    end_check_end(end, status);
    FUZZ_REQUIRE(!end->heard_gone);
    end->heard_gone = true;
  }
  if ((events & UVFACE_ATTACHED) != 0)
    FUZZ_REQUIRE(end_is_poked(end) || end->link->open[1] > 0 || end->link->closed[1]);
  script_do_some();
  api_end_callback();
}
