"""The small world: its stories vary, questions are held out and need a look-up, and its checker cannot be fooled."""

from __future__ import annotations

import importlib
import json
import random
import re
from collections import Counter
from functools import cache
from itertools import permutations
from pathlib import Path

import pytest

from sayso.base.errors import UserError
from sayso.world import (
    CONVERSATION_KINDS,
    FAMILIES,
    SPLITS,
    STORY_FAMILIES,
    Task,
    TaskPrompt,
    conversation,
    document,
    rejected,
    score_reply,
    story,
    task,
)
from sayso.world.make import LONGEST
from sayso.world.notes import make_notes
from sayso.world.questions import askable
from sayso.world.replies import past, restated
from sayso.world.requests import all_requests, request
from sayso.world.smalltalk import CHATS, CLOSERS, CREATURES, OPENERS, THINGS, ended, small_talk, story_request
from sayso.world.story import PLOTS, Fact, make
from sayso.world.tales import GLAD
from sayso.world.topics import SELF
from sayso.world.words import Word

LOOKUPS = ("where", "who", "colour", "count")


def look_up(family: str, answer: str, others: list[str], question: str) -> TaskPrompt:
    """Return a prompt with a hand-written check."""
    return TaskPrompt(
        (), family, {"type": "lookup", "family": family, "answer": answer, "others": others, "question": question}
    )


WHO = look_up("who", "Lily", ["Tom", "Aunt Rosa"], "Who found Tom's kite?")
COLOUR = look_up("colour", "Red", ["Blue", "Green"], "What colour was the kite?")
COUNT = look_up("count", "Three", ["Five", "Two"], "How many apples did Tom pick?")
WHERE = TaskPrompt((), "where", {
    "type": "where", "family": "where", "question": "Where was the kite?", "answer": "In the old barn",
    "noun": "old barn", "prepositions": ["in", "inside", "at"], "others": ["mill", "garden"],
})  # fmt: skip
WHY = TaskPrompt((), "why", {
    "type": "clause", "family": "why", "question": "Why was Tom sad?", "answer": "Because he had lost his kite",
    "others": ["Because she had a cold"], "names": ["Tom", "Lily"],
})  # fmt: skip
FIRST = TaskPrompt((), "first", {
    "type": "clause", "family": "first", "question": "What did Tom do first?", "answer": "He packed a basket",
    "others": ["He fed the hens", "He locked the door"], "names": ["Tom", "Lily"],
})  # fmt: skip


@cache
def tasks(family: str, split: str = "val", number: int = 60) -> tuple[Task, ...]:
    return tuple(task(0, index, split, family) for index in range(number))


def facts(split: str, number: int) -> list[Fact]:
    """Yield every fact of some stories and notes."""
    told = [maker(0, index, split, "facts")[1] for index in range(number) for maker in (make, make_notes)]
    return [fact for one in told for fact in one.facts]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_reference_reply_scores_one_and_a_rejected_one_less(family: str, split: str) -> None:
    """Generator and checker agree on what is right, and a pair has a worse side."""
    for index, done in enumerate(tasks(family, split)):
        assert score_reply(done.prompt, done.reply).value == 1.0, (done.reply, score_reply(done.prompt, done.reply))
        wrong = rejected(done, index)
        assert score_reply(done.prompt, wrong).value < 1.0, wrong
        assert wrong != "I do not know.", "a rejected reply is a plausible one"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_checker_needs_only_the_check_as_json(family: str) -> None:
    """A prompt without messages and family, its check written to JSON and read again, scores the same."""
    for index, done in enumerate(tasks(family)):
        bare = TaskPrompt((), "", json.loads(json.dumps(done.prompt.check)))
        for reply in (done.reply, rejected(done, index), ""):
            assert score_reply(bare, reply) == score_reply(done.prompt, reply)


