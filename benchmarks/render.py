"""The README's section "Measured", from the results files.

    python benchmarks/render.py [--results FOLDER] [--readme FILE]

Comes in: `results/*.json`. Goes out: README.md with the text between its two markers replaced. Always holds: no number in that
section is written by hand, and each table says its corpus, hardware, versions and date.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from contenders import FAST, FLOOR, HUGGING_FACE
from facts_table import facts, facts_alone
from one_read import APART, TOGETHER
from reading import READERS
from results import FOLDER, median

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- benchmarks begin -->\n", "<!-- benchmarks end -->\n"
Run = dict[str, Any]


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table; all columns but the first are numbers."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def where(run: Run, extra: dict[str, dict[str, str]] | None = None) -> str:
    """A table's machine, date and versions."""
    versions = {**run["versions"]}
    for pins in (extra or {}).values():
        versions.update(pins)
    named = ", ".join(f"{name} {number}" for name, number in versions.items() if name != "tokenmill")
    return (
        f"{run['hardware']}; {run['date']}; Python {run['python']}; "
        f"tokenmill {run['versions']['tokenmill']} ({run['commit']}), {named}."
    )


def places(results: dict[str, Run]) -> str:
    """Machine, date and versions of several runs; said once where they are the same."""
    runs: dict[str, list[str]] = {}
    for name, run in results.items():
        runs.setdefault(where(run), []).append(name)
    return next(iter(runs)) if len(runs) == 1 else " ".join(f"{', '.join(names)}: {place}" for place, names in runs.items())


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


def engines(results: dict[str, Run]) -> list[str]:
    """One table of all tokenizers and engines."""
    size = max(one["text_bytes"] for run in results.values() for rounds in run["rounds"].values() for one in rounds)
    numbers = {len(rounds) for run in results.values() for rounds in run["rounds"].values()}
    number = " or ".join(map(str, sorted(numbers)))
    lines = [
        f"**Engines**, one thread, {size / 1e6:.1f} MB of the same text from Arrow columns, medians of {number}; cold is the "
        f"first pass in a fresh process, warm the second over the same text. {places(results)}",
        "",
    ]
    rows: list[list[str]] = []
    for name, run in results.items():
        reference = run["rounds"].get("reference")
        for engine, rounds in run["rounds"].items():
            cold, warm = (median(rounds, "text_bytes") / 1e6 / median(rounds, kind) for kind in ("cold", "warm"))
            slow = median(reference, "text_bytes") / 1e6 / median(reference, "cold") if reference else None
            same = "" if not reference else "yes" if rounds[0]["ids"] == reference[0]["ids"] else "no"
            memory = f"{(median(rounds, 'peak_rss') - median(rounds, 'rss_before')) / 1e6:,.0f}"
            ratio = f"{cold / slow:.1f}" if slow else ""
            rows.append(
                [f"{name}, {engine}", f"{cold:.1f}", f"{warm:.1f}", ratio, f"{median(rounds, 'load'):.2f}", memory, same]
            )
    head = ["", "cold MB/CPU-s", "warm", "cold ÷ reference", "load CPU s", "memory added MB", "ids of the reference"]
    return lines + table(head, rows)


def formats(results: dict[str, Run]) -> list[str]:
    """One table of all vocabularies and shard formats."""
    size = min(one["tokens"] for run in results.values() for rounds in run["rounds"].values() for one in rounds)
    number = min(len(rounds) for run in results.values() for rounds in run["rounds"].values())
    lines = [
        f"**Formats**, one process, {size / 1e6:.0f} million real ids to this disk and back, medians of {number} interleaved "
        f"rounds. Open: until the lengths of all documents are known. {places(results)}",
        "",
    ]
    rows: list[list[str]] = []
    for name, run in results.items():
        base = median(run["rounds"]["megatron"], "write")
        for form, rounds in run["rounds"].items():
            first, write = rounds[0], median(rounds, "write")
            rows.append(
                [
                    f"{name}, {form}, {first['dtype']}",
                    f"{first['tokens'] / write / 1e6:.0f}",
                    f"{write / base:.2f}",
                    f"{1000 * median(rounds, 'open'):.0f}",
                    f"{first['tokens'] / median(rounds, 'read') / 1e6:,.0f}",
                    f"{first['bytes'] / first['tokens']:.2f}",
                    f"{median(rounds, 'added') / 1e6:.0f}",
                ]
            )
    speeds = ["M tokens written/CPU-s", "CPU ÷ megatron", "open, CPU ms", "M tokens read/CPU-s"]
    return lines + table(["", *speeds, "bytes a token", "memory added MB"], rows)


