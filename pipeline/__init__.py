"""simlift: SIM and eSIM inventories into a vendor's platform, every row accounted for on evidence.

source → producer (screen · dedupe · encode · cut) → feed → worker pool (claim · pace · send · reconcile ·
decide · settle) → target; every step is written down in the ledger, and reports are read from it.
"""
