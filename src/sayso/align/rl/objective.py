"""Loss of reinforcement learning: policy gradient, KL penalty, entropy bonus and value loss.

    loss = policy gradient + beta KL(policy, reference) - entropy bonus + weight * value loss

A batch of rollouts enters, a `Term` leaves, with figures of every trained token.
"""

from dataclasses import dataclass

from sayso.align.rl.critic import critic_of, values_of
from sayso.batch.batch import IGNORED, Batch
from sayso.batch.rollouts import RolloutBatch
from sayso.loss.kl import kl_estimate
from sayso.loss.logprobs import target_logprobs_at
from sayso.loss.policy import PolicyMethod, averaged, token_losses
from sayso.loss.term import Term
from sayso.loss.value import value_losses
from sayso.model import Transformer
from sayso.model.packed import hidden_states


@dataclass(frozen=True)
class Objective:
    """The loss function, called by the training loop."""

    method: PolicyMethod
    temperature: float = 1.0
    """At which the rollouts were sampled."""
    beta: float = 0.0
    """Weight of the KL to the reference in the loss (k3 with k2's gradient); 0 where it is in the reward, or off."""
    entropy: float = 0.0
    """Weight of the entropy, which is made large; 0 = off."""
    constant: float = 1.0
    """What a reply's sum is divided by where the method has it so, such as the most tokens of a reply."""
    value: float = 0.1
    """Weight of the value loss, for a policy with a value model."""
    value_clip: float = 0.2
    """How far a value may move from the one that advantages were made with; 0 = anywhere."""
    on_policy: bool = False
    """Whether each rollout is learned from in one update alone: then log p_old is log p, and is not read."""

    def __call__(self, model: Transformer, batch: Batch) -> Term:
        """Return the term of a batch of rollouts."""
        assert isinstance(batch, RolloutBatch)
        device, mask = model.device, batch.targets != IGNORED
        hidden = hidden_states(model, batch.ids, batch.documents)
        told = target_logprobs_at(model, hidden, batch.targets, self.temperature, learn_entropy=bool(self.entropy))
        mask, old, reference, advantages, values, returns = (
            x.to(device) for x in (mask, batch.old, batch.reference, batch.advantages, batch.values, batch.returns)
        )
        if self.on_policy:
            old = told.logprobs.detach()
        losses, figures = token_losses(self.method, told.logprobs, old, advantages, mask)
        figures["entropy"] = told.entropy.detach()[mask]
        if self.beta:
            apart = kl_estimate(told.logprobs, reference, "k3+")
            figures["kl_token"] = apart.detach()[mask]
            losses = losses + self.beta * apart
        if self.entropy:
            losses = losses - self.entropy * told.entropy
        if critic_of(model) is not None:
            now = values_of(model, hidden, batch.ids, batch.documents)
            off = value_losses(now, values, returns, self.value_clip)
            figures["value_loss"] = off.detach()[mask]
            losses = losses + self.value * off
        total, count = averaged(losses, mask, self.method.average, self.constant)
        return Term(total, count, batch.ids.numel(), figures, batch.trained)
