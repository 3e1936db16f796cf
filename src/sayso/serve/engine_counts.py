"""The engine's own counters and settings as metrics, read on request."""

from collections.abc import Iterable, Iterator, Mapping
from time import time

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sayso.sample.blocks import BLOCK
from sayso.sample.engine import Engine

SampleRows = list[tuple[Mapping[str, str], float]]
"""Labels and values of one metric."""


class EngineCounts(Collector):
    """Metrics of one engine that serves a model under a name."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine, self.name = engine, name

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        engine, counts = self.engine, self.engine.counts
        running, waiting = list(engine.running), list(engine.waiting)  # copied: the engine runs in another thread
        yield self._gauge("num_requests_running", "Replies in progress.", [({}, len(running))])
        yield self._gauge("num_requests_waiting", "Replies waiting for a row.", [({}, len(waiting))])
        used = 1 - engine.blocks.free / engine.blocks.count
        yield self._gauge("kv_cache_usage_perc", "Share of the cache in use, 1 = full.", [({}, used)])
        yield self._gauge("cache_config_info", "Settings of the cache, as labels.", [(self._cache(), 1)])
        if len(engine.runners) > 1:
            adapters = {
                "max_lora": str(len(engine.runners) - 1),
                "running_lora_adapters": _names(row.request.adapter for row in running),
                "waiting_lora_adapters": _names(request.adapter for request in waiting),
            }
            yield self._gauge("lora_requests_info", "Adapters in use, as labels, and the time.", [(adapters, time())])
        for kind, (text, number) in {
            "num_preemptions": ("Rows preempted because the cache was full.", counts.preemptions),
            "prefix_cache_queries": ("Prompt tokens looked up in the prefix cache.", counts.prompt_tokens),
            "prefix_cache_hits": ("Prompt tokens found in the prefix cache.", counts.reused_tokens),
        }.items():
            yield self._counter(kind, text, [({}, number)])
        if engine.proposer is not None:
            yield from self._speculation(engine.proposer.count)

    def _speculation(self, most: int) -> Iterator[Metric]:
        """Yield the metrics of proposals of at most `most` tokens."""
        counts = self.engine.counts
        for kind, (text, number) in {
            "spec_decode_num_drafts": ("Proposals of tokens to a row.", counts.proposals),
            "spec_decode_num_draft_tokens": ("Proposed tokens.", counts.proposed_tokens),
            "spec_decode_num_accepted_tokens": ("Accepted proposed tokens.", counts.accepted_tokens),
        }.items():
            yield self._counter(kind, text, [({}, number)])
        accepted = [*counts.accepted_at, *[0] * most][:most]
        by_place: SampleRows = [({"position": str(place)}, count) for place, count in enumerate(accepted)]
        text = "Accepted proposed tokens by their position in the proposal."
        yield self._counter("spec_decode_num_accepted_tokens_per_pos", text, by_place)

    def _cache(self) -> dict[str, str]:
        pages = self.engine.pages
        return {
            "block_size": str(BLOCK),
            "num_gpu_blocks": str(self.engine.blocks.count),
            "cache_dtype": "int8" if pages.bits else str(pages.dtype).removeprefix("torch."),
            "enable_prefix_caching": str(self.engine.reuse),
        }

    def _gauge(self, kind: str, text: str, samples: SampleRows) -> Metric:
        return self._filled(GaugeMetricFamily(f"vllm:{kind}", text, labels=self._labels(samples)), samples)

    def _counter(self, kind: str, text: str, samples: SampleRows) -> Metric:
        return self._filled(CounterMetricFamily(f"vllm:{kind}", text, labels=self._labels(samples)), samples)

    def _labels(self, samples: SampleRows) -> list[str]:
        return ["model_name", *(samples[0][0] if samples else ())]

    def _filled(self, metric: GaugeMetricFamily | CounterMetricFamily, samples: SampleRows) -> Metric:
        for labels, value in samples:
            metric.add_metric([self.name, *labels.values()], value)
        return metric


def _names(adapters: Iterable[str]) -> str:
    return ",".join(sorted({name for name in adapters if name}))
