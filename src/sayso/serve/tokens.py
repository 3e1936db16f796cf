"""Tokenizer routes compatible with vLLM: /tokenize, /detokenize, /tokenizer_info."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field, model_validator

from sayso.reply.tools import toolbox
from sayso.serve.body import RequestBody, refusal
from sayso.serve.chat_message import Turn, check_results
from sayso.serve.errors import naming
from sayso.serve.openai import MOST_MESSAGES, check_continued
from sayso.serve.served_models import ServedModels
from sayso.serve.template_fields import TemplateFields
from sayso.text.document import Messages
from sayso.token.chat import prompt_ids
from sayso.token.tokenizer import Tokenizer

MOST_TOKENS = 2**17  # of a text to be decoded


class TokenizeRequest(TemplateFields):
    """The body of POST /tokenize: a text, or a conversation."""

    model: str | None = None
    prompt: str | None = None
    messages: Annotated[list[Turn], Field(min_length=1, max_length=MOST_MESSAGES)] | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool | None = None
    return_token_strs: bool | None = None
    parse_special: bool | None = None
    continue_final_message: bool | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None

    @model_validator(mode="after")
    def one_of_two(self) -> "TokenizeRequest":
        """Reject neither and both."""
        if (self.prompt is None) == (self.messages is None):
            got = "neither" if self.prompt is None else "both"
            raise refusal("messages", "invalid_value", f"The body must have either 'prompt' or 'messages'; got {got}.")
        if self.messages is None:
            names = ("continue_final_message", "chat_template_kwargs", "tools")
            if found := next((name for name in names if getattr(self, name)), None):
                raise refusal(found, "invalid_value", f"'{found}' requires 'messages'.")
            return self
        if self.parse_special:
            raise refusal("parse_special", "invalid_value", "'parse_special' requires 'prompt'.")
        check_results(self.messages)
        if self.continue_final_message:
            check_continued(self.messages, self.add_generation_prompt)
        return self


class DetokenizeRequest(RequestBody):
    """The body of POST /detokenize."""

    model: str | None = None
    tokens: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=MOST_TOKENS)]


def token_routes(models: ServedModels) -> APIRouter:
    """Return the routes for the served models' tokenizers."""
    router = APIRouter()

    def chat_ids(tokenizer: Tokenizer, asked: TokenizeRequest, messages: Messages) -> list[int]:
        with naming("tools"):
            tools = toolbox(asked.tools, asked.tool_choice)
        variables = asked.variables(tokenizer)
        with naming("messages"):
            return prompt_ids(
                tokenizer,
                messages,
                reply=asked.add_generation_prompt is not False,
                tools=tools.shown,
                continued=bool(asked.continue_final_message),
                variables=variables,
            )

    @router.post("/tokenize")
    def tokenize(asked: TokenizeRequest) -> dict[str, Any]:
        served = models.pick(asked.model)
        served.adapter(asked.model)
        tokenizer = served.replier.tokenizer
        if asked.messages is not None:
            ids = chat_ids(tokenizer, asked, [turn.plain() for turn in asked.messages])
        else:
            text = asked.prompt or ""
            ids = served.replier.start_ids if asked.add_special_tokens is not False else []
            ids += served.control_ids(text) if asked.parse_special else tokenizer.encode(text)
        found: dict[str, Any] = {"count": len(ids), "max_model_len": served.context, "tokens": ids}
        if asked.return_token_strs:
            found["token_strs"] = [tokenizer.control.get(token) or tokenizer.decode([token]) for token in ids]
        return found

    @router.post("/detokenize")
    def detokenize(asked: DetokenizeRequest) -> dict[str, str]:
        served = models.pick(asked.model)
        served.adapter(asked.model)
        tokenizer = served.replier.tokenizer
        ids = served.reader.known_ids(asked.tokens, "tokens")
        return {"prompt": tokenizer.decode([token for token in ids if token < tokenizer.vocab_size])}

    @router.get("/tokenizer_info")
    def tokenizer_info() -> dict[str, Any]:
        tokenizer = models.pick().replier.tokenizer
        return {
            "kind": tokenizer.kind,
            "vocab_size": tokenizer.vocab_size,
            "control_tokens": {name: index for index, name in tokenizer.control.items()},
            "stop_ids": sorted(tokenizer.stop_ids),
            "chat_template": tokenizer.chat_template,
        }

    return router
