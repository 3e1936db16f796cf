"""Act: verify that resuming and exporting reproduce the same numbers.

Checks that a training run killed at a random step and resumed ends with identical weights, and that the model folder
gives the same logits in `transformers` as in Sayso. Writes runs/verify/scores.json.
"""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from sayso.base.errors import UserError
from sayso.base.files import read_json, write_json
from sayso.base.life import Life
from sayso.base.log import act_log, say
from sayso.base.ranges import Options
from sayso.judge.reproduction import allowed, check_export, check_resume
from sayso.weights.families.own import OWN
from sayso.weights.models import resolve_model


@dataclass(frozen=True)
class Verify(Options):
    """Options of `sayso verify`."""

    _: KW_ONLY
    life: Path = Path("life")
    """Folder of the life."""
    model: str = "aligned"
    """Model to compare with transformers."""
    resume: bool = True
    """Kill and resume a short training run."""
    export: bool = True
    """Compare logits with transformers (requires the extra 'verify')."""


def verify(options: Verify) -> dict[str, Any]:
    """Verify that a killed run resumes to the same weights, and that transformers computes the same logits."""
    life = Life(options.life)
    scores: dict[str, Any] = {}
    with act_log(life, "verify", "", options):
        if options.resume:
            scores["resume"] = check_resume(life)
            same = "bitwise equal" if scores["resume"]["identical"] else "DIFFERENT"
            say(f"Run killed after step {scores['resume']['killed_after']} and resumed: {same} weights.")
        folder = resolve_model(life, options.model)
        if options.export and read_json(folder / "config.json")["model_type"] == OWN.model_type:
            say(f"'{options.model}' has layers that transformers lacks (--recipe fastest): nothing to compare.")
        elif options.export:
            scores["export"] = check_export(life, folder)
            say(f"Logits differ from transformers by at most {scores['export']['max_logit_difference']:.2e}.")
        write_json(life.run("verify") / "scores.json", scores, sealed=True)
    export = scores.get("export", {"max_logit_difference": 0.0, "largest_logit": 0.0})
    failed = [
        *(["resume"] if not scores.get("resume", {}).get("identical", True) else []),
        *(["export"] if export["max_logit_difference"] > allowed(export["largest_logit"]) else []),
    ]
    if failed:
        raise UserError(f"Verification failed for {' and '.join(failed)}; see '{life.run('verify')}'.")
    return scores
