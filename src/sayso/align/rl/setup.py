"""Builds the parts of reinforcement learning from options: the method, the plan, the objective and the state."""

from copy import deepcopy
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

import torch

from sayso.align.rl.critic import CriticKind, add_critic
from sayso.align.rl.experience import Credit, ReferenceModel
from sayso.align.rl.iterations import Plan
from sayso.align.rl.objective import Objective
from sayso.align.rl.options import RLOptions
from sayso.align.rl.sampling import GroupSampler
from sayso.base.errors import UserError, nearest
from sayso.base.life import Life
from sayso.base.ranges import Positive, Scale, Share, Weight
from sayso.loss.policy import METHODS, PolicyMethod
from sayso.model import Transformer
from sayso.model.adapters import LoRA
from sayso.model.score import score_head
from sayso.train.adapting import TUNING, tuning_state
from sayso.train.loop import State
from sayso.train.optimizers import make_optimizers
from sayso.weights.folder import load_weights
from sayso.weights.models import resolve_model

MOST_REPLIES = 10**6  # per iteration, all held in memory
IN_REWARD = ("rloo", "reinforce", "ppo")  # methods with the KL in the reward by default


@dataclass(frozen=True)
class Reinforce(RLOptions):
    """Options of `sayso reinforce`."""

    _: KW_ONLY
    method: str = "grpo"
    """Algorithm: grpo, dr-grpo, dapo, gspo, cispo, rloo, reinforce or ppo."""
    parent: str = "tuned"
    """Model to start from; also the reference model."""
    name: str = "aligned"
    """Name of the new model."""
    iterations: Positive = 100
    """Number of iterations of sampling and training."""
    updates: Positive = 1
    """Number of updates (mini-batches) per pass over an iteration's replies."""
    passes: Positive = 1
    """Passes over an iteration's replies; more than one requires a method with an importance ratio."""
    rate: Scale = 0.05
    """Multiplier on the pre-training learning rates."""
    beta: Weight = 0.0
    """Weight of the KL penalty to the parent; 0 = off."""
    kl: Literal["reward", "loss"] | None = None
    """Where to apply the KL penalty. Default: reward for rloo, reinforce and ppo, else loss."""
    target_kl: Weight = 0.0
    """Target KL in nats per reply, to which --beta is adapted; 0 = fixed beta."""
    clip_low: Share | None = None
    """Lower clipping range: the ratio is clipped at 1 minus this. Default: set by the method."""
    clip_high: Weight | None = None
    """Upper clipping range: the ratio is clipped at 1 plus this. Default: set by the method."""
    entropy: Weight = 0.0
    """Weight of the entropy bonus; 0 = off."""
    critic: CriticKind = "own"
    """ppo: value model, either a separate network (own) or a value head on the policy (shared)."""
    critic_from: str | None = None
    """ppo: reward model to initialize a separate value model from. Default: a copy of the parent."""
    critic_rate: Scale = 0.1
    """ppo: multiplier on the pre-training learning rates for the value model."""
    lam: Share = 0.95
    """ppo: lambda of generalized advantage estimation (GAE)."""


def method_of(options: Reinforce) -> PolicyMethod:
    """Return the method selected by the options. Raises `UserError` for conflicting options."""
    if options.method not in METHODS:
        known = ", ".join(METHODS)
        raise UserError(f"--method must be one of {known}; got '{options.method}'.{nearest(options.method, METHODS)}")
    replies, method = options.groups * options.replies, METHODS[options.method]
    if replies > MOST_REPLIES:
        raise UserError(f"--groups times --replies must be at most {MOST_REPLIES:,}; got {replies:,}.")
    if options.updates > replies:
        raise UserError(
            f"--updates must be at most the number of replies per iteration, {replies}; got {options.updates}."
        )
    if method.ratio == "none" and options.passes > 1:
        raise UserError(
            f"--method {options.method} has no importance ratio, so it supports only one pass; omit --passes."
        )
    if options.target_kl and not (options.beta and _in_reward(options)):
        raise UserError(
            "--target-kl adapts the weight of the KL penalty in the reward; add --kl reward and --beta, such as 0.05."
        )
    if options.critic_from and (method.baseline != "value" or options.critic != "own"):
        raise UserError("--critic-from applies only to --method ppo with --critic own; omit it.")
    low = method.low if options.clip_low is None else options.clip_low
    high = method.high if options.clip_high is None else options.clip_high
    return replace(method, low=low, high=high)


def plan_of(options: Reinforce, method: PolicyMethod, sampler: GroupSampler, reference: ReferenceModel) -> Plan:
    """Return the settings of the iterations."""
    return Plan(
        sampler,
        Credit(method, beta=options.beta if _in_reward(options) else 0.0, lam=options.lam),
        reference,
        updates=options.updates,
        passes=options.passes,
        keep_cut=options.keep_cut,
        target_kl=options.target_kl,
        sparse=not (options.beta or options.entropy or method.baseline == "value"),
        on_policy=options.updates * options.passes == 1 and not options.beta and method.baseline != "value",
        seed=options.seed,
    )


def objective_of(options: Reinforce, method: PolicyMethod, plan: Plan) -> Objective:
    """Return the loss of an update."""
    return Objective(
        method,
        options.temperature,
        beta=0.0 if _in_reward(options) else options.beta,
        entropy=options.entropy,
        constant=options.max_tokens,
        on_policy=plan.on_policy,
    )


def policy_state(options: Reinforce, method: PolicyMethod, model: Transformer, lora: LoRA | None) -> State:
    """Return a state that trains the model or its adapters, and a value model if the method has one."""
    begin = deepcopy(model) if method.baseline == "value" and options.critic == "own" else None
    if begin is not None and options.critic_from:
        begin = _reward_model(options, model)
    state = tuning_state(model, lora, options.rate, options.seed)
    if method.baseline != "value":
        return state
    critic = add_critic(model, options.critic, begin)
    if isinstance(critic, Transformer):
        optimizers = make_optimizers(critic, TUNING.times(options.critic_rate))
    else:
        rate = TUNING.times(options.critic_rate).head * (model.config.width / 768) ** -0.5
        group = {"params": list(critic.parameters()), "lr": rate}
        optimizers = [torch.optim.AdamW([group], betas=(0.8, 0.95), eps=1e-10, weight_decay=0.0, fused=True)]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["name"], group["peak"] = f"critic {group.get('name', 'head')}", group["lr"]
            group["clip"] = "critic"
    state.optimizers += optimizers
    return state


def _reward_model(options: Reinforce, model: Transformer) -> Transformer:
    assert options.critic_from is not None
    path = resolve_model(Life(options.life), options.critic_from)
    begin = load_weights(path, model.device.type)
    if score_head(begin) is None or begin.config.vocab_size != model.config.vocab_size:
        raise UserError(f"--critic-from must be a reward model with the parent's vocabulary; '{path}' is not.")
    return begin


def _in_reward(options: Reinforce) -> bool:
    return options.kl == "reward" or (options.kl is None and options.method in IN_REWARD)
