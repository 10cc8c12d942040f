from __future__ import annotations

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

# As in wsgi.py: static files without another server.
application = ASGIStaticFilesHandler(get_asgi_application())
