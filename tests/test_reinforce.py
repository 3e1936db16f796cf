"""Reinforcement learning: rollouts, advantages, the loss, and runs that are resumed exactly."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from sayso.align.pairs.reference import Frozen
from sayso.align.rl.critic import add_critic, critic_of, remove_critic
from sayso.align.rl.experience import Credit, ScoredRollouts, assign_credit, score_rollouts
from sayso.align.rl.objective import Objective
from sayso.align.rl.prompt_order import hold_out_prompts, open_prompt_order
from sayso.align.rl.prompts import Prompt
from sayso.align.rl.rewards import RewardFunction
from sayso.align.rl.rollout import Rollout, converse, sample_groups
from sayso.align.rl.sampling import GroupSampler
from sayso.align.rl.setup import Reinforce, policy_state
from sayso.align.rl.shaping import overlong, shaped
from sayso.base.errors import UserError
from sayso.base.hold_out import HoldOut
from sayso.base.jsonl import BadRows, write_jsonl
from sayso.base.log import read_log
from sayso.batch.rollouts import NUMBERS, RolloutRow, rollout_batch
from sayso.loss.policy import METHODS
from sayso.model import ModelConfig, Transformer
from sayso.run.reinforce import reinforce
from sayso.sample.generate import generate
from sayso.sample.sampling import Sampling
from sayso.token.chat import render
from sayso.token.whole import WholeTokenizer
from sayso.train.checkpoint import step_of
from sayso.train.loop import Hooks, StepRecord, train
from sayso.train.schedule import Schedule
from sayso.weights.folder import load_weights, save_model

TOKENIZER = WholeTokenizer("character", ())
CONFIG = ModelConfig(TOKENIZER.vocab_size, 2, 32, 2, 2, 16, 64, context=64)
LINEAGE = {"stage": "tuned", "parent": None, "data": [], "config": {}, "seed": 0, "metrics": {}}


def speaker(seed: int = 0) -> Transformer:
    """Return a model of random weights that ends some of its replies."""
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
        model.unembed.weight[TOKENIZER.specials["<|end|>"]] += 0.5
    return model.eval()


def ids_of(*texts: str) -> list[list[int]]:
    """Return the ids of prompts."""
    return [render(TOKENIZER, [{"role": "user", "content": text}], reply=True)[0] for text in texts]


def flat(groups: list[list[Rollout]]) -> list[Rollout]:
    """Return all rollouts."""
    return [one for group in groups for one in group]


def test_rollouts_have_the_sampled_ids() -> None:
    """Ids, including the stop token, and log-probabilities are the sampler's; the same seed yields the same again."""
    model = speaker()
    groups = sample_groups(model, TOKENIZER, ids_of("ab", "c"), 6, max_tokens=20, seed=3)
    assert [len(group) for group in groups] == [6, 6]
    assert groups == sample_groups(model, TOKENIZER, ids_of("ab", "c"), 6, max_tokens=20, seed=3, rows=5)
    assert {one.ended for one in flat(groups)} == {True, False}
    for one in flat(groups):
        assert len(one.ids) == len(one.sampled) == len(one.logprobs) == one.length
        assert one.ended == (one.ids[-1] in TOKENIZER.stop_ids)
        with torch.no_grad():
            logs = model(torch.tensor([one.prompt + one.ids]))[0].log_softmax(-1)
        for place, (token, logprob) in enumerate(zip(one.ids, one.logprobs, strict=True), len(one.prompt)):
            assert math.isclose(float(logs[place - 1, token]), logprob, abs_tol=1e-4)
    with pytest.raises(UserError, match="temperature"):
        sample_groups(model, TOKENIZER, ids_of("ab"), 2, max_tokens=4, temperature=0)


def test_control_tokens_in_a_reply_are_spelled_out() -> None:
    """A reward can see whether a reply has a control token."""
    model, user = speaker(), TOKENIZER.specials["<|user|>"]
    with torch.no_grad():
        model.unembed.weight[user] += 3 * model.hidden(torch.tensor(ids_of("ab")))[0, -1]
    found = flat(sample_groups(model, TOKENIZER, ids_of("ab"), 8, max_tokens=8))
    assert all(("<|user|>" in one.text) == (user in one.ids) for one in found)
    assert any(user in one.ids for one in found)


