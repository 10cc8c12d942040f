"""The first calls of a site, right after its server starts.

SDKs complete their imports at the first call and search `sys.modules` for optional libraries. This
package must import nothing in the background meanwhile.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client

from project.stub import StubProvider
from tests.scenarios.servers import Server
from tests.support import comparison
from tests.support.environment import DIRECTORY_VARIABLE
from tests.support.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.costly, pytest.mark.server, pytest.mark.process]

#: The module that the pages import, and its distribution.
SDKS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "groq": "groq",
    "google.genai": "google-genai",
}
#: Visited concurrently.
PAGES = ("sync", "async", "sync", "async")


@pytest.fixture
def cookie(transactional_db: None) -> str:
    client = Client()
    client.force_login(User.objects.create_user("ada"))
    return client.cookies["sessionid"].value


@pytest.fixture(params=["at module level", "in the view"])
def site(
    request: pytest.FixtureRequest, tmp_path: Path, database_url: str, stub: StubProvider
) -> dict[str, str]:
    """The environment of the site, without its SDK."""
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.sdks.site_settings",
        "DATABASE_URL": database_url,
        DIRECTORY_VARIABLE: str(tmp_path),
        "STUB": stub.host_port,
        "GATEWAYS": json.dumps(stub.gateways),
        "SDK_IMPORTED": request.param,
    }


@pytest.mark.parametrize("sdk", SDKS)
def test_first_calls_of_each_start_are_answered_and_recorded(
    site: dict[str, str], cookie: str, stub: StubProvider, sdk: str, pytestconfig: pytest.Config
) -> None:
    try:
        version(SDKS[sdk])
    except PackageNotFoundError:
        pytest.skip(f"{SDKS[sdk]} is not in this session")
    failed = []
    starts = pytestconfig.getoption("starts")

    for number in range(starts):
        comparison.forget()
        stub.clear()
        with (
            Server("uvicorn", site | {"SDK": sdk}) as server,
            ThreadPoolExecutor(len(PAGES)) as visitors,
        ):
            # The socket listens from the start, so these are the server's first requests.
            answers = list(visitors.map(lambda page: visit(server, page, cookie), PAGES))
            wait_until(
                lambda: len(comparison.rows()) >= len(stub.journal),
                awaited="the rows",
                seen=server.log,
            )
        comparison.assert_recorded_as_served(comparison.rows(), stub.journal)
        assert {comparison.attributed(row)[0] for row in comparison.rows()} <= {"ada"}
        failed += [f"start {number}: {answer}" for answer in answers if answer != "200"]
    assert failed == [], f"{len(failed)} of {starts * len(PAGES)} first calls failed"


def visit(server: Server, page: str, cookie: str) -> str:
    """Return the response status, with the error if the view failed."""
    request = urllib.request.Request(f"{server.url}/{page}/")
    request.add_header("Cookie", f"sessionid={cookie}")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return str(response.status)
    except urllib.error.HTTPError as error:
        return f"{error.code} {page}"
