"""Has the Python client of Triton, unchanged, talk to millrace serve over HTTP and gRPC; and requests that no client makes."""

import asyncio
import gzip
import json
import queue
import struct
import sys
import zlib

import httpx
import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio
from common import ADDRESS, HOUSES, MODEL, N, NUMBERS, OUTPUT, RECORDS, TEXTS, URL, WANT, WINDOWS, check, equal, holds, numbers, run, same, texts
from tritonclient.utils import InferenceServerException

NUMBER_INPUTS = NUMBERS + ["age", "renovated", "living_share"]
TEXT_INPUTS = ["waterfront", "view", "condition", "city", "statezip"]


def column(values, shape=None):
    return values if shape is None else values.reshape(shape)


def fields(client, rows=HOUSES, binary=True, shape=None, skip=()):
    """A tensor for each field, as a client of Triton's has it."""
    inputs = []
    for name in NUMBERS + TEXTS:
        if name in skip:
            continue
        values = column(numbers(name, rows) if name in NUMBERS else texts(name, rows), shape)
        t = client.InferInput(name, list(values.shape), "FP64" if name in NUMBERS else "BYTES")
        if client is triton_http:
            t.set_data_from_numpy(values, binary_data=binary)
        else:
            t.set_data_from_numpy(values)
        inputs.append(t)
    return inputs


def whole(client, rows=RECORDS, binary=True):
    """One tensor with whole records."""
    values = np.array([r.encode() for r in rows], dtype=np.object_)
    t = client.InferInput("record", [len(rows)], "BYTES")
    if client is triton_http:
        t.set_data_from_numpy(values, binary_data=binary)
    else:
        t.set_data_from_numpy(values)
    return [t]


def features(client, rows=HOUSES):
    """A tensor for each input of the model."""
    inputs = []
    for name in NUMBER_INPUTS + TEXT_INPUTS:
        if name == "age":
            values = np.array([int(h["date"][:4]) - h["yr_built"] for h in rows], dtype=np.float64)
        elif name == "renovated":
            values = np.array([float(h["yr_renovated"] > 0) for h in rows])
        elif name == "living_share":
            values = np.array([h["sqft_living"] / h["sqft_lot"] for h in rows])
        elif name in NUMBERS:
            values = numbers(name, rows)
        else:
            values = texts(name, rows)
        t = client.InferInput(name, [len(rows)], "FP64" if values.dtype == np.float64 else "BYTES")
        t.set_data_from_numpy(values)
        inputs.append(t)
    return inputs


class Context:
    """The clients."""

    def __init__(self):
        self.http = triton_http.InferenceServerClient(ADDRESS, concurrency=4)
        self.grpc = triton_grpc.InferenceServerClient(ADDRESS)
        self.plain = httpx.Client(base_url=URL, timeout=30)

    def infer(self, model=MODEL, json_body=None, **more):
        if json_body is not None:
            more["content"] = json.dumps(json_body).encode()
        return self.plain.post(f"/v2/models/{model}/infer", **more)


def refused(call, status, part=""):
    """Wants an error of Triton's client with a status of HTTP or a code of gRPC."""
    try:
        call()
    except InferenceServerException as e:
        same(str(e.status()), status)
        holds(e.message(), part)
        return
    raise AssertionError("it succeeded")


def answered(response, status, part=""):
    """Wants an error over HTTP: its status, and {"error": ...}."""
    same(response.status_code, status)
    same(response.headers["content-type"], "application/json")
    body = response.json()
    same(list(body), ["error"])
    holds(body["error"], part)


# Health and metadata.


@check
def http_health(c):
    same((c.http.is_server_live(), c.http.is_server_ready(), c.http.is_model_ready(MODEL), c.http.is_model_ready(MODEL, "1")), (True,) * 4)


@check
def http_not_ready(c):
    same((c.http.is_model_ready("nobody"), c.http.is_model_ready(MODEL, "99"), c.http.is_model_ready(MODEL, "3")), (False,) * 3)


@check
def http_latest_is_ready(c):
    same(c.http.is_model_ready(MODEL, "latest"), True)


@check
def http_server_metadata(c):
    about = c.http.get_server_metadata()
    same(about["name"], "millrace")
    for extension in ("binary_tensor_data", "model_repository", "statistics"):
        assert extension in about["extensions"], extension


