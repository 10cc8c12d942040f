"""Scopes: the current scope, nesting, and propagation through contexts."""

from __future__ import annotations

import asyncio
import contextvars
import os
import pickle
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from pytest_django import Settings

from tests.support.cases import check_each
from usage_tracking import ai_section, ai_usage, errors, propagate
from usage_tracking.attribution import scope, users
from usage_tracking.attribution.resolve import attribution
from usage_tracking.attribution.scope import Scope, Steps, Unit, current, enter, leave
from usage_tracking.attribution.streams import keep_scope_in_stream
from usage_tracking.attribution.users import CallUser

ADA = User(pk=7, username="ada")
GRACE = User(pk=8, username="grace")


@pytest.fixture(autouse=True)
def _empty_context() -> Iterator[None]:
    assert current() is None
    yield
    assert current() is None
    assert scope.open_units == {}


def attributed_here() -> tuple[str | None, str, dict[str, Any]]:
    """Return the attribution of a call made here."""
    found = attribution()
    name = found.user.username if found.user else None
    return (name, found.section, dict(found.metadata))


class TestNesting:
    def test_no_scope_gives_the_default_section_and_no_user(self, settings: Settings) -> None:
        assert attributed_here() == (None, "other", {})
        settings.AI_USAGE_DEFAULT_SECTION = "chat"
        assert attributed_here() == (None, "chat", {})

    def test_inner_scope_wins_and_metadata_merges(self) -> None:
        unit = Unit()
        outer = Scope(unit, section="chat", user=ADA, metadata={"a": 1, "b": 1})
        inner = Scope(unit, outer, section="rag_pipeline", user=GRACE, metadata={"b": 2, "c": 3})
        for given, expected in [
            (outer, ("ada", "chat", {"a": 1, "b": 1})),
            (inner, ("grace", "rag_pipeline", {"a": 1, "b": 2, "c": 3})),
        ]:
            with Steps(given):
                assert attributed_here() == expected

    def test_omitted_values_come_from_the_outer_scope(self) -> None:
        unit = Unit()
        outer = Scope(unit, section="chat", user=ADA, metadata={"a": 1})
        with Steps(Scope(unit, Scope(unit, outer), section="", metadata={})):
            assert attributed_here() == ("ada", "chat", {"a": 1})

    def test_metadata_is_copied(self) -> None:
        given = {"a": 1}
        with Steps(Scope(Unit(), metadata=given)):
            given["a"] = 2
            assert attributed_here()[2] == {"a": 1}

    def test_exit_makes_the_outer_scope_current(self) -> None:
        unit = Unit()
        outer, inner = Scope(unit), None
        enter(outer)
        inner = Scope(unit, outer)
        enter(inner)
        leave(inner)
        assert current() is outer
        leave(outer)
        assert current() is None

    def test_exit_out_of_order_makes_the_nearest_open_scope_current(self) -> None:
        unit = Unit()
        first = Scope(unit)
        second = Scope(unit, first)
        third = Scope(unit, second)
        for each in (first, second, third):
            enter(each)

        leave(second)
        assert current() is third
        leave(third)
        assert current() is first
        leave(first)
        assert current() is None

    def test_second_exit_changes_nothing(self) -> None:
        outer = Scope(Unit())
        inner = Scope(outer.unit, outer)
        enter(outer)
        enter(inner)
        leave(inner)
        leave(inner)
        assert current() is outer
        leave(outer)

    def test_exit_in_another_context_does_not_change_this_context(self) -> None:
        mine, theirs = Scope(Unit(), section="chat"), Scope(Unit(), section="other")
        contextvars.copy_context().run(enter, theirs)
        enter(mine)
        leave(theirs)

        assert theirs.closed
        assert current() is mine
        leave(mine)


class TestSteps:
    def test_no_scope_is_set_between_steps_and_inner_scopes_persist(self) -> None:
        base = Scope(Unit(), section="chat")
        opened = Scope(base.unit, base, section="rag_pipeline")
        steps = Steps(base)
        with steps:
            enter(opened)
        assert current() is None
        with steps:
            assert current() is opened
            leave(opened)
        with steps:
            assert current() is base

    def test_outer_scope_is_restored_after_an_error(self) -> None:
        around = Scope(Unit())
        enter(around)
        with pytest.raises(KeyError), Steps(Scope(Unit())):
            raise KeyError
        assert current() is around
        leave(around)