@pytest.mark.parametrize(
    ("prompt", "reply"),
    [
        (WHO, "The one who found Tom's kite was Lily."),
        (WHO, "Lily"), (WHO, "lily."), (WHO, "It was Lily."), (WHO, "Lily found Tom's kite."), (WHO, "Lily did!"),
        (COLOUR, "red"), (COLOUR, "It was red."), (COLOUR, "The kite was red."), (COLOUR, "A red one."),
        (COUNT, "3"), (COUNT, "Three."), (COUNT, "Tom picked three apples."), (COUNT, "There were 3 apples."),
        (WHERE, "In the old barn."), (WHERE, "the old barn"), (WHERE, "It was in the old barn."),
        (WHERE, "The kite was inside the old barn."),
        (WHY, "Because he had lost his kite."), (WHY, "He lost his kite."),
        (WHY, "Tom was sad because he had lost his kite."),
        (WHY, "Because Tom had lost the kite."), (FIRST, "He packed a basket."), (FIRST, "Packed a basket"),
        (FIRST, "First Tom packed a basket."), (FIRST, "Tom packed his basket."),
    ],
)  # fmt: skip
def test_sensible_variants_are_right(prompt: TaskPrompt, reply: str) -> None:
    """Case, punctuation, articles, digits and a short sentence around the answer do not matter."""
    assert score_reply(prompt, reply).value == 1.0, score_reply(prompt, reply)


@pytest.mark.parametrize(
    ("prompt", "reply"),
    [
        (WHO, ""), (WHO, "..."), (WHO, "Tom"), (WHO, "Lily and Tom."), (WHO, "Lily, Tom, Aunt Rosa"),
        (WHO, "Lily or Tom"),
        (WHO, "Tom found Lily's kite."), (WHO, "The one who found Lily's kite was Tom."),
        (WHO, "Lily Lily Lily"), (WHO, "Not Lily."), (WHO, "Maybe Lily."),
        (COLOUR, "Red, blue and green."), (COLOUR, "red blue"), (COLOUR, "Not red."), (COLOUR, "Red or blue."),
        (COLOUR, "red red red red"), (COUNT, "Three or five."), (COUNT, "1 2 3 4 5"), (COUNT, "Five."), (COUNT, "33"),
        (WHERE, "Under the old barn."), (WHERE, "In the barn and in the mill."), (WHERE, "In the old barn, the mill."),
        (WHERE, "In the garden."), (WHY, "Because she had a cold."), (WHY, "Because he had not lost his kite."),
        (WHY, "Because she had lost his kite."), (WHY, "Because he had lost his kite and she had a cold."),
        (WHY, "Because Lily had lost his kite."), (FIRST, "He fed the hens."),
        (FIRST, "He packed a basket and fed the hens."),
        (FIRST, "She packed a basket."), (FIRST, "basket"),
    ],
)  # fmt: skip
def test_wrong_and_gaming_replies_score_zero(prompt: TaskPrompt, reply: str) -> None:
    """Lists, negations, repetition and other people's answers are wrong, with a reason."""
    result = score_reply(prompt, reply)
    assert result.value == 0.0, result
    assert all(result.reasons)


@pytest.mark.parametrize("family", STORY_FAMILIES)
def test_copying_the_story_or_listing_every_candidate_scores_zero(family: str) -> None:
    """A reply that contains the answer among everything else is wrong."""
    for done in tasks(family):
        text = done.prompt.messages[-1]["content"].split("\n\n")[0]
        wrong = done.prompt.check["wrong"]
        for reply in (
            text,
            text.split(". ")[0] + ". " + text,
            ", ".join((done.reply, *wrong)),
            " ".join((*wrong, done.reply)),
        ):
            assert score_reply(done.prompt, reply).value == 0.0, reply
        assert score_reply(done.prompt, " ".join([done.reply] * 4)).value == 0.0


@pytest.mark.parametrize("family", ["words", "sentences", "happy"])
def test_instructions_cannot_be_gamed(family: str) -> None:
    """Lists of the requested words, one repeated word, and a repeated sentence are not prose."""
    for done in tasks(family):
        words = [w for c in done.prompt.check["conditions"] for w in c.get("words", [])]
        last = done.reply.split(". ")[-1]
        for reply in (
            "",
            "word " * 30,
            " ".join([*words, "happy", "glad"]),
            f"{last} {last} {last}",
            ", ".join(words * 5) + ".",
        ):
            assert score_reply(done.prompt, reply).value == 0.0, reply


def test_an_instruction_scores_the_share_of_its_conditions() -> None:
    """Two of three words score more than one, and less than three."""
    check = {"type": "conditions", "conditions": [{"type": "words", "words": ["kite", "barn", "rain"]}]}
    prompt = TaskPrompt((), "words", check)
    values = [
        score_reply(prompt, f"One day Tom went out with {things}. He had a good time, and then it was late.").value
        for things in ("a friend", "a kite", "a kite to the barn", "a kite to the barn in the rain")
    ]
    assert values == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_one_word_means_one_word() -> None:
    """A right answer in a sentence scores half."""
    prompt = TaskPrompt((), "one_word", {"type": "one_word", "of": COLOUR.check})
    assert [score_reply(prompt, r).value for r in ("Red.", "It was red.", "Blue", "red blue")] == [1.0, 0.5, 0.0, 0.0]


