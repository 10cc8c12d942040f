"""Ctrl-C at a given moment of a management command, for sites in a process of their own."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
import warnings

import coverage
from django.core.management import CommandError, call_command
from django.db import connections

from usage_tracking.delivery import delivery


def interrupt(*arguments: str, after: float) -> int:
    """The exit code of a command that hears Ctrl-C `after` that many seconds, if it still runs.

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
        code = _run(arguments, after)
        delivery.stop()  # as at every exit
    except KeyboardInterrupt:  # before the command has begun, or when it had just ended
        code = 130
    except BaseException:  # noqa: BLE001 -- the exit code 99 says so
        traceback.print_exc(file=sys.stdout)
    finally:
        sys.stdout.flush()
        os._exit(code)


def _run(arguments: tuple[str, ...], after: float) -> int:
    # A shell that starts the tests in the background has them ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        try:
            call_command(*arguments, stdout=io.StringIO(), stderr=io.StringIO())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except CommandError as error:
        if error.returncode not in (1, 130):
            print(error)
        return error.returncode
    return 0
