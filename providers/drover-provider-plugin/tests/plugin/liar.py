"""A provider that keeps the whole contract in all points but one: its lie. For the tests of the conformance suite.

Usage: liar.py SOCKET LIE

Its instances are entries of a table. LIE may be `none`.
"""

import contextlib
import json
import os
import socketserver
import sys
import threading
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler

SOCKET, LIE = sys.argv[1:]
LOCK = threading.RLock()
METHODS = ["update", "reserve", "survey", "adopt", "check", "health", "logs"]
OWNER = ("fleet", "group", "epoch", "digest", "token")

# How long an instance takes to end or to start again, and how late a listing is, or a restart over, where that is a lie: a
# call falls into it whatever else the machine does.
MOMENT = 0.03
LATE = 0.4

machines = {}  # By handle.
batches = {}  # By token.
places = {}  # By group, life and member: the address.
counts = {"list": 0, "made": 0}


class Failure(Exception):
    def __init__(self, klass, message):
        super().__init__(message)
        self.klass = klass


def now():
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


def lies(*names):
    return LIE in names


def refuse(message):
    raise Failure("invalidSpec", message)


def missing(message):
    raise Failure("notFound", message)


def key_of(group, seat):
    return (group, seat["life"], seat["member"])


# ---- What it is --------------------------------------------------------------------------------------


def describe(params):
    kinds = ["run", "exit", "sick"]
    if lies("describe-loose"):
        kinds.append("bad")
    if lies("describe-strict"):
        kinds.remove("run")
    field = lambda klass, more: {"type": "string", "x-drover-class": klass, "description": "A field."} | more
    methods = list(METHODS)
    if LIE.startswith("hides-"):
        methods.remove(LIE.removeprefix("hides-"))
    return {
        "batchMax": 10 if lies("describe-batch") else 5,
        "visibilityMs": 0,
        "methods": methods,
        "properties": {
            "type": "object",
            "properties": {
                "kind": field("replace", {"enum": kinds}),
                "note": field("live", {}),
                "mode": field("restart", {}),
            },
            "required": ["kind"],
            "additionalProperties": False,
        },
    }


# ---- Making ------------------------------------------------------------------------------------------


def make(params, slot):
    counts["made"] += 1
    ref = f"m-{counts['made']:04}"
    seat = slot.get("seat")
    address = f"10.0.0.{counts['made']}"
    if seat:
        address = places.setdefault(key_of(params["group"], seat), address)
        if lies("place-moves"):
            address = f"10.0.1.{counts['made']}"
    owner = {name: params[name] for name in OWNER} | {"instance": slot["instance"]}
    if seat:
        owner["seat"] = {"life": seat["life"], "member": seat["member"]}
    tags = dict(slot["tags"])
    if lies("provision-drops-tags"):
        tags = {}
    if lies("provision-cuts-tags"):
        tags = {name: value[:8] for name, value in tags.items()}
    machines[ref] = {
        "ref": ref,
        "owner": owner,
        "tags": tags,
        "kind": params["properties"]["kind"],
        "address": address,
        "made": time.monotonic(),
        "createdAt": "1999-01-01T00:00:00Z" if lies("birth-long-ago") else now(),
        "ends": None,
        "scope": params["scope"]["provider"],
        "restarts": 0,
        "updates": [],
    }
    return ref


def is_there(machine):
    return machine["ends"] is None or time.monotonic() < machine["ends"] + MOMENT


def holder(group, seat):
    for machine in machines.values():
        owner = machine["owner"]
        if owner and owner.get("seat") and is_there(machine) and key_of(owner["group"], owner["seat"]) == key_of(group, seat):
            return machine
    return None


def asked_for(params):
    """What is kept of a call. Whoever lies of it keeps all that is told but for one thing, or more than was asked for."""
    if lies("provision-urgency"):
        return params["asked"] + params["urgency"]
    if not LIE.startswith("token-"):
        return params["asked"]
    slots = [dict(slot, instance=slot["instance"].rpartition("-")[2]) for slot in params["slots"]]
    told = {name: params.get(name) for name in ("fleet", "group", "epoch", "digest", "zone", "properties")}
    told |= {name: [slot[name] for slot in slots] for name in ("instance", "tags", "env", "init")}
    told.pop(LIE.removeprefix("token-any-"), None)
    return told


def known(value, names):
    unknown = set(value) - set(names.split())
    if unknown:
        refuse(f"unknown field {min(unknown)}")


