"""The sections of the report on the search: how it got there, how trainings went, and why."""

from __future__ import annotations

from markupsafe import Markup

from maestune.campaign.record import Record
from maestune.report import curve_figures, figures, reason_figures
from maestune.report.charts import Chart
from maestune.report.comparing import best_name, decisive
from maestune.report.front_views import pareto_view
from maestune.report.history_views import finals_view, history_view
from maestune.report.html_parts import plots, section
from maestune.report.importance_views import ImportanceView
from maestune.report.slice_views import slice_views
from maestune.report.training_views import CurvesView


def history_section(record: Record, charts: list[Chart]) -> Markup:
    """The objective over trials and time, finals and front; adds its figures to the drawings."""
    view = history_view(record)
    if not view.points:
        return section("history", "How it got there", "", Markup("<p>No trial has a score yet.</p>"))
    shown = [figures.history(view)]
    if any(trial.clock_seconds for trial in record.search_trials):
        shown.append(figures.history(history_view(record, "seconds")))
    pareto, finals = pareto_view(record), finals_view(record)
    if finals is not None:
        shown.append(figures.finals(finals))
    if pareto is not None:
        shown.append(figures.pareto(pareto))
    charts += shown
    return section("history", "How it got there", "", plots(shown))


def curves_section(record: Record, view: CurvesView, charts: list[Chart]) -> Markup:
    """Learning curves; adds its figures to the drawings."""
    shown = curve_figures.curves(view, decisive(record))
    if not shown:
        return section("curves", "How they trained", "", Markup("<p>No training has reported yet.</p>"))
    charts += shown
    notes = Markup("").join(
        Markup("<li>trial {}: {}</li>").format(curve.number, note)
        for curve in view.curves
        for note in (*curve.notes[-5:], *curve.problems)
    )
    notes = Markup('<ul class="plain">{}</ul>').format(notes) if notes else ""
    lead = f"Green is the {best_name(record)}, orange the recipe, vermilion one that went wrong or was stopped."
    return section("curves", "How they trained", lead, plots(shown) + notes)


def reasons_section(record: Record, view: ImportanceView, charts: list[Chart]) -> Markup:
    """Importance of the parameters, and slices; adds its figures to the drawings."""
    parts: list[str] = []
    if view.why_not:
        parts.append(Markup("<p>{}</p>").format(view.why_not))
    else:
        shown = reason_figures.importance(view)
        charts.append(shown)
        parts.append(plots([shown]))
    slices = reason_figures.slices(slice_views(record, view))
    charts += slices
    if slices:
        caption = reason_figures.SLICES_CAPTION.format(best=best_name(record))
        parts.append(Markup('<p class="lead apart">{}</p>{}').format(caption, plots(slices)))
    return section("reasons", "Why", "", Markup("").join(parts))
