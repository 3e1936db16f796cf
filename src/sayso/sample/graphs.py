"""Decoding with CUDA graphs: a pass of one token per row is recorded once and replayed.

A small pass is bound by the launch time of its kernels; a recording (CUDA graph) launches them all
at once. It is valid for one number of rows and one table length, so both are rounded up to powers of two: unused
rows write to the unused block. B rows, S columns, C width.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sayso.model.transformer import Transformer
from sayso.sample.blocks import BLOCK, blocks_for
from sayso.sample.pages import Pages, Window
from sayso.sample.runner import Chunk, TorchRunner

WARM = 2  # warm-up passes before recording, in which libraries choose kernels and allocate memory


class GraphRunner(TorchRunner):
    """TorchRunner that records passes of one token per row; on a CPU they run without a recording."""

    def __init__(self, model: Transformer, pages: Pages) -> None:
        super().__init__(model, pages)
        pages.clear([len(pages)])
        self.passes: dict[tuple[int, int], Pass] = {}
        """By number of rows and of blocks per table."""

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
    """One token for each of a fixed number of rows, with tables of a fixed number of blocks."""

    def __init__(self, model: Transformer, pages: Pages, rows: int, blocks: int) -> None:
        self._model, self._pages = model, pages
        self._unused = [len(pages)] * blocks
        self._inputs = torch.zeros(rows, 2 + blocks, dtype=torch.long, device=pages.keys[0].device)
        self._out = torch.empty(0)
        self._fill([])
        self._replay = _recorded(self._run, self._inputs.device)

    def hidden(self, chunks: Sequence[Chunk]) -> Tensor:
        """Return [N, C] for N chunks of one token."""
        self._fill(chunks)
        self._replay()
        return self._out[: len(chunks)].clone()  # the next pass overwrites it

    def _fill(self, chunks: Sequence[Chunk]) -> None:
        """Copy each row's id, position and table to the recording's inputs, all in one copy."""
        width = len(self._unused)
        rows = [[*chunk.ids, chunk.start, *[*chunk.blocks, *self._unused][:width]] for chunk in chunks]
        rows += [[0, 0, *self._unused] for _ in range(len(self._inputs) - len(rows))]
        self._inputs.copy_(torch.tensor(rows))

    def _run(self) -> None:
        ids, positions, table = self._inputs[:, :1], self._inputs[:, 1:2], self._inputs[:, 2:]
        window = StepWindow(self._pages, table, positions)
        self._out = self._model.hidden(ids, positions=positions, mask=window.mask, cache=window)[:, 0]


class StepWindow(Window):
    """The cache in a pass of one token per row, from tensors already on the device."""

    def __init__(self, pages: Pages, table: Tensor, positions: Tensor) -> None:
        self._pages, self._fresh, self._all_real = pages, False, True
        self._table, self._width, self.positions = table, table.shape[1] * BLOCK, positions
        self._slots = (table.gather(1, positions // BLOCK) * BLOCK + positions % BLOCK)[:, 0]
        columns = torch.arange(self._width, device=positions.device)
        self.mask = (columns <= positions[..., None])[:, None]

    def _gather(self, kind: int, pages: Tensor, table: Tensor) -> Tensor:  # noqa: ARG002
        return pages.index_select(0, table)  # a recording allocates its own memory


def _recorded(run: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Return a function that repeats `run`: on a GPU a recording, which reads and writes the same memory."""
    if device.type != "cuda":
        return run
    warm_up = torch.cuda.Stream()
    warm_up.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(warm_up):
        for _ in range(WARM):
            run()
    torch.cuda.current_stream().wait_stream(warm_up)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def power(number: int) -> int:
    """Return the smallest power of two that is at least `number`."""
    return 1 << (number - 1).bit_length()
