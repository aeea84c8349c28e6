from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maestune.data import ImageData, load_images
from maestune.data.folder import SUFFIXES, read_folder
from maestune.errors import DataError

RNG = np.random.default_rng(7)


def noise(height: int = 8, width: int = 8, channels: int = 1) -> Image.Image:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8))


def write_images(folder: Path, n: int, suffix: str = ".png", **kind: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        noise(**kind).save(folder / f"{i:04d}{suffix}")


def truncate(path: Path, n_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:n_bytes])


def parts(data: ImageData):
    return (data.train, data.search, data.report)


def all_images(data: ImageData) -> set[bytes]:
    return {image.numpy().tobytes() for part in parts(data) for image in part.images}


def test_flat_folder_has_no_labels_and_keeps_every_pixel(tmp_path: Path) -> None:
    write_images(tmp_path, 80)
    data = load_images(tmp_path)
    assert data.shape == (1, 8, 8)
    assert not data.labelled
    assert data.class_names == ()
    assert (data.skipped, data.note) == ((), "")
    assert sum(map(len, parts(data))) == 80
    assert all_images(data) == {np.asarray(Image.open(p)).tobytes() for p in tmp_path.iterdir()}
    assert all(part.images.dtype == torch.uint8 and part.images.is_contiguous() for part in parts(data))


def test_class_folders_are_labels_in_sorted_order(tmp_path: Path) -> None:
    for value, name in ((10, "zebra"), (200, "ant"), (100, "mole")):
        for i in range(30):
            (tmp_path / name / "deeper").mkdir(parents=True, exist_ok=True)
            image = Image.new("L", (8, 8), value)
            image.putpixel((i % 8, i // 8), 255)
            image.save(tmp_path / name / ("deeper" if i % 2 else "") / f"{i}.png")
    data = load_images(tmp_path)
    assert data.class_names == ("ant", "mole", "zebra")
    expected = {200: 0, 100: 1, 10: 2}
    for part in parts(data):
        assert part.labels is not None
        assert part.labels.dtype == torch.int64
        assert [expected[int(v)] for v in part.images.flatten(1).median(1).values] == part.labels.tolist()


def test_one_folder_around_everything_is_not_a_class(tmp_path: Path) -> None:
    write_images(tmp_path / "celeba" / "img", 60)
    assert not load_images(tmp_path).labelled
    write_images(tmp_path / "celeba" / "more", 60)
    assert load_images(tmp_path).class_names == ("img", "more")


def test_loose_images_beside_classes_mean_no_labels_and_a_note(tmp_path: Path) -> None:
    write_images(tmp_path, 3)
    write_images(tmp_path / "a", 40)
    write_images(tmp_path / "b", 40)
    data = load_images(tmp_path)
    assert not data.labelled
    assert data.class_names == ()
    assert "3 images lie beside 2 class folders" in data.note
    assert "move them into class folders" in data.note


def test_train_and_test_folders_are_refused_with_the_folder_to_give(tmp_path: Path) -> None:
    write_images(tmp_path / "Train" / "cat", 2)
    write_images(tmp_path / "val" / "cat", 2)
    with pytest.raises(DataError, match=r"Train, val are parts of a set.*such as .*val"):
        load_images(tmp_path)


def test_result_does_not_depend_on_names_of_files(tmp_path: Path) -> None:
    write_images(tmp_path / "one", 70)
    (tmp_path / "two").mkdir()
    for i, path in enumerate(sorted((tmp_path / "one").iterdir(), reverse=True)):
        (tmp_path / "two" / f"x{i:03d}.png").write_bytes(path.read_bytes())
    one, two = load_images(tmp_path / "one"), load_images(tmp_path / "two")
    assert one.fingerprint == two.fingerprint
    for a, b in zip(parts(one), parts(two), strict=True):
        assert torch.equal(a.images, b.images)


@pytest.mark.parametrize("share", [0.5, 0.97], ids=["in its header", "in its pixels"])
def test_one_truncated_jpeg_among_a_thousand_is_named_skipped_and_counted(tmp_path: Path, share: float) -> None:
    write_images(tmp_path / "a", 500, ".jpg")
    write_images(tmp_path / "b", 500, ".jpg")
    broken = tmp_path / "b" / "0123.jpg"
    truncate(broken, int(broken.stat().st_size * share))
    data = load_images(tmp_path)
    assert sum(map(len, parts(data))) == 999
    assert sum(int((part.labels == 1).sum()) for part in parts(data) if part.labels is not None) == 499
    [skipped] = data.skipped
    assert skipped.startswith("b/0123.jpg: ")
    assert "truncated" in skipped.lower()
    assert "1 unreadable skipped" in data.describe()


@pytest.mark.parametrize(
    "content", [b"", b"not an image at all", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"GIF89a\1", b"BM1234"]
)
def test_damaged_files_of_every_kind_are_skipped(tmp_path: Path, content: bytes) -> None:
    write_images(tmp_path, 60)
    (tmp_path / "bad.png").write_bytes(content)
    data = load_images(tmp_path)
    assert sum(map(len, parts(data))) == 60
    [skipped] = data.skipped
    assert skipped.startswith("bad.png: ")
    assert len(skipped) > len("bad.png: ")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".bmp", ".tif"])
