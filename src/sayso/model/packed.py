"""Hidden states of packed rows, with attention inside each document. B batch, T time, C width."""

from torch import Tensor

from sayso.base.device import moved
from sayso.model.segments import Segments
from sayso.model.transformer import Transformer


def hidden_states(model: Transformer, ids: Tensor, documents: Tensor) -> Tensor:
    """Return the last hidden states [B, T, C] for ids and document indices [B, T]."""
    segments = Segments(documents).to(model.device)
    return model.hidden(moved(ids, model.device), positions=segments.positions, mask=segments)
