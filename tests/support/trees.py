"""Trees as values that compare, and what differs between two of them in words."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path

# What Bailiff itself keeps in a workspace.
OURS = (b".bailiff", b"Database/script_execution_logs")
READ_BYTES = 1 << 20
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink",
          stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket"}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    kind: str
    mode: int
    uid: int
    gid: int
    content: str  # Of a file its digest, of a symbolic link its target.
    names: int  # Of a file.
    mtime_ns: int
    inode: tuple[int, int]

    def __str__(self) -> str:
        link = f" names={self.names}" if self.names > 1 else ""
        content = f" {self.content}" if self.content else ""
        return f"{self.kind} {self.mode:04o} {self.uid}:{self.gid}{content}{link} mtime={self.mtime_ns}"


Tree = dict[bytes, Entry]


def _content(directory: int, name: bytes, kind: str, size: int) -> str:
    if kind == "symlink":
        return repr(os.readlink(name, dir_fd=directory))
    if kind != "file":
        return ""
    digest = hashlib.sha256()
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory)
    try:
        while data := os.read(file, READ_BYTES):
            digest.update(data)
    finally:
        os.close(file)
    return f"{size} bytes {digest.hexdigest()[:12]}"


def snapshot(root: Path, ignored: tuple[bytes, ...] = OURS) -> Tree:
    """Everything below `root`. Goes by descriptors, as paths may be longer than PATH_MAX."""
    tree: Tree = {}
    touched = {os.path.dirname(path) for path in ignored}  # Folders whose time is ours too.

    def visit(directory: int, at: bytes) -> None:
        for name in os.listdir(directory):
            raw = os.fsencode(name)
            path = at + raw
            if path in ignored:
                continue
            status = os.lstat(raw, dir_fd=directory)
            kind = _KINDS.get(stat.S_IFMT(status.st_mode), "other")
            tree[path] = Entry(
                kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid,
                _content(directory, raw, kind, status.st_size),
                status.st_nlink if kind == "file" else 1,
                0 if path in touched else status.st_mtime_ns, (status.st_dev, status.st_ino))  # fmt: skip
            if kind == "dir":
                inner = os.open(raw, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
                try:
                    visit(inner, path + b"/")
                finally:
                    os.close(inner)

    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        visit(top, b"")
    finally:
        os.close(top)
    return tree


def link_groups(tree: Tree) -> dict[bytes, bytes]:
    """Of each file with several names in the tree: the path, and the first of its paths."""
    groups: dict[tuple[int, int], list[bytes]] = {}
    for path in sorted(tree):
        if tree[path].kind == "file":
            groups.setdefault(tree[path].inode, []).append(path)
    return {path: paths[0] for paths in groups.values() if len(paths) > 1 for path in paths}


def settled(entry: Entry) -> Entry:
    """Without what two equal trees differ in. Names are compared by link_groups(): Bailiff keeps
    more of them, outside of what a snapshot sees."""
    return replace(entry, mtime_ns=0, inode=(0, 0), names=1)


def differences(expected: Tree, found: Tree, same_time=lambda path, want, have: True) -> list[str]:
    """A line for each difference. `same_time` judges the times of two otherwise equal entries."""
    lines = []
    for path in sorted(expected.keys() | found.keys()):
        want, have = expected.get(path), found.get(path)
        if want is None:
            lines.append(f"{path!r}: should not be there, but is: {have}")
        elif have is None:
            lines.append(f"{path!r}: is missing; expected {want}")
        elif settled(want) != settled(have):
            lines.append(f"{path!r}: expected {want}\n{'':{len(repr(path))}}     found {have}")
        elif not same_time(path, want, have):
            lines.append(f"{path!r}: mtime: expected {want.mtime_ns}, found {have.mtime_ns}")
    wanted, had = link_groups(expected), link_groups(found)
    for path in sorted(wanted.keys() | had.keys()):
        if path in expected and path in found and wanted.get(path) != had.get(path):
            lines.append(f"{path!r}: expected a link to {wanted.get(path)!r}, found {had.get(path)!r}")
    return lines
