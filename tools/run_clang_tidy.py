#!/usr/bin/env python3
"""Runs clang-tidy over the compilation database, in parallel, and only where something changed.

A file that was clean is remembered under a key made of everything that can change the verdict: the
file, every project header it includes, the identity of every system header, its compile flags,
.clang-tidy and the version of clang-tidy. Paths of the checkout are not part of the key, so a
fresh clone profits from the cache of another.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

# Tests have one thread, name their tables as constants, and build strings where it reads best. The
# analyzer walks into the macros of the test library for minutes and finds nothing there.
TEST_CHECKS_OFF = ",".join(("-clang-analyzer-*", "-concurrency-mt-unsafe", "-performance-inefficient-*",
                            "-readability-identifier-naming", "-readability-function-size"))
# The analyzer of clang 14 does not know that a coroutine's frame outlives a suspension, and takes what
# Asio keeps there for uninitialized.
COROUTINE_CHECKS_OFF = "-clang-analyzer-core.CallAndMessage,-clang-analyzer-core.NullDereference"
CACHE_DAYS = 30


def compiler_args(entry):
    """The compile command without its output, its launcher and the options only gcc knows."""
    words = entry.get("arguments") or shlex.split(entry["command"])
    if pathlib.Path(words[0]).name in {"ccache", "sccache"}:
        words = words[1:]
    out, skip = [], False
    for word in words[1:]:
        if skip:
            skip = False
        elif word in {"-o", "-MF", "-MT", "-MQ"}:
            skip = True
        elif word not in {"-c", "-MD", "-MMD"}:
            out.append(word)
    return out


def dependencies(entry, clang):
    """Every file the translation unit reads, or None when it does not even preprocess."""
    run = subprocess.run([clang, "-w", "-Wno-error", *compiler_args(entry), "-M", "-MT", "x"],
                         cwd=entry["directory"], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        return None
    names = run.stdout.replace("\\\n", " ").split(":", 1)[1].split()
    return [pathlib.Path(entry["directory"], name).resolve() for name in names]


def key_of(entry, root, clang, fixed):
    files = dependencies(entry, clang)
    if files is None:
        return None
    digest = hashlib.sha256(fixed)
    for arg in compiler_args(entry):
        digest.update(arg.replace(str(root), ".").encode() + b"\0")
    facts = []
    for file in set(files):
        if file.is_relative_to(root):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            facts.append(f"{file.relative_to(root)} {content}\n")
        else:
            stat = file.stat()
            facts.append(f"{file} {stat.st_size} {stat.st_mtime_ns}\n")
    digest.update("".join(sorted(facts)).encode())
    return digest.hexdigest()


def drop_old(cache):
    oldest = time.time() - CACHE_DAYS * 86400
    for file in cache.iterdir():
        if file.stat().st_mtime < oldest:
            file.unlink(missing_ok=True)


def is_test(file):
    path = pathlib.Path(file)
    return path.stem.endswith("_test") or "tests" in path.parts


def checks_off(file):
    if is_test(file):
        return TEST_CHECKS_OFF
    return COROUTINE_CHECKS_OFF if "co_await" in pathlib.Path(file).read_text(encoding="utf-8") else ""


def check(entry, args, fixed):
    """Returns (state, seconds, output); state is 'cached', 'clean' or 'failed'."""
    start = time.monotonic()
    key = key_of(entry, args.root, args.clang, fixed)
    mark = args.cache / key if key else None
    if mark and mark.exists():
        os.utime(mark)
        return "cached", time.monotonic() - start, ""
    command = [args.clang_tidy, "-p", str(args.build_dir), "--quiet"]
    off = checks_off(entry["file"])
    if off:
        command.append(f"--checks={off}")
    run = subprocess.run([*command, entry["file"]], capture_output=True, text=True, check=False)
    seconds = time.monotonic() - start
    if run.returncode != 0:
        noise = re.compile(r"^\d+ warnings?( and \d+ errors?)? generated\.\n", re.MULTILINE)
        return "failed", seconds, noise.sub("", run.stdout + run.stderr).strip() + "\n"
    if mark:
        mark.touch()
    return "clean", seconds, ""


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-p", "--build-dir", type=pathlib.Path, required=True)
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--cache", type=pathlib.Path, help="default: BUILD_DIR/tidy-cache")
    parser.add_argument("--clang-tidy", default="clang-tidy")
    parser.add_argument("--clang", default="clang++")
    parser.add_argument("paths", nargs="*", default=["src", "tests"],
                        help="folders or files to check; default: src tests")
    args = parser.parse_args(argv)
    args.root = pathlib.Path(__file__).resolve().parent.parent
    args.cache = args.cache or args.build_dir / "tidy-cache"
    return args


def main(argv):
    args = parse(argv)
    args.cache.mkdir(parents=True, exist_ok=True)
    drop_old(args.cache)
    version = subprocess.run([args.clang_tidy, "--version"], capture_output=True, check=True).stdout
    fixed = version + (args.root / ".clang-tidy").read_bytes()

    wanted = [(args.root / path).resolve() for path in args.paths]
    database = json.loads((args.build_dir / "compile_commands.json").read_text(encoding="utf-8"))
    entries = [entry for entry in database
               if any(pathlib.Path(entry["file"]).is_relative_to(path) for path in wanted)]
    if not entries:
        print(f"clang-tidy: nothing in {args.build_dir} is under {' '.join(args.paths)}")
        return 1

    counts = {"cached": 0, "clean": 0, "failed": 0}
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        running = {pool.submit(check, entry, args, fixed): entry for entry in entries}
        for done, future in enumerate(concurrent.futures.as_completed(running), 1):
            state, seconds, output = future.result()
            counts[state] += 1
            if state != "cached":
                name = os.path.relpath(running[future]["file"], args.root)
                print(f"[{done}/{len(entries)}] {name}: {state}, {seconds:.1f} s", flush=True)
            if output:
                print(output, flush=True)
    print(f"clang-tidy: {len(entries)} files: {counts['cached']} unchanged, "
          f"{counts['clean']} clean, {counts['failed']} failed")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
