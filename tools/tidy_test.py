"""Each check is shown a tree that breaks its rule and one that keeps it."""

import pathlib
import shutil
import subprocess
import sys

import pytest

TOOLS = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(TOOLS))

import check_layering  # noqa: E402
import run_tests  # noqa: E402
import tidy  # noqa: E402


def findings(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(tidy.findings(root))


BROKEN = [
    ("src/a/a.h", "int x;\n" * 301, "301 lines; at most 300"),
    ("src/a/a.cc", "int x;\n" * 801, "801 lines; at most 800"),
    ("src/a/a.cc", "int x;\n" * 501, "note: src/a/a.cc: 501 lines"),
    ("src/a/a.cc", "int " + "x" * 97 + ";\n", "102 columns"),
    ("tests/a.py", "x = '" + "y" * 120 + "'\n", "126 columns"),
    ("src/a/a.cc", "// TODO: later\n", "write TODO(#N)"),
    ("src/a/a.cc", "int x; /* FIXME */\n", "FIXME"),
    ("tests/a.sh", "# XXX why\n", "XXX"),
    ("src/a/a.cc", "int y = system(\"ls\");\n", "system() is banned"),
    ("src/a/a.cc", "auto* p = ::popen(x, y);\n", "popen() is banned"),
    ("src/a/a.cc", "auto s = std::strerror(e);\n", "strerror() is banned"),
    ("src/a/a.cc", "int r = rand();\n", "rand() is banned"),
    ("src/a/a.cc", "sprintf(b, f);\n", "sprintf() is banned"),
    ("src/a/a.h", "std::filesystem::path p;\n", "std::filesystem is banned"),
    ("src/a/a.cc", "#include <regex>\n", "std::regex is banned"),
    ("src/a/a.cc", "auto h = getenv(\"HOME\");\n", "getenv() belongs in src/main.cc"),
    ("src/a/a.h", "// why\n" * 40 + "int x;\n" * 30, "57 % of the lines are comments"),
    ("src/a/a.cc", "/*\nwhy\n*/\n" * 10 + "int x;\n" * 50, "37 % of the lines are comments"),
    ("docs/a.md", "see [it](missing.md)\n", "docs/a.md:1: dead link to missing.md"),
    ("docs/a.md", "\n[it]: ../missing.md\n", "docs/a.md:2: dead link to ../missing.md"),
    ("README.md", "| x | `tests/gone.py` |\n", "there is no tests/gone.py"),
    ("README.md", "| x | `gone_test.cc` |\n", "no test file is named gone_test.cc"),
    ("SECURITY.md", "| x | `GoneTest.IsNotThere` |\n", "no test is named GoneTest.IsNotThere"),
    ("SECURITY.md", "| x | `GoneTest.*` |\n", "no test is named GoneTest.*"),
]


@pytest.mark.parametrize("name,text,expected", BROKEN)
def test_a_broken_rule_is_found(tmp_path, name, text, expected):
    found = findings(tmp_path, {name: text})
    assert len(found) == 1 and expected in found[0], found


KEPT = [
    ("src/a/a.h", "int x;\n" * 300),
    ("src/a/a.cc", "int x;\n" * 500),
    ("src/a/a.cc", "// https://example.org/" + "x" * 100 + "\n"),
    ("src/a/a.cc", "// TODO(#12): say what.\n"),
    ("src/a/a.cc", "auto s = \"TODO and system( and std::regex\";\n"),
    ("src/a/a.cc", "auto s = R\"(FIXME \" getenv( )\"; auto c = '\"';\n"),
    ("src/a/a.cc", "// calls system() and std::filesystem\n"),
    ("src/a/a.cc", "int n = 1'000'000; x.system(); y->rand(); strerror_r(e); my_rand();\n"),
    ("src/a/a_test.cc", "std::filesystem::path p = getenv(\"X\");\n"),
    ("src/main.cc", "auto h = getenv(\"HOME\");\n"),
    ("src/a/a.h", "// why\n" * 30 + "int x;\n" * 31),
    ("src/a/a.h", "// why\n" * 60),
    ("docs/a.md", "[self](a.md#part) [web](https://x.org) [part](#part) `[no](x.md)`\n"),
    ("docs/a.md", "```\n[code](missing.md)\n```\n"),
    ("README.md", "| x | `README.md` `bailiff run` `tests/` |\n\n`tests/gone.py`\n"),
    ("build/a.cc", "// FIXME\n"),
    ("build-test/a.cc", "// FIXME\n"),
]


@pytest.mark.parametrize("name,text", KEPT)
def test_a_kept_rule_is_not_reported(tmp_path, name, text):
    (tmp_path / "tests").mkdir()
    assert findings(tmp_path, {name: text}) == []


def test_two_headers_may_not_define_one_type(tmp_path):
    found = findings(tmp_path, {"src/a/a.h": "struct Seen {\n};\nclass Fd;\n",
                                "src/b/b.h": "class Seen : A {\n};\nclass Fd;\n"})
    assert found == ["src/b/b.h:1: Seen is defined in src/a/a.h too"]


def test_a_guarantee_may_name_tests_that_exist(tmp_path):
    table = ("| a | `FdTest.Closes`, `FdTest.*`, `fd_test.cc` |\n"
             "| b | `tests/e2e/test_x.py::test_y` |\n")
    files = {"src/sys/fd_test.cc": "TEST_F(FdTest, Closes) {}\n",
             "tests/e2e/test_x.py": "def test_y():\n    pass\n", "README.md": table}
    assert findings(tmp_path, files) == []
    assert findings(tmp_path, {"README.md": table.replace("test_y", "test_z")}) == [
        "README.md:2: tests/e2e/test_x.py has no test_z"]


def test_the_layering_table_has_no_cycle():
    assert check_layering.cycle(check_layering.MAY_USE) is None
    assert check_layering.cycle({"a": {"b"}, "b": {"a"}}) is not None


@pytest.mark.parametrize("module,line,bad", [
    ("sys", '#include "engine/engine.h"', True),
    ("sandbox", '#include "journal/journal.h"', True),
    ("journal", '# include "sandbox/plan.h"', True),
    ("store", "#include <core/core.h>", True),
    ("novelty", "", True),
    ("base", "#include <sys/stat.h>", False),
    ("core", '#include "journal/journal.h"', False),
    ("sys", '#include "sys/fd.h"', False),
])
def test_layering(tmp_path, module, line, bad):
    (tmp_path / module).mkdir()
    (tmp_path / module / "x.cc").write_text(line + "\n", encoding="utf-8")
    (tmp_path / "main.cc").write_text('#include "core/core.h"\n', encoding="utf-8")
    assert bool(list(check_layering.violations(tmp_path))) == bad


@pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")
@pytest.mark.parametrize("sources,expected", [
    (["#include <unistd.h>\nvoid f() { _exit(1); }"], None),
    (["void g(); void f() { g(); }", "void g() {}"], None),
    (["#include <cstdio>\nvoid f() { printf(\"%d\", 1); }"], "printf"),
    (["#include <string>\nstd::string f() { return std::string(99, 'x'); }"], "std::"),
])
def test_child_symbols(tmp_path, sources, expected):
    objects = []
    for number, source in enumerate(sources):
        path = tmp_path / f"child_{number}.cc"
        path.write_text(source, encoding="utf-8")
        objects.append(path.with_suffix(".o"))
        subprocess.run(["g++", "-c", "-std=c++20", "-fno-exceptions", path, "-o", objects[-1]],
                       check=True)
    run = subprocess.run([TOOLS / "check_child_symbols.sh", *objects], capture_output=True,
                         text=True, check=False)
    assert run.returncode == (1 if expected else 0), run.stderr
    assert expected is None or expected in run.stderr


def test_child_symbols_refuses_to_check_nothing(tmp_path):
    script = TOOLS / "check_child_symbols.sh"
    assert subprocess.run([script], capture_output=True, check=False).returncode != 0
    gone = subprocess.run([script, tmp_path / "gone.o"], capture_output=True, check=False)
    assert gone.returncode != 0


CTEST_XML = """<testsuite>
  <testcase name="plain" status="run"/>
  <testcase name="broken" status="fail"><failure message=""/></testcase>
  <testcase name="gtest" status="run"><system-out>
[  PASSED  ] 7 tests.
[  SKIPPED ] 2 tests, listed below:
  </system-out></testcase>
  <testcase name="gtest_bad" status="fail"><failure message=""/><system-out>
[  PASSED  ] 3 tests.
[  FAILED  ] 1 test, listed below:
 1 FAILED TEST
  </system-out></testcase>
  <testcase name="leak" status="fail"><failure message=""/><system-out>
[  PASSED  ] 1 test.
  </system-out></testcase>
</testsuite>
"""


def test_counts_sum_the_tests_inside_gtest_programs(tmp_path):
    report = tmp_path / "ctest.xml"
    report.write_text(CTEST_XML, encoding="utf-8")
    assert run_tests.counts_of_junit(report) == {"passed": 12, "failed": 3, "skipped": 2}
    assert run_tests.counts_of_junit(tmp_path / "gone.xml")["passed"] == 0
