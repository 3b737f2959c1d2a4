"""Short real runs for the tests of the RL recipe, each in a process of its own: python runs.py WHAT OUT [...]."""

import json
import os
import signal
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")

import torch  # noqa: E402  (warnings first)
from transformers import TrainerCallback  # noqa: E402

from corea.demo import bundled_questions  # noqa: E402
from corea.errors import TrainError  # noqa: E402
from corea.graders import AutoGrader  # noqa: E402
from corea.parsing import read_answer  # noqa: E402
from corea.prompts import Prompt  # noqa: E402
from corea.train.advantages import balanced_weight  # noqa: E402
from corea.train.cold_start import ColdStartSettings, cold_start  # noqa: E402
from corea.train.confidence_credit import catch_logits  # noqa: E402
from corea.train.rlcc import make_trainer, save  # noqa: E402
from corea.train.settings import RlccSettings, last_checkpoint  # noqa: E402
from corea.types import Question, Verdict  # noqa: E402
from recipes.bundled_pair.problems import sample  # noqa: E402

MODEL = Path(__file__).parent / "data" / "cold"
CPU = {
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "model_init_kwargs": {"dtype": "float32"},
}


class Exact:
    def grade(self, question: Question, text: str) -> Verdict:
        answer = read_answer(text)
        return Verdict(answer == question.reference, answer)


class Even:
    """Right where the answer is even: some canned rollouts are, some are not."""

    def grade(self, question: Question, text: str) -> Verdict:
        answer = read_answer(text)
        return Verdict(answer in ("0", "2"), answer)


