"""Prints records from the oldest on, with `websockets`: python websockets_follow.py [URL] [TOPIC]"""

import json, sys, time
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/pubsub"
topic = sys.argv[2] if len(sys.argv) > 2 else "demo"
position = {"next": {}, "topic_id": None}  # keep this to continue after a restart

while True:
    try:
        # Its limit for a message is 1 MiB unless `max_size` says otherwise. The bridge keeps to it, too.
        with connect(url, subprotocols=["sluicegate.v1.json"], max_size=1 << 20) as socket:
            socket.send(json.dumps({"id": 1, "session": {"max_message_bytes": 1 << 20}}))
            socket.send(json.dumps({"id": 2, "subscribe": {"topic": topic, "from": "earliest", **position}}))
            for answer in map(json.loads, socket):
                for subscribed in answer.get("subscribed", []):
                    position["next"] = subscribed["partitions"] | position["next"]
                    position["topic_id"] = subscribed["topic_id"]
                for record in answer.get("messages", []):
                    # An error stands in place of a record that is larger than the limit.
                    value = record["error"]["message"] if "error" in record else json.dumps(record["value"])
                    print(record["partition"], record["offset"], value, flush=True)
                position["next"].update(answer.get("next", {}))
                if error := answer.get("error"):
                    if not error["retriable"]:
                        sys.exit(error["message"])
                    break
    except (OSError, WebSocketException) as problem:
        print("again:", problem, file=sys.stderr)
    # It never reconnects by itself.
    time.sleep(1)
