#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the built examples (argv[1] is their directory) as a reader of the documentation would, and compares
what they print: every role against every other, the demo, and what goes wrong in practice: a name or a socket that
does not exist, a wrong hash, no route, no producer, apps that die, a forwarder that is killed half-way and started again,
and one that is the app of another. Half-way is made, not timed: a consumer that writes to a pipe nobody reads stops
there. What needs a packet of its own comes from a peer that is moved by hand (raw.py). Proves at the end of each test
that no name is left in /dev/shm and /tmp. Does not measure."""
import glob
import hashlib
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "docs", "examples"))
import demo  # noqa: E402  (for its Program: a child, its output, deadlines)
import raw  # noqa: E402
from tap import Tap  # noqa: E402

BIN = os.path.abspath(sys.argv[1])
SLOW = int(os.environ.get("UVFACE_SLOW", "1"))
FACE = f"ex-{os.getpid()}"
PREFIX = "/demo/file"
tap = Tap()
started = []
stalled = []
peers = []


def start(program, *arguments):
    started.append(demo.Program([os.path.join(BIN, program), *arguments]))
    return started[-1]


def run(program, *arguments):
    child = start(program, *arguments)
    child.finish(30 * SLOW)
    return child


def ready(program, *arguments):
    child = start(program, *arguments)
    child.wait_for("ready", 10 * SLOW)
    return child


def expect(child, status, *texts):
    """One result: the exit status, and every text in the output."""
    missing = [text for text in texts if text not in child.text()]
    says = texts[0].strip() if texts else "nothing in particular"
    tap.check(child.status == status and not missing, f"{child.name} ends with {status} and says '{says}'",
              f"status {child.status}, missing {missing}\n{child.text()}")


def names():
    found = glob.glob(f"/dev/shm/ndn-shm-{FACE}*") + glob.glob(f"/tmp/.ndn-{FACE}*")
    for child in started:
        found += demo.left_behind("", [child])
    return found


class Network:
    """A forwarder and its socket, in a directory that may hold several."""

    def __init__(self, directory, *options, tag="ndn", limit=None):
        self.directory, self.path = directory, os.path.join(directory, f"{tag}.sock")
        self.uri = f"unix://{self.path}"
        self.start(*options, limit=limit)

    def start(self, *options, limit=None):
        argv = [os.path.join(BIN, "ndn-forwarder"), "--listen", self.path, "--verbose", *options]
        self.forwarder = demo.Program(argv)
        started.append(self.forwarder)
        if limit is not None:
            resource.prlimit(self.forwarder.process.pid, *limit)
        self.forwarder.wait_for("ready", 10 * SLOW)

    def app(self, program, *arguments):
        return start(program, "--forwarder", self.uri, *arguments)

    def run(self, program, *arguments, seconds=60):
        child = self.app(program, *arguments)
        child.finish(seconds * SLOW)
        return child

    def serve(self, path, *options, prefix=PREFIX):
        producer = self.app("ndn-producer", "--prefix", prefix, "--file", path, *options)
        producer.wait_for("registered", 10 * SLOW)
        return producer

    def fetch(self, *options, prefix=PREFIX, **more):
        return self.run("ndn-consumer", "--prefix", prefix, *options, **more)

    def peer(self):
        peer = raw.Peer(self.path, 10 * SLOW)
        peers.append(peer)
        return peer

    def kill(self):
        self.forwarder.signal(signal.SIGKILL)
        self.forwarder.reap()

    def stop(self, *others):
        for child in (*others, self.forwarder):
            child.terminate()
            expect(child, 0, "CPU")
        tap.check(not os.path.exists(self.path), "the forwarder removes its socket")


def forwarded_after(network, peer, packets):
    """What the peer has got of these, which the forwarder has all seen: an Interest behind them is answered by a Nack."""
    for packet in packets:
        peer.send(packet)
    return before_nack(peer)


def before_nack(peer):
    mark = f"/mark/{os.urandom(4).hex()}"
    peer.send(raw.interest(mark, nonce=int.from_bytes(os.urandom(4), "big")))
    found = []
    while True:
        packet = peer.read()
        if packet is None:
            raise demo.Failure("the forwarder does not answer")
        if packet.nack == raw.NO_ROUTE and packet.uri == mark:
            return found
        found.append(packet)


def check_equal(got, want, what):
    tap.check(got == want, what, f"got {got}\nwant {want}")


def write_file(directory, size):
    path = os.path.join(directory, f"file-{size}")
    return path, demo.write_file(path, size)


# --- Echo -------------------------------------------------------------------------------------------


def poll_echo_against_itself(directory):
    for first, second in (("engine", "app"), ("app", "engine")):
        more = {first: ("--send", "hello", "--count", "1000"), second: ()}  # which ends when its peer does
        engine = ready("poll-echo", "engine", FACE, *more["engine"])
        app = run("poll-echo", "app", FACE, *more["app"])
        engine.finish(30 * SLOW)
        expect(app, 0, "1000 packets\n")
        expect(engine, 0, "1000 packets\n")


def poll_echo_engine_for_app_min(directory):
    engine = ready("poll-echo", "engine", FACE)
    expect(run("app-min", FACE), 0, "hello\n")
    engine.finish(30 * SLOW)
    expect(engine, 0, "1 packets\n")


def engine_min_for_both_apps(directory):
    engine = ready("engine-min", FACE)
    app = run("app-min", FACE)
    good = app.status == 0 and app.text() == "hello\n"
    tap.check(good, "app-min prints the reply and nothing else", app.text())
    engine.finish(30 * SLOW)
    expect(engine, 0, "ready")
    engine = ready("engine-min", FACE)
    expect(run("poll-echo", "app", FACE, "--send", "x", "--count", "100"), 0, "100 packets\n")
    engine.finish(30 * SLOW)
    expect(engine, 0, "ready")


LOOPS = (("loop-epoll",), ("loop-epoll", "edge"), ("loop-glib",))


def loops_to_test():
    for program, *mode in LOOPS:
        if os.path.exists(os.path.join(BIN, program)):
            yield program, *mode
        else:
            tap.skip(program, "built without GLib")


def other_loops_echo(directory):
    for program, *mode in loops_to_test():
        engine = ready(program, FACE, *mode)
        expect(run("poll-echo", "app", FACE, "--send", "x", "--count", "1000"), 0, "1000 packets\n")
        engine.finish(30 * SLOW)
        expect(engine, 0, "ready")


def wait_for_state(child, states):
    """Until the kernel has the child in one of the states, S for asleep, T for stopped."""
    deadline = time.monotonic() + 10 * SLOW
    while True:
        with open(f"/proc/{child.process.pid}/stat", encoding="ascii", errors="replace") as stat:
            state = stat.read().rpartition(")")[2].split()[0]
        if state in states:
            return
        if time.monotonic() > deadline:
            raise demo.Failure(f"{child.name} is in state {state}, not {states}")
        time.sleep(0.001)


def other_loops_see_an_end_that_comes_with_a_byte(directory):
    """The engine sleeps and is stopped; the app wakes it with a packet, and dies: both stand in one event."""
    for program, *mode in loops_to_test():
        engine = ready(program, FACE, *mode)
        wait_for_state(engine, "S")
        engine.signal(signal.SIGSTOP)
        wait_for_state(engine, "T")
        app = ready("poll-echo", "app", FACE, "--send", "x")
        wait_for_state(app, "S")
        app.signal(signal.SIGKILL)
        app.finish(10 * SLOW)
        engine.signal(signal.SIGCONT)
        engine.finish(30 * SLOW)
        expect(engine, 0, "ready")


def reconnect_outlives_its_engines(directory):
    app = start("reconnect", FACE, "2")
    app.wait_for("reconnect: waiting for an engine: ", 10 * SLOW)
    for number in (1, 2):
        engine = ready("poll-echo", "engine", FACE)
        app.read_until(lambda output: output.count(b"hello\n") == number, 30 * SLOW)
        if number == 1:
            engine.signal(signal.SIGKILL)  # its names stay: the next engine takes them
            engine.finish(10 * SLOW)
            app.wait_for("end of file", 10 * SLOW)
        else:
            engine.terminate()
    app.finish(30 * SLOW)
    lines = app.text().splitlines()
    waits = [at for at, line in enumerate(lines) if "waiting" in line]
    tap.check(waits in ([0], [0, 4]), "reconnect says once that it waits", app.text())
    said = [line for line in lines if "waiting" not in line]
    check_equal((app.status, said), (0, ["reconnect: connected", "hello", "reconnect: end of file"] * 2),
                "reconnect comes back")


def poll_echo_ends_on_a_signal(directory):
    engine = ready("poll-echo", "engine", FACE)
    engine.terminate()
    expect(engine, 0, "0 packets\n")
    tap.check(not names(), "poll-echo removes its names when it is told to end", names())


def engine_min_ends_on_a_signal(directory):
    engine = ready("engine-min", FACE)
    engine.signal(signal.SIGINT)
    engine.finish(10 * SLOW)
    expect(engine, 0, "ready")
    tap.check(not names(), "engine-min removes its names when it is told to end", names())


def unknown_faces_are_named(directory):
    missing = f"{FACE}-missing"
    expect(run("app-min", missing), 1, missing, "No such file or directory")
    expect(run("poll-echo", "app", missing), 1, missing, "No such file or directory")
    expect(run("poll-echo", "engine", "no/such"), 1, "no/such")
    expect(run("engine-min", "no/such"), 1, "no/such")


def unknown_sockets_are_named(directory):
    uri = f"unix://{directory}/missing"
    consumer = run("ndn-consumer", "--forwarder", uri, "--prefix", PREFIX, "--connect-timeout-ms", "100")
    expect(consumer, 1, f"{directory}/missing", "no such file or directory; trying again", "is one running")
    expect(run("ndn-peek", "--forwarder", uri, "/a"), 1, f"{directory}/missing", "no such file or directory")
    poke = run("ndn-poke", "--forwarder", uri, "/a")
    expect(poke, 1, f"{directory}/missing", "no such file or directory")
    check_equal(len(poke.text().splitlines()), 1, "ndn-poke says it in a line")
    expect(run("ndn-forwarder", "--listen", f"{directory}/no/such"), 1, f"{directory}/no/such")
    expect(run("hello-engine", f"{directory}/no/such"), 1, f"{directory}/no/such")
    expect(run("hello-app", "/hello", uri), 1, f"{directory}/missing")


SMALL = ("engine-min", "app-min", "hello-engine", "hello-app", "loop-epoll", "loop-glib", "reconnect", "poll-echo")
LARGE = ("ndn-forwarder", "ndn-producer", "ndn-consumer", "ndn-peek", "ndn-poke")


def usage_is_printed(status, program, *arguments):
    """To stdout and nothing else if it was asked for, to stderr if not."""
    done = subprocess.run([os.path.join(BIN, program), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=30 * SLOW, text=True, check=False)
    says, other = (done.stdout, done.stderr) if status == 0 else (done.stderr, done.stdout)
    good = done.returncode == status and f"usage: {program}" in says and other == ""
    tap.check(good, f"usage, and {status}: {program} {' '.join(arguments)}", done)


def wrong_options_print_usage(directory):
    for program in SMALL + LARGE:
        if not os.path.exists(os.path.join(BIN, program)):
            tap.skip(program, "built without GLib")
            continue
        usage_is_printed(0, program, "--help")
        usage_is_printed(2, program, "--nonsense")
        usage_is_printed(2, program, "-x")
        usage_is_printed(2, program, "-")
        if program not in ("engine-min", "app-min", "hello-app", "reconnect"):
            usage_is_printed(2, program)
    usage_is_printed(0, "ndn-peek", "--verbose", "--help")
    usage_is_printed(2, "poll-echo", "engine", "-")
    usage_is_printed(2, "loop-epoll", FACE, "--help")
    usage_is_printed(2, "reconnect", FACE, "two")
    usage_is_printed(2, "hello-app", "/%zz")
    expect(run("ndn-forwarder", "--listen", f"{directory}/x", "--cs-bytes", "1k"), 2, "--cs-bytes 1k: must be a number")
    expect(run("ndn-forwarder", "--listen", f"{directory}/x", "--mode", "9"), 2, "--mode 9: must be permissions in octal")
    expect(run("poll-echo", "engine", FACE, "--mode", "999"), 2, "--mode 999: must be a number in octal")
    expect(run("poll-echo", "engine", FACE, "--uid", "4294967296"), 2, "--uid 4294967296: must be a number")
    expect(run("ndn-consumer", "--prefix", "/a/sha256digest=00"), 2, "/a/sha256digest=00 cannot be used")
    expect(run("ndn-forwarder", "--listen", f"{directory}/x", "--uplink", "carrier-pigeon://x"), 1, "carrier-pigeon://x")


def rights_are_those_that_were_asked_for(directory):
    uid, gid = (65534, 65533) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    rights = ("--mode", "0660", "--uid", str(uid), "--gid", str(gid))
    network = Network(directory, *rights)
    engine = ready("poll-echo", "engine", FACE, *rights)
    for path in (network.path, f"/dev/shm/ndn-shm-{FACE}", f"/tmp/.ndn-{FACE}.a2e.pipe", f"/tmp/.ndn-{FACE}.e2a.pipe"):
        found = os.stat(path)
        got = (oct(found.st_mode & 0o777), found.st_uid, found.st_gid)
        tap.check(got == ("0o660", uid, gid), f"{os.path.basename(path)} has the rights that were asked for", got)
    expect(run("poll-echo", "app", FACE, "--send", "x", "--count", "10", "--uid", str(uid)), 0, "10 packets\n")
    engine.finish(10 * SLOW)
    network.stop()
    for bad in (("--mode", "0888"), ("--mode", "1777"), ("--uid", "root"), ("--gid", "4294967295")):
        expect(run("ndn-forwarder", "--listen", f"{directory}/x", *bad), 2, bad[1])
    expect(run("poll-echo", "engine", FACE, "--mode", "8"), 2, "usage: poll-echo")
    expect(run("poll-echo", "engine", FACE, "--mode", "1777"), 1, "mode")


# --- Fetching ---------------------------------------------------------------------------------------


def the_demo(directory):
    def run_demo(programs):
        argv = [sys.executable, demo.__file__, "--bin", programs, "--size-mib", "4"]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=120 * SLOW, check=False)
        return done.returncode, done.stdout

    status, output = run_demo(BIN)
    good = status == 0 and "demo: PASS" in output and "525 segments" in output
    tap.check(good, "the demo passes with 4 MiB", output)
    status, output = run_demo(directory)
    tap.check(status == 1 and "demo: FAIL" in output, "the demo fails without its programs", output)


def files_of_every_shape(directory):
    network = Network(directory)
    for size in (0, 1, 8000, 8001, 1000000):
        path, sha256 = write_file(directory, size)
        producer = network.serve(path, prefix=f"{PREFIX}/{size}")
        output = os.path.join(directory, "output")
        consumer = network.fetch("--output", output, "--expect-sha256", sha256, "--window", "7",
                                 prefix=f"{PREFIX}/{size}")
        expect(consumer, 0, f"{size} bytes, {max(1, -(-size // 8000))} segments", sha256)
        with open(path, "rb") as wrote, open(output, "rb") as got:
            tap.check(wrote.read() == got.read(), f"{size} bytes arrive as they were")
        producer.terminate()
        expect(producer, 0, "CPU")
    network.stop()


def two_consumers_and_the_cache(directory):
    network = Network(directory, "--cs-bytes", "100000000")
    path, sha256 = write_file(directory, 4000000)
    producer = network.serve(path, "--segment-bytes", "1000")
    both = [network.app("ndn-consumer", "--prefix", PREFIX, "--expect-sha256", sha256, *more) for more in
            ((), ("--no-shm",))]
    for consumer in both:
        consumer.finish(60 * SLOW)
        expect(consumer, 0, "4000 segments")
    producer.terminate()
    expect(producer, 0, "CPU")
    expect(network.fetch("--expect-sha256", sha256), 0, "4000 segments", " 0 retransmissions")
    network.stop()


def every_way_to_the_forwarder(directory):
    """Shared memory where both want it, else the socket; each with each, and each says over what."""
    path, sha256 = write_file(directory, 1000000)
    shm, stream = "connected over shared memory", "connected over the socket"
    for forwarder in ((), ("--no-shm",)):
        network = Network(directory, *forwarder)
        for first, second in (((), ()), ((), ("--no-shm",)), (("--no-shm",), ())):
            producer = network.serve(path, "-v", *first)
            consumer = network.fetch("-v", "--expect-sha256", sha256, *second)
            expect(consumer, 0, stream if forwarder or second else shm, sha256)
            producer.terminate()
            expect(producer, 0, stream if forwarder or first else shm)
        network.stop()


def wrong_content_is_refused(directory):
    network = Network(directory)
    path, sha256 = write_file(directory, 20000)
    producer = network.serve(path)
    expect(network.fetch("--expect-sha256", "0" * 64), 1, "not what --expect-sha256 says", sha256)
    network.stop(producer)


def no_route_and_no_answer(directory):
    network = Network(directory)
    expect(network.fetch(prefix="/elsewhere"), 1, "/elsewhere: the forwarder has no route for this name")
    peer = network.peer()
    check_equal(peer.register(PREFIX), 200, "a prefix may be registered by hand")
    expect(network.fetch("--lifetime-ms", "50"), 1, PREFIX + ": no answer", "is ndn-producer running")
    network.stop()


def answers_that_are_no_file(directory):
    """No version, and a content type that says that there is nothing: told from silence."""
    network = Network(directory)
    for wrong in (raw.data(PREFIX + "/x", b"content"),
                  raw.data(f"{PREFIX}/v=1/seg=0", b"none", content_type=3, final="seg=0")):
        peer = network.peer()
        peer.register(PREFIX)
        consumer = network.app("ndn-consumer", "--prefix", PREFIX, "--lifetime-ms", "50")
        while (packet := peer.read(0.5 * SLOW)) is not None:
            if packet.uri == PREFIX:
                peer.send(wrong)
        consumer.finish(30 * SLOW)
        expect(consumer, 1, PREFIX + ": no answer", "packets that are no segments of a file")
        peer.close()
    network.stop()


def any_answer_tells_the_version(directory):
    """A store may have any segment for the prefix, or metadata."""
    network = Network(directory)
    content = [b"a" * 10, b"b" * 10, b"c" * 10]
    sha256 = hashlib.sha256(b"".join(content)).hexdigest()
    segments = {raw.name(f"{PREFIX}/v=7/seg={n}"): raw.data(f"{PREFIX}/v=7/seg={n}", content[n], final="seg=2")
                for n in range(3)}
    metadata = raw.data(f"{PREFIX}/32=metadata/v=9/seg=0", raw.name(f"{PREFIX}/v=7"), final="seg=0")
    for first, prefix in ((segments[raw.name(f"{PREFIX}/v=7/seg=1")], PREFIX), (metadata, PREFIX),
                          (None, f"{PREFIX}/v=7")):
        peer = network.peer()
        peer.register(PREFIX)
        consumer = network.app("ndn-consumer", "--prefix", prefix, "--expect-sha256", sha256)
        asked = 0
        while asked < (3 if first is None else 4) and (packet := peer.read()) is not None:
            peer.send(segments.get(packet.name, first))
            asked += 1
        consumer.finish(30 * SLOW)
        expect(consumer, 0, "30 bytes, 3 segments", sha256)
        peer.close()
        network.stop()
        network.start()
    path, sha256 = write_file(directory, 20000)
    producer = network.serve(path)
    peer = network.peer()
    peer.send(raw.interest(f"{PREFIX}/32=metadata", nonce=1, prefix=True, fresh=True))
    got = peer.read()
    versioned = got.content
    tap.check(got.uri.startswith(f"{PREFIX}/metadata/") and versioned.startswith(raw.name(PREFIX)[2:], 2),
              "ndn-producer tells the versioned name", got.whole)
    peer.send(raw.tlv(raw.INTEREST, raw.tlv(raw.NAME, raw.elements(versioned)[0][1] + raw.component("seg=2")),
                      raw.tlv(0x0A, b"1234")))
    check_equal(len(peer.read().content), 4000, "and has the segments of that")
    network.stop(producer)


def garbage_is_dropped(directory):
    network = Network(directory)
    path, sha256 = write_file(directory, 20000)
    producer = network.serve(path)
    peer = network.peer()
    check_equal(forwarded_after(network, peer, [raw.tlv(9, b"this is no packet")]), [], "garbage has no answer")
    expect(network.fetch("--expect-sha256", sha256), 0, sha256)
    network.stop(producer)
    tap.check("1 broken" in network.forwarder.text(), "a broken packet is counted", network.forwarder.text())


# --- What a forwarder owes ----------------------------------------------------------------------------


def tokens_go_back_to_who_sent_them(directory):
    network = Network(directory)
    producer, consumer, bare = network.peer(), network.peer(), network.peer()
    producer.register("/p")
    token = bytes(range(6))
    consumer.send(raw.lp(raw.interest("/p/x", nonce=1), token))
    asked = producer.read()
    check_equal((asked.uri, asked.token), ("/p/x", None), "a token is not forwarded")
    bare.send(raw.interest("/p/x", nonce=2))
    check_equal(before_nack(bare), [], "an Interest is aggregated")
    producer.send(raw.data("/p/x", b"content", 60000))
    got = consumer.read()
    check_equal((got.kind, got.token, got.content), (raw.DATA, token, b"content"), "Data comes back with the token")
    got = bare.read()
    check_equal((got.wrapped, got.content), (False, b"content"), "and bare to who sent none")
    consumer.send(raw.lp(raw.interest("/p/x", nonce=3), b"\1"))
    check_equal(consumer.read().token, b"\1", "the store's Data has the new token")
    consumer.send(raw.interest("/p/x", nonce=4))
    check_equal(consumer.read().wrapped, False, "and none where there was none")
    consumer.send(raw.lp(raw.interest("/none", nonce=5), b"\2"))
    got = consumer.read()
    check_equal((got.nack, got.token, got.uri), (raw.NO_ROUTE, b"\2", "/none"), "a Nack has it, too")
    producer.send(raw.lp(raw.data("/unasked"), b"\3"))
    check_equal(before_nack(producer), [], "Data with a token that nobody asked for goes nowhere")
    network.stop()


def nacks_of_apps_go_back(directory):
    network = Network(directory)
    producer, consumer = network.peer(), network.peer()
    producer.register("/p")
    asking = raw.interest("/p/x", nonce=1)
    consumer.send(raw.lp(asking, b"\7"))
    producer.read()
    producer.send(raw.tlv(raw.LP, raw.tlv(0x320, raw.uint(0x321, 50)), raw.tlv(0x50, asking)))
    got = consumer.read()
    check_equal((got.nack, got.token, got.uri), (50, b"\7", "/p/x"), "with their reason, to who waits")
    network.stop()


def hop_limits_count_down(directory):
    network = Network(directory)
    producer, consumer = network.peer(), network.peer()
    producer.register("/p")
    consumer.send(raw.interest("/p/2", nonce=1, hop_limit=2))
    check_equal(producer.read().hop_limit, 1, "a hop limit is one less")
    check_equal(forwarded_after(network, consumer, [raw.interest("/p/0", nonce=2, hop_limit=0)]), [],
                "an Interest at its limit is dropped")
    consumer.send(raw.interest("/p/last", nonce=3))
    check_equal(producer.read().uri, "/p/last", "and not forwarded")
    network.stop()


def dead_apps_are_forgotten(directory):
    network = Network(directory)
    first, second, consumer, other = (network.peer() for _ in range(4))
    for producer in (first, second):
        check_equal(producer.register("/p"), 200, "two may register the same prefix")
    consumer.send(raw.interest("/p/x", nonce=1, lifetime_ms=60000))
    check_equal(second.read().uri, "/p/x", "the younger is asked")
    second.close()
    network.forwarder.wait_for("end of file", 10 * SLOW)
    other.send(raw.interest("/p/x", nonce=2, lifetime_ms=60000))
    check_equal(first.read().uri, "/p/x", "when it has died the next is asked for the same")
    first.send(raw.data("/p/x"))
    check_equal(other.read().uri, "/p/x", "and answers")
    consumer.send(raw.interest("/p/y", nonce=3, lifetime_ms=60000))
    first.read()
    consumer.close()
    text = network.forwarder.text()
    network.forwarder.read_until(lambda output: output.count(b"end of file") > text.count("end of file"), 10 * SLOW)
    other.send(raw.interest("/p/y", nonce=4, lifetime_ms=60000))
    check_equal(first.read().uri, "/p/y", "what only a dead app waited for is asked anew")
    first.close()
    network.forwarder.read_until(lambda output: output.count(b"end of file") > text.count("end of file") + 1, 10 * SLOW)
    other.send(raw.interest("/p/z", nonce=5))
    check_equal(other.read().nack, raw.NO_ROUTE, "no route stays")
    network.stop()


def routes_go_with_the_app(directory):
    network = Network(directory)
    path, sha256 = write_file(directory, 20000)
    for options in ((), ("--no-shm",)):
        producer = network.serve(path, *options)
        expect(network.fetch("--expect-sha256", sha256), 0, sha256)
        seen = network.forwarder.output.count(b"end of file")
        producer.signal(signal.SIGKILL)
        producer.reap()
        network.forwarder.read_until(lambda output: output.count(b"end of file") > seen, 10 * SLOW)
        expect(network.run("ndn-peek", "--timeout", "20000", PREFIX + "/new"), 4, "no route")
    peer = network.peer()
    check_equal(peer.register("/short", raw.uint(0x6D, 50)), 200, "a route may have an end")
    deadline = time.monotonic() + 20 * SLOW
    while peer.register("/other") == 200 and time.monotonic() < deadline:
        other = network.run("ndn-peek", "--timeout", "50", "/short/x")
        if other.status == 4:
            break
    expect(other, 4, "no route")
    check_equal(peer.command("rib/unregister", raw.name("/other")), 200, "a route may be taken back")
    expect(network.run("ndn-peek", "--timeout", "20000", "/other/x"), 4, "no route")
    check_equal(peer.command("rib/unregister", raw.name("/other")), 200, "twice")
    check_equal(peer.command("rib/register"), 400, "a route needs a name")
    check_equal(peer.command("rib/announce", raw.name("/a")), 404, "there are commands that are not known here")
    check_equal(peer.register("/a" * 33), 414, "a prefix may be too long")
    network.stop()


def a_signal_prints_the_faces(directory):
    network = Network(directory)
    path, sha256 = write_file(directory, 20000)
    producer = network.serve(path)
    expect(network.fetch("--expect-sha256", sha256), 0, sha256)
    socket = network.app("ndn-producer", "--prefix", "/s", "--file", path, "--no-shm")
    socket.wait_for("registered", 10 * SLOW)
    network.forwarder.signal(signal.SIGUSR1)
    network.forwarder.wait_for("s CPU", 10 * SLOW)
    found = re.findall(r"face \d+ of process (\d+) by ([a-z ]+): in (\d+) packets, \d+ bytes; out (\d+) packets, \d+ bytes; "
                       r"\d+ queued, \d+ drops, (\d+ routes?); \d+ sleeps, \d+ times woken, \d+ times full", network.forwarder.text())
    carriers = sorted((carrier, pid) for pid, carrier, _, _, routes in found if routes == "1 route")
    want = [("shared memory", str(producer.process.pid)), ("socket", str(socket.process.pid))]
    check_equal(carriers, want, "SIGUSR1 prints each face")
    busy = max(found, key=lambda one: int(one[3]))
    tap.check(busy[1] == "shared memory" and int(busy[2]) > 1 and int(busy[3]) > 1, "with what it has carried", found)
    routes = sorted(re.findall(r"^ndn-forwarder: route (\S+) to face \d+ of process (\d+)$", network.forwarder.text(), re.MULTILINE))
    check_equal(routes, sorted(2 * [(PREFIX, want[0][1]), ("/s", want[1][1])]), "and its routes, as when they came")
    network.stop(producer, socket)


def too_large_a_packet_is_dropped(directory):
    network = Network(directory)
    content = os.urandom(20000)
    poke = subprocess.Popen([os.path.join(BIN, "ndn-poke"), "--forwarder", network.uri, "--mtu", "65536", "/big"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stalled.append(poke)
    poke.stdin.write(content)
    poke.stdin.close()
    network.forwarder.wait_for("route /big", 10 * SLOW)
    peer = network.peer()
    peer.send(raw.interest("/big", nonce=1))
    poke.wait(timeout=10 * SLOW)
    check_equal(before_nack(peer), [], "Data too large for a face is dropped, and the face lives")
    peek = network.run("ndn-peek", "--payload", "--mtu", "65536", "/big")
    check_equal((peek.status, peek.output == content), (0, True), "a face with larger slots gets it, from the store")
    network.stop()
    tap.check(" 1 too large" in network.forwarder.text(), "and counted", network.forwarder.text())


def who_does_not_read_holds_up_nobody(directory):
    """It asks for 32 MB out of the store: a part waits for it, the rest is dropped."""
    network = Network(directory, "--cs-bytes", "100000000")
    path, sha256 = write_file(directory, 32000000)
    producer = network.serve(path)
    expect(network.fetch("--expect-sha256", sha256), 0, "4000 segments")
    peer = network.peer()
    peer.send(raw.interest(f"{PREFIX}/32=metadata", nonce=1, prefix=True, fresh=True))
    versioned = raw.elements(peer.read().content)[0][1]
    for n in range(4000):
        peer.send(raw.tlv(raw.INTEREST, raw.tlv(raw.NAME, versioned, raw.component(f"seg={n}"))))
    expect(network.fetch("--expect-sha256", sha256), 0, "4000 segments")
    peer.close()
    network.forwarder.read_until(lambda output: re.search(rb"unix://[^;]*; [0-9]{4} drops", output), 10 * SLOW)
    network.stop(producer)


def a_face_that_cannot_be_made(directory):
    network = Network(directory, limit=(resource.RLIMIT_NOFILE, (40, 40)))
    path, sha256 = write_file(directory, 20000)
    many = [network.peer() for _ in range(60)]
    check_equal(many[0].register("/many"), 200, "more connections than it has descriptors for do it no harm")
    for peer in many:
        peer.close()
    first = network.peer()
    code = first.command("faces/create", raw.tlv(0x72, b"shm://huge"), raw.uint(0x89, 1 << 30))
    tap.check(code is not None and code >= 400, "a face too large is refused", code)
    check_equal(first.register("/still"), 200, "the connection goes on")
    first.close()
    producer = network.serve(path)
    expect(network.fetch("--expect-sha256", sha256), 0, sha256)
    network.stop(producer)


def nobody_reads_its_messages(directory):
    """A pipe without a reader, and a descriptor that is closed, which the first socket must not get."""
    path, sha256 = write_file(directory, 20000)
    for closed in (False, True):
        network = Network.__new__(Network)
        network.path = os.path.join(directory, f"closed-{closed}.sock")
        network.uri = f"unix://{network.path}"
        argv = [os.path.join(BIN, "ndn-forwarder"), "--listen", network.path, "--verbose"]
        forwarder = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                     preexec_fn=(lambda: os.close(1)) if closed else None)
        stalled.append(forwarder)
        forwarder.stdout.close()
        deadline = time.monotonic() + 10 * SLOW
        while not os.path.exists(network.path) and time.monotonic() < deadline:
            time.sleep(0.01)
        producer = network.serve(path)
        expect(network.fetch("--expect-sha256", sha256), 0, sha256)
        producer.terminate()
        peer = network.peer()
        peer.send(raw.interest("/none", nonce=1))
        got = peer.read()
        check_equal(got and got.nack, raw.NO_ROUTE, "a forwarder without stdout forwards")
        forwarder.terminate()
        errors = forwarder.communicate(timeout=10 * SLOW)[1]
        check_equal((forwarder.returncode, errors), (0, b""), "and ends in order")
        tap.check(not os.path.exists(network.path), "and removes its socket")


def one_forwarder_for_a_socket(directory):
    network = Network(directory)
    expect(run("ndn-forwarder", "--listen", network.path), 1, network.path, "address already in use")
    check_equal(network.peer().register("/a"), 200, "the first goes on")
    network.kill()
    tap.check(os.path.exists(network.path), "one that is killed leaves its socket")
    network.start()
    check_equal(network.peer().register("/a"), 200, "which its successor takes over")
    network.stop()


# --- Two forwarders -----------------------------------------------------------------------------------


def two_forwarders(directory):
    path, sha256 = write_file(directory, 1000000)
    for options in ((), ("--no-shm",)):
        far = Network(directory, *options, tag="far")
        near = Network(directory, *options, "--uplink", far.uri, tag="near")
        near.forwarder.wait_for("is there", 10 * SLOW)
        near.forwarder.signal(signal.SIGUSR1)
        near.forwarder.wait_for("route / to the uplink", 10 * SLOW)
        below, above = near.serve(path, prefix="/below"), far.serve(path, prefix="/above")
        far.forwarder.wait_for("route /below", 10 * SLOW)
        expect(near.fetch("--expect-sha256", sha256, prefix="/above"), 0, sha256)
        expect(far.fetch("--expect-sha256", sha256, prefix="/below"), 0, sha256)
        expect(near.run("ndn-peek", "--timeout", "20000", "/nowhere"), 4, "no route")
        peer = near.peer()
        peer.send(raw.interest("/localhost/x", nonce=1))
        check_equal(peer.read().nack, raw.NO_ROUTE, "/localhost does not leave a forwarder")
        far.kill()
        near.forwarder.wait_for("trying again", 10 * SLOW)
        expect(near.run("ndn-peek", "--timeout", "20000", "/nowhere"), 4, "no route")
        far.start(*options)
        above.read_until(lambda output: True, 0)
        far.forwarder.wait_for("route /below", 20 * SLOW)
        far.forwarder.wait_for("route /above", 20 * SLOW)
        expect(far.fetch("--expect-sha256", sha256, prefix="/below"), 0, sha256)
        expect(near.fetch("--expect-sha256", sha256, prefix="/above"), 0, sha256)
        below.terminate()
        expect(below, 0, "CPU")
        deadline = time.monotonic() + 10 * SLOW
        while (gone := far.run("ndn-peek", "--timeout", "50", "/below/new")).status != 4:
            if time.monotonic() > deadline:
                break
        expect(gone, 4, "no route")
        near.stop(above)
        far.stop()


def no_token_goes_up(directory):
    """The uplink is moved by hand: it has no shared memory, and sees every byte."""
    listener = raw.Listener(os.path.join(directory, "up.sock"), 10 * SLOW)
    peers.append(listener)
    network = Network(directory, "--uplink", f"unix://{directory}/up.sock")
    up = listener.accept()
    peers.append(up)
    peer = network.peer()
    peer.register("/localhost/app")
    peer.register("/p")
    seen = raw.answer_commands(up, lambda packet: packet.components[2:4] == [b"rib", b"register"])
    tap.check(seen is not None and raw.name("/p") in seen.components[4],
              "what is registered here is registered there, but nothing local", seen and seen.components)
    up.pending = seen.whole + up.pending
    network.forwarder.wait_for("is there", 10 * SLOW)
    peer.send(raw.interest("/localhost/x", nonce=3))
    check_equal(peer.read().nack, raw.NO_ROUTE, "what is local has no route up")
    peer.send(raw.lp(raw.interest("/up/x", nonce=1), b"\1\2\3\4"))
    asked = raw.answer_commands(up, lambda packet: packet.components[:2] != [b"localhost", b"nfd"])
    tap.check(asked is not None and (asked.uri, asked.token) == ("/up/x", None), "no token goes up",
              asked and asked.whole)
    up.send(raw.lp(raw.data("/up/x", b"content")))
    got = peer.read()
    check_equal((got.token, got.content), (b"\1\2\3\4", b"content"), "and it comes back to who sent it")
    up.send(raw.interest("/localhost/app/x", nonce=4))
    up.send(raw.lp(raw.interest("/p/y", nonce=2), b"\5"))
    asked = peer.read()
    check_equal((asked.uri, asked.wrapped), ("/p/y", False), "what comes down is forwarded bare")
    peer.close()
    seen = raw.answer_commands(up, lambda packet: packet.components[2:4] == [b"rib", b"unregister"])
    tap.check(seen is not None, "and taken back when its app has gone")
    network.stop()


# --- Small programs -----------------------------------------------------------------------------------


def poke(network, name, content, *options):
    child = subprocess.Popen([os.path.join(BIN, "ndn-poke"), "--forwarder", network.uri, *options, name],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stalled.append(child)
    try:
        child.stdin.write(content)
        child.stdin.close()
    except BrokenPipeError:  # it knew before it read
        pass
    child.stdin = None
    return child


def peek_and_poke(directory):
    network = Network(directory)
    for options in ((), ("--no-shm",)):
        name = "/greeting" + "".join(options)
        poking = poke(network, name, b"hello\n", "--freshness", "60000", *options)
        network.forwarder.wait_for(f"route {name} to", 10 * SLOW)
        peek = network.run("ndn-peek", "--payload", *options, name)
        expect(peek, 0, "hello\n")
        _, errors = poking.communicate(timeout=10 * SLOW)
        check_equal((poking.returncode, errors), (0, b""), "ndn-poke ends when it was asked")
        check_equal(peek.text(), "hello\n", "ndn-peek prints the content and nothing else")
    closed = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", os.path.join(BIN, "ndn-peek"), "--forwarder", network.uri,
                             "/greeting"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=30 * SLOW, check=False)
    check_equal((closed.returncode, closed.stderr), (1, b"ndn-peek: stdout: Bad file descriptor\n"),
                "ndn-peek with its output closed says so")
    peek = network.run("ndn-peek", "--fresh", "/greeting")
    check_equal(raw.Packet(peek.output).content, b"hello\n", "or the packet")
    peek = network.run("ndn-peek", "--timeout", "20000", "--hop-limit", "0", "/greeting")
    network.stop()
    expect(peek, 3, "no answer")


def peek_and_poke_say_what_is_wrong(directory):
    network = Network(directory)
    peer = network.peer()
    peer.register("/silent")
    expect(network.run("ndn-peek", "--timeout", "100", "/silent"), 3, "/silent: no answer")
    expect(network.run("ndn-peek", "--lifetime", "100", "/silent"), 3, "/silent: no answer")
    expect(network.run("ndn-peek", "/none"), 4, "no route")
    expect(network.run("ndn-peek"), 2, "usage")
    expect(network.run("ndn-peek", "/"), 2, "usage")
    for content, options, status, says in ((b"x", ("--timeout", "100"), 3, b"nobody asked"),
                                           (bytes(70000), (), 1, b"too much"),
                                           (b"x", ("--mtu", "no"), 2, b"usage")):
        poking = poke(network, "/poke", content, *options)
        _, errors = poking.communicate(timeout=10 * SLOW)
        tap.check(poking.returncode == status and says in errors, f"ndn-poke ends with {status}", errors)
    answered = network.app("ndn-peek", "--prefix", "--payload", "/silent")
    while (asked := peer.read()) is not None and (0x21, b"") not in asked.parts:
        pass
    peer.send(raw.data("/silent/x", b"no more"))
    answered.finish(10 * SLOW)
    expect(answered, 0, "no more")
    network.stop()


def hello_engine_and_hello_app(directory):
    path = os.path.join(directory, "hello.sock")
    engine = ready("hello-engine", path)
    app = ready("hello-app", "/hello", f"unix://{path}")
    engine.wait_for("hello\n", 10 * SLOW)
    engine.signal(signal.SIGINT)
    engine.finish(10 * SLOW)
    expect(engine, 0, "hello\n", "shm://app-")
    app.finish(10 * SLOW)
    expect(app, 1, "ready", "end of file")
    tap.check(not os.path.exists(path), "hello-engine removes its socket")
    network = Network(directory)
    app = ready("hello-app", "/greeting", network.uri)
    network.forwarder.wait_for("route /greeting", 10 * SLOW)
    expect(network.run("ndn-peek", "--payload", "/greeting/you"), 0, "hello")
    network.stop()
    app.finish(10 * SLOW)
    expect(app, 1, "ready", "end of file")


# --- Half-way ---------------------------------------------------------------------------------------


def stalled_consumer(network, *options):
    """A consumer in the middle of a file: its output is a pipe that is full."""
    argv = [os.path.join(BIN, "ndn-consumer"), "--forwarder", network.uri, "--prefix", PREFIX, "--output", "-",
            *options]
    consumer = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    stalled.append(consumer)
    consumer.stdout.read(1)  # it is under way
    return consumer


def drain(consumer):
    out, err = consumer.communicate(timeout=60 * SLOW)
    return len(out), err.decode()


def forwarder_killed_halfway_and_started_again(directory):
    path, sha256 = write_file(directory, 4 * demo.MIB)
    for options in ((), ("--no-shm",)):
        network = Network(directory)
        producer = network.serve(path, *options)
        consumer = stalled_consumer(network, "--expect-sha256", sha256, *options)
        network.kill()
        producer.wait_for("trying again", 10 * SLOW)
        network.start()
        network.forwarder.wait_for(f"route {PREFIX}", 20 * SLOW)
        size, errors = drain(consumer)
        tap.check(consumer.returncode == 0 and size == 4 * demo.MIB - 1 and "trying again" in errors,
                  "a consumer gets the rest from a forwarder that was started again",
                  f"status {consumer.returncode}, {size} bytes\n{errors}")
        network.stop(producer)


def producer_comes_back_after_the_consumer(directory):
    """To a forwarder that was started again: no route for a while is no end then."""
    path, sha256 = write_file(directory, 4 * demo.MIB)
    network = Network(directory)
    producer = network.serve(path)
    consumer = stalled_consumer(network, "--expect-sha256", sha256)
    network.kill()
    producer.signal(signal.SIGKILL)
    producer.reap()
    network.start()
    drained = []
    drainer = threading.Thread(target=lambda: drained.append(drain(consumer)))
    drainer.start()
    try:
        network.forwarder.wait_for(f"process {consumer.pid}: open", 20 * SLOW)
        producer = network.serve(path)
    finally:
        drainer.join()
    tap.check(consumer.returncode == 0 and drained[0][0] == 4 * demo.MIB - 1, "the consumer waits for it", drained)
    network.stop(producer)


def forwarder_that_does_not_come_back(directory):
    path, _ = write_file(directory, 4 * demo.MIB)
    network = Network(directory)
    producer = network.serve(path)
    consumer = stalled_consumer(network, "--connect-timeout-ms", "300")
    network.kill()
    size, errors = drain(consumer)
    tap.check(consumer.returncode == 1 and "no forwarder" in errors and "incomplete" in errors,
              "a consumer says that the forwarder is gone", f"status {consumer.returncode}\n{errors}")
    tap.check(0 < size < 4 * demo.MIB, "the consumer was half-way", size)
    producer.terminate()
    expect(producer, 0, "trying again")


def apps_killed_halfway_come_back(directory):
    network = Network(directory)
    path, sha256 = write_file(directory, 4 * demo.MIB)
    producer = network.serve(path)
    consumer = stalled_consumer(network)
    consumer.kill()
    drain(consumer)
    producer.signal(signal.SIGKILL)
    producer.reap()
    producer = network.serve(path)
    expect(network.fetch("--expect-sha256", sha256), 0, sha256)
    network.stop(producer)


def window_wider_than_the_rings(directory):
    for store in ("0", "1000000"):  # every packet is dropped by the store, or most are
        network = Network(directory, "--cs-bytes", store)
        path, sha256 = write_file(directory, 4 * demo.MIB)
        producer = network.serve(path)
        for options in ((), ("--no-shm",)):
            expect(network.fetch("--window", "4000", "--expect-sha256", sha256, *options), 0, sha256)
        network.stop(producer)


def forwarder_ends_under_load(directory):
    network = Network(directory)
    path, _ = write_file(directory, 4 * demo.MIB)
    producer = network.serve(path)
    consumer = stalled_consumer(network, "--connect-timeout-ms", "100")
    network.forwarder.signal(signal.SIGINT)
    network.forwarder.finish(10 * SLOW)
    expect(network.forwarder, 0, "interests")
    tap.check(not names() and not os.path.exists(network.path), "a forwarder removes its names at once", names())
    producer.wait_for("trying again", 10 * SLOW)
    producer.terminate()
    drain(consumer)
    tap.check(consumer.returncode == 1, "a consumer of it fails")


TESTS = (poll_echo_against_itself, poll_echo_engine_for_app_min, engine_min_for_both_apps, other_loops_echo,
         other_loops_see_an_end_that_comes_with_a_byte, reconnect_outlives_its_engines, poll_echo_ends_on_a_signal,
         rights_are_those_that_were_asked_for, engine_min_ends_on_a_signal, unknown_faces_are_named, unknown_sockets_are_named,
         wrong_options_print_usage,
         the_demo, files_of_every_shape, two_consumers_and_the_cache, every_way_to_the_forwarder,
         wrong_content_is_refused, no_route_and_no_answer, answers_that_are_no_file, any_answer_tells_the_version,
         garbage_is_dropped, tokens_go_back_to_who_sent_them, nacks_of_apps_go_back, hop_limits_count_down,
         dead_apps_are_forgotten, routes_go_with_the_app, a_signal_prints_the_faces, too_large_a_packet_is_dropped,
         who_does_not_read_holds_up_nobody, a_face_that_cannot_be_made, nobody_reads_its_messages,
         one_forwarder_for_a_socket, two_forwarders, no_token_goes_up, peek_and_poke, peek_and_poke_say_what_is_wrong,
         hello_engine_and_hello_app, forwarder_killed_halfway_and_started_again,
         producer_comes_back_after_the_consumer, forwarder_that_does_not_come_back, apps_killed_halfway_come_back,
         window_wider_than_the_rings, forwarder_ends_under_load)


def end_children():
    for peer in peers:
        peer.close()
    for child in stalled:
        if child.poll() is None:
            child.kill()
            child.communicate()
    for child in reversed(started):
        child.end()
    peers.clear()
    stalled.clear()


for test in TESTS:
    if len(sys.argv) > 2 and test.__name__ not in sys.argv[2:]:
        continue
    print(f"# {test.__name__}", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="uvface-examples-") as where:
            test(where)
    except (demo.Failure, OSError, AttributeError, subprocess.SubprocessError) as failure:
        tap.check(False, f"{test.__name__} runs to its end", repr(failure))
    finally:
        end_children()
    tap.check(not names(), f"{test.__name__} leaves nothing behind", names())
    started.clear()
sys.exit(tap.done())