class TestUser:
    """`_owner` makes no query if possible, and defers a query that the site would notice."""

    @staticmethod
    def request(**attributes: Any) -> HttpRequest:
        request = RequestFactory().get("/")
        for name, value in attributes.items():
            setattr(request, name, value)
        return request

    @staticmethod
    def lazy(user: Any, loaded: list[Any]) -> Any:
        def load() -> Any:
            loaded.append(user)
            return user

        return SimpleLazyObject(load)

    def test_user_of_a_request_is_read(self) -> None:
        def check(attributes: dict[str, Any], user: CallUser | None) -> None:
            with Steps(Scope(Unit(self.request(**attributes)))):
                assert attribution().user == user

        cases: list[tuple[dict[str, Any], CallUser | None]] = [
            ({}, None),
            ({"user": ADA}, CallUser("7", "ada")),
            ({"user": AnonymousUser()}, None),
            ({"user": None}, None),
            ({"_cached_user": ADA}, CallUser("7", "ada")),
            ({"_acached_user": ADA}, CallUser("7", "ada")),
            ({"user": GRACE, "_cached_user": ADA}, CallUser("8", "grace")),
            ({"user": User(username="unsaved")}, None),
            ({"user": "service-account"}, None),
            ({"user": SimpleNamespace(pk=7)}, None),
        ]
        check_each(check, cases)

    @pytest.mark.parametrize("cached", ["_cached_user", "_acached_user"])
    def test_loaded_lazy_user_is_not_loaded_again(self, cached: str) -> None:
        loaded: list[Any] = []
        request = self.request(user=self.lazy(GRACE, loaded), **{cached: ADA})
        with Steps(Scope(Unit(request))):
            assert attribution().user == CallUser("7", "ada")
        assert loaded == []

    @pytest.mark.parametrize("where", ["request", "scope"])
    def test_lazy_user_is_pending(self, where: str) -> None:
        loaded: list[Any] = []
        user = self.lazy(ADA, loaded)
        given = (
            Scope(Unit(self.request(user=user))) if where == "request" else Scope(Unit(), user=user)
        )
        with Steps(given):
            found = attribution()

        assert (found.user, loaded) == (None, [])
        assert found.pending is not None
        assert users.resolve(found.pending.source) == ADA
        assert loaded == [ADA]

    def test_lazy_user_is_the_user_at_the_time_of_the_call(self) -> None:
        request = self.request(user=self.lazy(ADA, []))
        with Steps(Scope(Unit(request))):
            found = attribution()
        request.user = AnonymousUser()  # a logout

        assert found.pending is not None
        assert users.resolve(found.pending.source) == ADA

    def test_user_of_a_scope_wins(self) -> None:
        with Steps(Scope(Unit(self.request(user=ADA)), user=GRACE)):
            assert attribution().user == CallUser("8", "grace")

    def test_failing_username_leaves_the_call_unattributed(self, settings: Settings) -> None:
        settings.AI_USAGE_RAISE_ERRORS = False

        class Broken(User):
            class Meta:
                app_label = "auth"
                proxy = True

            def get_username(self) -> str:
                raise RuntimeError("no name")

        before = errors.failures.total()
        with Steps(Scope(Unit(), section="chat", user=Broken(pk=1))):
            assert attributed_here() == (None, "chat", {})
        assert errors.failures.total() == before + 1

    def test_stateless_user_is_known_by_its_key(self) -> None:
        def check(name: str | None) -> None:
            token = SimpleNamespace(pk=7, is_authenticated=True, get_username=lambda: name)

            with Steps(Scope(Unit(self.request(user=token)))):
                assert attribution().user == CallUser("7", "")

        check_each(check, ["", "ada-before-she-married", None])

    def test_user_of_another_table_is_not_a_user(self) -> None:
        class Customer(AbstractBaseUser):
            """Sites can log in other objects, whose keys can equal keys of users."""

            USERNAME_FIELD = "password"

            class Meta:
                app_label = "shop"

        with Steps(Scope(Unit(self.request(user=Customer(pk=7))))):
            assert attribution().user is None