@check
def http_server_metadata_with_slash(c):
    same(c.plain.get("/v2/").json(), c.plain.get("/v2").json())


@check
def http_model_metadata(c):
    about = c.http.get_model_metadata(MODEL)
    same((about["name"], about["platform"], about["versions"]), (MODEL, "millrace", ["1", "2"]))
    same({i["name"]: i["datatype"] for i in about["inputs"]}, {**{n: "FP64" for n in NUMBERS}, **{n: "BYTES" for n in TEXTS}})
    same(about["outputs"], [{"name": OUTPUT, "datatype": "FP64", "shape": [-1]}])


@check
def http_model_metadata_of_version(c):
    same(c.http.get_model_metadata(MODEL, "2")["inputs"], c.http.get_model_metadata(MODEL, "latest")["inputs"])


@check
def http_list_of_models(c):
    same(c.plain.get("/v2/models").json(), {"models": [MODEL, WINDOWS]})


@check
def http_config(c):
    config = c.http.get_model_config(MODEL)
    same((config["name"], config["max_batch_size"], config["output"][0]["data_type"]), (MODEL, 0, "TYPE_FP64"))


@check
def grpc_health(c):
    same((c.grpc.is_server_live(), c.grpc.is_server_ready(), c.grpc.is_model_ready(MODEL), c.grpc.is_model_ready(MODEL, "latest")), (True,) * 4)


@check
def grpc_ready_of_unknown_model(c):
    refused(lambda: c.grpc.is_model_ready("nobody"), "StatusCode.NOT_FOUND", "no such model")


@check
def grpc_server_metadata(c):
    about = c.grpc.get_server_metadata()
    same((about.name, "binary_tensor_data" in about.extensions), ("millrace", True))


@check
def grpc_model_metadata(c):
    about = c.grpc.get_model_metadata(MODEL, "1")
    same((about.name, list(about.versions), about.outputs[0].name, len(about.inputs)), (MODEL, ["1", "2"], OUTPUT, len(NUMBERS + TEXTS)))


@check
def grpc_config(c):
    config = c.grpc.get_model_config(MODEL).config
    same((config.name, config.max_batch_size, {i.name for i in config.input}), (MODEL, 0, set(NUMBERS + TEXTS)))


# Predictions over HTTP.


@check
def http_binary_both_ways(c):
    answer = c.http.infer(MODEL, fields(triton_http))
    equal(answer.as_numpy(OUTPUT), WANT[0])
    same(answer.get_output(OUTPUT)["parameters"]["binary_data_size"], 8 * N)


@check
def http_json_both_ways(c):
    answer = c.http.infer(MODEL, fields(triton_http, binary=False), outputs=[triton_http.InferRequestedOutput(OUTPUT, binary_data=False)])
    equal(answer.as_numpy(OUTPUT), WANT[0])
    assert "data" in answer.get_output(OUTPUT)


@check
def http_json_in_binary_out(c):
    answer = c.http.infer(MODEL, fields(triton_http, binary=False), outputs=[triton_http.InferRequestedOutput(OUTPUT, binary_data=True)])
    equal(answer.as_numpy(OUTPUT), WANT[0])


@check
def http_binary_in_json_out(c):
    answer = c.http.infer(MODEL, fields(triton_http), outputs=[triton_http.InferRequestedOutput(OUTPUT, binary_data=False)])
    equal(answer.as_numpy(OUTPUT), WANT[0])


@check
def http_binary_beside_json(c):
    inputs = fields(triton_http, binary=True)[:5] + fields(triton_http, binary=False)[5:]
    equal(c.http.infer(MODEL, inputs).as_numpy(OUTPUT), WANT[0])


@check
def http_columns_of_two_dimensions(c):
    equal(c.http.infer(MODEL, fields(triton_http, shape=(N, 1))).as_numpy(OUTPUT), WANT[0])


@check
def http_whole_records(c):
    equal(c.http.infer(MODEL, whole(triton_http)).as_numpy(OUTPUT), WANT[0])


@check
def http_whole_records_as_json(c):
    equal(c.http.infer(MODEL, whole(triton_http, binary=False)).as_numpy(OUTPUT), WANT[0])


