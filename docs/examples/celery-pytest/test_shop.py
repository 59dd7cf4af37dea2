import pytest
from celery.contrib.testing.worker import start_worker

from shop import app, buy


@pytest.fixture
def worker(toril):
    app.conf.update(broker_url=toril.url, result_backend=toril.url)
    with start_worker(app, pool="solo", perform_ping_check=False):
        yield


def test_an_order_is_paid_at_the_second_try(worker):
    assert buy("tea", 2).get(timeout=10) == {"item": "tea", "count": 2, "paid": True}


def test_each_test_has_a_server_of_its_own(worker, toril):
    # The result of the test before is not there.
    assert not [key for key in toril.command("KEYS", "*") if key.startswith("celery-task-meta-")]
