"""LoRA adapters of a running server: POST /v1/load_lora_adapter and /v1/unload_lora_adapter, as in vLLM.

Both need the key of an admin, because they read files of the server's machine and change what every client sees.
"""

from functools import partial
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from pydantic import Field

from sayso.base.errors import UserError
from sayso.serve.body import Strict
from sayso.serve.errors import ApiError, naming
from sayso.serve.served_models import ServedModels
from sayso.weights.adapter import adapted_model

_Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._-]+$")]


class LoadRequest(Strict):
    """The body of POST /v1/load_lora_adapter."""

    lora_name: _Name
    lora_path: Annotated[str, Field(min_length=1, max_length=4096)]


class UnloadRequest(Strict):
    """The body of POST /v1/unload_lora_adapter."""

    lora_name: _Name


def lora_routes(models: ServedModels) -> APIRouter:
    """Return the routes for the served models; `AccessMiddleware` admits only admins to them."""
    router = APIRouter(prefix="/v1")

    @router.post("/load_lora_adapter")
    async def load(body: LoadRequest) -> PlainTextResponse:
        served = models.pick()
        if body.lora_name in served.names:
            way = (
                "choose another name"
                if body.lora_name not in served.adapters
                else "unload it first, or choose another name"
            )
            text = f"A model '{body.lora_name}' is already served; {way}."
            raise ApiError(400, text, "invalid_value", "lora_name")
        if not Path(body.lora_path).is_dir():
            raise ApiError(404, f"There is no folder '{body.lora_path[:100]}'.", "not_found", "lora_path")

        def work() -> None:
            served.worker.engine.load_adapter(body.lora_name, adapted_model(served.replier.model, Path(body.lora_path)))

        with naming("lora_path"):
            await served.call(work)
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' added successfully.")

    @router.post("/unload_lora_adapter")
    async def unload(body: UnloadRequest) -> PlainTextResponse:
        served = models.pick()
        if body.lora_name not in served.adapters:
            raise ApiError(404, f"There is no adapter '{body.lora_name}' here.", "not_found", "lora_name")
        try:
            await served.call(partial(served.worker.engine.unload_adapter, body.lora_name))
        except UserError as error:
            raise ApiError(409, str(error), "adapter_in_use", "lora_name") from error
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")

    return router
