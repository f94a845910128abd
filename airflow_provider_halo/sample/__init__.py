"""The sample product: tables and rows of a forms-and-scheduling application, and the plan that brings them to Halo."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["PLAN"]

PLAN: Final = Path(__file__).parent / "halo.yaml"  # the worked example; its SQL files are in `sql` beside it
