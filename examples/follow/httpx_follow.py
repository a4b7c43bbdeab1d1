"""Prints records from the oldest on, with `httpx-sse`: python httpx_follow.py [URL]"""

import json, sys, time
import httpx
from httpx_sse import SSEError, connect_sse

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080/kafka/topics/demo/events?from=earliest"
last = None  # keep this to continue after a restart

# The default of 5 s is shorter than the 15 s between comments of a quiet stream.
with httpx.Client(timeout=httpx.Timeout(10, read=60)) as client:
    while True:
        try:
            with connect_sse(client, "GET", url, headers={"Last-Event-ID": last} if last else {}) as events:
                status = events.response.status_code
                if status == 204 or 400 <= status < 500 and status != 429:
                    sys.exit(events.response.read().decode() or "the stream has ended for good")
                events.response.raise_for_status()
                for event in events.iter_sse():
                    if event.event == "message":
                        record = json.loads(event.data)
                        print(record["partition"], record["offset"], json.dumps(record["value"]), flush=True)
                    elif event.event == "error":
                        print(json.loads(event.data)["detail"], file=sys.stderr)
                    last = event.id
        except (httpx.HTTPError, SSEError) as problem:
            print("again:", problem, file=sys.stderr)
        # It never reconnects by itself, also not after a stream that the bridge ends as it shuts down.
        time.sleep(1)
