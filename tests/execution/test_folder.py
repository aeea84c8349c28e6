import math

import plotly.graph_objects as go
import pytest
import torch
from PIL import Image

from maestune.errors import CheckpointError
from maestune.execution.artifacts import draw, real_picture
from maestune.execution.folder import check_owner, exhibit_path
from maestune.execution.jobs import Identity
from maestune.report.charts import scale_y
from maestune.report.html_parts import PICTURE_PIXELS, picture_uri
from maestune.types import Config


@pytest.mark.parametrize("shape", [(64, 3, 700, 700), (64, 3, 40, 3000), (64, 1, 3000, 40)])
def test_grids_of_large_images_are_small_enough_for_the_report(tmp_path, shape):
    real = torch.zeros(shape, dtype=torch.uint8)
    real_picture(real, tmp_path / "real.png")
    draw(torch.zeros(shape), tmp_path / "samples.png")
    for name in ("real.png", "samples.png"):
        with Image.open(tmp_path / name) as image:
            assert image.width * image.height < PICTURE_PIXELS
            assert max(image.size) <= 1024 + 7  # a pixel between the images
        assert picture_uri(tmp_path, tmp_path / name).startswith("data:image/")


@pytest.mark.parametrize("name", ["samples/grid", "../../evil", "a\nb", "x" * 500, "..", "", "a\0b"])
def test_an_exhibit_of_any_name_is_a_file_in_its_folder(tmp_path, name):
    path = exhibit_path(tmp_path, name, 3)
    path.write_bytes(b"")
    assert path.parent == tmp_path
    assert path.name.startswith("exhibit-")


def test_an_axis_of_the_greatest_numbers_has_labels():
    figure = go.Figure()
    scale_y(figure, [5e-324, 1.0, 1.7e308])
    assert all(0 < tick < math.inf for tick in figure.layout.yaxis.tickvals)


@pytest.mark.parametrize(
    "saved",
    [
        {"identity": "text", "state": {}},
        {"identity": [1], "state": {}},
        {"identity": None},
        {"identity": None, "state": {}, "watched": 5},
        {"identity": None, "state": {}, "watched": {}},
    ],
)
def test_a_checkpoint_of_another_shape_is_damaged(tmp_path, saved):
    with pytest.raises(CheckpointError, match="damaged"):
        check_owner(tmp_path / "c", saved, Identity("", 1, Config.of(x=1.0), 0))


@pytest.mark.parametrize("state", [{}, [1, 2.0], (1,), 5, "x", None, torch.zeros(2)])
def test_a_training_may_keep_any_state(tmp_path, state):
    owner = Identity("c", 1, Config.of(x=1.0), 0)
    check_owner(tmp_path / "c", {"identity": owner.to_dict(), "state": state}, owner)
