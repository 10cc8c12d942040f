"""What to write where to track a call site, by the kind of code that its block is in."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from .report import CAPTURED, UNKNOWN, Block, Step

#: The kinds of a block for which `@ai_section` is read: from the function or class that a URL or
#: a route names. On other code it does nothing.
_READ_AI_SECTION = {"view", "consumer"}

_BLOCK = '`with ai_usage(section="…"):`'
_HANDLE = '`with ai_usage(section="…") as usage:`'


def for_site(status: str, block: Block | None, path: Iterable[Step], *, is_named: bool) -> str:
    """Return the fix of a call site.

    Args:
        status: Its status, which is not "covered".
        block: Where a block covers it, None if no block can.
        path: The way to it, from an entry point down to itself.
        is_named: Whether a section is named on every path to it.
    """
    if status == CAPTURED:
        if block is None:
            return 'put it into a function decorated with @ai_usage(section="…")'
        return for_block(block, [path])
    record = (
        "call usage.record(response) in its block"
        if is_named
        else f"put it into {_HANDLE}, and call usage.record(response) in the block"
    )
    return f"verify that rows are written, or {record}" if status == UNKNOWN else record


def for_block(block: Block, paths: Iterable[Iterable[Step]]) -> str:
    """Return the one fix of all call sites that a block covers, by the ways to them."""
    if block.kind in _READ_AI_SECTION:
        owner, _, method = block.name.rpartition(".")
        if owner and not block.name.endswith(f"<locals>.{method}"):
            return f'decorate the class {owner} with @ai_section("…")'
        return f'decorate {block.name} with @ai_section("…"), as the outermost decorator'
    places = sorted({_line_in(block, list(path)) for path in paths})
    return f"put {_listed(places)} into {_BLOCK}"


def _line_in(block: Block, path: list[Step]) -> tuple[int, str]:
    """Return the line in a block's function from which a path leads to the call site."""
    for step, following in pairwise(path):
        if (step.path, step.line) == (block.path, block.line) or step.name == block.name:
            return following.line, following.cell
    return path[-1].line, path[-1].cell


def _listed(places: list[tuple[int, str]]) -> str:
    names = [cell or str(line) for line, cell in places]
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    if places[0][1]:
        return listed
    return f"line {listed}" if len(names) == 1 else f"lines {listed}"
