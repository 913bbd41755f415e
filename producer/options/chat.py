"""Options for conversations."""

from functools import partial
from typing import Annotated

from producer.options.option import named

PANEL = "Chat"
option = partial(named, panel=PANEL)

Chat = Annotated[
    bool, option("--chat", help="Documents are conversations: write them with the tokenizer's chat template, with loss masks.")
]
MessagesField = Annotated[
    str | None, option("--messages-field", help="Field with the messages, or a path to it; by default messages.")
]
PromptField = Annotated[str | None, option("--prompt-field", help="Field with what the user says, in place of messages.")]
ResponseField = Annotated[str | None, option("--response-field", help="Field with what the assistant answers.")]
ChatTemplate = Annotated[str | None, option("--chat-template", help="File with a template to use in place of the tokenizer's.")]
ChatDate = Annotated[
    str | None, option("--chat-date", help="The date that a template writes, as YYYY-MM-DD, if it asks for today's.")
]
LearnFrom = Annotated[
    list[str] | None,
    option(
        "--learn-from",
        help="Role whose turns are learned from; by default what the template marks, or else assistant. Repeatable.",
    ),
]
