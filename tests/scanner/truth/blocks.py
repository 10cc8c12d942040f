"""Blocks around the call, around its callers, and around something else."""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack, nullcontext, suppress

from django.http import HttpResponse

from tests.scanner.truth.ai import aclient, client
from usage_tracking import ai_usage


def middleware_only(request):
    answer = client.responses.create(model="middleware_only", input="Hi")
    return HttpResponse(answer.output_text)


def block_around(request):
    with ai_usage(section="chat"):
        answer = client.responses.create(model="block_around", input="Hi")
    return HttpResponse(answer.output_text)


async def async_block_around(request):
    async with ai_usage("chat"):
        answer = await aclient.responses.create(model="async_block_around", input="Hi")
    return HttpResponse(answer.output_text)


async def async_middleware_only(request):
    answer = await aclient.responses.create(model="async_middleware_only", input="Hi")
    return HttpResponse(answer.output_text)


def block_before(request):
    with ai_usage(section="chat"):
        text = request.GET.get("text", "Hi")
    return HttpResponse(client.responses.create(model="block_before", input=text).output_text)


def _one_up():
    return client.responses.create(model="one_caller_up", input="Hi").output_text


def one_caller_up(request):
    with ai_usage(section="chat"):
        return HttpResponse(_one_up())


def _two_up_inner():
    return client.responses.create(model="two_callers_up", input="Hi").output_text


def _two_up():
    return _two_up_inner().strip()


def two_callers_up(request):
    with ai_usage(section="chat"):
        return HttpResponse(_two_up())


class Pipeline:
    def run(self):
        return self._steps()

    def _steps(self):
        return [self._ask(text) for text in ("Hi", "Ho")]

    def _ask(self, text):
        return client.responses.create(model="three_callers_up", input=text).output_text


def three_callers_up(request):
    with ai_usage(section="chat"):
        return HttpResponse(Pipeline().run())


def _some_callers():
    return client.responses.create(model="some_callers_covered", input="Hi").output_text


def some_callers_covered(request):
    with ai_usage(section="chat"):
        return HttpResponse(_some_callers())


def some_callers_covered_2(request):
    return HttpResponse(_some_callers())


def _all_callers():
    return client.responses.create(model="all_callers_covered", input="Hi").output_text


def all_callers_covered(request):
    with ai_usage(section="chat"):
        return HttpResponse(_all_callers())


@ai_usage("search")
def all_callers_covered_2(request):
    return HttpResponse(_all_callers())


def no_section(request):
    with ai_usage():
        return HttpResponse(client.responses.create(model="no_section", input="Hi").output_text)


def user_only(request):
    with ai_usage(user=request.user):
        return HttpResponse(client.responses.create(model="user_only", input="Hi").output_text)


def section_none(request):
    with ai_usage(section=None, metadata={"page": 1}):
        return HttpResponse(client.responses.create(model="section_none", input="Hi").output_text)


def section_empty(request):
    with ai_usage(""):
        return HttpResponse(client.responses.create(model="section_empty", input="Hi").output_text)


def section_variable(request):
    section = "search" if "q" in request.GET else "chat"
    with ai_usage(section=section):
        text = client.responses.create(model="section_variable", input="Hi").output_text
    return HttpResponse(text)


def section_in_options(request):
    options = {"section": "chat", "user": request.user}
    with ai_usage(**options):
        text = client.responses.create(model="section_in_options", input="Hi").output_text
    return HttpResponse(text)


def user_within_section(request):
    with ai_usage("chat"), ai_usage(user=request.user):
        text = client.responses.create(model="user_within_section", input="Hi").output_text
    return HttpResponse(text)


def block_of_one_branch(request):
    if "tracked" in request.GET:
        with ai_usage(section="chat"):
            return HttpResponse("tracked")
    text = client.responses.create(model="block_of_one_branch", input="Hi").output_text
    return HttpResponse(text)


def conditional_block(request):
    with ai_usage("chat") if "tracked" in request.GET else nullcontext():
        text = client.responses.create(model="conditional_block", input="Hi").output_text
    return HttpResponse(text)


def conditional_section(request):
    with ai_usage("chat") if "tracked" in request.GET else ai_usage("search"):
        text = client.responses.create(model="conditional_section", input="Hi").output_text
    return HttpResponse(text)


