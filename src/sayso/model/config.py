"""The shape of a Transformer: one frozen, JSON-ready config, validated on construction.

The defaults describe what Sayso trains from scratch: rotary positions, RMS norms before each sublayer and on every
head of queries and keys, no biases. The other values cover the supported model families.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sayso.base.errors import UserError, nearest

GATED = ("swiglu", "geglu")
MLPS = (*GATED, "gelu", "relu", "relu2")
_POSITIONS = ("rotary", "learned", "none")
_NORMS = ("rms", "layer", "none")
NORM_PLACES = ("pre", "post", "both")
QK_NORMS = ("head", "whole", "none")
BIASES = ("qkv", "out", "mlp")
ROPE_SCALINGS = ("none", "linear", "llama3", "yarn")


def _check_choice(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UserError(f"A model's {name} must be one of {', '.join(known)}; got '{value}'.{nearest(value, known)}")


@dataclass(frozen=True)
class Rope:
    """Settings of rotary positions; the defaults are plain RoPE. Raises `UserError` for inconsistent values."""

    stretch: str = "none"
    """RoPE scaling for longer contexts: none, linear (all frequencies, Chen et al. 2023), llama3 (the low ones,
    interpolated by frequency) or yarn (the low ones, along a ramp over the dimensions, Peng et al. 2023)."""
    factor: float = 1.0
    """Factor of the scaling, 1 or more."""
    original: int = 0
    """Context length before the scaling, in tokens; for llama3 and yarn."""
    slow: float = 1.0
    """Frequencies with at most this many rotations in the original context are divided by `factor`."""
    fast: float = 32.0
    """Frequencies with at least this many rotations are unchanged; those in between are interpolated."""
    attention_factor: float = 1.0
    """Factor by which sines and cosines are multiplied (YaRN)."""
    local_theta: float = 0.0
    """Frequency base of layers with a window, which are not scaled; 0 = as in the other layers."""
    nope_layers: tuple[int, ...] = ()
    """Indices of the layers without positions (NoPE, Kazemnejad et al. 2023)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "nope_layers", tuple(sorted(self.nope_layers)))
        _check_choice("rope.stretch", self.stretch, ROPE_SCALINGS)
        if self.stretch != "none" and self.factor < 1:
            raise UserError(f"rope.factor must be 1 or more; got {self.factor:g}.")
        if self.stretch in ("llama3", "yarn") and not (self.original > 0 and 0 < self.slow < self.fast):
            raise UserError(
                f"RoPE scaling {self.stretch} needs an original context and 0 < slow < fast; "
                f"got {self.original}, {self.slow:g} and {self.fast:g}."
            )


