"""The lists of what SDKs can send, held to the paths that are captured and to docs/sdks.md."""

from __future__ import annotations

import pytest

from tests.sdks import method_list
from tests.sdks.method_list import FREE, LATER, NOT_YET, ROW, UNKNOWN, Method
from usage_tracking.capture.endpoints import Target, recognise

METHODS = method_list.load()


def targets(method: Method) -> dict[str, Target | None]:
    examples = zip(method.requests, method.examples, strict=True)
    return {
        request: recognise(sent.verb, sent.host, sent.port, sent.path) for request, sent in examples
    }


def each(kind: str) -> list[object]:
    found = [method for method in METHODS if method.kind == kind]
    return [pytest.param(method, id=f"{method.sdk}-{method.name}") for method in found]


@pytest.mark.parametrize("method", each(ROW))
def test_billed_call_is_recognised(method: Method) -> None:
    for request, target in targets(method).items():
        assert target is not None, request
        assert not target.unknown_host or method.sdk == "boto3", request
        assert not target.polls, request


@pytest.mark.parametrize("method", each(LATER))
def test_beginning_of_a_job_is_recognised(method: Method) -> None:
    for request, target in targets(method).items():
        assert (target is None) == (request in NOT_YET), request  # then remove it from NOT_YET


@pytest.mark.parametrize("kind", [FREE, UNKNOWN])
def test_other_request_is_not_a_call(kind: str) -> None:
    found = {
        f"{method.sdk} {request}": target
        for method in METHODS
        if method.kind == kind
        for request, target in targets(method).items()
        if target is not None and not target.polls
    }

    assert found == {}


def test_docs_have_the_lists() -> None:
    text = method_list.DOCS.read_text()

    assert text == method_list.page(text), "Run `make docs-sdks`."
