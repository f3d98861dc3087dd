/* SPDX-License-Identifier: MIT */
/* replay.c: runs the inputs of a corpus through a fuzz target, where there is no libFuzzer: in every build and
 * under every sanitizer, each input twice. One that breaks a promise ends the process. Beyond that it checks that the
 * target leaves no descriptor open. Arguments: files, or directories of files. TAP on standard output. */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define INPUT_MAX (1 << 20)

static unsigned int inputs, failures;

static int count_fds(void) {
  DIR* dir = opendir("/proc/self/fd");
  int n = 0;

  FUZZ_REQUIRE(dir != NULL);
  while (readdir(dir) != NULL) n++;
  closedir(dir);
  return n;
}

/* From a block of exactly its size, so that ASan and valgrind see where it ends. */
static void run(const char* path) {
  static uint8_t bytes[INPUT_MAX];
  FILE* file = fopen(path, "rb");
  size_t size;
  uint8_t* data;
  int before;

  FUZZ_REQUIRE(file != NULL);
  size = fread(bytes, 1, sizeof(bytes), file);
  fclose(file);
  data = malloc(size > 0 ? size : 1);
  FUZZ_REQUIRE(data != NULL);
  memcpy(data, bytes, size);
  fprintf(stderr, "%s\n", path);      /* if it is the last one, it was this */
  LLVMFuzzerTestOneInput(data, size); /* what a target opens for good is open now */
  before = count_fds();
  LLVMFuzzerTestOneInput(data, size);
  if (count_fds() != before) {
    printf("# %s: %d descriptors more\n", path, count_fds() - before);
    failures++;
  }
  free(data);
  inputs++;
}

static void run_directory(const char* path) {
  struct dirent** names;
  int n = scandir(path, &names, NULL, alphasort);

  FUZZ_REQUIRE(n >= 0);
  for (int i = 0; i < n; i++) {
    char file[4096];

    snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
    if (names[i]->d_name[0] != '.') run(file);
    free(names[i]);
  }
  free(names);
}

int main(int argc, char** argv) {
  struct stat st;

  for (int i = 1; i < argc; i++) {
    FUZZ_REQUIRE(stat(argv[i], &st) == 0);
    if (S_ISDIR(st.st_mode))
      run_directory(argv[i]);
    else
      run(argv[i]);
  }
  printf("1..1\n%s 1 - %u inputs\n", failures == 0 && inputs > 0 ? "ok" : "not ok", inputs);
  return failures != 0 || inputs == 0;
}
