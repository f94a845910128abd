"""Plan files that mean harm, beyond what tests/plan tries: each is told as a mistake, soon, and nothing of it is run."""

from __future__ import annotations

import tracemalloc

import pytest

from airflow_provider_halo.exceptions import PlanError
from airflow_provider_halo.plan.yaml_text import read_yaml

MB = 2**20


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system [touch /tmp/halo-was-here]",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!python/object/new:type {args: [x, [], {}]}",
        "!!python/tuple [1]",
        "!!binary aGFsbw==",
        "!!set {a}",
        "!!omap [a: 1]",
        "!!pairs [a: 1]",
        "!evil x",
        "!<tag:evil.example,2000:x> x",
        "!!int many",
        "!!float none",
        "!!bool perhaps",
        "!!int '" + "9" * 5_000 + "'",
        "!!int 0x" + "f" * 5_000,
        "9" * 5_000,
        "1:2:3" + ":4" * 5_000,
        "!!float 1e999999",
        "-.inf",
    ],
    ids=lambda value: value[:30],
)
def test_a_tag_or_number_that_no_plan_needs_is_told_with_its_line(plan, value):
    with pytest.raises(PlanError) as told:
        plan(f"companies:\n  key: {value}\n  traits: {{sql: SELECT 1 AS a}}\n")
    assert {problem.line for problem in told.value.problems} == {4}
    assert all(len(problem.message) < 300 for problem in told.value.problems)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\n" + "".join(f"a{n}: &a{n} [{'*a, ' if not n else f'*a{n - 1}, ' * 9}x]\n" for n in range(40)),
        "&a {a: *a}",
        "? " * 5_000 + "x",
        "a: " + "'" * 100_001,
        "a: |\n" + " x\n" * 10_000,
        "- " * 5_000,
        "[" * 100_000,
        "{" * 100_000,
        "a: {" + "x: 1, " * 12_000 + "}",
        "a: &" + "a" * 100_000 + " x",
        "%TAG ! tag:x,2000:\n" * 10_000 + "---\na: 1",
        'a: "' + "\\u0041" * 5_000 + '"',
        "#" * 50_000,
        "\n" * 50_000,
    ],
    ids=lambda text: ascii(text)[:20],
)
def test_a_text_that_grows_when_it_is_read_ends_soon_and_takes_little_memory(text):
    # No file above 1 MB is read at all (tests/plan).
    tracemalloc.start()
    document = read_yaml(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * len(text) + 40 * MB
    assert document.problems or isinstance(document.data, dict)
