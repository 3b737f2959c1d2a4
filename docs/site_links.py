"""A hook of mkdocs: links to files of the repository beside docs/ become their paths, as the site has no such files."""

import re
from typing import Any

OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)[^)]*\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page's text as the site shows it."""
    return OUTSIDE.sub(r"\1 (`\2` in the repository)", markdown)
