import pytest
from hypothesis import given
from hypothesis import strategies as st

from corea.graders.choice import ChoiceGrader, option_letter
from corea.types import Message, Question


def question(reference: str, *options: str) -> Question:
    return Question(id="q", messages=(Message("user", "?"),), reference=reference, choices=options)


def accepted(answer: str, options: tuple[str, ...]) -> str:
    """The letters of all references that the grader finds an answer right for."""
    text = f"<answer>{answer}</answer>"
    letters = [chr(ord("A") + i) for i in range(len(options))]
    return "".join(letter for letter in letters if ChoiceGrader().grade(question(letter, *options), text).correct)


ANIMALS = question("B", "the cat", "big dog", "dog", "E. coli")
CITIES = ("London", "Paris", "Rome", "New York")
COLOURS = ("red", "blue", "green", "none of the above")
NUMBERS = ("3", "4", "5", "6")
BACTERIA = ("S. aureus", "E. coli", "B. subtilis", "H. pylori", "C. difficile")

OPTION_SETS = [
    ("-5", "5", "0", "25"),
    ("x < 2", "x > 2", "x = 2", "x ≤ 2", "x ≥ 2", "x ≠ 2"),
    ("C", "C++", "C#", "Java"),
    ("Na", "Na+", "Na-", "Na²⁺"),
    ("10%", "10", "$10", "0.010"),
    ("+", "-", "*", "/", "**"),
    ("++i", "i++", "--i", "i--"),
    ("&&", "||", "!", "=="),
    ("=", "==", "===", "!="),
    ("f(x)", "f'(x)", "f''(x)", "f(x)-2", "f(x)+2"),
    ("(0, 1)", "[0, 1]", "(0, 1]", "[0, 1)"),
    ("10^3", "10^-3", "-10^3", "103"),
    ("x2", "2x", "x^2", "x"),
    ("$\\frac{1}{2}$", "$\\frac{1}{3}$", "$-\\frac{1}{2}$", "12"),
    ("1/2", "1.2", "1,2", "12", "1-2"),
    ("mW", "MW", "kW", "W"),
    ("CO", "Co", "CO2", "C2O"),
    ("A+", "A-", "AB+", "O-"),
    ("World War I", "World War II", "World War", "War"),
    ("increase", "no increase", "increases", "not increase"),
    ("Yes", "No", "Not sure"),
    ("True", "False", "Not true"),
    ("Hepatitis A", "Hepatitis B", "Hepatitis C"),
    ("Vitamin D", "Vitamin C", "Vitamin B", "Vitamin A"),
    ("I only", "II only", "I and II", "I, II and III", "none"),
    BACTERIA,
    COLOURS,
    ("it's", "its", "it is"),
    ("a cat", "the cat", "cat"),
    ("10 m/s", "10 m/s²", "10 m", "10 km/h"),
    ("e-mail", "email", "e mail"),
    ("U.S.", "UK", "us"),
    ("résumé", "resume"),
    ("3:2", "2:3", "32"),
    ("#1", "1", "No. 1"),
    ("5!", "5", "55"),
    ("A. Lincoln", "B. Franklin", "T. Jefferson", "J. Adams"),
]


@pytest.mark.parametrize("options", OPTION_SETS, ids=lambda options: options[0])
def test_an_options_own_text_is_right_for_its_own_letter_alone_in_any_order(options: tuple[str, ...]) -> None:
    for turn in range(len(options)):
        turned = options[turn:] + options[:turn]
        for i, option in enumerate(turned):
            assert option_letter(option, turned) == chr(ord("A") + i), option


@pytest.mark.parametrize("options", OPTION_SETS, ids=lambda options: options[0])
def test_no_answer_is_right_for_two_options_or_for_another_than_its_own(options: tuple[str, ...]) -> None:
    for i, option in enumerate(options):
        own = chr(ord("A") + i)
        for written in (option, f"**{option}**", f"{own}) {option}", f"{own}"):
            assert accepted(written, options) in ("", own) or written == own in options, written


@pytest.mark.parametrize(
    "text",
    [
        "<answer>B</answer>",
        "<answer>b</answer>",
        "<answer> B) big dog </answer>",
        "\\boxed{\\text{B}}",
        "The answer is (B).",
        "Answer: **B**",
        "<answer>Option B</answer>",
        "<answer>big dog</answer>",
        "<answer>Big dog.</answer>",
        "<answer>It is a big dog</answer>",
    ],
)
def test_letters_in_any_notation_and_the_options_text_are_right(text: str) -> None:
    verdict = ChoiceGrader().grade(ANIMALS, text)
    assert (verdict.correct, verdict.extracted) == (True, "B")


