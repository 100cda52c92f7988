"""GGUFFile -> ModelShape: what each layer of a model is and holds."""

from placer.model.reader import model_shape
from placer.model.shape import LayerShape, ModelShape

__all__ = ["LayerShape", "ModelShape", "model_shape"]