@check
def http_inputs_of_the_model(c):
    equal(c.http.infer(MODEL, features(triton_http)).as_numpy(OUTPUT), WANT[0])


@check
def http_one_row(c):
    for i in range(3):
        equal(c.http.infer(MODEL, fields(triton_http, HOUSES[i : i + 1])).as_numpy(OUTPUT), WANT[0][i : i + 1])


@check
def http_raw_request(c):
    answer = c.infer(content=RECORDS[0].encode(), headers={"Inference-Header-Content-Length": "0"})
    same(answer.status_code, 200)
    length = int(answer.headers["inference-header-content-length"])
    equal(np.frombuffer(answer.content[length:]), WANT[0][:1])


@check
def http_integers_and_floats(c):
    inputs = [t for t in fields(triton_http) if t.name() not in ("sqft_living", "yr_built", "bedrooms", "floors", "sqft_lot")]
    for name, datatype, dtype in (("sqft_living", "INT32", np.int32), ("yr_built", "UINT16", np.uint16), ("bedrooms", "UINT8", np.uint8), ("floors", "FP32", np.float32), ("sqft_lot", "INT64", np.int64)):
        t = triton_http.InferInput(name, [N], datatype)
        t.set_data_from_numpy(numbers(name).astype(dtype))
        inputs.append(t)
    equal(c.http.infer(MODEL, inputs).as_numpy(OUTPUT), WANT[0])


@check
def http_half_floats_and_bools(c):
    inputs = [t for t in fields(triton_http) if t.name() not in ("floors", "yr_renovated")]
    t = triton_http.InferInput("floors", [N], "FP16")
    t.set_data_from_numpy(numbers("floors").astype(np.float16))
    b = triton_http.InferInput("yr_renovated", [N], "BOOL")
    b.set_data_from_numpy(np.zeros(N, dtype=bool))
    want = c.http.infer(MODEL, whole(triton_http, [json.dumps({**h, "yr_renovated": 0}) for h in HOUSES])).as_numpy(OUTPUT)
    equal(c.http.infer(MODEL, inputs + [t, b]).as_numpy(OUTPUT), want)


@check
def http_nan_is_absent(c):
    rows = [{k: v for k, v in h.items() if k != "floors"} for h in HOUSES]
    want = c.http.infer(MODEL, whole(triton_http, [json.dumps(h) for h in rows])).as_numpy(OUTPUT)
    equal(c.http.infer(MODEL, fields(triton_http, rows)).as_numpy(OUTPUT), want)
    equal(c.http.infer(MODEL, fields(triton_http, rows, skip=("floors",))).as_numpy(OUTPUT), want)


@check
def http_no_rows(c):
    same(c.http.infer(MODEL, fields(triton_http, [])).as_numpy(OUTPUT).shape, (0,))


@check
def http_id_comes_back(c):
    answer = c.http.infer(MODEL, whole(triton_http), request_id='a "b" ü').get_response()
    same((answer["id"], answer["model_name"], answer["model_version"]), ('a "b" ü', MODEL, "1"))
    assert answer["parameters"]["digest"].startswith("sha256:")


@check
def http_parameters_are_borne(c):
    equal(c.http.infer(MODEL, whole(triton_http), sequence_id=7, sequence_start=True, priority=1, timeout=1000000, parameters={"mine": 1.5}).as_numpy(OUTPUT), WANT[0])


@check
def http_async(c):
    calls = [c.http.async_infer(MODEL, fields(triton_http)) for _ in range(8)]
    for call in calls:
        equal(call.get_result().as_numpy(OUTPUT), WANT[0])


@check
async def http_asyncio(c):
    async with triton_http_aio.InferenceServerClient(ADDRESS) as client:
        same(await client.is_model_ready(MODEL), True)
        answers = await asyncio.gather(*(client.infer(MODEL, whole(triton_http)) for _ in range(8)))
        for answer in answers:
            equal(answer.as_numpy(OUTPUT), WANT[0])


@check
def http_large_request(c):
    rows = (HOUSES * 60)[:2000]
    equal(c.http.infer(MODEL, fields(triton_http, rows)).as_numpy(OUTPUT), np.tile(WANT[0], 60)[:2000])


# Versions.


