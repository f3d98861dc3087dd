/* SPDX-License-Identifier: MIT */
/* where.c: see where.h. client.conf is read as ndn-cxx reads it: the first file that opens is the one, ';' and '#'
 * begin a comment line, and a key counts before the first [section] only. */
#include "where.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_BYTES 1024
#define TCP_PORT "6363"
#define KEY "transport"

const char* uvface__conf_files[2] = {"/usr/local/etc/ndn/client.conf", "/etc/ndn/client.conf"};
const char* uvface__run_sockets[UVFACE__PLACES_MAX] = {"/run/nfd/nfd.sock", "/run/ndn-fwd/ndn-fwd.sock"};

const char* uvface__place_text(const uvface__place_t* place, char* out, size_t cap) {
  const char* brackets = strchr(place->host, ':') != NULL ? "[]" : "";

  if (place->is_tcp)
    snprintf(out, cap, "tcp://%.1s%s%s:%s", brackets, place->host, brackets[0] != '\0' ? brackets + 1 : "",
             place->port);
  else
    snprintf(out, cap, "unix://%s", place->host);
  return out;
}

/* Returns 0, or what is wrong in *why. */
static int take_path(const char* path, uvface__place_t* place, const char** why) {
  if (path[0] != '/') {
    *why = "the path of the socket is not absolute";
    return -EINVAL;
  }
  if (strlen(path) >= sizeof(((struct sockaddr_un*) NULL)->sun_path)) {
    *why = "the path of the socket is longer than 107 bytes";
    return -ENAMETOOLONG;
  }
  snprintf(place->host, sizeof(place->host), "%s", path);
  return 0;
}

static bool is_port(const char* port) {
  size_t digits = strspn(port, "0123456789");
  long number = digits >= 1 && digits <= 5 && port[digits] == '\0' ? strtol(port, NULL, 10) : 0;

  return number >= 1 && number <= 65535;
}

/* host, host:port, [v6], [v6]:port */
static int take_host(const char* text, uvface__place_t* place, const char** why) {
  bool in_brackets = text[0] == '[';
  const char* host = text + in_brackets;
  size_t bytes = strcspn(host, in_brackets ? "]" : ":/?#@[]");
  const char* rest = host + bytes;

  if (in_brackets && *rest == ']') rest++;
  if (bytes == 0 || (in_brackets && rest[-1] != ']') || (*rest != '\0' && *rest != ':')) {
    *why = "no host, or something strange behind it (tcp://host:port; an IPv6 address stands in brackets)";
    return -EINVAL;
  }
  if (bytes >= sizeof(place->host)) {
    *why = "the name of the host is longer than 255 bytes";
    return -ENAMETOOLONG;
  }
  if (*rest == ':' && !is_port(rest + 1)) {
    *why = "the port is not a number from 1 to 65535";
    return -EINVAL;
  }
  place->is_tcp = true;
  memcpy(place->host, host, bytes);
  snprintf(place->port, sizeof(place->port), "%s", *rest == ':' ? rest + 1 : TCP_PORT);
  return 0;
}

/* source: who says so, in front of the URI in words. bare_path: a path alone will do. */
static int take_uri(const char* source, const char* uri, bool bare_path, uvface__where_t* ret_where, char* why,
                    size_t why_bytes) {
  uvface__where_t where = {.n = 1};
  const char* reason = "is neither unix:///path nor tcp://host:port";
  int err = -EINVAL;

  if (strncmp(uri, "unix://", 7) == 0)
    err = take_path(uri + 7, &where.places[0], &reason);
  else if (strncmp(uri, "tcp://", 6) == 0)
    err = take_host(uri + 6, &where.places[0], &reason);
  else if (bare_path && uri[0] == '/')
    err = take_path(uri, &where.places[0], &reason);
  if (err == 0)
    *ret_where = where;
  else
    snprintf(why, why_bytes, "%s\"%.200s\": %s", source, uri, reason);
  return err;
}

static char* trim(char* text) {
  char* end = text + strlen(text);

  while (end > text && isspace((unsigned char) end[-1])) end--;
  *end = '\0';
  while (isspace((unsigned char) *text)) text++;
  return text;
}

/* The value of a line "transport = value", or NULL. */
static char* value_of(char* line) {
  char* equals = strchr(line, '=');

  if (equals == NULL) return NULL;
  *equals = '\0';
  return strcmp(trim(line), KEY) == 0 ? trim(equals + 1) : NULL;
}

/* The next line, or as much of it as there is room for; the rest is passed over. */
static bool read_line(FILE* file, char* line, int cap) {
  int c = 0;

  if (fgets(line, cap, file) == NULL) return false;
  if (strchr(line, '\n') != NULL) return true;
  while (c != '\n' && c != EOF) c = getc(file);
  return true;
}

/* Looks for the value in the file; it goes to `value`. */
static bool read_conf(FILE* file, char* value, size_t cap) {
  char line[LINE_BYTES];

  while (read_line(file, line, sizeof(line))) {
    char *text = trim(line), *found;

    if (text[0] == '[') return false;
    if (text[0] == ';' || text[0] == '#') continue;
    found = value_of(text);
    if (found == NULL) continue;
    snprintf(value, cap, "%s", found);
    return true;
  }
  return false;
}

/* A file, and not a pipe, which would keep us waiting for who writes into it. */
static FILE* open_file(const char* path) {
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  struct stat st;
  FILE* file = NULL;

  if (fd < 0) return NULL;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) file = fdopen(fd, "r");
  if (file == NULL) close(fd);
  return file;
}

/* The first client.conf that opens: its name goes to `path`. */
static FILE* open_conf(char* path, size_t cap) {
  const char* home = getenv("HOME");
  FILE* file = NULL;

  if (home != NULL) {
    snprintf(path, cap, "%s/.ndn/client.conf", home);
    file = open_file(path);
  }
  for (size_t i = 0; i < sizeof(uvface__conf_files) / sizeof(*uvface__conf_files) && file == NULL; i++) {
    snprintf(path, cap, "%s", uvface__conf_files[i]);
    file = open_file(path);
  }
  return file;
}

/* True if a client.conf says where; source then names it. */
static bool ask_conf(char* value, size_t value_bytes, char* source, size_t source_bytes) {
  char path[LINE_BYTES];
  FILE* file = open_conf(path, sizeof(path));
  bool found;

  if (file == NULL) return false;
  found = read_conf(file, value, value_bytes);
  fclose(file);
  snprintf(source, source_bytes, "%.200s: " KEY " ", path);
  return found;
}

int uvface__where(const char* uri, uvface__where_t* ret_where, char* why, size_t why_bytes) {
  char value[LINE_BYTES], source[256];
  uvface__where_t where = {.n = UVFACE__PLACES_MAX};

  if (uri != NULL) return take_uri("uri ", uri, false, ret_where, why, why_bytes);
  uri = getenv("NDN_CLIENT_TRANSPORT");
  if (uri != NULL && uri[0] != '\0') return take_uri("$NDN_CLIENT_TRANSPORT ", uri, false, ret_where, why, why_bytes);
  if (ask_conf(value, sizeof(value), source, sizeof(source)) && value[0] != '\0')
    return take_uri(source, value, false, ret_where, why, why_bytes);
  uri = getenv("NDN_SOCK");
  if (uri != NULL && uri[0] != '\0') return take_uri("$NDN_SOCK ", uri, true, ret_where, why, why_bytes);
  for (unsigned int i = 0; i < where.n; i++)
    snprintf(where.places[i].host, sizeof(where.places[i].host), "%s", uvface__run_sockets[i]);
  *ret_where = where;
  return 0;
}
