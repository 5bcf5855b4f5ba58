"""Ledgers: implementations of contracts.Ledger, found by name through the entry points `simlift.ledgers`."""
