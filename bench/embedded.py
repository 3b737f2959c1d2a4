"""The embedded backend against a bare onnxruntime-genai loop: tokens per second of both in one run, and their ratio.

    python bench/embedded.py [--batch 16] [--tokens 100] [--rounds 9] [--json]

The model is a random Qwen2-shaped one of 0.85M parameters, made and exported here, that never ends a reply. Both sides
take the same prompts from text to text. The bare loop is what onnxruntime-genai's own examples do: encode, append,
generate until done, decode. Rounds of the two alternate, so that what else the machine does falls on both.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from corea.backends.local.onnx import OnnxBackend, OnnxSettings
from corea.types import Question, Sampling

TARGET = 0.85  # of the bare loop's tokens per second, plain greedy
CALLS = {
    "plain": Sampling(temperature=0),
    "logprobs": Sampling(temperature=0, logprobs=True),
    "top_logprobs 5": Sampling(temperature=0, logprobs=True, top_logprobs=5),
    "sampled": Sampling(temperature=1, seed=1),
}


def make_model(folder: Path) -> None:
    """A random model in embedded form. Its end token has a zero embedding, so its logit is never the largest."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from transformers.utils import logging

    from corea.train.export import export
    from recipes.bundled_pair.tokenizer import train_tokenizer

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    texts = [f"Tom has {a} apples and buys {b} more. How many? {a + b}" for a in range(1, 60) for b in range(1, 60)]
    tokenizer = train_tokenizer(texts, 416)
    hf = folder / "hf"
    tokenizer.save_pretrained(str(hf))
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=416,
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.2,
    )
    model = Qwen2ForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight[tokenizer.eos_token_id] = 0
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", file=sys.stderr)
    model.save_pretrained(str(hf))
    export(hf, folder / "onnx")


def bare_loop(folder: Path, texts: list[str], tokens: int) -> Callable[[], Awaitable[int]]:
    """A loop with nothing around it, as a coroutine function that gives the tokens written."""
    import onnxruntime_genai as og

    model = og.Model(str(folder))
    tokenizer = og.Tokenizer(model)

    async def run() -> int:
        chats = [tokenizer.apply_chat_template(json.dumps([{"role": "user", "content": t}])) for t in texts]
        prompts = tokenizer.encode_batch(chats)
        length = prompts.as_numpy().shape[1]
        params = og.GeneratorParams(model)
        params.set_search_options(batch_size=len(texts), max_length=length + tokens, do_sample=False)
        generator = og.Generator(model, params)
        generator.append_tokens(prompts)
        while not generator.is_done():
            generator.generate_next_token()
        written = [generator.get_sequence(i)[length:] for i in range(len(texts))]
        assert all(tokenizer.decode(row) for row in written)
        return sum(map(len, written))

    return run


def our_calls(backend: OnnxBackend, texts: list[str], sampling: Sampling) -> Callable[[], Awaitable[int]]:
    """As many callers at once, each asking one question."""

    async def run() -> int:
        questions = [Question.of(text, id=text) for text in texts]
        got = await asyncio.gather(*(backend.complete(question, sampling) for question in questions))
        assert all(completion.text for completion in got)
        return sum(completion.usage.completion_tokens for completion in got)

    return run


async def measure(folder: Path, batch: int, tokens: int, rounds: int) -> dict[str, object]:
    texts = [f"Tom has {10 + i} apples and buys {20 + 3 * i} more." + " How many?" * (i % 3) for i in range(batch)]
    backend = OnnxBackend(OnnxSettings(folder=str(folder), max_tokens=tokens, max_batch=max(32, batch)))
    sides = {"bare loop": bare_loop(folder, texts, tokens)}
    sides |= {name: our_calls(backend, texts, sampling) for name, sampling in CALLS.items()}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        order = list(sides.items())
        for name, run in order if turn % 2 else order[::-1]:
            began = time.perf_counter()
            written = await run()
            if turn:  # the first round loads and warms up
                rates[name].append(written / (time.perf_counter() - began))
    await backend.close()
    bare = rates["bare loop"]
    ratios = {name: [a / b for a, b in zip(rates[name], bare, strict=True)] for name in CALLS}
    return {
        "batch": batch,
        "tokens_each": tokens,
        "rounds": rounds,
        "tokens_per_second": {name: round(statistics.median(values)) for name, values in rates.items()},
        "ratio": {
            name: {"median": round(statistics.median(v), 3), "low": round(min(v), 3), "high": round(max(v), 3)}
            for name, v in ratios.items()
        },
        "target": TARGET,
        "met": statistics.median(ratios["plain"]) >= TARGET,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", help="an exported model that never stops; made here by default")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(asked.folder) if asked.folder else Path(scratch) / "onnx"
        if not asked.folder:
            make_model(Path(scratch))
        found = asyncio.run(measure(folder, asked.batch, asked.tokens, asked.rounds))
    if asked.json:
        print(json.dumps(found))
        return
    print(f"batch {asked.batch}, {asked.tokens} tokens each, {asked.rounds} alternating rounds")
    for name, rate in found["tokens_per_second"].items():  # type: ignore[attr-defined]
        ratio = found["ratio"].get(name)  # type: ignore[attr-defined]
        beside = (
            f"  {ratio['median']:.3f} of the bare loop ({ratio['low']:.3f} to {ratio['high']:.3f})" if ratio else ""
        )
        print(f"{name:>15} {rate:>8,} tokens/s{beside}")
    print(f"target: plain at least {TARGET} of the bare loop: {'met' if found['met'] else 'MISSED'}")


if __name__ == "__main__":
    main()
