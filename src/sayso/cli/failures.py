"""What the machine, not the program, refused: a full disk, no memory, no permission, said in one sentence.

Takes any exception; gives the sentence, or None when it is a bug of ours that must keep its traceback. Looks at names
and messages instead of types, so that nothing heavy is imported to recognise an error of torch or SQLite.
"""

import errno
import re

from sayso.base.device import out_of_memory
from sayso.base.files import disk_full

ON_A_PATH = {
    errno.EACCES: "'{path}' may not be written or read by you; change its permissions or choose another folder.",
    errno.EPERM: "'{path}' may not be written or read by you; change its permissions or choose another folder.",
    errno.EROFS: "'{path}' cannot be written, since its file system is read-only; choose another folder.",
    errno.ENOENT: "There is no file or folder '{path}'; check the path.",
    errno.ENOTDIR: "A part of the path '{path}' is a file where a folder is needed; choose another path.",
    errno.EISDIR: "'{path}' is a folder where a file is needed; choose another path.",
    errno.EEXIST: "'{path}' is in the way, a file where a folder is needed; move it or choose another path.",
    errno.ENOTEMPTY: "The folder '{path}' is in the way; move it or choose another path.",
    errno.ENAMETOOLONG: "The file system does not take so long a name as '{path}'; choose a shorter one.",
    errno.ELOOP: "'{path}' is a symbolic link that leads back to itself; remove it or choose another path.",
    errno.EIO: "'{path}' could not be read or written, since the disk reports an error; check the disk.",
    errno.ESTALE: "'{path}' is on a network file system that lost it; mount it again.",
    errno.EXDEV: "'{path}' cannot be moved to another file system; choose a folder on the same one.",
    errno.ETXTBSY: "'{path}' is in use by another program; end that one or choose another path.",
    errno.EBUSY: "'{path}' is in use by another program; end that one or choose another path.",
    errno.EINVAL: "The file system does not take '{path}'; choose another path.",
    errno.ENXIO: "'{path}' is not a regular file; choose another path.",
    errno.ENODEV: "'{path}' is not a regular file; choose another path.",
}
WITHOUT_A_PATH = {
    errno.EADDRINUSE: "The port is in use by another program; choose another with --port.",
    errno.EMFILE: "Too many files are open at once; raise the limit with 'ulimit -n'.",
    errno.ENFILE: "Too many files are open on this machine; close other programs.",
    errno.EAGAIN: "This machine starts no more processes; use fewer, or raise the limit with 'ulimit -u'.",
    errno.EIO: "A file could not be read or written, since the disk reports an error; check the disk.",
    errno.EROFS: "A file could not be written, since its file system is read-only; choose another folder.",
}
SAID = {  # by libraries of their own kinds of error, of which only the words are known
    "Read-only file system": errno.EROFS,
    "Input/output error": errno.EIO,
    "Too many open files": errno.EMFILE,
}
TEMPORARY = re.compile(r"(?<=/)\.([^/]+)\.[a-z0-9_]{8}$")  # the name under which `base/files.py` writes first


def sentence(error: BaseException) -> str | None:
    """Return one sentence for a failure that a person can mend, or None."""
    if disk_full(error):
        where = f" while '{error.filename}' was written" if isinstance(error, OSError) and error.filename else ""
        return f"The disk is full{where}; free some space and run the same command again, which goes on from there."
    if out_of_memory(error):
        return "There was not enough memory; use a smaller model or a shorter --context, or a machine with more."
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return "A path must not hold a zero byte; choose another path."
    if isinstance(error, OSError):
        path = error.filename2 or error.filename
        told = ON_A_PATH.get(error.errno or 0) if path and not isinstance(path, int) else None
        return told.format(path=_shown(path)) if told else WITHOUT_A_PATH.get(error.errno or 0)
    code = next((code for words, code in SAID.items() if words in str(error)), None)
    return WITHOUT_A_PATH.get(code or 0)


def _shown(path: object) -> str:
    text = TEMPORARY.sub(r"\1", path.decode("utf-8", "replace") if isinstance(path, bytes) else str(path))
    return text if len(text) <= 500 else f"{text[:200]} ... {text[-200:]}"
