"""What is sent is what a plain reading, row by row, says: the same bytes, problems and warnings, whatever the rows hold."""

import pickle
import sqlite3
from collections import Counter
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import product as product_of
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from airflow_provider_halo.encoding import to_json
from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.records.payload import Payload
from airflow_provider_halo.records.problem import InvalidValue, Problem
from airflow_provider_halo.records.values import to_boolean, to_json_value, to_key, to_moment
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.read import read_keys, read_payloads

PLAN = """
version: 1
source: app
users:
  key: id
  company: team
  traits: {{sql: "SELECT * FROM users", nulls: {0}}}
  context:
    one: {{label: 'Hundred % "sure"', type: status, sql: SELECT * FROM one, nulls: {1}}}
    scalar: {{label: S, value: n, sql: "SELECT id, team, n FROM one"}}
    absent: {{label: A, empty: omit, sql: "SELECT id, team, name FROM rows_of_users"}}
    rows: {{label: R, rows: many, order_by: [n desc], limit: 2, nulls: {1}, sql: SELECT * FROM rows_of_users}}
    named: {{label: N, name: name, nulls: {1}, sql: SELECT * FROM rows_of_users}}
"""
TABLES = {
    "users": ["signed_up_at", "is_on", "renewal_status", "note", 'with "quotes"'],
    "one": ["n", 'with "quotes"'],
    "rows_of_users": ["n", "name"],
}
STATUSES = "up_for_renewal, in_progress, likely_to_renew, expansion_opportunity, set_to_cancel, "
STATUSES += "set_to_cancel_trial, at_risk, renewed, lost"


def to_status(value, warnings):
    status = to_json_value(value, warnings)
    if status is not None and status not in STATUSES.split(", "):
        raise InvalidValue(f"is none of {STATUSES}")
    return status


# A column of this type gives any values that a driver might give: SQLite keeps them pickled.
sqlite3.register_converter("anything", pickle.loads)

usual = st.sampled_from([None, 0, 1, "2025-03-01", "renewed", "x", "y", 0.5])
changed = st.sampled_from(
    ["a\0b", float("nan"), float("inf"), Decimal("1.5"), Decimal("NaN"), Decimal("0." + "1" * 40), 7]
)
typed = st.sampled_from(
    [
        datetime(2025, 3, 1, 10, tzinfo=timezone(timedelta(hours=2))),
        date(2025, 3, 1),
        UUID(int=17),
        [1, {"a": None}],
        {"b": ["x\0"], "a": 1.5},
        True,
        2**70,
    ]
)
faulty = st.sampled_from(
    [
        b"\x00",
        1j,
        [float("nan"), b""],
        Decimal("1E400"),
        "\ud800",
        ["\udfff"],
        {"\ud800": 1},
        "last summer",
        "lost in space",
    ]
)
long = st.sampled_from(["x" * 21_000, "é" * 6_000, "z" * 10_000])
anything = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=5) | st.binary(max_size=1)
good = {
    "signed_up_at": st.sampled_from([None, "2025-03-01T10:11:12+00:00", "2025-03-01 10:11:12", "2025-03-01", 17]),
    "is_on": st.sampled_from([None, 0, 1, 7, Decimal(1)]),
    "renewal_status": st.sampled_from([None, "renewed", "lost"]),
}


def cells(column, *, faults):
    """Values of a column, some of which need a closer look; one in ten is any, of which most can't be sent."""
    values = good.get(column, st.one_of(usual, usual, changed, typed))
    return st.one_of(*[values] * 9, st.one_of(faulty, faulty, anything, long)) if faults else values


keys = st.one_of(*[st.integers(1, 12)] * 9, st.sampled_from([None, "", " \t", 11]))
teams = st.sampled_from([1, 1, 1, 2, "", 1.5])


