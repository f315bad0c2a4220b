"""What a WSGI application sees behind gunicorn: one JSON line for each request."""

import json
import os


def application(environ, start_response):
    body = environ["wsgi.input"].read()
    entry = {"method": environ["REQUEST_METHOD"], "target": environ["RAW_URI"], "body": body.decode("latin1")}
    with open(os.environ["SEEN"], "a", encoding="ascii") as log:
        log.write(json.dumps(entry) + "\n")
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
