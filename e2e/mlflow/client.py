"""What a stock MLflow client does with millrace serve: named checks, and passed/total on the last line.

usage: client.py URL first|again|viewer|stranger
"""

import contextlib
import hashlib
import os
import sys
import tempfile
import warnings

os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
warnings.simplefilter("ignore")

import mlflow
import yaml
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

URL, PHASE = sys.argv[1], sys.argv[2]
NAME = "house-prices"
mlflow.set_tracking_uri(URL)
client = MlflowClient(tracking_uri=URL)
passed = total = 0


@contextlib.contextmanager
def check(name):
    """Counts what the block asserts as one check."""
    global passed, total
    total += 1
    try:
        yield
    except Exception as e:  # what goes wrong is what is told
        print(f"FAILED {name}: {type(e).__name__}: {e}")
    else:
        passed += 1
        print(f"ok     {name}")


def equal(got, want):
    assert got == want, f"got {got!r}, want {want!r}"


@contextlib.contextmanager
def refused(code, *parts):
    """Wants an error of MLflow's with a code, and what it says."""
    try:
        yield
    except MlflowException as e:
        equal(e.error_code, code)
        for part in parts:
            assert part in e.message, f"{e.message!r} does not say {part!r}"
    else:
        raise AssertionError("it was not refused")


def numbers(versions):
    return [int(v.version) for v in versions]


