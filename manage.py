#!/usr/bin/env python
"""Run management commands of the example project."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command of the arguments."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
