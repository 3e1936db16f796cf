"""The report's section on runs that learned from preferences or rewards: metrics, warnings and replies."""

from html import escape

from sayso.report.alignment_log import AlignmentRun, Points
from sayso.report.draw import Line, plot, smooth
from sayso.report.facts import Facts
from sayso.report.markup import caption, section, table

_TITLES = {
    "align": "Alignment with comparisons",
    "reward": "Reward model",
    "reinforce": "Reinforcement",
    "improve": "Self-improvement",
    "selfplay": "Self-play",
}
_NAMES = {
    "score": "score on held-out prompts",
    "points": "points per game against the panel",
    "held_out": "reward on held-out prompts",
    "reward": "reward",
    "spread": "standard deviation of rewards",
    "accuracy": "pairs ranked correctly",
    "held_out_accuracy": "held-out pairs ranked correctly",
    "length_accuracy": "ranked correctly by length alone",
    "margin": "margin of chosen over rejected",
    "chosen_reward": "reward of chosen replies",
    "rejected_reward": "reward of rejected replies",
    "kl": "KL to the reference, nats per reply",
    "entropy": "entropy, nats per token",
    "length": "length of replies, tokens",
    "ended": "replies not cut off",
    "no_signal": "groups with equal rewards",
    "clip_fraction": "tokens with a clipped ratio",
    "explained_variance": "explained variance of the values",
}
"""Titles of metrics, most important first; others follow under their own names, parts of the reward first."""
PANELS = 12
SMOOTH, SHORTEST = 20, 3


def alignment(facts: Facts) -> str:
    """Return the section, with a block for each run; empty without runs."""
    blocks = [block(run) for run in facts.alignment]
    return section("alignment", "Preferences and rewards", *blocks) if blocks else ""


def block(run: AlignmentRun) -> str:
    """Return small charts of a run's metrics, its warnings, and replies before and after."""
    names = {**dict.fromkeys(run.judged), **dict.fromkeys(run.figures)}
    others = sorted((name for name in names if name not in _NAMES), key=lambda name: not name.startswith("reward_"))
    order = [*(name for name in _NAMES if name in names), *others]
    panels = "".join(panel(name, run.figures.get(name, []), run.judged.get(name, [])) for name in order[:PANELS])
    warnings = "".join(caption(f"Warning at step {step:,}: {escape(message)}") for step, message in run.warnings)
    title = f"<h3>{_TITLES[run.act]}: {escape(run.model)}</h3>"
    return f'<figure>{title}<div class="panels">{panels}</div>{warnings}{_replies(run)}</figure>'


def panel(name: str, points: Points, judged: Points) -> str:
    """Return the chart of one metric by step: raw and smoothed, with evaluations as dots."""
    title = _NAMES.get(name, name.replace("_", " "))
    lines = []
    if len(points) > 1:
        smoothed = smooth([y for _, y in points], max(SHORTEST, len(points) // SMOOTH))
        lines = [Line(points, "raw"), Line([(x, y) for (x, _), y in zip(points, smoothed, strict=True)], "smooth")]
    dots = Line(judged or points, "held") if judged or not lines else None
    return f"<div><h4>{escape(title)}</h4>{plot(lines, dots, 'step', '', f'{title} by step')}</div>"


def _replies(run: AlignmentRun) -> str:
    """Return a table of the first replies next to the last."""
    if len(run.samples) < 2:
        return ""
    first, last = min(run.samples), max(run.samples)
    rows = [
        [escape(before["prompt"]), _reply(before), _reply(after)]
        for before, after in zip(run.samples[first], run.samples[last], strict=True)
    ]
    return table(("prompt", f"step {first:,}", f"step {last:,}"), rows, "replies")


def _reply(row: dict[str, object]) -> str:
    score = row["score"]
    note = f" <small>{score:.2f}</small>" if isinstance(score, float) else ""
    return escape(str(row["reply"])) + note + ("" if row["ended"] else " <small>cut off</small>")
