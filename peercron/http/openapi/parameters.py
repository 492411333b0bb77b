"""Parameters: what stands in paths, queries and headers, by name, as it is meant wherever nothing else is said."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from peercron.core.limits import KEY_BYTES_MAX
from peercron.http.asking import IDEMPOTENCY_KEY_MAX
from peercron.http.openapi.shape import DURATION, IN_NAMESPACE, NAME
from peercron.http.openapi.shape import INSTANT as AN_INSTANT

Schema = dict[str, Any]


def whole(says: str, *, low: int = 0, high: int = 10**15, usual: int | None = None) -> Schema:
    """A whole number in a query; `usual` is what is meant where it is missing."""
    schema: Schema = {"type": "integer", "minimum": low, "maximum": high, "description": says}
    return schema if usual is None else schema | {"default": usual}


def text(says: str, **more: Any) -> Schema:
    return {"type": "string", "description": says} | more


def choice(says: str, *of: str, usual: str) -> Schema:
    return text(says, enum=list(of), default=usual)


def switch(says: str) -> Schema:
    """Off where it is missing; on where nothing stands behind it, as in ?verbose."""
    return text(says, enum=["1", "0", "true", "false", ""], default="0")


#: The job of the path.
OF_JOB: Final = text("a job: its name in namespace default, or namespace%2Fname", pattern=f"^{IN_NAMESPACE}$")
INSTANT: Final = text("an RFC 3339 instant, or milliseconds since 1970", pattern=f"^([0-9]{{1,15}}|{AN_INSTANT})$")

PATH: Final[Mapping[str, Schema]] = MappingProxyType(
    {
        "namespace": text("a namespace", pattern=f"^{NAME}$"),
        "name": text("a name", pattern=f"^{NAME}$"),
        "key": text("a key; a slash in it may be written as %2F", minLength=1, maxLength=KEY_BYTES_MAX),
        "file": text("a file of the dashboard"),
        "id": text("the id of a run; its slash may be written as %2F", minLength=1),
    }
)
QUERY: Final[Mapping[str, Schema]] = MappingProxyType(
    {
        "consistency": choice(
            "linearizable: with every write acknowledged before the request, which needs a leader; stale: as it is at "
            "the node that is asked",
            *("linearizable", "stale"),
            usual="linearizable",
        ),
        "index": whole("wait until the resource has changed after this Peercron-Index of an earlier answer"),
        "wait": text("how long to wait for a change, at most 10m", pattern=DURATION, default="30s", examples=["0s"]),
        "namespace": text("only those of this namespace"),
        "owner": text("only those of this owner"),
        "job": text("only those of this job: its name in namespace default, or namespace/name"),
        "limit": whole("at most so many", low=1, high=1_000, usual=100),
        "offset": whole("leave out so many at the beginning", usual=0),
        "from": INSTANT,
        "to": INSTANT,
        "prune": switch("also delete the other jobs of the document's owner"),
        "force": switch("also where the cluster has jobs, keys or queues"),
    }
)
#: Where one is called otherwise in requests than here, `name` says how.
HEADERS: Final[Mapping[str, Schema]] = MappingProxyType(
    {
        "Idempotency-Key": text(
            "a request that comes twice with the same key, also to another node, is carried out once",
            minLength=1,
            maxLength=IDEMPOTENCY_KEY_MAX,
        ),
        "Idempotency-Since": text(
            "of a request that is sent again: the Peercron-Index that was known before the first time",
            pattern="^[0-9]{1,18}$",
        ),
        "If-Match": text(
            "only over this revision: an ETag, or * for any",
            pattern=r'^(\*|(W/)?"[0-9]{1,18}"|[0-9]{1,18})?$',
            examples=["*"],
        ),
        "If-None-Match": text("only where there is none", enum=["*", ""]),
        "Known-ETag": text("an ETag: 304 if that is what there is", name="If-None-Match"),
        "Last-Event-ID": text("go on after this event, at whichever node", pattern=r"^([0-9]{1,18}(\.[0-9]{1,9})?)?$"),
        "Last-Change": text("go on after this change", name="Last-Event-ID", pattern="^([0-9]{1,18})?$"),
        "X-Hub-Signature-256": text(
            "sha256= and the HMAC of the body by the webhook's secret, in hexadecimal; required where the job has one",
            pattern="^sha256=[0-9a-f]{64}$",
        ),
    }
)
#: What every write knows.
WRITE_HEADERS: Final = ("Idempotency-Key", "Idempotency-Since")
