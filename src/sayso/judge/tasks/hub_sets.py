"""The tasks whose items the Hugging Face hub has: which data set, and how its rows become rows of the task's file.

A row of a data set becomes rows in the words of the public files (see `item.item_of`), so that an item is the same from
either. Tasks that are not here have no data set in their words: those of BIG-bench, AGIEval and Jeopardy.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
Rows = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class HubSet:
    """Where a task's items are on the hub."""

    name: str
    """`owner/name/config`, see `text.hub`."""
    split: str
    rows: Callable[[Row], Rows]
    """A row of the data set to rows of the task's file."""
    baseline: float | None = None
    """Score of a guess, if the data set has another number of options than the file."""


def _as_it_is(row: Row) -> Rows:
    yield dict(row)


def _arc(row: Row) -> Rows:
    options = row["choices"]
    gold = list(options["label"]).index(str(row["answerKey"]).strip())
    yield {"query": f"Question: {row['question']}", "choices": options["text"], "gold": gold}


def _openbook(row: Row) -> Rows:
    options = row["choices"]
    gold = list(options["label"]).index(str(row["answerKey"]).strip())
    yield {"query": row["question_stem"], "choices": options["text"], "gold": gold}


def _commonsense(row: Row) -> Rows:
    labels, texts = list(row["choices"]["label"]), row["choices"]["text"]
    listed = "\n".join(f"{label}. {text}" for label, text in zip(labels, texts, strict=True))
    query = f"Question: {row['question']}\nChoices:\n{listed}\nAnswer:"
    yield {"query": query, "choices": labels, "gold": labels.index(row["answerKey"])}


def _copa(row: Row) -> Rows:
    word = {"cause": "because", "effect": "therefore"}[row["question"]]
    choices = [text[0].lower() + text[1:] for text in (row["choice1"], row["choice2"])]
    yield {"query": f"{row['premise'].strip().rstrip('.')}, {word}", "choices": choices, "gold": row["label"]}


def _piqa(row: Row) -> Rows:
    yield {"query": f"Question: {row['goal']}\n", "choices": [row["sol1"], row["sol2"]], "gold": row["label"]}


def _boolq(row: Row) -> Rows:
    query = f"Passage: {row['passage']}\nQuestion: {row['question']}?"
    yield {"query": query, "choices": ["no", "yes"], "gold": int(row["answer"])}


def _hellaswag(row: Row) -> Rows:
    query = _without_tags(f"{row['activity_label']}: {row['ctx']}")
    yield {"query": query, "choices": [_without_tags(one) for one in row["endings"]], "gold": int(row["label"])}


def _without_tags(text: str) -> str:
    """Return HellaSwag's text without the marks of WikiHow's titles and steps, as in the public text file."""
    text = text.replace(" [title]", ". ")
    for tag in ("[header]", "[title]", "[step]", "[substeps]"):
        text = text.replace(tag, "")
    return text.replace("  ", " ").strip()


def _lambada(row: Row) -> Rows:
    context, _, word = row["text"].rpartition(" ")
    yield {"context": context, "continuation": word}


def _winogrande(row: Row) -> Rows:
    before, _, after = row["sentence"].partition("_")
    options = [before + row["option1"], before + row["option2"]]
    yield {"context_options": options, "continuation": after.strip(), "gold": int(row["answer"]) - 1}


def _winograd(row: Row) -> Rows:
    text, place, pronoun = row["text"], row["pronoun_loc"], row["pronoun"]
    before, after = text[:place].replace("  ", " "), text[place + len(pronoun) :].replace("  ", " ")
    options = [before + _in_place(option, pronoun, before) for option in row["options"]]
    yield {"context_options": options, "continuation": after.strip(), "gold": row["label"]}


def _in_place(option: str, pronoun: str, before: str) -> str:
    """Return what a pronoun stands for, in its form: with a small article inside a sentence, and a possessive "'s"."""
    first, _, rest = option.partition(" ")
    if rest and first in ("A", "An", "The", "My", "His", "Her", "Their") and not before.rstrip().endswith((".", "!")):
        option = f"{first.lower()} {rest}"
    return f"{option}'s" if pronoun.lower() in ("my", "his", "her", "our", "their") else option


def _squad(row: Row) -> Rows:
    answers = list(dict.fromkeys(row["answers"]["text"]))
    if answers:
        prompt = f"Context: {row['context']}\nQuestion: {row['question']}\nAnswer:"
        passage = hashlib.sha256(row["context"].encode()).hexdigest()[:16]
        yield {"prompt": prompt, "answers": answers, "passage": f"{row['title']}:{passage}"}


def _coqa(row: Row) -> Rows:
    """Yield each question of a story, after the questions and answers before it."""
    others = [one["input_text"] for one in (row.get("additional_answers") or {}).values()]
    said = f"Story: {row['story']}"
    turns = zip(row["questions"]["input_text"], row["answers"]["input_text"], strict=True)
    for place, (asked, answer) in enumerate(turns):
        said += f"\nQuestion: {asked}\nAnswer:"
        answers = list(dict.fromkeys([answer, *(other[place] for other in others)]))
        yield {"prompt": said, "answers": answers, "passage": str(row["id"])}
        said += f" {answer}"


