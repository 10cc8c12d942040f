"""A site with the admin, in which an export can lose its database or its worker."""

from __future__ import annotations

from tests.processes.settings import *

MIDDLEWARE = [*MIDDLEWARE, "tests.hosts.exports.break_exports"]  # noqa: F405
