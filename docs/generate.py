"""The reference, written from the code: `python docs/generate.py` writes `docs/reference/` anew.

Comes in: the commands with their options, settings, metrics, errors, and the keys of job files, as the code has them. Goes out:
a page in Markdown for each, the table of metrics in `deploy/prometheus/README.md`, README's ratios in the first pages. Always
holds: nothing here lists what the code knows already; `tests/unit/test_docs.py` compares what is committed with what this does.
"""

import inspect
import json
import os
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin

import typer.main
from pydantic import BaseModel
from sphinx.pycode import ModuleAnalyzer

from producer import gauges
from producer.cli import app, command
from producer.cli.generate_tokens import alone
from producer.jobschema import schema
from producer.options import request
from producer.schedule import table
from tokenmill import errors, settings
from tokenmill.documents import contract
from tokenmill.metric import Metric
from workers import launch, metrics

ROOT = Path(__file__).parents[1]
PROMETHEUS = ROOT / "deploy/prometheus/README.md"
#: Options of a job, in the order of their panels.
OF_A_JOB = {*inspect.signature(request).parameters, "job", "period"}

#: What programs that we stand on read from the environment themselves.
FOREIGN = (
    (
        "`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_PROFILE`, …",
        "S3, as boto3 reads them.",
    ),
    ("`GOOGLE_APPLICATION_CREDENTIALS`, …", "Google Cloud Storage, as google-auth reads them."),
    ("`HF_TOKEN`, `HF_ENDPOINT`, `HF_HOME`", "The Hugging Face hub, for tokenizers and `hf://` sources."),
    ("`FLOWER_BASIC_AUTH`", "`user:password` for Flower's pages."),
    ("`CUDA_VISIBLE_DEVICES`", "Which GPUs `tokenmill-worker` may use; respected where it is set."),
)
#: What stands in the first column of README's ratios, for the Chinese first page.
CHINESE = {
    "fastest engine's bare loop, 2 processes ÷ whole job": "最快引擎的裸循环（2 进程）÷ 完整作业",
    "whole job ÷ fastest peer with the Hugging Face engine": "完整作业 ÷ 使用 Hugging Face 引擎的最快同类工具",
    "whole job ÷ Megatron-LM's fast path, once or repeated, whichever is faster": "完整作业 ÷ Megatron-LM 快速路径（取较快者）",
    "wall, 1 worker on 1 core ÷ 2 workers on 2": "耗时：1 核 1 个 worker ÷ 2 核 2 个 worker",
    "CPU seconds, .jsonl.zst ÷ .jsonl": "CPU 秒数：.jsonl.zst ÷ .jsonl",
    "CPU seconds, Parquet ÷ .jsonl": "CPU 秒数：Parquet ÷ .jsonl",
    "largest process of a tokenmill job, MB": "tokenmill 作业中最大的进程，MB",
}

#: Settings whose default says something.
SHOWN = (str, float, int, type(Path()))


def pages() -> dict[Path, str]:
    """Every generated file, and what has to stand in it."""
    reference = ROOT / "docs/reference"
    made = {
        "commands": commands_page(),
        "settings": settings_page(),
        "jobfile": jobfile_page(),
        "schedules": schedules_page(),
        "metrics": metrics_page(),
        "errors": errors_page(),
    }
    written = {reference / f"{name}.md": text for name, text in made.items()}
    english = measured()
    return {
        **written,
        PROMETHEUS: _filled(PROMETHEUS, "metrics", metric_table()),
        ROOT / "docs/index.md": _filled(ROOT / "docs/index.md", "measured", english),
        ROOT / "docs/zh/index.md": _filled(ROOT / "docs/zh/index.md", "measured", chinese(english)),
    }


def measured() -> str:
    """The ratios that `benchmarks/render.py` wrote into README.md."""
    table = (ROOT / "README.md").read_text().split("**Ratios**", 1)[1].split("\n\n", 2)[1]
    return f"{table}\n"


def chinese(table: str) -> str:
    """The same with its labels in Chinese. Raises KeyError for a label that has none yet."""
    head = table.splitlines()[:2]
    rows = (line.removeprefix("| ").split(" | ", 1) for line in table.splitlines()[2:])
    return "\n".join([*head, *(f"| {CHINESE[label]} | {figures}" for label, figures in rows)]) + "\n"


def _filled(path: Path, name: str, text: str) -> str:
    """A file with a text between its marks."""
    before, rest = path.read_text().split(f"<!-- {name} begin -->\n")
    after = rest.split(f"<!-- {name} end -->\n")[1]
    return f"{before}<!-- {name} begin -->\n{text}<!-- {name} end -->\n{after}"


