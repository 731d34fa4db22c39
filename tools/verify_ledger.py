#!/usr/bin/env python3
"""Verifies a ledger without any of Bailiff's code. Needs Python 3.9 and the openssl program (3.0).

usage: verify_ledger.py DIR [--key KEY.pub] [--checkpoint FILE]

Checks what docs/formats/ledger.md says: every hash, the chain, every signature, the file
`checkpoint`, and one that was kept elsewhere. Take the key from elsewhere too: who can replace the
ledger can replace the key.pub beside it. Exits 0 when all is right, 1 when not, 2 on misuse.
"""

import argparse
import base64
import binascii
import fcntl
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile

SEGMENT = re.compile(r"\d{8}\.jsonl")
HASH = re.compile(rb"[0-9a-f]{64}")
ED25519_NOTE_ALGORITHM = b"\x01"
SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")  # An Ed25519 key in DER, up to its bytes.


class Wrong(Exception):
    """kind, as Bailiff's own verifier names it; where; what."""

    def __init__(self, kind, where, what):
        super().__init__(f"{kind}: {where}: {what}")


class Key:
    def __init__(self, pem):
        body = re.fullmatch(r"\s*-----BEGIN PUBLIC KEY-----(.*)-----END PUBLIC KEY-----\s*", pem,
                            re.DOTALL)
        der = base64.b64decode(body[1]) if body else b""
        if len(der) != 44 or not der.startswith(SPKI_PREFIX):
            raise ValueError("not an Ed25519 public key in PEM")
        self.pem = pem
        self.raw = der[len(SPKI_PREFIX):]

    def verifies(self, message, signature):
        with tempfile.TemporaryDirectory() as folder:
            paths = {name: pathlib.Path(folder, name) for name in ("key", "message", "signature")}
            paths["key"].write_text(self.pem, encoding="ascii")
            paths["message"].write_bytes(message)
            paths["signature"].write_bytes(signature)
            done = subprocess.run(
                ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", paths["key"], "-rawin",
                 "-in", paths["message"], "-sigfile", paths["signature"]],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            return done.returncode == 0


class Checkpoint:
    """A C2SP signed note: three lines of text, a blank line, one signature."""

    def __init__(self, text, where):
        self.where = where
        match = re.fullmatch(
            r"(bailiff/([^\n]*)\n(0|[1-9]\d*)\n([A-Za-z0-9+/=]+)\n)\n\u2014 (\S+) (\S+)\n", text)
        if not match:
            raise Wrong("bad_signature", where, "this is not a checkpoint")
        self.text = text
        self.body, self.ledger_id, seq, head, self.name, signature = match.groups()
        self.seq = int(seq)
        try:
            self.head = base64.b64decode(head, validate=True)
            self.signature = base64.b64decode(signature, validate=True)
        except binascii.Error as error:
            raise Wrong("bad_signature", where, str(error)) from error

    def canonical(self):
        """The one way to write it: no other spelling may pass."""
        head = base64.b64encode(self.head).decode()
        signature = base64.b64encode(self.signature).decode()
        name = f"bailiff/{self.ledger_id}"
        return f"{name}\n{self.seq}\n{head}\n\n\u2014 {name} {signature}\n"

    def check(self, key, ledger_id):
        if self.ledger_id != ledger_id:
            raise Wrong("wrong_ledger", self.where, f"it is of ledger {self.ledger_id!r}")
        key_hash = hashlib.sha256(
            self.name.encode() + b"\n" + ED25519_NOTE_ALGORITHM + key.raw).digest()[:4]
        if (self.canonical() != self.text or self.signature[:4] != key_hash
                or not key.verifies(self.body.encode(), self.signature[4:])):
            raise Wrong("bad_signature", self.where, "it is not signed by the given key")


