"""The server: what HTTP adds, what it does when too much is asked of it, and many executions."""

from __future__ import annotations

import collections
import datetime
import json
import pathlib
import random
import sqlite3
import statistics
import subprocess
import threading
import time

from engines import Places
from goals import Goal
from servers import Client, Rate, Server, echo_server, program, python_server

RATE_SECONDS = 2
RATE_ROUNDS = 3
LATENCY_RUNS = 200
WARM_RUNS = 10
COMMAND = {"command": ["/bin/true"]}
EXECUTIONS = 100_000
INSERT_ROWS = 10_000
STARTS = 7
PAGE_ASKS = 60
CLIENTS = 64
QUEUE = 64
RETRY_SECONDS = 0.1
ENDED = {"succeeded", "failed", "timed_out", "oom_killed", "limit_exceeded", "cancelled",
         "interrupted", "denied", "error"}  # fmt: skip


def submit(client: Client, request: dict[str, object], wait: int = 0) -> tuple[int, bytes]:
    target = f"/v1/executions?wait={wait}" if wait else "/v1/executions"
    return client.ask("POST", target, json.dumps(request).encode())


def rates(places: Places) -> list[Rate]:
    """Who answers how much; the servers take turns, one at a time is asked."""
    server = Server(places, places.make_workspace("rates"))
    others: list[subprocess.Popen[bytes]] = []
    try:
        token = server.token("rates", "agent")
        client = Client(server.port, token)
        status, body = submit(client, COMMAND, 10)
        assert status == 201, body
        execution = json.loads(body)["execution_id"]
        folder = places.top / "http.server"
        folder.mkdir()
        python, python_port = python_server(folder)
        others.append(python)
        echo, echo_port = echo_server()
        others.append(echo)
        own = f"http://127.0.0.1:{server.port}"
        rows = [Rate("Asio, one fixed answer", f"http://127.0.0.1:{echo_port}/health"),
                Rate("python3 -m http.server, a file", f"http://127.0.0.1:{python_port}/health"),
                Rate("bailiff: GET /health", own + "/health"),
                Rate("bailiff: GET /v1/executions/{id}", f"{own}/v1/executions/{execution}", token)]
        for row in rows:
            row.run(1)
            row.samples.clear()
        for _ in range(RATE_ROUNDS):
            for row in random.sample(rows, len(rows)):
                row.run(RATE_SECONDS)
        client.close()
        return rows
    finally:
        for process in others:
            process.kill()
            process.wait()
        server.close()