@check
def http_versions(c):
    answers = [c.http.infer(MODEL, fields(triton_http), model_version=v) for v in ("", "1", "2", "latest")]
    for answer, want in zip(answers, (WANT[0], WANT[0], WANT[1], WANT[0])):
        equal(answer.as_numpy(OUTPUT), want)
    same([a.get_response()["model_version"] for a in answers], ["1", "1", "2", "1"])


@check
def http_version_that_is_not_approved(c):
    refused(lambda: c.http.infer(MODEL, fields(triton_http), model_version="3"), "404", "no such version")


@check
def grpc_versions(c):
    answers = [c.grpc.infer(MODEL, fields(triton_grpc), model_version=v) for v in ("", "1", "2", "latest")]
    for answer, want in zip(answers, (WANT[0], WANT[0], WANT[1], WANT[0])):
        equal(answer.as_numpy(OUTPUT), want)
    same([a.get_response().model_version for a in answers], ["1", "1", "2", "1"])


@check
def grpc_version_that_is_not_approved(c):
    refused(lambda: c.grpc.infer(MODEL, fields(triton_grpc), model_version="3"), "StatusCode.NOT_FOUND")


# Compression.


@check
def http_gzip_both_ways(c):
    answer = c.http.infer(MODEL, whole(triton_http, RECORDS * 5), request_compression_algorithm="gzip", response_compression_algorithm="gzip")
    equal(answer.as_numpy(OUTPUT), np.tile(WANT[0], 5))


@check
def http_deflate_both_ways(c):
    answer = c.http.infer(MODEL, fields(triton_http, HOUSES * 5, binary=False), request_compression_algorithm="deflate", response_compression_algorithm="deflate")
    equal(answer.as_numpy(OUTPUT), np.tile(WANT[0], 5))


@check
def http_answers_are_compressed(c):
    body = {"inputs": [{"name": "record", "datatype": "BYTES", "shape": [5 * N], "data": RECORDS * 5}]}
    for encoding in ("gzip", "deflate"):
        packed = gzip.compress(json.dumps(body).encode()) if encoding == "gzip" else zlib.compress(json.dumps(body).encode())
        answer = c.infer(content=packed, headers={"Content-Encoding": encoding, "Accept-Encoding": encoding})
        same((answer.status_code, answer.headers.get("content-encoding")), (200, encoding))
        equal(np.array(answer.json()["outputs"][0]["data"]), np.tile(WANT[0], 5))


@check
def http_unknown_encoding(c):
    answered(c.infer(content=b"{}", headers={"Content-Encoding": "br"}), 415, "content encoding")


@check
def http_body_that_is_not_compressed(c):
    answered(c.infer(content=b"{}", headers={"Content-Encoding": "gzip"}), 400)


@check
def http_compressed_bomb(c):
    answered(c.infer(content=gzip.compress(b" " * (64 << 20)), headers={"Content-Encoding": "gzip"}), 413, "allowed")


@check
def grpc_gzip(c):
    equal(c.grpc.infer(MODEL, fields(triton_grpc, HOUSES * 5), compression_algorithm="gzip").as_numpy(OUTPUT), np.tile(WANT[0], 5))


@check
def grpc_deflate(c):
    for _ in range(3):
        equal(c.grpc.infer(MODEL, fields(triton_grpc, HOUSES * 5), compression_algorithm="deflate").as_numpy(OUTPUT), np.tile(WANT[0], 5))


# Predictions over gRPC.


@check
def grpc_raw_contents(c):
    answer = c.grpc.infer(MODEL, fields(triton_grpc), request_id="7")
    equal(answer.as_numpy(OUTPUT), WANT[0])
    response = answer.get_response()
    same((response.id, response.model_name, len(response.raw_output_contents)), ("7", MODEL, 1))
    assert response.parameters["digest"].string_param.startswith("sha256:")


@check
def grpc_whole_records(c):
    equal(c.grpc.infer(MODEL, whole(triton_grpc)).as_numpy(OUTPUT), WANT[0])


@check
def grpc_inputs_of_the_model(c):
    equal(c.grpc.infer(MODEL, features(triton_grpc)).as_numpy(OUTPUT), WANT[0])


