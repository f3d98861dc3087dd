/* SPDX-License-Identifier: MIT */
/* request.c: see request.h. */
#include "request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

static const struct {
  const char *module, *verb, *text;
} verbs[] = {
    [UVFACE__CREATE] = {"faces", "create", "faces/create"},
    [UVFACE__DESTROY] = {"faces", "destroy", "faces/destroy"},
    [UVFACE__REGISTER] = {"rib", "register", "rib/register"},
    [UVFACE__UNREGISTER] = {"rib", "unregister", "rib/unregister"},
};

const char* uvface__verb_text(uvface__verb_t verb) {
  return verbs[verb].text;
}

static ndnpkt_bytes_t word(const char* text) {
  return (ndnpkt_bytes_t){(const uint8_t*) text, strlen(text)};
}

ssize_t uvface__request_encode(ndnpkt_crypto_t* crypto, uint8_t buf[NDNPKT_PACKET_MAX], uvface__verb_t verb,
                               const ndnpkt_parameters_t* parameters, uint64_t lifetime_ms,
                               const ndnpkt_signer_t* signer, ndnpkt_name_t* ret_name) {
  const ndnpkt_command_t command = {.module = word(verbs[verb].module),
                                    .verb = word(verbs[verb].verb),
                                    .has_parameters = true,
                                    .parameters = *parameters,
                                    .lifetime_ms = lifetime_ms};
  ndnpkt_interest_t interest;
  ssize_t bytes = ndnpkt_command_encode(crypto, buf, NDNPKT_PACKET_MAX, &command, signer);
  int err;

  if (bytes < 0) return bytes;
  err = ndnpkt_interest_decode(buf, (size_t) bytes, &interest);
  if (err < 0) return err;
  *ret_name = interest.name;
  return bytes;
}

bool uvface__answer_name(ndnpkt_bytes_t packet, ndnpkt_name_t* ret_name) {
  ndnpkt_packet_t decoded;

  if (ndnpkt_packet_decode(packet.base, packet.len, &decoded) < 0) return false;
  if (decoded.kind != NDNPKT_DATA && decoded.kind != NDNPKT_NACK) return false;
  *ret_name = decoded.kind == NDNPKT_DATA ? decoded.data.name : decoded.interest.name;
  return true;
}

/* The code of libuv that stands for one of NFD Management (ControlCommand). */
static int status_of(uint64_t code) {
  if (code >= 200 && code <= 299) return 0;
  switch (code) {
    case 400: return UV_EINVAL;
    case 403: return UV_EACCES;
    case 404: return UV_ENOENT;
    case 501: return UV_ENOTSUP;
    default: return UV_EPROTO;
  }
}

static void take_text(uvface__answer_t* answer, ndnpkt_bytes_t text) {
  size_t n = text.len < sizeof(answer->text) ? text.len : sizeof(answer->text) - 1;

  for (size_t i = 0; i < n; i++) {
    answer->text[i] = (char) text.base[i];
    if (text.base[i] < ' ' || text.base[i] == 127) answer->text[i] = '?';
  }
  answer->text[n] = '\0';
}

static void take_response(uvface__answer_t* answer, const ndnpkt_response_t* response) {
  answer->code = response->code <= UINT32_MAX ? (unsigned int) response->code : UINT32_MAX;
  answer->status = status_of(response->code);
  take_text(answer, response->text);
  if (!response->has_parameters || (response->parameters.has & NDNPKT_HAS_FACE_ID) == 0) return;
  answer->has_face_id = true;
  answer->face_id = response->parameters.face_id;
}

void uvface__answer_read(ndnpkt_bytes_t packet, uvface__answer_t* ret_answer) {
  ndnpkt_packet_t decoded;
  ndnpkt_response_t response;

  *ret_answer = (uvface__answer_t){.status = UV_EPROTO};
  if (ndnpkt_packet_decode(packet.base, packet.len, &decoded) < 0) return;
  if (decoded.kind == NDNPKT_NACK)
    ret_answer->status = UV_ENOTSUP;
  else if (decoded.kind == NDNPKT_DATA && ndnpkt_response_decode(decoded.data.content, &response) == 0)
    take_response(ret_answer, &response);
}
