"""What the route of the x-ray is asked for."""

from typing import Annotated, Literal

from pydantic import Field

from sayso.serve.turns import Body, RowId

Index = Annotated[int, Field(ge=0, lt=2**31)]


class Change(Body):
    """A part of the model that is switched off or taken from another text, or a stream that is steered."""

    part: Literal["head", "attention", "mlp", "steer"]
    layer: Index
    head: Index | None = None
    text: Annotated[str, Field(max_length=10_000)] | None = None
    against: Annotated[str, Field(max_length=10_000)] | None = None
    strength: Annotated[float, Field(ge=-1000, le=1000)] | None = None


class Where(Body):
    """Which part of a panel's numbers is wanted."""

    position: Index | None = None
    layer: Index | None = None
    head: Index | None = None
    neuron: Index | None = None
    target: Index | None = None
    contrast: Index | None = None
    first: Index | None = None
    tokens: Annotated[list[Index], Field(max_length=20)] | None = None
    count: Annotated[int, Field(ge=1, le=200)] | None = None
    changes: Annotated[list[Change], Field(max_length=200)] | None = None


class XrayBody(Body):
    """POST /api/xray: a panel, about a text, a row of ids or a stored reply."""

    panel: str
    where: Where = Where()
    text: Annotated[str, Field(max_length=100_000)] | None = None
    """Text that the model reads, after the token that begins a text."""
    ids: Annotated[list[Index], Field(min_length=1, max_length=10_000)] | None = None
    """Ids that the model reads as they are, such as those of another model's row."""
    prompt: Index | None = None
    """How many of the ids were given, and not generated; default: all."""
    message_id: RowId | None = None
    """Reply, whose prompt and tokens are read."""
    model: str | None = None
    """A served model, or another one of the life, which is opened for the x-ray alone."""
