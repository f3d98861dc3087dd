#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks that no system call is given memory of the region (docs/security.rst, row 20), and prints TAP. Looks
at the sources of both libraries: a function that they do not define themselves has to be listed here, either
because it hands no memory of its caller's to the kernel, or with each of its calls as it is written, whose
memory is private. So a new call, or an old one with another argument, fails here until somebody has looked at
it. Plants calls that break the rule, too, and fails if they are not found. Does not follow pointers: that
what is listed is private was judged by a reader, once.

Usage: test_syscalls.py SOURCE_ROOT
"""

import collections
import pathlib
import re
import sys

from tap import Tap

# Functions that never reach the kernel with memory of the caller's: pure ones, and those that take numbers.
NO_MEMORY = set(
    """
    memcpy memset memcmp memmove strlen strnlen strspn strchr strrchr strcmp strncmp strerror
    snprintf vsnprintf va_start va_end malloc calloc aligned_alloc free
    close fchmod fchown ftruncate posix_fallocate flock geteuid sysconf sigemptyset sigaddset sigismember raise nanosleep
    pthread_mutex_lock pthread_mutex_unlock pthread_once pthread_atfork getpid sigfillset pthread_attr_init
    pthread_attr_setstacksize pthread_attr_destroy pthread_attr_setdetachstate gettid lseek sched_getscheduler
    uv_translate_sys_error
    uv_backend_timeout uv_check_init uv_check_start uv_close uv_hrtime uv_idle_init uv_idle_start uv_idle_stop uv_is_closing uv_now
    uv_poll_init uv_poll_start uv_poll_stop uv_prepare_init uv_is_active uv_prepare_start uv_ref uv_strerror uv_timer_init
    uv_timer_start uv_timer_stop uv_translate_sys_error uv_unref
    """.split()
)
# Compiler's own: atomics are accesses by this process, not by the kernel.
COMPILER = re.compile(
    r"__builtin_\w+|atomic_\w+|_Atomic|_Alignas|_Alignof|assert|_Static_assert|__attribute__|__asm__|volatile|offsetof|sizeof|format"
)
# Every call of a function that gives the kernel memory to read or to write, as it is written: file, call.
PRIVATE_MEMORY = {
    # Bytes: to and from variables of the function itself.
    ("lib/wake.c", "write(fd, &byte, 1)"),
    ("lib/wake.c", "pwritev2(fd, bytes, 1, -1, flags)"),
    ("lib/wake.c", "read(wake->rx_fd, bytes, max)"),
    ("lib/wake.c", "send(fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT)"),
    ("lib/wake.c", "recv(wake->rx_fd, bytes, max, MSG_DONTWAIT)"),
    ("lib/region.c", "pread(fd, ret_header, sizeof(*ret_header), 0)"),
    ("lib/patience.c", "clock_gettime(clock, &t)"),
    ("lib/patience.c", "getrusage(RUSAGE_THREAD, &usage)"),
    # Whose header that is.
    ("lib/region.c", 'read_header(fd, "", &header, &ignored)'),
    ("lib/region.c", "read_header(fd, shm_name, ret_header, error)"),
    ("lib/region.c", "read_header(region.fd, shm_name, &header, error)"),
    ("lib/region.c", "read_header(fd, label, &header, error)"),
    ("lib/endpoint.c", "ndnshm__region_inspect(names.shm, (uid_t) -1, &h, &file_bytes, &error)"),
    # Numbers.
    ("lib/endpoint.c", "fcntl(own->rx_fd, F_SETFD, FD_CLOEXEC)"),
    ("lib/endpoint.c", "fcntl(own->tx_fd, F_SETFD, FD_CLOEXEC)"),
    ("lib/pair.c", "fcntl(fd, F_GETFL)"),
    ("lib/region.c", "fcntl(fd, F_GETFL)"),
    ("lib/region.c", "fcntl(fd, F_GET_SEALS)"),
    ("lib/region.c", "fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)"),
    ("uvface/face.c", "fcntl(fds[i], F_DUPFD_CLOEXEC, STDERR_FILENO + 1)"),
    # The mapping itself: an address and a size, nothing behind them.
    ("lib/region.c", "mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)"),
    ("lib/region.c", "munmap(region->header, region->geometry.region_bytes)"),
    ("lib/guard.c", "mmap(base, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | "
                    "MAP_NORESERVE, -1, 0)"),
    # Names: text of the endpoint's own.
    ("lib/endpoint.c", "shm_unlink(ep->names.shm)"),
    ("lib/region.c", "unlink(path)"),
    ("lib/endpoint.c", "access(ep->names.e2a, F_OK)"),
    ("lib/open.c", "linkat(fd, \"\", AT_FDCWD, path, AT_EMPTY_PATH)"),
    ("lib/open.c", "linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW)"),
    ("lib/fifo.c", "open(path, flags | FIFO_FLAGS)"),
    ("lib/region.c", "open(SHM_DIRECTORY, O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600)"),
    ("lib/open.c", "open(path, flags | O_CLOEXEC)"),
    ("lib/region.c", "faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS)"),
    ("lib/fifo.c", "mkdir(names->stage, 0700)"),
    ("lib/fifo.c", "chmod(names->stage, 0700)"),
    ("lib/fifo.c", "rmdir(names->stage)"),
    ("lib/fifo.c", "unlinkat(stage_fd, staged[i], 0)"),
    ("lib/fifo.c", "unlinkat(stage_fd, staged[1], 0)"),
    ("lib/fifo.c", "mkfifoat(stage_fd, name, 0600)"),
    ("lib/fifo.c", "fchmodat(stage_fd, name, 0600, 0)"),
    ("lib/fifo.c", "openat(stage_fd, name, flags | FIFO_FLAGS)"),
    # Priorities: variables of the function itself.
    ("lib/hurry.c", "sched_setscheduler(0, SCHED_FIFO, &lowest)"),
    ("lib/hurry.c", "sched_setscheduler(0, SCHED_OTHER, &none)"),
    ("lib/fifo.c", "unlink(path)"),
    ("lib/region.c", "memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL)"),
    ("lib/region.c", "memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)"),
    # The files of a face that is swept: text of the function's own, and the header is read into its variable.
    ("lib/sweep.c", "pread(region->fd, &h, sizeof(h), 0)"),
    ("lib/sweep.c", "unlink(path)"),
    ("lib/sweep.c", "lstat(file->path, &file->st)"),
    ("lib/sweep.c", "lstat(file->path, &now)"),
    ("lib/sweep.c", "clock_gettime(CLOCK_REALTIME, &now)"),
    ("lib/sweep.c", "socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)"),
    ("lib/sweep.c", "connect(fd, (const struct sockaddr*) &address, sizeof(address))"),
    ("lib/sweep.c", "opendir(directory)"),
    ("lib/sweep.c", "readdir(dir)"),
    ("lib/sweep.c", "closedir(dir)"),
    # What the kernel tells: into variables of the function itself.
    ("lib/pair.c", "socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds)"),
    ("lib/pair.c", "pipe2(fds, O_NONBLOCK | O_CLOEXEC)"),
    ("lib/open.c", "fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)"),
    ("lib/pair.c", "setsockopt(socket_fd, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof(off))"),
    ("lib/pair.c", "getsockopt(fd, SOL_SOCKET, name, &value, &bytes)"),
    ("lib/pair.c", "getpeername(fd, &peer, &bytes)"),
    ("lib/pair.c", "fstat(fd, &st)"),
    ("lib/region.c", "fstatfs(fd, &fs)"),
    ("lib/region.c", "fstat(fd, &st)"),
    ("lib/region.c", "fstat(*ret_fd, &st)"),
    ("lib/open.c", "fstat(fd, ret_st)"),
    ("lib/open.c", "fstat(fd, &mine)"),
    ("lib/open.c", "lstat(path, &named)"),
    ("lib/region.c", "fstat(region->fd, &st)"),
    ("lib/region.c", "lstat(path, &named)"),
    ("lib/fifo.c", "fstat(fd, &st)"),
    ("lib/chore.c", "fstat(fd, &st)"),
    ("lib/sleep.c", "fstat(fd, &st)"),
    ("lib/fifo.c", "lstat(path, &st)"),
    ("lib/fifo.c", "lstat(path, &named)"),
    ("lib/fifo.c", "fstatat(stage_fd, staged[0], &st, AT_SYMLINK_NOFOLLOW)"),
    ("lib/fifo.c", "fstatat(stage_fd, staged[0], &made, AT_SYMLINK_NOFOLLOW)"),
    ("lib/chore.c", "fstat(a2e_fd, &st)"),
    ("lib/wake.c", "pthread_sigmask(SIG_BLOCK, &sigpipe, &before)"),
    ("lib/wake.c", "pthread_sigmask(SIG_SETMASK, &before, NULL)"),
    ("lib/wake.c", "sigpending(&pending)"),
    ("lib/wake.c", "sigtimedwait(signal, NULL, &now)"),
    ("lib/region.c", "ioctl(fd, FS_IOC_GETFLAGS, flags)"),
    ("lib/region.c", "ioctl(fd, FS_IOC_SETFLAGS, flags)"),
    ("lib/guard.c", "sigaction(signal_number, &by_default, NULL)"),
    ("lib/guard.c", "sigaction(SIGBUS, NULL, &current)"),
    ("lib/guard.c", "sigaction(SIGBUS, &ours, NULL)"),
    ("lib/guard.c", "sigaction(SIGBUS, &before_us, NULL)"),
    # A stream's own buffers, and variables.
    ("uvface/stream.c", "recv(s->fd, s->in + s->len, room, MSG_DONTWAIT)"),
    ("uvface/stream.c", "send(s->fd, s->out + s->out_at, s->out_len - s->out_at, MSG_DONTWAIT | MSG_NOSIGNAL)"),
    ("uvface/stream.c", "getsockopt(sock, SOL_SOCKET, SO_TYPE, &type, &bytes)"),
    ("uvface/stream.c", "getpeername(sock, (struct sockaddr*) &peer, &peer_bytes)"),
    ("uvface/stream.c", "setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))"),
    ("uvface/stream.c", "setsockopt(s->fd, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof(off))"),
    ("uvface/stream.c", "fcntl(s->fd, F_SETFD, FD_CLOEXEC)"),
    ("uvface/face.c", "fcntl(sock, F_GETFL)"),
    ("uvface/face.c", "fcntl(sock, F_SETFL, flags)"),
    ("uvface/face.c", "getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len)"),
    ("uvface/face.c", "uv_fileno((const uv_handle_t*) &f->poll, &fd)"),
    ("uvface/chores.c", "pthread_sigmask(SIG_BLOCK, &all, &before)"),
    ("uvface/chores.c", "pthread_sigmask(SIG_SETMASK, &before, NULL)"),
    ("uvface/chores.c", "pthread_create(&thread, &attr, run, worker)"),
    ("uvface/chores.c", "syscall(SYS_tgkill, getpid(), worker->tid, 0)"),
    ("uvface/chores.c", "nanosleep(&length, NULL)"),
    ("uvface/chores.c", "dladdr1(&here, &ignored, (void**) &self, RTLD_DL_LINKMAP)"),
    ("uvface/chores.c", "dlopen(self->l_name, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE)"),
    ("uvface/window.c", "getrusage(RUSAGE_THREAD, &usage)"),
}
# What makes the bytes above private.
DECLARATIONS = (
    ("lib/wake.c", "static const char byte = 1;"),
    ("lib/wake.c", "static const struct iovec bytes = {(void*) (uintptr_t) &byte, 1};"),
    ("lib/wake.c", "char bytes[DRAIN_BYTES];"),
    ("uvface/stream.c", "s->in = malloc(bytes);"),
    ("uvface/stream.c", "s->out = malloc(bytes);"),
    ("lib/region.c", "ndnshm__region_header_t header;"),
    ("lib/endpoint.c", "ndnshm__region_header_t h;"),
)
# The user's own functions, and a test's.
CALLBACKS = {"cb", "visit", "cb_", "recv_cb", "event_cb", "tap_cb", "on_packet", "on_send", "on_end", "on_close", "sa_handler", "sa_sigaction", "ndnshm__point"}
KEYWORDS = {"void", "if", "for", "while", "switch", "return", "defined", "do", "else"}
# Ours, but named above because they pass memory on.
PASSED_ON = {"read_header", "ndnshm__region_inspect"}

CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
DEFINITION = re.compile(r"^(?:[A-Za-z_][\w ]*[ *]+)(\w+)\((?:[^;{}]|\n)*\)\s*\{", re.MULTILINE)
MACRO = re.compile(r"^#define +(\w+)\(", re.MULTILINE)
# What is planted, and where: each must be found.
PLANTED = (
    ("lib/wake.c", "write(wake->tx_fd, wake->peer_parked, 4)"),
    ("lib/region.c", "pread(fd, region.header, sizeof(header), 0)"),
    ("lib/region.c", "read_header(region.fd, shm_name, region.header, error)"),
    ("lib/ring.c", "writev(fd, ret_packet, 1)"),
    ("uvface/recv.c", "uv_try_write(stream, pkts, 1)"),
)


def blank(text):
    """Without comments, and with empty strings, so that neither looks like a call."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
    return re.sub(r"^#\s*(?:include|pragma).*$", "", text, flags=re.MULTILINE)


