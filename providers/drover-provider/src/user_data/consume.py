"""Lets the cloud-init of this machine take user data, below a folder of the test's own."""

import json
import os
import subprocess
import sys

from cloudinit import handlers, helpers, subp, user_data, util
from cloudinit.handlers.cloud_config import CloudConfigPartHandler
from cloudinit.handlers.shell_script import ShellScriptPartHandler

document, folder = sys.argv[1:]


class Source:
    def get_instance_id(self):
        return "i-7"


paths = helpers.Paths({"cloud_dir": folder, "run_dir": folder}, Source())
os.makedirs(paths.get_ipath("scripts"))
os.symlink(paths.get_ipath(), paths.get_ipath_cur())
os.makedirs(os.path.dirname(paths.get_ipath("cloud_config")), exist_ok=True)
with open(document, "rb") as file:
    message = user_data.UserDataProcessor(paths).process(file.read())

takers = [CloudConfigPartHandler(paths), ShellScriptPartHandler(paths)]
for taker in takers:
    handlers.call_begin(taker, {}, "once-per-instance")
types = []


def take(_data, filename, payload, headers):
    content_type = headers["Content-Type"]
    types.append(content_type)
    for taker in takers:
        if content_type in taker.list_types():
            handlers.run_part(
                taker, {}, filename, payload, "once-per-instance", headers
            )


handlers.walk(message, take, {})
for taker in takers:
    handlers.call_end(taker, {}, "once-per-instance")

subp.runparts(paths.get_ipath("scripts"))
config = paths.get_ipath("cloud_config")
subprocess.run(
    ["cloud-init", "schema", "-c", config], check=True, stdout=sys.stderr
)
merged = util.load_yaml(util.load_file(config))
with open(os.environ["OUT"], encoding="utf-8") as file:
    out = file.read()
print(json.dumps(types))
print(json.dumps(merged, sort_keys=True))
print(out, end="")
