"""Counts how often a batch was begun, across crashes, so that one that keeps killing its worker is parked.

Counted in Redis before the work, since a killed worker cannot count afterwards. If Redis is wiped or away the count begins
anew: a batch then gets more tries, never fewer.
"""

import redis

from tokenmill.broker import KEY_SECONDS, attempts_key

#: A batch begun this often without an end is not begun again.
MOST = 4


def begin(client: redis.Redis, job_id: str, batch: int) -> int:
    """Count one more attempt and return its number, from 1."""
    try:
        with client.pipeline() as pipe:
            pipe.hincrby(attempts_key(job_id), str(batch), 1)
            pipe.expire(attempts_key(job_id), KEY_SECONDS)
            return int(pipe.execute()[0])
    except redis.RedisError:
        return 1


def forget(client: redis.Redis, job_id: str, batch: int) -> None:
    """The batch has ended, well or not."""
    try:
        client.hdel(attempts_key(job_id), str(batch))
    except redis.RedisError:
        pass  # a count too high for a batch that is done harms nobody
