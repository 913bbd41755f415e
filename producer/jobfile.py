"""Job files: a job's options in TOML, under the names they have on the command line, with underscores.

Comes in: a file, or a table of one, and the period it is for. Goes out: values for `producer.options`, which alone says what
options there are. Always holds: an unknown key, a wrong type or value is refused with file, line, key and remedy; relative
paths start at the file's folder; `{period}` and `{env.NAME}` in the names of sources, outputs and tokenizers are replaced or
refused.

`[[output]]` tables ask for several outputs from one read of the corpus: each takes the file's options but for its own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from producer.jobschema import ENDS, OF_AN_OUTPUT, output_model, whole_model
from producer.options import request
from producer.period import Period
from producer.request import Request
from producer.tomltable import TomlTable, parsed, text_of
from tokenmill.errors import UsageError
from tokenmill.settings import variable

#: Keys whose text may hold placeholders.
NAMES = frozenset(
    {"sources", "sources_from", "include", "exclude", "tokenizer", "contamination", "output", "generation", "name", "notify"}
)
#: Keys that hold paths; a tokenizer is one if it begins with a dot.
PATHS = frozenset({"sources", "sources_from", "contamination", "output"})
PLACEHOLDER = re.compile(r"\{(period|env\.\w+)(?::([^{}]*))?\}")
#: Where one looks up what a key means.
HELP = "`tokenmill run --help` lists the options; in a file their names have underscores"


@dataclass(frozen=True, slots=True)
class JobFile:
    """What a job file says."""

    place: "JobTable"
    #: Values of options, by parameter of `producer.options.request`, and of `workers`.
    options: dict[str, Any]
    #: What each `[[output]]` says instead.
    outputs: tuple[dict[str, Any], ...]

    def request(self, period: Period | None = None, given: Mapping[str, Any] | None = None) -> Request:
        """What the file asks for. Raises UsageError if it does not say enough.

        Args:
            period: what `{period}` stands for; None where it stands for nothing.
            given: all options, where the command line had a say too; they stand for those above the `[[output]]` tables.
        """
        values = {key: value for key, value in (self.options if given is None else given).items() if key != "workers"}
        requests = []
        for table in self.outputs or ({},):
            one = {key: self.place.filled(key, value, period) for key, value in {**values, **table}.items()}
            for key in ("tokenizer", "output"):
                if not one.get(key):
                    raise UsageError(f"{self.place.path} names no {key}. Say {key} = …")
            requests.append(request(**one))
        outputs = [asked.output.rstrip("/") for asked in requests]
        twice = next((output for number, output in enumerate(outputs) if output in outputs[:number]), None)
        if twice is not None:
            raise UsageError(f"{self.place.path}: two [[output]] tables name {twice}. Give each a folder of its own.")
        return replace(requests[0], beside=tuple(requests[1:])) if self.outputs else requests[0]


def read(path: str) -> JobFile:
    """A job file. Raises UsageError if it cannot be read or says something that means nothing."""
    text = text_of(path)
    return JobTable(path, text).job(parsed(path, text))


@dataclass(frozen=True, slots=True)
class JobTable(TomlTable):
    """Where a job is written: a file, or a table of one."""

    def job(self, found: Mapping[str, Any]) -> JobFile:
        """The job that stands here. Raises UsageError as `read` does."""
        tables = found.get("output")
        if not isinstance(tables, list):
            return JobFile(self, self._checked(self, whole_model(), found), ())
        if not tables:
            raise UsageError(f"{self.path}: output is an empty list. Name a folder, or write [[output]] tables.")
        above = {key: value for key, value in found.items() if key != "output"}
        header = f"[{self.header.removesuffix(']')}.output]]".replace("[.", "[[") if self.header else "[[output]]"
        outputs = [
            self._checked(replace(self, header=header, number=number), output_model(), table)
            for number, table in enumerate(tables, start=self.before(header))
        ]
        return JobFile(self, self._checked(self, whole_model(), above), tuple(outputs))

    def filled(self, key: str, value: Any, period: Period | None) -> Any:
        """A value with its placeholders filled in. Raises UsageError if there is nothing to fill them with."""
        if key not in NAMES or value is None:
            return value
        if isinstance(value, list):
            return [self.filled(key, name, period) for name in value]

        def found(match: re.Match[str]) -> str:
            what, form = match.groups()
            if what == "period":
                if period is None:
                    raise UsageError(f"{self.at(key)} names {{period}}, and none is given. Give --period, such as 2026-11-24.")
                return period.written(form)
            of_environment = variable(what.removeprefix("env."))
            if of_environment is None:
                raise UsageError(f"{self.at(key)} names {{{what}}}, and the environment has no such variable. Set it.")
            return of_environment

        return PLACEHOLDER.sub(found, value)

    @staticmethod
    def _checked(at: "JobTable", model: type[BaseModel], found: Any) -> dict[str, Any]:
        """The values of a table as options take them: paths from its folder on, `false` for a token spelled out."""
        try:
            values = model.model_validate(found).model_dump(exclude_unset=True)
        except ValidationError as error:
            raise at._wrong(error, model) from None
        settled: dict[str, Any] = {}
        for key, value in values.items():
            if key in ENDS:
                settled[f"no_{key}"] = value is False
                settled[key] = None if value is False else value
            elif key in PATHS:
                settled[key] = [at.from_here(place) for place in value] if isinstance(value, list) else at.from_here(value)
            elif key == "tokenizer" and value.startswith("."):
                settled[key] = at.from_here(value)
            else:
                settled[key] = value
        return settled

    def _wrong(self, error: ValidationError, model: type[BaseModel]) -> UsageError:
        """The first thing that is wrong, with its line and a remedy."""
        first = error.errors()[0]
        if not first["loc"]:
            return UsageError(f"{self.path}: an [[output]] is a table of options. {HELP}.")
        key = str(first["loc"][0])
        if first["type"] == "missing":
            return UsageError(f"{self.path}: an [[output]] names no output. Each needs a folder of its own.")
        if first["type"] != "extra_forbidden":
            return UsageError(f"{self.at(key)} cannot be {first['input']!r}: {first['msg'].lower()}. {HELP}.")
        if key in whole_model().model_fields and key not in OF_AN_OUTPUT:
            return UsageError(f"{self.at(key)} is the same for all outputs of one read. Say it above the first [[output]].")
        if key.startswith("no_") and key.removeprefix("no_") in ENDS:
            return UsageError(f"{self.at(key)} is no key. Write {key.removeprefix('no_')} = false.")
        return self.unknown(key, model.model_fields, "option of a job", HELP)
