"""The suites: which tasks, with how many examples, scored how.

CORE is DCLM's average of 22 tasks (Li et al. 2024, arXiv 2406.11794): accuracies, centered so that 0 is the baseline
and 1 is perfect. Its baselines were revised in 2025; both sets are here, and they mix two kinds: those of
commonsense_qa and boolq are the share of the most frequent answer, the others the accuracy of a guess.
"""

from collections.abc import Mapping
from pathlib import Path

from sayso.base.errors import UserError, nearest
from sayso.judge.tasks.hub_sets import PHENOMENA
from sayso.judge.tasks.task import Task

_ANSWER = "\nAnswer: "


def _choice(
    name: str, file: str, shots: int, baseline: float, delimiter: str = " ", older: float | None = None
) -> Task:
    return Task(
        name,
        f"{file}.jsonl",
        shots,
        delimiter,
        metric="acc_token",
        baseline=baseline / 100,
        older_baseline=older and older / 100,
    )


def _exact(name: str, file: str, shots: int, delimiter: str = " ") -> Task:
    return Task(name, file if "." in file else f"{file}.jsonl", shots, delimiter, "\n", "exact")


_HELLASWAG = "hellaswag_val_full.txt.bz2"
CORE = (
    Task("hellaswag_zeroshot", _HELLASWAG, 0, metric="acc_token", baseline=0.25),
    _exact("jeopardy", "jeopardy_all", 10, _ANSWER),
    _exact("bigbench_qa_wikidata", "bigbench_qa_wikidata", 10),
    _choice("arc_easy", "arc_easy", 10, 25, _ANSWER),
    _choice("arc_challenge", "arc_challenge", 10, 25, _ANSWER),
    _choice("copa", "copa", 0, 50),
    _choice("commonsense_qa", "commonsense_qa", 10, 40.3, older=20),
    _choice("piqa", "piqa", 10, 50, _ANSWER),
    _choice("openbook_qa", "openbook_qa", 0, 25),
    _exact("lambada_openai", "lambada_openai", 0),
    Task("hellaswag", _HELLASWAG, 10, metric="acc_token", baseline=0.25),
    _choice("winograd", "winograd_wsc", 0, 50),
    _choice("winogrande", "winogrande", 0, 50),
    _exact("bigbench_dyck_languages", "bigbench_dyck_languages", 10),
    _choice("agi_eval_lsat_ar", "agi_eval_lsat_ar", 3, 25, older=20),
    _exact("bigbench_cs_algorithms", "bigbench_cs_algorithms", 10),
    _exact("bigbench_operators", "bigbench_operators", 10),
    _exact("bigbench_repeat_copy_logic", "bigbench_repeat_copy_logic", 10),
    _exact("squad", "squad_dev.json", 10),
    _exact("coqa", "coqa_sample.json", 0),
    _choice("boolq", "boolq", 10, 62, _ANSWER),
    _choice("bigbench_language_identification", "bigbench_language_identification", 10, 25, older=9.1),
)
SMALL = (
    Task("arc_easy", "arc_easy.jsonl", 0, _ANSWER, metric="acc_norm", baseline=0.25),
    Task("piqa", "piqa.jsonl", 0, _ANSWER, metric="acc_norm", baseline=0.5),
    Task("lambada_openai", "lambada_openai.jsonl", 0, metric="exact"),
    Task("hellaswag", _HELLASWAG, 0, metric="acc_norm", baseline=0.25),
    Task("winogrande", "winogrande.jsonl", 0, baseline=0.5),
)
GENERATED = (
    Task("ifeval", "ifeval.jsonl", metric="ifeval", chat=True, max_tokens=512),
    Task("gsm8k", "gsm8k_test.jsonl", metric="number", chat=True, max_tokens=256),
    Task("svamp", "svamp.jsonl", metric="number", chat=True, max_tokens=128),
    Task("triviaqa", "triviaqa_sm_sub.jsonl", 5, metric="exact_match", max_tokens=24),
    Task("squad", "squad_dev.json", 1, metric="f1", max_tokens=24),
    Task("coqa", "coqa_sample.json", metric="f1", max_tokens=24),
)
CODE = (Task("humaneval", "human_eval.jsonl", metric="pass_at_1", max_tokens=512),)
SUITES: Mapping[str, tuple[Task, ...]] = {"core": CORE, "small": SMALL, "generated": GENERATED, "code": CODE}
BLIMP = "blimp"
BEHAVIOUR = "behaviour"
NAMES = (*SUITES, BLIMP, BEHAVIOUR)
KNOWN = (*NAMES, "knowledge")  # which has no tasks: its questions are made from a corpus


def check_suite(name: str) -> None:
    """Raise `UserError` for an unknown suite."""
    if name not in NAMES:
        raise UserError(
            f"--suite must be one of {', '.join(KNOWN)}, or a .toml file; got '{name}'.{nearest(name, KNOWN)}"
        )


def suite(name: str, data: Path | None = None) -> tuple[Task, ...]:
    """Return the tasks of a suite.

    Those of BLiMP are the files of minimal pairs below the data folder or, without a folder, the published ones.
    """
    check_suite(name)
    if name == BLIMP:
        files = [path for path in sorted(data.rglob("*.jsonl")) if path.parent.name == BLIMP] if data else []
        names = PHENOMENA if data is None else [path.stem for path in files]
        return tuple(Task(one, f"{one}.jsonl", baseline=0.5) for one in names)
    return SUITES[name]
