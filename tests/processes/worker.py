"""A process of a site that makes AI calls in a loop and prints each response id.

python -m tests.processes.worker USER_ID CALLS [--on-demand] [--atomic outside|inside]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

import django


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("user", type=int)
    parser.add_argument("calls", type=int)
    parser.add_argument(
        "--on-demand", action="store_true", help="a call for each line of stdin, until it ends"
    )
    parser.add_argument("--atomic", choices=["outside", "inside"])
    options = parser.parse_args()
    django.setup()
    from django.contrib.auth.models import User
    from django.db import transaction

    from usage_tracking import ai_usage

    user = User(pk=options.user, username="worker")
    call = plain_call()
    print("ready", flush=True)
    # Like a view under ATOMIC_REQUESTS: read, call, write.
    for number in range(options.calls):
        if options.on_demand and not sys.stdin.readline():
            break
        block = ai_usage(section="chat", user=user)
        if options.atomic == "outside":
            with transaction.atomic():
                list(User.objects.filter(pk=user.pk))
                with block:
                    answer = call(number)
                User.objects.filter(pk=user.pk).update(first_name=str(number))
        elif options.atomic == "inside":
            with block, transaction.atomic():
                list(User.objects.filter(pk=user.pk))
                answer = call(number)
                User.objects.filter(pk=user.pk).update(first_name=str(number))
        else:
            with block:
                answer = call(number)
        print(answer, flush=True)
    print("done", flush=True)


def plain_call() -> Callable[[int], str]:
    import httpx

    client = httpx.Client(base_url=f"http://{os.environ['STUB']}/openai/v1")

    def call(number: int) -> str:
        body = {
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": f"call {number} of {os.getpid()}"}],
        }
        return str(client.post("/chat/completions", json=body).raise_for_status().json()["id"])

    return call


if __name__ == "__main__":
    main()
