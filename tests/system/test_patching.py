"""A patch of ours comes and goes without a trace, and without touching another tool's."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import wrapt

from usage_tracking.system.patching import is_patched, patch, unpatch


class Base:
    def inherited(self) -> str:
        return "base"


@pytest.fixture
def owner() -> Any:
    class Owner(Base):
        def send(self, word: str) -> str:
            """Send."""
            return word

        async def asend(self, word: str) -> str:
            return word

    return Owner


def ours(original: Any) -> Any:
    def send(self: Any, *args: Any) -> str:
        return f"ours({original(self, *args)})"

    return send


def aours(original: Any) -> Any:
    async def send(self: Any, *args: Any) -> str:
        return f"ours({await original(self, *args)})"

    return send


def with_wraps(original: Any) -> Any:
    @functools.wraps(original)
    def send(self: Any, *args: Any) -> str:
        return f"theirs({original(self, *args)})"

    return send


def without_wraps(original: Any) -> Any:
    return lambda self, *args: f"theirs({original(self, *args)})"


def with_wrapt(original: Any) -> Any:
    def send(wrapped: Any, _: Any, args: Any, options: Any) -> str:
        return f"theirs({wrapped(*args, **options)})"

    return wrapt.FunctionWrapper(original, send)


#: How other tools patch: OpenTelemetry and Datadog with wrapt, Sentry by hand.
others = pytest.mark.parametrize("theirs", [with_wraps, without_wraps, with_wrapt])


def test_method_is_patched_once_and_put_back(owner: Any) -> None:
    original = vars(owner)["send"]
    patch(owner, "send", ours)
    patch(owner, "send", ours)

    assert owner().send("x") == "ours(x)"
    assert is_patched(owner, "send")
    assert owner.send.__doc__ == "Send."
    unpatch(owner, "send")
    unpatch(owner, "send")
    assert vars(owner)["send"] is original
    assert not is_patched(owner, "send")


def test_inherited_method_is_inherited_again(owner: Any) -> None:
    patch(owner, "inherited", ours)
    assert owner().inherited() == "ours(base)"
    assert Base().inherited() == "base"
    unpatch(owner, "inherited")

    assert "inherited" not in vars(owner)
    assert owner().inherited() == "base"


@pytest.mark.asyncio
async def test_coroutine_function_stays_one(owner: Any) -> None:
    patch(owner, "asend", aours)

    assert inspect.iscoroutinefunction(owner.asend)
    assert await owner().asend("x") == "ours(x)"
    method = owner.asend
    owner.asend = lambda self, word: method(self, word)
    unpatch(owner, "asend")
    assert await owner().asend("x") == "x"


@others
def test_patch_of_another_tool_stays(owner: Any, theirs: Callable[[Any], Any]) -> None:
    patch(owner, "send", ours)
    owner.send = theirs(vars(owner)["send"])
    assert owner().send("x") == "theirs(ours(x))"
    hidden = vars(owner)["send"]

    unpatch(owner, "send")
    assert vars(owner)["send"] is hidden
    assert owner().send("x") == "theirs(x)"
    assert not is_patched(owner, "send")
    unpatch(owner, "send")
    assert owner().send("x") == "theirs(x)"


@others
def test_patch_below_another_tool_is_taken_up_again(
    owner: Any, theirs: Callable[[Any], Any]
) -> None:
    patch(owner, "send", ours)
    owner.send = theirs(vars(owner)["send"])
    for _ in range(3):
        unpatch(owner, "send")
        patch(owner, "send", ours)

    assert owner().send("x").count("ours") == 1
    assert owner().send("x").count("theirs") == 1
    assert is_patched(owner, "send")
    unpatch(owner, "send")
    assert owner().send("x") == "theirs(x)"


@others
def test_tool_that_was_first_stays_below(owner: Any, theirs: Callable[[Any], Any]) -> None:
    first = owner.send = theirs(vars(owner)["send"])
    patch(owner, "send", ours)
    assert owner().send("x") == "ours(theirs(x))"
    unpatch(owner, "send")

    assert vars(owner)["send"] is first


@others
def test_tool_that_leaves_before_us_leaves_ours(owner: Any, theirs: Callable[[Any], Any]) -> None:
    original = vars(owner)["send"]
    patch(owner, "send", ours)
    mine = vars(owner)["send"]
    owner.send = theirs(mine)
    owner.send = mine
    assert owner().send("x") == "ours(x)"
    unpatch(owner, "send")

    assert vars(owner)["send"] is original


@others
def test_tool_that_leaves_after_us_leaves_the_original(
    owner: Any, theirs: Callable[[Any], Any]
) -> None:
    patch(owner, "send", ours)
    mine = vars(owner)["send"]
    owner.send = theirs(mine)
    unpatch(owner, "send")
    owner.send = mine  # as it found it

    assert owner().send("x") == "x"
    patch(owner, "send", ours)
    assert owner().send("x") == "ours(x)"
    unpatch(owner, "send")
    assert not is_patched(owner, "send")
