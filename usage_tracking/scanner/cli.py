"""Arguments and output of `python -m usage_tracking.scanner` and of the Django command."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .data_files import CatalogError
from .evidence.confidence import CONFIDENCES, NAME_ONLY
from .fixes.patches import Patch, propose
from .output.baseline import Baseline, BaselineError
from .output.machine_readable import as_github, as_json, as_sarif
from .output.terminal import Piece
from .output.text import escaped, lines, where
from .reading.cache import default_directory
from .reading.discovery import SKIPPED
from .recorded_urls import DEFAULT, Tracking
from .report import FAILING, Report
from .scan import CannotScanError, Options, scan

_OUTPUTS = ("text", "json", "github", "sarif")


class UsageError(Exception):
    """The command cannot run and exits with 2; the message is for its user."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments that both commands have."""
    parser.add_argument("--format", choices=_OUTPUTS, default="text", help="default: text")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write to FILE instead of stdout"
    )
    parser.add_argument(
        "--fail-on",
        choices=tuple(FAILING),
        default="captured",
        help="exit with 1 if any call site has at least this status (default: captured); "
        "any: also if a covered site has a warning",
    )
    parser.add_argument(
        "--min-confidence",
        choices=tuple(name.replace(" ", "-") for name in CONFIDENCES),
        default=NAME_ONLY.replace(" ", "-"),
        help="omit call sites with a lower confidence (default: name-only)",
    )
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="accept the findings in FILE")
    parser.add_argument(
        "--write-baseline",
        type=Path,
        metavar="FILE",
        help="write the current findings to FILE, as a baseline; entries of files that are not "
        "scanned stay",
    )
    parser.add_argument(
        "--strict-baseline",
        action="store_true",
        help="exit with 1 also if entries of the baseline are out of date",
    )
    parser.add_argument(
        "--diff",
        action="store_true",
        help="print a patch that names the sections, instead of the report; no file is changed",
    )
    parser.add_argument(
        "--include",
        action="append",
        default=[],
        choices=SKIPPED,
        help="also scan these; repeatable",
    )
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="skip matching paths; repeatable",
    )
    parser.add_argument(
        "--tracker",
        action="append",
        default=[],
        metavar="NAME",
        help="a function, decorator or context manager of your project that records AI calls",
    )
    parser.add_argument(
        "--extra",
        action="append",
        default=[],
        metavar="FILE",
        help="a data file about more SDKs, or a directory of such files",
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="number of processes (default: one per core)"
    )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="cache directory")
    parser.add_argument("--no-cache", action="store_true", help="read every file again")


def options_of(
    given: dict[str, Any],
    paths: tuple[str, ...],
    *,
    extra: tuple[str, ...] = (),
    trackers: tuple[str, ...] = (),
    tracking: Tracking = DEFAULT,
    mapped: frozenset[str] = frozenset(),
    mapped_prefixes: frozenset[str] = frozenset(),
    scheduled: frozenset[str] = frozenset(),
) -> Options:
    """Return the options of a scan from parsed arguments and the site's settings."""
    cache = None if given["no_cache"] else given["cache"] or default_directory()
    return Options(
        paths=paths,
        include=tuple(given["include"]),
        exclude=tuple(given["exclude"]),
        extra=(*extra, *given["extra"]),
        trackers=(*trackers, *given["tracker"]),
        tracking=tracking,
        mapped=mapped,
        mapped_prefixes=mapped_prefixes,
        scheduled=scheduled,
        min_confidence=given["min_confidence"].replace("-", " "),
        cache=cache,
        jobs=given["jobs"],
    )


def run(options: Options, given: dict[str, Any]) -> Report:
    """Scan and apply the baseline.

    Raises:
        UsageError: The scan cannot run.
    """
    if given["jobs"] is not None and given["jobs"] < 1:
        raise UsageError("--jobs must be 1 or more.")
    if given["diff"] and given["format"] != "text":
        raise UsageError(f"--diff prints a patch; remove --format {given['format']}.")
    if given["strict_baseline"] and not given["baseline"]:
        raise UsageError("--strict-baseline needs --baseline FILE.")
    try:
        file, is_new = given["write_baseline"] or given["baseline"], bool(given["write_baseline"])
        accepted = Baseline(file, options, is_new=is_new) if file else None
        with _stages(shown=given["verbosity"] > 0 and sys.stderr.isatty()) as show_stage:
            report = scan(options, show_stage)
        if accepted and is_new:
            accepted.write(report)
    except (CannotScanError, CatalogError, BaselineError) as error:
        raise UsageError(f"{error}.") from error
    except OSError as error:
        raise _cannot_access(error, file) from error
    return accepted.apply(report) if accepted else report


