"""Clients that stream answers of an Ollama server at the same time: one program in the network of a node, as programs of the server itself would ask."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.lab.node.node import Node

PATH = "/root/streams.py"
# Port, model, tokens of an answer, number of clients. Prints one line of JSON a client: the fields of `Stream`. A client waits at most five minutes.
PROGRAM = """
import http.client, json, sys, threading, time
port, model, tokens, clients = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
ready = threading.Barrier(clients)
found = [None] * clients
def ask(number):
    one = found[number] = {"status": 0, "lines": 0, "reason": "", "error": "", "first_seconds": None, "seconds": 0.0, "tokens": 0}
    body = json.dumps({"model": model, "prompt": "hello", "options": {"num_predict": tokens}})
    ready.wait()
    begun = time.monotonic()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        connection.request("POST", "/api/generate", body)
        answer = connection.getresponse()
        one["status"] = answer.status
        for line in answer:
            last = json.loads(line)
            if one["first_seconds"] is None:
                one["first_seconds"] = time.monotonic() - begun
            one["lines"] += 1
            one["error"] = last.get("error", "")
            one["tokens"] = last.get("eval_count", one["tokens"])
            one["reason"] = last.get("done_reason", "") if last.get("done") else ""
    except (OSError, ValueError, http.client.HTTPException) as error:
        one["error"] = repr(error)
    one["seconds"] = time.monotonic() - begun
threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for one in found:
    print(json.dumps(one))
"""


@dataclass(frozen=True)
class Stream:
    """One answer: HTTP status, lines of JSON, why the server ended it (empty: it was cut), times from the request on in seconds."""

    status: int
    lines: int
    reason: str
    error: str
    first_seconds: float | None
    seconds: float
    tokens: int

    @property
    def cut(self) -> bool:
        """Did an answer begin and not end."""
        return self.status == 200 and not self.reason and not self.error

    def __str__(self) -> str:
        return f"{self.status} {self.lines} {self.reason}{self.error}"


def ask(node: Node, port: int, model: str, tokens: int, clients: int) -> list[Stream]:
    """Ask with so many clients at the same time for answers of so many tokens."""
    node.write(PATH, PROGRAM)
    lines = node.run("python3", PATH, str(port), model, str(tokens), str(clients))[1].splitlines()
    return [Stream(**json.loads(line)) for line in lines]
