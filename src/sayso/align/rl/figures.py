"""Metrics of an iteration of reinforcement learning, computed from its replies."""

from statistics import fmean

from sayso.align.rl.experience import ScoredRollouts
from sayso.align.rl.sampling import SampledGroups


def figures_of(drawn: SampledGroups, measured: ScoredRollouts) -> dict[str, float]:
    """Return the figures of one iteration.

    reward (mean after shaping, of all groups that were asked), its parts before their weights, spread (standard
    deviation of the replies' rewards),
    no_signal (share of groups whose replies all earned the same), kl and kl_token (k1 to the reference, nats a reply
    and a token), entropy (nats a token), length (tokens sampled), ended (share that ended by itself), distinct (share
    of a group's replies that differ), drift (nats between the sampler's log-probabilities and the recomputed ones).
    """
    rollouts, scores = drawn.rollouts, drawn.scores
    names = drawn.rewarded[0].parts
    return {
        "reward": drawn.mean,
        **{f"reward_{name}": fmean(one.parts[name] for one in drawn.rewarded) for name in names if len(names) > 1},
        "spread": float(scores.std(correction=0)),
        "no_signal": drawn.silent / drawn.asked,
        "kl": measured.kl,
        "kl_token": measured.kl_token,
        "entropy": measured.entropy,
        "length": fmean(one.length for one in rollouts),
        "ended": fmean(one.ended for one in rollouts),
        "distinct": fmean(len({one.text for one in group.rollouts}) / len(group.rollouts) for group in drawn.groups),
        "drift": measured.drift,
    }


def figures_line(figures: dict[str, float]) -> str:
    """Return the figures as one readable line."""
    parts = [
        f"{name.removeprefix('reward_')} {value:.3g}" for name, value in figures.items() if name.startswith("reward_")
    ]
    line = f"reward {figures['reward']:.3f} (spread {figures['spread']:.2f}"
    line += f"; {', '.join(parts)})" if parts else ")"
    line += f", no signal in {figures['no_signal']:.0%} of groups, entropy {figures['entropy']:.3f}"
    if "kl" in figures:
        line += f", KL {figures['kl']:.3g} per reply"
    if "explained_variance" in figures:
        line += f", explained variance {figures['explained_variance']:.2f}"
    return f"{line}, length {figures['length']:.1f}, ended {figures['ended']:.0%}, drift {figures['drift']:.1e}"
