"""A conversation as its tokenizer's own template writes it, and which characters of that are learned from.

Comes in: a job's `Chat`, one record. Goes out: text, spans, and all that the record itself said. Knows neither files nor ids.
"""

from tokenmill.chat.conversation import Conversation, Conversations, Unfit
from tokenmill.chat.settled import settled

__all__ = ["Conversation", "Conversations", "Unfit", "settled"]