def first():
    with check("get a registered model"):
        m = client.get_registered_model(NAME)
        equal((m.name, m.description, m.tags), (NAME, "", {}))
        assert m.creation_timestamp > 1_600_000_000_000 and m.last_updated_timestamp >= m.creation_timestamp
    with check("its aliases are those that millrace derives"):
        equal(client.get_registered_model(NAME).aliases, {"champion": "1", "candidate": "3"})
    with check("its latest versions by stage"):
        equal(sorted((v.version, v.current_stage) for v in client.get_registered_model(NAME).latest_versions), [("1", "Production"), ("2", "Archived"), ("3", "None")])
    with check("get a version"):
        v = client.get_model_version(NAME, "1")
        equal((v.name, v.version, v.status, v.current_stage, v.user_id, v.aliases), (NAME, "1", "READY", "Production", "e2e", ["champion"]))
        equal(v.tags["millrace.state"], "approved")
        assert v.tags["millrace.digest"].startswith("sha256:")
    with check("get a rejected version"):
        v = client.get_model_version(NAME, "2")
        equal((v.current_stage, v.tags["millrace.state"]), ("Archived", "rejected"))
    with check("get a version by its alias champion"):
        equal(client.get_model_version_by_alias(NAME, "champion").version, "1")
    with check("get a version by its alias candidate"):
        equal(client.get_model_version_by_alias(NAME, "candidate").version, "3")
    with check("get the latest versions"):
        equal(sorted(numbers(client.get_latest_versions(NAME))), [1, 2, 3])
    with check("get the latest version of a stage"):
        equal(numbers(client.get_latest_versions(NAME, stages=["Production"])), [1])
    with check("get the download URI"):
        equal(client.get_model_version_download_uri(NAME, "1"), f"mlflow-artifacts:/models/{NAME}/1")

    with check("search all models"):
        equal([m.name for m in client.search_registered_models()], [NAME])
    with check("search models by name"):
        equal([m.name for m in client.search_registered_models(f"name = '{NAME}'")], [NAME])
        equal(list(client.search_registered_models("name = 'boats'")), [])
    with check("search models by a pattern"):
        equal([m.name for m in client.search_registered_models("name LIKE 'house%'")], [NAME])
        equal([m.name for m in client.search_registered_models("name ILIKE 'HOUSE_PRICES'")], [NAME])
        equal(list(client.search_registered_models("name LIKE 'HOUSE%'")), [])
    with check("search versions"):
        equal(sorted(numbers(client.search_model_versions(f"name='{NAME}'"))), [1, 2, 3])
    with check("search versions by number"):
        equal(numbers(client.search_model_versions(f"name='{NAME}' and version_number > 2")), [3])
    with check("search versions by what millrace knows"):
        equal(numbers(client.search_model_versions("tags.`millrace.state` = 'approved'")), [1])
    with check("search versions in an order"):
        equal(numbers(client.search_model_versions(f"name='{NAME}'", order_by=["version_number DESC"])), [3, 2, 1])
        equal(numbers(client.search_model_versions(f"name='{NAME}'", order_by=["version_number ASC"])), [1, 2, 3])
    with check("search versions page by page"):
        found, token = [], None
        while True:
            page = client.search_model_versions(f"name='{NAME}'", max_results=1, order_by=["version_number ASC"], page_token=token)
            equal(len(page), 1)
            found, token = found + numbers(page), page.token
            if not token:
                break
        equal(found, [1, 2, 3])

    with check("tag a model"):
        client.set_registered_model_tag(NAME, "team", "pricing")
        equal(client.get_registered_model(NAME).tags, {"team": "pricing"})
    with check("search models by a tag"):
        equal([m.name for m in client.search_registered_models("tags.team = 'pricing'")], [NAME])
        equal(list(client.search_registered_models("tags.team = 'sales'")), [])
    with check("change a tag of a model"):
        client.set_registered_model_tag(NAME, "team", "it's\nours: ünïcode")
        equal(client.get_registered_model(NAME).tags, {"team": "it's\nours: ünïcode"})
    with check("remove a tag of a model"):
        client.set_registered_model_tag(NAME, "gone", "soon")
        client.delete_registered_model_tag(NAME, "gone")
        client.delete_registered_model_tag(NAME, "never was")
        equal(list(client.get_registered_model(NAME).tags), ["team"])
    with check("tag a version"):
        client.set_model_version_tag(NAME, "1", "the rows", "3000")
        equal(client.get_model_version(NAME, "1").tags["the rows"], "3000")
        assert "the rows" not in client.get_model_version(NAME, "3").tags
    with check("search versions by a tag"):
        equal(numbers(client.search_model_versions("tags.`the rows` LIKE '3%'")), [1])
    with check("remove a tag of a version"):
        client.set_model_version_tag(NAME, "1", "gone", "")
        equal(client.get_model_version(NAME, "1").tags["gone"], "")
        client.delete_model_version_tag(NAME, "1", "gone")
        assert "gone" not in client.get_model_version(NAME, "1").tags
    with check("describe a model"):
        m = client.update_registered_model(NAME, description="What a house costs.\n\nIn dollars.")
        equal(m.description, "What a house costs.\n\nIn dollars.")
        equal(client.get_registered_model(NAME).description, "What a house costs.\n\nIn dollars.")
    with check("describe a version"):
        equal(client.update_model_version(NAME, "3", description="deeper trees").description, "deeper trees")
        equal(client.get_model_version(NAME, "1").description, "")
    with check("set an alias"):
        client.set_registered_model_alias(NAME, "eu", "3")
        equal(client.get_model_version_by_alias(NAME, "eu").version, "3")
        equal(sorted(client.get_model_version(NAME, "3").aliases), ["candidate", "eu"])
    with check("move an alias"):
        client.set_registered_model_alias(NAME, "eu", "1")
        equal(client.get_registered_model(NAME).aliases, {"champion": "1", "candidate": "3", "eu": "1"})
    with check("remove an alias"):
        client.set_registered_model_alias(NAME, "us", "1")
        client.delete_registered_model_alias(NAME, "us")
        client.delete_registered_model_alias(NAME, "us")
        assert "us" not in client.get_registered_model(NAME).aliases
    with check("set the alias champion where it is"):
        client.set_registered_model_alias(NAME, "champion", "1")

    with check("download a model by its alias"):
        path = mlflow.artifacts.download_artifacts(f"models:/{NAME}@champion", dst_path=tempfile.mkdtemp())
        equal(sorted(os.listdir(path)), sorted(["MLmodel", f"{NAME}.millrace", "registered_model_meta"]))
        with open(os.path.join(path, f"{NAME}.millrace"), "rb") as f:
            digest = hashlib.file_digest(f, "sha256").hexdigest()
        equal("sha256:" + digest, client.get_model_version(NAME, "1").tags["millrace.digest"])
    with check("download a model by its version"):
        path = mlflow.artifacts.download_artifacts(f"models:/{NAME}/3", dst_path=tempfile.mkdtemp())
        assert os.path.exists(os.path.join(path, f"{NAME}.millrace"))
    with check("download the latest model"):
        path = mlflow.artifacts.download_artifacts(f"models:/{NAME}/latest", dst_path=tempfile.mkdtemp())
        assert os.path.exists(os.path.join(path, "MLmodel"))
    with check("download the model in production"):
        assert os.path.isdir(mlflow.artifacts.download_artifacts(f"models:/{NAME}/Production", dst_path=tempfile.mkdtemp()))
    with check("download one file"):
        path = mlflow.artifacts.download_artifacts(f"models:/{NAME}/1/MLmodel", dst_path=tempfile.mkdtemp())
        assert os.path.isfile(path)
    with check("list the files"):
        files = mlflow.artifacts.list_artifacts(f"models:/{NAME}/1")
        equal([f.path for f in files], ["MLmodel", f"{NAME}.millrace"])
        assert all(f.file_size > 100 and not f.is_dir for f in files)
    with check("read the flavor"):
        with open(mlflow.artifacts.download_artifacts(f"models:/{NAME}@champion/MLmodel", dst_path=tempfile.mkdtemp())) as f:
            model = yaml.safe_load(f)
        flavor = model["flavors"]["millrace"]
        equal(list(model["flavors"]), ["millrace"])
        equal((flavor["model"], flavor["version"], flavor["bundle"]), (NAME, 1, f"{NAME}.millrace"))
        assert isinstance(model["utc_time_created"], str), model

    with check("no such model"), refused("RESOURCE_DOES_NOT_EXIST", "boats"):
        client.get_registered_model("boats")
    with check("no such version"), refused("RESOURCE_DOES_NOT_EXIST", "9"):
        client.get_model_version(NAME, "9")
    with check("no such alias"), refused("INVALID_PARAMETER_VALUE", "mars"):
        client.get_model_version_by_alias(NAME, "mars")
    with check("a version that is no number"), refused("INVALID_PARAMETER_VALUE", "version"):
        client.get_model_version(NAME, "first")
    with check("a filter that is none"), refused("INVALID_PARAMETER_VALUE", "filter"):
        client.search_registered_models("name ~ 'x'")
    with check("a filter of what is not known"), refused("INVALID_PARAMETER_VALUE", "size"):
        client.search_model_versions("size = 'x'")
    with check("an order of what is not known"), refused("INVALID_PARAMETER_VALUE", "size"):
        client.search_registered_models(order_by=["size"])
    with check("a page token that is none"), refused("INVALID_PARAMETER_VALUE", "token"):
        client.search_registered_models(page_token="zz")
    with check("too many results"), refused("INVALID_PARAMETER_VALUE", "max_results"):
        client.search_registered_models(max_results=100_000)
    with check("an alias that looks like a version"), refused("INVALID_PARAMETER_VALUE", "v3"):
        client.set_registered_model_alias(NAME, "v3", "1")
    with check("a tag that is derived"), refused("INVALID_PARAMETER_VALUE", "millrace."):
        client.set_model_version_tag(NAME, "3", "millrace.state", "approved")

    with check("no champion without an approval"), refused("PERMISSION_DENIED", "not approved", f"millrace model approve {NAME}@3"):
        client.set_registered_model_alias(NAME, "champion", "3")
    with check("no champion that was rejected"), refused("PERMISSION_DENIED", "rejected"):
        client.set_registered_model_alias(NAME, "champion", "2")
    with check("no alias of what was rejected"), refused("PERMISSION_DENIED", "rejected"):
        client.set_registered_model_alias(NAME, "eu", "2")
    with check("the champion is not taken away"), refused("PERMISSION_DENIED", "millrace model"):
        client.delete_registered_model_alias(NAME, "champion")
    with check("a stage is not set"), refused("PERMISSION_DENIED", "millrace model approve"):
        client.transition_model_version_stage(NAME, "3", "Production")
    with check("a model is not archived"), refused("PERMISSION_DENIED", "millrace model retire"):
        client.transition_model_version_stage(NAME, "1", "Archived")
    with check("a model is not created"), refused("PERMISSION_DENIED", "millrace train"):
        client.create_registered_model("boats")
    with check("a version is not created"), refused("PERMISSION_DENIED", "millrace model import"):
        client.create_model_version(NAME, "s3://bucket/model")
    with check("a model is not renamed"), refused("PERMISSION_DENIED", "keeps its name"):
        client.rename_registered_model(NAME, "boats")
    with check("a model is not deleted"), refused("PERMISSION_DENIED", "audit log"):
        client.delete_registered_model(NAME)
    with check("a version is not deleted"), refused("PERMISSION_DENIED", "millrace model reject"):
        client.delete_model_version(NAME, "1")
    with check("there are no experiments"), refused("ENDPOINT_NOT_FOUND", "experiments"):
        client.get_experiment("0")
    with check("nothing of that has changed anything"):
        equal(client.get_registered_model(NAME).aliases, {"champion": "1", "candidate": "3", "eu": "1"})
        equal(sorted(numbers(client.search_model_versions(f"name='{NAME}'"))), [1, 2, 3])