def latency(places: Places, _: int) -> list[Goal]:
    """From a request to the end of what it asks for, by HTTP and in one process; in turns."""
    workspace = places.make_workspace("latency")
    server = Server(places, workspace)
    engine = subprocess.Popen([program("bench_engine"), str(workspace), f"{workspace}.state",
                               json.dumps(COMMAND)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True, bufsize=1)  # fmt: skip
    assert engine.stdin is not None and engine.stdout is not None
    samples: dict[str, list[float]] = {"by HTTP": [], "engine alone": []}
    try:
        client = Client(server.port, server.token("latency", "agent"))
        for number in range(LATENCY_RUNS + WARM_RUNS):
            begin = time.perf_counter()
            status, body = submit(client, COMMAND, 10)
            seconds = time.perf_counter() - begin
            assert status == 201 and json.loads(body)["status"] == "succeeded", body
            engine.stdin.write("\n")
            alone = float(engine.stdout.readline())
            if number >= WARM_RUNS:
                samples["by HTTP"].append(seconds)
                samples["engine alone"].append(alone)
        client.close()
    finally:
        engine.stdin.close()
        engine.wait()
        server.close()
    http, alone = (statistics.median(times) * 1e3 for times in samples.values())
    return [Goal("from submission to result: by HTTP, less the engine alone", http - alone, 1, "ms",
                 f"{http:.2f} ms less {alone:.2f} ms", samples)]  # fmt: skip


class Crowd:
    """Clients that submit as fast as they are let, each execution with a file of its own."""

    def __init__(self, server: Server, token: str) -> None:
        self._server = server
        self._token = token
        self._lock = threading.Lock()
        self._end = threading.Event()
        self.accepted: dict[str, str] = {}  # The id, by the name that its file begins with.
        self.answers: collections.Counter[int] = collections.Counter()
        self.faults: list[str] = []

    def run(self, seconds: float) -> list[float]:
        """Memory of the server, in MiB: after a quarter of the time, and at its end."""
        threads = [threading.Thread(target=self._submit, args=(n,)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        time.sleep(seconds / 4)
        memory = [self._server.rss_mib()]
        time.sleep(seconds * 3 / 4)
        memory.append(self._server.rss_mib())
        self._end.set()
        for thread in threads:
            thread.join()
        return memory

    def _submit(self, number: int) -> None:
        client = Client(self._server.port, self._token)
        count = 0
        try:
            while not self._end.is_set():
                name = f"{number}-{count}"
                # Run twice, it would leave two files.
                code = f"#!/bin/bash\n: > /workspace/Reports/{name}.$EPOCHREALTIME\n"
                wait = 2 if number % 4 == 0 else 0  # Some are run past the queue.
                status, body = submit(client, {"code": code, "language": "bash"}, wait)
                with self._lock:
                    self.answers[status] += 1
                    if status == 201:
                        self.accepted[name] = json.loads(body)["execution_id"]
                    elif status != 429:
                        self.faults.append(f"{status}: {body.decode()}")
                count += 1
                if status == 429:
                    self._end.wait(RETRY_SECONDS)
        except (OSError, ConnectionError) as error:
            self.faults.append(str(error))
        finally:
            client.close()


def drain(client: Client, ids: list[str], seconds: float) -> dict[str, str]:
    """By id: the status of each, once none waits or runs."""
    deadline = time.monotonic() + seconds
    found = {}
    for execution in ids:
        left = max(1, int(deadline - time.monotonic()))
        document = client.get(f"/v1/executions/{execution}?wait={min(left, 60)}")
        found[execution] = document["status"]
    return found


def full_queue(places: Places, seconds: int) -> list[Goal]:
    workspace = places.make_workspace("queue")
    server = Server(places, workspace, "--queue", str(QUEUE))
    try:
        token = server.token("crowd", "agent")
        crowd = Crowd(server, token)
        memory = crowd.run(seconds)
        if crowd.faults:
            raise RuntimeError(f"{len(crowd.faults)} faults: {crowd.faults[0]}")
        client = Client(server.port, token)
        ended = drain(client, list(crowd.accepted.values()), 60)
        client.close()
    finally:
        server.close()
    files = collections.Counter(path.name.split(".")[0] for path in (workspace / "Reports").iterdir())
    bad = [f"{execution}: {status}" for execution, status in ended.items() if status not in ENDED]
    failed = sum(status != "succeeded" for status in ended.values())
    lost = len(bad) + sum(ended[execution] == "succeeded" and files[name] == 0
                          for name, execution in crowd.accepted.items())  # fmt: skip
    twice = sum(count > 1 for count in files.values()) + sum(name not in crowd.accepted
                                                             for name in files)  # fmt: skip
    detail = (f"{CLIENTS} clients, {seconds} s, a queue of {QUEUE}: {len(ended)} accepted and "
              f"ended, {failed} of them not well; {crowd.answers[429]} times 429")  # fmt: skip
    return [Goal("accepted and lost, the queue full", lost, 0, "runs", detail, {}),
            Goal("run twice, or run and not accepted", twice, 0, "runs", "", {}),
            Goal("memory of the server after that, to a quarter of the way", memory[1] / memory[0],
                 1.1, "x", f"{memory[1]:.1f} MiB to {memory[0]:.1f} MiB", {})]  # fmt: skip


def insert_many(database: pathlib.Path, template: dict[str, object]) -> None:
    """Rows as the server writes them: most succeeded; few were denied, or of the case `Rare`."""
    connection = sqlite3.connect(database)
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    rows = []
    for number in range(EXECUTIONS):
        time_of = start + datetime.timedelta(minutes=number)
        status = "failed" if number % 10 == 0 else "succeeded"
        case = f"Case-{number % 20:02}"
        if number in (500, 501):
            status, case = "denied", "Rare"
        execution = f"exec_{time_of:%Y%m%d_%H%M%S}_{number:08x}"
        document = template | {"execution_id": execution, "status": status, "case_name": case,
                               "success": status == "succeeded",
                               "timestamp": f"{time_of:%Y-%m-%dT%H:%M:%S}.000000Z"}  # fmt: skip
        nanos = int(time_of.timestamp()) * 10**9
        rows.append((execution, nanos, nanos, status, case, "/Tools/bench.py", "token:other",
                     "pid:1", json.dumps(document), status == "succeeded", 0.02))  # fmt: skip
        if len(rows) == INSERT_ROWS:
            connection.executemany(
                "INSERT INTO executions (id, created_ns, updated_ns, status, case_name,"
                " script_path, principal, owner, document, success, duration_seconds)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)  # fmt: skip
            connection.commit()
            rows.clear()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def many_executions(places: Places, _: int) -> list[Goal]:
    workspace = places.make_workspace("executions")
    state = pathlib.Path(f"{workspace}.state")
    server = Server(places, workspace)
    tokens = {"all": server.token("all", "agent"), "Case-07": server.token("common", "agent", "Case-07"),
              "Rare": server.token("rare", "agent", "Rare")}  # fmt: skip
    client = Client(server.port, tokens["all"])
    status, body = submit(client, COMMAND, 10)
    assert status == 201, body
    client.close()
    server.close()
    insert_many(state / "bailiff.db", json.loads(body))

    starts = []
    for _ in range(STARTS):
        server = Server(places, workspace)
        starts.append(server.start_seconds)
        server.close()
    start = statistics.median(starts) * 1e3
    goals = [Goal("start to the first answer, 100,000 executions in the database", start, 150, "ms",
                  f"{min(starts) * 1e3:.0f} to {max(starts) * 1e3:.0f} ms", {"start": starts})]
    pages = {"": ("all", ""), "status=failed": ("all", "&status=failed"),
             "status=denied, of which there are 2": ("all", "&status=denied"),
             "case=Case-07": ("all", "&case=Case-07"),
             "case=Rare, of which there are 2": ("all", "&case=Rare"),
             "status=denied&case=Case-07, of which there are none":
                 ("all", "&status=denied&case=Case-07"),
             "a token of one case in twenty": ("Case-07", ""),
             "a token of a case with 2": ("Rare", "")}  # fmt: skip
    server = Server(places, workspace)
    try:
        goals += measure_pages(server, tokens, pages)
    finally:
        server.close()
    return goals


def measure_pages(server: Server, tokens: dict[str, str],
                  pages: dict[str, tuple[str, str]]) -> list[Goal]:  # fmt: skip
    clients = {name: Client(server.port, token) for name, token in tokens.items()}
    samples: dict[str, list[float]] = {name: [] for name in pages}
    for number in range(PAGE_ASKS + 1):
        for name, (who, query) in pages.items():
            begin = time.perf_counter()
            status, body = clients[who].ask("GET", f"/v1/executions?limit=50{query}")
            seconds = time.perf_counter() - begin
            assert status == 200, body
            if number > 0:
                samples[name].append(seconds)
    for client in clients.values():
        client.close()
    goals = []
    for name, times in samples.items():
        tail = f"p99 {sorted(times)[len(times) * 99 // 100] * 1e3:.1f} ms"
        goals.append(Goal("a page of 50 there" + (f", {name}" if name else ""),
                          statistics.median(times) * 1e3, 5, "ms", tail, {"page": times}))
    return goals


# Each is told for how long the queue is to be full.
GROUPS = {"latency": latency, "queue": full_queue, "executions": many_executions}
