#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs our examples (argv[1] is their directory) with what others have made (argv[2] is the directory that
test/interop/install has filled): the apps of each as producers and consumers at the forwarders of each, forwarders that
are killed and come back, apps that are killed, and two hosts, which are network namespaces. Each file must arrive with
its SHA-256. What is not installed, or not allowed here, is skipped and says so. Does not measure."""
import contextlib
import functools
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, ".."), os.path.join(HERE, "..", "..", "docs", "examples")]
import demo  # noqa: E402  (for its Program: a child, its output, deadlines)
from tap import Tap  # noqa: E402

BIN = os.path.abspath(sys.argv[1])
PEERS = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2] else None
SLOW = int(os.environ.get("UVFACE_SLOW", "1"))
SMALL_BYTES, LARGE_BYTES = 1000000, 64 << 20
tap = Tap()
started = []


class Child(demo.Program):
    """A program that is told where its forwarder and its home are; perhaps it runs on another host."""

    def __init__(self, at, *argv, stdin=subprocess.DEVNULL):
        self.name = os.path.basename(argv[0])
        self.output, self.status, self.cpu_seconds = b"", None, 0.0
        environment = {**os.environ, "HOME": at.directory, "NDN_CLIENT_TRANSPORT": at.uri}
        argv = [*(at.host.enter if at.host else ()), *argv]
        self.process = subprocess.Popen(argv, env=environment, cwd=at.directory, stdin=stdin, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        started.append(self)

    def wait_for_match(self, pattern):
        """Reads until the pattern, whose first group is returned, is there."""
        pattern = re.compile(pattern.encode(), re.MULTILINE)
        self.read_until(pattern.search, 20 * SLOW)
        return pattern.search(self.output)[1].decode()

    def finished(self, timeout_s=60):
        """Its output, once it has ended, and well."""
        if self.finish(timeout_s * SLOW) != 0:
            raise demo.Failure(f"{self.name} ended with {self.status}\n{self.text()}")
        return self.text()

    def kill(self):
        self.signal(signal.SIGKILL)
        self.finish(10 * SLOW)


def size_of(file):
    return f"{os.stat(file[0]).st_size / 1e6:.3g} MB"


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- Apps -------------------------------------------------------------------------------------------
# Each can serve a file as PREFIX/file, at some forwarder, and fetch one by its name, with or without the version. What
# serve() returns is the child, which has registered the prefix, and the name of the file's version.


class Library:
    """An app that is written with somebody's library. It has PREFIX/hello as well."""

    def __init__(self, name, *argv, takes_tokens=True):
        self.name, self.argv, self.takes_tokens = name, argv, takes_tokens

    def serve(self, at, prefix, path):
        child = Child(at, *self.argv, "serve", at.socket, prefix, path)
        version = child.wait_for_match(r"^serving (\S+)$")
        if child.wait_for_match(r"^(registered|not registered)") != "registered":
            raise demo.Failure(f"{self.name}: {child.text()}")
        return child, version

    def leave(self, at, prefix):
        """Registers and takes it back; the app stays, and so does its connection."""
        child = Child(at, *self.argv, "leave", at.socket, prefix)
        child.wait_for_match(r"^(unregistered)")
        return child

    def hello(self):
        return hashlib.sha256(f"hello from {self.name}".encode()).hexdigest()

    def get(self, at, name):
        return demo.number(r"bytes, sha256 (\w+)", Child(at, *self.argv, "get", at.socket, name).finished())

    def fetch(self, at, name):
        return demo.number(r"bytes, sha256 (\w+)", Child(at, *self.argv, "fetch", at.socket, name).finished())


class Ndnd:
    """ndnd's own tools."""

    name, takes_tokens = "ndnd", True

    def __init__(self, program):
        self.program = program

    def list(self, at, what):
        return Child(at, self.program, "fw", f"{what}-list").finished()

    def serve(self, at, prefix, path):
        with open(path, "rb") as content:
            child = Child(at, self.program, "put", f"{prefix}/file", stdin=content)
        version = child.wait_for_match(r'msg="Object produced".*name="?([^"\s]+)')
        child.wait_for_match(r'msg="(Registered route)"')
        return child, version

    def fetch(self, at, name):
        output = os.path.join(at.directory, "output")
        Child(at, "/bin/sh", "-c", 'exec "$0" cat "$1" > "$2"', self.program, name, output).finished()
        return sha256_of(output)


