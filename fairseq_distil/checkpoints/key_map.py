"""What a table of parameter names consists of, and how it is read."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

Modules = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class HeadMap:
    """The names of one head.

    Args:
        modules: its modules
        parameters: its single parameters
    """

    modules: Modules
    parameters: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> dict[str, tuple[str, ...]]:
        """Every parameter: our name, and the names whose tensors make it up."""
        return {ours: (theirs,) for ours, theirs in self.parameters.items()} | _parameters_of(self.modules)


@dataclass(frozen=True)
class KeyMap:
    """From this project's names to those of one family.

    Args:
        body: what the names of the body begin with, and what a bare encoder's lack
        parameters: single parameters of the body
        modules: modules of the body outside of the layers
        layer_modules: modules of every layer
        heads: the heads that both have, by their kind
        tied: names of further copies, by name of the parameter that they repeat
        token_types: embeddings of token types, of which row 0 belongs to every position
        ignored: regular expressions of names without an influence on hidden states or masked-LM logits
        old_names: regular expressions of names of old, and what takes their place
        fused: weights of several modules in one tensor, and those modules' weights, in order
    """

    body: str
    parameters: Mapping[str, str]
    modules: Modules
    layer_modules: Modules
    heads: Mapping[str, HeadMap]
    tied: Mapping[str, str]
    token_types: str | None = None
    ignored: tuple[str, ...] = ()
    old_names: Mapping[str, str] = field(default_factory=dict)
    fused: Modules = field(default_factory=dict)

    def names(self, layers: int, heads: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Every parameter of an encoder: our name, and the names whose tensors make it up.

        Args:
            layers: transformer layers
            heads: kinds of the heads that are to be among them
        """
        names = {ours: (theirs,) for ours, theirs in self.parameters.items()} | _parameters_of(self.modules)
        for layer in range(layers):
            for ours, theirs in _parameters_of(self.layer_modules).items():
                names[ours.format(layer=layer)] = tuple(name.format(layer=layer) for name in theirs)
        for kind in heads:
            names |= self.heads[kind].names()
        return names

    def heads_among(self, names: Container[str]) -> list[str]:
        """Kinds of the heads of which any parameter is among ``names``, be they the family's or ours."""
        return [
            kind
            for kind, head in self.heads.items()
            if any(name in names for ours, theirs in head.names().items() for name in (ours, *theirs))
        ]

    def head_names(self) -> set[str]:
        """The family's names of all heads' parameters, which a bare encoder lacks."""
        return {name for head in self.heads.values() for parts in head.names().values() for name in parts}


def _parameters_of(modules: Modules) -> dict[str, tuple[str, ...]]:
    return {
        f"{ours}.{kind}": tuple(f"{name}.{kind}" for name in theirs)
        for ours, theirs in modules.items()
        for kind in ("weight", "bias")
    }
