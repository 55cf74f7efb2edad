"""Components: molecules of a substance, and the part they play."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from simarchive.chemistry.trees import Tree, describe, fields_of
from simarchive.errors import InvalidDataError


@lru_cache(maxsize=4096)
def canonical_smiles(smiles: str) -> str:
    """Return the canonical isomeric SMILES of a molecule, hydrogens implicit, without atom maps.

    It is the text that OpenFF Evaluator writes by way of the OpenFF toolkit's RDKit wrapper, with one
    difference: that toolkit forgets isotopes, so that heavy water becomes water; here they are kept.

    Raises
    ------
    InvalidDataError
        If RDKit does not accept the SMILES.
    """
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None or molecule.GetNumAtoms() == 0 or not smiles.strip():
            raise InvalidDataError(f"{smiles!r} is not a SMILES that RDKit accepts")
        for atom in molecule.GetAtoms():
            atom.SetAtomMapNum(0)
        # Explicit hydrogens that an atom map had kept become implicit now.
        return str(Chem.MolToSmiles(Chem.RemoveHs(molecule)))


@dataclass(frozen=True, repr=False)
class Component:
    """One kind of molecule in a substance.

    Parameters
    ----------
    smiles
        Any SMILES; it is made canonical.
    role
        The part it plays; a text such as ``"sol"`` is accepted.
    """

    class Role(enum.Enum):
        """The part that a component plays in a substance."""

        Solvent = "solv"
        Solute = "sol"
        Ligand = "lig"
        Receptor = "rec"

    smiles: str
    role: Role = Role.Solvent

    def __post_init__(self) -> None:
        if not isinstance(self.smiles, str):
            raise InvalidDataError(f"the SMILES of a component must be a text, not {describe(self.smiles)}")
        object.__setattr__(self, "smiles", canonical_smiles(self.smiles))
        object.__setattr__(self, "role", _role(self.role))

    @classmethod
    def as_stored(cls, smiles: str, role: Role) -> Component:
        """Return a component with this very SMILES; RDKit is not asked."""
        component = object.__new__(cls)
        object.__setattr__(component, "smiles", smiles)
        object.__setattr__(component, "role", role)
        return component

    @property
    def identifier(self) -> str:
        """SMILES and role, such as ``O{solv}``: equal components have equal identifiers."""
        return f"{self.smiles}{{{self.role.value}}}"

    def to_tree(self) -> Tree:
        """Return SMILES and role."""
        return {"smiles": self.smiles, "role": self.role.value}

    @classmethod
    def from_tree(cls, tree: Tree) -> Component:
        """Return the component of a tree, its SMILES as it was stored."""
        fields = fields_of(tree, "a component", ("smiles", "role"))
        smiles = fields["smiles"]
        if not isinstance(smiles, str) or not smiles:
            raise InvalidDataError(f"the SMILES of a component must be a text, not {describe(smiles)}")
        return cls.as_stored(smiles, _role(fields["role"]))

    def __str__(self) -> str:
        return self.identifier

    def __repr__(self) -> str:
        return f"<Component {self.identifier}>"


def _role(role: Any) -> Component.Role:
    try:
        return Component.Role(role)
    except ValueError as error:
        known = ", ".join(known_role.value for known_role in Component.Role)
        raise InvalidDataError(f"{role!r} is not a role: use one of {known}") from error
