"""Stacked bars as geometry: what a template needs to draw them as SVG, and no more.

Nothing here knows Django or usage. Numbers of the drawing are in units of its viewBox, y downwards.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

Number: TypeAlias = int | float | Decimal

#: Colours of the style sheet, `ai-usage-color-0` and on; a second round of them is pale.
COLORS = 10
WIDTH, HEIGHT = 960, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 12, 28
_WIDEST = 56
#: Of a bar's slot, the rest is the gap to the next.
_FILLED = 0.8
_Y_STEPS, _X_LABELS = 4, 10
#: What is there must be seen.
_THINNEST = 0.75


@dataclass(frozen=True, slots=True)
class Layer:
    """One colour of the stacks: a value for each column, None where nothing is known."""

    label: str
    css_class: str
    values: tuple[Number | None, ...]
    #: What hovering over each bar tells.
    titles: tuple[str, ...]
    #: Where each bar leads; empty for bars that lead nowhere.
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    x: float
    y: float
    width: float
    height: float
    css_class: str
    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Tick:
    position: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    width: int
    height: int
    #: The plot, without axes.
    left: int
    right: int
    top: int
    bottom: int
    bars: tuple[Bar, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def stacked_bars(
    columns: Sequence[str],
    layers: Sequence[Layer],
    tick_label: Callable[[Decimal], str],
    *,
    whole: bool = True,
) -> Chart | None:
    """The bars of `layers`, the first at the bottom, over `columns`, which are the x axis' labels.

    `whole` is for what is counted: the y axis then has no fractions. None if there is nothing to
    draw: no column, or no value above 0.
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
    """0 and up to a few round numbers (1, 2 or 5 times a power of ten) past `highest`, above 0."""
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
    """The CSS class of the colour that `code` has in every chart, by its place among `codes`.

    `rest`, what nothing else names, is grey. A code that is not among them has one by chance, but
    always the same.
    """
    if code == rest:
        return "ai-usage-color-rest"
    named = [name for name in codes if name != rest]
    place = named.index(code) if code in named else zlib.crc32(code.encode())
    pale = " ai-usage-pale" if place // COLORS % 2 else ""
    return f"ai-usage-color-{place % COLORS}{pale}"


def _labelled(count: int) -> range:
    """Which of so many columns are labelled: the last always, for it is the newest."""
    step = math.ceil(count / _X_LABELS)
    return range((count - 1) % step, count, step)
