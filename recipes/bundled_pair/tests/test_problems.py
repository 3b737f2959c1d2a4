"""The generated problems: right answers, true steps, mixtures that differ as documented, splits that share no text."""

import math
import re
from random import Random

import pytest

from corea.errors import ConfigError
from recipes.bundled_pair.problems import WORLDS, sample, split_of
from recipes.bundled_pair.problems.mixtures import FAR_KINDS, KINDS, STRANGE_KINDS, UNTAUGHT, garble
from recipes.bundled_pair.problems.problem import Problem, checked
from recipes.bundled_pair.problems.style import UNTAUGHT_NAMES, WIDE_NAMES, WIDE_THINGS, Style, foreign_word

ALL_KINDS = {**KINDS, **FAR_KINDS, **STRANGE_KINDS}
WIDE = Style(wide=0.5, negative=True)


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_kind_verifies_its_own_answers_at_every_level(kind: str, level: int) -> None:
    rng = Random(f"{kind}{level}")
    for _ in range(60):  # `checked` inside each generator raises where answer or a step is false
        problem = ALL_KINDS[kind](rng, level, WIDE)
        assert (problem.kind, problem.level) == (kind, level)
        assert problem.answer
        assert "\n" not in problem.text


def test_a_chain_question_read_by_python_gives_its_reference() -> None:
    for q in sample("slm", 400, 11):
        written = re.fullmatch(r"(?:What is|Compute|Work out)? ?([\d +-]+?)(?: = \?|[.?])", q.text)
        if q.category == "chain":
            assert written, q.text
            assert str(eval(written[1])) == q.reference


def test_gcd_and_sort_and_count_questions_are_answered_by_other_means() -> None:
    for q in sample("ood", 600, 12):
        numbers = [int(n) for n in re.findall(r"\d+", q.text)]
        if q.category == "gcd":
            assert q.reference == str(math.gcd(*numbers))
        if q.category == "sort":
            wanted = sorted(numbers, reverse="descending" in q.text)
            assert q.reference == ", ".join(map(str, wanted))
        if q.category == "count":
            wanted_letter, *word = re.findall(r"\b[a-z]\b", q.text)
            assert q.reference == str(word.count(wanted_letter))


def test_a_false_step_or_a_false_answer_is_refused() -> None:
    right = Problem(kind="chain", level=1, text="2 + 2 = ?", steps="2+2=4", answer="4")
    assert checked(right, "4") is right
    with pytest.raises(AssertionError, match="should answer 5"):
        checked(right, "5")
    wrong = Problem(kind="chain", level=1, text="2 + 2 = ?", steps="2+2=5", answer="4")
    with pytest.raises(AssertionError, match="does not hold"):
        checked(wrong, "4")


@pytest.mark.parametrize("world", WORLDS)
def test_a_sample_is_the_same_for_the_same_seed_and_another_for_another(world: str) -> None:
    assert sample(world, 30, 5) == sample(world, 30, 5)
    assert [q.text for q in sample(world, 30, 5)] != [q.text for q in sample(world, 30, 6)]


def test_no_text_is_in_two_splits_whatever_the_world() -> None:
    texts = {
        split: {q.text for world in WORLDS for q in sample(world, 800, 3, split=split)}
        for split in ("train", "validation", "test")
    }
    assert all(split_of(text) == split for split, found in texts.items() for text in found)
    assert not texts["train"] & texts["validation"]
    assert not texts["train"] & texts["test"]
    assert not texts["validation"] & texts["test"]


def test_measured_splits_hold_no_text_twice() -> None:
    for split in ("validation", "test"):
        texts = [q.text for q in sample("slm", 1500, 4, split=split)]
        assert len(set(texts)) == 1500


def test_counting_names_its_letter_then_numbers_each_time_it_is_met() -> None:
    for q in [q for q in sample("slm", 400, 5) if q.category == "count"]:
        wanted, *word = re.findall(r"\b[a-z]\b", q.text)
        steps, met = q.meta["steps"].removeprefix(f"is {wanted}: ").split(), 0
        assert [step[0] for step in steps] == word
        for step in steps:
            met += step[0] == wanted
            assert step[1:] == (str(met) if step[0] == wanted else "")


def test_a_garbled_problem_keeps_its_numbers_and_its_answer() -> None:
    rng = Random(4)
    for q in sample("slm", 200, 6):
        made = Problem(kind="x", level=1, text=q.text, steps=q.meta["steps"], answer=str(q.reference))
        other = garble(made, rng)
        assert re.findall(r"\d+", other.text) == re.findall(r"\d+", made.text)
        assert (other.answer, len(other.text.split())) == (made.answer, len(made.text.split()))
    assert any(garble(made, rng).text != made.text for _ in range(9))  # the last one


