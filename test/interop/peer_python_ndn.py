#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""python-ndn as others would use it: an app that serves or fetches through the forwarder at a Unix socket. The
packets, the face and the registration are those of python-ndn. Guarantees that Data is what its DigestSha256 says.
Knows no trust.

Usage: peer_python_ndn.py serve SOCKET PREFIX FILE   Data PREFIX/hello, and FILE as the segments of PREFIX/file
       peer_python_ndn.py fetch SOCKET NAME          the segments of NAME, whose version it finds out
       peer_python_ndn.py get SOCKET NAME            one Data
       peer_python_ndn.py leave SOCKET PREFIX        registers it, takes that back, and stays
"""
import asyncio
import hashlib
import sys
import time

from ndn import appv2
from ndn.encoding import Component, Name
from ndn.security import DigestSha256Signer, sha256_digest_checker
from ndn.transport.stream_face import UnixFace
from ndn.types import InterestTimeout

SEGMENT_BYTES = 8000
WINDOW = 32
TRIES = 5


def say(content):
    print(f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}", flush=True)


async def digest_is_right(name, signature, _context):
    good = await sha256_digest_checker(name, signature)
    return appv2.ValidResult.PASS if good else appv2.ValidResult.FAIL


async def ask(app, name, **how):
    for _ in range(TRIES):
        try:
            return await app.express(name, digest_is_right, lifetime=1000, **how)
        except InterestTimeout:
            pass
    raise InterestTimeout(Name.to_str(name))


async def get(app, uri):
    _, content, _ = await ask(app, Name.from_str(uri), must_be_fresh=True)
    say(bytes(content))


async def fetch(app, uri):
    some, _, context = await ask(app, Name.from_str(uri), can_be_prefix=True, must_be_fresh=True)
    last = Component.to_number(context["meta_info"].final_block_id)
    segments = {}
    todo = iter(range(last + 1))

    async def fetch_some():
        for number in todo:
            _, got, _ = await ask(app, [*some[:-1], Component.from_segment(number)])
            segments[number] = bytes(got)

    await asyncio.gather(*(fetch_some() for _ in range(WINDOW)))
    say(b"".join(segments[number] for number in range(last + 1)))


async def serve(app, prefix, path):
    with open(path, "rb") as file:
        content = file.read()
    last = max(0, len(content) - 1) // SEGMENT_BYTES
    hello, name = Name.from_str(f"{prefix}/hello"), Name.from_str(f"{prefix}/file")
    versioned = [*name, Component.from_version(int(time.time() * 1e6))]
    print(f"serving {Name.to_str(versioned)}", flush=True)
    signer = DigestSha256Signer()

    def on_interest(asked, _parameters, reply, context):
        asked = [bytes(component) for component in asked]
        if asked == hello:
            reply(app.make_data(hello, b"hello from python-ndn", signer, freshness_period=1000))
            return
        if asked in (name, versioned) and context["int_param"].can_be_prefix:
            number = 0
        elif asked[:-1] == versioned and Component.get_type(asked[-1]) == Component.TYPE_SEGMENT:
            number = Component.to_number(asked[-1])
        else:
            return
        if number <= last:
            block = content[number * SEGMENT_BYTES : (number + 1) * SEGMENT_BYTES]
            reply(app.make_data([*versioned, Component.from_segment(number)], block, signer, freshness_period=1000,
                                final_block_id=Component.from_segment(last)))

    app.attach_handler(prefix, on_interest)
    good = await app.register(prefix)
    print(f"registered {prefix}" if good else f"not registered: {prefix}", flush=True)
    await asyncio.get_running_loop().create_future()  # until it is ended


async def leave(app, prefix):
    good = await app.register(prefix) and await app.unregister(prefix)
    print(f"unregistered {prefix}" if good else f"not unregistered: {prefix}", flush=True)
    await asyncio.get_running_loop().create_future()  # until it is ended


def main():
    app = appv2.NDNApp(face=UnixFace(sys.argv[2]))

    async def run():
        try:
            await {"serve": serve, "fetch": fetch, "get": get, "leave": leave}[sys.argv[1]](app, *sys.argv[3:])
        finally:
            app.shutdown()

    app.run_forever(run())


if __name__ == "__main__":
    main()