class KilledAt(TrainerCallback):
    """A power cut after so many steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def canned(prompts: list[Any], trainer: Any, *, stated: bool = True) -> dict[str, Any]:
    """Rollouts that depend on the question and the place in its group alone, however processes share the work.

    Args:
        stated: False: no rollout states a confidence.
    """
    tokenizer, group = trainer.processing_class, trainer.num_generations
    first = trainer.accelerator.process_index * len(prompts)
    texts = []
    for i, prompt in enumerate(prompts):
        member, length = (first + i) % group, len(prompt[-1]["content"])
        number = f"<confidence>0.{(7 * member + length) % 10}5</confidence>" if stated and member != 3 else ""
        text = f"<think>{member}</think><answer>{(member + length) % 4}</answer>{number}"
        texts.append(text + tokenizer.eos_token)
    asked = tokenizer.apply_chat_template(prompts, add_generation_prompt=True, return_dict=False)
    told = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    return {"prompt_ids": asked, "completion_ids": told, "logprobs": None}


def made(out: Path, *, trl: dict[str, Any], **given: Any) -> tuple[Any, RlccSettings, list[Question]]:
    """A trainer before its first step, with its settings and questions."""
    torch.set_num_threads(1)
    further = {key: given.pop(key) for key in ("rollout_func",) if key in given}
    grader, questions = given.pop("grader", Exact()), given.pop("questions", bundled_questions("validation"))
    settings = RlccSettings(model=str(MODEL), out=out, max_tokens=112, trl={**CPU, **trl}, **given)
    trainer = make_trainer(
        settings,
        questions=questions,
        held_out=bundled_questions("test", 16),
        grader=grader,
        prompt=Prompt("bundled"),
        **further,
    )
    return trainer, settings, questions


def run(out: Path, *, trl: dict[str, Any], callbacks: list[Any] | None = None, **given: Any) -> None:
    trainer, settings, questions = made(out, trl=trl, **given)
    for callback in callbacks or []:
        trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=last_checkpoint(settings.out))
    trainer.evaluate()
    save(settings, trainer, questions, Prompt("bundled"), "python tests/train/runs.py")


def split(out: Path, processes: str, credit: str) -> None:
    """Three steps on canned rollouts; with two processes each holds one and a half groups."""
    batch = 24 // int(processes)
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    shape: dict[str, Any] = {
        "generations": 8,
        "questions_per_step": 3,
        "device_batch": batch,
        "steps": 3,
        "evaluate_every": 100,
    }
    trl = {"save_strategy": "no", "load_best_model_at_end": False}
    run(out, trl=trl, rollout_func=canned, credit=credit, **shape)


def enumerated(out: Path) -> None:
    """Writes how far the gradient of credit for all values is from that of stock losses on every digit in turn."""
    shape = {"generations": 8, "questions_per_step": 2, "device_batch": 16}
    trl = {"gradient_checkpointing": True}
    trainer, *_ = made(out, trl=trl, rollout_func=canned, credit="all-values", confidence_weight=10.0, **shape)
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = trainer.state.max_steps = 1
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    model, at, pay = trainer.model, batch.pop("number_at"), batch.pop("number_pay")
    bonus = batch.pop("number_bonus")

    def gradient(inputs: dict[str, Any]) -> torch.Tensor:
        model.zero_grad()
        trainer._compute_loss(model, inputs).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    rows, which = (at >= 0).nonzero(as_tuple=True)
    columns = at[rows, which]
    # recorded ratios of vLLM's probabilities: they correct the sampled tokens, and leave the digits as they are
    trainer.use_vllm = trainer.vllm_importance_sampling_correction = True
    ratios = 0.5 + torch.rand(batch["completion_ids"].shape, generator=torch.Generator().manual_seed(0))
    batch["importance_sampling_ratio"] = ratios.index_put((rows, columns), torch.tensor(1.0))
    rest = batch["advantages"].index_put((rows, columns), torch.zeros(len(rows)))
    numbers = {"number_at": at, "number_pay": pay, "number_bonus": bonus, "importance_sampling_ratio": ratios}
    ours = gradient({**batch, **numbers}) - gradient({**batch, "advantages": rest})
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits[rows, batch["prompt_ids"].shape[1] - 1 + columns]
    chances, pays = logits[:, trainer.digits].softmax(-1), pay[rows, which]
    weighed = chances * (pays - (chances * pays).sum(-1, keepdim=True))
    summed = torch.zeros_like(ours)
    for n in range(at.shape[1]):  # one digit of each number at a time, or the second would stand behind a changed first
        one = which == n
        for k, digit in enumerate(trainer.digits):
            told = batch["completion_ids"].index_put((rows[one], columns[one]), torch.tensor(digit))
            credit = torch.zeros_like(rest).index_put((rows[one], columns[one]), weighed[one, k])
            summed += gradient({**batch, "completion_ids": told, "advantages": credit})
    out.mkdir(parents=True, exist_ok=True)
    facts = {"numbers": int((at[:, 0] >= 0).sum()), "off": float((ours - summed).norm() / summed.norm())}
    (out / "log.jsonl").write_text(json.dumps(facts) + "\n")


def lora(out: Path) -> None:
    """Two steps of an adapter, watched by tensorboard; writes what the trained model says before it is merged."""
    adapter = {"r": 4, "lora_alpha": 16, "target_modules": "all-linear"}
    shape = {"generations": 4, "questions_per_step": 2, "steps": 2, "evaluate_every": 2}
    trl = {"report_to": "tensorboard", "load_best_model_at_end": False, "save_strategy": "no"}
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(out / "board")
    trainer, settings, questions = made(
        out,
        trl=trl,
        lora=adapter,
        rollout_func=canned,
        grader=Even(),
        credit="all-values",
        learning_rate=0.02,
        device_batch=8,
        **shape,
    )
    trainer.train()
    ids = torch.arange(40)[None]
    with torch.no_grad():
        torch.save(trainer.model(input_ids=ids).logits, out / "logits.pt")
    save(settings, trainer, questions, Prompt("bundled"), "python tests/train/runs.py")


def shards(out: Path) -> None:
    """Writes how far digits' logits and their gradients are off where each process holds half of the weights."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    torch.distributed.init_process_group("gloo")
    ids, rows, columns = torch.arange(60).view(2, 30), torch.tensor([0, 1, 1]), torch.tensor([5, 7, 20])

    def found(*, sharded: bool) -> tuple[torch.Tensor, dict[str, Any], int]:
        model: Any = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
        add_fused_lm_head(model)
        for part in [*model.model.layers, model] if sharded else []:
            fully_shard(part, mesh=init_device_mesh("cpu", (2,)))
        with catch_logits(model, rows, columns) as caught:
            scored = model(input_ids=ids, labels=ids, fused_lm_head=True)
        (caught[0].softmax(-1)[:, 3].sum() + scored.log_probs.mean()).backward()
        held = sum(p.to_local().numel() if sharded else p.numel() for p in model.parameters())
        grads = {n: p.grad.full_tensor() if sharded else p.grad for n, p in model.named_parameters()}
        return caught[0].detach(), grads, held

    (logits, grads, held), (logits_2, grads_2, held_2) = found(sharded=False), found(sharded=True)
    off = max(float((grads[name] - grads_2[name]).abs().max()) for name in grads)
    facts = {"share": held_2 / held, "logits_off": float((logits - logits_2).abs().max()), "gradient_off": off}
    if torch.distributed.get_rank() == 0:
        out.mkdir(parents=True, exist_ok=True)
        (out / "log.jsonl").write_text(json.dumps(facts) + "\n")
    torch.distributed.destroy_process_group()


