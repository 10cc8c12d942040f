from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

if prompt := os.environ.get("CALL_AT_START"):
    # Under --preload this is the master, which forks with the outbox open.
    from tests.views import ask

    ask(prompt)
