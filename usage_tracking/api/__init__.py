"""The REST API, for sites that have the extra `api`: the only place that knows its packages.

A site mounts it with `path("api/v1/ai/", include("usage_tracking.api.urls"))`.
"""
