"""What a catalog or a store says went wrong, in words that hold no secret.

An answer of AWS may repeat the request, and so its signature and its session token: of such an
error only the code and the status are passed on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_CODE = re.compile(r"[A-Za-z0-9._]{1,80}")


def say_fault(error: BaseException) -> str:
    """An error in one line."""
    answer = _answer(error)
    if answer is None:
        return f"{type(error).__name__}: {error}"
    code, status = answer
    return f"{type(error).__name__}: {code} (HTTP {status})"


def is_refusal(error: BaseException) -> bool:
    """Whether a server looked at the request and said no, so that it did nothing."""
    answer = _answer(error)
    return answer is not None and 400 <= answer[1] < 500 and answer[1] != 408


def is_storage_fault(error: BaseException) -> bool:
    """Whether a file system, a bucket or a catalog failed, and not the program."""
    return isinstance(error, OSError) or type(error).__module__.startswith("botocore.")


def _answer(error: BaseException) -> tuple[str, int] | None:
    """Code and status of a refused request of botocore's, which has no types."""
    response = getattr(error, "response", None)
    if not isinstance(response, Mapping):
        return None
    code = str(response.get("Error", {}).get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return (code if _CODE.fullmatch(code) else "no plain code", int(status or 0))
