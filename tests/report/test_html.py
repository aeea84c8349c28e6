from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import records
from markupsafe import escape
from PIL import Image
from plotly.offline import get_plotlyjs

from maestune.campaign.record import Record
from maestune.report import html
from maestune.report.document import content_policy
from maestune.types import Objective

TWO = (Objective("fd"), Objective("coverage", higher_is_better=True))
VOID = {"meta", "img", "br", "input", "line", "circle"}
CASES: dict[str, Callable[[Path], Record]] = {
    "finished": records.build,
    "two objectives": lambda folder: records.build(folder, objectives=TWO, decision="inconclusive"),
    "under way": lambda folder: records.build(folder, n=9, finals=False),
    "just begun": records.empty,
    "all diverged": records.all_diverged,
}


class Page(HTMLParser):
    """What a browser would see: elements with attributes, balance of tags, ids, text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)


@pytest.fixture(scope="module", params=CASES)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page without plotly's own code, which is not ours to judge and long to parse."""
    text = html.page(CASES[request.param](tmp_path_factory.mktemp("campaign")))
    assert text.count(get_plotlyjs()) == 1
    assert len(text.encode()) < 7_000_000
    return text.replace(get_plotlyjs(), "")


@pytest.fixture(scope="module")
def full_page(full: Record) -> str:
    return html.page(full)


def test_every_page_is_well_formed_and_loads_nothing(page: str) -> None:
    parsed = Page(page)
    assert parsed.open == []
    for tag, attributes in parsed.elements:
        for name in ("src", "href", "action", "data", "srcset"):
            value = attributes.get(name) or ""
            assert value == "" or value.startswith(("data:image/", "#")), (tag, value)
        assert not any(name.startswith("on") for name in attributes)
    policy = [a for t, a in parsed.elements if a.get("http-equiv") == "Content-Security-Policy"]
    directives = dict(part.split(" ", 1) for part in (policy[0]["content"] or "").split("; "))
    assert directives["default-src"] == "'none'"
    assert re.fullmatch(r"'sha256-\S+' 'sha256-\S+'", directives["script-src"])
    assert "unsafe-eval" not in page
    ids = [a["id"] for _, a in parsed.elements if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"] for _, a in parsed.elements if a.get("href")]
    assert {str(link).removeprefix("#") for link in links} <= set(ids)


def test_every_page_can_be_read_aloud(page: str) -> None:
    parsed = Page(page)
    images = [a for t, a in parsed.elements if t == "img"]
    assert all(a.get("alt") for a in images)
    heads = [int(t[1]) for t, _ in parsed.elements if re.fullmatch(r"h[1-6]", t)]
    assert heads[0] == 1
    assert heads.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(heads))
    labelled = {a.get("for") for t, a in parsed.elements if t == "label"}
    assert all(a["id"] in labelled for t, a in parsed.elements if t in ("input", "select"))


def test_hostile_text_is_never_markup(page: str) -> None:
    assert "evil.example" in page
    assert "<script>alert" not in page
    assert "<img src=http" not in page
    assert "\x1b" not in page
    parsed = Page(page)
    # Two of data, plotly, and the page's own; nothing that data could have opened.
    assert sum(tag == "script" for tag, _ in parsed.elements) == 4
    assert not any(
        "evil" in (value or "") for _, a in parsed.elements for n, value in a.items() if n in ("src", "href")
    )


def test_hostile_names_are_never_markup_in_figures(full_page: str) -> None:
    script = re.findall(r'<script type="application/json" id="drawings">(.*?)</script>', full_page, re.DOTALL)[0]
    assert "<" not in script
    charts = json.loads(script)
    for key, figure in charts.items():
        texts = json.dumps(figure)
        assert "<script" not in texts, key
        assert "<b>" not in texts, key
        assert "<name" not in texts, key


def test_the_page_shows_everything_that_was_promised(full_page: str) -> None:
    text = full_page.replace(get_plotlyjs(), "")
    for key in (
        "verdict",
        "pictures",
        "scores",
        "history",
        "curves",
        "reasons",
        "trials",
        "configuration",
        "environment",
    ):
        assert f'id="{key}"' in text
    charts = json.loads(Page(text).scripts[1])
    wanted = {"history-trial", "history-seconds", "finals", "importance", "curves-losses", "curves-grad-norms"}
    assert wanted <= set(charts)
    assert "scores-fd" in charts
    assert sum(key.startswith("slice-") for key in charts) == 6
    assert text.count("data:image/png;base64,") == 6  # real, recipe, best, three over training
    assert text.count("<tr data-state=") == 55
    assert "What changed most" in text
    assert "Radford et al. 2016" in text
    assert "lr&#34; = " in text or "lr = " in text


