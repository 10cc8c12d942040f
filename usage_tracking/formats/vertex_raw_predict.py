"""Partner models on Vertex, `:rawPredict` and `:streamRawPredict`, each in its maker's format.

https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/use-claude
https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/mistral (as OpenAI chat,
or as OCR)
"""

from __future__ import annotations

from .anthropic import MessagesReader
from .mistral_ocr import OCRReader
from .one_of import OneOf
from .openai_chat import ChatReader


class RawPredictReader(OneOf):
    """Reads raw predictions in the format of the model."""

    operation = "chat"
    kinds = (MessagesReader, ChatReader, OCRReader)
    shows_operation = True
