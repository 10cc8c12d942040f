"""Bedrock agents, flows and knowledge bases.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_agent-runtime_InvokeAgent.html
https://docs.aws.amazon.com/bedrock/latest/userguide/trace-events.html (with `enableTrace`, the
frames `trace` count the tokens of each model that the agent invoked)
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_agent-runtime_RetrieveAndGenerate.html
(counts nothing)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..usage import Usage
from .bedrock_converse import model_name
from .reader import Reader, error_text, mapping, text, total

#: Frames of the streams of agents, inline agents, flows and knowledge bases.
_FRAMES = frozenset(
    {
        *("chunk", "trace", "returnControl", "files", "output", "citation", "guardrail"),
        *("flowOutputEvent", "flowCompletionEvent", "flowTraceEvent"),
        *("flowMultiTurnInputRequestEvent", "optimizedPromptEvent", "analyzePromptEvent"),
    }
)


class AgentReader(Reader):
    """Reads answers of Bedrock agents, flows and knowledge bases."""

    operation = "invoke_agent"

    def __init__(self) -> None:
        super().__init__()
        #: Model → what all of its invocations counted together.
        self._counts: dict[str, dict[str, Any]] = {}

    def wants(self, data: bytes) -> bool:
        """Return whether the events may have something to read."""
        return super().wants(data) or b'"foundationModel"' in data

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        if not _FRAMES.isdisjoint(data):
            self.recognised = True
        self.error = error_text(data) or self.error
        for step in _steps(mapping(mapping(data.get("trace")).get("trace"))):
            asked = mapping(step.get("modelInvocationInput"))
            self.model = model_name(text(asked.get("foundationModel"))) or self.model
            answered = mapping(step.get("modelInvocationOutput"))
            if usage := mapping(mapping(answered.get("metadata")).get("usage")):
                self._add(usage)

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        self.recognised = "text" in mapping(data.get("output")) and "sessionId" in data
        self.error = error_text(data)

    def _add(self, usage: dict[str, Any]) -> None:
        counts = self._counts.setdefault(self.model, {})
        for unit, name in _UNITS.items():
            counts[unit] = total(counts.get(unit), usage.get(name))
        parts = self._counts.items()
        self.use(
            Usage.of(
                {unit: total(*(part[unit] for _, part in parts)) for unit in _UNITS},
                # Each model has a price of its own.
                iterations=[{**part, "model": model} for model, part in parts]
                if len(parts) > 1
                else (),
            )
        )


_UNITS = {"input_tokens": "inputTokens", "output_tokens": "outputTokens"}


def _steps(trace: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the steps of a trace; its members are named after their phase."""
    return (mapping(step) for step in trace.values())
