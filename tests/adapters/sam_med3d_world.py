"""What the tests of ``sam-med3d`` share: a small network's sizes, volumes and prompts."""

import numpy as np

from medeval.types import Grid, Image, Prompt

SMALL = {
    "image_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 4, "global_attn_indexes": (1,),
    "window_size": 3, "prompt_embed_dim": 48, "iou_head_hidden_dim": 64,
}  # fmt: skip


def count_encodings(adapter):
    """How many patches went through the image encoder, as a list of one number a call."""
    counts = []
    adapter.network.image_encoder.register_forward_hook(
        lambda module, inputs, output: counts.append(len(inputs[0]))
    )
    return counts


def volume(shape=(40, 40, 40), spacing=(1.5, 1.5, 1.5), dtype=np.float32, seed=0, **grid):
    array = np.random.default_rng(seed).normal(100, 60, (1, *shape))
    array = array > 100 if dtype is bool else array.astype(dtype)
    return Image(array, Grid(shape, spacing, **grid))


def clicked(*points, labels=None, **more):
    points = np.array(points, dtype=np.int64).reshape(-1, 3)
    return Prompt("x", points=points, labels=np.array(labels or [1] * len(points)), **more)


def ask(adapter, image, *prompts):
    return adapter.segment(adapter.encode(image), list(prompts))
