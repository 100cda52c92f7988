"""GGUFFile -> ModelShape: what each layer of a model is and holds."""

from placer.model.hparams import Hparams
from placer.model.reader import model_shape
from placer.model.shape import LayerShape, ModelShape

__all__ = ["Hparams", "LayerShape", "ModelShape", "model_shape"]
