"""Datasets of prediction markets: the audit that nothing in them looks ahead."""

from truetape.datasets.audit import Audit, Difference, audit_canonical

__all__ = ["Audit", "Difference", "audit_canonical"]
