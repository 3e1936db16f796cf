"""Requests for a story, composed of an opening, a kind of story, its subject, and an end.

"Could you tell us a short story about a fox before bed?" A few requests that no composition gives stand on their own.
"""

import random
from itertools import product

from .piece import lines

ORDERS = lines("""
    Tell me
    Please tell me
    Tell me, please,
    Now tell me
    Please tell us
    Tell my child
    Tell my children
    Read me
    Read us
    Please read me
    Give me
    Please give me
    Write
    Write me
    Please write
    Please write me
    Make up
    Please make up
    Invent
    Let me hear
    Let us hear
    """)
"""Openings of a sentence that ends with a full stop, before "a story"."""
WISHES = lines("""
    I want
    I want to hear
    I would like
    I would like to hear
    I'd like
    I'd like to hear
    I'd be glad to hear
    We want
    We want to hear
    We would like
    My daughter wants
    My sister wants to hear
    My children would like
    I feel like
    It is time for
    """)
QUESTIONS = lines("""
    Can you tell me
    Can you tell us
    Could you tell me
    Could you tell us
    Could you please tell me
    Will you tell me
    Would you tell me
    Would you please tell us
    Can you read me
    Could you read us
    Can you write
    Can you write me
    Could you write
    Would you write me
    Can you make up
    Could you please make up
    Can I have
    Can I hear
    May I have
    May I hear
    Can we have
    May we hear
    Do you know
    How about
    """)
"""Openings of a question, before "a story"."""
PLAIN = "a story"
KINDS = lines("""
    a short story
    a little story
    a very little story
    a new story
    a good story
    a really good story
    a lovely story
    a funny story
    a sweet story
    a quiet story
    a happy story
    a long story
    a bedtime story
    a children's story
    a fairy tale
    a tale
    a short tale
    another story
    one more story
    """)
"""What is asked for, if it is not just a story."""
ENDS = lines("""
    now
    today
    tonight
    before bed
    before lunch
    when it gets dark
    this evening
    to cheer me up
    if you can
    for my little sister
    for the children
    , please
    , if you like
    , will you
    """)
SHORT = ("A story", "Another story", "One more story", "A new story", "A bedtime story", "A tale", "Just a story")
"""Whole requests, with a subject or without one, before ", please"."""
ABOUT_FREE = lines("""
    I would like to hear about {x}.
    I want to hear something about {x}.
    Tell me something about {x}, like a story.
    Do you know any stories about {x}?
    What happened to {x}? Tell me the story.
    """)
ANY_FREE = lines("""
    Tell me something nice.
    Do you know any stories?
    Have you any stories for me?
    Story time!
    It is story time.
    Any good stories?
    What stories do you know?
    Entertain me with a story.
    Tell me any story.
    Tell me any story that you know.
    A story about anything, please.
    Tell me a story about anything you like.
    I don't mind which story you tell me.
    """)
FREE = 0.15  # of the requests stand on their own
SIMPLE = 0.4  # of the others ask for just a story
ENDED = 0.35  # of the others have an end


def _composed(opening: str, kind: str, about: str, end: str) -> str:
    mark = "?" if opening in QUESTIONS else "."
    return f"{opening} {kind}{about}{end if end.startswith(',') else end and ' ' + end}{mark}"


def _short(kind: str, about: str) -> str:
    return f"{kind}{about}, please."


def request(rng: random.Random, subject: str = "") -> str:
    """Return a request for a story, about the subject ("a fox", "foxes") if there is one."""
    about = subject and f" about {subject}"
    if rng.random() < FREE:
        return rng.choice(ABOUT_FREE).format(x=subject) if subject else rng.choice(ANY_FREE)
    openings = rng.choices((ORDERS, WISHES, QUESTIONS, SHORT), (4, 2, 4, 1))[0]
    if openings is SHORT:
        return _short(rng.choice(SHORT), about)
    kind = PLAIN if rng.random() < SIMPLE else rng.choice(KINDS)
    return _composed(rng.choice(openings), kind, about, rng.choice(ENDS) if rng.random() < ENDED else "")


def all_requests(subject: str = "") -> set[str]:
    """Return every request that `request` can give."""
    about = subject and f" about {subject}"
    free = {text.format(x=subject) for text in ABOUT_FREE} if subject else {*ANY_FREE}
    parts = product((*ORDERS, *WISHES, *QUESTIONS), (PLAIN, *KINDS), ("", *ENDS))
    return free | {_short(kind, about) for kind in SHORT} | {_composed(*one[:2], about, one[2]) for one in parts}
