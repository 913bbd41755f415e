"""What a job's `Chat` is: what was asked for, and what the tokenizer's own files say.

Comes in: options and files. Goes out: a record that needs neither of them again. Always holds: nothing is guessed; a tokenizer
without a template, or with several and none of them the default one, is refused with what to do.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec

from tokenmill.errors import UsageError
from tokenmill.spec import Chat

if TYPE_CHECKING:
    from tokenmill.chat.template import ChatTemplate

#: What an answer says on which a template's ends are tried.
ANSWER = "the answer of the trial"
#: Tokens of the configuration that templates know by name.
NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def settled(
    name: str,
    file: bytes | None,
    config: Mapping[str, Any],
    *,
    template: str | None,
    today: str | None,
    learn_from: Sequence[str],
    fields: Sequence[str],
) -> Chat:
    """The chat of a job.

    Args:
        name: the tokenizer, as the user named it.
        file: its chat_template.jinja, where transformers keeps a template since 4.50; comes before the configuration.
        config: its tokenizer_config.json.
        template: the one to use in place of the tokenizer's; None for that.
        today: the date that a template may ask for, as YYYY-MM-DD.
        learn_from: roles; none leaves it to the template's generation blocks, or, where it has none, to the assistant.
        fields: the field of messages, or those of prompt and response.

    Raises UsageError for a template or a date that cannot be used.
    """
    from tokenmill.chat.template import compiled

    templates = {"default": template} if template is not None else _own(name, file, config)
    if "default" not in templates:
        raise UsageError(f"{name} has several chat templates, {', '.join(sorted(templates))}. Give one with --chat-template.")
    default, with_tools = templates["default"], templates.get("tool_use")
    day = None if today is None else _date(today)
    says = [compiled(source, day).says_what_is_learned for source in (default, with_tools) if source is not None]
    if not learn_from and len(set(says)) > 1:
        raise UsageError(f"only one of {name}'s chat templates has generation blocks. Give --learn-from assistant.")
    chat = Chat(
        template=default,
        tool_template=with_tools,
        tokens={token: str(_content(config[token])) for token in NAMED if config.get(token) is not None},
        date=day,
        learn_from=tuple(learn_from) or (() if says[0] else ("assistant",)),
        fields=tuple(fields),
    )
    if chat.learn_from and _writes_on(compiled(default, day), chat.tokens):
        raise UsageError(
            f"the chat template of {name} writes the header of one more answer behind every conversation, and that is no turn "
            f"to learn from. Give one that does not, or that has generation blocks: --chat-template FILE."
        )
    return chat


def _writes_on(template: "ChatTemplate", tokens: Mapping[str, str]) -> bool:
    """Whether what stands behind a last answer is not what stands behind the same one when the talk goes on."""
    turns = [{"role": "user", "content": "1"}, {"role": "assistant", "content": ANSWER}, {"role": "user", "content": "2"}]
    common = {**tokens, "tools": None, "documents": None, "add_generation_prompt": False}
    try:
        last, goes_on = (template.render({**common, "messages": turns[:count]})[0] for count in (2, 3))
    except Exception:  # it is for other conversations than this one
        return False
    return ANSWER in last and ANSWER in goes_on and not goes_on.partition(ANSWER)[2].startswith(last.partition(ANSWER)[2])


def _own(name: str, file: bytes | None, config: Mapping[str, Any]) -> dict[str, str]:
    """The templates that the tokenizer's files hold, by name."""
    try:
        if file is not None:
            return {"default": file.decode("utf-8")}
        found = config.get("chat_template")
        if isinstance(found, list):
            return {each.name: each.template for each in msgspec.convert(found, list[_Named])}
    except (UnicodeDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"the chat template of {name} is damaged: {error}. Fetch it again, or give --chat-template.") from None
    if not isinstance(found, str):
        raise UsageError(
            f"{name} has no chat template, neither chat_template.jinja nor one in tokenizer_config.json. "
            f"Give one: --chat-template FILE."
        )
    return {"default": found}


class _Named(msgspec.Struct):
    name: str
    template: str


def _content(token: Any) -> Any:
    return token.get("content") if isinstance(token, dict) else token


def _date(written: str) -> date:
    try:
        return date.fromisoformat(written)
    except ValueError:
        raise UsageError(f"--chat-date {written} is no date. Write it as YYYY-MM-DD.") from None
