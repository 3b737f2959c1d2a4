# pyright: basic
"""What a backbone of the paper needs on one GPU, beside the arithmetic of docs/training.md.

    python experiments/gpu/backbone.py configs/train/qwen2.5-7b-lora.toml OUT.json --folder FOLDER
    python experiments/gpu/backbone.py configs/train/qwen2.5-7b-lora.toml OUT.json --folder FOLDER --long
    python experiments/gpu/backbone.py configs/train/qwen2.5-1.5b.toml OUT.json --folder OTHER --long

The settings are the configuration's own, less vLLM. The weights are made up, in the exact shape (no download is
needed), with this project's small tokenizer; an untied model is given a table of which token follows which, and so
writes the format by itself. Without `--long`: the whole recipe, `rlcc`, on 64 short rollouts a step by `generate`.
With it: two steps on one pass of replies as long as the configuration allows, written without the model.
`--tiny` shrinks the shape, to try it on a CPU.
"""

import argparse
import json
import random
import tomllib
from math import log
from pathlib import Path
from typing import Any

import torch
from meter import GB, Meter, attach
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM, logging

from corea.graders import AutoGrader
from corea.prompts import Prompt
from corea.train.rlcc import make_trainer, rlcc
from corea.train.settings import RlccSettings
from recipes.bundled_pair.problems import sample

