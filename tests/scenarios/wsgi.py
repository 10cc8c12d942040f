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
    # With --preload, this runs in the master, which forks with an open outbox.
    from tests import views

    views.ask(prompt)
    # The master opens no connection to the provider. Workers would mix their responses on it.
    views._client(settings.OPENAI_URL).close()
    views._client.cache_clear()
