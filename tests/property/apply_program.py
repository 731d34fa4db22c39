"""Carries out programs of file operations: the same text natively and in a sandbox.

Reads {"jobs": [{"dir": [name...], "ops": [[operation, argument...]...]}...]} from the file named or
from standard input, and prints {"results": [[outcome...]...]}: for each operation 0, the errno it
failed with, or "pinned" for a rename of a name of a file onto another, which was left out: to an
overlay those may be two inodes, and then it says ESTALE where others do nothing. Names are bytes,
written as Latin-1.
"""

import errno
import json
import os
import stat
import sys

COPY_BYTES = 1 << 16


def raw(name):
    return name.encode("latin-1")


def fill(size, seed):
    """Content that differs from seed to seed and is made quickly."""
    pattern = b"%d:" % seed
    return (pattern * (size // len(pattern) + 1))[:size]


def open_keeping_time(path, flags):
    """Opens a file to write nothing. Where only the metadata of a file was copied up before, the
    kernel copies its data now and gives it a new time, which no other file system does."""
    before = os.stat(path)
    os.close(os.open(path, flags))
    if os.stat(path).st_mtime_ns != before.st_mtime_ns:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def append(path, size, seed):
    if size:
        put(path, os.O_APPEND, fill(size, seed))
    else:
        open_keeping_time(path, os.O_WRONLY | os.O_APPEND)


def truncate(path, size):
    before = os.stat(path)
    if stat.S_ISREG(before.st_mode) and before.st_size == size:
        return  # Some file systems would give it a new time, and some not.
    os.truncate(path, size)


def put(path, flags, data, offset=None, mode=0o666):
    file = os.open(path, os.O_WRONLY | flags, mode)
    try:
        if offset is not None:
            os.lseek(file, offset, os.SEEK_SET)
        view = memoryview(data)
        while view:
            view = view[os.write(file, view[:COPY_BYTES]):]
    finally:
        os.close(file)


def chmod_same(path):
    os.chmod(path, stat.S_IMODE(os.stat(path).st_mode))


def remove(path):
    """rm -r in a fixed order; ends at the first thing that fails."""
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
        return
    for name in sorted(os.listdir(path)):
        remove(os.path.join(path, name))
    os.rmdir(path)


def set_time(path, nanoseconds):
    os.utime(path, ns=(nanoseconds, nanoseconds), follow_symlinks=False)


OPERATIONS = {
    "write": lambda p, size, seed: put(raw(p), os.O_CREAT | os.O_TRUNC, fill(size, seed)),
    "create": lambda p, mode: put(raw(p), os.O_CREAT | os.O_EXCL, b"", mode=mode),
    "append": lambda p, size, seed: append(raw(p), size, seed),
    "overwrite": lambda p, at, size, seed: put(raw(p), 0, fill(size, seed), at),
    "truncate": lambda p, size: truncate(raw(p), size),
    "rename": lambda p, to: os.rename(raw(p), raw(to)),
    "link": lambda p, to: os.link(raw(p), raw(to), follow_symlinks=False),
    "symlink": lambda target, p: os.symlink(raw(target), raw(p)),
    "chmod": lambda p, mode: os.chmod(raw(p), mode),
    "utime": lambda p, ns: set_time(raw(p), ns),
    "mkdir": lambda p, mode: os.mkdir(raw(p), mode),
    "rmdir": lambda p: os.rmdir(raw(p)),
    "unlink": lambda p: os.unlink(raw(p)),
    "remove": lambda p: remove(raw(p)),
    "open": lambda p: open_keeping_time(raw(p), os.O_RDWR),
    "same_mode": lambda p: chmod_same(raw(p)),
    "nothing": lambda: None,
}


def is_pinned(operation):
    if operation[0] != "rename" or operation[1] == operation[2]:
        return False
    try:
        status = os.lstat(raw(operation[1]))
        return not stat.S_ISDIR(status.st_mode) and os.path.samestat(status, os.lstat(raw(operation[2])))
    except OSError:
        return False


def apply(operations):
    outcomes = []
    for operation in operations:
        if is_pinned(operation):
            outcomes.append("pinned")
            continue
        try:
            OPERATIONS[operation[0]](*operation[1:])
            outcomes.append(0)
        except OSError as error:
            outcomes.append(error.errno or errno.EIO)
    return outcomes


def main(text):
    request = json.loads(text)
    os.umask(0o022)
    start = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    results = []
    for job in request["jobs"]:
        os.fchdir(start)
        for name in job["dir"]:  # One by one: all together may be longer than PATH_MAX.
            os.chdir(raw(name))
        results.append(apply(job["ops"]))
    print(json.dumps({"results": results}))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        with open(sys.argv[1], encoding="ascii") as source:
            main(source.read())
    else:
        main(sys.stdin.read())
