"""The services of the app, re-exported."""

from __future__ import annotations

from .texts import Rewriter, exported, headline, listed, teaser

__all__ = ["Rewriter", "exported", "headline", "listed", "teaser"]
