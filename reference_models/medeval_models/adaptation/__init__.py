"""Source-free domain adaptation: methods on any PyTorch segmentation network, under one protocol.

method = UPLSFDA(lr=3e-5, epochs=4)
adapted = method.fit(model, target_images, seed=0)        # target_images: tensors (N, C, *spatial), no labels
method.save(adapted, "adapted.safetensors"); method.load(model, "adapted.safetensors")
online = Tent().start(model); online.adapt([image]); online.module(image)

base.py       the protocol: fit, save, load, start; options that all share
simple.py     source-only, PTBN, the supervised ceiling
entropy.py    TENT, SAR, AdaMI
teachers.py   mean teacher, CoTTA
pseudo.py     SHOT, URMA, DPL
upl.py        UPL-SFDA with its ablations; the mean of views without learning
losses.py     the baselines' losses and pseudo labels as functions
parts.py      decoder, head, features, batch norm: found by name or given
images.py     target images checked and batched by seed
learner.py, fitting.py, augment.py, *_learners.py     the machinery; these import PyTorch
"""

from medeval_models.adaptation.base import Adaptation, AdaptationError, Trained
from medeval_models.adaptation.entropy import SAR, AdaMI, Tent
from medeval_models.adaptation.pseudo import DPL, SHOT, URMA
from medeval_models.adaptation.simple import PTBN, SourceOnly, TargetSupervised
from medeval_models.adaptation.teachers import CoTTA, MeanTeacher
from medeval_models.adaptation.upl import UPLSFDA, ViewEnsemble

__all__ = [
    "DPL", "PTBN", "SAR", "SHOT", "UPLSFDA", "URMA", "AdaMI", "Adaptation", "AdaptationError", "CoTTA", "MeanTeacher",
    "SourceOnly", "TargetSupervised", "Tent", "Trained", "ViewEnsemble",
]  # fmt: skip