@st.composite
def products(draw):
    """Rows of all tables: in some products all values can be sent, in some each key is in a table but once."""
    faults = draw(st.sampled_from([True, True, False]))
    tables = {}
    for table, columns in TABLES.items():
        team = teams if table == "users" else st.just(1)
        row = st.tuples(keys, team, *[cells(column, faults=faults) for column in columns])
        tables[table] = draw(st.lists(row, max_size=14 if table == "users" else 20))
    if draw(st.booleans()):
        for table in ("users", "one"):
            tables[table] = list({row[0]: row for row in tables[table]}.values())
    return tables


class Refused(Exception):
    """A record can't be sent."""

    def __init__(self, field, reason):
        super().__init__(field, reason)
        self.field, self.reason = field, reason


class LeftOut(Exception):
    """An entry isn't sent, or not all of its rows are."""

    def __init__(self, reason="", value=None):
        super().__init__(reason)
        self.reason, self.value = reason, value


NOTHING = LeftOut()  # of the plan's own will


SOURCES = {"one": "one", "scalar": "one", "absent": "rows_of_users", "rows": "rows_of_users", "named": "rows_of_users"}
HEADS = {
    "one": {"label": 'Hundred % "sure"', "type": "status"},
    "scalar": {"label": "S"},
    "absent": {"label": "A"},
    "rows": {"label": "R"},
    "named": {"label": "N"},
}
EMPTY = {"one": {}, "scalar": None, "rows": [], "named": {}}


