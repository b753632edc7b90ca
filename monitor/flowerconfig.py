"""What Flower executes as its configuration: `celery -A worker.app flower --conf=…/monitor/flowerconfig.py`.

Flower takes every name here that is one of its options for a setting; so there are none.
"""

from monitor.extension import install as _install

_install()
