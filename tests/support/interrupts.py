"""Interrupt a management command at a given point, for sites in a separate process."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import traceback
import warnings
from types import FrameType
from typing import Any

import coverage
from django.core.management import CommandError, call_command
from django.db import connections

from usage_tracking.delivery import delivery


def interrupt(*arguments: str, at: int | None = None) -> int:
    """Run a command, send SIGINT at its `at`-th Python function call, and return the exit code.

    Counting calls instead of seconds makes the points the same on every machine. The command runs
    to its end if `at` is None or larger than the number of calls.

    The command runs in a fork that exits afterwards, so interrupted database connections affect
    no other test.
    """
    connections.close_all()
    sys.stdout.flush()  # otherwise the fork prints the buffered output again
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # about the delivery thread of this process
        child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 99
    # An interrupt inside coverage's code would leave its lock held.
    if measurement := coverage.Coverage.current():
        measurement.stop()
    try:
        code = _run(arguments, at)
        delivery.stop()  # as at every process exit
    except KeyboardInterrupt:  # before the command started or after it ended
        code = 130
    except BaseException:  # noqa: BLE001 -- reported by exit code 99
        traceback.print_exc(file=sys.stdout)
    finally:
        sys.stdout.flush()
        os._exit(code)


def _run(arguments: tuple[str, ...], at: int | None) -> int:
    # A shell that starts the tests in the background makes them ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        if event == "call":
            calls += 1
            if calls == at:
                sys.setprofile(None)
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def interrupt_again(unraisable: sys.UnraisableHookArgs) -> None:
        # Python drops an interrupt in a finalizer, and the command would go on to its end.
        nonlocal at
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            at = calls + 1
            sys.setprofile(count)

    sys.unraisablehook = interrupt_again
    try:
        sys.setprofile(None if at is None else count)
        try:
            call_command(*arguments, stdout=io.StringIO(), stderr=io.StringIO())
        finally:
            sys.setprofile(None)
    except CommandError as error:
        if error.returncode not in (1, 130):
            print(error)
        return error.returncode
    return 0
