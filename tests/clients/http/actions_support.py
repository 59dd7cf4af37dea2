"""What the tests of the page's actions in Python share: how to ask for one, and a look at keys."""

import base64
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
