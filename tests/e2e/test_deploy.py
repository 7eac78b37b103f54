"""What packaging/ installs: the unit's score, the Debian package for real, containers, the chart, and proxies with mTLS."""

import glob
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import sys

import harness
import pytest
from conftest import wait_for

try:
    import yaml
except ImportError:
    yaml = None

PACKAGING = os.path.join(harness.ROOT, "packaging")
UNIT = os.path.join(PACKAGING, "holdfast.service")
SCORE_BELOW = 1.5
SBIN = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, users")
plain_build = pytest.mark.skipif(harness.SANITIZED, reason="packages are made of a build without sanitizers")
needs_yaml = pytest.mark.skipif(yaml is None, reason="python3-yaml is not installed")


def program(name):
    found = shutil.which(name, path=SBIN)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def read(*parts):
    with open(os.path.join(PACKAGING, *parts), encoding="utf-8") as text:
        return text.read()


def do(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, check=False, **options)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


# ---- systemd


def test_the_units_exposure_is_low():
    answer = do(program("systemd-analyze"), "security", "--offline=true", UNIT)
    score = re.search(r"Overall exposure level for holdfast.service: ([\d.]+)", answer)
    assert score, answer
    assert float(score.group(1)) < SCORE_BELOW, answer


def test_systemd_knows_every_line_of_the_unit(tmp_path):
    unit = tmp_path / "holdfast.service"
    text = read("holdfast.service").replace("/usr/bin/holdfast", harness.HOLDFAST)
    unit.write_text(re.sub(r"^Documentation=.*\n", "", text, flags=re.M), encoding="utf-8")
    done = subprocess.run([program("systemd-analyze"), "verify", unit], capture_output=True, text=True, timeout=60, check=False)
    mine = [line for line in (done.stdout + done.stderr).splitlines() if "holdfast.service" in line]
    assert not mine, mine


