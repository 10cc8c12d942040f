"""Child process of the demo: runs the site and its visitors, and compares the results."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone

from project.chat.demo import proof, record
from project.chat.demo.proof import Finding
from project.chat.demo.record import Days
from project.chat.demo.visits import VISITS, Visited, make_visits
from project.stub import Served
from project.stub.remote import fetch_journal
from usage_tracking.models import AIUsageLog

_TIMEOUT = 15.0


@dataclass(frozen=True)
class Performance:
    """Results of one run of the demo."""

    visited: Sequence[Visited]
    seconds: float  # duration of the visits
    journal: Sequence[Served]
    logs: Sequence[AIUsageLog]
    days: Days  # increase of the daily rows
    findings: Sequence[Finding]

    @property
    def proven(self) -> bool:
        """Whether every comparison succeeded."""
        return all(finding.holds for finding in self.findings)


def perform(site_url: str, provider_url: str) -> Performance:
    """Run the visits, wait for the rows, and compare them with the provider's journal."""
    began, days_before = timezone.now(), record.sums_of_days()
    started = time.monotonic()
    visited = make_visits(site_url)
    seconds = time.monotonic() - started
    journal = fetch_journal(provider_url)
    logs = record.wait_for_logs(began, len(journal), timeout=_TIMEOUT)
    days = record.grown(days_before, record.sums_of_days())
    findings = (
        proof.compare_calls(journal, logs, VISITS),
        proof.compare_response_ids(journal, logs),
        proof.compare_days(days, record.sums_of_logs(logs)),
        proof.compare_rollbacks(logs, VISITS),
        proof.compare_answers(visited),
    )
    return Performance(visited, seconds, journal, logs, days, findings)