class TestSection:
    @staticmethod
    def match(view: Any, **attributes: Any) -> Any:
        values = {"view_name": "", "namespaces": [], **attributes}
        return SimpleNamespace(func=view, **values)

    def section(self, view: Any, **attributes: Any) -> str:
        request = RequestFactory().get("/")
        request.resolver_match = self.match(view, **attributes)
        with Steps(Scope(Unit(request))):
            return attribution().section

    def test_request_without_a_view_has_the_default_section(self) -> None:
        request = RequestFactory().get("/")
        unit = Unit(request)
        with Steps(Scope(unit)):
            assert attribution().section == "other"
            request.resolver_match = self.match(ai_section("chat")(lambda request: HttpResponse()))
            # The view is known now. An earlier lookup must not be cached.
            assert attribution().section == "chat"

    def test_section_is_looked_up_once_per_request(self, settings: Settings) -> None:
        settings.AI_USAGE_SECTION_MAP = {"page": "chat"}
        request = RequestFactory().get("/")
        request.resolver_match = self.match(lambda request: HttpResponse(), view_name="page")
        with Steps(Scope(Unit(request))):
            assert attribution().section == "chat"
            settings.AI_USAGE_SECTION_MAP = {}
            assert attribution().section == "chat"

    def test_attribute_of_the_function_wins_over_the_map(self, settings: Settings) -> None:
        settings.AI_USAGE_SECTION_MAP = {"page": "chat"}
        view = ai_section("knowledge_qa")(lambda request: HttpResponse())
        assert self.section(view, view_name="page") == "knowledge_qa"

    @pytest.mark.parametrize("name", ["view_class", "cls"])
    def test_attribute_of_the_class_is_found(self, name: str) -> None:
        @ai_section("knowledge_qa")
        class Page:
            pass

        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse()

        setattr(view, name, Page)
        assert self.section(view) == "knowledge_qa"

    def test_attribute_of_the_function_around_a_class_is_found(self) -> None:
        def view(request: HttpRequest) -> HttpResponse:
            return HttpResponse()

        # As `View.as_view()` does: mypy knows no attribute of a function.
        view.view_class = object  # type: ignore[attr-defined]
        assert self.section(ai_section("chat")(view)) == "chat"

    def test_map_is_searched_from_the_most_to_the_least_specific_name(
        self, settings: Settings
    ) -> None:
        def check(mapping: dict[str, str], section: str) -> None:
            settings.AI_USAGE_SECTION_MAP = mapping
            found = self.section(TestSection.section, view_name="a:b:page", namespaces=["a", "b"])
            assert found == section

        cases = [
            ({"a:b:page": "chat", "a:b": "other", "a": "other"}, "chat"),
            ({"a:b": "chat", "a": "other", __name__: "other"}, "chat"),
            ({"a": "chat", __name__: "other"}, "chat"),
            ({f"{__name__}.TestSection": "chat", __name__: "other"}, "chat"),
            ({__name__: "chat", "tests": "other"}, "chat"),
            ({"tests": "chat"}, "chat"),
            ({"b": "chat", "page": "chat", "test": "chat", "": "chat"}, "other"),
        ]
        check_each(check, cases)

    def test_callable_object_as_a_view_is_named_by_its_module(self, settings: Settings) -> None:
        class Feed:
            def __call__(self, request: HttpRequest) -> HttpResponse:
                return HttpResponse()

        settings.AI_USAGE_SECTION_MAP = {__name__: "chat"}
        assert self.section(Feed()) == "chat"


class TestUnit:
    def test_calls_outside_scopes_share_a_unit_per_context(self) -> None:
        def unit() -> Unit:
            return attribution().unit

        first = contextvars.copy_context()
        assert first.run(unit) is first.run(unit)
        assert first.run(unit) is not contextvars.Context().run(unit)

    def test_ids_contain_the_process_id(self) -> None:
        first, second = Unit(), Unit()
        assert first.id != second.id
        assert first.id.startswith(f"{os.getpid()}-")

    def test_open_units_are_known_until_they_end(self) -> None:
        unit = Unit()
        unit.begin()
        assert scope.open_units == {unit.id: unit}
        unit.end()
        unit.end()
        assert scope.open_units == {}
        assert not unit.open

    @pytest.mark.process
    def test_child_process_has_no_open_units(self) -> None:
        unit = Unit()
        unit.begin()
        child = os.fork()
        if child == 0:  # pragma: no cover -- exits before coverage is written
            os._exit(0 if scope.open_units == {} else 1)
        _, status = os.waitpid(child, 0)
        unit.end()
        assert os.waitstatus_to_exitcode(status) == 0


class TestHoldStream:
    def test_other_objects_are_not_held(self) -> None:
        async def adone() -> None:
            raise AssertionError

        for response in (HttpResponse("page"), None, "text", object()):
            assert not keep_scope_in_stream(response, Scope(Unit()), lambda: None, adone)


class TestTravel:
    """The scope propagates like Python's contexts."""

    async def test_tasks_inherit_the_scope_and_have_their_own(self) -> None:
        async def work(name: str) -> list[str]:
            inherited = attribution().section
            mine = Scope(Unit(), current(), section=name)
            enter(mine)
            await asyncio.sleep(0)
            own = attribution().section
            leave(mine)
            return [inherited, own, attribution().section]

        base = Scope(Unit(), section="chat")
        enter(base)
        found = await asyncio.gather(*(work(f"section-{n}") for n in range(5)))
        leave(base)

        assert found == [["chat", f"section-{n}", "chat"] for n in range(5)]

    async def test_to_thread_and_sync_to_async_inherit_the_scope(self) -> None:
        def section() -> str:
            return attribution().section

        base = Scope(Unit(), section="chat")
        enter(base)
        found = [
            await asyncio.to_thread(section),
            await sync_to_async(section)(),
            await sync_to_async(section, thread_sensitive=False)(),
        ]
        leave(base)

        assert found == ["chat"] * 3
        assert await sync_to_async(section)() == "other"


def shout(word: str) -> tuple[str, CallUser | None, str]:
    seen = attribution()
    return word.upper(), seen.user, seen.section


def test_pickled_function_carries_user_and_section():
    with ai_usage(section="chat", user=ADA, metadata={"job": 1}):
        pickled = pickle.dumps(propagate(shout))
    assert pickle.loads(pickled)("hello") == ("HELLO", CallUser("7", "ada"), "chat")
    assert pickle.loads(pickle.dumps(propagate(shout)))("hello") == ("HELLO", None, "other")
