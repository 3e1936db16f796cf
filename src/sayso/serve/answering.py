"""Replies that no reader waits for: takes a served model and a conversation, returns the reply, ready to store."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from starlette.concurrency import run_in_threadpool

from sayso.feedback.generations import RecordedReply
from sayso.feedback.store import Generation
from sayso.reply.reasoning import with_marker
from sayso.sample.sampling import Sampling
from sayso.serve.recording import Asker, trace_of
from sayso.serve.served_model import ServedModel
from sayso.serve.terms import ReplyTerms
from sayso.token.reasoning import reasoning_of


async def answer(
    served: ServedModel,
    conversation: int | str,
    turns: Sequence[Mapping[str, Any]],
    sampling: Sampling,
    route: str,
    adapter: str = "",
) -> RecordedReply:
    """Let a model, or an adapter of it, reply to a conversation; the oldest turns that do not fit are dropped.

    Raises `ApiError` if too many requests wait, or if the prompt leaves no room.
    """
    started = time.perf_counter()
    breakers = served.reader.breakers() if sampling.dry_multiplier else ()  # ids of its own tokenizer
    sampling = replace(sampling, dry_breakers=breakers)
    prompt, _ = await run_in_threadpool(served.fit, list(turns), sampling.max_tokens)
    ids = await run_in_threadpool(served.chat_ids, prompt)
    reasoning = reasoning_of(served.replier.tokenizer, ids)
    terms = ReplyTerms(sampling, served.replier.stop_ids, reasoning=reasoning, adapter=adapter)
    job = await served.speak([ids], terms)
    try:
        pieces = [piece async for piece in job]
    finally:
        served.worker.stop(job)
    [choice] = job.choices
    made = Generation(
        adapter or served.name,
        served.fingerprint,
        asdict(sampling),
        pieces[-1].finish if pieces[-1].finish in ("stop", "length") else "stopped",
        len(ids),
        pieces[-1].tokens,
        time.perf_counter() - started,
    )
    return RecordedReply(
        conversation=conversation,
        prompt=prompt,
        content=with_marker("".join(piece.text for piece in pieces), reasoning),
        generation=made,
        trace=trace_of(choice, Asker(route), served.template),
    )
