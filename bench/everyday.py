"""Fifty things that people say to an assistant in their own words, and a program that judges the replies.

None of the wordings is in the small world's training text (a test checks that). A reply counts if it ends by itself,
does not repeat itself, and is on the topic: small talk has one of the topic's words, a story has three sentences or
more and names what it was to be about.
"""

import re
from dataclasses import dataclass

SHOWN = range(0, 50, 5)
"""Indices of the ten replies that are printed for people to read, chosen before any model was run."""
LONGEST_ANSWER = 40  # words of a reply to small talk
STORY_SENTENCES = 3


@dataclass(frozen=True)
class Turn:
    """What is said, and words of which the reply has at least one; a story has all of them."""

    said: str
    words: tuple[str, ...]
    story: bool = False


def _talk(words: str, *said: str) -> list[Turn]:
    return [Turn(text, tuple(words.split())) for text in said]


def _story(said: str, *words: str) -> Turn:
    return Turn(said, words, story=True)


TURNS = (
    *_talk("hello hi hey", "hello sayso, nice to see you", "Hey, anybody there?", "Hi! I'm new here."),
    *_talk("morning day hello hi", "Good morning! Ready for a new day?", "Good evening, my dear Sayso."),
    *_talk("well fine good", "So, how are you today, Sayso?", "how are you feeling this morning?", "You doing well?"),
    *_talk("glad good nice wonderful happy", "I feel very good today!", "I am so happy, I passed my test!"),
    *_talk(
        "sorry hard hope", "I feel so sad and lonely today.", "I had a very bad day at school.", "I'm tired and ill."
    ),
    *_talk("welcome", "Thank you very much, Sayso!", "thanks, that was a great help"),
    *_talk("goodbye bye night soon", "Good night and sleep well!", "I have to leave now, bye!", "See you next week!"),
    *_talk("thank thanks kind", "You are very nice and clever.", "I really like you, Sayso."),
    *_talk("sorry wrong mistakes", "I think that you are wrong.", "That was a really bad answer."),
    *_talk("why what because", "Please tell me a good joke."),
    *_talk("story", "I am so bored, what can I do?", "I have nothing to do today."),
    *_talk("blue colour color", "What color do you like the most?"),
    *_talk("animal animals pet", "Do you like cats or dogs more?", "I have a little dog at home."),
    *_talk("weather", "How is the weather today?"),
    *_talk("computer program", "Where is your home, Sayso?"),
    *_talk("young new made", "How old are you now?"),
    *_talk("nice meet hello", "Hello, my name is Peter."),
    *_talk("help course ask yes", "I need some help, please."),
    *_talk("sayso", "What should I call you?", "who am I talking to?"),
    *_talk("model program no not", "Are you a real human being?"),
    *_talk("stories story questions", "What are the things that you can do?"),
    _story("Tell me a nice story."),
    _story("tell me a story before I go to sleep"),
    _story("Can you please tell me a very short story?"),
    _story("I'd love a story about a dragon.", "dragon"),
    _story("Could you tell a story about a little mouse?", "mouse"),
    _story("please write a story about a cat for me", "cat"),
    _story("Tell us a story about a bear.", "bear"),
    _story("I want to read a story about a robot.", "robot"),
    _story("A short story about an elephant, please.", "elephant"),
    _story("Do you have a story about a penguin?", "penguin"),
    _story("tell me about a horse, a story", "horse"),
    _story("Write down a story about a red ball.", "ball"),
    _story("My son wants a story about a train.", "train"),
)


def on_topic(turn: Turn, reply: str, finish: str) -> bool:
    """Return whether a reply counts."""
    said = re.findall(r"[a-z]+(?:'[a-z]+)?", reply.lower())
    sentences = [part for part in re.split(r"(?<=[.!?])\s+", reply.strip()) if part]
    if finish != "stop" or not said or len({*sentences}) < len(sentences):
        return False
    if turn.story:
        return len(sentences) >= STORY_SENTENCES and all(word in said or f"{word}s" in said for word in turn.words)
    return len(said) <= LONGEST_ANSWER and bool({*turn.words} & {*said})
