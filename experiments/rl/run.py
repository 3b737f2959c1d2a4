"""One RL run by the bundled small model's recipe: python experiments/rl/run.py MODEL OUT [key=value ...]

`python -m recipes.bundled_pair rlcc recipes/bundled_pair/configs/rlcc.toml`, with short words for what is varied
here. Of `prompts` questions, share `home` is in domain (world slm), `odd` from world odd, the others from world rl;
`held` are held out; `seed` is the questions' too. Any other key is a setting of the recipe, `trl.KEY` one of TRL's.
The card names the long form.
"""

import os
import sys
import tomllib
from pathlib import Path

import torch

from recipes.bundled_pair.__main__ import app

CONFIG = os.path.relpath(Path(__file__).parents[2] / "recipes" / "bundled_pair" / "configs" / "rlcc.toml")
GENERATED = "recipes.bundled_pair.dataset:Generated"
SHORT = {"prompts": "questions.limit", "held": "held_out.n"}


def mix(given: dict[str, str]) -> str:
    """The sources of the questions as a TOML value: the configuration's shares where none are given."""
    usual = {s["world"]: s["share"] for s in tomllib.loads(Path(CONFIG).read_text())["questions"]["mix"]}
    home, odd = float(given.pop("home", usual["slm"])), float(given.pop("odd", usual["odd"]))
    shares, seed = {"slm": home, "odd": odd, "rl": round(1 - home - odd, 6)}, given.get("seed", "1")
    table = '{{share = {share}, name = "{name}", world = "{world}", seed = {seed}, unique = false}}'
    rows = [
        table.format(share=share, name=GENERATED, world=world, seed=seed) for world, share in shares.items() if share
    ]
    return f"[{', '.join(rows)}]"


def main(model: str, out: str, *pairs: str) -> int:
    torch.set_num_threads(1)
    given = dict(pair.split("=", 1) for pair in pairs)
    if given.keys() & {"home", "odd", "seed"}:
        given["questions.mix"] = mix(given)
    words = [word for key, value in given.items() for word in ("--set", f"{SHORT.get(key, key)}={value}")]
    return app(["rlcc", CONFIG, "--model", model, "--out", out, *words], standalone_mode=False) or 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
