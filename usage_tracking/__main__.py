"""`python -m usage_tracking`: what there is, without a Django site."""

from __future__ import annotations

import ast
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap

from . import __doc__ as summary
from .system import release, stdio

_COMMANDS = Path(__file__).parent / "management" / "commands"
_SCANNER = "python -m usage_tracking.scanner PATH"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the version and the commands.

    Returns:
        The exit code. 0: printed; 2: the arguments are not valid, or the output cannot be written.
    """
    try:
        with stdio.guarded():
            return _main(arguments)
    except stdio.OutputError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _main(arguments: Sequence[str] | None) -> int:
    parser = ArgumentParser(
        prog="python -m usage_tracking",
        description="Print the version of the package and its commands.",
    )
    name = f"{release.DISTRIBUTION} {release.version()}"
    parser.add_argument("--version", action="version", version=name)
    _, others = parser.parse_known_args(arguments)
    commands = dict(_commands())
    if others:
        if others[0] in commands:
            parser.error(f"run it in your site: python manage.py {' '.join(others)}")
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    lines = [
        name,
        *(_filled(summary) if summary else ()),  # `python -OO` has no docstrings
        "",
        *_filled("Run a command in your site, or list its options with --help:"),
        "python manage.py COMMAND",
        "",
        *_listed(commands),
        "",
        "Without a site:",
        f"  {_SCANNER}",
        *_filled("List every AI call site of a code base and whether it is tracked.", indent=4),
        "",
        f"Documentation: {release.documentation()}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _commands() -> Iterator[tuple[str, str]]:
    """Yield the name of each command and what it does.

    The modules are read, not imported: without settings, Django cannot load models.
    """
    for path in sorted(_COMMANDS.glob("[!_]*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name == "Command":
                yield path.stem, (ast.get_docstring(node) or "").partition("\n")[0]


def _listed(commands: dict[str, str]) -> Iterator[str]:
    indent = max(map(len, commands)) + 4
    for name, sentence in commands.items():
        first, *others = _filled(sentence, indent=indent)
        yield f"  {name}".ljust(indent) + first.lstrip()
        yield from others


def _filled(text: str, *, indent: int = 0) -> list[str]:
    """Wrap `text` to the terminal; in a pipe it stays one line."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    space = " " * indent
    if width <= indent + 20:
        return [space + text]
    return wrap(text, width, initial_indent=space, subsequent_indent=space)


if __name__ == "__main__":
    sys.exit(main())
