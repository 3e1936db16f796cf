"""The peer in training: a model of `transformers` of the same shape, with the very same weights."""

import torch
import transformers

from sayso.model import ModelConfig, Transformer
from sayso.weights.names import to_hub, to_hub_config

Peer = transformers.PreTrainedModel


def fresh(config: ModelConfig) -> Transformer:
    """Return a model of ours in which every part has something to do."""
    model = Transformer(config).initialise(torch.Generator().manual_seed(0))
    for weight in model.parameters():  # those that a fresh model has at zero
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.02, generator=torch.Generator().manual_seed(2))
    return model


def peer_of(model: Transformer, attention: str = "sdpa") -> Peer:
    """Return the peer with a copy of a model's weights, in training mode."""
    facts = to_hub_config(model.config)
    config = transformers.AutoConfig.for_model(facts.pop("model_type"), **facts)
    peer = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32)
    peer.load_state_dict(
        {name: weight.detach().clone() for name, weight in to_hub(model.state_dict(), model.config).items()}
    )
    return peer.train()


def peer_loss(peer: Peer, ids: torch.Tensor) -> torch.Tensor:
    """Return the mean next-token loss of rows of ids [B, T + 1], as its own class computes it."""
    targets = ids[:, 1:].contiguous()
    return peer(input_ids=ids[:, :-1], labels=targets, shift_labels=targets, use_cache=False).loss