PLAIN = Rope()


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a `Transformer`. Raises `UserError` for inconsistent values."""

    vocab_size: int
    """Number of token ids, V."""
    layers: int
    """Number of blocks."""
    width: int
    """Size of the residual stream, C."""
    heads: int
    """Query heads, H."""
    kv_heads: int
    """Key and value heads, each shared by H / kv_heads query heads (grouped-query attention, Ainslie et al. 2023)."""
    head_size: int
    """Size of one head, D; even for rotary positions, which rotate pairs of dimensions."""
    mlp_width: int
    """Hidden size of the feed-forward layer."""
    mlp: str = "swiglu"
    """swiglu or geglu (Shazeer 2020), gelu (Hendrycks & Gimpel 2016), relu, relu2 (So et al. 2021); GELUs use tanh."""
    context: int = 512
    """Longest sequence the model is trained and served with, in tokens."""
    positions: str = "rotary"
    """rotary (Su et al. 2021), learned (an embedding per position of the context) or none."""
    rope_theta: float = 10_000.0
    """Base of the rotary frequencies."""
    rope: Rope = PLAIN
    """Settings of the rotary positions."""
    windows: tuple[int, ...] = ()
    """Attention window of each layer in tokens, the current one included; 0 = unlimited; repeated; () = (0,)."""
    norm: str = "rms"
    """rms (Zhang & Sennrich 2019), layer (Ba et al. 2016) or none."""
    norm_place: str = "pre"
    """pre (before attention and MLP), post (on their outputs, before the residual addition) or both."""
    norm_eps: float = 1e-6
    """Added to the mean square or variance under the square root of every norm."""
    qk_norm: str = "head"
    """Norm of queries and keys: head (over each head), whole (over the whole projection) or none."""
    biases: tuple[str, ...] = ()
    """Linear layers with a bias: qkv (queries, keys and values), out (attention output) and mlp."""
    attention_cap: float = 0.0
    """Attention scores s become cap * tanh(s / cap) (Gemma 2); 0 = off."""
    logit_cap: float = 0.0
    """The same soft cap for logits; 0 = off."""
    embed_scale: float = 1.0
    """Factor by which token embeddings are multiplied."""
    tie_embeddings: bool = False
    """Whether the output head is the embedding matrix."""
    ngrams: tuple[int, ...] = ()
    """Orders of the n-grams with an embedding table, each 2 or more; third-party families have none."""
    ngram_rows: int = 0
    """Rows of each n-gram table."""
    shift: int = 0
    """Number of previous tokens whose embeddings are added with learned weights; third-party families have none."""

    def __post_init__(self) -> None:
        self._normalize()
        for name in ("vocab_size", "layers", "width", "heads", "kv_heads", "head_size", "mlp_width", "context"):
            if getattr(self, name) < 1:
                raise UserError(f"A model's {name} must be at least 1; got {getattr(self, name)}.")
        for name, known in (
            *(("mlp", MLPS), ("positions", _POSITIONS), ("norm", _NORMS)),
            *(("norm_place", NORM_PLACES), ("qk_norm", QK_NORMS)),
        ):
            _check_choice(name, getattr(self, name), known)
        if self.norm == "none" and self.qk_norm != "none":
            raise UserError(f"A model without norms needs qk_norm 'none'; got '{self.qk_norm}'.")
        for name in self.biases:
            _check_choice("biases", name, BIASES)
        for name in ("attention_cap", "logit_cap"):
            if getattr(self, name) < 0:
                raise UserError(f"A model's {name} must be positive, or 0 to disable it; got {getattr(self, name):g}.")
        if self.heads % self.kv_heads:
            raise UserError(f"heads must be a multiple of kv_heads; got {self.heads} and {self.kv_heads}.")
        if self.ngrams and (min(self.ngrams) < 2 or len(set(self.ngrams)) < len(self.ngrams) or self.ngram_rows < 1):
            raise UserError(
                f"ngrams must be unique orders of 2 or more, with ngram_rows of 1 or more; "
                f"got {self.ngrams} and {self.ngram_rows}."
            )
        if self.shift < 0:
            raise UserError(f"A model's shift must be 0 or more previous tokens; got {self.shift}.")
        self._check_positions()

    def _normalize(self) -> None:
        """Convert the lists and tables of JSON, and reduce patterns to their shortest form."""
        object.__setattr__(self, "ngrams", tuple(self.ngrams))
        object.__setattr__(self, "biases", tuple(sorted(set(self.biases))))
        object.__setattr__(self, "rope", Rope(**self.rope) if isinstance(self.rope, dict) else self.rope)
        if any(window < 0 for window in self.windows) or len(self.windows) > max(self.layers, 0):
            raise UserError(f"windows must be 0 or more, at most one per layer; got {tuple(self.windows)}.")
        object.__setattr__(self, "windows", _shortest(self.windows, self.layers) if any(self.windows) else ())

    def _check_positions(self) -> None:
        if self.positions != "rotary":
            if self.rope != PLAIN:
                raise UserError(f"rope settings need rotary positions; got {self.positions} positions.")
            return
        if self.head_size % 2:
            raise UserError(f"head_size must be even for rotary positions; got {self.head_size}.")
        if min(self.rope_theta, self.rope.local_theta or self.rope_theta) <= 1:
            raise UserError(f"A model's rope_theta must be greater than 1; got {self.rope_theta:g}.")
        if any(not 0 <= layer < self.layers for layer in self.rope.nope_layers):
            raise UserError(f"rope.nope_layers must be from 0 to {self.layers - 1}; got {self.rope.nope_layers}.")
        if self.rope.local_theta and not self.windows:
            raise UserError("rope.local_theta applies to layers with a window; this model has no windows.")

    @property
    def reach(self) -> int:
        """Number of previous tokens on which the input of the first layer depends."""
        return max(self.shift, *(order - 1 for order in self.ngrams), 0)

    @property
    def layer_windows(self) -> tuple[int, ...]:
        """Attention window of each layer, in tokens; 0 = unlimited."""
        return tuple(self.windows[layer % len(self.windows)] if self.windows else 0 for layer in range(self.layers))

    @property
    def head_parameters(self) -> int:
        """Weights of the output head."""
        return self.vocab_size * self.width

    @property
    def matmul_parameters(self) -> int:
        """Weights in matrix multiplications: all matrices except the embedding table."""
        attention = self.width * self.head_size * (2 * self.heads + 2 * self.kv_heads)
        feed_forward = self.width * self.mlp_width * (3 if self.mlp in GATED else 2)
        return self.layers * (attention + feed_forward) + self.head_parameters

    def flops_per_token(self, length: int) -> int:
        """Return the training FLOPs per token, forward and backward, in rows of `length` tokens.

        6 per matmul weight, and 12 * H * D * length per layer for attention scores and values (PaLM, appendix B). As
        is the convention for MFU, the count ignores that attention is causal; it does account for windows.
        """
        seen = sum(min(length, window or length) for window in self.layer_windows)
        return 6 * self.matmul_parameters + 12 * self.heads * self.head_size * seen


def _shortest(pattern: Sequence[int], layers: int) -> tuple[int, ...]:
    """Return the shortest pattern with the same repetition over `layers` layers."""
    full = [pattern[layer % len(pattern)] for layer in range(layers)]
    period = next(size for size in range(1, layers + 1) if full == [full[layer % size] for layer in range(layers)])
    return tuple(full[:period])
