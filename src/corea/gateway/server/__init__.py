"""The server process: `serve` (start, reload, drain), `connection` (limits of the wire), `app` (ASGI routes)."""
