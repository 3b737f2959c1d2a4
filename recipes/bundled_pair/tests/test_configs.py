"""The configurations that trained the bundled small model."""

import tomllib
from collections import Counter
from pathlib import Path

from corea.train.data import draw

FOLDER = Path(__file__).parents[1] / "configs"


def test_the_bundled_model_learns_from_home_odd_and_hard_questions() -> None:
    table = tomllib.loads((FOLDER / "rlcc.toml").read_text())["questions"]
    questions = draw("train.questions", table | {"limit": 60}, "train", 1)
    assert Counter(q.id.split("-")[0] for q in questions) == {"slm": 27, "odd": 24, "rl": 9}


def test_the_second_half_of_the_bundled_models_training_differs_from_the_first_in_what_it_says() -> None:
    first, further = (tomllib.loads((FOLDER / f"{name}.toml").read_text()) for name in ("rlcc", "rlcc_further"))
    shares = [[source.pop("share") for source in table["questions"]["mix"]] for table in (first, further)]
    seeds = [{source.pop("seed") for source in table["questions"]["mix"]} for table in (first, further)]
    changed = {key for key in further if first.get(key) != further[key]}
    assert (changed, seeds) == ({"model", "steps", "seed"}, [{1}, {2}])
    assert shares == [[0.45, 0.4, 0.15], [0.4, 0.45, 0.15]]
