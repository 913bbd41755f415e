"""The options that describe a job, once for all commands that take them."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from producer import bytesize
from producer.period import Period
from producer.request import Request
from tokenmill.choices import DtypeChoice, FormatName, PackMethod
from tokenmill.errors import UsageError

IDS, FILES, WORK, CHAT = "Ids", "Which files", "Work", "Chat"


def _option(*names: str, panel: str, help: str, **more: Any) -> Any:
    variable = "TOKENMILL_" + names[0].removeprefix("--").upper().replace("-", "_")
    return typer.Option(*names, help=help, envvar=variable, rich_help_panel=panel, **more)


def request(
    *,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, folders, globs or URLs, @FILE for a list of them: .jsonl, .json, .csv, .tsv, .txt, .wet (also .gz, .zst, .bz2, .xz), .parquet, .arrow, saved Hugging Face datasets.",
            show_default=False,
        ),
    ] = None,
    tokenizer: Annotated[
        str,
        _option(
            "--tokenizer", panel=IDS, help="Hub id, folder, tokenizer.json, .tiktoken, SentencePiece .model, or package:NAME."
        ),
    ],
    output: Annotated[str, _option("--output", panel=WORK, help="Folder for shards, entries and manifest.")],
    generation: Annotated[
        str | None,
        _option(
            "--generation",
            panel=WORK,
            help="The corpus grows: take what is new or changed since the generations in --output, into a folder of this name there.",
        ),
    ] = None,
    sources_from: Annotated[
        list[str] | None,
        _option("--sources-from", panel=FILES, help="A file that names sources, one a line; the same as @FILE. Repeatable."),
    ] = None,
    include: Annotated[
        list[str] | None,
        _option(
            "--include", panel=FILES, help="Take only files that this glob matches, such as '*.jsonl' or 'en/**'. Repeatable."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None, _option("--exclude", panel=FILES, help="Leave out files that this glob matches. Repeatable.")
    ] = None,
    sample: Annotated[
        float,
        _option("--sample", panel=FILES, help="Take about this share of the corpus, such as 0.01, spread over all files."),
    ] = 1.0,
    limit: Annotated[
        str | None, _option("--limit", panel=FILES, help="Take at most this much of it, such as 500MB or 2GiB.")
    ] = None,
    sample_seed: Annotated[int, _option("--sample-seed", panel=FILES, help="Which sample.")] = 0,
    eos_token: Annotated[str | None, _option("--eos-token", panel=IDS, help="Token after each document.")] = None,
    no_eos_token: Annotated[bool, _option("--no-eos-token", panel=IDS, help="No token after documents.")] = False,
    bos_token: Annotated[str | None, _option("--bos-token", panel=IDS, help="Token before each document.")] = None,
    no_bos_token: Annotated[bool, _option("--no-bos-token", panel=IDS, help="No token before documents.")] = False,
    special_tokens: Annotated[
        Literal["text", "parse", "reject"] | None,
        _option(
            "--special-tokens",
            panel=IDS,
            help="A special token's string in a document: keep it as text (default), parse it, or reject the document (default with --chat).",
        ),
    ] = None,
    max_tokens: Annotated[
        int | None, _option("--max-tokens", panel=IDS, help="Most tokens of a document, BOS and EOS included.", min=1)
    ] = None,
    over_length: Annotated[
        Literal["keep", "truncate", "split", "drop"],
        _option("--over-length", panel=IDS, help="A document with more: cut it off, cut it up, or leave it out, counted."),
    ] = "keep",
    stride: Annotated[
        int, _option("--stride", panel=IDS, help="With split: tokens a piece shares with the one before.", min=0)
    ] = 0,
    shuffle: Annotated[
        int | None,
        _option(
            "--shuffle", panel=IDS, help="Seed: put all documents into an order that depends on it alone.", min=0, max=2**64 - 1
        ),
    ] = None,
    pack: Annotated[
        int | None,
        _option(
            "--pack", panel=IDS, help="Store rows of exactly this many tokens in place of documents.", min=2, max=2**31 - 1
        ),
    ] = None,
    pack_method: Annotated[
        PackMethod,
        _option("--pack-method", panel=IDS, help="Documents end to end, cut where rows end; or whole, with padding."),
    ] = "concatenate",
    pad_token: Annotated[
        str | None, _option("--pad-token", panel=IDS, help="With --pack: what fills a row; by default the tokenizer's own.")
    ] = None,
    dtype: Annotated[
        DtypeChoice,
        _option(
            "--dtype", panel=IDS, help="Type of stored ids; auto is 16 bits where the format's own tools take these, else 32."
        ),
    ] = "auto",
    format: Annotated[
        FormatName, _option("--format", panel=WORK, help="Whose files the shards are: what the training stack reads.")
    ] = "megatron",
    text_field: Annotated[
        str | None,
        _option(
            "--text-field", panel=WORK, help="Field or column with the text, or a path to it (data.text); by default text."
        ),
    ] = None,
    text_template: Annotated[
        str | None,
        _option("--text-template", panel=WORK, help=r"The text from several fields, such as '{title}\n\n{body}'."),
    ] = None,
    chat: Annotated[
        bool,
        _option(
            "--chat",
            panel=CHAT,
            help="Documents are conversations: write them with the tokenizer's chat template, with loss masks.",
        ),
    ] = False,
    messages_field: Annotated[
        str | None,
        _option("--messages-field", panel=CHAT, help="Field with the messages, or a path to it; by default messages."),
    ] = None,
    prompt_field: Annotated[
        str | None, _option("--prompt-field", panel=CHAT, help="Field with what the user says, in place of messages.")
    ] = None,
    response_field: Annotated[
        str | None, _option("--response-field", panel=CHAT, help="Field with what the assistant answers.")
    ] = None,
    chat_template: Annotated[
        str | None, _option("--chat-template", panel=CHAT, help="File with a template to use in place of the tokenizer's.")
    ] = None,
    chat_date: Annotated[
        str | None,
        _option("--chat-date", panel=CHAT, help="The date that a template writes, as YYYY-MM-DD, if it asks for today's."),
    ] = None,
    learn_from: Annotated[
        list[str] | None,
        _option(
            "--learn-from",
            panel=CHAT,
            help="Role whose turns are learned from; by default what the template marks, or else assistant. Repeatable.",
        ),
    ] = None,
    id_field: Annotated[
        str | None, _option("--id-field", panel=WORK, help="Field or column that names a document in rejected/.")
    ] = None,
    metadata: Annotated[
        list[str] | None,
        _option(
            "--metadata", panel=WORK, help="Field or column to carry into metadata/, one row for each document; repeatable."
        ),
    ] = None,
    partition_by: Annotated[
        str | None,
        _option(
            "--partition-by", panel=WORK, help="Field or column, such as language: a sealed output for each of its values."
        ),
    ] = None,
    histograms: Annotated[bool, _option("--histograms", panel=WORK, help="Count ids and document lengths in facts/.")] = False,
    minhash: Annotated[
        int | None,
        _option("--minhash", panel=WORK, help="Numbers of each document's MinHash signature in facts/.", min=1, max=4096),
    ] = None,
    contamination: Annotated[
        list[str] | None,
        _option(
            "--contamination",
            panel=WORK,
            help="Test set (.jsonl, .txt): tell in facts/ which documents hold 13 tokens in a row of it. Repeatable.",
        ),
    ] = None,
    separator: Annotated[
        str | None,
        _option(
            "--separator",
            panel=WORK,
            help=r"Cuts .txt files into documents, such as '\n\n'; without it a file is one document.",
        ),
    ] = None,
    batch_bytes: Annotated[
        int | None,
        _option(
            "--batch-bytes",
            panel=WORK,
            help="Source bytes per batch and shard; by default 1/64 of the corpus, 4 to 256 MiB.",
            min=1,
        ),
    ] = None,
    max_document_bytes: Annotated[
        int, _option("--max-document-bytes", panel=WORK, help="Longer records are rejected.", min=1)
    ] = 8 << 20,
    max_rejected: Annotated[
        float,
        _option(
            "--max-rejected", panel=WORK, help="Largest share of damaged documents with which a job is sealed.", min=0, max=1
        ),
    ] = 0.01,
    check_every: Annotated[
        int,
        _option(
            "--check-every",
            panel=WORK,
            help="Encode one document in this many again with the reference, to check the engine; 0 for none.",
            min=0,
        ),
    ] = 1000,
    engine: Annotated[
        str,
        _option(
            "--engine",
            panel=WORK,
            help="auto, reference, fastokens, gigatoken, nanotoken, splintr-rs, cuda; the ids are the same.",
        ),
    ] = "auto",
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        _option("--device", panel=WORK, help="cuda: only workers that have a GPU do it; the ids are the same."),
    ] = "auto",
    notify: Annotated[
        list[str] | None,
        _option(
            "--notify", panel=WORK, help="Tell this webhook (https://…) of the end, or of the failure, in JSON. Repeatable."
        ),
    ] = None,
    on_end: Annotated[
        str | None,
        _option(
            "--on-end",
            panel=WORK,
            help="Run this command at the end, or the failure, with the same JSON on its standard input.",
        ),
    ] = None,
    name: Annotated[
        str | None, _option("--name", panel=WORK, help="Short name for people; by default the output folder's.")
    ] = None,
) -> Request:
    """Turn options into a request. Raises UsageError where two contradict each other."""
    if text_field is not None and text_template is not None:
        raise UsageError("--text-field and --text-template contradict each other. Give one.")
    conversation = {
        "--messages-field": messages_field,
        "--prompt-field": prompt_field,
        "--response-field": response_field,
        "--chat-template": chat_template,
        "--chat-date": chat_date,
        "--learn-from": learn_from,
    }
    if not chat and (lonely := [option for option, value in conversation.items() if value]):
        raise UsageError(f"{lonely[0]} is for conversations. Give --chat too, or leave it out.")
    if chat and (text_field is not None or text_template is not None):
        raise UsageError("--chat and --text-field or --text-template contradict each other: see --messages-field. Give one.")
    separator = _unescaped(separator)
    if separator == "":
        raise UsageError("--separator is empty. Give the text that stands between documents.")
    if not 0 < sample <= 1:
        raise UsageError(f"--sample {sample} is no share. Give a number above 0, and 1 at most.")
    named = (*(sources or ()), *(f"@{file}" for file in sources_from or ()))
    if not named:
        raise UsageError("no source is named. Give files, folders, globs or URLs, or --sources-from FILE.")
    return Request(
        sources=named,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        sample=sample,
        limit=None if limit is None else bytesize.parsed(limit, "--limit"),
        sample_seed=sample_seed,
        tokenizer=tokenizer,
        output=output,
        generation=generation,
        name=name,
        eos_token=_end("eos", eos_token, no_eos_token),
        bos_token=_end("bos", bos_token, no_bos_token),
        special_tokens=special_tokens,
        max_tokens=max_tokens,
        over_length=over_length,
        stride=stride,
        shuffle=shuffle,
        pack=pack,
        pack_method=pack_method,
        pad_token=pad_token,
        dtype=dtype,
        format=format,
        text_field=text_field or "text",
        text_template=_unescaped(text_template),
        chat=_conversation_fields(messages_field, prompt_field, response_field) if chat else (),
        chat_template=chat_template,
        chat_date=chat_date,
        learn_from=tuple(learn_from or ()),
        id_field=id_field,
        metadata=tuple(metadata or ()),
        partition_by=partition_by,
        histograms=histograms,
        minhash=minhash,
        contamination=tuple(contamination or ()),
        separator=separator,
        batch_bytes=batch_bytes,
        max_document_bytes=max_document_bytes,
        max_rejected=max_rejected,
        check_every=check_every,
        engine=engine,
        device=device,
        notify=tuple(notify or ()),
        on_end=on_end,
    )


def _read_job(context: typer.Context, path: str | None) -> Any:
    """Take a job file's values for those options that nobody gives; needs to run before the others are looked at."""
    if path is None:
        return None
    from producer import jobfile

    job = jobfile.read(path)
    context.default_map = {**job.options, **(job.outputs[0] if job.outputs else {})}
    return job


