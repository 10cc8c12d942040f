"""Stacked bars as geometry."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from usage_tracking.pages.charts import (
    COLORS,
    Chart,
    Layer,
    color_class,
    nice_ticks,
    stacked_bars,
)

#: How long an example takes to make or to draw depends on the machine.
PROPERTY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def layer(*values: int | float | Decimal | None, name: str = "chat") -> Layer:
    titles = tuple(f"{name} {value}" for value in values)
    return Layer(name, f"c-{name}", values, titles, tuple(f"?{name}" for _ in values))


def draw(*layers: Layer, whole: bool = True) -> Chart:
    columns = [f"day {n}" for n in range(len(layers[0].values))]
    chart = stacked_bars(columns, layers, str, whole=whole)
    assert chart is not None
    return chart


class TestStackedBars:
    def test_bars_of_a_column_stand_on_each_other(self):
        lower, upper = draw(layer(30), layer(10, name="rag")).bars

        assert lower.y + lower.height == 212
        assert upper.y + upper.height == pytest.approx(lower.y, abs=0.02)
        assert lower.height == pytest.approx(3 * upper.height, abs=0.05)

    def test_bars_have_a_title_and_a_link(self):
        (bar,) = draw(layer(30)).bars

        assert (bar.title, bar.url, bar.css_class) == ("chat 30", "?chat", "c-chat")

    def test_unknown_and_zero_are_not_drawn(self):
        assert [bar.title for bar in draw(layer(None, 0, 5)).bars] == ["chat 5"]

    def test_smallest_value_is_seen(self):
        bars = draw(layer(1_000_000), layer(1, name="rag")).bars

        assert bars[1].height > 0.5

    def test_single_column_has_a_maximum_width(self):
        (bar,) = draw(layer(30)).bars

        assert bar.width == 56

    def test_no_values_make_no_chart(self):
        assert stacked_bars([], [], str) is None
        assert stacked_bars([], [layer()], str) is None
        assert stacked_bars(["a"], [layer(0, 0)], str) is None
        assert stacked_bars(["a"], [layer(None)], str) is None

    def test_x_axis_has_room_for_its_labels_and_the_last_day_has_one(self):
        for columns, labels in ((1, 1), (10, 10), (30, 10), (90, 10)):
            chart = draw(layer(*range(1, columns + 1)))

            assert len(chart.x_ticks) == labels, columns
            assert chart.x_ticks[-1].label == f"day {columns - 1}"

    @PROPERTY
    @given(
        st.lists(
            st.lists(st.none() | st.integers(0, 10**12), min_size=3, max_size=3),
            min_size=1,
            max_size=12,
        )
    )
    def test_everything_is_within_the_plot(self, values):
        layers = [layer(*row) for row in values]
        chart = stacked_bars(["a", "b", "c"], layers, str)
        if chart is None:
            assert not any(value for row in values for value in row)
            return
        thin = 0.75 * len(layers)
        for bar in chart.bars:
            assert chart.left <= bar.x <= bar.x + bar.width <= chart.right
            assert chart.top - thin <= bar.y <= bar.y + bar.height <= chart.bottom + 0.02
        assert len(chart.bars) == sum(bool(value) for row in values for value in row)


class TestNiceTicks:
    def test_round_numbers(self):
        expected = [
            (1, ["0", "1"]),
            (3, ["0", "1", "2", "3"]),
            (4, ["0", "1", "2", "3", "4"]),
            (100, ["0", "50", "100"]),
            (87, ["0", "50", "100"]),
            (12_345, ["0", "5000", "10000", "15000"]),
        ]
        wrong = [
            (highest, found)
            for highest, ticks in expected
            if (found := nice_ticks(highest)) != tuple(map(Decimal, ticks))
        ]

        assert wrong == []

    def test_fractions_of_a_dollar(self):
        assert nice_ticks(0.0007, whole=False) == tuple(
            map(Decimal, ["0", "0.0002", "0.0004", "0.0006", "0.0008"])
        )

    @PROPERTY
    @given(st.floats(1e-9, 1e15))
    def test_a_few_steps_reach_past_the_highest(self, highest):
        ticks = nice_ticks(highest, whole=False)

        assert 2 <= len(ticks) <= 6
        assert float(ticks[-1]) >= highest * (1 - 1e-6)


class TestColorClass:
    def test_each_section_has_its_own_until_all_are_used(self):
        codes = [f"s{n}" for n in range(2 * COLORS)] + ["other"]
        classes = [color_class(code, codes, "other") for code in codes]

        assert len(set(classes)) == 2 * COLORS + 1

    def test_it_does_not_depend_on_the_other_sections_shown(self):
        assert color_class("rag", {"chat": "", "rag": ""}) == "ai-usage-color-1"

    def test_undeclared_section_keeps_its_colour(self):
        assert color_class("stray", []) == color_class("stray", [])
