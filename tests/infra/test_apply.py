"""What stands there after an apply, as boto3 sees it; and what a second plan, or a wrong one, says.

The server is moto's: it keeps what it is given, and does not do what AWS would do with it.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from oedi_spark.config import RunConfig, load_config
from oedi_spark.job_arguments import parse_job_arguments
from tests.conftest import PROJECT
from tests.infra.terraform import Applied, Terraform

BUCKET = "oedi-dev-123456789012-us-east-1"


@pytest.fixture
def job(applied: Applied) -> dict[str, Any]:
    """The ETL job as Glue has it."""
    found: dict[str, Any] = applied.client("glue").get_job(JobName="oedi-dev-etl")["Job"]
    return found


def test_apply_names_everything_after_the_environment(applied: Applied) -> None:
    named = {key: applied.outputs[key] for key in ("bucket_name", "database_name", "etl_job_name")}
    assert named == {
        "bucket_name": BUCKET,
        "database_name": "oedi_dev",
        "etl_job_name": "oedi-dev-etl",
    }
    assert applied.outputs["output_uri"] == f"s3://{BUCKET}/etl_output"
    assert applied.outputs["warehouse_uri"] == f"s3://{BUCKET}/warehouse"
    assert applied.outputs["runs_uri"] == f"s3://{BUCKET}/scripts/runs"
    assert applied.outputs["workflow_name"] == applied.outputs["workgroup_name"] == "oedi-dev"
    assert applied.outputs["optimizer_role_arn"] is None
    assert applied.outputs["emr_application_id"] is None


def test_second_plan_after_an_apply_has_nothing_to_do(
    terraform: Terraform, applied: Applied
) -> None:
    ended = terraform.run(applied.root, "plan", "-no-color", "-detailed-exitcode")
    assert ended.code == 0, ended.out + ended.err


def test_bucket_is_closed_encrypted_and_versioned(applied: Applied) -> None:
    s3 = applied.client("s3")
    assert s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "IgnorePublicAcls": True,
        "BlockPublicPolicy": True,
        "RestrictPublicBuckets": True,
    }
    ownership = s3.get_bucket_ownership_controls(Bucket=BUCKET)["OwnershipControls"]["Rules"]
    assert ownership == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    rules = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert [each["ApplyServerSideEncryptionByDefault"] for each in rules] == [
        {"SSEAlgorithm": "AES256"}
    ]
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"


def test_bucket_policy_denies_plain_text_and_old_tls(applied: Applied) -> None:
    policy = json.loads(applied.client("s3").get_bucket_policy(Bucket=BUCKET)["Policy"])
    everything = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
    assert [
        (each["Effect"], each["Principal"], each["Action"], each["Resource"], each["Condition"])
        for each in policy["Statement"]
    ] == [
        ("Deny", "*", "s3:*", everything, {"Bool": {"aws:SecureTransport": "false"}}),
        ("Deny", "*", "s3:*", everything, {"NumericLessThan": {"s3:TlsVersion": "1.2"}}),
    ]


def test_lifecycle_deletes_results_and_configs_of_runs_and_no_table(applied: Applied) -> None:
    found = applied.client("s3").get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert {rule["Status"] for rule in found} == {"Enabled"}
    by_age = {
        rule["Filter"].get("Prefix", ""): rule["Expiration"]["Days"]
        for rule in found
        if "Days" in rule.get("Expiration", {}) or "Date" in rule.get("Expiration", {})
    }
    assert by_age == {"query-results/": 7, "scripts/runs/": 365}
    assert not any("Transitions" in rule for rule in found)
    sweeping = [rule for rule in found if "AbortIncompleteMultipartUpload" in rule]
    assert [rule["AbortIncompleteMultipartUpload"] for rule in sweeping] == [
        {"DaysAfterInitiation": 1}
    ]
    assert [rule["Filter"].get("Prefix", "") for rule in sweeping] == [""]
    assert sweeping[0]["NoncurrentVersionExpiration"]["NoncurrentDays"] == 1


def test_database_lies_where_the_job_puts_its_tables(applied: Applied) -> None:
    database = applied.client("glue").get_database(Name="oedi_dev")["Database"]
    assert database["LocationUri"] == f"s3://{BUCKET}/warehouse/oedi_dev"


def test_job_runs_the_script_with_the_package_that_lies_beside_it(
    applied: Applied, job: dict[str, Any], checkout: Path
) -> None:
    script = job["Command"]["ScriptLocation"]
    folder = script.removesuffix("/etl.py")
    assert folder.startswith(f"s3://{BUCKET}/scripts/code/")
    package = job["DefaultArguments"]["--additional-python-modules"]
    assert package == f"{folder}/oedi_spark-0.0.0.gluewheels.zip"
    assert applied.read(script) == (checkout / "spark_jobs" / "etl.py").read_bytes()
    assert applied.read(package) == next((checkout / "dist").iterdir()).read_bytes()
    maintain = applied.client("glue").get_job(JobName="oedi-dev-maintain")["Job"]
    assert maintain["Command"]["ScriptLocation"] == f"{folder}/maintain.py"
    script = (checkout / "spark_jobs" / "maintain.py").read_bytes()
    assert applied.read(maintain["Command"]["ScriptLocation"]) == script


def test_job_has_glues_settings(job: dict[str, Any]) -> None:
    assert job["GlueVersion"] == "5.1"
    assert job["Command"]["Name"] == "glueetl"
    assert (job["WorkerType"], job["NumberOfWorkers"]) == ("G.1X", 3)
    assert job["ExecutionClass"] == "FLEX"
    assert job["Timeout"] == 120
    assert job.get("MaxRetries", 0) == 0  # moto leaves a zero out
    assert job["ExecutionProperty"] == {"MaxConcurrentRuns": 1}
    assert job["Role"] == "arn:aws:iam::123456789012:role/oedi-dev-etl"
    arguments = dict(job["DefaultArguments"])
    arguments.pop("--additional-python-modules")
    assert arguments == {
        "--config": f"s3://{BUCKET}/scripts/conf/default.yaml",
        "--python-modules-installer-option": "--no-index",
        "--datalake-formats": "iceberg",
        "--conf": (
            "spark.hadoop.fs.s3a.endpoint.region=us-east-1"
            " --conf spark.sql.catalog.oedi=org.apache.iceberg.spark.SparkCatalog"
            " --conf spark.sql.catalog.oedi.io-impl=org.apache.iceberg.aws.s3.S3FileIO"
            " --conf spark.sql.catalog.oedi.type=glue"
            f" --conf spark.sql.catalog.oedi.warehouse=s3://{BUCKET}/warehouse"
            " --conf spark.sql.extensions="
            "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
            " --conf spark.ui.showConsoleProgress=false"
        ),
        "--job-bookmark-option": "job-bookmark-disable",
        "--enable-metrics": "true",
        "--custom-logGroup-prefix": "/aws-glue/oedi-dev/etl",
    }


def test_jobs_arguments_are_understood_by_the_job(job: dict[str, Any]) -> None:
    given = [text for pair in job["DefaultArguments"].items() for text in pair]
    assert dict(parse_job_arguments([*given, "--JOB_NAME", "oedi-dev-etl"]).ours) == {
        "--config": f"s3://{BUCKET}/scripts/conf/default.yaml"
    }


def test_default_config_is_one_that_the_job_accepts(applied: Applied, tmp_path: Path) -> None:
    text = applied.read(applied.outputs["default_config_uri"]).decode()
    (tmp_path / "default.yaml").write_text(text, "utf-8")
    config: RunConfig = load_config(tmp_path / "default.yaml")
    assert config.output_dir == f"s3://{BUCKET}/etl_output"
    assert config.catalog.warehouse_dir == f"s3://{BUCKET}/warehouse"
    assert (config.catalog.type, config.catalog.database) == ("glue", "oedi_dev")
    assert config.catalog.region == "us-east-1"
    assert config.job_specific[0].states == ("CO",)
    assert config.job_specific[0].upgrades == (0, 1)
    assert config.settings.log_format == "json"
    assert config.settings.usd_per_core_hour == 0.0725
    assert yaml.safe_load(text)["source"] == {
        "endpoint_url": applied.url,
        "path_style": True,
        "region": "us-east-1",
    }


def test_log_groups_of_both_jobs_have_a_retention(applied: Applied) -> None:
    found = applied.client("logs").describe_log_groups(logGroupNamePrefix="/aws-glue/oedi-dev/")
    assert {each["logGroupName"]: each.get("retentionInDays") for each in found["logGroups"]} == {
        "/aws-glue/oedi-dev/etl/error": 14,
        "/aws-glue/oedi-dev/etl/output": 14,
        "/aws-glue/oedi-dev/maintain/error": 14,
        "/aws-glue/oedi-dev/maintain/output": 14,
    }


def test_resources_carry_the_tags_of_the_environment(applied: Applied) -> None:
    tags = applied.client("s3").get_bucket_tagging(Bucket=BUCKET)["TagSet"]
    assert {each["Key"]: each["Value"] for each in tags} == {
        "project": "oedi-spark",
        "environment": "dev",
        "managed_by": "terraform",
    }


def test_state_outputs_and_variables_hold_no_secret(applied: Applied) -> None:
    state = (applied.root / "terraform.tfstate").read_text("utf-8")
    for text in (state, json.dumps(applied.outputs)):
        assert "secret-of-the-infra-tests" not in text
        assert "AKIAINFRATEST" not in text
    names = {
        name
        for path in (PROJECT / "infra").rglob("*.tf")
        for name in re.findall(
            r'^(?:variable|output) "(.+)"', path.read_text("utf-8"), re.MULTILINE
        )
    }
    assert len(names) > 50
    assert [each for each in names if re.search("secret|password|token|access_key", each)] == []


def test_prod_can_be_planned_and_is_not_destroyed_by_one_command(
    terraform: Terraform, applied: Applied, checkout: Path
) -> None:
    root = applied.root.parent / "planned"
    shutil.copytree(applied.root.parent / "prod", root)
    for name in ("test_override.tf", "test.auto.tfvars"):
        shutil.copy(applied.root / name, root)
    terraform.must(root, "init", "-no-color")
    assert "0 to change, 0 to destroy" in terraform.must(root, "plan", "-no-color")

    guard = "-target=terraform_data.guard"
    terraform.must(root, "apply", "-no-color", "-auto-approve", guard)
    ended = terraform.run(root, "destroy", "-no-color", "-auto-approve")
    assert ended.code == 1
    assert "terraform_data.guard has lifecycle.prevent_destroy set" in ended.said


def test_plan_for_another_account_is_refused(terraform: Terraform, applied: Applied) -> None:
    other = "-var=account_id=999999999999"
    ended = terraform.run(applied.root, "plan", "-no-color", "-refresh=false", other)
    assert ended.code == 1
    assert "AWS account ID not allowed: 123456789012" in ended.said


def test_plan_without_a_package_and_with_bad_values_is_refused_and_says_what_to_do(
    terraform: Terraform, applied: Applied
) -> None:
    bad = ("-var=kms_key_arn=alias/mine", "-var=schedule=every day")
    elsewhere = applied.root / "unmade_override.tf"  # named last, so that it wins
    elsewhere.write_text('module "platform" {\n  project_dir = path.root\n}\n', "utf-8")
    try:
        ended = terraform.run(applied.root, "plan", "-no-color", "-refresh=false", *bad)
    finally:
        elsewhere.unlink()
    assert ended.code == 1
    assert "holds no oedi_spark-*.gluewheels.zip: run `make package` first" in ended.said
    assert "give the folder spark_jobs of the checkout" in ended.said
    assert "must be the ARN of a key" in ended.said
    assert "write cron(0 6 * * ? *)" in ended.said
