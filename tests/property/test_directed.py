"""One test for each case of reading changes off an overlay that is easy to get wrong."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bailiff_cli import Cli, require_root
from oracle import exactly, file_times
from trees import differences, link_groups, snapshot

CASE = "projects/Case"
PYTHON = "/usr/bin/python3"
BIG_BYTES = 300 << 20
OLD_NS = 1_100_000_000_123_456_789
Changes = set[tuple[str, ...]]

# A rootless overlay copies files that move.
only_privileged = pytest.mark.parametrize("tier", ["privileged"], indirect=True)


def named(**codes: str) -> pytest.MarkDecorator:
    """Runs a test once for each of these, by name."""
    return pytest.mark.parametrize("code", codes.values(), ids=codes.keys())



class Run:
    """One script, its document and what it changed."""

    def __init__(self, ws: Cli, code: str, *options: str) -> None:
        self.ws = ws
        self.before = snapshot(ws.workspace)
        code = f"import os, shutil\nos.chdir({CASE!r})\n{code}"
        self.document: dict[str, Any] = ws.json(["exec", *options, "--", PYTHON, "-I", "-c", code])
        assert self.document.get("status") == "succeeded", "; ".join(
            str(self.document.get(key)) for key in ("status", "error", "stderr", "warnings"))
        self.id = self.document["execution_id"]
        self.listed: list[dict[str, Any]] = ws.json(["changes", self.id])["changes"]

    @property
    def state(self) -> str:
        return self.document["changes"]["state"]

    @property
    def reasons(self) -> str:
        return " ".join(self.document["decision"]["reasons"])

    def changes(self) -> Changes:
        """(op, path) and (op, path, from), below the case."""
        return {
            tuple(change[key].removeprefix(CASE + "/") for key in ("op", "path", "from") if key in change)
            for change in self.listed
        }

    def change(self, path: str) -> dict[str, Any]:
        (found,) = [change for change in self.listed if change["path"] == f"{CASE}/{path}"]
        return found

    def refused(self) -> dict[str, str]:
        return {one["path"]: one["reason"] for one in self.document["changes"].get("refused", [])}

    def commit(self) -> Run:
        if self.state == "held":
            assert differences(self.before, snapshot(self.ws.workspace), exactly) == []
            answer = self.ws.json(["approve", self.id, "--digest", self.document["changes"]["digest"]])
            assert answer["done"] and answer["state"] == "committed", answer
        else:
            assert self.state == "committed", self.document
        return self

    def roll_back(self) -> None:
        answer = self.ws.json(["rollback", self.id])
        if answer["state"] == "held":
            answer = self.ws.json(["approve", answer["id"]])
        assert answer["done"] and answer["state"] == "committed", answer
        assert differences(self.before, snapshot(self.ws.workspace), file_times) == []


@pytest.fixture
def case(ws: Cli) -> Path:
    """A case with three files, a folder of two, and a folder in it; all with an old time."""
    for name in ("a", "b", "c", "d/x", "d/y", "d/inner/z"):
        ws.write(f"{CASE}/{name}", f"content of {name}")
    path = ws.workspace / CASE
    for file in path.rglob("*"):
        os.utime(file, ns=(OLD_NS, OLD_NS))
    return path


def read(path: Path) -> str:
    return path.read_text()


def test_a_swap_of_two_files_gives_each_the_name_of_the_other(ws: Cli, case: Path) -> None:
    run = Run(ws, "os.rename('a', 't'); os.rename('b', 'a'); os.rename('t', 'b')").commit()
    assert (read(case / "a"), read(case / "b")) == ("content of b", "content of a")
    assert case.joinpath("a").stat().st_mtime_ns == OLD_NS
    if ws.is_privileged:
        assert run.changes() == {("move", "a", "b"), ("move", "b", "a")}
        assert run.document["changes"]["bytes_written"] == 0
    run.roll_back()


def test_a_swap_of_two_directories_is_two_moves(ws: Cli, case: Path) -> None:
    ws.write(f"{CASE}/e/w", "content of e/w")
    run = Run(ws, "os.rename('d', 't'); os.rename('e', 'd'); os.rename('t', 'e')").commit()
    assert run.changes() == {("move", "d", "e"), ("move", "e", "d")}
    assert (read(case / "d/w"), read(case / "e/inner/z")) == ("content of e/w", "content of d/inner/z")
    run.roll_back()


def test_a_cycle_of_three_files_turns_them_round(ws: Cli, case: Path) -> None:
    code = "for p, q in ['at', 'ca', 'bc', 'tb']: os.rename(p, q)"
    run = Run(ws, code).commit()
    assert [read(case / name) for name in "abc"] == ["content of c", "content of a", "content of b"]
    if ws.is_privileged:
        assert run.changes() == {("move", "a", "c"), ("move", "b", "a"), ("move", "c", "b")}
    run.roll_back()


def test_a_new_hard_link_is_one_inode_with_the_old_name(ws: Cli, case: Path) -> None:
    run = Run(ws, "os.link('a', 'second')").commit()
    assert os.path.samefile(case / "a", case / "second")
    assert run.change("second")["link_to"] == f"{CASE}/a"
    assert run.change("second")["op"] == "create"
    run.roll_back()


def test_a_file_of_two_names_that_no_one_may_read_stays_so(ws: Cli, case: Path) -> None:
    code = "open('n', 'w').write('new'); os.link('n', 'd/m'); os.chmod('n', 0)"
    run = Run(ws, code).commit()
    assert os.path.samefile(case / "n", case / "d/m")
    assert (case / "n").stat().st_mode & 0o7777 == 0
    run.roll_back()


def test_a_link_whose_first_name_goes_is_a_rename(ws: Cli, case: Path) -> None:
    run = Run(ws, "os.link('a', 'second'); os.unlink('a')").commit()
    assert not (case / "a").exists()
    assert read(case / "second") == "content of a"
    run.roll_back()


def test_two_new_names_of_one_file_are_linked(ws: Cli, case: Path) -> None:
    run = Run(ws, "open('n', 'w').write('new'); os.link('n', 'd/m')").commit()
    assert link_groups(snapshot(case)) == {b"n": b"d/m", b"d/m": b"d/m"}
    run.roll_back()


def test_a_file_that_moves_and_is_modified_is_both(ws: Cli, case: Path) -> None:
    run = Run(ws, "os.rename('a', 'd/moved'); open('d/moved', 'a').write(' and more')").commit()
    assert read(case / "d/moved") == "content of a and more"
    assert not (case / "a").exists()
    run.roll_back()


def test_a_file_that_moves_and_changes_mode_and_time_is_both(ws: Cli, case: Path) -> None:
    code = "os.rename('a', 'd/m'); os.chmod('d/m', 0o700); os.utime('d/m', ns=(7, 7))"
    run = Run(ws, code).commit()
    status = (case / "d/m").stat()
    assert (status.st_mode & 0o7777, status.st_mtime_ns) == (0o700, 7)
    assert run.changes() == {("move", "d/m", "a"), ("metadata", "d/m", "a")}
    run.roll_back()


def test_a_directory_that_moves_carries_its_modified_file(ws: Cli, case: Path) -> None:
    code = """os.rename('d', 'e'); open('e/x', 'a').write('!'); os.unlink('e/y')
