# SPDX-License-Identifier: MIT
"""stat_actor.py LIBNDNSHM ROLE NAME [UID]: one end of a face, or a private face with both, that does what it is told by lines on
its standard input and answers each with one line. For test_stat.py and test_dump.py, which kill it. Roles: engine, app,
private, two (engines, NAME1 and NAME2), lease (holds a lease of the region NAME). Orders: call HEX (take this name as a
program), send N BYTES, put HEX (that packet), recv, probe, quiet (whether nothing has come to its descriptor), sealed, bye
(end, leaving nothing), again (a new private face in place of the old one, without an app)."""
import ctypes
import fcntl
import os
import select
import signal
import sys

OPTIONS = [("size", ctypes.c_size_t)]
OPTIONS += [(name, ctypes.c_uint32) for name in ("capacity", "slot_size", "mtu", "mode", "uid", "gid", "flags")]
STATS = [(f"counter{i}", ctypes.c_uint64) for i in range(8)] + [("sealed", ctypes.c_uint32), ("attached", ctypes.c_uint32)]


class Options(ctypes.Structure):
    _fields_ = OPTIONS


class Stats(ctypes.Structure):
    _fields_ = STATS


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class End:
    def __init__(self, path):
        self.lib = ctypes.CDLL(path)
        self.lib.ndnshm_errmsg.restype = ctypes.c_char_p
        self.ep = ctypes.c_void_p()
        self.options = Options(ctypes.sizeof(Options), 16, 100, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        assert self.lib.ndnshm_new(ctypes.byref(self.ep)) == 0

    def must(self, err):
        assert err >= 0, self.lib.ndnshm_errmsg(self.ep)

    def open(self, how, what):
        self.must(getattr(self.lib, "ndnshm_" + how)(self.ep, what, ctypes.byref(self.options)))

    def send(self, n, size):
        piece = ctypes.create_string_buffer(size)
        packet = Iovec(ctypes.addressof(piece), size)
        for _ in range(n):
            self.must(self.lib.ndnshm_send(self.ep, ctypes.byref(packet), 1))
        return "sent"

    def put(self, packet):
        piece = ctypes.create_string_buffer(packet, len(packet))
        self.must(self.lib.ndnshm_send(self.ep, ctypes.byref(Iovec(ctypes.addressof(piece), len(packet))), 1))
        return "put"

    def recv(self):
        arena, packets = ctypes.create_string_buffer(1600), (Iovec * 16)()
        n = self.lib.ndnshm_recv(self.ep, arena, 1600, packets, 16)
        self.must(n)
        return str(n)

    def again(self):
        self.lib.ndnshm_free(self.ep)
        self.ep = ctypes.c_void_p()
        assert self.lib.ndnshm_new(ctypes.byref(self.ep)) == 0
        self.must(self.lib.ndnshm_create_private(self.ep, ctypes.byref(self.options)))
        return "again"

    def quiet(self):
        return str(not select.select([self.lib.ndnshm_fd(self.ep)], [], [], 0)[0])

    def sealed(self):
        stats = Stats()
        self.must(self.lib.ndnshm_get_stats(self.ep, ctypes.byref(stats)))
        return str(stats.sealed)


def become(user):
    """That user, and as open to be looked into as any of its processes."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    PR_SET_DUMPABLE = 4
    assert ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0


def make(path, role, name, user=None):
    end = End(path)
    if user is not None:
        become(int(user))
    if role == "engine":
        end.open("create", name.encode())
    elif role == "app":
        end.open("connect", name.encode())
    elif role == "two":
        end.second = End(path)
        end.open("create", name.encode() + b"1")
        end.second.open("create", name.encode() + b"2")
    elif role == "private":
        fds = (ctypes.c_int * 3)()
        end.must(end.lib.ndnshm_create_private(end.ep, ctypes.byref(end.options)))
        end.must(end.lib.ndnshm_app_fds(end.ep, fds))
        if os.fork() == 0:
            app = End(path)
            app.must(app.lib.ndnshm_attach(app.ep, (ctypes.c_int * 3)(*map(os.dup, fds)), None))
            end.lib.ndnshm_free(end.ep)  # a child's copy
            print("ready", flush=True)
            while True:
                signal.pause()
        end.lib.ndnshm_app_fds_close(end.ep)
    else:
        signal.signal(signal.SIGIO, signal.SIG_IGN)
        end.fd = os.open(f"/dev/shm/ndn-shm-{name}", os.O_RDWR)
        fcntl.fcntl(end.fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    return end


def main():
    end = make(*sys.argv[1:])
    if sys.argv[2] != "private":
        print("ready", flush=True)  # there the app says it
    for line in sys.stdin:
        order, *arguments = line.split()
        if order == "call":
            with open("/proc/self/comm", "wb") as comm:
                comm.write(bytes.fromhex(arguments[0]))
            answer = "called"
        elif order == "put":
            answer = end.put(bytes.fromhex(arguments[0]))
        elif order == "bye":
            break
        elif order == "probe":
            answer = str(end.lib.ndnshm_probe(end.ep))
        else:
            answer = getattr(end, order)(*map(int, arguments))
        print(answer, flush=True)
    for one in [end, *([end.second] if sys.argv[2] == "two" else [])]:
        one.lib.ndnshm_free(one.ep)


main()
