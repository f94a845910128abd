"""A database driver's error as one sentence: which query, on which connection, what is wrong and the mend. No values."""

from __future__ import annotations

import re
from typing import Literal

from sqlalchemy import exc

from airflow_provider_halo.exceptions import QueryRefused, SourceError
from airflow_provider_halo.plan.model import Query

__all__ = ["CollationsDiffer", "is_break", "source_changed", "source_error"]

Kind = Literal[
    "table",
    "column",
    "function",
    "twice",
    "collations",
    "syntax",
    "denied",
    "writes",
    "cancelled",
    "login",
    "database",
    "unreachable",
    "idle",
    "conflict",
    "tls",
    "option",
    "pool",
    "other",
]

_MENDS: dict[Kind, str] = {
    "table": "check the table's name in the SQL, and that the connection names the right database and schema",
    "column": "check the column's name in the SQL",
    "function": "check the function and its arguments' types in the SQL; a cast may be missing",
    "twice": "give each column of the SELECT a name of its own",
    "collations": "give both columns the same COLLATE in the SQL",
    "syntax": "check the SQL, for example by running it alone in the database's shell",
    "denied": "give the connection's login the right to SELECT there",
    "writes": "a plan may only read: take what writes out of the SQL",
    "cancelled": "the database cancelled it: make the query faster, or raise the database's time limit",
    "login": "check login and password of the connection",
    "database": "check the database's name (schema) in the connection",
    "unreachable": "check that the database is running, and host and port of the connection",
    "idle": "the database ended a connection that waited for too long: raise its limit on idle connections",
    "conflict": "run it again, or read from a server that isn't a replica",
    "tls": "check the TLS settings in the connection's extras (sslmode, ssl), its certificate files, and that the server "
    "speaks TLS",
    "option": "take it out of the connection's extras, or write it as the driver calls it",
    "pool": "give the connection's engine a larger pool, or leave the pool's size at its default",
    "other": "run the SQL alone in the database's shell to see more",
}

# PostgreSQL: SQLSTATE, by its first characters (documentation, appendix A).
_SQLSTATES: dict[str, Kind] = {
    "42P01": "table",
    "3F000": "table",
    "42703": "column",
    "42883": "function",
    "42P21": "collations",
    "42P22": "collations",
    "42601": "syntax",
    "42501": "denied",
    "25006": "writes",
    "57014": "cancelled",
    "28": "login",
    "3D000": "database",
    "08": "unreachable",
    "57P": "unreachable",
    "53300": "unreachable",  # too many connections
    "25P03": "idle",
    "25P04": "idle",
    "40001": "conflict",
}
# MySQL and MariaDB: error numbers of server and client.
_NUMBERS: dict[int, Kind] = {
    1146: "table",
    1054: "column",
    1305: "function",
    1060: "twice",
    1267: "collations",
    1271: "collations",
    1064: "syntax",
    1142: "denied",
    1143: "denied",
    1370: "denied",
    1792: "writes",
    1317: "cancelled",
    1969: "cancelled",
    3024: "cancelled",
    1045: "login",
    1698: "login",
    1044: "database",
    1049: "database",
    2002: "unreachable",
    2003: "unreachable",
    2005: "unreachable",
    2006: "unreachable",
    2013: "unreachable",
    1040: "unreachable",  # too many connections
    1053: "unreachable",  # the server shuts down
    1927: "unreachable",  # the connection was killed
    1159: "idle",
    1160: "idle",
    1161: "idle",
    4031: "idle",
}
# SQLite has one code for most of its errors; its texts are fixed.
_SQLITE_TEXTS: dict[str, Kind] = {
    "no such table": "table",
    "no such column": "column",
    "no such function": "function",
    "wrong number of arguments": "function",
    "near ": "syntax",
    "incomplete input": "syntax",
    "unrecognized token": "syntax",
    "attempt to write": "writes",
    "interrupted": "cancelled",
    "unable to open database file": "unreachable",
    "file is not a database": "database",
}
_NO_CONNECTION = 2003  # PyMySQL's for all that goes wrong on the way, certificates included
_TLS_WORDS = re.compile(r"\bSSL\b|\bTLS\b|certificate|SSL_|CERTIFICATE")
_NAMES_ONLY: frozenset[Kind] = frozenset(
    {
        *("table", "column", "function", "twice", "collations", "denied"),
        *("login", "database", "unreachable", "tls", "option"),
    }
)
# What the SQL itself does wrong. All else may be over at the next try: also a table that is missing, which may be one that
# is being made anew, and a login, whose password may be being changed.
_LASTING: frozenset[Kind] = frozenset({"column", "function", "twice", "collations", "syntax", "writes"})
# The connection is gone, the database is about to stop or to start, or its replica had to catch up.
_BREAKS: frozenset[Kind] = frozenset({"unreachable", "idle", "conflict"})
_LENGTH = 200