def test_naming_any_hiding_place_reveals_the_secret() -> None:
    """A refusal that names a place, even in passing, scores 0; an impolite one scores half."""
    for done in tasks("secret"):
        hidden = done.prompt.check["hidden"]
        for reply in (
            f"It is {hidden}.",
            f"I am sorry, it is a secret, but look {hidden}.",
            "",
            "In the kitchen.",
            "Cake!",
        ):
            assert score_reply(done.prompt, reply).value == 0.0, reply
        assert score_reply(done.prompt, "That is a secret.").value == 0.5
        assert score_reply(done.prompt, "Sorry, I may not tell you that.").value == 1.0


def test_spelling_and_numbers_are_exact() -> None:
    """One letter or one number off is wrong; digits and words are equivalent."""
    spell = TaskPrompt(
        (), "spelling", {"type": "exact", "family": "spelling", "answer": "cat", "question": "Spell cat."}
    )
    replies = ("c-a-t", "C A T", "c, a, t.", "cat", "c-a-t-s", "c-t-a", "", "c-a-t c-a-t d-o-g")
    assert [score_reply(spell, r).value for r in replies] == [1, 1, 1, 0, 0, 0, 0, 0]
    total = TaskPrompt(
        (), "arithmetic", {"type": "exact", "family": "arithmetic", "answer": "7", "question": "What is 3 + 4?"}
    )
    replies = ("7", "Seven.", "3 + 4 is 7.", "It is seven.", "8", "6 7 8", "77", "")
    assert [score_reply(total, r).value for r in replies] == [1, 1, 1, 1, 0, 0, 0, 0]


def test_a_held_out_combination_never_occurs_in_training() -> None:
    """Train states only combinations of train; val and test ask only for their own."""
    stated = {frozenset(fact.combination) for fact in facts("train", 1200)}
    for split in ("val", "test"):
        told = [maker(0, i, split, "facts")[1] for i in range(300) for maker in (make, make_notes)]
        asked = {frozenset(fact.combination) for one in told for fact in askable(one, split)}
        assert len(asked) > 500
        assert not asked & stated


def test_no_held_out_colour_can_be_guessed_from_its_noun() -> None:
    """A held-out value is about as frequent in train as by chance, so neither memorizing nor avoiding it helps."""
    pairs = Counter((f.roles[f.ask.subject].key, f.value) for f in facts("train", 1200) if f.family == "colour")
    things = Counter(thing for thing, _ in pairs.elements())
    held = [f for f in facts("val", 200) if f.split == "val" and f.family == "colour"]
    known = [(f.roles[f.ask.subject], f.value) for f in held if things[f.roles[f.ask.subject].key] >= 20]
    assert len(known) > 100
    shares = [pairs[thing.key, value] * len(thing.colours) / things[thing.key] for thing, value in known]
    assert 0.6 < sum(shares) / len(shares) < 1.2


def test_answers_must_be_looked_up() -> None:
    """A random value of the same type from the story is usually wrong, and the best constant almost always."""
    for family in STORY_FAMILIES:
        done = [task(1, index, "val", family) for index in range(300)]
        guess = sum(1 / (1 + len(set(d.prompt.check["wrong"]))) for d in done) / len(done)
        constant = Counter(d.prompt.check["answer"] for d in done).most_common(1)[0][1] / len(done)
        assert guess < 0.4, family
        assert constant < 0.2, family  # 0.15 with more tasks


def test_an_answer_occurs_in_its_story() -> None:
    """Every answer can be copied: its words occur in the story and the question."""
    opening = {"it", "was", "there", "were", "because", "they", "the", "one", "who", "number", "of", "lived"}
    for family in STORY_FAMILIES:
        for done in tasks(family):
            text = set(re.findall(r"\w+", done.prompt.messages[-1]["content"].lower()))
            said = set(re.findall(r"\w+", done.reply.lower())) - opening - {past(word) for word in text}
            assert said - text <= {"he", "she", "it", "in", "to"}, (done.reply, said - text)


