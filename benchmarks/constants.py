"""What the calculation of `benchmarks.sizes` rests on: costs of one record, one request, one task, from a run's medians."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.results import SLOTS, Results

FILE = Path(__file__).parent / "constants.json"


@dataclass(frozen=True, kw_only=True)
class Constants:
    """Costs, in seconds. Those of records and requests are of the processor.

    :param company: reading, checking and sending one company; ``user``: one user; ``link``: sending one link.
    :param known: reading one record and finding it unchanged in the ledger.
    :param remembered: writing one record down in the ledger.
    :param airflow_run: what Airflow takes around the batches of a run: planning, scheduling, the report.
    :param airflow_task: what it takes of a slot for each batch, beside the engine's time. Both of a run that has next to nothing to do.
    """

    company: float
    user: float
    link: float
    known: float
    remembered: float
    airflow_run: float
    airflow_task: float


def load() -> Constants:
    """The constants of the last run that was written down."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return Constants(**{field.name: found[field.name] for field in fields(Constants)})


def write(results: Results, about: dict[str, Any]) -> None:
    """Write a run's constants down; what it has not measured stays as it is."""
    kept = asdict(load()) if FILE.exists() else {}
    found = {name: value for name, value in _of(results).items() if value is not None}
    told = {"made_by": about["command"], "date": about["date"], **kept, **found}
    FILE.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _of(results: Results) -> dict[str, float | None]:
    def each(name: str, scope: str) -> float | None:
        total, count = results.median(name, "cpu_seconds"), results.median(name, scope)
        return total / count if total is not None and count else None

    company, user = each("companies_0ms", "companies_stored"), each("users_0ms", "users_stored")
    linked = {what: results.median("links_0ms", f"{what}_stored") or 0.0 for what in ("companies", "users", "links")}
    processor = results.median("links_0ms", "cpu_seconds")
    link = None
    if processor is not None and company is not None and user is not None:
        link = (processor - linked["companies"] * company - linked["users"] * user) / linked["links"]
    cold, without = results.median("ledger_cold", "cpu_seconds"), results.median("no_ledger", "cpu_seconds")
    records = results.median("ledger_cold", "records")
    seconds, span = results.median("backfill_idle"), results.median("backfill_idle", "span")
    batches = results.median("backfill_idle", "batches")
    run = task = None
    if seconds is not None and span is not None and batches is not None:
        run, task = seconds - span, span * min(SLOTS, batches) / batches
    return {
        "company": _rounded(company),
        "user": _rounded(user),
        "link": _rounded(link),
        "known": _rounded(each("ledger_warm", "records")),
        "remembered": _rounded((cold - without) / records if cold and without and records else None),
        "airflow_run": _rounded(run),
        "airflow_task": _rounded(task),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
