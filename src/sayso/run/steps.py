"""What a run tells of its steps: each one to `run.jsonl`, the last one on the moving line."""

from collections.abc import Callable
from typing import Any

from sayso.base.log import Progress, RunLog
from sayso.train.loop import Shown, State
from sayso.train.measure import matmul_peak, step_flops


class StepLog:
    """Tells the steps of one run; begins with a line of what its speeds are measured against."""

    def __init__(self, log: RunLog, line: Progress, state: State, steps: int, processes: int) -> None:
        device = next(state.model.parameters()).device.type
        self.log, self.line, self.config, self.steps = log, line, state.model.config, steps
        self.peak = matmul_peak(device)
        self.tokens, self.seconds = 0, 0.0
        rates = {group["name"]: group["peak"] for optimizer in state.optimizers for group in optimizer.param_groups}
        log.write("speed", device=device, processes=processes, peak_flops=round(self.peak), peak_rates=rates)

    def show(self, shown: Shown) -> None:
        """Tell one step."""
        took = shown.seconds - self.seconds
        self.tokens, self.seconds = self.tokens + shown.seen, shown.seconds
        norms: dict[str, float] = vars(shown.norms) if shown.norms else {}
        self.log.write(
            "step",
            step=shown.step,
            steps=self.steps,
            loss=round(shown.loss, 5),
            lr=round(shown.factor, 5),
            gradient_norm=round(shown.gradient_norm, 4),
            tokens=shown.tokens,
            seconds=round(shown.seconds, 3),
            tokens_per_second=round(shown.seen / took),
            mfu=round(step_flops(self.config, shown.seen, shown.trained) / took / self.peak, 4),
            **{name: float(f"{value:.4g}") for name, value in norms.items()},
        )
        self.line.update(shown.step, loss=shown.loss, tokens=f"{self.tokens / shown.seconds:,.0f}/s")

    def judged(self, judge: Callable[[State], dict[str, Any]]) -> Callable[[State], None]:
        """Return what asks `judge` about a state and tells the answer."""
        return lambda state: self.log.write("val", step=state.step, **judge(state))
