"""Options that say what is read of a record, what is written, and how the work is done."""

from functools import partial
from typing import Annotated, Literal

from producer.options.option import named
from tokenmill.choices import FormatName

PANEL = "Work"
option = partial(named, panel=PANEL)

Output = Annotated[str, option("--output", help="Folder for shards, entries and manifest.")]
Generation = Annotated[
    str | None,
    option(
        "--generation",
        help="The corpus grows: take what is new or changed since the generations in --output, into a folder of this name there.",
    ),
]
Format = Annotated[FormatName, option("--format", help="Whose files the shards are: what the training stack reads.")]
TextField = Annotated[
    str | None, option("--text-field", help="Field or column with the text, or a path to it (data.text); by default text.")
]
TextTemplate = Annotated[
    str | None, option("--text-template", help=r"The text from several fields, such as '{title}\n\n{body}'.")
]
IdField = Annotated[str | None, option("--id-field", help="Field or column that names a document in rejected/.")]
Metadata = Annotated[
    list[str] | None,
    option("--metadata", help="Field or column to carry into metadata/, one row for each document; repeatable."),
]
PartitionBy = Annotated[
    str | None, option("--partition-by", help="Field or column, such as language: a sealed output for each of its values.")
]
Histograms = Annotated[bool, option("--histograms", help="Count ids and document lengths in facts/.")]
Minhash = Annotated[
    int | None, option("--minhash", help="Numbers of each document's MinHash signature in facts/.", min=1, max=4096)
]
Contamination = Annotated[
    list[str] | None,
    option(
        "--contamination",
        help="Test set (.jsonl, .txt): tell in facts/ which documents hold 13 tokens in a row of it. Repeatable.",
    ),
]
Separator = Annotated[
    str | None,
    option("--separator", help=r"Cuts .txt files into documents, such as '\n\n'; without it a file is one document."),
]
BatchBytes = Annotated[
    int | None,
    option("--batch-bytes", help="Source bytes per batch and shard; by default 1/64 of the corpus, 4 to 256 MiB.", min=1),
]
MaxDocumentBytes = Annotated[int, option("--max-document-bytes", help="Longer records are rejected.", min=1)]
MaxRejected = Annotated[
    float, option("--max-rejected", help="Largest share of damaged documents with which a job is sealed.", min=0, max=1)
]
CheckEvery = Annotated[
    int,
    option(
        "--check-every",
        help="Encode one document in this many again with the reference, to check the engine; 0 for none.",
        min=0,
    ),
]
Engine = Annotated[
    str, option("--engine", help="auto, reference, fastokens, gigatoken, nanotoken, splintr-rs, cuda; the ids are the same.")
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], option("--device", help="cuda: only workers that have a GPU do it; the ids are the same.")
]
Notify = Annotated[
    list[str] | None,
    option("--notify", help="Tell this webhook (https://…) of the end, or of the failure, in JSON. Repeatable."),
]
OnEnd = Annotated[
    str | None,
    option("--on-end", help="Run this command at the end, or the failure, with the same JSON on its standard input."),
]
Name = Annotated[str | None, option("--name", help="Short name for people; by default the output folder's.")]