open('e/new', 'w').write('new')"""
    run = Run(ws, code).commit()
    assert run.changes() == {
        ("move", "e", "d"), ("modify", "e/x", "d/x"), ("delete", "d/y"), ("create", "e/new"),
    }  # fmt: skip
    assert sorted(os.listdir(case / "e")) == ["inner", "new", "x"]
    assert read(case / "e/x") == "content of d/x!"
    run.roll_back()


def test_a_directory_keeps_all_but_its_inode_when_it_moves(ws: Cli, case: Path) -> None:
    code = f"""
def lay_out(top):
    os.makedirs(top + '/locked/in'); os.mkdir(top + '/closed'); os.mkdir(top + '/empty')
    open(top + '/f', 'w').write('f'); os.chmod(top + '/f', 0o400); open(top + '/locked/in/g', 'w')
    os.link(top + '/f', top + '/second'); os.symlink('f', top + '/link'); os.mkfifo(top + '/fifo')
    os.setxattr(top + '/empty', 'user.note', b'kept')
    os.utime(top + '/link', ns=(5, 7), follow_symlinks=False); os.utime(top + '/f', ns=(5, 9))
    for name, mode in [('closed', 0o000), ('locked', 0o555), ('empty', 0o1777)]:
        os.utime(f'{{top}}/{{name}}', ns=({OLD_NS}, {OLD_NS})); os.chmod(f'{{top}}/{{name}}', mode)
