"""When two key columns of one database name the same record, in SQL: as the database says, and by value across types."""

from __future__ import annotations

from collections.abc import Callable

from airflow_provider_halo.source.kinds import KeyKind

__all__ = ["canonical", "compared_text", "equal", "is_by_text"]

_EXACT_DOUBLES = 2**53


def equal(dialect: str, left: str, left_kind: KeyKind, right: str, right_kind: KeyKind) -> str:
    """The condition that two keys are equal.

    Of one family the database compares. Where two texts are compared by different collations, or one as citext or as
    CHAR(n), it is by the one that takes more for equal. Of two families, the texts are compared that Halo would know the
    keys by: ``'7'`` is 7, ``'007'`` isn't.

    :param left: the keys in SQL, such as ``e."team_id"``.
    """
    return _EQUAL[dialect](left, left_kind, right, right_kind)


def canonical(dialect: str, key: str, kind: KeyKind) -> str:
    """The text, in SQL, that Halo knows a key by, compared byte by byte."""
    return _CANONICAL[dialect](key, kind)


def is_by_text(dialect: str, left: KeyKind, right: KeyKind) -> bool:
    """Whether `equal` compares texts that it makes of the keys, which no index of the columns has."""
    families = {left.family, right.family}
    if dialect == "sqlite":
        # An index that SQLite makes by itself for RTRIM doesn't find what differs in blanks.
        return families not in ({"number"}, {"text"}) or _coarser_in_sqlite(left, right) == "RTRIM"
    if dialect == "postgresql":
        return len(families) > 1 or families == {"other"}
    return families not in ({"number"}, {"text"}, {"uuid"}, {"uuid", "text"})


def compared_text(dialect: str, key: str, kind: KeyKind, other: KeyKind) -> str:
    """The text that `equal` makes of a key where it compares texts.

    :param other: the kind of the key on the other side.
    """
    if dialect == "sqlite":
        collation = _coarser_in_sqlite(kind, other)
        text = _text_in_sqlite(key)
        return f"(RTRIM({text}, ' ')) COLLATE BINARY" if collation == "RTRIM" else f"({text}) COLLATE {collation}"
    if dialect == "postgresql" and other.family == "uuid":
        return f'LOWER(CAST({key} AS TEXT)) COLLATE "C"'
    return canonical(dialect, key, kind)


def _by_text(dialect: str, left: str, left_kind: KeyKind, right: str, right_kind: KeyKind) -> str:
    return (
        f"{compared_text(dialect, left, left_kind, right_kind)} = "
        f"{compared_text(dialect, right, right_kind, left_kind)}"
    )


def _equal_in_postgresql(left: str, left_kind: KeyKind, right: str, right_kind: KeyKind) -> str:
    if is_by_text("postgresql", left_kind, right_kind):
        return _by_text("postgresql", left, left_kind, right, right_kind)
    if left_kind.family != "text":
        return f"{left} = {right}"
    compared_as = _coarser_type_in_postgresql(left_kind, right_kind)
    collation = _coarser_collation_in_postgresql(left_kind, right_kind)
    if not compared_as and not collation:
        return f"{left} = {right}"
    suffix = f" COLLATE {collation}" if collation else ""
    kind = compared_as or "TEXT"
    return f"CAST({left} AS {kind}){suffix} = CAST({right} AS {kind}){suffix}"


def _coarser_type_in_postgresql(left: KeyKind, right: KeyKind) -> str:
    """The type to compare as: of citext, CHAR(n) and others the first; empty where neither is of the former."""
    types = (left.type, right.type)
    citext = next((name for name in types if name.split(".")[-1].strip('"') == "citext"), "")
    return citext or ("bpchar" if "character" in types else "")


def _coarser_collation_in_postgresql(left: KeyKind, right: KeyKind) -> str:
    """The collation to compare by, of the one that takes more for equal; empty where the database needs none."""
    collation = next(
        (kind.collation for kind in (left, right) if not kind.is_exact and kind.collation != '"default"'), ""
    )
    if not collation and left.collation != right.collation:
        return '"C"'  # any will do where equal is byte by byte, but of two the database takes none
    return collation