class Ours:
    """The examples, over shared memory or over the socket."""

    takes_tokens = True

    def __init__(self, over, *options):
        self.name, self.over, self.options = f"ours over {over}", over, options

    def run(self, at, program, *arguments):
        """The environment says where the forwarder is, to these as to the others."""
        return Child(at, os.path.join(BIN, program), *self.options, *arguments)

    def serve(self, at, prefix, path):
        child = self.run(at, "ndn-producer", "--verbose", "--prefix", f"{prefix}/file", "--file", path)
        version = child.wait_for_match(r"(\S+/v=\d+): \d+ bytes")
        child.wait_for_match(f"connected over ({self.over})")
        child.wait_for_match("(registered)")
        return child, version

    def get(self, at, name):
        output = self.run(at, "ndn-peek", "--fresh", "--payload", name).finished()
        return hashlib.sha256(output.encode()).hexdigest()

    def fetch(self, at, name):
        # Others' producers may get no CPU for seconds: eight Interests of a second each have been too few.
        output = self.run(at, "ndn-consumer", "--verbose", "--lifetime-ms", "10000", "--prefix", name).finished(120)
        if f"connected over {self.over}" not in output:
            raise demo.Failure(f"not over {self.over}: {output}")
        return demo.number(r"sha256 (\w+)", output)


# --- Forwarders -------------------------------------------------------------------------------------


class Forwarder:
    """One that listens at a Unix socket in a directory of its own; maybe on another host."""

    def __init__(self, argv, directory, host=None):
        self.argv, self.directory, self.host = argv, tempfile.mkdtemp(dir=directory), host
        self.socket = os.path.join(self.directory, "s")
        self.uri = f"unix://{self.socket}"
        self.child = None

    def start(self):
        self.child = Child(self, *self.arguments())
        self.child.wait_for_match(self.ready)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.child.end()


class OurForwarder(Forwarder):
    """Without a cache, so that what arrives comes from the producer."""

    name, ready = "ours", "(ready)"

    def __init__(self, directory, host=None, options=("--cs-bytes", "0")):
        super().__init__((os.path.join(BIN, "ndn-forwarder"), "--listen"), directory, host)
        self.options = options

    def arguments(self):
        return [*self.argv, self.socket, *self.options]


class OursWithout(OurForwarder):
    """With a cache, but without shared memory."""

    name = "ours without shared memory"

    def __init__(self, directory):
        super().__init__(directory, options=("--no-shm",))


class NdntsForwarder(Forwarder):
    name, ready = "NDNts", "^(ready)$"

    def arguments(self):
        return [*self.argv, "forwarder", self.socket, *(("6363",) if self.host else ())]


