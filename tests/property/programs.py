"""Random programs of file operations, each made from one number alone.

A program has a directory of its own in the workspace (`dir`), operations that make the tree it
starts from (`base`) and those that are compared (`ops`); see apply_program.py for what they are.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Union

Operation = list  # ["rename", "a", "b"]
Tree = dict  # Of a directory: name -> Tree, or the kind of a leaf.
Node = Union[Tree, str]

FILE, LINK = "file", "link"
BASE_YEAR, SET_YEAR = 2003, 2013  # Of the times in the base, and of those that programs set.
YEAR_NS = 365 * 86_400 * 1_000_000_000
LENGTHS = (10, 300, 3000)  # Bytes of the path of `dir`, and how often each is taken.
LENGTH_WEIGHTS = (70, 18, 12)
TEMPORARY = "swap.tmp"

PLAIN = ["a", "b", "c", "d", "e", "a-b", "a.b", "a b", "data.txt", "Report 1.pdf", "notes", "x.py"]
ODD = [
    "new\nline", "\xff\xfe", "\xc3\xa9", "e\xcc\x81", "-rf", "trailing ", " leading", "...", "*",
    "tab\t", "quote'\"", "\\", "\xe6\x97\xa5\xe6\x9c\xac", "\x01\x1b[31m", "Long-" + 250 * "n",
    "#.wh.a", ".wh.b",
]  # fmt: skip
PROTECTED = [".envrc", "conftest.py", "CLAUDE.md", ".git"]
TARGETS = ["/nowhere/at/all", "../../../../../../../../nowhere/x", "missing", ".", "./a/../b", 200 * "t/"]
SIZES = [0, 1, 7, 100, 4095, 4096, 4097, 70_000]
FILE_MODES = [0o644, 0o600, 0o755, 0o444, 0o640, 0o777, 0o000, 0o200]
DIR_MODES = [0o755, 0o700, 0o750, 0o777, 0o711]


@dataclass
class Program:
    seed: int
    dir: list[str]
    base: list[Operation]
    ops: list[Operation] = field(default_factory=list)

    def without(self, indices: set[int]) -> Program:
        """The same with some operations made to do nothing, so that outcomes keep their places."""
        ops = [["nothing"] if i in indices else op for i, op in enumerate(self.ops)]
        return Program(self.seed, self.dir, self.base, ops)


def join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


class Maker:
    """Writes operations, and keeps the tree they should give in mind, so that most succeed."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.tree: Tree = {}
        self.ops: list[Operation] = []
        self.year = BASE_YEAR
        self.names = PLAIN + rng.sample(ODD, 3) + rng.sample(PROTECTED, 1 if rng.random() < 0.3 else 0)

    # The tree in mind.

    def paths(self, kind: str | None = None, top: Tree | None = None, at: str = "") -> list[str]:
        found = []
        for name, node in (self.tree if top is None else top).items():
            path = join(at, name)
            is_dir = isinstance(node, dict)
            if kind is None or (kind == "dir" and is_dir) or node == kind:
                found.append(path)
            if is_dir:
                found += self.paths(kind, node, path)
        return found

    def parent(self, path: str) -> tuple[Tree | None, str]:
        *folders, name = path.split("/")
        node: Node = self.tree
        for folder in folders:
            node = node.get(folder, FILE) if isinstance(node, dict) else FILE
        return (node, name) if isinstance(node, dict) else (None, name)

    def node(self, path: str) -> Node | None:
        folder, name = self.parent(path)
        return None if folder is None else folder.get(name)

    def take(self, path: str) -> Node | None:
        folder, name = self.parent(path)
        return None if folder is None else folder.pop(name, None)

    def give(self, path: str, node: Node) -> None:
        folder, name = self.parent(path)
        if folder is not None:
            folder[name] = node

    # Choices.

    def some(self, kind: str | None = None) -> str:
        """Most times a path that there is, else any."""
        known = self.paths(kind)
        if known and self.rng.random() < 0.93:
            return self.rng.choice(known)
        return self.anywhere()

    def anywhere(self) -> str:
        """A path for something new; at times something is there already."""
        folder = self.rng.choice(["", *self.paths("dir")])
        return join(folder, self.rng.choice(self.names))

    def time(self) -> int:
        if self.year == SET_YEAR and self.rng.random() < 0.1:
            return -self.rng.randrange(10 * YEAR_NS)
        return (self.year - 1970) * YEAR_NS + self.rng.randrange(4 * YEAR_NS)

    def size(self) -> int:
        return self.rng.choice(SIZES)

    def content_seed(self) -> int:
        return self.rng.randrange(1_000_000)

    # Operations.

    def emit(self, *operation: object) -> None:
        self.ops.append(list(operation))

    def write(self, path: str) -> None:
        self.emit("write", path, self.size(), self.content_seed())
        if self.node(path) is None:
            self.give(path, FILE)

    def mkdir(self, path: str) -> None:
        self.emit("mkdir", path, self.rng.choice(DIR_MODES))
        if self.node(path) is None:
            self.give(path, {})

    def symlink(self, path: str) -> None:
        # Most lead to a neighbour, so that later operations go through them.
        folder, _, _ = path.rpartition("/")
        near = [p[len(folder):].lstrip("/") for p in self.paths() if p.startswith(folder)]
        target = self.rng.choice(near + TARGETS) if near else self.rng.choice(TARGETS)
        self.emit("symlink", target or ".", path)
        if self.node(path) is None:
            self.give(path, LINK)

    def rename(self, path: str, to: str) -> None:
        self.emit("rename", path, to)
        if to == path or to.startswith(path + "/"):
            return
        moved = self.take(path)
        if moved is not None:
            self.give(to, moved)

    def remove(self, path: str) -> None:
        self.emit("remove", path)
        self.take(path)

    def op_write(self) -> None:
        self.write(self.anywhere() if self.rng.random() < 0.6 else self.some(FILE))

    def op_create(self) -> None:
        path = self.anywhere()
        self.emit("create", path, self.rng.choice(FILE_MODES))
        if self.node(path) is None:
            self.give(path, FILE)

    def op_append(self) -> None:
        self.emit("append", self.some(FILE), self.size(), self.content_seed())

    def op_overwrite(self) -> None:
        at = self.rng.choice([0, 3, 4096, 1 << 20])
        self.emit("overwrite", self.some(FILE), at, self.rng.choice([1, 50, 5000]), self.content_seed())

    def op_truncate(self) -> None:
        self.emit("truncate", self.some(FILE), self.rng.choice([0, 5, 4096, 100_000]))

    def op_mkdir(self) -> None:
        self.mkdir(self.anywhere())

    def op_symlink(self) -> None:
        self.symlink(self.anywhere())

    def op_rename(self) -> None:
        self.rename(self.some(), self.anywhere())

    def op_rename_over(self) -> None:
        kind = self.rng.choice([FILE, FILE, LINK, "dir"])
        self.rename(self.some(kind), self.some(kind if self.rng.random() < 0.9 else None))

    def op_rename_dir(self) -> None:
        self.rename(self.some("dir"), self.anywhere())

    def op_link(self) -> None:
        path, to = self.some(FILE), self.anywhere()
        self.emit("link", path, to)
        if self.node(to) is None and self.node(path) == FILE:
            self.give(to, FILE)

    def op_chmod(self) -> None:
        self.emit("chmod", self.some(FILE), self.rng.choice(FILE_MODES))

    def op_chmod_dir(self) -> None:
        tight = [0o555, 0o500] if self.rng.random() < 0.15 else []
        self.emit("chmod", self.some("dir"), self.rng.choice(tight or DIR_MODES))

    def op_utime(self) -> None:
        self.emit("utime", self.some(self.rng.choice([FILE, "dir", LINK, None])), self.time())

    def op_unlink(self) -> None:
        path = self.some(self.rng.choice([FILE, LINK]))
        self.emit("unlink", path)
        if not isinstance(self.node(path), dict):
            self.take(path)

    def op_rmdir(self) -> None:
        path = self.some("dir")
        self.emit("rmdir", path)
        if self.node(path) == {}:
            self.take(path)

    def op_remove(self) -> None:
        self.remove(self.some("dir"))

    def op_retype(self) -> None:
        """Deletes something and makes something else there."""
        path = self.some()
        self.remove(path)
        self.rng.choice([self.write, self.mkdir, self.symlink])(path)
        if self.node(path) == {}:
            for _ in range(self.rng.randrange(3)):
                self.write(join(path, self.rng.choice(self.names)))

    def op_swap(self) -> None:
        kind = self.rng.choice([FILE, "dir", LINK, None])
        first, second = self.some(kind), self.some(kind)
        spare = join(self.rng.choice(["", first.rpartition("/")[0]]), TEMPORARY)
        for path, to in [(first, spare), (second, first), (spare, second)]:
            self.rename(path, to)

    def op_cycle(self) -> None:
        places = [self.some(FILE) for _ in range(3)]
        for path, to in [(places[0], TEMPORARY), (places[2], places[0]),
                         (places[1], places[2]), (TEMPORARY, places[1])]:
            self.rename(path, to)

    def op_move_and_back(self) -> None:
        path, to = self.some(), self.anywhere()
        self.rename(path, to)
        if self.rng.random() < 0.4:
            self.op_append()
        self.rename(to, path)

    def op_move_out(self) -> None:
        """Moves a directory, then something out of it."""
        path, to = self.some("dir"), self.anywhere()
        self.rename(path, to)
        inner = self.node(to)
        if isinstance(inner, dict) and inner:
            self.rename(join(to, self.rng.choice(list(inner))), self.anywhere())
            if self.rng.random() < 0.5:
                self.mkdir(path)

    def op_nothing(self) -> None:
        self.emit(self.rng.choice(["open", "same_mode"]), self.some(FILE))

    def op_deep(self) -> None:
        path = self.anywhere()
        for name in self.rng.choices(self.names[:8], k=self.rng.randrange(5, 30)):
            self.mkdir(path)
            path = join(path, name)
        self.write(path)

    WEIGHTS = {
        op_write: 12, op_create: 3, op_append: 5, op_overwrite: 5, op_truncate: 3, op_mkdir: 7,
        op_symlink: 5, op_rename: 10, op_rename_over: 6, op_rename_dir: 8, op_link: 6, op_chmod: 4,
        op_chmod_dir: 3, op_utime: 8, op_unlink: 5, op_rmdir: 3, op_remove: 3, op_retype: 5,
        op_swap: 6, op_cycle: 2, op_move_and_back: 4, op_move_out: 5, op_nothing: 4, op_deep: 0.5,
    }  # fmt: skip

    def base(self) -> list[Operation]:
        """Some dozens of entries without hard links, all with times in the base's years."""
        made: list[str] = []
        for _ in range(self.rng.randrange(5, 40)):
            path = self.anywhere()
            if self.node(path) is None:
                made.append(path)
                self.rng.choice([self.write, self.write, self.mkdir, self.mkdir, self.symlink])(path)
        for path in self.rng.sample(made, len(made) // 4):
            if self.node(path) == FILE:
                self.emit("chmod", path, self.rng.choice(FILE_MODES))
        tight = [path for path in made if self.node(path) and self.rng.random() < 0.03]
        for path in tight:
            if isinstance(self.node(path), dict):
                self.emit("chmod", path, self.rng.choice([0o555, 0o500]))
        for path in reversed(made):  # Children first: their making has touched what is above.
            self.emit("utime", path, self.time())
        return self.taken()

    def program(self) -> list[Operation]:
        self.year = SET_YEAR
        kinds = list(self.WEIGHTS)
        weights = list(self.WEIGHTS.values())
        for kind in self.rng.choices(kinds, weights, k=self.rng.randrange(1, 25)):
            kind(self)
        return self.taken()

    def taken(self) -> list[Operation]:
        ops, self.ops = self.ops, []
        return ops


def make_dir(rng: random.Random, seed: int) -> list[str]:
    """The names of a program's own directory, of one of LENGTHS bytes together or a few more."""
    top = rng.choices(["projects", "Tools", "Reports"], (90, 5, 5))[0]
    names = [top, f"C{seed}"]
    length = rng.choices(LENGTHS, LENGTH_WEIGHTS)[0]
    while len("/".join(names)) < length:
        names.append("p" * min(250, length - len("/".join(names))))
    return names


def make_program(seed: int) -> Program:
    rng = random.Random(seed)
    maker = Maker(rng)
    directory = make_dir(rng, seed)
    base = maker.base()
    return Program(seed, directory, base, maker.program())
