"""What YAML itself can do wrong: syntax, bombs, nesting. Whatever it is, it is told with its line."""

from __future__ import annotations

import pytest
from inline_snapshot import snapshot

from airflow_provider_halo.plan.yaml_text import Position, YamlProblem, read_yaml


def test_every_value_has_its_place():
    document = read_yaml("a: 1\nb:\n  - x\n  - |\n    two\n    lines\nc: >\n  folded\nd: &anchor text\ne: *anchor\n")
    assert document.problems == []
    assert document.data == {"a": 1, "b": ["x", "two\nlines\n"], "c": "folded\n", "d": "text", "e": "text"}
    assert document.positions == {
        (): Position(1, 1),
        ("a",): Position(1, 1),
        ("b",): Position(2, 3),
        ("b", 0): Position(3, 3),
        ("b", 1): Position(4, 5, literal=True),
        ("c",): Position(7, 8),
        ("d",): Position(9, 9),
        ("e",): Position(10, 9),
    }
    assert document.line(("b", 1, "deeper")) == 4
    assert document.line(()) == 1


def test_plain_values_keep_their_types():
    text = 'text: hello\nquoted: "1"\nint: 17\nhex: 0x1F\nfloat: 1.5\nyes: "no"\ntrue_: true\nnothing: ~\ndate: 2025-03-01\n'
    document = read_yaml(text.replace("yes:", '"yes":'))
    assert document.data == {
        "text": "hello",
        "quoted": "1",
        "int": 17,
        "hex": 31,
        "float": 1.5,
        "yes": "no",
        "true_": True,
        "nothing": None,
        "date": "2025-03-01",
    }


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\n\tb: 2\n", 2, "isn't YAML: a tab can't indent: use blanks"),
        ("a: b: c\n", 1, "isn't YAML: a `: ` where no key can be: put quotes around the text that holds it"),
        ("a: 1\n---\nb: 2\n", 2, "isn't YAML: a second document begins (`---`): keep one plan in a file"),
        ("a:\n  b: 1\n c: 2\n", 3, "isn't YAML: the indentation doesn't fit the lines above: line the keys up"),
        ("a: 'open\n", 2, "isn't YAML: a quote is never closed: add the closing one"),
        (
            "a: *none\n",
            1,
            "isn't YAML: an alias (`*name`) without its anchor (`&name`): put quotes around a text that begins with `*`",
        ),
        ("a: [1, 2\n", 2, "isn't YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: |\n  text\nloose\n", 4, "isn't YAML: a key without `:`, or a text that isn't indented under its `|`"),
        ("a: \x07\n", 1, "holds a control character, which YAML doesn't allow: take it out"),
        ("ok: 1\na: @x\n", 2, "isn't YAML: found character '@' that cannot start any token"),
    ],
)
def test_a_syntax_error_is_told_with_its_line(text, line, message):
    assert read_yaml(text).problems == [YamlProblem(line, (), message)]


def test_an_alias_bomb_is_refused_at_once():
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 30)]
    document = read_yaml("l0: &l0 [x]\n" + "\n".join(levels) + "\n")
    assert [problem.message for problem in document.problems] == snapshot(
        ['more than 10,000 values (aliases counted each time). Make the plan smaller.']
    )


def test_an_alias_of_itself_is_refused():
    assert [problem.message for problem in read_yaml("a: &a [*a]\n").problems] == snapshot(
        ['nested deeper than 50 levels. A plan needs six.']
    )


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000])
def test_deep_nesting_is_refused_at_once(text):
    document = read_yaml(text)
    assert [problem.message for problem in document.problems] == snapshot(
        ['nested deeper than 50 levels. A plan needs six.']
    )


def test_a_long_list_is_refused_at_once():
    document = read_yaml("a: [" + "1," * 400_000 + "]")
    assert [problem.message for problem in document.problems] == snapshot(
        ['more than 10,000 values (aliases counted each time). Make the plan smaller.']
    )


def test_after_a_wrong_value_the_rest_is_still_read():
    document = read_yaml("a: !!binary eA==\nb: {c: .inf, d: 4}\n1: x\ne: 5\n")
    assert document.data == {"a": None, "b": {"c": None, "d": 4}, "e": 5}
    assert document.problems == [
        YamlProblem(
            1,
            ("a",),
            "the tag !!binary isn't known here: a plan holds texts, numbers, true, false, null, lists and mappings",
        ),
        YamlProblem(2, ("b", "c"), "NaN and infinity have no form in JSON: use null"),
        YamlProblem(3, (), 'the key 1 is no text in YAML: write "1", in quotes'),
    ]


def test_what_is_too_deep_is_told_with_its_line():
    deep = "".join(f"{' ' * level}a:\n" for level in range(60))
    assert read_yaml(deep).problems == [YamlProblem(50, (), "is nested deeper than 50 levels: a plan needs six")]


def test_characters_beyond_the_basic_plane_are_text():
    document = read_yaml('a: "\\U0001F600 ü"\nü: 😀\n')
    assert (document.data, document.problems) == ({"a": "😀 ü", "ü": "😀"}, [])
