"""Models for the x-ray: takes a model folder, returns its model and tokenizer, or says why they cannot be shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sayso.base.errors import UserError
from sayso.base.files import read_object
from sayso.reply.conversation import Replier
from sayso.token.load import load as load_tokenizer
from sayso.token.load import tokenizer_fingerprint
from sayso.token.tokenizer import Tokenizer
from sayso.weights.folder import attends_both_ways, load_model, load_weights
from sayso.weights.score import is_reward_model
from sayso.weights.tensors import weights_file


@dataclass(frozen=True)
class Vocabulary:
    """The texts that ids stand for."""

    tokenizer: Tokenizer
    size: int

    @property
    def texts(self) -> list[str]:
        """The text of each id."""
        return [text_of(self.tokenizer, token) for token in range(self.size)]


def text_of(tokenizer: Tokenizer, token: int) -> str:
    r"""Return the text of a token; bytes that are no text by themselves appear as in `\xe2`."""
    if token in tokenizer.control:
        return tokenizer.control[token]
    try:
        return tokenizer.decode_bytes([token]).decode("utf-8", "backslashreplace")
    except (IndexError, KeyError):  # a vocabulary may have more rows than the tokenizer has tokens
        return f"<{token}>"


def opened(folder: Path, device: str = "cpu") -> Replier:
    """Return the model of a folder with its tokenizer. Raises `UserError` as `load_model` does.

    A compiled program that attends in both directions is opened as well; it generates no text.
    """
    if attends_both_ways(folder):
        return Replier(load_weights(folder, device), load_tokenizer(folder))
    return Replier(*load_model(folder, device))


def check_alike(first: tuple[str, Vocabulary], second: tuple[str, Vocabulary]) -> None:
    """Raise `UserError` unless every id has the same text in two models, given with their names."""
    (name, one), (other, two) = first, second
    if one.texts != two.texts:
        raise UserError(
            f"'{name}' and '{other}' have different tokenizers, so that one selection cannot drive both; compare "
            "models that read the same tokens."
        )


def vocabulary_of(folder: Path) -> Vocabulary:
    """Return the vocabulary of the model in a folder. Raises `UserError` if its files are damaged."""
    size = read_object(folder / "config.json", "vocab_size")["vocab_size"]
    return Vocabulary(load_tokenizer(folder), int(size))


def problems_beside(folders: Mapping[str, Path], known: Vocabulary) -> dict[str, str | None]:
    """Return why the model of each folder cannot be shown beside one with a vocabulary, by name; None if it can."""
    texts, alike = known.texts, dict[str, bool]()  # by the hash of a tokenizer, of which many models have the same
    found = dict[str, str | None]()
    for name, folder in folders.items():
        try:
            found[name] = _problem(folder, texts, alike)
        except (UserError, ValueError, TypeError, OSError):
            found[name] = "its files are damaged"
    return found


def _problem(folder: Path, texts: list[str], alike: dict[str, bool]) -> str | None:
    weights_file(folder)  # raises if they are missing
    if is_reward_model(folder):
        return "it scores replies, and predicts no token"
    mark = f"{tokenizer_fingerprint(folder)} {read_object(folder / 'config.json', 'vocab_size')['vocab_size']}"
    if mark not in alike:
        alike[mark] = vocabulary_of(folder).texts == texts
    return None if alike[mark] else "it has another tokenizer"