def commands_page() -> str:
    """Every command, its arguments and its options; what describes a job once for all commands that take it."""
    tokenmill, worker = typer.main.get_command(app), typer.Typer()
    worker.command()(launch.main)
    named = {
        **dict(_commands("tokenmill", tokenmill)),
        "tokenmill-worker": typer.main.get_command(worker),
        "generate_tokens": typer.main.get_command(alone()),
    }
    job = [one for one in named["tokenmill run"].params if one.name in OF_A_JOB]
    parts = [
        "# Commands",
        "Data goes to standard output, everything else to standard error. Most options also have an environment "
        "variable, which the command line overrules. What the exit status says stands under [Errors](errors.md#exit-status).",
    ]
    for name, one in named.items():
        takes_job = any(parameter.name == "job" for parameter in one.params)
        own = [parameter for parameter in one.params if not (takes_job and parameter.name in OF_A_JOB)]
        usage = " ".join(
            [name, *("SOURCE... --tokenizer T --output DIR" for _ in [0] if takes_job), *map(_written, _arguments(own))]
        )
        parts += [f"## {name}", f"```text\n{usage} [OPTIONS]\n```", _described(one.callback)]
        if takes_job:
            parts.append("Takes the [options of a job](#options-of-a-job).")
        if own:
            parts.append(_options(own))
    parts += ["## Options of a job", "For `run`, `submit` and `plan`; in a [job file](jobfile.md) the same names are keys."]
    for panel in dict.fromkeys(_panel(one) for one in job):
        parts += [f"### {panel}", _options([one for one in job if _panel(one) == panel])]
    return _page(parts)


def settings_page() -> str:
    """Every environment variable."""
    parts = [
        "# Settings",
        "What the host decides, not the job, comes from the environment. The variables of options stand "
        "with the [commands](commands.md).",
        "## Of tokenmill",
    ]
    described, unset = _comments(settings), _unset()
    for field in settings.Settings.__dataclass_fields__:
        text = described["Settings", field]
        names = [word for word in _words(text) if word.isupper() and "_" in word]
        if not names:  # what one of our processes tells another
            continue
        default = getattr(unset, field)
        by_default = f" By default `{default}`.".replace(str(Path.home()), "~") if type(default) in SHOWN else ""
        parts += [f"### {names[0]}", text.replace(f" ({names[0]})", "").replace(f"({names[0]}, ", "(") + by_default]
    return _page([*parts, "## Of what it stands on", _table(("variable", "says"), FOREIGN)])


def jobfile_page() -> str:
    """The keys of a job file."""
    published = schema()
    outputs = published["$defs"]["Output"]["properties"]
    rows = [
        (f"`{key}`", said["description"], _kind(said), "yes" if key in outputs else "")
        for key, said in published["properties"].items()
    ]
    return _page(
        [
            "# Job file",
            "A TOML file that says what the command line can say, under the options' names with underscores: "
            "`tokenmill run --job FILE`, and the same with `submit` and `plan`. What is given on the command line or in the "
            "environment has the last word. Paths start at the file's folder. `{period}` (`--period 2026-11-24`; also "
            "`{period:%Y/%m}`) and `{env.NAME}` are filled in. An unknown key is refused, with its line.",
            "Several `[[output]]` tables make several outputs of one read; the last column says which keys may "
            "differ among them.",
            "`#:schema job.schema.json` in the first line gives editors the list: `tokenmill schema > job.schema.json`.",
            _table(("key", "says", "is", "in `[[output]]`"), rows),
        ]
    )


def schedules_page() -> str:
    """The keys of a file of schedules."""
    said = _comments(table)

    def keys(model: type[BaseModel]) -> str:
        rows = [
            (f"`{key}`", said[model.__name__, key], "" if field.is_required() else f"`{json.dumps(field.default)}`")
            for key, field in model.model_fields.items()
        ]
        return _table(("key", "says", "by default"), rows)

    return _page(
        [
            "# schedules.toml",
            "Which jobs run when: `tokenmill schedule --file schedules.toml` ([how to](../howto/nightly.md)). Paths start "
            "at the file's folder. An unknown key is refused, with its line.",
            "## The file",
            keys(table.FileKeys),
            "## Each `[[schedule]]`",
            keys(table.ScheduleKeys),
        ]
    )


def metrics_page() -> str:
    """Every metric of both endpoints."""
    return _page(
        [
            "# Metrics",
            "`tokenmill-worker --metrics-port 9101` and `tokenmill dispatch --metrics-port 9102` serve them for "
            "Prometheus, on 127.0.0.1 unless [TOKENMILL_METRICS_HOST](settings.md#tokenmill-metrics-host) says "
            "otherwise. Counters are of committed batches, so their sums are the manifest's.",
            metric_table().rstrip(),
        ]
    )


def metric_table() -> str:
    """Every metric, as the page and the README of Prometheus show it."""
    rows: list[tuple[str, ...]] = []
    endpoints: tuple[tuple[str, tuple[Metric, ...]], ...] = (("workers", metrics.METRICS), ("dispatcher", gauges.METRICS))
    for endpoint, made in endpoints:
        rows.append((f"**{endpoint}**", "", ""))
        rows += [(f"`{metric.name}`", metric.says, ", ".join(metric.labels)) for metric in made]
    return _table(("metric", "says", "labels"), rows) + "\n"


