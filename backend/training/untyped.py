"""Libraries that publish no types a strict checker can follow, each named once; what comes from them is `Untyped`."""

from importlib import import_module
from typing import Any

Untyped = Any
"""An object of diffusers, transformers, accelerate or peft; the name of the variable says which."""

accelerate: Untyped = import_module("accelerate")
processors: Untyped = import_module("diffusers.models.attention_processor")
diffusers: Untyped = import_module("diffusers")
projections: Untyped = import_module("diffusers.models.embeddings")
peft: Untyped = import_module("peft")
safetensors: Untyped = import_module("safetensors.torch")
transformers: Untyped = import_module("transformers")
