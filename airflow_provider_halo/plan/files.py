"""Read a text file that a plan names; whatever is wrong with the file comes back in words."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MAX_BYTES = 1_000_000  # a plan and its SQL are written by hand; this keeps a wrong path (a dump, a log) out of memory


class Unreadable(Exception):
    """A file that can't be used. Caught by the loader, which knows the key that names the file.

    :param message: what is wrong and the mend, without the path.
    :param line: the line at fault, from 1; 0 for the file as a whole.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a regular UTF-8 file, without a byte order mark, lines ending in a plain newline.

    :raises Unreadable: for a file that is missing, no file, too large, or not UTF-8.
    """
    try:
        # Looked at before it is opened: opening a named pipe would wait for ever.
        found = Path(path).stat()
        if stat.S_ISDIR(found.st_mode):
            raise Unreadable("is a directory: name the file in it")
        if not stat.S_ISREG(found.st_mode):
            raise Unreadable("is no regular file: name a text file")
        if found.st_size > MAX_BYTES:
            raise Unreadable(f"has {found.st_size:,} bytes, at most {MAX_BYTES:,} are read: is it the right file?")
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise Unreadable("there is no such file: check the path, and from where it is read") from None
    except PermissionError:
        raise Unreadable("can't be read: give the user that runs Airflow the right to read it") from None
    except OSError as error:
        raise Unreadable(f"can't be read: {error.strerror or error}") from None
    except ValueError:  # whose text is another one on each Python
        raise Unreadable("can't be read: there is a NUL character in its path") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable("is no UTF-8 text from here on: save it as UTF-8", line) from None
    return text.replace("\r\n", "\n")
