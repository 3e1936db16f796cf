"""What the scripts of the clients share: named checks, and one line of JSON at the end.

A script runs in an environment of its own, with nothing but its client: this module needs only the standard library.
"""

import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

MODEL = "base"
"""Name of the served model."""
MESSAGES: list[Any] = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "hello"}]
SCHEMA = {"type": "object", "properties": {"pet": {"type": "string", "enum": ["cat", "dog"]}}, "required": ["pet"],
          "additionalProperties": False}  # fmt: skip
TOOL: Any = {"type": "function", "function": {"name": "feed", "description": "Feeds a pet.", "parameters": SCHEMA}}
PETS = {"cat", "dog"}

Check = Callable[[str], None]


def run(client: str, *checks: Check, package: str = "") -> None:
    """Call each check with the base URL, the first argument; print the result as one line of JSON.

    `package` is the distribution that gives the version, where its name is not the client's; "-" for no package.
    """
    os.environ["NO_PROXY"] = "*"
    base_url = sys.argv[1]
    found = "written out" if package == "-" else version(package or client)
    passed: list[str] = []
    failed: dict[str, str] = {}
    for check in checks:
        try:
            check(base_url)
            passed.append(check.__name__)
        except Exception as error:
            failed[check.__name__] = f"{type(error).__name__}: {error}"[:1000]
    line: dict[str, Any] = {"client": client, "version": found, "ok": not failed, "checks": passed}
    print(json.dumps(line | ({"failed": failed} if failed else {})), flush=True)
    os._exit(bool(failed))  # some clients leave threads that wait


def expect(holds: object, value: object) -> None:
    """Raise AssertionError with the value unless a condition holds, also under `python -O`."""
    if not holds:
        raise AssertionError(f"unexpected: {value!r}")
