"""Simulate the visitors: every visit uses HTTP, login and CSRF, as a browser does."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import httpx
from django.urls import reverse


@dataclass(frozen=True)
class Visit:
    """One page that a visitor opens, and the expected results."""

    user: str  # empty: not logged in
    view: str
    question: str  # unique, because it identifies the visit's calls in the provider's journal
    section: str  # expected section of the calls
    status: int = 200  # expected HTTP status


@dataclass(frozen=True)
class Visited:
    """Response to a visit."""

    visit: Visit
    status: int
    seconds: float


VISITS = (
    Visit("", "welcome", "tea and where it is grown", "web_knowledge"),
    Visit("alice", "answer", "How do I make a good cup of tea?", "chat"),
    Visit("alice", "answer", "And which teapot should I buy? [stub cached=64]", "chat"),
    Visit("alice", "summary", "We spoke about tea, teapots and the weather.", "session_memory"),
    Visit("alice", "recommend", "A present for my aunt, who likes tea", "product_recommendation"),
    Visit("alice", "similar", "green tea; black tea; coffee", "embedding_generation"),
    Visit("alice", "intent", "Can I return this teapot?", "intent_detection"),
    Visit("alice", "hand_written", "How long does delivery take?", "knowledge_qa"),
    Visit("bob", "answer", "What rhymes with teapot? [stub gzip]", "chat"),
    Visit("bob", "draft", "A poem about rain [stub reasoning=40]", "prompt_generation"),
    Visit("bob", "compare", "Is a teapot a good investment?", "knowledge_qa"),
    Visit("bob", "retried", "Find the leaflet about porcelain", "rag_pipeline"),
    Visit("bob", "rehearsal", "Words for our spring campaign", "marketing_workflow"),
    Visit("bob", "web_knowledge", "Who invented the teapot? [stub reasoning=25]", "web_knowledge"),
    Visit("carol", "answer", "Tell me about Tōkyō in one line, please", "chat"),
    Visit("carol", "answer_uncounted", "A stream without token counts", "chat"),
    Visit("carol", "campaign", "Words for our summer campaign", "marketing_workflow", 500),
    Visit("carol", "draft", "A letter to the mayor [stub status=400]", "prompt_generation", 502),
    Visit("carol", "summary", "I asked for a letter [stub cached=200]", "session_memory"),
    Visit("carol", "recommend", "Something against the noise", "product_recommendation"),
)


def make_visits(site_url: str, visits: Iterable[Visit] = VISITS) -> list[Visited]:
    """Run all visitors in parallel. Each visitor makes its visits one after another."""
    by_user = [list(group) for _, group in groupby(visits, key=attrgetter("user"))]
    with ThreadPoolExecutor(len(by_user), thread_name_prefix="visitor") as pool:
        running = [pool.submit(_session, site_url, own) for own in by_user]
    return [visited for session in running for visited in session.result()]


def _session(site_url: str, visits: list[Visit]) -> list[Visited]:
    with httpx.Client(base_url=site_url, timeout=60) as browser:
        if visits[0].user:
            _log_in(browser, visits[0].user)
        return [_visit(browser, visit) for visit in visits]


def _log_in(browser: httpx.Client, name: str) -> None:
    address = reverse("login")
    browser.get(address).raise_for_status()
    form = {"username": name, "password": name, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
    answer = browser.post(address, data=form)
    if answer.status_code != httpx.codes.FOUND:
        raise RuntimeError(f"Login of {name} failed: HTTP {answer.status_code}")
    browser.get(reverse("chat:page")).raise_for_status()


def _visit(browser: httpx.Client, visit: Visit) -> Visited:
    address = reverse(f"chat:{visit.view}")
    started = time.monotonic()
    if visit.user:
        headers = {"X-CSRFToken": browser.cookies["csrftoken"]}
        answer = browser.post(address, data={"question": visit.question}, headers=headers)
    else:
        answer = browser.get(address, params={"topic": visit.question})
    return Visited(visit, answer.status_code, time.monotonic() - started)
