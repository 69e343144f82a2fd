"""Every encoder passes one battery; the shipped network is the published one; any ONNX file can be plugged in."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.encoder import Encoder, EncoderError, load_encoder
from embed.encoders.efficientnet_lite import MODEL
from embed.read import read_scan, read_scan_bytes
from embed.scan import Lungs, Provenance, Scan, View
from embed.signature import opacity_profile, pool_grid, unit
from tests.conftest import need_module
from tests.films import dicom_bytes, phantom, png_bytes


@pytest.fixture(scope="module", params=["histogram", "efficientnet-lite0", "onnx"])
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    if request.param != "onnx":
        return load_encoder(request.param)
    return load_encoder(f"onnx:{tiny_network(tmp_path_factory.mktemp('onnx'))}")


def tiny_network(folder: Path, **card: Any) -> Path:
    """A network that averages 8×8 areas of one channel, as NAME.onnx and NAME.json."""
    need_module("onnx")
    from onnx import TensorProto, helper, save

    graph = helper.make_graph(
        [helper.make_node("AveragePool", ["pixels"], ["features"], kernel_shape=[8, 8], strides=[8, 8])],
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 1, 32, 32])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 1, 4, 4])],
    )
    path = folder / "tiny.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    stated = {"name": "tiny", "side": 32, "channels": 1, "output": "features", "grid": 4} | card
    path.with_suffix(".json").write_text(json.dumps({key: value for key, value in stated.items() if value is not None}))
    return path


def scans(encoder: Encoder, count: int) -> list[Any]:
    return [read_scan_bytes(dicom_bytes(phantom(seed=seed)), side=encoder.side) for seed in range(count)]


def test_signatures_are_finite_unit_rows(encoder: Encoder) -> None:
    rows = encoder.encode(scans(encoder, 3))
    assert rows.shape == (3, encoder.dim) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_the_same_scan_gives_the_same_row_alone_or_in_a_batch(encoder: Encoder) -> None:
    batch = scans(encoder, 9)
    together = encoder.encode(batch)
    alone = np.concatenate([encoder.encode([scan]) for scan in batch])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_array_equal(together, encoder.encode(batch))


def test_no_scans_give_no_rows(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_a_film_is_most_like_itself(encoder: Encoder) -> None:
    rows = encoder.encode(scans(encoder, 4))
    assert (np.argmax(rows @ rows.T, axis=1) == np.arange(4)).all()


def test_a_dicom_film_and_its_png_twin_agree(encoder: Encoder, shared_data: Path) -> None:
    film = read_scan(next((shared_data / "nccid").glob("1.3.6*.dcm")), side=4096)
    picture = png_bytes(np.rint(film.pixels[0] * 255).astype(np.uint8))
    pair = [read_scan(next((shared_data / "nccid").glob("1.3.6*.dcm")), side=encoder.side)]
    pair.append(read_scan_bytes(picture, side=encoder.side))
    a, b = encoder.encode(pair)
    assert a @ b > 0.98


@pytest.mark.slow
def test_the_shipped_network_equals_the_published_one() -> None:
    need_module("torch")
    need_module("timm")
    import onnxruntime
    import torch

    from embed.export import torch_network

    pixels = np.random.default_rng(5).uniform(-1, 1, (2, 3, 320, 320)).astype(np.float32)
    with torch.no_grad():
        published = torch_network("efficientnet-lite0")(torch.from_numpy(pixels)).numpy()
    (shipped,) = onnxruntime.InferenceSession(str(MODEL)).run(["features"], {"pixels": pixels})
    assert shipped.shape == published.shape == (2, 192, 10, 10)
    assert np.abs(unit(pool_grid(shipped, grid=(3, 2))) - unit(pool_grid(published, grid=(3, 2)))).max() < 1e-4
    assert np.abs(shipped - published).max() < 1e-4 * np.abs(published).max()


def test_exporting_again_gives_the_shipped_file(tmp_path: Path) -> None:
    need_module("torch")
    need_module("timm")
    from embed.export import export

    export("efficientnet-lite0", tmp_path / "again.onnx")
    again = json.loads((tmp_path / "again.json").read_text())
    assert again == json.loads(MODEL.with_suffix(".json").read_text())


def test_grid_pooling_averages_each_cell() -> None:
    maps = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    np.testing.assert_array_equal(pool_grid(maps, grid=(2, 2)), [[2.5, 4.5, 10.5, 12.5]])
    np.testing.assert_array_equal(pool_grid(maps, grid=(4, 1)), [[1.5, 5.5, 9.5, 13.5]])
    two = np.stack([maps[0, 0], -maps[0, 0]])[None]  # channels lie together, cell by cell
    np.testing.assert_array_equal(pool_grid(two, grid=(2, 1)), [[3.5, -3.5, 11.5, -11.5]])


def test_a_films_opacity_is_the_mean_of_each_band_of_each_lung_and_the_difference_of_the_sides_doubled() -> None:
    grey = np.full((128, 128), 0.5, np.float32)
    right, left = np.zeros((2, 128, 128), bool)
    right[4:124, 4:60] = left[4:124, 68:124] = True
    grey[4:124, 4:60] = np.repeat([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], 20)[:, None]  # six bands of twenty rows
    grey[4:124, 68:124] = np.repeat([0.0, 0.2, 0.4, 0.6, 1.0, 1.0], 20)[:, None]
    scan = Scan(grey[None], "xray", "DX", View.PA, None, Provenance("dicom", "0"), lungs=Lungs(right, left, 1.0))
    profile = opacity_profile(scan)
    np.testing.assert_allclose(profile[:6], [0, 0.4, 0.8, 1.2, 1.8, 2.0], atol=0.03)
    np.testing.assert_allclose(profile[6:], 2 * np.array([0, 0, 0, 0, -0.2, 0]), atol=0.03)


def test_the_opacity_of_a_ct_is_its_share_of_high_attenuation_from_the_apex_down() -> None:
    hu = np.full((240, 4, 8), 40.0, np.float32)  # feet to head
    hu[:, :2] = -850
    hu[:40, 0, :4] = -400  # the lowest sixth of the right lung: half of what is airy
    hu[200:, 0, 4:] = -251  # the highest sixth of the left
    hu[100, 0, :] = -601
    profile = opacity_profile(Scan(hu, "ct", "CT", None, None, Provenance("dicom", "0")))
    np.testing.assert_allclose(profile[:6], [0.5, 0, 0, 0, 0, 0.5], atol=1e-6)
    np.testing.assert_allclose(profile[6:], 2 * np.array([-0.5, 0, 0, 0, 0, 0.5]), atol=1e-6)


def test_without_lungs_each_half_stands_for_one() -> None:
    grey = np.full((128, 128), 0.2, np.float32)
    grey[:, 64:] = 0.8
    for count in (1, 7):
        scan = Scan(np.stack([grey] * count), "mri", "MR", None, None, Provenance("dicom", "0"))
        np.testing.assert_allclose(opacity_profile(scan), [1.0] * 6 + [-1.2] * 6, atol=1e-6)


def test_unit_leaves_zeros_alone() -> None:
    expected = np.array([[0.6, 0.8], [0, 0]], np.float32)
    np.testing.assert_allclose(unit(np.array([[3, 4], [0, 0]], np.float32)), expected, rtol=1e-6)


def test_an_altered_network_is_refused(tmp_path: Path) -> None:
    path = tiny_network(tmp_path, sha256="0" * 64)
    with pytest.raises(EncoderError, match="altered"):
        load_encoder(f"onnx:{path}")


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"output": "logits"}, "no output is called 'logits'; it has: features"),
        ({"side": None}, "'side' is missing"),
        ({"color": 3}, "unknown entries"),
        ({"std": 0}, "not 0"),
        ({"side": 64}, "refuses an input"),
    ],
)
def test_a_wrong_card_is_refused_with_the_entry_to_mend(tmp_path: Path, card: dict[str, Any], message: str) -> None:
    path = tiny_network(tmp_path, **card)
    with pytest.raises(EncoderError, match=message):
        load_encoder(f"onnx:{path}")


@pytest.mark.parametrize("name", ["resnet", "onnx:", "onnx:/nowhere/model.onnx", "histogram:8"])
def test_an_encoder_that_cannot_be_had_is_refused(name: str) -> None:
    with pytest.raises(EncoderError):
        load_encoder(name)