def allowed_system_calls():
    """The names behind SystemCallFilter=, as systemd writes its groups out."""
    names, groups = set(), re.findall(r"^SystemCallFilter=(.*)$", read("holdfast.service"), re.M)
    waiting = " ".join(groups).split()
    while waiting:
        name = waiting.pop()
        if name.startswith("@"):
            answer = do(program("systemd-analyze"), "syscall-filter", name)
            waiting += [line.strip() for line in answer.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
        else:
            names.add(name)
    return sorted(names)


FILTERED = """#!{python}
import ctypes, os, sys
ALLOW, REFUSE_EPERM = 0x7FFF0000, 0x00050001
seccomp = ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_init.restype = ctypes.c_void_p
context = ctypes.c_void_p(seccomp.seccomp_init(REFUSE_EPERM))
for name in {names!r}:
    number = seccomp.seccomp_syscall_resolve_name(name.encode())
    if number >= 0:
        assert seccomp.seccomp_rule_add_array(context, ALLOW, number, 0, None) == 0, name
assert seccomp.seccomp_load(context) == 0
os.execv({holdfast!r}, [{holdfast!r}, *sys.argv[1:]])
"""


@plain_build
def test_the_units_system_calls_are_enough(signers, tmp_path):
    filtered = tmp_path / "filtered"
    filtered.write_text(FILTERED.format(python=sys.executable, names=allowed_system_calls(), holdfast=harness.HOLDFAST),
                        encoding="utf-8")
    filtered.chmod(0o755)
    signer = signers(keys=1, program=str(filtered)).start()
    assert signer.attest(signer.pubkeys[0], source=1, target=2)[0] == 200
    assert {p["state"] for p in signer.status()["protections"]["keeper"]} <= {"on", "unavailable"}


@needs_root
def test_user_and_folders_are_made(tmp_path):
    (tmp_path / "etc").mkdir()
    do(program("systemd-sysusers"), f"--root={tmp_path}", os.path.join(PACKAGING, "holdfast.sysusers"))
    passwd = (tmp_path / "etc" / "passwd").read_text(encoding="utf-8")
    account = re.search(r"^holdfast:x:(\d+):(\d+):.*:/var/lib/holdfast:/usr/sbin/nologin$", passwd, re.M)
    assert account, passwd
    uid, gid = int(account.group(1)), int(account.group(2))
    do(program("systemd-tmpfiles"), f"--root={tmp_path}", "--create", os.path.join(PACKAGING, "holdfast.tmpfiles"))
    data, config = os.stat(tmp_path / "var/lib/holdfast"), os.stat(tmp_path / "etc/holdfast")
    assert (data.st_mode & 0o7777, data.st_uid, data.st_gid) == (0o700, uid, gid)
    assert (config.st_mode & 0o7777, config.st_uid, config.st_gid) == (0o750, 0, gid)


# ---- the Debian package


@pytest.fixture(name="deb", scope="session")
def built_package():
    for tool in ("dpkg-deb", "dpkg-shlibdeps", "meson", "strip"):
        program(tool)
    path = do(os.path.join(harness.ROOT, "tools", "deb.sh"), harness.BUILD, cwd=harness.ROOT).strip()
    return os.path.join(harness.ROOT, path)


@plain_build
def test_the_package_is_complete_and_modest(deb):
    fields = {name: do("dpkg-deb", "-f", deb, name).strip() for name in ("Package", "Architecture", "Depends")}
    assert fields["Package"] == "holdfast" and fields["Architecture"] == do("dpkg", "--print-architecture").strip()
    for library in ("libc6", "libmicrohttpd12", "libsodium23", "libsqlite3-0", "libpq5", "libseccomp2"):
        assert re.search(rf"\b{library}\b", fields["Depends"]), fields["Depends"]
    rows = [line.split(None, 5) for line in do("dpkg-deb", "-c", deb).splitlines()]
    modes = {row[5]: row[0] for row in rows}
    assert {row[1] for row in rows} == {"root/root"}
    for name in ("bin/holdfast", "libexec/holdfast/holdfast-keeper", "libexec/holdfast/holdfast-front",
                 "libexec/holdfast/holdfast-loader", "libexec/holdfast/holdfast-store"):
        assert modes[f"./usr/{name}"] == "-rwxr-xr-x", name
    assert modes["./etc/holdfast/holdfast.yaml"] == "-rw-r-----"
    for name in ("lib/systemd/system/holdfast.service", "usr/lib/sysusers.d/holdfast.conf",
                 "usr/lib/tmpfiles.d/holdfast.conf", "usr/share/man/man1/holdfast.1.gz"):
        assert f"./{name}" in modes
    assert not [name for name, mode in modes.items() if "s" in mode or "t" in mode], "setuid, setgid or sticky"
    assert do("dpkg-deb", "-I", deb, "conffiles").split() == ["/etc/holdfast/holdfast.yaml"]


@plain_build
def test_the_same_sources_give_the_same_package(deb):
    with open(deb, "rb") as package:
        first = package.read()
    do(os.path.join(harness.ROOT, "tools", "deb.sh"), harness.BUILD, cwd=harness.ROOT)
    with open(deb, "rb") as package:
        assert package.read() == first


def in_a_copy_of_this_machine(tmp_path, script, pubkey, *inputs):
    """Runs a script as root in an overlay of /, with a network of its own; nothing of it reaches the machine.

    $pubkey is set, and copies of the inputs lie in /run/in."""
    mount = tmp_path / "copy"
    mount.mkdir()
    setup = """set -e
    mount -t tmpfs none "$1"; mkdir "$1/upper" "$1/work" "$1/root"
    mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" none "$1/root" || exit 77
    mount --bind /dev "$1/root/dev"; mount -t proc none "$1/root/proc"; mount -t tmpfs none "$1/root/run"
    ip link set lo up
    root=$1/root script=$2 pubkey=$3; shift 3; export pubkey
    mkdir "$root/run/in"; cp -r "$@" "$root/run/in"
    exec chroot "$root" sh -euc "$script"
    """
    program("ip")
    done = subprocess.run([program("unshare"), "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private",
                           "sh", "-c", setup, "setup", str(mount), script, pubkey, *map(str, inputs)],
                          capture_output=True, text=True, timeout=120, check=False)
    if done.returncode == 77 or "Operation not permitted" in done.stderr:
        pytest.skip("no overlay of this machine can be mounted here")
    return done


AS_USER = "setpriv --reuid holdfast --regid holdfast --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs"
SIGNS_AND_STOPS = """
    $run holdfast serve -c /etc/holdfast/holdfast.yaml >/run/log 2>&1 &
    for i in $(seq 300); do grep -q ' keys_loaded: 1 ' /run/log && break; sleep 0.1; done
    cat /run/log
    /usr/bin/python3 -c 'import urllib.request as u, sys
for path in ("9000/api/v1/eth2/publicKeys", "3000/healthcheck", "3000/upcheck"):
    print(path, u.urlopen("http://127.0.0.1:" + path).read().decode())
r = u.Request("http://127.0.0.1:9000/api/v1/eth2/sign/" + sys.argv[1], open("/run/in/body", "rb").read(), {"Content-Type": "application/json"})
print("signed", u.urlopen(r).read().decode())' "$pubkey"
    signer=$!
    holdfast doctor -c /etc/holdfast/holdfast.yaml || echo "doctor: $?"
    kill $signer; wait $signer; echo "stopped with $?"
"""


def rows_of(text, check):
    """What doctor said of a check: {"OK"}, or the worst with others."""
    return {match.group(1) for match in re.finditer(rf"^(OK|WARN|FAIL) +{check} ", text, re.M)}


def prepare_key(tmp_path):
    """(folder of one keystore and its password, pubkey, body of a request)"""
    keys = tmp_path / "keys"
    pubkey = harness.make_keystores(str(keys), 1)[0]
    shutil.move(f"{keys}.password", keys / "password.txt")
    body = tmp_path / "body"
    body.write_text(json.dumps(harness.attestation(400000, 400001)), encoding="utf-8")
    return keys, pubkey, body


@needs_root
@plain_build
def test_the_package_installs_runs_upgrades_and_leaves_the_record(deb, tmp_path):
    keys, pubkey, body = prepare_key(tmp_path)
    script = """
    deb=$(ls /run/in/*.deb) keys=/run/in/keys run='""" + AS_USER + """'
    ! getent passwd holdfast >/dev/null
    dpkg --force-unsafe-io --no-triggers -i "$deb"
    stat -c '%n %a %U %G' /etc/holdfast /etc/holdfast/holdfast.yaml /var/lib/holdfast
    # Secrets of root's that the signer may read and not change.
    cp -r "$keys" /etc/holdfast/keys
    mv /etc/holdfast/keys/password.txt /etc/holdfast/password.txt
    chown -R root:holdfast /etc/holdfast; chmod -R u=rwX,g=rX,o= /etc/holdfast/keys; chmod 0440 /etc/holdfast/password.txt
    printf 'signing_keys:\\n  - {backend: local-keystore, keystore_dir: /etc/holdfast/keys, password_file: /etc/holdfast/password.txt}\\n' \\
        >>/etc/holdfast/holdfast.yaml
    """ + SIGNS_AND_STOPS + """
    dpkg --force-unsafe-io --no-triggers -i "$deb"
    grep -c password_file: /etc/holdfast/holdfast.yaml
    dpkg --force-unsafe-io --no-triggers --purge holdfast
    ls /var/lib/holdfast/slashing.sqlite; [ ! -e /usr/bin/holdfast ]; [ ! -e /etc/holdfast/holdfast.yaml ]; echo gone
    """
    done = in_a_copy_of_this_machine(tmp_path, script, pubkey, deb, keys, body)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    for expected in ("/etc/holdfast 750 root holdfast", "/etc/holdfast/holdfast.yaml 640 root holdfast",
                     "/var/lib/holdfast 700 holdfast holdfast", f'publicKeys ["{pubkey}"]', "upcheck OK", 'signed 0x',
                     "stopped with 0", "/var/lib/holdfast/slashing.sqlite\ngone", "is the record of what was signed"):
        assert expected in text, f"{expected}\n{text}"
    for check in ("config-file", "data-dir", "data-disk", "key-files", "password-files", "programs", "file-capabilities", "user", "running",
                  "processes", "listeners", "memlock", "core-dumps"):
        assert rows_of(text, check) == {"OK"}, f"{check}\n{text}"
    assert " 0 FAIL" in text, text
    assert shutil.which("holdfast", path="/usr/bin") is None, "the package reached the machine itself"


# ---- containers


def test_the_image_recipe_keeps_its_promises():
    recipe = read("oci", "Containerfile")
    lines = [line.split(None, 1) for line in recipe.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    last_stage = lines[max(i for i, line in enumerate(lines) if line[0] == "FROM"):]
    users = [rest for word, rest in last_stage if word == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]), "numeric, or runAsNonRoot cannot be checked"
    entry = next(json.loads(rest) for word, rest in last_stage if word == "ENTRYPOINT")
    command = next(json.loads(rest) for word, rest in last_stage if word == "CMD")
    assert entry + command == ["/usr/bin/holdfast", "serve", "-c", "/etc/holdfast/holdfast.yaml"]
    assert not re.search(r"setcap|cap_ipc_lock\+|curl|wget|--privileged|ADD ", re.sub(r"^#.*$", "", recipe, flags=re.M))


@needs_yaml
def test_compose_takes_everything_away():
    service = yaml.safe_load(read("oci", "compose.yaml"))["services"]["holdfast"]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"] and "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"] and service["user"] == "65532:65532"
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["ulimits"]["memlock"]["soft"] >= 1 << 20 and service["ulimits"]["core"] == {"soft": 0, "hard": 0}
    assert service["memswap_limit"] == service["mem_limit"]
    assert all(mount.endswith(":ro") for mount in service["volumes"] if not mount.startswith("data:"))


@needs_root
@plain_build
def test_it_runs_as_in_a_container(deb, tmp_path):
    """The recipe's user, a read-only root, no capability, no new privileges, Docker's own limit of locked memory."""
    keys, pubkey, body = prepare_key(tmp_path)
    script = """
    keys=/run/in/keys
    dpkg --force-unsafe-io --no-triggers -i /run/in/*.deb >/dev/null 2>&1
    cp -r "$keys" /etc/holdfast/keys; chown -R 65532:65532 /etc/holdfast/keys
    rm -rf /var/lib/holdfast; install -d -m 0700 -o 65532 -g 65532 /var/lib/holdfast /run/data
    printf 'signing_keys:\\n  - {backend: local-keystore, keystore_dir: /etc/holdfast/keys, password_file: /etc/holdfast/keys/password.txt}\\n' \\
        >>/etc/holdfast/holdfast.yaml
    chmod 0644 /etc/holdfast/holdfast.yaml; chmod 0755 /etc/holdfast
    mount --bind /run/data /var/lib/holdfast
    mount -o remount,ro /
    ! touch /etc/x 2>/dev/null
    ulimit -l 8192
    run='setpriv --reuid 65532 --regid 65532 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs'
    """ + SIGNS_AND_STOPS
    done = in_a_copy_of_this_machine(tmp_path, script, pubkey, deb, keys, body)
    text = done.stdout + done.stderr
    assert done.returncode == 0 and 'signed 0x' in text and "stopped with 0" in text, text
    for check in ("unit", "user", "processes", "memlock", "listeners"):
        assert rows_of(text, check) == {"OK"}, f"{check}\n{text}"
    assert rows_of(text, "data-disk") == {"FAIL"}, text  # the test's volume lies in memory, and that is seen


# ---- Kubernetes


CHART = os.path.join(PACKAGING, "helm", "holdfast")


def template(name):
    """A template as YAML: lines of directives alone are dropped, values filled in. Enough for templates as plain as ours."""
    values = yaml.safe_load(read("helm", "holdfast", "values.yaml"))

    def fill(match):
        path = re.fullmatch(r"\s*\.Values((?:\.\w+)+)\s*", match.group(1))
        if path is None:
            return "rendered"
        value = values
        for key in path.group(1)[1:].split("."):
            value = value[key]
        return str(value)

    text = re.sub(r"^\s*\{\{.*\}\}\s*\n", "", read("helm", "holdfast", "templates", name), flags=re.M)
    return yaml.safe_load(re.sub(r"\{\{-?(.*?)-?\}\}", fill, text)), values


@needs_yaml
def test_the_charts_pod_has_no_rights():
    chart, values = template("statefulset.yaml")
    pod = chart["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["automountServiceAccountToken"] is False and "hostNetwork" not in pod and "hostPID" not in pod
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "privileged": False,
                                            "capabilities": {"drop": ["ALL"]}}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]} | {"data"}
    assert all(mount.get("readOnly") for name, mount in mounts.items() if name not in ("data", "witness"))
    assert {"name": "witness", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}} in pod["volumes"]
    assert mounts["witness"]["mountPath"] == "/run/holdfast"  # memory: an image of a disk has no copy of it
    # The default stands for octal 0400, which YAML 1.1 readers take as such.
    assert all(volume["secret"]["defaultMode"] == 0o400 for volume in pod["volumes"] if "secret" in volume)
    assert values["replicas"] == 1 and values["config"]["slashing_protection"]["backend"] == "sqlite"


