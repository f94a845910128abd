"""Every plan, query, DAG and report that the documentation shows is one: none can go stale."""

from __future__ import annotations

import json

import pytest
from documents import DOCS, PAGES, README, all_blocks, blocks

from airflow_provider_halo.delivery.report import Report
from airflow_provider_halo.plan.lint import lint
from airflow_provider_halo.plan.loader import load_plan

# What a block may be. Of each language, something below or in test_commands.py does what the block says.
LANGUAGES = {"bash", "json", "python", "sql", "text", "yaml", "{eval-rst}", "{toctree}"}
SQL = {
    name: text for name, text in (block.text.split("\n", 1) for block in all_blocks("sql")) if name.startswith("-- ")
}
PLAN = blocks(README, "yaml")[0].text
TASKS = {"README.md": [3], "operators.md": [3, 3, 3]}  # of each block's DAG, where it has one


def test_every_block_has_a_language_that_is_tried():
    assert {block.language for page in PAGES for block in blocks(page)} <= LANGUAGES


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=str)
def test_every_plan_loads(block, tmp_path):
    for name, text in SQL.items():
        path = tmp_path / name.removeprefix("-- ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    path = tmp_path / "halo.yaml"
    path.write_text(block.text, encoding="utf-8")
    findings = lint(load_plan(path))
    assert [finding.text for finding in findings if finding.rule in {"forms", "row-limits"} and not finding.ok] == []


@pytest.mark.parametrize("block", all_blocks("sql"), ids=str)
def test_every_query_is_what_a_plan_takes(block, tmp_path):
    (tmp_path / "q.sql").write_text(block.text, encoding="utf-8")
    plan = PLAN.replace('"SELECT team_id, service, connected, status, error FROM integrations"', "q.sql")
    (tmp_path / "halo.yaml").write_text(
        plan.replace("type: integration, name: service,", "type: metric,"), encoding="utf-8"
    )
    (query,) = load_plan(tmp_path / "halo.yaml").entries("companies")
    assert query.statement.placements == (("f.team_id",) if "{{" in block.text else ())
    assert "team_id" in query.statement.columns


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_all_python_makes_the_dags_that_it_says(page, tmp_path):
    from airflow.dag_processing.dagbag import DagBag

    tasks = []
    for block in blocks(page, "python"):
        folder = tmp_path / str(block.line)
        folder.mkdir()
        (folder / "dag_of_a_page.py").write_text(block.text, encoding="utf-8")
        bag = DagBag(folder, safe_mode=False)
        assert bag.import_errors == {}
        tasks.append(sum(len(dag.tasks) for dag in bag.dags.values()))
    assert [count for count in tasks if count] == TASKS.get(page.name, [])


@pytest.mark.parametrize("block", all_blocks("json"), ids=str)
def test_every_report_is_one(block):
    assert Report.from_dict(json.loads(block.text)).to_dict() == json.loads(block.text)


def test_the_readme_is_short():
    assert len(README.read_bytes()) <= 10_000
    assert len(DOCS) > 10  # where the rest is
