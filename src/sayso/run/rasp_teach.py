"""Act: train a model on what a RASP program computes, and test it on longer inputs.

Input: a program. Output: a model, and a drawing of its accuracy by length in the run's folder.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from sayso.base.device import Device, pick_device
from sayso.base.errors import UserError
from sayso.base.files import write_atomic
from sayso.base.life import Life, name_from
from sayso.base.lock import locked
from sayso.base.log import act_log, read_log, say
from sayso.base.ranges import Depth, Minutes, Positive, Processes, Range, Rows, Scale, Weight, Width
from sayso.model import ModelConfig, Transformer
from sayso.rasp.compile.program import LONGEST, Compiled, compile_program, vocabulary_of
from sayso.rasp.compile.store import NAMELESS, lineage_of, save
from sayso.rasp.expression import SOp
from sayso.rasp.notation import statements
from sayso.rasp.session import Session as Language
from sayso.rasp.show import counted
from sayso.rasp.teach.accuracy import Accuracy, accuracy, by_size
from sayso.rasp.teach.examples import Batches, Encoder, Example, Lesson, answer_loss
from sayso.rasp.teach.expected import Expectation, expectation
from sayso.rasp.teach.inputs import KINDS, OF_PROGRAMS, brackets_of, check_alphabet
from sayso.rasp.teach.start import compiled_start, random_start
from sayso.rasp.values import exact
from sayso.report.chart import COLORS, Panel, Series, picture
from sayso.run.rasp import program_of
from sayso.run.rasp_weights import TAUGHT, alphabet_of, mentioned
from sayso.train.layout import layout_for, layout_of_plan
from sayso.train.loop import State
from sayso.train.measure import steps_in_minutes
from sayso.train.options import Training
from sayso.train.recipe import Recipe
from sayso.train.schedule import Schedule
from sayso.train.session import Session, open_session
from sayso.train.step_log import Evaluation

HELD_OUT, EVALUATIONS = 256, 40
GOOD = 0.99
LAYERS, WIDTH, HEADS, STEPS = 2, 64, 4, 2_000
DRAWING, EVENT = "accuracy.svg", "accuracy"
InputKind = Literal[
    "uniform", "marked", "unique", "copy", "unique-copy", "sorted", "count", "sum", "addition", "brackets"
]


@dataclass(frozen=True)
class Teach(Training):
    """Options of `sayso rasp teach`."""

    file: str
    """Program to teach: a file, or the name of a program of the library."""
    _: KW_ONLY
    name: str | None = None
    """Name of the model. Default: that of the s-op, and "-taught"."""
    out: Path | None = None
    """Folder to write the model to, instead of models/NAME in the life."""
    result: str | None = None
    """Expression to teach. Default: the last s-op that the program defines."""
    causal: bool = False
    """Use the causal dialect, in which a position sees only itself and earlier positions; the model then generates."""
    inputs: InputKind | None = None
    """Kind of the random inputs, see the documentation. Default: the one that a library program is made for, or uniform
    tokens."""
    alphabet: str | None = None
    """Tokens that inputs have, each a character. Default: the usual ones of the kind of input, those that the program
    compares with, or a to z."""
    tokens: tuple[str, ...] = ()
    """Tokens that inputs have, such as 0 1 2, or words; numbers where they look like numbers."""
    length: Annotated[int, Range(1, LONGEST)] = 16
    """Longest input to train on, in tokens; of a program that continues a prompt, the longest prompt."""
    longest: Annotated[int, Range(1, LONGEST)] | None = None
    """Longest input to test on. Default: 3 times --length."""
    start: Literal["random", "compiled"] = "random"
    """Weights to start from: random ones, or those of the compiled program, with --noise."""
    noise: Weight = 0.0
    """Standard deviation of the Gaussian noise on every weight of the compiled program."""
    layers: Depth | None = None
    """Number of layers. Default: 2."""
    width: Width | None = None
    """Size of the residual stream. Default: 64."""
    heads: Width | None = None
    """Heads per layer, of which the width is a multiple. Default: 4."""
    positions: Literal["learned", "rotary", "none"] | None = None
    """Positions: learned, where each row begins at a random one, rotary or none. Default: learned."""
    steps: Positive | None = None
    """Number of training steps. Default: 2000, or derived from --minutes."""
    minutes: Minutes | None = None
    """Time budget for training in minutes; the machine's speed is measured first."""
    rows: Rows = 64
    """Examples per step, each of them new."""
    rate: Scale = 1.0
    """Multiplier on all learning rates."""
    processes: Processes | None = 1
    """Single-threaded processes that share a batch on a CPU."""

    @property
    def recorded(self) -> dict[str, Any]:
        """The options that identify a run; the model's folder is not one."""
        return {key: value for key, value in super().recorded.items() if key != "out"}


@dataclass(frozen=True)
class Taught:
    """What training on a program's values came to."""

    model: Path
    run: Path
    drawing: Path
    """Accuracy by length, as SVG."""
    examples: int | None
    """Examples seen when 99 % of held-out inputs of trained lengths were right; None if they never were."""
    accuracy: dict[int, Accuracy]
    """Accuracy by length."""
    before: dict[int, Accuracy]
    """The same before training."""
    expected: Expectation
    """What the RASP-L conjecture expects."""
    finished_before: bool = False
    """Whether the model was taught already with these options, so that nothing was done."""


