"""WSGI entry point of the demo site."""

from __future__ import annotations

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

# Serves static files itself, so the demo needs no web server in front. On a real site, use
# whitenoise, nginx or a CDN.
application = StaticFilesHandler(get_wsgi_application())
