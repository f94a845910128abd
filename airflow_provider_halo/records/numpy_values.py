"""Values of numpy and pandas as Python's own. Neither is imported: who holds such a value has done so."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

from airflow_provider_halo.records.problem import InvalidValue

__all__ = ["is_of_numpy", "to_python"]

_PACKAGES: Final = frozenset({"numpy", "pandas"})
_NO_FORM: Final = "holds a {0}, which has no form in JSON"


def is_of_numpy(kind: type) -> bool:
    """Whether a type is one of numpy's or pandas'."""
    return kind.__module__.partition(".")[0] in _PACKAGES


def to_python(value: Any) -> Any:
    """A value of numpy or pandas as Python has it; any other as it is.

    ``NaT`` and ``NA`` are None. An array is a list, of values that may be numpy's.

    :raises InvalidValue: for what Python has no such value for.
    """
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    if package == "numpy":
        return _from_numpy(value, kind.__name__)
    return _from_pandas(value, kind.__name__) if package == "pandas" else value


def _from_pandas(value: Any, name: str) -> Any:
    if name in {"NaTType", "NAType"}:
        return None
    if name == "Timestamp":
        return value.to_pydatetime(warn=False)  # nanoseconds are beyond Python
    if name == "Timedelta":
        return value.to_pytimedelta()
    raise InvalidValue(_NO_FORM.format(name))


def _from_numpy(value: Any, name: str) -> Any:
    if name == "ndarray":
        return list(value) if value.ndim else to_python(value[()])
    if name in {"datetime64", "timedelta64"}:
        return _time_from_numpy(value, name)
    if name in {"float16", "float32"}:
        return float(str(value))  # 0.1, where the nearest double of what is stored is 0.10000000149011612
    plain = value.item() if hasattr(value, "item") else value
    if is_of_numpy(type(plain)):
        raise InvalidValue(_NO_FORM.format(name))
    return plain


def _time_from_numpy(value: Any, name: str) -> Any:
    """A date, moment or duration; as an integer numpy gives those that are finer or longer than Python's."""
    plain = value.item()
    try:
        if isinstance(plain, int):
            plain = value.astype(f"{name}[us]").item()
    except TypeError:  # so many months, which are no certain time
        plain = ...
    if plain is not None and not isinstance(plain, (date, timedelta)):
        raise InvalidValue(_NO_FORM.format(name))
    return plain
