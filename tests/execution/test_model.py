import pytest

from maestune.errors import SettingsError
from maestune.execution.model import family, load_own, own_model_name


def write(tmp_path, text):
    path = tmp_path / "mine.py"
    path.write_text(text)
    return path


SPACE = "from maestune import Float, Space\nspace = Space((Float('lr', 0.1, 1.0),))\n"


def test_a_file_says_what_it_needs(tmp_path):
    path = write(
        tmp_path,
        SPACE + "data = 'digits'\nobjective = ['fd', 'coverage']\nfull_steps = 7\ndef train(config, run): yield\n",
    )
    own = load_own(f"{path}:train")
    assert (own.data, own.objectives, own.full_steps, own.generate) == ("digits", ("fd", "coverage"), 7, None)
    assert load_own(str(path)).training.__name__ == "train"


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        (SPACE + "def trian(config, run): yield\n", "train", "no function 'train'.*trian"),
        ("def train(config, run): yield\n", "train", "no `space`"),
        ("def train(:", "train", "cannot be loaded: SyntaxError"),
        ("import not_there_at_all", "train", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_files_that_lack_something(tmp_path, text, name, says):
    with pytest.raises(SettingsError, match=says):
        load_own(f"{write(tmp_path, text)}:{name}")


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(SettingsError, match="No file"):
        load_own(str(tmp_path / "none.py:train"))
    with pytest.raises(SettingsError, match="Did you mean gan"):
        family("gam")


def test_names_of_trainings():
    assert own_model_name(test_names_of_trainings).endswith("test_model.py:test_names_of_trainings")
    assert own_model_name(lambda config, run: iter(())) is None
