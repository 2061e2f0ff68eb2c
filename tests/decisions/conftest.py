"""Fixtures of this room; what they are made of is in measured_world.py."""

from measured_world import command, three, world

__all__ = ["command", "three", "world"]
