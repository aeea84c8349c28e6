"""A page as one file: escaped and cleaned by construction, loading nothing, running no script but its own.

Scripts are named by their hashes in the page's Content Security Policy, so that a browser does not run a script which a text of
the data has brought into the page. Data for scripts travels as JSON in which nothing can close its element.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from maestune.plain_text import clean

_PAGE = Markup(
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta http-equiv="Content-Security-Policy" content="{}"><title>{}</title><style>{}</style></head>'
    "<body>{}{}{}</body></html>\n"
)


def document(
    title: str, styles: str, body: Markup | str, data: Mapping[str, Any] | None = None, scripts: Sequence[str] = ()
) -> str:
    """The whole page as text. `data`: values for the scripts by the ids of their elements; `styles` and `scripts` are our own."""
    scripts = [_as_parsed(script) for script in scripts]
    values = (
        Markup('<script type="application/json" id="{}">{}</script>').format(name, _json(value))
        for name, value in (data or {}).items()
    )
    code = Markup("").join(Markup("<script>{}</script>").format(Markup(script)) for script in scripts)
    shown = Markup(clean(Markup.escape(body)))
    return str(
        _PAGE.format(content_policy(scripts), clean(title), Markup(styles), shown, Markup("").join(values), code)
    )


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


def _as_parsed(script: str) -> str:
    """The text of a script as a browser reads it from a page, with which its hash must agree: line breaks are LF."""
    return script.replace("\r\n", "\n").replace("\r", "\n")


def _json(value: Any) -> Markup:
    text = json.dumps(_cleaned(value), allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))


def _cleaned(value: Any) -> Any:
    """The same data with every text cleaned, since a browser shows those of figures too."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(name): _cleaned(item) for name, item in value.items()}
    return [_cleaned(item) for item in value] if isinstance(value, list | tuple) else value


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
