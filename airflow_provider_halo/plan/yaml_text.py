"""Reads a plan's files: their text, bounded, and YAML that remembers the line of every key."""

from __future__ import annotations

import math
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from airflow_provider_halo.records.values import Json

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


KeyPath: TypeAlias = "tuple[str | int, ...]"

MAX_NODES = 10_000  # values in one plan, those that aliases repeat counted each time: "billion laughs" stops here
MAX_DEPTH = 50  # a plan needs six levels; this keeps hostile nesting from the end of Python's stack
_LARGEST = 2**63  # an integer beyond 64 bits has no form in the requests to Halo

_PREFIX = "tag:yaml.org,2002:"
# A date is taken for the text that it is: JSON has no dates, and `since: 2025-01-01` means these ten characters.
_TEXTS = frozenset({f"{_PREFIX}str", f"{_PREFIX}timestamp", f"{_PREFIX}value"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands.

    :param line: line of its key, or of the item in a list; from 1.
    :param text_line: line on which its text begins.
    :param literal: whether the lines of its text are lines of the file (a ``|`` block); else only the start is known.
    """

    line: int
    text_line: int
    literal: bool = False


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong at one place, not yet tied to a file.

    :param line: line in the text, from 1.
    :param path: the keys that lead to it; empty where the text as a whole is wrong.
    :param message: what is wrong and what to do.
    """

    line: int
    path: KeyPath
    message: str


@dataclass(slots=True)
class Document:
    """What a YAML text holds: plain data, the place of every value by its path, and what is wrong.

    :param lost: paths of the values that couldn't be read; the data holds something empty there.
    """

    data: Json = None
    places: dict[KeyPath, Place] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)
    lost: set[KeyPath] = field(default_factory=set)

    def line(self, path: KeyPath) -> int:
        """Line of the value at a path, or of the nearest thing around it; 1 where nothing is known."""
        for length in range(len(path), 0, -1):
            place = self.places.get(path[:length])
            if place is not None:
                return place.line
        return 1


def read_yaml(text: str) -> Document:
    """Read one YAML document of plain types.

    :return: never raises: what is wrong stands in ``flaws``, and the data holds the rest as far as it could be read.
    """
    document = Document()
    try:
        composer = _Composer(text)
        node = composer.get_single_node()
        if node is None:
            document.flaws.append(Flaw(0, (), "is empty: a plan begins with `version: 1`"))
            return document
        _Builder(composer, document).build(node, (), 0)
    except _TooMuch as error:
        document.flaws.append(Flaw(error.line, (), str(error)))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.flaws.append(Flaw(line, (), "holds a control character, which YAML doesn't allow: take it out"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        document.flaws.append(Flaw(mark.line + 1 if mark else 0, (), _syntax(error)))
    return document


class _TooMuch(Exception):
    """The text is nested too deep or grows too large."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class _Composer(yaml.SafeLoader):
    """PyYAML's node tree, with its depth and size bounded while it grows."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]  # PyYAML's stubs leave it untyped
        self._depth += 1
        self._nodes += 1
        _bound(self._depth, self._nodes, line, limit=2 * MAX_NODES)  # keys are nodes too
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _bound(depth: int, nodes: int, line: int, limit: int) -> None:
    if depth > MAX_DEPTH:
        raise _TooMuch(f"is nested deeper than {MAX_DEPTH} levels: a plan needs six", line)
    if nodes > limit:
        raise _TooMuch(f"holds more than {MAX_NODES:,} values (aliases counted each time): make it smaller", line)


class _Builder:
    """Turns nodes into plain data; goes on after a flaw, so that all of them are told at once."""

    def __init__(self, composer: _Composer, document: Document) -> None:
        self._composer = composer
        self._document = document
        self._nodes = 0

    def build(self, node: yaml.Node, path: KeyPath, line: int) -> Json:
        """Plain data of a node. ``line`` is that of its key; 0 for the document itself."""
        start = node.start_mark.line + 1
        self._nodes += 1
        _bound(len(path), self._nodes, start, limit=MAX_NODES)
        literal = isinstance(node, yaml.ScalarNode) and node.style == "|"
        # A block's text begins on the line after its indicator.
        text_line = start + 1 if isinstance(node, yaml.ScalarNode) and node.style in {"|", ">"} else start
        self._document.places[path] = Place(line or start, text_line, literal)
        value: Json = None
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_PREFIX}map":
            value = self._mapping(node, path)
        elif isinstance(node, yaml.SequenceNode) and node.tag == f"{_PREFIX}seq":
            value = [
                self.build(item, (*path, index), item.start_mark.line + 1) for index, item in enumerate(node.value)
            ]
        elif isinstance(node, yaml.ScalarNode):
            value = self._scalar(node, path)
        else:
            self._tag(node, path)
        if not path:
            self._document.data = value
        return value

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> Json:
        value: dict[str, Json] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == f"{_PREFIX}merge":
                self._flaw(
                    line, path, "a key must be a text (`<<` and keys in brackets aren't known here): write the keys out"
                )
                continue
            key = key_node.value
            if key_node.tag != f"{_PREFIX}str":
                self._flaw(line, path, f'the key {key} is no text in YAML: write "{key}", in quotes')
            elif _is_broken(key):
                self._flaw(line, path, "a key holds half of a Unicode pair: write the character itself")
            elif key in first:
                message = f"is given twice, first on line {first[key]}: keep one of them"
                self._flaw(line, (*path, key), message)
            else:
                first[key] = line
                value[key] = self.build(value_node, (*path, key), line)
        return value

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Json:
        if node.tag in _TEXTS:
            if _is_broken(node.value):
                self._lose(node, path, "holds half of a Unicode pair: write the character itself")
                return ""
            return str(node.value)
        convert = _SCALARS.get(node.tag)
        if convert is None:
            self._tag(node, path)
            return None
        try:
            value: Json = convert(self._composer, node)
        except (ValueError, KeyError, IndexError, OverflowError):  # what PyYAML's own constructors raise for a bad text
            self._lose(node, path, "can't be read as the type that its tag names: drop the tag")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self._lose(node, path, "NaN and infinity have no form in JSON: use null")
            return None
        if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
            self._lose(node, path, "is a number beyond 64 bits: put it in quotes, as a text")
            return None
        return value

    def _tag(self, node: yaml.Node, path: KeyPath) -> None:
        tag = str(node.tag).replace(_PREFIX, "!!")
        message = f"the tag {tag} isn't known here: a plan holds texts, numbers, true, false, null, lists and mappings"
        self._lose(node, path, message)

    def _lose(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        """Tell a value that can't be read; nothing stands in its place."""
        self._document.lost.add(path)
        self._flaw(node.start_mark.line + 1, path, message)

    def _flaw(self, line: int, path: KeyPath, message: str) -> None:
        self._document.flaws.append(Flaw(line, path, message))


_SCALARS = {
    f"{_PREFIX}null": lambda _, __: None,
    f"{_PREFIX}bool": yaml.SafeLoader.construct_yaml_bool,
    f"{_PREFIX}int": yaml.SafeLoader.construct_yaml_int,
    f"{_PREFIX}float": yaml.SafeLoader.construct_yaml_float,
}


def _is_broken(text: str) -> bool:
    """Whether a text holds a lone surrogate, which an escape in double quotes can make and UTF-8 can't carry."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def _syntax(error: yaml.MarkedYAMLError) -> str:
    """A syntax error of PyYAML in our words, with the mend for the ones that people run into."""
    problem = error.problem or error.context or "it ends too early"
    for sign, mend in _MENDS:
        if sign in problem or sign in (error.context or ""):
            return f"isn't YAML: {mend}"
    return f"isn't YAML: {problem}"


_MENDS = (
    ("'\\t'", "a tab can't indent: use blanks"),
    ("mapping values are not allowed here", "a `: ` where no key can be: put quotes around the text that holds it"),
    ("but found another document", "a second document begins (`---`): keep one plan in a file"),
    ("expected <block end>", "the indentation doesn't fit the lines above: line the keys up"),
    ("could not find expected ':'", "a key without `:`, or a text that isn't indented under its `|`"),
    (
        "undefined alias",
        "an alias (`*name`) without its anchor (`&name`): put quotes around a text that begins with `*`",
    ),
    ("duplicate anchor", "an anchor (`&name`) is given twice: rename one"),
    ("while scanning a quoted scalar", "a quote is never closed: add the closing one"),
)
