"""Which names in code are functions and classes of usage_tracking."""

from __future__ import annotations

from ..facts import Expression
from ..inference.engine import Inference
from ..program import Program, Ref, last_name
from ..values import FUNCTIONS, Class, Library

BLOCK, MARK, TRACKER = "ai_usage", "ai_section", "AIUsageTracker"
_PACKAGE = "usage_tracking"


class PackageNames:
    """Recognises the functions and classes of usage_tracking, through aliases and re-exports."""

    def __init__(self, program: Program, inference: Inference) -> None:
        self._program = program
        self._inference = inference

    def is_ours(self, function: Expression, ref: Ref, *names: str) -> bool:
        """Return whether an expression is one of the functions or classes of usage_tracking."""
        values = self._inference.of(function, ref) if function else ()
        known = False
        for value in values:
            if isinstance(value, Library):
                parts = value.dotted.split(".")
                if parts[-1] in names and parts[0] != "builtins":
                    return parts[0] == _PACKAGE or len(parts) == 1
                known = parts[0] != "builtins" or parts[-1] not in names
            elif isinstance(value, (*FUNCTIONS, Class)):
                known = True
                scope = self._program.scope(value.ref)
                if scope.name in names and _PACKAGE in value.ref[0].replace("\\", "/").split("/"):
                    return True
        return not known and last_name(function) in names
