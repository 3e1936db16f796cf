"""What embeddings say: nearest tokens, analogies, a map in two dimensions, and how context moves a word's vector.

    sayso.lens.nearest_tokens(model, " cat", by="cosine").ids

Takes an opened model and words. Cosine compares directions; Euclidean distance also counts lengths:

    |a - b|^2 = |a|^2 + |b|^2 - 2 |a| |b| cos(a, b)

so that tokens with short vectors, such as rare ones, are near to everything.
V vocabulary, C width, N streams, P places.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from sayso.base.errors import UserError, nearest
from sayso.lens.matrices import matrix
from sayso.lens.tracing import rows_of, trace
from sayso.model import Transformer
from sayso.token.tokenizer import BOS, Tokenizer

MEASURES = ("cosine", "euclidean")
TABLES = ("input", "output")


class OpenedWithTokenizer(Protocol):
    """An opened model, such as `sayso.Model`."""

    @property
    def module(self) -> Transformer:
        """The Transformer itself."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""
        ...


@dataclass(frozen=True)
class Neighbors:
    """Tokens near a vector, the nearest first."""

    ids: Tensor
    """[k]."""
    values: Tensor
    """Their cosine or Euclidean distance, [k]."""
    norms: Tensor
    """The lengths of their vectors, [k]."""


@dataclass(frozen=True)
class Map:
    """Principal components of vectors."""

    points: Tensor
    """Coordinates, [..., D]."""
    shares: Tensor
    """Share of the variance along each axis, [D]."""
    axes: Tensor
    """Directions of the axes, of length 1, [D, C]."""


@dataclass(frozen=True)
class Contexts:
    """The vectors of one word at P places of texts, in N residual streams."""

    names: tuple[str, ...]
    """Names of the streams: before the first block, and after each."""
    places: tuple[tuple[int, int], ...]
    """Index of the text, and position of the word's last token in its ids, which begin with <|bos|>."""
    vectors: Tensor
    """[N, P, C]."""

    @property
    def cosines(self) -> Tensor:
        """Cosine of each two places in each stream, [N, P, P]: 1 where context changes nothing."""
        unit = F.normalize(self.vectors, dim=-1)
        return unit @ unit.mT

    @property
    def moved(self) -> Tensor:
        """Cosine of each place's vector with its vector in the first stream, [N, P]."""
        return F.cosine_similarity(self.vectors, self.vectors[:1], dim=-1)


def nearest_tokens(
    model: OpenedWithTokenizer, word: str | int | Tensor, k: int = 10, *, by: str = "cosine", table: str = "input"
) -> Neighbors:
    """Return the k tokens whose embeddings are nearest to that of a word, an id or a vector [C].

    by: cosine or euclidean. table: input (embeddings) or output (rows of the head). The token itself is left out.
    Raises `UserError` for an unknown measure, table or id, and for a word of several tokens.
    """
    vectors = _table(model.module, table)
    if isinstance(word, Tensor):
        return _nearest(vectors, word, k, by, ())
    token = _token(model, word)
    return _nearest(vectors, vectors[token], k, by, (token,))


def analogy(
    model: OpenedWithTokenizer, first: str | int, second: str | int, third: str | int, k: int = 10
) -> Neighbors:
    """Return the k tokens nearest by cosine to second - first + third, for "first is to second as third is to ...".

    Vectors have length 1, and the three words are left out (3CosAdd, Mikolov et al. 2013). Errors as in
    `nearest_tokens`.
    """
    vectors = F.normalize(_table(model.module, "input"), dim=-1)
    a, b, c = tokens = tuple(_token(model, word) for word in (first, second, third))
    return _nearest(vectors, vectors[b] - vectors[a] + vectors[c], k, "cosine", tokens)


def token_vectors(model: OpenedWithTokenizer, words: Sequence[str | int], table: str = "input") -> Tensor:
    """Return the embeddings of words, each of one token, or of ids, [N, C]. Errors as in `nearest_tokens`."""
    return _table(model.module, table)[[_token(model, word) for word in words]]


