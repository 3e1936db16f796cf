"""Everyday chat: greetings, small talk and requests for stories, in many wordings, with replies on the same topic.

No task checks them: they make a small assistant answer what people say first. A wording may be typed in small letters
and without a full stop. `SmallTalk.words` are words of which a reply on the topic has at least one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from .piece import lines
from .requests import request
from .tales import FLOWN, LONGEST_TALE, STRAY, TALES, roles_for, tale
from .words import COLOURS, Word, article, plural

CASUAL = 0.35  # of the wordings are typed in small letters, without the mark at the end
OPENED, CLOSED = 0.25, 0.15  # shares of the wordings with a few words more before or after them
JOINED = 0.3  # of what is said in small talk is two wordings of one topic: "I am happy today. I won a prize!"
OPENERS = (
    "Hello! ",
    "Hi! ",
    "Hey Sayso, ",
    "Sayso, ",
    "So, ",
    "Well, ",
    "Oh, ",
    "By the way, ",
    "And now: ",
    "Dear Sayso, ",
)
CLOSERS = (", Sayso", ", my friend", ", dear Sayso", ", you know", " then")


@dataclass(frozen=True)
class SmallTalk:
    """One topic: what people say, replies to it, and words that show that a reply is on the topic."""

    said: tuple[str, ...]
    replies: tuple[str, ...]
    words: tuple[str, ...]


def _chat(said: str, replies: str, words: str) -> SmallTalk:
    wordings, answers = (tuple(map(str, lines(text))) for text in (said, replies))
    return SmallTalk(wordings, answers, tuple(words.split()))


CHATS = (
    _chat(
        """
        Hello!
        Hello
        Hi!
        Hi there!
        Hey!
        Hey there!
        Hello, Sayso!
        Hi, Sayso!
        Hello there!
        Good day!
        Greetings!
        Hello, friend!
        Hi again!
        Hey Sayso!
        Hiya!
        Hello hello!
        Well, hello!
        Hello, who is there?
        Hello, is anyone here?
        Hi, it is nice to see you.
        Hello again, nice to see you.
        Hi, I am new to this.
        Hey, this is my first time here.
        Hello, I just came in.
        Hi, anyone at home?
        """,
        """
        Hello! How can I help you?
        Hello! Shall I tell you a story?
        Hi! Nice to meet you.
        Hello! It is nice to talk to you.
        Hi there! What would you like to talk about?
        """,
        "hello hi hey",
    ),
    _chat(
        """
        Good morning!
        Good morning, Sayso.
        Morning!
        Good morning to you!
        A very good morning!
        Good morning, how did you sleep?
        Hello and good morning!
        I just woke up. Good morning!
        """,
        """
        Good morning! How can I help you?
        Good morning to you!
        Good morning! I hope that you slept well.
        """,
        "morning",
    ),
    _chat(
        """
        Good evening!
        Good evening, Sayso.
        Good afternoon!
        Good afternoon to you.
        Evening!
        Hello and good evening!
        """,
        """
        Good day! How can I help you?
        Hello! I hope that you had a good day.
        Good day to you! Shall I tell you a story?
        """,
        "day hello",
    ),
    _chat(
        """
        How are you?
        How are you today?
        Are you well?
        How do you feel?
        How are things?
        How is it going?
        How's it going?
        How do you do?
        How have you been?
        Hello, how are you?
        Hi, how are you doing?
        Hey, how are you?
        How are you doing today?
        What's up?
        How was your day?
        Is everything all right?
        How are you feeling today?
        Are you doing okay?
        Are you doing well?
        Doing well?
        Are you fine?
        Are you all right?
        How do you feel this evening?
        All good with you?
        How is your day so far?
        """,
        """
        I am well, thank you. How are you?
        Very well, thank you!
        I am fine, thank you. And you?
        I feel fine today, thank you.
        """,
        "well fine",
    ),
    _chat(
        """
        I am fine.
        I am well, thank you.
        I'm good, thanks.
        I'm fine, and you?
        I am happy today.
        I feel great!
        I had a good day.
        Today was a nice day.
        I am in a good mood.
        I'm so happy!
        I got good news today.
        It is my birthday!
        I won a prize today.
        I'm doing well.
        I feel very well.
        I feel so good today!
        I am so glad, I won the game!
        I am happy, for I got a good mark.
        I did it, I passed!
        Such good news!
        I had so much fun today.
        """,
        """
        I am glad to hear that!
        That is good to hear!
        How nice! That makes me glad.
        That is wonderful to hear!
        """,
        "glad good nice wonderful",
    ),
    _chat(
        """
        I am sad.
        I feel sad today.
        I'm not well.
        I had a bad day.
        I am so tired.
        I feel lonely.
        I'm a bit down.
        I lost my keys.
        My cat is ill.
        I am angry.
        I am afraid.
        I cannot sleep.
        Today was a bad day.
        I'm feeling blue.
        I miss my friend.
        I am not happy.
        Nobody likes me.
        I have a headache.
        I feel very lonely.
        I am so sad.
        I am tired and sad.
        I am ill today.
        I had a very hard day.
        School was bad today.
        It was a really bad day.
        """,
        """
        I am sorry to hear that. Shall I tell you a story?
        I am sorry. I hope that you feel better soon.
        That is hard. I hope that tomorrow is a better day.
        """,
        "sorry hard hope",
    ),
    _chat(
        """
        Thank you!
        Thanks.
        Thank you for your help.
        Thanks a lot!
        Many thanks!
        Thank you so much.
        That was very helpful.
        That helped me, thanks.
        Thank you, that was nice.
        Thanks for the story!
        You were a great help.
        Cheers!
        I thank you.
        Thank you very much!
        Thank you very, very much.
        Thanks, that was very good.
        That was a great story, thank you.
        You helped me a lot.
        """,
        """
        You are welcome.
        You are welcome. Ask me again any time.
        You are very welcome!
        """,
        "welcome",
    ),
    _chat(
        """
        Goodbye!
        Bye.
        Bye bye!
        See you tomorrow.
        See you later!
        Good night!
        Good night, Sayso.
        I have to go now.
        I must leave.
        Farewell!
        Take care!
        Until next time!
        I am going to bed.
        Talk to you later.
        Time for me to go.
        Good night and sweet dreams!
        Sleep well!
        I need to go now, goodbye.
        See you soon.
        See you on Monday!
        Bye for now!
        So long!
        """,
        """
        Goodbye! Come back soon.
        Goodbye, and take care.
        Goodbye! See you soon.
        """,
        "goodbye",
    ),
    _chat(
        """
        You are funny.
        You are nice.
        You are clever.
        I like you.
        I love you.
        Well done!
        Good job!
        That was good.
        You are great!
        You're so smart.
        You are my friend.
        I like talking to you.
        What a nice answer.
        You are sweet.
        Great answer!
        That was a lovely story.
        You are kind.
        You are very kind.
        You are very nice.
        You are so clever.
        I like you very much.
        I really like talking to you.
        I think that you are great.
        How clever you are!
        """,
        """
        Thank you! That is kind of you.
        Thank you, you are very kind.
        How kind of you! Thank you.
        """,
        "thank kind",
    ),
    _chat(
        """
        You are stupid.
        That is wrong.
        You made a mistake.
        I do not like you.
        You are not very clever.
        That was a bad answer.
        You are wrong.
        That is not right.
        I don't believe you.
        This makes no sense.
        You are boring.
        I think that this is wrong.
        No, that is not right.
        That was really wrong.
        What a bad answer.
        You are not right about that.
        """,
        """
        I am sorry. I am small, and I make mistakes.
        I am sorry about that. I can be wrong.
        Sorry! I am still learning.
        """,
        "sorry",
    ),
    _chat(
        """
        Tell me a joke.
        Do you know a joke?
        Make me laugh.
        Say something funny.
        Can you tell a joke?
        I want to hear a joke.
        Please tell me something funny.
        Do you know any jokes?
        Got any jokes?
        Please tell me a joke.
        I would like to hear a good joke.
        Tell me something really funny.
        """,
        """
        Why did the cat sit on the clock? Because it wanted to be on time!
        What has hands but cannot clap? A clock!
        Why was the broom late? Because it overslept!
        """,
        "why what",
    ),
    _chat(
        """
        I am bored.
        What shall we do?
        I have nothing to do.
        What should I do today?
        This is boring.
        Let us do something.
        What can we do together?
        I'm so bored today.
        Do you have an idea for me?
        I don't know what to do.
        I am so bored.
        I am bored, what now?
        What can I do now?
        I have no idea what to do.
        There is nothing to do here.
        What can I do when I am bored?
        """,
        """
        Shall I tell you a story?
        I could tell you a story. What should it be about?
        Let us make up a story! Who should be in it?
        """,
        "story",
    ),
    _chat(
        """
        What is your favorite color?
        Which color do you like?
        What color do you like best?
        Do you like red?
        Do you have a favorite color?
        What's your favourite colour?
        Which colour is your favourite?
        What colour do you like best?
        What color do you love?
        Which color do you like more, red or green?
        What is the nicest colour?
        Is there a colour that you like?
        """,
        """
        I like blue, but I cannot see it.
        I cannot see colours, but I like the word blue.
        Blue is a nice colour, I think.
        """,
        "blue",
    ),
    _chat(
        """
        Do you like animals?
        What is your favorite animal?
        Do you like cats?
        Do you like dogs?
        Which animal do you like?
        Do you have a pet?
        I have a dog.
        I have a cat.
        My dog is called Rex.
        Cats or dogs?
        Are cats better than dogs?
        I love animals.
        Do you like cats or horses?
        I have a little cat.
        We have a dog at home.
        Which do you like more, birds or fish?
        I have a pet at home.
        """,
        """
        I like stories about animals. Do you want to hear one?
        I have no pet, but I like stories about animals.
        Animals are nice. I can tell you a story about one.
        """,
        "animal animals",
    ),
    _chat(
        """
        How is the weather?
        It is raining.
        It is so hot today.
        What is the weather like?
        Is it sunny?
        It is snowing outside.
        Will it rain tomorrow?
        The sun is shining.
        It's cold outside.
        What a lovely day.
        Nice weather today!
        How is the weather at your place?
        What is the weather today?
        Is it warm today?
        """,
        """
        I cannot see the weather, for I am only a program.
        I do not know the weather, but I hope that it is nice.
        I cannot look outside. How is the weather with you?
        """,
        "weather",
    ),
    _chat(
        """
        Where do you live?
        Where are you?
        Where are you from?
        Do you have a house?
        Where do you come from?
        What country are you from?
        Where is your home?
        Where do you sleep?
        In which place do you live?
        Where is your house?
        So where do you live?
        """,
        """
        I live in a computer.
        My home is a computer.
        I am a program, and I live in a computer.
        """,
        "computer",
    ),
    _chat(
        """
        How old are you?
        When were you born?
        What is your age?
        Are you old?
        When is your birthday?
        Are you young?
        How old are you, really?
        How many years old are you?
        Tell me your age.
        When were you made?
        """,
        """
        I am very young. I was made a short time ago.
        I am new: I was made a short time ago.
        I have no birthday, but I am very young.
        """,
        "young new",
    ),
    _chat(
        """
        Who made you?
        Who built you?
        Who is your mother?
        Who are your parents?
        How were you made?
        Where did you learn to talk?
        Who taught you to speak?
        """,
        """
        I was made by a program that learned from stories.
        People made me, and I learned from stories.
        I learned to talk from many stories.
        """,
        "made learned",
    ),
    _chat(
        """
        My name is Tom.
        My name is Anna.
        I am Mia.
        I'm Ben.
        Call me Sam.
        I am called Lily.
        You can call me Max.
        My friends call me Rose.
        Hello, I am Emma.
        Hi, my name is Jack.
        Hello, my name is Clara.
        I'm Oliver, and who are you?
        My name is Ella, nice to meet you.
        Hi, I'm called Paul.
        Good day, my name is Ruth.
        """,
        """
        It is nice to meet you!
        Nice to meet you! I am Sayso.
        Hello! I am Sayso, nice to meet you.
        """,
        "nice meet",
    ),
    _chat(
        """
        Can you help me?
        I need help.
        Help me, please.
        I have a question.
        Can I ask you something?
        May I ask a question?
        Would you help me with something?
        Could you do something for me?
        I need your help.
        I need some help with something.
        Can you help me, please?
        Please help me.
        """,
        """
        Of course! What would you like to know?
        Yes, please ask me.
        I will try to help. What is it?
        """,
        "course ask help",
    ),
    _chat(
        """
        Yes.
        Yes, please.
        Okay.
        OK, thanks.
        Sure.
        All right.
        Fine by me.
        Sounds good.
        Great!
        Cool!
        Yes please!
        """,
        """
        Good! What would you like to do?
        Good! Please tell me more.
        Very good! What should we talk about?
        """,
        "good",
    ),
    _chat(
        """
        No.
        No, thanks.
        Not now.
        Maybe later.
        No, thank you.
        I don't think so.
        Nope.
        """,
        """
        That is all right. Tell me when you need me.
        All right! Ask me again any time.
        All right, perhaps later.
        """,
        "right",
    ),
    _chat(
        """
        Are you happy?
        Do you have feelings?
        Do you get sad?
        Are you tired?
        Do you sleep?
        Do you dream?
        Are you lonely?
        Do you get bored?
        Can you feel pain?
        """,
        """
        I have no feelings, for I am a language model.
        I am a language model, so I do not feel or sleep.
        No, I do not feel as people do. I am a language model.
        """,
        "feel feelings model",
    ),
    _chat(
        """
        Do you like me?
        Are you my friend?
        Can we be friends?
        Do you want to be my friend?
        Will you be my friend?
        Do you have friends?
        Let's be friends.
        """,
        """
        Yes, let us be friends!
        I would like to be your friend.
        Of course! We can be friends.
        """,
        "friend friends",
    ),
)

_CREATURES = """
    dragon robot mouse rabbit bear wolf lion tiger elephant monkey horse pony donkey pig sheep cow duck hen frog turtle
    snail bee butterfly spider whale dolphin shark penguin owl parrot kitten puppy hamster squirrel deer fox cat dog
    bird dinosaur unicorn giraffe zebra camel crocodile snake lizard goat goose swan eagle hedgehog mole beaver otter
    seal crab kangaroo panda ghost monster
    """
_THINGS = "balloon ball doll boat car train drum hat scarf umbrella lamp book basket bell flag whistle rocket castle"


def _hero(name: str) -> Word:
    return Word(f"the {name}", a=article(name), s=plural(name))


CREATURES = tuple(map(_hero, _CREATURES.split()))
THINGS = tuple(Word(name) for name in _THINGS.split())
NAMED = 0.7  # of the requests say what the story is to be about ...
DESCRIBED = 0.25  # ... and of these, what it looks like
NATURES = ("little", "big", "old", "young", "brave", "lost", "hungry", "clever", "white", "black", "brown", "grey")


def as_typed(rng: random.Random, text: str) -> str:
    """The text as people may type it."""
    return text.lower().rstrip(".!?") if rng.random() < CASUAL else text


def dressed(rng: random.Random, text: str) -> str:
    """The text with a few words before or after it that change nothing about what it says."""
    if rng.random() < CLOSED:
        body = text.rstrip(".!?")
        text = body + rng.choice(CLOSERS) + text[len(body) :]
    if rng.random() < OPENED:
        opener = rng.choice(OPENERS)
        starts_low = opener.endswith(", ") and not text.startswith(("I ", "I'"))
        text = opener + (text[:1].lower() + text[1:] if starts_low else text)
    return text


def ended(text: str) -> str:
    """The text with a mark at its end."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def small_talk(rng: random.Random) -> tuple[str, str]:
    """Something that people say in a chat, and a reply."""
    chat = rng.choice(CHATS)
    said = " ".join(map(ended, rng.sample(chat.said, 2 if rng.random() < JOINED else 1)))
    return as_typed(rng, dressed(rng, said)), rng.choice(chat.replies)


def story_request(rng: random.Random, split: str) -> tuple[str, str]:
    """A request for a story in everyday words, and the story."""
    roles = roles_for(rng, split)
    size = rng.randint(3, LONGEST_TALE)
    if rng.random() < NAMED:
        described = rng.random() < DESCRIBED
        if rng.random() < 0.5:
            kind, hero = STRAY, rng.choice(CREATURES)
            hero = _hero(f"{rng.choice(NATURES)} {hero.noun.removeprefix('the ')}") if described else hero
        else:
            kind, hero = FLOWN, rng.choice(THINGS)
            hero = Word(f"{rng.choice(COLOURS)} {hero.noun}") if described else hero
        asked = request(rng, rng.choice((hero.a, hero.a, hero.s)))
        parts = tale(rng, kind, {**roles, kind.topic: hero}, size)
    else:
        asked, parts = request(rng), tale(rng, rng.choice(TALES), roles, size)
    return as_typed(rng, dressed(rng, asked)), " ".join(parts)
