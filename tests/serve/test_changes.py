"""GET /api/changes: what changed in the store is named, once, to everybody who listens; and the stream ends."""

import asyncio
import json
from collections.abc import Iterator

from sayso.feedback.changes import store_marks
from sayso.feedback.database import StoreError
from sayso.feedback.store import Store
from sayso.serve.changes import Changes


def told(text: str) -> list[str]:
    """The topics of an event."""
    assert text.startswith("event: changed\ndata: ")
    return json.loads(text.split("data: ")[1])


def test_each_listener_is_told_what_changed(store: Store) -> None:
    """A message and a rating, by tables; what came before listening is not told; the end of the server ends it."""
    looks = 0
    ending = False

    def marks() -> dict[str, tuple[int, int]]:
        nonlocal looks
        looks += 1
        return store_marks(store)

    async def listen() -> tuple[list[list[str]], list[list[str]], list[str]]:
        nonlocal ending
        changes = Changes(marks, lambda: ending)
        one, other = changes.events(), changes.events()
        heard = [[told(await anext(one))], [told(await anext(other))]]
        store.say(store.new_conversation().id, "hello")
        heard[0].append(told(await anext(one)))
        heard[1].append(told(await anext(other)))
        store.delete(1)
        heard[0].append(told(await anext(one)))
        ending = True
        return heard[0], heard[1], [event async for event in one]

    first, second, last = asyncio.run(listen())
    assert first == [[], ["messages"], ["messages"]]
    assert second == [[], ["messages"]]
    assert last == []
    assert looks <= 4


def test_a_store_that_fails_for_a_while_ends_no_stream() -> None:
    """What changed meanwhile is told when it is back."""

    def looks() -> Iterator[dict[str, int]]:
        yield {"messages": 1}
        raise StoreError("The database cannot be reached.")

    states = looks()
    failed = 0

    def marks() -> dict[str, int]:
        nonlocal failed
        if failed:
            return {"messages": 2}
        try:
            return next(states)
        except StoreError:
            failed += 1
            raise

    async def listen() -> list[list[str]]:
        events = Changes(marks, lambda: False).events()
        return [told(await anext(events)), told(await anext(events))]

    assert asyncio.run(listen()) == [[], ["messages"]]
    assert failed == 1
