"""The model card and its reliability diagram."""

import json
from pathlib import Path

import numpy as np

from corea.train.model_card import ReliabilityData, provenance, table, write_card


def test_a_table_has_every_column_once_and_leaves_gaps_open() -> None:
    assert table({"in": {"n": 10, "ECE": 0.0312}, "far": {"n": 5, "AUROC": 0.5}}) == [
        "| set | n | ECE | AUROC |",
        "|---|---|---|---|",
        "| in | 10 | 0.031 |  |",
        "| far | 5 |  | 0.500 |",
    ]


def test_the_card_holds_command_hash_seed_versions_and_figures(tmp_path: Path) -> None:
    facts = {"recipe": "rlcc", "parameters": 7, "data_hash": "abc", "settings": {"seed": 3}}
    (tmp_path / "training.json").write_text(json.dumps(facts))
    measured = ReliabilityData(name="in domain", confidence=np.array([0.2, 0.9]), correct=np.array([0, 1]))
    card = write_card(
        tmp_path,
        title="Small",
        purpose="Shows.",
        command="corea train rlcc x.toml",
        figures={"in": {"n": 2}},
        measured=[measured],
    ).read_text()
    for said in ("# Small", "corea train rlcc x.toml", "data hash: abc; seed: 3", "| in | 2 |", "corea 0", "torch"):
        assert said in card
    picture = (tmp_path / "reliability.svg").read_text()
    assert picture.count("<circle") == 2
    assert 'cx="256.0" cy="40.0"' in picture  # 40 + 0.9 * 240, and accuracy 1 at the top


def base_with(folder: Path, card: str | None) -> str:
    folder.mkdir()
    if card is not None:
        (folder / "README.md").write_text(card)
    return str(folder)


def test_licence_and_base_model_are_those_of_the_base(tmp_path: Path) -> None:
    base = base_with(tmp_path / "base", "---\nlicense: llama3.1\nbase_model: meta-llama/X\n---\n# X\n")
    assert provenance(base) == {"license": "llama3.1", "base_model": "meta-llama/X"}
    card = write_card(tmp_path, title="T", purpose="P.", command="c", figures={}, base=base).read_text()
    assert card.startswith("---\nlicense: llama3.1\nbase_model: meta-llama/X\nlibrary_name: transformers\n")
    assert "licence: not stated" not in card


def test_a_licence_that_is_not_known_is_not_invented(tmp_path: Path) -> None:
    bare, silent = base_with(tmp_path / "bare", None), base_with(tmp_path / "silent", "# No front matter\n")
    assert provenance(bare) == provenance(silent) == {}
    card = write_card(tmp_path, title="T", purpose="P.", command="c", figures={}, base=bare).read_text()
    assert "license:" not in card
    assert "licence: not stated by the base model's card" in card
