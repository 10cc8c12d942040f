"""Settings of the minimal benchmark site with the API and REST framework's own tokens."""

from __future__ import annotations

from benchmarks.settings import *
from benchmarks.settings import INSTALLED_APPS as BARE

INSTALLED_APPS = [*BARE, "rest_framework", "rest_framework.authtoken"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
