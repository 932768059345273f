"""Greet somebody: the smallest worker that does something.

A worker reads `inputs.json`, does its work, and writes `result.json`. Whatever
it prints is the run's log.
"""
# ruff: noqa: PTH123 - importing pathlib takes longer than the greeting

import json

with open("inputs.json", encoding="utf-8") as file:
    inputs = json.load(file)

who = inputs["who"].strip() or "world"
print(f"Greeting {who!r}")

message = f"Hello, {who}!"
with open("result.json", "w", encoding="utf-8") as file:
    json.dump({"status": "success", "outputs": {"message": message}}, file)

print("Done: the greeting is the output `message`")
