/* SPDX-License-Identifier: MIT */
/* guard.c: the SIGBUS handler of guard.h and the list that it reads.
 *
 * The handler may run in one thread while another thread adds or removes entries. So an entry is not freed before the
 * handler has gone for good, only used again, and it counts as soon as its base is set. A thread faults in mappings of
 * its own faces only; so the entry that the handler looks for does not change meanwhile. Other entries may, and
 * covers() is not misled by them. */
#include "guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

struct ndnshm__guard_s {
  ndnshm__guard_t* next;  /* fixed before the entry is in the list */
  _Atomic uintptr_t base; /* 0 = not in use */
  _Atomic size_t bytes;
  volatile sig_atomic_t lost; /* written by the handler in the thread that reads it */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for those who add and remove */
static _Atomic(ndnshm__guard_t*) guards;
static struct sigaction before_us;
static bool is_installed;
static unsigned int in_use; /* entries */
static pthread_once_t fork_handlers = PTHREAD_ONCE_INIT;

bool ndnshm__replace_by_zeros(void* base, size_t bytes) {
  return mmap(base, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) ==
         base;
}

static bool covers(ndnshm__guard_t* guard, uintptr_t address) {
  /* acquire: pairs with the release in ndnshm__guard_add(); the bytes are of this base ... */
  uintptr_t base = atomic_load_explicit(&guard->base, memory_order_acquire);
  /* ... or of the entry's next owner: the second look at the base, after this acquire, tells */
  size_t bytes = atomic_load_explicit(&guard->bytes, memory_order_acquire);

  return base != 0 && address - base < bytes && atomic_load_explicit(&guard->base, memory_order_relaxed) == base;
}

static bool catch_fault(const void* where) {
  uintptr_t address = (uintptr_t) where;
  /* acquire: pairs with the release by which an entry enters the list */
  ndnshm__guard_t* guard = atomic_load_explicit(&guards, memory_order_acquire);

  while (guard != NULL && !covers(guard, address)) guard = guard->next;
  if (guard == NULL) return false;
  /* relaxed: this thread owns the entry, and nobody else changes it */
  if (!ndnshm__replace_by_zeros((void*) atomic_load_explicit(&guard->base, memory_order_relaxed),
                                atomic_load_explicit(&guard->bytes, memory_order_relaxed)))
    return false;
  guard->lost = 1;
  return true;
}

/* Does what the handler or the default before us would have done; only the signals that it wanted masked are not. */
static void pass_on(int signal_number, siginfo_t* info, void* context) {
  static const struct sigaction by_default = {.sa_handler = SIG_DFL};
  struct sigaction action = before_us;
  bool is_fault = info->si_code > 0; /* else somebody's kill() */

  if ((action.sa_flags & (int) SA_RESETHAND) != 0) before_us = by_default;
  if ((action.sa_flags & SA_SIGINFO) != 0) {
    action.sa_sigaction(signal_number, info, context);
  } else if (action.sa_handler == SIG_DFL || (action.sa_handler == SIG_IGN && is_fault)) {
    sigaction(signal_number, &by_default, NULL); /* a fault comes again at once, where it belongs */
    if (!is_fault) raise(signal_number);
  } else if (action.sa_handler != SIG_IGN) {
    action.sa_handler(signal_number);
  }
}

static void on_sigbus(int signal_number, siginfo_t* info, void* context) {
  int saved_errno = errno;

  if (info->si_code <= 0 || !catch_fault(info->si_addr)) pass_on(signal_number, info, context);
  errno = saved_errno;
}

/* Of a disposition that is not ours: it never passes on to our handler. That is sure of the default, and of the handler
 * that stood before ours and was put back. Any other may have come later and pass on: to stand before it in turn would
 * make a circle. */
static bool never_passes_on(const struct sigaction* action) {
  if ((action->sa_flags & SA_SIGINFO) != 0)
    return (before_us.sa_flags & SA_SIGINFO) != 0 && action->sa_sigaction == before_us.sa_sigaction;
  return action->sa_handler == SIG_DFL || action->sa_handler == SIG_IGN ||
         ((before_us.sa_flags & SA_SIGINFO) == 0 && action->sa_handler == before_us.sa_handler);
}

/* Looks each time: whoever saves dispositions and restores them takes ours away. */
static int install(void) {
  struct sigaction ours = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
  struct sigaction current;

  if (sigaction(SIGBUS, NULL, &current) != 0) return -errno;
  if ((current.sa_flags & SA_SIGINFO) != 0 && current.sa_sigaction == on_sigbus) return 0;
  if (is_installed && !never_passes_on(&current)) return 0;
  before_us = current; /* known before the first signal can come */
  sigemptyset(&ours.sa_mask);
  if (sigaction(SIGBUS, &ours, NULL) != 0) return -errno;
  is_installed = true;
  return 0;
}

/* The code of the handler may be unloaded, where it is part of a plug-in. If somebody else's handler stands before ours
 * it may pass on to it, and it has to stay. */
static void uninstall(void) {
  struct sigaction current;

  if (sigaction(SIGBUS, NULL, &current) != 0) return;
  if ((current.sa_flags & SA_SIGINFO) == 0 || current.sa_sigaction != on_sigbus) return;
  if (sigaction(SIGBUS, &before_us, NULL) == 0) is_installed = false;
}

/* When the plug-in is unloaded, or the program ends. While the handler is in place it may be reading the list. */
static void free_entries(void) __attribute__((destructor));

static void free_entries(void) {
  ndnshm__guard_t* guard;

  if (is_installed) return;
  /* relaxed: nobody else is left */
  guard = atomic_exchange_explicit(&guards, NULL, memory_order_relaxed);
  while (guard != NULL) {
    ndnshm__guard_t* next = guard->next;

    free(guard);
    guard = next;
  }
}

static ndnshm__guard_t* unused_entry(void) {
  ndnshm__guard_t* first = atomic_load_explicit(&guards, memory_order_relaxed); /* relaxed: under the lock */
  ndnshm__guard_t* guard = first;

  while (guard != NULL && atomic_load_explicit(&guard->base, memory_order_relaxed) != 0) /* relaxed: likewise */
    guard = guard->next;
  if (guard != NULL) return guard;
  guard = calloc(1, sizeof(*guard));
  if (guard == NULL) return NULL;
  guard->next = first;
  atomic_store_explicit(&guards, guard, memory_order_release); /* release: `next` comes first */
  return guard;
}

/* A child that is forked while another thread holds the lock would find it locked for ever. */
static void lock_for_fork(void) {
  pthread_mutex_lock(&lock);
}

static void unlock_after_fork(void) {
  pthread_mutex_unlock(&lock);
}

static void add_fork_handlers(void) {
  pthread_atfork(lock_for_fork, unlock_after_fork, unlock_after_fork);
}

int ndnshm__guard_add(void* base, size_t bytes, ndnshm__guard_t** ret_guard) {
  ndnshm__guard_t* guard = NULL;
  int err;

  pthread_once(&fork_handlers, add_fork_handlers);
  pthread_mutex_lock(&lock);
  err = install();
  if (err == 0 && (guard = unused_entry()) == NULL) err = -ENOMEM;
  if (err == 0) {
    guard->lost = 0;
    /* release: a reader that sees these bytes no longer sees the base of the owner before */
    atomic_store_explicit(&guard->bytes, bytes, memory_order_release);
    atomic_store_explicit(&guard->base, (uintptr_t) base, memory_order_release); /* release: after bytes */
    *ret_guard = guard;
    in_use++;
  }
  if (in_use == 0) uninstall();
  pthread_mutex_unlock(&lock);
  return err;
}

void ndnshm__guard_remove(ndnshm__guard_t* guard) {
  if (guard == NULL) return;
  pthread_mutex_lock(&lock);
  atomic_store_explicit(&guard->base, 0,
                        memory_order_relaxed); /* relaxed: the lock orders it for the next guard_add() */
  if (--in_use == 0) uninstall();
  pthread_mutex_unlock(&lock);
}

bool ndnshm__guard_is_lost(const ndnshm__guard_t* guard) {
  return guard != NULL && guard->lost != 0;
}
