"""The shape of a Transformer: one frozen config, checked when it is made, JSON-ready."""

from dataclasses import dataclass

from sayso.base.errors import UserError, nearest

MLPS = ("swiglu", "relu2")


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and choices that fix a `Transformer`. Raises `UserError` when they do not fit together."""

    vocab_size: int
    """Number of token ids, V."""
    layers: int
    """Number of blocks."""
    width: int
    """Size of the residual stream, C."""
    heads: int
    """Query heads, H."""
    kv_heads: int
    """Key and value heads; each serves H / kv_heads query heads (grouped-query attention, Ainslie et al. 2023)."""
    head_size: int
    """Size of one head, D; even, because rotary positions turn pairs."""
    mlp_width: int
    """Hidden size of the feed-forward part."""
    mlp: str = "swiglu"
    """swiglu (Shazeer 2020) or relu2 (squared ReLU, So et al. 2021)."""
    context: int = 512
    """Longest sequence the model is trained and served with, in tokens."""
    rope_theta: float = 10_000.0
    """Base of the rotary frequencies (Su et al. 2021)."""
    norm_eps: float = 1e-6
    """Added to the mean square under the root of every RMS norm."""
    tie_embeddings: bool = False
    """Whether the output head is the embedding matrix."""
    ngrams: tuple[int, ...] = ()
    """Orders of n-grams, 2 or more each, that have an embedding of their own; none for the known families."""
    ngram_rows: int = 0
    """Rows of the table of each of these orders."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ngrams", tuple(self.ngrams))  # a list, where it comes from JSON
        for name in ("vocab_size", "layers", "width", "heads", "kv_heads", "head_size", "mlp_width", "context"):
            if getattr(self, name) < 1:
                raise UserError(f"A model's {name} is at least 1; got {getattr(self, name)}.")
        if self.mlp not in MLPS:
            raise UserError(f"A model's mlp is one of {', '.join(MLPS)}; got '{self.mlp}'.{nearest(self.mlp, MLPS)}")
        if self.heads % self.kv_heads:
            raise UserError(f"heads must be a multiple of kv_heads; got {self.heads} and {self.kv_heads}.")
        if self.ngrams and (min(self.ngrams) < 2 or len(set(self.ngrams)) < len(self.ngrams) or self.ngram_rows < 1):
            raise UserError(
                f"ngrams are different orders of 2 or more, with ngram_rows of 1 or more; "
                f"got {self.ngrams} and {self.ngram_rows}."
            )
        if self.head_size % 2:
            raise UserError(f"head_size must be even for rotary positions; got {self.head_size}.")

    @property
    def head_parameters(self) -> int:
        """Weights of the output head."""
        return self.vocab_size * self.width

    @property
    def matmul_parameters(self) -> int:
        """Weights that every token is multiplied by: all matrices but the embedding look-up."""
        attention = self.width * self.head_size * (2 * self.heads + 2 * self.kv_heads)
        feed_forward = self.width * self.mlp_width * (3 if self.mlp == "swiglu" else 2)
        return self.layers * (attention + feed_forward) + self.head_parameters

    def flops_per_token(self, length: int) -> int:
        """Training operations a token costs, forward and backward, in rows of `length` tokens.

        6 a matmul weight, and 12 * layers * H * D * length for attention scores and values (PaLM, appendix B; the
        causal half is not taken off, as is the convention for MFU).
        """
        return 6 * self.matmul_parameters + 12 * self.layers * self.heads * self.head_size * length