def retry_outside_block(request):
    with suppress(ZeroDivisionError), ai_usage("chat"):
        return HttpResponse(1 // 0)
    return HttpResponse(
        client.responses.create(model="retry_outside_block", input="Hi").output_text
    )


def block_in_try(request):
    try:
        with ai_usage("chat"):
            text = client.responses.create(model="block_in_try", input="Hi").output_text
    except OSError:
        text = ""
    return HttpResponse(text)


def try_in_block(request):
    with ai_usage("chat"):
        try:
            raise OSError
        except OSError:
            text = client.responses.create(model="try_in_block", input="Hi").output_text
    return HttpResponse(text)


def exit_stack(request):
    with ExitStack() as stack:
        stack.enter_context(ai_usage(section="chat"))
        text = client.responses.create(model="exit_stack", input="Hi").output_text
    return HttpResponse(text)


def exit_stack_after(request):
    with ExitStack() as stack:
        text = client.responses.create(model="exit_stack_after", input="Hi").output_text
        stack.enter_context(ai_usage(section="chat"))
    return HttpResponse(text)


def exit_stack_sometimes(request):
    with ExitStack() as stack:
        if "tracked" in request.GET:
            stack.enter_context(ai_usage(section="chat"))
        text = client.responses.create(model="exit_stack_sometimes", input="Hi").output_text
    return HttpResponse(text)


async def async_exit_stack(request):
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(ai_usage(section="chat"))
        answer = await aclient.responses.create(model="async_exit_stack", input="Hi")
    return HttpResponse(answer.output_text)


def stored_block(request):
    block = ai_usage(section="chat")
    with block:
        text = client.responses.create(model="stored_block", input="Hi").output_text
    return HttpResponse(text)


def stored_block_without_section(request):
    block = ai_usage(metadata={"page": 1})
    with block:
        text = client.responses.create(model="stored_block_without_section", input="Hi").output_text
    return HttpResponse(text)


def entered_by_hand(request):
    block = ai_usage(section="chat")
    block.__enter__()
    try:
        text = client.responses.create(model="entered_by_hand", input="Hi").output_text
    finally:
        block.__exit__(None, None, None)
    return HttpResponse(text)


def stored_but_not_entered(request):
    block = ai_usage(section="chat")
    text = client.responses.create(model="stored_but_not_entered", input="Hi").output_text
    return HttpResponse(f"{text} {block is None}")


def left_by_hand(request):
    block = ai_usage(section="chat")
    block.__enter__()
    block.__exit__(None, None, None)
    text = client.responses.create(model="left_by_hand", input="Hi").output_text
    return HttpResponse(text)


def nested_function(request):
    def ask():
        return client.responses.create(model="nested_function", input="Hi").output_text

    with ai_usage("chat"):
        return HttpResponse(ask())


def nested_function_outside(request):
    with ai_usage("chat"):

        def ask():
            return client.responses.create(model="nested_function_outside", input="Hi")

    return HttpResponse(ask().output_text)


def _default_argument(ask=client.responses.create):
    with ai_usage("chat"):
        return ask(model="default_argument", input="Hi").output_text


def default_argument(request):
    return HttpResponse(_default_argument())


def loop_in_block(request):
    with ai_usage("chat"):
        for text in ("Hi", "Ho"):
            client.responses.create(model="loop_in_block", input=text)
    return HttpResponse()


def comprehension_in_block(request):
    with ai_usage("chat"):
        found = [
            client.responses.create(model="comprehension_in_block", input=text).output_text
            for text in ("Hi", "Ho")
        ]
    return HttpResponse(found)


def generator_consumed_in_block(request):
    with ai_usage("chat"):
        return HttpResponse(
            "".join(
                client.responses.create(model="generator_consumed_in_block", input=t).output_text
                for t in ("Hi", "Ho")
            )
        )


def generator_consumed_outside(request):
    with ai_usage("chat"):
        found = (
            client.responses.create(model="generator_consumed_outside", input=t).output_text
            for t in ("Hi", "Ho")
        )
    return HttpResponse("".join(found))


def view_of_another_view(request):
    with ai_usage("chat"):
        return _inner_view(request)


def _inner_view(request):
    text = client.responses.create(model="view_of_another_view", input="Hi").output_text
    return HttpResponse(text)


def routed_view_of_another_view(request):
    with ai_usage("chat"):
        return routed_inner_view(request)


def routed_inner_view(request):
    text = client.responses.create(model="routed_inner_view", input="Hi").output_text
    return HttpResponse(text)


def in_with_item(request):
    with (
        client.responses.create(model="in_with_item", input="Hi", stream=True) as stream,
        ai_usage("chat"),
    ):
        return HttpResponse(str(len(list(stream))))


def after_with_item(request):
    with (
        ai_usage("chat"),
        client.responses.create(model="after_with_item", input="Hi", stream=True) as stream,
    ):
        return HttpResponse(str(len(list(stream))))


def block_in_match(request):
    match request.method:
        case "POST":
            with ai_usage("chat"):
                text = ""
        case _:
            text = client.responses.create(model="block_in_match", input="Hi").output_text
    return HttpResponse(text)
