/* SPDX-License-Identifier: MIT */
/* uvface-inspect: prints the header of a face's region, as text or as JSON.
 *
 * Looks once, attaches to nothing, changes nothing: safe on a live face. What it prints is what the two
 * processes wrote, unchecked; the last lines say what that means. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <ndnshm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void usage(FILE* to) {
  fputs(
      "usage: uvface-inspect [--json] NAME\n"
      "Prints the header of the shared-memory face NAME: geometry, ring indices, flags.\n"
      "  -j, --json     as a JSON object\n"
      "  -h, --help     this text\n"
      "  -V, --version  the version\n",
      to);
}

static json_t* ring_json(uint32_t tail, uint32_t head, uint32_t parked, uint32_t waiting) {
  return json_pack("{s:I, s:I, s:I, s:I, s:I}", "tail", (json_int_t) tail, "head", (json_int_t) head, "used",
                   (json_int_t) (uint32_t) (tail - head), "consumer_parked", (json_int_t) parked, "producer_waiting",
                   (json_int_t) waiting);
}

static int print_json(const char* name, const ndnshm_header_t* h) {
  json_t* all =
      json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "name", name, "magic", (json_int_t) h->magic,
                "file_size", (json_int_t) h->file_size, "capacity", (json_int_t) h->capacity, "slot_size",
                (json_int_t) h->slot_size, "engine_caps", (json_int_t) h->engine_caps, "app_caps",
                (json_int_t) h->app_caps, "a2e", ring_json(h->a2e_tail, h->a2e_head, h->a2e_parked, h->a2e_waiting),
                "e2a", ring_json(h->e2a_tail, h->e2a_head, h->e2a_parked, h->e2a_waiting));

  if (all == NULL || json_dumpf(all, stdout, JSON_INDENT(2)) != 0) {
    fprintf(stderr, "uvface-inspect: json_dumpf: out of memory or standard output failed\n");
    return EXIT_FAILURE;
  }
  putchar('\n');
  json_decref(all);
  return EXIT_SUCCESS;
}

static void print_caps(const char* role, uint32_t caps) {
  if ((caps & 0xffff0000u) != 0x55460000u)
    printf("%s announces nothing: ndn-rs, or not attached (%#" PRIx32 ")\n", role, caps);
  else
    printf("%s announces%s%s (%#" PRIx32 ")\n", role, (caps & NDNSHM_CAP_FENCED) != 0 ? " FENCED" : "",
           (caps & NDNSHM_CAP_SPACE) != 0 ? " SPACE" : "", caps);
}

static void print_ring(const char* ring, uint32_t tail, uint32_t head, uint32_t capacity, uint32_t parked,
                       uint32_t waiting) {
  uint32_t used = tail - head;

  printf("%s: tail %" PRIu32 ", head %" PRIu32 ", %" PRIu32 " of %" PRIu32 " slots used%s%s%s\n", ring, tail, head,
         used, capacity, used > capacity ? " (impossible: broken)" : "", parked != 0 ? ", consumer parked" : "",
         waiting != 0 ? ", producer waits for space" : "");
}

static void print_text(const char* name, const ndnshm_header_t* h) {
  printf("face %s: %" PRIu32 " slots of %" PRIu32 " bytes a ring, file of %" PRIu64 " bytes%s\n", name, h->capacity,
         h->slot_size, h->file_size, h->magic != UINT64_C(0x4E444E5F53484D00) ? " (wrong magic: not ready?)" : "");
  print_caps("engine", h->engine_caps);
  print_caps("app", h->app_caps);
  print_ring("a2e", h->a2e_tail, h->a2e_head, h->capacity, h->a2e_parked, h->a2e_waiting);
  print_ring("e2a", h->e2a_tail, h->e2a_head, h->capacity, h->e2a_parked, h->e2a_waiting);
}

int main(int argc, char** argv) {
  static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'V'},
                                          {NULL, 0, NULL, 0}};
  bool json = false;
  ndnshm_header_t header;
  int option, err;

  while ((option = getopt_long(argc, argv, "jhV", options, NULL)) != -1) {
    if (option == 'j') {
      json = true;
    } else if (option == 'V') {
      printf("uvface-inspect %s\n", ndnshm_version_string());
      return EXIT_SUCCESS;
    } else {
      usage(option == 'h' ? stdout : stderr);
      return option == 'h' ? EXIT_SUCCESS : 2;
    }
  }
  if (optind + 1 != argc) {
    usage(stderr);
    return 2;
  }
  err = ndnshm_inspect(argv[optind], &header);
  if (err < 0) {
    fprintf(stderr, "uvface-inspect: face '%s': %s\n", argv[optind], strerror(-err));
    return EXIT_FAILURE;
  }
  if (json) return print_json(argv[optind], &header);
  print_text(argv[optind], &header);
  return EXIT_SUCCESS;
}
