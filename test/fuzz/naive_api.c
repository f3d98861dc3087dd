/* SPDX-License-Identifier: MIT */
/* naive_api.c: pieces of the adapter as one would write them who forgets what a callback may do. They work with tame
 * programs, and are there to be caught: a fuzzer that does not find their faults in seconds would not find ours. Linked
 * (--wrap) in front of the real ones in fuzz_api_naive_*, and nowhere else; one fault each:
 *
 *   NAIVE_CLOSED  keeps a face hot after its receive callback, without looking whether that has closed it
 *   NAIVE_FREED   takes the next request from one whose callback has run
 *   NAIVE_ASLEEP  goes to sleep without looking once more */
#include "../../uvface/internal.h"

#ifdef NAIVE_CLOSED
void __real_uvface__recv_deliver(uvface__priv_t* f, uint64_t now_ns);
void __wrap_uvface__recv_deliver(uvface__priv_t* f, uint64_t now_ns);

void __wrap_uvface__recv_deliver(uvface__priv_t* f, uint64_t now_ns) {
  bool received = f->receiving;

  __real_uvface__recv_deliver(f, now_ns);
  if (received) uvface__make_hot(f);
}
#endif

#ifdef NAIVE_FREED
void __wrap_uvface__send_complete(uvface__priv_t* f);

void __wrap_uvface__send_complete(uvface__priv_t* f) {
  uvface__queue_t finished;

  if (uvface__is_over(f)) uvface__send_abort(f);
  finished = f->done;
  f->done.first = f->done.last = NULL;
  for (uvface_send_t* req = finished.first; req != NULL; req = req->next_) {
    f->pending--;
    if (req->cb_ != NULL) req->cb_(req, req->status_);
  }
  if (f->state != UVFACE__CLOSING) uvface__update_active(f);
}
#endif

#ifdef NAIVE_ASLEEP
unsigned int __wrap_ndnshm_confirm(ndnshm_t* ep, unsigned int what);

unsigned int __wrap_ndnshm_confirm(ndnshm_t* ep, unsigned int what) {
  (void) ep;
  (void) what;
  return 0;
}
#endif
