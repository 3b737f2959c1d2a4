"""The worker pool is shared by the whole file: sympy takes a second or two to start."""

import subprocess
import sys
import threading

import pytest

from corea.errors import ConfigError, CoreaError
from corea.graders.maths import MathsGrader, equal_at_once
from corea.graders.pool import ComparisonResult, ComparisonWorker, WorkerLimits, WorkerPool, close_pools, shared_pool
from corea.types import Question

QUICK = WorkerLimits(seconds=20, workers=1)
ENDLESS = "\\sum_{k=1}^{10^9} k!"


def grade(reference: str, answer: str) -> bool:
    return MathsGrader(QUICK).grade(Question.of("?", reference=reference), f"<answer>{answer}</answer>").correct


@pytest.mark.parametrize(
    ("reference", "answer", "equal"),
    [
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "(3,\\dfrac{\\pi}{2})", True),
        ("11\\sqrt2", "11\\sqrt{2}", True),
        ("10,080", "10080", True),
        ("\\frac{1}{3}", "0.333", False),
        ("\\$36", "36", True),
        ("90^\\circ", "90 degrees", True),
        ("5.4 \\text{ cents}", "5.4", True),
        ("864 \\mbox{ inches}^2", "864", True),
        ("6", "6 Trinkets", True),
        ("7", "x = 7", True),
        ("\\text{(C)}", "C", True),
        ("\\text{Marta}", "marta", True),
        ("even", "odd", False),
        ("3", "The degree of $f(x)$ is 3.", True),
        ("8", "They should have ordered 8 meals", True),
        ("50\\%", "50", True),
        ("4", "", False),
        ("x^2", "x^2+0", True),
        ("2\\pi", "2 pi", True),
        ("3", "3x", False),
        ("3,4", "3.4", False),
        ("(2,\\frac{1}{2})", "(2, 0.5)", True),
        ("(2, 3)", "(3, 2)", False),
        ("(2, 3)", "(2, 3, 4)", False),
        ("(x, 3)", "(y+0, 3)", False),
        ("[2, 3)", "(2, 3)", False),
        ("1,-2", "-2, 1", True),
        ("\\{1, 2\\}", "\\{2, 1\\}", True),
        ("1,-2", "-2, 2", False),
        ("1,-2", "1", False),
        ("(1, 2), (3, 4)", "(1, 2), (3, 4.0)", True),
        ("\\sqrt{8}", "2\\sqrt{2}", None),
        ("1, 0", "1,000", False),
        ("4", "4\\sqrt(2)", False),
        ("5", "5 one more", False),
    ],
)
def test_what_is_settled_without_a_worker(reference: str, answer: str, equal: bool | None) -> None:
    assert equal_at_once(reference, answer) is equal


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("x^2+2x", "x(x+2)"),
        ("1,-2", "-2, 1"),
        ("-5,7", "7 \\text{ and } -5"),
        ("x \\in [-2,7]", "[-2, 7]"),
        ("(-\\sqrt{3}, \\sqrt{3})", "-√3 < x < √3"),
        ("\\frac{\\sqrt{3}}{3}", "1 / sqrt(3)"),
        ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}, 1-\\sqrt{19}"),
        ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{bmatrix} 1 \\\\ 2 \\end{bmatrix}"),
        ("6 - 5i", "-5i + 6"),
    ],
)
def test_equal_expressions_are_right(reference: str, answer: str) -> None:
    assert grade(reference, answer)


@pytest.mark.parametrize(
    ("reference", "answer"), [("x^2+2x", "x(x-2)"), ("(1,2)", "(2,1)"), ("13", "5x"), ("1,-2", "1"), ("3", "3x")]
)
def test_unequal_expressions_are_wrong(reference: str, answer: str) -> None:
    assert not grade(reference, answer)


def test_the_tag_is_read_before_the_confidence_beside_it() -> None:
    asked = Question.of("?", reference="17")
    assert MathsGrader(QUICK).grade(asked, "<answer>17</answer><confidence>0.85</confidence>").correct
    assert not MathsGrader(QUICK).grade(asked, "").correct


