"""Describe errors of the machine, not the program, in one sentence: a full disk, no memory, no permission.

Takes any exception; returns the sentence, or None for a bug, which must keep its traceback. Compares names and
messages instead of types, so that no large library is imported to recognize an error of torch or SQLite.
"""

import errno
import re

from sayso.base.device import out_of_memory
from sayso.base.files import disk_full

ON_A_PATH = {
    errno.EACCES: "You have no permission to read or write '{path}'; change its permissions or choose another folder.",
    errno.EPERM: "You have no permission to read or write '{path}'; change its permissions or choose another folder.",
    errno.EROFS: "'{path}' cannot be written because its file system is read-only; choose another folder.",
    errno.ENOENT: "There is no file or folder '{path}'; check the path.",
    errno.ENOTDIR: "A part of the path '{path}' is a file, but a folder is needed; choose another path.",
    errno.EISDIR: "'{path}' is a folder, but a file is needed; choose another path.",
    errno.EEXIST: "'{path}' is a file, but a folder is needed; move it or choose another path.",
    errno.ENOTEMPTY: "The folder '{path}' is not empty; move it or choose another path.",
    errno.ENAMETOOLONG: "The name of '{path}' is too long for the file system; choose a shorter one.",
    errno.ELOOP: "'{path}' is a symbolic link that refers to itself; remove it or choose another path.",
    errno.EIO: "'{path}' could not be read or written because of a disk error; check the disk.",
    errno.ESTALE: "'{path}' is on a network file system that lost it; mount it again.",
    errno.EXDEV: "'{path}' cannot be moved to another file system; choose a folder on the same one.",
    errno.ETXTBSY: "'{path}' is in use by another program; close it or choose another path.",
    errno.EBUSY: "'{path}' is in use by another program; close it or choose another path.",
    errno.EINVAL: "The file system does not accept '{path}'; choose another path.",
    errno.ENXIO: "'{path}' is not a regular file; choose another path.",
    errno.ENODEV: "'{path}' is not a regular file; choose another path.",
}
WITHOUT_A_PATH = {
    errno.EADDRINUSE: "The port is in use by another program; choose another with --port.",
    errno.EMFILE: "Too many files are open at once; raise the limit with 'ulimit -n'.",
    errno.ENFILE: "Too many files are open on this machine; close other programs.",
    errno.EAGAIN: "This machine cannot start more processes; use fewer, or raise the limit with 'ulimit -u'.",
    errno.EIO: "A file could not be read or written because of a disk error; check the disk.",
    errno.EROFS: "A file could not be written because its file system is read-only; choose another folder.",
}
MESSAGES = {  # of libraries with their own error types
    "Read-only file system": errno.EROFS,
    "Input/output error": errno.EIO,
    "Too many open files": errno.EMFILE,
}
TEMPORARY = re.compile(r"(?<=/)\.([^/]+)\.[a-z0-9_]{8}$")  # temporary names of `base/files.py`


def failure_sentence(error: BaseException) -> str | None:
    """Return one sentence for a failure that the user can fix, or None."""
    if disk_full(error):
        where = f" while writing '{error.filename}'" if isinstance(error, OSError) and error.filename else ""
        return f"The disk is full{where}; free some space and run the same command again to resume."
    if out_of_memory(error):
        return "Out of memory; use a smaller model, a shorter --context, or a machine with more memory."
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return "A path must not contain a null byte; choose another path."
    if isinstance(error, OSError):
        path = error.filename2 or error.filename
        sentence = ON_A_PATH.get(error.errno or 0) if path and not isinstance(path, int) else None
        return sentence.format(path=_shown(path)) if sentence else WITHOUT_A_PATH.get(error.errno or 0)
    code = next((code for message, code in MESSAGES.items() if message in str(error)), None)
    return WITHOUT_A_PATH.get(code or 0)


def _shown(path: object) -> str:
    text = TEMPORARY.sub(r"\1", path.decode("utf-8", "replace") if isinstance(path, bytes) else str(path))
    return text if len(text) <= 500 else f"{text[:200]} ... {text[-200:]}"
