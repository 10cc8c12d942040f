"""What every command of this package does the same."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, OutputWrapper, SystemCheckError

from usage_tracking.system import stdio

#: Exit codes beside 0 (all is well) and 1 (there are findings).
CANNOT_RUN = 2
#: What a shell reports of a program that Ctrl-C ended.
INTERRUPTED = 130


class UsageCommand(BaseCommand):
    """A command whose exit code does not depend on whether its output is read to the end."""

    def run_from_argv(self, argv: list[str]) -> None:
        try:
            with stdio.guarded():
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
        try:
            super().check(*args, **kwargs)
        except SystemCheckError as error:
            error.returncode = CANNOT_RUN
            raise
