"""The small world: plain English in which a program can check every statement.

Pure functions of (seed, index, split) return stories, documents, conversations and tasks; `score_reply` scores a reply.
"""

from .check import score_reply
from .draw import SPLITS
from .instructions import INSTRUCTION_FAMILIES
from .make import CONVERSATION_KINDS, FAMILIES, conversation, document, rejected, story, task
from .questions import STORY_FAMILIES
from .skills import SKILL_FAMILIES
from .talk import TALK_FAMILIES
from .types import Score, Task, TaskPrompt

__all__ = [
    "CONVERSATION_KINDS",
    "FAMILIES",
    "INSTRUCTION_FAMILIES",
    "SKILL_FAMILIES",
    "SPLITS",
    "STORY_FAMILIES",
    "TALK_FAMILIES",
    "Score",
    "Task",
    "TaskPrompt",
    "conversation",
    "document",
    "rejected",
    "score_reply",
    "story",
    "task",
]  # fmt: skip
