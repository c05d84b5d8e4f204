"""What a build does to its shards: each step runs stages over one shard in a worker, and writes another."""
