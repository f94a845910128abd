"""Measures the package's structure, and holds the bounds that `make lint` checks. Any checkout: ``house.py --at DIR``.

The core is the package without the sandbox and the sample product (and, before it moved out, the demo); functions are
those of the whole package. A function's complexity is what radon counts: its branches, boolean operators included.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import grimp
from radon.complexity import cc_visit

PACKAGE = "airflow_provider_halo"
NOT_CORE = ("sandbox", "sample", "demo")
# Where one batch is brought to Halo; before the rooms were cut, in sync/engine.py.
ENGINES = ("sync/batch.py", "sync/engine.py")

COMPLEX = 10
MOST_COMPLEX = 15
MOST_COMPLEX_FUNCTIONS = 12
MOST_LINES = 400
README_BYTES = 10_000


class Function(NamedTuple):
    """A function or method of the package."""

    name: str
    file: str
    line: int
    complexity: int
    lines: int


def main() -> int:
    """Print the table, or with ``--check`` what is over its bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at", type=Path, default=Path(__file__).parents[1], help="the checkout (default: this one)")
    parser.add_argument("--check", action="store_true", help="only the bounds; exit code 1 where one is passed")
    arguments = parser.parse_args()
    root: Path = arguments.at.resolve()
    functions = list(functions_of(root))
    if arguments.check:
        problems = list(problems_of(root, functions))
        print("\n".join(problems) or f"The house holds: {summary(functions)}.")
        return int(bool(problems))
    for name, value in table(root, functions):
        print(f"{name:<58} {value}")
    return 0


def core_files(root: Path) -> list[Path]:
    """The modules of the core."""
    package = root / PACKAGE
    files = package.rglob("*.py")
    return sorted(file for file in files if file.relative_to(package).parts[0] not in NOT_CORE)


def functions_of(root: Path) -> Iterator[Function]:
    """Every function and method of the package, those inside of functions included."""
    for file in sorted((root / PACKAGE).rglob("*.py")):
        blocks = cc_visit(file.read_text(encoding="utf-8"))
        functions = [block for block in blocks if block.letter in {"F", "M"}]
        nested = [inner for function in functions for inner in function.closures]
        for block in functions + nested:
            length = block.endline - block.lineno + 1
            yield Function(
                block.fullname, str(file.relative_to(root)), block.lineno, int(block.complexity), int(length)
            )


def problems_of(root: Path, functions: list[Function]) -> Iterator[str]:
    """What is over its bound, with the place."""
    for function in functions:
        if function.complexity > MOST_COMPLEX:
            yield (
                f"{function.file}:{function.line}: {function.name} has a complexity of {function.complexity}, "
                f"at most {MOST_COMPLEX}"
            )
    complex_functions = [function for function in functions if function.complexity > COMPLEX]
    if len(complex_functions) > MOST_COMPLEX_FUNCTIONS:
        yield f"{len(complex_functions)} functions have a complexity above {COMPLEX}, at most {MOST_COMPLEX_FUNCTIONS}:"
        yield from (
            f"  {function.file}:{function.line}: {function.name}: {function.complexity}"
            for function in sorted(complex_functions, key=lambda function: -function.complexity)
        )
    for file in sorted((root / PACKAGE).rglob("*.py")):
        lines = len(file.read_text(encoding="utf-8").splitlines())
        if lines > MOST_LINES:
            yield f"{file.relative_to(root)}: {lines} lines, at most {MOST_LINES}: is there a second noun in it?"
    readme = (root / "README.md").stat().st_size
    if readme > README_BYTES:
        yield f"README.md: {readme:,} bytes, at most {README_BYTES:,}: what belongs into docs/?"


def summary(functions: list[Function]) -> str:
    """The complexity of all functions in one sentence."""
    above = sum(function.complexity > COMPLEX for function in functions)
    most = max(function.complexity for function in functions)
    return f"{len(functions):,} functions, {above} of them above a complexity of {COMPLEX}, the highest {most}"


def table(root: Path, functions: list[Function]) -> Iterator[tuple[str, str]]:
    """The measures, each with its name."""
    files = core_files(root)
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    names = Counter(file.name for file in files if file.name not in {"__init__.py", "__main__.py"})
    lengths = sorted(function.lines for function in functions)
    trip = trip_of(root)
    yield "core: modules", str(len(files))
    yield "core: lines", f"{sum(text.count(chr(10)) for text in texts.values()):,}"
    yield "core: file names that stand twice or more", str(sum(count > 1 for count in names.values()))
    yield "core: largest module, lines", str(max(text.count("\n") for text in texts.values()))
    yield "modules that one user's trip to Halo can touch", str(len(trip))
    yield (
        "  their lines",
        f"{sum(text.count(chr(10)) for file, text in texts.items() if module_of(root, file) in trip):,}",
    )
    yield "modules of the room with the most", "{1} ({0})".format(*largest_room(root, files))
    yield "functions", f"{len(functions):,}"
    yield (
        "  lines: median, 90 %, most",
        f"{statistics.median(lengths):g}, {lengths[len(lengths) * 9 // 10]}, {lengths[-1]}",
    )
    yield f"  complexity above {COMPLEX}", str(sum(function.complexity > COMPLEX for function in functions))
    yield f"  complexity above {MOST_COMPLEX}", str(sum(function.complexity > MOST_COMPLEX for function in functions))
    yield "README.md, bytes", f"{(root / 'README.md').stat().st_size:,}"
    docs = root / "docs"
    yield "docs/, bytes", f"{sum(page.stat().st_size for page in docs.rglob('*.md') if '_build' not in page.parts):,}"
    yield "direct dependencies", str(len(dependencies_of(root)))
    size, count = wheel_of(root)
    yield "wheel: bytes, files", f"{size:,}, {count}"


def trip_of(root: Path) -> set[str]:
    """The core's modules that the engine imports, directly or not, and itself: what a reader may have to open."""
    sys.path.insert(0, str(root))
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    engine = next(
        file
        for file in ENGINES
        if (root / PACKAGE / file).exists() and "def sync_batch" in (root / PACKAGE / file).read_text(encoding="utf-8")
    )
    start = module_of(root, root / PACKAGE / engine)
    return {start, *graph.find_upstream_modules(start)} - {PACKAGE}


def module_of(root: Path, file: Path) -> str:
    """A file's dotted name."""
    return ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def largest_room(root: Path, files: list[Path]) -> tuple[str, int]:
    """The folder with the most modules, and how many."""
    rooms = Counter(file.parent.relative_to(root / PACKAGE).as_posix() for file in files if file.name != "__init__.py")
    return rooms.most_common(1)[0]


def dependencies_of(root: Path) -> list[str]:
    """The requirements of pyproject.toml that users get."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    block = text[text.index("\ndependencies = ") :]
    block = block[block.index("[") : block.index("\n]") + 2]
    listed: list[str] = ast.literal_eval(block)  # a list of strings and comments is the same in TOML and Python
    return listed


def wheel_of(root: Path) -> tuple[int, int]:
    """The size of the wheel in bytes, and how many files it holds."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "build", "--wheel", "--outdir", folder, str(root)], check=True, capture_output=True
        )
        (wheel,) = Path(folder).glob("*.whl")
        listed = subprocess.run(
            [sys.executable, "-m", "zipfile", "-l", str(wheel)], check=True, capture_output=True, text=True
        )
        return wheel.stat().st_size, len(listed.stdout.splitlines()) - 1


if __name__ == "__main__":
    sys.exit(main())
