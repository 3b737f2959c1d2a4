"""The texts that a cold start teaches, and their tokens and labels under a tokenizer that splits every tag."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from corea.errors import ConfigError, DataError
from corea.graders import AutoGrader
from corea.parsing import is_well_formed, read_answer, read_confidence
from corea.prompts import Prompt
from corea.train.cold_start import ColdStartSettings, encoded, load_model, taught_texts
from corea.types import Message, Question

COLD = Path(__file__).parent / "data" / "cold"
TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def settings(**given: Any) -> ColdStartSettings:
    return ColdStartSettings(model="m", out=Path("o"), **given)


def asked(n: int = 2, **meta: Any) -> list[Question]:
    return [
        Question(id=f"q{i}", messages=(Message("user", f"{i} + 1?"),), reference=str(i + 1), meta=meta)
        for i in range(n)
    ]


def characters() -> Any:
    """A tokenizer with a token for each byte, as a foreign one that knows none of our tags."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate(alphabet)}
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>", pad_token="<|pad|>")
    made.chat_template = TEMPLATE
    return made


def recording(folder: Path, responses: list[str], **more: Any) -> dict[str, str]:
    file = folder / "recorded.jsonl"
    rows = [{"id": f"q{i}", "model": "large", "response": text, **more} for i, text in enumerate(responses)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"path": str(file)}


def test_a_questions_own_steps_are_taught_in_the_form_of_the_default_prompt() -> None:
    texts = taught_texts(settings(), asked(200, steps="1 + 1 = 2"), AutoGrader())
    assert all(is_well_formed(taught.text) for taught in texts)
    assert texts[0].text.startswith("<think>1 + 1 = 2</think><answer>1</answer><confidence>0.")
    stated = [read_confidence(taught.text) or 0.0 for taught in texts]
    assert len(set(stated)) > 70  # of a hundred, drawn evenly
    assert sum(stated) / len(stated) == pytest.approx(0.495, abs=0.06)


def test_recorded_texts_are_taught_where_they_are_right_whatever_their_form(tmp_path: Path) -> None:
    ours = "<think>one more</think><answer>1</answer><confidence>0.8</confidence>"
    responses = [ours, "Adding one gives two. The answer is 2", "I think it is 7. The answer is 7"]
    taught = taught_texts(settings(recorded=recording(tmp_path, responses)), asked(3), AutoGrader())
    assert [text.question.id for text in taught] == ["q0", "q1"]
    assert [read_answer(text.text) for text in taught] == ["1", "2"]
    assert taught[0].text.startswith("<think>one more</think>")
    assert "Adding one gives two." in taught[1].text


def test_a_recorded_confidence_is_taught_on_request(tmp_path: Path) -> None:
    stated = "<think>a</think><answer>1</answer><confidence>0.8</confidence>"
    recorded = recording(tmp_path, [stated, "The answer is 2"], confidence=0.35)
    texts = taught_texts(settings(recorded=recorded, confidence="recorded"), asked(), AutoGrader())
    assert [read_confidence(text.text) for text in texts] == [0.8, 0.35]
    bare = recording(tmp_path, ["The answer is 1", "The answer is 2"])
    with pytest.raises(DataError, match="q0: its recorded text states no confidence"):
        taught_texts(settings(recorded=bare, confidence="recorded"), asked(), AutoGrader())


def test_texts_that_cannot_be_made_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="q0: got steps = None, expected a written solution"):
        taught_texts(settings(), asked(), AutoGrader())
    with pytest.raises(DataError, match=r"train\.recorded: none of 2 recorded texts is right"):
        taught_texts(settings(recorded=recording(tmp_path, ["no", "no"])), asked(), AutoGrader())
    with pytest.raises(DataError, match=r"train\.recorded: .*'q1', which has no recorded answer"):
        taught_texts(settings(recorded=recording(tmp_path, ["The answer is 1"])), asked(), AutoGrader())
    with pytest.raises(ConfigError, match=r"train\.confidence: got 'even', expected one of uniform, recorded, none"):
        settings(confidence="even")
    with pytest.raises(ConfigError, match=r"without a table \[recorded\]"):
        settings(confidence="recorded")


def test_the_reply_and_the_tokenizers_own_end_token_are_taught_and_the_prompt_is_not() -> None:
    tokenizer, prompt = characters(), Prompt("p", user="Q: {question}", system="Be brief.")
    (taught, *_) = texts = taught_texts(settings(), asked(steps="s"), AutoGrader())
    row = encoded(texts, tokenizer, prompt)[0]
    learnt = [id_ for id_, label in zip(row["input_ids"], row["labels"], strict=True) if label != -100]
    assert [label for label in row["labels"] if label != -100] == learnt
    assert learnt[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(learnt[:-1]) == taught.text
    given = tokenizer.decode(row["input_ids"][: -len(learnt)])
    assert given == "[system]Be brief.<|im_end|>[user]Q: 0 + 1?<|im_end|>[assistant]"


def test_without_a_confidence_the_text_is_taught_up_to_its_tag() -> None:
    tokenizer = characters()
    texts = taught_texts(settings(confidence=False), asked(steps="s"), AutoGrader())
    row = encoded(texts, tokenizer, Prompt("p"))[0]
    learnt = [label for label in row["labels"] if label != -100]
    assert tokenizer.decode(learnt) == "<think>s</think><answer>1</answer><confidence>"


def test_a_model_whose_end_token_does_not_end_its_texts_is_refused(tmp_path: Path) -> None:
    for file in COLD.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    generation = tmp_path / "generation_config.json"
    generation.write_text(json.dumps({**json.loads(generation.read_text()), "eos_token_id": 5}))
    with pytest.raises(ConfigError, match=r"generates up to the token 5, and its tokenizer's end token is 637"):
        load_model(str(tmp_path))
    with pytest.raises(ConfigError, match=r"train\.model: got 'no/where', which cannot be loaded"):
        load_model("no/where")
