"""What a program of the next-token dialect means: takes a stream and tokens, returns its integers, by definition."""

from collections.abc import Sequence

from sayso.rasp.machine.dialect import Field, Gated, Head, Lookup, NextToken, Position, Stream, Sum, Total


def next_tokens(program: NextToken, tokens: Sequence[str]) -> list[str]:
    """Return the token that follows each of the tokens; of equally near ones, the first of the vocabulary."""
    known = program.vocabulary.tokens
    found = Values(program, tokens)
    columns = {name: found.of(stream) for name, stream in program.fields.items()}

    def distance(token: str, place: int) -> int:
        return sum((known[token].get(name, 0) - column[place]) ** 2 for name, column in columns.items())

    return [min(known, key=lambda token: distance(token, place)) for place in range(len(tokens))]


class Values:
    """The integers of streams on tokens."""

    def __init__(self, program: NextToken, tokens: Sequence[str]) -> None:
        self.fields = [program.vocabulary.tokens[token] for token in tokens]
        self.known: dict[Stream, list[int]] = {}

    def of(self, x: Stream) -> list[int]:
        """Return the integer of a stream at each position."""
        if x not in self.known:
            self.known[x] = self._computed(x)
        return self.known[x]

    def _computed(self, x: Stream) -> list[int]:
        places = range(len(self.fields))
        match x:
            case Field(name):
                return [fields.get(name, 0) for fields in self.fields]
            case Position(squared):
                return [place * place if squared else place for place in places]
            case Sum(terms, constant):
                return [constant + sum(times * self.of(one)[place] for one, times in terms.items()) for place in places]
            case Gated(gate, value):
                return [max(flag, 0) * number for flag, number in zip(self.of(gate), self.of(value), strict=True)]
            case Total(values):
                return [sum(self.of(values)[: place + 1]) for place in places]
            case Lookup(head, value):
                return [self.of(value)[self._nearest(head, place)] for place in places]
        raise AssertionError(x)

    def _nearest(self, head: Head, place: int) -> int:
        keys, query = self.of(head.keys.key), self.of(head.query)[place]
        return max(range(place + 1), key=lambda one: (-((query - keys[one]) ** 2), keys[one], one))
