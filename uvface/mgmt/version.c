/* SPDX-License-Identifier: MIT */
/* version.c: which version of the library this is. */
#include "version.h"

#include "uvface_mgmt.h"

unsigned int uvface_mgmt_version(void) {
  return VERSION_MAJOR << 16 | VERSION_MINOR << 8 | VERSION_PATCH;
}

const char* uvface_mgmt_version_string(void) {
  return VERSION_STRING;
}
