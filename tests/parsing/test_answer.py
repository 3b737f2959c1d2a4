"""`read_answer` on invented texts, one per notation."""

import pytest

from corea.parsing import choice_letter, find_answer, read_answer

READ = [
    # sentences
    (
        "It had 9 of the rest. It was the 4th. They were at 5 problems. Now there are 12 in all, as was said before.",
        "12",
    ),
    ("After 3 hours of the test. There are none of the items left to be had in all of the house by then.", None),
    ("They met at 7 and they drove for a while. In the end there were 9 of them with Mr. Smith at the old house.", "9"),
    # tags
    ("<think>2+2</think><answer>4</answer><confidence>0.9</confidence>", "4"),
    ("<answer> 42 </answer>", "42"),
    ("<ANSWER>42</ANSWER>", "42"),
    ("<answer>1</answer> no: <answer>2</answer>", "2"),
    ("<answer> <answer> (3/5, 8/3] </answer> with confidence <confidence>1</confidence>. </answer>", "(3/5, 8/3]"),
    ("<answer>42", "42"),
    ("<answer>7</answer> and <answer>", "7"),
    ("<answer>42<confidence>0.8</confidence>", "42"),
    ("<final_answer>42</final_answer>", "42"),
    ("<answer>\\boxed{\\frac{1}{2}}</answer>", "\\frac{1}{2}"),
    ("<answer>$\\frac{11\\pi}{6}$</answer>", "\\frac{11\\pi}{6}"),
    ("<answer>The answer is 42.</answer>", "42"),
    ("<answer>0.09 with a confidence level of 0.95.</answer>", "0.09"),
    ("<answer>150 degrees. The confidence level for this answer is 0.95.</answer>", "150 degrees"),
    ("<answer>\nDECISION: CALL_TOOL\nPROBABILITY_YES: NA\n</answer>", "CALL_TOOL"),
    ("<think>first <answer>3</answer></think><answer>4</answer>", "4"),
    ("<think>all inside <answer>3</answer></think>", "3"),
    ("<answer>New York City</answer>", "New York City"),
    ("<answer>{1, 2}</answer>", "{1, 2}"),
    ("<answer>(1, 2)</answer>", "(1, 2)"),
    ("<answer>A dog</answer>", "A dog"),
    ("[ANSWER]42[/ANSWER]", "42"),
    ("<answer>E. coli grows</answer>", "E"),
    # boxed
    ("so \\boxed{42}.", "42"),
    ("so \\boxed{\\frac{a}{\\sqrt{b^{2}}}} as wanted", "\\frac{a}{\\sqrt{b^{2}}}"),
    ("\\boxed{1} then \\boxed{2}", "2"),
    ("\\boxed{1} then \\boxed{2", "1"),
    ("\\boxed{\\text{Evelyn}}", "Evelyn"),
    ("\\boxed{(D) \\text{ office desk}}", "D"),
    ("\\boxed{C} think", "C"),
    ("\\boxed {7}", "7"),
    ("\\boxed{\\textbf{(C)}\\ 12}", "C"),
    ("\\boxed{\\$1,234.50}", "1,234.50"),
    ("\\boxed{x \\in \\{1, 2\\}}", "x \\in \\{1, 2\\}"),
    # GSM8K's mark
    ("9 + 9 = 18\n#### 18", "18"),
    ("#### $1,234.50\nCONF: 0.80", "1,234.50"),
    ("#### 24 selfies and 18 portraits", "24"),
    ("#### 42,", "42"),
    ("#### -3", "-3"),
    ("#### 5/3", "5/3"),
    ("#### 48\nCONF: 0.70\n```\n#### 48\nCONF: 0.70", "48"),
    ("#### Step 1: add\n2 + 2 = 4\n#### Step 2: stop\nThe answer is 4.", "4"),
    # JSON
    ('{"answer": "42", "confidence": 0.8}', "42"),
    ('{"reasoning": "2+2", "answer": 4}', "4"),
    ('```json\n{"final_answer": "Paris"}\n```', "Paris"),
    # labels and sentences
    ("Some steps.\nAnswer: 42", "42"),
    ("Some steps.\n**Answer:** 42", "42"),
    ("**Final Answer**: $12$", "12"),
    ("Final answer:\n\n12", "12"),
    ("A: no\nThe answer is 42.", "42"),
    ("Therefore, the final answer is 3.5. I hope this helps!", "3.5"),
    ("The answer is $5.50.", "5.50"),
    ("So the answer is: **Paris**.", "Paris"),
    ("The correct option is (C).", "C"),
    ("The best choice is B) bank, since money is kept there.", "B"),
    ("RESPONSE: DECLINE", "DECLINE"),
    ("DECISION: ANSWER\nPROBABILITY_YES: 65", "ANSWER"),
    ("The correct answer is **B**, because money is kept there.", "B"),
    ("The correct answer is option **D**.", "D"),
    ("A bank keeps money. Thus, option D is correct.", "D"),
    ("A bank keeps money, so (C) is the right choice.", "C"),
    ("Money is kept there, so I choose option B.", "B"),
    ("### Final Answer\n42", "42"),
    ("Guess: Paris\nProbability: 0.85", "Paris"),
    ("Answer and Confidence (0-100): B, 85%", "B"),
    ("最终答案：42", "42"),
    ("The answer is 12 km/h.", "12 km/h"),
    ("Final Answer: The final answer is $42$. I hope it is correct.", "42"),
    # a text that is itself the answer, or whose last sentence is
    ("42", "42"),
    (" $18", "18"),
    ("Paris.", "Paris"),
    ("B", "B"),
    ("**B) bank**", "B"),
    ("(B)", "B"),
    ("Option B", "B"),
    ("42\nConfidence: 0.8", "42"),
    ("Chicken costs 65.\nThe total is $65 + $36 = $101.", "101"),
    ("Thus the bottle must be at least 68 degrees warm to drink, as the family decided then.", "68"),
    ("Therefore, she spends $235.00 on cleaning in 5 weeks, all taken together and counted.", "235.00"),
    ("It costs much.\n\nSo he earns $1,000 - $40 = $<<1000-40=960>>960.", "960"),
    ("Harm follows from force.\n\nWe conclude that people experience (D) getting hurt by it.", "D"),
]