def failure(report: Report, given: dict[str, Any]) -> str:
    """Return what makes the command exit with 1, "" if nothing does."""
    reasons = []
    if number := len(report.failing(given["fail_on"])):
        reasons.append(f"{number} AI call site{'' if number == 1 else 's'} to fix.")
    if given["strict_baseline"] and (number := len(report.stale or ())):
        reasons.append(f"{number} entr{'y' if number == 1 else 'ies'} of the baseline out of date.")
    return " ".join(reasons)


def show_patch(
    report: Report,
    given: dict[str, Any],
    paths: tuple[str, ...],
    out: Any,
    note: Callable[[str], object],
    *,
    sections: Collection[str] = (),
) -> None:
    """Print the patch for a report on `out`, or write it to `--output`; `note` prints comments.

    Raises:
        UsageError: A file cannot be read, or the output file cannot be written.
    """
    try:
        patch = propose(report, paths, sections)
        if given["output"]:
            given["output"].write_bytes(patch.diff)
        elif hasattr(out, "buffer"):  # files may have other encodings and line ends
            out.flush()
            out.buffer.write(patch.diff)
            out.buffer.flush()
        elif patch.diff:
            out.write(patch.diff.decode("utf-8", "surrogateescape"))
    except OSError as error:
        raise _cannot_access(error, given["output"]) from error
    if given["verbosity"]:
        for line in _comments(patch, sections):
            note(escaped(line))


def _comments(patch: Patch, sections: Collection[str]) -> Iterator[str]:
    if patch.covered:
        number = len(patch.covered)
        root = "this directory" if patch.root == "." else patch.root
        yield (
            f"The patch covers {number} call site{'' if number == 1 else 's'}. "
            f"To apply it, run `patch -p1` or `git apply` in {root}."
        )
    if missing := [section for section in patch.sections if section not in sections]:
        yield f"Check these names, and add them to AI_USAGE_SECTIONS: {', '.join(missing)}."
    if patch.left:
        yield f"Not in the patch ({len(patch.left)}):"
    for finding, reason in patch.left:
        yield f"  {where(finding)}  {finding.call}: {reason}"


@contextmanager
def _stages(*, shown: bool) -> Iterator[Callable[[str], object]]:
    """Show the current stage on the terminal, and erase it at the end."""

    def show_stage(stage: str) -> None:
        if shown:
            sys.stderr.write(f"\r\x1b[K{stage} ...")
            sys.stderr.flush()

    try:
        yield show_stage
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")


def show(
    report: Report,
    given: dict[str, Any],
    write: Callable[[str], object],
    *,
    verbosity: int = 1,
    pretty: Callable[[list[list[Piece]]], object] | None = None,
) -> None:
    """Print a report in the requested format; `pretty` prints lines with styles.

    Raises:
        UsageError: The output file cannot be written.
    """
    text = given["format"] == "text"
    if given["output"]:
        content = "".join(f"{line}\n" for line in _content(report, given, verbosity))
        try:
            given["output"].write_text(content)
        except OSError as error:
            raise _cannot_access(error, given["output"]) from error
    elif text and pretty is not None:
        pretty(list(_lines(report, given, verbosity)))
    else:
        for line in _content(report, given, verbosity):
            write(line)


def _cannot_access(error: OSError, file: Path | None) -> UsageError:
    # An error of `write`, such as a full disk, does not name the file.
    return UsageError(f"{error.filename or file}: {error.strerror}.")


def _content(report: Report, given: dict[str, Any], verbosity: int) -> list[str]:
    wanted = given["format"]
    if wanted == "json":
        return [as_json(report)]
    if wanted == "github":
        return list(as_github(report))
    if wanted == "sarif":
        return [as_sarif(report, _version())]
    return ["".join(text for text, _ in line) for line in _lines(report, given, verbosity)]


def _lines(report: Report, given: dict[str, Any], verbosity: int) -> Iterator[list[Piece]]:
    is_strict = given["strict_baseline"]
    return lines(report, verbosity=verbosity, fail_on=given["fail_on"], is_strict=is_strict)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("django-usage-tracking")
    except PackageNotFoundError:
        return "0"
