"""The page at /ui: figures of the stored decisions, a playground, health and keys, for holders of an admin key."""
