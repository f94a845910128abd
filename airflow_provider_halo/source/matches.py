"""Which queries name records as the traits query does, and how the others' rows are matched to records in the database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

import sqlalchemy as sa

from airflow_provider_halo.exceptions import PlanError
from airflow_provider_halo.plan.model import LoadedPlan, Query, QueryScope, Statement
from airflow_provider_halo.plan.selection import Selection
from airflow_provider_halo.records.values import to_keys
from airflow_provider_halo.source.database import Sources, ask, engine_of, names_of
from airflow_provider_halo.source.equality import canonical, compared_text, equal, is_by_text
from airflow_provider_halo.source.kinds import KeyKind, Kinds
from airflow_provider_halo.source.spellings import Spellings
from airflow_provider_halo.source.sql import Part, narrowed, quoted, sorts_like_python, text_order, unnarrowed, verbatim

__all__ = ["ALL_PLAIN", "COMPANY_AS_WRITTEN", "Matches", "check_types", "plain_queries"]

ALL_PLAIN: Final = "*"
COMPANY_AS_WRITTEN: Final = "halo_company"
"""Column of the linked users query: the company's key as the users query has it."""
_TEXT: Final = "halo_text"  # the text of a record's key


class Matches:
    """How the keys of a plan's queries meet.

    A query is *plain* when its keys are the same texts as the records', lie in the same ranges, and, of users, name the
    user's own company. Rows of the others are joined to the records in the database, which says what is equal.

    :param plain: names of queries that are known to be plain (`plain_queries`); `ALL_PLAIN` stands for every one.
    """

    def __init__(self, plan: LoadedPlan, sources: Sources, plain: Collection[str]) -> None:
        self._plan = plan
        self._sources = sources
        self._plain = plain
        self._kinds = Kinds(sources)
        self._traits: dict[QueryScope, Query | None] = {}

    def traits(self, scope: QueryScope) -> Query | None:
        """The traits query of a scope. Where that isn't plain, users name their companies as the companies query does."""
        if scope not in self._traits:
            query = self._plan.traits(scope)
            if query is not None and scope == "users" and not self._is_known(query):
                query = linked_users(self._plan, self._sources, self._kinds)
            self._traits[scope] = query
        return self._traits[scope]

    def is_joined(self, entry: Query) -> bool:
        """Whether an entry's rows must be joined to the records in their database."""
        traits = self._plan.traits(entry.scope)
        if self._is_known(entry) or traits is None or not _share_database(entry, traits, self._sources):
            return False
        if entry.scope == "users":
            return True
        kinds = self._kinds
        return not kinds.of(traits, traits.key).is_like(kinds.of(entry, entry.key))

    def joined(self, entry: Query, records: sa.Subquery, part: Part) -> sa.Select[tuple[object, ...]]:
        """An entry's rows of some records, under the keys that the traits query has for them, in the order of `narrowed`.

        :param records: the records of the part, as of `sql.records_of`.
        :raises PlanError: when the entry lacks a column that the plan names.
        :raises SourceError: when the database refuses the query.
        """
        traits = self._plan.traits(entry.scope)
        assert traits is not None  # noqa: S101 (for mypy: an entry's scope has one)
        engine = engine_of(entry, self._sources)
        names = names_of(engine, entry)
        kinds = self._kinds.of(traits, traits.key), self._kinds.of(entry, entry.key)
        rows = unnarrowed(entry, *names)
        if entry.scope == "companies" and _lie_in_one_range(kinds, engine.dialect):
            columns_of_rows: list[sa.ColumnClause[Any]] = [sa.column(name) for name in names]
            rows = narrowed(entry, part, engine.dialect).columns(*columns_of_rows).subquery("q")  # for cost alone
        key = f"q.{quoted(entry.key, engine.dialect)}"
        if kinds[0].is_like(kinds[1]) and kinds[0].type == kinds[1].type:
            # The keys are the same texts, so that none has to be renamed. SQLite makes an index for IN, but none for a join
            # with rows that it has ranked.
            own = rows.c[entry.key].in_(sa.select(records.c[traits.key]))
            return (
                sa.select(*(rows.c[name] for name in names))
                .where(own)
                .order_by(sa.text(text_order(key, engine.dialect)))
            )
        joined = _Matched(records, traits.key, kinds, engine.dialect)
        columns = [joined.key.label(name) if name == entry.key else rows.c[name] for name in names]
        condition = joined.is_equal(key)
        if joined.may_be_others:
            condition += (
                f" AND ({joined.is_same_text(key)} OR NOT EXISTS ({_same_text(traits, kinds, key, engine.dialect)}))"
            )
        return (
            sa.select(*columns)
            .select_from(rows.join(joined.table, sa.text(condition)))
            .order_by(sa.text(text_order(joined.key_sql, engine.dialect)))
        )

    def spellings(self, entry: Query) -> Spellings | None:
        """Asks for an entry's rows by the records' keys, where those are of another database."""
        traits = self._plan.traits(entry.scope)
        if traits is None or entry.source == traits.source:
            return None
        return Spellings(entry, traits, self._sources, self._kinds)

    def company_spellings(self, scope: QueryScope) -> Spellings | None:
        """Asks how companies are spelled to which users belong, where those are of another database."""
        users, companies = self._plan.traits("users"), self._plan.traits("companies")
        if scope != "users" or users is None or companies is None or users.source == companies.source:
            return None
        return Spellings(companies, companies, self._sources, self._kinds)

    def ambiguous(self, entry: Query, records: sa.Subquery) -> frozenset[str]:
        """The keys of records among which an entry has rows that can't be assigned.

        Where only the entry's column takes several spellings for one key, a row that is spelled as none of the records may
        be equal to several of them.

        :param records: as of `joined`.
        """
        traits = self._plan.traits(entry.scope)
        if traits is None or not self.is_joined(entry):
            return frozenset()
        kinds = self._kinds.of(traits, traits.key), self._kinds.of(entry, entry.key)
        engine = engine_of(entry, self._sources)
        joined = _Matched(records, traits.key, kinds, engine.dialect)
        if not joined.may_be_others:
            return frozenset()
        rows = unnarrowed(entry, entry.key)
        key = f"q.{quoted(entry.key, engine.dialect)}"
        name = quoted(traits.key, engine.dialect)
        alike = equal(engine.dialect.name, f"halo_t.{name}", kinds[0], key, kinds[1])
        count = f"SELECT COUNT(*) FROM ({_open_text(traits)}\n) halo_t WHERE {alike}"  # noqa: S608 (the plan's own SQL)
        condition = f"{joined.is_equal(key)} AND NOT EXISTS ({_same_text(traits, kinds, key, engine.dialect)})"
        found = ask(
            engine,
            entry,
            sa.select(joined.key)
            .distinct()
            .select_from(rows.join(joined.table, sa.text(condition)))
            .where(sa.text(f"({count}) > 1")),
        )
        return frozenset(key for key in to_keys([row[0] for row in found]) if isinstance(key, str))

    def repeated(self, query: Query, records: sa.Subquery) -> frozenset[str]:
        """The keys of companies that the database takes for one, though they are spelled differently.

        :param records: the records of a part, as of `sql.records_of`. Equal keys lie in one range, but not in SQLite.
        """
        if query.scope == "users" or not sorts_like_python(engine_of(query, self._sources).dialect):
            return frozenset()
        if self._kinds.of(query, query.key).is_exact:
            return frozenset()
        key = records.c[query.key]
        counted = sa.select(key, sa.func.count().over(partition_by=key).label("halo_rows")).where(key.is_not(None))
        alike = counted.subquery("alike")
        several = sa.select(alike.c[query.key]).where(alike.c.halo_rows > 1)
        rows = ask(engine_of(query, self._sources), query, several)
        return frozenset(key for key in to_keys([row[0] for row in rows]) if isinstance(key, str))

    def _is_known(self, query: Query) -> bool:
        return ALL_PLAIN in self._plain or query.name in self._plain


