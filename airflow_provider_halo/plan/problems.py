"""Collects what is wrong with one plan file, each finding with its place, and ends the reading with all of them."""

from __future__ import annotations

from airflow_provider_halo.exceptions import PlanError, PlanProblem
from airflow_provider_halo.plan.messages import dotted
from airflow_provider_halo.plan.yaml_text import Document, Path


class Problems:
    """The problems of one plan.

    :param file: the plan's file, as the user named it.
    :param document: what was read from it; gives the lines.
    """

    def __init__(self, file: str, document: Document) -> None:
        self.file = file
        self._document = document
        self._found: list[PlanProblem] = []
        for flaw in document.flaws:
            self._found.append(PlanProblem(file, flaw.line, dotted(flaw.path), flaw.message))

    def at(self, path: Path, message: str) -> None:
        """Add a problem at a key of the plan; what is wrong as YAML already isn't told again as a value."""
        if not any(path[:length] in self._document.lost for length in range(1, len(path) + 1)):
            self._found.append(PlanProblem(self.file, self._document.line(path), dotted(path), message))

    def add(self, problem: PlanProblem) -> None:
        """Add a problem that has its place already."""
        self._found.append(problem)

    def raise_if_any(self) -> None:
        """End the reading, if there is a problem.

        :raises PlanError: with every problem once, the plan's own in the order of the file, then those of SQL files.
        """
        if self._found:
            found = sorted(set(self._found), key=lambda problem: (problem.file != self.file, problem))
            raise PlanError(found)
