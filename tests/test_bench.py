"""Benches that no machine here can run in full: the same code, small."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's compiler does it
def test_the_gpu_bench_runs_small_on_a_cpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Hidden states compile as one graph, both sides train, and the last line is an object with what it promises."""
    monkeypatch.syspath_prepend(ROOT)
    pytest.importorskip("transformers")
    from bench.train_gpu import main

    main(["--device", "cpu", "--tiny", "--backend", "aot_eager"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"name", "unit", "ours", "peer", "ratio", "details"} == set(found)
    tiny = found["details"]["shapes"]["tiny"]
    assert min(tiny["ours"], tiny["peer"], tiny["floor_tokens_s"]) > 0
    assert tiny["first_loss"] == pytest.approx(tiny["first_loss_of_the_peer"], rel=1e-4)