class PlainReading:
    """One record after the other, one row after the other, one value after the other, each encoded by itself."""

    def __init__(self, plan, tables, nulls, entry_nulls):
        self.warnings = Counter()
        self.lines = {query.entry_key: f"({query.file}, line {query.line})" for query in plan.queries}
        self.tables = tables
        self.nulls, self.entry_nulls = nulls, entry_nulls
        users, refused = self.grouped("users")
        self.warnings["users.traits: rows without a key dropped"] += refused.pop(None, 0)
        entries = {entry: self.values_of(entry, users) for entry in SOURCES}
        self.records = [self.record(key, rows[:2], entries) for key, rows in sorted(users.items())]
        for key, count in sorted(refused.items()):
            reason = "the key is empty" if not key else "the key is blank"
            self.records += [Problem("users", ascii(key), "", f"column 'id': {reason}")] * count

    def grouped(self, table):
        """The rows of each key, and how many there are of keys that can't be one."""
        groups, refused = {}, Counter()
        for key, *row in self.tables[table]:
            if key in (None, "", " \t"):
                refused[key] += 1
            else:
                groups.setdefault(str(key), []).append(row)
        return groups, refused

    def record(self, key, rows, entries):
        if len(rows) > 1:
            companies = sorted({self.company(row[0]) or "none" for row in rows})
            of = f"of {'company' if len(companies) == 1 else 'companies'} {' and '.join(companies)}"
            way_out = ", which users.prefer can pick" if len(companies) > 1 else ""
            reason = f"has more than one row in the users query (users.traits), {of}; one is due{way_out}"
            return Problem("users", key, "", reason)
        try:
            ((team, *cells),) = rows
            traits = self.row(TABLES["users"], cells, "traits.{0}", "{1}")
            context, left_out = self.context(key, entries)
            company = self.company(team)
            return self.payload(key, traits, context, company, left_out)
        except Refused as problem:
            return Problem("users", key, problem.field, problem.reason)

    def company(self, team):
        try:
            return to_key(team)
        except InvalidValue:
            name = "users.traits: users whose company's key can't be used are sent without a company"
            self.warnings[name] += 1
            return None

    def row(self, columns, cells, field, reason):
        values = {}
        for name, value in zip(columns, cells, strict=True):
            convert = to_moment if name == "signed_up_at" else to_boolean if name.startswith("is_") else to_json_value
            convert = to_status if name == "renewal_status" else convert
            try:
                values[name] = convert(value, self.warnings)
            except InvalidValue as problem:
                raise Refused(field.format(name), reason.format(name, problem.reason)) from None
        return values

    def context(self, key, entries):
        context, left_out = {}, []
        for entry, values in entries.items():
            value = values.get(key, EMPTY.get(entry, NOTHING))
            if isinstance(value, Refused):
                raise value
            if isinstance(value, LeftOut):
                if value is not NOTHING:
                    left_out.append(Problem("users", key, f"context.{entry}", value.reason))
                value = value.value
                if value is None:
                    continue
            context[entry] = HEADS[entry] | {"value": value}
        return context, tuple(left_out)

    def payload(self, key, traits, context, company, left_out):
        traits = self.finished(traits, self.nulls)
        for name, value in traits.items():
            if self.encoded(value) is None:
                raise Refused(f"traits.{name}", "holds text that is no Unicode (a lone surrogate)")
        payload = Payload(
            "users", key, to_json(traits) if traits else b"", to_json(context) if context else b"", company, left_out
        )
        fields = {f"traits.{name}": len(to_json(value)) for name, value in traits.items()}
        if payload.size > 20_000:
            fields |= {f"context.{name}": len(to_json(entry)) for name, entry in context.items()}
            reason = f"{payload.size:,} bytes of traits and context; Halo takes 20,000"
            raise Refused(max(fields, key=fields.get), reason)
        custom = {name: traits[name] for name in traits if name not in ("signed_up_at", "renewal_status")}
        characters = len(to_json(custom).decode())
        if characters > 10_000:
            largest = max(custom, key=lambda name: fields[f"traits.{name}"])
            reason = f"{characters:,} characters of custom fields; Halo takes 10,000"
            raise Refused(f"traits.{largest}", reason)
        return payload

    def values_of(self, entry, users):
        """The values of an entry by key: also of keys that no user has, whose rows are counted and dropped."""
        groups, refused = self.grouped(SOURCES[entry])
        unknown = f"users.context.{entry}: rows of users that users.traits doesn't have dropped"
        self.warnings[unknown] += sum(refused.values())
        values = {}
        for key, rows in groups.items():
            kept = rows if entry in {"rows", "named"} else rows[:2]
            if key not in users:
                self.warnings[unknown] += len(kept)
            try:
                values[key] = self.value(entry, [cells for _, *cells in kept])
                if self.encoded(values[key]) is None:
                    values[key] = Refused(f"context.{entry}", "holds text that is no Unicode (a lone surrogate)")
            except LeftOut as left_out:
                values[key] = left_out
            except Refused as problem:
                values[key] = problem
        return values

    def value(self, entry, rows):
        columns = {"one": TABLES["one"], "scalar": ["n"], "absent": ["name"]}.get(entry, TABLES["rows_of_users"])
        if entry in {"scalar", "absent"}:
            rows = [[row[TABLES[SOURCES[entry]].index(columns[0])]] for row in rows]
        if entry in {"one", "scalar", "absent"} and len(rows) > 1:
            self.warnings[f"users.context.{entry} left out: more than one row where one is due"] += 1
            way_out = "make it one in the SQL, or a list by `rows: many`"
            raise LeftOut(f"it has more than one row where one is due {self.lines[entry]}; {way_out}")
        read, refused = [], None
        for cells in rows:  # until one can't be sent
            try:
                read.append(self.row(columns, cells, f"context.{entry}", "column {0!r} {1}"))
            except Refused as problem:
                refused = problem
                break
        if refused is not None:
            raise refused
        if entry == "named":
            return self.named(read)
        if entry == "rows":
            return self.sorted_rows(read)
        (values,) = read
        if entry == "scalar":
            return values["n"]
        return self.finished(values, self.entry_nulls if entry == "one" else "send")

    def sorted_rows(self, rows):
        def rank(value):
            if isinstance(value, (bool, int, float)):
                return 0, value
            return (1, value) if isinstance(value, str) else (2, self.sortable(value))

        rows = sorted(rows, key=self.sortable)
        filled = sorted((row for row in rows if row["n"] is not None), key=lambda row: rank(row["n"]), reverse=True)
        rows = filled + [row for row in rows if row["n"] is None]
        return [self.finished(row, self.entry_nulls) for row in rows[:2]]

    def named(self, rows):
        where, broken = (
            self.lines["named"],
            Refused("context.named", "holds text that is no Unicode (a lone surrogate)"),
        )
        lost = sum(row["name"] is None and bool(row["n"]) for row in rows)
        self.warnings["users.context.named: rows without a name dropped"] += sum(row["name"] is None for row in rows)
        rows = [row for row in rows if row["name"] is not None]
        names = [row["name"] if isinstance(row["name"], str) else self.encoded(row["name"]) for row in rows]
        if None in names:
            raise broken
        names = [name if isinstance(name, str) else name.decode() for name in names]
        if len(set(names)) < len(names):
            self.warnings["users.context.named left out: two rows of one name"] += 1
            way_out = "make it one row each in the SQL, or number them by `duplicates: number`"
            raise LeftOut(f"two of its rows have the same name {where}; {way_out}")
        value = {name: self.finished({"n": row["n"]}, self.entry_nulls) for name, row in zip(names, rows, strict=True)}
        if lost:
            if self.encoded(value) is None:
                raise broken
            rows = "1 row of it has" if lost == 1 else f"{lost} rows of it have"
            what = f"{rows} no name" if value else "its rows have no name"
            way_out = "give each row a name in the SQL, or leave it out there"
            raise LeftOut(f"{what} {where}; {way_out}", value or None)
        return value

    def finished(self, values, nulls):
        return {name: value for name, value in values.items() if nulls == "send" or value is not None}

    def encoded(self, value):
        try:
            return to_json(value)
        except UnicodeEncodeError:
            return None

    def sortable(self, value):
        if (encoded := self.encoded(value)) is not None:
            return encoded
        if isinstance(value, dict):
            value = dict(sorted(value.items()))
        return repr(value).encode("utf-8", "backslashreplace")


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    path = tmp_path_factory.mktemp("product") / "product.db"
    engine = sa.create_engine(
        f"sqlite:///{path}", poolclass=sa.NullPool, connect_args={"detect_types": sqlite3.PARSE_DECLTYPES}
    )
    with engine.begin() as connection:
        for table, columns in TABLES.items():
            typed_columns = ", ".join('"{}" anything'.format(name.replace('"', '""')) for name in columns)
            connection.exec_driver_sql(f"CREATE TABLE {table} (id, team, {typed_columns})")
    return engine


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    folder, loaded = tmp_path_factory.mktemp("plans"), {}
    for nulls in product_of(("send", "omit"), repeat=2):
        path = folder / "halo.yaml"
        path.write_text(PLAN.format(*nulls), encoding="utf-8")
        loaded[nulls] = load_plan(path)
    return loaded


