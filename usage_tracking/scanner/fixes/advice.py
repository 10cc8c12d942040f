"""What to write where to track a call site, by the kind of code that its block is in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from ..report import CAPTURED, DISABLED, UNKNOWN, Finding

#: The kinds of a block below which methods are of a class that has the section.
_SECTION_OF_CLASS = {"view method", "consumer"}
_SECTION_OF_FUNCTION = {"view"}

_BLOCK = '`with ai_usage(section="…"):`'
_MAP = "add the task's name to AI_USAGE_SECTION_MAP"
_FUNCTION = 'a function decorated with @ai_usage(section="…")'
_RECORD = (
    'put the call into `with ai_usage(section="…") as usage:`, '
    "and call usage.record(response) in it"
)


def for_site(finding: Finding) -> str:
    """Return the fix of a call site that is not covered."""
    if finding.coverage == DISABLED:
        return "set AI_USAGE_ENABLED = True"
    if finding.status == CAPTURED:
        return for_block([finding])
    if finding.status == UNKNOWN:
        return f"{_RECORD}; a call that is recorded anyway is not counted twice"
    return _RECORD


def for_block(findings: Sequence[Finding]) -> str:
    """Return the one fix of captured call sites with the same block."""
    block = findings[0].block
    if block is None:
        return _moved(len(findings))
    if block.kind in _SECTION_OF_CLASS:
        return f'decorate the class {block.name.rpartition(".")[0]} with @ai_section("…")'
    if block.kind in _SECTION_OF_FUNCTION:
        name = block.name.rpartition(".")[2]
        return f'decorate {name} with @ai_section("…"), as the outermost decorator'
    direct = [finding for finding in findings if not is_in_lambda(finding)]
    parts = []
    if direct:
        parts.append(f"put {_statements(direct)} into {_BLOCK}")
    if len(direct) < len(findings):
        parts.append(_moved(len(findings) - len(direct)))
    fix = ", and ".join(parts)
    return f"{fix}, or {_MAP}" if block.kind == "task" else fix


def line_in_block(finding: Finding) -> tuple[int, str]:
    """Return the line and cell in a site's block from which the path leads to the site."""
    block = finding.block
    for step, following in pairwise(finding.call_path):
        if block and (
            (step.path, step.line) == (block.path, block.line) or step.name == block.name
        ):
            return following.line, following.cell
    return finding.call_path[-1].line, finding.call_path[-1].cell


def is_in_lambda(finding: Finding) -> bool:
    """Return whether a site is in a lambda, which may run when the code around it has ended."""
    return finding.function.endswith("<lambda>")


def _moved(number: int) -> str:
    if number == 1:
        return f"move the call into {_FUNCTION}"
    return f"move the calls into functions decorated with {_FUNCTION.partition('with ')[2]}"


def _statements(findings: Iterable[Finding]) -> str:
    places = sorted({line_in_block(finding) for finding in findings})
    names = [cell or str(line) for line, cell in places]
    listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    unit = "" if places[0][1] else "line " if len(names) == 1 else "lines "
    return f"the statement{'' if len(names) == 1 else 's'} at {unit}{listed}"
