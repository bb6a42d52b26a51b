#!/usr/bin/env python3
"""A drover provider in Python, with nothing but its standard library.

Usage: provider.py SOCKET FOLDER
       provider.py end FOLDER HANDLE   (ends an instance that was released, which no agent may)

Its instances are processes of this machine, each a folder in FOLDER with one JSON file. That is little, and
yet everything that the contract asks for: tokens that make nothing twice, owners that are never mixed up,
classes of errors, a schema, and instances that outlive the plugin. Copy it, and replace `start`, `is_running`
and `stop` by what makes, finds and ends your machines.

The protocol is docs/reference/plugin-protocol.md; the guide is docs/guides/write-a-provider.md.
"""

import contextlib
import hashlib
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler

SOCKET, FOLDER = sys.argv[1], sys.argv[2]  # SOCKET may be the word `end`.

# One call at a time changes something: simple, and fast enough for a provider of this size.
LOCK = threading.Lock()

OWNER = ("fleet", "group", "epoch", "digest", "token")


class Failure(Exception):
    """What a call is answered with that fails: a class that drover acts upon, and words for people."""

    def __init__(self, klass, message):
        super().__init__(message)
        self.klass = klass


# ---- What this provider is ---------------------------------------------------------------------------


def settings(params):
    """Says what `settings` of a Provider document may hold, whatever one has written."""
    page_size = {"type": "integer", "minimum": 1, "maximum": 1000, "description": "Instances in one page of a listing."}
    return {
        "settings": {
            "type": "object",
            "properties": {"pageSize": page_size},
            "additionalProperties": False,
        },
    }


def describe(params):
    """Says what the provider is. The schema is checked before anything is made, and by `drover validate`."""
    properties = {
        "command": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "description": "The program and its arguments.",
            "x-drover-class": "replace",
        },
        "note": {
            "type": "string",
            "description": "For people; a change replaces nothing.",
            "x-drover-class": "ignore",
        },
    }
    return {
        "batchMax": 5,
        "visibilityMs": 0,
        "methods": ["logs"],
        "properties": {
            "type": "object",
            "properties": properties,
            "required": ["command"],
            "additionalProperties": False,
        },
    }


def check_properties(properties):
    """Refuses what the schema refuses: the plugin is asked by others than drover, too."""
    command = properties.get("command")
    if not isinstance(command, list) or not command or not all(isinstance(a, str) for a in command):
        raise Failure("invalidSpec", "command: expected a list of texts with at least one entry")
    unknown = set(properties) - {"command", "note"}
    if unknown:
        raise Failure("invalidSpec", f"unknown field {min(unknown)}")


# ---- Records: one folder for each token, written before anything is started --------------------------


def path(*names):
    return os.path.join(FOLDER, *names)


def write(name, record):
    """Replaces a file in one step: after a crash it is the old one or the new one, whole."""
    with open(path(name + ".new"), "w") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path(name + ".new"), path(name))


def read(name):
    try:
        with open(path(name)) as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def records():
    """Every batch that was ever asked for, with its instances."""
    for name in sorted(os.listdir(FOLDER)):
        if name.endswith(".batch"):
            yield name, read(name)


def asked_for(params):
    """Says in one text what a call asks for: a repeated one asks for the same, whatever its secrets are worth by now."""
    if params.get("asked"):
        return params["asked"]
    # Older releases do not say it: then it is everything but what may differ.
    rest = {key: value for key, value in params.items() if key not in ("scope", "urgency")}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def find(params):
    """Returns the batch and the instance of a handle. What was made in another scope is nothing that this one knows."""
    ref, scope = params["ref"], params["scope"]["provider"]
    for name, batch in records():
        if batch["scope"] != scope:
            continue
        for instance in batch["instances"]:
            if instance["ref"] == ref:
                return name, batch, instance
    return None, None, None


# ---- Machines: replace these three -------------------------------------------------------------------


def start(instance, command, slot):
    # What is secret stands in `env`, and is written nowhere.
    log = open(path(instance["ref"] + ".log"), "ab")
    process = subprocess.Popen(
        command,
        env={"PATH": os.environ.get("PATH", os.defpath), **slot["env"]},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        # Its own session: the instance outlives the plugin.
        start_new_session=True,
    )
    log.close()
    # Reaps it, should it end while the plugin runs.
    threading.Thread(target=process.wait, daemon=True).start()
    return {"pid": process.pid, "began": began(process.pid)}


