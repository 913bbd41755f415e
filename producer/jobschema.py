"""What a job file may say: every option of `producer.options` as a key, with the type, the bounds and the words it has there.

Comes in: the signature of `producer.options.request`. Goes out: pydantic models and the JSON Schema that editors take. Always
holds: there is no second list of options; an option that is added there is a key here.
"""

import inspect
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, create_model

from producer.options import request

#: What outputs of one read may differ in: all that comes after reading.
OF_AN_OUTPUT = frozenset(
    {
        *("tokenizer", "output", "name", "eos_token", "bos_token", "special_tokens", "max_tokens", "over_length", "stride"),
        *("pack", "pack_method", "pad_token", "dtype", "format", "max_rejected", "check_every", "engine"),
        *("histograms", "minhash", "contamination"),
    }
)
ENDS = ("eos_token", "bos_token")


@cache
def whole_model() -> type[BaseModel]:
    """The keys of a job file, `[[output]]` left out."""
    return _model("Job", dict(_fields()))


@cache
def output_model() -> type[BaseModel]:
    """The keys of an `[[output]]`."""
    own = {key: field for key, field in _fields() if key in OF_AN_OUTPUT}
    return _model("Output", {**own, "output": (str, Field(description=own["output"][1].description))})


def schema() -> dict[str, Any]:
    """The JSON Schema of job files (draft 2020-12)."""
    whole, output = whole_model().model_json_schema(), output_model().model_json_schema()
    one = whole["properties"]["output"]
    many = {"type": "array", "items": {"$ref": "#/$defs/Output"}, "minItems": 1}
    whole["properties"]["output"] = {"description": one["description"], "anyOf": [{"type": "string"}, many]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **whole,
        "title": "tokenmill job file",
        "$defs": {"Output": output},
    }


def _model(name: str, fields: dict[str, tuple[Any, Any]]) -> type[BaseModel]:
    config = ConfigDict(extra="forbid", strict=True, frozen=True)
    return create_model(name, __config__=config, **fields)  # type: ignore[call-overload,no-any-return]


def _fields() -> Iterator[tuple[str, tuple[Any, Any]]]:
    workers = Field(default=0, ge=0, description="Worker processes of `run`; 0 means one per core.")
    yield "workers", (int, workers)
    for name, parameter in inspect.signature(request, eval_str=True).parameters.items():
        kind, option = get_args(parameter.annotation)
        if name.startswith("no_"):
            continue
        words = str(option.help)
        if name in ENDS:
            kind, words = str | Literal[False], f"{words.rstrip('.')}; false for none."
        least, most = getattr(option, "min", None), getattr(option, "max", None)
        yield name, (kind, Field(default=None, description=words, ge=least, le=most))
