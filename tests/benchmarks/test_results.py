"""What the documentation says was measured is what the last written run measured."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def cells(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading."""
    table = re.search(r"(?:^\|.*\n)+", text.partition(f"{heading}\n")[2], re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table[0].splitlines()[2:]]


def test_the_documentation_gives_the_figures_of_the_results():
    results = cells((ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8"), "## Targets")
    page = cells((ROOT / "docs" / "performance.md").read_text(encoding="utf-8"), "## How fast it is")
    assert len(results) == 6
    assert [row[2].split()[0] for row in page] == [row[1] for row in results]
    assert [row[3].split()[0] for row in page] == [row[2].split()[1] for row in results]