def test_every_cut_of_a_file_is_read_or_skipped(tmp_path: Path, suffix: str) -> None:
    write_images(tmp_path, 60)
    buffer = io.BytesIO()
    noise(24, 24, 3).save(buffer, format=Image.registered_extensions()[suffix])
    whole = buffer.getvalue()
    cuts = range(0, len(whole), max(1, len(whole) // 20))
    for cut in cuts:
        (tmp_path / f"cut{cut:05d}{suffix}").write_bytes(whole[:cut])
    data = load_images(tmp_path, size=8)
    n_read = sum(map(len, parts(data)))
    assert n_read + len(data.skipped) == 60 + len(cuts)
    assert len(data.skipped) >= len(cuts) // 2


def test_more_than_half_unreadable_is_an_error_naming_some(tmp_path: Path) -> None:
    write_images(tmp_path, 60)
    for i in range(60):
        (tmp_path / f"bad{i:03d}.jpg").write_bytes(b"no")
    assert len(load_images(tmp_path).skipped) == 60
    (tmp_path / "bad060.jpg").write_bytes(b"no")
    with pytest.raises(DataError, match=r"61 of 121 image files cannot be read \(bad000.jpg: .*; …\).*again"):
        load_images(tmp_path)


def test_broken_pixels_count_towards_the_half_as_broken_headers_do(tmp_path: Path) -> None:
    write_images(tmp_path, 60, ".jpg")
    for path in sorted(tmp_path.iterdir())[:40]:
        truncate(path, path.stat().st_size - 30)
    with pytest.raises(DataError, match="40 of 60 image files cannot be read"):
        load_images(tmp_path)


def test_decompression_bombs_are_skipped_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path, 60)
    Image.new("1", (100, 100)).save(tmp_path / "large.png")
    Image.new("1", (200, 100)).save(tmp_path / "larger.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9_000)
    data = load_images(tmp_path)
    assert [s.split(":")[0] for s in data.skipped] == ["large.png", "larger.png"]
    assert all("bomb" in s for s in data.skipped)


def test_hidden_files_links_in_a_circle_and_other_files_are_ignored(tmp_path: Path) -> None:
    write_images(tmp_path / "set", 60)
    write_images(tmp_path / "set" / ".thumbnails", 5)
    (tmp_path / "set" / "._0001.png").write_bytes(b"resource fork")
    (tmp_path / "set" / "readme.txt").write_text("hello")
    (tmp_path / "set" / "again").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "self.png").symlink_to(tmp_path / "set" / "self.png")
    (tmp_path / "set" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "set" / "pipe.png")
    data = load_images(tmp_path / "set")
    assert sum(map(len, parts(data))) == 60
    assert data.skipped == ()
    assert not data.labelled


def test_linked_class_folders_are_followed(tmp_path: Path) -> None:
    write_images(tmp_path / "elsewhere" / "cats", 40)
    write_images(tmp_path / "set" / "dogs", 40)
    (tmp_path / "set" / "cats").symlink_to(tmp_path / "elsewhere" / "cats")
    assert load_images(tmp_path / "set").class_names == ("cats", "dogs")


def test_names_that_are_not_text_do_no_harm(tmp_path: Path) -> None:
    write_images(tmp_path, 60)
    try:
        with open(os.fsencode(tmp_path) + b"/bad\xff.png", "wb") as file:
            file.write(b"no image")
    except OSError:
        pytest.skip("this file system takes no such name")
    [skipped] = load_images(tmp_path).skipped
    assert skipped.encode("utf-8").decode() == skipped
    assert skipped.startswith("bad�.png: ")


# Sizes


@pytest.mark.parametrize(
    ("width", "height", "side"),
    [(8, 8, 8), (28, 28, 28), (64, 64, 64), (30, 30, 28), (37, 50, 32), (200, 100, 64), (5, 5, 8), (96, 48, 48)],
)
def test_common_side_is_the_most_frequent_shorter_side_rounded_down(
    tmp_path: Path, width: int, height: int, side: int
) -> None:
    write_images(tmp_path, 60, width=width, height=height)
    data = load_images(tmp_path)
    assert data.shape == (1, side, side)
    assert (data.note == "") == ((width, height) == (side, side))
    if data.note:
        assert f"{width}×{height}" in data.note
        assert f"{side}×{side}" in data.note


def test_mixed_sizes_take_the_most_frequent_one_and_say_so(tmp_path: Path) -> None:
    write_images(tmp_path / "x", 40, width=16, height=16)
    write_images(tmp_path / "x" / "y", 25, width=60, height=50)
    write_images(tmp_path / "x" / "z", 5, width=90, height=20)
    data = load_images(tmp_path)
    assert data.shape == (1, 16, 16)
    assert "3 different sizes (mostly 16×16)" in data.note


def test_size_that_was_asked_for(tmp_path: Path) -> None:
    write_images(tmp_path, 60, width=40, height=20)
    assert load_images(tmp_path, size=96).shape == (1, 96, 96)
    for size in (7, 0, -3, 5000, True, 16.0):
        with pytest.raises(DataError, match=r"expected a whole number of pixels from 8 to 1024"):
            load_images(tmp_path, size=size)  # type: ignore[arg-type]


def test_resizing_keeps_the_centre_and_averages(tmp_path: Path) -> None:
    # Wide stripes: left and right thirds black, the central square a fine chessboard whose mean is grey.
    board = np.zeros((64, 192), np.uint8)
    board[:, 64:128] = (np.indices((64, 64)).sum(0) % 2) * 255
    Image.fromarray(board).save(tmp_path / "a.png")
    write_images(tmp_path, 60, width=192, height=64)
    pixels = read_folder(tmp_path, size=8).images.pixels[-1]
    assert np.abs(pixels.astype(int) - 127).max() <= 16  # antialiased; nearest neighbour would give 0 or 255


def test_large_jpegs_are_decoded_coarsely_without_harm(tmp_path: Path) -> None:
    smooth = noise(30, 30, 3).resize((240, 240), Image.Resampling.BICUBIC)
    for i in range(2):
        smooth.save(tmp_path / f"{i}.jpg", quality=95)
        smooth.save(tmp_path / f"{i}.png")
    pixels = read_folder(tmp_path, size=60).images.pixels.astype(int)
    assert np.abs(pixels[0] - pixels[1]).mean() < 3.0


# Modes


def one_pixel(folder: Path, image: Image.Image, name: str = "a.png", **save: object) -> np.ndarray:
    """Central colour of one image as it comes out beside grey ones."""
    image.save(folder / name, **save)
    noise(8, 8).save(folder / "z.png")
    return read_folder(folder, size=8).images.pixels[0, :, 4, 4]


def test_grey_only_if_every_image_is_grey(tmp_path: Path) -> None:
    write_images(tmp_path, 60)
    grey_as_colour = Image.merge("RGB", [noise()] * 3)
    grey_as_colour.save(tmp_path / "rgb.png")
    grey_as_colour.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "p.png")
    noise().convert("1").save(tmp_path / "one.png")
    assert load_images(tmp_path).shape[0] == 1
    noise(channels=3).save(tmp_path / "colour.png")
    assert load_images(tmp_path).shape[0] == 3


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
def test_colours_survive_every_mode(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGB", (8, 8), (255, 102, 0)).convert(mode)  # one of the palette's colours
    name = "a.tif" if mode == "CMYK" else "a.png"
    assert np.abs(one_pixel(tmp_path, image, name).astype(int) - (255, 102, 0)).max() <= 2


def test_sixteen_bit_greys_are_scaled_from_their_full_range(tmp_path: Path) -> None:
    deep = np.full((8, 8), 0, np.uint16)
    deep[4, 4] = 32768
    deep[0, 0] = 65535
    deep[0, 1] = 51500  # 200.4 of 255
    for dtype, name in (("<u2", "a.png"), ("<u2", "a.tif"), (">u2", "b.tif")):
        folder = tmp_path / (name + dtype[0].replace("<", "l").replace(">", "b"))
        folder.mkdir()
        image = (
            Image.fromarray(deep) if dtype == "<u2" else Image.frombytes("I;16B", (8, 8), deep.astype(">u2").tobytes())
        )
        image.save(folder / name)
        pixels = read_folder(folder, size=8).images.pixels[0]
        assert pixels.shape == (1, 8, 8)
        assert (pixels[0, 4, 4], pixels[0, 0, 0], pixels[0, 0, 1], pixels[0, 1, 1]) == (128, 255, 200, 0)


def test_float_images_are_skipped_with_the_reason(tmp_path: Path) -> None:
    write_images(tmp_path, 60)
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "f.tif")
    [skipped] = load_images(tmp_path).skipped
    assert skipped.startswith("f.tif: ")
    assert "8 or 16 bits" in skipped