TOKENIZER = Path(__file__).parents[1] / "pair" / "weights" / "slm"
KEPT = Path(__file__).parents[1] / "results" / "gpu" / "kept.json"  # by kept.py
SHAPES: dict[str, dict[str, Any]] = {  # their config.json on the Hugging Face hub
    "Qwen/Qwen2.5-7B-Instruct": {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "intermediate_size": 18944,
        "tie_word_embeddings": False,
    },
    "Qwen/Qwen2.5-1.5B-Instruct": {
        "vocab_size": 151936,
        "hidden_size": 1536,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "intermediate_size": 8960,
        "tie_word_embeddings": True,
    },
}
TINY = {
    "vocab_size": 1024,
    "hidden_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
OURS = ("questions", "held_out", "grader", "prompt")
TRAINING = ("generation", "rewards", "loss", "gradient", "optimiser")  # parts of a step
LIKELY = 20.0  # the logit of a token that may follow; of any other about 0
CLOSING = 0.01  # chance that the reasoning ends at a token


def successors(tokenizer: Any) -> dict[int, dict[int, float]]:
    """Which token follows which, and how likely: <think>words</think><answer>digit</answer><confidence>0.dd..."""

    def token(text: str) -> int:
        return tokenizer.convert_tokens_to_ids(text)

    words = tokenizer("the sum of what we have is more than it was and then some", add_special_tokens=False)[
        "input_ids"
    ]
    words = sorted(set(words))
    low, high = [token(str(d)) for d in range(1, 5)], [token(str(d)) for d in range(5, 10)]
    even = dict.fromkeys
    table = {
        token("<|assistant|>"): {token("<think>"): 1.0},
        token("<think>"): even(words, 1.0),
        token("</think>"): {token("<answer>"): 1.0},
        token("<answer>"): even(low, 1.0),
        token("</answer>"): {token("<confidence>"): 1.0},
        token("<confidence>"): {token("0"): 1.0},
        token("0"): {token("."): 1.0},
        token("."): even(high, 1.0),
        token("</confidence>"): {tokenizer.eos_token_id: 1.0},
    }
    table |= {word: even(words, (1 - CLOSING) / len(words)) | {token("</think>"): CLOSING} for word in words}
    table |= {digit: {token("</answer>"): 1.0} for digit in low}
    table |= {digit: even(high, 0.1) | {token("</confidence>"): 0.5} for digit in high}
    return table


def made_up(shape: dict[str, Any], tokenizer: Any, folder: Path) -> None:
    """A model of this shape in bf16, made on the GPU where there is one."""
    config = Qwen2Config(
        **shape,
        max_position_embeddings=32768,
        rope_theta=1e6,
        initializer_range=0.002,  # small, so that what follows depends on the last token alone
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen2ForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    if not config.tie_word_embeddings:
        inner, outer = model.get_input_embeddings().weight.data, model.get_output_embeddings().weight.data
        inner.normal_()
        for token, following in successors(tokenizer).items():
            for after, chance in following.items():
                share = (LIKELY + log(chance / sum(following.values()))) / config.hidden_size
                outer[after] += share * inner[token]
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def written(tokenizer: Any, tokens: int, rng: random.Random) -> list[int]:
    """A reply of exactly so many tokens, in the format."""
    table = successors(tokenizer)
    word, *_ = (t for t, after in table.items() if len(after) > 12)
    end = tokenizer(f"</think><answer>3</answer><confidence>0.{rng.randrange(10, 100)}</confidence>")["input_ids"]
    end = [*end, tokenizer.eos_token_id]
    return [tokenizer.convert_tokens_to_ids("<think>")] + [word] * (tokens - len(end) - 1) + end


def long_rollouts(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    """For TRL's `rollout_func`: replies as long as they may be, so that a pass is as large as it can get."""
    tokenizer, rng = trainer.processing_class, random.Random(trainer.state.global_step)
    asked = tokenizer.apply_chat_template(prompts, add_generation_prompt=True, return_dict=False)
    most = trainer.max_completion_length
    return {"prompt_ids": asked, "completion_ids": [written(tokenizer, most, rng) for _ in asked], "logprobs": None}


def read(config: Path, folder: Path, out: Path, given: dict[str, Any]) -> RlccSettings:
    """The configuration's settings, less vLLM and with what is given laid over them."""
    table = {key: value for key, value in tomllib.loads(config.read_text()).items() if key not in OURS}
    trl = {key: value for key, value in table.pop("trl").items() if "vllm" not in key}
    trl |= {"report_to": "none", "disable_tqdm": True, "use_cpu": not torch.cuda.is_available(), **given.pop("trl")}
    return RlccSettings(**{"confidence_weight": 22.0, **table, **given, "model": str(folder), "out": out, "trl": trl})


def arithmetic(
    config: Path, shape: dict[str, Any], settings: RlccSettings, weights: tuple[int, int]
) -> dict[str, float]:
    """The rows of docs/training.md, in GB, for a pass of `device_batch` replies of `max_tokens`.

    Args:
        weights: All, and those that are trained.
    """
    (parameters, trained), tokens = weights, settings.device_batch * settings.max_tokens
    of_token = json.loads(KEPT.read_text())[config.stem.replace(".", "_")]
    rows = {
        "weights, gradients, Adam": 18 * trained + 2 * (parameters - trained),
        "activations kept": of_token["bytes_kept_a_layer_and_token"] * shape["num_hidden_layers"] * tokens,
        "one layer computed again": of_token["bytes_of_one_layer_a_token"] * tokens,
    }
    return {name: round(value / GB, 2) for name, value in (rows | {"sum": sum(rows.values())}).items()}


def whole(settings: RlccSettings, held: int) -> None:
    """The recipe as it is: questions, rollouts by `generate`, held-out measurement, the saved folder and its card."""
    rlcc(
        settings,
        questions=sample("rl", 2000, 1),
        held_out=sample("slm", held, 7, split="validation"),
        grader=AutoGrader(),
        prompt=Prompt("plain"),
        command="python experiments/gpu/backbone.py",
    )


def longest(settings: RlccSettings) -> None:
    """Two steps, the second with Adam's moments there, on replies of full length."""
    make_trainer(
        settings,
        questions=sample("rl", 2000, 1),
        held_out=sample("slm", 8, 7, split="validation"),
        grader=AutoGrader(),
        prompt=Prompt("plain"),
        rollout_func=long_rollouts,
    ).train()


def overrides(long: bool, tiny: bool, given: argparse.Namespace) -> dict[str, Any]:
    """What differs from the configuration."""
    if long:
        off = {"eval_strategy": "no", "eval_on_start": False, "save_strategy": "no", "load_best_model_at_end": False}
        changed = {
            "questions_per_step": max(1, given.batch // 8),
            "generations": 8,
            "steps": 2,
            "patience": 0,
            "trl": off,
        }
        return changed | {"device_batch": given.batch, "max_tokens": 64 if tiny else given.tokens}
    few = {"steps": given.steps, "evaluate_every": given.steps, "questions_per_step": 8, "generations": 8}
    return {**few, "device_batch": given.batch, "max_tokens": 48 if tiny else 256, "trl": {"eval_on_start": False}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folder", type=Path, required=True, help="of the made-up model; made if it is not there")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, help="rollouts in a pass; the configuration's device_batch")
    parser.add_argument("--tokens", type=int, help="of a long reply; the configuration's max_tokens")
    given = parser.parse_args()
    logging.set_verbosity_error()
    table = tomllib.loads(given.config.read_text())
    given.batch, given.tokens = given.batch or table["device_batch"], given.tokens or table["max_tokens"]
    shape = SHAPES[table["model"]] | (TINY if given.tiny else {})
    meter = Meter(given.out, config=given.config.name, long=given.long, tiny=given.tiny)
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    if not (given.folder / "tokenizer.json").is_file():
        with meter.part("making the weights"):
            made_up(shape, tokenizer, given.folder)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    settings = read(given.config, given.folder, given.folder / "run", overrides(given.long, given.tiny, given))
    attach(meter)
    try:
        longest(settings) if given.long else whole(settings, held=8)
    finally:
        meter.enter("end")
        meter.write(settings={"device_batch": settings.device_batch, "max_tokens": settings.max_tokens})
        if "trained" in meter.facts:
            weights = (meter.facts["parameters"], meter.facts["trained"])
            rows = arithmetic(given.config, shape, settings, weights)
            meter.write(arithmetic_gb=rows, measured_gb=max((meter.peaks.get(p, 0.0) for p in TRAINING), default=0.0))
    meter.write(finished=True)


if __name__ == "__main__":
    main()
