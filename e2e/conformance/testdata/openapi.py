"""Holds the OpenAPI document of millrace serve to the specification, and what POST /predict takes and answers to the document."""

import json
import sys
import urllib.error
import urllib.request

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

URL, RECORDS = "http://" + sys.argv[1], sys.argv[2]
passed = total = 0


def check(name, problems):
    global passed, total
    total += 1
    problems = [str(p) for p in problems]
    if problems:
        print(f"{name}: {problems[0][:400]}")
    else:
        passed += 1


def ask(path, body=None, kind="application/json"):
    request = urllib.request.Request(URL + path, data=body, headers={"Content-Type": kind} if body is not None else {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


status, text = ask("/openapi.json")
document = json.loads(text)
check("the document", OpenAPIV31SpecValidator(document).iter_errors())


def schema(of):
    # References lead into the document, so that a schema is looked at with the document around it.
    return Draft202012Validator({"components": document["components"], **of})


def content(operation, status, kind="application/json"):
    return schema(operation["responses"][status]["content"][kind]["schema"])


predict = document["paths"]["/predict"]["post"]
with open(RECORDS, "rb") as f:
    records = f.read().splitlines()
taken = schema(predict["requestBody"]["content"]["application/json"]["schema"])
for i, body in enumerate([records[0], b"[" + b",".join(records) + b"]"]):
    for query in "", "?explain=true":
        status, answer = ask("/predict" + query, body)
        check(f"a request {i}", taken.iter_errors(json.loads(body)))
        check(f"its answer {query}", [] if status == 200 else [status, answer])
        check(f"its answer {query}", content(predict, "200").iter_errors(json.loads(answer)))
for body, want in ((b'{"bedrooms":"three"}', "422"), (b"[", "default"), (b"", "default")):
    status, answer = ask("/predict", body)
    check(f"the answer to {body}", [] if status == 422 or want == "default" and status == 400 else [status])
    check(f"the answer to {body}", content(predict, want).iter_errors(json.loads(answer)))
check("a record that is none", [] if list(taken.iter_errors(json.loads('{"bedrooms":"three"}'))) else ["it passes"])
infer = document["paths"]["/v2/models/{model}/infer"]["post"]
record = records[0].decode()
request = {"inputs": [{"name": "record", "datatype": "BYTES", "shape": [1], "data": [record]}]}
status, answer = ask("/v2/models/house-prices/infer", json.dumps(request).encode())
check("an inference", schema(infer["requestBody"]["content"]["application/json"]["schema"]).iter_errors(request))
check("its answer", [] if status == 200 else [status, answer])
check("its answer", content(infer, "200").iter_errors(json.loads(answer)))
for path, item in document["paths"].items():  # what needs no variable answers as it says
    operation = item.get("get")
    if operation and "{" not in path and not path.startswith("/api") and not path.startswith("/ajax"):
        status, answer = ask(path)
        kind = next(iter(operation["responses"]["200"]["content"]))
        check(path, [] if status == 200 else [status])
        if kind == "application/json":
            check(path, content(operation, "200").iter_errors(json.loads(answer)))
print(f"{passed}/{total}")
