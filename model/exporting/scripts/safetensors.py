"""Predicts labels of images: python infer.py IMAGE ...   Needs pillow, safetensors and timm."""

import json
import math
import sys
from pathlib import Path

import timm
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torchvision.transforms.functional import pil_to_tensor

here = Path(__file__).parent


def pixels(path: str, size: int, share: float, kind: int) -> torch.Tensor:
    """Resize an image and crop its centre: pixels [1, 3, H, W]."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    resized = [int(math.floor(size / share) * n / min(image.size)) for n in image.size]
    pairs = list(zip(image.size, resized, strict=True))
    box = [min((round((b - size) / 2) + end) * a / b, a) for end in (0, size) for a, b in pairs]
    return pil_to_tensor(image.resize((size, size), kind, box=box, reducing_gap=3.0))[None].float()


spec, labels = (json.loads((here / f"{n}.json").read_text()) for n in ("preprocessing", "labels"))
w = load_file(here / "model.safetensors")
backbone = timm.create_model(**spec["architecture"]).eval().requires_grad_(False)
backbone.load_state_dict({k[9:]: v for k, v in w.items() if k.startswith("backbone.")})
for path in sys.argv[1:] or sys.exit(__doc__):
    x, answer = pixels(path, **spec["pixels"]), {}
    features = backbone((x - w["mean"]) / w["std"]).half().float()[0]
    for i, c in enumerate(labels["controls"]):
        z = features.sign() * features.abs() ** c["power"]
        z = (z / z.norm() @ w[f"heads.{i}.weight"] + w[f"heads.{i}.bias"]) / c["temperature"]
        p = {"softmax": z.softmax(0), "sigmoid": z.sigmoid(), "identity": z}[c["activation"]]
        for child, parent in c["above"]:
            p[parent] = max(p[parent], p[child])
        answer[c["name"]] = dict(zip(c["classes"], p[w[f"heads.{i}.kept"]].tolist(), strict=True))
    print(json.dumps({"image": path, "labels": answer}))