#: Not what a job is, but where it is written down.
Job = Annotated[
    Any,
    typer.Option(
        "--job",
        metavar="FILE",
        is_eager=True,
        callback=_read_job,
        parser=str,
        help="Take the options that are not given here from a TOML file; see `tokenmill schema`.",
        rich_help_panel=FILES,
    ),
]
ForPeriod = Annotated[
    Period | None,
    typer.Option(
        "--period",
        metavar="DATE",
        parser=Period.parsed,
        help="What {period} in a job file stands for.",
        rich_help_panel=FILES,
    ),
]


def takes_request(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command all of `request`'s options in place of its first parameter."""
    asked = inspect.signature(request).parameters
    own = list(inspect.signature(command).parameters.values())[1:]

    @functools.wraps(command)
    def wrapped(**values: Any) -> Any:
        job, given = values.pop("job"), {name: values.pop(name) for name in asked}
        period = values.pop("period")
        return command(request(**given) if job is None else job.request(period, given), **values)

    written = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=None)
        for name, kind in (("period", ForPeriod), ("job", Job))
    ]
    parameters = [*asked.values(), *written, *own]
    wrapped.__signature__ = inspect.Signature([p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


def _conversation_fields(messages: str | None, prompt: str | None, response: str | None) -> tuple[str, ...]:
    """The field of messages, or those of a prompt and its response."""
    if prompt is None and response is None:
        return (messages or "messages",)
    if prompt is None or response is None or messages is not None:
        raise UsageError("--prompt-field and --response-field go together, without --messages-field. Give both or neither.")
    return (prompt, response)


def _end(end: str, token: str | None, none: bool) -> str | bool | None:
    if token is not None and none:
        raise UsageError(f"--{end}-token and --no-{end}-token contradict each other. Give one.")
    return False if none else token


def _unescaped(text: str | None) -> str | None:
    """An option's text with the characters that its escapes, such as `\\n`, stand for."""
    return None if text is None else text.encode().decode("unicode_escape").encode("latin-1").decode()