def test_results_of_tools_are_not_trained_on() -> None:
    """They are part of the rollout and of later prompts, but not sampled, and have no target."""
    model = speaker()
    first = flat(sample_groups(model, TOKENIZER, ids_of("ab"), 12, max_tokens=12, seed=1))
    tool = TOKENIZER.encode("tool:7")
    rollouts = converse(
        model, TOKENIZER, first, lambda n, _: "7" if n % 2 else None, lambda _: tool, turns=1, max_tokens=12, seed=1
    )
    for n, (before, after) in enumerate(zip(first, rollouts, strict=True)):
        if not (before.ended and n % 2):
            assert after == before
            continue
        own = len(before.ids)
        assert after.ids[: own + len(tool)] == [*before.ids, *tool]
        assert after.sampled[own : own + len(tool)] == [False] * len(tool)
        assert after.length == own + len(after.ids) - own - len(tool)
        batch = rollout_batch([RolloutRow(after.prompt, after.ids, after.sampled)])
        assert int((batch.targets >= 0).sum()) == after.length
    assert score_rollouts(model, rollouts, 1.0).drift < 1e-5


def test_each_turn_of_a_rollout_has_its_own_seed() -> None:
    """Each turn equals a call of the sampler with the next seed."""
    model, tool = speaker(), TOKENIZER.encode("7")
    first = flat(sample_groups(model, TOKENIZER, ids_of("ab"), 24, max_tokens=12, seed=5))
    rollouts = {turns: _continued(model, first, tool, turns) for turns in (0, 1, 2)}
    for turn in (1, 2):
        before, after = rollouts[turn - 1], rollouts[turn]
        grown = [n for n in range(len(first)) if len(after[n].ids) > len(before[n].ids)]
        assert grown
        prompts = [[*before[n].prompt, *before[n].ids, *tool] for n in grown]
        sampling = Sampling(temperature=1.0, max_tokens=12, seed=5 + turn)
        replies = [after[n].ids[len(before[n].ids) + len(tool) :] for n in grown]
        expected = [one.ids for one in generate(model, prompts, sampling, TOKENIZER.stop_ids)]
        assert [ids[:-1] if after[n].ended else ids for n, ids in zip(grown, replies, strict=True)] == expected


def _continued(model: Transformer, rollouts: list[Rollout], tool: list[int], turns: int) -> list[Rollout]:
    return converse(model, TOKENIZER, rollouts, lambda *_: "7", lambda _: tool, turns=turns, max_tokens=12, seed=5)


def measured(temperature: float = 1.0, critic: str = "") -> tuple[Transformer, list[Rollout], ScoredRollouts]:
    """Return a model, its rollouts, and their log-probabilities and values."""
    model = speaker()
    reference = Frozen(speaker()).model
    rollouts = flat(sample_groups(model, TOKENIZER, ids_of("ab", "c", "de"), 4, max_tokens=9, temperature=temperature))
    if critic:
        add_critic(model, critic)
    return model, rollouts, score_rollouts(model, rollouts, temperature, reference)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("name", METHODS)
def test_before_the_first_update_ratios_are_one_and_the_kl_is_zero(name: str, temperature: float) -> None:
    """Although sampling, scoring and training use different code; and nothing is clipped, at any temperature."""
    model, rollouts, found = measured(temperature, "own" if name == "ppo" else "")
    assert found.drift < 1e-5
    assert abs(found.kl) < 1e-4
    scores = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    rows, _ = assign_credit(Credit(METHODS[name]), found.rows, scores)
    term = Objective(METHODS[name], temperature, beta=0.1, constant=9)(model, rollout_batch(rows))
    assert float((term.figures["ratio"] - 1).abs().max()) < 1e-3
    assert float(term.figures["kl_step"].abs().max()) < 1e-6
    assert float(term.figures["kl_token"].abs().max()) < 1e-6
    if name != "gspo":  # its clipping range is narrower than rounding errors
        assert not term.figures["clip_fraction"].any()
    assert len(term.figures["ratio"]) == sum(one.length for one in rollouts)
    assert math.isclose(float(term.figures["entropy"].mean()), found.entropy, rel_tol=1e-4)


