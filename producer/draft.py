"""From a request to a spec: list the sources, resolve the tokenizer, settle what was left open, refuse what makes no sense.

Comes in: what the user asked for. Goes out: a `JobSpec`, the tokenizer's files, the corpus. Always holds: nothing is written;
what can be seen to be wrong is refused here, before anybody works.
"""

from producer.corpus import Corpus, absolute, collect
from producer.heldout import held_out
from producer.plan import batch_bytes_for
from producer.request import Request
from producer.selection import Selection
from tokenmill import documents, storage, tokenizers
from tokenmill.chat import settled
from tokenmill.errors import UsageError
from tokenmill.ledger import Ledger
from tokenmill.settings import Settings
from tokenmill.shards import FORMATS
from tokenmill.spec import Chat, Facts, JobSpec, OverLength, Packing, Sampling, SpecialTokens


def draft(
    request: Request, corpus: Corpus | None = None, before: str | None = None
) -> tuple[JobSpec, tokenizers.TokenizerFiles, Corpus]:
    """Turn a request into a spec, its tokenizer and its corpus. Raises UsageError for all that can be seen to be wrong.

    Args:
        corpus: the request's own, where another request for the same has been drafted already.
        before: the output of a job that has the same tokenizer.
    """
    storage.check_writable(request.output)
    sources = tuple(absolute(source) for source in request.sources)
    corpus = corpus or collect(sources, Selection(request.include, request.exclude))
    roots = Settings.from_environment().roots
    for file in corpus.files:
        roots.admit(file.url)  # a worker would refuse it
    files = _from_hub_before(request, before) or tokenizers.resolve(request.tokenizer)
    chat = _chat(request, files, corpus)
    # a template writes its own ends: more are put there only where they are asked for
    asked = [False if chat is not None and end is None else end for end in (request.eos_token, request.bos_token)]
    eos, bos = tokenizers.settle(files, *asked)
    dtype = FORMATS[request.format].settle(
        request.format, request.dtype, files.ref.vocab_size, has_ends=eos is not None or bos is not None
    )
    if request.text_field == request.id_field and request.text_template is None:
        raise UsageError("--id-field names the text field. Name another field or leave it out.")
    _check_lengths(request, ends=(eos is not None) + (bos is not None))
    sample = _sampling(request)
    bytes_read = corpus.bytes if sample is None else min(round(corpus.bytes * sample.share), sample.limit or corpus.bytes)
    spec = JobSpec(
        sources=sources,
        include=request.include,
        exclude=request.exclude,
        sample=sample,
        tokenizer=request.tokenizer,
        eos_token=eos,
        bos_token=bos,
        special_tokens=SpecialTokens(request.special_tokens or ("text" if chat is None else "reject")),
        dtype=dtype,
        format=request.format,
        max_tokens=request.max_tokens,
        over_length=OverLength(request.over_length),
        stride=request.stride,
        shuffle=request.shuffle,
        pack=_packing(request, files),
        text_field=request.text_field,
        text_template=request.text_template,
        chat=chat,
        id_field=request.id_field,
        metadata=request.metadata,
        partition_by=request.partition_by,
        facts=_facts(request, files),
        separator=request.separator,
        batch_bytes=request.batch_bytes or batch_bytes_for(bytes_read),
        max_document_bytes=request.max_document_bytes,
    )
    documents.Fields.of(spec)
    return spec, files, corpus


