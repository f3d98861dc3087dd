#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""PyNDN, whose commands are those of 2014, as others would use it: an app that serves or fetches through the forwarder
at a Unix socket. The packets, the face and the registration are those of PyNDN, and so is the key that signs the
command. Knows no trust; what it fetches, it does not verify.

Usage: peer_pyndn.py serve SOCKET PREFIX FILE   Data PREFIX/hello, and FILE as the segments of PREFIX/file
       peer_pyndn.py fetch SOCKET NAME          the segments of NAME, whose version it finds out
       peer_pyndn.py get SOCKET NAME            one Data
"""
import hashlib
import sys
import time

from pyndn import Data, Face, Interest, Name
from pyndn.name import ComponentType
from pyndn.security import KeyChain
from pyndn.transport import UnixTransport

SEGMENT_BYTES = 8000
WINDOW = 32
TRIES = 5
SEGMENT, VERSION = 50, 54  # types of components, which PyNDN does not know by name


def say(content):
    print(f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}", flush=True)


def numbered(component_type, number):
    width = next(width for width in (1, 2, 4, 8) if number < 1 << 8 * width)
    return Name.Component(number.to_bytes(width, "big"), ComponentType.OTHER_CODE, component_type)


def number_of(component, component_type):
    if component.getType() != ComponentType.OTHER_CODE or component.getOtherTypeCode() != component_type:
        return None
    return int.from_bytes(component.getValue().toBytes(), "big")


def name_of(uri):
    """PyNDN knows types of components by number alone."""
    name = Name()
    for text in uri.strip("/").split("/"):
        name.append(numbered(VERSION, int(text[2:])) if text.startswith("v=") else Name(text)[0])
    return name


class App:
    def __init__(self, path):
        self.face = Face(UnixTransport(), UnixTransport.ConnectionInfo(path))
        self.keys = KeyChain("pib-memory:", "tpm-memory:")
        self.keys.createIdentityV2(Name("/peer"))
        self.face.setCommandSigningInfo(self.keys, self.keys.getDefaultCertificateName())
        self.done = False
        self.failure = None

    def run(self):
        """PyNDN's way: to look again and again. What a callback raises it prints, and goes on; so they only tell."""
        while not self.done and self.failure is None:
            self.face.processEvents()
            time.sleep(0.001)
        sys.exit(self.failure)

    def ask(self, name, on_data, can_be_prefix=False, must_be_fresh=False, tries=TRIES):
        interest = Interest(name)
        interest.setCanBePrefix(can_be_prefix).setMustBeFresh(must_be_fresh).setInterestLifetimeMilliseconds(1000)

        def on_timeout(_interest):
            if tries > 1:
                self.ask(name, on_data, can_be_prefix, must_be_fresh, tries - 1)
            else:
                self.failure = f"no Data for {name.toUri()}"

        self.face.expressInterest(interest, lambda _interest, data: on_data(data), on_timeout)


def get(app, uri):
    def on_data(data):
        say(data.getContent().toBytes())
        app.done = True

    app.ask(name_of(uri), on_data, must_be_fresh=True)


def fetch(app, uri):
    segments = {}

    def on_some(data):
        last = number_of(data.getMetaInfo().getFinalBlockId(), SEGMENT)
        todo = iter(range(last + 1))

        def ask_for_next():
            number = next(todo, None)
            if number is not None:
                app.ask(data.getName().getPrefix(-1).append(numbered(SEGMENT, number)), on_data)

        def on_data(data):
            segments[number_of(data.getName()[-1], SEGMENT)] = data.getContent().toBytes()
            ask_for_next()
            if len(segments) == last + 1:
                say(b"".join(segments[number] for number in range(last + 1)))
                app.done = True

        for _ in range(WINDOW):
            ask_for_next()

    app.ask(name_of(uri), on_some, can_be_prefix=True, must_be_fresh=True)


def serve(app, prefix, path):
    with open(path, "rb") as file:
        content = file.read()
    last = max(0, len(content) - 1) // SEGMENT_BYTES
    hello, name = Name(f"{prefix}/hello"), Name(f"{prefix}/file")
    version = int(time.time() * 1e6)
    versioned = Name(name).append(numbered(VERSION, version))
    print(f"serving {prefix}/file/v={version}", flush=True)

    def put(data, block):
        data.getMetaInfo().setFreshnessPeriod(1000)
        data.setContent(block)
        app.keys.signWithSha256(data)
        app.face.putData(data)

    def on_interest(_prefix, interest, _face, _filter_id, _filter):
        asked = interest.getName()
        number = None
        if asked.equals(hello):
            put(Data(hello), b"hello from PyNDN")
        elif (asked.equals(name) or asked.equals(versioned)) and interest.getCanBePrefix():
            number = 0
        elif asked.getPrefix(-1).equals(versioned):
            number = number_of(asked[-1], SEGMENT)
        if number is not None and number <= last:
            data = Data(Name(versioned).append(numbered(SEGMENT, number)))
            data.getMetaInfo().setFinalBlockId(numbered(SEGMENT, last))
            put(data, content[number * SEGMENT_BYTES : (number + 1) * SEGMENT_BYTES])

    def on_failed(_prefix):
        print(f"not registered: {prefix}", flush=True)

    def on_success(_prefix, _id):
        print(f"registered {prefix}", flush=True)

    app.face.registerPrefix(Name(prefix), on_interest, on_failed, on_success)


def main():
    app = App(sys.argv[2])
    {"serve": serve, "fetch": fetch, "get": get}[sys.argv[1]](app, *sys.argv[3:])
    app.run()


if __name__ == "__main__":
    main()
