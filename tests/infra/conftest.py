"""A copy of the deployment to work in, and one environment of it, applied against a server."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.infra.terraform import (
    ACCOUNT_ID,
    MODULES,
    REGION,
    Applied,
    Ended,
    Terraform,
    find_program,
    prepare,
)
from tests.servers import serving

SOURCE_BUCKET = "oedi-sample"
"""What the applied default config reads; a test that runs the job fills it."""
AWS_SERVER = ("-m", "tests.infra.aws_server")
WHEELS = "oedi_spark-0.0.0.gluewheels.zip"

_SERVICES = (
    "athena",
    "cloudwatch",
    "cloudwatchlogs",
    "eventbridge",
    "glue",
    "iam",
    "s3",
    "sns",
    "sts",
)


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """Terraform; a skip says that it is missing, and where it must be there, a failure."""
    program = find_program()
    if program is None:
        message = "no terraform on the PATH (1.11 or later); install it to test infra/"
        if os.environ.get("OEDI_REQUIRE_TERRAFORM"):
            pytest.fail(message)
        pytest.skip(message)
    return prepare(program, tmp_path_factory.mktemp("terraform"))


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what terraform reads, and a zip that stands in for `make package`'s."""
    copy = tmp_path_factory.mktemp("checkout")
    left_out = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars", "__pycache__")
    for folder in ("infra", "sql", "spark_jobs"):
        shutil.copytree(PROJECT / folder, copy / folder, ignore=left_out)
    (copy / "dist").mkdir()
    with zipfile.ZipFile(copy / "dist" / WHEELS, "w") as wheels:
        wheels.writestr("stand-in.txt", "no code: nothing here installs it\n")
    return copy


@pytest.fixture(scope="session")
def native_tests(terraform: Terraform, checkout: Path) -> Iterator[Mapping[str, Future[Ended]]]:
    """The modules' own tests, each started when the one before has ended."""

    def run(module: str) -> Ended:
        root = checkout / "infra" / "terraform" / "modules" / module
        terraform.must(root, "init", "-no-color")
        return terraform.run(root, "test", "-no-color", limit_s=240)

    pool = ThreadPoolExecutor(1)
    yield {module: pool.submit(run, module) for module in MODULES}
    pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def applied(
    terraform: Terraform,
    checkout: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Applied]:
    """The environment dev, applied; its default config names the same server.

    Some eighty seconds, of which the provider waits fifty for the lifecycle rules to settle; the
    modules' own tests, where they are asked for at all, run meanwhile.
    """
    if any("native_tests" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("native_tests")
    environments = checkout / "infra" / "terraform" / "environments"
    root = environments / "applied"  # beside the others, so that its paths hold
    shutil.copytree(environments / "dev", root, ignore=shutil.ignore_patterns(".terraform*"))
    with serving(AWS_SERVER, tmp_path_factory.mktemp("applied") / "server.log") as url:
        (root / "test_override.tf").write_text(_override(url), "utf-8")
        (root / "test.auto.tfvars").write_text(
            f'account_id = "{ACCOUNT_ID}"\nregion = "{REGION}"\n', "utf-8"
        )
        terraform.must(root, "init", "-no-color")
        terraform.must(root, "apply", "-no-color", "-auto-approve", "-parallelism=20", limit_s=240)
        outputs = terraform.outputs(root)["platform"]
        yield Applied(url, outputs, ACCOUNT_ID, REGION, root)


def _override(url: str) -> str:
    """What differs from AWS: a local state, one server for all services, and the job's config."""
    endpoints = "\n".join(f'    {service} = "{url}"' for service in _SERVICES)
    return f"""
terraform {{
  backend "local" {{}}
}}

provider "aws" {{
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  s3_use_path_style           = true
  max_retries                 = 2
  endpoints {{
{endpoints}
  }}
}}

module "platform" {{
  src_bucket = "{SOURCE_BUCKET}"
  src_region = "{REGION}"
  config_overrides = {{
    source_endpoint_url  = "{url}"
    source_path_style    = true
    catalog_endpoint_url = "{url}"
    s3_endpoint_url      = "{url}"
    s3_path_style        = true
  }}
}}
"""
