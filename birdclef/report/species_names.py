"""Names of species for readers: the common name, else the scientific one, else the code."""

import pandas as pd


def name_species(species: pd.DataFrame) -> dict[str, str]:
    """Returns the name of each species by its label. If several species have one name, the label follows the name.

    Args:
        species: label, common_name and scientific_name; the names may be empty.
    """
    common, scientific = (species[column].fillna("").str.strip() for column in ("common_name", "scientific_name"))
    name = common.where(common != "", scientific)
    name = name.where(name != "", species["label"])
    shared = name.duplicated(keep=False)
    name = name.where(~shared | (name == species["label"]), name + " (" + species["label"] + ")")
    return dict(zip(species["label"], name, strict=True))
