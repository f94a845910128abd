"""Records by hand: plain dicts, or the rows of one query, made ready to be sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from airflow_provider_halo.contract import CONTEXT_TYPES, DOCUMENTED_BOOLEANS, ENUMERATIONS, MOMENT_TRAITS
from airflow_provider_halo.exceptions import PlanError, PlanProblem, SetupError
from airflow_provider_halo.plan.model import Query, QueryScope, Statement
from airflow_provider_halo.plan.sql_text import read_statement
from airflow_provider_halo.records.numpy_values import to_python
from airflow_provider_halo.records.payload import Company, ContextEntry, Payload, User, payload_of, payloads_of
from airflow_provider_halo.records.problem import InvalidRecords, InvalidValue, Problem, Scope
from airflow_provider_halo.records.trait_types import Convert, conversion
from airflow_provider_halo.records.values import Json, Warnings, to_boolean, to_json_value, to_key, to_keys
from airflow_provider_halo.source.cells import Row, RowReader
from airflow_provider_halo.source.database import Sources, engine_of, read_only
from airflow_provider_halo.source.errors import source_error
from airflow_provider_halo.source.parameters import parameters_of
from airflow_provider_halo.source.sql import unnarrowed, without_rows
from airflow_provider_halo.source.streams import Stream, Streams

__all__ = ["Records", "payload_from", "records_of"]

_RECORD = frozenset({"user_id", "company_id", "traits", "context"})
_ENTRY = frozenset({"label", "type", "value"})


def payload_from(data: Any, warnings: Warnings) -> Payload | Problem:
    """Make one record ready to be sent.

    :param data: ``{"user_id": …, "company_id": …, "traits": {…}, "context": {key: {"label", "type", "value"}}}``. With a
        ``user_id``, whatever its value, it is a user, and ``company_id`` the company it is linked to; else it is a company.
    :param warnings: counts what was mended in values, by kind.
    :return: the payload, or why the record can't be sent; the reason never holds a value.
    """
    scope: Scope = "companies"
    key = ""
    try:
        fields = _object(data, "", "is no object with user_id or company_id, traits and context")
        user_id, company_id = fields.get("user_id"), fields.get("company_id")
        # Whoever names a user means one, also where its key came out empty: its traits aren't the company's.
        scope = "users" if "user_id" in fields else "companies"
        key = _key(user_id if scope == "users" else company_id, "user_id" if scope == "users" else "company_id")
        _known(fields, _RECORD, "", "give traits under `traits`, context entries under `context`")
        traits = _traits(fields.get("traits"), warnings, scope)
        context = _context(fields.get("context"), warnings)
        if scope == "companies":
            return payload_of(Company(company_id=key, traits=traits, context=context))
        company = None if company_id is None else _key(company_id, "company_id")
        return payload_of(User(user_id=key, company_id=company, traits=traits, context=context))
    except InvalidValue as error:
        return Problem(scope, key, error.field, error.reason)


def _traits(data: Any, warnings: Warnings, scope: Scope) -> dict[str, Json]:
    values = _object({} if data is None else data, "traits", "must be an object of names and values")
    traits: dict[str, Json] = {}
    for name, value in values.items():
        # Enumerations are held against Halo's when the payload is made, after names that it reserves.
        convert = to_json_value if name in ENUMERATIONS else conversion(scope, name) or to_json_value
        traits[str(name)] = _value(convert, value, warnings, f"traits.{name}")
    return traits


def _context(data: Any, warnings: Warnings) -> dict[str, ContextEntry]:
    entries = _object({} if data is None else data, "context", "must be an object of keys and entries")
    return {str(name): _entry(entry, f"context.{name}", warnings) for name, entry in entries.items()}


def _entry(data: Any, field: str, warnings: Warnings) -> ContextEntry:
    entry = _object(data, field, "must be an object with label, value and perhaps type")
    _known(entry, _ENTRY, field, "an entry has label, value and perhaps type")
    label, kind = entry.get("label"), entry.get("type")
    if not isinstance(label, str) or not label.strip():
        raise InvalidValue("needs a label: it heads the section in the AI's prompt", field)
    if kind is not None and kind not in CONTEXT_TYPES:
        raise InvalidValue(f"has a type that is none of {', '.join(CONTEXT_TYPES)}", field)
    if "value" not in entry:
        raise InvalidValue("needs a value", field)
    value = _value(to_json_value, entry["value"], warnings, field)
    return ContextEntry(label=label, value=_with_booleans(value, kind, warnings), type=kind)


def _with_booleans(value: Json, kind: str | None, warnings: Warnings) -> Json:
    """An entry's value in which the members that Halo documents as booleans are: `connected` of each integration."""
    names = DOCUMENTED_BOOLEANS.get(kind or "", frozenset())
    items = value.values() if names and isinstance(value, dict) else ()
    for item in [item for item in items if isinstance(item, dict)]:
        for name in names:
            if name in item:
                item[name] = to_boolean(item[name], warnings)
            if not isinstance(item.get(name), bool):
                warnings[f"{kind} whose `{name}` is no boolean, and Halo documents none without"] += 1
    return value


def _value(convert: Convert, value: Any, warnings: Warnings, field: str) -> Json:
    try:
        return convert(value, warnings)
    except InvalidValue as error:
        raise InvalidValue(error.reason, field) from None


def _key(value: Any, field: str) -> str:
    try:
        plain = to_python(value)
        if plain is not None:
            return to_key(plain)
    except InvalidValue as error:
        raise InvalidValue(error.reason, field) from None
    raise InvalidValue("is missing: a record is named by user_id or company_id", field)


