"""Which weights a folder holds: told apart by content, bound by a calibration, the same wherever the folder lies."""

import shutil
from pathlib import Path

import pytest

from corea.backends.local.backend import ENDS, fingerprint
from corea.backends.local.onnx import OnnxBackend, OnnxSettings
from corea.calibrate.artefact import StageBinding
from corea.calibrate.binding import binding_of, differences
from corea.cascade import Cascade, Stage

TINY = Path(__file__).parents[1] / "tiny" / "onnx"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "copy"))


def test_a_copy_is_the_same_model_and_facts_about_its_making_do_not_count(folder: Path) -> None:
    (folder / "training.json").write_text("{}")
    (folder / "README.md").write_text("a card")

    assert fingerprint(folder) == fingerprint(TINY)


def test_one_changed_weight_at_either_end_is_another_model(folder: Path) -> None:
    weights = folder / "model.onnx.data"
    seen = {fingerprint(folder)}
    for place in (None, 0, 2 * ENDS + 99):
        data = bytearray(2 * ENDS + 100)
        if place is not None:
            data[place] = 1
        weights.write_bytes(data)
        seen.add(fingerprint(folder))

    assert len(seen) == 4


def test_a_folder_that_is_not_there_or_empty_has_none(tmp_path: Path) -> None:
    assert fingerprint(tmp_path) is None
    assert fingerprint(tmp_path / "nowhere") is None


def test_a_model_trained_anew_under_its_old_name_differs_from_what_was_calibrated(folder: Path) -> None:
    def bound() -> tuple[StageBinding, ...]:
        stage = Stage(name="only", backend=OnnxBackend(OnnxSettings(folder=str(folder))))
        return binding_of(Cascade(stages=(stage,)))

    before = bound()
    with (folder / "model.onnx").open("ab") as weights:
        weights.write(b"\0")
    told = differences(before, bound())

    assert len(told) == 1
    assert told[0].startswith("llm_revision is 'sha256:")
