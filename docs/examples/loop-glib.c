/* SPDX-License-Identifier: MIT */
/* loop-glib.c: a face as a source of GLib's main loop: the engine of the face argv[1], which sends every packet back
 * and ends when the app does. The source parks in prepare, where GLib is about to wait, and drains in check. Does not
 * wait for room: what finds the ring full, or nobody there, is dropped. */
#include <glib.h>
#include <ndnshm.h>
#include <stdio.h>
#include <string.h>

enum { BATCH_MAX = 64, SOON_MS = 1, PROBE_MS = 1000 };

/* [source] */
typedef struct face_source_s {
  GSource source;
  ndnshm_t* ep;
  gpointer tag;
  gboolean waited; /* the second look at a peer that does not fence has been taken */
  gint64 probe_us; /* when to look at the region */
  int status;      /* of the endpoint; below 0 it is over */
} face_source_t;

static gboolean face_prepare(GSource* source, gint* timeout_ms) {
  face_source_t* face = (face_source_t*) source;
  gboolean fenced = (ndnshm_peer_caps(face->ep) & NDNSHM_CAP_FENCED) != 0;
  *timeout_ms = fenced || face->waited ? PROBE_MS : SOON_MS;
  return face->status < 0 || ndnshm_park(face->ep, NDNSHM_PACKETS) != 0;
}

static gboolean face_check(GSource* source) {
  face_source_t* face = (face_source_t*) source;
  face->waited = TRUE;
  if (g_source_query_unix_fd(source, face->tag) != 0) {
    face->status = ndnshm_wake(face->ep);
  } else {
    ndnshm_unpark(face->ep);
    if (g_source_get_time(source) >= face->probe_us) {
      face->probe_us = g_source_get_time(source) + (gint64) PROBE_MS * 1000;
      face->status = ndnshm_probe(face->ep);
    }
  }
  return face->status < 0 || ndnshm_ready(face->ep, NDNSHM_PACKETS) != 0;
}

/* Calls back while there are packets, and at the end of the face. */
static gboolean face_dispatch(GSource* source, GSourceFunc callback, gpointer data) {
  ((face_source_t*) source)->waited = FALSE;
  return callback(data);
}

static GSourceFuncs face_funcs = {.prepare = face_prepare, .check = face_check, .dispatch = face_dispatch};

static face_source_t* face_source_new(ndnshm_t* ep) {
  face_source_t* face = (face_source_t*) g_source_new(&face_funcs, sizeof(*face));
  face->ep = ep;
  face->tag = g_source_add_unix_fd(&face->source, ndnshm_fd(ep), G_IO_IN | G_IO_HUP | G_IO_ERR);
  return face;
}
/* [source end] */

static GMainLoop* loop;
static face_source_t* face;
static char* arena; /* BATCH_MAX of the largest packets */

static gboolean on_packets(gpointer data) {
  (void) data;
  struct iovec pkts[BATCH_MAX];
  int got = ndnshm_recv(face->ep, arena, BATCH_MAX * ndnshm_get_mtu(face->ep), pkts, BATCH_MAX);
  if (got > 0) ndnshm_send_batch(face->ep, pkts, (unsigned int) got);
  if (got < 0) face->status = got;
  if (got > 0 || face->status >= 0) return G_SOURCE_CONTINUE; /* what is left makes the source ready again */
  g_main_loop_quit(loop);
  return G_SOURCE_REMOVE;
}

int main(int argc, char** argv) {
  ndnshm_t* ep;
  if (argc != 2 || argv[1][0] == '-') {
    gboolean asked = argc == 2 && strcmp(argv[1], "--help") == 0;
    fprintf(asked ? stdout : stderr, "usage: loop-glib NAME\n");
    return asked ? 0 : 2;
  }
  if (ndnshm_new(&ep) < 0) return 1;
  int err = ndnshm_create(ep, argv[1], NULL);
  fprintf(stderr, "loop-glib: %s\n", err == 0 ? "ready" : ndnshm_errmsg(ep));
  if (err == 0) {
    loop = g_main_loop_new(NULL, FALSE);
    arena = g_malloc(BATCH_MAX * ndnshm_get_mtu(ep));
    face = face_source_new(ep);
    g_source_set_callback(&face->source, on_packets, NULL, NULL);
    g_source_attach(&face->source, NULL);
    g_main_loop_run(loop);
    err = face->status;
    g_source_unref(&face->source);
    g_main_loop_unref(loop);
    g_free(arena);
    if (err != NDNSHM_EOF) fprintf(stderr, "loop-glib: %s\n", ndnshm_errmsg(ep));
  }
  ndnshm_free(ep);
  return err != NDNSHM_EOF;
}
