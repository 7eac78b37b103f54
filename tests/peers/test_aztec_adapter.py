"""packaging/npm/aztec-signer: an Aztec node's code signs through a running Holdfast."""

import json
import os
import shutil

import harness
import npm
import postgres
import pytest

ADAPTER = os.path.join(harness.ROOT, "packaging", "npm", "aztec-signer")
CHECKS = 14


@pytest.fixture(name="folder", scope="module")
def package_folder(tmp_path_factory):
    """The installed packages with the adapter among them, as npm would put it."""
    installed = npm.install("aztec")
    folder = tmp_path_factory.mktemp("adapter")
    modules = folder / "node_modules"
    modules.mkdir()
    for name in os.listdir(os.path.join(installed, "node_modules")):
        os.symlink(os.path.join(installed, "node_modules", name), modules / name)
    for name in ("adapter.mjs", "types.ts", "driver.mjs"):
        shutil.copy(os.path.join(installed, name), folder)
    # A copy, since node looks for the peers from where a module really is.
    shutil.copytree(ADAPTER, modules / "@holdfast" / "aztec-signer")
    return folder


def test_declarations(folder):
    """TypeScript finds the adapter to be what the package's interface asks for."""
    done = npm.run(folder, "node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--target", "es2022",
                   "--module", "nodenext", "--moduleResolution", "nodenext", "types.ts")
    assert done.returncode == 0, done.stdout


def test_an_aztec_node_signs_through_holdfast(tmp_path, folder):
    reason = postgres.missing()
    if reason:
        pytest.skip(reason)
    with postgres.Postgres() as server:
        url = server.url()
        done = npm.run(folder, "driver.mjs", "migrate", "--url", url, environment={"LOG_LEVEL": "silent"})
        assert done.returncode == 0, done.stderr
        keys = tmp_path / "key-files"
        keys.mkdir(mode=0o700)
        harness.write_private(keys / "key.yaml", f"type: file-raw\nkeyType: SECP256K1\nprivateKey: \"0x{'42' * 32}\"\n")
        harness.write_private(tmp_path / "url", url)
        (tmp_path / "signer").mkdir()
        signer = harness.Signer(tmp_path / "signer", keys=0, config=(
            f"signing_keys:\n  - {{backend: web3signer, config_dir: {keys}}}\n"
            f"duty_protection: {{url_file: {tmp_path / 'url'}, node_id: holdfast-1}}\n"))
        with signer:
            signer.wait_until(lambda: signer.get("/healthcheck")[0] == 200, "it can sign")
            result = npm.run(folder, "adapter.mjs", f"http://127.0.0.1:{signer.port}", url, environment={"LOG_LEVEL": "silent"})
        checks = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
        assert [check for check in checks if not check["ok"]] == [], result.stderr
        assert result.returncode == 0, result.stderr
        assert len(checks) == CHECKS
