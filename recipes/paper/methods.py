"""The rows of the comparison: the paper's methods, ours, and the baselines."""

from collections.abc import Sequence
from dataclasses import dataclass

TITLES = {"slm": "SLM", "rlvr": "RLVR-SLM", "brier": "Brier-SLM", "l1": "L1-SLM", "llm": "LLM"}
"""The paper's roles (arXiv:2603.03752, sec. 4) and their names in its tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way to answer.

    Args:
        role: The model whose answers may be kept; the rest goes to the role "llm".
        score: The deciding score: a signal's name; "probe", "router", "blend" (fitted on the calibration split); or
            None for a model alone.
        before: The score reads the question alone, so the small model is not paid for a deferred question.
    """

    name: str
    role: str
    score: str | None = None
    before: bool = False


def methods(extra: dict[str, str], ours: str) -> list[Method]:
    """All rows, in the table's order.

    Args:
        extra: Further small models: role -> title.
        ours: The role that our own signals are measured on.
    """
    titles = {**TITLES, **extra}
    small = [role for role in titles if role != "llm"]
    alone = [Method(name=titles[role], role=role) for role in (*small, "llm")]
    verb = {role: Method(name=f"{titles[role]}-Verb", role=role, score="verbalized") for role in small}
    rlvr = titles["rlvr"]
    paper = [
        verb["slm"],
        verb["rlvr"],
        Method(name=f"{rlvr}-AvgProb", role="rlvr", score="mean_token_probability"),
        Method(name=f"{rlvr}-Probe", role="rlvr", score="probe"),
        Method(name=f"Router + {rlvr}", role="rlvr", score="router", before=True),
        verb["brier"],
        verb["l1"],
    ]
    own = titles[ours]
    further = [
        Method(name=f"{own}-{word}", role=ours, score=score)
        for word, score in (
            ("Expected", "expected"),
            ("Blend", "blend"),
            ("AvgProb", "mean_token_probability"),
            ("Probe", "probe"),
            ("SelfCheck", "self_check"),
            ("Agreement", "agreement"),
        )
    ]
    further.append(Method(name=f"Router + {own}", role=ours, score="router", before=True))
    paper_has = {row.name for row in paper}
    further = [row for row in further if row.name not in paper_has]
    expected = [Method(name=f"{titles[r]}-Expected", role=r, score="expected") for r in small if r != ours]
    return [*alone, *paper, *(verb[r] for r in extra), *further, *expected]


def names(rows: Sequence[Method]) -> list[str]:
    """The rows' names."""
    return [row.name for row in rows]
