from __future__ import annotations

import re
from dataclasses import replace

from maestune.campaign.record import Finalist, Record
from maestune.report.metric_html import scores_section
from maestune.types import Score


def _with(record: Record, name: str, recipe: Score, best: Score) -> Record:
    """The record with these scores of its recipe and its best."""
    given = {record.finalists[0].trial: recipe, record.best: best}
    finalists: list[Finalist] = []
    for final in record.finalists:
        score = given.get(final.trial)
        finalists.append(final if score is None else replace(final, scores={**final.scores, name: score}))
    return replace(record, finalists=tuple(finalists))


def _bold(record: Record, label: str) -> list[str]:
    """Whose values are bold in a row of the table."""
    row = re.findall(rf'<tr><th scope="row">{label}</th>.*?</tr>', scores_section(record, []), re.DOTALL)[0]
    return re.findall(r'data-of="([^"]+)"><strong>', row)


def test_the_better_of_the_two_is_bold_where_intervals_do_not_meet(full: Record) -> None:
    low, high = Score(0.2, 0.1, 0.3), Score(0.6, 0.5, 0.7)
    assert _bold(_with(full, "precision", low, high), "Precision") == ["Best"]
    assert _bold(_with(full, "precision", high, low), "Precision") == ["Recipe"]
    assert _bold(_with(full, "modes_js", low, high), r"Class imbalance \(Jensen-Shannon\)") == ["Recipe"]
    assert _bold(_with(full, "precision", low, Score(0.35, 0.25, 0.45)), "Precision") == []
    assert _bold(_with(full, "precision", Score(0.2), Score(0.6)), "Precision") == [], "without intervals nobody knows"
    assert _bold(_with(full, "vendi", low, high), "Vendi score") == [], "more is not better"


def test_of_an_objective_the_verdict_says_which_is_better(full: Record) -> None:
    meeting = _with(full, "fd", Score(8.0, 7.0, 9.0), Score(7.2, 6.7, 7.5))
    assert _bold(meeting, "Fréchet distance") == ["Best"]
    worse = replace(meeting, verdicts=(replace(full.verdicts[0], decision="worse"),))
    assert _bold(worse, "Fréchet distance") == ["Recipe"]
    open_ = replace(meeting, verdicts=(replace(full.verdicts[0], decision="inconclusive"),))
    assert _bold(open_, "Fréchet distance") == []
