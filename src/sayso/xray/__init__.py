"""X-ray of a prediction: the numbers behind every panel of the page that shows why the next token came."""

from sayso.xray.view import View

__all__ = ["View"]
