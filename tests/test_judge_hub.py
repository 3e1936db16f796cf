"""Tasks whose items are on the hub: the same items as from the public files, kept with their revision."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from sayso.base.errors import UserError
from sayso.base.files import sha256
from sayso.base.life import Life
from sayso.cli.main import run
from sayso.feedback.evaluations import KeptAnswers
from sayso.feedback.store import Store
from sayso.judge.tasks.asked import asked_suite
from sayso.judge.tasks.hub import hub_items
from sayso.judge.tasks.hub_sets import PHENOMENA, SETS
from sayso.judge.tasks.item import item_of
from sayso.judge.tasks.read import read_items
from sayso.judge.tasks.suites import BLIMP, SUITES, suite
from sayso.run.suite import fingerprint_of
from sayso.text import hub

Row = dict[str, Any]
OPTIONS = {"text": ["red", "blue", "green", "grey"], "label": ["A", "B", "C", "D"]}
TURNS = {"input_text": ["Who?", "Where?"], "turn_id": [1, 2]}
SAID = [{"input_text": "Ann", "turn_id": 1}, {"input_text": "At home", "turn_id": 2}]
FIVE = {"label": list("ABCDE"), "text": ["bank", "shop", "store", "mall", "york"]}
SOLVED = {"task_id": "HumanEval/0", "prompt": "def f():\n", "test": "def check(f): pass\n", "entry_point": "f"}
SAME: dict[str, tuple[Row, str]] = {
    "arc_easy.jsonl": (
        {"id": "1", "question": "What colour is grass?", "choices": OPTIONS, "answerKey": "C"},
        '{"query": "Question: What colour is grass?", "choices": ["red", "blue", "green", "grey"], "gold": 2}',
    ),
    "arc_challenge.jsonl": (
        {
            "id": "2",
            "question": "Which?",
            "choices": {"text": ["a1", "b1", "c1"], "label": ["1", "2", "3"]},
            "answerKey": "2",
        },
        '{"query": "Question: Which?", "choices": ["a1", "b1", "c1"], "gold": 1}',
    ),
    "boolq.jsonl": (
        {"question": "is it a ride", "answer": False, "passage": "It stands still."},
        '{"query": "Passage: It stands still.\\nQuestion: is it a ride?", "choices": ["no", "yes"], "gold": 0}',
    ),
    "commonsense_qa.jsonl": (
        {"id": "3", "question": "Where is money?", "choices": FIVE, "answerKey": "D"},
        '{"query": "Question: Where is money?\\nChoices:\\nA. bank\\nB. shop\\nC. store\\nD. mall\\nE. york\\nAnswer:",'
        ' "choices": ["A", "B", "C", "D", "E"], "gold": 3}',
    ),
    "copa.jsonl": (
        {
            "premise": "The man turned on the tap.",
            "choice1": "The bath filled.",
            "choice2": "I saw water.",
            "question": "effect",
            "idx": 0,
            "label": 1,
        },
        '{"query": "The man turned on the tap, therefore", "choices": ["the bath filled.", "i saw water."], "gold": 1}',
    ),
    "gsm8k_test.jsonl": (
        {"question": "What is 1 + 1?", "answer": "1 + 1 = 2\n#### 2"},
        '{"question": "What is 1 + 1?", "answer": "1 + 1 = 2\\n#### 2"}',
    ),
    "human_eval.jsonl": ({**SOLVED, "canonical_solution": "    return 1\n"}, json.dumps(SOLVED)),
    "ifeval.jsonl": (
        {
            "key": 1,
            "prompt": "No commas.",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": [{"num_words": None}],
        },
        '{"key": 1, "prompt": "No commas.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}',
    ),
    "lambada_openai.jsonl": (
        {"text": "She took the  stone and\n\nsaw the signs"},
        '{"context": "She took the  stone and\\n\\nsaw the", "continuation": "signs"}',
    ),
    "openbook_qa.jsonl": (
        {"id": "4", "question_stem": "Fog is near", "choices": OPTIONS, "answerKey": "A"},
        '{"query": "Fog is near", "choices": ["red", "blue", "green", "grey"], "gold": 0}',
    ),
    "piqa.jsonl": (
        {"goal": "Make tea.", "sol1": "Boil water.", "sol2": "Boil sand.", "label": 0},
        '{"query": "Question: Make tea.\\n", "choices": ["Boil water.", "Boil sand."], "gold": 0}',
    ),
    "svamp.jsonl": (
        {"ID": "chal-1", "Body": "Paul got 9 crayons.", "Question": "How many?", "Answer": "9.0"},
        '{"context": "Paul got 9 crayons. How many?", "answer": "9"}',
    ),
    "triviaqa_sm_sub.jsonl": (
        {"question": "What is a Garron?", "answer": {"value": "Horse", "aliases": ["Horse", "Pony"]}},
        '{"context": "Question: What is a Garron?\\nAnswer:", "answer": "Horse", "aliases": ["Horse", "Pony"]}',
    ),
    "winograd_wsc.jsonl": (
        {
            "text": "The men refused a permit because they feared violence.",
            "pronoun": "they",
            "pronoun_loc": 33,
            "options": ["The men", "The women"],
            "label": 1,
        },
        '{"context_options": ["The men refused a permit because the men", "The men refused a permit because the women"'
        '], "continuation": "feared violence.", "gold": 1}',
    ),
    "winogrande.jsonl": (
        {
            "sentence": "Sarah was better than Maria so _ got the cases.",
            "option1": "Sarah",
            "option2": "Maria",
            "answer": "2",
        },
        '{"context_options": ["Sarah was better than Maria so Sarah", "Sarah was better than Maria so Maria"], '
        '"continuation": "got the cases.", "gold": 1}',
    ),
    "transitive.jsonl": (
        {"sentence_good": "He is.", "sentence_bad": "He are.", "UID": "transitive"},
        '{"sentence_good": "He is.", "sentence_bad": "He are."}',
    ),
    "hellaswag_val_full.txt.bz2": (
        {
            "activity_label": "Family Life",
            "ctx": "[header] How to bake [title] Heat it. [step] Wait.",
            "endings": ["[substeps] Eat it.", "Then  eat.", "c", "d"],
            "label": "3",
        },
        "Family Life: How to bake. Heat it. Wait.\n3\nEat it.\nThen eat.\nc\nd\n",
    ),
    "squad_dev.json": (
        {
            "id": "q1",
            "title": "Bowl",
            "context": "It was won by Denver.",
            "question": "Who won?",
            "answers": {"text": ["Denver", "Denver", "by Denver"], "answer_start": [1, 1, 2]},
        },
        json.dumps(
            {
                "data": [
                    {
                        "title": "Bowl",
                        "paragraphs": [
                            {
                                "context": "It was won by Denver.",
                                "qas": [
                                    {
                                        "id": "q1",
                                        "question": "Who won?",
                                        "answers": [{"text": text} for text in ("Denver", "Denver", "by Denver")],
                                    }
                                ],
                            }
                        ],
                    }
                ]
            }
        ),
    ),
    "coqa_sample.json": (
        {
            "id": "s1",
            "story": "Ann is at home.",
            "questions": TURNS,
            "answers": {"input_text": ["Ann", "At home"]},
            "additional_answers": {"0": {"input_text": ["Ann", "home"]}},
        },
        json.dumps(
            {
                "data": [
                    {
                        "id": "s1",
                        "story": "Ann is at home.",
                        "questions": [{"input_text": "Who?", "turn_id": 1}, {"input_text": "Where?", "turn_id": 2}],
                        "answers": SAID,
                        "additional_answers": {"0": [{"input_text": "Ann"}, {"input_text": "home"}]},
                    }
                ]
            }
        ),
    ),
}
"""By file: a row with the columns of the hub, and the content of the public file with the same item."""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[fsspec.AbstractFileSystem]:
    """An in-memory hub, emptied afterwards, and a cache of its own."""
    monkeypatch.setattr(hub, "ROOT", "memory://datasets/")
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path / "cache"))
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def put(system: fsspec.AbstractFileSystem, file: str, rows: list[Row], revision: str = "") -> None:
    """Create the data set of a task in Parquet, as the hub's own conversion names its parts."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    owner, name, *config = SETS[file].name.split("/")
    at = f"/datasets/{owner}/{name}{f'@{revision}' if revision else ''}/{'/'.join(config or ['data'])}"
    system.makedirs(at, exist_ok=True)
    with system.open(f"{at}/{SETS[file].split}-00000-of-00001.parquet", "wb") as target:
        parquet.write_table(arrow.Table.from_pylist(rows), target)


