"""Metrics for monitoring at /metrics: Prometheus' format under vLLM's names, so that its dashboards work here too.

The engine's own counters are read on request; times are recorded as requests progress.
"""

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sayso.sample.engine import Engine
from sayso.serve.choice import Choice

TYPE = CONTENT_TYPE_LATEST
_REASONS = {"cancelled": "abort"}  # vLLM's name
_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5)  # seconds
_LONG = (0.01, 0.03, 0.1, 0.3, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)


class Metrics:
    """Metrics of one engine that serves a model under a name."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(EngineCounts(engine, name))

        def histogram(kind: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            whole = Histogram(f"vllm:{kind}_seconds", text, ["model_name"], registry=self.registry, buckets=buckets)
            return whole.labels(name)

        def counter(kind: str, text: str) -> Counter:
            return Counter(f"vllm:{kind}", text, ["model_name"], registry=self.registry).labels(name)

        self.waited = histogram("request_queue_time", "Time from arrival to the start of prefill.", _LONG)
        self.first = histogram("time_to_first_token", "Time from arrival to the first token.", _LONG)
        self.between = histogram("inter_token_latency", "Time between successive tokens.", _SHORT)
        self.whole = histogram("e2e_request_latency", "Time from arrival to the end of the reply.", _LONG)
        self.prompt = counter("prompt_tokens", "Tokens of started prompts.")
        self.said = counter("generation_tokens", "Generated tokens.")
        labels = ["model_name", "finished_reason"]
        self.ended = Counter("vllm:request_success", "Finished requests.", labels, registry=self.registry)
        self.name = name

    def began(self, choice: Choice, now: float) -> None:
        """Record that a request has a row; `now` in seconds of the choices' clock."""
        choice.began = now
        self.waited.observe(now - choice.asked)
        self.prompt.inc(len(choice.request.prompt))

    def heard(self, choice: Choice, now: float) -> None:
        """Record the new tokens of a request, and its end."""
        tokens = len(choice.request.ids)
        fresh, choice.counted = tokens - choice.counted, tokens
        if fresh and tokens == fresh:
            self.first.observe(now - choice.asked)
        elif fresh:
            for _ in range(fresh):  # tokens of one step share its duration
                self.between.observe((now - choice.last) / fresh)
        if fresh:
            choice.last = now
            self.said.inc(fresh)
        if finish := choice.request.finish:
            self.whole.observe(now - choice.asked)
            self.ended.labels(self.name, _REASONS.get(finish, finish)).inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' format."""
        return generate_latest(self.registry)


class EngineCounts(Collector):
    """The engine's own counters, read on request."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine, self.name = engine, name

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        engine, counts = self.engine, self.engine.counts
        gauges = {
            "num_requests_running": ("Requests being decoded.", len(engine.running)),
            "num_requests_waiting": ("Requests waiting for a row.", len(engine.waiting)),
            "kv_cache_usage_perc": ("Share of the cache in use, 1 = full.", self._usage()),
        }
        for kind, (text, value) in gauges.items():
            gauge = GaugeMetricFamily(f"vllm:{kind}", text, labels=["model_name"])
            gauge.add_metric([self.name], value)
            yield gauge
        counters = {
            "num_preemptions": ("Rows preempted because the cache was full.", counts.preemptions),
            "prefix_cache_queries": ("Prompt tokens looked up in the prefix cache.", counts.prompt_tokens),
            "prefix_cache_hits": ("Prompt tokens found in the prefix cache.", counts.reused_tokens),
        }
        for kind, (text, number) in counters.items():
            counter = CounterMetricFamily(f"vllm:{kind}", text, labels=["model_name"])
            counter.add_metric([self.name], number)
            yield counter

    def _usage(self) -> float:
        return 1 - self.engine.blocks.free / self.engine.blocks.count
