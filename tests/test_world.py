"""The small world: right replies score 1, wrong ones less, splits hold, and generation is pure."""

import pytest

from sayso.text.world import FAMILIES, SPLITS, conversation, document, rejected, score, task


@pytest.mark.parametrize("family", FAMILIES)
def test_reference_replies_score_one_and_rejected_ones_less(family):
    """The checker agrees with the generator on right and wrong replies."""
    for split in SPLITS:
        for index in range(100):
            done = task(0, index, split, family)
            assert score(done.prompt, done.reply).value == 1.0
            assert score(done.prompt, rejected(done, index)).value < 1.0


def test_conversations_fit_in_1300_characters():
    """A conversation never overflows the context."""
    for index in range(300):
        assert sum(len(m["content"]) for m in conversation(0, index, "train")["messages"]) <= 1300


def test_generation_is_a_pure_function():
    """The same arguments give the same document and conversation."""
    assert document(1, 2, "train") == document(1, 2, "train")
    assert conversation(1, 2, "val") == conversation(1, 2, "val")
