"""Calls that are recorded by hand."""

# mypy: disable-error-code="union-attr, truthy-bool"

from __future__ import annotations

from django.http import HttpResponse
from openai import APIError

from tests.scanner.truth.ai import client
from usage_tracking import AIUsageTracker, ai_usage, track_ai_usage, track_ai_usage_safe

FAILS = "[stub status=500]"


def bill(user, answer):
    track_ai_usage(
        user,
        "chat",
        prompt_tokens=answer.usage.input_tokens,
        completion_tokens=answer.usage.output_tokens,
        model_name=answer.model,
    )


def bill_through(user, answer):
    if answer is not None:
        bill(user, answer)


def log_answer(user, answer):
    """It records nothing."""
    print(user.pk, answer.id, file=None if user.pk is None else open("/dev/null", "w"))  # noqa: SIM115


def tracked_after(request):
    answer = client.responses.create(model="tracked_after", input="Hi")
    track_ai_usage(
        request.user,
        "chat",
        prompt_tokens=answer.usage.input_tokens,
        completion_tokens=answer.usage.output_tokens,
        model_name=answer.model,
    )
    return HttpResponse(answer.output_text)


def tracked_by_helper(request):
    answer = client.responses.create(model="tracked_by_helper", input="Hi")
    bill(request.user, answer)
    return HttpResponse(answer.output_text)


def tracked_by_second_helper(request):
    answer = client.responses.create(model="tracked_by_second_helper", input="Hi")
    bill_through(request.user, answer)
    return HttpResponse(answer.output_text)


def not_tracked_by_helper(request):
    answer = client.responses.create(model="not_tracked_by_helper", input="Hi")
    return HttpResponse(f"{answer.id} {request.user.pk}")


def tracked_before(request):
    track_ai_usage(request.user, "chat", prompt_tokens=1, completion_tokens=1, model_name="own")
    text = client.responses.create(model="tracked_before", input="Hi").output_text
    return HttpResponse(text)


def _for_caller():
    return client.responses.create(model="tracked_by_caller", input="Hi")


def tracked_by_caller(request):
    answer = _for_caller()
    bill(request.user, answer)
    return HttpResponse(answer.output_text)


def _for_some_callers():
    return client.responses.create(model="tracked_by_some_callers", input="Hi")


def tracked_by_some_callers(request):
    answer = _for_some_callers()
    bill(request.user, answer)
    return HttpResponse(answer.output_text)


def tracked_by_some_callers_2(request):
    return HttpResponse(_for_some_callers().output_text)


def tracked_in_finally(request):
    answer = None
    try:
        answer = client.responses.create(model="tracked_in_finally", input="Hi")
    finally:
        track_ai_usage_safe(
            request.user,
            "chat",
            prompt_tokens=answer.usage.input_tokens if answer else 0,
            completion_tokens=answer.usage.output_tokens if answer else 0,
            model_name="tracked_in_finally",
        )
    return HttpResponse(answer.output_text)


def tracked_in_except(request):
    text = FAILS if "fail" in request.GET else "Hi"
    try:
        found = client.responses.create(model="tracked_in_except", input=text).output_text
    except APIError as error:
        track_ai_usage_safe(
            request.user,
            "chat",
            model_name="tracked_in_except",
            success=False,
            error_message=str(error),
        )
        found = ""
    return HttpResponse(found)


def tracked_in_else(request):
    try:
        answer = client.responses.create(model="tracked_in_else", input="Hi")
    except APIError:
        return HttpResponse("later")
    else:
        bill(request.user, answer)
    return HttpResponse(answer.output_text)


def tracked_in_branch(request):
    answer = client.responses.create(model="tracked_in_branch", input="Hi")
    if "bill" in request.GET:
        bill(request.user, answer)
    return HttpResponse(answer.output_text)


def tracked_in_both_branches(request):
    answer = client.responses.create(model="tracked_in_both_branches", input="Hi")
    if "safe" in request.GET:
        bill_through(request.user, answer)
    else:
        bill(request.user, answer)
    return HttpResponse(answer.output_text)


def returned_before_tracker(request):
    answer = client.responses.create(model="returned_before_tracker", input="Hi")
    if "bill" not in request.GET:
        return HttpResponse(answer.output_text)
    bill(request.user, answer)
    return HttpResponse()


def tracked_in_loop(request):
    for text in ("Hi", "Ho"):
        answer = client.responses.create(model="tracked_in_loop", input=text)
        bill(request.user, answer)
    return HttpResponse()


def tracked_after_loop(request):
    """Only the last of the requests is recorded under its section."""
    for text in ("Hi", "A longer text"):
        answer = client.responses.create(model="tracked_after_loop", input=text)
    bill(request.user, answer)
    return HttpResponse()


def handle_with_section(request):
    with ai_usage(section="chat") as usage:
        answer = client.responses.create(model="handle_with_section", input="Hi")
        usage.record(answer)
    return HttpResponse(answer.output_text)


def handle_without_section(request):
    with ai_usage() as usage:
        answer = client.responses.create(model="handle_without_section", input="Hi")
        usage.record(answer)
    return HttpResponse(answer.output_text)


def recorded_after_block(request):
    with ai_usage(section="chat") as usage:
        pass
    answer = client.responses.create(model="recorded_after_block", input="Hi")
    usage.record(answer)
    return HttpResponse(answer.output_text)


def tracker_block(request):
    with AIUsageTracker(request.user, "chat", "tracker_block") as tracker:
        answer = client.responses.create(model="tracker_block", input="Hi")
        tracker.set_tokens(
            prompt_tokens=answer.usage.input_tokens, completion_tokens=answer.usage.output_tokens
        )
    return HttpResponse(answer.output_text)


def recorded_elsewhere(request):
    answer = client.responses.create(model="recorded_elsewhere", input="Hi")
    history = History()
    history.record(answer)
    return HttpResponse(answer.output_text)


class History:
    def record(self, answer):
        self.last = answer.id
