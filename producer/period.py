"""The period that a run is for: a day, or a moment of a day where a schedule falls more than once in one.

Always holds: keys of one schedule sort as their periods do, and a key may stand in a file's name.
"""

from dataclasses import dataclass
from datetime import datetime

from tokenmill.errors import UsageError

DAY, MOMENT = "%Y-%m-%d", "%Y-%m-%dT%H%M"
#: What people write.
FORMS = {DAY: False, MOMENT: True, "%Y-%m-%dT%H:%M": True}


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """One period, by the wall clock of its schedule's zone."""

    #: Naive: a wall's clock shows no zone.
    at: datetime
    #: Whether the time of day is a part of its name.
    timed: bool = False

    @property
    def key(self) -> str:
        """Its name: `2026-11-24`, or `2026-11-24T0230`."""
        return self.at.strftime(MOMENT if self.timed else DAY)

    def written(self, form: str | None) -> str:
        """The key, or what a form such as `%Y/%m` makes of it."""
        return self.at.strftime(form) if form else self.key

    @classmethod
    def parsed(cls, text: str) -> "Period":
        """The period that a text names. Raises UsageError if it names none."""
        for form, timed in FORMS.items():
            try:
                return cls(datetime.strptime(text, form), timed)
            except ValueError:
                pass
        raise UsageError(f"{text!r} is no period. Give a day such as 2026-11-24, or 2026-11-24T02:30 where it has several.")