def fill(engine, tables):
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA synchronous = OFF")
        for table, rows in tables.items():
            connection.exec_driver_sql(f"DELETE FROM {table}")
            for key, team, *cells in rows:
                pickled = [None if value is None else pickle.dumps(value) for value in cells]
                places = ", ".join("?" * (len(cells) + 2))
                connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({places})", (key, team, *pickled))


def user(key, *cells):
    return (key, 1, *cells, *[None] * (len(TABLES["users"]) - len(cells)))


def tables(users, one=(), rows=()):
    return {
        "users": users,
        "one": [(key, 1, *rest) for key, *rest in one],
        "rows_of_users": [(*row[:1], 1, *row[1:]) for row in rows],
    }


FINE = [user(1, "2025-03-01T10:11:12+02:00", 1, "lost", "a\0b", 0.5), user(2, None, 0, None, "x", float("inf"))]
send = {"nulls": "send", "entry_nulls": "send"}


@example(product_tables=tables(FINE, [(1, "a\0b", "x"), (2, "c", None)], [(1, 1, "a\0b"), (2, 2, "c")]), **send)
@example(product_tables=tables(FINE, [(1, 0.5, float("inf")), (2, 0.25, 1.0)]), nulls="omit", entry_nulls="omit")
@example(product_tables=tables(FINE, [(1, "a\0b", 1), (1, "a\0b", 2)]), **send)
# What is changed in a row counts up to its first value that can't be sent, and in the rows of a list likewise.
@example(product_tables=tables([user(1, "x", "a\0b"), user(2, None, "a\0b", b"", "a\0b")]), **send)
@example(
    product_tables=tables(FINE, [], [(1, "a\0b", b""), (1, "a\0b", "x"), (2, b"", "a\0b"), (2, "a\0b", "y")]), **send
)
# Of several things that are wrong with a record the first is told; of two fields of one size the first, too.
@example(product_tables=tables([user(1, None, 1, "?", "\ud800", "x" * 21_000)], [(1, "\ud800", 1)]), **send)
@example(product_tables=tables([user(1, None, 1, "?", "\ud800"), user(2, None, 1, None, "\ud800", "\ud800")]), **send)
@example(product_tables=tables([user(1, None, "x" * 11_000, None, "x" * 11_000, "x" * 11_000)]), **send)
@example(product_tables=tables([user(1, None, "x" * 6_000, None, "x" * 6_000)], [(1, "y" * 9_000, 1)]), **send)
@example(product_tables=tables(FINE, [(1, "y" * 12_000, 1), (2, 1, "y" * 30_000)]), **send)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    product_tables=products(), nulls=st.sampled_from(["send", "omit"]), entry_nulls=st.sampled_from(["send", "omit"])
)
def test_many_rows_at_once_are_read_as_a_plain_reading_reads_them_one_by_one(
    product, plans, product_tables, nulls, entry_nulls
):
    fill(product, product_tables)
    plan = plans[nulls, entry_nulls]
    expected = PlainReading(plan, product_tables, nulls, entry_nulls)
    where = ("users", plan, select(plan), Batch(repeated_users=False, plain=("*",)), lambda _: product)
    for chunk_rows in (1, 2, 250):
        warnings = Counter()
        blocks = read_payloads(*where, lambda kind, count, to=warnings: to.update({kind: count}), chunk_rows=chunk_rows)
        assert [payload for block in blocks for payload in block] == expected.records
        assert warnings == expected.warnings


