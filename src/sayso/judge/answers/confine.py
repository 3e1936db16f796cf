"""Run one Python program where it can do no harm; a script of its own process, which knows nothing of Sayso.

Reads a job as JSON on standard input, `{"source", "seconds", "memory", "output"}`, and writes `{"end", "reason"}`. The
program gets a second process: Landlock lets it read only Python's own libraries, seccomp keeps it from the network,
from starting processes and from changing what belongs to others, and rlimits bound its time, memory and files.
"""

import json
import math
import os
import resource
import secrets
import select
import sys
import sysconfig
import time
from pathlib import Path
from typing import IO, Any

HARNESS = """
import os, sys
def main():
    token, source = sys.stdin.buffer.read().split(b"\\n", 1)
    try:
        exec(compile(source, "<program>", "exec"), {"__name__": "__main__"})
        told = "passed"
    except BaseException as error:
        told = f"{type(error).__name__}: {error}"[:200]
    os.write(1, b"\\n" + token + b" " + told.encode(errors="replace"))
    os._exit(0)
main()
"""
READABLE = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
DENIED = """
chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes utimensat futimesat chroot flock
setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr prlimit64 setrlimit prctl socketpair mq_open
sched_setaffinity sched_setscheduler sched_setparam sched_setattr setpriority ioprio_set migrate_pages move_pages
inotify_add_watch fanotify_init syslog settimeofday clock_settime adjtimex clock_adjtime memfd_create memfd_secret
"""
"""What Landlock does not cover and a calculation does not need: attributes of files, other processes, the clock."""


def main() -> None:
    """Run the job of standard input."""
    json.dump(run(json.load(sys.stdin)), sys.stdout)


def run(job: dict[str, Any]) -> dict[str, str]:
    """Return how the program of a job ended: passed, failed, time, output, or no isolation."""
    from sandlock import Sandbox, StdioMode  # only here is it needed, in an environment of its own

    python, token = os.path.realpath(sys.executable), secrets.token_hex()
    readable = [python, sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *READABLE]
    try:
        sandbox = Sandbox(
            fs_readable=sorted({os.path.realpath(path) for path in readable if Path(path).exists()}),
            extra_deny_syscalls=DENIED.split(),
            max_processes=1,
            clean_env=True,
            no_coredump=True,
        )
        pipe = StdioMode.PIPED
        process = sandbox.popen([python, "-I", "-S", "-c", HARNESS], stdin=pipe, stdout=pipe, stderr=StdioMode.NULL)
    except Exception as error:  # whatever keeps the sandbox from starting keeps the program from running
        return {"end": "isolation", "reason": f"{type(error).__name__}: {error}"}
    with process:
        deadline = time.monotonic() + job["seconds"]
        limit(process.pid, job)
        try:
            process.stdin.write(f"{token}\n{job['source']}".encode(errors="replace"))
            process.stdin.close()
        except BrokenPipeError:
            return {"end": "isolation", "reason": "Python did not start in the sandbox"}
        written, end = read(process.stdout, job["output"], deadline)
    _, said, told = written.rpartition(f"\n{token} ".encode())
    if end in ("time", "output"):
        return {"end": end, "reason": ""}
    reason = told.decode(errors="replace") if said else "The program ended before its tests did."
    return {"end": "passed", "reason": ""} if reason == "passed" else {"end": "failed", "reason": reason}


def limit(process: int | None, job: dict[str, Any]) -> None:
    """Bound a process that waits for its program: CPU seconds, bytes of memory, no bytes of any file."""
    assert process is not None
    bounds = {
        resource.RLIMIT_CPU: math.ceil(job["seconds"]) + 1,
        resource.RLIMIT_AS: job["memory"],
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 32,
    }
    for kind, bound in bounds.items():
        resource.prlimit(process, kind, (bound, bound))


def read(stream: IO[bytes], size: int, deadline: float) -> tuple[bytes, str]:
    """Return what is written until the end, and why reading stopped before it: time, output or ""."""
    found = b""
    while len(found) <= size:
        if not select.select([stream], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return found, "time"
        piece = os.read(stream.fileno(), 1 << 16)
        if not piece:
            return found, ""
        found += piece
    return found, "output"


if __name__ == "__main__":
    main()
