"""The small world: plain English in which a program can check every statement.

Pure functions of (seed, index, split) return stories, documents, conversations and tasks; `score` checks any reply.
"""

from .check import score
from .draw import SPLITS
from .instructions import INSTRUCTION_FAMILIES
from .make import FAMILIES, KINDS, conversation, document, rejected, story, task
from .questions import STORY_FAMILIES
from .skills import SKILL_FAMILIES
from .talk import TALK_FAMILIES
from .types import Prompt, Score, Task

__all__ = [
    "FAMILIES", "INSTRUCTION_FAMILIES", "KINDS", "SKILL_FAMILIES", "SPLITS", "STORY_FAMILIES", "TALK_FAMILIES",
    "Prompt", "Score", "Task",
    "conversation", "document", "rejected", "score", "story", "task",
]  # fmt: skip
