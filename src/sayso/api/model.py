"""`sayso.Model`: replies, continuations, logits, log-probabilities and embeddings for text.

    model = sayso.load("smollm2")
    model.chat("What is the capital of France?")

Shapes: T tokens of a text, V vocabulary, N texts, C width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sayso.base.device import pick_device
from sayso.base.errors import UserError, nearest
from sayso.base.life import Life
from sayso.batch.by_length import by_length
from sayso.judge.bits import bits_per_byte
from sayso.judge.statistics.estimate import Estimate
from sayso.model import ModelConfig, Transformer
from sayso.reply.conversation import Replier, Stream
from sayso.reply.embed import embed
from sayso.reply.speaking import with_breakers
from sayso.sample.sampling import Sampling
from sayso.text.document import Messages
from sayso.token.tokenizer import BOS, Tokenizer
from sayso.weights.adapter import load_adapter
from sayso.weights.folder import load_model
from sayso.weights.models import newest_model
from sayso.weights.sources import locate, open_files

EMBED_TOKENS = 8192  # maximum positions in a batch of texts to embed, including padding
SETTINGS = {field.name for field in fields(Sampling)}


class Model:
    """A model with its tokenizer. `module` is the `torch.nn.Module`, `path` its folder or file, if any."""

    def __init__(self, module: Transformer, tokenizer: Tokenizer, path: Path | None = None) -> None:
        self.module, self.tokenizer, self.path = module, tokenizer, path
        self._replier = Replier(module, tokenizer)

    def __repr__(self) -> str:
        config, size = self.config, sum(weight.numel() for weight in self.module.parameters())
        where = f"'{self.path}'" if self.path else "not saved"
        return (
            f"<sayso.Model {where}: {size / 1e6:,.1f}M parameters, {config.layers} layers, width {config.width}, "
            f"context {config.context:,}, on {self.module.device}>"
        )

    @property
    def config(self) -> ModelConfig:
        """Shape of the model."""
        return self.module.config

    def chat(self, messages: str | Messages, *, system: str | None = None, **sampling: Any) -> str:
        """Return the reply to a message, or to a conversation given as `{"role": ..., "content": ...}` messages.

        `sampling` takes the settings of `sayso.Sampling`, such as `temperature`, `top_p`, `max_tokens` and `seed`.
        Raises `UserError` for a model without a chat template, and when the prompt fills the context.
        """
        (reply,) = self._replier.replies([self._messages(messages, system)], self._sampling(sampling))
        return reply.text

    def generate(self, prompt: str, **sampling: Any) -> str:
        """Return the continuation of a raw prompt, without the chat template; `sampling` and errors as in `chat`."""
        (reply,) = self._replier.complete([prompt], self._sampling(sampling))
        return reply.text

    def stream(self, prompt: str | Messages, *, system: str | None = None, **sampling: Any) -> Stream:
        """Return an iterator over pieces of text as they are generated: a reply, or the continuation of a raw prompt.

        A string is a raw prompt unless `system` is set. The `reply()` of the iterator has the complete text and the
        token counts.
        """
        if isinstance(prompt, str) and system is None:
            return self._replier.stream_text(prompt, self._sampling(sampling))
        return self._replier.stream(self._messages(prompt, system), self._sampling(sampling))

    def ids(self, text: str) -> Tensor:
        """Return the ids [1 + T] of a text, preceded by the beginning-of-text token."""
        return torch.tensor([self._replier.tokenizer.specials[BOS], *self._replier.tokenizer.encode(text)])

    @torch.inference_mode()
    def logits(self, text: str) -> Tensor:
        """Return the logits [1 + T, V] that follow each of `ids(text)`: row 0 predicts the first token of the text."""
        ids = self._fitting(self.ids(text))
        return self.module(ids[None].to(self.module.device))[0]

    def logprobs(self, text: str) -> Tensor:
        """Return the natural-log probability [T] of each token of a text, given all tokens before it."""
        ids = self.ids(text)[1:].to(self.module.device)
        return self.logits(text)[:-1].float().log_softmax(-1).gather(1, ids[:, None])[:, 0]

    def bits_per_byte(self, texts: str | Sequence[str]) -> Estimate:
        """Return the bits per UTF-8 byte of one text, or of several with a 95 % interval.

        Texts longer than the context are read in windows that overlap by half.
        """
        several = [texts] if isinstance(texts, str) else list(texts)
        if not any(several):
            raise UserError("bits_per_byte needs at least one character of text; got none.")
        return bits_per_byte(self.module, self.tokenizer, several)

    def embed(self, texts: str | Sequence[str]) -> Tensor:
        """Return vectors of length 1, [N, C] for several texts or [C] for one: the mean of the last hidden states."""
        several = [texts] if isinstance(texts, str) else list(texts)
        rows = [self._fitting(self.ids(text)).tolist() for text in several]
        vectors = torch.empty(len(rows), self.config.width)
        for batch in by_length([len(row) for row in rows], EMBED_TOKENS):
            vectors[batch] = embed(self.module, [rows[index] for index in batch]).cpu()
        return vectors[0] if isinstance(texts, str) else vectors

    def _sampling(self, given: Mapping[str, Any]) -> Sampling:
        sampling = settings(given)
        return sampling if sampling.dry_breakers else with_breakers(sampling, self.tokenizer)

    def _messages(self, messages: str | Messages, system: str | None) -> Messages:
        if not self._replier.converses:
            raise UserError("This model has no chat template; use generate(...) to continue a text.")
        turns: list[Mapping[str, Any]] = (
            [{"role": "user", "content": messages}] if isinstance(messages, str) else [*messages]
        )
        return [{"role": "system", "content": system}, *turns] if system is not None else turns

    def _fitting(self, ids: Tensor) -> Tensor:
        if len(ids) > self.config.context:
            raise UserError(
                f"A text must have at most {self.config.context - 1:,} tokens to fit this model's context; got "
                f"{len(ids) - 1:,}."
            )
        return ids


def load(
    name: str | Path, *, life: str | Path = "life", adapter: str | Path | None = None, device: str | None = None
) -> Model:
    """Open a model: the name of a life's model, a folder, a GGUF file, a hub id (`owner/name`), or `smollm2`.

    `adapter` is the folder of a LoRA adapter in PEFT's format to apply. Omit `device` to choose the best one.
    Raises `UserError` if the model does not exist or cannot be opened.
    """
    kind, name = pick_device(device).kind, str(name)
    try:
        folder = newest_model(Life(Path(life)), name)
    except UserError as missing:
        try:
            folder, _, _ = locate(name)
        except UserError as error:
            raise (error if "/" in name else missing) from None
    module, tokenizer = load_model(folder, kind) if folder.is_dir() else open_files(folder)
    module = module.to(kind)
    if adapter is not None:
        load_adapter(module, Path(adapter))
    return Model(module, tokenizer, folder)


def settings(values: Mapping[str, Any]) -> Sampling:
    """Return keyword arguments as `Sampling`. Raises `UserError` for an unknown name or a value out of range."""
    for name in values:
        if name not in SETTINGS:
            raise UserError(
                f"Sampling has no setting '{name}'.{nearest(name, SETTINGS)} The settings are "
                f"{', '.join(sorted(SETTINGS))}."
            )
    lists = {
        name: tuple(values[name])
        for name in ("stop", "allowed_ids", "dry_breakers")
        if isinstance(values.get(name), list | set)
    }
    stop = {"stop": (values["stop"],)} if isinstance(values.get("stop"), str) else {}
    return Sampling(**{**values, **lists, **stop})
