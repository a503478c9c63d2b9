"""Has the Python clients of KServe, unchanged, talk to millrace serve over HTTP and gRPC."""

import asyncio
import sys

import grpc
import httpx
import numpy as np
from common import ADDRESS, MODEL, N, NUMBERS, OUTPUT, RECORDS, TEXTS, URL, WANT, check, equal, holds, numbers, run, same, texts
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput


class Context:
    """The clients."""

    def __init__(self):
        self.rest = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
        self.kserve_grpc = InferenceGRPCClient(ADDRESS, retries=0)


def kserve_request(binary, **more):
    inputs = []
    for name in NUMBERS + TEXTS:
        t = InferInput(name, [N], "FP64" if name in NUMBERS else "BYTES")
        t.set_data_from_numpy(numbers(name) if name in NUMBERS else texts(name), binary_data=binary)
        inputs.append(t)
    return InferRequest(MODEL, inputs, **more)


@check
async def kserve_rest_health(c):
    same((await c.rest.is_server_live(URL), await c.rest.is_server_ready(URL), await c.rest.is_model_ready(URL, MODEL)), (True,) * 3)


@check
async def kserve_rest_not_ready(c):
    same(await c.rest.is_model_ready(URL, "nobody"), False)


@check
async def kserve_grpc_health(c):
    same((await c.kserve_grpc.is_server_live(), await c.kserve_grpc.is_server_ready(), await c.kserve_grpc.is_model_ready(MODEL)), (True,) * 3)


@check
async def grpc_typed_contents(c):
    inputs = [InferInput(n, [N], "FP64", list(numbers(n))) for n in NUMBERS] + [InferInput(n, [N], "BYTES", [t.decode() for t in texts(n)]) for n in TEXTS]
    answer = await c.kserve_grpc.infer(InferRequest(MODEL, inputs, request_id="8"))
    equal(np.array(answer.outputs[0].data), WANT[0])
    same((answer.id, answer.model_name, answer.outputs[0].datatype), ("8", MODEL, "FP64"))


@check
async def grpc_typed_contents_of_every_width(c):
    inputs = [InferInput(n, [N], "FP64", list(numbers(n))) for n in NUMBERS if n not in ("sqft_living", "yr_built", "bedrooms", "floors", "sqft_lot")]
    inputs += [InferInput(n, [N], "BYTES", [t.decode() for t in texts(n)]) for n in TEXTS]
    for name, datatype in (("sqft_living", "INT32"), ("yr_built", "UINT16"), ("bedrooms", "INT64"), ("sqft_lot", "UINT64")):
        inputs.append(InferInput(name, [N], datatype, [int(v) for v in numbers(name)]))
    inputs.append(InferInput("floors", [N], "FP32", [float(v) for v in numbers("floors")]))
    equal(np.array((await c.kserve_grpc.infer(InferRequest(MODEL, inputs))).outputs[0].data), WANT[0])


@check
async def kserve_rest_json(c):
    answer = await c.rest.infer(URL, kserve_request(False, request_id="9"), model_name=MODEL)
    equal(np.array(answer.outputs[0].data), WANT[0])
    same((answer.id, answer.model_name, answer.outputs[0].shape), ("9", MODEL, [N]))  # it forgets the version
    assert answer.parameters["digest"].startswith("sha256:")


@check
async def kserve_rest_binary(c):
    request = kserve_request(True, request_outputs=[RequestedOutput(OUTPUT, {"binary_data": True})])
    equal((await c.rest.infer(URL, request, model_name=MODEL)).outputs[0].as_numpy(), WANT[0])


@check
async def kserve_rest_binary_output_of_all(c):
    request = kserve_request(False, parameters={"binary_data_output": True})
    equal((await c.rest.infer(URL, request, model_name=MODEL)).outputs[0].as_numpy(), WANT[0])


@check
async def kserve_rest_error(c):
    try:
        await c.rest.infer(URL, kserve_request(False), model_name="nobody")
    except httpx.HTTPStatusError as e:
        same(e.response.status_code, 404)
        holds(str(e), "no such model")
        return
    raise AssertionError("it succeeded")


@check
async def kserve_rest_compressed_answer(c):
    headers = {}
    inputs = [InferInput("record", [5 * N], "BYTES", RECORDS * 5)]
    answer = await c.rest.infer(URL, InferRequest(MODEL, inputs), model_name=MODEL, response_headers=headers)
    equal(np.array(answer.outputs[0].data), np.tile(WANT[0], 5))
    same(headers.get("content-encoding"), "gzip")  # it says so in each request


@check
async def kserve_rest_row_that_is_refused(c):
    try:
        await c.rest.infer(URL, InferRequest(MODEL, [InferInput("record", [1], "BYTES", ["{}"])]), model_name=MODEL)
    except httpx.HTTPStatusError as e:
        same(e.response.status_code, 400)
        holds(str(e), "row 0: stage decode")
        return
    raise AssertionError("it succeeded")


@check
async def grpc_raw_contents(c):
    inputs = [InferInput(n, [N], "FP64", numbers(n)) for n in NUMBERS] + [InferInput(n, [N], "BYTES", texts(n)) for n in TEXTS]
    equal((await c.kserve_grpc.infer(InferRequest(MODEL, inputs))).outputs[0].as_numpy(), WANT[0])


@check
async def grpc_version(c):
    for version, want in (("2", WANT[1]), ("latest", WANT[0])):
        answer = await c.kserve_grpc.infer(InferRequest(MODEL, [InferInput("record", [N], "BYTES", RECORDS)], model_version=version))
        equal(np.array(answer.outputs[0].data), want)
        same(answer.model_version, "2" if version == "2" else "1")


@check
async def kserve_grpc_error(c):
    try:
        await c.kserve_grpc.infer(InferRequest("nobody", [InferInput("x", [1], "FP64", [1.0])]))
    except grpc.RpcError as e:
        same(e.code(), grpc.StatusCode.NOT_FOUND)
        return
    raise AssertionError("it succeeded")


sys.exit(asyncio.run(run(Context)))
