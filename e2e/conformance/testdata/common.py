"""What the checks of both clients have: the data, and how what comes is compared."""

import asyncio
import inspect
import json
import sys
import traceback

import numpy as np

ADDRESS = sys.argv[1]
URL = "http://" + ADDRESS
RECORDS = [line for line in open(sys.argv[2], encoding="utf-8").read().split("\n") if line]
HOUSES = [json.loads(line) for line in RECORDS]
WANT = [np.array([json.loads(line)["predicted_price"] for line in open(name, encoding="utf-8")]) for name in sys.argv[3:5]]
N = len(HOUSES)

MODEL, WINDOWS, OUTPUT = "house-prices", "busy-prices", "predicted_price"
NUMBERS = ["bedrooms", "bathrooms", "sqft_living", "sqft_lot", "floors", "sqft_above", "sqft_basement", "yr_built", "yr_renovated"]
TEXTS = ["date", "waterfront", "view", "condition", "city", "statezip"]

CHECKS = []


def check(f):
    CHECKS.append(f)
    return f


def equal(got, want):
    """The same bits, in the same shape."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.dtype == want.dtype and got.shape == want.shape, f"{got.dtype}{got.shape}, want {want.dtype}{want.shape}"
    assert got.tobytes() == want.tobytes(), f"{got[:3]}..., want {want[:3]}..."


def same(got, want):
    assert got == want, f"{got!r}, want {want!r}"


def holds(text, part):
    assert part in text, f"{text!r} does not hold {part!r}"


def numbers(name, rows=HOUSES):
    return np.array([h.get(name, np.nan) for h in rows], dtype=np.float64)


def texts(name, rows=HOUSES):
    return np.array([str(h[name]).encode() for h in rows], dtype=np.object_)


async def run(make):
    """Runs the checks with what make makes, prints those that fail, and passed/total."""
    context = make()
    passed = 0
    for f in CHECKS:
        try:
            if inspect.iscoroutinefunction(f):
                await asyncio.wait_for(f(context), 60)
            else:
                f(context)
            passed += 1
        except Exception as e:  # a client may raise anything
            where = traceback.extract_tb(e.__traceback__)[-1]
            print(f"FAILED {f.__name__}: {type(e).__name__}: {e} (line {where.lineno} of {where.name})", flush=True)
    print(f"{passed}/{len(CHECKS)}")
    return passed != len(CHECKS)