def test_a_row_that_overruns_costs_itself_alone() -> None:
    limits = WorkerLimits(seconds=1, memory_mb=512, workers=1)
    pairs = [("\\sqrt{8}", "2\\sqrt{2}"), ("\\sum_{k=1}^n k^2", ENDLESS), ("\\sqrt{8}", "\\sqrt{2}"), ("i^2+i", "i-1")]
    rows = [(Question.of("?", reference=reference), f"<answer>{answer}</answer>") for reference, answer in pairs]
    try:
        verdicts = MathsGrader(limits).grade_many(rows)
        replaced = shared_pool(limits).replaced
    finally:
        close_pools()
    assert [v.correct for v in verdicts] == [True, False, False, True]
    assert "no verdict within 1 s" in verdicts[1].reason
    assert replaced == 1


def test_grading_works_off_the_main_thread() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(grade("\\sqrt{8}", "2\\sqrt{2}")))
    thread.start()
    thread.join()
    assert found == [True]


def test_a_worker_that_dies_is_replaced_and_its_row_undecided() -> None:
    pool = shared_pool(QUICK)
    assert pool.compare("x+1", "1+x") == ComparisonResult(True)
    worker = pool._slots.get()
    assert worker is not None
    worker._process.kill()
    pool._slots.put(worker)
    assert "no verdict" in pool.compare("x+2", "2+x").reason
    assert pool.compare("x+2", "2+x") == ComparisonResult(True)


def test_a_pool_answers_again_after_it_was_closed() -> None:
    pool = WorkerPool(QUICK)
    pool.close()
    assert pool.compare_many([]) == []


def test_a_worker_that_cannot_start_is_an_error_with_advice() -> None:
    with pytest.raises(CoreaError, match="did not start"):
        ComparisonWorker(QUICK, [sys.executable, "-c", "raise SystemExit(1)"]).compare("1", "2")


def test_a_missing_math_verify_is_said_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corea.registry.find_spec", lambda name: None)
    assert grade("\\frac{1}{2}", "0.5")
    with pytest.raises(ConfigError, match=r"pip install '\.\[math\]'"):
        grade("\\sqrt{8}", "2\\sqrt{2}")


def test_limits_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="seconds=0"):
        WorkerLimits(seconds=0)


def test_the_calling_process_never_imports_sympy() -> None:
    program = (
        "import sys\n"
        "from corea.graders.maths import MathsGrader\n"
        "from corea.types import Question\n"
        "asked = Question.of('?', reference='\\\\sqrt{8}')\n"
        "assert MathsGrader().grade(asked, '<answer>2\\\\sqrt{2}</answer>').correct\n"
        "print({'math_verify', 'sympy', 'mpmath'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("reference", "answer", "equal"),
    [
        ("\\sum_{k=1}^{n} k", "\\sum_{j=1}^{n} j", True),
        ("\\int_0^1 x^2 dx", "\\int_0^1 x^3 dx", False),
        ("\\frac{1}{3}", "\\int_0^1 x^2 dx", False),
    ],
)
def test_integrals_and_sums_are_compared_with_one_another_only(reference: str, answer: str, equal: bool) -> None:
    assert grade(reference, answer) is equal


@pytest.mark.parametrize(
    ("reference", "answer", "reason"),
    [
        ("5", "5 h 30 min", "not one readable expression"),
        ("5", "5" * 1001, "1001 characters is not compared"),
        ("\\sqrt{2}", "2^{10^{12}}\\sqrt{3}", "undecided"),
        ("5", "\\sqrt{-4}", "undecided"),
    ],
)
def test_an_answer_that_is_not_compared_is_wrong_and_says_why(reference: str, answer: str, reason: str) -> None:
    verdict = MathsGrader(QUICK).grade(Question.of("?", reference=reference), f"<answer>{answer}</answer>")
    assert not verdict.correct
    assert reason in verdict.reason
