"""What the machine, not the program, refused: a full disk, no memory, no permission, said in one sentence.

Takes any exception; gives the sentence, or None when it is a bug of ours that must keep its traceback. Looks at names
and messages instead of types, so that nothing heavy is imported to recognise an error of torch or SQLite.
"""

import errno

from sayso.base.device import out_of_memory
from sayso.base.files import disk_full


def sentence(error: BaseException) -> str | None:
    """Return one sentence for a failure that a person can mend, or None."""
    if disk_full(error):
        where = f" while '{error.filename}' was written" if isinstance(error, OSError) and error.filename else ""
        return f"The disk is full{where}; free some space and run the same command again, which goes on from there."
    if out_of_memory(error):
        return "There was not enough memory; use a smaller model or a shorter --context, or a machine with more."
    if isinstance(error, PermissionError):
        return f"'{error.filename}' may not be written or read by you; change its permissions or choose another folder."
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return "The port is in use by another program; choose another with --port."
    return None