def look(top):
    found = []
    for folder, folders, files in os.walk(top):
        for path in [folder] + [os.path.join(folder, name) for name in folders + files]:
            s = os.lstat(path)
            of_file = () if os.path.isdir(path) else (s.st_size, s.st_nlink)
            found.append((path[len(top):], s.st_mode, s.st_uid, s.st_mtime_ns, of_file))
    return sorted(found)
lay_out('d/new')
before = look('d')
os.rename('d', 'e')
assert look('e') == before, set(look('e')) ^ set(before)
assert os.path.samefile('e/new/f', 'e/new/second')
assert os.getxattr('e/new/empty', 'user.note') == b'kept'
os.rename('e', 'd')
assert look('d') == before, set(look('d')) ^ set(before)
os.chmod('d/new/locked', 0o755); os.chmod('d/new/closed', 0o755); shutil.rmtree('d/new')
assert sorted(os.listdir('.')) == ['a', 'b', 'c', 'd']
"""
    assert Run(ws, code).listed == []


def test_a_directory_moves_within_one_where_its_entries_may_not_change(ws: Cli, case: Path) -> None:
    for folder, mode in [("d/inner", 0o500), ("d", 0o555)]:
        (case / folder).chmod(mode)
    run = Run(ws, "os.rename('d', 'e')").commit()
    assert run.changes() == {("move", "e", "d")}
    assert (case / "e").stat().st_mode & 0o7777 == 0o555
    run.roll_back()


def test_two_directories_are_exchanged(ws: Cli, case: Path) -> None:
    ws.write(f"{CASE}/e/w", "content of e/w")
    code = """import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def renameat2(old, new, flags):
    return ctypes.get_errno() if libc.renameat2(-100, old, -100, new, flags) else 0
assert renameat2(b'd', b'e', 1) == 17  # RENAME_NOREPLACE
assert renameat2(b'd', b'e', 2) == 0   # RENAME_EXCHANGE
assert renameat2(b'd', b'a', 2) == 0"""
    run = Run(ws, code).commit()
    assert run.changes() == {("move", "a", "e"), ("move", "d", "a"), ("move", "e", "d")}
    assert (read(case / "a/w"), read(case / "d")) == ("content of e/w", "content of a")
    run.roll_back()


def test_what_cannot_be_renamed_has_the_error_it_has_outside(ws: Cli, case: Path) -> None:
    ws.write(f"{CASE}/filled/w", "")
    code = """import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def fails(old, new, flags=0, fd=-100):
    assert libc.renameat2(fd, old, -100, new, flags) == -1, (old, new)
    return errno.errorcode[ctypes.get_errno()]
assert fails(b'd', b'd/inner/x') == 'EINVAL'
assert fails(b'd/inner', b'd') == 'ENOTEMPTY'
assert fails(b'd', b'filled') == 'ENOTEMPTY'
assert fails(b'd', b'a') == 'ENOTDIR'
assert fails(b'a', b'd') == 'EISDIR'
assert fails(b'a/', b'x') == 'ENOTDIR'
assert fails(b'd/.', b'x') == 'EBUSY'
assert fails(b'..', b'x') == 'EBUSY'
assert fails(b'/', b'/x') == 'EBUSY'
assert fails(b'', b'x') == 'ENOENT'
assert fails(b'missing', b'x') == 'ENOENT'
assert fails(b'd', b'missing/x') == 'ENOENT'
assert fails(b'd', b'd', 1) == 'EEXIST'
assert fails(b'd', b'x', 3) == 'EINVAL'
assert fails(b'd', b'x', 4) in ('EINVAL', 'EPERM')
assert fails(b'd', b'/tmp/x') == 'EXDEV'
assert fails(b'd', b'/usr/x') in ('EROFS', 'EXDEV')
assert fails(b'd', b'n' * 256) == 'ENAMETOOLONG'
assert fails(b'd', b'n/' * 2048 + b'x') == 'ENAMETOOLONG'
assert fails(b'd', b'x', 0, 99) == 'EBADF'
assert fails(b'd', b'x', 0, os.open('a', os.O_RDONLY)) == 'ENOTDIR'
for fd in (-1, -99, -101, -2**31): assert fails(b'd', b'x', 0, fd) == 'EBADF', fd
assert fails(None, b'x') == 'EFAULT'
os.symlink('d', 'link')
assert fails(b'link/', b'x') == 'ENOTDIR'
os.mkdir('shut'); os.chmod('shut', 0o555)
assert fails(b'd', b'shut/x') == 'EACCES'
os.rmdir('shut'); os.unlink('link')
os.chmod('d', 0o555)
assert fails(b'd', b'filled/x') == 'EACCES'
os.chmod('d', 0o755)"""
    assert Run(ws, code).listed == []


def test_paths_of_a_rename_are_the_callers(ws: Cli, case: Path) -> None:
    code = """
