"""`--vqa` on the command line: samples with captions, whether somebody can be asked about them at all, and what is refused."""

import json

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import maestune
import vqa_models
from maestune.cli.features import features
from maestune.cli.score import score
from maestune.data import load_images
from maestune.errors import MetricError, SettingsError
from maestune.quality.features import learning
from maestune.quality.features.vqa_folder import read_vqa

app = typer.Typer()
app.command()(score)
WORDS = (
    "a dark picture",
    "a bright picture",
    "a picture whose left half is dark",
    "a picture whose right half is dark",
)
N = 24


def run(command, *arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], env={"COLUMNS": "120"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAESTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(
            learning, "MOST_SHOWN", 5000
        )  # extractors that have learnt little: nothing here rests on what they see
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    vqa_models.library()
    return vqa_models.llava(tmp_path_factory.mktemp("models") / "llava")


def _images(folder, n, seed):
    """Pictures of four kinds in colour, with what they show: its path and caption each."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    rows = []
    for i in range(n):
        pixels = rng.integers(0, 60, (16, 16, 3))
        kind = i % len(WORDS)
        half = (slice(None), slice(8, None), slice(None, 8))[kind - 1] if kind else slice(0)
        pixels[:, half] += 150
        caption = {1: WORDS[1], 2: WORDS[2], 3: WORDS[3]}.get(kind, WORDS[0])
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:03d}.png")
        rows.append((f"{i:03d}.png", caption))
    return rows


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Real pictures with captions, and samples with a table beside them."""
    root = tmp_path_factory.mktemp("score")
    real = _images(root / "real", 160, seed=0)
    (root / "real" / "captions.csv").write_text("file,caption\n" + "".join(f"{f},{c}\n" for f, c in real))
    asked = _images(root / "fake", N, seed=1)
    # Words that no real picture has are asked about as they are written.
    lines = [json.dumps({"file": f, "caption": f"{c}, like a Heffalump"}) for f, c in asked]
    (root / "asked.jsonl").write_text("\n".join(lines))
    return root / "real", root / "fake", root / "asked.jsonl"


def _expected(model, fake, asked):
    rows = [json.loads(line) for line in asked.read_text().splitlines()]
    read = read_vqa(model, "cpu")
    found = []
    for row in rows:
        question = f'Does this figure show "{row["caption"]}"? Please answer yes or no.'
        found.append(read.yes([Image.open(fake / row["file"])], [question])[0])
    return np.array(found)


def test_samples_are_asked_about_one_by_one_and_told_with_an_interval(folders, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    real, fake, asked = folders
    given = (
        "--real",
        real,
        "--fake",
        fake,
        "--prompts",
        asked,
        "--features",
        "random",
        "--vqa",
        model,
        "--device",
        "cpu",
    )
    told = json.loads(run(app, *given, "--metrics", "vqa_score,coverage", "--json").stdout)
    each = _expected(model, fake, asked)
    metric = told["metrics"]["vqa_score"]
    assert metric["value"] == pytest.approx(each.mean(), rel=1e-5)
    assert metric["low"] < metric["value"] < metric["high"]
    # An interval of a mean, not of a share: about as wide as the spread of single answers makes it.
    assert (metric["high"] - metric["low"]) / 2 == pytest.approx(2.07 * each.std(ddof=1) / np.sqrt(N), rel=0.5)
    assert 0 <= metric["floor"]["low"] <= metric["floor"]["value"] <= metric["floor"]["high"] <= 1
    assert (metric["axis"], metric["better"], metric["unit"]) == ("adherence", "higher", "")
    assert told["vqa"]["kind"] == "vqa"
    assert told["vqa"]["passed"] is False  # random weights
    assert "LlavaForConditionalGeneration" in told["vqa"]["description"]
    assert told["options"]["vqa"] == str(model)
    assert any("no more often than luck" in warning for warning in told["warnings"])
    assert any(note.startswith("About captions is asked") for note in told["notes"])


def test_without_names_it_stands_beside_the_others(folders, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    real, fake, asked = folders
    result = run(
        app,
        "--real",
        real,
        "--fake",
        fake,
        "--prompts",
        asked,
        "--features",
        "random",
        "--vqa",
        model,
        "--device",
        "cpu",
    )
    for name in ("vqa_score", "clip_like", "coverage"):
        assert name in result.stdout
    page = (tmp_path / "score.html").read_text()
    assert "vqa_score" in page
    assert f"--vqa {model}" in page


def test_from_python_the_same_and_another_model_is_another_score(folders, model, tmp_path):
    real, fake, asked = folders

    def scored(path):
        return maestune.score(
            str(real), str(fake), metrics=["vqa_score"], prompts=asked, features="random", vqa=path, device="cpu"
        )

    one = scored(model)
    assert one.scores["vqa_score"].value == pytest.approx(_expected(model, fake, asked).mean(), rel=1e-5)
    other = scored(vqa_models.blip2(tmp_path / "blip2"))
    assert one.vqa.fingerprint != other.vqa.fingerprint
    assert one.scores["vqa_score"] != other.scores["vqa_score"]
    assert one.feature_space.fingerprint == other.feature_space.fingerprint


def test_what_is_missing_is_told(folders, model, tmp_path):
    real, fake, asked = folders
    given = ("--real", real, "--fake", fake, "--features", "random")
    with pytest.raises(MetricError, match=r"nobody is asked about images.*--vqa FOLDER"):
        run(app, *given, "--prompts", asked, "--metrics", "vqa_score", "--json")
    with pytest.raises(SettingsError, match=r"asked for no captions.*--prompts FILE"):
        run(app, *given, "--vqa", model, "--json")
    with pytest.raises(SettingsError, match="nothing is no folder with"):
        run(app, *given, "--prompts", asked, "--vqa", tmp_path / "nothing", "--json")
    with pytest.raises(SettingsError, match="Device 'tpu:x'"):
        run(app, *given, "--prompts", asked, "--vqa", model, "--device", "tpu:x", "--json")


def test_features_check_says_whether_captions_are_told_apart(folders, model, monkeypatch):
    real, _, _ = folders
    given = ("check", real, "--features", "random", "--vqa", model, "--device", "cpu")
    told = json.loads(run(features, *given, "--json").stdout)["vqa"]
    assert set(told) == {"fingerprint", "description", "preferred", "passed"}
    assert told["passed"] is False
    result = run(features, *given)
    assert result.exit_code == 1
    assert "no more often than luck" in " ".join(result.stdout.split())
    data = load_images(str(real))
    own = {
        np.moveaxis(image.numpy(), 0, -1).tobytes(): data.vocabulary.decode(caption)
        for image, caption in zip(data.search.images, data.search.captions, strict=True)
    }

    def knowing(self, images, questions):
        shown = (own[np.asarray(image).tobytes()] for image in images)
        return np.array([0.9 if f'"{s}"' in q else 0.1 for s, q in zip(shown, questions, strict=True)])

    monkeypatch.setattr("maestune.quality.features.vqa_model.VqaModel.yes", knowing)
    told = json.loads(run(features, *given, "--json").stdout)["vqa"]
    assert (told["passed"], told["preferred"]) == (True, 1.0)
    assert json.loads(run(features, "check", real, "--features", "random", "--json").stdout)["vqa"] is None


def test_images_without_captions_cannot_be_asked_about(model):
    with pytest.raises(MetricError, match="has no captions that anything could be asked about"):
        run(features, "check", "digits", "--features", "random", "--vqa", model, "--device", "cpu")