def parse_line(line, where):
    """Returns (record, prev, hash) of a line whose hash is right for what it says itself."""
    digits, text = line[:64], line[65:]
    if not HASH.fullmatch(digits) or line[64:65] != b" ":
        raise Wrong("edited", where, "the line is not a hash, a space and a record")
    try:
        record = json.loads(text.decode("utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise Wrong("edited", where, "the record is not JSON") from error
    if (not isinstance(record, dict) or type(record.get("seq")) is not int
            or not isinstance(record.get("prev"), str) or not isinstance(record.get("type"), str)
            or not isinstance(record.get("time"), str)
            or not isinstance(record.get("data"), dict)
            or not HASH.fullmatch(record["prev"].encode())):
        raise Wrong("edited", where, "the record lacks a field")
    prev = bytes.fromhex(record["prev"])
    digest = hashlib.sha256(prev + text).digest()
    if digest.hex().encode() != digits:
        raise Wrong("edited", where, "the hash is not that of the record")
    return record, prev, digest


def read_segments(folder):
    """Yields (where, line); the last segment is read under the ledger's lock, if it has one."""
    names = sorted(path.name for path in folder.iterdir() if SEGMENT.fullmatch(path.name))
    for index, name in enumerate(names):
        if name != f"{index + 1:08}.jsonl":
            raise Wrong("missing", f"{index + 1:08}.jsonl", "the segment is missing")
        is_last = index + 1 == len(names)
        try:
            with open(folder / "lock", "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH)
                data = (folder / name).read_bytes()
        except FileNotFoundError:
            data = (folder / name).read_bytes()
        if not data and not is_last:
            raise Wrong("missing", name, "the segment is empty")
        lines = data.split(b"\n")
        tail = lines.pop()
        for number, line in enumerate(lines, 1):
            yield f"{name}, line {number}", line
        if tail:
            raise Wrong("truncated" if is_last else "edited", f"{name}, line {len(lines) + 1}",
                        "the line is cut short")


def check_header(record, prev, key, where):
    ledger_id = record["data"].get("ledger_id")
    expected = hashlib.sha256(f"bailiff ledger {ledger_id}".encode()).digest()
    if record["type"] != "ledger" or prev != expected:
        raise Wrong("edited", where, "this is not the first record of a ledger")
    try:
        is_same = Key(record["data"]["public_key"]).raw == key.raw
    except (KeyError, TypeError, ValueError):
        is_same = False
    if not is_same:
        raise Wrong("wrong_key", where, "the ledger names another key than the given one")
    return ledger_id


def classify_place(record, expected, where, rest):
    """A sound record with another number stands here: raises what that means."""
    found = record["seq"]
    if found < expected:
        raise Wrong("reordered", where, f"record {found} where {expected} belongs")
    for later_where, line in rest:
        try:
            later = parse_line(line, later_where)[0]["seq"]
        except Wrong:
            continue
        if later == expected:
            raise Wrong("reordered", where, f"record {found} where {expected} belongs")
    raise Wrong("missing", where, f"record {expected} is missing; here is record {found}")


def verify(folder, key, kept):
    """Returns (records, signed up to, head). Raises Wrong."""
    outer = []
    if (folder / "checkpoint").exists():
        text = (folder / "checkpoint").read_bytes().decode("utf-8", "replace")
        outer.append(Checkpoint(text, "checkpoint"))
    if kept is not None:
        outer.append(Checkpoint(kept, "the given checkpoint"))
    expected, prev_hash, signed, ledger_id = 1, b"", 0, None
    hashes = {}
    lines = read_segments(folder)
    for where, line in lines:
        record, prev, digest = parse_line(line, where)
        if record["seq"] != expected:
            classify_place(record, expected, where, lines)
        if expected == 1:
            ledger_id = check_header(record, prev, key, where)
        elif prev != prev_hash:
            raise Wrong("edited", where, "the record does not follow from the one before it")
        if record["type"] == "checkpoint":
            inner = Checkpoint(str(record["data"].get("note")), where)
            inner.check(key, ledger_id)
            if (inner.seq, inner.head) != (expected - 1, prev_hash):
                raise Wrong("edited", where, "the records before are not those that were signed")
            signed = inner.seq
        hashes[expected] = digest
        prev_hash = digest
        expected += 1
    if expected == 1:
        raise Wrong("missing", "00000001.jsonl", "there is no record at all")
    for checkpoint in outer:
        checkpoint.check(key, ledger_id)
        if checkpoint.seq >= expected:
            raise Wrong("truncated", checkpoint.where,
                        f"it signs record {checkpoint.seq}; the ledger ends at {expected - 1}")
        if hashes.get(checkpoint.seq) != checkpoint.head:
            raise Wrong("edited", checkpoint.where,
                        f"record {checkpoint.seq} is not the one that was signed")
        signed = max(signed, checkpoint.seq)
    if not (folder / "checkpoint").exists():
        raise Wrong("missing", "checkpoint", "the file is missing")
    return expected - 1, signed, prev_hash


def main():
    parser = argparse.ArgumentParser(description="Verifies a ledger.")
    parser.add_argument("dir", type=pathlib.Path, help="the ledger's directory")
    parser.add_argument("--key", type=pathlib.Path, help="its public key; default: DIR/key.pub")
    parser.add_argument("--checkpoint", type=pathlib.Path, help="one that was kept elsewhere")
    args = parser.parse_args()
    try:
        key = Key((args.key or args.dir / "key.pub").read_text(encoding="ascii"))
        kept = args.checkpoint.read_bytes().decode() if args.checkpoint else None
        records, signed, head = verify(args.dir, key, kept)
    except Wrong as wrong:
        print(wrong)
        return 1
    except (OSError, ValueError) as error:
        print(f"unreadable: {error}", file=sys.stderr)
        return 2
    print(f"ok: {records} records, signed up to record {signed}, head {head.hex()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
