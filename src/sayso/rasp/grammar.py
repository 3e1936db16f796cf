"""The grammar of the RASP text language: takes a program's text, returns its syntax tree, or raises with the place.

The grammar is that of the published language (Weiss, Goldberg and Yahav, 2021), whose operators bind differently from
Python's in three ways: `not`, `-` and `+` before an operand bind tighter than every other operator, `and` and `or`
equally tight, and `in` loosest; `a if b else c if d else e` is `(a if b else c) if d else e`.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

from sayso.base.errors import require
from sayso.rasp.errors import Place, ProgramError

if TYPE_CHECKING:
    from lark import Lark, Tree

GRAMMAR = r"""
start: statement*
?statement: expression ";"                                            -> evaluate
    | names "=" several ";"                                           -> assign
    | "load" STRING ";"                                               -> load
    | "draw" "(" expression ["," expression] ")" ";"                  -> draw
    | "def" NAME "(" [names] ")" "{" body "return" several ";" "}"    -> function
    | "for" names "in" expression "{" body "}"                        -> loop
body: statement*
names: NAME ("," NAME)*
several: expression ("," expression)*

?expression: choice | expression "in" choice -> contained
?choice: logic | choice "if" expression "else" logic -> choose
?logic: comparison | logic LOGIC comparison -> binary
?comparison: sum | comparison _relation sum -> binary
?sum: remainder | sum SIGN remainder -> binary
?remainder: product | remainder PERCENT product -> binary
?product: power | product TIMES power -> binary
?power: prefixed | power CARET prefixed -> binary
?prefixed: operand | (NOT | SIGN) prefixed -> unary
?operand: "(" expression ")"
    | operand "[" expression "]"                                      -> index
    | operand "(" [several] ")"                                       -> call
    | "select" "(" expression "," expression "," (RELATION | UNEQUAL) ")" -> select
    | NAME                                                            -> name
    | FLOAT                                                           -> float
    | INT                                                             -> int
    | STRING                                                          -> string
    | "[" [several] "]"                                               -> list
    | "{" [pair ("," pair)*] "}"                                      -> dict
    | "[" expression "for" names "in" expression "]"                  -> list_loop
    | "{" pair "for" names "in" expression "}"                        -> dict_loop
pair: expression ":" expression
_relation: RELATION | UNEQUAL

LOGIC: "and" | "or"
NOT: "not"
RELATION: "==" | "<=" | ">=" | "<" | ">"
UNEQUAL: "!="
SIGN: "+" | "-"
PERCENT: "%"
TIMES: "*" | "/"
CARET: "^"
FLOAT: /[0-9]+\.[0-9]+/
INT: /[0-9]+/
STRING: /"[^"\r\n]*"/
NAME: /[a-zA-Z_][a-zA-Z_0-9]*/
COMMENT: /#[^\r\n]*/
%ignore COMMENT
%ignore /[ \t\r\n]+/
"""
WORDS = {
    "SEMICOLON": "';'", "COMMA": "','", "LPAR": "'('", "RPAR": "')'", "LSQB": "'['", "RSQB": "']'", "LBRACE": "'{'",
    "RBRACE": "'}'", "EQUAL": "'='", "COLON": "':'", "NAME": "a name", "INT": "a number", "FLOAT": "a number",
    "STRING": "a string", "RELATION": "a comparison", "UNEQUAL": "a comparison", "SIGN": "'+' or '-'",
    "TIMES": "'*' or '/'", "PERCENT": "'%'", "CARET": "'^'", "LOGIC": "'and' or 'or'",
}  # fmt: skip
"""Name of a terminal -> how a message calls it; others are keywords."""
OPERAND = {"NAME", "INT", "FLOAT", "STRING", "LPAR", "LSQB"}


class UnfinishedError(ProgramError):
    """A text that ends within a statement; more lines may complete it."""


def parse(text: str, source: str = "input", before: int = 0) -> "Tree[Any]":
    """Return the syntax tree of a program, whose lines are counted from `before` + 1.

    Raises `UnfinishedError` if the text ends within a statement, `ProgramError` for what the grammar does not have.
    """
    lark = require("lark", "rasp")
    try:
        return _parser().parse("\n" * before + text)
    except lark.exceptions.UnexpectedCharacters as error:
        place = place_of(text, source, before, error.line, error.column)
        raise ProgramError(f"The character '{error.char}' does not belong to the language.", place) from None
    except lark.exceptions.UnexpectedToken as error:
        wanted = _wanted(error.accepts or error.expected)
        if error.token.type == "$END":
            lines = text.rstrip().split("\n")
            place = place_of(text, source, before, before + len(lines), len(lines[-1]) + 1)
            raise UnfinishedError(f"The statement is not finished; {wanted} is missing.", place) from None
        place = place_of(text, source, before, error.line, error.column)
        raise ProgramError(f"'{error.token}' cannot stand here; expected {wanted}.", place) from None


def place_of(text: str, source: str, before: int, line: int, column: int) -> Place:
    """Return a place in a text whose first line has the number `before` + 1."""
    lines = text.split("\n")
    return Place(source, line, column, lines[min(line - before, len(lines)) - 1].rstrip("\r"))


@cache
def _parser() -> "Lark":
    lark: Any = require("lark", "rasp")
    built: Lark = lark.Lark(GRAMMAR, parser="lalr", propagate_positions=True, maybe_placeholders=True)
    return built


def _wanted(terminals: "set[str]") -> str:
    """Return what the grammar allows at a place, in words."""
    left = set(terminals) - {"$END"}
    words = ["an expression"] if left >= OPERAND else []
    if words:
        left -= {*OPERAND, "SIGN", "NOT", "SELECT", "LBRACE"}
    if "SEMICOLON" in left:  # after a whole expression, operators could follow as well
        return "';'"
    if left & {"RPAR", "RSQB", "RBRACE", "LBRACE"}:
        left -= {"IN"}
    words += sorted({WORDS.get(name, f"'{name.lower()}'") for name in left})
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
