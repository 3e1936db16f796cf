"""What a model's replies to questions about facts amount to: marks by group, and what each kind of confidence tells.

Takes replies; returns JSON-ready data in the form of a suite's results, with the curves that the report draws.
"""

import math
from collections.abc import Sequence
from typing import Any

from sayso.judge.knowledge.ask import AskedFact
from sayso.judge.knowledge.marking import MARKS
from sayso.judge.knowledge.questions import GROUPS
from sayso.judge.statistics.agreement import calibration_error
from sayso.judge.statistics.estimate import estimate
from sayso.judge.statistics.forecast import aurc, auroc, brier, equal_mass, risk_coverage, rms_error, sweep_bins

CONFIDENCES = ("probability", "agreement", "certainty")
"""Attributes of `AskedFact`."""
_DRAWN = 10  # bins of the drawing
_POINTS = 100  # of a curve


def group_scores(asked: Sequence[AskedFact]) -> dict[str, Any]:
    """Return the share of each mark by group, in the form of tasks; the metric of invented subjects is abstaining."""
    found = {}
    for group in GROUPS:
        own = [one for one in asked if one.group == group]
        if own:
            marks = [one.mark for one in own]
            scores = {name: estimate([float(mark == name) for mark in marks]).as_dict() for name in MARKS}
            metric = "abstained" if group == "invented" else "right"
            kinds = {
                kind: sum(one.fact.kind == kind for one in own) for kind in dict.fromkeys(o.fact.kind for o in own)
            }
            found[group] = {"metric": metric, "items": len(own), "kinds": kinds, "scores": scores}
    return found


def confidence_scores(asked: Sequence[AskedFact]) -> dict[str, Any]:
    """Return, for each kind of confidence, its calibration, ranking and curves over the answers that were given.

    `invented` is how often an answer about a real subject has the higher confidence than one about an invented subject.
    Abstentions claim nothing and are left out.
    """
    given = [one for one in asked if one.mark != "abstained"]
    real = [one for one in given if one.group != "invented"]
    right = [float(one.mark == "right") for one in real]
    found = {}
    for name in CONFIDENCES if real else ():
        said = [float(getattr(one, name)) for one in real]
        bins, curve = equal_mass(said, right), risk_coverage(said, right)
        step = max(1, len(said) // _POINTS)
        points = zip(curve.coverage[::-step][::-1], curve.risk[::-step][::-1], strict=True)
        everything = [float(getattr(one, name)) for one in given]
        found[name] = {
            "n": len(real),
            "ece": calibration_error(bins),
            "ece_sweep": calibration_error(sweep_bins(said, right)),
            "rms_debiased": None if math.isnan(debiased := rms_error(bins)) else debiased,
            "brier": brier(said, right).as_dict(),
            "auroc": auroc(said, right).as_dict(),
            "invented": auroc(everything, [float(one.group != "invented") for one in given]).as_dict(),
            "aurc": aurc(said, right).as_dict(),
            "bins": [[one.said, one.was, one.n] for one in equal_mass(said, right, _DRAWN)],
            "curve": [[round(float(x), 4), round(float(y), 4)] for x, y in points],
        }
    return found
