"""The resumable run shared by pretrain, finetune and align: it can be interrupted, resumed, and identified.

`plan.json` in the run's folder holds the options as given, the fingerprints of the inputs, and the derived values.
The same command on the same inputs resumes with the stored plan, so that even a budget in minutes resumes to
exactly the same weights; a finished run is left alone; a finished run whose options or inputs changed is kept next to
the new one under a number. The model records which run made it; no other run replaces it without `--replace`.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256 as digest_of
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.files import read_object, sha256, write_json
from sayso.base.life import Life
from sayso.base.lock import locked
from sayso.base.log import RunLog, events_of, read_log, say
from sayso.base.made import check_apart, check_replaceable, check_work, made_folder, work_in
from sayso.model import Transformer
from sayso.token.load import dated
from sayso.token.tokenizer import Tokenizer
from sayso.train.layout import Layout
from sayso.train.loop import State
from sayso.train.mirrors import check_mirrors
from sayso.train.options import Training
from sayso.train.recipe import Recipe, run_recipe
from sayso.weights.folder import load_model
from sayso.weights.lineage import check_saved, read_lineage
from sayso.weights.models import maker_of, run_of

Derived = dict[str, Any]


@dataclass(frozen=True)
class Session:
    """One training run of a life: which command makes which model, and from what."""

    life: Life
    act: str
    name: str
    """Name of the model it makes."""
    options: Derived
    """The options as given, JSON-ready."""
    inputs: dict[str, str]
    """Fingerprints of the inputs: data, tokenizer, parent."""
    replace: bool = False
    """Whether it may replace a model made by another run."""
    began: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(timespec="seconds"))
    """Time of this command, which becomes that of the run if it is a new one."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.life.run(f"{self.act}-{self.name}")

    @property
    def mark(self) -> dict[str, str]:
        """The record in a model's sayso.json of the run that made it.

        `command` is the requested name: that of a round of `improve` differs from the name of its model.
        """
        asked = json.dumps({"options": self.options, "inputs": self.inputs}, sort_keys=True)
        plan = digest_of(asked.encode()).hexdigest()[:12]
        return {"name": self.folder.name, "command": str(self.options.get("name", self.name)), "plan": plan}

    def take_model(self, number: int) -> None:
        """Copy the model of a round as this run's own model."""
        source = self.life.model(self.part(number).name)
        with made_folder(self.life.model(self.name)) as part:
            shutil.copytree(source, part, dirs_exist_ok=True)
            write_json(part / "sayso.json", {**read_lineage(source), "run": self.mark}, sealed=True)

    def part(self, number: int, inputs: dict[str, str] | None = None) -> "Session":
        """Return the run of one round, whose model has a number appended to the name."""
        began = self.when().isoformat()
        return replace(self, name=f"{self.name}-{number}", inputs={**self.inputs, **(inputs or {})}, began=began)

    def check_places(self) -> None:
        """Raise `UserError` if another run's model, or files not made by Sayso, are where this run would write."""
        folder = self.life.model(self.name)
        check_work(self.folder)
        check_replaceable(folder)
        found = read_lineage(folder)
        made = run_of(found)
        if found and not self.replace and any(made.get(key) != self.mark[key] for key in ("name", "command")):
            raise UserError(
                f"This life already has another model '{self.name}', made {maker_of(found)}; this is the run "
                f"'{self.folder.name}'; choose another --name, or add --replace to replace it."
            )

    def plan(
        self, derive: Callable[[], Derived], restart: bool, keep: Callable[[], object] = lambda: None
    ) -> Derived | None:
        """Return the values derived for this run, stored or new; None if the run is already finished.

        An earlier run with other options or inputs is set aside once `derive`, which checks the inputs, has returned;
        `keep` then writes into the run's folder what belongs to the plan. Raises `UserError` if an unfinished run has
        other options or inputs and `restart` is false, or if another process works on this run.
        """
        self.check_places()
        path = self.folder / "plan.json"
        asked = {"options": self.options, "inputs": self.inputs}
        if path.exists():
            stored = read_object(path, "options", "inputs", "derived")
            same = all(stored[key] == asked[key] for key in asked)
            if same and not restart:
                return None if self.finished() else dict(stored["derived"])
            if not restart and not self._ended() and (self.folder / "checkpoints").exists():
                raise UserError(
                    f"'{self.folder}' holds an unfinished run with other {_difference(stored, asked)}; "
                    "repeat its options to resume it, or add --restart to start from scratch."
                )
        derived = derive()
        with locked(self.folder):
            if path.exists() or (self.folder / "checkpoints").exists():
                self._set_aside()
            work_in(self.folder)
            keep()
            write_json(path, {**asked, "derived": derived, "began": self.began}, sealed=True)
        return derived

    def when(self, *, restart: bool = False) -> datetime:
        """Return when this run began, possibly with an earlier command: chat templates may render the date."""
        path = self.folder / "plan.json"
        stored = read_object(path) if path.exists() and not restart else {}
        same = all(stored.get(key) == value for key, value in (("options", self.options), ("inputs", self.inputs)))
        return datetime.fromisoformat(stored.get("began", self.began) if same else self.began)

    def open(
        self, folder: Path, device: str, *, plain: bool = False, restart: bool = False
    ) -> tuple[Transformer, Tokenizer]:
        """Open a model as `load_model` does, with a tokenizer whose current time is the time when this run began."""
        model, tokenizer = load_model(folder, device, plain=plain)
        return model, dated(tokenizer, self.when(restart=restart))

    def finished(self) -> bool:
        """Whether the model of exactly this run exists."""
        folder = self.life.model(self.name)
        if not self._ended() or run_of(read_lineage(folder)) != self.mark:
            return False
        check_saved(folder)
        return True

    def lineage(self, stage: str, parent: Path | None, derived: Derived, state: State) -> dict[str, Any]:
        """Return the contents of the model's sayso.json: stage, parent, data, config, seed and metrics."""
        parent_lineage = read_lineage(parent) if parent else {}
        return {
            "stage": stage,
            "parent": f"{parent.name} {parent_lineage.get('weights_sha256', '')[:12]}".strip() if parent else None,
            "data": [f"{name} {mark[:12]}" for name, mark in self.inputs.items()],
            "config": {**self.options, **derived},
            "seed": self.options["seed"],
            "metrics": {"steps": state.step, "tokens": state.tokens},
            "run": self.mark,
        }

    def _ended(self) -> bool:
        path = self.folder / "run.jsonl"
        begun = path.exists() and (self.folder / "checkpoints").exists()  # its first event was written before these
        log = events_of(path) if begun else read_log(path)
        return bool(log) and log[-1]["event"] == "end"

    def _set_aside(self) -> None:
        number = 1
        while (aside := self.folder.with_name(f"{self.folder.name}.{number}")).exists():
            number += 1
        self.folder.replace(aside)
        model = read_lineage(self.life.model(self.name))
        replaced = f"; the model '{self.name}' is replaced when this run ends" if model else ""
        say(f"The earlier run is kept as '{aside}'{replaced}.")

    def train(self, state: State, recipe: Recipe, layout: Layout, options: Training, log: RunLog) -> None:
        """Train `state` as `run_recipe` does, with this run's checkpoints."""
        run_recipe(state, recipe, layout, options, log, self.folder)


def open_session(life: Life, act: str, name: str, options: Training, inputs: dict[str, Path]) -> Session:
    """Return the stage of a command's options; `inputs` are files, identified by their hash."""
    check_mirrors(options.mirror)
    if options.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # a GPU reads it at its first product
    check_apart([life.model(name), life.run(f"{act}-{name}")], inputs.values())
    marks = {key: sha256(path) for key, path in inputs.items() if path.exists()}
    return Session(life, act, name, options.recorded, marks, options.replace)


def _difference(stored: Derived, asked: Derived) -> str:
    changed = [
        f"{key} ({stored[part].get(key)} then, {asked[part].get(key)} now)"
        if part == "options"
        else f"'{key}' as input"
        for part in ("options", "inputs")
        for key in sorted({*stored[part], *asked[part]})
        if stored[part].get(key) != asked[part].get(key)
    ]
    return ", ".join(changed)
