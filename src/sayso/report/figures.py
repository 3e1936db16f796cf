"""The content of `report.json`: the report's numbers under fixed keys, for programs.

The key of an act that has not run yet is absent, never null or zero.
"""

from typing import Any

from sayso.judge.baselines import BASELINES
from sayso.report.facts import TRAINED, Facts
from sayso.report.knowledge import knowledge_figures

_Data = dict[str, Any]


def report_figures(facts: Facts) -> _Data:
    """Return the content of `report.json`."""
    found: _Data = {}
    for stage, act in TRAINED.items():
        if scores := facts.scores.get(stage):
            found[act] = stage_figures(scores)
    if facts.baselines:
        found["baselines"] = {
            name: {kind: part["bpb"]["mean"] for kind, part in facts.baselines[name].items()} for name in BASELINES
        }
    if known := knowledge_figures(facts.life):
        found["knowledge"] = known
    if "resume" in facts.verify:
        found["resume"] = {"identical": facts.verify["resume"]["identical"]}
    if "export" in facts.verify:
        found["export"] = {"max_logit_difference": facts.verify["export"]["max_logit_difference"]}
    found["acts"] = {act.name: {"seconds": act.seconds, "peak_memory_mb": act.peak_memory_mb} for act in facts.acts}
    found["lineage"] = lineage_figures(facts)
    return found


def stage_figures(scores: _Data) -> _Data:
    """Return a stage's bits per byte, and its accuracies with n and standard error."""
    found: _Data = {
        "val_bpb": {kind: part["mean"] for kind, part in scores["bpb"].items()},
        "val_bpb_se": {kind: part["se"] for kind, part in scores["bpb"].items()},
    }
    if scores["families"]:
        accuracy = scores["smallworld_accuracy"]
        found["smallworld_accuracy"] = accuracy["mean"]
        found["smallworld_accuracy_se"], found["smallworld_accuracy_n"] = accuracy["se"], accuracy["n"]
        found["families"] = {family: brief(part) for family, part in scores["families"].items()}
        found["instructions"] = brief(scores["instructions"])
    if talked := scores.get("conversations"):
        found["conversations"] = {name: brief(talked[name]) for name in ("loss", "exact", "f1", "familiar_loss")}
    return found


def brief(part: _Data) -> _Data:
    """Return mean, standard error and n of a stored estimate."""
    return {key: part[key] for key in ("mean", "se", "n")}


def lineage_figures(facts: Facts) -> list[_Data]:
    """Return the lineage of the newest model, oldest first: data, tokenizer, then each stage with parent and hash."""
    chain: list[_Data] = [{"what": name, "sha256": digest} for name, digest in facts.hashes.items()]
    for stage, made in facts.models.items():
        known: _Data = {key: made[key] for key in ("parent", "parameters", "metrics", "seed", "data") if key in made}
        chain.append({"what": stage, "sha256": made["weights_sha256"], **known})
    return chain
