"""What is sent is what the records say, whether they were made one by one or many at once."""

from collections import Counter

import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_halo.plan.loader import load_plan
from airflow_provider_halo.plan.selection import select
from airflow_provider_halo.records.payload import Payload, payload_of
from airflow_provider_halo.records.problem import Problem
from airflow_provider_halo.records.values import to_moment
from airflow_provider_halo.source.batch import Batch
from airflow_provider_halo.source.read import read_payloads, read_records

PLAN = """
version: 1
source: app
users:
  key: id
  company: team
  traits: {{sql: SELECT * FROM users, nulls: {0}}}
  context:
    one: {{label: 'Hundred % "sure"', type: status, sql: SELECT * FROM one, nulls: {1}}}
    scalar: {{label: S, value: n, sql: "SELECT id, team, n FROM one"}}
    left: {{label: L, empty: omit, sql: SELECT * FROM one WHERE n > 3}}
    rows: {{label: R, rows: many, order_by: [n desc], limit: 2, sql: SELECT * FROM lots}}
    named: {{label: N, name: name, sql: SELECT * FROM lots}}
"""
# What SQLite keeps in a column of any type.
values = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(width=32),
    st.text(max_size=5),
    st.sampled_from(["2025-03-01", "2025-03-01 10:11:12"]),
    st.binary(max_size=1),
)
usual = st.sampled_from([None, 0, 1, "2025-03-01T10:11:12+00:00", "2025-03-01T10:11:12+02:00", "lost", "a\0b", 0.5])
long = st.builds(lambda: "x" * 60_000)
cells = st.one_of(usual, usual, usual, usual, long, values)
users = st.lists(st.tuples(st.integers(1, 12), st.sampled_from([1, 1, 2, None]), cells, cells, cells), max_size=12)
entries = st.lists(st.tuples(st.integers(0, 13), cells, cells), max_size=20)
TABLES = {"users": '"signed_up_at", "is_on", "renewal_status"', "one": 'n, "with ""quotes"""', "lots": "n, name"}


def filled(engine, rows):
    with engine.begin() as connection:
        for table, columns in TABLES.items():
            connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {table} (id, team, {columns})")
            connection.exec_driver_sql(f"DELETE FROM {table}")
            for row in rows[table]:
                places = ", ".join("?" * len(row))
                connection.exec_driver_sql(f"INSERT INTO {table} VALUES ({places})", tuple(row))


MOMENTS = [(1, 1, "2025-03-01T10:11:12+02:00", 1, "lost"), (2, 1, None, 0, None)]


def named(users, one, lots, nulls):
    return {"users": users, "one": one, "lots": lots, "nulls": nulls, "entry_nulls": nulls, "alone": True}


@example(**named(MOMENTS, [(1, "a\0b", "x"), (2, "c", None)], [(1, 1, "a\0b"), (2, 2, "c")], "send"))
@example(**named(MOMENTS, [(1, 0.5, float("inf")), (2, 0.25, 1.0)], [], "omit"))
@example(**named([(1, 1, None, 1, None)], [(1, "a\0b", 1), (1, "a\0b", 2)], [], "send") | {"alone": False})
@settings(deadline=None, max_examples=100)
@given(
    users=users,
    one=entries,
    lots=entries,
    nulls=st.sampled_from(["send", "omit"]),
    entry_nulls=st.sampled_from(["send", "omit"]),
    alone=st.booleans(),
)
def test_payloads_made_many_at_once_are_those_of_the_records_one_by_one(
    tmp_path_factory, users, one, lots, nulls, entry_nulls, alone
):
    folder = tmp_path_factory.getbasetemp()
    (folder / "halo.yaml").write_text(PLAN.format(nulls, entry_nulls), encoding="utf-8")
    plan = load_plan(folder / "halo.yaml")
    engine = sa.create_engine(f"sqlite:///{folder / 'payloads.db'}", poolclass=sa.NullPool)
    if alone:  # one row each: what is made many at once
        users = list({row[0]: row for row in users}.values())
        one = list({row[0]: row for row in one}.values())
    team = {row[0]: row[1] for row in users}
    filled(
        engine,
        {
            "users": users,
            "one": [(key, team.get(key), *rest) for key, *rest in one],
            "lots": [(key, team.get(key), *rest) for key, *rest in lots],
        },
    )
    counts = Counter(), Counter()

    def counting(to):
        return lambda kind, count: to.update({kind: count})

    where = ("users", plan, select(plan), Batch(first=None), lambda _: engine)
    records = list(read_records(*where, counting(counts[0])))
    payloads = [payload for block in read_payloads(*where, counting(counts[1])) for payload in block]
    assert payloads == [record if isinstance(record, Problem) else payload_of(record) for record in records]
    assert counts[0] == counts[1]
    assert all(isinstance(payload, (Payload, Problem)) for payload in payloads)


@settings(deadline=None)
@given(st.datetimes(), st.sampled_from(["T", " ", "x"]), st.sampled_from(["", "Z", "+00:00", "+02:00", "-11:30"]))
def test_moments_in_the_usual_forms_mean_what_they_say(moment, separator, offset):
    given = moment.isoformat(separator) + offset
    try:
        sent = to_moment(given, Counter())
    except ValueError:
        assert separator == "x" or moment.year in {1, 9999}
        return
    import pendulum

    assert separator != "x"
    assert pendulum.parse(sent) == pendulum.parse(given)
    assert sent.endswith("+00:00")
