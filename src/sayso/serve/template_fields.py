"""Fields that set variables of the chat template: takes a checked body, returns the variables."""

from typing import Any

from sayso.serve.body import Effort, RequestBody
from sayso.serve.errors import naming
from sayso.token.chat import template_variables, variable_names
from sayso.token.tokenizer import Tokenizer

THINKING = "enable_thinking"
"""The variable with which most thinking models turn reasoning on and off."""


class TemplateFields(RequestBody):
    """`chat_template_kwargs`, and OpenAI's effort: "none" turns reasoning off, any other turns it on."""

    reasoning_effort: Effort | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    def variables(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """Return the variables of the tokenizer's chat template; explicit ones take precedence over the effort.

        Raises `ApiError` for a variable that the template does not use.
        """
        with naming("chat_template_kwargs"):
            given = template_variables(tokenizer, self.chat_template_kwargs or {})
        if self.reasoning_effort is None or THINKING not in variable_names(tokenizer):
            return given
        return {THINKING: self.reasoning_effort != "none", **given}
