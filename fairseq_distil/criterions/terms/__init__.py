"""The terms of the objective, a file each; every file of this folder is part of it."""

from importlib import import_module
from pkgutil import iter_modules

from .activations import Activations
from .term import TERMS, ActivationTerm, Scalar, Term, VocabularyTerm

for _module in iter_modules(__path__):  # by name
    import_module(f"{__name__}.{_module.name}")

__all__ = ["TERMS", "ActivationTerm", "Activations", "Scalar", "Term", "VocabularyTerm"]
