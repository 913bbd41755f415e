"""Who computes facts: the processor, or a device with the processor behind it.

Comes in: documents. Goes out: what is told of them. Always holds: a device's first answer is compared with the processor's, and
so is what it finds of a test set that is made of the very documents; from a difference on, or once the device does not do it
(`Unavailable`), the processor does all of it, and nothing is lost: who asks cannot see who answered.
"""

import logging
from collections.abc import Callable

import numpy as np

from tokenmill.engines.contract import Unavailable
from tokenmill.facts.contamination import matches
from tokenmill.facts.contract import Arithmetic, Asked, Told
from tokenmill.facts.histograms import counts
from tokenmill.facts.minhash import signatures
from tokenmill.facts.shingles import shingles
from tokenmill.facts.testsets import GRAM, Known
from tokenmill.facts.texts import Texts

log = logging.getLogger(__name__)


class Processor:
    """Arithmetic on arrays, by one core."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked

    def tell(self, texts: Texts) -> Told:
        """What these documents come to."""
        asked = self.asked
        return Told(counts(texts, asked.vocab_size), signatures(texts, asked.size), matches(texts, asked.known))


class Proved:
    """A device's arithmetic for as long as it is the processor's."""

    def __init__(self, asked: Asked, device: Callable[[Asked], Arithmetic]) -> None:
        """
        Args:
            device: makes the device's arithmetic, when there are documents. May raise Unavailable, as that may.
        """
        self.asked, self._make = asked, device
        self._processor = Processor(asked)
        self._device: Arithmetic | None = None
        #: Why the device no longer computes; None while it does.
        self.lost: str | None = None

    def tell(self, texts: Texts) -> Told:
        """What these documents come to."""
        if self.lost is None:
            try:
                if self._device is not None:
                    return self._device.tell(texts)
                return self._first(texts)
            except Unavailable as error:
                self._lose(str(error))
        return self._processor.tell(texts)

    def _first(self, texts: Texts) -> Told:
        """The same of the first documents, which both compute."""
        device, right = self._make(self.asked), self._processor.tell(texts)
        wrong = device.tell(texts).first_difference(right)
        if wrong is None and self.asked.known.names:  # of which they hold nothing, most likely: that would prove nothing
            itself = Asked(known=_every_other_run(texts))
            wrong = self._make(itself).tell(texts).first_difference(Processor(itself).tell(texts))
        if wrong is None:
            self._device = device
        else:
            self._lose(f"its {wrong} are not the processor's")
        return right

    def _lose(self, why: str) -> None:
        self._device, self.lost = None, why
        log.warning("facts are computed by the processor from here on, the GPU is not used for them: %s", why)


def _every_other_run(texts: Texts) -> Known:
    """A test set of which documents hold half of their runs."""
    runs = np.unique(np.concatenate([np.empty(0, np.uint64), *(found.numbers for found in shingles(texts, GRAM))]))
    return Known(("itself",), (runs[::2].copy(),))
