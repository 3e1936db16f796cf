"""TransformerLens' bridge around a copy of a model of ours, for the benches that compare with it."""

import tempfile
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from bench.peer import peer_of
from sayso.model import Transformer


def bridge_of(model: Transformer) -> Any:
    """Return a `TransformerBridge` with a copy of the weights, with eager attention, on the CPU."""
    from transformer_lens.model_bridge import TransformerBridge

    peer = peer_of(model, "eager").eval()
    peer.config.architectures = [type(peer).__name__]
    size = model.config.vocab_size
    words = Tokenizer(models.WordLevel({f"w{number}": number for number in range(size)}, unk_token="w0"))
    with tempfile.TemporaryDirectory() as folder:  # the bridge loads a tokenizer again by its path
        made = PreTrainedTokenizerFast(
            tokenizer_object=words, bos_token="w0", eos_token="w1", pad_token="w2", unk_token="w0"
        )
        made.save_pretrained(Path(folder))
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        return TransformerBridge.boot_transformers("local", hf_model=peer, tokenizer=tokenizer, device="cpu")