def teach(options: Teach) -> Taught:
    """Train a model on what a RASP program computes, and test it on longer inputs."""
    language = Language(causal=options.causal)
    name, program = program_of(language, language.file(options.file), options.result, f"'{options.file}'")
    if not isinstance(program, SOp):
        raise UserError(f"An s-op is taught; '{name}' is a selector. Use it in aggregate or selector_width.")
    _check(options)
    life = Life(options.life)
    session = _session(options, life, options.name or f"{name_from(name)}-taught", program)
    with locked(session.model), language.placing():
        lesson = _lesson(options, name, program)
        expected = expectation(program, causal=options.causal)
        if not options.restart and session.finished():
            say(f"'{session.model}' has already been taught with these options.")
            return replace(_result(session, expected), finished_before=True)
        _teach(options, session, lesson, name)
    found = _result(session, expected)
    _report(found, lesson)
    return found


def _check(options: Teach) -> None:
    """Raise `UserError` for options that do not belong together."""
    given = [flag for flag in ("layers", "width", "heads", "positions") if getattr(options, flag) is not None]
    if options.start == "compiled" and given:
        raise UserError(f"A compiled program has its own shape; omit --{given[0]}, or --start compiled.")
    if options.start == "random" and options.noise:
        raise UserError("--noise is added to compiled weights; add --start compiled.")
    width, heads = options.width or WIDTH, options.heads or HEADS
    if width % (2 * heads):
        raise UserError(f"--width must be a multiple of twice the heads; got {width} and {heads} heads.")
    if options.longest is not None and options.longest < options.length:
        raise UserError(f"--longest must be at least --length; got {options.longest} and {options.length}.")


def _session(options: Teach, life: Life, name: str, program: SOp) -> Session:
    session = open_session(life, "rasp-teach", name, options, {})
    mark = sha256(statements(program).encode()).hexdigest()
    return replace(session, inputs={"program": mark}, out=options.out)


def _lesson(options: Teach, name: str, program: SOp) -> Lesson:
    kind = options.inputs or OF_PROGRAMS.get(name, "uniform")
    usual = brackets_of(mentioned(program)) if kind == "brackets" else KINDS[kind].alphabet
    ends = KINDS[kind].ends
    found = map(exact, alphabet_of(options, program, usual, ends))
    alphabet = tuple(dict.fromkeys(one for one in found if one not in ends))
    check_alphabet(kind, alphabet)
    longest = options.longest or min(3 * options.length, LONGEST)
    say(f"Inputs: {kind}, of {counted(len(alphabet), 'token')} (choose another kind with --inputs).")
    return Lesson(program, options.causal, kind, alphabet, options.length, longest, options.seed)


@dataclass(frozen=True)
class _Course:
    """A lesson with its tests, and the shape of the model that takes it."""

    options: Teach
    lesson: Lesson
    tests: dict[int, list[Example]]
    held_out: list[Example]
    """Examples of the trained lengths."""
    encoder: Encoder
    config: ModelConfig
    compiled: Transformer | None
    """The model to start from."""

    @classmethod
    def of(cls, options: Teach, lesson: Lesson) -> "_Course":
        """Draw the tests, and find all values that the program gives."""
        tests = lesson.tests()
        every = [one for examples in tests.values() for one in examples]
        context = 1 + max(len(one.tokens) for one in every)
        if options.start == "compiled":
            found = compile_program(lesson.program, lesson.tokens, context - 1, causal=lesson.causal)
            vocabulary, config, model = found.vocabulary, found.model.config, found.model
        else:
            vocabulary, model = vocabulary_of(lesson.tokens, lesson.results(every)), None
            config = _shape(options, vocabulary.tokenizer.vocab_size, context)
        encoder, held_out = Encoder(vocabulary, causal=lesson.causal), lesson.taught("held out", HELD_OUT)
        return cls(options, lesson, tests, held_out, encoder, config, model)

    def batches(self) -> Batches:
        """Return what is trained on."""
        shifted = self.compiled is None and self.config.positions == "learned"
        return Batches(self.lesson, self.encoder, self.options.rows, self.config.context, shifted=shifted)

    def state(self, device: Device) -> State:
        """Return the model to train."""
        options = self.options
        if self.compiled is not None:
            return compiled_start(self.compiled.to(device.kind), options.noise, options.seed, options.rate)
        return random_start(self.config, options.seed, options.rate, device.kind)

    def judge(self, state: State) -> dict[str, Any]:
        """Return the accuracy on held-out inputs of the trained lengths."""
        found = accuracy(state.model, self.encoder, self.held_out)
        return {"accuracy": found.inputs, "value_accuracy": found.values}

    def by_size(self, state: State) -> dict[int, Accuracy]:
        """Return the accuracy by length."""
        return by_size(state.model, self.encoder, self.tests)

    def model(self, state: State) -> Compiled:
        """Return the model with its vocabulary, as compiled programs are stored."""
        config, lesson = self.config, self.lesson
        shape = (config.heads,) * config.layers
        return Compiled(state.model, self.encoder.vocabulary, config.context - 1, lesson.causal, shape, NAMELESS)