def startup(results: dict[str, Run]) -> list[str]:
    """Every start with every tokenizer."""
    number = max(len(rounds) for run in results.values() for rounds in run["rounds"].values())
    lines = [f"**Start-up**, 2 workers, private broker, medians of {number}. {places(results)}", ""]
    rows = [
        [f"{start} ({name})", f"{median(rounds, 'wall'):.2f}", f"{median(rounds, 'cpu'):.2f}"]
        for name, run in results.items()
        for start, rounds in run["rounds"].items()
    ]
    return lines + table(["", "wall s", "CPU s"], rows)


def dispatch(results: dict[str, Run]) -> list[str]:
    """What the producer needs for jobs of very many batches."""
    return [line for name, run in results.items() for line in _dispatch(name, run)]


def _dispatch(name: str, run: Run) -> list[str]:
    plan, sent, seal = run["plan"], run["dispatch"], run["dispatch"]["sealing"]
    done, workers = sent["done_before"], run["workers_stood_in_for"]
    lines = [
        f"**A job of {name}**, {done:,} of them done before; {workers} workers stood in for, which take messages and write "
        f"entries but encode nothing. {where(run)}",
        "",
    ]
    rows = [
        [
            "planning",
            f"{plan['wall_s']:.1f}",
            f"{plan['peak_rss_mb']:.0f}",
            f"plan of {plan['plan_parquet_bytes'] / 1e6:.1f} MB",
        ],
        ["taking over", f"{sent['taking_over_s']:.0f}", "", f"{sent['done_before']:,} entries read"],
        [
            "dispatching",
            f"{sent['wall_s']:.0f}",
            f"{sent['peak_rss_mb']:.0f}",
            f"{sent['batches_per_s']:.0f} batches/s; queue at most {sent['deepest_queue']}, under way at most "
            f"{sent['most_under_way']:,} of a window of {sent['window']:,}; {sent['bytes_per_message']} bytes a message",
        ],
        [
            "sealing",
            f"{seal['wall_s']:.0f}",
            f"{seal['peak_rss_mb']:.0f}",
            f"manifest of {seal['manifest_bytes'] / 1e6:.0f} MB",
        ],
    ]
    return lines + table(["", "wall s", "producer's peak MB", ""], rows)


def stages(results: dict[str, Run]) -> list[str]:
    """Where the CPU time of a batch goes, beside the bare loop."""
    names = list(dict.fromkeys(stage for run in results.values() for one in run["rounds"] for stage in one["cpu_s"]))
    work = [stage for stage in names if stage != "bare loop"]
    spent = {name: {stage: _a_gigabyte(run["rounds"], [stage]) for stage in names} for name, run in results.items()}
    rows = [[stage, *(f"{spent[name][stage]:.2f}" for name in results)] for stage in work]
    rows.append(["all of it", *(f"{_a_gigabyte(run['rounds'], work):.2f}" for run in results.values())])
    rows.append(["the engine's bare loop over the same columns", *(f"{spent[name]['bare loop']:.2f}" for name in results)])
    engines = ", ".join(dict.fromkeys(run["engine"] for run in results.values()))
    count = len(next(iter(results.values()))["rounds"])
    return [
        f"**Where the time of a batch goes**, thread CPU seconds per GB of text, JSON Lines in, `.bin`/`.idx` out, {engines}, "
        f"in one process, medians of {count} rounds over the same text. {places(results)}",
        "",
        *table(["", *results], rows),
    ]


def _a_gigabyte(rounds: list[Run], stages: list[str]) -> float:
    return statistics.median(sum(one["cpu_s"][stage] for stage in stages) / one["text_bytes"] * 1e9 for one in rounds)


def faults(found: dict[str, Any]) -> list[str]:
    """Every disturbed job of the chaos suite."""
    rows = [
        [
            one["name"],
            str(one["times"]),
            f"{one['documents_in']:,}",
            f"{one['documents_out']:,}",
            str(one["rejected"]),
            str(one["lost"]),
            "" if one["recovery"] is None else f"{one['recovery']:.1f}",
            str(one["attempts"] or ""),
            "same" if one["same_bytes"] else "without it",
        ]
        for one in found["faults"]
    ]
    head = ["", "times", "documents in", "out", "rejected", "lost or twice", "recovery s", "attempts", "bytes"]
    return [
        f"**Faults survived**, each by a real job on a real broker with real workers, {found['cpus']} cores, {found['date']}. "
        "Recovery: seconds from the fault, or from its end where it lasts, until every batch that it struck is committed. "
        "Bytes: manifest and shards against an undisturbed job's.",
        "",
        *table(head, rows),
        "",
        *[f"- {remark}" for remark in found["remarks"]],
    ]


