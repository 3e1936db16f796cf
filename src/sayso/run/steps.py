"""What a run tells of its steps: each one to `run.jsonl`, the last one on the moving line."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sayso.base.log import Progress, RunLog
from sayso.model.adapters import adapters
from sayso.run.mirror import Mirrors
from sayso.run.training import Layout
from sayso.train.loop import Shown, State
from sayso.train.measure import matmul_peak, step_flops


class StepLog:
    """Tells the steps of one run; begins with a line of what its speeds are measured against."""

    def __init__(
        self,
        log: RunLog,
        line: Progress,
        state: State,
        steps: int,
        layout: Layout,
        mirrors: Mirrors,
        *,
        counts_tokens: bool = True,
    ) -> None:
        """Measure the device's peak and say it; `counts_tokens`: a step's count is of trained tokens, not of pairs."""
        self.mirrors = mirrors
        device = next(state.model.parameters()).device.type
        self.log, self.line, self.config, self.steps = log, line, state.model.config, steps
        self.peak, self.counts_tokens = matmul_peak(device, layout.precision), counts_tokens
        self.narrow = sum(layer.a.numel() + layer.b.numel() for layer in adapters(state.model).values())
        self.tokens, self.busy = 0, 0.0  # seen by the steps, and the seconds that these took
        self.earlier, self.seconds = 0.0, 0.0  # of all calls of `train`: before the last one began, and so far
        rates = {group["name"]: group["peak"] for optimizer in state.optimizers for group in optimizer.param_groups}
        log.write("speed", device=device, **asdict(layout), peak_flops=round(self.peak), peak_rates=rates)

    def begin(self) -> None:
        """Be told that `train` is called, for the first time or again after going back."""
        self.earlier = self.seconds

    def show(self, shown: Shown) -> None:
        """Tell one step."""
        self.tokens, self.busy = self.tokens + shown.seen, self.busy + shown.took
        self.seconds = self.earlier + shown.seconds
        figures: dict[str, float] = dict(vars(shown.norms)) if shown.norms else {}
        if self.counts_tokens:
            operations = step_flops(self.config, shown.seen, shown.count, self.narrow)
            figures["mfu"] = operations / shown.took / self.peak
        self._tell(
            "step",
            shown.step,
            steps=self.steps,
            loss=round(shown.loss, 5),
            lr=round(shown.factor, 5),
            gradient_norm=round(shown.gradient_norm, 4),
            tokens=shown.tokens,
            seconds=round(self.seconds, 3),
            tokens_per_second=round(shown.seen / shown.took),
            **{name: float(f"{value:.4g}") for name, value in figures.items()},
        )
        self.line.update(shown.step, loss=shown.loss, tokens=f"{self.tokens / self.busy:,.0f}/s")

    def judged(self, judge: Callable[[State], dict[str, Any]]) -> Callable[[State], None]:
        """Return what asks `judge` about a state and tells the answer."""
        return lambda state: self._tell("val", state.step, **judge(state))

    def _tell(self, event: str, step: int, **fields: Any) -> None:
        self.log.write(event, step=step, **fields)
        self.mirrors.write(step, fields)
