"""What a metric is, for both programs: a name, a sentence, labels. Prometheus itself is imported by those who export.

Always holds: a name that ends in `_total` is a counter, every other one a gauge, as Prometheus' naming rules have it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of an endpoint."""

    name: str
    #: What it says, in one sentence.
    says: str
    labels: tuple[str, ...] = ()

    @property
    def is_counter(self) -> bool:
        """Whether it only grows."""
        return self.name.endswith("_total")
