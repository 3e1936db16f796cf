"""Logs training steps: each one to `run.jsonl`, the latest on the progress line."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sayso.base.log import Progress, RunLog, warn
from sayso.model.adapters import adapters
from sayso.train.best import Best
from sayso.train.layout import Layout
from sayso.train.loop import State, StepRecord
from sayso.train.measure import matmul_peak, step_flops
from sayso.train.memory import memory_mb
from sayso.train.mirrors import Mirrors
from sayso.train.watch import Watch


@dataclass(frozen=True)
class Evaluation:
    """How a run is evaluated during training, on data that it is not trained on."""

    judge: Callable[[State], dict[str, Any]]
    every: int
    """Steps between two evaluations."""
    best: str = ""
    """Metric that selects the final weights, see `Best`; if empty, they are the last ones."""


class StepLog:
    """Logs the steps of one run, and the device's peak speed, to which theirs is relative."""

    def __init__(
        self,
        log: RunLog,
        line: Progress,
        state: State,
        steps: int,
        layout: Layout,
        mirrors: Mirrors,
        watch: Watch | None = None,
    ) -> None:
        """Measure the device's peak speed and log it."""
        self.mirrors, self.watch = mirrors, watch
        self.device = next(state.model.parameters()).device.type
        self.log, self.line, self.config, self.steps = log, line, state.model.config, steps
        self.peak = matmul_peak(self.device, layout.precision, layout.processes)
        self.narrow = sum(layer.a.numel() + layer.b.numel() for layer in adapters(state.model).values())
        self.tokens, self.busy = 0, 0.0  # tokens and seconds of the steps
        self.earlier, self.seconds = 0.0, 0.0  # seconds of the earlier calls of `train`, and of all calls
        rates = {group["name"]: group["peak"] for optimizer in state.optimizers for group in optimizer.param_groups}
        log.write("speed", device=self.device, **asdict(layout), peak_flops=round(self.peak), peak_rates=rates)

    def begin(self) -> None:
        """Start the clock of a call of `train`: the first, or one after a rewind."""
        self.earlier = self.seconds

    def show(self, step: StepRecord) -> None:
        """Log one step."""
        self.tokens, self.busy = self.tokens + step.seen, self.busy + step.took
        self.seconds = self.earlier + step.seconds
        figures: dict[str, float] = {**vars(step.norms), "memory_mb": memory_mb(self.device)} if step.norms else {}
        figures |= {f"{name}_gradient_norm": norm for name, norm in step.other_norms.items()}
        operations = step_flops(self.config, step.seen, step.trained, self.narrow)
        figures["mfu"] = operations / step.took / self.peak
        self._write(
            "step",
            step.step,
            steps=self.steps,
            loss=round(step.loss, 5),
            lr=round(step.factor, 5),
            gradient_norm=round(step.gradient_norm, 4),
            tokens=step.tokens,
            seconds=round(self.seconds, 3),
            tokens_per_second=round(step.seen / step.took),
            **{name: float(f"{value:.4g}") for name, value in {**figures, **step.figures}.items()},
        )
        self.warn(step.step, step.figures)
        self.line.update(step.step, loss=step.loss, tokens=f"{self.tokens / self.busy:,.0f}/s")

    def judged(self, evaluation: Evaluation, best: Best | None) -> Callable[[State], None]:
        """Return a function that evaluates a state, logs the result, and saves the weights if they are the best."""

        def judge(state: State) -> None:
            found = evaluation.judge(state)
            self._write("val", state.step, **found)
            self.warn(state.step, {name: float(x) for name, x in found.items() if isinstance(x, int | float)})
            if best:
                best.offer(state, found)

        return judge

    def warn(self, step: int, figures: dict[str, float]) -> None:
        """Print warnings about the metrics."""
        for sentence in self.watch.check(figures) if self.watch else ():
            warn(f"Warning at step {step:,}: {sentence}")
            self.log.write("warning", step=step, problem=sentence)

    def _write(self, event: str, step: int, **fields: Any) -> None:
        self.log.write(event, step=step, **fields)
        self.mirrors.write(step, fields)