@pytest.mark.parametrize("mode", ["1", "L", "P", "PA", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F", "LAB"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_every_mode_is_read_or_named(tmp_path: Path, mode: str, suffix: str) -> None:
    grey = Image.fromarray(np.full((8, 8), 102, np.uint8))
    if mode in ("I;16", "I", "F"):
        image = Image.fromarray(np.full((8, 8), 102 * 257, {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    else:
        image = Image.new("LAB", (8, 8), (110, 128, 128)) if mode == "LAB" else grey.convert(mode)
    try:
        image.save(tmp_path / f"a{suffix}")
    except (OSError, ValueError):
        pytest.skip("this format has no such mode")
    noise(8, 8).save(tmp_path / "z.png")
    collection = read_folder(tmp_path, size=8)
    if mode == "F":
        assert collection.skipped[0].startswith(f"a{suffix}: 32-bit float")
        return
    assert collection.skipped == ()
    mean = collection.images.pixels[0].mean()
    assert abs(mean - 102) < (20 if mode == "1" else 2)  # of black and white as many as make the grey


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_is_read(tmp_path: Path, suffix: str) -> None:
    grey = Image.new("L", (8, 8), 255 if suffix == ".pbm" else 102).convert("1" if suffix == ".pbm" else "L")
    try:
        grey.save(tmp_path / f"a{suffix.upper()}")
    except (OSError, KeyError):
        pytest.skip("this Pillow cannot write the format")
    collection = read_folder(tmp_path)
    assert collection.skipped == ()
    assert np.abs(collection.images.pixels.astype(int) - (255 if suffix == ".pbm" else 102)).max() <= 1


def test_photographs_of_several_pictures_show_the_first(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (v, v, v)) for v in (40, 200)]
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert np.abs(read_folder(tmp_path).images.pixels.astype(int) - 40).max() <= 2


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_show_white(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (8, 8), (0,) * len(mode))
    assert one_pixel(tmp_path, image).tolist() in ([255, 255, 255], [255])
    assert "Transparent parts of 1 images show white" in read_folder(tmp_path).note


def test_palette_transparency_shows_white_and_opaque_alpha_says_nothing(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    assert one_pixel(tmp_path, image, transparency=0).tolist() in ([255, 255, 255], [255])
    (tmp_path / "opaque").mkdir()
    assert one_pixel(tmp_path / "opaque", Image.new("RGBA", (8, 8), (9, 8, 7, 255))).tolist() == [9, 8, 7]
    assert read_folder(tmp_path / "opaque").note == ""


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    upright = Image.new("L", (16, 16), 0)
    upright.paste(255, (0, 0, 16, 8))  # bright above
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90° clockwise to view"
    upright.rotate(90).save(tmp_path / "a.jpg", exif=exif, quality=95)
    pixels = read_folder(tmp_path).images.pixels[0, 0]
    assert pixels[:7].min() > 200
    assert pixels[9:].max() < 50


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), v) for v in (40, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read_folder(tmp_path).images.pixels == 40).all()


def test_wrong_suffix_of_a_known_format_is_read(tmp_path: Path) -> None:
    write_images(tmp_path, 60)
    noise().save(tmp_path / "a.jpg", format="PNG")
    assert load_images(tmp_path).skipped == ()


# The whole


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (
            lambda p: p / "nothing",
            r"nothing: no such file or folder; expected a built-in set, a folder of images, IDX",
        ),
        (lambda p: p, r"no images found; expected files ending in \.png .*Give the folder they are in"),
        (
            lambda p: (p / "notes.txt", (p / "notes.txt").write_text("x"))[0],
            r"notes\.txt: not a set of images; expected",
        ),
        (
            lambda p: (p / "a.png", noise().save(p / "a.png"))[0],
            r"a\.png: a single image; expected .* Give the folder: ",
        ),
    ],
)
def test_wrong_paths_are_named_with_the_repair(tmp_path: Path, make, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        load_images(make(tmp_path))


def test_misspelt_built_in_set_gets_a_suggestion() -> None:
    with pytest.raises(DataError, match="Did you mean digits"):
        load_images("digit")


def test_folder_with_idx_files_further_down_is_pointed_to(tmp_path: Path) -> None:
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match=r"IDX files are in .*raw: give that folder"):
        load_images(tmp_path)


def test_too_few_different_images(tmp_path: Path) -> None:
    write_images(tmp_path, 59)
    for i in range(20):
        (tmp_path / f"copy{i}.png").write_bytes((tmp_path / "0000.png").read_bytes())
    with pytest.raises(DataError, match=r"59 different images among 79; expected at least 60"):
        load_images(tmp_path)
    noise().save(tmp_path / "one_more.png")
    assert len(load_images(tmp_path).report) >= 12


def test_a_folder_named_as_a_built_in_set_is_reached_by_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "digits", 60, width=16, height=16)
    assert load_images(Path("digits")).shape == (1, 16, 16)
    assert load_images("digits").shape == (1, 8, 8)


def test_progress_is_told_and_warning_filters_are_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path, 60)
    monkeypatch.setattr("maestune.data.decoding.PROGRESS_EVERY", 25)
    said: list[str] = []
    before = list(warnings.filters)
    load_images(tmp_path, progress=said.append)
    assert said[0].startswith("Reading 60 images from")
    assert said[1:] == ["25 of 60 images read", "50 of 60 images read"]
    assert warnings.filters == before
