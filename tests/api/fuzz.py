"""schemathesis against the demo on a real server, with the token of a user who may see all calls.

    DATABASE_URL=... python -m tests.api.fuzz [options of `schemathesis run`]

The database must have its tables. The run writes to it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import django

EXAMPLES = 10
#: Schemas cannot say that a start is before its end, that a user exists, or that a cursor is ours.
CONFIG = """
[[operations]]
include-operation-id-regex = "^usage_(report|reconciliation|logs_list|logs_create)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 422]

[[operations]]
include-operation-id = "usage_logs_create"
warnings = false  # most random calls have a user that does not exist
"""


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()

    from django.contrib.auth.models import User
    from django.core.servers.basehttp import WSGIRequestHandler
    from rest_framework.authtoken.models import Token

    from project.chat.demo.site import Site
    from tests.support.builders import make_log

    user, _ = User.objects.get_or_create(username="fuzz", is_superuser=True)
    token, _ = Token.objects.get_or_create(user=user)
    for section in ("chat", "removed"):
        make_log(user=user, section=section).save()
    # The server writes headers and body separately. Nagle's algorithm delays the body until the
    # client has acknowledged the headers, 40 ms later: most of the time of hundreds of requests.
    WSGIRequestHandler.disable_nagle_algorithm = True
    # schemathesis writes its findings to the current directory.
    with Site(0) as site, TemporaryDirectory() as directory:
        # schemathesis waits 10 s for the schema; the first request imports its generator.
        urlopen(f"{site.url}/api/schema/").close()
        Path(directory, "schemathesis.toml").write_text(CONFIG)
        return subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis").absolute(),
                "run",
                f"{site.url}/api/schema/",
                f"--header=Authorization: Bearer {token.key}",
                "--include-path-regex=^/api/v1/ai/",
                f"--max-examples={EXAMPLES}",
                "--seed=1",
                "--generation-deterministic",
                "--no-color",
                *sys.argv[1:],
            ],
            cwd=directory,
            check=False,
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
