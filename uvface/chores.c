/* SPDX-License-Identifier: MIT */
/* chores.c: what can have to wait is done on threads of their own: sealing the region, and leaving.
 *
 * Guarantees that the loop does not wait for a lock of the kernel's that an app holds, as long as the system gives us
 * threads. Not libuv's: an app could hold one of those few for ever, and what else the program has for them would wait.
 * A face has two at most, one for each piece of work, and none while it has nothing of the kind to do. Loop thread. */
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

/* Enough for a few system calls, and little where all memory is locked. */
#define STACK_BYTES ((size_t) 256 * 1024)
/* How long uvface_close() waits, which is a hundred times what it takes if nobody holds a lock; and for how long no
 * close does so after one that waited in vain. */
#define SHORT_WAIT_NS UINT64_C(10000000)
#define SHORT_NAP_NS 50000
#define NO_WAIT_NS UINT64_C(1000000000)
/* How long the close callback waits, of the time that the loop has been turning; how long a turn gives way to the
 * thread meanwhile; and what a turn counts at most. */
#define PATIENCE_NS UINT64_C(2000000000)
#define NAP_NS 1000000
#define TURN_NS UINT64_C(2000000)

/* A thread that does one piece of work, and is joined by nobody: what has ended and was not joined yet would be a leak
 * to who looks for such, in a process that ends meanwhile, and in each child that is forked meanwhile. */
struct uvface__worker_s {
  ndnshm_chore_t* chore;
  atomic_int progress; /* progress_t: who comes second to ENDED or ABANDONED frees the worker */
  pid_t tid;           /* once it is ENDED */
  atomic_bool has_run;
};

typedef enum progress { AT_WORK, ENDED, ABANDONED } progress_t;

static void* run(void* arg) {
  uvface__worker_t* worker = arg;

  atomic_store_explicit(&worker->has_run, true, memory_order_relaxed); /* relaxed: it orders nothing */
  ndnshm_do_chore(worker->chore);
  worker->tid = gettid();
  /* release: what was done, and tid, come before; acquire: pairs with the release in abandon() */
  if (atomic_exchange_explicit(&worker->progress, ENDED, memory_order_acq_rel) == ABANDONED) free(worker);
  return NULL;
}

/* Signals are for the threads of the program. */
static int make_thread(uvface__worker_t* worker) {
  pthread_attr_t attr;
  pthread_t thread;
  sigset_t all, before;
  int err = pthread_attr_init(&attr);

  if (err != 0) return err;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  err = pthread_attr_setstacksize(&attr, STACK_BYTES);
  if (err == 0) err = pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  if (err == 0) err = pthread_create(&thread, &attr, run, worker);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attr);
  return err;
}

static uvface__worker_t* hire(ndnshm_chore_t* chore) {
  uvface__worker_t* worker = malloc(sizeof(*worker));

  if (worker == NULL) return NULL;
  worker->chore = chore;
  worker->tid = 0;
  atomic_init(&worker->progress, AT_WORK);
  atomic_init(&worker->has_run, false);
  if (make_thread(worker) == 0) return worker;
  free(worker);
  return NULL;
}

/* Where there is no thread to be had it is done here, and may wait. */
static void start(uvface__worker_t** worker, ndnshm_chore_t* chore) {
  if (chore == NULL) return;
  *worker = hire(chore);
  if (*worker == NULL) ndnshm_do_chore(chore);
}

/* And its thread is no more: it runs code of ours to its end, which the program may unload when the face is closed. */
static bool has_ended(uvface__worker_t* worker) {
  /* acquire: pairs with the release in run() */
  if (atomic_load_explicit(&worker->progress, memory_order_acquire) != ENDED) return false;
  return syscall(SYS_tgkill, getpid(), worker->tid, 0) != 0;
}

/* A forked child has no copy of the thread. */
static bool is_done(const uvface__priv_t* f, uvface__worker_t** worker) {
  if (*worker != NULL && (f->pid != getpid() || has_ended(*worker))) {
    free(*worker);
    *worker = NULL;
  }
  return *worker == NULL;
}