def provision(params):
    if lies("unknown-in-calls"):
        known(params, "scope token fleet group epoch digest zone slots properties substitute urgency asked")
    if lies("unknown-in-slots"):
        for slot in params["slots"]:
            known(slot, "instance init env tags seat")
    if lies("hello-waits") and params["slots"][0]["instance"].endswith("-1000002"):
        time.sleep(5)
    token, slots = params["token"], params["slots"]
    if len(slots) > 5:
        refuse("a batch has 1 to 5 slots")
    asked = asked_for(params)
    spent = batches.get(token)
    if params["properties"].get("kind") not in ("run", "exit", "sick") and not lies("provision-takes-all"):
        if lies("provision-invalid-spends"):
            batches[token] = {"asked": asked, "made": {}}
        raise Failure("unknown" if lies("provision-invalid-class") else "invalidSpec", "kind: there is no such one")
    if spent and lies("provision-after-end"):
        alive = [ref for ref in spent["made"].values() if is_there(machines[ref])]
        spent = spent if alive else None
    if lies("provision-again"):
        spent = None
    if spent:
        if spent["asked"] != asked and not lies("provision-any-parameters"):
            refuse("the token was used with other parameters")
        return {"made": spent["made"]}
    for slot in slots:
        if slot.get("seat") and holder(params["group"], slot["seat"]) and not lies("place-shared"):
            refuse("somebody holds that place")
    if lies("provision-nothing"):
        return {"made": {slot["instance"]: f"m-none-{number}" for number, slot in enumerate(slots)}}
    if lies("provision-race"):
        LOCK.release()
        time.sleep(MOMENT)
        LOCK.acquire()
    made = {slot["instance"]: make(params, slot) for slot in slots}
    batches[token] = {"asked": asked, "made": made}
    answer = dict(made)
    if lies("provision-short"):
        answer.popitem()
    if lies("provision-one-handle"):
        answer = dict.fromkeys(made, list(made.values())[0])
    if lies("provision-swaps"):
        answer = dict(zip(made, reversed(list(made.values()))))
    if lies("provision-more"):
        answer["conformance-999999"] = "m-more"
    if lies("provision-renames"):
        answer = {"conformance-999999": ref for ref in made.values()}
    return {"made": answer}


# ---- Listing -----------------------------------------------------------------------------------------


def phase_of(machine):
    now = time.monotonic()
    if machine["ends"] is not None:
        return "running" if lies("list-ending-runs") else "stopping"
    if now < machine["restarts"] + MOMENT:
        return "pending"
    if machine["kind"] == "exit" and now > machine["made"] + MOMENT:
        return "running" if lies("list-exited-runs") else "exited"
    return "running"


def shown(machine):
    owner = dict(machine["owner"])
    if lies("list-digest"):
        version, _, hashes = owner["digest"].partition(":")
        owner["digest"] = version + ":" + "+".join(part[::-1] for part in hashes.split("+"))
    if lies("list-token"):
        owner["token"] = owner["token"][::-1]
    if lies("list-epoch"):
        owner["epoch"] += 1
    if lies("list-group"):
        owner["group"] = "another"
    if lies("list-instance"):
        owner["instance"] = "conformance-1"
    if lies("list-no-owner"):
        owner = None
    if lies("list-seat"):
        owner.pop("seat", None)
    listed = {"ref": machine["ref"], "phase": phase_of(machine), "owner": owner, "address": machine["address"]}
    if not lies("list-no-birth"):
        listed["createdAt"] = now() if lies("birth-moves") else machine["createdAt"]
    if listed["phase"] == "exited":
        listed["exit"] = {"message": "it ended"}
    return listed


def is_other(machine, params, lie):
    return machine["scope"] != params["scope"]["provider"] and not lies(lie)


def list_instances(params):
    if lies("unknown-in-scopes"):
        known(params["scope"], "provider type settings")
    size = 3
    counts["list"] += 1
    now = time.monotonic()
    found = []
    for machine in machines.values():
        owner = machine["owner"]
        if not owner or (owner["fleet"] != params["fleet"] and not lies("list-foreign")):
            continue
        if is_other(machine, params, "scope-lists"):
            continue
        if lies("list-late") and now < machine["made"] + LATE:
            continue
        if lies("list-forgets-exited") and now > machine["made"] + 3 * MOMENT and machine["kind"] == "exit":
            continue
        if is_there(machine) or lies("list-never-ends"):
            found.append(shown(machine))
        elif lies("list-reborn") and now > machine["ends"] + MOMENT + 0.01:
            found.append(shown(machine) | {"phase": "running"})
    found.sort(key=lambda one: one["ref"])
    start = params.get("from") or ""
    rest = [one for one in found if one["ref"] > start]
    if lies("list-repeats-at-page-ends") and start:
        rest = [one for one in found if one["ref"] >= start]
    page = {"complete": not lies("list-partial"), "instances": rest[:size]}
    if len(rest) > size and not lies("list-loses-pages"):
        page["next"] = rest[size - 1]["ref"]
    if lies("list-same-page") and found:
        page["next"] = "m-0000"
    if lies("list-twice"):
        page["instances"] = page["instances"] * 2
    if lies("list-empty-at-times") and counts["list"] % 4 == 0:
        return {"complete": True, "instances": []}
    if not start:
        seats = [{"group": group, "seat": {"life": life, "member": member}} for group, life, member in places]
        page["attached"] = [] if lies("list-no-attached") else seats
        addresses = places.values()
        page["places"] = [] if lies("list-no-places") else [s | {"address": a} for s, a in zip(seats, addresses)]
    return page