def principal_map(vectors: Tensor, dimensions: int = 2) -> Map:
    """Return vectors [..., C] along the directions in which they vary most, for a picture.

    The sign of each axis is such that its largest number is positive. Raises `UserError` for fewer vectors than
    dimensions.
    """
    x = vectors.detach().reshape(-1, vectors.shape[-1]).double()
    if not 1 <= dimensions <= min(len(x) - 1, x.shape[1]):
        raise UserError(
            f"A map in {dimensions} dimensions needs at least {dimensions + 1} vectors of as many numbers; got "
            f"{tuple(x.shape)}."
        )
    x = x - x.mean(0)
    _, sizes, axes = torch.linalg.svd(x, full_matrices=False)
    axes = axes[:dimensions]
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    shares = sizes.square()[:dimensions] / sizes.square().sum()
    return Map((x @ axes.T).view(*vectors.shape[:-1], dimensions).float(), shares.float(), axes.float())


def word_contexts(model: OpenedWithTokenizer, texts: Sequence[str], word: str) -> Contexts:
    """Return the vectors of a word at all places where it occurs in texts, layer by layer.

    They are those of the token with the word's last letter. Raises `UserError` for a text without the word, and as
    `trace` does.
    """
    network, start = model.module, model.tokenizer.specials[BOS]
    names = ("blocks.0.hook_resid_pre", *(f"blocks.{layer}.hook_resid_post" for layer in range(network.config.layers)))
    places, vectors = [], []
    for number, text in enumerate(texts):
        ids = model.tokenizer.encode(text)
        found = [1 + place for place in _places(model.tokenizer, ids, text, word)]
        streams = trace(network, rows_of(network, [start, *ids]), names)
        places += [(number, place) for place in found]
        vectors.append(torch.stack([streams[name][0, found] for name in names]))
    if not vectors:
        raise UserError(f"Give at least one text with the word '{word}'; got none.")
    return Contexts(names, tuple(places), torch.cat(vectors, dim=1))


def _places(tokenizer: Tokenizer, ids: Sequence[int], text: str, word: str) -> list[int]:
    """Return the index of the token with the last letter of each occurrence of a word."""
    ends = [match.end() for match in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text)] if word else []
    if not ends:
        raise UserError(f"The word '{word}' does not occur in the text '{text}'.")
    sizes = torch.tensor([len(tokenizer.decode_bytes([token])) for token in ids]).cumsum(0)
    bytes_before = torch.tensor([len(text[: end - 1].encode()) for end in ends])
    return torch.searchsorted(sizes, bytes_before, right=True).tolist()


def _nearest(vectors: Tensor, x: Tensor, k: int, by: str, leave: Sequence[int]) -> Neighbors:
    if by not in MEASURES:
        raise UserError(f"Vectors are compared by one of {', '.join(MEASURES)}; got '{by}'.{nearest(by, MEASURES)}")
    if x.shape != vectors.shape[1:]:
        raise UserError(f"A vector of this model must have {vectors.shape[1]} numbers; got {tuple(x.shape)}.")
    if not 1 <= k <= len(vectors) - len(leave):
        raise UserError(f"k must be from 1 to {len(vectors) - len(leave):,}; got {k}.")
    x = x.to(vectors)
    closeness = F.cosine_similarity(vectors, x[None]) if by == "cosine" else -(vectors - x).norm(dim=-1)
    closeness[list(leave)] = float("-inf")
    values, ids = closeness.topk(k)
    return Neighbors(ids, values if by == "cosine" else -values, vectors[ids].norm(dim=-1))


def _table(model: Transformer, table: str) -> Tensor:
    """Return the embeddings or the rows of the head, float [V, C]."""
    if table not in TABLES:
        raise UserError(f"A table of vectors is one of {', '.join(TABLES)}; got '{table}'.{nearest(table, TABLES)}")
    with torch.no_grad():
        ids = torch.arange(model.config.vocab_size, device=model.device)
        return (model.embed(ids) if table == "input" else matrix(model.unembed)).detach().float()


def _token(model: OpenedWithTokenizer, word: str | int) -> int:
    """Return the one token of a word, as it is or after a space. Raises `UserError` if there is none."""
    size = model.module.config.vocab_size
    if isinstance(word, int):
        if not 0 <= word < size:
            raise UserError(f"A token must be from 0 to {size - 1:,}; got {word}.")
        return word
    several = model.tokenizer.encode(word)
    for ids in (several, model.tokenizer.encode(f" {word}") if word else []):
        if len(ids) == 1:
            return ids[0]
    parts = ", ".join(repr(model.tokenizer.decode([token])) for token in several)
    raise UserError(f"An embedding belongs to one token; '{word}' is {len(several)}: {parts or 'nothing'}.")
