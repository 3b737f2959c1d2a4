"""`read_confidence` on invented sentences, one per notation; real outputs are in test_real_outputs.py."""

import pytest

from corea.parsing import find_confidence, read_confidence

STATED = [
    # the asked-for form and its malformations
    ("<think>2+2</think><answer>4</answer><confidence>0.85</confidence>", 0.85),
    ("<confidence>0.62</confidence>\n<think>hm</think><answer>4</answer>", 0.62),
    ("<answer>4</answer>\n<CONFIDENCE> .85 </CONFIDENCE>", 0.85),
    ("<answer>4</answer><confidence>0.7", 0.7),
    ("<answer>4</answer><confidence>1</confidence>", 1.0),
    ("<answer>4</answer><confidence>0</confidence>", 0.0),
    ("<answer>4</answer><confidence>0.</confidence>", 0.0),
    ("<answer>4</answer><confidence>100.</confidence>", 1.0),
    ("<answer>4</answer><confidence>85</confidence>", 0.85),
    ("<answer>4</answer><confidence>I am about 90% confident</confidence>", 0.9),
    ("<confidence>0.2 <confidence>0.4</confidence></confidence>", 0.4),
    ("<confidence>0.3</confidence> no wait <confidence>0.6</confidence>", 0.6),
    ("<answer>7</answer> 0.8</confidence>", 0.8),
    ("<answer>7</answer><confidence_score>0.8</confidence_score>", 0.8),
    ('<answer>7</answer><confidence value="0.8"/>', 0.8),
    ("&lt;confidence&gt;0.8&lt;/confidence&gt;", 0.8),
    ("[confidence]0.8[/confidence]", 0.8),
    ("<think>so <answer>5</answer><confidence>0.8</confidence></think>", 0.8),
    ("<think>I would say <confidence>0.2</confidence></think><answer>5</answer><confidence>0.9</confidence>", 0.9),
    # labels
    ("#### 42\nCONF: 0.80", 0.8),
    ("#### 42\nCONF: 1", 1.0),
    ("#### 42\nConf = .7", 0.7),
    ("Confidence: 85%", 0.85),
    ("Confidence: 85 %", 0.85),
    ("Confidence: 85", 0.85),
    ("Confidence: 85/100", 0.85),
    ("Confidence: 4/5", 0.8),
    ("Confidence: 8 out of 10", 0.8),
    ("Confidence: 8.5/10", 0.85),
    ("Confidence: nine out of ten", 0.9),
    ("Confidence: eighty-five percent", 0.85),
    ("Confidence: 85 percent", 0.85),
    ("Confidence: 85 per cent.", 0.85),
    ("Confidence: 0,85", 0.85),
    ("Confidence: 97,5 %", 0.975),
    ("Confidence: ８５％", 0.85),
    ("Confidence： ０．８５", 0.85),
    ("置信度：85%", 0.85),
    ("Confiance : 0,9", 0.9),
    ("Confianza: 80 por ciento", 0.8),
    ("Konfidenz: 75 Prozent", 0.75),
    ("**Confidence:** 90%", 0.9),
    ("**Confidence Level:** **9/10**", 0.9),
    ("**Confidence Level:** 8/10  **Further Steps:**", 0.8),  # two spaces end a line of Markdown
    ("**Confidence Level:** 8/10    Let me know if you have any other questions.", 0.8),
    ("**Confidence**: _0.75_", 0.75),
    ("### Confidence:\n\n0.75\n", 0.75),
    ("- Confidence score: 0.9 (fairly high)", 0.9),
    ("Confidence (0-100): 85", 0.85),
    ("Confidence (0 to 1): 0.85", 0.85),
    ("Confidence (out of 10): 8", 0.8),
    ("Confidence on a scale of 1 to 10: 7", 0.7),
    ("Confidence: 8 on a scale of 1 to 10", 0.8),
    ("\\textbf{Confidence: 0.9}", 0.9),
    ("\\text{Confidence: } \\boxed{0.9}", 0.9),
    ("Confidence: $0.9$", 0.9),
    ("Confidence: $85\\%$", 0.85),
    ("Confidence: \\(0.9\\)", 0.9),
    ("Confidence: $\\frac{9}{10}$", 0.9),
    ("Confidence = 0.9 * 0.8 = 0.72", 0.72),
    ("Confidence: 8.5e-1", 0.85),
    ("Confidence: 9 \\times 10^{-1}", 0.9),
    ("Confidence: 1e-3", 0.001),
    ("Confidence: 1.0", 1.0),
    ("Confidence: 0.95.", 0.95),
    ("Confidence: 0.950", 0.95),
    ("Confidence: 100%", 1.0),
    ("Confidence: 0%", 0.0),
    ("Confidence: ~80%", 0.8),
    ("Confidence: approximately 0.8", 0.8),
    ("Confidence: I would say 0.8", 0.8),
    ("Confidence Level:\n\nI am **8/10** confident in this.", 0.8),
    ('{"answer": "42", "confidence": 0.8}', 0.8),
    ('{"answer": 42, "confidence": "85%"}', 0.85),
    ('```json\n{"answer": 42, "confidence_score": 0.65}\n```', 0.65),
    ("{'confidence': 0.8, 'answer': 'B'}", 0.8),
    ("| Answer | Confidence |\n|---|---|\n| 42 | 0.9 |", 0.9),
    ("| Confidence | 0.85 |\n| Answer | 42 |", 0.85),
    ("DECISION: ANSWER\nPROBABILITY_YES: 65\nALLOCATE_PCT: 40", 0.65),
    ("It may be so.\n\nProbability: 20%", 0.2),
    # sentences
    ("The answer is 4. I am 95% sure.", 0.95),
    ("I'm about 80% confident that the answer is 12.", 0.8),
    ("I am 0.7 confident in this.", 0.7),
    ("The answer is C, with 90% confidence.", 0.9),
    ("The answer is C with a confidence level of 0.9.", 0.9),
    ("It is B (confidence 0.6).", 0.6),
    ("My confidence in this answer is 0.7.", 0.7),
    ("Given how little is known, my confidence in making this diagnosis is **2/10**.", 0.2),
    ("I would rate my confidence a 2/10.", 0.2),
    ("There is an 85% chance that my answer is correct.", 0.85),
    ("The probability that my answer is correct is 0.9.", 0.9),
    ("The likelihood that this answer is right is about 60%.", 0.6),
    ("I'm nine out of ten confident in it.", 0.9),
    ("The answer is 5 (95% confidence).", 0.95),
    ("I'd estimate an 80% probability that this is correct.", 0.8),
    ("I have less than 50% confidence in it: I have 40% confidence.", 0.4),
    ("Confidence: High - 0.9", 0.9),
    ("Overall confidence: Medium, 60%", 0.6),
    ("My confidence level: High (90%)", 0.9),
    ("Confidence: 8 (out of 10)", 0.8),
    ("Confidence: 17/20", 0.85),
    ("Probability of being correct: 0.8", 0.8),
    ("P(correct) = 0.8", 0.8),
    ("Certainty: 80%", 0.8),
    ("Guess: Paris\nProbability: 0.85", 0.85),
    ("Answer and Confidence (0-100): B, 85%", 0.85),
    ("Answer and Confidence (0-100): 1,234, 85", 0.85),
    ('{"confidence": {"value": 0.7}}', 0.7),
    # several mentions: the last about the answer counts
    ("Confidence: 0.4 after step 1.\n...\nConfidence: 0.9", 0.9),
    ("I was 50% sure at first. Now I am 90% sure.", 0.9),
    ("#### 5\nCONF: 0.70\n```\n#### 5\nCONF: 0.", 0.7),
]

