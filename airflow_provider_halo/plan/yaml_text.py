"""Reads a plan's files: their text, bounded, and YAML that remembers the line of every key."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from airflow_provider_halo.records.values import Json

__all__ = ["Document", "KeyPath", "Position", "UnreadableFile", "YamlProblem", "read_text", "read_yaml"]

KeyPath: TypeAlias = "tuple[str | int, ...]"

_MAX_BYTES = 1_000_000  # a plan and its SQL are written by hand; this keeps a wrong path (a dump, a log) out of memory
_MAX_VALUES = 10_000  # in one plan, those that aliases repeat counted each time: "billion laughs" stops here
_MAX_DEPTH = 50  # a plan needs six levels; this keeps hostile nesting from the end of Python's stack
_LARGEST = 2**63  # an integer beyond 64 bits has no form in the requests to Halo

_PREFIX = "tag:yaml.org,2002:"
# A date is taken for the string that it is: JSON has no dates, and `since: 2025-01-01` means these ten characters.
_STRINGS = frozenset({f"{_PREFIX}str", f"{_PREFIX}timestamp", f"{_PREFIX}value"})
_SCALARS = {
    f"{_PREFIX}null": lambda _, __: None,
    f"{_PREFIX}bool": yaml.SafeLoader.construct_yaml_bool,
    f"{_PREFIX}int": yaml.SafeLoader.construct_yaml_int,
    f"{_PREFIX}float": yaml.SafeLoader.construct_yaml_float,
}
# How plain values of these types are written by who means them; YAML 1.1 knows other forms.
_PLAIN = {
    f"{_PREFIX}bool": re.compile("true|false", re.IGNORECASE),
    f"{_PREFIX}int": re.compile(r"[+-]?(0|[1-9]\d*)"),
    f"{_PREFIX}float": re.compile(r"[+-]?\d*\.\d*([eE][+-]?\d+)?"),
    f"{_PREFIX}str": re.compile(r"(?![+-]?\d[\d.]*[eE][+-]?\d+$|[+-]?0o\d+$).*", re.DOTALL),
}
_SYNTAX_ERRORS = (  # what PyYAML says, and the same with the way out, for the mistakes that people make
    ("'\\t'", "tabs can't be used for indentation. Use spaces."),
    (
        "mapping values are not allowed here",
        "a `: ` where no key can be. Put quotes around the string that contains it.",
    ),
    ("but found another document", "a second document begins here (`---`). Keep one plan in a file."),
    ("expected <block end>", "the indentation doesn't match the lines above. Line the keys up."),
    (
        "could not find expected ':'",
        "a key without `:`, or text that isn't indented under its `|`. Add what is missing.",
    ),
    (
        "undefined alias",
        "the alias (`*name`) has no anchor (`&name`). Put quotes around a string that begins with `*`.",
    ),
    ("duplicate anchor", "the anchor (`&name`) is used twice. Rename one of them."),
    ("while scanning a quoted scalar", "the closing quote is missing. Add it."),
)
_BROKEN_CHARACTER = "an unpaired surrogate, which is half of a character. Write the character itself."


class UnreadableFile(Exception):
    """A file that can't be used. Caught by the loader, which knows the key that names the file.

    :param message: what is wrong and the way out, without the path.
    :param line: the line at fault, from 1; 0 for the file as a whole.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


@dataclass(frozen=True, slots=True)
class Position:
    """Where a value stands.

    :param line: line of its key, or of the item in a list; from 1.
    :param text_line: line on which its text begins.
    :param literal: whether the lines of its text are lines of the file (a ``|`` block); else only the start is known.
    """

    line: int
    text_line: int
    literal: bool = False


@dataclass(frozen=True, slots=True)
class YamlProblem:
    """Something wrong at one position, not yet tied to a file.

    :param line: line in the text, from 1.
    :param path: the keys that lead to it; empty where the text as a whole is wrong.
    :param message: what is wrong and what to do.
    """

    line: int
    path: KeyPath
    message: str


