"""Pools of phrases by type: openings, actions and reasons, as templates over the roles of a piece.

The first role of the doer is always named in the phrase: actions and reasons are written for the role `a` and are
rewritten for another person by `phrases_for`. A phrase's template is its key in held-out combinations.
"""

from __future__ import annotations

from functools import lru_cache

from .words import Word


def lines(text: str) -> tuple[Word, ...]:
    return tuple(Word(line.strip()) for line in text.strip().splitlines())


WHEN = lines("""
one morning
one afternoon
one day in spring
on Monday
on Tuesday morning
on Friday afternoon
early one morning
after breakfast
one sunny day
last Saturday
one evening in May
on a cold day in March
one summer day
on a quiet Sunday
before lunch
late in autumn
one day after school
on the first day of June
yesterday
some time ago
""")

# What somebody did; the doer is @.
SEARCH = lines("""
emptied @his pockets
looked in every corner
asked the neighbours
moved all the chairs
lifted the carpet
went back along the road
called for help
lit a lantern
turned over the pillows
opened all the boxes
wrote a little notice
made a list of places
shook out the blankets
asked @his father
""")
READY = lines("""
packed some bread
put on warm socks
closed the windows
fed the chickens
filled a bottle with water
tied @his shoelaces
said goodbye to the cat
took a walking stick
combed @his hair
looked at the map
watered the flowers
locked the front door
wrote a short note
buttoned @his jacket
ate a bowl of porridge
""")
COOK = lines("""
washed @his hands
melted the butter
measured the flour
lit the oven
cracked the eggs
tied on an apron
stirred the milk
read the recipe
greased the pan
weighed the sugar
wiped the board
boiled some water
chopped the herbs
tasted the cream
""")
FIX = lines("""
cleaned the pieces
mixed the glue
sharpened a knife
drew a little plan
took out the old nails
cut a strip of leather
sanded the wood
found a longer screw
oiled the wheels
bent the wire
threaded a needle
laid out the tools
turned on the lamp
tightened the string
""")
TAME = lines("""
sat down in the grass
hummed a soft tune
held out a hand
put down some bread
took off @his noisy boots
waited without a word
spoke in a whisper
filled a dish with milk
knelt by the path
hid behind a bush
counted slowly to ten
made a bed of straw
rolled a ball across the ground
lay flat on the ground
""")
WORK = lines("""
swept the floor
fetched fresh water
pulled up the weeds
carried in the wood
dug a long row
raked the leaves
cleaned the cages
stacked the crates
mended the gate
brushed the pony
picked up the stones
washed the windows
piled up the straw
painted the door
""")
DAYOUT = lines("""
watched a puppet show
listened to the band
bought a glass of lemonade
greeted an old friend
stroked a sleepy donkey
tried on a funny mask
counted the coins
smelled the flowers
tasted some honey
looked at the paintings
watched a man juggle
rested on a bench
talked to a sailor
fed the pigeons
""")

