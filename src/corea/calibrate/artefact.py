"""The calibration artefact: one versioned JSON file that binds thresholds to everything they were certified for.

The schema of version 4 is the fields of `Calibration` and of the records in it; docs/calibration_schema.md lists them.
"""

from base64 import b64decode
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from corea.calibrate.held_out import HeldOutReport
from corea.calibrate.rules import CascadeAnswers, Rules, ScoredTable
from corea.calibrate.signal_quality import SignalReport
from corea.calibrate.targets import Targets
from corea.errors import ConfigError, DataError
from corea.metrics import Interval
from corea.metrics.score_map import ScoreMap
from corea.policies.calibrated import GroupRule, ThresholdRule
from corea.policies.router import QuestionModel
from corea.records.answer import PRINT_BYTES
from corea.records.table import OutcomeTable
from corea.version import VERSION

ARTEFACT_VERSION = 4
CERTIFIED, INFEASIBLE = "certified", "infeasible"


class StageBinding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One stage that a calibration is for; None is not known, and is then not compared.

    Args:
        revision: Of the weights: a hash, or a name that the configuration states.
        prompt: The prompt's hash. `sampling`: the settings that shape an answer.
        signal: The signal's kind and settings; None for the last stage.
        signal_name: The signal's name in a configuration; of recorded rows, that of their `confidence_kind`.
        base_url: The server, without path and keys.
        price: USD by kind of token; None where the guarantee is not about money.
        pass_draft: The stage sees the draft of the one before it.
        reported: The model's name as its server stated it in every answer that calibrated.
        mode: "answer" or "chat".
        second_opinion: The other model whose answer is compared; None where there is none.
        repeated: Stored answers that were asked for again before they were used: how many (`asked`), and how many came
            out otherwise (`changed`). None: none was stored.
    """

    model: str
    revision: str | None = None
    prompt: str | None = None
    sampling: dict[str, Any] | None = None
    signal: dict[str, Any] | None = None
    signal_name: str | None = None
    base_url: str | None = None
    price: dict[str, str] | None = None
    pass_draft: bool | None = None
    mode: str | None = None
    reported: str | None = None
    repeated: dict[str, int] | None = None
    second_opinion: str | None = None


class StageCalibration(msgspec.Struct, frozen=True, kw_only=True):
    """One stage before the last.

    Args:
        threshold: None where the stage is not asked, and when infeasible: everything is deferred.
        map: From the measured columns to the score that the threshold is for.
        categories: A question of another category, or of none, has no score; null: the category plays no part.
        needs_answer: An answer that cannot be read has no score.
        probability: From the score to the probability that the answer is right; with few labels, that it is the last
            model's.
        quality: Of the stage's main signal, with a verdict in words.
        answers: Share of the rows of the test that the stage answers.
        router: Scores a question; the stage is asked where the score is at least the threshold's `ask_above`.
    """

    model: str
    threshold: ThresholdRule | None
    map: ScoreMap
    categories: tuple[str, ...] | None
    needs_answer: bool
    probability: ScoreMap
    quality: SignalReport
    answers: float
    router: QuestionModel | None = None


class LabelUse(msgspec.Struct, frozen=True, kw_only=True):
    """Gold labels of a few-label calibration.

    Args:
        gold: Labelled rows of the test. `gold_used`: those kept and different.
        kept_and_different: Share of the rows that are kept where the answers differ.
        gold_alone: Labels that the same test would need without unlabelled rows; None: not known.
        gold_saved: The difference.
        judge: The model whose verdicts stood for people's preferences; None: labels are grades.
        judge_agrees: Share of the labelled rows at which it said what people say.
        enough: Labels that would probably certify some saving where nothing is; None: not known, or none would.
        pairs: Rows of the test that are worth labelling for these targets, with a judge.
    """

    gold: int
    gold_used: int | None = None
    kept_and_different: float | None = None
    gold_alone: int | None = None
    gold_saved: int | None = None
    judge: str | None = None
    judge_agrees: float | None = None
    enough: int | None = None
    pairs: int | None = None


class Guarantee(msgspec.Struct, frozen=True, kw_only=True):
    """The guarantee, or what was asked for where nothing is certified.

    Args:
        targets: Those set hold jointly with probability 1 - `targets.delta`.
        statement: The guarantee as a sentence. `holds_for`: its scope, in words.
        test: The statistical test, in words.
        n: Questions in all; `n_fit` fitted the maps, `n_test` tested.
        n_clusters: Distinct questions, where some come more than once; null: each comes once.
        p_values: Of the chosen rules, by target. `rules_tested`: along the path.
        cost_cap_usd: The bound on one question's cost that a guarantee of a mean cost assumes.
        new_inputs_share: The most questions, as a share, with inputs unlike those that calibrated, which are deferred,
            that it assumes: an exact upper bound from the rows of the test.
        labels: With few labels.
    """

    targets: Targets
    statement: str
    holds_for: str
    test: str
    n: int
    n_fit: int
    n_test: int
    n_clusters: int | None
    p_values: dict[str, float]
    rules_tested: int
    cost_cap_usd: float | None = None
    new_inputs_share: float | None = None
    labels: LabelUse | None = None


class WatchedShares(msgspec.Struct, frozen=True, kw_only=True):
    """Shares on the rows of the test that live traffic is watched for (`corea.calibrate.monitor`).

    Args:
        deferred_differ, kept_differ: Exact bounds, 99 % each side, of the share of answers that differ from the last
            model's: of the questions asked and deferred, and of those kept. With a judge, of kept answers to which it
            prefers the last model's; deferred ones are then not compared.
        kept_share: Of all questions.
    """

    deferred_differ: tuple[float, float] | None
    kept_differ: tuple[float, float]
    kept_share: float


class DataSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The rows that calibrated.

    Args:
        digest: SHA-256 of ids, labels and signals.
        signals: The first stage's columns. `recorded_signals`: those that a map reads and no cascade measures live.
        category_column: The recorded column that holds a row's category.
        seed: Random seed of the split.
        rows: Short hashes of the distinct questions, joined and in base64; "" where they are not known.
        attempts: Calibrations of different settings that these rows have tested, this one included, as far as known.
    """

    digest: str
    n: int
    signals: list[str]
    category_column: str
    notes: list[str]
    seed: int
    recorded_signals: list[str] = []
    rows: str = ""
    attempts: int = 1

    @property
    def prints(self) -> set[str]:
        """The short hashes of `rows`."""
        known, width = b64decode(self.rows), PRINT_BYTES
        return {known[at : at + width].hex() for at in range(0, len(known), width)}

    def same_rows(self, other: "DataSummary") -> bool:
        """True where the digests are equal, or half of the smaller one's questions are in both."""
        mine, others = self.prints, other.prints
        return self.digest == other.digest or 2 * len(mine & others) > min(len(mine), len(others))

    def has(self, prints: Any, n: int) -> Any:
        """(N,) True where a row's short hash is among those that calibrated; nowhere if either is not known."""
        stored = self.prints
        return np.array([each in stored for each in (prints if prints is not None else [None] * n)], dtype=bool)


