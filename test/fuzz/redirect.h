/* SPDX-License-Identifier: MIT */
/* redirect.h: included before each source file of the product that is built for fuzzing: leads to sandbox.h
 * the calls whose results differ from run to run, and those that map the region. Changes nothing else. */
#ifndef REDIRECT_H
#define REDIRECT_H

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sandbox.h"

#define mmap sandbox_mmap
#define munmap sandbox_munmap
#define getrusage sandbox_getrusage
#define sysconf sandbox_sysconf
#define pthread_create sandbox_thread

#endif