class _Matched:
    """Records as a table that other rows are joined to, by their keys.

    SQLite and MariaDB join by an index or else row by row: a table of distinct rows is made, and given an index, first.

    :param records: a table with the records' keys in the column ``key``.
    :param kinds: of the records' keys, and of those of the other rows.
    """

    def __init__(self, records: sa.Subquery, key: str, kinds: tuple[KeyKind, KeyKind], dialect: sa.Dialect) -> None:
        self._dialect = dialect.name
        self._kinds = kinds
        self._has_text = dialect.name != "postgresql" and is_by_text(dialect.name, *kinds)
        columns: list[sa.ColumnElement[object]] = [records.c[key]]
        if self._has_text:
            text = compared_text(dialect.name, f"{records.name}.{quoted(key, dialect)}", *kinds)
            columns.append(sa.literal_column(text).label(_TEXT))
        table = sa.select(*columns)
        self.table = (table if dialect.name == "postgresql" else table.distinct()).subquery("matched")
        self.key = self.table.c[key]
        self.key_sql = f"matched.{quoted(key, dialect)}"

    @property
    def may_be_others(self) -> bool:
        """Whether a row that is equal to a record may be another record's."""
        of_records, of_rows = self._kinds
        return of_records.family == of_rows.family == "text" and of_records.is_exact and not of_rows.is_exact

    def is_same_text(self, key: str) -> str:
        """The condition that a row's key is spelled as the record's."""
        of_records, of_rows = self._kinds
        return f"{canonical(self._dialect, self.key_sql, of_records)} = {canonical(self._dialect, key, of_rows)}"

    def is_equal(self, key: str) -> str:
        """The condition that a row's key is the record's."""
        if self._has_text:
            return f"matched.{_TEXT} = {compared_text(self._dialect, key, self._kinds[1], self._kinds[0])}"
        return equal(self._dialect, self.key_sql, self._kinds[0], key, self._kinds[1])


