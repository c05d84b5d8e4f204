"""The loop that all programs share: optimizer, sharding, checkpoints, validation, logs. It knows no model of ours."""
