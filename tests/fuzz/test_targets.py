"""The fuzz targets run, and what fuzzing found stays mended: each of these inputs once ended in a traceback."""

from pathlib import Path

import pytest
from tests.fuzz.targets import TARGETS
from tests.gateway.test_fuzz import APP, post

from corea.calibrate.artefact import load
from corea.config import load_config
from corea.errors import ConfigError, DataError
from corea.run.journal_lines import decode_line

DEEP, DIGITS = b"[" * 100_000, b"1" * 5_000
FOUND = [
    ("stream", b"xdata: " + DEEP + b"\n\n"),
    ("stream", b"xdata: " + b'{"error":' * 5_000 + b"1" + b"}" * 5_000 + b"\n\n"),
    ("stream", b'xdata: {"choices":[{"delta":{"content":' + b"[" * 1_000 + b"]" * 1_000 + b"}}]}\n\n"),
    ("journal", b'{"done":-1,"key":"1","trace":1}'),
    ("journal", b'{"done":1,"key":"x","trace":1}'),
    ("journal", b'{"done":1}\n{"start":1,"at_most_usd":"sNaN"}'),
]


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_seeds_and_nothing(name: str) -> None:
    for data in (*TARGETS[name].seeds, b"", b"\xff\xfe\x00", DEEP):
        TARGETS[name].run(data)


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_stays_mended(name: str, data: bytes) -> None:
    TARGETS[name].run(data)


def test_a_target_sees_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.targets.load", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        TARGETS["artefact"].run(b"{}")


@pytest.mark.parametrize(
    ("data", "told"),
    [(b"a=" + DEEP, "not TOML"), (b"a=" + DIGITS, "not TOML"), (b"a." * 2_000 + b"b=1", "nested too deeply")],
)
def test_a_configuration_that_python_cannot_read_is_one_line(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "corea.toml").write_bytes(data)
    with pytest.raises(ConfigError, match=told) as error:
        load_config(tmp_path / "corea.toml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", [DEEP, b'{"version":4,"a":' + DEEP, b'{"version":"\xff"}'])
def test_a_calibration_that_cannot_be_read_is_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "c.json").write_bytes(data)
    with pytest.raises(DataError, match="not a calibration"):
        load(tmp_path / "c.json")


@pytest.mark.parametrize("body", [b'{"done":-1}', b'{"start":1,"at_most_usd":"NaN"}', b'{"done":1,"key":"","trace":1}'])
def test_a_line_of_a_journal_that_corea_did_not_write_is_refused(body: bytes) -> None:
    with pytest.raises(DataError, match="a line that corea did not write"):
        decode_line(body, Path("j"))


@pytest.mark.parametrize("depth", range(900, 1_000, 3))  # some can be read, and not be written further down
def test_a_body_at_the_limit_of_nesting_is_the_clients_fault(depth: int) -> None:
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    for path, rest in (
        ("/v1/chat/completions", b'"messages": [{"role": "user", "content": "hi"}]'),
        ("/v1/responses", b'"input": "hi"'),
    ):
        response = post(APP, b'{"model": "corea", "metadata": ' + nested + b", " + rest + b"}", path=path)
        assert response.status_code in (200, 400), response.text