def _lie_in_one_range(kinds: tuple[KeyKind, KeyKind], dialect: sa.Dialect) -> bool:
    """Whether keys that are equal lie in the same range, as each column compares: in SQLite ranges are by bytes."""
    one, other = kinds
    if dialect.name == "sqlite" or one.family != other.family:
        return False
    return one.family != "text" or (one.type == other.type and one.collation == other.collation)


def _same_text(traits: Query, kinds: tuple[KeyKind, KeyKind], key: str, dialect: sa.Dialect) -> str:
    """The records, of all, that are spelled as a key."""
    text = canonical(dialect.name, f"halo_s.{quoted(traits.key, dialect)}", kinds[0])
    condition = f"{text} = {canonical(dialect.name, key, kinds[1])}"
    return f"SELECT 1 FROM ({_open_text(traits)}\n) halo_s WHERE {condition}"  # noqa: S608 (the plan's own SQL)


def plain_queries(plan: LoadedPlan, selection: Selection, sources: Sources) -> tuple[str, ...]:
    """The names of the queries that are plain; `ALL_PLAIN` alone, when every one of the plan is.

    :param selection: the queries that a run reads; the others aren't looked at.
    :raises SourceError: when a database can't be reached or refuses a query.
    :raises PlanError: when a query lacks a column that the plan names.
    """
    kinds = Kinds(sources, whole=True)
    users = _plain_users(plan, sources, kinds)
    plain = [users.name] if users is not None and selection.reads("users") else []
    plain += [entry.name for entry in selection.context if _is_plain(plan, entry, users, sources, kinds)]
    queries = {query.name for query in plan.queries if query.entry is not None or query.scope == "users"}
    return (ALL_PLAIN,) if set(plain) == queries else tuple(plain)


def _plain_users(plan: LoadedPlan, sources: Sources, kinds: Kinds) -> Query | None:
    """The users query, if it is plain."""
    users = plan.traits("users")
    return users if linked_users(plan, sources, kinds) is users else None


def _is_plain(plan: LoadedPlan, entry: Query, users: Query | None, sources: Sources, kinds: Kinds) -> bool:
    """Whether an entry is plain.

    :param users: the users query, if that is plain; no entry of users is where it isn't.
    """
    if not _has_keys_of_records(plan, entry, sources, kinds):
        return False
    return entry.scope == "companies" or (users is not None and _name_own_company(entry, users, sources, kinds))


def _has_keys_of_records(plan: LoadedPlan, entry: Query, sources: Sources, kinds: Kinds) -> bool:
    traits = plan.traits(entry.scope)
    if traits is None or not _share_database(entry, traits, sources):
        return False
    return kinds.of(traits, traits.key).is_like(kinds.of(entry, entry.key))


def _name_own_company(entry: Query, users: Query, sources: Sources, kinds: Kinds) -> bool:
    """Whether each row of an entry that belongs to a user names that user's company."""
    engine = engine_of(entry, sources)
    names = names_of(engine, entry)
    if entry.company not in names or not kinds.of(users, users.company).is_like(kinds.of(entry, entry.company)):
        return False
    if entry.company == entry.key:
        return users.company == users.key
    rows = unnarrowed(entry, entry.key, entry.company)
    own = unnarrowed(users, users.key, users.company).alias("own")
    if engine.dialect.name in {"mysql", "mariadb"}:
        own = sa.select(own).distinct().subquery("own")  # which is given an index, as of `_Matched`
    differing = (  # counted: for the first one alone PostgreSQL would look up row by row
        sa.select(sa.func.count())
        .select_from(rows.join(own, rows.c[entry.key] == own.c[users.key]))
        .where(rows.c[entry.company].is_distinct_from(own.c[users.company]))
    )
    return not ask(engine, entry, differing)[0][0]


def linked_users(plan: LoadedPlan, sources: Sources, kinds: Kinds) -> Query | None:
    """The users query, itself where its companies are spelled as the companies query spells them.

    Else the query that gives each user's company as the companies query has it, null where that has none, and the
    spelling of the users query besides (`COMPANY_AS_WRITTEN`).
    """
    users, companies = plan.traits("users"), plan.traits("companies")
    if users is None or companies is None or not _share_database(users, companies, sources):
        return users
    link, company = kinds.of(users, users.company), kinds.of(companies, companies.key)
    if company.is_like(link) or users.key == users.company:
        return users
    engine = engine_of(users, sources)
    sql = _linked_sql(users, companies, names_of(engine, users), (company, link), engine.dialect)
    return replace(
        users,
        statement=replace(users.statement, pieces=(sql,), placements=()),
        unsent=users.unsent | {COMPANY_AS_WRITTEN},
    )


