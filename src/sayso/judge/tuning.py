"""What tuning did to a model, in words: from the scores of two models on the same held-out conversations.

Takes the data of `sayso.judge.talks.talks_json`; returns sentences for a person who has to decide what to do next.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sayso.judge.statistics.estimate import Estimate, paired, ratio

Talks = Mapping[str, Any]


def loss_change(before: Talks, after: Talks) -> Estimate | None:
    """Return the change of the loss per trained token, paired by conversation; None if they read different ones."""
    old, new = before["values"], after["values"]
    if old["tokens"] != new["tokens"] or not new["tokens"]:
        return None
    return ratio(np.subtract(new["nats"], old["nats"]), new["tokens"])


def reply_change(before: Talks, after: Talks, name: str) -> Estimate | None:
    """Return the change of `exact` or `f1`, paired by conversation; None without short replies to compare."""
    old, new = before["values"][name], after["values"][name]
    return paired(new, old) if len(old) == len(new) > 1 else None


def more_data(after: Talks) -> str:
    """Return a sentence on whether more conversations would help, from the loss on those that were trained on."""
    held, known = Estimate.from_dict(after["loss"]), Estimate.from_dict(after["familiar_loss"])
    gap = held.mean - known.mean
    error = (held.se**2 + known.se**2) ** 0.5
    if not known.n or error != error:
        return ""
    seen = f"On {known.n:,} conversations that it was trained on it needs {known.mean:.2f} nats a token"
    if gap > 1.96 * error:
        return (
            f"{seen}, clearly less than on held-out ones: more conversations would probably help more than more steps."
        )
    return f"{seen}, about as much: it has not memorized them, so more steps may help before more conversations do."


def tuning_verdict(before: Talks, after: Talks, names: tuple[str, str]) -> str:
    """Return whether the second model, trained from the first, does better on held-out conversations."""
    change = loss_change(before, after)
    if change is None:
        return "The two models were not evaluated on the same conversations, so they cannot be compared."
    first, second = names
    count = len(after["values"]["tokens"])
    old, new = before["loss"]["mean"], after["loss"]["mean"]
    text = (
        f"On {count:,} held-out conversations the {second} model needs {new:.2f} nats a token where the {first} model "
    )
    text += f"needs {old:.2f} ({_signed(change)})"
    if change.low != change.low:
        text += "; one conversation is too few to say whether tuning helped."
    elif change.high < 0:
        text += ": tuning helped."
    elif change.low > 0:
        text += ": tuning made it worse."
    else:
        text += ": no difference can be seen."
    exact = reply_change(before, after, "exact")
    if exact is not None:
        part = f"{after['exact']['mean']:.0%} of {after['exact']['n']:,} short replies are those written"
        text += f" {part}, where it was {before['exact']['mean']:.0%} ({_signed(exact, 100)} points)."
    return text


def kept_verdict(before: Mapping[str, Any], after: Mapping[str, Any], names: tuple[str, str]) -> str:
    """Return what is left of a model's general ability, from the scores of both models.

    It is empty if they were not asked, or about other documents. The sentences that come next are paired by document.
    """
    first, second = names
    old, new = (scores.get("next_sentence") for scores in (before, after))
    if not old or not new or old.get("items") != new.get("items") or len(old["values"]) != len(new["values"]):
        return ""
    change = paired(new["values"], old["values"])
    asked = "1 question" if new["n"] == 1 else f"{new['n']:,} questions"
    text = (
        f"General ability: of {asked} which sentence of an article comes next the {second} model "
        f"answers {new['mean']:.0%}, the {first} model {old['mean']:.0%} ({_signed(change, 100)} points; a guess 25%)"
    )
    bits = [scores["bpb"]["real"]["mean"] for scores in (before, after) if "real" in scores["bpb"]]
    if len(bits) == 2:
        text += f", at {bits[1]:.3f} bits per byte of ordinary text for {bits[0]:.3f}"
    if change.low != change.low:
        return f"{text}; one question is too few to say what was forgotten."
    if change.high < 0:
        return f"{text}: some of it was forgotten."
    return f"{text}: no loss can be seen." if change.low <= 0 else f"{text}: it has grown."


def _signed(found: Estimate, scale: float = 1) -> str:
    """Return a change with its interval."""
    places = 0 if scale == 100 else 2

    def shown(value: float) -> str:
        return f"{round(scale * value, places) + 0.0:+.{places}f}".replace("-", "−")

    whole = found.low == found.low
    return shown(found.mean) + (f", {shown(found.low)} to {shown(found.high)}" if whole else "")
