"""HTTP under TLS: the same routes, and one hop between nodes too."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from peercron.errors import ConfigError
from tests.http.conftest import StartSite


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(tmp_path / "cert.pem", append=True)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return {f"tls_{part}": str(tmp_path / f"{part}.pem") for part in ("cert", "key", "ca")}


async def test_the_routes_under_tls(start_site: StartSite, certificate: dict[str, str]) -> None:
    one, two = await start_site("n1", **certificate), await start_site("n2", **certificate)
    assert one.url.startswith("https://")
    trust = ssl.create_default_context(cafile=certificate["tls_ca"])
    async with one.session.put(f"{one.url}/v1/jobs/a", json={"shell": "true", "nodes": ["n2"]}, ssl=trust) as answer:
        assert answer.status == 201
    async with one.session.post(f"{one.url}/v1/jobs/a:run", ssl=trust) as answer:
        run = await answer.json()
    (two.node.folder / f"{run['attempts'][0]['token']}.log").write_text("over there")
    async with one.session.get(f"{one.url}/v1/runs/{run['id']}/log", ssl=trust) as answer:
        assert await answer.text() == "over there"


async def test_a_certificate_that_cannot_be_used_is_named(
    start_site: StartSite, certificate: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "cert.pem").write_text("nonsense")
    with pytest.raises(ConfigError, match=r"cert\.pem"):
        await start_site("n1", **certificate)
