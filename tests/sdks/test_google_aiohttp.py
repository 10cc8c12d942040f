"""google-genai with aiohttp: its async client uses aiohttp by default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.sdks.bench import ORDERS, Bench, Way
from tests.sdks.test_google import WAYS as WITHOUT_AIOHTTP

pytestmark = pytest.mark.django_db


def with_aiohttp(given: Any) -> Any:
    (way,) = given.values
    return pytest.param(replace(way, sdk="google-genai[aiohttp]"), id=given.id)


WAYS = [with_aiohttp(given) for given in WITHOUT_AIOHTTP]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(bench: Bench, way: Way, order: str) -> None:
    bench.check(way, order)


@pytest.mark.parametrize("way", WAYS)
def test_refused_call_is_recorded_as_served(bench: Bench, way: Way) -> None:
    bench.check_refusal(way)
