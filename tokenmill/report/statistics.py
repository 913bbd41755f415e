"""What there is to say about a job, sealed or under way: the records that page, Markdown and JSON are made of."""

from dataclasses import asdict, dataclass
from typing import Any

from tokenmill.documents import Rejection
from tokenmill.job import DisabledEngine, Job
from tokenmill.manifest import Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What one file, or all below one folder, became."""

    #: Below what all sources have in common.
    name: str
    tokens: int
    documents: int
    #: As stored.
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """What one worker process did."""

    name: str
    batches: int
    tokens: int
    text_bytes: int
    #: At work; between batches it waits.
    seconds: float

    @property
    def bytes_per_second(self) -> float:
        """UTF-8 bytes of text per second at work."""
        return self.text_bytes / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Straggler:
    """A batch that took much longer than the median one."""

    batch: int
    worker: str
    seconds: float
    bytes: int
    attempt: int
    #: The stage that took most of it.
    stage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Tokens per second over time, by worker."""

    #: Seconds that one step of a series lasts.
    step: float
    #: Worker -> tokens per second in each step since the first batch began; all are of one length.
    series: dict[str, list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """A job on one page."""

    output: str
    job: Job
    sealed: bool
    totals: Totals
    committed: int
    #: The largest first; the last may stand for all others.
    sources: tuple[Source, ...]
    #: Share of the tokens whose batch held more than one source: they are laid to these by bytes.
    shared_out: float
    #: The busiest first; the last may stand for all others.
    workers: tuple[Worker, ...]
    throughput: Throughput
    #: Unix time of the first batch's beginning and the last one's end; None for both where there is no batch.
    began: float | None
    ended: float | None
    #: Seconds of all workers at work, and the same by stage.
    worker_seconds: float
    stages: dict[str, float]
    median_seconds: float
    #: The slowest first.
    stragglers: tuple[Straggler, ...]
    #: Batches by engine.
    engines: dict[str, int]
    #: Documents that the live check compared with the reference; that the reference encoded one by one.
    checked: int
    one_by_one: int
    disabled: tuple[DisabledEngine, ...]
    #: A few rejected records of each reason.
    examples: dict[str, tuple[Rejection, ...]]
    #: What an hour of one worker costs, in any currency; None where nobody has said.
    cost_per_hour: float | None

    @property
    def bytes_per_token(self) -> float | None:
        """UTF-8 bytes of text that a token stands for; None without tokens."""
        return self.totals.text_bytes / self.totals.tokens if self.totals.tokens else None

    @property
    def tokens_per_document(self) -> float | None:
        return self.totals.tokens / self.totals.documents if self.totals.documents else None

    @property
    def wall_seconds(self) -> float:
        """From the first batch's beginning to the last one's end, pauses included."""
        return self.ended - self.began if self.began is not None and self.ended is not None else 0.0

    @property
    def hours_per_billion(self) -> float | None:
        """Hours of one worker for a billion tokens."""
        return self.worker_seconds / 3600 * 1e9 / self.totals.tokens if self.totals.tokens else None

    @property
    def cost_per_billion(self) -> float | None:
        """What a billion tokens cost; None where nobody has said what an hour does."""
        hours = self.hours_per_billion
        return None if hours is None or self.cost_per_hour is None else hours * self.cost_per_hour

    def summary(self) -> dict[str, Any]:
        """For machines: `tokenmill report --json`."""
        totals, job = self.totals, self.job
        return {
            "job_id": job.job_id,
            "name": job.name,
            "output": self.output,
            "sealed": self.sealed,
            "batches": job.batches,
            "committed": self.committed,
            **totals.model_dump(mode="json", exclude={"version", "job_id", "folder_files"}),
            "bytes_per_token": self.bytes_per_token,
            "tokens_per_document": self.tokens_per_document,
            "sources": [asdict(source) for source in self.sources],
            "tokens_shared_out": self.shared_out,
            "began": self.began,
            "ended": self.ended,
            "wall_seconds": self.wall_seconds,
            "worker_seconds": self.worker_seconds,
            "worker_hours_per_billion_tokens": self.hours_per_billion,
            "cost_per_hour": self.cost_per_hour,
            "cost_per_billion_tokens": self.cost_per_billion,
            "stage_seconds": self.stages,
            "workers": [asdict(worker) for worker in self.workers],
            "throughput": asdict(self.throughput),
            "median_batch_seconds": self.median_seconds,
            "stragglers": [asdict(straggler) for straggler in self.stragglers],
            "engine": job.engine.model_dump(mode="json"),
            "batches_by_engine": self.engines,
            "documents_compared": self.checked,
            "documents_one_by_one": self.one_by_one,
            "disabled_engines": {disabled.engine: disabled.says() for disabled in self.disabled},
            "rejected_examples": {reason: [asdict(one) for one in found] for reason, found in self.examples.items()},
            "versions": job.versions,
        }
