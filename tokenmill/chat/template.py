"""A chat template: Jinja in a sandbox, with the semantics that transformers gives it.

Comes in: the template's text, the date it may ask for. Goes out: for a conversation the text, and the spans that stand in
`{% generation %}` blocks. Always holds: what is rendered is what transformers 5.24 renders (`utils/chat_template_utils.py`:
sandbox, `trim_blocks`, `lstrip_blocks`, `break` and `continue`, its own `tojson`, `dict` and `namespace`), and it is a
function of template, date and record (law 2): a template that asks for today's date needs one given, and `random` and `lipsum`
are not there.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property, lru_cache
from typing import Any, NoReturn

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from tokenmill.errors import UsageError

#: Where a render keeps its `Progress`; no template can name it.
PROGRESS = "progress of this render"


@dataclass(slots=True)
class Progress:
    """How far a render is."""

    #: Characters that were given out.
    characters: int = 0
    #: What stood in generation blocks: start and stop, in characters.
    spans: list[tuple[int, int]] = field(default_factory=list)


class Generation(jinja2.ext.Extension):
    """The block `{% generation %}`: what it renders is what a model is to generate.

    A span begins behind all that was given out before, so in a macro or a `set` block it is as wrong as it is in transformers.
    """

    tags = {"generation"}  # noqa: RUF012  (Jinja's own attribute)

    def parse(self, parser: Parser) -> nodes.CallBlock:
        """Make the block a call that gets what it has rendered."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        block = nodes.CallBlock(self.call_method("_generated"), [], [], body)
        block.set_lineno(line)
        return block

    @jinja2.pass_context
    def _generated(self, context: Context, caller: Macro) -> str:
        text = caller()
        progress = context.get(PROGRESS)
        if progress is not None:
            progress.spans.append((progress.characters, progress.characters + len(text)))
        return text


class ChatTemplate:
    """One template."""

    def __init__(self, source: str, today: date | None) -> None:
        """Raises UsageError if it is no template, or asks for a date where none is given."""
        self._source, environment = source, _environment(today)
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise UsageError(
                f"the chat template cannot be used: line {error.lineno}: {error.message}. "
                f"It has to be Jinja as transformers takes it, without chance. See --chat-template."
            ) from None
        self._tree = environment.parse(source)
        if today is None and any(name.name == "strftime_now" for name in self._tree.find_all(nodes.Name)):
            raise UsageError(
                "the chat template writes today's date, and the same job has to give the same ids tomorrow. "
                "Give the date it shall write: --chat-date YYYY-MM-DD."
            )

    @cached_property
    def says_what_is_learned(self) -> bool:
        """Whether it has generation blocks."""
        return any(True for _ in self._tree.find_all(nodes.CallBlock)) and any(
            attribute.name == "_generated" for attribute in self._tree.find_all(nodes.ExtensionAttribute)
        )

    def render(self, variables: Mapping[str, Any]) -> tuple[str, list[tuple[int, int]]]:
        """A conversation's text, and the spans in generation blocks. Raises whatever a template can raise."""
        progress, pieces = Progress(), []
        for piece in self._template.generate({**variables, PROGRESS: progress}):
            pieces.append(piece)
            progress.characters += len(piece)
        return "".join(pieces), progress.spans


@lru_cache(maxsize=16)
def compiled(source: str, today: date | None) -> ChatTemplate:
    """A template, compiled once; a render has all its state to itself."""
    return ChatTemplate(source, today)


def _environment(today: date | None) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    del environment.filters["random"], environment.globals["lipsum"]
    environment.globals |= {"raise_exception": _raise, "dict": _Dictionary(), "namespace": _Namespace}
    environment.globals["strftime_now"] = (today or date.min).strftime
    return environment


def _tojson(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False) -> str:
    # Jinja's own escapes what HTML would
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


class _Dictionary:
    """`dict` without the class behind it."""

    def __call__(self, *values: Any, **more: Any) -> dict[Any, Any]:
        return dict(*values, **more)

    def fromkeys(self, *values: Any) -> dict[Any, Any]:
        """As `dict.fromkeys`."""
        return dict.fromkeys(*values)


class _Namespace(Namespace):
    """`namespace` that takes no name with an underscore in front."""

    def __init__(*args: Any, **more: Any) -> None:  # `self` may be a name that a template gives
        self, values = args[0], dict(*args[1:], **more)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a chat template may not store {name!r} on a namespace")