@pytest.mark.parametrize(
    "text",
    ["<answer>C</answer>", "<answer>dog</answer>", "<answer>B and C</answer>", "<answer>E</answer>", "no idea", ""],
)
def test_other_options_several_options_and_none_are_wrong(text: str) -> None:
    assert not ChoiceGrader().grade(ANIMALS, text).correct


@pytest.mark.parametrize(
    ("answer", "options", "letter"),
    [
        ("(B) Paris", CITIES, "B"),
        ("the third option", CITIES, "C"),
        ("It's the second option", CITIES, "B"),
        ("The second option is correct", CITIES, "B"),
        ("Choice #3", CITIES, "C"),
        ("Option 2", ("Option 1", "Option 2", "Option 3"), "B"),
        ("Option 2", ("Option 3", "Option 2", "Option 1"), "B"),
        ("option 9", CITIES, ""),
        ("the second option or the third option", CITIES, ""),
        ("second", ("first", "minute", "hour", "second"), "D"),
        ("It can't be determined", ("rises", "falls", "cannot be determined"), "C"),
        ("It can be determined", ("rises", "falls", "cannot be determined"), ""),
        ("𝗕", CITIES, "B"),
        ("Paris (B)", CITIES, "B"),
        ("\\textbf{(B) Paris}", CITIES, "B"),
        ("B - Paris", CITIES, "B"),
        ("It's Paris", CITIES, "B"),
        ("Paris, because it is the capital", CITIES, "B"),
        ("Paris, not London", CITIES, "B"),
        ("I think it's B", CITIES, "B"),
        ("I'd say C", CITIES, "C"),
        ("the blue one", COLOURS, "B"),
        ("The colour is blue", COLOURS, "B"),
        ("None of the above.", COLOURS, "D"),
        ("5.0", NUMBERS, "C"),
        ("five", NUMBERS, "C"),
        ("5 apples", NUMBERS, "C"),
        ("x = 5", NUMBERS, "C"),
        ("+5", ("-5", "5"), "B"),
        ("−5", ("-5", "5"), "A"),
        ("0.5", ("1/2", "1/3"), "A"),
        ("\\dfrac{2}{3}", ("$\\frac{2}{3}$", "$\\frac{3}{2}$"), "A"),
        ("x \\geq 2", ("x > 2", "x ≥ 2"), "B"),
        ("x>=2", ("x > 2", "x ≥ 2"), "B"),
        ("(0,1)", ("(0, 1)", "[0, 1]"), "A"),
        ("f′(x)", ("f(x)", "f'(x)"), "B"),
        ("Na^+", ("Na", "Na+", "Na-"), "B"),
        ("Ca²⁺", ("Ca2+", "Ca+"), "A"),
        ("H₂O", ("H2O", "H2O2"), "A"),
        ("10⁻³", ("10^3", "10^-3"), "B"),
        ("$5", ("$5", "5%", "5"), "A"),
        ("c++", ("C", "C++", "C#"), "B"),
        ("Yes, it is", ("Yes", "No"), "A"),
        ("No way", ("Yes", "No"), "B"),
        ("C. difficile", BACTERIA, "E"),
        ("A", ("B", "A"), "A"),
        ("It was World War II", ("World War I", "World War II"), "B"),
    ],
)
def test_an_answer_is_right_for_the_option_that_it_names_and_no_other(
    answer: str, options: tuple[str, ...], letter: str
) -> None:
    assert accepted(answer, options) == letter


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        ("B) Rome", CITIES),  # the letter and the text contradict each other
        ("London (B)", CITIES),
        ("Paris or Rome", CITIES),
        ("not Paris", CITIES),
        ("anything but Paris", CITIES),
        ("neither London nor Rome", CITIES),
        ("York", CITIES),
        ("New York City", CITIES),
        ("A city", CITIES),
        ("A/B", CITIES),
        ("D or maybe B", CITIES),
        ("A (or maybe B)", CITIES),
        ("A (wrong)", CITIES),
        ("A → B", CITIES),
        ("A (Paris)", CITIES),
        ("B. Rome is the capital", CITIES),
        ("B, which is Rome", CITIES),
        ("A?? not sure", CITIES),
        ("Rome is too warm, so Paris", CITIES),
        ("Java Script", ("Python", "Java", "JavaScript")),
        ("10x", ("1", "10", "100")),
        ("10^2", ("1", "10", "1000")),
        ("~p", ("p", "q")),
        ("not p", ("p", "q")),
        ("I", ("I only", "II only", "I and II")),
        ("B+", CITIES),
        ("A*", CITIES),
        ("I", CITIES),
        ("Vitamin C", CITIES),
        ("E. coli", ("dog", "cat", "cow", "pig", "hen")),
        ("not blue", COLOURS),
        ("non-green", COLOURS),
        ("dark red", COLOURS),
        ("none", COLOURS),
        ("14", NUMBERS),
        ("-5", NUMBERS),
        ("5%", NUMBERS),
        ("5x", NUMBERS),
        ("√5", NUMBERS),
        ("at least 5", NUMBERS),
        ("5 or 6", NUMBERS),
        ("5/6", NUMBERS),
        ("Na", ("Na+", "Na-")),
        ("x ≥ 2", ("x < 2", "x > 2")),
        ("(0, 1]", ("(0, 1)", "[0, 1]")),
        ("f(x)", ("f'(x)", "g(x)")),
        ("MW", ("mW", "kW")),
        ("O", ("O+", "O-")),
        ("does not increase", ("increase", "decrease")),
        ("It is not false", ("True", "False")),
        ("No doubt", ("Yes", "No")),
        ("Yes, but not always", ("Yes", "No")),
        ("Yes and no", ("Yes", "No")),
        ("10 km/h", ("10 m", "20 m")),
    ],
)
def test_in_doubt_no_option_is_right(answer: str, options: tuple[str, ...]) -> None:
    assert accepted(answer, options) == ""


