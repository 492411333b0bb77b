"""Nodes of one cluster that share one state, as the routes' own tests have them."""

from __future__ import annotations

from tests.http.conftest import site, start_site

__all__ = ["site", "start_site"]