def reading(results: dict[str, Run]) -> list[str]:
    """Every reader of token shards, and the bar."""
    lines: list[str] = []
    for name, run in results.items():
        medians = {reader: _reading(modes) for reader, modes in run["rounds"].items()}
        others = [values for reader, values in medians.items() if reader != "tokenmill"]
        ratios = (f"{medians['tokenmill'][mode] / max(one[mode] for one in others):.1f}" for mode in ("sequential", "shuffled"))
        number = len(run["rounds"]["tokenmill"]["sequential"])
        lines += [
            f"**Readers**, {name} of 32 bits in rows of 2,048, batches of 32 rows through a DataLoader without workers, "
            f"medians of {number} interleaved rounds; meanwhile: {run['load']}. tokenmill ÷ the fastest other: {next(ratios)} "
            f"sequential, {next(ratios)} shuffled. Open is from the call to the first batch; memory is a process's peak, in "
            f"which the pages of mapped files count. {where(run, run['peers'])}",
            "",
        ]
        rows = [
            [
                READERS[reader],
                *(f"{values[mode] / 1e6:,.0f}" for mode in ("sequential", "shuffled")),
                f"{values['random']:.0f}",
                f"{values['open'] * 1e3:.0f}",
                f"{values['memory'] / 1e6:,.0f}",
            ]
            for reader, values in medians.items()
        ]
        head = ["", "sequential, million tokens/s", "shuffled", "a row at random, µs", "open, ms", "memory MB"]
        lines += [*table(head, rows), ""]
    return lines[:-1]


def archives(results: dict[str, Run]) -> list[str]:
    """One large file, by how it can be begun in its middle."""
    lines: list[str] = []
    for name, run in results.items():
        lines += [
            f"**One large archive**, {run['text_bytes'] / 1e6:,.0f} MB of text in one file, 2 workers, {name}, medians of "
            f"{len(run['rounds']['.jsonl'])} interleaved rounds. {where(run)}",
            "",
        ]
        rows = [
            [
                shape,
                f"{rounds[0]['stored'] / 1e6:,.0f}",
                str(rounds[0]["batches"]),
                f"{median(rounds, 'wall'):.1f}",
                f"{median(rounds, 'cpu'):.1f}",
            ]
            for shape, rounds in run["rounds"].items()
        ]
        lines += [*table(["", "stored MB", "batches", "wall s", "CPU s"], rows), ""]
    return lines[:-1]


def one_read(results: dict[str, Run]) -> list[str]:
    """What one read for several outputs saves."""
    lines: list[str] = []
    for name, run in results.items():
        count = len(next(iter(run["rounds"].values()))[TOGETHER])
        lines += [
            f"**One read, two outputs**, {run['text_bytes'] / 1e6:,.0f} MB of text, {name}, 2 workers, medians of {count} "
            f"interleaved rounds. {where(run)}",
            "",
        ]
        rows = []
        for corpus, ways in run["rounds"].items():
            wall, cpu = ({way: median(turns, field) for way, turns in ways.items()} for field in ("wall", "cpu"))
            costs = [f"{cost[way]:.1f}" for cost in (wall, cpu) for way in (TOGETHER, APART)]
            rows.append([corpus, *costs, f"{cpu[TOGETHER] / cpu[APART]:.2f}"])
        heads = [f"{what}, {way}" for what in ("wall s", "CPU s") for way in (TOGETHER, APART)]
        lines += [*table(["", *heads, "CPU, ratio"], rows), ""]
    return lines[:-1]


def _reading(modes: dict[str, list[Run]]) -> dict[str, float]:
    said = {mode: [one["said"] for one in rounds] for mode, rounds in modes.items()}
    return {
        "sequential": median(said["sequential"], "rate"),
        "shuffled": median(said["shuffled"], "rate"),
        "random": median(said["random"], "microseconds"),
        "open": median(said["sequential"], "open"),
        "memory": median(modes["shuffled"], "peak_rss"),
    }


def main() -> None:
    """Render every results file that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=FOLDER)
    parser.add_argument("--readme", type=Path, default=README)
    arguments = parser.parse_args()
    lines: list[str] = []
    for section in (
        end_to_end,
        stages,
        engines,
        formats,
        archives,
        one_read,
        facts,
        facts_alone,
        startup,
        reading,
        dispatch,
        faults,
    ):
        file = arguments.results / f"{section.__name__}.json"
        if file.exists():
            lines += [*section(json.loads(file.read_text())), ""]
    before, rest = arguments.readme.read_text().split(BEGIN)
    after = rest.split(END)[1]
    arguments.readme.write_text(before + BEGIN + "\n".join(lines[:-1]) + "\n" + END + after)


if __name__ == "__main__":
    main()