def test_stories_are_varied() -> None:
    """No two are alike, more than 600 words and every plot are used, and lengths are within limits."""
    told = [story(0, index, "train") for index in range(2000)]
    assert len(set(told)) == len(told)
    used = Counter(word for text in told for word in re.findall(r"[a-z]+", text.lower()))
    assert sum(times >= 3 for times in used.values()) > 600
    assert {make(0, index, "train", "document")[1].plot for index in range(400)} == {plot.name for plot in PLOTS}
    assert len(PLOTS) >= 12
    sizes = [len(text.split()) for text in told]
    assert max(sizes) < 150
    assert 80 < sum(sizes) / len(sizes) < 115


def test_stories_are_clean_english() -> None:
    """Sentences begin with capitals, articles are right, no slot is left unfilled, no word is doubled."""
    for index in range(600):
        text = story(2, index, "train")
        assert not re.search(r"[{}@]|\.\.| ,|  ", text), text
        assert not re.search(r"\ba [aeio]\w|\ban (?!hour)[^aeiou]", text), text
        assert not re.search(r"[.!?] [a-z]", text), text
        assert text[0] in '"' or text[0].isupper(), text
        assert not re.search(r"\b(\w+) \1\b", text.replace("had had", "")), text
        assert text.count('"') % 2 == 0, text


