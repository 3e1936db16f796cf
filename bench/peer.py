"""The peer in training: a model of `transformers` of the same shape, with the same weights."""

import torch
import transformers

from sayso.model import ModelConfig, Transformer
from sayso.weights.names import to_hub, to_hub_config

Peer = transformers.PreTrainedModel


def fresh(config: ModelConfig) -> Transformer:
    """Return a new model of ours without parts that are all zero."""
    model = Transformer(config).initialize(torch.Generator().manual_seed(0))
    for weight in model.parameters():  # a new model has some at zero
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.02, generator=torch.Generator().manual_seed(2))
    return model


def peer_of(model: Transformer, attention: str = "sdpa") -> Peer:
    """Return the peer with a copy of a model's weights, in training mode."""
    facts = to_hub_config(model.config)
    config = transformers.AutoConfig.for_model(facts.pop("model_type"), **facts)
    peer = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32)
    peer.load_state_dict(
        {name: weight.detach().clone() for name, weight in to_hub(model.state_dict(), model.config).items()},
        strict=not model.config.tie_embeddings,  # a tied head has no weight of its own
    )
    return peer.train()


def gpt2(vocab_size: int, layers: int, width: int, heads: int, context: int) -> Peer:
    """Return a new GPT-2 without dropout, in training mode."""
    config = transformers.GPT2Config(
        vocab_size=vocab_size, n_positions=context, n_embd=width, n_layer=layers, n_head=heads,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config).train()


def adamw(model: torch.nn.Module, rate: float, beta: float = 0.95) -> torch.optim.Optimizer:
    """Return a fused AdamW over all weights at one rate that decays the matrices by 0.1, as in nanoGPT."""
    matrices = [weight for weight in model.parameters() if weight.dim() > 1]
    others = [weight for weight in model.parameters() if weight.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, beta), fused=True)


def peer_loss(peer: Peer, ids: torch.Tensor) -> torch.Tensor:
    """Return the mean next-token loss of rows of ids [B, T + 1], as its class computes it."""
    targets = ids[:, 1:].contiguous()
    return peer(input_ids=ids[:, :-1], labels=targets, shift_labels=targets, use_cache=False).loss
