#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the built examples (argv[1] is their directory) as a reader of the documentation would, and compares
what they print: every role against every other, the demo, and what goes wrong in practice: a name that does
not exist, a wrong hash, no route, no producer, a forwarder killed half-way, an app that dies and comes back.
Half-way is made, not timed: a consumer that writes to a pipe nobody reads stops there. Proves at the end that
no name is left in /dev/shm and /tmp. Does not measure."""
import glob
import os
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "docs", "examples"))
import demo  # noqa: E402  (for its Program: a child, its output, deadlines)
from tap import Tap  # noqa: E402

BIN = os.path.abspath(sys.argv[1])
SLOW = int(os.environ.get("UVFACE_SLOW", "1"))
FACE = f"ex-{os.getpid()}"
PREFIX = "/demo/file"
tap = Tap()
started = []
stalled = []


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
    return glob.glob(f"/dev/shm/ndn-shm-{FACE}*") + glob.glob(f"/tmp/.ndn-{FACE}*")


class Network:
    """A forwarder with faces -a and -b for consumers and -p for the producer, which may serve a file."""

    def __init__(self, *options):
        self.a, self.b, self.p = (f"{FACE}-{tag}" for tag in "abp")
        self.forwarder = ready("ndn-forwarder", "--face", self.a, "--face", self.b, "--face", self.p,
                               "--route", f"/demo={self.p}", "--stats", *options)

    def serve(self, path, *options):
        producer = start("ndn-producer", "--face", self.p, "--prefix", PREFIX, "--file", path, *options)
        producer.wait_for("connected", 10 * SLOW)
        return producer

    def stop(self, *others):
        for child in (*others, self.forwarder):
            child.terminate()
            expect(child, 0, "CPU")


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


def poll_echo_ends_on_a_signal(directory):
    engine = ready("poll-echo", "engine", FACE)
    engine.terminate()
    expect(engine, 0, "0 packets\n")
    tap.check(not names(), "poll-echo removes its names when it is told to end", names())


def unknown_faces_are_named(directory):
    missing = f"{FACE}-missing"
    expect(run("app-min", missing), 1, missing, "No such file or directory")
    expect(run("poll-echo", "app", missing), 1, missing, "No such file or directory")
    expect(run("poll-echo", "engine", "no/such"), 1, "no/such")
    expect(run("engine-min", "no/such"), 1, "no/such")
    consumer = run("ndn-consumer", "--face", missing, "--prefix", PREFIX, "--connect-timeout-ms", "100")
    expect(consumer, 1, missing, "is a forwarder running")


def wrong_options_print_usage(directory):
    for program in ("ndn-forwarder", "ndn-producer", "ndn-consumer", "poll-echo"):
        expect(run(program, "--nonsense"), 2, "usage: " + program)
    expect(run("ndn-forwarder", "--face", FACE, "--route", "/a=other"), 2, "no --face has that name")
    expect(run("ndn-forwarder", "--face", FACE, "--route", f"/a={FACE}", "--route", f"/a={FACE}"), 2, "twice")
    expect(run("ndn-forwarder", "--face", "no/such"), 1, "no/such")


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
    for size in (0, 1, 8000, 8001, 1000000):
        network = Network()
        path, sha256 = write_file(directory, size)
        producer = network.serve(path)
        output = os.path.join(directory, "output")
        consumer = run("ndn-consumer", "--face", network.a, "--prefix", PREFIX, "--output", output,
                       "--expect-sha256", sha256, "--window", "7")
        expect(consumer, 0, f"{size} bytes, {max(1, -(-size // 8000))} segments", sha256)
        with open(path, "rb") as wrote, open(output, "rb") as got:
            tap.check(wrote.read() == got.read(), f"{size} bytes arrive as they were")
        network.stop(producer)


def two_consumers_and_the_cache(directory):
    network = Network("--cs-bytes", "100000000")
    path, sha256 = write_file(directory, 4000000)
    producer = network.serve(path, "--segment-bytes", "1000")
    options = ("--prefix", PREFIX, "--expect-sha256", sha256)
    both = [start("ndn-consumer", "--face", face, *options) for face in (network.a, network.b)]
    for consumer in both:
        consumer.finish(60 * SLOW)
        expect(consumer, 0, "4000 segments")
    producer.terminate()
    expect(producer, 0, "CPU")
    network.forwarder.wait_for(f"face {network.p}: end of file", 10 * SLOW)
    expect(run("ndn-consumer", "--face", network.a, *options), 0, "4000 segments", " 0 retransmissions")
    network.stop()


def wrong_content_is_refused(directory):
    network = Network()
    path, sha256 = write_file(directory, 20000)
    producer = network.serve(path)
    consumer = run("ndn-consumer", "--face", network.a, "--prefix", PREFIX, "--expect-sha256", "0" * 64)
    expect(consumer, 1, "not what --expect-sha256 says", sha256)
    network.stop(producer)


def no_route_and_no_producer(directory):
    network = Network()
    consumer = run("ndn-consumer", "--face", network.a, "--prefix", "/elsewhere")
    expect(consumer, 1, "/elsewhere: the forwarder has no --route for this name")
    consumer = run("ndn-consumer", "--face", network.a, "--prefix", PREFIX, "--lifetime-ms", "50")
    expect(consumer, 1, PREFIX + ": no answer", "is ndn-producer running")
    network.stop()


def garbage_is_dropped(directory):
    network = Network()
    path, sha256 = write_file(directory, 20000)
    producer = network.serve(path)
    garbage = ready("poll-echo", "app", network.b, "--send", "this is no packet")
    consumer = run("ndn-consumer", "--face", network.a, "--prefix", PREFIX, "--expect-sha256", sha256)
    expect(consumer, 0, sha256)
    garbage.terminate()
    network.forwarder.wait_for(f"face {network.b}: end of file", 10 * SLOW)
    network.stop(producer)
    tap.check("1 broken" in network.forwarder.text(), "a broken packet is counted", network.forwarder.text())


# --- Half-way ---------------------------------------------------------------------------------------


def stalled_consumer(network):
    """A consumer in the middle of a file: its output is a pipe that is full."""
    argv = [os.path.join(BIN, "ndn-consumer"), "--face", network.a, "--prefix", PREFIX, "--output", "-"]
    consumer = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stalled.append(consumer)
    consumer.stdout.read(1)  # it is under way
    return consumer


def drain(consumer):
    out, err = consumer.communicate(timeout=30 * SLOW)
    return len(out), err.decode()


def forwarder_killed_halfway(directory):
    network = Network()
    path, sha256 = write_file(directory, 4 * demo.MIB)
    producer = network.serve(path)
    consumer = stalled_consumer(network)
    network.forwarder.signal(signal.SIGKILL)
    network.forwarder.reap()
    producer.finish(30 * SLOW)
    expect(producer, 1, "the forwarder is gone", network.p)
    size, errors = drain(consumer)
    tap.check(consumer.returncode == 1 and "the forwarder is gone" in errors and "incomplete" in errors,
              "a consumer says that the forwarder is gone", f"status {consumer.returncode}\n{errors}")
    tap.check(0 < size < 4 * demo.MIB, "the consumer was half-way", size)
    network = Network()  # takes the names that the killed one could not remove
    producer = network.serve(path)
    expect(run("ndn-consumer", "--face", network.a, "--prefix", PREFIX, "--expect-sha256", sha256), 0, sha256)
    network.stop(producer)


def apps_killed_halfway_come_back(directory):
    network = Network()
    path, sha256 = write_file(directory, 4 * demo.MIB)
    producer = network.serve(path)
    consumer = stalled_consumer(network)
    consumer.kill()
    drain(consumer)
    network.forwarder.wait_for(f"face {network.a}: end of file", 10 * SLOW)
    producer.signal(signal.SIGKILL)
    producer.reap()
    network.forwarder.wait_for(f"face {network.p}: end of file", 10 * SLOW)
    producer = network.serve(path)
    consumer = run("ndn-consumer", "--face", network.a, "--prefix", PREFIX, "--expect-sha256", sha256)
    expect(consumer, 0, sha256)
    network.stop(producer)


def window_wider_than_the_rings(directory):
    for store in ("0", "1000000"):  # every packet is dropped by the store, or most are
        network = Network("--cs-bytes", store)
        path, sha256 = write_file(directory, 4 * demo.MIB)
        producer = network.serve(path)
        consumer = run("ndn-consumer", "--face", network.a, "--prefix", PREFIX, "--window", "4000",
                       "--expect-sha256", sha256)
        expect(consumer, 0, sha256)
        network.stop(producer)


def forwarder_ends_under_load(directory):
    network = Network()
    path, _ = write_file(directory, 4 * demo.MIB)
    producer = network.serve(path)
    consumer = stalled_consumer(network)
    network.forwarder.signal(signal.SIGINT)
    network.forwarder.finish(10 * SLOW)
    expect(network.forwarder, 0, "interests", f"face {network.a}: received")
    tap.check(not names(), "a forwarder removes its names at once", names())
    producer.finish(30 * SLOW)
    expect(producer, 1, "the forwarder is gone")
    drain(consumer)
    tap.check(consumer.returncode == 1, "a consumer of it fails")


TESTS = (poll_echo_against_itself, poll_echo_engine_for_app_min, engine_min_for_both_apps,
         poll_echo_ends_on_a_signal, unknown_faces_are_named, wrong_options_print_usage, the_demo,
         files_of_every_shape, two_consumers_and_the_cache, wrong_content_is_refused,
         no_route_and_no_producer, garbage_is_dropped, forwarder_killed_halfway,
         apps_killed_halfway_come_back, window_wider_than_the_rings, forwarder_ends_under_load)



def end_children():
    for child in stalled:
        if child.poll() is None:
            child.kill()
            child.communicate()
    for child in reversed(started):
        child.end()
    stalled.clear()
    started.clear()


for test in TESTS:
    print(f"# {test.__name__}")
    try:
        with tempfile.TemporaryDirectory(prefix="uvface-examples-") as where:
            test(where)
    except (demo.Failure, OSError, subprocess.SubprocessError) as failure:
        tap.check(False, f"{test.__name__} runs to its end", failure)
    finally:
        end_children()
    tap.check(not names(), f"{test.__name__} leaves nothing behind", names())
sys.exit(tap.done())