class Calibration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The result of `corea calibrate`, whole.

    Args:
        verdict: "certified" or "infeasible".
        sentence: One-sentence summary of the result.
        stages: By stage before the last; two models are one stage.
        groups: A threshold for each category, where asked for; it takes the place of the first stage's there.
        expected: Estimates on the rows of the test with 95 % intervals, by name: `pass_at_1`, `mean_cost_usd`,
            `llm_share`, `saving`, `drop` of the cascade, `llm_...` and `slm_...` of the last and the first model alone;
            `total_usd`, `llm_total_usd`, `total_saving` where errors are priced, `abstained_share` where some abstain,
            `agreement` with few labels; `plain_saving`, `plain_llm_mean_cost_usd` and `plain_llm_pass_at_1` against the
            last model asked with each question as it came, where that was measured, on its sample.
        report: Held-out figures for the report; None with few labels.
        binding: By stage, the last one included.
        watched: None where answers cannot be compared, or nothing is certified.
        advice: Next steps, in sentences.
        digest: SHA-256 of all the rest, which `save` writes and `load` checks.
    """

    verdict: Literal["certified", "infeasible"]
    sentence: str
    guarantee: Guarantee
    stages: tuple[StageCalibration, ...]
    groups: dict[str, GroupRule]
    expected: dict[str, Interval]
    report: HeldOutReport | None
    binding: tuple[StageBinding, ...]
    data: DataSummary
    watched: WatchedShares | None = None
    advice: tuple[str, ...] = ()
    created: str = ""
    corea_version: str = VERSION
    version: int = ARTEFACT_VERSION
    digest: str = ""

    @property
    def certified(self) -> bool:
        """True where a threshold that saves anything is guaranteed."""
        return self.verdict == CERTIFIED

    @property
    def judged(self) -> bool:
        """True where the guarantee is about people's preferences between the two answers, with a judge."""
        return self.guarantee.labels is not None and self.guarantee.labels.judge is not None

    @property
    def categories(self) -> tuple[str, ...] | None:
        """The categories that a question must have one of not to be deferred; None: the category plays no part."""
        return self.stages[0].categories

    @property
    def rules(self) -> Rules:
        """The threshold of each stage before the last."""
        return tuple(stage.threshold for stage in self.stages)

    def apply(self, table: OutcomeTable) -> CascadeAnswers:
        """Answering stage, cost and correctness of each question of a table, with these thresholds.

        Where nothing is certified the last model answers every question.

        Raises:
            ConfigError: The table has another number of models.
            DataError: A column that a map reads is missing.
        """
        if len(table.stages) != len(self.stages):
            raise ConfigError(
                f"calibration: got a table of {len(table.models)} models, expected {len(self.stages) + 1}"
            )
        router = self.stages[0].router
        rows = ScoredTable.mapped(table, [stage.map for stage in self.stages], self.categories, router)
        if self.groups:
            return rows.by_group(self.groups)
        return rows.outcome(self.rules) if self.certified else rows.last_alone()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return msgspec.to_builtins(self)

    def save(self, path: str | Path) -> None:
        """Writes the artefact as readable JSON, with its digest."""
        signed = msgspec.structs.replace(self, digest=_digest(msgspec.json.encode(self)))
        Path(path).write_bytes(msgspec.json.format(msgspec.json.encode(signed), indent=1) + b"\n")


def _digest(data: bytes) -> str:
    """The digest of what a file holds, known fields or not: one that is added here leaves that of older files."""
    return "sha256:" + sha256(msgspec.json.encode({**msgspec.json.decode(data), "digest": ""})).hexdigest()


class _ArtefactVersion(msgspec.Struct):
    version: int | None = None


def load(path: str | Path) -> Calibration:
    """The artefact of a file.

    Raises:
        ConfigError: There is no such file.
        DataError: It is not a calibration, of another version, or changed since it was written.
    """
    try:
        data = Path(path).read_bytes()
        version = msgspec.json.decode(data, type=_ArtefactVersion).version
        if version != ARTEFACT_VERSION:
            raise DataError(
                f"calibration version {version!r}, expected {ARTEFACT_VERSION}; calibrate again", path=str(path)
            )
        found = msgspec.json.decode(data, type=Calibration)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such calibration; make it with `corea calibrate`") from error
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(
            f"not a calibration ({error}), expected what `corea calibrate` wrote", path=str(path)
        ) from error
    if found.digest != _digest(data):
        raise DataError(
            "was changed after `corea calibrate` wrote it: its digest differs; calibrate again", path=str(path)
        )
    return found


def now() -> str:
    """The date and time, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