@pytest.mark.parametrize("text", ["It cannot be B.", "The answer is not (B).", "It isn't B.", "Option B is wrong."])
def test_an_option_that_is_denied_is_not_the_answer(text: str) -> None:
    assert not ChoiceGrader().grade(question("B", *CITIES), text).correct


@pytest.mark.parametrize("text", ["B, because Rome is too warm", "B only", "B?", "B rather than A", "B (not A)"])
def test_another_option_may_be_mentioned_beside_a_letter(text: str) -> None:
    assert accepted(text, CITIES) == "B"


@pytest.mark.parametrize(
    ("answer", "reference", "correct"),
    [
        ("C", "C", True),
        ("(C)", "C", True),
        ("I think B", "B", True),
        ("I", "I", True),
        ("Vitamin C", "C", False),
        ("C. elegans", "C", False),
        ("C++", "C", False),
        ("A dog", "A", False),
        ("I think so", "I", False),
        ("not B", "B", False),
    ],
)
def test_without_options_a_letter_counts_where_it_stands_as_one(answer: str, reference: str, correct: bool) -> None:
    asked = Question.of("?", reference=reference)
    assert ChoiceGrader().grade(asked, f"<answer>{answer}</answer>").correct is correct


def test_a_reference_may_be_the_options_text() -> None:
    assert ChoiceGrader().grade(question("cat", "dog", "cat"), "<answer>B</answer>").correct


def test_of_two_options_that_read_the_same_the_text_is_right_and_the_other_letter_wrong() -> None:
    twice = question("A", "healthy", "cure", "healthy")
    assert ChoiceGrader().grade(twice, "<answer>healthy</answer>").correct
    assert not ChoiceGrader().grade(twice, "<answer>C</answer>").correct


def test_a_verdict_without_an_option_keeps_the_answer_and_says_why() -> None:
    verdict = ChoiceGrader().grade(question("A", *CITIES), "<answer>Berlin</answer>")
    assert (verdict.extracted, verdict.reason) == ("Berlin", "the answer names no option, or several")


def test_an_option_that_reads_like_a_statement_of_confidence_keeps_its_letter() -> None:
    assert ChoiceGrader().grade(question("A", "confidence", "lying"), "<answer> A ) confidence </answer>").correct


def test_a_reference_beyond_the_options_is_said() -> None:
    assert "is no option" in ChoiceGrader().grade(question("F", "a cat", "a dog"), "<answer>B</answer>").reason


@given(st.text(max_size=120), st.lists(st.text(max_size=12), max_size=6))
def test_no_answer_and_no_options_break_the_grader(answer: str, options: list[str]) -> None:
    letter = option_letter(answer, options)
    assert letter is None or not options or ord(letter) - ord("A") < len(options)


@given(st.permutations(["-5", "5", "+", "C++", "C", "x < 2", "Na+"]), st.text(alphabet="-5+Cx<2 Na#.()", max_size=8))
def test_no_answer_is_right_for_two_options_however_they_are_ordered(options: list[str], answer: str) -> None:
    assert len(accepted(answer, tuple(options))) <= 1
