"""The resumable run of an act that trains: its identity, its plan, and the model that it makes.

`plan.json` in the run's folder holds the options, the fingerprints of the inputs, and the derived values. The same
command on the same inputs resumes with the stored plan, so that even a budget in minutes resumes to exactly the same
weights. A finished run is not repeated; if its options or inputs have changed, its folder is renamed with a number. The
model records which run made it; no other run replaces it without `--replace`.
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

from sayso.base.config import as_recorded, defaults_of
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
    """One training run of a life, identified by its act, name, options and inputs."""

    life: Life
    act: str
    name: str
    """Name of the new model."""
    options: Derived
    """The options that identify the run, JSON-ready."""
    inputs: dict[str, str]
    """Fingerprints of the inputs: data, tokenizer, parent."""
    replace: bool = False
    """Whether it may replace a model made by another run."""
    out: Path | None = None
    """Folder of the new model; None = models/NAME in the life."""
    began: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(timespec="seconds"))
    """Time of this command; the start of the run, unless it is resumed."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.life.run(f"{self.act}-{self.name}")

    @property
    def model(self) -> Path:
        """The new model's folder."""
        return self.out or self.life.model(self.name)

    @property
    def mark(self) -> dict[str, str]:
        """The record of this run in the sayso.json of its model.

        `command` is the --name of the command, from which the model of a round of `improve` differs by a number.
        """
        identity = json.dumps({"options": self.options, "inputs": self.inputs}, sort_keys=True)
        plan = digest_of(identity.encode()).hexdigest()[:12]
        return {"name": self.folder.name, "command": str(self.options.get("name", self.name)), "plan": plan}

    def take_model(self, number: int) -> None:
        """Copy the model of a round as this run's own model."""
        source = self.life.model(self.part(number).name)
        with made_folder(self.model) as part:
            shutil.copytree(source, part, dirs_exist_ok=True)
            write_json(part / "sayso.json", {**read_lineage(source), "run": self.mark}, sealed=True)

    def part(self, number: int, inputs: dict[str, str] | None = None) -> "Session":
        """Return the session of one round, with its number appended to the name and `inputs` added."""
        began = self.when().isoformat()
        return replace(self, name=f"{self.name}-{number}", inputs={**self.inputs, **(inputs or {})}, began=began)

    def check_places(self) -> None:
        """Raise `UserError` if this run would overwrite another run's model, or files not made by Sayso."""
        folder = self.model
        check_work(self.folder)
        check_replaceable(folder)
        lineage = read_lineage(folder)
        maker = run_of(lineage)
        if lineage and not self.replace and any(maker.get(key) != self.mark[key] for key in ("name", "command")):
            raise UserError(
                f"This life already has another model '{self.name}', made {maker_of(lineage)}; this is the run "
                f"'{self.folder.name}'; choose another --name, or add --replace to replace it."
            )

    def plan(self, derive: Callable[[], Derived], restart: bool, keep: Callable[[], object] = lambda: None) -> Derived:
        """Return the values derived for this run: those stored by an interrupted run, or new ones.

        `derive` checks the inputs; after it, an earlier run with other options or inputs is set aside, and `keep`
        writes the files that belong to the plan into the run's folder. Raises `UserError` if an unfinished run has
        other options or inputs and `restart` is false, or if another process works on this run.
        """
        self.check_places()
        path = self.folder / "plan.json"
        identity = {"options": self.options, "inputs": self.inputs}
        if path.exists():
            stored = read_object(path, "options", "inputs", "derived")
            same = all(stored[key] == identity[key] for key in identity)
            if same and not restart:
                return dict(stored["derived"])
            if not restart and not self._ended() and (self.folder / "checkpoints").exists():
                raise UserError(
                    f"'{self.folder}' holds an unfinished run with other {_difference(stored, identity)}; "
                    "repeat its options to resume it, or add --restart to start from scratch."
                )
        derived = derive()
        with locked(self.folder):
            if path.exists() or (self.folder / "checkpoints").exists():
                self._set_aside()
            work_in(self.folder)
            keep()
            write_json(path, {**identity, "derived": derived, "began": self.began}, sealed=True)
        return derived

    def when(self, *, restart: bool = False) -> datetime:
        """Return when this run was started, possibly by an earlier command; chat templates may render the date."""
        path = self.folder / "plan.json"
        stored = read_object(path) if path.exists() and not restart else {}
        same = all(stored.get(key) == value for key, value in (("options", self.options), ("inputs", self.inputs)))
        return datetime.fromisoformat(stored.get("began", self.began) if same else self.began)

    def open(
        self, folder: Path, device: str, *, plain: bool = False, restart: bool = False
    ) -> tuple[Transformer, Tokenizer]:
        """Load a model as `load_model` does; its chat template gets the time when this run was started."""
        model, tokenizer = load_model(folder, device, plain=plain)
        return model, dated(tokenizer, self.when(restart=restart))

    def finished(self) -> bool:
        """Whether the model of exactly this run exists. Raises `UserError` if the plan or the model is damaged."""
        folder = self.model
        if not self._ended() or run_of(read_lineage(folder)) != self.mark:
            return False
        read_object(self.folder / "plan.json")  # refuses a damaged one
        check_saved(folder)
        return True

    def lineage(self, stage: str, parent: Path | None, derived: Derived, state: State) -> dict[str, Any]:
        """Return the contents of the model's sayso.json: stage, parent, data, config, seed, metrics and run."""
        weights = read_lineage(parent).get("weights_sha256", "") if parent else ""
        return {
            "stage": stage,
            "parent": f"{parent.name} {weights[:12]}".strip() if parent else None,
            "data": [f"{name} {mark[:12]}" for name, mark in self.inputs.items()],
            "config": {**self.options, **derived},
            "seed": self.options["seed"],
            "metrics": {"steps": state.step, "tokens": state.tokens},
            "run": self.mark,
        }

    def _ended(self) -> bool:
        path = self.folder / "run.jsonl"
        started = path.exists() and (self.folder / "checkpoints").exists()  # the log was written before these
        log = events_of(path) if started else read_log(path)
        return bool(log) and log[-1]["event"] == "end"

    def _set_aside(self) -> None:
        aside = set_aside(self.folder)
        model = read_lineage(self.model)
        replaced = f"; the model '{self.name}' is replaced when this run ends" if model else ""
        say(f"The earlier run is kept as '{aside}'{replaced}.")

    def train(self, state: State, recipe: Recipe, layout: Layout, options: Training, log: RunLog) -> None:
        """Train `state` as `run_recipe` does, with this run's checkpoints."""
        run_recipe(state, recipe, layout, options, log, self.folder)


def set_aside(folder: Path) -> Path:
    """Rename a folder by adding the first free number, and return its new path."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    folder.replace(aside)
    return aside


def open_session(life: Life, act: str, name: str, options: Training, inputs: dict[str, Path]) -> Session:
    """Return the session of a command's options; `inputs` are files, identified by their hash."""
    check_mirrors(options.mirror)
    if options.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # a GPU reads it at its first product
    check_apart([life.model(name), life.run(f"{act}-{name}")], inputs.values())
    marks = {key: sha256(path) for key, path in inputs.items() if path.exists()}
    found = Session(life, act, name, options.recorded, marks, options.replace)
    path = found.folder / "plan.json"
    stored = read_object(path).get("options") if path.exists() else None
    if not isinstance(stored, dict):
        return found
    return replace(found, options=as_recorded(found.options, stored, defaults_of(type(options))))


def _difference(stored: Derived, current: Derived) -> str:
    changed = [
        f"{key} ({stored[part].get(key)} then, {current[part].get(key)} now)"
        if part == "options"
        else f"'{key}' as input"
        for part in ("options", "inputs")
        for key in sorted({*stored[part], *current[part]})
        if stored[part].get(key) != current[part].get(key)
    ]
    return ", ".join(changed)
