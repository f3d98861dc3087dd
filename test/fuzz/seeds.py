#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the seeds of the fuzz targets: honest inputs, from which a fuzzer starts to do evil.

seeds.py DIRECTORY [PCAPS] makes DIRECTORY/ring, header, fifo, stream, server, client, api and ndnpkt. PCAPS is a directory of captures; every
whole NDN packet that starts anywhere in one becomes a seed of ndnpkt, and so does every packet of test/vectors. Deterministic. Run by .ci/fuzz; what it writes
is not checked in, what the fuzzers made of it is (corpus/).
"""
import pathlib
import struct
import sys

APP, BORROW, CORE, WINDOWS = 1, 2, 4, 8
WAIT, PUSH, FLIP, HEADER, TAIL = 0x01, 0x20, 0x30, 0x40, 0x60
HEAD, LENGTH, FIFO, WAKE, TAKE = 0x70, 0x80, 0xB0, 0xE0, 0xF0


def ring():
    """Each victim, each geometry, with a peer that talks, and with one that breaks one thing."""
    talk = bytes([FIFO + 11, PUSH + 5, PUSH + 12, WAKE + 7, WAIT, TAKE, PUSH + 1, PUSH + 2, WAKE + 3, FIFO + 13])
    breaks = [
        bytes([TAIL, 3]), bytes([HEAD, 5]), bytes([TAIL, 7]),                # indices
        bytes([PUSH + 4, LENGTH, 9]), bytes([PUSH + 4, LENGTH, 7]),          # lengths
        bytes([PUSH + 4, FLIP, 9, 9]), bytes([PUSH + 8, FLIP + 1, 5, 30]),   # lengths that change
        bytes([HEADER + 2, 7, HEADER + 3, 7, HEADER, 0]),                    # geometry
        bytes([FIFO + 7, WAKE + 1]), bytes([FIFO + 11, PUSH + 3, FIFO + 8]), # floods, death
    ]
    # victim's scripts, read from the back: turns, sends, batches, sleeping
    face = bytes([0, 1, 5, 0, 2, 3, 9, 4, 3, 9, 5, 3, 200, 6, 20, 7, 30, 12, 13, 14, 0, 8, 9, 0])[::-1]
    core = bytes([0, 2, 9, 3, 4, 9, 4, 1, 7, 5, 3, 1, 0, 6, 14, 22, 30, 38, 46, 6, 0, 3, 3])[::-1]
    for flags in range(16):
        script = core if flags & CORE else face
        for kind in range(4):
            yield bytes([flags | kind << 4 | kind << 6]) + talk + script
        for i, broken in enumerate(breaks):
            yield bytes([flags | (i % 4) << 4]) + broken + script


def file_of(capacity, slot_size, a2e=(0, 0), e2a=(0, 0), caps=(0, 0), packets=()):
    head = struct.pack("<QIIIIII", 0x4E444E5F53484D00, capacity, slot_size, *caps, 0, 0).ljust(64, b"\0")
    for value in (*a2e, *e2a, 0, 0):
        head += struct.pack("<I", value).ljust(64, b"\0")
    e2a_slots = b"".join(struct.pack("<I", len(p)) + p.ljust(slot_size, b"\0") for p in packets)
    size = 448 + 2 * capacity * (slot_size + 4)
    content = head + (bytes(capacity * (slot_size + 4)) + e2a_slots if packets else b"")
    return size, content


def header():
    def seed(size, content):
        return struct.pack("<I", size if size < 1 << 24 else (size >> 12) | 1 << 24) + content
    for capacity, slot_size in ((1, 1), (4, 12), (3, 5), (16, 60), (256, 8960), (131, 17472)):
        yield seed(*file_of(capacity, slot_size))
    yield seed(*file_of(4, 12, a2e=(3, 1), e2a=(2, 0), caps=(0x55460003, 0x55460003), packets=(b"one", b"two")))
    yield seed(*file_of(4, 12, e2a=(1, 0xFFFFFFFF), packets=(b"wrapped", b"")))
    yield seed(*file_of(4, 12, e2a=(5, 0)))
    size, content = file_of(4, 12)
    yield seed(size + 1, content)
    yield seed(size, content[:40])
    yield struct.pack("<I", 0) + content
    yield seed(size, bytes([0xFF]) + content[1:])
    yield seed(*file_of(0, 12))
    yield seed(*file_of(1 << 20, 4092)[:2])


def fifo():
    opened, died, turn, push, quiet, wake = 0, 1, 15, 7, 8, 6
    for flags in range(32):
        yield bytes([flags, opened, turn, push, turn, push, push, push, push, turn, 9, 11, 10, 11, turn])
        yield bytes([flags, opened, turn, push, push, died, turn, turn])
        yield bytes([flags, opened, quiet, quiet, turn, 14, turn, 2, turn, 5, push, turn])
        yield bytes([flags, 5, wake + 0x70, turn, wake + 0x40, push, turn, 12, push, turn, 13, turn, 3, 10,
                     11, 4, turn])


def tlv(kind, *parts):
    value = b"".join(parts)

    def number(n):
        return bytes([n]) if n < 253 else b"\xfd" + struct.pack(">H", n)
    return number(kind) + number(len(value)) + value


def components(*names):
    return b"".join(tlv(8, n) for n in names)


def packets():
    name = tlv(7, components(b"example", b"file"), tlv(54, b"\x03"), tlv(50, b"\x01\x2c"))
    digest = tlv(7, components(b"a"), tlv(1, bytes(range(32))))
    nonce, lifetime, hops = tlv(10, b"\1\2\3\4"), tlv(12, b"\x0f\xa0"), tlv(34, b"\x40")
    plain = tlv(5, name)
    hint = tlv(30, tlv(7, components(b"hint")))
    full = tlv(5, name, tlv(33), tlv(18), hint, nonce, lifetime, hops)
    params = tlv(5, tlv(7, components(b"q"), tlv(2, bytes(32))), nonce, tlv(36, b"parameters"))
    meta = tlv(20, tlv(24, b"\0"), tlv(25, b"\x27\x10"), tlv(26, tlv(50, b"\x02")))
    data = tlv(6, name, meta, tlv(21, b"content" * 9), tlv(22, tlv(27, b"\0")), tlv(23, bytes(32)))
    small_meta = tlv(20, tlv(24, b"\3"), tlv(25, b"\x64"))
    small = tlv(6, name, small_meta, tlv(21, b"x"), tlv(22, tlv(27, b"\0")), tlv(23, b""))
    key = tlv(28, tlv(7, components(b"key")))
    rsa = tlv(6, digest, tlv(21, b""), tlv(22, tlv(27, b"\1"), key), tlv(23, bytes(256)))
    nack = tlv(100, tlv(800, tlv(801, b"\x96")), tlv(80, full))
    token = tlv(100, tlv(98, b"token"), tlv(832, b"\1"), tlv(80, data))
    fragment = tlv(100, tlv(81, bytes(8)), tlv(82, b"\0"), tlv(83, b"\2"), tlv(80, data[:40]))
    return [plain, full, params, data, small, rsa, nack, token, fragment, tlv(100), tlv(5, digest)]


def captured(directory):
    """Whatever in a capture has the type of a packet, and the length of what follows it."""
    for path in sorted(pathlib.Path(directory).glob("*.pcap")):
        raw = path.read_bytes()
        for at in range(24, len(raw) - 4):
            if raw[at] not in (5, 6, 100):
                continue
            length, start = raw[at + 1], 2
            if length >= 253:
                length, start = int.from_bytes(raw[at + 2:at + 4], "big"), 4
            if 8 <= length <= 2000 and at + start + length <= len(raw) and (raw[at] == 100 or raw[at + start] == 7):
                yield raw[at:at + start + length]


def vectors():
    for path in sorted((pathlib.Path(__file__).parent.parent / "vectors").glob("*.txt")):
        for line in path.read_text().splitlines():
            if line[:2] in ("> ", "< "):
                yield bytes.fromhex(line[2:])


def keys():
    seed = bytes(range(32))
    yield bytes.fromhex("302e020100300506032b657004220420") + seed
    yield bytes.fromhex("302a300506032b6570032100") + seed
    yield b"NDNC\2\0\5" + bytes(8) + b"\xff" * 8 + struct.pack(">I", 32) + seed
    yield b"NDNC\1" + bytes(8) + b"\xff" * 8 + struct.pack(">I", 32) + seed


def ndnpkt(pcaps):
    for packet in packets() + list(vectors()) + (list(captured(pcaps)) if pcaps else []):
        yield b"\2" + packet
    yield b"\x08" + tlv(101, tlv(102, b"\xc8"), tlv(103, b"OK"), tlv(104, tlv(7, components(b"a")), tlv(105, b"\3")))
    for key in keys():
        yield b"\x09" + key
    for uri in ("/", "/a/b/c", "ndn:/a/%00%FF/...", "/seg=300/v=3", "/54=x/8=y", "/a/sha", "/..../a=b", "/a//b",
                "/%2", "/1=" + "%41" * 32):
        yield b"\1" + uri.encode()
    names = [components(b"a", b"b"), components(b""), tlv(50, b"\0\1"), tlv(54, b"\1"), components(b"..", b"x" * 200)]
    for a in names:
        for b in names:
            yield b"\0" + bytes([len(a)]) + a + b


def stream():
    """Elements of every shape, nested and broken, with and without a filter, cut in several ways."""
    whole = b"".join(tlv(5 + n % 3, bytes([n]) * n) for n in (0, 1, 2, 40, 250)) + b"\xfd\1\0\2ab" + b"\6\xfd\0\xfd" + b"d" * 253
    nested = tlv(100, tlv(80, tlv(6, b"content" + bytes([3]))) + b"\3") + tlv(9, tlv(6, b"\7\7")) + tlv(3, b"\6\4xy") + tlv(100, b"\1")
    broken = (b"", b"\0\0", b"\xfd\0\xfc\0", b"\xff", b"\6\xfd\0\1", b"\6\xfd\1\x40", b"\6\xfe\0\1\0\0", b"\6\xff", b"\6\5a")
    for body in (whole, nested, whole + nested):
        for end in broken:
            for flags, script in ((0, b""), (1, b""), (0, b"\x41" * 40), (1, b"\x49\xc3\x07" * 20), (1, b"\xff" * 4)):
                yield body + end + script[::-1] + bytes([len(script), flags])


def sent(packet):
    """Instructions of fuzz_server that send a packet over the connection."""
    while packet:
        n = min(len(packet), 255)
        n -= n % 2 == 0
        yield bytes([n // 2]) + packet[:n]
        packet = packet[n:]


def server():
    """Every command of the vectors, faces of all kinds, and handoffs that go well and wrong."""
    turn, later, meet, nonce, proof, leave = b"\x80", b"\x8f", b"\x90", b"\xb0", b"\xc0", b"\xd0"
    close_app, close_face, hang_up, come = b"\xe0", b"\xe1", b"\xf0", b"\xf1"

    def command(verb, *parameters):
        name = tlv(7, components(b"localhost", b"nfd", *verb, tlv(104, *parameters)))
        return b"".join(sent(tlv(5, name, tlv(10, bytes([len(name)] * 4)))))

    create, register = (b"faces", b"create"), (b"rib", b"register")
    private = command(create, tlv(114, b"shm://x"), tlv(176, bytes(range(32))))
    named = command(create, tlv(114, b"shm://fuzz-server"))
    mtu = command(create, tlv(114, b"shm://fuzz-server-2"), tlv(137, b"\x40"))
    destroy = command((b"faces", b"destroy"), tlv(105, b"\x01\x01"))
    route = command(register, tlv(7, components(b"a")), tlv(106, b"\1"))
    wrapped = b"".join(sent(tlv(100, tlv(98, b"tok"), tlv(80, tlv(5, tlv(7, components(b"localhost", b"nfd", b"x")))))))
    for flags in range(32):
        yield bytes([flags]) + private + meet + nonce + proof + turn + route + destroy
        yield bytes([flags]) + named + later + mtu + route + wrapped + named + destroy + close_face
    for script in (meet + nonce + nonce, meet + nonce + proof + proof, meet + later + later, meet + leave + meet + nonce,
                   meet + nonce + hang_up, hang_up + come + private, close_app + come, meet + b"\xa3" + bytes(15) + nonce,
                   (meet + nonce + b"\xa7" + bytes(32)) * 9, later * 10):
        yield b"\0" + private + script + later + route
    many = [command(create, tlv(114, b"shm://fuzz-%d" % n)) + later for n in range(4)]
    yield b"\0" + b"".join(many)
    for packet in vectors():
        yield b"\0" + b"".join(sent(packet)) + turn + b"".join(sent(packet))


def client():
    """Each way, with a forwarder that keeps to it, and with one that does not at one step."""
    accept, raw, answer, hang_up, listen, come, prove, hand_out, make, command, wait, turn = 0, 1, 2, 3, 4, 6, 7, 9, 11, 12, 13, 14
    way = [[turn], [accept], [turn], [make], [listen], [answer, 0], [turn], [come], [prove], [turn], [hand_out, 0], [turn],
           [answer, 0], [command], [answer, 0], [command + 16], [answer, 0], [turn]]
    wrongs = [[answer, how] for how in (1, 2, 3, 4, 5, 6, 8, 4, 16, 32, 64, 24)] + [[raw, 4, 0x64, 2, 0x50, 0], [raw, 2, 0, 0]]
    wrongs += [[hang_up], [10], [5], [hand_out, 7], [hand_out, 16], [hand_out, 24], [hand_out, 2], [8, 3, 1, 2, 3], [wait + 0xF0]]
    guess = way[:way.index([prove])] + [[8, 64, *range(64)]] + way[way.index([prove]) + 1:]
    for flags in (0, 1, 2, 4, 5, 6, 8, 12, 16, 29):
        yield bytes([flags]) + bytes(sum(way, []))
        yield bytes([flags]) + bytes(sum(guess, []))
        for at in range(1, len(way)):
            wrong = wrongs[(at * 7 + flags) % len(wrongs)]
            yield bytes([flags]) + bytes(sum(way[:at] + [wrong] + way[at + 1:], []))
            yield bytes([flags]) + bytes(sum(way[:at] + [wrong, [accept], [turn]] + way[at:], []))


def api():
    """Each kind of face, with a tame program on it; callbacks that close, send, stop, or ask."""
    turn, send, both, poke = b"\0\0", bytes([16, 0, 9]), 36, 31
    talk = send + bytes([15, 1, 17, 19, 0, 20, 20, 0]) + turn + bytes([18, 1, 2, 17, 0, 30]) + turn + turn
    done_in_callbacks = [[], [22, 0], [22, 1], [13, 0], [16, 0, 9, 16, 1, 9], [2, 3, 36, 4, 0], [28, 0, 0, 26, 1], [24, 1, 2, 1]]
    for kind in range(4):
        for flags in (0, 1, 4, 7):
            for i, done in enumerate(done_in_callbacks):
                script = bytes([both, kind * 4 + i % 2 * 17, i * 37 % 256])
                script += (bytes([28, 0, i, 39, 1]) if i % 2 else b"") + talk
                script += bytes([poke, i, i * 5, 40 + i]) if i == 5 else b""
                yield bytes([flags]) + script + talk + bytes([22, 0]) + turn + bytes([len(done) // 2 % 4, *done][::-1]) * 3
    yield bytes([0xF8, both, 0, 0]) + talk + bytes([40, 0]) + talk


def main():
    root, pcaps = pathlib.Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    for target, seeds in (("ring", ring()), ("header", header()), ("fifo", fifo()), ("stream", stream()), ("server", server()), ("client", client()), ("api", api()),
                          ("ndnpkt", ndnpkt(pcaps))):
        (root / target).mkdir(parents=True, exist_ok=True)
        for i, seed in enumerate(seeds):
            (root / target / f"seed-{i:04}").write_bytes(seed)


if __name__ == "__main__":
    main()