# ---- Ending and letting go ---------------------------------------------------------------------------


def destroy(params):
    machine = machines.get(params["ref"])
    if machine is None:
        return missing("never was") if lies("destroy-never-fails") else {}
    if is_other(machine, params, "scope-destroys"):
        return {}
    if not is_there(machine):
        return missing("gone") if lies("destroy-gone-fails") else {}
    owner = machine["owner"]
    if owner is None and not lies("destroy-released"):
        missing("it is nobody's")
    for name in ("fleet", "group", "instance", "token"):
        if owner and params[name] != owner[name] and not lies(f"destroy-any-{name}"):
            raise Failure("unknown" if lies("destroy-stranger-class") else "notFound", "not the one that is meant")
    if lies("destroy-nothing"):
        return {}
    machine["ends"] = machine["ends"] or time.monotonic()
    if lies("destroy-more"):
        for other in machines.values():
            other["ends"] = other["ends"] or time.monotonic()
    return {}


def release(params):
    machine = machines.get(params["ref"])
    if machine is None or machine["ends"] is not None:
        raise Failure("unknown" if lies("release-gone-class") else "notFound", "there is no such one")
    owner = machine["owner"]
    if owner is None or (owner["fleet"] != params["fleet"] and not lies("release-any-fleet")):
        missing("not the fleet's")
    if is_other(machine, params, "scope-releases"):
        missing("not of this scope")
    if not lies("release-nothing"):
        machine["owner"] = None
    if lies("release-ends"):
        machine["ends"] = time.monotonic()
    if lies("release-drops-tags"):
        machine["tags"] = {}
    return {}


def survey(params):
    found = []
    for machine in machines.values():
        if (machine["owner"] and not lies("survey-owned")) or not is_there(machine):
            continue
        tags = machine["tags"]
        wanted = list(params["tags"].items())
        if lies("survey-one-tag"):
            wanted = wanted[-1:]
        if all(tags.get(name) == value for name, value in wanted) or lies("survey-all"):
            found.append({"ref": machine["ref"], "phase": phase_of(machine), "tags": tags, "address": machine["address"]})
    if lies("survey-loses"):
        found = found[1:]
    if lies("survey-empty"):
        found = []
    if lies("survey-phase"):
        found = [one | {"phase": "stopping"} for one in found]
    if lies("survey-claimed"):
        found = [one | {"claimedBy": "somebody"} for one in found]
    if lies("survey-cuts-tags"):
        found = [one | {"tags": params["tags"]} for one in found]
    if lies("survey-twice"):
        found = found * 2
    return {"complete": not lies("survey-partial"), "strangers": found}


def adopt(params):
    machine = machines.get(params["ref"])
    if machine is None or not is_there(machine):
        return {} if lies("adopt-never") else missing("there is no such one")
    owner = {name: params[name] for name in OWNER} | {"instance": params["instance"]}
    if machine["owner"] == owner:
        return refuse("once was enough") if lies("adopt-once") else {}
    if machine["owner"] and not lies("adopt-steals"):
        refuse("somebody owns it")
    if lies("adopt-nothing"):
        return {}
    if lies("adopt-digest"):
        version, _, hashes = owner["digest"].partition(":")
        owner["digest"] = version + ":" + "+".join(part[::-1] for part in hashes.split("+"))
    machine["owner"] = owner
    if lies("adopt-address"):
        machine["address"] = "10.0.9.9"
    if lies("adopt-restarts"):
        machine["restarts"] = time.monotonic() + LATE
    return {}


# ---- Asking ------------------------------------------------------------------------------------------


def judged(fine, why, lie):
    if fine or lies(f"{lie}-passes"):
        return {"outcome": "passing"}
    return {"outcome": "failing"} if lies(f"{lie}-no-why") else {"outcome": "failing", "why": why}


def asked(params, lie):
    machine = machines.get(params["ref"])
    if machine is None:
        return {"outcome": "passing"} if lies(f"{lie}-never-passes", f"{lie}-passes") else missing("never was")
    if machine["ends"] is not None:
        return {"outcome": "passing"} if lies(f"{lie}-gone-passes", f"{lie}-passes") else missing("gone")
    return machine