NOTHING = [
    "",
    "   \n",
    "<answer></answer>",
    "First we add 12 and 30, which makes 42, and then we take the 7 of before and",
    "He helps 40 * 6 = 240 people.\n#### ",
    "Total cost is $17.50 + $35 = $52.50. Joe has $50, so in the end he has 4320 * 0.40 = $",
    "<think>So 3 * 5 is 15, and I should now",
    "<",
]


@pytest.mark.parametrize(("text", "answer"), READ)
def test_reads_the_stated_answer(text: str, answer: str) -> None:
    assert read_answer(text) == answer


@pytest.mark.parametrize("text", NOTHING)
def test_reads_no_answer_where_none_is_stated(text: str) -> None:
    assert read_answer(text) is None


@pytest.mark.parametrize(
    "dress",
    ["B", "b", "(B)", "(b)", "B)", "B.", "[B]", "B) bank", "B. bank", "B: bank", "(B) bank", "B - bank", "B ) bank",
     "Option B", "option (B)",
     "Choice B: bank", "**B**", "**B) bank**", "\\text{(B)}", "\\textbf{B}", "$B$", "bank (B)"],
)  # fmt: skip
def test_a_choice_letter_in_any_dress(dress: str) -> None:
    assert read_answer(f"<answer>{dress}</answer>", choices=5) == "B"
    assert read_answer(f"So the answer is {dress}", choices=5) == "B"
    assert read_answer(f"\\boxed{{{dress}}}", choices=5) == "B"


def test_what_is_no_choice_letter() -> None:
    assert choice_letter("E. coli", choices=0) is None
    assert choice_letter("D) tide pool and E) intertidal zone") is None
    assert choice_letter("A dog") is None
    assert choice_letter("f(A)") is None
    assert choice_letter("b") is None  # a variable, unless the question has choices
    assert choice_letter("b", choices=4) == "B"
    assert choice_letter("E", choices=4) is None
    assert choice_letter("x") is None


def test_the_span_holds_the_answer() -> None:
    text = "<think>so</think>\n<answer> $\\frac{1}{2}$ </answer>"
    stated = find_answer(text)
    assert stated is not None
    assert text[stated.start : stated.end] == "\\frac{1}{2}"


def test_a_lettered_answer_spans_the_words_it_was_written_with() -> None:
    text = "<answer>B) bank</answer>"
    stated = find_answer(text)
    assert stated is not None
    assert (stated.value, text[stated.start : stated.end]) == ("B", "B) bank")


@pytest.mark.parametrize(
    "text",
    [
        "The answer is [insert answer here].",
        "Answer: [your answer]",
        "<answer>[answer]</answer>",
        "Answer: {answer}",
        "Answer: TODO",
        "After simplifying, the answer is",
        "So the result is",
        "She walked for 2 hours and 15 minutes.",
    ],
)
def test_a_template_an_unfinished_sentence_and_an_aside_state_no_answer(text: str) -> None:
    assert read_answer(text) is None
