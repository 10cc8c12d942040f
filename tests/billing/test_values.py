"""Sums of rows, hints of keys, and answers that are wrong anywhere."""

from __future__ import annotations

import copy
import datetime as dt
import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.billing import test_anthropic, test_openai, test_openrouter
from usage_tracking.billing import Billed, BillingError, anthropic, http, openai, openrouter
from usage_tracking.billing.values import added, hint_of

DAY = dt.date(2026, 11, 20)


def row(**changes: Any) -> Billed:
    return Billed(**{"day": DAY, "family": "completions", "requests": 1, **changes})


def test_unknown_stays_unknown_in_sums():
    (total,) = added([row(cost=Decimal(1), units={"a": 1}), row(units={"b": 2})])
    assert (total.requests, total.cost, dict(total.units)) == (2, None, {"a": 1, "b": 2})


@given(
    rows=st.lists(
        st.builds(
            row,
            model_name=st.sampled_from("ab"),
            service_tier=st.sampled_from(["", "batch"]),
            requests=st.integers(0, 10**9),
            prompt_tokens=st.none() | st.integers(0, 10**9),
        ),
        max_size=8,
    ),
    seed=st.randoms(use_true_random=False),
)
def test_sums_do_not_depend_on_the_order(rows: list[Billed], seed: random.Random):
    shuffled = seed.sample(rows, len(rows))
    assert added(shuffled) == added(rows)
    assert sum(each.requests or 0 for each in added(rows)) == sum(
        each.requests or 0 for each in rows
    )


@pytest.mark.parametrize(
    ("redacted", "hint"),
    [
        ("sk-ant-api03-R2D...igAA", "igAA"),
        ("sk-proj-****************aBc4", "aBc4"),
        ("sk-or-v1-0e6…1c96", "1c96"),
        ("sk-abc...def", "def"),
        ("sk-abc...ef", ""),
        ("sk-***", ""),
        ("Production API Key", ""),
        ("", ""),
    ],
)
def test_hint_is_what_a_mask_leaves(redacted, hint):
    assert hint_of(redacted) == hint


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)

OPENAI = {
    "data": [
        test_openai.bucket(
            DAY,
            {
                **test_openai.text_result(),
                **test_openai.cost_result(),
                "images": 1,
                "characters": 1,
                "seconds": 1,
                "num_requests": 1,
                "num_sessions": 1,
                "id": "key_1",
                "name": "Site",
                "redacted_value": "sk-***wxyz",
            },
        )
    ],
    "has_more": False,
    "next_page": None,
}
ANTHROPIC = {
    "data": [test_anthropic.bucket(DAY, {**test_anthropic.usage(), **test_anthropic.cost()})],
    "has_more": False,
}
OPENROUTER = {"data": [test_openrouter.item(DAY)]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "answer"),
    [(openai, OPENAI), (anthropic, ANTHROPIC), (openrouter, OPENROUTER)],
    ids=["openai", "anthropic", "openrouter"],
)
@given(data=st.data())
def test_answer_that_is_wrong_anywhere_is_read_or_explained(source, answer, data):
    wrong: Any = copy.deepcopy(answer)
    at = wrong
    while True:
        key = data.draw(st.sampled_from(list(at) if isinstance(at, dict) else range(len(at))))
        if not (isinstance(at[key], dict | list) and at[key] and data.draw(st.booleans())):
            break
        at = at[key]
    at[key] = data.draw(JSON)
    body = json.dumps(wrong).encode()

    def get(url: str, headers: Any) -> http.Answer:
        return http.Answer(200, {}, body)

    account = {"key": "sk-admin-x", "base_url": "http://x/v1"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openrouter, "utc_today", lambda: DAY + dt.timedelta(days=1))
        try:
            fetched = source.fetch(account, DAY, DAY, get=get, sleep=lambda seconds: None)
        except BillingError:
            return
    assert set(fetched.days) <= {DAY}
    assert all(each.day == DAY for each in fetched.rows)
