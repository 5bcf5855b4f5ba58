"""Vendor APIs, one file each: contracts.Target, found by name through the entry points simlift.targets."""
