"""A real directory (OpenLDAP's slapd) with a few people and groups, for the time of a test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.system.certificates import Authority
from tests.system.peers import connect
from tests.system.process import Process, eventually, free_port

CONFIGURATION = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCACertificateFile {ca}
TLSCertificateFile {certificate}
TLSCertificateKeyFile {certificate}
database mdb
suffix "dc=example,dc=com"
rootdn "cn=admin,dc=example,dc=com"
rootpw s3cret-of-admin
directory {folder}/data
access to attrs=userPassword by anonymous auth by * none
access to * by anonymous {anonymous} by users read
"""

ENTRIES = """\
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=com
objectClass: organizationalUnit
ou: groups

dn: uid=joe,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: joe
cn: Joe
sn: Doe
employeeType: ENGINEER
employeeType: ON CALL
userPassword: welcome

dn: uid=ann,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: ann
cn: Ann
sn: Roe
userPassword: anns

dn: uid=a+cn=b\\,c,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: a
cn: b,c
sn: twin
userPassword: odd

dn: cn=OPERATORS,ou=groups,dc=example,dc=com
objectClass: groupOfNames
cn: OPERATORS
member: uid=joe,ou=people,dc=example,dc=com
"""


class Slapd:
    """Starts one; `stop` ends it. `port` is LDAP with StartTLS, `tls_port` LDAPS."""

    def __init__(self, program: str, folder: Path, authority: Authority, *, anonymous: bool = True) -> None:
        (folder / "data").mkdir(parents=True)
        file = folder / "slapd.conf"
        file.write_text(
            CONFIGURATION.format(
                folder=folder,
                ca=authority.truststore,
                certificate=authority.server("127.0.0.1", "localhost"),
                anonymous="read" if anonymous else "auth",
            )
        )
        (folder / "entries.ldif").write_text(ENTRIES)
        add = shutil.which("slapadd", path="/usr/sbin:/sbin:/usr/bin")
        assert add is not None
        subprocess.run(
            [add, "-f", file, "-l", folder / "entries.ldif"], check=True, capture_output=True, timeout=30
        )
        self.port, self.tls_port = free_port(), free_port()
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        self._process = Process([program, "-d", "0", "-f", file, "-h", urls])
        eventually(self._answers, "slapd listens")

    def _answers(self) -> bool:
        try:
            connect(self.tls_port).close()
        except OSError:
            return False
        return True

    def delete(self, name: str) -> None:
        """Remove an entry."""
        remove = shutil.which("ldapdelete")
        assert remove is not None
        who = ["-x", "-D", "cn=admin,dc=example,dc=com", "-w", "s3cret-of-admin"]
        command = [remove, *who, "-H", f"ldap://127.0.0.1:{self.port}", name]
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    def stop(self) -> None:
        self._process.kill()