def test_every_large_figure_says_how_to_read_it(full: Record) -> None:
    text = html.page(replace(full, objectives=TWO))
    blocks = re.findall(r'<figure class="card[^>]*>.*?</figure>', text, re.DOTALL)
    large = [b for b in blocks if "min-height:260px" not in b]
    assert len(large) >= 7
    assert all(re.search(r"<figcaption>\S.*\.</figcaption>", b, re.DOTALL) for b in large)


def test_the_recipe_alone_as_best_is_a_page(folder: Path) -> None:
    assert "it is the starting recipe" in html.page(replace(records.build(folder, n=9, finals=False), best=0))


def test_large_pictures_are_made_smaller(folder: Path) -> None:
    record = records.build(folder, n=2, finals=False)
    noise = np.random.default_rng(0).integers(0, 256, (1300, 1300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "real.png")
    assert (folder / "real.png").stat().st_size > 4_000_000
    text = html.page(record)
    assert "data:image/jpeg;base64," in text
    assert len(text.encode()) < 7_000_000


def test_render_writes_whole_or_not_at_all(tmp_path: Path) -> None:
    record = records.all_diverged(tmp_path / "campaign")
    path = tmp_path / "report.html"
    path.write_text("old")
    assert html.render(record, path) == path
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(OSError, match="missing"):
        html.render(record, tmp_path / "missing" / "report.html")


def test_the_same_record_gives_the_same_page(full: Record, full_page: str) -> None:
    assert html.page(full) == full_page


PROBE = """addEventListener("load", () => {
  const table = document.querySelector("table.trials"), out = {};
  const numbers = () => [...table.tBodies[0].rows].filter((r) => !r.hidden).map((r) => Number(r.cells[0].dataset.v));
  const click = (i) => table.tHead.rows[0].cells[i].querySelector("button").click();
  click(3); out.up = numbers(); click(3); out.down = numbers();
  const state = document.getElementById("filter-state");
  state.value = "diverged"; state.dispatchEvent(new Event("change")); out.diverged = numbers();
  state.value = ""; const words = document.getElementById("filter-words");
  words.value = "SIGNAL 9"; words.dispatchEvent(new Event("input")); out.words = numbers();
  out.plots = document.querySelectorAll(".plot svg.main-svg").length > 0
    && [...document.querySelectorAll(".plot")].every((p) => p.querySelector("svg.main-svg"));
  const pre = document.createElement("pre"); pre.id = "probe"; pre.textContent = JSON.stringify(out);
  document.body.append(pre);
});"""


def dumped(text: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The page after Chromium without a network has run it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    path = folder / "report.html"
    path.write_text(text)
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0"]
    command += [f"--user-data-dir={folder / 'profile'}", *options]
    command += ["--virtual-time-budget=8000", "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_without_network_draws_and_sorts(full: Record, full_page: str, tmp_path: Path, dark: bool) -> None:
    probed = full_page.replace("</body>", f"<script>{PROBE}</script></body>")
    scripts = [get_plotlyjs(), html.asset("page.js")]
    own, wider = escape(content_policy(scripts)), escape(content_policy([*scripts, PROBE]))
    assert probed.count(own) == 1
    probed = probed.replace(own, wider)
    done = dumped(probed, tmp_path, f"--blink-settings=preferredColorScheme={0 if dark else 1}")
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    out = json.loads(found[1])
    assert out["plots"]
    scored = sorted((s.value, t.number) for t in full.trials if (s := t.score("fd")) is not None)
    order = [number for _, number in scored]
    assert out["up"][: len(order)] == order
    assert out["down"][: len(order)] == order[::-1]  # those without a score stay at the end
    assert set(out["diverged"]) == {t.number for t in full.trials if str(t.state) == "diverged"}
    assert out["words"] == [7]


@pytest.mark.browser
def test_a_browser_runs_no_script_but_the_two_of_the_page(full_page: str, tmp_path: Path) -> None:
    injected = "<script>document.title='PWNED'</script><img src=x onerror=\"document.title='PWNED'\"></body>"
    done = dumped(full_page.replace("</body>", injected), tmp_path)
    assert "main-svg" in done.stdout
    assert "<title>PWNED" not in done.stdout
    assert "Content Security Policy" in done.stderr
