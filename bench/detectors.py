"""Precision and recall of each detector of misbehaviour on a labeled sample, with Wilson's intervals.

    python -m bench.detectors [DATA]     # DATA has XSTest (xstest*.csv) and self_dialogues.jsonl below it

The sample is made by `bench.detector_sample`: for each detector, 120 replies of each label made by a program, and 10 to
35 hard ones written by hand. Half of the sample is wrong; of rarer misbehaviour, a larger share of the findings is
false, see the false alarms among right replies. The sample and the detectors have the same authors, who completed the
patterns by looking at it: on replies of others, both numbers may be lower. `ours` is the smallest of all precisions and
recalls; the peer flags every reply: its precision. With DATA, the prompts of XSTest, which others wrote, are all
refused, and the safe ones should be flagged. Only every second prompt is used: the patterns were completed by looking
at the others. And a turn of each of 1,000 dialogues of people (the Self-dialogue Corpus, Krause et al. 2017) is taken
for a reply: almost all flags are false there.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.detector_cases import REFUSALS
from bench.detector_sample import EACH, Labeled, sample
from bench.harness import parser, result, say, sized
from sayso.base.jsonl import read_jsonl
from sayso.feedback.detectors.builtin import DETECTORS
from sayso.feedback.detectors.detector import Detector, Reply
from sayso.judge.behaviour.prompts import contrasts_file, read_contrasts
from sayso.judge.statistics.estimate import Estimate, estimate

DIALOGUES = 1000  # of people, of which a turn each is taken for a reply


def main() -> None:
    """Print a line for each detector, and the smallest precision or recall."""
    arguments = parser("detectors", __doc__)
    arguments.add_argument("data", nargs="?", type=Path)
    given = arguments.parse_args()
    found = {name: measured(one, sample(name, sized(EACH, 6))) for name, one in DETECTORS.items()}
    if given.data:
        found["harmless-refusal, XSTest"] = measured(DETECTORS["harmless-refusal"], refused(given.data))
    for name, scores in found.items():
        shown = "  ".join(f"{score} {one.mean:.3f} ({one.interval()})" for score, one in scores.items() if one.n)
        say(f"{name:17} {shown}")
    told = {} if given.data is None else {name: flagged(one, given.data) for name, one in DETECTORS.items()}
    for name, share in told.items():
        say(f"{name:17} flags {share.mean:.3f} ({share.interval()}) of people's turns")
    least = min(scores[one].mean for scores in found.values() for one in ("precision", "recall"))
    details = {name: {score: one.as_dict() for score, one in scores.items()} for name, scores in found.items()}
    people = {name: share.as_dict() for name, share in told.items()}
    result("detectors", "smallest precision or recall", least, 0.5, detectors=details, people=people)


def refused(data: Path) -> list[Labeled]:
    """Return every second prompt of XSTest with a refusal, which is wrong if the prompt is safe."""
    file = contrasts_file(data)
    assert file, f"no file xstest*.csv or xstest*.jsonl is below '{data}'"
    asked = [(one.safe, [{"role": "user", "content": one.prompt}]) for one in read_contrasts(file)[1::2]]
    return [
        Labeled(Reply(REFUSALS[number % len(REFUSALS)], prompt), safe, False)
        for number, (safe, prompt) in enumerate(asked)
    ]


def flagged(detector: Detector, data: Path) -> Estimate:
    """Return the share of people's turns that a detector flags."""
    file = next(data.rglob("self_dialogues.jsonl"))
    dialogues = [row["turns"] for row in read_jsonl(file)]
    drawn = random.Random(1)
    drawn.shuffle(dialogues)
    found = []
    for turns in dialogues[:DIALOGUES]:
        place = drawn.randrange(1, len(turns) - 1)
        roles = ("user", "assistant") if place % 2 else ("assistant", "user")
        prompt = [{"role": roles[number % 2], "content": turn} for number, turn in enumerate(turns[:place])]
        found.append(float(detector.found(Reply(turns[place], prompt, next=turns[place + 1])) is not None))
    return estimate(found)


def measured(detector: Detector, labeled: Sequence[Labeled]) -> dict[str, Estimate]:
    """Return precision and recall, also on hand-written replies alone, and the false alarms among right replies."""
    told = [(one, detector.found(one.reply) is not None) for one in labeled]

    def rate(values: list[Any]) -> Estimate:
        return estimate([float(value) for value in values])

    return {
        "precision": rate([one.wrong for one, flagged in told if flagged]),
        "recall": rate([flagged for one, flagged in told if one.wrong]),
        "false alarms": rate([flagged for one, flagged in told if not one.wrong]),
        "hard precision": rate([one.wrong for one, flagged in told if flagged and one.hard]),
        "hard recall": rate([flagged for one, flagged in told if one.wrong and one.hard]),
    }


if __name__ == "__main__":
    main()
