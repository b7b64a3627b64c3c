"""Predicts labels of images: python infer.py IMAGE ...   Needs numpy, pillow and torch."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

here = Path(__file__).parent


def pixels(path: str, size: int, share: float, kind: int) -> torch.Tensor:
    """Resize an image and crop its centre: pixels [1, H, W, 3]."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    resized = [int(math.floor(size / share) * n / min(image.size)) for n in image.size]
    pairs = list(zip(image.size, resized, strict=True))
    box = [min((round((b - size) / 2) + end) * a / b, a) for end in (0, size) for a, b in pairs]
    square = image.resize((size, size), kind, box=box, reducing_gap=3.0)
    return torch.from_numpy(np.array(square)[None])


spec, labels = (json.loads((here / f"{n}.json").read_text()) for n in ("preprocessing", "labels"))
model = torch.jit.load(here / "model.pt")
for path in sys.argv[1:] or sys.exit(__doc__):
    outputs = model(pixels(path, **spec["pixels"]))
    pairs = zip(labels["controls"], outputs, strict=True)
    answer = {c["name"]: dict(zip(c["classes"], p[0].tolist(), strict=True)) for c, p in pairs}
    print(json.dumps({"image": path, "labels": answer}))