NOTHING = [
    "",
    "The answer is 42.",
    "#### 42\nCONF: 0.",
    "#### 42\nCONF: 0",
    "#### 42\nCONF: ",
    "#### 42\nCONF",
    "<answer>4</answer><confidence>0.",
    "<answer>4</answer><confidence>",
    "<answer>4</answer><confidence></confidence>",
    "<answer>4</answer><confidence>high</confidence>",
    "Confidence: high",
    "Confidence: N/A",
    "Confidence: 0.8 at first.\nConfidence: NA",
    "PROBABILITY_YES: NA",
    '{"answer": 1, "confidence": null}',
    "Confidence: 8",
    "Confidence: 8/",
    "Confidence: 1.5",
    "Confidence: 150%",
    "Confidence: -0.5",
    "Confidence: 12/10",
    "<confidence>250</confidence>",
    "<confidence>-1</confidence>",
    "Confidence: 0.7-0.8",
    "Confidence: between 0.7 and 0.8",
    "Confidence: 70% to 80%",
    "I am 60-70% sure.",
    "The confidence interval 95% is (3.1, 4.2), so the mean is 3.65.",
    "We use a 95% confidence interval, z = 1.96.",
    "At the 95% confidence level the margin of error is 3.",
    "The probability that both balls are red is 0.3.",
    "Probability = 3/8 = 0.375",
    "There is a 30% chance of rain.",
    "Tom was 80% sure that he had closed the door.",
    "Her confidence grew by 20%.",
    "I am not 100% sure.",
    "The conference had 85 guests. Configuration: 0.8",
    "This is a symmetric configuration, with H at (6,0), J at (0,0).",
    "I have confidence in 3 of my friends.",
    "With confidence, 15 people left.",
    "<think>I am 60% sure of this step.</think><answer>4</answer>",
    "Accuracy: 0.85",
]


@pytest.mark.parametrize(("text", "value"), STATED)
def test_reads_what_is_stated(text: str, value: float) -> None:
    assert read_confidence(text) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("text", NOTHING)
def test_reads_nothing_where_nothing_is_stated(text: str) -> None:
    assert read_confidence(text) is None


@pytest.mark.parametrize(("text", "value"), STATED)
def test_the_span_holds_the_number(text: str, value: float) -> None:
    stated = find_confidence(text)
    assert stated is not None
    written = text[stated.start : stated.end]
    assert written
    assert written == written.strip()
    digits = [c for c in written if c.isdigit()]
    assert digits or written.replace("-", " ").split()[0].lower() in ("nine", "eighty")


def test_a_decimal_is_not_measured_in_percent() -> None:
    assert read_confidence("Confidence: 0.9%") == pytest.approx(0.009)


def test_case_folding_keeps_the_place() -> None:
    text = "İİİ ＡＮＳＷＥＲ ß <CONFIDENCE>0.85</CONFIDENCE>"
    stated = find_confidence(text)
    assert stated is not None
    assert text[stated.start : stated.end] == "0.85"


def test_a_huge_text_is_read_at_both_ends() -> None:
    filler = "so we go on and on. " * 40_000
    assert read_confidence("<confidence>0.3</confidence>" + filler) == 0.3
    assert read_confidence(filler + "<confidence>0.4</confidence>") == 0.4
    assert read_confidence(filler + "Confidence: 0.4\n" + filler) is None


@pytest.mark.parametrize(
    "after", ["\nDone.", "\n\nLet me know if you need more.", "\nSure of it: no.", "\nError bars: none"]
)
@pytest.mark.parametrize(("stated", "value"), [("85", 0.85), ("1", 1.0), ("0.9", 0.9), ("70%", 0.7)])
def test_the_next_line_is_no_part_of_a_number(stated: str, value: float, after: str) -> None:
    assert read_confidence(f"Answer: 4\n**Confidence:** {stated}{after}") == value
