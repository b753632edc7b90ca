"""The worker's Celery application, whose broker delivers what isn't acknowledged again, as an older version's did.

It looks for overdue messages all the time instead of every minute or two.

celery -A tests.support.hasty_broker worker
"""

from __future__ import annotations

from worker.app import app

app.conf.broker_transport_options = {
    **app.conf.broker_transport_options,
    "ack_emulation": True,
    "unacked_restore_interval": 0.1,
    "unacked_restore_throttle": 1,
}
