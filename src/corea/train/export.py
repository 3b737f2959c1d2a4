# pyright: basic
# (onnx and the model builder are only partly typed)
"""`corea export`: a trained Hugging Face folder in the form that the embedded backend runs, and a proof of equality.

The graph is made by onnxruntime-genai's own model builder, in a process of its own. Then the weights go into the one
`model.onnx`, on request as half-precision numbers that ONNX Runtime widens when it loads them: half the size, the same
arithmetic as before. The output depends on the folder and the library versions alone; `SHA256SUMS` lists it.
"""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from corea.backends.local.onnx import OnnxBackend, OnnxSettings, read_json
from corea.backends.local.transformers import HFBackend, HFSettings
from corea.errors import ConfigError, TrainError
from corea.graders import AutoGrader, grade_all
from corea.prompts import Prompt, load_prompt
from corea.registry import import_extra, install_hint
from corea.train.settings import PROMPT_FILE
from corea.types import Completion, Question, Sampling

SUMS = "SHA256SUMS"
KEPT = ("genai_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "chat_template.jinja")
CARRIED = (PROMPT_FILE,)  # from the trained folder, where it has one


class Precision(StrEnum):
    """Storage of the weights. All but the last two compute in float32."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"  # stored in half precision, widened when loaded
    INT8 = "int8"  # weights in blocks of 32 with a scale each: answers change a little
    INT4 = "int4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One question that the two forms answer differently."""

    question_id: str
    reason: str  # "prompt" (tokenised differently) or "text"
    expected: str
    got: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualReport:
    """The comparison of the two forms.

    Args:
        equal: Questions with the same prompt tokens, the same text and the same number of tokens, greedily decoded.
        tokens: Written, over all questions.
        graded: Questions with a reference answer; `right` and `right_exported` of them are answered rightly by the two
            forms. Their difference is the accuracy lost.
        largest_logprob_gap: Between the two log-probabilities of one written token, over the equal questions (nats).
    """

    questions: int
    equal: int
    tokens: int
    largest_logprob_gap: float
    graded: int = 0
    right: int = 0
    right_exported: int = 0
    differences: tuple[Difference, ...] = ()

    @property
    def all_equal(self) -> bool:
        """True if there is an answer, and all are the same."""
        return 0 < self.questions == self.equal


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """The files written: their hashes, bytes in all, and the comparison if questions were given."""

    folder: str
    precision: str
    bytes: int
    sha256: dict[str, str] = field(default_factory=dict)
    proof: EqualReport | None = None

    def as_dict(self) -> dict[str, object]:
        """For `--json` and model cards."""
        return asdict(self)


def export(
    folder: Path | str,
    out: Path | str,
    *,
    precision: Precision | str = Precision.FLOAT32,
    questions: Sequence[Question] = (),
    max_tokens: int = 256,
    must_be_equal: bool = True,
) -> ExportReport:
    """Writes `folder`, a Hugging Face model, to `out` in the embedded form.

    Args:
        out: A new or empty folder, or one that an earlier export wrote, which is replaced once the new one is complete.
        questions: Asked of both forms, greedily (see `prove_equal`); 200 of one's own kind are a good proof.
        max_tokens: The longest answer compared.
        must_be_equal: A difference is an error, and nothing is written; False only reports it (for int8 and int4).

    Raises:
        ConfigError: No model in `folder`, `out` holds something else, or the architecture is not supported.
        TrainError: The two forms do not answer alike.
    """
    source, target, precision = Path(folder), Path(out), _precision(precision)
    _check(source, target)
    with tempfile.TemporaryDirectory(prefix="corea-export-") as scratch:
        built, made = Path(scratch) / "built", Path(scratch) / "made"
        _build(source.resolve(), built, precision)
        made.mkdir()
        _write_model(built / "model.onnx", made / "model.onnx", half=precision is Precision.FLOAT16)
        for name in KEPT:
            if (built / name).is_file():
                shutil.copyfile(built / name, made / name)
        for name in CARRIED:
            if (source / name).is_file():
                shutil.copyfile(source / name, made / name)
        _settle_config(made / "genai_config.json", made / "tokenizer_config.json")
        proof = prove_equal(source, made, questions, max_tokens=max_tokens) if questions else None
        if proof and must_be_equal and not proof.all_equal:
            first = proof.differences[0]
            raise TrainError(
                f"export {source}: {proof.questions - proof.equal} of {proof.questions} answers differ between the two "
                f"forms, expected none; first {first.question_id} ({first.reason}): {first.expected!r} became "
                f"{first.got!r}; try another precision"
            )
        sums = write_sums(made)
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, target)
    size = sum(path.stat().st_size for path in target.iterdir())
    return ExportReport(folder=str(target), precision=str(precision), bytes=size, sha256=sums, proof=proof)


def prove_equal(
    hf_folder: Path | str, onnx_folder: Path | str, questions: Sequence[Question], *, max_tokens: int = 256
) -> EqualReport:
    """Asks both forms the same questions, greedily, and compares every answer, character by character.

    Both run in batches, through the backends that users run, with the prompt that the model was trained with where the
    folder states it; the prompts' tokens are compared as well.
    """
    file = Path(hf_folder) / PROMPT_FILE
    prompt = load_prompt(str(file)) if file.is_file() else Prompt("none")
    asked = [prompt.render(question) for question in questions]
    return asyncio.run(_prove_equal(Path(hf_folder), Path(onnx_folder), asked, max_tokens))