here = os.open('.', os.O_RDONLY)
os.mkdir('deep'); os.chdir('deep')
os.rename('d', 'e', src_dir_fd=here, dst_dir_fd=here)   # By descriptor, from another directory.
os.rename('../e', '/workspace/projects/Case/f')         # By working directory, and absolute.
os.rename('/proc/self/cwd/../a', '/dev/fd/%d/g' % here) # By links that only the caller has.
os.symlink('../f', 'link'); os.rename('link/inner', '../h/')
os.unlink('link'); os.rmdir('../deep')"""
    run = Run(ws, code).commit()
    assert run.changes() == {("move", "f", "d"), ("move", "h", "d/inner"), ("move", "g", "a")}
    run.roll_back()


REDIRECT_MAX = "/sys/module/overlay/parameters/redirect_max"


@pytest.fixture
def short_redirects(ws: Cli) -> None:
    """As on a host that does not let Bailiff raise the limit."""
    if not ws.is_privileged:
        return
    fake = ws.home / "redirect_max"
    fake.write_text("256\n")
    wrapper = ws.home / "bailiff"
    wrapper.write_text(f"""#!/bin/sh
exec unshare -m sh -ec 'mount --bind {fake} {REDIRECT_MAX}
mount -o remount,bind,ro {REDIRECT_MAX}; exec {ws.binary} "$@"' sh "$@"
""")
    wrapper.chmod(0o755)
    ws.binary = wrapper


def test_a_directory_moves_where_a_redirect_would_be_too_long(
    ws: Cli, case: Path, short_redirects: None
) -> None:
    code = """
