"""What the stub served of a batch."""

from __future__ import annotations

from project.stub import StubProvider


def served_counts(stub: StubProvider, batch_id: str) -> tuple[int | None, int | None]:
    """Return the counts of a batch that its last answer with any reported."""
    served = [each for each in stub.journal if each.response_id == batch_id]
    last = [each for each in served if each.prompt_tokens is not None][-1]
    return last.prompt_tokens, last.completion_tokens
