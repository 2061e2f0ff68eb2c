"""Fixtures that several rooms' tests share; what they are made of is in small_world.py."""

from small_world import shared, small

__all__ = ["shared", "small"]
