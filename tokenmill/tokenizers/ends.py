"""Which tokens stand before and after each document: what was asked for, else what the tokenizer's own files settle.

Nothing is guessed. `tokenizer_config.json` settles an end with `add_bos_token` or `add_eos_token`; `tokenizer.json` settles it
with a template that adds a special token. A tokenizer.json that adds no token in front settles BOS as none, since that is
what `tokenizers` does with it; that it adds none behind is how models are *asked*, and settles nothing for training text.
"""

from typing import Any

from tokenmill.errors import UsageError
from tokenmill.tokenizers.files import TokenizerFiles
from tokenmill.tokenizers.model import Model


def settle(files: TokenizerFiles, eos: str | bool | None, bos: str | bool | None) -> tuple[str | None, str | None]:
    """The EOS and BOS tokens of a job.

    Args:
        files: the resolved tokenizer.
        eos: the token asked for, False for none, None to leave it to the tokenizer.
        bos: likewise.

    Raises UsageError, naming the option to give, where neither decides, or where a token is not in the vocabulary.
    """
    leading, trailing = _template(files.model.part("post_processor"))
    config = files.config()
    settled_bos = _configured(config, "bos", leading, settled_without=not files.converted)
    settled_eos = _configured(config, "eos", trailing, settled_without=False)
    result = (_choose(eos, settled_eos, "eos", config, files), _choose(bos, settled_bos, "bos", config, files))
    for token in result:
        if token is not None and files.model.find(token) is None:
            raise UsageError(f"{token!r} is no token of {files.name}. Its special tokens are {_listed(files.model)}.")
    return result


def settle_pad(files: TokenizerFiles, pad: str | None) -> str:
    """The token that fills packed rows: the one asked for, else what tokenizer_config.json or tokenizer.json (`padding`) says.

    Raises UsageError, naming the candidates, where neither decides, or where it is not in the vocabulary.
    """
    padding = files.model.part("padding") or {}
    token = pad if pad is not None else _content(files.config().get("pad_token")) or padding.get("pad_token")
    if token is None:
        raise UsageError(
            f"{files.name} does not settle which token fills packed rows. Give --pad-token TOKEN (many take that of EOS; masks "
            f"and boundaries do not depend on it); its special tokens are {_listed(files.model)}."
        )
    if files.model.find(token) is None:
        raise UsageError(f"{token!r} is no token of {files.name}. Its special tokens are {_listed(files.model)}.")
    return token


def _choose(
    asked: str | bool | None, settled: str | bool | None, end: str, config: dict[str, Any], files: TokenizerFiles
) -> str | None:
    if isinstance(asked, str):
        return asked
    if asked is False:
        return None
    if isinstance(settled, str):
        return settled
    if settled is False:
        return None
    named = _content(config.get(f"{end}_token"))
    hint = f" (its configuration names {named!r})" if named else ""
    kind = {"eos": "an end", "bos": "a beginning"}[end]
    raise UsageError(
        f"{files.name} does not settle whether documents get {kind}-of-text token{hint}. "
        f"Give --{end}-token TOKEN or --no-{end}-token; its special tokens are {_listed(files.model)}."
    )


def _configured(config: dict[str, Any], end: str, template: str | None, *, settled_without: bool) -> str | bool | None:
    adds = config.get(f"add_{end}_token")
    named = _content(config.get(f"{end}_token"))
    if adds is True and named:
        return named
    if template is not None:
        return template
    return False if adds is False or settled_without else None


def _template(post_processor: dict[str, Any] | None) -> tuple[str | None, str | None]:
    """The special tokens a post-processor puts before and after a single text."""
    if post_processor is None:
        return None, None
    kind = post_processor["type"]
    if kind == "Sequence":
        found = [_template(step) for step in post_processor["processors"]]
        return next((b for b, _ in found if b), None), next((e for _, e in found if e), None)
    if kind == "TemplateProcessing":
        pieces = ["" if "Sequence" in piece else piece["SpecialToken"]["id"] for piece in post_processor["single"]]
        text = pieces.index("") if "" in pieces else 0
        before, after = pieces[:text], pieces[text + 1 :]
        if len(before) > 1 or len(after) > 1:
            raise UsageError(f"the tokenizer's template adds {before} and {after}: give --bos-token and --eos-token yourself.")
        return next(iter(before), None), next(iter(after), None)
    if kind in ("BertProcessing", "RobertaProcessing"):
        return post_processor["cls"][0], post_processor["sep"][0]
    return None, None


def _content(token: Any) -> str | None:
    """A token's text as tokenizer_config.json writes it: a string, or an object with `content`."""
    content: str | None = token["content"] if isinstance(token, dict) else token
    return content


def _listed(model: Model) -> str:
    special = [token["content"] for token in model.special_tokens]
    return ", ".join(special[:8]) + (f" and {len(special) - 8} more" if len(special) > 8 else "") if special else "none"
