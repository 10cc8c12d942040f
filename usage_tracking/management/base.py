"""The base class of the commands, and their exit codes."""

from __future__ import annotations

import io
import sys
from typing import Any

from django.core.management.base import BaseCommand, OutputWrapper, SystemCheckError

from ..system import release, stdio

#: Exit codes beside 0 (success) and 1 (the command found something).
CANNOT_RUN = 2
#: What a shell reports for a program that Ctrl-C ended.
INTERRUPTED = 130


class UsageCommand(BaseCommand):
    """A command whose exit code does not change if its reader closes the pipe early."""

    #: The encoding of the output, if it is not that of the terminal.
    encoding: str | None = None

    def get_version(self) -> str:
        """Return what `--version` prints."""
        return f"{release.DISTRIBUTION} {release.version()} (Django {super().get_version()})"

    def run_from_argv(self, argv: list[str]) -> None:
        """Run the command; exit with 130 on Ctrl-C and with 2 if the output cannot be written."""
        try:
            with stdio.guarded():
                for stream in (sys.stdout, sys.stderr):
                    if isinstance(stream, io.TextIOWrapper):
                        # A terminal without a character shows its escape sequence.
                        stream.reconfigure(encoding=self.encoding, errors="backslashreplace")
                style = self.stderr.style_func
                self.stdout, self.stderr = OutputWrapper(sys.stdout), OutputWrapper(sys.stderr)
                self.stderr.style_func = style
                try:
                    super().run_from_argv(argv)
                except KeyboardInterrupt:
                    self.stderr.write("Stopped.")
                    sys.exit(INTERRUPTED)
        except stdio.OutputError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(CANNOT_RUN)

    def check(self, *args: Any, **kwargs: Any) -> None:
        """Run the system checks; a failure exits with 2."""
        try:
            super().check(*args, **kwargs)
        except SystemCheckError as error:
            error.returncode = CANNOT_RUN
            raise