def call_at(text, start):
    """The whole call that begins at start, on one line."""
    depth = 0
    for end in range(text.index("(", start), len(text)):
        depth += (text[end] == "(") - (text[end] == ")")
        if depth == 0:
            return re.sub(r"\s+", " ", text[start : end + 1])
    return text[start:]


def own_functions(sources):
    names = set()
    for text in sources.values():
        names |= set(DEFINITION.findall(text)) | set(MACRO.findall(text))
    return names


def calls_of(text):
    """Name and text of every call; declarations and definitions of functions are none."""
    prototypes = {match.start(1) for match in re.finditer(r"^(?:[A-Za-z_][\w ]*[ *]+)(\w+)\(", text, re.MULTILINE)}
    for match in CALL.finditer(text):
        if match.start(1) not in prototypes or text[: match.start(1)].rsplit("\n", 1)[-1].startswith("return"):
            yield match.group(1), call_at(text, match.start(1))


def judge(sources):
    """What is not allowed, and which allowances were used."""
    own = own_functions(sources) - PASSED_ON
    wrong, used = [], collections.Counter()
    for name, text in sources.items():
        for function, call in calls_of(text):
            if (name, call) in PRIVATE_MEMORY:
                used[name, call] += 1
            elif function in own or function in NO_MEMORY or function in KEYWORDS or COMPILER.fullmatch(function):
                continue
            elif function in CALLBACKS or function.isupper():
                continue
            else:
                wrong.append(f"{name}: {call}")
    return wrong, used


def read_sources(root):
    paths = [path for name in ("lib", "uvface") for path in sorted((root / name).glob("*.[ch]"))]
    return {str(path.relative_to(root)): blank(path.read_text()) for path in paths}


def plant(sources, name, call):
    """A copy with the call at the end of the last function of the file."""
    copy = dict(sources)
    at = copy[name].rindex("\n}")
    copy[name] = copy[name][:at] + f"\n  {call};" + copy[name][at:]
    return copy


def main():
    root = pathlib.Path(sys.argv[1])
    tap = Tap()
    sources = read_sources(root)
    wrong, used = judge(sources)
    tap.check(len(sources) > 10 and not wrong, "each call that reaches the kernel is listed", "\n".join(wrong))
    stale = sorted(f"{name}: {call}" for name, call in PRIVATE_MEMORY if not used[name, call])
    tap.check(not stale, "what is listed is there", "\n".join(stale))
    for name, declaration in DECLARATIONS:
        tap.check(declaration in sources[name], f"{name} has its own: {declaration}")
    for name, call in PLANTED:
        found, _ = judge(plant(sources, name, call))
        tap.check(found == [f"{name}: {call}"], f"finds a planted {call}", "\n".join(found))
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
