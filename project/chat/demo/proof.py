"""Compare what was recorded with what the provider served, call by call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User

from project.chat.demo.record import Days
from project.chat.demo.visits import Visit, Visited
from project.stub import Served
from usage_tracking.models import AIUsageLog

_ROLLED_BACK = "marketing_workflow"  # the section of the views that roll back


@dataclass(frozen=True)
class Finding:
    """Result of one comparison: `text` holds, unless there are differences."""

    text: str
    differences: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether there are no differences."""
        return not self.differences


@dataclass(frozen=True)
class Call:
    """Values that the provider's journal and the recorded row must have in common."""

    user: str
    section: str
    provider: str
    model: str
    prompt_tokens: int | None
    completion_tokens: int | None
    success: bool

    def __str__(self) -> str:
        return (
            f"{self.user or 'no user'}, {self.section}, {self.provider}, {self.model}, "
            f"tokens {self.prompt_tokens} + {self.completion_tokens}, "
            f"{'ok' if self.success else 'failed'}"
        )


def compare_calls(
    journal: Sequence[Served], logs: Sequence[AIUsageLog], visits: Sequence[Visit]
) -> Finding:
    """Compare each request to the provider with one row: user, section, model and tokens."""
    served = Counter(_served_call(entry, visits) for entry in journal)
    recorded = Counter(_recorded_call(log) for log in logs)
    prompt = sum(entry.prompt_tokens or 0 for entry in journal)
    completion = sum(entry.completion_tokens or 0 for entry in journal)
    return _finding(
        f"{len(journal)} provider requests served, {len(logs)} rows recorded",
        [f"served but not recorded: {call}" for call in (served - recorded).elements()]
        + [f"recorded but not served: {call}" for call in (recorded - served).elements()],
        f"tokens {prompt:,} + {completion:,} equal what the provider counted",
    )


def compare_response_ids(journal: Sequence[Served], logs: Sequence[AIUsageLog]) -> Finding:
    """Check that a row has the provider's id of each response."""
    kept = {value for log in logs for value in log.metadata.values() if isinstance(value, str)}
    served = [entry.response_id for entry in journal if entry.response_id]
    return _finding(
        f"{len(served)} responses had a provider's id",
        [f"no row has {response_id}" for response_id in served if response_id not in kept],
        "each id is in a row",
    )


def compare_days(daily: Days, summed: Days) -> Finding:
    """Compare the increase of the daily rows with the sums of the recorded calls."""
    return _finding(
        f"{len(daily)} daily rows increased",
        [
            f"user {user} on {day}: increased by {daily.get((user, day))}, "
            f"but the sum of the calls is {summed.get((user, day))}"
            for user, day in sorted(daily.keys() | summed.keys(), key=str)
            if daily.get((user, day)) != summed.get((user, day))
        ],
        "each by exactly the sum of its user's calls",
    )


def compare_answers(visited: Sequence[Visited]) -> Finding:
    """Check the HTTP status of every page, including the pages that must fail."""
    failing = sum(each.status >= 400 for each in visited)
    return _finding(
        f"{len(visited)} pages responded, {failing} of them with an error",
        [
            f"{each.visit.user or 'anonymous'} at {each.visit.view}: HTTP {each.status}, "
            f"not {each.visit.status}"
            for each in visited
            if each.status != each.visit.status
        ],
        "as expected",
    )


def compare_rollbacks(logs: Sequence[AIUsageLog], visits: Sequence[Visit]) -> Finding:
    """Check that the rollback of two views undid their change and kept the rows of their calls."""
    made = sum(visit.section == _ROLLED_BACK for visit in visits)
    kept = sum(log.section == _ROLLED_BACK for log in logs)
    renamed = User.objects.filter(last_name__in=("Campaigner", "Rehearsing"))
    return _finding(
        f"{made} views rolled back their changes",
        [f"the last name of {user.username} is now {user.last_name}" for user in renamed]
        + ([f"they made {made} AI calls, but there are {kept} rows"] if made != kept else []),
        "the rows of their AI calls were kept",
    )


def _served_call(entry: Served, visits: Sequence[Visit]) -> Call:
    # The embedding view splits the question into texts; the stub joins them with newlines.
    prompt = entry.prompt.replace("\n", ";")
    visit = next((visit for visit in visits if visit.question in prompt), None)
    return Call(
        user=visit.user if visit else "(no visit)",
        section=visit.section if visit else "(no visit)",
        provider=entry.provider,
        # A response without a model, such as an error: the row has the requested model.
        model=entry.model or entry.requested_model,
        prompt_tokens=entry.prompt_tokens,
        completion_tokens=entry.completion_tokens,
        success=entry.status < 400 and not entry.failed,
    )


def _recorded_call(log: AIUsageLog) -> Call:
    return Call(
        user=log.user.get_username() if log.user else "",
        section=log.section,
        provider=log.provider,
        model=log.model_name,
        prompt_tokens=log.prompt_tokens,
        completion_tokens=log.completion_tokens,
        success=log.success,
    )


def _finding(subject: str, differences: list[str], good: str) -> Finding:
    return Finding(subject if differences else f"{subject}, {good}", tuple(differences))