def _svamp(row: Row) -> Rows:
    yield {"context": f"{row['Body']} {row['Question']}", "answer": str(float(row["Answer"])).removesuffix(".0")}


def _trivia(row: Row) -> Rows:
    found = row["answer"]
    prompt = f"Question: {row['question']}\nAnswer:"
    yield {"context": prompt, "answer": found["value"], "aliases": list(found["aliases"])}


def _ifeval(row: Row) -> Rows:
    """Yield the row without the values that a table with a column for each fills with nothing."""
    values = [{name: value for name, value in one.items() if value is not None} for one in row["kwargs"]]
    yield {**row, "kwargs": values}


_PHENOMENA = """
adjunct_island anaphor_gender_agreement anaphor_number_agreement animate_subject_passive animate_subject_trans causative
complex_NP_island coordinate_structure_constraint_complex_left_branch
coordinate_structure_constraint_object_extraction determiner_noun_agreement_1 determiner_noun_agreement_2
determiner_noun_agreement_irregular_1 determiner_noun_agreement_irregular_2 determiner_noun_agreement_with_adj_2
determiner_noun_agreement_with_adj_irregular_1 determiner_noun_agreement_with_adj_irregular_2
determiner_noun_agreement_with_adjective_1 distractor_agreement_relational_noun distractor_agreement_relative_clause
drop_argument ellipsis_n_bar_1 ellipsis_n_bar_2 existential_there_object_raising existential_there_quantifiers_1
existential_there_quantifiers_2 existential_there_subject_raising expletive_it_object_raising inchoative intransitive
irregular_past_participle_adjectives irregular_past_participle_verbs irregular_plural_subject_verb_agreement_1
irregular_plural_subject_verb_agreement_2 left_branch_island_echo_question left_branch_island_simple_question
matrix_question_npi_licensor_present npi_present_1 npi_present_2 only_npi_licensor_present only_npi_scope passive_1
passive_2 principle_A_c_command principle_A_case_1 principle_A_case_2 principle_A_domain_1 principle_A_domain_2
principle_A_domain_3 principle_A_reconstruction regular_plural_subject_verb_agreement_1
regular_plural_subject_verb_agreement_2 sentential_negation_npi_licensor_present sentential_negation_npi_scope
sentential_subject_island superlative_quantifiers_1 superlative_quantifiers_2 tough_vs_raising_1 tough_vs_raising_2
transitive wh_island wh_questions_object_gap wh_questions_subject_gap wh_questions_subject_gap_long_distance
wh_vs_that_no_gap wh_vs_that_no_gap_long_distance wh_vs_that_with_gap wh_vs_that_with_gap_long_distance
"""
PHENOMENA = tuple(_PHENOMENA.split())
"""The 67 kinds of minimal pairs of BLiMP, each a config of its data set."""

SETS: Mapping[str, HubSet] = {
    "arc_easy.jsonl": HubSet("allenai/ai2_arc/ARC-Easy", "test", _arc),
    "arc_challenge.jsonl": HubSet("allenai/ai2_arc/ARC-Challenge", "test", _arc),
    "boolq.jsonl": HubSet("google/boolq", "validation", _boolq),
    "commonsense_qa.jsonl": HubSet("tau/commonsense_qa", "validation", _commonsense, baseline=0.2),
    "copa.jsonl": HubSet("aps/super_glue/copa", "validation", _copa),
    "coqa_sample.json": HubSet("EleutherAI/coqa", "validation", _coqa),
    "gsm8k_test.jsonl": HubSet("openai/gsm8k/main", "test", _as_it_is),
    "hellaswag_val_full.txt.bz2": HubSet("Rowan/hellaswag", "validation", _hellaswag),
    "human_eval.jsonl": HubSet("openai/openai_humaneval", "test", _as_it_is),
    "ifeval.jsonl": HubSet("google/IFEval", "train", _ifeval),
    "lambada_openai.jsonl": HubSet("EleutherAI/lambada_openai/default", "test", _lambada),
    "openbook_qa.jsonl": HubSet("allenai/openbookqa/main", "test", _openbook),
    "piqa.jsonl": HubSet("baber/piqa", "validation", _piqa),
    "squad_dev.json": HubSet("rajpurkar/squad", "validation", _squad),
    "svamp.jsonl": HubSet("ChilleD/SVAMP", "test", _svamp),
    "triviaqa_sm_sub.jsonl": HubSet("mandarjoshi/trivia_qa/rc.nocontext", "validation", _trivia),
    "winograd_wsc.jsonl": HubSet("lighteval/winograd_wsc/wsc273", "test", _winograd),
    "winogrande.jsonl": HubSet("allenai/winogrande/winogrande_xl", "validation", _winogrande),
    **{f"{name}.jsonl": HubSet(f"nyu-mll/blimp/{name}", "train", _as_it_is) for name in PHENOMENA},
}
"""By the name of the task's file."""
