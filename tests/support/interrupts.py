"""Ctrl-C at a given moment of a management command, for sites in a process of their own."""

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
    """The exit code of a command that hears Ctrl-C at its `at`-th call of a Python function.

    It counts calls and not seconds, so that the moments are the same on every machine: `at` is
    None, or more than the calls it makes, for a command that is let run.

    It runs in a fork, which ends with it: what Django and the driver think of a connection that was
    cut short is nobody's concern afterwards.
    """
    connections.close_all()
    sys.stdout.flush()  # or the fork prints what is in the buffer once more
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the thread that delivers here
        child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 99
    # Ctrl-C within coverage's own code leaves its lock held for good.
    if measurement := coverage.Coverage.current():
        measurement.stop()
    try:
        code = _run(arguments, at)
        delivery.stop()  # as at every exit
    except KeyboardInterrupt:  # before the command has begun, or when it had just ended
        code = 130
    except BaseException:  # noqa: BLE001 -- the exit code 99 says so
        traceback.print_exc(file=sys.stdout)
    finally:
        sys.stdout.flush()
        os._exit(code)


def _run(arguments: tuple[str, ...], at: int | None) -> int:
    # A shell that starts the tests in the background has them ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    calls = 0

    def count(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal calls
        if event == "call":
            calls += 1
            if calls == at:
                sys.setprofile(None)
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

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
