"""Every bench runs with `--tiny`: the same code at small sizes, to its last line."""

import importlib
import json
import math
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
BENCHES = sorted(path.stem for path in (ROOT / "bench").glob("*.py") if "\ndef main(" in path.read_text())
PEERS = {
    "align_trl": "trl",
    "align_trl_grpo": "trl",
    "dedup": "datasketch",
    "encode": "rustbpe",
    "law_compress": "brotli",
}
PEERS |= dict.fromkeys(("lens_agree", "lens_speed"), "transformer_lens") | {"lens_sae": "sae_lens"}
PEERS |= dict.fromkeys(("judge_served", "judge_speed"), "lm_eval")
PEERS |= dict.fromkeys(("decode", "deterministic", "gguf_perplexity", "prefill", "serve_load"), "xllamacpp")
"""Packages of `pip install -e '.[bench]'`, or of `.[bench-sae]`, that a development environment may lack."""
SECONDS = 120
"""A tiny bench takes a few seconds, more on a busy machine; one without tiny sizes takes many minutes."""
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),  # of the peers
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
Ran = tuple[dict[str, Any], str]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Let `bench` be imported again with `--tiny`, and stop one that takes too long."""
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.chdir(tmp_path)  # nothing may be written beside the sources

    def late(*_: object) -> None:
        raise AssertionError(f"a tiny bench ends in seconds; this one ran {SECONDS}: are its sizes `sized`?")

    forget()
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    forget()


def forget() -> None:
    """Unload all benches: sizes are fixed at import."""
    for name in [name for name in sys.modules if name == "bench" or name.startswith("bench.")]:
        del sys.modules[name]


def ran(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ran:
    """Run a bench; return its last line and its progress messages."""
    if name in PEERS:
        pytest.importorskip(PEERS[name], reason=f"bench.{name} needs {PEERS[name]}: pip install -e '.[bench]'")
    monkeypatch.setattr(sys, "argv", [name, "--tiny"])
    importlib.import_module(f"bench.{name}").main()
    told = capsys.readouterr()
    return json.loads(told.out.splitlines()[-1]), told.err


def test_a_kept_prediction_is_not_another_texts(bench: None, tmp_path: Path) -> None:
    """A folder of runs is only resumed with the minutes and the texts that it was begun with."""
    check = importlib.import_module("bench.law_predict").check_asked
    asked = {"minutes": 30.0, "text": "one", "held": None}
    check(tmp_path, asked)  # nothing is there yet
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    check(tmp_path, asked)
    with pytest.raises(SystemExit, match="holds a sweep of other minutes: repeat those, or give another --work"):
        check(tmp_path, asked | {"minutes": 31.0})
    with pytest.raises(SystemExit, match="other text and held:"):
        check(tmp_path, asked | {"text": "another", "held": "one"})
    (tmp_path / "asked.json").rename(tmp_path / "plan.json")
    with pytest.raises(SystemExit, match="does not say what it was asked for"):
        check(tmp_path, asked)


@pytest.mark.parametrize("name", BENCHES)
def test_a_bench_runs_to_its_last_line(
    name: str, bench: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line is an object with the documented keys, figures are numbers, and progress was printed."""
    found, told = ran(name, monkeypatch, capsys)
    assert list(found) == ["name", "unit", "ours", "peer", "ratio", "details"]
    assert found["name"].startswith(name)
    assert found["details"]["tiny"] is True
    assert all(isinstance(found[side], int | float | None) for side in ("ours", "peer", "ratio"))
    assert told.strip()
    DETAILS.get(name, lambda _: None)(found)


def test_the_makefile_lists_the_benches() -> None:
    """`make bench NAME=` accepts exactly the modules with a `main`."""
    left = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("BENCHES :="))
    out = set(left.partition("filter-out ")[2].partition(",")[0].split())
    assert out == {path.stem for path in (ROOT / "bench").glob("*.py")} - set(BENCHES)


