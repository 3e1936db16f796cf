"""Make a training process keep its memory instead of returning it to the kernel after every step.

Every step allocates and frees hundreds of megabytes; by default glibc unmaps them, and the next step pays for a page
fault on each page. glibc reads its settings only when a process starts, so the command re-executes itself once.
"""

import os
import sys

VARIABLE = "GLIBC_TUNABLES"
TUNABLES = {
    "glibc.malloc.mmap_max": "0",  # allocate nothing by mmap, so that nothing is unmapped
    "glibc.malloc.trim_threshold": str(2**34),
    "glibc.malloc.top_pad": str(2**28),
    "glibc.malloc.hugetlb": "1",  # transparent huge pages where the kernel offers them (glibc 2.35)
}


def keep_memory() -> None:
    """Restart this process with `TUNABLES`, unless the user has set their own."""
    if sys.platform != "linux" or VARIABLE in os.environ:
        return
    os.environ[VARIABLE] = ":".join(f"{name}={value}" for name, value in TUNABLES.items())
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
