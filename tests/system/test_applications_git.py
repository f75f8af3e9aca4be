"""git over HTTP, both kinds, from nginx through a pair of gateways."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.system.certificates import Authority
from tests.system.pair import Processes, start_pair
from tests.system.process import eventually, free_port, run
from tests.system.requirements import Requirements

# Nothing of the machine's own settings, and nobody is asked for anything.
GIT = (
    "env",
    "GIT_CONFIG_GLOBAL=/dev/null",
    "GIT_CONFIG_NOSYSTEM=1",
    "GIT_TERMINAL_PROMPT=0",
    *("git", "-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"),
)


@dataclass(frozen=True)
class GitServer:
    """A private nginx: `/smart/NAME` is git's own protocol, `/plain/NAME` the repository's files."""

    port: int
    repositories: Path

    def commit_of(self, name: str) -> str:
        return git("rev-parse", "main", cwd=self.repositories / name)


@pytest.fixture
def git_server(processes: Processes, need: Requirements, tmp_path: Path) -> GitServer:
    """It has one repository, `app.git`: 40 commits, 8 MB that does not compress, 300 small files."""
    nginx, fastcgi = need.program("nginx"), need.program("fcgiwrap")
    need.program("git")
    port, folder = free_port(), tmp_path / "server"
    folder.mkdir()
    work, repository = tmp_path / "work", folder / "app.git"
    git("init", "--quiet", str(work), cwd=tmp_path)
    (work / "small").mkdir()
    for number in range(300):
        (work / "small" / f"{number}.txt").write_text(f"{number}\n" * number)
    for number in range(40):
        (work / f"{number}.bin").write_bytes(os.urandom(200_000))
        git("add", "--all", cwd=work)
        git("commit", "--quiet", "--message", f"Number {number}", cwd=work)
    git("clone", "--quiet", "--bare", str(work), str(repository), cwd=tmp_path)
    git("config", "http.receivepack", "true", cwd=repository)
    git("update-server-info", cwd=repository)

    backend = folder / "fastcgi.socket"
    wrapper = processes.start([fastcgi, "-c", "2", "-s", f"unix:{backend}"])
    user = "user root;" if os.geteuid() == 0 else ""
    paths = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    programs = git("--exec-path", cwd=folder)
    config = folder / "nginx.conf"
    config.write_text(
        f"""
        {user} daemon off; worker_processes 1; pid {folder}/pid; error_log stderr;
        events {{ worker_connections 256; }}
        http {{
            access_log off; {paths} client_max_body_size 0;
            server {{
                listen 127.0.0.1:{port};
                location /plain/ {{ alias {folder}/; }}
                location ~ ^/smart(/.*)$ {{
                    fastcgi_pass unix:{backend};
                    fastcgi_param SCRIPT_FILENAME {programs}/git-http-backend;
                    fastcgi_param GIT_PROJECT_ROOT {folder};
                    fastcgi_param GIT_HTTP_EXPORT_ALL 1;
                    fastcgi_param GIT_PROTOCOL $http_git_protocol;
                    fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
                    fastcgi_param PATH_INFO $1;
                    fastcgi_param QUERY_STRING $query_string;
                    fastcgi_param REQUEST_METHOD $request_method;
                    fastcgi_param CONTENT_TYPE $content_type;
                    fastcgi_param CONTENT_LENGTH $content_length;
                    fastcgi_param REMOTE_ADDR $remote_addr;
                }}
            }}
        }}
        """
    )
    server = processes.start([nginx, "-e", "stderr", "-p", folder, "-c", config])
    eventually(lambda: (folder / "pid").exists() or not server.running, "nginx has started")
    eventually(lambda: backend.exists() or not wrapper.running, "fcgiwrap has started")
    assert server.running, server.text
    assert wrapper.running, wrapper.text
    return GitServer(port, folder)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_git(
    scheme: str, git_server: GitServer, processes: Processes, tmp_path: Path, authority: Authority
) -> None:
    pair = start_pair(
        processes, tmp_path, f"tcp://127.0.0.1:{git_server.port}", scheme=scheme, authority=authority
    )
    wanted = git_server.commit_of("app.git")
    for kind in ("smart", "plain"):
        url, clone = f"http://127.0.0.1:{pair.port}/{kind}/app.git", tmp_path / kind
        git("clone", "--quiet", url, str(clone), cwd=tmp_path)
        # Every object is named by its own digest, and all of them are looked at.
        git("fsck", "--full", "--strict", cwd=clone)
        assert git("rev-parse", "HEAD", cwd=clone) == wanted
        assert git("status", "--porcelain", cwd=clone) == ""

    clone = tmp_path / "smart"
    (clone / "new.bin").write_bytes(os.urandom(5_000_000))
    git("add", "--all", cwd=clone)
    git("commit", "--quiet", "--message", "A large one", cwd=clone)
    git("push", "--quiet", "origin", "main", cwd=clone)
    assert git_server.commit_of("app.git") == git("rev-parse", "HEAD", cwd=clone) != wanted
    git("fsck", "--full", "--strict", cwd=git_server.repositories / "app.git")


def git(*arguments: str, cwd: Path) -> str:
    """Run git and return what it printed."""
    outcome = run([*GIT, *arguments], cwd=cwd, timeout=60)
    assert outcome.code == 0, outcome.errors
    return outcome.output.decode().strip()