def _teach(options: Teach, session: Session, lesson: Lesson, name: str) -> None:
    """Train, test and save a model."""
    device, course = pick_device(options.device), _Course.of(options, lesson)
    derived = session.plan(lambda: _derive(course, device), options.restart)
    steps, state = derived["steps"], course.state(device)
    with act_log(session.life, session.act, session.name, options) as log:
        before = course.by_size(state)
        schedule = Schedule(steps, warmup=min(20, steps // 10 + 1))
        evaluation = Evaluation(course.judge, max(1, steps // EVALUATIONS))
        recipe = Recipe(course.batches(), answer_loss, schedule, evaluation)
        session.train(state, recipe, layout_of_plan(derived["layout"], options, options.rows, device), options, log)
        after = course.by_size(state)
        log.write(EVENT, before=_plain(before), accuracy=_plain(after), rows=options.rows)
        write_atomic(session.folder / DRAWING, _drawing(name, lesson, before, after))
        taught = course.model(state)
        made = {**lineage_of(taught, lesson.program, name), **session.lineage(TAUGHT, None, derived, state)}
        right = {f"right_at_{size}": round(one.inputs, 4) for size, one in after.items()}
        save(taught, session.model, {**made, "metrics": {**made["metrics"], **right}})
    say(f"Saved {session.model}.")


def _shape(options: Teach, vocabulary: int, context: int) -> ModelConfig:
    width, heads = options.width or WIDTH, options.heads or HEADS
    return ModelConfig(
        vocabulary, options.layers or LAYERS, width, heads, heads, width // heads, 4 * width, mlp="gelu",
        context=context, positions=options.positions or "learned", qk_norm="none",
    )  # fmt: skip


def _derive(course: _Course, device: Device) -> dict[str, Any]:
    """Return the shape, the steps and their layout; with a time budget, measure the machine's speed first."""
    options, steps = course.options, course.options.steps
    layout = layout_for(options, options.rows, device)
    if steps is None and options.minutes is not None:
        given = (course.config, course.batches(), layout, device)
        steps = steps_in_minutes(options.minutes, *given, recompute=options.recompute, loss=answer_loss)
    return {"model": asdict(course.config), "layout": asdict(layout), "steps": steps or STEPS}


def _plain(found: Mapping[int, Accuracy]) -> dict[str, list[float]]:
    return {str(size): [round(one.inputs, 4), round(one.values, 4)] for size, one in found.items()}


def _result(session: Session, expected: Expectation) -> Taught:
    """Return what the run's log says."""
    events = read_log(session.folder / "run.jsonl")
    (last,) = [event for event in events if event["event"] == EVENT][-1:]
    good = [one["step"] for one in events if one["event"] == "val" and one["accuracy"] >= GOOD]
    after, before = ({int(size): Accuracy(*two) for size, two in last[key].items()} for key in ("accuracy", "before"))
    examples = min(good) * last["rows"] if good else None
    return Taught(session.model, session.folder, session.folder / DRAWING, examples, after, before, expected)


def _report(found: Taught, lesson: Lesson) -> None:
    """Print the result."""
    say(f"{GOOD:.0%} of held-out inputs of up to {counted(lesson.longest_taught, 'token')} were right after "
        f"{counted(found.examples, 'example')}." if found.examples is not None else
        f"Held-out inputs of up to {counted(lesson.longest_taught, 'token')} were never {GOOD:.0%} right.")  # fmt: skip
    say("length   inputs right   values right")
    for size, one in found.accuracy.items():
        beyond = "" if size <= lesson.longest_taught else "   longer than trained"
        say(f"{size:>6}   {one.inputs:>12.1%}   {one.values:>12.1%}{beyond}")
    verb = "hold" if found.expected.generalizes else "fall"
    say(f"The RASP-L conjecture expects accuracy to {verb} on longer inputs: {found.expected.reason}.")
    say(f"Wrote {found.drawing}.")


def _drawing(name: str, lesson: Lesson, before: Mapping[int, Accuracy], after: Mapping[int, Accuracy]) -> str:
    """Return accuracy by length as SVG, with the longest length that was trained."""
    longest = float(lesson.longest_taught)
    curves = [
        Series("every value right", [(float(size), one.inputs) for size, one in after.items()], COLORS[0], "both"),
        Series("values right", [(float(size), one.values) for size, one in after.items()], COLORS[1]),
        Series("longest trained", [(longest, 0.0), (longest, 1.0)], COLORS[3], "dashed"),
    ]
    if any(one.inputs for one in before.values()):
        points = [(float(size), one.inputs) for size, one in before.items()]
        curves.insert(1, Series("every value right before training", points, COLORS[2], "dashed"))
    panel = Panel("Accuracy by length", "length", "share of inputs", curves, y_range=(0, 1))
    return picture(f"{name}, taught up to length {lesson.longest_taught}", [panel])
