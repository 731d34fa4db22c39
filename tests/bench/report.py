"""The table as Markdown, for docs/benchmarks.md."""

from __future__ import annotations

import datetime
import os
import pathlib
import platform
import statistics

from engines import Engine
from goals import Goal
from servers import CONNECTIONS, Rate

INTRO = """\
# Benchmarks

Written by `make bench` (`tests/bench/run`). Times say as much about the machine as about the program:
compare the ratios, which come from runs that took turns within one go. The raw samples lie in
[benchmarks/](benchmarks). Why it costs what it costs: [design/0010-speed.md](design/0010-speed.md).
"""

BARE = {None: "bare python3", "user": "bare python3, ordinary user"}
GOAL_DISCARD = 1.25
GOAL_DOCKER = 15


def machine() -> dict[str, str]:
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "machine": f"{os.cpu_count()} x {model}", "kernel": platform.release(),
            "load": f"{os.getloadavg()[0]:.1f}"}  # fmt: skip


def median_ms(engine: Engine) -> float:
    return statistics.median(engine.samples) * 1000


def engine_goals(engines: list[Engine]) -> list[Goal]:
    by_name = {engine.name: engine for engine in engines}
    goals = []
    for tier, bare in (("root", BARE[None]), ("ordinary user", BARE["user"])):
        ours = by_name.get(f"bailiff --mode discard, {tier}")
        if ours is None or bare not in by_name:
            continue
        goals.append(Goal(f"--mode discard to bare python3, {tier}",
                          median_ms(ours) / median_ms(by_name[bare]), GOAL_DISCARD, "x",
                          f"{median_ms(ours):.1f} ms to {median_ms(by_name[bare]):.1f} ms", {}))
        docker = by_name.get("docker run --network none")
        ratio = None if docker is None else median_ms(ours) / median_ms(docker)
        goals.append(Goal(f"--mode discard to docker run, {tier}", ratio, 1 / GOAL_DOCKER, "x",
                          "no daemon answers" if docker is None else "", {}))  # fmt: skip
    return goals


def table(engines: list[Engine], absent: dict[str, str]) -> str:
    by_name = {engine.name: engine for engine in engines}
    lines = ["| a Python script that prints and writes one file | median ms | min ms | x bare |",
             "| --- | --- | --- | --- |"]  # fmt: skip
    for engine in engines:
        bare = by_name.get(BARE["user" if engine.user is not None else None])
        ratio = f"{median_ms(engine) / median_ms(bare):.2f}" if bare is not None else ""
        lines.append(f"| {engine.name} | {median_ms(engine):.1f} | "
                     f"{min(engine.samples) * 1000:.1f} | {ratio} |")  # fmt: skip
    lines += [f"| {name} | {why} | | |" for name, why in absent.items()]
    return "\n".join(lines) + "\n"


def goal_table(goals: list[Goal]) -> str:
    lines = ["| goal | measured | at most | |", "| --- | --- | --- | --- |"]
    for goal in goals:
        detail = f" ({goal.detail})" if goal.detail else ""
        measured = "" if goal.value is None else f"{goal.value:.2f} {goal.unit}"
        lines.append(f"| {goal.name} | {measured}{detail} | "
                     f"{goal.at_most:.2f} {goal.unit} | {goal.verdict} |")
    return "\n".join(lines) + "\n"


def sync_table(syncs: dict[str, list[str]]) -> str:
    lines = ["| syncs of one run | |", "| --- | --- |"]
    for mode, made in syncs.items():
        lines.append(f"| `--mode {mode}` | {len(made)}: {', '.join(made)} |")
    return "\n".join(lines) + "\n"


def rate_table(rates: list[Rate]) -> str:
    lines = [f"| asked by wrk, {CONNECTIONS} connections kept | requests/s | p50 ms | p99 ms |",
             "| --- | --- | --- | --- |"]  # fmt: skip
    for row in rates:
        lines.append(f"| {row.name} | {row.median('per_second'):,.0f} | "
                     f"{row.median('p50_ms'):.2f} | {row.median('p99_ms'):.2f} |")  # fmt: skip
    return "\n".join(lines) + "\n"


def render(about: dict[str, str], rounds: int, engines: list[Engine], absent: dict[str, str],
           goals: list[Goal], syncs: dict[str, list[str]], rates: list[Rate]) -> str:  # fmt: skip
    missed = [goal.name for goal in goals if goal.verdict == "**missed**"]
    unknown = [goal.name for goal in goals if goal.value is None]
    verdict = f"Missed: {'; '.join(missed)}." if missed else "No goal that was measured is missed."
    if unknown:
        verdict += f" Not measured: {'; '.join(unknown)}."
    text = (f"{INTRO}\n{about['date']}, {about['machine']}, Linux {about['kernel']}, "
            f"{rounds} rounds, load {about['load']}.\n\n**{verdict}**\n\n")  # fmt: skip
    if engines:
        text += table(engines, absent) + "\n"
    if rates:
        text += rate_table(rates) + "\n"
    if goals:
        text += goal_table(goals) + "\n"
    if syncs:
        text += sync_table(syncs)
    return text