@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_parts_add_up_to_the_batch(name: str) -> None:
    """Gradients and counts of the parts of a batch add up to those of the batch."""
    model, _, found = measured(critic="own" if name == "ppo" else "")
    rows, _ = assign_credit(Credit(METHODS[name]), found.rows, torch.eye(3, 4))
    objective, batch = Objective(METHODS[name], beta=0.1), rollout_batch(rows)
    gradients, counts = [], []
    for parts in ([batch], batch.split(3)):
        model.zero_grad()
        terms = [objective(model, part) for part in parts]
        for term in terms:
            term.loss.backward()
        gradients.append([weight.grad.clone() for weight in model.parameters() if weight.grad is not None])
        counts.append(sum(term.items for term in terms))
    assert counts[0] == counts[1]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_values_are_at_the_positions_of_their_targets() -> None:
    """The values of an id are at the position before it."""
    rows = [
        RolloutRow([1, 2, 3], [4, 5], [True, False], **{name: [0.5, 0.25] for name in NUMBERS}),
        RolloutRow([6], [7], [True]),
    ]
    batch = rollout_batch(rows)
    assert batch.targets[0].tolist() == [-100, -100, 4, -100, -100, -100, -100, -100]
    assert all(getattr(batch, name)[0, 2:4].tolist() == [0.5, 0.25] for name in NUMBERS)
    parts = batch.split(2)
    assert sorted(int(part.ids[0, 0]) for part in parts) == [1, 6]


def test_a_value_model_has_advantages_per_token() -> None:
    """The reward is that of the last trained token, minus the KL of each; only advantages are whitened."""
    model, _, found = measured(critic="own")
    scores = torch.tensor([[1.0, 0, 0, 0]] * 3)
    rows = [replace(row, reference=[x - 0.1 for x in row.old]) for row in found.rows]
    plain, _ = assign_credit(Credit(METHODS["ppo"], lam=1.0), rows, scores)
    with_kl, _ = assign_credit(Credit(METHODS["ppo"], beta=0.5, lam=1.0), rows, scores)
    for row, penalized, score in zip(plain, with_kl, scores.flatten().tolist(), strict=True):
        assert row.returns[0] == pytest.approx(score, abs=1e-5)
        assert penalized.returns[0] == pytest.approx(score - 0.05 * len(row.ids), abs=1e-4)
        assert penalized.returns[-1] == pytest.approx(score - 0.05, abs=1e-4)
    white = torch.tensor([x for row in plain for x in row.advantages])
    assert abs(float(white.mean())) < 1e-5
    remove_critic(model)
    assert critic_of(model) is None


def rewards_of(*values: float) -> list[RewardFunction]:
    """Return a reward with a value per prompt; if it is 0, the reward depends on the reply's first letter."""
    return [RewardFunction("value", lambda prompt, reply, info: values[info["n"]] or float(reply < "M"))]


def prompts(count: int) -> list[Prompt]:
    """Return numbered prompts."""
    return [Prompt(n + 1, [{"role": "user", "content": f"p{n}"}], {"n": n}) for n in range(count)]


def test_groups_without_signal_are_replaced() -> None:
    """Groups whose replies have equal rewards are replaced by groups of further prompts, and counted."""
    rewards = rewards_of(1, 1, 0, 1, 0, 0, 1, 1)
    supply = prompts(8)
    sampler = GroupSampler(TOKENIZER, lambda first, count: supply[first : first + count], rewards, 2, 8, 6, again=3)
    sampled = sampler.sample(speaker(), 0, 0)
    assert [group.prompt.number for group in sampled.groups] == [3, 5]
    assert (sampled.prompts, sampled.without_signal) == (6, 4) or (sampled.prompts, sampled.without_signal) == (5, 3)
    assert sampled.mean > float(sampled.scores.mean())
    plain = replace(sampler, again=0).sample(speaker(), 0, 0)
    assert sorted(group.prompt.number for group in plain.groups) == [1, 2]
    assert plain.without_signal == 2


def test_a_prompt_as_long_as_the_context_is_an_error() -> None:
    """The error has its line."""
    long = Prompt(7, [{"role": "user", "content": "word " * 100}], {})
    sampler = GroupSampler(TOKENIZER, lambda first, count: [long], rewards_of(1.0), 1, 2, 4)
    with pytest.raises(UserError, match="line 7"):
        sampler.sample(speaker(), 0, 0)


