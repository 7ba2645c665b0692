"""caddis trust and untrust, on a copy of the system's certificate store that only this test sees."""

import subprocess

from lib.ports import free_port

# In a mount namespace of its own; what it prints and its exit status are the test's.
SCRIPT = r"""
set -e
private() {
    cp -a "$1" "$3/$2"
    mount --bind "$3/$2" "$1"
}
private /etc/ssl/certs certs "$1"
private /usr/local/share/ca-certificates added "$1"
get() { curl -sS --max-time 20 "https://localhost:$2/"; }
if get "$@" 2>/dev/null; then echo "trusted from the start"; exit 1; fi
"$3" trust --config "$4"
ls /usr/local/share/ca-certificates
test "$(get "$@")" = hello
"$3" untrust --config "$4"
ls /usr/local/share/ca-certificates /etc/ssl/certs | grep caddis && exit 1
if get "$@" 2>/dev/null; then echo "still trusted"; exit 1; fi
"""


def test_trust_and_untrust(plain, folder):
    port = free_port()
    c = plain(f"https://localhost:{port} {{ respond hello }}")
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", SCRIPT, "bash", str(folder), str(port),
         c.process.args[0], str(c.file)],
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr + c.log()
    assert "caddis-local-ca.crt" in done.stdout
    assert "now trusted by this system" in done.stdout
    assert "no longer trusted" in done.stdout
