"""Writes the tables of docs/ that are made from the package's own data: settings, connection, commands, exceptions.

A page has a pair of comments, ``<!-- made from NAME by docs/generate.py -->`` and ``<!-- end -->``; what stands between
them is replaced. The result is committed, so that the pages read well in the repository too, and a test fails when it
isn't what this script would write::

    python docs/generate.py            # write
    python docs/generate.py --check    # only say which pages are out of date, with exit code 1
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from airflow_provider_halo import contract, exceptions
from airflow_provider_halo.cli.commands import COMMANDS, Argument, Command
from airflow_provider_halo.exceptions import HaloError
from airflow_provider_halo.provider_info import get_provider_info

DOCS = Path(__file__).parent
_BLOCK = re.compile(r"(<!-- made from ([\w-]+) by docs/generate\.py -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    """Bring every page up to date; with ``--check`` only tell which are not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is out of date")
    check = parser.parse_args().check
    outdated = 0
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        current = filled(text)
        if current != text:
            outdated += 1
            sys.stdout.write(f"{'out of date' if check else 'written'}: {path.name}\n")
            if not check:
                path.write_text(current, encoding="utf-8")
    return int(check and outdated > 0)


def filled(page: str) -> str:
    """A page's text with every generated part as it should be."""
    return _BLOCK.sub(lambda block: f"{block[1]}{_PARTS[block[2]]()}\n{block[3]}", page)


def _connection() -> str:
    connection = get_provider_info()["connection-types"][0]
    placeholders = connection["ui-field-behaviour"]["placeholders"]
    rows = [
        ["`password`", f"The workspace's widget key, `{placeholders['password']}`."],
        ["`host`", f"Base URL. {_default(contract.DEFAULT_BASE_URL)}"],
    ]
    for name, conn_field in connection["conn-fields"].items():
        schema = conn_field["schema"]
        rows.append([f"`{name}`", f"{conn_field['description']} {_default(schema.get('default'))}".strip()])
    return _table(["field", "means"], rows)


def _config() -> str:
    rows = []
    for name, option in get_provider_info()["config"]["halo"]["options"].items():
        default = (option["default"] or "").replace("%%", "%")  # as it is, not as airflow.cfg writes it
        environment = f"Environment: `AIRFLOW__HALO__{name.upper()}`."
        rows.append([f"`{name}`", " ".join(filter(None, [option["description"], _default(default), environment]))])
    return _table(["option", "means"], rows)


def _commands() -> str:
    return "\n\n".join(map(_command, COMMANDS))


def _command(command: Command) -> str:
    words = [_synopsis(argument) for argument in command.arguments]
    positional = [word for word in words if not word.startswith("[--")]
    usage = " ".join(["halo", command.name, *(["[OPTIONS]"] if len(positional) < len(words) else []), *positional])
    rows = [[_flag(argument), _meaning(argument)] for argument in command.arguments]
    description = command.description.partition(" Exit code:")[0]  # the page says it once
    return "\n\n".join(
        [
            f"## `halo {command.name}`",
            _escaped(description),
            f"```text\n{usage}\n```",
            _table(["argument", "means"], rows),
        ]
    )


def _synopsis(argument: Argument) -> str:
    name = argument.flags[0]
    if name.startswith("-"):
        return f"[{name}]"
    shown = str(argument.options.get("metavar", name.upper()))
    return f"[{shown}]" if argument.options.get("nargs") == "?" else shown


def _flag(argument: Argument) -> str:
    name, options = argument.flags[0], argument.options
    if not name.startswith("-"):
        return f"`{options.get('metavar', name.upper())}`"
    if options.get("action") is argparse.BooleanOptionalAction:
        return f"`{name}`, `--no-{name.removeprefix('--')}`"
    if options.get("action") in {"store_true", "store_false", "version"}:
        return f"`{name}`"
    if "choices" in options:
        return f"`{name}` " + ", ".join(f"`{choice}`" for choice in options["choices"])
    return f"`{name} {options.get('metavar', name.removeprefix('--').upper().replace('-', '_'))}`"


def _meaning(argument: Argument) -> str:
    values = {**argument.options, "prog": "halo"}
    return _escaped(str(argument.options.get("help", "")) % values)


def _exceptions() -> str:
    return "```text\n" + "\n".join(_tree(HaloError)) + "\n```"


def _tree(kind: type[HaloError], indent: str = "") -> Iterator[str]:
    """A class and those below it, each with the first sentence of its docstring."""
    sentence = (inspect.getdoc(kind) or "").partition("\n")[0]
    name = f"{indent}{kind.__name__}"
    yield f"{name:<26} {sentence.partition('. ')[0].removesuffix('.')}".rstrip()
    for below in kind.__subclasses__():
        if below is getattr(exceptions, below.__name__, None):  # and no other of that name, as operators raise
            yield from _tree(below, indent + "  ")


def _limits() -> str:
    return _table(
        ["what", "at most", "documented"],
        [
            [
                "traits and context of one user, as JSON",
                f"{contract.USER_BYTES:,} bytes",
                "/api-reference/overview, for `users/identify`; that it holds for each user of `users/update` is assumed",
            ],
            [
                "traits and context of one company, as JSON",
                f"{contract.COMPANY_BYTES:,} bytes",
                "/api-reference/overview",
            ],
            [
                "custom fields (traits that have no column of their own), as JSON",
                f"{contract.CUSTOM_FIELDS_CHARACTERS:,} characters",
                "/api-reference/overview, the number; that it counts for what is stored is assumed",
            ],
            ["users in one request", f"{contract.USERS_PER_UPDATE:,}", "/api-reference/users-update"],
        ],
    )


def _reserved() -> str:
    return _table(
        ["of", "refused as traits", "documented"],
        [
            ["users", _names(contract.USER_RESERVED), "/api-reference/users"],
            ["companies", _names(contract.COMPANY_RESERVED), "/api-reference/companies"],
        ],
    )


def _columns() -> str:
    values = [[f"`{name}`", _names(allowed, sort=False)] for name, allowed in contract.ENUMERATIONS.items()]
    columns = [
        ["users", _names(contract.USER_COLUMNS), "/contacts/user-traits"],
        ["companies", _names(contract.COMPANY_COLUMNS), "/contacts/company-traits"],
    ]
    return f"{_table(['of', 'columns', 'documented'], columns)}\n\n{_table(['trait', 'values'], values)}"


def _names(names: Iterable[str], *, sort: bool = True) -> str:
    return ", ".join(f"`{name}`" for name in (sorted(names) if sort else names))


_PARTS: dict[str, Callable[[], str]] = {
    "connection": _connection,
    "config": _config,
    "commands": _commands,
    "exceptions": _exceptions,
    "limits": _limits,
    "reserved": _reserved,
    "columns": _columns,
}


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def _default(value: Any) -> str:
    return "" if value in {None, ""} else f"Default: `{value}`."


def _escaped(text: str) -> str:
    """Plain text as Markdown: what would be read as an HTML tag is shown, and a flag is code."""
    return re.sub(r"(?<![\w`-])--[a-z][\w-]*", r"`\g<0>`", text.replace("<", r"\<").replace("*", r"\*"))


if __name__ == "__main__":
    sys.exit(main())
