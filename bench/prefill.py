"""Read a prompt on a CPU: prompt tokens per second, against llama.cpp at the same number of bits.

Ours runs natively and with torch, each in one pass; llama.cpp in its default batches.
"""

import torch
import xllamacpp

from bench.contenders import THREADS, contenders
from bench.harness import parser, result, rounded, sized, turns

PROMPT, ROUNDS = sized((512, 5), (32, 1))


def main() -> None:
    """Race at 32, 8 and 4 bits."""
    parser("prefill").parse_args()
    prompt = torch.randint(5, sized(40_000, 300), (PROMPT,), generator=torch.Generator().manual_seed(1)).tolist()
    found = {}
    with contenders() as (_, _, by_bits):
        for bits, who in by_bits.items():
            sides = {
                "native": lambda who=who: who.native(prompt, 0)[0],
                "torch": lambda who=who: who.torch(prompt, 0)[0],
                "llama.cpp": lambda who=who: who.llama_cpp(prompt, 1)[0],
            }
            found[bits] = rounded(turns(sides, rounds=ROUNDS, label=f"{bits} bits"))
    result(
        "prefill", "prompt tokens/s, 8 bits", found[8]["native"], found[8]["llama.cpp"],
        peer_name=f"llama.cpp by xllamacpp {xllamacpp.__version__}", by_bits=found,
        ratios={bits: round(one["native"] / one["llama.cpp"], 2) for bits, one in found.items()},
        prompt=PROMPT, threads=THREADS, torch=torch.__version__,
    )  # fmt: skip


if __name__ == "__main__":
    main()
