"""What a GPU's worker encodes a job with: its GPU, where that is exact and pays.

Comes in: a job and what encodes it on the CPU, one of its batches. Goes out: an encoder, with one line in the log. Always
holds: it is decided at a process's first batch of the job, behind the fork, which no CUDA survives; a worker without a GPU, a
job for CPUs and an engine asked for by name are left alone; what the GPU no longer does, the CPU does.
"""

import logging
from collections.abc import Sequence

from tokenmill import documents
from tokenmill.engines import GPU, Encoder, on_gpu
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
