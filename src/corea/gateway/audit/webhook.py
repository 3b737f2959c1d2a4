"""Posts an alarm to the operator's URL."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from corea.gateway.asgi import encode_json

log: logging.Logger = logging.getLogger("corea.gateway")
WAITS = (1.0, 4.0, 16.0, 64.0)  # seconds before the second and later attempts


async def post_alarm(url: str, alarm: Mapping[str, Any], *, seconds: float) -> bool:
    """Posts an alarm as JSON; True once a server has taken it (a status below 300).

    The URL may hold a secret, so that the log names its host alone.

    Args:
        seconds: Time limit of one attempt.
    """
    host, why = urlsplit(url).hostname, ""
    for wait in (0.0, *WAITS):
        await asyncio.sleep(wait)
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds)) as session,
                session.post(url, data=encode_json(alarm), headers={"content-type": "application/json"}) as response,
            ):
                if response.status < 300:
                    return True
                why = f"status {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = type(error).__name__
    log.error("the alarm could not be posted to gateway.audit.webhook at %s: %s, %d times", host, why, len(WAITS) + 1)
    return False
