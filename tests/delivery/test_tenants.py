"""Delivery to the databases of tenants, which may be unavailable or removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import InterfaceError, connections
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from tests.support.builders import make_event
from tests.support.commands import run_command
from usage_tracking import ai_usage, outbox, places, recorder
from usage_tracking.delivery import delivery
from usage_tracking.delivery.batches import Batch
from usage_tracking.delivery.writer import PATIENCE
from usage_tracking.events import UsageEvent, utc_now
from usage_tracking.middleware import AIUsageMiddleware
from usage_tracking.models import AIUsageLog
from usage_tracking.outbox import Outbox
from usage_tracking.usage import Usage

pytestmark = pytest.mark.django_db(transaction=True)


class Router:
    active: str | None = None

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return self.active

    db_for_read = db_for_write


@pytest.fixture
def router(settings: Any) -> Router:
    made = Router()
    settings.DATABASE_ROUTERS = [made]
    places.note_own_databases()
    return made


@pytest.fixture
def box(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, router: Router
) -> Iterator[Outbox]:
    for name in ("one", "two"):
        database = {
            **connections.settings["default"],
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(tmp_path / name),
            "OPTIONS": {},
        }
        monkeypatch.setitem(connections.settings, name, database)
        connections[name].connect()  # Django's tests prohibit new connections later
    migrate("one")
    settings.AI_USAGE_OUTBOX = tmp_path / "outbox"
    monkeypatch.setattr(outbox, "inline", lambda: False)
    monkeypatch.setattr(delivery._deliverer, "_away", {})
    monkeypatch.setattr(delivery._deliverer, "_has_tenants", False)
    monkeypatch.setattr(delivery._worker, "start", lambda: None)
    yield outbox.get()
    for name in ("one", "two"):
        connections[name].close()
        del connections[name]


def migrate(alias: str) -> None:
    for name in ("contenttypes", "auth", "usage_tracking"):
        call_command("migrate", name, database=alias, verbosity=0)


def at(alias: str, **values: Any) -> Any:
    return make_event(database=places.identity(alias), **{"created_at": utc_now()} | values)


def count(alias: str) -> int:
    return AIUsageLog.objects.using(alias).count()


def test_each_event_is_stored_in_its_database(box):
    for event in (at("one"), make_event(created_at=utc_now()), at("one")):
        box.put(event)

    assert delivery.deliver().written == 3
    assert (count("default"), count("one")) == (1, 2)


def test_events_of_a_database_without_tables_are_deferred(box, monkeypatch, caplog):
    tried: list[str] = []
    store = Batch.store

    def note(batch: Batch, events: Any) -> None:
        tried.append(batch.using)
        store(batch, events)

    monkeypatch.setattr(Batch, "store", note)
    box.put(at("two"))
    box.put(at("one"))

    done = delivery.deliver()
    box.put(at("two"))
    again = delivery.deliver()

    assert (done.written, done.set_aside, again.set_aside) == (1, 1, 1)
    assert tried.count("two") == 1
    assert len([line for line in caplog.messages if "Delivery to" in line]) == 1
    assert len(box.segments()) == 2  # for a later try
    assert not box.has_orphans()
    monkeypatch.setattr(outbox.limits, "SET_ASIDE_FOR", -1.0)
    monkeypatch.setattr(delivery._deliverer, "_away", {})
    connections["two"].connect()
    migrate("two")
    assert delivery.deliver().written == 2
    assert count("two") == 2


def test_events_of_a_removed_database_are_dead_lettered(box, monkeypatch):
    old = at("one", created_at=utc_now() - 2 * PATIENCE)
    for event in (old, at("one"), make_event(created_at=utc_now())):
        box.put(event)
    monkeypatch.delitem(connections.settings, "one")

    done = delivery.deliver()

    assert (done.written, done.set_aside, done.dead_lettered) == (1, 1, 1)
    (letter,) = box.dead_letters()
    assert letter.event["id"] == old.id.hex
    assert letter.reason.endswith("is not in DATABASES.")
    code, _, err = run_command("flush_ai_usage", "--retry-dead")
    assert (code, "1 calls were refused" in err) == (1, True)


def test_unavailable_server_leaves_all_events_in_place(box, monkeypatch):
    def refuse(batch: Any, events: Any) -> None:
        raise InterfaceError("connection closed") if batch.using == "default" else ValueError

    monkeypatch.setattr(Batch, "store", refuse)
    box.put(make_event(created_at=utc_now()))
    box.put(at("one"))

    with pytest.raises(InterfaceError):
        delivery.deliver()

    assert (len(box.segments()), box.dead_letters()) == (1, [])
    assert sum(map(len, box.batches(500, lambda event: False))) == 2


@pytest.mark.parametrize("is_full", [True, False])
def test_event_that_cannot_be_dead_lettered_or_deferred_on_disk_is_kept(box, monkeypatch, is_full):
    box.put(event := at("two"))
    append = outbox.segments.Segment.append

    def refuse(segment: Any, line: bytes) -> None:
        if is_full:
            raise OSError(28, "No space left on device")
        append(segment, line)

    monkeypatch.setattr(outbox.segments.Segment, "append", refuse)

    assert delivery.deliver().set_aside == 1
    box.defer([event])
    monkeypatch.undo()

    assert not box.is_empty()


def test_user_in_a_routed_database_is_resolved_before_the_page_ends(box, router):
    router.active = "one"
    ada = User.objects.create(username="ada")
    router.active = None

    def page(request: Any) -> Any:
        with ai_usage(section="chat"):
            recorder.record_manually(UsageEvent.manual(usage=Usage(prompt_tokens=1)))
        return HttpResponse()

    request = RequestFactory().get("/")
    request.user = SimpleLazyObject(lambda: User.objects.get())  # type: ignore[assignment]
    router.active = "one"
    AIUsageMiddleware(page)(request)
    router.active = None

    assert delivery.deliver().written == 1
    log = AIUsageLog.objects.using("one").get()
    assert (log.user_id, log.section) == (ada.pk, "chat")


def test_users_of_another_database_are_not_forgotten(box):
    box.put(at("one", user_id="7", username="ada"))
    box.put(make_event(user_id="7", username="ada", created_at=utc_now()))

    assert box.forget(lambda user_id, username: user_id == "7") == 1
