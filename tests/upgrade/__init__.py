"""Upgrades: nodes of two versions in one cluster, and data of one version in the hands of another."""
