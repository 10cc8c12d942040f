"""Views that call a model in different ways, and return JSON.

Together they show every way to name a section, and what happens if the view, its transaction or the
provider fails.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from project.chat.clients import (
    CHAT_MODEL,
    DRAFT_MODEL,
    EMBEDDING_MODEL,
    async_openai_client,
    openai_client,
)
from project.chat.questions import ask_anthropic, ask_gemini, ask_openai, question_in
from usage_tracking import ai_section, ai_usage, track_ai_usage

WAYS = {
    "summary": "Summary by Anthropic",
    "recommend": "Recommendation by Gemini",
    "similar": "Embeddings",
    "intent": "Async view",
    "draft": "OpenAI Responses",
    "compare": "Three providers at once, in threads",
    "retried": "Provider fails once, SDK retries",
    "campaign": "View raises after the call",
    "rehearsal": "View rolls back its own transaction",
    "hand_written": "Explicit tracking",
    "web_knowledge": "Section from the settings",
}


class CampaignCancelledError(Exception):
    """Raised by the view `campaign` to fail after its AI call."""


class _RehearsalOverError(Exception):
    """Rolls back the transaction of the view `rehearsal`."""


@require_POST
@login_required
@ai_section("session_memory")
def summary(request: HttpRequest) -> JsonResponse:
    """Name the section for the whole view."""
    return _answer(ask_anthropic(question_in(request), system="Summarise in one sentence."))


@require_POST
@login_required
def recommend(request: HttpRequest) -> JsonResponse:
    """Name the section for a block."""
    with ai_usage(section="product_recommendation", metadata={"shelf": "spring"}):
        return _answer(ask_gemini(question_in(request)))


@require_POST
@login_required
@ai_section("embedding_generation")
def similar(request: HttpRequest) -> JsonResponse:
    """Create embeddings."""
    texts = question_in(request).split(";")
    answer = openai_client().embeddings.create(model=EMBEDDING_MODEL, input=texts)
    numbers = len(answer.data[0].embedding)
    return _answer(f"Embedded {len(answer.data)} text(s) as vectors of {numbers} numbers.")


# Django does not allow ATOMIC_REQUESTS for async views.
@transaction.non_atomic_requests
@require_POST
@login_required
async def intent(request: HttpRequest) -> JsonResponse:
    """Call from an async view."""
    async with ai_usage(section="intent_detection"), async_openai_client() as client:
        completion = await client.chat.completions.create(
            model=CHAT_MODEL, messages=[{"role": "user", "content": question_in(request)}]
        )
    return _answer(completion.choices[0].message.content or "")


@require_POST
@login_required
@ai_section("prompt_generation")
def draft(request: HttpRequest) -> JsonResponse:
    """Handle a provider's error. The call is recorded as failed."""
    from openai import APIError

    try:
        response = openai_client().responses.create(
            model=DRAFT_MODEL, instructions="Write a draft.", input=question_in(request)
        )
    except APIError as error:
        return JsonResponse({"error": error.message}, status=502)
    return _answer(response.output_text)


@require_POST
@login_required
@ai_section("knowledge_qa")
def compare(request: HttpRequest) -> JsonResponse:
    """Call from threads, which inherit the user and section of the view."""
    question = question_in(request)
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(ask, question) for ask in (ask_openai, ask_anthropic, ask_gemini)]
    return _answer("\n\n".join(future.result() for future in asked))


@require_POST
@login_required
@ai_section("rag_pipeline")
def retried(request: HttpRequest) -> JsonResponse:
    """Let the SDK retry. Both requests are recorded, because each costs time or money."""
    return _answer(ask_openai(f"{question_in(request)} [stub status=500 times=1]"))


@require_POST
@login_required
@ai_section("marketing_workflow")
def campaign(request: HttpRequest) -> JsonResponse:
    """Raise after the call. ATOMIC_REQUESTS rolls back the write; the call stays recorded."""
    _rename(request, "Campaigner")
    ask_openai(question_in(request))
    raise CampaignCancelledError("The campaign was cancelled after the model answered.")


@require_POST
@login_required
@ai_section("marketing_workflow")
def rehearsal(request: HttpRequest) -> JsonResponse:
    """Roll back the view's own transaction after the call. The call stays recorded."""
    answer = ""
    try:
        with transaction.atomic():
            _rename(request, "Rehearsing")
            answer = ask_openai(question_in(request))
            raise _RehearsalOverError
    except _RehearsalOverError:
        return _answer(answer)


@require_POST
@login_required
def hand_written(request: HttpRequest) -> JsonResponse:
    """Track by hand after the call. Both records are joined into one row."""
    started = time.monotonic()
    completion = openai_client().chat.completions.create(
        model=CHAT_MODEL, messages=[{"role": "user", "content": question_in(request)}]
    )
    usage = completion.usage
    track_ai_usage(
        user=request.user,
        section="knowledge_qa",
        prompt_tokens=usage.prompt_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
        response_time_ms=int((time.monotonic() - started) * 1000),
        model_name=completion.model,
        metadata={"written_by": "hand"},
    )
    return _answer(completion.choices[0].message.content or "")


@require_POST
@login_required
def web_knowledge(request: HttpRequest) -> JsonResponse:
    """Use no tracking code: AI_USAGE_SECTION_MAP names the section of this view."""
    return _answer(ask_gemini(question_in(request)))


@require_POST
@login_required
def shortcut(request: HttpRequest) -> JsonResponse:
    """Name no section, so that `find_uninstrumented` reports this call.

    The call is captured and gets the default section.
    """
    response = openai_client().responses.create(model=DRAFT_MODEL, input=question_in(request))
    return _answer(response.output_text)


def _answer(text: str) -> JsonResponse:
    return JsonResponse({"answer": text})


def _rename(request: HttpRequest, last_name: str) -> None:
    """Write something that is rolled back."""
    User.objects.filter(username=request.user.get_username()).update(last_name=last_name)
