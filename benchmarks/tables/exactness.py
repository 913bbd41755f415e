"""The table of `exactness.py`, for `render.py`."""

from typing import Any

from tables.markdown import places, table


def exactness(results: dict[str, dict[str, Any]]) -> list[str]:
    """The GPU's ids beside the CPU's, over as much text as there was."""
    rows = [
        [
            name,
            f"{run['text_bytes'] / 1e9:.2f}",
            f"{run['documents']:,}",
            f"{run['unsure']:,}",
            f"{run['gpu_differs']:,}",
            f"{run['cpu_differs']:,} ({run['cpu_engine']})",
        ]
        for name, run in results.items()
    ]
    devices = " and ".join(sorted({run["device"] for run in results.values()}))
    return [
        f"**The GPU's ids**, its kernels on {devices}, beside those of the CPU's engine, over real text: "
        f"sources, documentation and translations out of Debian packages, each file a document, none twice. Where the two "
        f"differ, `tokenizers` says who is wrong. {places(results)}",
        "",
        *table(
            ["", "GB", "documents", "not vouched for, by either", "wrong documents, GPU", "wrong documents, CPU"],
            rows,
        ),
    ]
