"""One batch's attempts, remembered in Redis: how often it was begun, where it is now, and what earlier attempts died of.

Comes in: the places where the work is. Goes out: the number of an attempt and the deaths before it. A dead worker cannot say
that it died, so every place is noted before the work goes there; a note that still stands when the batch is begun again is
where the attempt before ended. If Redis is wiped or away the memory begins anew: a batch then gets more tries, never fewer.
"""

import json
import time
from typing import Any

import redis

from tokenmill.broker import KEY_SECONDS, JobKeys
from tokenmill.poison import Cause, Deaths, Place

#: Seconds for which nothing is noted after the broker has not answered: the work must not wait for it at every column.
SILENCE = 60.0


class Attempts:
    """The memory of one batch."""

    def __init__(self, client: redis.Redis, keys: JobKeys, batch: int) -> None:
        self._client, self._key = client, keys.attempts
        self._number, self._at, self._deaths, self._cause = (f"{batch}{part}" for part in ("", ":at", ":deaths", ":cause"))
        self._silent_until = 0.0
        self._known: list[tuple[Place | None, Cause]] = []
        #: What ended earlier attempts.
        self.deaths = Deaths()
        #: 1 for the first.
        self.number = 1

    def begin(self) -> bool:
        """Count one more attempt, and learn how those before ended; whether the last of them took its process along."""
        died = False
        try:
            with self._client.pipeline() as pipe:
                pipe.hincrby(self._key, self._number, 1)
                pipe.hmget(self._key, [self._at, self._deaths, self._cause])
                pipe.expire(self._key, KEY_SECONDS)
                number, (at, deaths, cause), _ = pipe.execute()
            self.number = int(number)
            self._known = [(_place(place), Cause(how)) for place, how in json.loads(deaths or "[]")]
            died = at is not None  # nobody took the note away: the attempt before did not come to its end
            if died:
                self._known.append((_place(json.loads(at)), Cause((cause or b"killed").decode())))
            self._remember()
            self.note(None)
        except (redis.RedisError, ValueError):
            pass
        self.deaths = Deaths.of(self._known)
        return died

    def died(self, cause: Cause, place: Place | None) -> None:
        """An attempt has ended over something that did not take its process along."""
        self._known.append((place, cause))
        self.deaths.add(place, cause)
        try:
            self._remember()
        except redis.RedisError:
            pass

    def note(self, place: Place | None) -> None:
        """The work goes to this place now."""
        if time.monotonic() >= self._silent_until:
            try:
                self._client.hset(self._key, self._at, json.dumps(_as_json(place)))
            except redis.RedisError:
                self._silent_until = time.monotonic() + SILENCE

    def rest(self) -> None:
        """The work waits for something that is not its fault; whoever is killed now does not count."""
        try:
            self._client.hdel(self._key, self._at)
        except redis.RedisError:
            pass

    def blame(self, cause: Cause) -> None:
        """This process is about to end itself, and says why."""
        try:
            self._client.hset(self._key, self._cause, cause.value)
        except redis.RedisError:
            pass

    def forget(self) -> None:
        """The batch has come to an end, well or not."""
        try:
            self._client.hdel(self._key, self._number, self._at, self._deaths, self._cause)
        except redis.RedisError:
            pass  # what is remembered of a batch that is done harms nobody

    def _remember(self) -> None:
        with self._client.pipeline() as pipe:
            pipe.hset(self._key, self._deaths, json.dumps([[_as_json(place), cause] for place, cause in self._known]))
            pipe.hdel(self._key, self._at, self._cause)
            pipe.execute()


def _as_json(place: Place | None) -> list[Any] | None:
    return None if place is None else [place.file, place.position, place.documents, place.alone]


def _place(value: list[Any] | None) -> Place | None:
    return None if value is None else Place(*value)
