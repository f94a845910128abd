"""Results for people: as text on the screen, and as the page that is committed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.results import TARGETS, Results

_HEADS = ("pass", "seconds", "range", "records/s", "x floor", "CPU s", "CPU x floor", "peak MB", "requests")
_PEERS = {
    "peer_post": "`httpx.post` per user",
    "peer_client": "kept `httpx.Client`, a request per user",
    "peer_hook": "`HttpHook`, 1,000 users a request",
    "peer_sync_users": "this package, users only",
    "peer_sync_whole": "this package, companies too",
}


def numbers(results: Results) -> list[list[str]]:
    """The numbers that have a target: number, value, target, whether it is met."""
    lines = [["number", "is", "target", "", "means"]]
    for name, value in results.numbers().items():
        target = TARGETS[name]
        limit = f"{'≤' if target.most else '≥'} {target.limit:g}"
        if value is None:
            lines.append([name, "not measured", limit, "", results.reason(name) or ""])
        else:
            lines.append([name, f"{value:.2f}", limit, "met" if target.met(value) else "not met", target.meaning])
    return lines


def passes(results: Results) -> list[list[str]]:
    """All passes with their medians."""
    lines = [list(_HEADS)]
    for name, found in results.passes.items():
        seconds, processor = results.median(name) or 0.0, results.median(name, "cpu_seconds")
        of_all = [one["seconds"] for one in found]
        floor, peak = results.floor_of(name), results.median(name, "megabytes")
        lines.append(
            [
                name,
                f"{seconds:.2f}",
                f"{min(of_all):.2f}-{max(of_all):.2f}" if len(of_all) > 1 else "",
                f"{found[0]['records'] / seconds:,.0f}",
                _ratio(results.ratio(name, floor) if floor else None),
                "" if processor is None else f"{processor:.2f}",
                _ratio(results.ratio(name, floor, "cpu_seconds") if floor else None),
                "" if peak is None else f"{peak:.1f}",
                f"{found[0]['requests']:,}" if "requests" in found[0] else "",
            ]
        )
    return lines


def peers(results: Results) -> list[list[str]]:
    """Users per second of each peer, and how many times as many this package brings."""
    rates = {
        name: (found[0]["records"] / seconds if name != "peer_sync_whole" else _users(found[0]) / seconds)
        for name, found in results.passes.items()
        if name in _PEERS and (seconds := results.median(name))
    }
    if not rates:
        return []
    lines = [["way", "users/s", "whole sync x", "users only x"]]
    for name, rate in rates.items():
        ratios = [f"{rates[of] / rate:,.1f}" for of in ("peer_sync_whole", "peer_sync_users")]
        lines.append([_PEERS[name], f"{rate:,.0f}", *ratios])
    return lines


def as_text(lines: list[list[str]]) -> str:
    """A table for a terminal: the first column and texts to the left, figures to the right."""
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    last = len(widths) - 1
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 or (at == last and lines[0][at] == "means") else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def as_markdown(lines: list[list[str]]) -> str:
    """The same table for a page."""
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([rows[0], f"| {' | '.join('---' for _ in lines[0])} |", *rows[1:]])


def quotas(found: Sequence[dict[str, Any]]) -> list[list[str]]:
    """How well each kind of quota was used, against what is aimed at."""
    lines = [["quota that nobody told of", "used", "aim", "refused", "aim", "evenness"]]
    lines += [
        [
            one["quota"],
            f"{one['used']:.0%}",
            f"≥ {one['least_used']:.0%}",
            f"{one['refused']:.1%}",
            f"≤ {one['most_refused']:.0%}",
            f"{one['evenness']:.2f}",
        ]
        for one in found
    ]
    return lines


def page(results: Results, about: dict[str, Any]) -> str:
    """The page of a run, which says what made it."""
    machine = about["machine"]
    sizes = "\n".join(f"- {name}: {size}" for name, size in about["sizes"].items())
    return f"""# Results

Made by `{about["command"]}` on {about["date"]}; don't edit. [What the parts do and how to read them](README.md).

{machine["processor"]}, {machine["cores"]} cores, {machine["memory_gb"]} GB; {machine["python"]}; {machine["system"]}.
The server, the databases and what is measured share these cores. {about["seconds"]:.0f} s in all. Sizes:

{sizes}

## Targets

{as_markdown(numbers(results))}

## Other ways

{as_markdown(peers(results))}

## Quotas

A quota that the sandbox keeps and nobody tells of: what is used of it, and how many requests are refused. Of several
senders, how evenly they share it (Jain's index).

{as_markdown(quotas(about["quotas"]))}

## All passes

Medians of the rounds, and their range.

{as_markdown(passes(results))}
"""


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _users(found: Any) -> int:
    return int(found["users_stored"])
