#!/usr/bin/env python3
"""Checks the rules of the house that no compiler checks. See CONTRIBUTING.md for the rules.

usage: tidy.py [ROOT]
Prints one line per finding, path:line: what is wrong, and exits 1 when there is any. Lines that
begin with "note:" are reports and do not fail.
"""

import os
import pathlib
import re
import sys

HEADER_LINES_MAX = 300
SOURCE_LINES_MAX = 800
SOURCE_LINES_REPORT = 500
COLUMNS_MAX = 100
PYTHON_COLUMNS_MAX = 120  # Tables of sample text and expected output do not fold well.
COMMENT_LINES_MIN = 60  # Shorter files may be all contract.
HEADER_COMMENT_PERCENT_MAX = 50
SOURCE_COMMENT_PERCENT_MAX = 25

SKIPPED_FOLDERS = {".git", ".cache", "__pycache__", "node_modules", ".pytest_cache", ".bailiff"}
USER_DATA = "examples/workspace"  # Stands for a user's files, which follow no rules of ours.
CXX = {".cc", ".h"}
CODE = CXX | {".py", ".sh", ".cmake", ".js", ".css", ".sql"}

BANNED_CALLS = re.compile(
    r"(?<![\w.>])(?:std::|::)?(system|popen|strerror|rand|srand|sprintf|vsprintf|strcpy|strcat|"
    r"strtok|gets|tmpnam|mktemp)\s*\(")
BANNED_NAMES = re.compile(
    r"\bstd::(filesystem|regex|wregex)\b|#\s*include\s*<(filesystem|regex)>")
GETENV = re.compile(r"(?<![\w.>])(?:std::|::)?(?:secure_)?getenv\s*\(")

MARKER = re.compile(r"\b(TODO|FIXME|XXX)\b(?!\w)")
GOOD_TODO = re.compile(r"\bTODO\(#\d+\): \S")

# A raw string, a string, a character, a line comment, a block comment, in this order of preference.
TOKENS = re.compile(
    r'R"(?P<delimiter>[^\s()\\]{0,16})\(.*?\)(?P=delimiter)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'"
    r"|(?P<comment>//(?:\\\n|[^\n])*|/\*.*?\*/)", re.DOTALL)

LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
LINK_DEFINITION = re.compile(r"^[ \t]*\[[^\]]+\]:[ \t]*<?(\S+?)>?[ \t]*$", re.MULTILINE)
FENCE = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.DOTALL | re.MULTILINE)
INLINE_CODE = re.compile(r"`[^`\n]*`")

# A type with a body, outside of any other: one name, one type, or the linker joins their members.
TYPE = re.compile(r"^(?:class|struct)\s+(?:\[\[\w+\]\]\s+)?(\w+)[^;{()]*\{", re.MULTILINE)

GTEST = re.compile(r"^\s*(?:TYPED_)?TEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)", re.MULTILINE)
GTEST_NAME = re.compile(r"^[A-Z]\w*\.(\*|[A-Z]\w*)$")
GUARANTEE_FILES = ("README.md", "SECURITY.md")


def blank(text):
    """The same number of lines and columns, with nothing in them."""
    return re.sub(r"[^\n]", " ", text)


def split_cxx(text):
    """Returns (code, comments): the text with the other, and all literals, blanked out."""
    def code(match):
        if match.group("comment") is not None or match.group(0)[0] == "R":
            return blank(match.group(0))
        quote = match.group(0)[0]
        return quote + blank(match.group(0)[1:-1]) + quote

    comments, end = [], 0
    for match in TOKENS.finditer(text):
        comments.append(blank(text[end:match.start()]))
        is_comment = match.group("comment") is not None
        comments.append(match.group(0) if is_comment else blank(match.group(0)))
        end = match.end()
    comments.append(blank(text[end:]))
    return TOKENS.sub(code, text), "".join(comments)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def check_size(name, text):
    lines = text.count("\n")
    limit = HEADER_LINES_MAX if name.suffix == ".h" else SOURCE_LINES_MAX
    if lines > limit:
        yield f"{name}:{limit + 1}: {lines} lines; at most {limit}"
    elif name.suffix != ".h" and lines > SOURCE_LINES_REPORT:
        yield f"note: {name}: {lines} lines; aim at {SOURCE_LINES_REPORT}"


def check_columns(name, text):
    limit = PYTHON_COLUMNS_MAX if name.suffix == ".py" else COLUMNS_MAX
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > limit and "://" not in line and not line.startswith("#include"):
            yield f"{name}:{number}: {len(line)} columns; at most {limit}"


def check_markers(name, text):
    for number, line in enumerate(text.split("\n"), 1):
        for match in MARKER.finditer(line):
            if match.group(1) != "TODO":
                yield f"{name}:{number}: {match.group(1)}; open an issue, write TODO(#N): ..."
            elif not GOOD_TODO.match(line, match.start()):
                yield f"{name}:{number}: write TODO(#N): what is missing, with an open issue"


def check_banned(name, code):
    if name.parts[0] != "src" or name.stem.endswith("_test"):
        return
    for number, line in enumerate(code.split("\n"), 1):
        for match in BANNED_CALLS.finditer(line):
            yield f"{name}:{number}: {match.group(1)}() is banned in src/"
        for match in BANNED_NAMES.finditer(line):
            yield f"{name}:{number}: std::{match.group(1) or match.group(2)} is banned in src/"
        if GETENV.search(line) and str(name) != "src/main.cc":
            yield f"{name}:{number}: getenv() belongs in src/main.cc"