def _object(data: Any, field: str, reason: str) -> Mapping[Any, Any]:
    if not isinstance(data, Mapping):
        raise InvalidValue(reason, field)
    return data


def _known(data: Mapping[Any, Any], names: frozenset[str], field: str, mend: str) -> None:
    unknown = sorted(str(name) for name in data if name not in names)
    if unknown:
        raise InvalidValue(f"has unknown keys ({', '.join(unknown)}); {mend}", field)


@dataclass(frozen=True, kw_only=True)
class Records:
    """What a query gives.

    :param scope: users, when it has a column ``user_id``; else companies, by ``company_id``.
    :param made: payloads and problems, as the rows come.
    """

    scope: QueryScope
    made: Generator[Payload | Problem, None, None]


@contextmanager
def records_of(
    sql: str, source: str, sources: Sources, *, where: str, warnings: Counter[str], parameters: Any = None
) -> Generator[Records, None, None]:
    """Run a query whose columns are ``user_id`` (and perhaps ``company_id``), or ``company_id``, and traits.

    Columns are read as a plan's traits are: ``has_*`` and ``is_*`` become booleans, ``signed_up_at`` a moment.

    :param source: connection id of the database.
    :param where: names the query in errors.
    :param warnings: counts what was mended in values, by kind.
    :param parameters: values for what stands in the SQL as ``:name``, by name; a list is for ``IN :names``.
    :raises PlanError: for SQL that is no single SELECT, and for columns that can't be sent.
    :raises SetupError: when the database can't be reached or refuses the query.
    """
    statement = read_statement(sql)
    if not isinstance(statement, Statement):
        raise PlanError([PlanProblem(where, flaw.line + 1, "sql", flaw.message) for flaw in statement])
    if statement.placements:
        raise PlanError([PlanProblem(where, 0, "sql", "batch() is for plans; this query is read as a whole")])
    if parameters is not None:
        statement = replace(statement, parameters=parameters_of(statement, parameters, where))
    query = _query("users", statement, source, where)
    names = _names(query, sources)
    query = _fitting(query, names)
    with Streams(sources) as streams:
        stream = streams.open(query, sa.select(unnarrowed(query, *names)))
        made = _payloads(query, stream, warnings)
        try:
            yield Records(scope=query.scope, made=made)
        finally:
            made.close()


def _query(scope: QueryScope, statement: Statement, source: str, where: str) -> Query:
    key = "user_id" if scope == "users" else "company_id"
    return Query(
        name=scope,
        scope=scope,
        source=source,
        statement=statement,
        key=key,
        company="company_id",
        file=where,
        line=0,
        timestamps=frozenset(MOMENT_TRAITS),
    )


def _names(query: Query, sources: Sources) -> list[str]:
    engine = engine_of(query, sources)
    try:
        with read_only(engine) as connection:
            return list(connection.execute(without_rows(query)).keys())
    except SQLAlchemyError as error:
        # From None: the text of SQLAlchemy's error, which a traceback prints, holds the SQL.
        raise source_error(error, query) from None


def _fitting(query: Query, names: list[str]) -> Query:
    """The query as one of users or of companies, by the columns that it has."""
    if "user_id" in names:
        # Users that name no company: the column that would is the key itself, which every row has.
        return query if "company_id" in names else replace(query, company="user_id")
    if "company_id" in names:
        return _query("companies", query.statement, query.source, query.file)
    raise SetupError(f"{query.file}: the SQL must give a column user_id or company_id, which names the record.")


def _payloads(query: Query, stream: Stream, warnings: Counter[str]) -> Generator[Payload | Problem, None, None]:
    records = _RowsAsRecords(query, stream.names, warnings)
    for rows in stream:
        yield from records.payloads(rows)


class _RowsAsRecords:
    """Makes payloads of the rows of a query, each row a record.

    :param names: the result's columns, already held against the query.
    :param warnings: counts what was mended in values, by kind.
    """

    def __init__(self, query: Query, names: Sequence[str], warnings: Counter[str]) -> None:
        self._query = query
        self._warnings = warnings
        self._key_at = names.index(query.key)
        self._company_at = names.index(query.company)
        self._names_company = query.scope == "users" and query.company != query.key
        self._reader = RowReader(query, names, omit_nulls=False)

    def payloads(self, rows: Sequence[Row]) -> Iterator[Payload | Problem]:
        """The payloads of many rows, in their order, and the problems of those that can't be sent."""
        keys = to_keys([row[self._key_at] for row in rows])
        usable = [(key, row) for key, row in zip(keys, rows, strict=True) if isinstance(key, str)]
        payloads = iter(self._of_usable([key for key, _ in usable], [row for _, row in usable]))
        for key in keys:
            yield next(payloads) if isinstance(key, str) else Problem(self._query.scope, "", key.field, key.reason)

    def _of_usable(self, keys: Sequence[str], rows: Sequence[Row]) -> list[Payload | Problem]:
        read = self._reader.read(rows)
        read.count_changes(self._warnings)
        company_ids = self._company_ids(rows, read.invalid)
        traits = self._reader.encode(read)
        contexts = [b""] * len(keys)
        names = self._reader.names
        return payloads_of(self._query.scope, keys, traits, contexts, company_ids, read.invalid, trait_names=names)

    def _company_ids(self, rows: Sequence[Row], invalid: InvalidRecords) -> Iterable[str | None]:
        if not self._names_company:
            return repeat(None)
        values = [row[self._company_at] for row in rows]
        column = [None if value is None else key for value, key in zip(values, to_keys(values), strict=True)]
        invalid.add_from(column)
        return [None if isinstance(key, InvalidValue) else key for key in column]
