"""What the tests of the page's actions in Python share: how to ask for one, and a look at keys."""

import base64
import contextlib
import json
import os
import urllib.error
import urllib.request


def _send(path, body=None):
    url = f"{os.environ['UPSTASH_REDIS_REST_URL']}/_toril/{path}"
    headers = {"Authorization": f"Bearer {os.environ['UPSTASH_REDIS_REST_TOKEN']}", "Accept": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers)) as answer:
        return json.load(answer)


def _id(base):
    return base64.urlsafe_b64encode(f"0\0{base}".encode()).decode().rstrip("=")


def ask(base, action, **body):
    """Does something to the queue that is named by `base`: what toril answers."""
    return _send(f"queues/{_id(base)}/{action}", json.dumps(body).encode())


def job_of(base, job_id):
    """What the page says of a job."""
    return _send(f"view/job/{_id(base)}/{job_id}")


def refusal(base, action, **body):
    """Why something is not done at all."""
    try:
        return f"it was done: {ask(base, action, **body)}"
    except urllib.error.HTTPError as refused:
        return json.load(refused)["error"]


READERS = {
    b"hash": lambda client, key: client.hgetall(key),
    b"list": lambda client, key: client.lrange(key, 0, -1),
    b"set": lambda client, key: client.smembers(key),
    b"zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
    b"string": lambda client, key: client.get(key),
}


def keys_of(client, pattern):
    """All keys of a pattern with what they hold."""
    return {key: READERS[client.type(key)](client, key) for key in sorted(client.scan_iter(pattern))}


def everything(client):
    """All that is stored, as it is stored."""
    return {key: client.dump(key) for key in sorted(client.scan_iter("*"))}


@contextlib.contextmanager
def odd(client, key, kind):
    """A key is one of another type for a while than `kind`."""
    kept = client.dump(key)
    client.delete(key)
    client.set(key, "odd") if kind == "set" else client.sadd(key, "odd")
    before = everything(client)
    try:
        yield
        assert everything(client) == before, f"something was changed beside an odd {key}"
    finally:
        client.delete(key)
        if kept is not None:
            client.restore(key, 0, kept)


def refuse_odd(client, base, keys, orders):
    """Makes one key after another one of another type, and asks for everything: all is refused, says
    which key it is, and changes nothing. Where a queue is not known any more by that key, that is said.
    """
    for kind, all_of_kind in keys.items():
        for key in all_of_kind:
            with odd(client, key, kind):
                found = client.type(key).decode()
                for action, order in orders:
                    told = refusal(base, action, **order)
                    expected = f"the key {key} is of type {found}, and is to be of type {kind}"
                    assert expected in told or "this queue is gone" in told, f"{action}: {told}"