def test_the_keys_of_a_batch_are_those_whose_rows_can_be_sent(product, plans):
    fill(
        product,
        tables([user(1, None, 1, "no such status"), user(2, b""), user(3), user(3), user(4, None, "x" * 60_000)]),
    )
    plan = plans["send", "send"]
    assert list(read_keys("users", plan, Batch(), lambda _: product)) == ["4"]
    named = Batch(companies=(1,), key_type="integer")
    assert list(read_keys("users", plan, named, lambda _: product)) == ["4"]
    assert list(read_keys("companies", plan, Batch(), lambda _: product)) == []


@settings(deadline=None)
@given(st.datetimes(), st.sampled_from(["T", " ", "x"]), st.sampled_from(["", "Z", "+00:00", "+02:00", "-11:30"]))
def test_moments_in_the_usual_forms_mean_what_they_say(moment, separator, offset):
    given = moment.isoformat(separator) + offset
    try:
        sent = to_moment(given, Counter())
    except ValueError:
        assert separator == "x" or moment.year in {1, 9999}
        return
    assert separator != "x"
    meant = datetime.fromisoformat(given.replace("Z", "+00:00"))
    assert datetime.fromisoformat(sent) == (meant if meant.tzinfo else meant.replace(tzinfo=timezone.utc))
    assert sent.endswith("+00:00")