def errors_page() -> str:
    """Exit status, errors, reasons for which documents are rejected."""
    statuses, reasons = _comments(command), _comments(contract)
    return _page(
        [
            "# Errors",
            "A message says what happened, where, and what to do. What cannot become tokens is no error but "
            "[counted data](#rejected-documents).",
            "## Exit status",
            _table(("status", "says"), [(str(int(one)), statuses["Exit", one.name]) for one in command.Exit]),
            "## Errors of the library",
            "Every error that tokenmill raises on purpose, by what to do about it (`tokenmill.errors`).",
            _table(
                ("class", "what to do"),
                [
                    (f"{'– ' * deep}`{kind.__name__}`", _prose(inspect.getdoc(kind) or ""))
                    for deep, kind in _below(errors.TokenmillError)
                ],
            ),
            "## Rejected documents",
            "Each stands in `rejected/`, with its file, position, reason and first 200 characters, and counts against "
            "`--max-rejected` unless its rule was asked for (`too_many_tokens`).",
            _table(("reason", "says"), [(f"`{one}`", reasons["Reason", one.name]) for one in contract.Reason]),
        ]
    )


def _commands(name: str, group: Any) -> Iterator[tuple[str, Any]]:
    """Every command below a group by what one types."""
    for word, one in group.commands.items():
        if hasattr(one, "commands"):
            if one.invoke_without_command:
                yield f"{name} {word}", one
            yield from _commands(f"{name} {word}", one)
        elif not one.hidden:
            yield f"{name} {word}", one


def _below(kind: type[Exception], deep: int = 0) -> Iterator[tuple[int, type[Exception]]]:
    """An error and those below it, with how deep they lie."""
    yield deep, kind
    for child in kind.__subclasses__():
        yield from _below(child, deep + 1)


def _comments(module: ModuleType) -> dict[tuple[str, str], str]:
    """What stands in `#:` above fields and members, by class and name."""
    found = ModuleAnalyzer.for_module(module.__name__).find_attr_docs()
    return {key: " ".join(lines).strip() for key, lines in found.items()}


def _unset() -> settings.Settings:
    """The settings of a host that sets nothing."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(("TOKENMILL_", "CUDA_", "PROMETHEUS_"))}
    try:
        return settings.Settings.from_environment()
    finally:
        os.environ.update(kept)


def _arguments(parameters: Iterable[Any]) -> list[Any]:
    return [one for one in parameters if not one.opts[0].startswith("-")]


def _written(argument: Any) -> str:
    """An argument as usage lines have it."""
    return f"{argument.name.upper()}{'...' if argument.nargs == -1 else ''}"


def _described(callback: Any) -> str:
    """What a command says of itself, its example as a block."""
    said, _, example = (inspect.getdoc(callback) or "").partition("Example: ")
    return _prose(said.strip()) + (f"\n\n```text\n{example}\n```" if example else "")


def _panel(parameter: Any) -> str:
    return getattr(parameter, "rich_help_panel", None) or "Which files"


def _options(parameters: list[Any]) -> str:
    rows = []
    for one in parameters:
        names = [_written(one)] if one in _arguments([one]) else [*one.opts, *one.secondary_opts]
        variable = f"`{one.envvar}`" if one.envvar else ""
        default = "" if one.default is None or one.default is False else f"`{one.default}`"
        given = "required" if one.required else default
        rows.append((", ".join(f"`{name}`" for name in names), _prose(one.help or ""), _takes(one), given, variable))
    return _table(("option", "says", "takes", "default", "variable"), rows)


def _takes(parameter: Any) -> str:
    """What is given to an option."""
    if getattr(parameter, "is_flag", False):
        return ""
    kind = parameter.type_descriptor.annotation
    if get_origin(kind) is Literal:
        return " ".join(f"`{word}`" for word in get_args(kind))
    return parameter.metavar or ("number" if kind in (int, float) else "text")


def _kind(said: dict[str, Any]) -> str:
    """The type of a key in words."""
    if "anyOf" in said:
        return " or ".join(_kind(one) for one in said["anyOf"] if one.get("type") != "null")
    if "enum" in said:
        return " ".join(f"`{word}`" for word in said["enum"])
    if "const" in said:
        return f"`{said['const']}`".lower()
    if "$ref" in said:
        return "tables"
    if said.get("type") == "array":
        items = said["items"]
        return "tables `[[output]]`" if "$ref" in items else f"list of {_kind(items)}s"
    return {"string": "text", "boolean": "true or false", "integer": "number", "number": "number"}[said["type"]]


def _words(text: str) -> Iterator[str]:
    """The words of a text, without what stands around them."""
    for word in text.replace("=", " ").split():
        yield word.strip("(),.;:`")


def _prose(text: str) -> str:
    return textwrap.dedent(text).replace("<|", r"<\|").replace("*", r"\*")


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') if cells is not heads else cell for cell in cells)} |"
        for cells in lines
    )


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(["<!-- written by docs/generate.py -->", *parts]) + "\n"


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
