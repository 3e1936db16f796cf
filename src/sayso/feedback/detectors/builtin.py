"""The detectors that come with the package, by name."""

from collections.abc import Mapping

from sayso.feedback.detectors.complaint import told_wrong
from sayso.feedback.detectors.detector import Detector
from sayso.feedback.detectors.evasion import evasive_question, harmless_refusal
from sayso.feedback.detectors.form import cut_off, empty, loop
from sayso.feedback.detectors.language import wrong_language
from sayso.feedback.detectors.leak import leaked_secret
from sayso.feedback.detectors.tool_calls import broken_call

_ALL = (
    Detector("empty", "1", empty),
    Detector("loop", "1", loop),
    Detector("cut-off", "1", cut_off),
    Detector("wrong-language", "1", wrong_language),
    Detector("leaked-secret", "2", leaked_secret),
    Detector("harmless-refusal", "1", harmless_refusal),
    Detector("told-wrong", "2", told_wrong, late=True),
    Detector("broken-call", "1", broken_call),
    Detector("evasive-question", "1", evasive_question),
)
DETECTORS: Mapping[str, Detector] = {one.name: one for one in _ALL}
"""A detector's version is raised in the commit that changes what it finds."""