class NdndForwarder(Forwarder):
    name, ready = "ndnd", r'msg="(Listening for connections)".*unix'

    def arguments(self):
        config = os.path.join(self.directory, "config.yml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"""\
core: {{log_level: INFO}}
faces:
  udp: {{enabled_multicast: false}}
  tcp: {{enabled: {"true" if self.host else "false"}}}
  websocket: {{enabled: false}}
  unix: {{socket_path: {self.socket}}}
fw: {{threads: 1}}
""")
        alone = () if self.host else ("unshare", "--net")  # it listens at all addresses
        return [*alone, *self.argv, "fw", "run", config]

    def route(self, prefix, remote):
        Child(self, *self.argv, "fw", "face-create", f"remote={remote}").finished()
        Child(self, *self.argv, "fw", "route-add", f"prefix={prefix}", f"face={remote}").finished()


# --- Hosts ------------------------------------------------------------------------------------------


class Host:
    """A network of its own. It lasts as long as the process that holds it, which ends when this one does."""

    def __init__(self, address):
        self.address = address
        self.holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.enter = ("nsenter", f"--net=/proc/{self.holder.pid}/ns/net")

    def __enter__(self):
        self.holder.stdin.write(b"there\n")
        self.holder.stdin.flush()
        if self.holder.stdout.readline() != b"there\n":
            raise demo.Failure("a host cannot have a network of its own")
        return self

    def __exit__(self, *_):
        self.holder.stdin.close()
        self.holder.stdout.close()
        self.holder.wait()

    def run(self, command):
        done = subprocess.run([*self.enter, *command.split()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=10 * SLOW, check=False)
        if done.returncode != 0:
            raise demo.Failure(f"{command}: {done.stdout}")

    def cable(self, other):
        self.run(f"ip link add cable type veth peer name cable netns {other.holder.pid}")
        for host in (self, other):
            host.run(f"ip address add {host.address}/24 dev cable")
            host.run("ip link set cable up")
            host.run("ip link set lo up")


# --- What is there ----------------------------------------------------------------------------------


class Peers:
    """What is installed: apps, and forwarders as functions of a directory and perhaps a host. And what is not."""

    def __init__(self, scratch):
        self.apps, self.absent = [], {}
        self.ndnts = self.ndnd = None
        with contextlib.suppress(FileNotFoundError), open(os.path.join(PEERS, "skipped"), encoding="utf-8") as file:
            self.absent = dict(line.strip().partition(": ")[::2] for line in file)
        node, python = self.find("ndnts", "ndnts/node"), self.find("python", "python/bin/python")
        ndnd = self.find("ndnd", "ndnd/ndnd")
        if node:
            program = shutil.copy(os.path.join(HERE, "peer_ndnts.mjs"), scratch)  # modules are looked for beside it
            os.symlink(os.path.join(PEERS, "ndnts", "node_modules"), os.path.join(scratch, "node_modules"))
            self.apps.append(Library("NDNts", node, program))
            self.ndnts = functools.partial(NdntsForwarder, (node, program))
        if python:
            self.apps.append(Library("python-ndn", python, os.path.join(HERE, "peer_python_ndn.py")))
            self.apps.append(Library("PyNDN", python, os.path.join(HERE, "peer_pyndn.py"), takes_tokens=False))
        if ndnd:
            self.apps.append(Ndnd(ndnd))
            self.ndnd = functools.partial(NdndForwarder, (ndnd,))

    def find(self, peer, program):
        path = os.path.join(PEERS, program)
        if peer not in self.absent and not os.path.exists(path):
            self.absent[peer] = f"-Dpeers has no {program}"
        return None if peer in self.absent else path


SHM, SOCKET = Ours("shared memory"), Ours("the socket", "--no-shm")
FALLS_BACK = Ours("the socket")  # which asks for shared memory, and is told that there is none


# --- The tests --------------------------------------------------------------------------------------


def check(name, attempt, *arguments):
    """One result: it is good if attempt() raises nothing. Returns what attempt() does, or None."""
    try:
        result = attempt(*arguments)
    except (demo.Failure, OSError) as failure:
        tap.check(False, name, failure)
        return None
    tap.check(True, name)
    return result


def until_it_works(attempt, *arguments):
    """Again and again, until it raises nothing any more."""
    deadline = time.monotonic() + 30 * SLOW
    while True:
        try:
            return attempt(*arguments)
        except demo.Failure:
            if time.monotonic() > deadline:
                raise


def new_prefix():
    """One that no cache knows."""
    return f"/p{len(started)}"


def arrives(fetch, at, name, sha256):
    seen = fetch(at, name)
    if seen != sha256:
        raise demo.Failure(f"{name}: sha256 is {seen}, not {sha256}")


def everybody_from_everybody(at, producers, consumers, path, sha256):
    """The libraries first: behind metadata in a cache they would not find the file."""
    for producer in producers:
        prefix = new_prefix()
        served = check(f"{producer.name} registers at the forwarder {at.name}", producer.serve, at, prefix, path)
        if served is None:
            continue
        child, version = served
        for consumer in consumers:
            who = f"{consumer.name} from {producer.name} through the forwarder {at.name}"
            if hasattr(producer, "hello") and hasattr(consumer, "get"):
                check(f"one Data: {who}", arrives, consumer.get, at, f"{prefix}/hello", producer.hello())
            # ndnd asks for metadata, which the libraries here do not serve, unless it knows the version.
            name = version if isinstance(consumer, Ndnd) and isinstance(producer, Library) else f"{prefix}/file"
            check(f"a file: {who}", arrives, consumer.fetch, at, name, sha256)
        child.end()


def a_large_file(at, app, path, sha256):
    prefix = new_prefix()
    child, _ = app.serve(at, prefix, path)
    arrives(app.fetch, at, f"{prefix}/file", sha256)
    child.end()


def the_forwarder_is_killed(at, app, path, sha256):
    child, version = app.serve(at, new_prefix(), path)
    arrives(app.fetch, at, version, sha256)
    at.child.kill()
    at.start()
    until_it_works(arrives, app.fetch, at, version, sha256)
    child.end()


def the_uplink_is_killed(directory, at, path, sha256):
    """Two forwarders of ours below one that dies: they come back to it, and so does what their apps registered."""
    below = functools.partial(OurForwarder, directory, options=("--uplink", at.uri, "--cs-bytes", "0"))
    with below() as here, below() as there:
        child, version = SHM.serve(here, new_prefix(), path)
        until_it_works(arrives, SHM.fetch, there, version, sha256)
        at.child.kill()
        at.start()
        until_it_works(arrives, SHM.fetch, there, version, sha256)
        child.end()


def no_route(at, name):
    child = SHM.run(at, "ndn-consumer", "--prefix", name)
    if child.finish(30 * SLOW) == 0 or "no route" not in child.text():
        raise demo.Failure(f"there seems to be a route to {name}: {child.text()}")


def the_producer_is_killed(at, producer, path):
    child, version = producer.serve(at, new_prefix(), path)
    child.kill()
    until_it_works(no_route, at, version)


def the_prefix_is_taken_back(at, producer):
    prefix = new_prefix()
    child = producer.leave(at, prefix)
    no_route(at, prefix)
    child.end()


def nack_is_understood(at, consumer):
    child = Child(at, *consumer.argv, "get", at.socket, new_prefix())
    if child.finish(10 * SLOW) == 0 or "Nack" not in child.text():
        raise demo.Failure(child.text())


def faces_and_routes_are_listed(at, app, ndnd, path):
    prefix = "/listed"
    child, _ = app.serve(at, prefix, path)
    try:
        face = re.search(r"faceid=(\d+) remote=shm://", ndnd.list(at, "face"))
        routes = ndnd.list(at, "route")
        if not face or f"prefix={prefix}/file nexthop={face[1]} " not in routes:
            raise demo.Failure(f"face {face and face[1]}, routes:\n{routes}")
    finally:
        child.kill()


def at_our_forwarder(directory, foreign, small, large):
    ours = [SHM, SOCKET]
    with OurForwarder(directory) as at:
        everybody_from_everybody(at, ours + foreign, foreign + ours, *small)
        for app in ours:
            check(f"{size_of(large)}: {app.name} through the forwarder ours", a_large_file, at, app, *large)
        for app in ours:
            check(f"{app.name} survives the forwarder", the_forwarder_is_killed, at, app, *small)
        for app in foreign:
            if app.name in ("NDNts", "python-ndn"):
                check(f"{app.name} takes its prefix back", the_prefix_is_taken_back, at, app)
            if app.name == "python-ndn":  # the others wait until the lifetime is over
                check(f"{app.name} understands that there is no route", nack_is_understood, at, app)
        for app in foreign:
            if app.name == "ndnd":
                check("ndnd's tools list faces and routes", faces_and_routes_are_listed, at, SHM, app, small[0])
        for app in foreign + ours:
            check(f"{app.name} is killed, and its route is gone", the_producer_is_killed, at, app, small[0])


def at_a_forwarder_without_shared_memory(forwarder, directory, foreign, small, large):
    with forwarder(directory) as at:
        # PyNDN breaks on PIT tokens, which the others send. What foreign apps do among themselves is not ours.
        everybody_from_everybody(at, [app for app in foreign if app.takes_tokens], [FALLS_BACK], *small)
        everybody_from_everybody(at, [FALLS_BACK], [*foreign, FALLS_BACK], *small)
        check(f"{size_of(large)}: {FALLS_BACK.name} through the forwarder {at.name}", a_large_file, at, FALLS_BACK,
              *large)
        check(f"{FALLS_BACK.name} survives the forwarder {at.name}", the_forwarder_is_killed, at, FALLS_BACK, *small)
        check(f"two forwarders of ours survive {at.name} above them", the_uplink_is_killed, directory, at, *small)


def across(directory, first, second, path, sha256):
    """From host to host, with a forwarder of ours on each; first, second: a host, and what its forwarder goes up to."""
    with contextlib.ExitStack() as stack:
        here, there = (stack.enter_context(OurForwarder(directory, host, ("--uplink", uri)))
                       for host, uri in (first, second))
        child, version = SHM.serve(here, "/net", path)
        until_it_works(arrives, SHM.fetch, there, version, sha256)
        child.end()


def on_two_hosts(peers, directory, small, large):
    with Host("10.77.0.1") as first, Host("10.77.0.2") as second:
        first.cable(second)
        if peers.ndnts:
            with peers.ndnts(directory, first) as at:
                check(f"{size_of(large)} from host to host: our forwarders, that of NDNts on one of them", across,
                      directory, (first, at.uri), (second, f"tcp://{first.address}:6363"), *large)
        for scheme, file in (("tcp4", large), ("udp4", small)) if peers.ndnd else ():
            with peers.ndnd(directory, first) as here, peers.ndnd(directory, second) as there:
                there.route("/net", f"{scheme}://{first.address}:6363")
                check(f"{size_of(file)} from host to host: our forwarders, that of ndnd on both, {scheme}", across,
                      directory, (first, here.uri), (second, there.uri), *file)


def run_all(directory):
    peers = Peers(directory)
    for peer, why in peers.absent.items():
        tap.skip(f"interoperation with {peer}", why)
    files = []
    for size in (SMALL_BYTES, LARGE_BYTES):
        path = os.path.join(directory, f"file-{size}")
        files.append((path, demo.write_file(path, size)))
    small, large = files
    unshare = subprocess.run(["unshare", "--net", "ip", "link"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                             text=True, check=False)
    at_our_forwarder(directory, peers.apps, small, large)
    at_a_forwarder_without_shared_memory(OursWithout, directory, peers.apps, small, large)
    if peers.ndnts:
        at_a_forwarder_without_shared_memory(peers.ndnts, directory, peers.apps, small, large)
    if unshare.returncode != 0:
        tap.skip("ndnd, which listens at all addresses, and two hosts", f"no network of their own: {unshare.stderr}")
        return
    if peers.ndnd:
        at_a_forwarder_without_shared_memory(peers.ndnd, directory, peers.apps, small, large)
    on_two_hosts(peers, directory, small, large)


def names_of_faces():
    return {name for place in ("/dev/shm", "/tmp") for name in os.listdir(place) if re.match(r"\.?ndn-", name)}


def main():
    if PEERS is None:
        tap.skip("interoperation", "-Dpeers does not say where the foreign programs are")
        return tap.done()
    before = names_of_faces()
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(1))  # so that `finally` runs
    try:
        with tempfile.TemporaryDirectory(prefix="uvface-door-") as directory:
            run_all(directory)
    finally:
        for child in reversed(started):
            child.end()
    ours = "|".join(str(child.process.pid) for child in started)
    left = [name for name in names_of_faces() - before if re.match(rf"(?:ndn-shm|\.ndn)-app-(?:{ours})-", name)]
    tap.check(not left, "no app has left a name behind", left)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
