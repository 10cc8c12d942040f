"""Format the results of the demo as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from django.utils import timezone

from project.chat.demo.proof import Finding
from project.chat.demo.record import Days
from usage_tracking.models import AIUsageLog, AIUsageTracking

_UNKNOWN = "-"
_SHOWN = 20  # differences of one kind; more would not help to find the cause
_CALLS = ("TIME", "USER", "SECTION", "PROVIDER", "MODEL", "PROMPT", "COMPL.", "COST $", "MS", "")
_DAYS = ("USER", "DAY", "CALLS", "FAILED", "PROMPT", "COMPL.", "COST $", "MS AVG.")


def calls_table(logs: Iterable[AIUsageLog]) -> str:
    """Return a table of all calls, sorted by user."""
    lines = sorted(logs, key=lambda log: (_name(log), log.created_at, log.pk))
    rows = [
        (
            timezone.localtime(log.created_at).strftime("%H:%M:%S"),
            _name(log),
            log.section,
            log.provider,
            log.model_name,
            _count(log.prompt_tokens),
            _count(log.completion_tokens),
            _money(log.cost),
            _count(log.response_time_ms),
            "ok" if log.success else "failed",
        )
        for log in lines
    ]
    return _table(_CALLS, rows, right=("PROMPT", "COMPL.", "COST $", "MS"))


def calls_notes(logs: Sequence[AIUsageLog]) -> list[str]:
    """Explain the dashes in the table. Unknown values are never shown as 0."""
    uncounted = sum(log.success and log.usage_source == "unknown" for log in logs)
    failed = sum(not log.success for log in logs)
    anonymous = sum(log.user_id is None for log in logs)
    notes = []
    if uncounted:
        notes.append(f"{uncounted} without token counts: the stream did not request its usage")
    if failed:
        notes.append(f"{failed} failed: the provider returned an error and charged nothing")
    if anonymous:
        notes.append(f"{anonymous} without a user: the visitor was not logged in")
    return notes


def days_table(days: Days) -> str:
    """Return a table of the daily rows that `days` names."""
    users = {user for user, _ in days}
    dates = {day for _, day in days}
    totals = AIUsageTracking.objects.filter(user__in=users, date__in=dates).select_related("user")
    rows = [
        (
            total.user.get_username(),
            total.date.isoformat(),
            _count(total.total_requests),
            _count(total.failed_requests),
            _count(total.total_prompt_tokens),
            _count(total.total_completion_tokens),
            _money(total.total_cost),
            f"{total.average_response_time_ms:,.0f}",
        )
        for total in totals.order_by("date", "user__username")
    ]
    return _table(_DAYS, rows, right=_DAYS[2:])


def finding_lines(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield one line per finding, followed by its first differences."""
    for finding in findings:
        yield f"{'✅' if finding.holds else '❌'} {finding.text}"
        for difference in finding.differences[:_SHOWN]:
            yield f"   · {difference}"
        if len(finding.differences) > _SHOWN:
            yield f"   · and {len(finding.differences) - _SHOWN} more"


def sample_log_line(path: Path, *words: str) -> str:
    """Return the first log line that contains all `words`, from the first word on; "" if none."""
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = next((line for line in lines if all(word in line for word in words)), "")
    return found[found.index(words[0]) :] if found else ""


def _table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()
) -> str:
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        aligned = (
            cell.rjust(width) if title in right else cell.ljust(width)
            for title, width, cell in zip(titles, widths, cells, strict=True)
        )
        return "  ".join(aligned).rstrip()

    return "\n".join([line(titles), *map(line, rows)])


def _name(log: AIUsageLog) -> str:
    return log.user.get_username() if log.user else _UNKNOWN


def _count(number: int | None) -> str:
    return _UNKNOWN if number is None else f"{number:,}"


def _money(amount: Decimal | None) -> str:
    # An embedding costs less than a millionth of a dollar, but not 0.
    return _UNKNOWN if amount is None else f"{amount:.8f}"
