"""Runs attacks, each in a child of its own; started in a sandbox, and outside as the control.

Reads from its input a JSON object: "scripts" (source by name), "values" (variables that each script
gets; "{name}" in a text stands for the script's name) and "seconds" (for each). Prints a line of
JSON as each ends: its name and the last line that it printed, or how it died.
"""

import builtins
import errno
import json
import os
import select
import signal
import sys
import time

OUTPUT_BYTES_MAX = 1 << 20


def run_child(source, name, values, pipe):
    os.setsid()
    os.dup2(pipe, 1)
    os.dup2(pipe, 2)
    os.closerange(3, 64)
    scope = {"__name__": "__main__", "__builtins__": builtins}
    for key, value in values.items():
        scope[key] = value.replace("{name}", name) if isinstance(value, str) else value
    try:
        exec(compile(source, name, "exec"), scope)
    except SystemExit:
        pass
    except OSError as error:
        print(errno.errorcode.get(error.errno, error.errno))
    except BaseException as error:
        print(f"{type(error).__name__}: {error}")
    sys.stdout.flush()
    os._exit(0)


def read_until(pipe, deadline):
    output = b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([pipe], [], [], left)[0]:
            break
        data = os.read(pipe, 1 << 16)
        if not data:
            return output, True
        output = (output + data)[-OUTPUT_BYTES_MAX:]
    return output, False


def run(source, name, values, seconds):
    reader, writer = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        run_child(source, name, values, writer)
    os.close(writer)
    output, ended = read_until(reader, time.monotonic() + seconds)
    os.close(reader)
    if not ended:
        try:
            os.killpg(pid, signal.SIGKILL)
        except OSError:  # It left its group, or the sandbox may not signal it.
            pass
    _, status = os.waitpid(pid, 0)
    if not ended:
        return "timed out"
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    lines = output.decode(errors="replace").rstrip("\n").split("\n")
    return lines[-1]


def main():
    order = json.load(sys.stdin)
    for name, source in order["scripts"].items():
        result = run(source, name, order["values"], order["seconds"])
        print(json.dumps({"name": name, "result": result}), flush=True)


main()
