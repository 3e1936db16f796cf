"""Decoding on a GPU at the speed of its memory: a pass of one token a row is recorded once and played again.

A small pass is bound by the time that it takes to launch its kernels one by one; a recording (CUDA graph) launches them
at once. It holds for one number of rows and one length of their tables, so both are rounded up to powers of two: rows
that are not there write to the block that nobody reads. B rows, S columns, C width.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sayso.model.transformer import Transformer
from sayso.sample.blocks import BLOCK, blocks_for
from sayso.sample.pages import Pages, Window
from sayso.sample.runner import Chunk, TorchRunner

WARM = 2  # passes before one is recorded, in which libraries choose their kernels and take their memory


class GraphRunner(TorchRunner):
    """TorchRunner, whose passes of one token a row are recorded; on a CPU they run as they are."""

    def __init__(self, model: Transformer, pages: Pages) -> None:
        super().__init__(model, pages)
        pages.clear([len(pages)])
        self.passes: dict[tuple[int, int], Pass] = {}
        """By rows and blocks of a row's table."""

    @torch.inference_mode()
    def hidden(self, chunks: Sequence[Chunk]) -> Tensor:
        """Return [N, C]."""
        if any(len(chunk.ids) != 1 for chunk in chunks):
            return super().hidden(chunks)
        size = power(len(chunks)), power(max(blocks_for(chunk.start + 1) for chunk in chunks))
        if size not in self.passes:
            self.passes[size] = Pass(self.model, self.pages, *size)
        return self.passes[size].hidden(chunks)


class Pass:
    """One token for each of so many rows, with tables of so many blocks."""

    def __init__(self, model: Transformer, pages: Pages, rows: int, blocks: int) -> None:
        self._model, self._pages = model, pages
        self._spare = [len(pages)] * blocks
        self._given = torch.zeros(rows, 2 + blocks, dtype=torch.long, device=pages.keys[0].device)
        self._out = torch.empty(0)
        self._fill([])
        self._play = recorded(self._run, self._given.device)

    def hidden(self, chunks: Sequence[Chunk]) -> Tensor:
        """Return [N, C] for N chunks of one token."""
        self._fill(chunks)
        self._play()
        return self._out[: len(chunks)].clone()  # the next pass writes there again

    def _fill(self, chunks: Sequence[Chunk]) -> None:
        """Put each row's id, position and table where the recording reads them, all in one copy."""
        width = len(self._spare)
        rows = [[*chunk.ids, chunk.start, *[*chunk.blocks, *self._spare][:width]] for chunk in chunks]
        rows += [[0, 0, *self._spare] for _ in range(len(self._given) - len(rows))]
        self._given.copy_(torch.tensor(rows))

    def _run(self) -> None:
        ids, positions, table = self._given[:, :1], self._given[:, 1:2], self._given[:, 2:]
        window = StepWindow(self._pages, table, positions)
        self._out = self._model.hidden(ids, positions=positions, mask=window.mask, cache=window)[:, 0]


class StepWindow(Window):
    """The cache in a pass of one token a row, of tensors that lie on the device already."""

    def __init__(self, pages: Pages, table: Tensor, positions: Tensor) -> None:
        self._pages, self._fresh, self._all_real = pages, False, True
        self._table, self._width, self.positions = table, table.shape[1] * BLOCK, positions
        self._slots = (table.gather(1, positions // BLOCK) * BLOCK + positions % BLOCK)[:, 0]
        columns = torch.arange(self._width, device=positions.device)
        self.mask = (columns <= positions[..., None])[:, None]

    def _gather(self, kind: int, pages: Tensor, table: Tensor) -> Tensor:  # noqa: ARG002
        return pages.index_select(0, table)  # a recording has memory of its own


def recorded(run: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Return what does the same again: on a GPU a recording of it, which reads and writes the same memory."""
    if device.type != "cuda":
        return run
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(WARM):
            run()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def power(number: int) -> int:
    """Return the least power of two that is not less."""
    return 1 << (number - 1).bit_length()