class CollationsDiffer(QueryRefused):
    """Texts of two columns were to be compared, and each column sorts them in its own way."""


def source_error(error: Exception, query: Query) -> SourceError:
    """The error of a query as a `SourceError`: one sentence, without SQL and without values.

    :param error: what SQLAlchemy or the driver raised while the query was opened or read.
    """
    kind, message = _read(error)
    raised: type[SourceError] = QueryRefused if kind in _LASTING else SourceError
    if kind == "collations":
        raised = CollationsDiffer
    return raised(f"{query.name} ({query.place}) failed on connection {query.source!r}: {message}; {_MENDS[kind]}.")


def source_changed(query: Query) -> SourceError:
    """The error of a query that gives other columns than before its connection broke."""
    return SourceError(
        f"{query.name} ({query.place}) on connection {query.source!r}: the connection broke, and then the query gave other "
        "columns than before; run it again."
    )


def is_break(error: Exception) -> bool:
    """Whether it is nothing of the query's: the same query may well go through in a moment."""
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, exc.SQLAlchemyError) and _read(error)[0] in _BREAKS


def _read(error: Exception) -> tuple[Kind, str]:
    if isinstance(error, exc.TimeoutError):
        return "pool", "no connection came free in time"
    original = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
    kind = _kind_by_code(original)
    if kind is None and not isinstance(error, exc.SQLAlchemyError):
        # Not the driver's: a value that the driver couldn't read, say. Its text may hold that value.
        return "other", f"the driver raised a {type(original).__name__}"
    text = _text(original)
    kind = kind or _kind_by_text(error, text)
    if kind == "other" and isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        kind = "unreachable"  # psycopg2 has no SQLSTATE for a connection that was cut
    return kind, _without_values(kind, text)


def _kind_by_code(original: BaseException) -> Kind | None:
    """What a driver's error is by its code; None where it has none."""
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    if isinstance(state, str):
        return next((kind for head, kind in _SQLSTATES.items() if state.startswith(head)), "other")
    number = _number(original)
    if number == _NO_CONNECTION and _TLS_WORDS.search(str(original)):
        return "tls"
    return None if number is None else _NUMBERS.get(number, "other")


def _kind_by_text(error: Exception, text: str) -> Kind:
    if not isinstance(error, exc.DBAPIError):
        return "other"
    if "invalid connection option" in text:
        return "option"
    kind = next((kind for head, kind in _SQLITE_TEXTS.items() if text.startswith(head)), None)
    if kind is None and " failed" in text and isinstance(error, exc.OperationalError):
        return _failed_connection(text)
    return kind or "other"


def _number(original: BaseException) -> int | None:
    """The number of an error of MySQL or MariaDB."""
    return original.args[0] if original.args and isinstance(original.args[0], int) else None


def _failed_connection(text: str) -> Kind:
    """Of an error of connecting psycopg gives no SQLSTATE; what the server said is the end of its text."""
    if (
        "authentication failed" in text
        or "no password supplied" in text
        or re.search(r'role ".*" does not exist', text)
    ):
        return "login"
    if re.search(r'database ".*" does not exist', text):
        return "database"
    return "tls" if _TLS_WORDS.search(text) else "unreachable"


def _text(original: BaseException) -> str:
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    if not primary:
        numbered = _number(original) is not None and len(original.args) > 1
        primary = str(original.args[1]) if numbered else str(original)
    return str(primary).strip() or type(original).__name__


def _without_values(kind: Kind, text: str) -> str:
    """The first line. Quoted parts may be values of rows, or parameters that the driver pasted; names of tables stay."""
    if kind not in _NAMES_ONLY:
        text = re.sub(r"'.*'", "'…'", text, flags=re.DOTALL)
        if kind != "syntax":  # `syntax error at or near "FORM"`: a word of the plan's own SQL
            text = re.sub(r'".*"', '"…"', text, flags=re.DOTALL)
            text = re.sub(r"\d{3,}", "…", text)
    line = text.splitlines()[0].strip().rstrip(".;")
    return line if len(line) <= _LENGTH else line[: _LENGTH - 1] + "…"
