"""The whole job against its peers, and against its own engine alone."""

from contenders import FAST, FLOOR, HUGGING_FACE
from results import median

from tables.markdown import Run, table, where


def end_to_end(results: dict[str, Run]) -> list[str]:
    """The bars of all tokenizers in one table, then each tokenizer's contenders."""
    lines = ["**Ratios**, medians over the rounds of the tables below:", ""]
    ratios = {name: _ratios(run["contenders"]) for name, run in results.items()}
    labels = list(dict.fromkeys(label for one in ratios.values() for label in one))
    lines += table(["", *results], [[label, *(ratios[name].get(label, "") for name in results)] for label in labels])
    for name, run in results.items():
        lines += [
            "",
            f"**The whole job, {name}.** {run['corpus']}, repeated {run['copies']} times for tokenmill and the bare loops; "
            f"medians of interleaved rounds, as many as the table says; whole process trees with their start, except "
            f"the bare loops, which are the engine's calls alone on text in memory. The first round of tokenmill includes the "
            f"certification of its engine. {where(run, run['peers'])}",
            "",
        ]
        head = [
            "",
            "rounds",
            "text MB",
            "wall s",
            "CPU s",
            "MB of text per CPU-s",
            "largest process MB",
            "tree MB",
            "output bytes a token",
        ]
        lines += table(head, [_row(one) for one in run["contenders"].values()])
        if run["failed"]:
            lines += ["", f"Did not get to its end: {', '.join(run['failed'])}."]
        differing = _differing(run)
        if differing:
            lines += ["", differing]
    return lines


def _row(contender: Run) -> list[str]:
    rounds = contender["rounds"]
    text, cpu, rate = (median(rounds, field) for field in ("text_bytes", "cpu", "rate"))
    if contender["kind"] == FLOOR:
        return [contender["title"], str(len(rounds)), f"{text / 1e6:,.0f}", "", f"{cpu:.1f}", f"{rate:.1f}", "", "", ""]
    wall, largest, tree, output = (median(rounds, field) for field in ("wall", "peak_rss", "peak_pss", "output_bytes"))
    memory = [f"{size / 1e6:,.0f}" for size in (largest, tree)]
    return [
        contender["title"],
        str(len(rounds)),
        f"{text / 1e6:,.0f}",
        f"{wall:.1f}",
        f"{cpu:.1f}",
        f"{rate:.1f}",
        *memory,
        f"{output / rounds[0]['said']['tokens']:.2f}",
    ]


def _ratios(contenders: Run) -> dict[str, str]:
    """What issue and README state as bars; a ratio whose two sides were not measured is left out."""
    found: dict[str, str] = {}
    if "tokenmill" not in contenders:
        return found
    job = contenders["tokenmill"]["rounds"]
    rate = median(job, "rate")
    # of all engines, not the one in job.json: a long job may change its engine, and a slow choice must show here
    floors = [median(one["rounds"], "rate") for one in contenders.values() if one["kind"] == FLOOR and one["workers"] == 2]
    if floors:
        found["fastest engine's bare loop, 2 processes ÷ whole job"] = f"{max(floors) / rate:.2f}"
    peers = {one["title"]: median(one["rounds"], "rate") for one in contenders.values() if one["kind"] == HUGGING_FACE}
    if peers:
        fastest = max(peers, key=lambda title: peers[title])
        found["whole job ÷ fastest peer with the Hugging Face engine"] = f"{rate / peers[fastest]:.1f} ({fastest})"
    fast = [median(one["rounds"], "rate") for one in contenders.values() if one["kind"] == FAST]
    if fast:
        found["whole job ÷ Megatron-LM's fast path, once or repeated, whichever is faster"] = f"{rate / max(fast):.2f}"
    if "tokenmill-1" in contenders:
        alone = median(contenders["tokenmill-1"]["rounds"], "wall")
        found["wall, 1 worker on 1 core ÷ 2 workers on 2"] = f"{alone / median(job, 'wall'):.2f}"
    for other, label in (("tokenmill-zst", ".jsonl.zst"), ("tokenmill-parquet", "Parquet")):
        if other in contenders:
            found[f"CPU seconds, {label} ÷ .jsonl"] = f"{median(contenders[other]['rounds'], 'cpu') / median(job, 'cpu'):.2f}"
    found["largest process of a tokenmill job, MB"] = f"{median(job, 'peak_rss') / 1e6:,.0f}"
    return found


def _differing(run: Run) -> str:
    """A sentence about contenders whose tokens are not as many per document set as tokenmill's."""
    counts = {
        one["title"]: one["rounds"][0]["said"]["tokens"] / one["rounds"][0]["text_bytes"]
        for one in run["contenders"].values()
        if one["kind"] != FLOOR
    }
    job = run["contenders"].get("tokenmill")
    expected = counts[job["title"]] if job else None
    others = [f"{title} ({count / expected - 1:+.4%})" for title, count in counts.items() if expected and count != expected]
    return f"Tokens differ in number from tokenmill's: {', '.join(others)}." if others else ""
