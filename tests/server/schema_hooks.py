"""Loaded by schemathesis: makes what it asks for reach the code behind the routes."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from typing import Any

import schemathesis

KEY = re.compile(r"[!-~]{1,255}\Z")
KEY_BYTES_MAX = 255
IDS = os.environ["BAILIFF_SCHEMA_IDS"].split(",")
numbers = itertools.count()


def chosen(text: str) -> str:
    return IDS[hashlib.sha256(text.encode(errors="replace")).digest()[0] % len(IDS)]


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """A key that is reused for something else is refused, and rightly: each gets one of its own.
    Nothing waits for long: a stopped queue would make it wait each time. Ids that nobody gave are
    mostly made ids that there are."""
    for name, value in dict(case.headers or {}).items():
        if name.lower() == "idempotency-key" and isinstance(value, str) and KEY.match(value):
            number = f".{next(numbers)}"
            case.headers[name] = value[: KEY_BYTES_MAX - len(number)] + number
    wait = (case.query or {}).get("wait")
    if isinstance(wait, (int, float)) and 0.1 < wait <= 300:
        case.query["wait"] = 0.1
    given = (case.path_parameters or {}).get("id")
    is_good = case.meta is not None and case.meta.generation.mode.is_positive
    if is_good and isinstance(given, str) and not given.startswith("exec_") and len(given) != 1:
        case.path_parameters["id"] = chosen(given)
