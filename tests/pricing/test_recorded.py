"""Answers that the site passes to `record`, because no hook sees them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from usage_tracking.events import UsageEvent
from usage_tracking.formats import read_response
from usage_tracking.pricing import quote


def realtime(**cached: int) -> dict[str, Any]:
    return {
        "type": "response.done",
        "response": {
            "object": "realtime.response",
            "id": "resp_1",
            "status": "completed",
            "model": "gpt-realtime",
            "usage": {
                "total_tokens": 253,
                "input_tokens": 132,
                "output_tokens": 121,
                "input_token_details": {
                    "text_tokens": 119,
                    "audio_tokens": 13,
                    "cached_tokens": 64,
                    "cached_tokens_details": cached,
                },
                "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
            },
        },
    }


@pytest.mark.parametrize(
    ("cached", "expected"),
    [
        # 55 x 4 + 64 x 0.4 + 13 x 32 + 30 x 16 + 91 x 64: https://platform.openai.com/docs/pricing
        ({"text_tokens": 64, "audio_tokens": 0}, Decimal("0.0069656")),
        # 65 x 4 + 54 x 0.4 + 10 x 0.4 + 3 x 32 + 30 x 16 + 91 x 64
        ({"text_tokens": 54, "audio_tokens": 10}, Decimal("0.0066856")),
        # How much of the audio was cached is not known.
        ({"text_tokens": 64}, None),
    ],
)
def test_realtime_pays_for_what_was_read_from_the_cache(
    cached: dict[str, int], expected: Decimal | None
):
    reader = read_response(realtime(**cached))
    assert reader.usage is not None
    event = UsageEvent.manual(usage=reader.usage, provider="openai", model_name=reader.model)

    assert quote(event).cost == expected