for _ in range(20): os.mkdir('n' * 250); os.chdir('n' * 250)
here = os.open('.', os.O_RDONLY)
top = os.open('/workspace/projects/Case', os.O_RDONLY)
os.rename('d', 'e', src_dir_fd=top, dst_dir_fd=here)
os.rename('a', 'b', src_dir_fd=top, dst_dir_fd=here)
os.rename('e', 'f'); os.rename('b', 'c'); os.link('c', 'second', src_dir_fd=here, dst_dir_fd=top)
os.rename('f', 'e', src_dir_fd=here, dst_dir_fd=top)
os.rename('c', 'a', src_dir_fd=here, dst_dir_fd=top)
os.chdir('/workspace/projects/Case'); shutil.rmtree('n' * 250); os.unlink('second')
os.rename('e', 'd')"""
    assert Run(ws, code).listed == []


def test_what_moves_out_of_a_moved_directory_is_a_move_of_its_own(ws: Cli, case: Path) -> None:
    run = Run(ws, "os.rename('d', 'e'); os.rename('e/inner', 'inner'); os.rename('e/x', 'x')").commit()
    if ws.is_privileged:  # Else too little of it is left to know it by.
        assert run.changes() == {
            ("move", "e", "d"), ("move", "inner", "d/inner"), ("move", "x", "d/x")}  # fmt: skip
    assert (read(case / "inner/z"), read(case / "x")) == ("content of d/inner/z", "content of d/x")
    run.roll_back()


def test_a_file_recreated_at_the_source_of_a_move_is_a_create(ws: Cli, case: Path) -> None:
    run = Run(ws, "os.rename('a', 'moved'); open('a', 'w').write('another')").commit()
    assert (read(case / "moved"), read(case / "a")) == ("content of a", "another")
    if ws.is_privileged:
        assert run.changes() == {("move", "moved", "a"), ("create", "a")}
    run.roll_back()


def test_a_file_may_move_to_its_own_path_in_another_directory(ws: Cli, case: Path) -> None:
    code = "os.rename('d', 'e'); os.mkdir('d'); os.rename('e/x', 'e/m'); os.link('e/m', 'd/x')"
    run = Run(ws, code).commit()
    assert os.listdir(case / "d") == ["x"]
    assert os.path.samefile(case / "d/x", case / "e/m")
    run.roll_back()


def test_a_directory_recreated_at_the_source_of_a_move_is_empty(ws: Cli, case: Path) -> None:
    run = Run(ws, "os.rename('d', 'moved'); os.mkdir('d')").commit()
    assert run.changes() == {("move", "moved", "d"), ("create", "d")}
    assert os.listdir(case / "d") == []
    run.roll_back()


def test_mode_and_time_alone_are_metadata_and_write_no_bytes(ws: Cli, case: Path) -> None:
    code = "os.chmod('a', 0o600); os.utime('b', ns=(5, 1234567890)); os.chmod('d', 0o750)"
    run = Run(ws, code).commit()
    assert "1970" not in ws.ok(["changes", run.id]).stdout.decode().split("projects/Case/b")[0]
    assert run.changes() == {("metadata", "a"), ("metadata", "b"), ("metadata", "d")}
    assert run.document["changes"]["bytes_written"] == 0
    assert (case / "a").stat().st_mode & 0o7777 == 0o600
    assert (case / "a").stat().st_mtime_ns == OLD_NS
    assert (case / "b").stat().st_mtime_ns == 1234567890
    assert (case / "d").stat().st_mode & 0o7777 == 0o750
    run.roll_back()


def test_a_directory_that_was_made_anew_shows_nothing_of_the_old_one(ws: Cli, case: Path) -> None:
    run = Run(ws, "shutil.rmtree('d'); os.mkdir('d'); open('d/new', 'w').close()").commit()
    assert os.listdir(case / "d") == ["new"]
    assert {("delete", "d/x"), ("delete", "d/inner/z"), ("create", "d/new")} <= run.changes()
    run.roll_back()


def test_a_move_there_and_back_is_no_change(ws: Cli, case: Path) -> None:
    code = "os.rename('a', 't'); os.rename('t', 'a'); os.rename('d', 't'); os.rename('t', 'd')"
    run = Run(ws, code)
    assert (run.state, run.listed) == ("none", [])
    assert differences(run.before, snapshot(ws.workspace), exactly) == []


def test_a_rename_over_a_file_replaces_it(ws: Cli, case: Path) -> None:
    run = Run(ws, "os.rename('a', 'b')").commit()
    assert not (case / "a").exists()
    assert read(case / "b") == "content of a"
    assert (case / "b").stat().st_mtime_ns == OLD_NS
    run.roll_back()


def test_a_rename_over_an_emptied_directory_replaces_it(ws: Cli, case: Path) -> None:
    ws.write(f"{CASE}/e/w", "content of e/w")
    run = Run(ws, "os.unlink('e/w'); os.rename('d', 'e')").commit()
    assert sorted(os.listdir(case / "e")) == ["inner", "x", "y"]
    assert not (case / "d").exists()
    run.roll_back()


def test_another_type_at_the_same_path_is_a_delete_and_a_create(ws: Cli, case: Path) -> None:
    code = "os.unlink('a'); os.mkdir('a'); shutil.rmtree('d'); os.symlink('b', 'd')"
    run = Run(ws, code).commit()
    assert {("delete", "a"), ("create", "a"), ("delete", "d"), ("create", "d")} <= run.changes()
    assert (case / "a").is_dir()
    assert os.readlink(case / "d") == "b"
    run.roll_back()


@pytest.fixture
def big(ws: Cli, case: Path) -> Iterator[Path]:
    """300 MB on disk, none of it in memory."""
    file = ws.write(f"{CASE}/video.mp4")
    with file.open("wb") as out:
        for _ in range(BIG_BYTES >> 20):
            out.write(b"\x5a" * (1 << 20))
        os.fsync(out.fileno())
        os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    yield file


def bytes_in_memory(file: Path) -> int:
    """How much of a file the page cache holds: what someone has read of it."""
    libc = ctypes.CDLL(None, use_errno=True)
    pages = (ctypes.c_ubyte * (BIG_BYTES // mmap.PAGESIZE))()
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), BIG_BYTES) as mapped:
        start = ctypes.c_char.from_buffer(mapped)
        found = libc.mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(BIG_BYTES), pages)
        del start
    assert found == 0, os.strerror(ctypes.get_errno())
    return sum(page & 1 for page in pages) * mmap.PAGESIZE


@only_privileged
def test_a_big_file_that_moves_is_neither_copied_nor_read(ws: Cli, case: Path, big: Path) -> None:
    assert bytes_in_memory(big) == 0
    inode = big.stat().st_ino
    code = "os.mkdir('films'); os.rename('video.mp4', 'films/video.mp4')"
    document = ws.json(["exec", "--", PYTHON, "-I", "-c", f"import os; os.chdir({CASE!r}); {code}"])
    moved = case / "films/video.mp4"
    assert document["changes"]["state"] == "committed", document
    assert document["usage"]["scratch_bytes"] < 1 << 20
    assert moved.stat().st_ino == inode
    assert bytes_in_memory(moved) == 0
    answer = ws.json(["rollback", document["execution_id"]])
    assert answer["done"], answer
    assert big.stat().st_ino == inode
    assert bytes_in_memory(big) == 0


def test_a_directory_that_moves_is_one_change_however_much_is_in_it(ws: Cli, case: Path) -> None:
    for number in range(200):
        ws.write(f"{CASE}/many/{number % 10}/{number}", str(number))
    run = Run(ws, "os.rename('many', 'd/many')").commit()
    assert run.changes() == {("move", "d/many", "many")}
    if ws.is_privileged:
        assert run.document["usage"]["scratch_bytes"] < 1 << 20
    assert len(list((case / "d/many").rglob("*"))) == 210
    run.roll_back()


@named(
    open_to_write="os.close(os.open('a', os.O_RDWR))",
    same_mode="os.chmod('a', 0o644)",
    same_mode_of_a_directory="os.chmod('d', 0o755)",
    same_time=f"os.utime('a', ns=({OLD_NS}, {OLD_NS}))",
    file_made_and_deleted="open('n', 'w').close(); os.unlink('n')",
    file_made_and_deleted_below="open('d/inner/n', 'w').close(); os.unlink('d/inner/n')",
    link_made_and_deleted="os.link('a', 'n'); os.unlink('n')",
    directory_made_and_deleted="os.mkdir('n'); os.rmdir('n')",
)
def test_what_was_copied_up_and_not_changed_is_no_change(ws: Cli, case: Path, code: str) -> None:
    run = Run(ws, code)
    assert (run.state, run.listed) == ("none", [])
    assert differences(run.before, snapshot(ws.workspace), exactly) == []


def test_sockets_and_fifos_are_refused_by_name_and_the_rest_is_held(ws: Cli, case: Path) -> None:
    code = """import socket
