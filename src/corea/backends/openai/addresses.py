"""URLs in settings, checked completely when they are read and not at the first call."""

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from corea.errors import ConfigError
from corea.secrets import shown, shown_url

EXAMPLE = "a URL such as http://localhost:8000/v1"
NO_PART_OF_A_URL = re.compile(r"[\x00-\x20\x7f\\\\<>\"`{}|^]")
HOST = re.compile(r"[\w.-]+")


def split_url(name: str, url: str) -> SplitResult:
    """The parts of the http(s) URL in the setting `name`.

    Raises:
        ConfigError: No request can be sent there. The message contains neither a user nor a key.
    """
    parts, fault = _split(url)
    if parts is None:
        raise ConfigError(f"{name}: got {shown(shown_url(url))}, expected {fault}")
    return parts


def _split(url: str) -> tuple[SplitResult | None, str]:
    """The parts, or None and what is expected. The caller raises, without frames of another library."""
    if NO_PART_OF_A_URL.search(url):
        return None, f"{EXAMPLE}, without spaces or characters that no URL has"
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return None, f"{EXAMPLE}; write an IPv6 address in brackets, such as http://[::1]:8000/v1"
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https") or not host:
        return None, EXAMPLE
    if port == 0 or parts.netloc.endswith(":"):
        return None, f"{EXAMPLE}, its port a whole number from 1 to 65535"
    if not _is_host(host, bracketed="[" in parts.netloc):
        return None, f"{EXAMPLE}, with the name or IP address of a host"
    return parts, ""


def _is_host(host: str, *, bracketed: bool) -> bool:
    try:
        if bracketed:
            return ip_address(host).version == 6
        host.encode("idna")  # labels of 1 to 63 characters
    except ValueError:
        return False
    return HOST.fullmatch(host) is not None and len(host) <= 253
