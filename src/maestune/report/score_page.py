"""The page of a score: one self-contained file that works offline, needs no network and runs nothing at all.

Every text is escaped where it is put into the page (`escape`), names of files and samples of text above all. The page has no
scripts, and its own policy forbids them and loading anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from maestune.execution.folder_files import replace_file
from maestune.quality.scoring.result import ScoreResult, versions
from maestune.report.formats import escape
from maestune.report.policy import content_policy
from maestune.report.score_samples import passages, pictures, short
from maestune.report.score_tables import classes_bars, measures_table
from maestune.report.score_views import ScoreView, command, counted, score_view
from maestune.report.sources import sources

TONES = ("better", "better", "inconclusive", "worse")


def render_score(result: ScoreResult, path: Path) -> Path:
    """Write the page of a score and return its path. Written whole or not at all; raises OSError when it cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, score_page(result))
    return path


def score_page(result: ScoreResult) -> str:
    """The whole page as text."""
    view = score_view(result)
    sections = [
        _verdict(result, view),
        _warnings(result),
        _section("scores", "Scores", *measures_table(view)),
        _section("classes", "Classes", *classes_bars(result.classes)) if result.classes is not None else "",
        _section("samples", "What to look at", *(pictures if result.modality == "image" else passages)(result.shown)),
        _how(result),
    ]
    styles = "".join(
        files("maestune.report").joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "score.css")
    )
    title = f"{view.headline} · {short(result.fake.source)} · maestune"
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{content_policy()}">'
        f"<title>{escape(title)}</title><style>{styles}</style>"
    )
    heading = f"maestune · {short(result.fake.source)} against {short(result.real.source)}"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body><header><h1>{escape(heading)}</h1></header>'
        f"<main>{''.join(sections)}</main>{_footer(result)}</body></html>\n"
    )


def _section(key: str, title: str, lead: str, body: str) -> str:
    lead = f'<p class="lead">{lead}</p>' if lead else ""
    return f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{title}</h2>{lead}{body}</section>'


def _verdict(result: ScoreResult, view: ScoreView) -> str:
    tone = TONES[view.level] if view.level is not None else ""
    sentences = "".join(f"<p>{escape(sentence)}</p>" for sentence in view.sentences)
    facts = (
        ("Scored", f"{counted(result)} of {result.fake.found:,}"),
        ("Held against", f"{result.reference:,} held-out"),
        ("Judge's eyes", result.sight.kind),
        ("Seed", str(result.seed)),
    )
    told = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in facts)
    return (
        f'<section class="card verdict {tone}" id="verdict" aria-labelledby="verdict-title"><div class="word">score</div>'
        f'<h2 id="verdict-title">{escape(view.headline)}</h2>{sentences}<dl class="facts">{told}</dl></section>'
    )


def _warnings(result: ScoreResult) -> str:
    told = "".join(f"<p>{escape(text)}</p>" for text in result.warnings)
    return f'<section class="card warning" aria-label="Warnings"><h3>Be careful</h3>{told}</section>' if told else ""


def _how(result: ScoreResult) -> str:
    real, fake, sight = result.real, result.fake, result.sight
    unit = "images" if result.modality == "image" else "characters"
    computed = [
        ("Real data", f"{real.source} ({real.found:,} {unit}, content {real.fingerprint})"),
        ("Reference", f"{result.reference:,} held-out, of the part that the finals of a campaign are scored on too"),
        ("Samples", f"{fake.source} ({fake.used:,} of {fake.found:,}, content {fake.fingerprint})"),
        ("Judge's eyes", sight.description),
        ("Feature space", f"{sight.fingerprint}: values in another one, at another number of samples or against other real data are not comparable"),
    ]  # fmt: skip
    computed += [("Self-test", sight.sentence)] if sight.sentence else []
    cards = "".join(
        f'<div class="card"><h3>{title}</h3><dl class="pairs">{_pairs(pairs)}</dl></div>'
        for title, pairs in (("What was held against what", computed), ("Versions", versions().items()))
    )
    repeat = f'<p>To do it again:</p><pre class="folds" tabindex="0">{escape(command(result))}</pre>'
    return _section("how", "How it was computed", "", f'{repeat}<div class="columns">{cards}</div>')


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs)


def _footer(result: ScoreResult) -> str:
    citations = sources(each.metric.citation for each in result.measured if each.metric.citation)
    parts = [
        f'<h2 id="{title.lower()}">{title}</h2><ul class="plain">{"".join(f"<li>{escape(t)}</li>" for t in texts)}</ul>'
        for title, texts in (("Notes", result.notes), ("Sources", citations))
        if texts
    ]
    return f"<footer>{''.join(parts)}</footer>"
