from __future__ import annotations

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

# Serves static files itself, so that the demo needs no web server beside it. A site of yours has
# whitenoise, nginx or a CDN for that.
application = StaticFilesHandler(get_wsgi_application())
