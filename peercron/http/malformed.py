"""Requests that are no HTTP, or break off: no defect of ours with a traceback.

Whoever sends what is no HTTP is answered 400 in plain text: aiohttp answers before any of our code is asked, and has no
place to put another answer in. What it lets pass is answered by us, as every error is.
"""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web
from aiohttp.http import HttpProcessingError

log = logging.getLogger(__name__)


class _Malformed(logging.Filter):
    """Says of a request that cannot be read, or whose sender has gone, in one quiet line what aiohttp would say in a
    traceback; the rest stays.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError | web.RequestPayloadError | ConnectionError):
            return True
        if isinstance(error, HttpProcessingError) and error.code >= 500:
            return True
        log.debug("request_malformed", extra={"reason": type(error).__name__})
        return False


#: What aiohttp's server logs to.
SERVER_LOG: Final = logging.getLogger(f"{__name__}.server")
SERVER_LOG.addFilter(_Malformed())
