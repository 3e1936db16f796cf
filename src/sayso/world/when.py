"""Times at which a story happens, which fit any plot."""

from .piece import lines

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
    shortly before lunch
    late in autumn
    one day after school
    on the first day of June
    a week ago
    in the middle of the holidays
    on Thursday
    one warm afternoon
    one Wednesday
    on a foggy morning
    """)