def balance(out: Path) -> None:
    """Writes the norms of the confidence reward's gradient and of all others, at the weight that the length gives.

    Of the model's own rollouts, with short and with long replies.
    """
    facts = []
    problems = sample("slm", 3000, 7, split="train")
    for shortest, longest in ((0, 15), (50, 80)):  # characters of the steps
        trainer, *_ = made(
            out,
            trl={},
            questions=[q for q in problems if shortest <= len(q.meta["steps"]) < longest][:64],
            credit="all-values",
            reward="l2-group",
            generations=8,
            questions_per_step=16,
            device_batch=128,
        )
        trainer.evaluate()
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = trainer.state.max_steps = 1
        batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
        tokens = float(batch["completion_mask"].sum(1).float().mean())
        first = next(log["eval_confidence_weight"] for log in trainer.state.log_history)
        facts.append({"tokens": tokens, "first": first, "used": float(trainer.reward_weights[-1])})
        rows, which = (batch["number_at"] >= 0).nonzero(as_tuple=True)
        columns = batch["number_at"][rows, which]

        def norm(inputs: dict[str, Any], trainer: Any = trainer) -> float:
            trainer.model.zero_grad()
            trainer._compute_loss(trainer.model, inputs).backward()
            return float(torch.cat([p.grad.flatten() for p in trainer.model.parameters()]).norm())

        texts = {key: value for key, value in batch.items() if not key.startswith("number_")}
        rest = batch["advantages"].index_put((rows, columns), torch.zeros(len(rows)))
        number = {**batch, "advantages": torch.zeros_like(batch["advantages"])}
        weight = balanced_weight(tokens) / facts[-1]["used"]  # of this kind's own length
        facts[-1] |= {"number": norm(number) * weight, "rest": norm({**texts, "advantages": rest})}
    out.mkdir(parents=True, exist_ok=True)
    (out / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in facts))


class Wrong:
    def grade(self, question: Question, text: str) -> Verdict:
        return Verdict(False, None)


def stops(out: Path) -> None:
    """Writes why runs stop that have nothing to learn from."""
    shape: dict[str, Any] = {"generations": 4, "questions_per_step": 4, "device_batch": 16, "steps": 9}
    silent, never = partial(canned, stated=False), {"eval_strategy": "no", "eval_on_start": False}
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"rollout_func": silent}, {}),
        ({"rollout_func": silent, "confidence_weight": 1.0}, never),
        ({"rollout_func": canned, "reward": "rlvr", "format_weight": 0.0, "grader": Wrong()}, never),
    ]
    reasons = []
    for number, (given, trl) in enumerate(cases):
        trainer, *_ = made(
            out / str(number), trl={"save_strategy": "no", "load_best_model_at_end": False, **trl}, **shape, **given
        )
        try:
            trainer.train()
            reasons.append({"step": trainer.state.global_step, "said": ""})
        except TrainError as error:
            reasons.append({"step": trainer.state.global_step, "said": str(error)})
    (out / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in reasons))


def ruined(out: Path) -> None:
    """Two steps at a learning rate that destroys the model."""
    shape: dict[str, Any] = {
        "generations": 4,
        "questions_per_step": 4,
        "device_batch": 16,
        "steps": 2,
        "evaluate_every": 1,
    }
    run(out, trl={}, learning_rate=10.0, warmup=0, **shape)


def cold(out: Path) -> None:
    """A cold start of the tiny model with an adapter, on recorded texts in another form."""
    questions = bundled_questions("validation", 64)
    rows = [{"id": q.id, "model": "m", "response": f"So it is {q.reference}. Answer: {q.reference}"} for q in questions]
    (out / "base").mkdir(parents=True)
    for file in MODEL.iterdir():
        (out / "base" / file.name).write_bytes(file.read_bytes())
    (out / "base" / "README.md").write_text("---\nlicense: mit\nbase_model: some/one\n---\n")
    (out / "recorded.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    torch.set_num_threads(1)
    cold_start(
        ColdStartSettings(
            model=str(out / "base"),
            out=out,
            recorded={"path": str(out / "recorded.jsonl")},
            batch=8,
            epochs=4.0,
            learning_rate=0.01,
            check_tokens=48,
            lora={"r": 8, "lora_alpha": 16, "target_modules": "all-linear"},
            trl={"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "disable_tqdm": True},
        ),
        questions=questions,
        held_out=bundled_questions("test", 64),
        grader=AutoGrader(),
        prompt=Prompt("bundled", user="Please: {question}"),
        command="corea train cold-start x.toml",
    )


def resume(out: Path, killed_at: str = "0") -> None:
    """Six steps of two an epoch, with a checkpoint at every second one, killed after step `killed_at` if not 0."""
    shape: dict[str, Any] = {"generations": 4, "questions_per_step": 4, "device_batch": 8, "steps": 6}
    callbacks = [KilledAt(int(killed_at))] if int(killed_at) else []
    run(out, trl={}, callbacks=callbacks, questions=bundled_questions("validation", 8), evaluate_every=2, **shape)


if __name__ == "__main__":
    parts = {"split": split, "lora": lora, "enumerated": enumerated, "shards": shards, "resume": resume}
    parts |= {"balance": balance, "stops": stops, "ruined": ruined, "cold": cold}
    parts[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
