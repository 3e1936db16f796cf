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


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_the_decoding_bench_runs_small_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One stream and some: every side decodes, and the share of the memory's speed is of what must be read."""
    monkeypatch.syspath_prepend(ROOT)
    pytest.importorskip("transformers")
    from bench.decode_gpu import main

    main(["--device", "cpu", "--tiny"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    details = found["details"]
    assert found["ours"] == details["streams"]["1"]["tokens_s"]["engine"]
    for rows, told in details["streams"].items():
        assert set(told["tokens_s"]) == {"engine", "passes", "transformers"}
        for side, speed in told["tokens_s"].items():
            share = speed / int(rows) * told["bytes_read_a_step"] / (details["copy_gb_s"] * 1e9)
            assert told["mbu"][f"{side}_of_copy"] == pytest.approx(share, rel=0.02)
    weights = 2 * (details["weights"] - 512 * 64)  # bfloat16, without the embedding
    assert [told["bytes_read_a_step"] - weights for told in details["streams"].values()] == [16896, 3 * 16896]
