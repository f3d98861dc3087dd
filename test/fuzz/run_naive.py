#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Shows that fuzz_ring and fuzz_api find what they are there to find: run_naive.py BUILD_DIR [SECONDS]

Runs them over rings that trust their peer (naive_ring.h), and over an adapter that forgets what callbacks may do
(naive_api.c), one fault each, from an empty corpus. Succeeds if each fault
is caught within SECONDS (30), and says how many runs that took. BUILD_DIR was set up with -Dfuzz=true.
"""
import glob
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
FAULTS = (("ring", "length"), ("ring", "index"), ("api", "closed"), ("api", "freed"), ("api", "asleep"))
CAUGHT = re.compile(r"ERROR: AddressSanitizer: \S+|runtime error: .*|broken promise: .*")


def remove_files(pid):
    for path in glob.glob(f"/dev/shm/ndn-shm-fuzz-{pid}-*") + glob.glob(f"/tmp/.ndn-fuzz-{pid}-*"):
        os.unlink(path)


def catch(directory, target, fault, seconds):
    """Returns whether the fault was caught; prints how."""
    env = dict(os.environ, ASAN_OPTIONS="handle_sigbus=0", UBSAN_OPTIONS="print_stacktrace=1")
    with tempfile.TemporaryDirectory(dir=directory) as work:
        command = [HERE / "in_tmpfs.sh", f"./fuzz_{target}_naive_{fault}", "-handle_bus=0", "-seed=1", "-len_control=0",
                   "-max_len=64", f"-max_total_time={seconds}", "-print_final_stats=1",
                   f"-artifact_prefix={pathlib.Path(work).name}/"]
        process = subprocess.Popen(command, cwd=directory, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        output = process.communicate()[1].decode(errors="replace")
        remove_files(process.pid)
    how = CAUGHT.search(output)
    runs = re.search(r"number_of_executed_units: *(\d+)", output)
    if process.returncode == 0 or how is None:
        print(f"naive {target} {fault}: NOT caught within {seconds} s\n{output[-2000:]}")
        return False
    print(f"naive {target} {fault}: caught after {runs[1] if runs else '?'} runs: {how[0]}")
    return True


def main():
    directory = pathlib.Path(sys.argv[1]).resolve() / "test" / "fuzz"
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 30
    results = [catch(directory, target, fault, seconds) for target, fault in FAULTS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
