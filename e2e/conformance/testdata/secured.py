"""Has Triton's Python client talk to a server with TLS and tokens, as somebody who may predict, as one who may only look, and as
nobody.

Beside the arguments of the others: the file of the certificate, and the tokens of a scorer with the role viewer, and of a viewer.
"""

import asyncio
import ssl
import sys

import httpx
import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from common import ADDRESS, MODEL, N, OUTPUT, RECORDS, WANT, check, equal, holds, run, same
from tritonclient.utils import InferenceServerException

CERTIFICATE, SCORER, VIEWER = sys.argv[5:8]


class Context:
    """The clients."""

    def __init__(self):
        self.http = triton_http.InferenceServerClient(ADDRESS, ssl=True, ssl_context_factory=lambda: ssl.create_default_context(cafile=CERTIFICATE))
        self.grpc = triton_grpc.InferenceServerClient(ADDRESS, ssl=True, root_certificates=CERTIFICATE)


def bearer(token, name="Authorization"):
    return {name: "Bearer " + token}


def record(client):
    t = client.InferInput("record", [N], "BYTES")
    t.set_data_from_numpy(np.array([r.encode() for r in RECORDS], dtype=np.object_))
    return [t]


def refused(call, status, part):
    try:
        call()
    except InferenceServerException as e:
        same(str(e.status()), status)
        holds(e.message(), part)
        return
    raise AssertionError("it succeeded")


@check
def http_health_is_for_anyone(c):
    same((c.http.is_server_live(), c.http.is_server_ready()), (True, True))


@check
def grpc_health_is_for_anyone(c):
    same((c.grpc.is_server_live(), c.grpc.is_server_ready()), (True, True))


@check
def http_scorer(c):
    equal(c.http.infer(MODEL, record(triton_http), headers=bearer(SCORER)).as_numpy(OUTPUT), WANT[0])


@check
def grpc_scorer(c):
    equal(c.grpc.infer(MODEL, record(triton_grpc), headers=bearer(SCORER, "authorization")).as_numpy(OUTPUT), WANT[0])


@check
def http_viewer(c):
    same(c.http.get_model_metadata(MODEL, headers=bearer(VIEWER))["name"], MODEL)
    refused(lambda: c.http.infer(MODEL, record(triton_http), headers=bearer(VIEWER)), "403", "scorer")


@check
def grpc_viewer(c):
    same(c.grpc.get_model_metadata(MODEL, headers=bearer(VIEWER, "authorization")).name, MODEL)
    refused(lambda: c.grpc.infer(MODEL, record(triton_grpc), headers=bearer(VIEWER, "authorization")), "StatusCode.PERMISSION_DENIED", "scorer")


@check
def http_nobody(c):
    for headers in ({}, bearer("millrace_" + "A" * 43), {"Authorization": "Basic eDp5"}):
        refused(lambda: c.http.infer(MODEL, record(triton_http), headers=headers), "401", "")
        refused(lambda: c.http.get_server_metadata(headers=headers), "401", "")


@check
def grpc_nobody(c):
    for headers in ({}, bearer("millrace_" + "A" * 43, "authorization")):
        refused(lambda: c.grpc.infer(MODEL, record(triton_grpc), headers=headers), "StatusCode.UNAUTHENTICATED", "")


@check
def http_load_is_for_operators(c):
    refused(lambda: c.http.unload_model(MODEL, headers=bearer(SCORER)), "403", "operator")
    refused(lambda: c.grpc.unload_model(MODEL, headers=bearer(SCORER, "authorization")), "StatusCode.PERMISSION_DENIED", "operator")
    refused(lambda: c.http.get_inference_statistics(headers=bearer(SCORER)), "403", "operator")


@check
def no_tls_no_answer(_):
    try:
        answer = httpx.get(f"http://{ADDRESS}/v2/health/live", timeout=10)
    except httpx.HTTPError:
        return
    assert answer.status_code == 400, answer.text


@check
def a_certificate_that_is_not_known(_):
    try:
        httpx.get(f"https://{ADDRESS}/v2/health/live", timeout=10)
    except httpx.ConnectError:
        return
    raise AssertionError("it succeeded")


sys.exit(asyncio.run(run(Context)))
