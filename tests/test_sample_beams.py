"""Beam search: the best replies, as an exhaustive search and transformers find them."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from sayso.base.errors import UserError
from sayso.model import ModelConfig, Transformer
from sayso.sample.beams import beam_search
from sayso.sample.generate import generate
from sayso.sample.sampling import Sampling
from sayso.weights.names import family_of

SHAPE = ModelConfig(
    vocab_size=6, layers=2, width=32, heads=4, kv_heads=2, head_size=8, mlp_width=64, context=80, qk_norm="none"
)
STOP = frozenset({5})


def random_model(config: ModelConfig = SHAPE, seed: int = 0) -> Transformer:
    """A model whose every weight counts."""
    model, generator = Transformer(config), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.endswith("norm.weight"):
                weight.normal_(std=0.2, generator=generator)
    return model.eval()


@torch.inference_mode()
def chance(model: Transformer, prompt: list[int], said: list[int]) -> float:
    """The log-probability of what is said after a prompt."""
    logprobs = model(torch.tensor([[*prompt, *said]]))[0].log_softmax(-1)
    return sum(float(logprobs[len(prompt) - 1 + place, token]) for place, token in enumerate(said))


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_enough_beams_find_the_best_of_all(penalty: float) -> None:
    """With as many beams as there are replies, the result is that of looking at each of them."""
    model, prompt, most = random_model(), [1, 2, 3], 3
    found = beam_search(model, prompt, 64, most, STOP, length_penalty=penalty)
    replies = [list(said) for count in range(most + 1) for said in product(range(5), repeat=count)]
    scores = {}
    for said in replies:
        whole = said if len(said) == most else [*said, 5]
        scores[tuple(said)] = chance(model, prompt, whole) / len(whole) ** penalty
    best = sorted(scores, key=lambda said: -scores[said])
    assert tuple(found[0].ids) == best[0]
    for beam in found:
        assert beam.score == pytest.approx(scores[tuple(beam.ids)], abs=1e-4)
        assert beam.finish == ("length" if len(beam.ids) == most else "stop")
    assert [beam.score for beam in found] == sorted((beam.score for beam in found), reverse=True)


def test_one_beam_is_greedy() -> None:
    """A search with one hypothesis takes the likeliest token each time."""
    model = random_model(replace(SHAPE, vocab_size=50))
    (beam,) = beam_search(model, [1, 2, 3], 1, 40, frozenset())
    (greedy,) = generate(model, [[1, 2, 3]], Sampling(temperature=0, max_tokens=40))
    assert beam.ids == greedy.ids
    assert beam.logprob == pytest.approx(sum(greedy.logprobs), abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_transformers(seed: int) -> None:
    """The best reply over many blocks, hypotheses that split and end, is the one that transformers finds."""
    config = replace(SHAPE, vocab_size=40)
    ours = random_model(config, seed)
    theirs = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=40,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            intermediate_size=64,
            max_position_embeddings=80,
            rope_theta=config.rope_theta,
            rms_norm_eps=config.norm_eps,
            bos_token_id=None,
            eos_token_id=5,
            pad_token_id=5,
            tie_word_embeddings=False,
        )
    ).eval()
    theirs.load_state_dict(family_of(config).to_hub(ours.state_dict(), config))
    prompt = [1, 2, 3, 4, 5, 6, 7]
    found = beam_search(ours, prompt, 4, 30, STOP)
    said = theirs.generate(
        torch.tensor([prompt]), num_beams=4, max_new_tokens=30, do_sample=False, early_stopping="never",
        return_dict_in_generate=True, output_scores=True, num_return_sequences=1,
    )  # fmt: skip
    ids = said.sequences[0, len(prompt) :].tolist()
    assert found[0].ids == (ids[: ids.index(5)] if 5 in ids else ids)
    assert found[0].score == pytest.approx(float(said.sequences_scores[0]), abs=1e-4)


@pytest.mark.parametrize("width", [0, 65])
def test_a_width_out_of_range_is_refused(width: int) -> None:
    """The error names the range."""
    with pytest.raises(UserError, match=f"from 1 to 64 beams; got {width}"):
        beam_search(random_model(), [1], width, 5)
