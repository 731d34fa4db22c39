"""An ordinary user's changes on disk: what older kernels need, and whoever has more disk than memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from bailiff_cli import Bench, Cli
from e2e_tools import Held, contents, processes_with, python, running_ids, wait_until


def set_on_disk(cli: Cli) -> Cli:
    settings = cli.state / "bailiff.toml"
    settings.write_text('[sandbox]\nscratch = "disk"\n')
    cli.own(settings)
    return cli


@pytest.fixture
def ws(bench: Bench) -> Iterator[Cli]:
    yield set_on_disk(bench.workspace("rootless"))


def on_disk(cli: Cli) -> list[str]:
    return os.listdir(cli.state / "scratch")


def test_a_run_is_as_any_other_and_says_that_it_is_polled(ws: Cli) -> None:
    ws.write("projects/A/old/f", "old\n")
    code = ("import os, shutil; os.chdir('/workspace/projects/A'); shutil.rmtree('old'); os.mkdir('old');"
            "open('old/g', 'w').write('new\\n'); os.mkdir('closed', 0); open('/tmp/t', 'w').write('x')")
    document = ws.json(["exec", *python(code)])
    assert document["guarantees"]["scratch"] == "polled"
    assert document["usage"]["scratch_bytes"] > 0
    changes = ws.json(["changes", document["execution_id"]])["changes"]
    assert sorted((change["op"], change["path"]) for change in changes) == [
        ("create", "projects/A/closed"), ("create", "projects/A/old/g"), ("delete", "projects/A/old/f")]  # fmt: skip
    assert on_disk(ws) == []


@pytest.mark.parametrize("options, code, words", [
    (["--scratch", "2m"], "n = 0\nwhile True:\n n += 1\n open(f'{n}', 'wb').write(bytes(100_000))", "scratch was full"),
    (["--files", "100"], "n = 0\nwhile True:\n n += 1\n open(f'{n}', 'w')", "more than 100 changes"),
])  # fmt: skip
def test_a_script_that_goes_on_over_a_limit_is_ended(
    ws: Cli, options: list[str], code: str, words: str
) -> None:
    before = contents(ws)
    answer = ws.run(["--json", "exec", *options, *python(code)])
    document = json.loads(answer.stdout)
    assert (document["status"], document["signal"]) == ("limit_exceeded", 9)
    assert words in document["error"]
    assert document["changes"]["state"] == "discarded"
    assert contents(ws) == before
    assert on_disk(ws) == []


def test_what_a_killed_run_left_goes_with_the_next_command(ws: Cli) -> None:
    marker = "on-disk-marker-1"
    with Held(ws, f"'{marker}'; open('/workspace/f', 'w')") as held:
        [running] = running_ids(ws)
        [left] = on_disk(ws)
        assert left.startswith(f"{running}.")
        held.kill()
    wait_until(lambda: not processes_with(marker), "the end of the script")
    ws.ok(["exec", "--", "/bin/true"])
    assert on_disk(ws) == []


def test_root_is_told_that_it_is_not_for_root(bench: Bench) -> None:
    cli = set_on_disk(bench.workspace("privileged"))
    answer = cli.run(["exec", "--", "/bin/true"])
    assert answer.exit == 125
    assert b"scratch: only an ordinary user's" in answer.stderr


def test_doctor_says_that_it_is_weaker(ws: Cli) -> None:
    document = ws.json(["doctor"])
    [layer] = [layer for layer in document["layers"] if layer["name"] == "scratch"]
    assert layer["holds"] == "weaker"
    assert "counted now and then" in layer["why"]
