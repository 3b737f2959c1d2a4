"""The program of a worker process: reads [rule, text] lines, writes [passes, reason] lines.

Run by `corea.graders.pool` as `python -m corea.signals.check_worker MEMORY_MB SECONDS`: neither a catastrophic regular
expression nor a client's schema can hold up the process that asks. A rule is JSON, `{"pattern": ...}` for Python's
`re`, or `{"schema": ...}` for a text that must be JSON and fit it.
"""

import json
import os
import re
import sys
from contextlib import suppress
from functools import lru_cache
from typing import Any

import msgspec

LONGEST_REASON = 200


def passes(rule: str, text: str) -> tuple[bool, str]:
    """True if a text passes a rule, else the reason."""
    compiled = _compiled(rule)
    if isinstance(compiled, re.Pattern):
        return (True, "") if compiled.search(text) else (False, "no match")
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        return False, f"not JSON: {error}"
    for fault in compiled.iter_errors(value):
        place = "".join(f"/{part}" for part in fault.instance_path)
        return False, f"{fault.message} at {place or 'the top'}"
    return True, ""


@lru_cache(maxsize=256)
def _compiled(rule: str) -> Any:
    found = json.loads(rule)
    return re.compile(found["pattern"]) if "pattern" in found else schema_validator(found["schema"])


def schema_validator(schema: Any) -> Any:
    """The validator of a JSON schema, which reads no other file or address.

    Raises:
        ValueError: It is not a schema.
    """
    import jsonschema_rs

    def refuse(address: str) -> Any:
        raise ValueError(f"{address} is outside the schema")

    try:
        return jsonschema_rs.validator_for(schema, retriever=refuse)
    except jsonschema_rs.ValidationError as error:
        raise ValueError(str(error).partition("\n")[0]) from error


def main() -> None:
    """Answer lines until the input ends."""
    memory_mb, seconds = int(sys.argv[1]), float(sys.argv[2])
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with suppress(ImportError):  # needed for schemas only
        passes('{"schema": true}', "1")  # loads it before the first limit begins
    _limit_memory(memory_mb)
    print(json.dumps([True, "ready"]), file=replies, flush=True)
    for line in sys.stdin:
        _alarm(seconds)
        try:
            passed, reason = passes(*json.loads(line))
        except MemoryError:
            passed, reason = False, f"no verdict within {memory_mb} MB"
        except Exception as error:  # of a client's schema, or of the library
            passed, reason = False, f"cannot be checked: {error or type(error).__name__}"
        _alarm(0)
        print(json.dumps([passed, reason[:LONGEST_REASON]]), file=replies, flush=True)


def _limit_memory(memory_mb: int) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    except (ImportError, ValueError, OSError):  # Windows; macOS refuses some limits
        pass


def _alarm(seconds: float) -> None:
    """Set a timer of computing time that ends this process, also after its parent has died; 0 cancels it."""
    import signal

    if hasattr(signal, "setitimer"):  # not on Windows
        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main()
