"""The geometry of stacked bar charts, for a template that draws them as SVG.

This module does not depend on Django. Positions are in units of the viewBox, y downwards.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

Number: TypeAlias = int | float | Decimal

#: How many colours the style sheet has, from `ai-usage-color-0`; each also has a pale variant.
COLORS = 10
WIDTH, HEIGHT = 960, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 12, 28
_WIDEST = 56
#: The part of a column that the bar fills; the rest is the gap to the next bar.
_FILLED = 0.8
_Y_STEPS, _X_LABELS = 4, 10
#: The minimum height of a bar, so that it is visible.
_THINNEST = 0.75


@dataclass(frozen=True, slots=True)
class Layer:
    """One colour of the stacks: a value for each column, None if it is unknown."""

    label: str
    css_class: str
    values: tuple[Number | None, ...]
    #: The tooltip of each bar.
    titles: tuple[str, ...]
    #: The link of each bar; empty if bars have no links.
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle with its tooltip and link; `url` is "" without one."""

    x: float
    y: float
    width: float
    height: float
    css_class: str
    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A label at a position on an axis."""

    position: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing of `width` by `height`."""

    width: int
    height: int
    #: The edges of the plot, without the axes.
    left: int
    right: int
    top: int
    bottom: int
    bars: tuple[Bar, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]

    @property
    def plot_width(self) -> int:
        """The width of the drawing without the y axis, which is a drawing of its own."""
        return self.width - self.left


def stacked_bars(
    columns: Sequence[str],
    layers: Sequence[Layer],
    tick_label: Callable[[Decimal], str],
    *,
    whole: bool = True,
) -> Chart | None:
    """Lay out `layers` as stacked bars, the first at the bottom.

    Args:
        columns: The labels of the x axis.
        layers: One value for each column.
        tick_label: Formats a value of the y axis.
        whole: The values are counts, so the y axis has no fractions.

    Returns:
        The chart, or None if there is nothing to draw: no column, or no value above 0.
    """
    highest = max(
        (sum(float(layer.values[n] or 0) for layer in layers) for n in range(len(columns))),
        default=0.0,
    )
    if highest <= 0:
        return None
    ticks = nice_ticks(highest, whole=whole)
    left, right, top, bottom = _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM
    slot = (right - left) / len(columns)
    scale = (bottom - top) / float(ticks[-1])
    width = min(slot * _FILLED, _WIDEST)
    bars = []
    for n in range(len(columns)):
        x = left + slot * n + (slot - width) / 2
        y = float(bottom)
        for layer in layers:
            if value := float(layer.values[n] or 0):
                height = max(value * scale, _THINNEST)
                y -= height
                url = layer.urls[n] if layer.urls else ""
                bars.append(
                    Bar(
                        round(x, 2),
                        round(y, 2),
                        round(width, 2),
                        round(height, 2),
                        layer.css_class,
                        layer.titles[n],
                        url,
                    )
                )
    return Chart(
        width=WIDTH,
        height=HEIGHT,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        bars=tuple(bars),
        x_ticks=tuple(
            Tick(round(left + slot * (n + 0.5), 2), columns[n]) for n in _labelled(len(columns))
        ),
        y_ticks=tuple(
            Tick(round(bottom - float(tick) * scale, 2), tick_label(tick)) for tick in ticks
        ),
    )


def nice_ticks(highest: float, *, whole: bool = True) -> tuple[Decimal, ...]:
    """Return 0 and a few multiples of a round step, up to `highest` or more.

    The step is 1, 2 or 5 times a power of ten, and at least 1 if `whole`. `highest` must be above
    0.
    """
    rough = highest / _Y_STEPS
    power = Decimal(10) ** math.floor(math.log10(rough))
    step = next(
        step for step in (power * n for n in (1, 2, 5, 10)) if float(step) >= rough * (1 - 1e-9)
    )
    if whole:
        step = max(step, Decimal(1))
    count = max(math.ceil(highest / float(step) - 1e-9), 1)
    return tuple(step * n for n in range(count + 1))


def color_class(code: str, codes: Collection[str], rest: str = "") -> str:
    """Return the CSS class of the colour of `code`, which is the same in every chart.

    The colour depends on the position among `codes`; `rest` is grey. A code that is not among them
    gets a colour from its hash.
    """
    if code == rest:
        return "ai-usage-color-rest"
    named = [name for name in codes if name != rest]
    return _class_at(named.index(code) if code in named else zlib.crc32(code.encode()))


def color_classes(names: Sequence[str]) -> list[str]:
    """Return the CSS classes of the colours of some names, a different one for each if possible.

    A name has the colour of its hash, in every chart, unless another name of this chart has it too;
    "", for an unknown name, is grey.
    """
    classes = {"": color_class("", (), "")}
    taken: set[str] = set()
    for name in sorted({*names} - {""}):
        start = zlib.crc32(name.encode())
        tried = [_class_at(start + step) for step in range(2 * COLORS)]
        classes[name] = next((found for found in tried if found not in taken), tried[0])
        taken.add(classes[name])
    return [classes[name] for name in names]


def _class_at(place: int) -> str:
    pale = " ai-usage-pale" if place // COLORS % 2 else ""
    return f"ai-usage-color-{place % COLORS}{pale}"


def _labelled(count: int) -> range:
    """Return the columns that get a label: at most ten, among them always the last, the newest."""
    step = math.ceil(count / _X_LABELS)
    return range((count - 1) % step, count, step)
