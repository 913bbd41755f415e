"""A whole job in this process, by the reference: for tests that look at what comes out, not at who made it."""

from producer.prepare import Prepared, prepare
from producer.request import Request
from tests.integration.test_commit import Watch
from tokenmill import storage
from tokenmill.engines import Encoder
from tokenmill.pipeline import run_batch
from tokenmill.sink import Target
from tokenmill.tokenizers import Model


def run_to_seal(request: Request) -> Prepared:
    """Run a request from its record to its seal; what is committed already stays."""
    prepared = prepare(request)
    url = prepared.ledger.url("tokenizer/tokenizer.json")
    encoder = Encoder(Model(storage.read(url), url), prepared.job.spec, "reference")
    for batch in prepared.ledger.plan():
        run_batch([Target(prepared.job, prepared.ledger, encoder)], batch, Watch(), worker="w", attempt=1)
    prepared.ledger.seal(prepared.job)
    return prepared