# Reasons; the person is @.
SAD_LOST = lines("""
it was a present from @his grandmother
@he had only had it for a week
@he took it everywhere
@his father had made it
it could not be bought in any shop
@he had promised to take care of it
it was the last gift from an old friend
@he wanted to show it at school
@he had saved money for it all year
it had once belonged to @his mother
it reminded @him of the summer
@he had won it at the fair
""")
TIRED = lines("""
@he had been up all night
the road was long
@he had worked since dawn
the sun was hot
@he had slept badly
the bag was heavy
the baby had cried all night
@he had danced until midnight
there were so many steps
@he had not eaten
@he had run all the way
the path was full of mud
""")
AFRAID = lines("""
it had never met people before
a big dog had chased it
the thunder had been so loud
it was all alone
somebody had thrown a stone at it
it had lost its mother
it did not know the way home
the wind made strange sounds
it had once been caught in a trap
everything was new to it
a cart had nearly hit it
the children had shouted
""")
HURRY = lines("""
@his sister was waiting
the last train left at six
dark clouds were coming
supper was almost ready
@he wanted to be home before dark
the shop closed early
@he had forgotten the time
a guest was coming
the bell had already rung
@his mother had called
@he did not want to be late
the fire was going out
""")
WORRIED = lines("""
the sky had turned black
the river was rising
the roof had a hole
the wind grew stronger every minute
the old oak might fall
the animals were still outside
nobody answered the door
the boats had not come back
the lamp had gone out
the bridge looked weak
the water came through the door
the fence had fallen
""")
PROUD = lines("""
@he had never won anything before
@he had practised every day
nobody had believed in @him
@he had done it all alone
@his whole family was watching
@he had not given up
@he was the youngest of all
@his brother had clapped
it had been a hard day
@he had beaten @his own record
the mayor shook @his hand
@he had trained in the rain
""")
VISIT = lines("""
@he had a bad cold
@he could not walk far
it was @his birthday
@he felt lonely
@he had hurt @his foot
@he had just come home from a long trip
@he lived all alone
@he had sent a kind letter
@he told the best stories
@he needed help with the heavy work
@he had not been seen for weeks
@he had broken @his glasses
""")
HUNGRY = lines("""
@he had left @his lunch at home
a crow had stolen @his bread
@he had missed breakfast
@he had dropped @his sandwich in the mud
@he had given @his lunch to a poor man
@his bag was empty
the kitchen had been closed
@he had walked since sunrise
the dog had eaten @his lunch
@he had forgotten @his lunch box
@he had played all morning
there was no bread in the house
""")
CROSS = lines("""
@he had waited for an hour
@he needed it for work
somebody had left the gate open
it was not the first time
nobody had asked @him
the work could not go on
@he had paid a lot for it
the handle was dirty
@he had looked for it all day
@he had wanted to use it that morning
rain had made it rusty
@he could not finish the fence
""")
BROKE = lines("""
@he had stepped on it
it had fallen down the stairs
the puppy had chewed it
the baby had thrown it
a wheel had come off
it had been left out in the rain
@he had pulled too hard
the wood was old
a boy had kicked it
it had hit a stone
somebody had sat on it
the wind had blown it against a wall
""")
PARTY = lines("""
it was @his birthday
@he had passed a hard test
@he was going away to sea
@he had been ill all winter
@he had learned to swim
@he was turning a year older
@he had helped with the harvest
@he had been so brave
@he had lost a tooth
@he was starting school
@he had always been kind
@he had finished a big job
""")
TO_COOK = lines("""
guests were coming
@he wanted to make soup
the winter store was empty
@he had promised to bring supper
@he loved the smell
there was a feast that night
the cook was ill
@he wanted to sell them
@his family was hungry
they were ripe at last
the birds wanted them too
frost was on the way
""")
TO_COUNT = lines("""
@he liked quiet work
it was raining outside
@he wanted to be sure that none was missing
@he was planning a feast
@he had nothing else to do
they had to be sent away that night
@he meant to give them away
a friend had asked for them
@he was getting ready for winter
the old box had broken
it helped @him to think
@he wanted to learn to count
""")


@lru_cache(maxsize=None)
def phrases_for(pool: str, person: str) -> tuple[Word, ...]:
    """The phrases of a pool as templates for the role `person`, each with its general form as key."""
    return tuple(
        Word(str(p).replace("@his", "{%s.his}" % person).replace("@him", "{%s.him}" % person).replace("@he", "{%s.he}" % person), key=str(p))
        for p in PHRASES[pool]
    )


PHRASES: dict[str, tuple[Word, ...]] = {
    "search": SEARCH, "ready": READY, "cook": COOK, "fix": FIX, "tame": TAME, "work": WORK, "dayout": DAYOUT,
    "sadlost": SAD_LOST, "tired": TIRED, "afraid": AFRAID, "hurry": HURRY, "worried": WORRIED, "proud": PROUD, "visit": VISIT,
    "hungry": HUNGRY, "cross": CROSS, "broke": BROKE, "party": PARTY, "tocook": TO_COOK, "tocount": TO_COUNT,
}  # fmt: skip
ACTIONS = frozenset({"search", "ready", "cook", "fix", "tame", "work", "dayout"})
REASONS = frozenset(PHRASES) - ACTIONS
