#!/usr/bin/env python3
"""Tries what a script must not do, and says what came of it: `refused: ...` or `SUCCEEDED: ...`.

  shadow   read the host's password hashes
  network  connect to 192.0.2.1:80 (an address reserved for documentation) and look up a name
  disk     write until the disk is full, at most 10 GiB
  all      one after the other

Exit status: 0 when everything was refused, 1 when something succeeded, 3 when the disk was filled
up to its limit. It runs inside Bailiff only ($EXECUTION_ID is set), or with --really.
"""

from __future__ import annotations

import argparse
import errno
import os
import socket
import threading
from pathlib import Path

import caselib

_TIMEOUT_SECONDS = 3.0
_CHUNK = bytes(1024 * 1024)
_DISK_LIMIT = 10 * 1024 * 1024 * 1024
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def report(attempt: str, outcome: str) -> None:
    print(f"{attempt}: {outcome}", flush=True)


def try_shadow() -> int:
    try:
        with open("/etc/shadow", "rb") as file:
            lines = file.read().count(b"\n")
    except OSError as error:
        report("read /etc/shadow", f"refused: {error.strerror}")
        return 0
    report("read /etc/shadow", f"SUCCEEDED: {caselib.count(lines, 'line')}")
    return 1


def try_network() -> int:
    return max(_try_connect(), _try_lookup())


def _try_connect() -> int:
    attempt = "connect to 192.0.2.1:80"
    try:
        with socket.create_connection(("192.0.2.1", 80), timeout=_TIMEOUT_SECONDS):
            report(attempt, "SUCCEEDED")
    except TimeoutError:
        report(attempt, "SUCCEEDED: packets left, nobody answered")
    except ConnectionRefusedError:
        report(attempt, "SUCCEEDED: packets left and came back with a refusal")
    except OSError as error:
        report(attempt, f"refused: {error.strerror or error}")
        return 0
    return 1


def _try_lookup() -> int:
    attempt = "look up example.com"
    result: list[str] = []

    def look_up() -> None:
        try:
            address = socket.getaddrinfo("example.com", 80)[0][4][0]
            result.append(f"SUCCEEDED: {address}")
        except OSError as error:
            result.append(f"refused: {error.strerror or error}")

    # The resolver has no time limit of its own that a caller could set.
    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(_TIMEOUT_SECONDS)
    outcome = result[0] if result else "refused: no answer in time"
    report(attempt, outcome)
    return 1 if outcome.startswith("SUCCEEDED") else 0


def try_disk() -> int:
    attempt = "fill the disk"
    try:
        folder = caselib.find_case(None)
    except caselib.CaseError:
        folder = Path.cwd()
    path = folder / "filler.bin"
    written = 0
    try:
        with open(path, "xb", buffering=0) as file:
            while written < _DISK_LIMIT:
                written += file.write(_CHUNK)
    except OSError as error:
        after = f"after {written // len(_CHUNK)} MiB"
        report(attempt, f"refused: {error.strerror} {after}")
        return 3 if error.errno in _FULL else 0
    path.unlink()
    report(attempt, f"SUCCEEDED: {written // len(_CHUNK)} MiB written (and deleted again)")
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["shadow", "network", "disk", "all"])
    parser.add_argument("--really", action="store_true", help="run outside Bailiff too")
    options = parser.parse_args()
    if not os.environ.get("EXECUTION_ID") and not options.really:
        raise caselib.CaseError("this tries to do harm; run it in Bailiff, or with --really")
    attempts = {"shadow": try_shadow, "network": try_network, "disk": try_disk}
    chosen = list(attempts) if options.what == "all" else [options.what]
    results = [attempts[name]() for name in chosen]
    return 1 if 1 in results else max(results)


if __name__ == "__main__":
    caselib.run(main)
