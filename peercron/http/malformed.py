"""Requests that are no HTTP: whoever sends one is answered 400, and that is no defect of ours with a traceback."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp.http import HttpProcessingError

log = logging.getLogger(__name__)


class _Malformed(logging.Filter):
    """Says of a request that cannot be read in one quiet line what aiohttp would say in a traceback; the rest stays."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError) or error.code >= 500:
            return True
        log.debug("request_malformed", extra={"reason": type(error).__name__})
        return False


#: What aiohttp's server logs to.
SERVER_LOG: Final = logging.getLogger(f"{__name__}.server")
SERVER_LOG.addFilter(_Malformed())
