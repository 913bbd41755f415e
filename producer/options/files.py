"""Options that say which files, and how much of them."""

from functools import partial
from typing import Annotated

import typer

from producer.options.option import named

PANEL = "Which files"
option = partial(named, panel=PANEL)

Sources = Annotated[
    list[str] | None,
    typer.Argument(
        help="Files, folders, globs or URLs, @FILE for a list of them: .jsonl, .json, .csv, .tsv, .txt, .wet (also .gz, .zst, .bz2, .xz), .parquet, .arrow, saved Hugging Face datasets.",
        show_default=False,
    ),
]
SourcesFrom = Annotated[
    list[str] | None, option("--sources-from", help="A file that names sources, one a line; the same as @FILE. Repeatable.")
]
Include = Annotated[
    list[str] | None,
    option("--include", help="Take only files that this glob matches, such as '*.jsonl' or 'en/**'. Repeatable."),
]
Exclude = Annotated[list[str] | None, option("--exclude", help="Leave out files that this glob matches. Repeatable.")]
Sample = Annotated[float, option("--sample", help="Take about this share of the corpus, such as 0.01, spread over all files.")]
Limit = Annotated[str | None, option("--limit", help="Take at most this much of it, such as 500MB or 2GiB.")]
SampleSeed = Annotated[int, option("--sample-seed", help="Which sample.")]
