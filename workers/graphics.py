"""What a GPU's worker encodes a job with, and computes its facts with: its GPU, where that is exact and pays.

Comes in: a job and what encodes it on the CPU, one of its batches. Goes out: an encoder, with one line in the log; arithmetic
on the device that it runs on. Always holds: it is decided at a process's first batch of the job, behind the fork, which no CUDA
survives; a worker without a GPU, a job for CPUs and an engine asked for by name are left alone; what the GPU no longer does,
the CPU does.
"""

import logging
from collections.abc import Sequence
from functools import partial

from tokenmill import documents
from tokenmill.engines import GPU, Encoder, on_gpu
from tokenmill.facts import Arithmetic, Proved, asked_of
from tokenmill.job import Batch, Device, Job
from tokenmill.settings import Settings

log = logging.getLogger(__name__)


def may_have_gpu(job: Job) -> bool:
    """Whether this worker's GPU may encode a job."""
    chosen = job.engine.name == GPU or not job.engine.by_name
    return bool(Settings.from_environment().visible_gpus) and job.device is not Device.CPU and chosen


def quickest(job: Job, cpu: Encoder, batches: Sequence[Batch]) -> Encoder:
    """The GPU's engine over the CPU's, or the CPU's alone.

    Args:
        batches: whose text it is measured on.
    """
    text = documents.sample(batches, job.spec)
    if not len(text):
        return cpu
    encoder, reason = on_gpu(cpu, Settings.from_environment().cache, text, by_name=job.engine.name == GPU)
    log.info("job %s is encoded by %s %s: %s", job.job_id, encoder.name, encoder.version, reason)
    return encoder


def computing(job: Job, output: str, encoder: Encoder) -> Arithmetic | None:
    """What computes the job's facts on the device of its encoder; None if there is none, or are none.

    Raises JobError if a test set in the output is not what the job was made with.
    """
    device, asked = encoder.device, asked_of(job, output)
    if device is None or asked is None:
        return None
    from tokenmill.facts.device import OnDevice

    return Proved(asked, partial(OnDevice, device))
