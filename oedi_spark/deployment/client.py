"""Clients of AWS with a limit to every wait, and what their failures mean, in a sentence.

The endpoint and the credentials are those of the environment: a role, a profile, a sign-in,
`AWS_ENDPOINT_URL`. No text of a credential is ever repeated: of what went wrong with one, only
the kind of the error is told.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from oedi_spark.errors import ConfigError, DeploymentError
from oedi_spark.escaping import printable

CONNECT_LIMIT_S = 10
READ_LIMIT_S = 30
ATTEMPTS = 4

Client = Any
"""boto3 clients have no type."""

_REGION = re.compile(r"[a-z]{2,8}(-[a-z]{2,12}){1,3}-[0-9]{1,2}")
_SIGN_IN = "sign in (`aws sso login`), or set AWS_PROFILE, and see who you are with `aws sts "
_SIGN_IN += "get-caller-identity`"
_CREDENTIAL_CODES = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
"""AWS does not take the credentials, or no longer; its message may quote what was signed."""
_BUSY_CODES = frozenset(
    {
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
    }
)
"""AWS was too busy to look at the request: it was not done, and may be made again."""
_CREDENTIAL_KINDS = frozenset(
    {
        "CredentialRetrievalError",
        "LoginRefreshRequired",
        "NoAuthTokenError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "SSOError",
        "SSOTokenLoadError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
    }
)


def find_region(region: str | None) -> str | None:
    """The region that was asked for, or `AWS_REGION`, which boto3 itself does not look at.

    Returns:
        None when only boto3's own settings (`AWS_DEFAULT_REGION`, a profile) can say.

    Raises:
        ConfigError: It is no name of a region.
    """
    found = region or os.environ.get("AWS_REGION") or None
    if found is not None and not _REGION.fullmatch(found):
        raise ConfigError("the region", [f"{found[:40]!r} is none; write --region us-west-2"])
    return found


def open_client(service: str, region: str | None, *, attempts: int = ATTEMPTS) -> Client:
    """A boto3 client that waits 10 s for a connection, 30 s for an answer, and tries 4 times.

    Args:
        service: `glue`, `athena`, `s3`.
        region: None for that of the environment.
        attempts: 1 for a request that must not be made twice.

    Raises:
        DeploymentError: No region, no such profile, or boto3 is not installed.
        ConfigError: The region is none.
    """
    named = find_region(region)
    with explained(service, f"no client of {service}"):
        import boto3  # noqa: PLC0415 - an extra: who never asks AWS does without it
        from botocore.config import Config  # noqa: PLC0415

        limits = Config(
            connect_timeout=CONNECT_LIMIT_S,
            read_timeout=READ_LIMIT_S,
            retries={"mode": "standard", "total_max_attempts": attempts},
        )
        return boto3.session.Session().client(service, region_name=named, config=limits)


@contextmanager
def explained(service: str, what: str) -> Iterator[None]:
    """What AWS says, or the way to it, as a `DeploymentError` with a way out.

    Args:
        service: Whose client is used within; names the right that is lacking.
        what: What is not possible then: "workflow oedi-dev cannot be read".
    """
    try:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an extra
    except ImportError as error:
        way_out = "Install the extra: pip install 'oedi-spark[aws]'"
        raise DeploymentError(what, f"boto3 is not installed ({error.name})", way_out) from error
    try:
        yield
    except ClientError as error:
        raise _explain_answer(service, what, error) from error
    except BotoCoreError as error:
        raise _explain_failure(what, error) from error


def one_line(text: object, most: int = 300) -> str:
    """Text from outside: what would move the cursor or break the line is escaped, the rest cut."""
    whole = printable(text)
    return whole if len(whole) <= most else f"{whole[: most - 1]}…"


def _explain_answer(service: str, what: str, error: Any) -> DeploymentError:  # noqa: ANN401 - botocore has no types
    answer = error.response.get("Error", {})
    code = one_line(answer.get("Code", "unknown"), 60)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _CREDENTIAL_CODES:
        return DeploymentError(what, f"AWS refuses the credentials ({code})", _capital(_SIGN_IN))
    if code in _BUSY_CODES or status >= 500:
        cause = f"{service} is busy or out of order (HTTP {status}, {code})"
        return DeploymentError(what, cause, "Try again in a minute", code=code, is_passing=True)
    said = one_line(answer.get("Message", ""))
    cause = f"{code}: {said}".rstrip(" .:")
    way_out = f"Check the name and the region, {error.operation_name} was asked"
    if code.startswith("AccessDenied") or status == 403:
        way_out = f"Allow {service}:{error.operation_name} to these credentials"
        if service == "s3":
            way_out += ", and s3:ListBucket, without which a wrong key is answered so too"
    return DeploymentError(what, cause, way_out, code=code)


def _explain_failure(what: str, error: Exception) -> DeploymentError:
    """By the kind of the error alone: its text may hold a proxy's password or a header."""
    kind = type(error).__name__
    if kind in _CREDENTIAL_KINDS:
        return DeploymentError(what, f"there are no credentials ({kind})", _capital(_SIGN_IN))
    if kind == "NoRegionError":
        return DeploymentError(what, "no region is known", "Give --region, or set AWS_REGION")
    if kind in {"ParamValidationError", "UnknownServiceError", "DataNotFoundError"}:
        way_out = "Install a newer boto3: pip install --upgrade 'oedi-spark[aws]'"
        return DeploymentError(what, f"boto3 does not know the request ({kind})", way_out)
    cause = f"AWS did not answer ({kind}, after at most {ATTEMPTS} attempts)"
    way_out = "Check the network, the region and AWS_ENDPOINT_URL, and try again"
    return DeploymentError(what, cause, way_out, is_passing=True)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
