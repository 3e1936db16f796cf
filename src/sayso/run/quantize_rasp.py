"""Quantize a compiled RASP program: it is saved only if every value that is compared stays right.

A compiled program is exact or useless, so what counts is its margin and not a perplexity.
"""

import shutil
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.log import say
from sayso.rasp.compile.margin import Margin, margin_of
from sayso.rasp.compile.store import FACTS, PROGRAM, load
from sayso.rasp.expression import SOp
from sayso.rasp.session import Session
from sayso.rasp.show import counted, sequence_text
from sayso.run.rasp import program_of
from sayso.run.rasp_weights import TAUGHT
from sayso.text.rows import ReadsRows
from sayso.weights.folder import save_model
from sayso.weights.lineage import read_lineage
from sayso.weights.quantize.model import bits_of
from sayso.weights.quantize.quantize import QuantizeMethod, quantize_model
from sayso.weights.quantize.scheme import Scheme


def is_program(folder: Path) -> bool:
    """Whether a model folder holds a compiled program; one that was taught to a model is an ordinary model."""
    return (folder / FACTS).is_file() and read_lineage(folder).get("stage") != TAUGHT


def check_used(options: ReadsRows) -> None:
    """Raise `UserError` for options of `sayso quantize` of which a compiled program makes no use."""
    defaults = {one.name: one.default for one in fields(options)}
    for name in ("text", "tokens", "n", "device"):
        if getattr(options, name) not in (defaults[name], "cpu"):
            raise UserError(f"A compiled program is compared with the interpreter on the CPU alone; omit --{name}.")


def quantize_program(
    parent: Path, folder: Path, lineage: Mapping[str, Any], scheme: Scheme, method: QuantizeMethod
) -> dict[str, Any]:
    """Write a compiled program with quantized weights, and return its margin.

    Raises `UserError` if a value would be wrong, if there is none to compare, and for a method that needs text.
    """
    if method.calibrates(scheme):
        raise UserError("A compiled program is quantized without text: use --method nearest, or omit --inputs.")
    loaded = load(parent)
    compiled = loaded.compiled
    if bits := bits_of(compiled.model):
        raise UserError(f"'{parent}' is quantized to {bits} bits already; use the program it was quantized from.")
    session = Session(causal=compiled.causal)
    _, program = program_of(session, session.text(loaded.text, str(parent / PROGRAM)), None, f"'{parent / PROGRAM}'")
    assert isinstance(program, SOp)
    found: list[Margin] = []

    def check(part: Path) -> None:
        for name in (FACTS, PROGRAM):
            shutil.copyfile(parent / name, part / name)
        found.append(margin_of(load(part).compiled, program))
        if not found[0].inputs:
            raise UserError(f"No input of '{parent}' that was tried has values, so that rounding cannot be checked.")
        if not found[0].smallest > 0:
            raise UserError(_refusal(found[0], scheme, parent))

    numbers = quantize_model(compiled.model, scheme, method)
    same = {key: value for key, value in read_lineage(parent).items() if key in ("attention", "length", "alphabet")}
    save_model(compiled.model, compiled.vocabulary.tokenizer, folder, {**lineage, **same}, numbers, extra=check)
    margin = found[0]
    inputs = f"all {counted(margin.inputs, 'input')}" if margin.all else counted(margin.inputs, "drawn input")
    say(f"The margin is {margin.smallest:.2f} of 1, on {inputs}.")
    return {"margin": margin.smallest, "inputs": margin.inputs, "all": margin.all}


def _refusal(margin: Margin, scheme: Scheme, parent: Path) -> str:
    ends = " Or use --head 0, which leaves the embedding as it is." if scheme.ends8 else ""
    return (
        f"'{parent}' has no margin for {scheme.grid.bits} bits: for {sequence_text(margin.sequence)} a value would be "
        f"wrong (margin {margin.smallest:.2f}, of 1 before). Compile it for a smaller --length.{ends}"
    )
