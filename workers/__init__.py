"""workers, the program that tokenizes: Redis messages in, committed shards out. Never imports `producer`."""
