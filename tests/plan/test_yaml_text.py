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
        ("a: 1\n\tb: 2\n", 2, "invalid YAML: tabs can't be used for indentation. Use spaces."),
        ("a: b: c\n", 1, "invalid YAML: a `: ` where no key can be. Put quotes around the string that contains it."),
        ("a: 1\n---\nb: 2\n", 2, "invalid YAML: a second document begins here (`---`). Keep one plan in a file."),
        ("a:\n  b: 1\n c: 2\n", 3, "invalid YAML: the indentation doesn't match the lines above. Line the keys up."),
        ("a: 'open\n", 2, "invalid YAML: the closing quote is missing. Add it."),
        (
            "a: *none\n",
            1,
            "invalid YAML: the alias (`*name`) has no anchor (`&name`). Put quotes around a string that begins with `*`.",
        ),
        ("a: [1, 2\n", 2, "invalid YAML: expected ',' or ']', but got '<stream end>'."),
        (
            "a: |\n  text\nloose\n",
            4,
            "invalid YAML: a key without `:`, or text that isn't indented under its `|`. Add what is missing.",
        ),
        ("a: \x07\n", 1, "contains a control character, which YAML doesn't allow. Remove it."),
        ("ok: 1\na: @x\n", 2, "invalid YAML: found character '@' that cannot start any token."),
    ],
)
def test_a_syntax_error_is_told_with_its_line(text, line, message):
    assert read_yaml(text).problems == [YamlProblem(line, (), message)]


def test_an_alias_bomb_is_refused_at_once():
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 30)]
    document = read_yaml("l0: &l0 [x]\n" + "\n".join(levels) + "\n")
    assert [problem.message for problem in document.problems] == snapshot(
        ["more than 10,000 values (aliases counted each time). Make the plan smaller."]
    )


def test_an_alias_of_itself_is_refused():
    assert [problem.message for problem in read_yaml("a: &a [*a]\n").problems] == snapshot(
        ["nested deeper than 50 levels. A plan needs six."]
    )


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000])
def test_deep_nesting_is_refused_at_once(text):
    document = read_yaml(text)
    assert [problem.message for problem in document.problems] == snapshot(
        ["nested deeper than 50 levels. A plan needs six."]
    )


def test_a_long_list_is_refused_at_once():
    document = read_yaml("a: [" + "1," * 400_000 + "]")
    assert [problem.message for problem in document.problems] == snapshot(
        ["more than 10,000 values (aliases counted each time). Make the plan smaller."]
    )


def test_after_a_wrong_value_the_rest_is_still_read():
    document = read_yaml("a: !!binary eA==\nb: {c: .inf, d: 4}\n1: x\ne: 5\n")
    assert document.data == {"a": None, "b": {"c": None, "d": 4}, "e": 5}
    assert document.problems == [
        YamlProblem(
            1,
            ("a",),
            "the tag !!binary isn't supported. A plan consists of strings, numbers, true, false, null, lists and mappings.",
        ),
        YamlProblem(2, ("b", "c"), "NaN and infinity don't exist in JSON. Use null."),
        YamlProblem(3, (), 'YAML doesn\'t read the key 1 as a string. Put it in quotes: "1".'),
    ]


def test_what_is_too_deep_is_told_with_its_line():
    deep = "".join(f"{' ' * level}a:\n" for level in range(60))
    assert read_yaml(deep).problems == [YamlProblem(50, (), "nested deeper than 50 levels. A plan needs six.")]


def test_characters_beyond_the_basic_plane_are_text():
    document = read_yaml('a: "\\U0001F600 ü"\nü: 😀\n')
    assert (document.data, document.problems) == ({"a": "😀 ü", "ü": "😀"}, [])