@needs_yaml
def test_the_charts_probes_ask_what_the_signer_answers(signer):
    chart, _ = template("statefulset.yaml")
    container = chart["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"] for port in container["ports"]}
    probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {kind: probe["path"] for kind, probe in probes.items()} == {
        "startup": "/upcheck", "liveness": "/upcheck", "readiness": "/healthcheck"}
    assert {probe["port"] for probe in probes.values()} == {"metrics"} <= ports
    for probe in probes.values():
        assert signer.get(probe["path"], port=signer.metrics_port)[0] == 200


@needs_yaml
def test_the_charts_other_objects():
    pdb, values = template("pdb.yaml")
    assert (pdb["apiVersion"], pdb["kind"], pdb["spec"]["minAvailable"]) == ("policy/v1", "PodDisruptionBudget", 1)
    service, _ = template("service.yaml")
    assert service["spec"]["type"] == "ClusterIP" and [port["targetPort"] for port in service["spec"]["ports"]] == ["api", "metrics"]
    policy, _ = template("networkpolicy.yaml")
    assert policy["spec"]["policyTypes"] == ["Ingress"] and values["networkPolicy"]["enabled"] is True
    assert all(rule["from"] is None and rule["ports"] for rule in policy["spec"]["ingress"])  # from: filled in by a directive
    assert "fail" in read("helm", "holdfast", "templates", "_helpers.tpl")
    for path in glob.glob(os.path.join(CHART, "templates", "*.yaml")):
        text = read(path)
        assert text.count("{{") == text.count("}}"), path
        assert len(re.findall(r"\{\{-? (?:if|with|range) ", text)) == len(re.findall(r"\{\{-? end ", text)), path