def test_prompts_of_reinforcement_learning_have_no_word_of_the_world_beyond() -> None:
    asked = " ".join(q.text for q in sample("rl", 4000, 8))
    assert not [word for word in (*WIDE_NAMES, *WIDE_THINGS) if re.search(rf"\b{word}\b", asked)]
    assert "highest common factor" not in asked
    assert {q.category for q in sample("rl", 2000, 8)} == {*KINDS, *STRANGE_KINDS}


def test_tales_say_more_fewer_or_as_many_as_before() -> None:
    asked = [q for q in sample("odd", 2500, 9) if q.category == "tale"]
    for q in asked:
        first, second = map(int, re.findall(r"\d+", q.text))
        assert int(str(q.reference)) in (first, first - second, first + second, first * second)
    eaten = next(q for q in asked if " eats " in q.text)
    first, second = map(int, re.findall(r"\d+", eaten.text))
    assert eaten.reference == str(first - second)
    assert len({q.text.split(str(q.reference))[0] for q in asked}) > 200


def test_lessons_are_of_the_world_they_prepare_for_with_more_made_up_names() -> None:
    taught = {(q.category, q.meta["level"]) for q in sample("slm_lessons", 6000, 1)}
    assert taught == {(q.category, q.meta["level"]) for q in sample("slm", 6000, 1)}
    asked = " ".join(q.text for q in sample("slm_lessons", 4000, 8))
    assert not [word for word in (*WIDE_NAMES, *WIDE_THINGS) if re.search(rf"\b{word}\b", asked)]


def test_names_and_letters_to_doubt_are_in_no_lesson_and_not_in_the_world_beyond() -> None:
    def unknowns(world: str) -> set[str]:
        asked = [q.text for q in sample(world, 4000, 3) if q.category == "equation"]
        return {letter for text in asked for letter in re.findall(r"(?:\d\*)?\b([A-Za-z]) [-+=]", text)}

    fresh = set(UNTAUGHT.letters)
    assert fresh <= unknowns("odd")
    assert fresh.isdisjoint(unknowns("slm_lessons") | unknowns("llm") | unknowns("ood"))
    beyond = " ".join(q.text for world in ("slm_lessons", "llm", "ood") for q in sample(world, 2000, 3))
    assert not [name for name in UNTAUGHT_NAMES if re.search(rf"\b{name}\b", beyond)]
    assert {"Albert", "Yvonne"} <= {word for q in sample("odd", 4000, 3) for word in re.findall(r"\w+", q.text)}
    words = {foreign_word(Random(i)) for i in range(300)}
    assert len(words) > 250
    lessons = {word for q in sample("slm_lessons", 4000, 8) for word in re.findall(r"[a-z]+", q.text.lower())}
    assert len(words & lessons) <= 3  # short ones, by chance
    assert not {name.lower() for name in WIDE_NAMES} & words


def test_the_small_world_is_inside_the_large_one_and_far_kinds_are_outside_the_small_one() -> None:
    small = {(q.category, q.meta["level"]) for q in sample("slm", 3000, 1)}
    large = {(q.category, q.meta["level"]) for q in sample("llm", 6000, 1)}
    assert small < large
    assert max(level for _, level in small) == 4
    assert {kind for kind, _ in small}.isdisjoint(FAR_KINDS)
    assert {q.category for q in sample("far", 300, 1)} == set(FAR_KINDS) <= {kind for kind, _ in large}


def test_out_of_domain_is_one_notch_beyond_in_size_or_in_words() -> None:
    home = " ".join(q.text for q in sample("slm", 3000, 1))
    for q in sample("ood", 300, 2):
        if q.meta["level"] < 5:
            words = [w for w in re.findall(r"[a-z]{4,}", q.text) if w not in home]
            assert words or not q.text.startswith(("What is the gcd", "Sort in", "Put in")), q.text


def test_the_sentence_of_the_readme_is_in_domain() -> None:
    seen = {re.sub(r"[A-Z][a-z]+ has \d+ [a-z]+", "_", q.text) for q in sample("slm", 4000, 1)}
    assert any(re.fullmatch(r"_ and buys \d+ more\. How many\?", text) for text in seen)


def test_a_world_that_is_not_known_and_one_too_small_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean .slm.|expected one of"):
        sample("smal", 3, 1)
    with pytest.raises(ConfigError, match=r"tasks\.split"):
        sample("slm", 3, 1, split="tset")
