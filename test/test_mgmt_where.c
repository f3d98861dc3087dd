/* SPDX-License-Identifier: MIT */
/* test_mgmt_where.c: how a client finds its forwarder: URIs, variables of the environment, client.conf. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "where.h"

static char home[64], conf[128], other_conf[128];
static uvface__where_t where;
static char why[512];

/* An environment that says nothing, with a home of its own. */
static void begin(void) {
  snprintf(home, sizeof(home), "/tmp/.ndn-t-%ld-home", (long) getpid());
  ck_assert_int_eq(mkdir(home, 0700), 0);
  snprintf(conf, sizeof(conf), "%s/.ndn", home);
  ck_assert_int_eq(mkdir(conf, 0700), 0);
  snprintf(conf, sizeof(conf), "%s/.ndn/client.conf", home);
  snprintf(other_conf, sizeof(other_conf), "%s/other.conf", home);
  setenv("HOME", home, 1);
  unsetenv("NDN_CLIENT_TRANSPORT");
  unsetenv("NDN_SOCK");
  uvface__conf_files[0] = other_conf;
  uvface__conf_files[1] = "/nowhere/client.conf";
}

static void end(void) {
  char directory[128];

  snprintf(directory, sizeof(directory), "%s/.ndn", home);
  unlink(conf);
  unlink(other_conf);
  ck_assert_int_eq(rmdir(directory), 0);
  ck_assert_int_eq(rmdir(home), 0);
}

static void write_file(const char* path, const char* text) {
  FILE* file = fopen(path, "w");

  fputs(text, file);
  fclose(file);
}

static const char* found(const char* uri) {
  static char text[300];
  int err = uvface__where(uri, &where, why, sizeof(why));

  ck_assert_msg(err == 0, "%d %s", err, why);
  ck_assert_uint_eq(where.n, 1);
  return uvface__place_text(&where.places[0], text, sizeof(text));
}

static void assert_refused(const char* uri, int code, const char* words) {
  const uvface__where_t before = where;

  ck_assert_int_eq(uvface__where(uri, &where, why, sizeof(why)), code);
  ck_assert_msg(strstr(why, words) != NULL, "%s: %s", uri, why);
  ck_assert_mem_eq(&before, &where, sizeof(where));
}

TEST(uris_are_read) {
  ck_assert_str_eq(found("unix:///run/x.sock"), "unix:///run/x.sock");
  ck_assert_str_eq(where.places[0].host, "/run/x.sock");
  ck_assert_str_eq(found("tcp://localhost:7000"), "tcp://localhost:7000");
  ck_assert_str_eq(found("tcp://10.0.0.1"), "tcp://10.0.0.1:6363");
  ck_assert_str_eq(found("tcp://[::1]:1"), "tcp://[::1]:1");
  ck_assert_str_eq(where.places[0].host, "::1");
  ck_assert_str_eq(found("tcp://[fe80::1%eth0]"), "tcp://[fe80::1%eth0]:6363");
}

TEST(broken_uris_are_refused_with_the_reason) {
  char longest[400];

  assert_refused("", -EINVAL, "neither unix:///path nor tcp://host:port");
  assert_refused("/run/x.sock", -EINVAL, "uri \"/run/x.sock\": is neither");
  assert_refused("udp4://host:6363", -EINVAL, "neither");
  assert_refused("unix://", -EINVAL, "not absolute");
  assert_refused("unix://run/x.sock", -EINVAL, "not absolute");
  assert_refused("tcp://", -EINVAL, "no host");
  assert_refused("tcp://:6363", -EINVAL, "no host");
  assert_refused("tcp://host/path", -EINVAL, "no host, or something strange");
  assert_refused("tcp://::1", -EINVAL, "no host");
  assert_refused("tcp://a::1", -EINVAL, "port");
  assert_refused("tcp://[::1", -EINVAL, "no host, or something strange");
  assert_refused("tcp://[::1]6363", -EINVAL, "something strange");
  assert_refused("tcp://host:", -EINVAL, "port");
  assert_refused("tcp://host:0", -EINVAL, "port");
  assert_refused("tcp://host:65536", -EINVAL, "port");
  assert_refused("tcp://host:123456", -EINVAL, "port");
  assert_refused("tcp://host:1x", -EINVAL, "port");
  snprintf(longest, sizeof(longest), "unix:///%0106d", 0);
  ck_assert_uint_eq(strlen(found(longest)), 7 + 107);
  snprintf(longest, sizeof(longest), "unix:///%0107d", 0);
  assert_refused(longest, -ENAMETOOLONG, "107 bytes");
  snprintf(longest, sizeof(longest), "tcp://h%0255d", 0);
  assert_refused(longest, -ENAMETOOLONG, "255 bytes");
}