@needs_yaml
def test_the_charts_configuration_is_one_that_the_signer_takes(tmp_path):
    config = yaml.safe_load(read("helm", "holdfast", "values.yaml"))["config"]
    for name in ("tls.crt", "tls.key", "ca.crt", "password.txt"):
        harness.write_private(str(tmp_path / name), "x\n")
    text = yaml.safe_dump(config).replace("/etc/holdfast/tls/", f"{tmp_path}/").replace("/etc/holdfast/password/", f"{tmp_path}/")
    (tmp_path / "keys").mkdir()
    text = text.replace("/etc/holdfast/keys", f"{tmp_path}/keys").replace("/var/lib/holdfast", f"{tmp_path}/data")
    harness.write_private(str(tmp_path / "holdfast.yaml"), text)
    done = harness.run("check", "-c", tmp_path / "holdfast.yaml")
    assert done.returncode == 0, done.stderr


@needs_yaml
def test_helm_takes_the_chart():
    helm = program("helm")
    do(helm, "lint", CHART)
    # One that was built from source takes itself for a very old cluster's.
    render = [helm, "template", "--kube-version", "1.28.0", "signer", CHART]
    objects = list(yaml.safe_load_all(do(*render)))
    assert {one["kind"] for one in objects} >= {"StatefulSet", "Service", "PodDisruptionBudget", "ConfigMap", "NetworkPolicy"}
    done = subprocess.run([*render, "--set", "replicas=2"], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "shared record" in done.stderr


# ---- proxies


class Authority:
    """A certificate authority for a test, and certificates of it."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        do("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
           f"/CN={name}", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt")

    def issue(self, name, host="signer.internal"):
        base = self.folder / name
        do("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout",
           f"{base}.key", "-out", f"{base}.csr")
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=DNS:{host},IP:127.0.0.1\n", encoding="ascii")
        do("openssl", "x509", "-req", "-in", f"{base}.csr", "-CA", self.folder / f"{self.name}.crt", "-CAkey",
           self.folder / f"{self.name}.key", "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", f"{base}.crt")
        pem = (self.folder / f"{name}.crt").read_text() + (self.folder / f"{name}.key").read_text()
        harness.write_private(f"{base}.pem", pem)
        os.chmod(f"{base}.key", 0o600)


@pytest.fixture(name="tls")
def certificates(tmp_path):
    """Authorities of clients, nodes and proxies with one certificate each, in one folder."""
    folder = tmp_path / "tls"
    folder.mkdir()
    for authority, names in (("clients-ca", ["client"]), ("nodes-ca", ["node"]), ("proxies-ca", ["proxy"]), ("sites-ca", ["site"]),
                             ("strangers-ca", ["stranger"])):
        made = Authority(folder, authority)
        for name in names:
            made.issue(name)
    return folder


def ask(port, tls, method, path, body=None, certificate="client"):
    context = ssl.create_default_context(cafile=str(tls / "sites-ca.crt"))
    context.load_cert_chain(str(tls / f"{certificate}.crt"), str(tls / f"{certificate}.key"))
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=harness.PATIENCE, context=context)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def upcheck_through(port, tls):
    try:
        return ask(port, tls, "GET", "/healthcheck")[0] == 200
    except OSError:
        return False


def start_behind_mtls(signers, tls):
    signer = signers(keys=1)
    signer.start(wait=False, environment={"HOLDFAST_SERVER_TLS_CERT": str(tls / "node.crt"),
                                          "HOLDFAST_SERVER_TLS_KEY": str(tls / "node.key"),
                                          "HOLDFAST_SERVER_TLS_CLIENT_CA": str(tls / "proxies-ca.crt")})
    signer.wait_ready()
    wait_for("its key", lambda: signer.has_logged("keys_loaded", "1 keys"), harness.PATIENCE)
    return signer


def sign_through(proxy, port, tls, signer, log):
    """The client's certificate opens the proxy, the proxy's the signer; neither opens with another."""
    try:
        wait_for("the way through", lambda: proxy.poll() is not None or upcheck_through(port, tls), harness.PATIENCE)
        assert proxy.poll() is None, log()
        path = f"/api/v1/eth2/sign/{signer.pubkeys[0]}"
        status, answer = ask(port, tls, "POST", path, harness.attestation(1, 2))
        assert status == 200 and re.fullmatch(rb"0x[0-9a-f]{192}", answer), (answer, log())
        assert ask(port, tls, "POST", path, harness.attestation(1, 2, mark=1))[0] == 412
        assert ask(port, tls, "GET", "/eth/v1/keystores")[0] == 404
        try:
            status = ask(port, tls, "GET", "/upcheck", certificate="stranger")[0]
        except OSError:
            status = 0
        assert status in (0, 400), "a stranger's certificate was taken"
        with pytest.raises(OSError):  # straight to the signer: a client's certificate is none of the proxies' authority
            context = ssl._create_unverified_context()
            context.load_cert_chain(str(tls / "client.crt"), str(tls / "client.key"))
            direct = http.client.HTTPSConnection("127.0.0.1", signer.port, timeout=harness.PATIENCE, context=context)
            direct.request("GET", "/upcheck")
            direct.getresponse()
    finally:
        proxy.terminate()
        proxy.wait(20)


def test_haproxy_with_certificates_on_both_sides(signers, tls, tmp_path):
    haproxy = program("haproxy")
    signer = start_behind_mtls(signers, tls)
    port = harness.free_port()
    environment = {**os.environ, "HOLDFAST_LISTEN": f"127.0.0.1:{port}", "HOLDFAST_TLS": str(tls),
                   "HOLDFAST_1": f"127.0.0.1:{signer.port}", "HOLDFAST_2": f"127.0.0.1:{signer.port}"}
    config = os.path.join(PACKAGING, "haproxy", "mtls.cfg")
    checked = subprocess.run([haproxy, "-c", "-f", config], env=environment, capture_output=True, text=True, check=False)
    assert checked.returncode == 0 and "warning" not in (checked.stdout + checked.stderr).lower(), checked.stderr
    with open(tmp_path / "haproxy.log", "wb") as log:
        proxy = subprocess.Popen([haproxy, "-db", "-f", config], env=environment, stdout=log, stderr=log)
    sign_through(proxy, port, tls, signer, lambda: (tmp_path / "haproxy.log").read_text())


def test_nginx_with_certificates_on_both_sides(signers, tls, tmp_path):
    nginx = program("nginx")
    signer = start_behind_mtls(signers, tls)
    port = harness.free_port()
    snippet = (read("nginx", "holdfast.conf").replace("10.0.0.1:9443", f"127.0.0.1:{port}")
               .replace("/etc/nginx/holdfast/", f"{tls}/"))
    snippet = re.sub(r"server 10\.0\.0\.1[12]:9000", f"server 127.0.0.1:{signer.port}", snippet)
    assert "10.0.0." not in snippet
    scratch = "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = tmp_path / "nginx.conf"
    config.write_text(f"daemon off;\npid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{scratch}{snippet}}}\n",
                      encoding="utf-8")
    do(nginx, "-t", "-c", config)
    with open(tmp_path / "nginx.log", "wb") as log:
        proxy = subprocess.Popen([nginx, "-c", config], stdout=log, stderr=log)
    sign_through(proxy, port, tls, signer, lambda: (tmp_path / "nginx.log").read_text())