async def _prove_equal(hf: Path, onnx: Path, questions: Sequence[Question], max_tokens: int) -> EqualReport:
    first = HFBackend(HFSettings(name=str(hf), device="cpu", dtype="float32"))
    second = OnnxBackend(OnnxSettings(folder=str(onnx)))
    sampling = Sampling(temperature=0, max_tokens=max_tokens, logprobs=True)
    try:
        expected = await asyncio.gather(*(first.complete(question, sampling) for question in questions))
        got = await asyncio.gather(*(second.complete(question, sampling) for question in questions))
        prompts = [await first.prompt_tokens(q) == await second.prompt_tokens(q) for q in questions]
    finally:
        await first.close()
        await second.close()
    rows = list(zip(questions, expected, got, prompts, strict=True))
    differences = [d for row in rows if (d := _difference(*row)) is not None]
    gaps = [_gap(a, b) for _, a, b, same in rows if same and a.text == b.text]
    graded = [row for row in rows if row[0].reference is not None]
    right = grade_all(AutoGrader(), [(question, before.text) for question, before, _, _ in graded])
    right_exported = grade_all(AutoGrader(), [(question, after.text) for question, _, after, _ in graded])
    return EqualReport(
        questions=len(rows),
        equal=len(rows) - len(differences),
        tokens=sum(completion.usage.completion_tokens for completion in got),
        largest_logprob_gap=max(gaps, default=0.0),
        graded=len(graded),
        right=sum(verdict.correct for verdict in right),
        right_exported=sum(verdict.correct for verdict in right_exported),
        differences=tuple(differences),
    )


def _difference(question: Question, expected: Completion, got: Completion, same_prompt: bool) -> Difference | None:
    if not same_prompt:
        counts = [str(c.usage.prompt_tokens) + " prompt tokens" for c in (expected, got)]
        return Difference(question_id=question.id, reason="prompt", expected=counts[0], got=counts[1])
    if (expected.text, expected.usage, expected.finish_reason) == (got.text, got.usage, got.finish_reason):
        return None
    return Difference(question_id=question.id, reason="text", expected=expected.text, got=got.text)


def _gap(a: Completion, b: Completion) -> float:
    pairs = zip(a.logprobs or (), b.logprobs or (), strict=False)
    return max((abs(x.logprob - y.logprob) for x, y in pairs), default=0.0)


def write_sums(folder: Path) -> dict[str, str]:
    """Hashes every file into `SHA256SUMS`, which `sha256sum -c` reads; gives them by name."""
    names = sorted(path.name for path in folder.iterdir() if path.name != SUMS)
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    (folder / SUMS).write_text("".join(f"{sums[name]}  {name}\n" for name in names), encoding="utf-8")
    return sums


def _precision(name: Precision | str) -> Precision:
    try:
        return Precision(name)
    except ValueError as error:
        known = ", ".join(Precision)
        raise ConfigError(f"export.precision: got {name!r}, expected one of {known}") from error


def _check(source: Path, target: Path) -> None:
    if not (source / "config.json").is_file():
        raise ConfigError(
            f"export: got {str(source)!r}, which has no config.json; expected a Hugging Face model folder"
        )
    if not (source / "tokenizer.json").is_file():
        raise ConfigError(f"export: {source} has no tokenizer.json; save the tokenizer with the model")
    if target.exists() and (not target.is_dir() or (any(target.iterdir()) and not (target / SUMS).is_file())):
        raise ConfigError(f"export: {target} holds something else; give a new folder, or one that an export wrote")


def _build(source: Path, out: Path, precision: Precision) -> None:
    """Runs the model builder in a process of its own: it prints, changes import paths and needs its own folder."""
    stored = {Precision.FLOAT32: "fp32", Precision.FLOAT16: "fp32"}.get(precision, str(precision))
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(out)]
    command += ["-p", stored, "-e", "cpu", "-c", str(out.parent / "cache")]
    if precision in (Precision.INT8, Precision.INT4):
        command += ["--extra_options", "accuracy_level=1"]  # activations stay float32
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(command, cwd=out.parent, env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        return
    said = done.stderr.strip().splitlines() or ["it said nothing"]
    if "ModuleNotFoundError" in said[-1]:
        raise ConfigError(f"export: the model builder lacks a module ({said[-1]}); {install_hint('onnx_ir')}")
    raise ConfigError(f"export {source}: the model builder of onnxruntime-genai refuses it: {said[-1][:300]}")


def _write_model(built: Path, target: Path, *, half: bool) -> None:
    """Writes the model as one file that is the same in every run."""
    onnx = import_extra("export", "onnx")
    model = onnx.load(str(built))
    model.producer_version = model.producer_version.partition("+")[0]  # after it: the commit of some repository
    if half:
        _store_in_half(model)
    if model.ByteSize() < 2**31 - 2**20:  # what one protobuf file can hold
        onnx.save_model(model, str(target))
    else:
        onnx.save_model(model, str(target), save_as_external_data=True, location=target.name + ".data")


def _store_in_half(model) -> None:
    """Replaces each float32 weight by a float16 one and a Cast, which ONNX Runtime evaluates once, at load.

    The tables of the rotary embedding stay in float32: positions must not be rounded.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name in ("cos_cache", "sin_cache"):
            continue
        values, name = numpy_helper.to_array(tensor), tensor.name
        if float(np.abs(values).max(initial=0)) > float(np.finfo(np.float16).max):
            raise ConfigError(f"export: weight {name} does not fit float16; use float32")
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + ".half"))
        casts.append(helper.make_node("Cast", [name + ".half"], [name], name=name + "/Cast", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _settle_config(genai: Path, tokenizer: Path) -> None:
    """Rewrites the configuration files with sorted keys and without the paths of this machine."""
    for path in (genai, tokenizer):
        config = read_json(path)
        for key in ("is_local", "local_files_only", "name_or_path", "_commit_hash"):
            config.pop(key, None)
        path.write_text(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
