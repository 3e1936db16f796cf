"""The model card of a model folder, generated from its config and lineage."""

from typing import Any

from sayso.model import ModelConfig


def model_card(name: str, config: ModelConfig, lineage: dict[str, Any]) -> str:
    """Return the card as Markdown with the Hugging Face hub's front matter."""
    windows = sorted({window for window in config.windows if window})
    shape = (
        f"{lineage['parameters']:,} parameters: {config.layers} layers, width {config.width}, {config.heads} heads "
        f"({config.kv_heads} for keys and values), {config.mlp} MLP, {config.vocab_size:,} tokens, "
        f"context {config.context}" + (f", windows of {', '.join(map(str, windows))} tokens" if windows else "")
    )
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags: [sayso]",
        "---",
        "",
        f"# {name}",
        "",
        f"{'A RASP program' if _is_compiled(lineage) else 'A language model'} of {shape}. {_made(lineage)}",
        "",
        "## Origin",
        "",
        f"- parent: {lineage.get('parent') or f'none ({_origin(lineage)})'}",
        *(f"- data: {item}" for item in lineage.get("data", [])),
        f"- tokenizer: `{lineage['tokenizer'][:12]}`, weights: `{lineage['weights_sha256'][:12]}`",
        f"- seed {lineage.get('seed')}, torch {lineage['torch']}",
        *_adapted(lineage.get("config", {}).get("lora")),
        *_quantized(lineage.get("config", {}).get("quantised")),
        "",
        "## Limitations",
        "",
        *_limitations(lineage),
        "",
    ]
    metrics = lineage.get("metrics", {})
    if metrics:
        lines += ["## Metrics", "", *(f"- {key}: {value}" for key, value in metrics.items()), ""]
    return "\n".join(lines)


def _is_compiled(lineage: dict[str, Any]) -> bool:
    return lineage.get("stage") == "compiled"


def _is_taught(lineage: dict[str, Any]) -> bool:
    return lineage.get("stage") == "taught"


def _origin(lineage: dict[str, Any]) -> str:
    return "computed from the program, not trained" if _is_compiled(lineage) else "trained from random weights"


def _limitations(lineage: dict[str, Any]) -> list[str]:
    if _is_compiled(lineage):
        return [
            f"It computes the program on inputs of at most {lineage['length']} tokens of its alphabet; nothing else.",
            "`sayso rasp run` compares what it computes with the interpreter; `rasp.json` names its parts.",
        ]
    if _is_taught(lineage):
        return [
            f"It was trained on inputs of its program's alphabet, and tested on at most {lineage['length']} tokens.",
            "`sayso rasp run` compares what it computes with the interpreter.",
        ]
    return [
        "A model of this size has little world knowledge and states falsehoods fluently. Use it to learn and to",
        "experiment, not for facts or advice. Its training run and scores are in the life's `report.html`.",
    ]


def _made(lineage: dict[str, Any]) -> str:
    if _is_compiled(lineage):
        return f"Compiled with Sayso from `{lineage['program']}`."
    if _is_taught(lineage):
        return f"Trained with Sayso on what the RASP program `{lineage['program']}` computes."
    if lineage.get("stage") != "imported":
        return f"Made with Sayso, stage `{lineage.get('stage', 'unknown')}`."
    return f"Imported unchanged; license: {lineage.get('licence', 'see its source')}."


def _adapted(lora: dict[str, Any] | None) -> list[str]:
    if not lora:
        return []
    targets = ", ".join(lora["targets"])
    return [f"- trained as a LoRA adapter: rank {lora['rank']}, alpha {lora['alpha']:g}, on {targets}; merged here"]


def _quantized(how: dict[str, Any] | None) -> list[str]:
    if not how:
        return []
    grid = how["grid"]
    group = f" in groups of {grid['group']}" if grid["group"] else ""
    inputs = ", 8-bit activations" if how["inputs8"] else ""
    ends = ", 8-bit embedding and head" if how.get("ends8") else ""
    return [f"- {grid['bits']}-bit weights{group}{inputs}{ends}, {'GPTQ' if how['gptq'] else 'round to nearest'}"]
