"""The run that all tuning acts share: load the parent, plan, train, evaluate, save.

Fine-tuning, alignment, reward modeling and reinforcement learning are subclasses of `Tuning`.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from sayso.base.device import Device, pick_device
from sayso.base.log import RunLog, act_log, say
from sayso.model import Transformer
from sayso.model.adapters import LoRA
from sayso.token.tokenizer import Tokenizer
from sayso.train.adapting import Adapting, save_tuned
from sayso.train.layout import Layout, layout_of_plan
from sayso.train.loop import State
from sayso.train.oom import layout_that_fits
from sayso.train.recipe import Recipe
from sayso.train.session import Derived, Session


@dataclass(frozen=True)
class Start:
    """What a run starts from: its session, and the parent model on the run's device."""

    session: Session
    parent: Path
    """Folder of the parent model."""
    model: Transformer
    tokenizer: Tokenizer
    device: Device
    lora: LoRA | None
    """Adapters to train; None if all weights are trained."""


class Tuning:
    """A method of tuning; `tune` calls the methods in the order in which they are defined here.

    `derive` and `keep` are not called for a resumed run.
    """

    stage: ClassVar[str] = "tuned"
    """Stage of the new model in its sayso.json."""
    rows: int
    """Rows per batch."""
    row_tokens: int
    """Minimum tokens per row, for the estimate of memory."""

    def __init__(self, start: Start) -> None:
        """Set `start`; a subclass reads and checks its data here."""
        self.start = start

    def derive(self, layout: Layout) -> Derived:
        """Return the values to store in the plan, such as the number of steps."""
        raise NotImplementedError

    def keep(self) -> None:
        """Write the files that belong to the plan into the run's folder."""

    def state(self) -> State:
        """Return the state to train."""
        raise NotImplementedError

    def recipe(self, state: State, derived: Derived, log: RunLog) -> Recipe:
        """Return the batches, loss and schedule to train with; may evaluate the initial weights."""
        raise NotImplementedError

    def finish(self, state: State, log: RunLog) -> dict[str, Any] | None:
        """Report on the trained weights; return metrics for the model's sayso.json, if any."""

    def save(self, folder: Path, lineage: dict[str, Any]) -> None:
        """Write the model folder, with the adapters merged."""
        start = self.start
        save_tuned(start.model, start.lora, start.tokenizer, folder, lineage, start.parent)


def tune(options: Adapting, session: Session, parent: Path, method: Callable[[Start], Tuning]) -> bool:
    """Tune `parent` with a method and save the model; resume an interrupted run.

    Returns false, without loading the parent or any data, if the run has already been finished.
    """
    device = pick_device(options.device)
    if not options.restart and session.finished():
        say(f"The model '{session.name}' has already been trained with these options and inputs.")
        return False
    model, tokenizer = session.open(parent, device.kind, plain=True, restart=options.restart)
    lora = options.lora(model)
    tuning = method(Start(session, parent, model, tokenizer, device, lora))

    def derive() -> Derived:
        shape = (model.config, tuning.rows, tuning.row_tokens)
        layout = layout_that_fits(options, *shape, device, lora=lora is not None)
        return {**tuning.derive(layout), "layout": asdict(layout), "lora": asdict(lora) if lora else None}

    derived = session.plan(derive, options.restart, tuning.keep)
    state, folder = tuning.state(), session.life.model(session.name)
    with act_log(session.life, session.act, session.name, options) as log:
        recipe = tuning.recipe(state, derived, log)
        layout = layout_of_plan(derived["layout"], options, tuning.rows, device)
        session.train(state, recipe, layout, options, log)
        metrics = tuning.finish(state, log)
        lineage = session.lineage(tuning.stage, parent, derived, state)
        lineage["metrics"] |= metrics or {}
        tuning.save(folder, lineage)
    say(f"Saved {folder}.")
    return True
