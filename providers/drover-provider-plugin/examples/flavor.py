#!/usr/bin/env python3
"""A flavor plugin for drover and InfraKit: instances are greeted, and join under a token of their own.

Usage: flavor.py SOCKET FOLDER

Properties: {"greeting": TEXT}. Each instance gets a line of init that writes the greeting and a token into
its folder, and the tag `joined` with a name for the token. FOLDER/tokens has a line for each token that was
drawn: a plugin that draws one each time it is asked is asked once for each instance. An instance is unhealthy while
FOLDER/unhealthy has its name in a line, and cannot be drained while FOLDER/busy has it. FOLDER/drained has a line for
each that was.

The instances are a cluster: a newcomer's line of init names whom it joins. The cluster is degraded while FOLDER/degraded
has a line, which says why, and FOLDER/leader has the name of who leads.
"""

import json
import os
import secrets
import shlex
import socketserver
import sys
from http.server import BaseHTTPRequestHandler

UNKNOWN, HEALTHY, UNHEALTHY = 0, 1, 2
SOCKET, FOLDER = sys.argv[1], sys.argv[2]


class Refused(Exception):
    """What a plugin refuses, in words. drover takes it for a mistake in the document."""


def greeting(params):
    properties = params.get("Properties")
    if properties is None:
        properties = {}
    if not isinstance(properties, dict):
        raise Refused("properties: expected a map")
    unknown = sorted(set(properties) - {"greeting"})
    if unknown:
        raise Refused(f"{unknown[0]}: unknown property")
    text = properties.get("greeting", "hello")
    if not isinstance(text, str):
        raise Refused("greeting: expected a text")
    return text


def note(name, line):
    with open(os.path.join(FOLDER, name), "a") as file:
        file.write(line + "\n")


def lines(name):
    try:
        with open(os.path.join(FOLDER, name)) as file:
            return file.read().split()
    except FileNotFoundError:
        return []


def hello(_):
    objects = [{"Name": ".", "ProxyFor": ""}]
    # InfraKit's programs pass over the second one: drover asks how the cluster is.
    return {"Objects": {"Flavor/0.1.1": objects, "Cluster/1": objects}}


def validate(params):
    greeting(params)
    return {"Type": "", "OK": True}


def prepare(params):
    text, spec, index = greeting(params), params["Spec"], params["Index"]
    token = secrets.token_hex(8)
    note("tokens", f"{index['Group']} {index['Sequence']} {token}")
    line = f"echo {shlex.quote(text)} {token} > greeting"
    # Only drover says whom there is to join.
    if peers := (params.get("Cluster") or {}).get("Join", {}).get("Addresses"):
        line += f"; echo {shlex.quote(' '.join(peers))} > peers"
    # What other flavors of InfraKit's left there stays; drover gives each flavor an empty one.
    spec["Init"] = "\n".join(filter(None, [spec.get("Init"), line]))
    spec["Tags"] = {**(spec.get("Tags") or {}), "joined": f"{index['Group']}/{token[:4]}"}
    return {"Type": "", "Spec": spec}


def healthy(params):
    tags = params["Instance"].get("Tags") or {}
    if "joined" not in tags:
        # Not one of this flavor's: it cannot say.
        return {"Type": "", "Health": UNKNOWN}
    is_bad = tags.get("drover.instance") in lines("unhealthy")
    return {"Type": "", "Health": UNHEALTHY if is_bad else HEALTHY}


def drain(params):
    tags = params["Instance"].get("Tags") or {}
    name = tags.get("drover.instance", params["Instance"]["ID"])
    if name in lines("busy"):
        raise Refused(f"{name} is busy")
    # A flavor may be told more than once.
    if name not in lines("drained"):
        note("drained", name)
    return {"Type": "", "OK": True}


def cluster(params):
    greeting(params)
    led_by = lines("leader")[:1]
    leader = [one["ID"] for one in params["Cluster"]["Members"] if [one["Name"]] == led_by]
    if why := lines("degraded"):
        return {"Health": "degraded", "Why": " ".join(why), "Leader": "".join(leader)}
    return {"Health": "healthy", "Why": "", "Leader": "".join(leader)}


METHODS = {
    "Handshake.Hello": hello,
    "Flavor.Validate": validate,
    "Flavor.Prepare": prepare,
    "Flavor.Healthy": healthy,
    "Flavor.Drain": drain,
    "Cluster.Health": cluster,
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = {"jsonrpc": "2.0", "id": call.get("id")}
        try:
            if call["method"] not in METHODS:
                raise Refused(f"rpc: can't find method \"{call['method']}\"")
            answer["result"] = METHODS[call["method"]](call.get("params") or {})
        except Refused as error:
            answer["error"] = {"code": -32000, "message": str(error), "data": None}
        body = json.dumps(answer).encode() + b"\n"
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


os.makedirs(FOLDER, exist_ok=True)
if os.path.exists(SOCKET):
    os.remove(SOCKET)
Server(SOCKET, Handler).serve_forever()