def began(pid):
    """When a process began: a pid alone may be another one's by now."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_running(instance):
    process = instance.get("process")
    # What had ended before it was looked at has no beginning.
    return process is not None and process["began"] is not None and began(process["pid"]) == process["began"]


def stop(instance):
    if is_running(instance):
        os.killpg(instance["process"]["pid"], signal.SIGKILL)


# ---- The calls ---------------------------------------------------------------------------------------


def provision(params):
    """Makes the instances of a batch. One token makes one batch, however often it is asked for."""
    check_properties(params["properties"])
    if not 1 <= len(params["slots"]) <= 5:
        raise Failure("invalidSpec", "a batch has 1 to 5 slots")
    if any(slot.get("seat") for slot in params["slots"]):
        raise Failure("invalidSpec", "this provider has no places with attachments")
    if params.get("substitute"):
        raise Failure("invalidSpec", "this provider knows no address before there is an instance")
    scope, asked = params["scope"]["provider"], asked_for(params)
    name = params["token"] + ".batch"
    batch = read(name)
    if batch is None:
        now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
        instances = [
            {"ref": f"{params['token']}-{number}", "instance": slot["instance"], "createdAt": now}
            for number, slot in enumerate(params["slots"])
        ]
        owner = {key: params[key] for key in OWNER}
        batch = {"scope": scope, "asked": asked, "owner": owner, "zone": params.get("zone"), "instances": instances}
        # Written before anything is started: a repeated call finds it.
        write(name, batch)
    elif (batch["scope"], batch["asked"]) != (scope, asked):
        raise Failure("invalidSpec", "the token was used with other parameters")
    for instance, slot in zip(batch["instances"], params["slots"]):
        if not instance.get("process") and not instance.get("ended"):
            try:
                instance["process"] = start(instance, params["properties"]["command"], slot)
            except OSError as error:
                instance["failed"] = instance["ended"] = True
                write(name, batch)
                raise Failure("invalidSpec", f"cannot start: {error}")
            write(name, batch)
    return {"made": {instance["instance"]: instance["ref"] for instance in batch["instances"]}}


def list_instances(params):
    """Lists what carries the fleet's ownership, some on a page: a listing may have pages."""
    size = params["scope"].get("settings", {}).get("pageSize", 2)
    found = []
    for _, batch in records():
        owner = batch["owner"]
        is_asked_for = (batch["scope"], owner["fleet"]) == (params["scope"]["provider"], params["fleet"])
        if not is_asked_for:
            continue
        for instance in batch["instances"]:
            if instance.get("ended") or instance.get("released"):
                continue
            # Written down and not started yet: the call is still at work, or is repeated.
            waits = instance.get("process") is None
            phase = "pending" if waits else "running" if is_running(instance) else "exited"
            shown = {
                "ref": instance["ref"],
                "phase": phase,
                "owner": {key: owner[key] for key in OWNER} | {"instance": instance["instance"]},
                "createdAt": instance["createdAt"],
            }
            if batch["zone"]:
                shown["zone"] = batch["zone"]
            if phase == "exited":
                shown["exit"] = {"message": "its process has ended"}
            found.append(shown)
    # A page begins after a handle, not at a position: what ends between two pages would move the others to the
    # page before, which was read already, and an instance that runs would be in none.
    found.sort(key=lambda shown: shown["ref"])
    rest = [shown for shown in found if shown["ref"] > (params.get("from") or "")]
    page = {"complete": True, "instances": rest[:size]}
    if len(rest) > size:
        page["next"] = rest[size - 1]["ref"]
    return page


def destroy(params):
    """Ends an instance. What is gone is fine; what is not the one that is meant is left alone."""
    name, batch, instance = find(params)
    if instance is None:
        return {}
    meant = (params["fleet"], params["group"], params["instance"], params["token"])
    owner = batch["owner"]
    is_it = (owner["fleet"], owner["group"], instance["instance"], owner["token"])
    if meant != is_it or instance.get("released"):
        raise Failure("notFound", f"{params['ref']} is not the instance that is meant")
    if not instance.get("ended"):
        stop(instance)
        instance["ended"] = True
        write(name, batch)
    return {}


def release(params):
    """Takes the owner off an instance and leaves it running."""
    name, batch, instance = find(params)
    if instance is None or instance.get("ended") or batch["owner"]["fleet"] != params["fleet"]:
        raise Failure("notFound", f"{params['ref']} is not the fleet's")
    instance["released"] = True
    write(name, batch)
    return {}


def logs(params):
    _, _, instance = find(params)
    if instance is None:
        raise Failure("notFound", f"there is no {params['ref']}")
    with open(path(params["ref"] + ".log"), errors="replace") as file:
        return {"text": "".join(file.readlines()[-params["lines"] :])}


def hello(params):
    return {"Objects": {"Provider/1": [{"Name": "."}]}}


METHODS = {
    "Handshake.Hello": hello,
    "Provider.Settings": settings,
    "Provider.Describe": describe,
    "Provider.List": list_instances,
    "Provider.Provision": provision,
    "Provider.Destroy": destroy,
    "Provider.Release": release,
    "Provider.Logs": logs,
}


# ---- JSON-RPC over HTTP on a unix socket -------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return  # Who called is gone, in the middle of it.
        call = json.loads(body)
        answer = {"jsonrpc": "2.0", "id": call.get("id")}
        try:
            method = METHODS.get(call["method"])
            if method is None:
                raise Failure("invalidSpec", f"can't find method {call['method']}")
            # Who greets is answered at once, also while instances are made.
            with contextlib.nullcontext() if method is hello else LOCK:
                answer["result"] = method(call.get("params") or {})
        except Failure as failure:
            data = {"class": failure.klass}
            answer["error"] = {"code": -32000, "message": str(failure), "data": data}
        except Exception as error:  # A mistake of ours: nobody knows what it left behind.
            data = {"class": "unknown"}
            answer["error"] = {"code": -32000, "message": repr(error), "data": data}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], BrokenPipeError):  # Who called did not wait.
            super().handle_error(request, client_address)


def end_released(ref):
    """Ends an instance that was released: for people, and for `drover plugin conform --end-released`."""
    for _, batch in records():
        for instance in batch["instances"]:
            if instance["ref"] == ref and instance.get("released"):
                return stop(instance)
    sys.exit(f"{ref} is nothing that was released")


if __name__ == "__main__":
    if SOCKET == "end":
        sys.exit(end_released(sys.argv[3]))
    os.makedirs(FOLDER, exist_ok=True)
    if os.path.exists(SOCKET):
        os.remove(SOCKET)
    Server(SOCKET, Handler).serve_forever()