s = socket.socket(socket.AF_UNIX); s.bind('the-socket'); os.mkfifo('d/the-fifo')
open('n', 'w').write('new')"""
    run = Run(ws, code)
    assert run.state == "held"
    assert set(run.refused()) == {f"{CASE}/the-socket", f"{CASE}/d/the-fifo"}
    assert "socket" in run.refused()[f"{CASE}/the-socket"].lower()
    assert "fifo" in run.refused()[f"{CASE}/d/the-fifo"].lower()
    assert run.changes() == {("create", "n")}
    run.commit()
    assert sorted(os.listdir(case)) == ["a", "b", "c", "d", "n"]
    run.roll_back()


@pytest.fixture
def mounted(ws: Cli, case: Path) -> Iterator[Path]:
    require_root()
    point = case / "d/inner"
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", point], check=True)
    yield point
    subprocess.run(["umount", point], check=True)


def test_a_mount_inside_the_workspace_is_refused_with_its_path(
    ws: Cli, case: Path, mounted: Path
) -> None:
    answer = ws.run(["exec", "--", "/bin/touch", f"{CASE}/d/inner/n", f"{CASE}/n"])
    words = answer.stderr.decode()
    assert f"{CASE}/d/inner" in words
    assert "mount point" in words
    assert os.listdir(mounted) == []
    assert not (case / "n").exists()
    if ws.is_privileged:  # It could be left out of the sandbox: the rest waits for review.
        assert "held" in words
    else:
        assert answer.exit == 125


@named(
    folder="os.mkdir(p); open(p + '/workspace.json', 'w').write('{}')",
    file="open(p, 'w').write('x')",
    link="os.symlink('/etc', p)",
)
def test_a_private_folder_that_a_script_makes_is_refused(ws: Cli, case: Path, code: str) -> None:
    identity = (ws.workspace / ".bailiff/workspace.json").read_bytes()
    run = Run(ws, f"p = '/workspace/.bailiff'; assert not os.path.lexists(p); {code}; open('n', 'w').close()")
    assert run.state == "held"
    assert ".bailiff" in run.refused()
    assert run.changes() == {("create", "n")}
    run.commit()
    assert (ws.workspace / ".bailiff/workspace.json").read_bytes() == identity
    run.roll_back()


def test_a_private_folder_deeper_down_is_for_a_person_to_decide(ws: Cli, case: Path) -> None:
    run = Run(ws, "os.mkdir('d/.bailiff'); open('d/.bailiff/workspace.json', 'w').write('{}')")
    assert run.state == "held"
    assert "protected" in run.change("d/.bailiff")["flags"]


@named(
    forge="open(p + '/exec_forged.json', 'w').write('{}')",
    empty="[os.unlink(os.path.join(p, n)) for n in os.listdir(p)]",
    remove="shutil.rmtree(p)",
    change_mode="os.chmod(p, 0o700)",
)
def test_the_folder_of_execution_records_is_not_for_scripts(ws: Cli, case: Path, code: str) -> None:
    ws.ok(["exec", "--", "/bin/true"])
    logs = ws.workspace / "Database/script_execution_logs"
    records = {path.name: path.read_bytes() for path in logs.iterdir()}
    assert len(records) == 1
    mode = logs.stat().st_mode
    run = Run(ws, f"p = '/workspace/Database/script_execution_logs'; {code}; open('n', 'w').close()")
    assert run.state == "held"
    assert any(path.startswith("Database/script_execution_logs") for path in run.refused())
    assert run.changes() == {("create", "n")}
    run.commit()
    assert {name: (logs / name).read_bytes() for name in records} == records
    assert not (logs / "exec_forged.json").exists()
    assert logs.stat().st_mode == mode


def test_setuid_and_setgid_are_left_out_and_reported(ws: Cli, case: Path) -> None:
    code = "os.chmod('a', 0o4755); open('n', 'w').write('new'); os.chmod('n', 0o2755)"
    run = Run(ws, code)
    assert run.state == "held"
    assert "stripped_setid" in run.change("a")["flags"]
    assert "stripped_setid" in run.change("n")["flags"]
    assert "setuid" in run.reasons
    run.commit()
    assert (case / "a").stat().st_mode & 0o7777 == 0o755
    assert (case / "n").stat().st_mode & 0o7777 == 0o755
    run.roll_back()


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../../outside", "../../Tools/../../x"],
    ids=["absolute", "relative", "roundabout"])
def test_a_link_that_leads_out_is_flagged_and_held(ws: Cli, case: Path, target: str) -> None:
    run = Run(ws, f"os.symlink({target!r}, 'out')")
    assert run.state == "held"
    assert "escaping_symlink" in run.change("out")["flags"]
    run.commit()
    assert os.readlink(case / "out") == target
    run.roll_back()


@pytest.mark.parametrize(
    "target", ["a", "d/inner/z", "../../Tools", "missing"],
    ids=["beside", "below", "above", "missing"])
def test_a_link_that_stays_inside_is_committed(ws: Cli, case: Path, target: str) -> None:
    run = Run(ws, f"os.symlink({target!r}, 'in')")
    assert run.state == "committed"
    assert run.change("in")["flags"] == []
    run.roll_back()


@named(append="open('a', 'a').write('!')", mode="os.chmod('a', 0o600)")
def test_a_change_to_one_name_of_a_linked_file_is_held(ws: Cli, case: Path, code: str) -> None:
    os.link(case / "a", case / "d/other")
    before = (case / "d/other").stat()
    run = Run(ws, code)
    assert run.state == "held"
    assert "breaks_hard_link" in run.change("a")["flags"]
    run.commit()
    after = (case / "d/other").stat()
    assert read(case / "d/other") == "content of a"
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert not os.path.samefile(case / "a", case / "d/other")
    run.roll_back()