@check
def grpc_requested_output(c):
    equal(c.grpc.infer(MODEL, fields(triton_grpc), outputs=[triton_grpc.InferRequestedOutput(OUTPUT)]).as_numpy(OUTPUT), WANT[0])


@check
def grpc_async(c):
    done = queue.Queue()
    for _ in range(8):
        c.grpc.async_infer(MODEL, fields(triton_grpc), lambda result, error: done.put((result, error)))
    for _ in range(8):
        result, error = done.get(timeout=30)
        same(error, None)
        equal(result.as_numpy(OUTPUT), WANT[0])


@check
async def grpc_asyncio(c):
    async with triton_grpc_aio.InferenceServerClient(ADDRESS) as client:
        for answer in await asyncio.gather(*(client.infer(MODEL, whole(triton_grpc)) for _ in range(8))):
            equal(answer.as_numpy(OUTPUT), WANT[0])


# Errors.


@check
def http_unknown_model(c):
    refused(lambda: c.http.infer("nobody", whole(triton_http)), "404", "no such model")
    refused(lambda: c.http.get_model_metadata("nobody"), "404")


@check
def http_unknown_version(c):
    refused(lambda: c.http.infer(MODEL, whole(triton_http), model_version="99"), "404", "no such version")
    refused(lambda: c.http.get_model_metadata(MODEL, "x"), "404")


@check
def http_unknown_path(c):
    answered(c.plain.get("/v2/nothing"), 404)


@check
def http_wrong_verb(c):
    answer = c.plain.get(f"/v2/models/{MODEL}/infer")
    answered(answer, 405)
    same(answer.headers["allow"], "POST")
    answered(c.plain.post("/v2/health/live"), 405)


@check
def http_too_large(c):
    answered(c.infer(content=b" " * (5 << 20)), 413)


@check
def http_no_json(c):
    for body in (b"", b"{", b"[]", b'{"inputs":[]}', b'{"inputs":1}', b"\xff"):
        answered(c.infer(content=body), 400)


@check
def http_nan_in_json(c):
    answered(c.infer(content=b'{"inputs":[{"name":"floors","datatype":"FP64","shape":[1],"data":[NaN]}]}'), 400, "NaN")


@check
def http_null_in_json_is_absent(c):
    h = dict(HOUSES[0])
    del h["floors"]
    body = {"inputs": [{"name": n, "datatype": "FP64", "shape": [1], "data": [h.get(n)]} for n in NUMBERS] + [{"name": n, "datatype": "BYTES", "shape": [1], "data": [str(h[n])]} for n in TEXTS]}
    want = c.http.infer(MODEL, whole(triton_http, [json.dumps(h)])).as_numpy(OUTPUT)
    equal(np.array(c.infer(json_body=body).json()["outputs"][0]["data"]), want)


@check
def http_infinity(c):
    inputs = fields(triton_http, skip=("floors",))
    t = triton_http.InferInput("floors", [N], "FP64")
    t.set_data_from_numpy(np.full(N, np.inf))
    refused(lambda: c.http.infer(MODEL, inputs + [t]), "400", "row 0")


@check
def http_shapes(c):
    def ask(shape, data=None):
        return c.infer(json_body={"inputs": [{"name": "floors", "datatype": "FP64", "shape": shape, "data": data or [1.0]}]})

    for shape in ([2], [1, 2], [1, 1, 1], [-1], [0], [2**62], [2**40, 2**40], [2**63], [1.5], "x", None):
        answered(ask(shape), 400)


@check
def http_elements_that_do_not_fit(c):
    for datatype, data in (("INT8", [300]), ("UINT8", [-1]), ("INT32", [1.5]), ("BOOL", [2]), ("FP64", ["1"]), ("BYTES", [1]), ("FP32", [1e40]), ("FP64", [10**400]), ("X", [1])):
        answered(c.infer(json_body={"inputs": [{"name": "floors", "datatype": datatype, "shape": [1], "data": data}]}), 400)


@check
def http_rows_that_differ(c):
    refused(lambda: c.http.infer(MODEL, fields(triton_http)[:3] + fields(triton_http, HOUSES[:5])[3:]), "400", "rows")


@check
def http_input_twice(c):
    refused(lambda: c.http.infer(MODEL, fields(triton_http) + fields(triton_http)[:1]), "400", "twice")


