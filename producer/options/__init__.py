"""The options that describe a job, once for all commands that take them."""

from producer import bytesize
from producer.options import chat as chats
from producer.options import files, ids, work
from producer.request import Request
from tokenmill.errors import UsageError

__all__ = ["request"]


def request(
    *,
    sources: files.Sources = None,
    tokenizer: ids.Tokenizer,
    output: work.Output,
    generation: work.Generation = None,
    sources_from: files.SourcesFrom = None,
    include: files.Include = None,
    exclude: files.Exclude = None,
    sample: files.Sample = 1.0,
    limit: files.Limit = None,
    sample_seed: files.SampleSeed = 0,
    eos_token: ids.EosToken = None,
    no_eos_token: ids.NoEosToken = False,
    bos_token: ids.BosToken = None,
    no_bos_token: ids.NoBosToken = False,
    special_tokens: ids.SpecialTokens = None,
    max_tokens: ids.MaxTokens = None,
    over_length: ids.OverLength = "keep",
    stride: ids.Stride = 0,
    shuffle: ids.Shuffle = None,
    pack: ids.Pack = None,
    pack_method: ids.PackMethod = "concatenate",
    pad_token: ids.PadToken = None,
    dtype: ids.Dtype = "auto",
    format: work.Format = "megatron",
    text_field: work.TextField = None,
    text_template: work.TextTemplate = None,
    chat: chats.Chat = False,
    messages_field: chats.MessagesField = None,
    prompt_field: chats.PromptField = None,
    response_field: chats.ResponseField = None,
    chat_template: chats.ChatTemplate = None,
    chat_date: chats.ChatDate = None,
    learn_from: chats.LearnFrom = None,
    id_field: work.IdField = None,
    metadata: work.Metadata = None,
    partition_by: work.PartitionBy = None,
    histograms: work.Histograms = False,
    minhash: work.Minhash = None,
    contamination: work.Contamination = None,
    separator: work.Separator = None,
    batch_bytes: work.BatchBytes = None,
    max_document_bytes: work.MaxDocumentBytes = 8 << 20,
    max_rejected: work.MaxRejected = 0.01,
    check_every: work.CheckEvery = 1000,
    engine: work.Engine = "auto",
    device: work.Device = "auto",
    notify: work.Notify = None,
    on_end: work.OnEnd = None,
    name: work.Name = None,
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