def check(params):
    machine = asked(params, "check")
    if "outcome" in machine:
        return machine
    if lies("check-ends"):
        machine["ends"] = time.monotonic()
    if params["command"][0] == "sleep":
        if lies("check-does-not-wait"):
            return {"outcome": "passing"}
        time.sleep(params["timeoutMs"] / 1000)
    if lies("check-restarts"):
        machine["restarts"] = time.monotonic() + LATE
    if params["command"][0] == "sleep":
        return judged(False, "no end in time", "check")
    if lies("check-fails"):
        return {"outcome": "failing", "why": "always"}
    if lies("check-ignores-status"):
        return {"outcome": "passing"}
    return judged(params["command"][0] == "true", "its status is 1", "check")


def health(params):
    if lies("health-of-last") and machines.get(params["ref"]):
        params = params | {"ref": max(machines)}
    machine = asked(params, "health")
    if "outcome" in machine:
        return machine
    if lies("health-fails"):
        return {"outcome": "failing", "why": "always"}
    return judged(machine["kind"] != "sick", "it is sick", "health")


def logs(params):
    if params["ref"] not in machines:
        if lies("logs-nobodys"):
            return {"text": ""}
        raise Failure("unknown" if lies("logs-nobodys-class") else "notFound", "never was")
    lines = [f"{params['ref']} {number}\n" for number in range(9)]
    if lies("logs-others"):
        lines = lines + ["another's\n" * (params["lines"] % 2)]
    count = params["lines"]
    kept = lines if lies("logs-whole") else lines[:count] if lies("logs-first") else lines[-count:]
    return {"text": "" if lies("logs-none") else "".join(kept)}


# ---- Changing ----------------------------------------------------------------------------------------


def update(params):
    machine = machines.get(params["ref"])
    if machine is None or not is_there(machine) or machine["ends"] is not None:
        return {} if machine and lies("update-gone") else missing("gone, or never was")
    owner = machine["owner"]
    for name in ("fleet", "group", "token"):
        if (owner or {}).get(name) != params[name] and not (name == "token" and lies("update-any-token")):
            missing("not the one that is meant")
    if params["update"] in machine["updates"] and not lies("update-repeats"):
        return {}
    if lies("update-live-refused") and params["how"] == "live":
        refuse("nothing is changed that runs")
    if lies("update-restart-refused") and params["how"] == "restart":
        refuse("nothing is started again")
    machine["updates"].append(params["update"])
    if lies("update-nothing") or (lies("update-live-nothing") and params["how"] == "live"):
        return {}
    owner["digest"] = params["digest"]
    if params["how"] == "restart" or lies("update-live-restarts"):
        longer = LATE if lies("update-repeats", "update-live-restarts") else 0
        machine["restarts"] = time.monotonic() + longer
        if lies("update-address"):
            machine["address"] = "10.0.9.9"
        if lies("update-token"):
            owner["token"] = params["update"]
    return {}


def reserve(params):
    key = key_of(params["group"], params["seat"])
    if lies("reserve-elsewhere"):
        return {"address": "10.0.9.9"}
    return {"address": places.setdefault(key, f"10.0.2.{len(places) + 1}")}


CALLS = {
    "Handshake.Hello": lambda params: {"Objects": {"Provider/1": [{"Name": "."}]}},
    "Provider.Describe": describe,
    "Provider.List": list_instances,
    "Provider.Provision": provision,
    "Provider.Destroy": destroy,
    "Provider.Release": release,
    "Provider.Survey": survey,
    "Provider.Adopt": adopt,
    "Provider.Check": check,
    "Provider.Health": health,
    "Provider.Logs": logs,
    "Provider.Update": update,
    "Provider.Reserve": reserve,
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        if lies("hello-after-half-a-call"):
            with LOCK:
                body = self.rfile.read(length)
        else:
            body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        call = json.loads(body)
        answer = {"jsonrpc": "2.0", "id": call.get("id")}
        try:
            method = CALLS.get(call["method"])
            if method is None or LIE == "has-no-" + call["method"].partition(".")[2].lower():
                refuse(f"can't find method {call['method']}")
            greets = call["method"] == "Handshake.Hello" and not lies("hello-waits")
            with contextlib.nullcontext() if greets else LOCK:
                answer["result"] = method(call.get("params") or {})
        except Failure as failure:
            answer["error"] = {"code": -32000, "message": str(failure), "data": {"class": failure.klass}}
        except Exception as error:
            answer["error"] = {"code": -32000, "message": repr(error), "data": {"class": "unknown"}}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


class OneByOne(socketserver.UnixStreamServer):
    request_queue_size = 64


class Server(socketserver.ThreadingMixIn, OneByOne):
    daemon_threads = True


if __name__ == "__main__":
    if os.path.exists(SOCKET):
        os.remove(SOCKET)
    (OneByOne if lies("hello-one-by-one") else Server)(SOCKET, Handler).serve_forever()