@check
def http_unknown_input(c):
    t = triton_http.InferInput("sqft_livin", [1], "FP64")
    t.set_data_from_numpy(np.array([1.0]))
    refused(lambda: c.http.infer(MODEL, [t]), "400", 'did you mean "sqft_living"')


@check
def http_inputs_of_the_model_that_are_missing(c):
    refused(lambda: c.http.infer(MODEL, features(triton_http)[9:]), "400", "inputs of the model are missing")


@check
def http_wrong_datatype(c):
    t = triton_http.InferInput("floors", [N], "BYTES")
    t.set_data_from_numpy(texts("floors"))
    refused(lambda: c.http.infer(MODEL, fields(triton_http, skip=("floors",)) + [t]), "400", "BYTES")


@check
def http_row_that_is_refused(c):
    rows = list(RECORDS[:3])
    rows[1] = json.dumps({k: v for k, v in HOUSES[1].items() if k != "sqft_living"})
    refused(lambda: c.http.infer(MODEL, whole(triton_http, rows)), "400", 'row 1: stage decode, class missing_field, field "sqft_living"')


@check
def http_record_that_is_no_json(c):
    refused(lambda: c.http.infer(MODEL, whole(triton_http, ["{"])), "400", "row 0: stage decode, class invalid_json")


@check
def http_unknown_output(c):
    refused(lambda: c.http.infer(MODEL, whole(triton_http), outputs=[triton_http.InferRequestedOutput("y")]), "400", OUTPUT)


@check
def http_classification(c):
    refused(lambda: c.http.infer(MODEL, whole(triton_http), outputs=[triton_http.InferRequestedOutput(OUTPUT, class_count=3)]), "501", "classification")


@check
def http_windows(c):
    refused(lambda: c.http.infer(WINDOWS, whole(triton_http)), "501", "windows")


@check
def http_header_length(c):
    body = b'{"inputs":[{"name":"floors","datatype":"FP64","shape":[1],"parameters":{"binary_data_size":8}}]}'
    for header, content in (("x", body), ("-1", body), (str(len(body) + 100), body), (str(len(body)), body), (str(len(body)), body + b"1234567"), (str(len(body)), body + b"123456789")):
        answered(c.infer(content=content, headers={"Inference-Header-Content-Length": header}), 400)


@check
def http_lengths_of_texts(c):
    raw = struct.pack("<I", 2**32 - 1) + b"{}"
    body = json.dumps({"inputs": [{"name": "record", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(raw)}}]}).encode()
    answered(c.infer(content=body + raw, headers={"Inference-Header-Content-Length": str(len(body))}), 400, "longer than what is left")


@check
def http_shared_memory(c):
    t = triton_http.InferInput("record", [1], "BYTES")
    t.set_shared_memory("region", 8)
    refused(lambda: c.http.infer(MODEL, [t]), "400", "no data")
    refused(lambda: c.http.get_system_shared_memory_status(), "404")


@check
def grpc_unknown_model(c):
    refused(lambda: c.grpc.infer("nobody", whole(triton_grpc)), "StatusCode.NOT_FOUND", "no such model")
    refused(lambda: c.grpc.get_model_metadata("nobody"), "StatusCode.NOT_FOUND")


@check
def grpc_no_model(c):
    refused(lambda: c.grpc.infer("", whole(triton_grpc)), "StatusCode.INVALID_ARGUMENT")


@check
def grpc_row_that_is_refused(c):
    refused(lambda: c.grpc.infer(MODEL, whole(triton_grpc, ["{}"])), "StatusCode.INVALID_ARGUMENT", "row 0")


@check
def grpc_shape(c):
    t = triton_grpc.InferInput("floors", [2], "FP64")
    t.set_data_from_numpy(np.array([1.0, 2.0]))
    t.set_shape([3])
    refused(lambda: c.grpc.infer(MODEL, [t]), "StatusCode.INVALID_ARGUMENT", "3 elements")


@check
def grpc_unknown_output(c):
    refused(lambda: c.grpc.infer(MODEL, whole(triton_grpc), outputs=[triton_grpc.InferRequestedOutput("y")]), "StatusCode.INVALID_ARGUMENT")


