"""Logging of training steps: each one to `run.jsonl`, the latest on the progress line."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sayso.base.log import Progress, RunLog, warn
from sayso.model.adapters import adapters
from sayso.train.best import Best
from sayso.train.layout import Layout
from sayso.train.loop import State, StepRecord
from sayso.train.measure import matmul_peak, step_flops
from sayso.train.mirrors import Mirrors
from sayso.train.watch import Watch


@dataclass(frozen=True)
class Evaluation:
    """How a run is evaluated during training, on data that it is not trained on."""

    judge: Callable[[State], dict[str, Any]]
    every: int
    """Steps between two evaluations."""
    best: str = ""
    """Metric whose best weights are used at the end, see `Best`; the last weights if empty."""


class StepLog:
    """Logs the steps of one run; begins with the device's peak, against which speeds are measured."""

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
        """Measure the device's peak and print it."""
        self.mirrors, self.watch = mirrors, watch
        device = next(state.model.parameters()).device.type
        self.log, self.line, self.config, self.steps = log, line, state.model.config, steps
        self.peak = matmul_peak(device, layout.precision, layout.processes)
        self.narrow = sum(layer.a.numel() + layer.b.numel() for layer in adapters(state.model).values())
        self.tokens, self.busy = 0, 0.0  # tokens seen by the steps, and the seconds of these steps
        self.earlier, self.seconds = 0.0, 0.0  # of all calls of `train`: before the latest one, and in total
        rates = {group["name"]: group["peak"] for optimizer in state.optimizers for group in optimizer.param_groups}
        log.write("speed", device=device, **asdict(layout), peak_flops=round(self.peak), peak_rates=rates)

    def begin(self) -> None:
        """Note a call of `train`, the first or one after a rewind."""
        self.earlier = self.seconds

    def show(self, shown: StepRecord) -> None:
        """Log one step."""
        self.tokens, self.busy = self.tokens + shown.seen, self.busy + shown.took
        self.seconds = self.earlier + shown.seconds
        figures: dict[str, float] = dict(vars(shown.norms)) if shown.norms else {}
        figures |= {f"{name}_gradient_norm": norm for name, norm in shown.other_norms.items()}
        operations = step_flops(self.config, shown.seen, shown.trained, self.narrow)
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
            **{name: float(f"{value:.4g}") for name, value in {**figures, **shown.figures}.items()},
        )
        self.warn(shown.step, shown.figures)
        self.line.update(shown.step, loss=shown.loss, tokens=f"{self.tokens / self.busy:,.0f}/s")

    def judged(self, judging: Evaluation, best: Best | None) -> Callable[[State], None]:
        """Return a function that evaluates a state, logs the result, and saves the weights if they are the best."""

        def judge(state: State) -> None:
            found = judging.judge(state)
            self._tell("val", state.step, **found)
            self.warn(state.step, {name: float(x) for name, x in found.items() if isinstance(x, int | float)})
            if best:
                best.offer(state, found)

        return judge

    def warn(self, step: int, figures: dict[str, float]) -> None:
        """Print warnings about the metrics."""
        for sentence in self.watch.see(figures) if self.watch else ():
            warn(f"Warning at step {step:,}: {sentence}")
            self.log.write("warning", step=step, problem=sentence)

    def _tell(self, event: str, step: int, **fields: Any) -> None:
        self.log.write(event, step=step, **fields)
        self.mirrors.write(step, fields)