@dataclass(slots=True)
class Document:
    """What a YAML text holds: plain data, the position of every value by its path, and what is wrong.

    :param unreadable: paths of the values that couldn't be read; the data holds something empty there.
    :param misread: of values that YAML takes for something else than most people who write them, what to write instead:
        ``off``, ``010``, ``12:30:00``, ``1e3``. Where a type is due, a wrong one is found anyway; where any value may
        stand, these are to be asked for.
    """

    data: Json = None
    positions: dict[KeyPath, Position] = field(default_factory=dict)
    problems: list[YamlProblem] = field(default_factory=list)
    unreadable: set[KeyPath] = field(default_factory=set)
    misread: dict[KeyPath, str] = field(default_factory=dict)

    def line(self, path: KeyPath) -> int:
        """Line of the value at a path, or of the nearest thing around it; 1 where nothing is known."""
        for length in range(len(path), 0, -1):
            position = self.positions.get(path[:length])
            if position is not None:
                return position.line
        return 1


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a regular UTF-8 file, without a byte order mark, lines ending in a plain newline.

    :raises UnreadableFile: for a file that is missing, no file, too large, or not UTF-8.
    """
    try:
        # Looked at before it is opened: opening a named pipe would wait for ever.
        _check_file(Path(path).stat())
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UnreadableFile("no such file. Check the path, and the directory that it starts from.") from None
    except PermissionError:
        raise UnreadableFile("permission denied. Let the user that runs Airflow read it.") from None
    except OSError as error:
        raise UnreadableFile(f"can't be read: {error.strerror or error}.") from None
    except ValueError:  # whose message differs between versions of Python
        raise UnreadableFile("the path contains a NUL character. Remove it.") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableFile("not valid UTF-8 from this line on. Save the file as UTF-8.", line) from None
    return text.replace("\r\n", "\n")


def _check_file(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableFile("a directory, not a file. Give the path of a file in it.")
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableFile("not a regular file. Give the path of a text file.")
    if status.st_size > _MAX_BYTES:
        raise UnreadableFile(
            f"{status.st_size:,} bytes long, and at most {_MAX_BYTES:,} are read. Is it the right file?"
        )


def read_yaml(text: str) -> Document:
    """Read one YAML document of plain types.

    :return: never raises: what is wrong stands in ``problems``, and the data holds the rest as far as it could be read.
    """
    document = Document()
    try:
        composer = _Composer(text)
        node = composer.get_single_node()
        if node is None:
            document.problems.append(YamlProblem(0, (), "the file is empty. A plan begins with `version: 1`."))
            return document
        _Builder(composer, document).build(node, (), 0)
    except _LimitExceeded as error:
        document.problems.append(YamlProblem(error.line, (), str(error)))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = "contains a control character, which YAML doesn't allow. Remove it."
        document.problems.append(YamlProblem(line, (), message))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        document.problems.append(YamlProblem(mark.line + 1 if mark else 0, (), _syntax_error(error)))
    return document


class _LimitExceeded(Exception):
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
        _check_limits(self._depth, self._nodes, line, limit=2 * _MAX_VALUES)  # keys are nodes too
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _check_limits(depth: int, nodes: int, line: int, limit: int) -> None:
    if depth > _MAX_DEPTH:
        raise _LimitExceeded(f"nested deeper than {_MAX_DEPTH} levels. A plan needs six.", line)
    if nodes > limit:
        raise _LimitExceeded(
            f"more than {_MAX_VALUES:,} values (aliases counted each time). Make the plan smaller.", line
        )


class _Builder:
    """Turns nodes into plain data; goes on after a problem, so that all of them are reported at once."""

    def __init__(self, composer: _Composer, document: Document) -> None:
        self._composer = composer
        self._document = document
        self._nodes = 0

    def build(self, node: yaml.Node, path: KeyPath, line: int) -> Json:
        """Plain data of a node. ``line`` is that of its key; 0 for the document itself."""
        self._nodes += 1
        _check_limits(len(path), self._nodes, _line(node), limit=_MAX_VALUES)
        self._document.positions[path] = _position(node, line)
        value = self._value(node, path)
        if not path:
            self._document.data = value
        return value

    def _value(self, node: yaml.Node, path: KeyPath) -> Json:
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_PREFIX}map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_PREFIX}seq":
            return [self.build(item, (*path, index), _line(item)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._refuse_tag(node, path)
        return None

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> Json:
        value: dict[str, Json] = {}
        first_lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            if problem := _key_problem(key_node):
                self._report(line, path, problem)
                continue
            key = key_node.value
            if key in first_lines:
                message = f"duplicate key, first used on line {first_lines[key]}. Keep one of them."
                self._report(line, (*path, key), message)
            else:
                first_lines[key] = line
                value[key] = self.build(value_node, (*path, key), line)
        return value

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> Json:
        value = self._plain_value(node, path)
        if node.style is None and (plain := _PLAIN.get(node.tag)) is not None and not plain.fullmatch(node.value):
            shown = "a text" if isinstance(value, str) else json.dumps(value)
            mend = "Put quotes around it, or write the number out" if isinstance(value, str) else f"Write {shown}"
            other = "" if isinstance(value, str) else f', or put quotes around it: "{node.value}"'
            self._document.misread[path] = f"YAML reads {node.value} as {shown}. {mend}{other}."
        return value

    def _plain_value(self, node: yaml.ScalarNode, path: KeyPath) -> Json:
        if node.tag in _STRINGS:
            if _is_broken(node.value):
                self._refuse(node, path, f"contains {_BROKEN_CHARACTER}")
                return ""
            return str(node.value)
        convert = _SCALARS.get(node.tag)
        if convert is None:
            self._refuse_tag(node, path)
            return None
        try:
            value: Json = convert(self._composer, node)
        except (ValueError, KeyError, IndexError, OverflowError):  # what PyYAML's own constructors raise for a bad text
            self._refuse(node, path, f"not a valid value for its tag {_shown_tag(node)}. Remove the tag.")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self._refuse(node, path, "NaN and infinity don't exist in JSON. Use null.")
            return None
        if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
            self._refuse(node, path, "the number doesn't fit into 64 bits. Put it in quotes to send it as a string.")
            return None
        return value

    def _refuse_tag(self, node: yaml.Node, path: KeyPath) -> None:
        message = (
            f"the tag {_shown_tag(node)} isn't supported. "
            "A plan consists of strings, numbers, true, false, null, lists and mappings."
        )
        self._refuse(node, path, message)

    def _refuse(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        """Report a value that can't be read; something empty stands in its place."""
        self._document.unreadable.add(path)
        self._report(_line(node), path, message)

    def _report(self, line: int, path: KeyPath, message: str) -> None:
        self._document.problems.append(YamlProblem(line, path, message))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _position(node: yaml.Node, key_line: int) -> Position:
    start = _line(node)
    style = node.style if isinstance(node, yaml.ScalarNode) else None
    # A block's text begins on the line after its indicator.
    return Position(key_line or start, start + 1 if style in {"|", ">"} else start, literal=style == "|")


def _key_problem(node: yaml.Node) -> str:
    """What is wrong with the key of a mapping; an empty text when nothing is."""
    if not isinstance(node, yaml.ScalarNode) or node.tag == f"{_PREFIX}merge":
        return "a key must be a string (`<<` and keys in brackets aren't supported). Write the keys out."
    if node.tag != f"{_PREFIX}str":
        return f'YAML doesn\'t read the key {node.value} as a string. Put it in quotes: "{node.value}".'
    return f"a key contains {_BROKEN_CHARACTER}" if _is_broken(node.value) else ""


def _shown_tag(node: yaml.Node) -> str:
    return str(node.tag).replace(_PREFIX, "!!")


def _is_broken(text: str) -> bool:
    """Whether a text holds a lone surrogate, which an escape in double quotes can make and UTF-8 can't carry."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def _syntax_error(error: yaml.MarkedYAMLError) -> str:
    """A syntax error of PyYAML in our words, with the way out for the common ones."""
    problem = error.problem or error.context or "it ends too early"
    for phrase, message in _SYNTAX_ERRORS:
        if phrase in problem or phrase in (error.context or ""):
            return f"invalid YAML: {message}"
    return f"invalid YAML: {problem}."