static bool all_done(uvface__priv_t* f) {
  bool is_sealed = is_done(f, &f->sealer);

  return is_done(f, &f->leaver) && is_sealed;
}

bool uvface__do_chores(uvface__priv_t* f) {
  bool was_sealing = f->sealer != NULL;

  if (is_done(f, &f->sealer)) start(&f->sealer, ndnshm_take_chore(f->ep));
  return was_sealing || f->sealer != NULL;
}

static void nap(long ns) {
  const struct timespec length = {.tv_nsec = ns};

  nanosleep(&length, NULL);
}

/* What takes no longer than ever is done when this returns. */
static void wait_shortly(uvface__priv_t* f) {
  static _Thread_local uint64_t gave_up_ns;
  uint64_t began_ns = uv_hrtime(), now_ns = began_ns;

  if (gave_up_ns != 0 && began_ns - gave_up_ns < NO_WAIT_NS) return;
  while (!all_done(f) && now_ns - began_ns < SHORT_WAIT_NS) {
    nap(SHORT_NAP_NS);
    now_ns = uv_hrtime();
  }
  gave_up_ns = now_ns - began_ns < SHORT_WAIT_NS ? 0 : now_ns;
}

void uvface__leave(uvface__priv_t* f) {
  ndnshm_shutdown(f->ep);
  start(&f->leaver, ndnshm_take_chore(f->ep));
  if (!f->is_private) wait_shortly(f); /* names may be wanted again at once */
}

/* Once in a turn, however many faces wait: in a turn that does nothing else their looks come right after each other. */
static void nap_in_turn(uint64_t now_ns) {
  static _Thread_local uint64_t napped_ns;

  if (now_ns - napped_ns < NAP_NS / 16) return;
  nap(NAP_NS);
  napped_ns = uv_hrtime();
}

/* One that never had the CPU waits for no lock. */
static bool has_run(const uvface__worker_t* worker) {
  return worker == NULL || atomic_load_explicit(&worker->has_run, memory_order_relaxed); /* relaxed: see run() */
}

/* The program, or the plug-in, that this is part of stays where it is: no matter when, the thread goes on here. */
static void stay_loaded(void) {
  static const char here;
  struct link_map* self;
  Dl_info ignored;

  if (dladdr1(&here, &ignored, (void**) &self, RTLD_DL_LINKMAP) != 0)
    dlopen(self->l_name, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}

static void abandon(uvface__worker_t** worker) {
  if (*worker == NULL) return;
  stay_loaded();
  /* release: we are done with it; acquire: pairs with the release in run() */
  if (atomic_exchange_explicit(&(*worker)->progress, ABANDONED, memory_order_acq_rel) == ENDED) free(*worker);
  *worker = NULL;
}

/* As long as a close is under way the loop turns without a pause. An app that has made calls slow can make closing cost
 * a thousand times as much, which is not to be the others' loss; but names are waited for all the same. */
static uint64_t patience_ns(const uvface__priv_t* f) {
  return f->is_private && f->error == UV_EIO ? SHORT_WAIT_NS : PATIENCE_NS;
}

/* Of the time since the last look as much counts as a turn may take, so that neither a stopped process nor a busy
 * machine makes it run out. */
bool uvface__has_left(uvface__priv_t* f) {
  uint64_t now_ns = uv_hrtime(), passed_ns = now_ns - f->looked_ns;

  if (all_done(f)) return true;
  f->looked_ns = now_ns;
  f->waited_ns += passed_ns < TURN_NS ? passed_ns : TURN_NS;
  if (f->waited_ns < patience_ns(f) || !has_run(f->leaver) || !has_run(f->sealer)) {
    /* Of a private face it may be the app that wants the loop to wait; but not while the thread waits for a CPU. */
    if (!f->is_private || !has_run(f->leaver)) nap_in_turn(now_ns);
    return false;
  }
  abandon(&f->sealer);
  abandon(&f->leaver);
  return true;
}
