"""Read the visitor's question, and send it to each provider."""

from __future__ import annotations

from django.core.exceptions import BadRequest
from django.http import HttpRequest

from project.chat.clients import (
    CHAT_MODEL,
    CLAUDE_MODEL,
    GEMINI_MODEL,
    anthropic_client,
    gemini_client,
    openai_client,
)

MAX_QUESTION = 2000


def question_in(request: HttpRequest) -> str:
    """Return the field `question` of the form, truncated. Raises BadRequest if it is empty."""
    question = request.POST.get("question", "").strip()
    if not question:
        raise BadRequest("The field 'question' must not be empty.")
    return question[:MAX_QUESTION]


def ask_openai(question: str) -> str:
    """Return OpenAI's answer."""
    completion = openai_client().chat.completions.create(
        model=CHAT_MODEL, messages=[{"role": "user", "content": question}]
    )
    return completion.choices[0].message.content or ""


def ask_anthropic(question: str, system: str = "Be brief.") -> str:
    """Return Anthropic's answer."""
    message = anthropic_client().messages.create(
        model=CLAUDE_MODEL,
        max_tokens=500,
        system=system,
        messages=[{"role": "user", "content": question}],
    )
    return "".join(block.text for block in message.content if block.type == "text")


def ask_gemini(question: str) -> str:
    """Return Gemini's answer."""
    answer = gemini_client().models.generate_content(model=GEMINI_MODEL, contents=question)
    return answer.text or ""
