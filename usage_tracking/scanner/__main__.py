"""`python -m usage_tracking.scanner PATH`: the scan without a Django site."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from ..system import stdio
from . import cli
from .output import terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Scan and print the report.

    Returns:
        The exit code. 0: all sites are tracked; 1: some are not (`--fail-on`); 2: the scan could
        not run; 130: Ctrl-C.
    """
    try:
        with stdio.guarded():
            return _main(arguments)
    except stdio.OutputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        return 130


def _main(arguments: Sequence[str] | None) -> int:
    parser = ArgumentParser(
        prog="python -m usage_tracking.scanner",
        description="List every AI call site of a code base and whether it is tracked.",
    )
    parser.add_argument("paths", nargs="*", default=["."], metavar="PATH", help="default: .")
    cli.add_arguments(parser)
    parser.add_argument("-v", "--verbosity", type=int, choices=range(4), default=1)
    parser.add_argument("--no-color", action="store_true")
    parser.add_argument("--force-color", action="store_true")
    given = vars(parser.parse_args(arguments))
    pretty = terminal.printer(
        sys.stdout,
        is_terminal=sys.stdout.isatty(),
        no_color=given["no_color"],
        force_color=given["force_color"],
    )
    try:
        options = cli.options_of(given, tuple(given["paths"]))
        report = cli.run(options, given)
        if given["diff"]:
            cli.show_patch(
                report,
                given,
                options.paths,
                sys.stdout,
                lambda line: sys.stderr.write(line + "\n"),
            )
        else:
            cli.show(
                report,
                given,
                lambda line: sys.stdout.write(line + "\n"),
                verbosity=given["verbosity"],
                pretty=pretty,
            )
    except cli.UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return int(bool(cli.failure(report, given)))


if __name__ == "__main__":
    sys.exit(main())
