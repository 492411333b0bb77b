"""Node: consensus below, attempts beside, HTTP above: plan where we lead, decide what runs here, keep the session."""

from peercron.node.node import Node

__all__ = ["Node"]
