"""Metrics for monitoring at /metrics: Prometheus' format under vLLM's names, so that its dashboards work here too.

Times and sizes are recorded as requests progress; `engine_counts` reads the engine's own counters on request.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import Metric

from sayso.sample.engine import Engine
from sayso.serve.choice import Choice
from sayso.serve.engine_counts import EngineCounts

TYPE = CONTENT_TYPE_LATEST
_REASONS = {"cancelled": "abort"}  # vLLM's name
_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5)  # seconds
_LONG = (0.01, 0.03, 0.1, 0.3, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
_SIZES = tuple(digit * 10**power for power in range(6) for digit in (1, 2, 5))  # tokens
_CHOICES = (1, 2, 5, 10, 20)
_PASSES = tuple(2**power for power in range(0, 15, 2))


class Metrics:
    """Metrics of one engine that serves a model under a name."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine, self.name, self.registry = engine, name, CollectorRegistry()
        self.registry.register(EngineCounts(engine, name))

        def histogram(kind: str, text: str, buckets: Sequence[float]) -> Histogram:
            every = Histogram(f"vllm:{kind}", text, ["model_name"], registry=self.registry, buckets=buckets)
            return every.labels(name)

        def counter(kind: str, text: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(f"vllm:{kind}", text, ["model_name", *labels], registry=self.registry)

        self.queue_time = histogram("request_queue_time_seconds", "Time from arrival to the start of prefill.", _LONG)
        self.prefill_time = histogram(
            "request_prefill_time_seconds", "Time from the start of prefill to the first token.", _LONG
        )
        self.decode_time = histogram("request_decode_time_seconds", "Time from the first token to the last one.", _LONG)
        self.inference_time = histogram(
            "request_inference_time_seconds", "Time from the start of prefill to the last token.", _LONG
        )
        self.latency = histogram("e2e_request_latency_seconds", "Time from arrival to the end of the reply.", _LONG)
        self.first_token = histogram("time_to_first_token_seconds", "Time from arrival to the first token.", _LONG)
        self.between = histogram("inter_token_latency_seconds", "Time between successive tokens.", _SHORT)
        self.per_token = histogram(
            "request_time_per_output_token_seconds", "Mean time between the tokens of a request.", _SHORT
        )
        self.prompt_size = histogram("request_prompt_tokens", "Tokens of a prompt.", _SIZES)
        self.computed_size = histogram(
            "request_prefill_kv_computed_tokens", "Tokens of a prompt that were not in the cache.", _SIZES
        )
        self.reply_size = histogram("request_generation_tokens", "Generated tokens of a request.", _SIZES)
        self.longest_reply = histogram(
            "request_max_num_generation_tokens", "Generated tokens of the longest reply to a prompt.", _SIZES
        )
        self.max_tokens = histogram("request_params_max_tokens", "Maximum number of tokens of a request.", _SIZES)
        self.n = histogram("request_params_n", "Number of replies to a prompt.", _CHOICES)
        self.passes = histogram("iteration_tokens_total", "Tokens processed by one step of the engine.", _PASSES)

        self.prompt = counter("prompt_tokens", "Tokens of started prompts.").labels(name)
        self.cached = counter("prompt_tokens_cached", "Tokens of started prompts found in the cache.").labels(name)
        self.source = counter("prompt_tokens_by_source", "Tokens of started prompts by their source.", ["source"])
        self.generated = counter("generation_tokens", "Generated tokens.").labels(name)
        self.ended = counter("request_success", "Finished requests.", ["finished_reason"])
        self.refused = counter("admission_rejections", "Requests refused because the queue was full.", ["reason"])

    def queued(self, choices: Sequence[Choice]) -> None:
        """Record the settings of the choices of a new response."""
        for replies in _by_prompt(choices):
            self.n.observe(len(replies))
        for choice in choices:
            self.max_tokens.observe(choice.request.sampling.max_tokens)

    def rejected(self) -> None:
        """Record a response that was refused because the queue was full."""
        self.refused.labels(self.name, "max_num_queued_reqs").inc()

    def began(self, choice: Choice, now: float) -> None:
        """Record that a request has a row; `now` in seconds of the choices' clock."""
        choice.began = now
        size, reused = len(choice.request.prompt), choice.request.reused
        self.queue_time.observe(now - choice.asked)
        self.prompt.inc(size)
        self.cached.inc(reused)
        self.source.labels(self.name, "local_cache_hit").inc(reused)
        self.source.labels(self.name, "local_compute").inc(size - reused)

    def stepped(self, tokens: int) -> None:
        """Record a step of the engine, which processed some tokens."""
        if tokens:
            self.passes.observe(tokens)

    def progressed(self, choice: Choice, now: float) -> None:
        """Record the new tokens of a request, and its end."""
        tokens = len(choice.request.ids)
        new, choice.counted = tokens - choice.counted, tokens
        if new and tokens == new:
            choice.first = now
            self.first_token.observe(now - choice.asked)
        elif new:
            for _ in range(new):  # tokens of one step share its duration
                self.between.observe((now - choice.last) / new)
        if new:
            choice.last = now
            self.generated.inc(new)
        if choice.request.finish:
            self._ended(choice, now)

    def answered(self, choices: Sequence[Choice]) -> None:
        """Record the end of all choices of a response."""
        for replies in _by_prompt(choices):
            self.longest_reply.observe(max(len(choice.request.ids) for choice in replies))

    def _ended(self, choice: Choice, now: float) -> None:
        request = choice.request
        self.latency.observe(now - choice.asked)
        self.ended.labels(self.name, _REASONS.get(request.finish, request.finish)).inc()
        self.reply_size.observe(len(request.ids))
        if choice.began is not None:
            self.prompt_size.observe(len(request.prompt))
            self.computed_size.observe(len(request.prompt) - request.reused)
        if choice.began is not None and choice.first is not None:
            self.prefill_time.observe(choice.first - choice.began)
            self.decode_time.observe(choice.last - choice.first)
            self.inference_time.observe(choice.last - choice.began)
            if len(request.ids) > 1:
                self.per_token.observe((choice.last - choice.first) / (len(request.ids) - 1))


def metrics_text(every: Sequence[CollectorRegistry]) -> bytes:
    """Return the metrics of several registries in Prometheus' format, in which each metric occurs once."""
    return generate_latest(_Together(every))


class _Together(CollectorRegistry):
    """Several registries, such as those of two models, whose metrics differ by the label of the model."""

    def __init__(self, every: Sequence[CollectorRegistry]) -> None:
        super().__init__()
        self.every = every

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with the samples of all registries."""
        found: dict[str, Metric] = {}
        for one in self.every:
            for metric in one.collect():
                if (known := found.setdefault(metric.name, metric)) is not metric:
                    known.samples += metric.samples
        yield from found.values()


def _by_prompt(choices: Sequence[Choice]) -> list[list[Choice]]:
    """Return choices grouped by prompt, whose choices are adjacent."""
    return [list(group) for _, group in groupby(choices, key=lambda choice: id(choice.request.prompt))]