def _linked_sql(
    users: Query, companies: Query, names: Sequence[str], kinds: tuple[KeyKind, KeyKind], dialect: sa.Dialect
) -> str:
    company, link = kinds

    def name(column: str) -> str:
        return dialect.identifier_preparer.quote(column).replace("%%", "%")

    company_key, link_key = f"halo_c.{name(companies.key)}", f"halo_q.{name(users.company)}"
    given = _companies_sql(companies, kinds, name(companies.key), dialect)
    if is_by_text(dialect.name, company, link):
        condition = f"halo_c.{_TEXT} = {compared_text(dialect.name, link_key, link, company)}"
    else:
        condition = equal(dialect.name, company_key, company, link_key, link)
        if company.is_exact and not link.is_exact:
            # One that is spelled alike is meant before any that only counts as equal.
            link_text = canonical(dialect.name, link_key, link)
            alike = f"SELECT 1 FROM ({given}) halo_x WHERE halo_x.{_TEXT} = {link_text}"  # noqa: S608 (the plan's own SQL)
            condition = f"{condition} AND (halo_c.{_TEXT} = {link_text} OR NOT EXISTS ({alike}))"
    columns = ", ".join(
        f"{company_key} AS {name(column)}" if column == users.company else f"halo_q.{name(column)}" for column in names
    )
    linked = f"({_open_sql(users.statement)}\n) halo_q LEFT JOIN ({given}) halo_c ON {condition}"
    return f"SELECT {columns}, {link_key} AS {COMPANY_AS_WRITTEN} FROM {linked}"  # noqa: S608 (likewise)


def check_types(users: Query, companies: Query, sources: Sources) -> None:
    """Hold the type of the users' companies against that of the companies' keys, where these are of another database.

    :raises PlanError: when they differ: a range of the ones is none of the others, and they can't be joined.
    """
    kinds = Kinds(sources)
    link, company = kinds.of(users, users.company), kinds.of(companies, companies.key)
    families = {link.family, company.family}
    if len(families) > 1 and "other" not in families:
        message = (
            f"column {users.company!r} is {link}, but column {companies.key!r} of {companies.name}, in another database, is "
            f"{company}; cast one of them in the SQL, so that both are of one type"
        )
        raise PlanError([users.problem(message)])


def _companies_sql(companies: Query, kinds: tuple[KeyKind, KeyKind], key: str, dialect: sa.Dialect) -> str:
    """The companies' keys and their texts: of several that the database takes for one company, always the same one.

    Elsewhere those lie in one range, and which of them it is doesn't matter; SQLite's ranges are by bytes.
    """
    kind = kinds[0]
    by_text = is_by_text(dialect.name, *kinds)
    column = f"halo_d.{key}"
    text = compared_text(dialect.name, column, *kinds) if by_text else canonical(dialect.name, column, kind)
    rows = f"({_open_sql(companies.statement)}\n) halo_d"
    if dialect.name == "sqlite" and not kind.is_exact:
        # Compared as the column is, which is what companies that are named are found by.
        first = f"MIN(halo_d.{key} COLLATE BINARY) COLLATE {kind.collation} AS {key}, MIN({text}) AS {_TEXT}"
        return f"SELECT {first} FROM {rows} GROUP BY halo_d.{key}"  # noqa: S608 (the plan's own SQL)
    if kind.is_exact:
        return f"SELECT DISTINCT {column}, {text} AS {_TEXT} FROM {rows}"  # noqa: S608 (the plan's own SQL)
    if dialect.name == "postgresql":
        return f"SELECT DISTINCT ON ({column}) {column}, {text} AS {_TEXT} FROM {rows} ORDER BY {column}, {text}"  # noqa: S608 (likewise)
    return f"SELECT MIN({column}) AS {key}, MIN({text}) AS {_TEXT} FROM {rows} GROUP BY {column}"  # noqa: S608 (likewise)


def _open_text(query: Query) -> str:
    """A query open to all companies, as `sqlalchemy.text` takes it."""
    return verbatim(_open_sql(query.statement))


def _open_sql(statement: Statement) -> str:
    """A query open to all companies."""
    return "(1 = 1)".join(statement.pieces)


def _share_database(query: Query, other: Query, sources: Sources) -> bool:
    """Whether two queries can be joined, as far as is known how."""
    return query.source == other.source and sorts_like_python(engine_of(query, sources).dialect)
