import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import CliRunner

import maestune
from maestune.campaign.settings import default_workers
from maestune.cli.score import score
from maestune.errors import DataError, MetricError, SettingsError, StoreError

app = typer.Typer()
app.command()(score)


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAESTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Real digits in class folders, and forty others as samples."""
    pixels, classes = load_digits(return_X_y=True)
    images = (pixels / 16 * 255).round().astype(np.uint8).reshape(-1, 8, 8)
    root = tmp_path_factory.mktemp("score")
    for i, (image, label) in enumerate(zip(images, classes, strict=True)):
        folder = root / "fake" if i % 45 == 0 else root / "real" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i:04d}.png")
    return root / "real", root / "fake"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_table_and_a_page_are_what_one_gets(folders, here):
    real, fake = folders
    result = run("--real", real, "--fake", fake, "--metrics", "fd, coverage", "--metrics", "modes")
    for text in ("fd", "coverage", "modes", "Realism", "Diversity", "page: score.html", "held against"):
        assert text in result.stdout
    assert "Measuring" in result.stderr
    page = (here / "score.html").read_text()
    assert "Fréchet distance" in page
    assert f"--real {real}" in page


def test_json_is_the_only_thing_on_stdout_and_no_page_is_written(folders, here):
    real, fake = folders
    result = run("--real", real, "--fake", fake, "--metrics", "fd,recall", "--json")
    data = json.loads(result.stdout)
    assert list(data["metrics"]) == ["fd", "recall"]
    assert data["fake"]["used"] == len(list(fake.iterdir()))
    assert data["options"] == {"metrics": "fd,recall"}
    assert list(here.iterdir()) == []
    assert run("--real", real, "--fake", fake, "--metrics", "fd,recall", "--json").stdout == result.stdout


def test_a_page_can_go_with_the_json(folders, here):
    real, fake = folders
    run("--real", real, "--fake", fake, "--metrics", "fd", "--json", "--out", "pages/one.html")
    assert (here / "pages" / "one.html").is_file()


def test_python_tells_the_same_numbers(folders, here):
    real, fake = folders
    data = json.loads(run("--real", real, "--fake", fake, "--metrics", "fd", "--json").stdout)
    result = maestune.score(real, fake, metrics=["fd"], out=here / "page.html")
    assert isinstance(result, maestune.ScoreResult)
    assert result.scores["fd"].value == data["metrics"]["fd"]["value"]
    assert {**result.to_dict(), "options": {}} == {**data, "options": {}}
    assert (here / "page.html").is_file()
    with pytest.raises(AttributeError):
        result.seed = 3


def test_workers_are_as_many_as_asked_for_and_change_nothing(folders, here, monkeypatch):
    real, fake = folders
    asked = []
    scored = maestune.api.score_samples

    def counting(*given, workers, **more):
        asked.append(workers)
        return scored(*given, workers=workers, **more)

    monkeypatch.setattr("maestune.api.score_samples", counting)
    told = [
        run("--real", real, "--fake", fake, "--metrics", "fd,coverage", "--json", *more).stdout
        for more in ((), ("--workers", 1), ("--workers", 3))
    ]
    assert asked == [default_workers("cpu"), 1, 3]
    assert told[0] == told[1] == told[2]


def test_networks_look_where_they_are_asked_to(folders, here, monkeypatch):
    real, fake = folders
    asked = []

    def on(extractor, device):
        asked.append((extractor.kind, device))
        return extractor

    monkeypatch.setattr("maestune.quality.features.extractor.Extractor.on", on)
    monkeypatch.setattr("maestune.api.resolve_device", lambda text: f"what {text} is")
    for more in ((), ("--device", "cuda:1")):
        run("--real", real, "--fake", fake, "--metrics", "fd", "--json", *more)
    assert asked[1] == ("random", "what auto is"), "the second opinion too"
    assert [device for _, device in asked] == ["what auto is"] * 2 + ["what cuda:1 is"] * 2


def test_a_device_is_named_as_it_is_for_tune(folders, here):
    real, fake = folders
    plain, told = (
        run("--real", real, "--fake", fake, "--metrics", "fd", "--json", *more).stdout
        for more in ((), ("--device", "cpu"))
    )
    told, plain = (json.loads(text)["metrics"]["fd"]["value"] for text in (told, plain))
    assert told == pytest.approx(plain, rel=1e-3)  # within rounding, where there is a GPU
    for device, says in (("abacus", "'abacus' is not understood"), ("cuda:99", "CUDA device")):
        with pytest.raises(SettingsError, match=says):
            run("--real", real, "--fake", fake, "--metrics", "fd", "--json", "--device", device)


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        (["--metrics", "fid"], MetricError, "Did you mean fd"),
        (["--samples", "3"], SettingsError, "at least 12"),
        (["--out", "page.pdf"], SettingsError, "ends in .html"),
        (["--prompts", "nowhere.csv"], DataError, "cannot be read"),
        (["--features", "sll"], SettingsError, "Did you mean ssl"),
    ],
)
def test_errors_name_the_repair(folders, here, more, error, said):
    real, fake = folders
    with pytest.raises(error, match=said):
        run("--real", real, "--fake", fake, *more)
    assert list(here.iterdir()) == []


def test_a_page_that_cannot_be_written_is_told(folders, here):
    real, fake = folders
    (here / "file").write_text("")
    with pytest.raises(StoreError, match="Give another --out"):
        maestune.score(real, fake, metrics=["fd"], out=here / "file" / "page.html")
    with pytest.raises(SettingsError, match="a folder"):
        run("--real", real, "--fake", fake, "--out", here)


def test_names_of_files_are_never_read_as_markup(folders, here, tmp_path_factory):
    real, fake = folders
    folder = tmp_path_factory.mktemp("[bold]red[") / "[link=x]\x1b[31m"
    folder.mkdir()
    for path in fake.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "[blink]broken\x07.png").write_bytes(b"")
    result = run("--real", real, "--fake", folder, "--metrics", "fd")
    assert "[blink]broken" in result.stdout
    assert "\x1b[31m" not in result.stdout + result.stderr
    assert "\x07" not in result.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_ctrl_c_ends_it_cleanly(folders, here):
    real, fake = folders
    code = (
        "import signal, typer\n"
        # A shell that runs the tests in the background has them ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from maestune.cli.score import score\n"
        "app = typer.Typer(pretty_exceptions_enable=False)\n"
        "app.command()(score)\n"
        "app()\n"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", code, "--real", real, "--fake", fake],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=here,
    )  # fmt: skip
    assert started.stderr is not None
    line = started.stderr.readline()
    assert "Reading" in line
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=120)
    assert started.returncode == 130
    assert "Traceback" not in err
    assert "stopped; nothing was written" in err
    assert out == ""
    assert list(Path(here).iterdir()) == []
