"""The documentation as a whole: it builds without a warning, links lead somewhere, what there is is described."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import pytest
from documents import DOCS, PAGES, ROOT, anchors, links, prose

from airflow_provider_halo import operators
from airflow_provider_halo.cli.commands import COMMANDS
from airflow_provider_halo.provider_info import get_provider_info

PACKAGE = ROOT / "airflow_provider_halo"


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.skipif(find_spec("furo") is None, reason="Sphinx isn't installed: it comes with the extra docs")
def test_it_builds_without_a_warning(tmp_path):
    words = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", str(tmp_path / "site")]
    done = subprocess.run(words, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = {path.stem for path in (tmp_path / "site").glob("*.html")}
    assert built >= {path.stem for path in DOCS}
    assert 'id="airflow_provider_halo.operators.IdentifyOperator"' in (tmp_path / "site" / "api.html").read_text(
        "utf-8"
    )


def test_what_is_generated_is_up_to_date():
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), "run: python docs/generate.py"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(path):
    broken = []
    for link in links(path):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (path.parent / name) if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_linked_from_the_readme_and_in_the_table_of_contents():
    listed = set(re.findall(r"^([\w-]+)$", page("index.md"), re.MULTILINE))
    assert listed == {path.stem for path in DOCS} - {"index"}
    named = {Path(link).stem for link in links(ROOT / "README.md") if link.startswith("docs/")}
    assert named == listed


def test_every_command_and_flag_setting_and_field_is_described():
    for command in COMMANDS:
        assert f"## `halo {command.name}`" in page("cli.md")
        for argument in command.arguments:
            name = argument.flags[0] if argument.flags[0].startswith("-") else argument.options.get("metavar", "")
            assert f"`{name}" in page("cli.md")
    info = get_provider_info()
    for option in info["config"]["halo"]["options"]:
        assert re.search(rf"^\| `{option}` \|.*`AIRFLOW__HALO__{option.upper()}`", page("settings.md"), re.MULTILINE)
    for field in info["connection-types"][0]["conn-fields"]:
        assert f"| `{field}` |" in page("settings.md")


def test_every_operator_is_described():
    for name in operators.__all__:
        assert f"`{name}" in page("operators.md")
        if name.endswith("Operator") or name == "halo_sync":
            assert f"`{name}" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["architecture.md", "context-shapes.md"])
def test_every_module_and_name_that_a_page_points_to_is_there(name):
    text = prose(ROOT / "docs" / name)
    files = re.findall(r"`(\w+/\w+\.py)`", text)
    assert len(files) > 5
    assert [file for file in files if not (PACKAGE / file).is_file()] == []
    # A table with the columns "file" and "look for".
    for file, names in re.findall(r"^\| `(\w+/\w+\.py)` \| (`\w+`(?:, `\w+`)*) \|", text, re.MULTILINE):
        for identifier in re.findall(r"`(\w+)`", names):
            assert identifier in (PACKAGE / file).read_text(encoding="utf-8"), f"{file}: {identifier}"
