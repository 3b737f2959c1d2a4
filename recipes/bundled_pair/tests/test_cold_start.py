"""The supervised start: what is taught, on which tokens; a killed run resumes; the optimiser; the answers read."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("trl")

import torch
from transformers import AutoModelForCausalLM

from corea.errors import ConfigError
from corea.parsing import is_well_formed, read_answer, read_confidence
from corea.train.settings import PROMPT_FILE
from recipes.bundled_pair.answering import answer, expected_confidences
from recipes.bundled_pair.cold_start import (
    CHUNK,
    ColdStart,
    batches_of_like_length,
    cold_start,
    encode,
    encoded,
    new_model,
    target,
)
from recipes.bundled_pair.format import CONFIDENCE, TAGS, Shape
from recipes.bundled_pair.optimizer import muon_and_adamw
from recipes.bundled_pair.problems import sample
from recipes.bundled_pair.tokenizer import load_tokenizer, train_tokenizer

TINY = Shape(width=32, layers=1, head=16, inner=64, vocabulary=400)
QUESTIONS = sample("slm", 300, 1)


@pytest.fixture(scope="module")
def tokenizer():
    rng = random.Random(1)
    return train_tokenizer([q.text + target(q, rng) for q in QUESTIONS], TINY.vocabulary)


def test_the_reply_taught_is_well_formed_and_right() -> None:
    rng = random.Random(2)
    for q in QUESTIONS:
        reply = target(q, rng).removesuffix("<|end|>")
        assert is_well_formed(reply)
        assert read_answer(reply) == q.reference


def test_confidences_taught_are_even_over_ten_values() -> None:
    rng = random.Random(3)
    stated = [read_confidence(target(QUESTIONS[0], rng)) for _ in range(5000)]
    assert {round(100 * (s or 0)) for s in stated} == set(range(5, 100, 10))
    assert np.mean([s or 0 for s in stated]) == pytest.approx(0.5, abs=0.02)


def test_confidences_taught_are_even_over_a_hundred_values_where_that_is_asked_for(tmp_path: Path) -> None:
    rng = random.Random(3)
    stated = [read_confidence(target(QUESTIONS[0], rng, 100)) for _ in range(5000)]
    assert {round(100 * (s or 0)) for s in stated} == set(range(100))
    assert np.mean([s or 0 for s in stated]) == pytest.approx(0.495, abs=0.02)
    with pytest.raises(ConfigError, match=r"train\.values: got 7, expected 10 or 100"):
        ColdStart(out=tmp_path, values=7)


@pytest.mark.parametrize("text", ["Tom has 12 apples", "Ünïcode 名前 🙂 \t\n", "a<think>b</think>0.85", "  3 - 4"])
def test_any_text_comes_back_as_it_was(tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_digits_are_single_tokens_and_tags_are_ordinary_ones(tokenizer) -> None:
    assert [tokenizer.decode([t]) for t in tokenizer("1234").input_ids] == list("1234")
    for tag in TAGS:
        assert len(tokenizer(tag).input_ids) == 1
        assert tokenizer.decode(tokenizer(tag).input_ids, skip_special_tokens=True) == tag


def test_loss_is_on_the_reply_alone(tokenizer) -> None:
    q = QUESTIONS[0]
    reply = target(q, random.Random(4))
    row = encode([q], [reply], tokenizer)[0]
    asked = row["labels"].count(-100)
    assert tokenizer.decode(row["input_ids"][:asked]) == f"<|user|>{q.text}<|assistant|>"
    assert tokenizer.decode(row["labels"][asked:]) == reply
    assert row["length"] == len(row["input_ids"])


def test_a_number_that_was_learnt_before_is_not_taught_over(tokenizer) -> None:
    q = QUESTIONS[0]
    row = encode([q], [target(q, random.Random(4))], tokenizer, confidence=False)[0]
    taught = tokenizer.decode([t for t in row["labels"] if t != -100])
    assert taught == f"<think>{q.meta['steps']}</think><answer>{q.reference}</answer><confidence>"


def test_a_batch_has_examples_of_like_length_and_none_is_used_twice() -> None:
    rng = random.Random(5)
    lengths = [rng.randint(10, 99) for _ in range(170)]
    order = batches_of_like_length(lengths, 8, rng)
    assert len(order) == len(set(order)) == 168
    spreads = [np.ptp([lengths[i] for i in order[k : k + 8]]) for k in range(0, 168, 8)]
    assert np.mean(spreads) < 10
    middles = [lengths[order[k]] for k in range(0, 160, 8)]
    assert middles != sorted(middles)


def settings(out: Path) -> ColdStart:
    return ColdStart(out=out, shape=TINY, examples=200, batch=8, steps=8, warmup=2, decay=2, save_every=4)


@pytest.mark.filterwarnings("ignore")
def test_a_killed_run_that_resumes_gives_the_same_weights_as_an_unbroken_one(tmp_path: Path) -> None:
    whole = cold_start(settings(tmp_path / "whole"))
    assert (whole / PROMPT_FILE).read_text() == "{question}\n"
    assert AutoModelForCausalLM.from_pretrained(whole).config.use_cache  # or every token costs a whole pass
    broken = tmp_path / "broken"
    broken.mkdir()
    (tmp_path / "whole" / "checkpoints" / "checkpoint-4").rename(tmp_path / "kept")
    (broken / "checkpoints").mkdir()
    (tmp_path / "kept").rename(broken / "checkpoints" / "checkpoint-4")
    cold_start(settings(broken))
    one, two = (AutoModelForCausalLM.from_pretrained(f).state_dict() for f in (whole, broken))
    for name, weight in one.items():
        assert torch.allclose(weight, two[name], atol=1e-6), name


@pytest.mark.slow
def test_several_processes_make_the_same_lessons_as_one(tokenizer, tmp_path: Path) -> None:
    one = replace(settings(tmp_path), examples=CHUNK + 100)
    rows, mark = encoded(one, tokenizer)
    assert len(rows) == CHUNK + 100
    again, same = encoded(replace(one, processes=2), tokenizer)
    assert mark == same
    assert rows[-1] == again[-1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(torch.cuda.is_available(), reason="what is said where there is no GPU")
def test_a_gpu_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^train: TRL refuses .* without a GPU set cpu = true") as told:
        cold_start(replace(settings(tmp_path), cpu=False, bf16=True))
    assert "\n" not in str(told.value)


def test_settings_that_would_repeat_problems_or_name_no_world_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.examples"):
        replace(settings(tmp_path), steps=1000)
    with pytest.raises(ConfigError, match=r"train\.world"):
        replace(settings(tmp_path), world="moon")
    with pytest.raises(ConfigError, match=r"train\.shape\.width"):
        Shape(width=33)


def test_the_two_optimisers_step_and_reload_as_one(tokenizer) -> None:
    model = new_model(TINY, tokenizer, 1)
    optimizer = muon_and_adamw(model, learning_rate=0.01, weight_decay=0.0)
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(model.parameters()))
    ids = torch.arange(20)[None]
    before = model(input_ids=ids, labels=ids).loss.item()
    for _ in range(5):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert model(input_ids=ids, labels=ids).loss.item() < before - 0.3
    other = muon_and_adamw(model, learning_rate=0.5, weight_decay=0.0)
    other.load_state_dict(optimizer.state_dict())
    assert [g["lr"] for g in other.param_groups] == [0.01, 0.005]


def test_the_expected_confidence_is_the_mean_over_all_hundred_numbers(tokenizer) -> None:
    torch.manual_seed(0)
    model = new_model(TINY, tokenizer, 5).eval()
    asked, reply = tokenizer("<|user|>2 + 2 = ?<|assistant|>").input_ids, tokenizer("<confidence>0.12").input_ids
    padded = tokenizer("<|user|>2 + 2 and more = ?<|assistant|>").input_ids
    got = expected_confidences(model, tokenizer, [asked, padded, asked], [reply, reply, asked])
    digits = tokenizer.convert_tokens_to_ids([str(d) for d in range(10)])
    prefix = [*asked, tokenizer.convert_tokens_to_ids(CONFIDENCE), *tokenizer("0.").input_ids]
    with torch.inference_mode():
        first = model(torch.tensor([prefix])).logits[0, -1, digits].softmax(-1)
        mean = 0.0
        for d, share in enumerate(first.tolist()):
            second = model(torch.tensor([[*prefix, digits[d]]])).logits[0, -1, digits].softmax(-1)
            mean += share * sum((d / 10 + e / 100) * p for e, p in enumerate(second.tolist()))
    assert got[0] == pytest.approx(mean, abs=1e-5)
    assert np.isnan(got[2])


def test_answers_of_an_untrained_model_are_wrong_and_state_nothing(tokenizer) -> None:
    model = new_model(TINY, tokenizer, 6)
    got = answer(model, tokenizer, QUESTIONS[:10], max_tokens=8, batch=4)
    assert got.correct.tolist() == [0.0] * 10
    assert np.isnan(got.stated).all()
    assert got.completion_tokens.max() <= 8
    assert len(got.texts) == 10


def test_load_tokenizer_reads_what_was_saved(tokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    chat = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "3 + 4 = ?"}]
    assert again.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == (
        "<|user|>3 + 4 = ?<|assistant|>"
    )


def test_a_start_that_is_not_there_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"train\.start: got '.*nowhere', which has no config\.json; expected the folder"
    ):
        ColdStart(out=tmp_path, start=tmp_path / "nowhere")
