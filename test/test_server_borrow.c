/* SPDX-License-Identifier: MIT */
/* test_server_borrow.c: a server whose faces lend their slots to the embedder. What decides whether a packet is a
 * command is a private copy: the decoders, which this program stands in front of, never see the ring. */
#include <stdio.h>
#include <string.h>

#include "served.h"

/* The region, wherever it is mapped: both ends are in this process. */
static bool is_lent(const void* at) {
  FILE* maps = fopen("/proc/self/maps", "re");
  char line[512];
  bool lent = false;

  ck_assert_ptr_nonnull(maps);
  while (fgets(line, sizeof(line), maps) != NULL) {
    unsigned long from, to;

    if (strstr(line, "memfd:ndn-shm") == NULL || sscanf(line, "%lx-%lx", &from, &to) != 2) continue;
    lent = lent || ((unsigned long) at >= from && (unsigned long) at < to);
  }
  fclose(maps);
  return lent;
}

static unsigned int looks, lent_looks;

static void note(const void* at) {
  looks++;
  if (is_lent(at)) lent_looks++;
}

int __real_ndnpkt_tlv_next(ndnpkt_bytes_t* rest, ndnpkt_tlv_t* ret_tlv);
int __wrap_ndnpkt_tlv_next(ndnpkt_bytes_t* rest, ndnpkt_tlv_t* ret_tlv);
int __wrap_ndnpkt_tlv_next(ndnpkt_bytes_t* rest, ndnpkt_tlv_t* ret_tlv) {
  note(rest->base);
  return __real_ndnpkt_tlv_next(rest, ret_tlv);
}

int __real_ndnpkt_link_decode(const uint8_t* buf, size_t len, ndnpkt_link_t* ret_link);
int __wrap_ndnpkt_link_decode(const uint8_t* buf, size_t len, ndnpkt_link_t* ret_link);
int __wrap_ndnpkt_link_decode(const uint8_t* buf, size_t len, ndnpkt_link_t* ret_link) {
  note(buf);
  return __real_ndnpkt_link_decode(buf, len, ret_link);
}

static unsigned int got;

static void on_app_packets(uvface_t* face, ssize_t npkts, const uv_buf_t pkts[]) {
  (void) face, (void) pkts;
  if (npkts > 0) got += (unsigned int) npkts;
}

/* A registration of /q, as an Interest, and in an LpPacket with a PIT token. */
static size_t encode_register(ndnpkt_crypto_t* crypto, bool wrapped, uint8_t* buf, size_t cap) {
  ndnpkt_command_t command = {.module = wire_text("rib"), .verb = wire_text("register")};
  uint8_t bare[1000];
  ssize_t n, head;
  ndnpkt_link_t link = {.pit_token = wire_text("tokn")};

  command.parameters = (ndnpkt_parameters_t){.has = NDNPKT_HAS_NAME, .name = wire_name("/q")};
  n = ndnpkt_command_encode(crypto, bare, sizeof(bare), &command, NULL);
  ck_assert_int_gt(n, 0);
  link.fragment.len = (size_t) n;
  head = wrapped ? ndnpkt_link_encode(buf, cap, &link) : 0;
  ck_assert_int_ge(head, 0);
  memcpy(buf + head, bare, (size_t) n);
  return (size_t) (head + n);
}

TEST(what_decides_about_a_lent_packet_is_a_copy) {
  static raw_t app;
  served_t served;
  uvface_t face;
  ndnpkt_crypto_t* crypto;
  uint8_t packet[1200];
  uv_buf_t buf;

  served_init(&served);
  served.options.face.flags = UVFACE_RECV_BORROW;
  served_listen(&served);
  raw_connect(&app, &served);
  ck_assert_uint_eq(raw_create(&app, "lent", handoff_key(1), -1, NULL), 200);
  ASSERT_OK(uvface_init(&served.loop, &face));
  ASSERT_OK(handoff_attach(&served, handoff_key(1), &face));
  ASSERT_OK(uvface_recv_start(&face, on_app_packets));
  ASSERT_OK(ndnpkt_crypto_new(&crypto));
  looks = lent_looks = 0;
  for (int wrapped = 0; wrapped < 2; wrapped++) {
    buf = uv_buf_init((char*) packet, (unsigned int) encode_register(crypto, wrapped, packet, sizeof(packet)));
    ck_assert_int_gt(uvface_try_send(&face, &buf, 1), 0);
    RUN_UNTIL(&served.loop, got == (unsigned int) wrapped + 1);
  }
  ck_assert_uint_eq(served.commands, 2);
  ck_assert_uint_eq(served.guests[1].got, 0);
  ck_assert_uint_gt(looks, 0);
  ck_assert_uint_eq(lent_looks, 0);
  buf = uv_buf_init((char*) packet, 7); /* what is no command is passed on as it is, lent */
  memcpy(packet, "\x05\x05\x07\x03\x08\x01x", 7);
  ck_assert_int_eq(uvface_try_send(&face, &buf, 1), 7);
  RUN_UNTIL(&served.loop, served.guests[1].got == 1);
  ck_assert_uint_eq(served.guests[1].last_bytes, 7);
  ck_assert_uint_eq(lent_looks, 0);
  ndnpkt_crypto_free(crypto);
  uvface_close(&face, NULL);
  raw_close(&app);
  served_close(&served);
}
