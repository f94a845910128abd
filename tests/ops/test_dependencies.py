"""What the package imports is what it declares: nothing is missing in pyproject.toml, and nothing stands there in vain."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import airflow_provider_halo

PACKAGE = Path(airflow_provider_halo.__file__).parent
ROOT = Path(__file__).parents[2]
# Where a module's name is not that of its distribution; the longest name that fits decides.
DISTRIBUTIONS = {
    "airflow": "apache-airflow",
    "airflow.providers.common.sql": "apache-airflow-providers-common-sql",
    "airflow.providers.standard": "apache-airflow-providers-standard",
    "jwt": "pyjwt",
    "pydantic_core": "pydantic",  # which pins its core to one release
    "yaml": "pyyaml",
}


def declared() -> set[str]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    dependencies = text.partition("\ndependencies = [\n")[2].partition("\n]\n")[0]
    return {name.lower() for name in re.findall(r'^    "([\w.-]+)', dependencies, re.MULTILINE)}


def imports_of(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def distribution_of(module: str) -> str:
    parts = module.split(".")
    prefixes = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    listed = next((DISTRIBUTIONS[prefix] for prefix in prefixes if prefix in DISTRIBUTIONS), None)
    return listed or parts[0].replace("_", "-")


def imported() -> dict[str, str]:
    """The distributions that the package imports, each with one file that does."""
    used = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for module in imports_of(path):
            if module.partition(".")[0] not in {PACKAGE.name, *sys.stdlib_module_names}:
                used[distribution_of(module)] = str(path.relative_to(PACKAGE))
    return used


def test_every_import_of_the_package_is_a_declared_dependency():
    dependencies = declared()
    assert {name: path for name, path in imported().items() if name not in dependencies} == {}


def test_every_declared_dependency_is_imported():
    assert declared() - imported().keys() == set()
