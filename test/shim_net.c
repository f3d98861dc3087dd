/* SPDX-License-Identifier: MIT */
/* shim_net.c: more of shim.h, for the calls of libuvface_mgmt: sockets and their names. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <uv.h>

#include "shim.h"

/* A wrapper: TYPE NAME(PARAMETERS), or -1 with errno set to one of the errors. */
#define WRAP(type, name, parameters, arguments, ...)                        \
  type __real_##name parameters;                                            \
  type __wrap_##name parameters;                                            \
  type __wrap_##name parameters {                                           \
    static const int errors[SHIM_ERRORS] = {__VA_ARGS__};                   \
                                                                            \
    return shim_fails(#name, errors) ? (type) -1 : __real_##name arguments; \
  }

WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol), EMFILE, ENOMEM)
WRAP(int, bind, (int fd, const struct sockaddr* address, socklen_t len), (fd, address, len), EACCES, ENOSPC)
WRAP(int, listen, (int fd, int backlog), (fd, backlog), EADDRINUSE)
WRAP(int, accept4, (int fd, struct sockaddr* address, socklen_t* len, int flags), (fd, address, len, flags), EMFILE,
     ENFILE, ECONNABORTED, EINTR)
WRAP(int, connect, (int fd, const struct sockaddr* address, socklen_t len), (fd, address, len), ECONNREFUSED, EAGAIN,
     EACCES)
WRAP(int, getsockopt, (int fd, int level, int name, void* value, socklen_t* len), (fd, level, name, value, len),
     ENOBUFS)
WRAP(ssize_t, sendmsg, (int fd, const struct msghdr* message, int flags), (fd, message, flags), EAGAIN, EPIPE,
     ETOOMANYREFS, EINTR)
WRAP(ssize_t, recvmsg, (int fd, struct msghdr* message, int flags), (fd, message, flags), ECONNRESET, EAGAIN, EINTR)
WRAP(int, fchownat, (int at, const char* path, uid_t uid, gid_t gid, int flags), (at, path, uid, gid, flags), EPERM,
     EIO)
WRAP(int, rename, (const char* from, const char* to), (from, to), EACCES, ENOENT)
WRAP(ssize_t, getrandom, (void* bytes, size_t n, unsigned int flags), (bytes, n, flags), EINTR, ENOSYS)

int __real_uv_getaddrinfo(uv_loop_t* loop, uv_getaddrinfo_t* req, uv_getaddrinfo_cb cb, const char* node,
                          const char* service, const struct addrinfo* hints);
int __wrap_uv_getaddrinfo(uv_loop_t* loop, uv_getaddrinfo_t* req, uv_getaddrinfo_cb cb, const char* node,
                          const char* service, const struct addrinfo* hints);
int __wrap_uv_getaddrinfo(uv_loop_t* loop, uv_getaddrinfo_t* req, uv_getaddrinfo_cb cb, const char* node,
                          const char* service, const struct addrinfo* hints) {
  static const int errors[SHIM_ERRORS] = {ENOMEM};

  return shim_fails("uv_getaddrinfo", errors) ? UV_ENOMEM : __real_uv_getaddrinfo(loop, req, cb, node, service, hints);
}

char* __real_strdup(const char* text);
char* __wrap_strdup(const char* text);
char* __wrap_strdup(const char* text) {
  static const int errors[SHIM_ERRORS] = {ENOMEM};

  return shim_fails("strdup", errors) ? NULL : __real_strdup(text);
}
