/* SPDX-License-Identifier: MIT */
/* events.c: what happens to a face beside its packets: told to event_cb.
 *
 * Guarantees that each thing is told once, in a turn and never inside a call of the user's, whether the face receives
 * or not; that an app is told of before its first packet, and the end before recv_cb is. Nothing is noted down when it
 * happens: what is so and was not told yet, is news. Loop thread. */
#include "transport.h"

/* Of a private face, whose app nobody sees come, what it does or announces tells. */
bool uvface__has_app(const uvface__priv_t* f, const ndnshm_stats_t* core) {
  if (!f->is_engine || f->ep == NULL) return false;
  return core->attached != 0 || core->rx_packets != 0 || core->wakeups_received != 0 || ndnshm_peer_caps(f->ep) != 0 ||
         ndnshm_ready(f->ep, NDNSHM_PACKETS) != 0;
}

/* A FIFO ends after somebody has had it open; the descriptors of a private face may go without having been used. */
static bool had_app(const uvface__priv_t* f) {
  return f->is_engine && !f->is_private && f->state == UVFACE__PEER_GONE;
}

/* Nothing that is sent now would have to wait. */
static bool has_room(const uvface__priv_t* f) {
  if (f->state != UVFACE__OPEN || f->queued.first != NULL) return false;
  return f->ep != NULL ? ndnshm_ready(f->ep, NDNSHM_SPACE) != 0 : uvface__stream_has_space(f->stream);
}

static unsigned int news(const uvface__priv_t* f) {
  unsigned int is_so = f->seen;

  if (uvface__is_over(f)) is_so |= UVFACE_GONE;
  if (f->wants_room && has_room(f)) is_so |= UVFACE_ROOM;
  is_so &= ~f->told;
  return (f->look_due_ms != 0) != f->told_throttled ? is_so | UVFACE_THROTTLED : is_so;
}

bool uvface__owes_events(const uvface__priv_t* f) {
  return f->event_cb != NULL && news(f) != 0;
}

/* A private face is sealed from its birth. */
static void look_at_app(uvface__priv_t* f) {
  ndnshm_stats_t core;

  ndnshm_get_stats(f->ep, &core);
  if (uvface__has_app(f, &core) || had_app(f)) f->seen |= UVFACE_ATTACHED;
  if (core.sealed != 0 && !f->is_private) f->seen |= UVFACE_SEALED;
}

void uvface__look_for_events(uvface__priv_t* f) {
  if (f->event_cb == NULL) return;
  if (f->is_engine && f->seen != (UVFACE_ATTACHED | UVFACE_SEALED)) look_at_app(f);
  if (news(f) != 0) uvface__make_hot(f);
}

bool uvface__awaits_app(const uvface__priv_t* f) {
  return f->event_cb != NULL && f->is_engine && (f->seen & UVFACE_ATTACHED) == 0 && !uvface__is_over(f);
}

void uvface__tell_events(uvface__priv_t* f) {
  unsigned int events;

  if (f->is_engine && (f->seen & UVFACE_ATTACHED) == 0) uvface__look_for_events(f);
  if (!uvface__owes_events(f)) return;
  events = news(f);
  f->told |= events & (UVFACE_ATTACHED | UVFACE_GONE | UVFACE_SEALED);
  if ((events & UVFACE_ROOM) != 0) f->wants_room = false; /* before it, so that it may ask again */
  f->told_throttled = f->look_due_ms != 0;
  f->event_cb(f->face, events, (events & UVFACE_GONE) != 0 ? uvface__end_status(f) : 0);
}

int uvface__await_room(uvface__priv_t* f) {
  if (f->event_cb != NULL && !f->wants_room) {
    f->wants_room = true;
    uvface__make_hot(f);
  }
  return UV_EAGAIN;
}

int uvface_set_event_cb(uvface_t* face, uvface_event_cb cb) {
  uvface__priv_t* f = face != NULL ? face->priv_ : NULL;

  if (f == NULL) return UV_EINVAL;
  if (f->state == UVFACE__CLOSING) return uvface__refuse(f, "uvface_set_event_cb", UV_ENOTCONN);
  f->event_cb = cb;
  f->wants_room = false;
  f->told = 0;
  f->told_throttled = false;
  uvface__watch_or_not(f);
  if (f->state != UVFACE__CLOSED) uvface__look_for_events(f);
  return 0;
}