@pytest.mark.parametrize("file", SAME)
def test_an_item_of_the_hub_is_the_item_of_the_public_file(
    file: str, store: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    """In all its words, its options and the right one; and questions on one passage stay together."""
    row, content = SAME[file]
    put(store, file, [row])
    own = tmp_path / file.removesuffix(".bz2")
    own.write_text(content)
    found, expected = read_items(hub_items(file).path), read_items(own)
    assert [one.item for one in found] == [one.item for one in expected]
    assert [bool(one.cluster) for one in found] == [bool(one.cluster) for one in expected]


def test_a_task_is_asked_at_one_revision() -> None:
    with pytest.raises(UserError, match="'arc_easy' is named at two revisions, 'old' and 'new'"):
        asked_suite("small", ("arc_easy@old", "piqa", "arc_easy@new"), None, 0)


def test_an_answer_is_a_number_to_its_last_digit() -> None:
    rows = [{"Body": "B.", "Question": "Q?", "Answer": answer} for answer in ("1234567.0", "0.125", "-3")]
    assert [next(SETS["svamp.jsonl"].rows(row))["answer"] for row in rows] == ["1234567", "0.125", "-3"]


def test_every_data_set_is_tested_and_belongs_to_a_task() -> None:
    """Each set's words are compared with a file's, those of BLiMP by one; and each is asked by a suite."""
    assert {file for file in SETS if file.partition(".")[0] not in PHENOMENA} == {*SAME} - {"transitive.jsonl"}
    assert {*SETS} - {"arc_challenge.jsonl"} <= {task.file for name in (*SUITES, BLIMP) for task in suite(name)}
    assert len(PHENOMENA) == len(suite(BLIMP)) == 67


@pytest.mark.parametrize(
    ("row", "contexts"),
    [
        (
            {"text": "The dog ran.  The cat saw its tail.", "pronoun": "its", "pronoun_loc": 26},
            ("The dog ran. The cat saw the dog", "The dog ran. The cat saw the cat"),
        ),
        (
            {"text": "The dog sat. It barked.", "pronoun": "It", "pronoun_loc": 13},
            ("The dog sat. The dog", "The dog sat. The cat"),
        ),
        (
            {"text": "Ann took her bag.", "pronoun": "her", "pronoun_loc": 9, "options": ["Ann", "The cat"]},
            ("Ann took Ann's", "Ann took the cat's"),
        ),
    ],
)
def test_what_a_pronoun_stands_for_has_the_form_of_its_place(row: Row, contexts: tuple[str, ...]) -> None:
    """Small articles inside a sentence, capital ones at its beginning, and a possessive."""
    (found,) = SETS["winograd_wsc.jsonl"].rows({"options": ["The dog", "The cat"], "label": 0, **row})
    assert tuple(found["context_options"]) == contexts
    item_of(found)


def test_items_are_kept_with_their_revision(store: fsspec.AbstractFileSystem) -> None:
    """The cache is used again, also when the hub has other rows; another revision is another file."""
    row, changed = SAME["piqa.jsonl"][0], {**SAME["piqa.jsonl"][0], "label": 1}
    put(store, "piqa.jsonl", [row])
    put(store, "piqa.jsonl", [changed], revision="v2")
    first = hub_items("piqa.jsonl")
    assert first.source == "hf://baber/piqa?split=validation"
    assert first.revision == sha256(first.path)[:12]
    second = hub_items("piqa.jsonl", "v2")
    assert second.revision != first.revision
    assert read_items(first.path)[0] != read_items(second.path)[0]
    store.rm("/datasets", recursive=True)
    assert (hub_items("piqa.jsonl"), hub_items("piqa.jsonl", "v2")) == (first, second)
    second.path.write_text("")  # damaged: fetched again, which fails here
    with pytest.raises(UserError, match="does not exist"):
        hub_items("piqa.jsonl", "v2")


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"question": "Make tea.", "label": 0}, r"other columns than expected \(question, label\): 'goal'"),
        ({**SAME["piqa.jsonl"][0], "label": 7}, '"gold" must be an index from 0 to 1; got 7'),
    ],
)
def test_a_data_set_that_has_changed_is_refused_and_not_kept(
    row: Row, rule: str, store: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    put(store, "piqa.jsonl", [SAME["piqa.jsonl"][0], row] if "goal" in row else [row])
    with pytest.raises(UserError, match=rule):
        hub_items("piqa.jsonl")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_suite_without_data_is_that_of_the_hub(store: fsspec.AbstractFileSystem) -> None:
    """Tasks without a data set are named; a set with other options than the file has a baseline of its own."""
    for file, (row, _) in SAME.items():
        put(store, file, [row])
    found = asked_suite("core", [], None, 0)
    assert {*found.missing} == {task.name for task in suite("core") if task.file not in SETS}
    assert len(found.tasks) + len(found.missing) == 22
    tasks = {one.task.name: one.task for one in found.tasks}
    assert tasks["commonsense_qa"].chance() == tasks["commonsense_qa"].chance(older=True) == 0.2
    assert tasks["boolq"].chance() == 0.62


def test_without_a_hub_one_sentence_names_the_files(
    store: fsspec.AbstractFileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It exits with 2 and leaves nothing in the life."""
    words = ["evaluate", "tuned", "--life", str(tmp_path / "life"), "--suite"]
    put(store, "arc_easy.jsonl", [SAME["arc_easy.jsonl"][0]])
    for asked, files in (
        (["small"], "put arc_easy.jsonl, piqa.jsonl, lambada_openai.jsonl, hellaswag_val_full.txt.bz2, winogrande"),
        (["blimp"], "put a folder 'blimp' of .jsonl files below a folder and add --data FOLDER."),
        (
            ["core", "--tasks", "jeopardy"],
            "no data set in the form of jeopardy_all.jsonl: put jeopardy_all.jsonl below",
        ),
        (["small", "--tasks", "piqa@v9"], "piqa@v9' does not exist"),
        (["small", "--tasks", "piqo@v9"], "Did you mean 'piqa'?"),
        (["small", "--data", str(tmp_path), "--tasks", "piqa@v9"], "that of a data set on the hub; omit it or --data"),
    ):
        assert run([*words, *asked]) == 2
        told = capsys.readouterr().err
        assert files in " ".join(told.split())
        assert "Traceback" not in told
    assert not (tmp_path / "life").exists()


def test_a_model_is_judged_on_the_hub_and_its_answers_name_the_revision(
    store: fsspec.AbstractFileSystem, lived: Life, tmp_path: Path
) -> None:
    """The results have source and revision, and answers to another revision are not taken for those to the first."""
    row = SAME["piqa.jsonl"][0]
    put(store, "piqa.jsonl", [row, {**row, "label": 1}])
    put(store, "piqa.jsonl", [{**row, "label": 1}, row], revision="v2")
    model, life, answers = lived.model("tuned"), Life(tmp_path / "life"), str(tmp_path / "answers.sqlite")
    words = ["evaluate", str(model), "--life", str(life.root), "--suite", "small", "--store", answers]
    scores = []
    for task in ("piqa", "piqa@v2", "piqa"):
        assert run([*words, "--tasks", task, "--limit", "1"]) == 0
        (path,) = life.root.glob("runs/evaluate-tuned-*/small.json")
        scores.append(json.loads(path.read_text())["tasks"]["piqa"])
    assert scores[0]["source"] == "hf://baber/piqa?split=validation"
    assert scores[0] == scores[2]
    assert scores[0]["revision"] != scores[1]["revision"]
    assert scores[0]["scores"]["acc"]["mean"] + scores[1]["scores"]["acc"]["mean"] == 1, "the right one is the other"
    kept = Store(answers)
    names = {item for item, _ in KeptAnswers(kept, fingerprint_of(model), "piqa")._found}
    kept.close()
    assert {name.partition("@")[2] for name in names} == {scores[0]["revision"], scores[1]["revision"]}
    assert len(names) == 2
