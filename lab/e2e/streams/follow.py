"""Prints the elements of a stream from its beginning, with the official client for Python: follow.py URL MODE, which is auto or sse."""

import sys
import time

import httpx
from durable_streams import DurableStreamError, stream

_, url, mode = sys.argv
offset = "-1"
while True:
    try:
        with stream(url, offset=offset, live=mode) as response:
            for event in response.iter_events("json"):
                for element in event.data:
                    print(element, flush=True)
                offset = event.next_offset
    except (DurableStreamError, httpx.HTTPError) as problem:
        print("again:", problem, file=sys.stderr, flush=True)
    # The client repeats nothing by itself, and ends with the server's events.
    time.sleep(0.1)
