"""Near-duplicates: documents per second against `datasketch`, with the same shingles, bands and threshold.

Small-world stories, a tenth of them repeated with a few words changed; both sides must find the planted copies.
"""

import random
import re
from collections.abc import Callable

import datasketch
import numpy as np

from bench.harness import parser, race, result, sized
from sayso.text.dedup import BANDS, PERMUTATIONS, ROWS, SHINGLE, NearDuplicates, SignatureLookup, band_keys, signature
from sayso.text.ngrams import word_hashes
from sayso.world import story

DOCUMENTS, PLANTED = sized((1000, 100), (20, 3))
CHANGED, THRESHOLD = 2, 0.7


def main() -> None:
    """Race over the same documents."""
    parser("dedup").parse_args()
    texts, planted = documents()
    found, theirs = set(our_dropped(texts)), set(their_dropped(texts))
    speeds = race(lambda: worked(our_dropped, texts), lambda: worked(their_dropped, texts), rounds=sized(5, 1))
    result(
        "dedup", "documents/s", *speeds, peer_name=f"datasketch {datasketch.__version__}", documents=len(texts),
        bytes=sum(len(text.encode()) for text in texts), permutations=PERMUTATIONS, threshold=THRESHOLD,
        recall={"ours": len(found & planted) / len(planted), "peer": len(theirs & planted) / len(planted)},
        false={"ours": len(found - planted), "peer": len(theirs - planted)}, numpy=np.__version__,
    )  # fmt: skip


def documents() -> tuple[list[str], set[int]]:
    """Return the texts, and the numbers of those that repeat an earlier one except for a few words."""
    draw = random.Random(0)
    texts = [story(0, index, "train") for index in range(DOCUMENTS)]
    for original in draw.sample(range(DOCUMENTS), PLANTED):
        words = texts[original].split(" ")
        for place in draw.sample(range(len(words)), CHANGED):
            words[place] = "otherwise"
        texts.append(" ".join(words))
    return texts, set(range(DOCUMENTS, DOCUMENTS + PLANTED))


def worked(drop: Callable[[list[str]], list[int]], texts: list[str]) -> float:
    """Deduplicate the texts; return their number."""
    drop(texts)
    return len(texts)


def our_dropped(texts: list[str]) -> list[int]:
    """Return the documents that we drop as near-duplicates."""
    signatures = np.stack([signature(word_hashes(text)) for text in texts])
    near = NearDuplicates(THRESHOLD)
    for band, keys in enumerate(band_keys(signatures)):
        near.add_band(band, keys)
    return near.dropped(SignatureLookup([signatures]))


def their_dropped(texts: list[str]) -> list[int]:
    """Return the documents that the peer drops as near-duplicates, by the same estimate as ours."""
    index = datasketch.MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, ROWS))
    kept: dict[int, datasketch.MinHash] = {}
    dropped = []
    for number, text in enumerate(texts):
        words = re.findall(r"\w+", text.lower())
        shingles = {" ".join(words[at : at + SHINGLE]).encode() for at in range(max(1, len(words) - SHINGLE + 1))}
        sketch = datasketch.MinHash(num_perm=PERMUTATIONS)
        sketch.update_batch(list(shingles))
        if any(sketch.jaccard(kept[other]) >= THRESHOLD for other in index.query(sketch)):
            dropped.append(number)
            continue
        kept[number] = sketch
        index.insert(number, sketch)
    return dropped


if __name__ == "__main__":
    main()
