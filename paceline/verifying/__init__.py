"""Hold manifest, ledger, provider and output of a batch against each other, changing none of them."""