TEST(the_environment_is_asked_in_order) {
  begin();
  ck_assert_int_eq(uvface__where(NULL, &where, why, sizeof(why)), 0);
  ck_assert_uint_eq(where.n, 2);
  ck_assert_str_eq(where.places[0].host, "/run/nfd/nfd.sock");
  ck_assert_str_eq(where.places[1].host, "/run/ndn-fwd/ndn-fwd.sock");
  setenv("NDN_SOCK", "/run/sock.sock", 1);
  ck_assert_str_eq(found(NULL), "unix:///run/sock.sock");
  setenv("NDN_SOCK", "unix:///run/sock.sock", 1);
  ck_assert_str_eq(found(NULL), "unix:///run/sock.sock");
  write_file(other_conf, "transport=unix:///run/other.sock\n");
  ck_assert_str_eq(found(NULL), "unix:///run/other.sock");
  ck_assert_int_eq(mkfifo(conf, 0600), 0); /* nobody will ever write into it */
  ck_assert_str_eq(found(NULL), "unix:///run/other.sock");
  unlink(conf);
  write_file(conf, "transport=unix:///run/conf.sock\n");
  ck_assert_str_eq(found(NULL), "unix:///run/conf.sock");
  setenv("NDN_CLIENT_TRANSPORT", "tcp://router", 1);
  ck_assert_str_eq(found(NULL), "tcp://router:6363");
  ck_assert_str_eq(found("unix:///run/argument.sock"), "unix:///run/argument.sock");
  setenv("NDN_CLIENT_TRANSPORT", "", 1);
  ck_assert_str_eq(found(NULL), "unix:///run/conf.sock");
  end();
}

TEST(a_client_conf_is_read_as_ndn_cxx_reads_it) {
  static const struct {
    const char *text, *found;
  } cases[] = {
      {"; transport=unix:///a\n# transport=unix:///a\n\n  transport = unix:///b \r\n", "unix:///b"},
      {"tpm=tpm-file\ntransport=unix:///b", "unix:///b"},
      {"transport=unix:///b\ntransport=unix:///c\n", "unix:///b"},
      {"; transport=unix:///run/nfd/nfd.sock\n", "unix:///sock"},
      {"[section]\ntransport=unix:///b\n", "unix:///sock"},
      {"transportation=unix:///b\ntransport\n", "unix:///sock"},
      {"transport=\n", "unix:///sock"},
      {"", "unix:///sock"},
  };

  begin();
  setenv("NDN_SOCK", "/sock", 1);
  write_file(other_conf, "transport=unix:///never\n"); /* the first file that opens is the one, whatever is in it */
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    write_file(conf, cases[i].text);
    ck_assert_str_eq(found(NULL), cases[i].found);
  }
  end();
}

/* What follows in a long line is no line of its own. */
TEST_LOOP(a_line_may_be_longer_than_what_is_read_of_it, 3) {
  static const size_t before[] = {1, 1023, 2046}; /* bytes of the comment in front of what looks like a setting */
  char text[6000];
  size_t n = before[_i];

  begin();
  memset(text, ';', n);
  snprintf(text + n, sizeof(text) - n, "transport=unix:///wrong\ntransport=unix:///b\n");
  write_file(conf, text);
  ck_assert_str_eq(found(NULL), "unix:///b");
  end();
}

TEST(who_said_a_broken_uri_is_named) {
  begin();
  setenv("NDN_SOCK", "run/x", 1);
  assert_refused(NULL, -EINVAL, "$NDN_SOCK \"run/x\": is neither");
  write_file(conf, "transport=udp://x\n");
  assert_refused(NULL, -EINVAL, ".ndn/client.conf: transport \"udp://x\": is neither");
  setenv("NDN_CLIENT_TRANSPORT", "/run/x", 1);
  assert_refused(NULL, -EINVAL, "$NDN_CLIENT_TRANSPORT \"/run/x\": is neither");
  end();
}
