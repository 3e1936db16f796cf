"""Loss of reinforcement learning: policy gradient, KL penalty, entropy bonus and value loss.

    loss = policy gradient + beta KL(policy, reference) - entropy bonus + weight * value loss

Takes a batch of rollouts and returns a `Term` with metrics of every trained token.
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
    """The loss function of a run."""

    method: PolicyMethod
    temperature: float = 1.0
    """Temperature at which the rollouts were sampled."""
    beta: float = 0.0
    """Weight of the KL to the reference in the loss (k3 with the gradient of k2); 0 if it is in the reward, or off."""
    entropy: float = 0.0
    """Weight of the entropy bonus; 0 = off."""
    constant: float = 1.0
    """Divisor of a reply's loss, for methods that use a constant, such as the maximum length of a reply."""
    value: float = 0.1
    """Weight of the value loss, for a policy with a value model."""
    value_clip: float = 0.2
    """Clipping range around the value from which advantages were computed; 0 = no clipping."""
    on_policy: bool = False
    """Whether each rollout is used in a single update, so that log p_old is log p."""

    def __call__(self, model: Transformer, batch: Batch) -> Term:
        """Return the loss of a batch of rollouts."""
        assert isinstance(batch, RolloutBatch)
        device, mask = model.device, batch.targets != IGNORED
        hidden = hidden_states(model, batch.ids, batch.documents)
        computed = target_logprobs_at(model, hidden, batch.targets, self.temperature, learn_entropy=bool(self.entropy))
        mask, old, reference, advantages, values, returns = (
            x.to(device) for x in (mask, batch.old, batch.reference, batch.advantages, batch.values, batch.returns)
        )
        if self.on_policy:
            old = computed.logprobs.detach()
        losses, figures = token_losses(self.method, computed.logprobs, old, advantages, mask)
        figures["entropy"] = computed.entropy.detach()[mask]
        if self.beta:
            kl = kl_estimate(computed.logprobs, reference, "k3+")
            figures["kl_token"] = kl.detach()[mask]
            losses = losses + self.beta * kl
        if self.entropy:
            losses = losses - self.entropy * computed.entropy
        if critic_of(model) is not None:
            predicted = values_of(model, hidden, batch.ids, batch.documents)
            errors = value_losses(predicted, values, returns, self.value_clip)
            figures["value_loss"] = errors.detach()[mask]
            losses = losses + self.value * errors
        total, count = averaged(losses, mask, self.method.average, self.constant)
        return Term(total, count, batch.ids.numel(), figures, batch.trained)
