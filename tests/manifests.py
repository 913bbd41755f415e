"""deploy/kubernetes as a user would apply it: every choice that cluster/ and job/ offer, rendered by kubectl's kustomize."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy" / "kubernetes"
KUBECTL = Path(sys.executable).with_name("kubectl")
#: What a user may choose in cluster/kustomization.yaml: resources, components.
CLUSTERS = {
    "volume": (["base"], ["pod", "volume"]),
    "s3": (["base"], ["pod", "s3", "https"]),
    "scaled": (["base"], ["pod", "volume", "keda"]),
    "gpu": (["base", "gpu"], ["pod", "volume", "keda", "keda-gpu"]),
    "mig": (["base", "gpu"], ["pod", "s3", "https", "mig", "keda", "keda-gpu"]),
}
#: Rendered as they are.
FOLDERS = ("cluster", "ground", "job")
CHOICES = (*CLUSTERS, *FOLDERS, "job-s3")

Manifest = dict[str, Any]


class Checkout:
    """A user's own copy of the folder, with the secrets filled in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(DEPLOY, folder, ignore=shutil.ignore_patterns("*.env"))
        for example in (folder / "cluster").glob("*.env.example"):
            example.rename(example.with_suffix(""))

    def render(self, choice: str) -> list[Manifest]:
        """What `kubectl apply -k` would send."""
        folder = self.folder / (choice if choice in FOLDERS else f"chosen-{choice}")
        if not folder.exists():
            shutil.copytree(self.folder / ("job" if choice == "job-s3" else "cluster"), folder)
            chosen = yaml.safe_load((folder / "kustomization.yaml").read_text())
            (folder / "kustomization.yaml").write_text(yaml.safe_dump({**chosen, **self._chosen(choice, chosen)}))
        done = kustomize(folder)
        assert done.returncode == 0, done.stderr
        return list(yaml.safe_load_all(done.stdout))

    @staticmethod
    def _chosen(choice: str, standing: Manifest) -> Manifest:
        if choice == "job-s3":
            return {"components": ["../components/pod", "../components/s3"]}
        resources, components = CLUSTERS[choice]
        return {
            "resources": [f"../{name}" for name in resources],
            "components": [f"../components/{name}" for name in components],
            "secretGenerator": [*standing["secretGenerator"], {"name": "storage", "envs": ["storage.env"]}],
        }


def kustomize(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Render a folder, or learn why that is impossible."""
    return subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False)


def of_kind(manifests: list[Manifest], *kinds: str) -> dict[str, Manifest]:
    """The manifests of some kinds, by name."""
    return {manifest["metadata"]["name"]: manifest for manifest in manifests if manifest["kind"] in kinds}


def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pods' specs, by the name of what makes them."""
    found = of_kind(manifests, "Deployment", "StatefulSet", "Job")
    return {name: manifest["spec"]["template"]["spec"] for name, manifest in found.items()}


def environment(container: Manifest) -> dict[str, Manifest]:
    """A container's variables, by name and in order."""
    return {variable["name"]: variable for variable in container.get("env", [])}


#: The oldest supported version of autumn 2026 is 1.35; podFailurePolicy and unhealthyPodEvictionPolicy are stable since 1.31.
VERSIONS = ("1.31", "1.37")


def check(manifest: Manifest) -> None:
    """Raises ValidationError if a server of any of these versions would refuse it."""
    for version in VERSIONS:
        kubernetes_validate.validate(manifest, version, strict=True)


def damage(manifest: Manifest, path: str, value: object) -> None:
    """Put a value where a path of keys and indexes leads."""
    *parents, last = path.split("/")
    place: Any = manifest
    for key in parents:
        place = place[int(key) if isinstance(place, list) else key]
    place[last] = value
