"""datatrove: JsonlReader into DocumentTokenizer on the local executor, one task per worker.

    python datatrove_tokens.py SOURCE_DIR TOKENIZER_JSON OUTPUT WORKERS EOS

Goes out: `.ds` and `.ds.index` files, and the counts as JSON on the last line. Shuffling is off, as tokenmill does none here.
"""

import json
import os
import sys
from pathlib import Path

# Both contact a hub when they may.
os.environ.update(HF_HUB_OFFLINE="1", DATATROVE_COLORIZE_LOGS="0")

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer

#: Documents in a call. The default of 10,000 holds gigabytes of Encoding objects; this is in the peer's favour.
BATCH = 1000


def main(source: str, tokenizer: str, output: str, workers: int, eos: str) -> None:
    """Run the pipeline and print what it wrote."""
    tokens = f"{output}/tokens"
    steps = [
        JsonlReader(source, glob_pattern="*.jsonl"),
        DocumentTokenizer(tokens, tokenizer, eos_token=eos, shuffle_documents=False, batch_size=BATCH),
    ]
    LocalPipelineExecutor(steps, tasks=workers, workers=workers, logging_dir=f"{output}/logs", skip_completed=False).run()
    documents = sum(path.stat().st_size for path in Path(tokens).glob("*.ds.index")) // 8
    # the second line of a .ds.metadata file is its count of tokens
    counts = [int(path.read_text().splitlines()[1]) for path in Path(tokens).glob("*.ds.metadata")]
    print(json.dumps({"documents": documents, "tokens": sum(counts)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
