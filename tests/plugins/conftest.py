"""Entry points as a stranger's package would bring them."""

from tests.fake_distribution import install

__all__ = ["install"]
