/* SPDX-License-Identifier: MIT */
/* perf_place.c: where and of what build a measurement ran, without which its figures say little: how this program
 * was built and which of our libraries it has loaded, the model of the CPU, which CPUs an end was seen on and whether
 * it was bound to one, and hints where that spoils figures. An end is looked at now and then, so one that
 * the kernel moved and moved back may be told as having stayed. Knows nothing of what is measured. */
#include "perf.h"

#include <limits.h>
#include <link.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

/* What Meson was told; a sanitizer or coverage is named with it. */
static const char build_type[] = PERF_BUILD;

#if defined(__clang__)
static const char compiler[] = "clang " __clang_version__;
#else
static const char compiler[] = "gcc " __VERSION__;
#endif

static int add_library(struct dl_phdr_info* info, size_t size, void* libraries) {
  char path[PATH_MAX];
  (void) size;
  if (strstr(info->dlpi_name, "/libuvface.") != NULL || strstr(info->dlpi_name, "/libndnshm.") != NULL)
    json_array_append_new(libraries, json_string(realpath(info->dlpi_name, path) != NULL ? path : info->dlpi_name));
  return 0;
}

static json_t* cpu_model(void) {
  static const char key[] = "model name";
  char line[256];
  struct utsname name;
  json_t* model = NULL;
  FILE* file = fopen("/proc/cpuinfo", "r");
  while (file != NULL && model == NULL && fgets(line, sizeof(line), file) != NULL) {
    const char* value = strchr(line, ':');
    line[strcspn(line, "\n")] = '\0';
    if (strncmp(line, key, strlen(key)) == 0 && value != NULL) model = json_string(value + 1 + (value[1] == ' '));
  }
  if (file != NULL) fclose(file);
  return model != NULL ? model : json_string(uname(&name) == 0 ? name.machine : "unknown"); /* ARM has no name there */
}

void place_look(perf_place_t* place) {
  cpu_set_t allowed;
  int cpu = sched_getcpu();
  if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET((size_t) cpu, &place->seen);
  place->pinned = sched_getaffinity(0, sizeof(allowed), &allowed) == 0 && CPU_COUNT(&allowed) == 1;
}

json_t* place_cpus(const perf_place_t* place) {
  json_t* cpus = json_array();
  for (int i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET((size_t) i, &place->seen)) json_array_append_new(cpus, json_integer(i));
  return cpus;
}

void place_describe(json_t* report, bool pinned) {
  json_t *libraries = json_array(), *hints = json_array();
  char text[160];
  dl_iterate_phdr(add_library, libraries);
  if (strcmp(build_type, "release") != 0) {
    snprintf(text, sizeof(text), "a build of type %s: what counts is measured with --buildtype=release", build_type);
    json_array_append_new(hints, json_string(text));
  }
  if (!pinned) json_array_append_new(hints, json_string("not pinned: the kernel may move the ends about; see --cpu"));
  json_object_set_new(report, "build",
                      json_pack("{s:s, s:s, s:o}", "type", build_type, "compiler", compiler, "libraries", libraries));
  json_object_set_new(report, "cpu_model", cpu_model());
  json_object_set_new(report, "hints", hints);
}