def test_long_and_truncated_replies_are_penalized() -> None:
    """The length penalty is 0 up to the buffer, then falls linearly to -1."""
    assert [overlong(length, 20, 10) for length in (5, 10, 15, 20)] == [0, 0, -0.5, -1]
    assert overlong(20, 20, 0) == 0
    assert shaped(1.0, length=15, ended=False, limit=20, buffer=10, unfinished=0.25) == 0.25
    assert shaped(1.0, length=15, ended=True, limit=20, buffer=0, unfinished=0.25) == 1.0


def test_held_out_prompts_are_not_trained_on() -> None:
    """A share of a file is held out; a puzzle's val split has no problem of its train split."""
    train, held = hold_out_prompts(prompts(40), 0, HoldOut(0.1, most=200))
    assert len(held) == 4
    assert sorted(one.number for one in (*train, *held)) == list(range(1, 41))
    practice, judged = open_prompt_order("addition", (1,), 0, 20, None, BadRows())
    assert not {one.messages[0]["content"] for one in practice(0, 200)} & {one.messages[0]["content"] for one in judged}
    assert practice(7, 3) == practice(0, 20)[7:10]
    assert [len(open_prompt_order("addition", (), 0, 20, n, BadRows())[1]) for n in (0, 5, 99)] == [0, 5, 20]
    with pytest.raises(UserError, match=r"whose problems are unlimited; got 0\.1"):
        open_prompt_order("addition", (), 0, 20, 0.1, BadRows())
    with pytest.raises(UserError, match="sizes"):
        open_prompt_order("prompts.jsonl", (3,), 0, 20, None, BadRows())
    with pytest.raises(UserError, match=r"an integer, or a file; got 2\.5"):
        open_prompt_order("addition", (), 0, 20, 2.5, BadRows())


@pytest.mark.parametrize(("held_out", "most", "counts"), [(5, 3, (25, 3)), (5, 0, (25, 0)), (0.5, 3, (27, 3))])
def test_no_more_prompts_are_evaluated_than_requested(
    tmp_path: Path, held_out: float, most: int, counts: tuple[int, int]
) -> None:
    """A number of prompts is held out as given, though fewer may be used; a share is limited."""
    path = tmp_path / "prompts.jsonl"
    write_jsonl(path, [{"prompt": f"p{n}"} for n in range(30)])
    order, judged = open_prompt_order(str(path), (), 0, most, held_out, BadRows())
    epoch = {one.number for one in order(0, counts[0])}
    assert (len(epoch), len(judged)) == counts
    assert {one.number for one in order(counts[0], counts[0])} == epoch
    assert epoch.isdisjoint(one.number for one in judged)


def test_the_prompts_of_a_held_out_file_are_not_trained_on(tmp_path: Path) -> None:
    """Not even those that are not evaluated; a file that contains all prompts is an error."""
    for name, numbers in (("prompts", range(10)), ("held", range(6, 12))):
        write_jsonl(tmp_path / f"{name}.jsonl", [{"prompt": f"p{n}", "n": n} for n in numbers])
    name = str(tmp_path / "prompts.jsonl")
    order, judged = open_prompt_order(name, (), 0, 2, tmp_path / "held.jsonl", BadRows())
    assert sorted(one.info["n"] for one in order(0, 6)) == list(range(6))
    assert [one.info["n"] for one in judged] == [6, 7]
    with pytest.raises(UserError, match="contains all prompts"):
        open_prompt_order(name, (), 0, 2, Path(name), BadRows())


def test_all_copies_of_a_prompt_are_on_one_side() -> None:
    """Those that are held out are evaluated once."""
    copies = [replace(one, number=one.number + 40 * copy) for copy in range(3) for one in prompts(40)]
    train, held = hold_out_prompts(copies, 0, HoldOut(4))
    assert (len(train), len(held)) == (3 * 36, 4)
    assert {one.key for one in train}.isdisjoint(one.key for one in held)
    assert all(one.number <= 40 for one in held)


@pytest.mark.parametrize(("sizes", "digits"), [((), [3] * 5), ((2, 4, 1), [2, 4, 1, 2, 4])])
def test_sizes_of_a_puzzle_alternate(sizes: tuple[int, ...], digits: list[int]) -> None:
    """They alternate by the number of the problem; the default is 3."""
    practice, _ = open_prompt_order("addition", sizes, 0, 0, None, BadRows())
    assert [one.info["digits"] for one in practice(0, 5)] == digits
    assert practice(1, 4) == practice(0, 5)[1:]


