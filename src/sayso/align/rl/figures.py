"""Metrics of an iteration of reinforcement learning, computed from its replies."""

from statistics import fmean

from sayso.align.rl.experience import ScoredRollouts
from sayso.align.rl.sampling import SampledGroups


def figures_of(sampled: SampledGroups, scored: ScoredRollouts) -> dict[str, float]:
    """Return the metrics of an iteration.

    - reward: mean after shaping, over all sampled groups; with several rewards, `reward_NAME` of each before its weight
    - spread: standard deviation of the rewards
    - no_signal: share of groups whose replies all have the same reward
    - kl, kl_token: KL to the reference (k1), in nats per reply and per token
    - entropy: entropy of the policy, in nats per token
    - length: sampled tokens per reply
    - ended: share of replies that were not truncated
    - distinct: share of distinct replies in a group
    - drift: difference between the sampler's log-probabilities and the recomputed ones, in nats
    """
    rollouts, scores = sampled.rollouts, sampled.scores
    names = sampled.rewarded[0].parts
    return {
        "reward": sampled.mean,
        **{f"reward_{name}": fmean(one.parts[name] for one in sampled.rewarded) for name in names if len(names) > 1},
        "spread": float(scores.std(correction=0)),
        "no_signal": sampled.without_signal / sampled.prompts,
        "kl": scored.kl,
        "kl_token": scored.kl_token,
        "entropy": scored.entropy,
        "length": fmean(one.length for one in rollouts),
        "ended": fmean(one.ended for one in rollouts),
        "distinct": fmean(len({one.text for one in group.rollouts}) / len(group.rollouts) for group in sampled.groups),
        "drift": scored.drift,
    }


def figures_line(figures: dict[str, float]) -> str:
    """Return the metrics as a line for the terminal."""
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
