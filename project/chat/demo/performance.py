"""The demo's inner process: the site, its visitors, and what came of it."""

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

_PATIENCE = 15.0


@dataclass(frozen=True)
class Performance:
    visited: Sequence[Visited]
    seconds: float  # of the visits
    journal: Sequence[Served]
    logs: Sequence[AIUsageLog]
    days: Days  # what the daily rows grew by
    findings: Sequence[Finding]

    @property
    def proven(self) -> bool:
        return all(finding.holds for finding in self.findings)


def perform(site_url: str, provider_url: str) -> Performance:
    """Lets the visitors in, waits for the record, and compares it with the provider's journal."""
    began, days_before = timezone.now(), record.sums_of_days()
    started = time.monotonic()
    visited = make_visits(site_url)
    seconds = time.monotonic() - started
    journal = fetch_journal(provider_url)
    logs = record.wait_for_logs(began, len(journal), patience=_PATIENCE)
    days = record.grown(days_before, record.sums_of_days())
    findings = (
        proof.compare_calls(journal, logs, VISITS),
        proof.compare_response_ids(journal, logs),
        proof.compare_days(days, record.sums_of_logs(logs)),
        proof.compare_rollbacks(logs, VISITS),
        proof.compare_answers(visited),
    )
    return Performance(visited, seconds, journal, logs, days, findings)
