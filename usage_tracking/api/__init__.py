"""The REST API. It needs the extra `api`; no other part of the package imports REST framework.

Mount it with `path("api/v1/ai/", include("usage_tracking.api.urls"))`.
"""
