from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from tests.scenarios import clock

application = get_wsgi_application()

if file := os.environ.get("CLOCK"):
    clock.follow(Path(file))
if prompt := os.environ.get("CALL_AT_START"):
    # Under --preload this is the master, which forks with the outbox open.
    from tests import views

    views.ask(prompt)
    # Not with a connection to the provider, in which the answers of its workers would be mixed.
    views._client(settings.OPENAI_URL).close()
    views._client.cache_clear()
