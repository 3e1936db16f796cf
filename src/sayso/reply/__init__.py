"""Tokens to turns: replies in a conversation, streamed as text, within the model's context."""

from sayso.reply.conversation import Replier, Reply, Stream

__all__ = ["Replier", "Reply", "Stream"]
