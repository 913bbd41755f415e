"""The right to work on one batch, held by one worker at a time: a key in Redis that ends by itself unless it is renewed.

Always holds: a lease is taken only where nobody's stands, and kept only while it is one's own, so a worker that was stopped and
wakes up later learns at its next renewal that the batch has gone to another. It saves double work and fences sleepers off; what
keeps copies harmless is the ledger (the first entry stands), so a broker that is away or wiped costs no batch.
"""

import secrets
import time

import redis

from tokenmill.broker import JobKeys

#: Seconds that a lease outlives its last renewal; renewals come every second.
SECONDS = 5.0
#: Seconds between two looks at a lease that another one holds.
LOOK = 0.25

#: Keep or take the lease unless it is another's: takes key, token, milliseconds.
RENEW = """
local holder = redis.call('get', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
return 1
"""
RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"


class Lease:
    """A lease on one batch."""

    def __init__(self, client: redis.Redis, keys: JobKeys, batch: int) -> None:
        self._client, self._key, self._token = client, keys.lease(batch), secrets.token_hex(8)

    def take(self) -> bool:
        """Take the lease, waiting as long as a dead holder's may stand. False if its holder is alive."""
        deadline = time.monotonic() + SECONDS + 1
        while not self.renew():
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK)
        return True

    def renew(self) -> bool:
        """Whether the batch is still ours; a broker that is away has given it to nobody else."""
        try:
            return bool(self._client.eval(RENEW, 1, self._key, self._token, str(int(SECONDS * 1000))))
        except redis.RedisError:
            return True

    def release(self) -> None:
        """Give the batch back."""
        try:
            self._client.eval(RELEASE, 1, self._key, self._token)
        except redis.RedisError:
            pass  # it ends by itself
