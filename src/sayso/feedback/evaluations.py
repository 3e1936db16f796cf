"""The answers of models to evaluation items, in a life's store.

An answer is found again by model, task, item and a hash of the prompt, so that the same question is never asked twice
and a changed prompt is a new question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sql

from sayso.feedback.store import Store
from sayso.feedback.tables import answers, now
from sayso.judge.tasks.kept import Answer

_AT_ONCE = 200  # rows of an insertion; SQLite limits the number of values


class KeptAnswers:
    """The answers of one model to one task: a `Memory` of `answer_items`."""

    def __init__(self, store: Store, model: str, task: str) -> None:
        """`model` is the fingerprint of a model."""
        self._store, self._model, self._task = store, model, task
        self._found = answers_of(store, model, task)

    def known(self, item: str, prompt: str) -> Answer | None:
        """Return the earlier answer to an item, asked by a prompt with this hash; None if there is none."""
        return self._found.get((item, prompt))

    def keep(self, made: Sequence[Answer]) -> None:
        """Store new answers; those that another process has stored meanwhile are left as they are."""
        shared = {"model": self._model, "task": self._task, "created_at": now()}
        rows = [{**shared, "prompt": one.prompt, "item": one.item, "answer": _stored(one)} for one in made]
        with self._store.engine.execution_options(writes=True).begin() as connection:
            for start in range(0, len(rows), _AT_ONCE):
                connection.execute(_insert(self._store).values(rows[start : start + _AT_ONCE]))


def tasks_answered(store: Store, models: Sequence[str]) -> list[str]:
    """Return the names of the tasks to which all of the models have answers, in the order of the first answers."""
    count = sql.func.count(sql.distinct(answers.c.model))
    query = sql.select(answers.c.task).where(answers.c.model.in_(models)).group_by(answers.c.task)
    query = query.having(count == len({*models})).order_by(sql.func.min(answers.c.id))
    with store.engine.begin() as connection:
        return [task for (task,) in connection.execute(query)]


def answers_of(store: Store, model: str, task: str) -> dict[tuple[str, str], Answer]:
    """Return a model's answers to a task, by item and prompt hash."""
    query = sql.select(answers.c.item, answers.c.prompt, answers.c.answer).order_by(answers.c.id)
    with store.engine.begin() as connection:
        rows = connection.execute(query.where(answers.c.model == model, answers.c.task == task))
        return {(item, prompt): _answer(item, prompt, stored) for item, prompt, stored in rows}


def _insert(store: Store) -> Any:
    """Return an insertion that ignores rows that exist."""
    if store.engine.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as of_postgresql

        return of_postgresql(answers).on_conflict_do_nothing()
    from sqlalchemy.dialects.sqlite import insert as of_sqlite

    return of_sqlite(answers).on_conflict_do_nothing()


def _stored(one: Answer) -> dict[str, Any]:
    return {name: value for name, value in asdict(one).items() if name not in ("item", "prompt")}


def _answer(item: str, prompt: str, stored: Mapping[str, Any]) -> Answer:
    return Answer(item=item, prompt=prompt, **{**stored, "logprobs": tuple(stored["logprobs"])})
