"""Whether a document is an HTML page, whose markup a model would learn as text."""

from __future__ import annotations

import re

# As HTML's own rules have it: white space, an XML declaration and comments may stand before the page.
BEGINS_PAGE = re.compile(
    r"(?:[\s\ufeff]|<\?xml[^>]*>|<!--.*?-->)*+<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL
)


def is_html(text: str) -> bool:
    """Whether a document begins as an HTML page."""
    return BEGINS_PAGE.match(text) is not None
