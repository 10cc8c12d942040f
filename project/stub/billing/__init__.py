"""What the stub bills, and the admin APIs of the providers that say so."""

from __future__ import annotations
