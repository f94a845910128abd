"""The plan's questions: the keys that are said to answer them must be there."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_provider_halo.plan.messages import did_you_mean, listed
from airflow_provider_halo.plan.problems import Problems
from airflow_provider_halo.plan.query import Query
from airflow_provider_halo.records.values import Json


def check_questions(data: dict[str, Json], queries: Iterable[Query], problems: Problems) -> None:
    """Hold every ``answered_by`` against what the plan sends.

    :param data: the plan as read, right or not: a key whose entry is wrong is there all the same.
    :param queries: those that could be built; tell the columns.
    """
    known = answer_names(data)
    by_name = {query.name: query for query in queries}
    questions = data.get("questions")
    for index, question in enumerate(questions if isinstance(questions, list) else ()):
        if not isinstance(question, dict):
            continue
        ask, answers = question.get("ask"), question.get("answered_by")
        if isinstance(ask, str) and not ask.strip():
            problems.at(("questions", index, "ask"), "is blank: write the question, as customers ask it")
        if isinstance(answers, list) and not answers:
            problems.at(
                ("questions", index, "answered_by"), "is empty: list the keys that answer it, or take the question out"
            )
        for number, answer in enumerate(answers if isinstance(answers, list) else ()):
            if isinstance(answer, str):
                message = _unknown(answer, known, by_name)
                if message:
                    problems.at(("questions", index, "answered_by", number), message)


def answer_names(data: dict[str, Json]) -> list[str]:
    """Everything in a plan that can answer a question: ``users.traits``, ``companies.context.integrations``."""
    names: list[str] = []
    for scope in ("companies", "users"):
        block = data.get(scope)
        if isinstance(block, dict):
            names.append(f"{scope}.traits")
            context = block.get("context")
            names += [f"{scope}.context.{key}" for key in context] if isinstance(context, dict) else []
    return names


def query_of(answer: str, names: Iterable[str]) -> tuple[str | None, str]:
    """The thing of a plan that an answer names, and the field in it: ``users.traits.role`` → ``("users.traits", "role")``."""
    fits = [name for name in names if answer == name or answer.startswith(f"{name}.")]
    if not fits:
        return None, ""
    name = max(fits, key=len)  # context keys may hold dots: the longest is meant
    return name, answer[len(name) + 1 :]


def _unknown(answer: str, known: list[str], queries: dict[str, Query]) -> str:
    name, field = query_of(answer, known)
    if name is None:
        return f"{answer} isn't in the plan.{did_you_mean(answer, known)} Known: {listed(known)}."
    query = queries.get(name)
    columns = query.statement.known_columns if query is not None and query.shape == "object" else None
    if not field or query is None or columns is None:
        return ""
    given = sorted(column for column in columns if column not in {query.key, query.company})
    if field.split(".", 1)[0] in given:
        return ""
    return f"{name} gives no {field}.{did_you_mean(field, given)} It gives {listed(given)}."