def test_a_failing_side_is_reported(bench: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure in a side's process ends the race with its traceback, and never hangs it."""
    monkeypatch.setattr(sys, "argv", ["race", "--tiny"])
    harness = importlib.import_module("bench.harness")
    with pytest.raises(RuntimeError, match=r"ours failed:(.|\n)*ValueError: math domain error"):
        harness.race_processes({"ours": harness.Side(_fails, (), keeps_memory=False)}, steps=1, rounds=1)


def _fails(_turn: object) -> None:
    math.sqrt(-1)


def test_the_last_line_serializes_all_details(
    bench: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dataclass, a path or a dtype among the details does not end hours of work in an error; nor does a peer of 0."""
    import torch

    from sayso.model import ModelConfig

    monkeypatch.setattr(sys, "argv", ["harness"])
    harness = importlib.import_module("bench.harness")
    shape = ModelConfig(8, 1, 8, 1, 1, 8, 8)
    harness.result(
        "x", "y", 1.0, 0.0, shape=vars(shape), config=shape, path=Path("a"), dtype=torch.float32, nothing=math.nan
    )
    found = json.loads(capsys.readouterr().out)["details"]
    assert found["config"]["rope"] == found["shape"]["rope"]
    assert (found["path"], found["dtype"]) == ("a", "torch.float32")
    assert "tiny" not in found
    assert found["nothing"] is None


def check_train_gpu(found: dict[str, Any]) -> None:
    """Both sides train from the same weights."""
    tiny = found["details"]["shapes"]["tiny"]
    assert min(tiny["ours"], tiny["peer"], tiny["floor_tokens_s"]) > 0
    assert tiny["first_loss"] == pytest.approx(tiny["first_loss_of_the_peer"], rel=1e-4)


def check_decode_gpu(found: dict[str, Any]) -> None:
    """Every side decodes, and the share of the memory speed counts the bytes to read."""
    details = found["details"]
    assert found["ours"] == details["streams"]["1"]["tokens_s"]["engine"]
    for rows, told in details["streams"].items():
        assert set(told["tokens_s"]) == {"engine", "passes", "transformers"}
        for side, speed in told["tokens_s"].items():
            share = speed / int(rows) * told["bytes_read_a_step"] / (details["copy_gb_s"] * 1e9)
            assert told["mbu"][f"{side}_of_copy"] == pytest.approx(share, rel=0.02)
    weights = 2 * (details["weights"] - 512 * 64)  # bfloat16, without the embedding
    assert [told["bytes_read_a_step"] - weights for told in details["streams"].values()] == [16896, 3 * 16896]


def check_train_throughput(found: dict[str, Any]) -> None:
    """Both compute the same; shares of the peak depend on time, so only their sign is certain on a busy machine."""
    details = found["details"]
    assert details["losses"][0] == pytest.approx(details["losses"][1], abs=1e-5)
    assert details["relative_gradient_difference"] < 1e-4
    assert all(share > 0 for share in details["share_of_peak"].values())


def check_kill_anytime(found: dict[str, Any]) -> None:
    """Every moment was survived, and everything that can be killed was."""
    details = found["details"]
    kills = {name: told["moments"] for name, told in details.items() if isinstance(told, dict)}
    on = {"server on SQLite": 1, "PostgreSQL on PostgreSQL": 1} if details["postgresql"] else {"server on SQLite": 2}
    assert kills == on | {"cycle": 1}
    assert found["ours"] == found["peer"] == 3, details
    assert details["server on SQLite"]["acknowledged"] > 0


def check_rasp(found: dict[str, Any]) -> None:
    """No program has more layers than RASP's scheduler or tracr gives it, and few of the parameters of a product."""
    assert found["ours"] <= found["peer"] == 27
    beside = found["details"]["tracr"]
    for sides in beside.values():
        assert len(sides["ours"]["heads"]) <= sides["tracr"]["layers"]
    dyck = beside["shuffle_dyck2"]
    assert 2 * dyck["ours"]["counted_as_tracr"] <= dyck["tracr"]["parameters"]


def check_rasp_random(found: dict[str, Any]) -> None:
    """At least nine of ten programs without division are compiled, and equal."""
    assert found["ours"] >= found["peer"] == 90
    assert found["details"]["without division"]["programs"] == 18
    assert found["details"]["with division"]["programs"] == 6


def check_law_predict(found: dict[str, Any]) -> None:
    """The figure is the largest error of the seeds, of a run with at least 3 times the compute."""
    details = found["details"]
    errors = [abs(error) for error in details["errors"].values()]
    assert found["ours"] == pytest.approx(max(errors), rel=1e-3)
    (predicted,), (measured,) = details["predicted"].values(), details["measured"].values()
    assert errors == [pytest.approx(abs(predicted[1] / measured - 1))]
    assert details["factor"] >= 3
    assert details["one_schedule"].keys() == details["errors"].keys()


DETAILS = {
    "train_gpu": check_train_gpu, "decode_gpu": check_decode_gpu, "train_throughput": check_train_throughput,
    "kill_anytime": check_kill_anytime, "rasp": check_rasp, "rasp_random": check_rasp_random,
    "law_predict": check_law_predict,
}  # fmt: skip
"""Further checks of single benches."""
