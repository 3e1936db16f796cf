"""Act: train a model with reinforcement learning.

Input: prompts and rewards. Output: a model that earns higher rewards. Each iteration samples groups of replies with the
inference engine, scores them, and trains on them in one or more updates, with any policy gradient of `loss/policy.py`.
"""

from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sayso.align.pairs.reference import Frozen
from sayso.align.rl.critic import remove_critic
from sayso.align.rl.figures import figures_line
from sayso.align.rl.iterations import Iterations, Tell
from sayso.align.rl.options import group_sampler, held_out_judge, open_prompts, prompt_check
from sayso.align.rl.prompts import ids_of
from sayso.align.rl.setup import Reinforce, method_of, objective_of, plan_of, policy_state
from sayso.base.device import pick_device
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.base.lock import alone, model_place
from sayso.base.log import RunLog, act_log, say, warn
from sayso.batch.pairs import WIDTH_STEP
from sayso.judge.samples import Samples
from sayso.run.results import Trained, trained
from sayso.sample.sampling import Sampling
from sayso.train.adapting import save_tuned
from sayso.train.layout import layout_of_plan, layout_that_fits
from sayso.train.schedule import Schedule
from sayso.train.session import open_session
from sayso.train.step_log import Evaluation
from sayso.train.watch import Watch
from sayso.weights.models import resolve_model
from sayso.weights.tensors import weights_file
from sayso.world.puzzles import MAKERS

_SHOWN = 8  # held-out prompts whose replies are sampled at intervals, to be read
_LINES = 20  # iterations reported in the terminal; run.jsonl has all of them


@alone(model_place)
def reinforce(options: Reinforce) -> Trained:
    """Train a model with reinforcement learning on prompts whose replies are scored."""
    method = method_of(options)
    bad = BadRows(options.bad_rows)
    life = Life(options.life)
    parent = resolve_model(life, options.parent)
    files = {"prompts": Path(options.prompts), options.parent: weights_file(parent)}
    stage = open_session(life, "reinforce", options.name, options, files)
    device, when = pick_device(options.device), stage.when(restart=options.restart)
    model, tokenizer = stage.open(parent, device.kind, plain=True, restart=options.restart)
    practice, held, rewards, gold = open_prompts(options, bad, prompt_check(model, tokenizer), when)
    lora, rows = options.lora(model), options.groups * options.replies // options.updates
    drawing = group_sampler(options, tokenizer, practice, rewards, dapo=options.method == "dapo")
    reference = Frozen(None if lora else deepcopy(model).requires_grad_(False)).model
    plan = plan_of(options, method, drawing, reference)
    state = policy_state(options, method, model, lora)

    def derive() -> dict[str, Any]:
        if options.prompts in MAKERS:
            ids_of([*practice(0, options.groups), *held], tokenizer, model.config.context)
        layout = layout_that_fits(options, model.config, rows, WIDTH_STEP, device, lora=lora is not None)
        return {"layout": asdict(layout), "lora": asdict(lora) if lora else None, "bad_rows": bad.facts()}

    derived = stage.plan(derive, options.restart)
    if derived is None:
        say(f"The model '{options.name}' has already been trained with these options.")
        return trained(life, "reinforce", options.name, finished_before=True)
    if not held:
        say("No prompts are held out, so the last weights are kept.")
    with act_log(life, "reinforce", options.name, options) as log:
        watch = Watch()
        iterations = Iterations(plan, stage.folder, _teller(log, watch, options.iterations))
        greedy = Sampling(temperature=0, max_tokens=options.max_tokens)
        samples = Samples(tokenizer, [one.messages for one in held[:_SHOWN]], log, greedy)
        drawn = replace(greedy, temperature=options.temperature, seed=options.seed)
        judge = held_out_judge(tokenizer, held, gold, drawn, samples)
        steps = options.iterations * iterations.steps
        stage.train(
            state,
            iterations,
            objective_of(options, method, plan),
            Schedule(steps, warmup=min(10, steps // 10 + 1), decay=1.0),
            layout_of_plan(derived["layout"], options, rows, device),
            options,
            log,
            judging=Evaluation(judge, options.judge_every * iterations.steps, best="held_out") if held else None,
            gather=iterations.gather,
            watch=watch,
        )
        remove_critic(model)
        samples.show()
        lineage = stage.lineage("aligned", parent, derived, state)
        save_tuned(model, lora, tokenizer, life.model(options.name), lineage, parent)
    say(f"Saved {life.model(options.name)}.")
    return trained(life, "reinforce", options.name)


def _teller(log: RunLog, watch: Watch, iterations: int) -> Tell:
    """Return a function that logs an iteration's figures, prints some of them, and warns about problems."""
    every = max(1, iterations // _LINES)

    def tell(step: int, number: int, figures: dict[str, float]) -> None:
        if number <= watch.iteration:  # reported before the run was interrupted
            return
        watch.iteration = number
        log.write("iteration", step=step, iteration=number, **{name: float(f"{x:.5g}") for name, x in figures.items()})
        if number % every == 0:
            say(f"Iteration {number + 1:,}: {figures_line(figures)}.")
        for sentence in watch.see(figures):
            warn(f"Warning at iteration {number + 1:,}: {sentence}")
            log.write("warning", step=step, problem=sentence)

    return tell
