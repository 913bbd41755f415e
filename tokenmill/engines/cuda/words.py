"""The table of words met before, in a device's memory: short words with the ids that were computed for them.

Always holds: it begins empty and grows from batch to batch by what had to be merged (`learn_words`), until it is full; what is
in it decides how fast a word is encoded and never how. Its layout is `Known` of kernels/words.h.
"""

from tokenmill.engines.cuda.device import Device, Memory, Stream

#: Words in a full table. 64 thousand serve 93 to 98 % of the words of mixed real text, a million 1 to 3 points more, four
#: million a quarter of a point more.
ENTRIES = 1 << 20
#: Bytes of an entry.
ENTRY_BYTES = 32


class WordTable:
    """A table on a device."""

    def __init__(self, device: Device, stream: Stream, entries: int = ENTRIES) -> None:
        """Raises what `device` does where there is no room.

        Args:
            stream: on which the table is used, and emptied first.
            entries: words that it holds at most.
        """
        self.most = entries
        #: Places, of which half are used at most, less 1.
        self.mask = table_bytes(entries) // ENTRY_BYTES - 1
        self.known: Memory = device.allocate(table_bytes(entries))
        #: uint32: words in it.
        self.entries: Memory = device.allocate(4)
        stream.clear(self.known)
        stream.clear(self.entries)


def table_bytes(entries: int) -> int:
    """Memory of a table for so many words: its places are a power of 2."""
    return ENTRY_BYTES << max(1, 2 * entries - 1).bit_length()
