# SPDX-License-Identifier: MIT
"""What the engine of a face with a name keeps besides its three files, and leaves when it is killed: a directory in /tmp,
called as docs/protocol.rst says."""

import os

MASK = 2**64 - 1


def directory(face):
    digest = 0xcbf29ce484222325
    for byte in face.encode():
        digest = (digest ^ byte) * 0x100000001b3 & MASK
    digest = (digest ^ digest >> 32) * 0xd6e8feb86659fd93 & MASK
    return f"/tmp/.ndn-{digest ^ digest >> 32:016x}"


def remove(face):
    """All that a killed engine left under the name of the face."""
    for path in (f"/dev/shm/ndn-shm-{face}", f"/tmp/.ndn-{face}.a2e.pipe", f"/tmp/.ndn-{face}.e2a.pipe",
                 f"{directory(face)}/a2e", f"{directory(face)}/e2a"):
        if os.path.lexists(path):
            os.unlink(path)
    if os.path.lexists(directory(face)):
        os.rmdir(directory(face))