@check
def grpc_windows(c):
    refused(lambda: c.grpc.infer(WINDOWS, whole(triton_grpc)), "StatusCode.UNIMPLEMENTED", "windows")


@check
def grpc_too_large(c):
    refused(lambda: c.grpc.infer(MODEL, whole(triton_grpc, RECORDS * 400)), "StatusCode.RESOURCE_EXHAUSTED")


@check
def grpc_procedure_that_there_is_not(c):
    refused(lambda: c.grpc.get_trace_settings(), "StatusCode.UNIMPLEMENTED")


@check
def grpc_needs_its_content_type(c):
    answered(c.plain.post("/inference.GRPCInferenceService/ServerLive", content=b"{}", headers={"Content-Type": "application/json"}), 415)


# The repository and the statistics.


@check
def http_index(c):
    index = {(m["name"], m.get("version", "")): m["state"] for m in c.http.get_model_repository_index()}
    same(index, {(MODEL, "1"): "READY", (MODEL, "2"): "READY", (WINDOWS, "1"): "READY"})


@check
def grpc_index(c):
    index = {(m.name, m.version): m.state for m in c.grpc.get_model_repository_index().models}
    same(index, {(MODEL, "1"): "READY", (MODEL, "2"): "READY", (WINDOWS, "1"): "READY"})


@check
def http_load_and_unload(c):
    c.http.unload_model(WINDOWS)
    try:
        same(c.http.is_model_ready(WINDOWS), False)
        same({m["state"] for m in c.http.get_model_repository_index() if m["name"] == WINDOWS}, {"UNAVAILABLE"})
        same([m["name"] for m in c.plain.post("/v2/repository/index", json={"ready": True}).json() if m["name"] == WINDOWS], [])
        answer = c.infer(model=WINDOWS, json_body={"inputs": [{"name": "record", "datatype": "BYTES", "shape": [1], "data": ["{}"]}]})
        answered(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1
        same(c.http.is_server_ready(), True)  # who unloads a model does not want the others to go
    finally:
        c.http.load_model(WINDOWS)
    same(c.http.is_model_ready(WINDOWS), True)


@check
def grpc_load_and_unload(c):
    c.grpc.unload_model(WINDOWS)
    try:
        same(c.grpc.is_model_ready(WINDOWS), False)
        refused(lambda: c.grpc.infer(WINDOWS, whole(triton_grpc)), "StatusCode.UNAVAILABLE")
    finally:
        c.grpc.load_model(WINDOWS)
    same(c.grpc.is_model_ready(WINDOWS), True)


@check
def load_of_unknown_model(c):
    refused(lambda: c.http.load_model("nobody"), "404")
    refused(lambda: c.http.unload_model("nobody"), "404")
    refused(lambda: c.grpc.load_model("nobody"), "StatusCode.NOT_FOUND")


@check
def load_with_another_configuration(c):
    refused(lambda: c.http.load_model(MODEL, config="{}"), "501")
    refused(lambda: c.grpc.load_model(MODEL, config="{}"), "StatusCode.UNIMPLEMENTED")


@check
def statistics(c):
    def rows(version):
        return {m["version"]: m for m in c.http.get_inference_statistics(MODEL)["model_stats"]}[version]

    before = rows("1")
    c.http.infer(MODEL, fields(triton_http))
    after = rows("1")
    same(after["inference_count"] - before["inference_count"], N)
    same(after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"], 1)
    for part in ("success", "compute_input", "compute_infer"):
        assert after["inference_stats"][part]["ns"] > before["inference_stats"][part]["ns"], part
    assert after["last_inference"] >= before["last_inference"] > 1e12 and after["execution_count"] > before["execution_count"]


@check
def grpc_statistics(c):
    all_models = c.grpc.get_inference_statistics().model_stats
    assert {m.name for m in all_models} == {MODEL, WINDOWS}
    one = c.grpc.get_inference_statistics(MODEL, "1").model_stats
    same((len(one), one[0].inference_count > 0, one[0].inference_stats.success.ns > 0), (1, True, True))


@check
def statistics_of_unknown_model(c):
    refused(lambda: c.http.get_inference_statistics("nobody"), "404")
    refused(lambda: c.grpc.get_inference_statistics("nobody"), "StatusCode.NOT_FOUND")


sys.exit(asyncio.run(run(Context)))