def _chat(request: Request, files: tokenizers.TokenizerFiles, corpus: Corpus) -> Chat | None:
    """How conversations are written; None for a job of plain text. Raises UsageError for what cannot be one."""
    if not request.chat:
        return None
    if request.special_tokens == "text":
        raise UsageError(
            "--special-tokens text: inside of what a template writes, a special token's string becomes that token, and no "
            "conversation could be kept that holds one. Give reject, or parse where you trust the corpus."
        )
    no_records = next((file.url for file in corpus.files if not documents.has_records(file.url)), None)
    if no_records is not None:
        raise UsageError(f"--chat: {no_records} holds no records with messages. Give .jsonl, .json, .parquet or .arrow.")
    template = None if request.chat_template is None else storage.read(absolute(request.chat_template))
    try:
        return settled(
            files.name,
            files.files.get(tokenizers.CHAT_TEMPLATE),
            files.config(),
            template=None if template is None else template.decode("utf-8"),
            today=request.chat_date,
            learn_from=request.learn_from,
            fields=request.chat,
        )
    except UnicodeDecodeError:
        raise UsageError(f"--chat-template {request.chat_template} is no UTF-8 text.") from None


def _sampling(request: Request) -> Sampling | None:
    """The sample that was asked for; all that decides nothing is left out, so that the same job is the same."""
    if request.sample == 1 and request.limit is None:
        return None
    return Sampling(share=request.sample, limit=request.limit, seed=request.sample_seed)


def _check_lengths(request: Request, ends: int) -> None:
    """Raise UsageError if the length options make no rule.

    Args:
        ends: tokens of a document that are BOS or EOS.
    """
    limit, rule = request.max_tokens, request.over_length
    if limit is None and rule != "keep":
        raise UsageError(f"--over-length {rule}: over what? Give --max-tokens.")
    if limit is not None and rule == "keep":
        raise UsageError(f"--max-tokens {limit} does nothing by itself. Give --over-length truncate, split or drop too.")
    if request.stride and rule != "split":
        raise UsageError("--stride is for pieces that overlap. Give --over-length split too, or leave it out.")
    if limit is not None and limit - ends - request.stride < 1:
        taken = " and ".join(["BOS and EOS"] * bool(ends) + ["--stride"] * bool(request.stride))
        raise UsageError(f"--max-tokens {limit} leaves no room for text beside {taken}. Give more.")


def _packing(request: Request, files: tokenizers.TokenizerFiles) -> Packing | None:
    """The rows that were asked for. Raises UsageError if they make no sense, or no token is settled to fill them."""
    length, method = request.pack, request.pack_method
    if length is None:
        given = ["--pad-token"] * (request.pad_token is not None) + ["--pack-method"] * (method != "concatenate")
        if given:
            raise UsageError(f"{given[0]} is for packed rows. Give --pack LENGTH too, or leave it out.")
        return None
    limit = request.max_tokens
    if method == "best-fit" and (limit is None or limit > length):
        raise UsageError(
            f"--pack-method best-fit cuts no document, and one may have more than {length} tokens. Say what becomes of it: "
            f"--max-tokens {length} and --over-length truncate, split or drop; or give --pack-method concatenate."
        )
    return Packing(length=length, method=method, pad_token=tokenizers.settle_pad(files, request.pad_token))


def _facts(request: Request, files: tokenizers.TokenizerFiles) -> Facts | None:
    """What is to be told of the ids; None for nothing."""
    sets = tuple(one for one, _ in held_out(request.contamination, files.model))
    facts = Facts(histograms=request.histograms, minhash=request.minhash, held_out=sets)
    return None if facts == Facts() else facts


def _from_hub_before(request: Request, before: str | None) -> tokenizers.TokenizerFiles | None:
    """The tokenizer that a job fetched from a hub under the same name: a hub is asked once per job, or chain of generations.

    Args:
        before: looked at where this output holds no job.
    """
    ledger = Ledger(request.output)
    if not ledger.has_job():
        if before is None:
            return None
        ledger = Ledger(before)
    ref = ledger.job().tokenizer
    if ref.name != request.tokenizer or ref.revision is None or ref.name.startswith("package:"):
        return None
    files = {file.path.removeprefix("tokenizer/"): storage.read(ledger.url(file.path)) for file in ref.files}
    return tokenizers.TokenizerFiles(name=ref.name, revision=ref.revision, files=files)
