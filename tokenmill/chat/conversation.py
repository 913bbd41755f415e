"""One record as a conversation: its text, what of that is learned from, and what the record itself said.

Comes in: a record with `messages` (or a prompt and a response), and `tools` and `documents` where it has them. Goes out: what
transformers' `apply_chat_template` makes of the same. Always holds: a span is of whole characters of the rendered text, and
either the template marked it, or rendering the conversation up to there gives just the text up to there; a record of which
neither is true is unfit, with a reason, and never learned from by guess.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tokenmill.spec import Chat

if TYPE_CHECKING:
    from tokenmill.chat.template import ChatTemplate

#: Names that reasoning goes by; the first is what templates read, the second what those of gpt-oss do.
REASONING = ("reasoning_content", "thinking", "reasoning")


class Unfit(Exception):
    """A record cannot be rendered, or not be told apart in turns; leaves this room, for the one that reads records."""

    def __init__(self, why: Literal["not_messages", "template_error", "turns_unclear"]) -> None:
        self.why = why


@dataclass(frozen=True, slots=True)
class Conversation:
    """A rendered record."""

    text: str
    #: Spans to learn from: start, stop, start, stop … in characters, in order.
    learned: list[int]
    #: All strings of the record that a template may have written, with NUL between them.
    said: str


class Conversations:
    """Renders records as one job wants them."""

    def __init__(self, chat: Chat) -> None:
        """Raises UsageError for a template that cannot be used."""
        from tokenmill.chat.template import compiled

        self._chat = chat
        self._template = compiled(chat.template, chat.date)
        self._with_tools = compiled(chat.tool_template, chat.date) if chat.tool_template is not None else self._template

    def of(self, messages: Any, tools: Any, documents: Any) -> Conversation:
        """Render a conversation. Raises Unfit.

        Args:
            messages: a list of objects, as they stood in the record.
            tools, documents: likewise, or None.
        """
        if (
            not _is_records(messages)
            or not messages
            or not all(_is_records(part) for part in (tools, documents) if part is not None)
        ):
            raise Unfit("not_messages")
        given = {"tools": _plain(tools), "documents": _plain(documents)}
        turns = [_turn(message) for message in _plain(messages)]
        template = self._template if tools is None else self._with_tools
        variables = {**self._chat.tokens, **given}
        text, spans = _rendered(template, variables, turns)
        if self._chat.learn_from:
            spans = list(self._by_role(template, variables, turns, text))
        said = "\0".join(_strings([turns, *given.values()]))
        return Conversation(text, [place for span in spans for place in span], said)

    def _by_role(
        self, template: "ChatTemplate", variables: Mapping[str, Any], turns: Sequence[Mapping[str, Any]], text: str
    ) -> Iterator[tuple[int, int]]:
        """The turns to learn from; an assistant's without the header that asks for it."""
        for number, turn in enumerate(turns):
            if turn.get("role") in self._chat.learn_from:
                before = ""
                if number:
                    asks = turn["role"] == "assistant"
                    before, _ = _rendered(template, variables, turns[:number], add_generation_prompt=asks)
                until, _ = _rendered(template, variables, turns[: number + 1])
                if not (until.startswith(before) and text.startswith(until)):
                    raise Unfit("turns_unclear")
                yield len(before), len(until)


def _rendered(
    template: "ChatTemplate", variables: Mapping[str, Any], turns: Sequence[Any], *, add_generation_prompt: bool = False
) -> tuple[str, list[tuple[int, int]]]:
    given = {**variables, "messages": list(turns), "add_generation_prompt": add_generation_prompt}
    try:
        return template.render(given)
    except MemoryError:
        raise
    except Exception:  # a template is a program: it may raise anything over a record
        raise Unfit("template_error") from None


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _turn(message: dict[Any, Any]) -> dict[Any, Any]:
    """A message as templates get it: no key without a value, and reasoning by the names they read."""
    message = {key: value for key, value in message.items() if value is not None}
    reasoning = next((message[name] for name in REASONING if name in message), None)
    return message if reasoning is None else {"thinking": reasoning, **message, "reasoning_content": reasoning}


def _plain(value: Any) -> Any:
    """A value as JSON has it; anything else, such as a column's date, is its type's name, as transformers has it."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return f"<{type(value).__name__}>"


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
