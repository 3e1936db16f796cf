"""Damaged or malicious weight files give a one-sentence error that names the file."""

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sayso.base.errors import UserError
from sayso.model import ModelConfig, Transformer
from sayso.weights.folder import load_weights
from sayso.weights.names import to_hub, to_hub_config

CONFIG = ModelConfig(vocab_size=20, layers=1, width=16, heads=2, kv_heads=1, head_size=8, mlp_width=24)
FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
EMBED = "model.embed_tokens.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a small model folder without a tokenizer."""
    model = Transformer(CONFIG).initialize(torch.Generator().manual_seed(0))
    save_file(to_hub(model.state_dict(), CONFIG), tmp_path / FILE)
    (tmp_path / "config.json").write_text(json.dumps(to_hub_config(CONFIG)))
    assert load_weights(tmp_path).config == CONFIG
    return tmp_path


def refused(folder: Path, message: str, file: str = FILE) -> None:
    """Check that the folder is refused with a one-line error that names the file."""
    with pytest.raises(UserError, match=message) as caught:
        load_weights(folder)
    assert str(folder / file) in str(caught.value)
    assert "\n" not in str(caught.value)


def with_header(data: bytes, change: dict) -> bytes:
    """Return a safetensors file with changed header entries."""
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    for name, entry in change.items():
        header[name] = header.get(name, {}) | entry
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


@pytest.mark.parametrize(
    "broken",
    [
        lambda data: b"",
        lambda data: data[:5],
        lambda data: data[:-1],
        lambda data: data + b"more",
        lambda data: struct.pack("<Q", 2**63) + data[8:],
        lambda data: struct.pack("<Q", 10**9) + data[8:],
        lambda data: struct.pack("<Q", 5) + data[8:],
        lambda data: struct.pack("<Q", 2) + b"[]",
        lambda data: struct.pack("<Q", 4) + b"\xff\xfe\x00\x00",
        lambda data: b"PK\x03\x04" + data,
        lambda data: with_header(data, {EMBED: {"data_offsets": [0, 10**9]}}),
        lambda data: with_header(data, {EMBED: {"data_offsets": [8, 8]}}),
        lambda data: with_header(data, {EMBED: {"data_offsets": [-4, 4]}}),
        lambda data: with_header(data, {EMBED: {"dtype": "PICKLE"}}),
        lambda data: with_header(data, {EMBED: {"shape": [2**63, 2**63]}}),
        lambda data: with_header(data, {"again": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}),
    ],
    ids=[
        *("empty", "no header", "cut", "longer", "huge header", "header beyond the end", "half a header", "a list"),
        *(
            "no text",
            "a zip",
            "beyond the file",
            "too small",
            "negative",
            "unknown dtype",
            "overflowing",
            "overlapping",
        ),
    ],
)
def test_a_damaged_safetensors_file_is_refused(broken, folder: Path) -> None:
    """Nothing beyond the end of the file is read, and tensors do not overlap."""
    path = folder / FILE
    path.write_bytes(broken(path.read_bytes()))
    refused(folder, "not a complete safetensors file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop(EMBED), "embed_tokens.weight' is missing"),
        (lambda state: state.update(more=torch.ones(1)), "has no 'more'"),
        (lambda state: state.update({EMBED: torch.ones(16, 20)}), r"\(16, 20\), expected \(20, 16\)"),
        (lambda state: state.update({EMBED: torch.ones(20, 16, dtype=torch.int8)}), "16- and 32-bit"),
        (lambda state: state.clear(), "layers"),
    ],
    ids=["missing", "extra", "shape", "integers", "nothing"],
)
def test_weights_that_do_not_match_the_config_are_refused(change, message: str, folder: Path) -> None:
    """The error names the tensor."""
    state = {name: x.clone() for name, x in load_file(folder / FILE).items()}
    change(state)
    save_file(state, folder / FILE)
    refused(folder, message)


def sharded(folder: Path, places: object | None = None, **change: str) -> dict[str, str]:
    """Split the folder's weights into two files with an index, of which some entries are changed."""
    state = {name: x.clone() for name, x in load_file(folder / FILE).items()}
    (folder / FILE).unlink()
    names = {name: f"model-{1 + (name != EMBED)}.safetensors" for name in state}
    for file in set(names.values()):
        save_file({name: x for name, x in state.items() if names[name] == file}, folder / file)
    index = {"metadata": {}, "weight_map": names | change if places is None else places}
    (folder / INDEX).write_text(json.dumps(index))
    return names


def test_a_sharded_folder_opens(folder: Path) -> None:
    """It gives the same model."""
    before = load_weights(folder).state_dict()
    before = {name: x.clone() for name, x in before.items()}
    sharded(folder)
    after = load_weights(folder).state_dict()
    assert all(torch.equal(after[name], x) for name, x in before.items())


@pytest.mark.parametrize(
    "path", ["../x.safetensors", "/etc/x.safetensors", "a/x.safetensors", "..", "", "x.bin", "a\\x"]
)
def test_an_index_may_not_name_other_files(path: str, folder: Path) -> None:
    """Files outside the folder, or of pickled formats, are not opened."""
    sharded(folder, **{EMBED: path})
    refused(folder, "in its own folder", INDEX)


@pytest.mark.parametrize("places", [[], {}, None, "x", {EMBED: 7}], ids=str)
def test_an_invalid_index_is_refused(places: object, folder: Path) -> None:
    """It must have a table of names and files."""
    sharded(folder, places=places if places is not None else 1)
    refused(folder, "weight_map|in its own folder", INDEX)


def test_inconsistent_shards_are_refused(folder: Path) -> None:
    """A missing shard, a tensor in another shard than the index says, or one that it does not list."""
    names = sharded(folder, **{EMBED: "model-2.safetensors"})
    refused(folder, "which does not", INDEX)
    (folder / INDEX).write_text(json.dumps({"weight_map": {name: x for name, x in names.items() if name != EMBED}}))
    refused(folder, "embed_tokens.weight' is missing", INDEX)
    (folder / INDEX).write_text(json.dumps({"weight_map": names}))
    state = load_file(folder / "model-1.safetensors") | {"more": torch.ones(1)}
    save_file(state, folder / "model-1.safetensors")
    refused(folder, "not in the index", "model-1.safetensors")
    (folder / "model-1.safetensors").unlink()
    refused(folder, "does not exist", "model-1.safetensors")


def test_pickled_weights_are_not_opened(folder: Path) -> None:
    """The error says how to convert them."""
    (folder / FILE).rename(folder / "pytorch_model.bin")
    refused(folder, "save_pretrained", "pytorch_model.bin")


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    """A config alone is not a model."""
    (folder / FILE).unlink()
    refused(folder, "does not exist")


@pytest.mark.parametrize(
    "text", ["[]", "7", "{}", "{", "[" * 10**6, '{"model_type": "qwen3"}', '{"model_type": ["llama"]}'], ids=range(7)
)
def test_an_invalid_config_is_refused(text: str, folder: Path) -> None:
    """The error names the file."""
    (folder / "config.json").write_text(text)
    refused(folder, "is not supported|not valid JSON", "config.json")
