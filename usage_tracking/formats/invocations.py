"""Endpoints of Databricks and SageMaker, each in the format of the model that it serves.

https://docs.databricks.com/aws/en/machine-learning/foundation-model-apis/api-reference
https://docs.databricks.com/aws/en/machine-learning/model-serving/score-custom-model-endpoints
(`predictions` of models of one's own, which are billed by the hour)
https://docs.databricks.com/aws/en/generative-ai/agent-framework/query-agent (agents answer as
OpenAI Responses)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .one_of import OneOf
from .openai_chat import ChatReader
from .openai_embeddings import EmbeddingsReader
from .openai_responses import ResponsesReader
from .reader import Reader


class InvocationsReader(OneOf):
    """Reads answers of served models."""

    operation = "chat"
    kinds = (ChatReader, EmbeddingsReader, ResponsesReader)
    shows_operation = True

    def __init__(self) -> None:
        super().__init__()
        self._is_other = False

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        self._is_other = "predictions" in data
        super().body(data)
        if data.get("object") == "text_completion":
            self.shown_operation = "text_completion"

    @property
    def parts(self) -> Sequence[Reader]:
        """The reader itself; none if the model is not one of language."""
        return () if self._is_other and not self.recognised else (self,)
