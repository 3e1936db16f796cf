"""How well a detector does on labelled replies: takes the detector and examples, returns a few lines of text."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sayso.feedback.detectors.detector import Reply
from sayso.judge.statistics.estimate import estimate

_SHOWN = 5  # mistakes of each kind


def measured(finds: Callable[[Reply], object], examples: Sequence[Mapping[str, Any]]) -> str:
    """Return precision and recall with Wilson's intervals, and the first mistakes.

    An example has the fields `prompt`, `reply`, `finish` and `next` of a reply, and `wrong`: whether it is to be found.
    """
    found = [bool(finds(_reply(example))) for example in examples]
    wrong = [bool(example["wrong"]) for example in examples]
    right = [float(label) for label, seen in zip(wrong, found, strict=True) if seen]
    seen = [float(one) for one, label in zip(found, wrong, strict=True) if label]
    lines = [f"{len(examples)} examples, {sum(wrong)} of them wrong"]
    for name, scores in (("precision", right), ("recall", seen)):
        score = estimate(scores)
        shown = (
            f"{score.mean:.2f} ({score.interval('.2f')}), {sum(scores):.0f} of {score.n}" if scores else "none found"
        )
        lines.append(f"{name:9} {shown}")
    for name, label in (("missed", True), ("false alarm", False)):
        those = [
            one
            for one, is_wrong, seen in zip(examples, wrong, found, strict=True)
            if (is_wrong, seen) == (label, not label)
        ]
        lines += [f"{name}: {one['reply'][:100]!r}" for one in those[:_SHOWN]]
    return "\n".join(lines)


def _reply(example: Mapping[str, Any]) -> Reply:
    return Reply(example["reply"], example["prompt"], example.get("finish") or "stop", example.get("next"))
