"""Content Security Policy of a page: nothing is loaded, and only the page's own scripts run.

Scripts are named by their hashes, so that a script which a text of the data brings into the page is not run by the browser.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence


def content_policy(scripts: Sequence[str] = ()) -> str:
    """The policy of a page with these inline scripts; without any, no script runs at all.

    >>> content_policy(["draw()"]).split("; ")[3]
    "script-src 'sha256-jm3FkV4tNIdBUr8jRVVl5n9PUixlaxTWD0pdpFiSH5A='"
    """
    sources = " ".join(f"'sha256-{_digest(script)}'" for script in scripts) or "'none'"
    # Plotly sets styles of elements while it draws.
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {sources}; base-uri 'none'; form-action 'none'"
    )


def inline_script(text: str) -> str:
    """The text of a script as a browser reads it in a page, with which its hash must agree: line breaks are LF."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
