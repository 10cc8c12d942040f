"""ASGI entry point of the demo site."""

from __future__ import annotations

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

# Serves static files too: see wsgi.py.
application = ASGIStaticFilesHandler(get_asgi_application())
