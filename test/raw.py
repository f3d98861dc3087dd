# SPDX-License-Identifier: MIT
"""A peer that is moved by hand: NDN packets as bytes over a Unix socket, without any of our libraries, for the tests of
programs that listen there or connect there. Every wait has a deadline. Does not check signatures."""
import hashlib
import select
import socket
import struct
import time

INTEREST, DATA, NAME, LP = 5, 6, 7, 100
NO_ROUTE = 150


def number(value):
    """TLV-TYPE or TLV-LENGTH."""
    if value < 253:
        return bytes([value])
    return b"\xfd" + struct.pack(">H", value) if value < 65536 else b"\xfe" + struct.pack(">I", value)


def tlv(kind, *values):
    value = b"".join(values)
    return number(kind) + number(len(value)) + value


def uint(kind, value):
    for form, limit in (("B", 1 << 8), (">H", 1 << 16), (">I", 1 << 32), (">Q", 1 << 64)):
        if value < limit:
            return tlv(kind, struct.pack(form, value))
    raise ValueError(value)


def component(part):
    """A generic one, v=3, seg=3, or 32=keyword."""
    kind, found, value = part.partition("=")
    if found and kind in ("v", "seg"):
        return uint({"v": 54, "seg": 50}[kind], int(value))
    return tlv(32, value.encode()) if found and kind == "32" else tlv(8, part.encode())


def name(uri):
    return tlv(NAME, *(component(part) for part in uri.split("/") if part))


def read_number(data, at):
    first = data[at]
    if first < 253:
        return first, at + 1
    size = {253: 2, 254: 4, 255: 8}[first]
    return int.from_bytes(data[at + 1:at + 1 + size], "big"), at + 1 + size


def elements(data):
    """[(type, value)] of whole elements."""
    found, at = [], 0
    while at < len(data):
        kind, at = read_number(data, at)
        size, at = read_number(data, at)
        found.append((kind, data[at:at + size]))
        at += size
    return found


def interest(uri, nonce=None, lifetime_ms=4000, prefix=False, fresh=False, hop_limit=None):
    parts = [name(uri)]
    parts += [tlv(0x21)] if prefix else []
    parts += [tlv(0x12)] if fresh else []
    parts += [tlv(0x0A, struct.pack(">I", nonce))] if nonce is not None else []
    parts += [uint(0x0C, lifetime_ms)]
    parts += [tlv(0x22, bytes([hop_limit]))] if hop_limit is not None else []
    return tlv(INTEREST, *parts)


def data(uri, content=b"", freshness_ms=0, content_type=0, final="", encoded_name=None):
    meta = uint(0x18, content_type) if content_type else b""
    meta += uint(0x19, freshness_ms) if freshness_ms else b""
    meta += tlv(0x1A, component(final)) if final else b""
    signed = (encoded_name or name(uri)) + tlv(0x14, meta) + tlv(0x15, content) + tlv(0x16, uint(0x1B, 0))
    return tlv(DATA, signed, tlv(0x17, hashlib.sha256(signed).digest()))


def lp(fragment, token=None):
    return tlv(LP, tlv(0x62, token) if token else b"", tlv(0x50, fragment))


class Packet:
    """What came: .kind, .uri of generic components, .content, .token and .nack (a reason) of a link packet."""

    def __init__(self, whole):
        self.whole, self.token, self.nack, self.content, self.hop_limit = whole, None, None, None, None
        [(self.kind, value)] = elements(whole)
        self.wrapped = self.kind == LP
        if self.wrapped:
            for kind, part in elements(value):
                if kind == 0x62:
                    self.token = part
                elif kind == 0x320:
                    reasons = [int.from_bytes(reason, "big") for at, reason in elements(part) if at == 0x321]
                    self.nack = reasons[0] if reasons else 0
                elif kind == 0x50:
                    [(self.kind, value)] = elements(part)
        self.parts = elements(value)
        self.name = tlv(NAME, self.parts[0][1])
        self.components = [part for _, part in elements(self.parts[0][1])]
        self.uri = "".join("/" + part.decode(errors="replace") for part in self.components)
        for kind, part in self.parts:
            if kind == 0x15:
                self.content = part
            elif kind == 0x22:
                self.hop_limit = part[0]


class Peer:
    """One connection."""

    def __init__(self, where, timeout_s=10):
        self.timeout_s, self.pending, self.commands = timeout_s, b"", 0
        if isinstance(where, socket.socket):
            self.socket = where
        else:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.connect(where)

    def close(self):
        self.socket.close()

    def send(self, packet):
        self.socket.sendall(packet)

    def whole(self):
        """The first packet of what has come, or None."""
        try:
            _, at = read_number(self.pending, 0)
            size, at = read_number(self.pending, at)
        except IndexError:
            return None
        if len(self.pending) < at + size:
            return None
        packet, self.pending = self.pending[:at + size], self.pending[at + size:]
        return packet

    def read(self, timeout_s=None):
        """The next packet; None if there is none in time, or the other end has closed."""
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        while True:
            packet = self.whole()
            if packet is not None:
                return Packet(packet)
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return None
            try:
                got = self.socket.recv(65536)
            except ConnectionResetError:
                got = b""
            if not got:
                return None
            self.pending += got

    def ended(self):
        """True if the other end has closed, or does so in time; whatever comes before is dropped."""
        deadline = time.monotonic() + self.timeout_s
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return False
            try:
                if not self.socket.recv(65536):
                    return True
            except ConnectionResetError:
                return True

    def command(self, verb, *parameters):
        """Sends /localhost/nfd/VERB; returns the code of the answer, or None. What comes meanwhile is lost."""
        self.commands += 1
        parts = [tlv(8, part.encode()) for part in ("localhost", "nfd", *verb.split("/"))]
        parts += [tlv(8, tlv(0x68, *parameters)), tlv(8, b"%d" % self.commands)]
        asked = tlv(NAME, *parts)
        self.send(tlv(INTEREST, asked, tlv(0x0A, struct.pack(">I", self.commands)), uint(0x0C, 1000)))
        while True:
            packet = self.read()
            if packet is None:
                return None
            if packet.kind == DATA and packet.name == asked:
                [(_, response)] = elements(packet.content)
                return int.from_bytes(dict(elements(response))[0x66], "big")

    def register(self, uri, *more):
        return self.command("rib/register", name(uri), *more)


class Listener:
    """A forwarder of a kind: whoever connects is told that there is no shared memory, and may register."""

    def __init__(self, path, timeout_s=10):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout_s)
        self.socket.bind(path)
        self.socket.listen()

    def accept(self):
        connection, _ = self.socket.accept()
        return Peer(connection)

    def close(self):
        self.socket.close()


def answer_commands(peer, until):
    """Answers commands until a packet comes for which until(packet) is true, which is returned; None if none does."""
    while True:
        packet = peer.read()
        if packet is None or until(packet):
            return packet
        if packet.kind == INTEREST and packet.components[:2] == [b"localhost", b"nfd"]:
            code = 200 if packet.components[2] == b"rib" else 400
            response = tlv(0x65, uint(0x66, code), tlv(0x67, b"x"), tlv(0x68, elements(packet.components[4])[0][1]))
            peer.send(data("", response, encoded_name=packet.name))
