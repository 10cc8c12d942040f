"""A middleware that breaks an export at its second statement, as the header `Break` says."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from django.db import connection
from django.http import HttpRequest
from django.utils.decorators import sync_only_middleware

from usage_tracking.exports import rows

rows.SIZE = 100


@sync_only_middleware
def break_exports(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    def answer(request: HttpRequest) -> Any:
        what = request.headers.get("Break")
        if what is None:
            return get_response(request)

        def break_later(execute: Any, sql: str, *rest: Any) -> Any:
            if '"metadata"' in sql and '"created_at" <= ' in sql:
                if what == "worker":
                    os.kill(os.getpid(), signal.SIGKILL)
                connection.connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            return execute(sql, *rest)

        with connection.execute_wrapper(break_later):
            return get_response(request)

    return answer
