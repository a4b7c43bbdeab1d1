"""CloudEvents' own SDK for Python, as a judge: it writes what Sluicegate reads, and reads what it writes.

    judge.py write KEY
    judge.py read

`write` prints messages: a JSON object a line, with the `binding` ("http" or "kafka"), the `headers`, the `key`, the `body` in base64, and the `events`
in it as JSON. Their `partitionkey` is KEY. `read` takes such lines without `events`, and prints the events of each.
"""

import base64
import json
import sys
from datetime import datetime, timezone

from cloudevents.core.bindings import http, kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

BATCH = "application/cloudevents-batch+json"
FORMAT = JSONFormat()


def main():
    if sys.argv[1] == "write":
        for message in write(sys.argv[2]):
            print(json.dumps(message))
        return
    for line in sys.stdin:
        print(json.dumps([canonical(event) for event in read(json.loads(line))]))


def write(key):
    all_of_them = [event for event in events(key)]
    for event in all_of_them:
        for to in [http.to_binary, http.to_structured]:
            message = to(event, FORMAT)
            yield of("http", message.headers, None, message.body, [event])
        for to in [kafka.to_binary, kafka.to_structured]:
            message = to(event, FORMAT)
            headers = {name: value.decode() for name, value in message.headers.items()}
            yield of("kafka", headers, message.key, message.value, [event])
    # The SDK has no batches.
    batch = b"[" + b",".join(FORMAT.write(event) for event in all_of_them) + b"]"
    yield of("http", {"content-type": BATCH}, None, batch, all_of_them)


def of(binding, headers, key, body, written):
    body = base64.b64encode(body).decode()
    return {"binding": binding, "headers": headers, "key": key, "body": body, "events": [canonical(event) for event in written]}


def events(key):
    for number, (more, data) in enumerate(
        [
            ({"datacontenttype": "application/json", "subject": 'Euro € 😀 100% "x"'}, {"a": [1, None, "ä"]}),
            ({"datacontenttype": "text/plain; charset=utf-8", "dataschema": "https://a.example/s#1"}, "Zoë"),
            ({"datacontenttype": "application/octet-stream", "myextension": "50%25"}, b"\xff\x00"),
            ({}, None),
        ]
    ):
        attributes = {"id": f"python-{number}", "source": "/a?b=%20", "type": "com.example.x", "partitionkey": key}
        time = datetime(2018, 4, 5, 17, 31, 0, 123000, tzinfo=timezone.utc)
        yield CloudEvent({**attributes, "specversion": "1.0", "time": time, **more}, data)


def read(message):
    body = base64.b64decode(message["body"]) if message["body"] is not None else None
    if message["binding"] == "kafka":
        headers = {name: value.encode() for name, value in message["headers"].items()}
        return [kafka.from_kafka(kafka.KafkaMessage(headers, message["key"], body), FORMAT)]
    if message["headers"].get("content-type") == BATCH:
        return [http.from_structured(http.HTTPMessage({}, json.dumps(event).encode()), FORMAT) for event in json.loads(body)]
    return [http.from_http(http.HTTPMessage(message["headers"], body), FORMAT)]


def canonical(event):
    """The event as JSON that is the same for each binding and mode."""
    attributes = {name: value for name, value in event.get_attributes().items() if value is not None}
    attributes["time"] = attributes["time"].astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    match event.get_data():
        case None:
            return attributes
        case bytes(data):
            return {**attributes, "data_base64": base64.b64encode(data).decode()}
        case data:
            return {**attributes, "data": data}


if __name__ == "__main__":
    main()
