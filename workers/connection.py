"""This process's own connection to the broker, for bookkeeping beside Celery's."""

from functools import cache

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tokenmill.broker import SOCKET_OPTIONS, client_url
from workers.app import app


@cache
def broker_client() -> redis.Redis:
    """The connection, made at the first use."""
    # redis-py would try again for seconds by itself; the work must not wait for bookkeeping
    return redis.Redis.from_url(client_url(app.conf.broker_url), retry=Retry(NoBackoff(), 0), **SOCKET_OPTIONS)
