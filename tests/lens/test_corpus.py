"""Activations of a corpus on disk equal those of a trace, and an interrupted call resumes."""

from pathlib import Path

import pytest
import torch

from sayso.base.errors import UserError
from sayso.lens import read_corpus, trace, trace_corpus
from sayso.model import Transformer

ROWS = torch.randint(50, (7, 9), generator=torch.Generator().manual_seed(4))
NAMES = ["hook_embed", "blocks.0.hook_resid_pre", "blocks.2.attn.hook_pattern"]


def test_what_is_read_is_what_a_trace_gives(any_network: Transformer, tmp_path: Path) -> None:
    folder = trace_corpus(any_network, ROWS, NAMES, tmp_path / "made", batch=3)
    assert [len(part) for part in read_corpus(folder, NAMES[0])] == [3, 3, 1]
    expected = trace(any_network, ROWS, NAMES)
    for name in NAMES:
        torch.testing.assert_close(torch.cat([*read_corpus(folder, name)]), expected[name], rtol=1e-4, atol=1e-4)


def test_an_interrupted_call_resumes(ours: Transformer, tmp_path: Path) -> None:
    """Only the missing batch is computed again; the others are not touched."""
    trace_corpus(ours, ROWS, NAMES, tmp_path, batch=3)
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.glob("*.safetensors")}
    (tmp_path / "000001.safetensors").unlink()
    with pytest.raises(UserError, match=r"'000001\.safetensors' is missing; repeat trace_corpus to resume"):
        list(read_corpus(tmp_path, NAMES[0]))
    calls: list[int] = []
    ours.embed.register_forward_hook(lambda *_: calls.append(1))
    trace_corpus(ours, ROWS, NAMES, tmp_path, batch=3)
    after = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.glob("*.safetensors")}
    assert len(calls) == 1
    assert {name: content for name, (_, content) in after.items()} == {name: c for name, (_, c) in before.items()}
    assert [name for name in after if after[name][0] != before[name][0]] == ["000001.safetensors"]


def test_a_folder_of_something_else_is_refused(ours: Transformer, tmp_path: Path) -> None:
    trace_corpus(ours, ROWS, NAMES, tmp_path)
    with pytest.raises(UserError, match="holds activations of other names; choose another folder"):
        trace_corpus(ours, ROWS, NAMES[:1], tmp_path)
    with pytest.raises(UserError, match="of other ids"):
        trace_corpus(ours, ROWS.flip(1), NAMES, tmp_path)
    with torch.no_grad():
        ours.norm.weight[0] += 1
    with pytest.raises(UserError, match="of other weights"):
        trace_corpus(ours, ROWS, NAMES, tmp_path)


def test_bad_input_is_refused(ours: Transformer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 1 row; got 0"):
        trace_corpus(ours, ROWS, NAMES, tmp_path / "none", batch=0)
    with pytest.raises(UserError, match="at least one activation"):
        trace_corpus(ours, ROWS, [], tmp_path / "none")
    assert not (tmp_path / "none").exists()
    trace_corpus(ours, ROWS, NAMES, tmp_path)
    with pytest.raises(UserError, match=r"Did you mean 'hook_embed'\?"):
        list(read_corpus(tmp_path, "hook_embedd"))