def _canonical_in_postgresql(key: str, kind: KeyKind) -> str:
    text = f"CAST({key} AS TEXT)"
    if kind.family == "number" and kind.type == "numeric":
        text = f"CASE WHEN {key} = FLOOR({key}) THEN CAST(FLOOR({key}) AS TEXT) END"
    elif kind.type in {"real", "double precision"}:
        whole = f"CAST(CAST({key} AS BIGINT) AS TEXT)"
        text = f"CASE WHEN {key} = FLOOR({key}) AND ABS({key}) <= {_EXACT_DOUBLES} THEN {whole} END"
    return f'({text}) COLLATE "C"'


def _equal_in_mysql(left: str, left_kind: KeyKind, right: str, right_kind: KeyKind) -> str:
    if is_by_text("mysql", left_kind, right_kind):
        return _by_text("mysql", left, left_kind, right, right_kind)
    is_text = left_kind.family == right_kind.family == "text"
    if not is_text or left_kind.collation == right_kind.collation:
        return f"{left} = {right}"
    collation = _coarser_in_mysql(left_kind.collation, right_kind.collation)
    return f"CONVERT({left} USING utf8mb4) COLLATE {collation} = CONVERT({right} USING utf8mb4) COLLATE {collation}"


def _coarser_in_mysql(left: str, right: str) -> str:
    """The collation to compare by, of the two columns' collations: the one that isn't by bytes; of two such the first."""
    first = next((name for name in (left, right) if not name.endswith("_bin")), left)
    charset, _, name = first.partition("_")
    if charset in {"utf8mb4", "utf8mb3", "utf8"}:
        return f"utf8mb4_{name}"
    if charset == "uca1400":
        return first
    return "utf8mb4_bin" if name.endswith(("_bin", "_cs")) or name in {"bin", "cs"} else "utf8mb4_general_ci"


def _canonical_in_mysql(key: str, kind: KeyKind) -> str:
    if kind.family == "number":
        digits = f"CAST(CAST({key} AS DECIMAL(65, 0)) AS CHAR)"
        return f"CAST(CASE WHEN {key} = FLOOR({key}) THEN {digits} END AS BINARY)"
    return f"CAST(CONVERT({key} USING utf8mb4) AS BINARY)"


def _equal_in_sqlite(left: str, left_kind: KeyKind, right: str, right_kind: KeyKind) -> str:
    if is_by_text("sqlite", left_kind, right_kind):
        return _by_text("sqlite", left, left_kind, right, right_kind)
    collation = _coarser_in_sqlite(left_kind, right_kind)
    if collation == "BINARY":
        return f"{left} = {right}"
    return f"{left} COLLATE {collation} = {right} COLLATE {collation}"


def _coarser_in_sqlite(left: KeyKind, right: KeyKind) -> str:
    return next((kind.collation for kind in (left, right) if not kind.is_exact), "BINARY")


def _text_in_sqlite(key: str) -> str:
    whole = f"CAST({key} AS INTEGER)"
    return (
        f"CASE WHEN typeof({key}) = 'real' AND {key} = {whole} THEN CAST({whole} AS TEXT) ELSE CAST({key} AS TEXT) END"
    )


def _canonical_in_sqlite(key: str, kind: KeyKind) -> str:
    text = f"CAST({key} AS TEXT)" if kind.family in {"number", "text"} else _text_in_sqlite(key)
    return f"({text}) COLLATE BINARY"


_Equal = Callable[[str, KeyKind, str, KeyKind], str]
_EQUAL: dict[str, _Equal] = {
    "postgresql": _equal_in_postgresql,
    "mysql": _equal_in_mysql,
    "mariadb": _equal_in_mysql,
    "sqlite": _equal_in_sqlite,
}
_CANONICAL: dict[str, Callable[[str, KeyKind], str]] = {
    "postgresql": _canonical_in_postgresql,
    "mysql": _canonical_in_mysql,
    "mariadb": _canonical_in_mysql,
    "sqlite": _canonical_in_sqlite,
}
