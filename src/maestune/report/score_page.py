"""The page of a score: one self-contained file that works offline, needs no network and runs nothing at all.

Texts are escaped by construction: all HTML is `Markup`, and whatever else is put into it is escaped, names of files and samples
of text above all. The page has no scripts, and its own policy forbids them and loading anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from maestune.folder_files import replace_file
from maestune.quality.scoring.result import ScoreResult, versions
from maestune.report.document import document
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
        _section(
            "samples", "What to look at", *(pictures if result.modality == "image" else passages)(result.highlights)
        ),
        _how(result),
    ]
    styles = "".join(
        files("maestune.report").joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "score.css")
    )
    title = f"{view.headline} · {short(result.fake.source)} · maestune"
    heading = f"maestune · {short(result.fake.source)} against {short(result.real.source)}"
    body = Markup("<header><h1>{}</h1></header><main>{}</main>{}").format(
        heading, Markup("").join(sections), _footer(result)
    )
    return document(title, styles, body)


def _section(key: str, title: str, lead: str, body: str) -> Markup:
    lead = Markup('<p class="lead">{}</p>').format(lead) if lead else ""
    return Markup('<section id="{}" aria-labelledby="{}-title"><h2 id="{}-title">{}</h2>{}{}</section>').format(
        key, key, key, title, lead, body
    )


def _verdict(result: ScoreResult, view: ScoreView) -> Markup:
    tone = TONES[view.level] if view.level is not None else ""
    sentences = Markup("").join(Markup("<p>{}</p>").format(sentence) for sentence in view.sentences)
    facts = (
        ("Scored", f"{counted(result)} of {result.fake.found:,}"),
        ("Held against", f"{result.reference:,} held-out"),
        ("Feature extractor", result.feature_space.kind),
        ("Seed", str(result.seed)),
    )
    told = Markup("").join((Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(name, text) for name, text in facts))
    return Markup(
        '<section class="card verdict {}" id="verdict" aria-labelledby="verdict-title"><div class="word">'
        'score</div><h2 id="verdict-title">{}</h2>{}<dl class="facts">{}</dl></section>'
    ).format(tone, view.headline, sentences, told)


def _warnings(result: ScoreResult) -> Markup:
    told = Markup("").join(Markup("<p>{}</p>").format(text) for text in result.warnings)
    if not told:
        return told
    return Markup('<section class="card warning" aria-label="Warnings"><h3>Be careful</h3>{}</section>').format(told)


def _how(result: ScoreResult) -> Markup:
    real, fake, feature_space = result.real, result.fake, result.feature_space
    unit = "images" if result.modality == "image" else "characters"
    computed = [
        ("Real data", f"{real.source} ({real.found:,} {unit}, content {real.fingerprint})"),
        ("Reference", f"{result.reference:,} held-out, of the part that the finals of a campaign are scored on too"),
        ("Samples", f"{fake.source} ({fake.used:,} of {fake.found:,}, content {fake.fingerprint})"),
        ("Feature extractor", feature_space.description),
        ("Feature space", f"{feature_space.fingerprint}: values in another one, at another number of samples or against other real data are not comparable"),
    ]  # fmt: skip
    computed += [("Self-test", feature_space.sentence)] if feature_space.sentence else []
    cards = Markup("").join(
        (
            Markup('<div class="card"><h3>{}</h3><dl class="pairs">{}</dl></div>').format(title, _pairs(pairs))
            for title, pairs in (("What was held against what", computed), ("Versions", versions().items()))
        )
    )
    repeat = Markup('<p>To do it again:</p><pre class="folds" tabindex="0">{}</pre>').format(command(result))
    return _section("how", "How it was computed", "", Markup('{}<div class="columns">{}</div>').format(repeat, cards))


def _pairs(pairs: Iterable[tuple[str, str]]) -> Markup:
    return Markup("").join((Markup("<dt>{}</dt><dd>{}</dd>").format(name, text) for name, text in pairs))


def _footer(result: ScoreResult) -> Markup:
    citations = sources(each.metric.citation for each in result.measured if each.metric.citation)
    parts = [
        Markup('<h2 id="{}">{}</h2><ul class="plain">{}</ul>').format(
            title.lower(), title, Markup("").join(Markup("<li>{}</li>").format(t) for t in texts)
        )
        for title, texts in (("Notes", result.notes), ("Sources", citations))
        if texts
    ]
    return Markup("<footer>{}</footer>").format(Markup("").join(parts))