REWARDS = """
from pathlib import Path
import signal

def early(prompt, reply, info):
    flag = Path(__file__).with_name("stop")
    if flag.exists():
        flag.unlink()
        signal.default_int_handler(signal.SIGINT, None)  # as Ctrl-C does
    return sum(c < "M" for c in reply) / 8

def broken(prompt, reply, info):
    return 1 / (info["n"] - 3)
"""


@pytest.fixture
def options(tmp_path: Path) -> Reinforce:
    """Options of a short run over a file of prompts."""
    save_model(speaker(), TOKENIZER, tmp_path / "start", LINEAGE)
    (tmp_path / "rewards.py").write_text(REWARDS)
    write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": f"p{n}", "n": n} for n in range(30)])
    return Reinforce(
        str(tmp_path / "prompts.jsonl"), reward=(f"{tmp_path}/rewards.py:early",), life=tmp_path / "life",
        parent=str(tmp_path / "start"), iterations=4, groups=4, replies=4, max_tokens=8, updates=2, passes=2,
        judge_every=2, judged=0, processes=1, save_seconds=0.0, keep=100, rate=0.05,
    )  # fmt: skip


def weights(options: Reinforce) -> dict[str, Tensor]:
    """Return the weights of a run's model."""
    return load_weights(options.life / "models" / options.name).state_dict()


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())


@pytest.mark.parametrize("critic", ["own", "shared"])
def test_policy_and_value_model_are_clipped_separately(options: Reinforce, critic: Literal["own", "shared"]) -> None:
    """A large gradient of the value model is clipped; the policy's, whose norm is below the limit, is not changed."""
    model = speaker()
    state = policy_state(replace(options, critic=critic), METHODS["ppo"], model, None)
    module = critic_of(model)
    assert module is not None
    theirs = set(module.parameters())
    seen: dict[Tensor, Tensor] = {}
    for optimizer in state.optimizers:

        def record(optimizer: torch.optim.Optimizer = optimizer) -> None:
            seen.update({x: x.grad.clone() for group in optimizer.param_groups for x in group["params"]})

        optimizer.step = record  # type: ignore[method-assign]

    def loss(model: Transformer, _: object) -> tuple[Tensor, int, int]:
        return sum((1e3 if x in theirs else 1e-3) * x.sum() for x in model.parameters()), 1, 1

    steps: list[StepRecord] = []
    train(state, lambda _: [None], loss, Schedule(1), Hooks(show=steps.append))
    sizes = [sum(x.numel() for x in model.parameters() if (x in theirs) == own) ** 0.5 for own in (False, True)]
    assert math.isclose(steps[0].gradient_norm, 1e-3 * sizes[0], rel_tol=1e-4)
    assert math.isclose(steps[0].other_norms["critic"], 1e3 * sizes[1], rel_tol=1e-4)
    assert 1e-3 * sizes[0] < 1
    for weight, gradient in seen.items():
        expected = 1 / sizes[1] if weight in theirs else 1e-3
        torch.testing.assert_close(gradient, torch.full_like(gradient, expected), rtol=1e-4, atol=0)


@pytest.mark.parametrize("method", ["grpo", "ppo", "dapo"])
def test_a_resumed_run_ends_with_the_same_weights(options: Reinforce, method: str) -> None:
    """From a checkpoint in the middle of an iteration, whose replies are read again, and from one between two."""
    beta = {"beta": 0.1} if method == "dapo" else {"beta": 0.05, "kl": "reward", "target_kl": 0.1}
    options = replace(options, method=method, **beta)
    reinforce(options)
    expected, run = weights(options), options.life / "runs" / "reinforce-aligned"
    assert any(not torch.equal(x, speaker().state_dict()[name]) for name, x in expected.items())
    for step in (6, 8):
        shutil.rmtree(options.life / "models" / "aligned")
        for path in (run / "checkpoints").iterdir():
            if step_of(path) > step:
                shutil.rmtree(path)
        for path in (run / "rollouts").iterdir():
            if int(path.stem) > 1:
                path.unlink()
        reinforce(options)
        assert_same(weights(options), expected)


