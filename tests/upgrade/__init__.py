"""The released version beside this one: `released.tar.xz` is its code, `ledgers.json.xz` what it left in mid-batch."""
