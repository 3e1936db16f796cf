"""OLMo 2: norms on the outputs of attention and MLP, and on the whole projections of queries and keys."""

from sayso.model import ModelConfig
from sayso.weights.families.family import Family, HubConfig
from sayso.weights.families.llama import LLAMA_NAMES, QK_NORM_NAMES, read_biases, read_shared, write_shared

_BEFORE = ("blocks.N.attention_norm", "blocks.N.mlp_norm")
OLMO2_NAMES = {name: theirs for name, theirs in (LLAMA_NAMES | QK_NORM_NAMES).items() if name not in _BEFORE} | {
    "blocks.N.attention_post_norm": "model.layers.N.post_attention_layernorm",
    "blocks.N.mlp_post_norm": "model.layers.N.post_feedforward_layernorm",
}


def read_olmo2(facts: HubConfig) -> ModelConfig:
    """Return the shape of an OLMo 2."""
    biases = read_biases(facts)
    return ModelConfig(**read_shared(facts, eps=1e-5), norm_place="post", qk_norm="whole", biases=biases)


OLMO2 = Family("olmo2", "Olmo2ForCausalLM", OLMO2_NAMES, read_olmo2, write_shared)
