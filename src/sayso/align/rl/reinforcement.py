"""Reinforcement learning, as a method of tuning.

Each iteration samples groups of replies with the inference engine, scores them, and trains on them in one or more
updates, with any policy gradient of `loss/policy.py`.
"""

from copy import deepcopy
from dataclasses import replace

from typing_extensions import override

from sayso.align.pairs.reference import Frozen
from sayso.align.rl.critic import remove_critic
from sayso.align.rl.figures import figures_line
from sayso.align.rl.iterations import Iterations, ReportIteration
from sayso.align.rl.options import group_sampler, held_out_judge, open_rewards, prompt_check
from sayso.align.rl.prompts import ids_of
from sayso.align.rl.setup import Reinforce, method_of, objective_of, plan_of, policy_state
from sayso.base.jsonl import BadRows
from sayso.base.log import RunLog, say, warn
from sayso.batch.pairs import WIDTH_STEP
from sayso.judge.samples import Samples
from sayso.sample.sampling import Sampling
from sayso.train.layout import Layout
from sayso.train.loop import State
from sayso.train.recipe import Recipe
from sayso.train.schedule import tuning_schedule
from sayso.train.session import Derived
from sayso.train.step_log import Evaluation
from sayso.train.tune import Start, Tuning
from sayso.train.watch import Watch
from sayso.world.puzzles import MAKERS

_SHOWN = 8  # held-out prompts whose replies are sampled at each evaluation
_LINES = 20  # iterations printed to the terminal; run.jsonl has all of them


class Reinforcement(Tuning):
    """Reinforcement learning of a policy."""

    stage = "aligned"
    row_tokens = WIDTH_STEP

    def __init__(self, start: Start, options: Reinforce) -> None:
        super().__init__(start)
        self.options, self.method, self.bad = options, method_of(options), BadRows(options.bad_rows)
        self.rows = options.groups * options.replies // options.updates
        when, check = start.session.when(restart=options.restart), prompt_check(start.model, start.tokenizer)
        self.practice, self.held, self.rewards, self.gold = open_rewards(options, self.bad, check, when)

    @override
    def derive(self, layout: Layout) -> Derived:
        """Return the counts of bad rows, after checking that a puzzle's prompts fit the context."""
        if self.options.prompts in MAKERS:
            prompts = [*self.practice(0, self.options.groups), *self.held]
            ids_of(prompts, self.start.tokenizer, self.start.model.config.context)
        return {"bad_rows": self.bad.facts()}

    @override
    def state(self) -> State:
        """Return a state that trains the policy, and a value model if the method has one; set up the reference."""
        start, options, dapo = self.start, self.options, self.options.method == "dapo"
        sampler = group_sampler(options, start.tokenizer, self.practice, self.rewards, dapo=dapo)
        reference = Frozen(None if start.lora else deepcopy(start.model).requires_grad_(False)).model
        self.plan = plan_of(options, self.method, sampler, reference)
        return policy_state(options, self.method, start.model, start.lora)

    @override
    def recipe(self, state: State, derived: Derived, log: RunLog) -> Recipe:
        """Return the iterations and the objective of the method."""
        options, tokenizer, watch = self.options, self.start.tokenizer, Watch()
        if not self.held:
            say("No prompts are held out, so the last weights are kept.")
        iterations = Iterations(self.plan, self.start.session.folder, _reporter(log, watch, options.iterations))
        greedy = Sampling(temperature=0, max_tokens=options.max_tokens)
        self.samples = Samples(tokenizer, [one.messages for one in self.held[:_SHOWN]], log, greedy)
        sampled = replace(greedy, temperature=options.temperature, seed=options.seed)
        judge = held_out_judge(tokenizer, self.held, self.gold, sampled, self.samples)
        every = options.judge_every * iterations.steps
        return Recipe(
            iterations,
            objective_of(options, self.method, self.plan),
            tuning_schedule(options.iterations * iterations.steps),
            evaluation=Evaluation(judge, every, best="held_out") if self.held else None,
            gather=iterations.gather,
            watch=watch,
        )

    @override
    def finish(self, state: State, log: RunLog) -> None:
        """Remove the value model, and show the first replies next to the last."""
        remove_critic(state.model)
        self.samples.show()


def _reporter(log: RunLog, watch: Watch, iterations: int) -> ReportIteration:
    """Return a function that logs the metrics of an iteration, prints some of them, and warns about problems."""
    every = max(1, iterations // _LINES)

    def report(step: int, number: int, figures: dict[str, float]) -> None:
        if number <= watch.iteration:  # reported before the run was interrupted
            return
        watch.iteration = number
        log.write("iteration", step=step, iteration=number, **{name: float(f"{x:.5g}") for name, x in figures.items()})
        if number % every == 0:
            say(f"Iteration {number + 1:,}: {figures_line(figures)}.")
        for sentence in watch.check(figures):
            warn(f"Warning at iteration {number + 1:,}: {sentence}")
            log.write("warning", step=step, problem=sentence)

    return report