def test_a_run_interrupted_while_sampling_can_be_resumed(options: Reinforce, tmp_path: Path) -> None:
    """Ctrl-C inside a reward saves a checkpoint; the resumed run ends with the weights of an uninterrupted one."""
    other = replace(options, life=tmp_path / "other")
    reinforce(other)
    (tmp_path / "stop").touch()
    with pytest.raises(KeyboardInterrupt):
        reinforce(options)
    reinforce(options)
    assert_same(weights(options), weights(other))


def test_the_log_has_the_metrics_of_a_run(options: Reinforce) -> None:
    """Those of iterations, steps and evaluations, and samples; the files of rollouts have the replies."""
    options = replace(options, judged=3, method="ppo", critic="shared", beta=0.01, unfinished=0.1)
    reinforce(options)
    log = read_log(options.life / "runs" / "reinforce-aligned" / "run.jsonl")
    iterations = [event for event in log if event["event"] == "iteration"]
    assert len(iterations) == 4
    for name in ("reward", "spread", "no_signal", "kl", "kl_token", "entropy", "length", "ended", "distinct", "drift"):
        assert all(math.isfinite(event[name]) for event in iterations)
    assert all("explained_variance" in event for event in iterations[1:])
    assert not any(name.startswith("reward_") for event in iterations for name in event), "a single reward is `reward`"
    steps = [event for event in log if event["event"] == "step"]
    assert all(math.isfinite(step[name]) for step in steps for name in ("gradient_norm", "critic_gradient_norm"))
    assert len(steps) == 16
    assert all({"ratio", "clip_fraction", "entropy", "value_loss"} <= event.keys() for event in steps)
    assert all(0 < event["mfu"] < 1 for event in steps)
    judged = [event for event in log if event["event"] == "val"]
    assert [event["step"] for event in judged] == [0, 8, 16]
    assert all({"held_out", "held_out_interval", "held_out_likeliest"} <= event.keys() for event in judged)
    assert len([event for event in log if event["event"] == "samples"]) == 3
    header, *rows = (options.life / "runs/reinforce-aligned/rollouts/000003.jsonl").read_text().splitlines()
    assert json.loads(header)["iteration"] == 3
    assert {"reply", "reward", "parts", "ended", "said"} <= json.loads(rows[0]).keys()
    assert "critic" not in "".join(weights(options))


def test_replies_without_gradient_are_skipped(options: Reinforce, tmp_path: Path) -> None:
    """Those with an advantage of zero, unless the loss has another term."""
    found = {}
    for name, beta in (("sparse", 0.0), ("held", 0.1)):
        life = tmp_path / name
        reinforce(replace(options, life=life, method="dr-grpo", beta=beta, iterations=1))
        rows = (life / "runs/reinforce-aligned/rollouts/000000.jsonl").read_text().splitlines()[1:]
        found[name] = [any(json.loads(row)["said"]["advantages"]) for row in rows]
    assert len(found["held"]) == 16
    assert found["sparse"] == [True] * sum(found["held"])


def test_an_adapter_can_be_trained(options: Reinforce) -> None:
    """With LoRA the reference is the model without adapters; the saved model is a plain one."""
    reinforce(replace(options, lora_rank=2, beta=0.1, iterations=2))
    assert weights(options).keys() == speaker().state_dict().keys()
    assert (options.life / "models" / "aligned" / "adapter").is_dir()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"method": "gpro"}, "--method must be one of .*grpo"),
        ({"updates": 17}, "--updates must be at most"),
        ({"method": "reinforce"}, "no importance ratio"),
        ({"target_kl": 1.0}, "--target-kl"),
        ({"critic_from": "reward"}, "--critic-from"),
        ({"replies": 1}, "--replies"),
        ({"prompts": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"keep_cut": False, "max_tokens": 1}, "--max-tokens"),
    ],
)
def test_conflicting_options_are_refused(options: Reinforce, changed: dict, message: str) -> None:
    """The error names the option."""
    with pytest.raises(UserError, match=message):
        reinforce(replace(options, **changed))


def test_a_reward_that_fails_is_an_error_with_the_line(options: Reinforce, tmp_path: Path) -> None:
    """A reward that raises an exception stops the run."""
    with pytest.raises(UserError, match=r"'broken' raised ZeroDivisionError.*line 4"):
        reinforce(replace(options, reward=(f"{tmp_path}/rewards.py:broken",)))
