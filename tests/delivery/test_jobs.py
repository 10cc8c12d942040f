"""A job is one row, in whichever order and by whichever process its events are delivered."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from itertools import pairwise, permutations

import pytest

from tests.support.builders import NOON, make_event, make_user, own_metadata, save_log
from tests.support.ledger import assert_in_step
from usage_tracking import daily
from usage_tracking.delivery.writer import store
from usage_tracking.events import UsageEvent, uuid7
from usage_tracking.maintenance.prune import prune
from usage_tracking.models import AIUsageLog

pytestmark = pytest.mark.django_db

MIDNIGHT = dt.datetime(2026, 3, 15, tzinfo=dt.UTC)
BEFORE = MIDNIGHT - dt.timedelta(seconds=1)
AFTER = MIDNIGHT + dt.timedelta(hours=1)
UNKNOWN = "made in the background; its end was not seen yet"


@pytest.fixture
def events() -> dict[str, UsageEvent]:
    """The events of one job: its beginning, whose user is known later, and two polls."""
    ada, bob = make_user("ada"), make_user("bob")
    key = uuid7(NOON)
    begun = make_event(
        id=key,
        created_at=BEFORE,
        begins=True,
        prompt_tokens=None,
        completion_tokens=None,
        usage_source="unknown",
        metadata={"order": 7, "unknown": UNKNOWN},
        response_time_ms=40,
    )
    poll = make_event(
        user=bob,
        id=key,
        created_at=AFTER,
        completes=True,
        revision=1,
        section="other",
        model_name="",
        cost=Decimal("0.5"),
        metadata={"poller": 1, "service_tier": "flex"},
    )
    return {
        "begun": begun,
        "resolved": begun.amended(user_id=str(ada.pk), username="ada"),
        "poll": poll,
        "again": poll,
    }


def orders() -> list[tuple[str, ...]]:
    """Return the orders in which a user is not forgotten: its revision comes later."""
    names = ("begun", "resolved", "poll", "again")
    return [o for o in permutations(names) if o.index("begun") < o.index("resolved")]


def assert_is_the_job(log: AIUsageLog) -> None:
    assert log.user is not None
    assert (log.user.username, log.section, log.response_time_ms) == ("ada", "chat", 40)
    assert (log.prompt_tokens, log.completion_tokens, log.usage_source) == (150, 80, "reported")
    assert (log.model_name, log.cost) == ("gpt-4o", Decimal("0.5"))
    assert (log.created_at, log.day) == (BEFORE, BEFORE.date())
    assert own_metadata(log) == {"order": 7, "service_tier": "flex"}
    assert_in_step()


@pytest.mark.parametrize("order", orders())
def test_order_of_delivery_does_not_matter(
    events: dict[str, UsageEvent], order: tuple[str, ...]
) -> None:
    for name in order:
        store([events[name]], using="default")
        assert_in_step()

    assert_is_the_job(AIUsageLog.objects.get())


def test_events_of_one_batch(events: dict[str, UsageEvent]) -> None:
    store(events.values(), using="default")

    assert_is_the_job(AIUsageLog.objects.get())


@pytest.mark.parametrize("pair", list(pairwise(["poll", "begun", "again", "resolved"])))
def test_events_of_two_batches(events: dict[str, UsageEvent], pair: tuple[str, str]) -> None:
    first = {name: events[name] for name in pair}
    store(first.values(), using="default")
    store([event for name, event in events.items() if name not in first], using="default")

    assert_is_the_job(AIUsageLog.objects.get())


def test_end_alone_belongs_to_the_poll(events: dict[str, UsageEvent]) -> None:
    store([events["poll"]], using="default")

    log = AIUsageLog.objects.get()
    assert (log.user and log.user.username, log.section) == ("bob", "other")
    assert own_metadata(log)["beginning"] == "not seen"
    assert_in_step()


def test_beginning_without_a_user_takes_the_poller_away(events: dict[str, UsageEvent]) -> None:
    store([events["poll"]], using="default")
    store([events["begun"]], using="default")

    log = AIUsageLog.objects.get()
    assert (log.user, log.section, log.prompt_tokens) == (None, "chat", 150)
    assert_in_step()


def test_price_of_an_end_that_names_no_model_is_that_of_the_model_that_was_asked(
    events: dict[str, UsageEvent],
) -> None:
    store([events["begun"]], using="default")
    store(
        [make_event(id=events["begun"].id, completes=True, revision=1, model_name="")],
        using="default",
    )

    log = AIUsageLog.objects.get()
    assert (log.model_name, log.prompt_tokens) == ("gpt-4o", 150)
    assert log.cost


def test_event_that_is_delivered_again_changes_nothing_whatever_the_site_calls_its_metadata() -> (
    None
):
    first = make_event(user=make_user(), metadata={"beginning": "of the month"})
    store([first], using="default")
    store([first.amended(section="other")], using="default")
    store([first], using="default")

    log = AIUsageLog.objects.get()
    assert (log.section, own_metadata(log)) == ("other", {"beginning": "of the month"})
    assert_in_step()


class TestPruned:
    def test_poll_after_the_row_was_pruned_counts_nothing(
        self, events: dict[str, UsageEvent]
    ) -> None:
        store([events["resolved"], events["poll"]], using="default")
        save_log(created_at=AFTER)
        list(prune(MIDNIGHT.date(), using="default"))
        poll = make_event(id=events["poll"].id, created_at=BEFORE, completes=True, revision=1)
        store([poll], using="default")

        assert AIUsageLog.objects.filter(pk=poll.id).count() == 0
        assert daily.drift() == {}

    def test_row_that_was_kept_is_completed(self, events: dict[str, UsageEvent]) -> None:
        store([make_event(user=make_user("eve"), created_at=BEFORE)], using="default")
        store([events["begun"]], using="default")  # without a user: not pruned
        list(prune(MIDNIGHT.date(), using="default"))
        store(
            [make_event(id=events["begun"].id, created_at=BEFORE, completes=True)], using="default"
        )

        assert AIUsageLog.objects.get().prompt_tokens == 150
