"""The corpus that questions are made from: the prepared documents of a life, or any source that the user names."""

from collections.abc import Iterator

from sayso.base.errors import UserError
from sayso.base.jsonl import BadRows
from sayso.base.life import Life
from sayso.judge.knowledge.questions import Corpus, corpus_of
from sayso.text.clean import clean
from sayso.text.document import DOCUMENT_SPLITS
from sayso.text.ngrams import hash64
from sayso.text.prepared import documents
from sayso.text.rows import report_ignored, report_rows
from sayso.text.sources import Amounts, read_part, resolve

_AMOUNTS = Amounts(world_documents=2000, world_conversations=0, seed=0, val=0.0, test=0.0, piece=0)
FORMS = "sentences such as 'Lyon is a city in France.' below a title"


def read_corpus(life: Life, source: str | None, bad: BadRows) -> Corpus:
    """Return the facts of a source, or of the life's prepared documents with a title, such as those of `wiki`.

    A document counts as trained if exactly this text is in the life's training split. Raises `UserError` if there is no
    document with a title, or no fact in them.
    """
    corpus = corpus_of(_prepared(life) if source is None else _named(life, source, bad))
    if not corpus.words and source is None:
        raise UserError(
            f"Questions are made from documents with titles, and '{life.data('text')}' has none; name a corpus, such "
            "as wiki, or prepare one: sayso prepare --sources wiki"
        )
    if not corpus.trained and not corpus.held_out:
        where = f"'{source}'" if source else f"'{life.data('text')}'"
        raise UserError(f"Questions are made from {FORMS}; {where} has none: name another corpus, such as wiki.")
    return corpus


def _prepared(life: Life) -> Iterator[tuple[str, str, bool]]:
    folder = life.data("text")
    for split in DOCUMENT_SPLITS:
        for row in documents(folder, split) if any(folder.glob(f"{split}-*.jsonl")) else ():
            if row.get("title"):
                yield row["title"], row["text"], split == "train"


def _named(life: Life, name: str, bad: BadRows) -> Iterator[tuple[str, str, bool]]:
    source = resolve(name, _AMOUNTS)
    report_ignored([source])
    folder = life.data("text")
    read = documents(folder, "train") if any(folder.glob("train-*.jsonl")) else iter(())
    known = {hash64(row["text"]) for row in read}
    for part in source.parts:
        for document in read_part(part, bad):
            text = clean(document.text)
            if document.title and text:
                yield document.title, text, hash64(text) in known
    report_rows(bad)