def check_comment_share(name, code, comments):
    is_code = [bool(line.strip()) for line in code.split("\n")]
    is_comment = [bool(line.strip()) for line in comments.split("\n")]
    comment_lines = sum(c and not k for k, c in zip(is_code, is_comment))
    lines = sum(k or c for k, c in zip(is_code, is_comment))
    if lines <= COMMENT_LINES_MIN:
        return
    limit = HEADER_COMMENT_PERCENT_MAX if name.suffix == ".h" else SOURCE_COMMENT_PERCENT_MAX
    percent = 100 * comment_lines // lines
    if percent > limit:
        yield f"{name}:1: {percent} % of the lines are comments; at most {limit} %"


def check_cxx(name, text):
    code, comments = split_cxx(text)
    yield from check_markers(name, comments)
    yield from check_banned(name, code)
    yield from check_comment_share(name, code, comments)


def is_public_header(name):
    return name.suffix == ".h" and name.parts[0] == "src" and not name.stem.endswith("_test")


def check_types(root, headers):
    """No linker tells of two types of one name, whose members it takes for the same."""
    first = {}
    for name in headers:
        code, _ = split_cxx((root / name).read_text(encoding="utf-8", errors="replace"))
        for match in TYPE.finditer(code):
            known = first.setdefault(match.group(1), name)
            if known != name:
                yield f"{name}:{line_of(code, match.start())}: {match.group(1)} is defined in {known} too"


def check_links(root, name, text):
    """A relative link must lead to something in the tree."""
    prose = FENCE.sub(lambda match: blank(match.group(0)), text)
    prose = INLINE_CODE.sub(lambda match: blank(match.group(0)), prose)
    for pattern in (LINK, LINK_DEFINITION):
        for match in pattern.finditer(prose):
            target = match.group(1).split("#", 1)[0]
            if not target or re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", target):
                continue
            base = root if target.startswith("/") else (root / name).parent
            if not (base / target.lstrip("/")).exists():
                yield f"{name}:{line_of(text, match.start())}: dead link to {target}"


class TestIndex:
    """What a guarantee table may name: the files of the tree and the tests in them."""

    def __init__(self, root, files):
        self.root = root
        self.paths = {str(file) for file in files}
        self.names = {file.name for file in files}
        self.gtests = set()
        for file in files:
            if file.name.endswith("_test.cc") or (file.suffix == ".cc" and "tests" in file.parts):
                text = (root / file).read_text(encoding="utf-8", errors="replace")
                self.gtests |= {f"{suite}.{test}" for suite, test in GTEST.findall(text)}
        self.suites = {test.split(".")[0] for test in self.gtests}

    def missing(self, token):
        """Says what is missing when the token names a test that is not there; else None."""
        if GTEST_NAME.match(token):
            suite, test = token.split(".")
            known = suite in self.suites if test == "*" else token in self.gtests
            return None if known else f"no test is named {token}"
        path, _, function = token.partition("::")
        if "/" not in path:
            if re.fullmatch(r"\w+_test\.(cc|py)|test_\w+\.py", path) and path not in self.names:
                return f"no test file is named {path}"
            return None
        is_test = path.startswith("tests/") or re.search(r"_test\.(cc|py)$", path)
        if not is_test or " " in path or "*" in path:
            return None
        if not (self.root / path).exists():
            return f"there is no {path}"
        if function and not re.search(rf"\b{re.escape(function.split('::')[-1].split('[')[0])}\b",
                                      (self.root / path).read_text(encoding="utf-8")):
            return f"{path} has no {function}"
        return None


def check_guarantees(name, text, index):
    for number, line in enumerate(text.split("\n"), 1):
        if not line.lstrip().startswith("|"):
            continue
        for token in re.findall(r"`([^`]+)`", line):
            problem = index.missing(token.strip())
            if problem:
                yield f"{name}:{number}: {problem}"


def files_of(root):
    found = []
    for folder, folders, names in os.walk(root):
        here = pathlib.Path(folder).relative_to(root)
        folders[:] = sorted(
            name for name in folders
            if name not in SKIPPED_FOLDERS and str(here / name) != USER_DATA
            and not (here == pathlib.Path(".") and re.fullmatch(r"build(-.*)?", name)))
        found.extend(here / name for name in sorted(names))
    return [file for file in found if (root / file).is_file()]


def findings(root):
    files = files_of(root)
    index = TestIndex(root, files)
    yield from check_types(root, [name for name in files if is_public_header(name)])
    for name in files:
        if name.suffix not in CODE | {".md"}:
            continue
        text = (root / name).read_text(encoding="utf-8", errors="replace")
        if name.suffix in CXX:
            yield from check_cxx(name, text)
        elif name.suffix in CODE and name.parts[0] != "tools":
            yield from check_markers(name, text)
        if name.suffix in CXX | {".py"}:
            yield from check_size(name, text)
            yield from check_columns(name, text)
        if name.suffix == ".md":
            yield from check_links(root, name, text)
            if str(name) in GUARANTEE_FILES:
                yield from check_guarantees(name, text, index)


def main(argv):
    if len(argv) > 2:
        print("usage: tidy.py [ROOT]", file=sys.stderr)
        return 2
    here = pathlib.Path(__file__).resolve().parent.parent
    root = pathlib.Path(argv[1]).resolve() if len(argv) == 2 else here
    failed = False
    for line in findings(root):
        print(line)
        failed = failed or not line.startswith("note:")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
