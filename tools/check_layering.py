#!/usr/bin/env python3
"""Fails when a source file includes a module that its own module may not know about.

The table is the architecture. Change it only together with ARCHITECTURE.md.
usage: check_layering.py SRC_DIR
"""

import pathlib
import re
import sys

# module -> the modules it may include, besides itself.
MAY_USE = {
    "base": set(),
    "sys": {"base"},
    "workspace": {"base", "sys"},
    "sandbox": {"base", "sys"},
    "store": {"base", "sys"},
    "changeset": {"base", "sys", "workspace"},
    "journal": {"base", "sys", "workspace", "changeset"},
    "policy": {"base", "sys", "workspace", "changeset"},
    "ledger": {"base", "sys"},
    "engine": {"base", "sys", "sandbox", "changeset", "workspace"},
    "warm": {"base", "sys", "sandbox", "changeset", "workspace"},
    "core": {"base", "sys", "workspace", "sandbox", "store", "changeset", "journal", "policy",
             "ledger", "engine"},
    "http": {"base", "sys"},
    "api": {"base", "sys", "workspace", "changeset", "policy", "ledger", "core", "http"},
    # A command shows values of the layers below; it acts through core alone.
    "cli": {"base", "sys", "workspace", "changeset", "policy", "ledger", "core"},
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+[<"](\w+)/[^>"]*([>"])', re.MULTILINE)


def violations(src: pathlib.Path):
    for path in sorted(src.rglob("*")):
        if path.suffix not in {".h", ".cc"} or path.parent == src:
            continue  # Files directly in src/ (main.cc) wire the modules together.
        module = path.relative_to(src).parts[0]
        if module not in MAY_USE:
            yield f"{path}: module '{module}' is not in the layering table"
            continue
        for used, closing in INCLUDE.findall(path.read_text(encoding="utf-8")):
            if closing == ">" and used == "sys":
                continue  # <sys/stat.h> and friends are the kernel's.
            if used in MAY_USE and used != module and used not in MAY_USE[module]:
                yield f"{path}: {module}/ must not use {used}/"


def cycle(table):
    """Returns a module that can reach itself, or None: a table with a cycle has no layers."""
    for start in table:
        seen, todo = set(), list(table[start])
        while todo:
            module = todo.pop()
            if module == start:
                return start
            if module not in seen:
                seen.add(module)
                todo.extend(table[module])
    return None


def main(argv):
    if len(argv) != 2:
        print("usage: check_layering.py SRC_DIR", file=sys.stderr)
        return 2
    found = list(violations(pathlib.Path(argv[1])))
    looping = cycle(MAY_USE)
    if looping:
        found.append(f"the layering table has a cycle through {looping}/")
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
