"""What the tests of the page's actions in Python share: how to ask for one, and a look at keys."""

import base64
import json
import os
import urllib.error
import urllib.request


def ask(base, action, **body):
    """Does something to the queue that is named by `base`: what toril answers."""
    queue = base64.urlsafe_b64encode(f"0\0{base}".encode()).decode().rstrip("=")
    url = f"{os.environ['UPSTASH_REDIS_REST_URL']}/_toril/queues/{queue}/{action}"
    headers = {"Authorization": f"Bearer {os.environ['UPSTASH_REDIS_REST_TOKEN']}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


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