def again():
    with check("tags of a model are kept"):
        equal(client.get_registered_model(NAME).tags, {"team": "it's\nours: ünïcode"})
    with check("tags of a version are kept"):
        equal(client.get_model_version(NAME, "1").tags["the rows"], "3000")
    with check("descriptions are kept"):
        equal(client.get_registered_model(NAME).description, "What a house costs.\n\nIn dollars.")
        equal(client.get_model_version(NAME, "3").description, "deeper trees")
    with check("a promotion moves the champion, and no other alias"):
        equal(client.get_registered_model(NAME).aliases, {"champion": "3", "eu": "1"})
        equal(client.get_model_version(NAME, "1").current_stage, "Staging")


def viewer():
    with check("a viewer reads"):
        equal(client.get_registered_model(NAME).name, NAME)
        equal(numbers(client.search_model_versions("version_number = 1")), [1])
    with check("a viewer fetches"):
        assert os.path.isdir(mlflow.artifacts.download_artifacts(f"models:/{NAME}@champion", dst_path=tempfile.mkdtemp()))
    with check("a viewer does not tag"), refused("PERMISSION_DENIED", "author"):
        client.set_registered_model_tag(NAME, "team", "theirs")
    with check("a viewer sets no alias"), refused("PERMISSION_DENIED", "author"):
        client.set_registered_model_alias(NAME, "eu", "3")


def stranger():
    with check("a stranger reads nothing"), refused("UNAUTHENTICATED"):
        client.get_registered_model(NAME)
    with check("a stranger tags nothing"), refused("UNAUTHENTICATED"):
        client.set_registered_model_tag(NAME, "team", "theirs")


{"first": first, "again": again, "viewer": viewer, "stranger": stranger}[PHASE]()
print(f"{passed}/{total}")
sys.exit(passed != total)
