"""Candidate sets: what is shown side by side is stored with its policies and sides, and its choices become pairs."""

import pytest

from sayso.base.errors import UserError
from sayso.feedback.candidates import Candidate, Candidates
from sayso.feedback.gather import gather
from sayso.feedback.queue import fill_queue
from sayso.feedback.reviews import Reviews
from sayso.feedback.store import Generation, MissingError, Store


def replies(store: Store, *models: str, compared: bool = True) -> list[int]:
    """Ask a question and let each model reply; return the ids of the replies."""
    said = store.say(store.new_conversation().id, "Hello")
    made = [Generation(model, "a" * 12, {}, "stop", 1, 1, 0.1) for model in models]
    prompt = store.prompt(said.id)
    return [store.reply(said.id, f"I am {place}.", prompt, one, compared=compared).id for place, one in enumerate(made)]


def test_what_is_shown_is_stored_with_its_models_and_sides(store: Store) -> None:
    """From left to right, whatever the order of the ids; one model may have made several replies."""
    first, second = replies(store, "tuned", "tuned")
    one, other, last = replies(store, "tuned", "poet", "base")
    for shown in ((second, first), (last, one, other)):
        Candidates(store).show(shown)
    pair, three = Candidates(store).sets("shown")
    assert pair.replies == (Candidate("tuned", second, "left"), Candidate("tuned", first, "right"))
    assert three.replies == (Candidate("base", last, "1"), Candidate("tuned", one, "2"), Candidate("poet", other, "3"))
    assert Candidates(store).sets("shadow") == []
    store.delete(store.message(first).conversation_id)
    assert Candidates(store).sets("shown") == [three]


def test_what_cannot_have_been_compared_is_refused(store: Store) -> None:
    """The same reply twice, one alone, replies to different messages, a message of the user, and unknown ones."""
    first, _ = replies(store, "tuned", "poet")
    [elsewhere] = replies(store, "tuned")
    asked = store.message(first).parent_id
    assert asked is not None
    for shown in ((first, first), (first,), (first, elsewhere), (first, asked), (asked, asked), ()):
        with pytest.raises(UserError, match="two or more different replies to the same message"):
            Candidates(store).show(shown)
    with pytest.raises(MissingError):
        Candidates(store).show((first, 10**6))
    assert Candidates(store).sets("shown") == []


def test_replies_that_are_compared_are_no_signal_but_pairs_of_the_queue(store: Store) -> None:
    """Each pair of the set once; nobody was unhappy with the reply before."""
    made = replies(store, "tuned", "poet", "base")
    assert store.signals(made) == []
    first, second = replies(store, "tuned", "poet", compared=False)
    assert [(one.message_id, one.kind) for one in store.signals([first, second])] == [(first, "regenerated")]
    Candidates(store).show(made)
    fill_queue(store)
    held = [Reviews(store).take(f"person {number}", "compare", "shown") for number in range(4)]
    assert [task is not None for task in held] == [True, True, True, False]


def test_a_choice_among_several_becomes_a_pair_with_each_other(store: Store) -> None:
    """The pairs have the models and the side that was chosen."""
    left, middle, right = replies(store, "tuned", "poet", "base")
    store.choose(middle, left, position="right")
    store.choose(middle, right, position="left")
    found = gather(store.ratings())
    assert [(row["chosen"], row["rejected"]) for row in found.pairs] == [("I am 1.", "I am 0."), ("I am 1.", "I am 2.")]
    rated = [
        (one.snapshot["model"], one.snapshot["rejected"]["model"], one.snapshot["position"]) for one in store.ratings()
    ]
    assert rated == [("poet", "tuned", "right"), ("poet", "base", "left")]
