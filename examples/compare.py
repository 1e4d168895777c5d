"""Two policies side by side on the same prompts, as a table.

    python examples/compare.py MODEL OTHER PROMPTS OUT [REWARD_MODEL]

MODEL and OTHER are folders or hub ids, PROMPTS a file of prompts (JSON lines: {"prompt": "..."}).
REWARD_MODEL is a folder as examples/reward_model.py leaves it; it adds scores and a win rate of
OTHER. OUT/report.html shows intervals and replies, OUT/replies.jsonl has every reply.
"""

from __future__ import annotations

import sys
from pathlib import Path

from training.rlhf.config import CompareJob
from training.rlhf.data import data_files
from training.rlhf.evaluation import comparison
from training.rlhf.run.work import Work


def main(model: str, other: str, prompts: str, out: str, reward_model: str = "") -> None:
    config = CompareJob(
        models={"model": model, "other": other},
        reward_models={"reward": reward_model} if reward_model else {},
    )
    asked = data_files.prompts(prompts, held_out_share=1.0)  # held out: all of them are asked
    metrics = comparison.compare(config, asked, Path(out), Work.in_folder(out))

    metric_names = dict.fromkeys(name.partition(".")[2] for name in metrics if "." in name)
    print(f"{'':28}{'model':>10}{'other':>10}")
    for metric in metric_names:
        cells = (metrics.get(f"{name}.{metric}") for name in config.models)
        print(f"{metric:28}" + "".join(f"{'' if v is None else f'{v:.3f}':>10}" for v in cells))


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) in (5, 6) else sys.exit(__doc__)