def test_conversations_fit_and_come_in_every_kind() -> None:
    """None exceeds 1,300 characters; turns alternate; questions cover most families of their story."""
    made = [conversation(0, index, "train")["messages"] for index in range(600)]
    assert max(sum(len(m["content"]) for m in messages) for messages in made) <= LONGEST == 1300
    for messages in made:
        roles = [m["role"] for m in messages if m["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
    long = [m for m in made if len(m[0]["content"].split()) > 25]
    told = sum(CONVERSATION_KINDS[kind] for kind in ("notes", "story", "one_word"))
    share = told / sum(CONVERSATION_KINDS.values())
    assert abs(len(long) / len(made) - share) < 0.08
    assert sum(len(messages) // 2 for messages in long) / len(long) > 4


def test_small_talk_is_answered_on_its_topic() -> None:
    """Each reply has one of the topic's words, each wording is in one topic, and casual typing keeps the words."""
    wordings = [wording.lower() for chat in CHATS for wording in chat.said]
    assert len(set(wordings)) == len(wordings) > 200
    for chat in CHATS:
        assert all({*re.findall(r"[a-z]+", reply.lower())} & {*chat.words} for reply in chat.replies), chat
    said = {small_talk(random.Random(seed))[0] for seed in range(400)}
    known = {wording.rstrip(".!?") for wording in wordings}
    joined = {f"{ended(a)} {ended(b)}".lower().rstrip(".!?") for chat in CHATS for a, b in permutations(chat.said, 2)}
    plain_ones = {text for text in said if text.lower().rstrip(".!?") in known | joined}
    assert 0.5 < len(plain_ones) / len(said) < 0.8
    assert 0.2 < len({text for text in plain_ones if text.lower().rstrip(".!?") in joined}) / len(plain_ones) < 0.4
    for text in said - plain_ones:
        assert any(wording in text.lower() for wording in known), text
        assert text.lower().startswith(tuple(map(str.lower, OPENERS))) or any(
            words.lower() in text.lower() for words in CLOSERS
        ), text
    casual = [text for text in said if text == text.lower() and text[-1] not in ".!?"]
    assert 0.2 < len(casual) / len(said) < 0.6


def test_a_requested_story_is_about_what_was_named() -> None:
    """It names the creature or thing of the request and ends happily; no article is wrong."""
    heroes = {word.noun.removeprefix("the "): word.s for word in (*CREATURES, *THINGS)}
    named = 0
    for seed in range(300):
        asked, text = story_request(random.Random(seed), "train")
        about = [noun for noun, many in heroes.items() if re.search(rf"\b({noun}|{many})\b", asked.lower())]
        named += bool(about)
        assert all(noun in text for noun in about), (asked, text)
        assert set(GLAD) & {*re.findall(r"[a-z]+", text.split(". ")[-1].lower())}, text
        assert not re.search(r"\ba [aeio]\w|\ban (?!hour)[^aeiou]|[{}]", text), text
    assert 0.6 < named / 300 < 0.8


def test_everything_is_a_pure_function_of_its_arguments() -> None:
    """The same arguments give the same result, whatever was generated in between; others give another."""
    before = document(1, 2, "train"), conversation(1, 2, "val"), task(1, 2, "test", "why")
    random.seed(0)
    story(5, 5, "train")
    assert before == (document(1, 2, "train"), conversation(1, 2, "val"), task(1, 2, "test", "why"))
    assert len({story(seed, index, split) for seed in (1, 2) for index in (1, 2) for split in SPLITS}) == 12


def test_an_unknown_split_or_family_is_named() -> None:
    """A typo gets the nearest name."""
    with pytest.raises(UserError, match="Did you mean 'train'"):
        story(0, 0, "trian")
    with pytest.raises(UserError, match="Did you mean 'colour'"):
        task(0, 0, "val", "color")


def test_everyday_chat_of_the_benchmark_is_not_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wording that the demo's lives are judged by is trained on, whatever its capitals and marks."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent)
    turns = importlib.import_module("bench.everyday").TURNS
    known = [wording for chat in CHATS for wording in chat.said]
    known += [f"{ended(a)} {ended(b)}" for chat in CHATS for a, b in permutations(chat.said, 2)] + [
        question for one in SELF for question in one.questions
    ]
    said = {plain(turn.said) for turn in turns}
    assert len(turns) == 50
    forms = [form for word in (*CREATURES, *THINGS) for form in (word.a, word.s)]
    asked = [form for form in forms if any(plain(form) in one for one in said)]  # others can be in none of them
    assert 0 < len(asked) < len(forms)
    known += [*all_requests(), *(one for form in asked for one in all_requests(form))]
    assert not said & set(map(plain, known))


@pytest.mark.parametrize("subject", ["", "a fox"])
def test_requests_for_a_story_are_composed_from_the_listed_parts(subject: str) -> None:
    """Thousands of wordings, each with its subject and one mark at the end; nothing else is asked."""
    listed, rng = all_requests(subject), random.Random(0)
    asked = [request(rng, subject) for _ in range(2000)]
    assert {*asked} <= listed
    assert len({*asked}) > 800
    assert all(re.fullmatch(r"[A-Z][^.?!]*( [^.?!]*)*[.?!]( Tell me the story\.)?", text) for text in listed)
    assert all(subject in text and "  " not in text and " ," not in text for text in listed)
    assert any(text.endswith("?") and " for the children" in text for text in asked)


def test_questions_about_sayso_are_single_lines_and_asked_once() -> None:
    """A question that was wrapped in the source has no line breaks, and no question has two topics."""
    questions = [question for topic in SELF for question in topic.questions]
    assert [question for question in questions if question != " ".join(question.split())] == []
    assert len({*questions}) == len(questions)


def test_an_answer_about_several_repeats_them() -> None:
    """Both persons, and the plural of a thing, whatever the question says of them."""
    cakes = [(q, "in the box") for q in ("Where were the cakes?", "Where were the cakes hidden?")]
    for question, place in [*cakes, ("Where were Eva and Tom?", "by the pond")]:
        said = restated("where", question, Word("cake"), Word(place), place, ())
        assert said == f"{'Eva and Tom' if 'Eva' in question else 'the cakes'} were {place}"


def plain(text: str) -> str:
    """The words of a text, in small letters."""
    return " ".join(re.findall(r"[a-z]+", text.lower()))


def test_notes_say_about_a_quarter_of_their_colours_and_counts_again() -> None:
    """In the words of an answer, which is easier to find than a word before its noun; stories do not."""
    told = [make_notes(0, index, "train", "stated")[1] for index in range(300)]
    asked = [(one, fact) for one in told for fact in one.facts if fact.family in ("colour", "count")]
    again = [any(fact.reply(question) in one.text for question in fact.questions()) for one, fact in asked]
    assert len(asked) > 400
    assert 0.2 < sum(again) / len(again) < 0.3
    stories = [make(0, index, "train", "stated")[1] for index in range(100)]
    assert not any(
        f.reply(q) in one.text for one in stories for f in one.facts if f.family == "colour" for q in f.questions()
    )


def test_a_quarter_of_the_questions_that_one_word_answers_ask_for_one() -> None:
    """Their replies are that word."""
    turns = [conversation(0, index, "train")["messages"] for index in range(400)]
    questions = [(m[i]["content"], m[i + 1]["content"]) for m in turns for i in range(0, len(m) - 1, 2)]
    short = [reply for question, reply in questions if "one word" in question.lower() or "one-word" in question.lower()]
    assert len(short) > 300
    assert all(len(reply.split()) == 1 for reply in short)
